"""Runs with polygons, moved away from their files: exports, results.root and figures hold the polygons themselves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from export_runs import write_events
from pidlab.config.load import check_config
from pidlab.errors import UsageError
from pidlab.evaluate.results import Results, read_results
from pidlab.evaluate.results import write_results as write_json
from pidlab.export import export, parity_events
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse
from pidlab.plots import gallery
from pidlab.plots.on_request import Plots
from pidlab.progress import Watcher
from pidlab.rootio import tcutg, write_results
from pidlab.runs.bundle import Bundle, load_bundle, save_bundle
from real_root import ask_root, needs_root

ANGLE = np.linspace(0, 2 * np.pi, 60, endpoint=False)
ROUND = np.column_stack([6 + 3 * np.cos(ANGLE), 1 + 0.3 * np.sin(ANGLE)])  # too many corners for a formula of ROOT
HOLE = [[-0.5, -0.4], [0.6, -0.5], [0.2, 0.1], [0.7, 0.9], [-0.3, 0.5]]
CONTENT: dict[str, Any] = {
    "data": {"files": "events.root", "event_id": ["run", "event"], "aliases": {"across": "xy[0] + 0.1 * P.gtr.dp"}},
    "polygons": {
        "hole": {"x": "across", "y": "xy[1]", "points": HOLE},
        "unused": {"x": "nowhere", "y": "xy[1]", "points": HOLE},
    },
    "classes": {"electron": "species == 0", "pion": "species > 0"},
    "selection": {"no_hole": '!cutg("hole")'},
    "features": ["P.cal.etot", "nhit", {"name": "in_round", "expression": 'cutg("cuts.root:round")'}],
    "spectators": ["P.gtr.p"],
    "models": {
        "hand": {"type": "expression", "cut": 'cutg("hole", adc[0], P.cal.etot) || P.cal.etot > 0.8'},
        "round": {"type": "expression", "cut": 'cutg("cuts.root:round") && nhit > 1'},
        "fisher": {"type": "fisher"},
    },
    "evaluate": {"robustness": None, "importance": False},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    """A run in a folder without the file of its polygon, and its results."""
    folder = tmp_path_factory.mktemp("polygons")
    write_events(folder / "events.root", 4000)
    with uproot.recreate(folder / "cuts.root") as file:
        file["round"] = tcutg(ROUND, "P.gtr.p", "P.gtr.beta")
    done = analyse(check_config(CONTENT, {}, folder / "analysis.yaml"), Resources("cpu", 1), Watcher())
    made = folder / "made"
    made.mkdir()
    save_bundle(made, done.recipe, done.models, done.results.models)
    (made / "manifest.json").write_text('{"schema": 1}')
    (folder / "cuts.root").unlink()
    shutil.move(made, folder / "away")
    return folder / "away", done.results


@pytest.fixture(scope="module")
def bundle(run: tuple[Path, Results]) -> Bundle:
    return load_bundle(run[0])


def test_the_header_is_exact_and_has_each_table_once(run: tuple[Path, Results], bundle: Bundle, tmp_path: Path) -> None:
    (made,) = export(bundle, run[0], "header", ["hand", "fisher"], tmp_path)
    assert not made.largest_difference > 1e-6
    text = made.path.read_text()
    assert [text.count(f"double polygon_{name}[") for name in ("hole", "round", "unused")] == [1, 1, 0]
    assert text.count("detail::inside(detail::polygon_hole") > 1


def test_short_polygons_are_formulas_and_long_ones_a_macro(
    run: tuple[Path, Results], bundle: Bundle, tmp_path: Path
) -> None:
    export(bundle, run[0], "cuts", ["hand", "round"], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hand.txt", "round.txt", "round_polygons.C"]
    short, long = (tmp_path / "hand.txt").read_text(), (tmp_path / "round.txt").read_text()
    assert "cutg" not in short + long
    assert "across" not in short + long
    assert "(xy[0] + 0.1 * P.gtr.dp)" in short
    assert long == "hand: (!pid_round_hole) && (pid_round_round && nhit > 1)\n"
    macro = (tmp_path / "round_polygons.C").read_text()
    assert 'SetVarX("(xy[0] + 0.1 * P.gtr.dp)")' in macro


@needs_root
def test_root_selects_by_the_strings_what_pidlab_selects(
    run: tuple[Path, Results], bundle: Bundle, tmp_path: Path
) -> None:
    export(bundle, run[0], "cuts", ["hand", "round"], tmp_path)
    source = write_events(tmp_path / "more.root", 5000, seed=11)
    events = parity_events(bundle, 5000, bundle.recipe.inputs([str(source)], None))
    strings = {name: (tmp_path / f"{name}.txt").read_text().strip().split(": ", 1)[1] for name in ("hand", "round")}
    code = """
ROOT.gROOT.ProcessLine(f".x {given['macro']}")
file = ROOT.TFile.Open(given["file"])
answer = {name: columns(file.Get("T"), ["Entry$"], cut)[0].tolist() for name, cut in given["cuts"].items()}
"""
    answer = ask_root(code, file=source, macro=tmp_path / "round_polygons.C", cuts=strings)
    for name, found in answer.items():
        assert found == np.flatnonzero(events.passed[name]["hand"][:5000]).tolist(), name
        assert 100 < len(found) < 4000, name


def test_results_count_the_test_sample_inside_and_survive_a_file(run: tuple[Path, Results], tmp_path: Path) -> None:
    results = run[1]
    by_axes = {(p.name, p.pair is not None and p.pair.x): p for p in results.polygons}
    hole, drawn = by_axes["hole", "across"], by_axes["cuts.root:round", "P.gtr.p"]
    assert set(by_axes) == {
        ("hole", "across"), ("hole", "adc[0]"), ("cuts.root:round", "P.gtr.p"), ("unused", False)
    }  # fmt: skip
    assert hole.x == "(xy[0] + 0.1 * P.gtr.dp)"
    for name, n in results.n["test"].items():
        assert hole.inside[name] == 0  # the selection leaves nobody in the hole
        assert hole.outside[name] == drawn.inside[name] + drawn.outside[name] == n
        assert 0 < drawn.inside[name] < n
        assert hole.pair is not None
        assert hole.pair.planes[name].entries > 0.9 * n
    write_json(tmp_path / "results.json", results)
    again = read_results(tmp_path / "results.json")
    assert [p.name for p in again.polygons] == [p.name for p in results.polygons]
    np.testing.assert_array_equal(again.polygons[0].points, results.polygons[0].points)


@needs_root
def test_root_finds_every_polygon_in_results_root_and_draws_with_it(run: tuple[Path, Results], tmp_path: Path) -> None:
    write_results(tmp_path / "results.root", run[1], "")
    code = """
file = ROOT.TFile.Open(given["file"])
names = [key.GetName() for key in file.Get("polygons").GetListOfKeys() if key.GetClassName() == "TCutG"]
cuts = {name: file.Get(f"polygons/{name}") for name in names}
events = ROOT.TFile.Open(given["events"])
answer = {"axes": {name: [cut.GetVarX(), cut.GetVarY()] for name, cut in cuts.items()}}
answer["n"] = [events.Get("T").GetEntries(cut) for cut in ("round", given["formula"])]
"""
    formula = "(P.gtr.p - 6)*(P.gtr.p - 6)/9 + (P.gtr.beta - 1)*(P.gtr.beta - 1)/0.09 < 1"
    events = write_events(tmp_path / "events.root", 4000)
    answer = ask_root(code, file=tmp_path / "results.root", events=events, formula=formula)
    assert answer["axes"] == {
        "hole": ["(xy[0] + 0.1 * P.gtr.dp)", "xy[1]"],
        "hole_2": ["adc[0]", "P.cal.etot"],
        "round": ["P.gtr.p", "P.gtr.beta"],
        "unused": ["nowhere", "xy[1]"],
    }
    inside, in_the_ellipse = answer["n"]
    assert 1000 < in_the_ellipse < 3900
    assert 0 <= in_the_ellipse - inside < 0.02 * in_the_ellipse  # 60 chords lie inside the ellipse


def test_a_figure_for_each_polygon_on_its_axes_counts_inside_and_outside(run: tuple[Path, Results]) -> None:
    sheets = {name: sheet for name, sheet in gallery.catalogue(run[1]).items() if sheet.kind == "polygon"}
    assert sorted(sheets) == ["polygon_hole", "polygon_hole_2", "polygon_round"]
    sheet = sheets["polygon_round"]
    figure = gallery.drawn(sheet, "polygon_round")
    assert len(figure.axes) == 2
    result = next(p for p in run[1].polygons if p.name == "cuts.root:round")
    for ax, particle in zip(figure.axes, ("electron", "pion"), strict=True):
        legend = ax.get_legend()
        assert legend is not None
        (text,) = legend.get_texts()
        counts = f"{result.inside[particle]:,} inside, {result.outside[particle]:,} outside"
        assert text.get_text() == f"{particle}: {counts}"
        outline = next(artist for artist in ax.patches + ax.artists if artist.get_fill() is False)
        np.testing.assert_array_equal(outline.get_xy()[:-1], ROUND)
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        assert left < ROUND[:, 0].min() < ROUND[:, 0].max() < right
        assert bottom < ROUND[:, 1].min() < ROUND[:, 1].max() < top
    plots = Plots(run[1])
    assert len(plots.polygon("cuts.root:round").axes) == 2
    assert plots.polygon("hole", "adc[0]").axes[0].get_xlabel() == "adc[0]"
    with pytest.raises(UsageError, match="'across', 'adc\\[0\\]'"):
        plots.polygon("hole")
    assert sheet.numbers is not None
    assert sheet.numbers().rows[0] == ("electron", result.inside["electron"], result.outside["electron"])
