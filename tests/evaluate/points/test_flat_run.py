"""Flat working points and marked bins through a whole run: configuration, files, friends, figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from pidlab.config.load import check_config
from pidlab.errors import ConfigError, ModelError
from pidlab.evaluate.points.flat import thresholds_at
from pidlab.models.registry import Resources
from pidlab.pipeline import run
from pidlab.progress import Watcher
from pidlab.runs.bundle import load_bundle
from pidlab.simulate import simulate
from real_root import ask_root, needs_root

pytestmark = pytest.mark.slow

CONTENT: dict[str, Any] = {
    "data": {"files": "shms.root", "event_id": ["run", "event"], "weight": "w"},
    "classes": {"electron": "species == 0", "pion": "species == 1"},
    "features": ["P.cal.etottracknorm", {"name": "npe", "expression": "P.hgcer.npeSum", "missing": [-999]}],
    "models": {"hand": {"type": "expression", "cut": "P.cal.etottracknorm > 0.7"}, "fisher": {"type": "fisher"}},
    "evaluate": {
        "working_points": [0.9, 0.95],
        "flat": [{"x": "P.gtr.p", "bins": 5}, {"x": "P.gtr.p", "bins": 3, "y": "P.gtr.th", "y_bins": 2}],
        "maps": [
            {"x": "P.gtr.p", "bins": [0.0, 1.9, 2.2, 8.0, 90.0], "y": "P.gtr.th", "y_bins": [-0.1, 0.0, 0.0002, 0.1]}
        ],
        "thin": 12,
        "robustness": None,
    },
}
POINTS = ["eff90", "eff95", "eff90_flat_p", "eff95_flat_p", "eff90_flat_p_th", "eff95_flat_p_th"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flat")
    simulate("shms", folder / "shms.root", 8000, 3)
    run(check_config(CONTENT, {}, folder / "analysis.yaml"), folder / "run", Resources("cpu", 1), Watcher())
    return folder / "run"


def test_the_points_stand_behind_the_others_in_metrics_with_their_flatness(done: Path) -> None:
    metrics = json.loads((done / "metrics.json").read_text())
    fisher = metrics["models"]["fisher"]
    assert [p["name"] for p in fisher["working_points"]] == POINTS
    assert [p["name"] for p in metrics["models"]["hand"]["working_points"]] == ["hand"]
    assert [f["working_point"] for f in fisher["flatness"]] == POINTS[2:]
    assert {p["threshold"] for p in fisher["working_points"][2::2]} == {fisher["working_points"][0]["threshold"]}
    for found in fisher["flatness"]:
        assert set(found["chi2"]) == set(found["spread"]) == {"before", "after"}
        assert np.shape(found["after"]["value"]) == tuple(len(e) - 1 for e in found["after"]["edges"])


def test_thin_bins_are_marked_and_empty_ones_are_undefined(done: Path) -> None:
    maps = json.loads((done / "metrics.json").read_text())["models"]["fisher"]["maps"]
    one = next(m for m in maps if m["names"] == ["P.gtr.p", "P.gtr.th"] and m["particle"] == "electron")
    assert one["least"] == 12
    n, thin = np.array(one["n"]), np.array(one["thin"])
    np.testing.assert_array_equal(thin, (n > 0) & (n < 12))
    assert thin.any()
    assert [v is None for row in one["value"] for v in row] == [bool(x == 0) for x in n.flat]
    assert None in one["value"][-1]


def test_friends_and_the_loaded_bundle_decide_at_the_thresholds_of_the_spectators(done: Path) -> None:
    decisions = {d.name: d for d in load_bundle(done).decisions["fisher"]}
    with uproot.open(done.parent / "shms.root") as file, uproot.open(done / "friends" / "shms_pid.root") as friends:
        given = file["T"].arrays(["P.gtr.p", "P.gtr.th"], library="np")
        friend = friends["T_pid"].arrays(library="np")
    selected = friend["pid_selected"]
    for name in POINTS[2:]:
        at = thresholds_at(decisions[name].flat, given).astype(np.float32)
        expected = (friend["pid_fisher"] > at) & selected
        np.testing.assert_array_equal(friend[f"pid_fisher_{name}"], expected)
        assert (expected != (friend["pid_fisher_eff90"] if "90" in name else friend["pid_fisher_eff95"])).any()


def test_damaged_thresholds_of_a_run_are_named_with_their_file(done: Path) -> None:
    path = done / "models" / "fisher" / "model.json"
    whole = path.read_text()
    content = json.loads(whole)
    content["working_points"][2]["flat"]["values"] = [1.0]
    path.write_text(json.dumps(content))
    try:
        with pytest.raises(ModelError, match=r"fisher.model\.json: .*make the run again"):
            load_bundle(done)
    finally:
        path.write_text(whole)


_READ = """
file = ROOT.TFile(given["path"])
graph, table = file.Get("fisher/flat/eff90_flat_p_threshold"), file.Get("fisher/flat/eff90_flat_p_th_threshold")
after, before = (file.Get(f"fisher/flat/eff90_flat_p_{name}") for name in ("efficiency", "constant"))
title = file.Get("maps/fisher/efficiency_p_th_eff90_value").GetTitle()
answer = [
    [list(graph.GetX()), list(graph.GetY())],
    [[table.GetBinContent(i + 1, j + 1) for j in range(table.GetNbinsY())] for i in range(table.GetNbinsX())],
    [[e.GetEfficiency(i + 1) for i in range(e.GetTotalHistogram().GetNbinsX())] for e in (before, after)],
    title,
]
"""


@needs_root
def test_root_reads_the_thresholds_and_the_efficiency_before_and_after(done: Path) -> None:
    graph, table, efficiencies, title = ask_root(_READ, path=done / "results.root")
    flats = {d.name: d.flat for d in load_bundle(done).decisions["fisher"]}
    np.testing.assert_allclose(
        graph, [flats["eff90_flat_p"].nodes[0], flats["eff90_flat_p"].values], rtol=1e-12, atol=0
    )
    np.testing.assert_allclose(table, flats["eff90_flat_p_th"].values, rtol=1e-12, atol=0)
    metrics = json.loads((done / "metrics.json").read_text())["models"]["fisher"]["flatness"][0]
    expected = [metrics["before"]["value"], metrics["after"]["value"]]
    np.testing.assert_allclose(efficiencies, expected, rtol=1e-9, atol=0)
    assert "bins below 12 effective events" in title


def test_figures_show_them_apart_from_the_others(done: Path) -> None:
    names = {p.stem for p in (done / "plots").glob("*.png")}
    assert {"efficiency_flat_P_gtr_p_fisher", "efficiency_flat_P_gtr_p_P_gtr_th_fisher"} <= names
    assert {"efficiency_P_gtr_p_fisher", "efficiency_P_gtr_p_fisher_flat"} <= names


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"flat": [{"x": "P.gtr.p >"}]}, r"evaluate\.flat\[0\]\.x"),
        ({"flat": [{"x": "P.gtr.p", "y": "P.gtr.nosuch"}]}, r"evaluate\.flat\[0\]\.y"),
        ({"flat": [{"x": "P.gtr.p", "bins": [2, 1]}]}, r"evaluate\.flat\[0\]\.bins: bin edges must rise"),
    ],
)
def test_a_mistake_in_what_is_followed_has_its_place(done: Path, tmp_path: Path, section: Any, said: str) -> None:
    content = CONTENT | {"evaluate": section, "data": CONTENT["data"] | {"files": str(done.parent / "shms.root")}}
    with pytest.raises(ConfigError, match=said):
        run(check_config(content, {}, tmp_path / "a.yaml"), tmp_path / "out", Resources("cpu", 1), Watcher())
