"""Every export is held against pidlab on events that include the awkward ones, and the manifest says how it went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export_runs import cached, made, write_events
from exported_runs import config, write_table
from pidlab.cli.terminal import summary_line
from pidlab.config.load import check_config
from pidlab.errors import DataError, ModelError, UsageError
from pidlab.export import Exported, ParityEvents, export, largest_difference, parity_events
from pidlab.export.cut_strings import _above, _below
from pidlab.expressions import parse, selects
from pidlab.expressions.aliases import with_aliases
from pidlab.models.model import Model
from pidlab.preprocess.recipe import compile_recipe
from pidlab.runs.bundle import Bundle, load_bundle
from real_root import ask_root, needs_root


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cached(tmp_path_factory.getbasetemp() / "export", "two")


@pytest.fixture(scope="module")
def bundle(two: Path) -> Bundle:
    return load_bundle(two)


@pytest.fixture(scope="module")
def events(bundle: Bundle) -> ParityEvents:
    return parity_events(bundle, 1000)


def test_special_values_are_among_the_events_and_integers_stay_integers(events: ParityEvents) -> None:
    for name in ("P.cal.etot", "P.hgcer.npe", "P.gtr.p"):
        column = events.branches[name]
        assert np.isnan(column).any()
        assert {np.inf, -np.inf, 0.0, float(column.dtype.type(1e30))} <= set(column[~np.isnan(column)].tolist())
    assert {-999.0, -1.0} <= set(events.branches["P.hgcer.npe"].tolist())
    serial = events.branches["serial"]
    assert (serial.dtype, serial.max()) == (np.uint64, 2**64 - 1)
    assert events.branches["event"].dtype == np.int64
    assert events.branches["fired"].dtype == np.bool_
    lists = events.branches["adc"].to_list()
    assert [] in lists
    assert any(np.isinf(x) for row in lists for x in row)


def test_selected_and_other_rows_of_the_whole_input_are_taken(bundle: Bundle, events: ParityEvents) -> None:
    assert 0.2 < events.selected.mean() < 0.95
    event = events.branches["event"]
    rows = event[(event >= 2**53) & (event < 2**53 + 3000)] - 2**53
    assert rows.min() < 30
    assert rows.max() > 2970
    assert len(events) == len(events.x) == len(events.spectators["P.gtr.p"])
    for name in bundle.models:
        assert len(events.scores[name]) == len(events)
        assert not any((passed & ~events.selected).any() for passed in events.passed[name].values())


def test_events_next_to_each_threshold_are_taken(bundle: Bundle, events: ParityEvents) -> None:
    for name in ("bdt", "mlp", "fisher"):
        score = events.scores[name][:, bundle.recipe.signal]
        for decision in bundle.decisions[name]:
            if decision.flat is None:
                threshold = np.float32(decision.threshold)
                above, below = score[score > threshold].min(), score[score <= threshold].max()
                assert above - below < 0.01, "candidates just above and just below"


@pytest.mark.parametrize(
    ("found", "expected", "difference"),
    [
        ([1.0, np.nan], [1.0, np.nan], 0.0),
        ([np.inf, -np.inf], [np.inf, -np.inf], 0.0),
        ([0.1, 0.2], [0.1, 0.2 + 2e-6], 2e-6),
        ([], [], 0.0),
    ],
)
def test_small_differences_are_told(found: Any, expected: Any, difference: float) -> None:
    assert largest_difference("x", found, expected) == pytest.approx(difference, rel=1e-6, abs=0)


@pytest.mark.parametrize(
    ("found", "expected", "said"),
    [
        ([0.5, 0.1], [0.5, 0.2], "x: differs from pidlab by 0.1 .limit 1e-05. in 1 of 2 events: 0.1 instead of 0.2"),
        ([np.nan], [1.0], "by inf"),
        ([1.0], [np.nan], "1 instead of nan"),
        ([np.inf], [-np.inf], "by inf"),
        ([[1.0, 2.0]], [1.0], "gives .1, 2. numbers where pidlab gives .1,."),
    ],
)
def test_large_ones_are_refused(found: Any, expected: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        largest_difference("x", found, expected)


@pytest.mark.parametrize("value", [float("nan"), 1.2e-7])
def test_a_file_is_told_in_a_line(value: float) -> None:
    line = summary_line(Exported(Path("a.h"), "header", ("m",), value, 12345, "" if value > 0 else "not checked: why"))
    assert line == ("a.h: largest difference 1.2e-07 on 12,345 events" if value > 0 else "a.h: not checked: why")


def test_without_the_inputs_other_events_must_be_named(tmp_path: Path, pidlab: Any) -> None:
    content = {
        "data": {"files": "events.root"},
        "classes": {"electron": "species == 0", "pion": "species > 0"},
        "features": ["P.cal.etot"],
        "models": {"hand": {"type": "expression", "cut": "P.cal.etot > 0.5"}},
        "evaluate": {"robustness": None, "importance": False},
    }
    run = made(tmp_path, content, "run", 500)
    (tmp_path / "events.root").unlink()
    with pytest.raises(DataError, match=r"events.root(.|\n)*name some with --events FILE"):
        export(load_bundle(run), run, "cuts", [], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    other = write_events(tmp_path / "other.root", 400, seed=9)
    done = pidlab("export", run, "--format", "cuts", "--events", other, "-o", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path / 'out' / 'hand.txt'}: largest difference 0 on 4")
    assert (tmp_path / "out" / "hand.txt").read_text() == "hand: (P.cal.etot > 0.5)\n"
    entries = json.loads((run / "manifest.json").read_text())["exports"]
    assert [(e["format"], e["files"], e["models"], e["largest_difference"]) for e in entries] == [
        ("cuts", ["hand.txt"], ["hand"], 0.0)
    ]
    assert entries[0]["fingerprint"] == load_bundle(run).fingerprint


def test_the_same_export_again_replaces_its_entry(two: Path, bundle: Bundle, tmp_path: Path) -> None:
    def entries() -> list[tuple[str, list[str]]]:
        return [(e["format"], e["files"]) for e in json.loads((two / "manifest.json").read_text())["exports"]]

    for _ in range(2):
        export(bundle, two, "cuts", ["hand"], tmp_path / "out")
    assert entries().count(("cuts", ["hand.txt"])) == 1
    export(bundle, two, "cuts", ["hand", "cuts"], tmp_path / "out")
    assert entries().count(("cuts", ["hand.txt"])) == 1
    assert entries().count(("cuts", ["cuts.txt"])) == 1
    assert not [p for p in [*two.iterdir(), *tmp_path.iterdir()] if p.name.startswith(".")]


def test_what_is_not_there_is_refused_with_the_nearest_name(two: Path, bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no format 'heeder'; did you mean 'header'"):
        export(bundle, two, "heeder", [], tmp_path)
    with pytest.raises(UsageError, match="no model 'bdd'; did you mean 'bdt'"):
        export(bundle, two, "header", ["bdd"], tmp_path)
    with pytest.raises(UsageError, match=r"models\.mlp is no cut"):
        export(bundle, two, "cuts", ["mlp"], tmp_path)


@needs_root
def test_root_selects_by_the_cut_strings_what_pidlab_selects(two: Path, bundle: Bundle, tmp_path: Path) -> None:
    export(bundle, two, "cuts", ["hand", "cuts"], tmp_path)
    source = write_events(tmp_path / "more.root", 5000, seed=11)
    events = parity_events(bundle, 5000, bundle.recipe.inputs([str(source)], None))
    lines = [line.split(": ", 1) for n in ("hand", "cuts") for line in (tmp_path / f"{n}.txt").read_text().splitlines()]
    assert [point for point, _ in lines] == ["hand", "eff90", "eff95", "eff99"]
    code = """
file = ROOT.TFile.Open(given["file"])
answer = [file.Get("T").GetEntries(cut) for cut in given["cuts"]]
"""
    counts = ask_root(code, file=source, cuts=[cut for _, cut in lines])
    own = [int(events.passed["hand" if p == "hand" else "cuts"][p][:5000].sum()) for p, _ in lines]
    assert counts == own
    assert 100 < min(counts) < max(counts) < 4000


def test_the_cut_string_of_a_result_knows_no_aliases(tmp_path: Path) -> None:
    """`metrics.json` and the report say a cut as ROOT takes it, which knows nothing of `data.aliases`."""
    write_table(tmp_path)
    content = config(2, {"hand": {"type": "expression", "cut": "late && a > 0.5"}})
    content["data"]["aliases"] = {"late": "shifted > 20", "shifted": "time - 1e6"}
    recipe = compile_recipe(check_config(content, {}, tmp_path / "analysis.yaml"))
    text = Model("hand", "expression", recipe, (), None, None).cut_string(0.5)
    assert parse(text).branches == {"time", "a"}
    arrays = {"time": np.array([1e6, 1e6 + 30, 1e6 + 30]), "a": np.array([1.0, 1.0, 0.0])}
    assert selects(parse(text), arrays, 3).tolist() == [False, True, False]


def test_a_whole_number_that_no_double_holds_is_told_of_beside_the_cut_string(two: Path, tmp_path: Path) -> None:
    """The selection of the run has `event != 9007199254740993`, which excludes another event in TTree::Draw."""
    (hand,) = export(load_bundle(two), two, "cuts", ["hand"], tmp_path)
    assert "9007199254740993, and integers beyond 2^53, as the nearest double (9007199254740992)" in hand.note


@given(st.floats(width=64, min_value=-1e30, max_value=1e30), st.floats(-4, 4))
def test_a_face_in_double_precision_decides_as_the_one_in_single_precision(face: float, steps: float) -> None:
    value = face + steps * float(np.spacing(np.float32(face)))  # around the place where floats change sides
    tree = {">": np.greater, ">=": np.greater_equal, "<": np.less, "<=": np.less_equal}
    single = float(np.float32(value))
    for text, expected in ((_above(face), single > face), (_below(face), single < face)):
        operator, middle = text.split()
        assert bool(tree[operator](value, float(middle))) == expected


def test_aliases_are_written_out() -> None:
    aliases = {"eop": "P.cal.etot", "good": "eop > 0.5 || late", "late": "t > 3"}
    text = with_aliases("good && eop.x < eop", aliases)
    assert text == "((P.cal.etot) > 0.5 || (t > 3)) && eop.x < (P.cal.etot)"
