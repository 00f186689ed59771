"""Names, numbers, files and folders that no analysis has: they end in a sentence, and nothing is lost by them."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import pidlab
from conftest import write_tree
from evaluate_samples import sample_of
from pidlab.atomic import replacing
from pidlab.cli.entry import cli
from pidlab.config.load import LoadedConfig, check_config, load_config
from pidlab.config.schema import Config
from pidlab.datadriven.efficiency.binning import parse_bins
from pidlab.datadriven.efficiency.estimate import Shapes, failed
from pidlab.datadriven.efficiency.measure import EfficiencyRequest
from pidlab.datadriven.efficiency.probes import ProbeExpressions
from pidlab.datadriven.efficiency.result import (
    FILE,
    NOTHING,
    BinResult,
    EfficiencyResult,
    PointResult,
    Quantity,
    SampleEfficiency,
    read_result,
    write_result,
)
from pidlab.datadriven.fractions.analysis import within
from pidlab.errors import ConfigError, DataError, ModelError, OutputError, PidlabError, UsageError
from pidlab.measured import Measured
from pidlab.preprocess.precision import _may_be_merged as shown_in_double
from pidlab.preprocess.store import bytes_of
from pidlab.read import find_sources
from pidlab.read.memory import column_of
from pidlab.runs.bundle import config_yaml
from pidlab.runs.compare import is_comparison
from pidlab.runs.manifest import KIND
from pidlab.runs.shift import labelled
from pidlab.runs.whole import filled_folder, whole_folder
from pidlab.simulate import is_sample, simulate

CONTENT: dict[str, Any] = {
    "data": {"files": "a.root"},
    "classes": {"s": "y == 1", "b": "y == 0"},
    "features": ["x", "z"],
    "spectators": ["p"],
    "models": {"fisher": {"type": "fisher"}},
}
HUGE = 10**400
LIKELIHOOD = {"type": "likelihood", "detectors": {"a": ["x"]}}


# Texts


_TEXTS = st.one_of(
    st.text(min_size=1, max_size=30),
    st.text(alphabet=" *&!|>%@`-?:#,[]{}\"'\\ab1é", min_size=1, max_size=150),
    st.sampled_from(
        ["yes", "no", "1e3", "0x1", "~", "null", ".inf", "<<", "=", "---", "- a", "a: b", "a #b", " a ", "."]
    ),
)


def kept_by_run(loaded: LoadedConfig) -> Config:
    """The configuration as it is read from the config.yaml of a run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(config_yaml(loaded), encoding="utf-8")
        return load_config(path).config


@settings(max_examples=40, deadline=None)
@given(st.lists(_TEXTS, max_size=8, unique=True), _TEXTS)
def test_what_a_run_keeps_of_a_configuration_is_that_configuration(names: list[str], unit: str) -> None:
    features = [{"name": name, "expression": "x", "unit": unit} for name in names] or ["x"]
    content = CONTENT | {"selection": dict.fromkeys(names, "x > 1"), "features": features}
    try:
        given_to_run = check_config(content, {}, Path("a.yaml"))
    except ConfigError:  # a text with control characters
        return
    kept = kept_by_run(given_to_run)
    assert list(kept.selection) == names
    assert kept.features == given_to_run.config.features


def test_a_cut_flow_with_long_names_is_kept() -> None:
    """A mapping over several lines, with a name where a line ends, was no YAML, and the run could not be loaded."""
    names = [f"the cut number {i} of a long list, * and & in it" for i in range(12)]
    content = CONTENT | {"selection": dict.fromkeys(names, "x > 1 * 2")}
    assert list(kept_by_run(check_config(content, {}, Path("a.yaml"))).selection) == names


@pytest.mark.parametrize("wrong", ["a\0b", "a\x1b[31m", "a\x85b", "a\u2028b", "a\udc80b"])
def test_control_characters_are_named_with_their_place(wrong: str) -> None:
    for content, key in (
        (CONTENT | {"selection": {wrong: "x > 1"}}, "selection"),
        (CONTENT | {"labels": {"x": wrong}}, "labels.x"),
        (CONTENT | {"features": ["x", {"name": wrong, "expression": "z"}]}, r"features\[1\].name"),
    ):
        with pytest.raises(ConfigError, match=rf"a\.yaml:1:1: {key}.*: holds the control character U\+[0-9A-F]{{4}}"):
            check_config(content, {}, Path("a.yaml"))


@pytest.mark.parametrize("name", ["x" * 300 + ".root", "é" * 200 + ".root", "d/" * 3000 + "a.root", "a\0.root"])
def test_a_file_name_that_no_file_has_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file has a name of so many characters|null byte"):
        find_sources([name], None, tmp_path)
    with pytest.raises(ConfigError):  # with the branch that is missing, for which the files are looked at
        check_config(CONTENT | {"data": {"files": name}, "signal": "none"}, {}, tmp_path / "a.yaml")


# Numbers


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": HUGE}, "seed: must be less than 9223372036854775808, not 1000"),
        ({"split": {"seed": HUGE}}, "split.seed: must be less than"),
        (
            {"models": {"fisher": {"type": "fisher", "by": {"x": "p", "bins": [1, float("nan")]}}}},
            "by.bins[1]: must be a",
        ),
        ({"models": {"fisher": {"type": "fisher", "by": {"x": "p", "bins": [1, float("inf")]}}}}, "must be a finite"),
        ({"models": {"cuts": {"type": "cuts", "ranges": {"x": [1, 0]}}}}, "models.cuts.ranges.x: 1 is not below 0"),
        ({"models": {"cuts": {"type": "cuts", "ranges": {"x": [float("nan"), 0]}}}}, "nan is not below 0"),
        ({"models": {"cuts": {"type": "cuts", "min_width": {"x": float("inf")}}}}, "must be a finite number, not inf"),
        ({"models": {"bdt": {"type": "bdt", "n_estimators": HUGE}}}, "must be less than or equal to 1000000, not 1000"),
        ({"models": {"bdt": {"type": "bdt", "gamma": float("nan")}}}, "'gamma' must be a finite number"),
        ({"models": {"bdt": {"type": "bdt", "gamma": HUGE}}}, "'gamma' must be a finite number"),
        ({"models": {"tree": {"type": "tree", "max_depth": HUGE}}}, "must be less than or equal to 1000000000"),
        ({"models": {"m": {"type": "mixture", "components": 10**9}}}, "must be less than or equal to 1000, not"),
        ({"models": {"m": {"type": "autoencoder", "bottleneck": 10**9}}}, "must be less than or equal to 100000"),
        ({"evaluate": {"punzi": float("inf")}}, "evaluate.punzi: must be a finite number, not inf"),
        ({"evaluate": {"expected": {"s": float("inf"), "b": 1}}}, "must be a finite number, not inf"),
        (
            {"evaluate": {"expected": {"s": 1e308, "b": 1}}},
            "must be less than or equal to 1000000000000000000, not 1e+308",
        ),
        (
            {"models": {"l": LIKELIHOOD | {"priors": {"s": float("inf"), "b": 1}}}},
            "priors.s: must be a finite number",
        ),
        ({"evaluate": {"maps": [{"x": "p", "bins": [1, float("nan"), 2]}]}}, "maps[0].bins: bin edges must rise"),
        ({"reweight": {"match": ["p"], "to": "s", "method": "bins", "bins": {"p": [1, float("inf")]}}}, "a finite"),
        ({"features": [{"name": "x", "expression": "x", "missing": [HUGE]}]}, "features[0].missing[0]: must be"),
    ],
)
def test_numbers_that_mean_nothing_are_refused_with_their_key(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_config(CONTENT | changes, {}, Path("a.yaml"))
    assert said in str(caught.value)
    assert len(caught.value.mistakes) == 1, "nothing is said that follows from the mistake"
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", [f"p: [1, {HUGE}]", "p: [1, .nan, 2]"])
def test_edges_on_the_command_line_are_numbers_that_rise(text: str) -> None:
    with pytest.raises(UsageError, match="write a variable and its edges"):
        within(text)


@pytest.mark.parametrize("ends", [(60, np.inf), (-np.inf, np.inf), (np.nan, 120), (60, 60)])
def test_a_range_of_masses_has_two_ends(ends: tuple[float, float]) -> None:
    request = EfficiencyRequest(
        Path(), (), ProbeExpressions("m", ("p",), "", ""), *ends, 60, parse_bins("p: [1, 2]"),
        Shapes("gauss", "exponential"), signals=(), backgrounds=(),
    )  # fmt: skip
    with pytest.raises(UsageError, match="--range: "):
        request.check()


def test_a_memory_that_no_machine_has_is_refused() -> None:
    with pytest.raises(UsageError, match="is no size"):
        bytes_of("9" * 400 + "GB")


# Folders that are written into


def full_disk(path: Path) -> None:
    path.write_text("new, and cut sh")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_folder_is_filled_at_the_end_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with filled_folder(target) as made:
        (made / "fits").mkdir()
        (made / "a.json").write_text("old")
        (made / "fits" / "b.png").write_text("old")
    (target / "mine.txt").write_text("mine")
    (target / ".new.0123abcd.part").mkdir()  # what a killed command left behind
    (target / ".new.0123abcd.part" / ".running").touch()
    with pytest.raises(OutputError, match="No space left"), filled_folder(target) as made:
        full_disk(made / "a.json")
    assert {p.name: p.read_text() for p in target.rglob("*") if p.is_file()} == {
        "a.json": "old",
        "b.png": "old",
        "mine.txt": "mine",
    }
    with filled_folder(target) as made:
        (made / "a.json").write_text("new")
    assert (target / "a.json").read_text() == "new"
    assert sorted(p.name for p in target.iterdir()) == ["a.json", "fits", "mine.txt"]


def test_a_message_names_the_place_of_a_file_and_not_the_hidden_one_where_it_was_begun(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as error, whole_folder(tmp_path / "run") as made:
        raise OutputError(f"{made}/results.root: cannot be written")
    assert str(error.value) == f"{tmp_path}/run/results.root: cannot be written"
    assert list(tmp_path.iterdir()) == []


def test_a_figure_that_cannot_be_written_leaves_the_one_that_was_there(tmp_path: Path) -> None:
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from pathlib import Path; from pidlab.errors import OutputError; from pidlab.plots.gallery import save\n"
        "try: save(Path('roc.png'), b'new' * 1000)\n"
        "except OutputError as error: print('said', error)"
    )
    (tmp_path / "roc.png").write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "said roc.png: the figure cannot be written (File too large)" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["roc.png"]
    assert (tmp_path / "roc.png").read_bytes() == b"old"


def test_a_file_of_the_user_s_own_is_not_replaced_by_a_sample_or_a_comparison(tmp_path: Path) -> None:
    def command(*words: str) -> Any:
        return CliRunner().invoke(cli, [*words])

    for kind, name in (("workshop", "a.root"), ("nano", "a.root"), ("clas12", "a.hipo")):
        again = ("simulate", kind, "-o", str(tmp_path / name), "--events", "20")
        assert command(*again).exit_code == 0
        assert command(*again).exit_code == 0, "a sample takes the place of a sample"
    assert is_sample(tmp_path / "a.root")
    write_tree(tmp_path / "mine.root", {"x": np.arange(3.0)})
    (tmp_path / "mine.json").write_text('{"mine": 1}')
    (tmp_path / "empty.root").touch()
    for name in ("mine.root", "mine.json"):
        content = (tmp_path / name).read_bytes()
        done = command("simulate", "workshop", "-o", str(tmp_path / name), "--events", "20")
        assert isinstance(done.exception, OutputError)
        assert f"{name}: is there already and was not written by simulate; nothing was touched" in str(done.exception)
        assert (tmp_path / name).read_bytes() == content
    assert command("simulate", "workshop", "-o", str(tmp_path / "empty.root"), "--events", "20").exit_code == 0
    assert (
        command("simulate", "workshop", "-o", str(tmp_path / "mine.root"), "--events", "20", "--force").exit_code == 0
    )
    assert is_sample(tmp_path / "mine.root")
    done = command("compare", "one", "two", "--json", str(tmp_path / "mine.json"))
    assert "mine.json: is there already and was not written by compare" in str(done.exception)
    assert not is_comparison(tmp_path / "mine.json")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("gamma: -1", "a.yaml:8:5: models.trees: xgboost refuses to train: value -1 for Parameter min_split_loss"),
        ("grow_policy: deep", "a.yaml:8:5: models.trees: xgboost refuses to train: Invalid Input: 'deep'"),
        ("monotone_constraints: 3", "a.yaml:8:5: models.trees.monotone_constraints: 'monotone_constraints' must be"),
        ("interaction_constraints: [x]", "a.yaml:8:5: models.trees.interaction_constraints: 'interaction_constra"),
        ("monotone_constraints: {q: 1}", "a.yaml:8:28: models.trees: a constraint names the feature 'q'"),
    ],
)
def test_a_value_that_xgboost_refuses_is_told_with_its_place(line: str, said: str, tmp_path: Path) -> None:
    y = np.arange(300) % 2
    write_tree(tmp_path / "a.root", {"x": np.random.default_rng(1).normal(y), "y": y})
    (tmp_path / "a.yaml").write_text(
        "data: {files: a.root}\nclasses: {s: y == 1, b: y == 0}\nfeatures: [x]\nmodels:\n"
        f"  trees:\n    type: bdt\n    n_estimators: 2\n    {line}\n"
    )
    words = ["run", str(tmp_path / "a.yaml"), "-o", str(tmp_path / "run"), "--figures", "none", "-q"]
    with pytest.raises(PidlabError) as told:
        CliRunner().invoke(cli, words, catch_exceptions=False)
    assert f"{tmp_path}/{said}" in str(told.value)
    assert not (tmp_path / "run").exists()


def test_no_file_takes_the_place_of_a_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match=r"pipe: cannot be written \(it is a pipe or a device\)"):
        simulate("workshop", tmp_path / "pipe", 20)
    with pytest.raises(OSError, match="pipe or a device"), replacing(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()


def test_no_measurement_takes_the_place_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": 1, "kind": KIND}))
    (tmp_path / "report.html").write_text("of the run")
    with pytest.raises(OutputError, match="is the folder of a run, which would lose files"), filled_folder(tmp_path):
        pass
    assert (tmp_path / "report.html").read_text() == "of the run"


def test_a_folder_that_is_a_file_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="out: cannot be written"), filled_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "out").read_text() == "mine"


# Measured efficiencies


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A folder with the efficiencies of one working point in two bins."""
    values = [Quantity(Measured(0.9, 0.88, 0.92, 100.0), {"signal": 0.01}), NOTHING]
    bins = tuple(BinResult(i, SampleEfficiency(failed("", ""), {}, (), q), None, q) for i, q in enumerate(values))
    point = PointResult("hand", "hand", bins)
    write_result(
        tmp_path, EfficiencyResult(parse_bins("p: [0.125, 10, 20.7]"), (point,), {"mass": "m"}, "f", ("note",))
    )
    return tmp_path


def test_a_flipped_bit_changes_no_efficiency(measured: Path) -> None:
    path = measured / FILE
    whole, content = read_result(measured), path.read_bytes()
    rng = np.random.default_rng(1)
    answers = []
    for place in rng.choice(len(content), 250, replace=False):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            found = read_result(measured)
        except ModelError:
            answers.append("refused")
            continue
        np.testing.assert_array_equal(found.binning.edges, whole.binning.edges)
        assert dataclasses.replace(found, binning=whole.binning) == whole
        answers.append("the same")
    assert answers.count("refused") > 100  # most of the others are blanks


def test_efficiencies_of_a_version_without_a_checksum_are_read(measured: Path) -> None:
    content = json.loads((measured / FILE).read_text())
    del content["sha256"]
    (measured / FILE).write_text(json.dumps(content))
    assert read_result(measured).points[0].bins[0].data.quantity.measured.value == 0.9


@pytest.mark.parametrize("edges", [[], [1.0], [2.0, 1.0, 3.0], [[1.0, 2.0], [3.0, 4.0]], ["a", "b"], None])
def test_axes_that_are_none_are_refused(edges: Any, measured: Path) -> None:
    content = json.loads((measured / FILE).read_text())
    del content["sha256"]
    content["axes"][0]["edges"] = edges
    (measured / FILE).write_text(json.dumps(content))
    with pytest.raises(ModelError, match="is damaged"):
        read_result(measured)


# Domain shift


def test_axes_of_polygons_do_not_hinder_a_comparison() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = (sample_of(rng.integers(0, 2, 50), x=rng.normal(size=(50, 2))) for _ in range(2))
    assert len(labelled(dataclasses.replace(ours, axes={"x": ours.x[:, 0]}), theirs)) == 100


# In Python


def test_an_input_that_cannot_be_read_is_named_and_nothing_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 200)
    result = pidlab.compare(
        {"x": rng.normal(y)}, y, models={"f": {"type": "fisher"}}, evaluate={"robustness": None, "importance": False}
    )
    with pytest.raises(DataError) as caught:
        result.apply("none.root", tmp_path / "friends")
    assert str(caught.value).startswith("none.root: no such file")
    with pytest.raises(UsageError, match="figures must be one of none, quick, all, not 'some'"):
        result.save(tmp_path / "run", figures="some")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="figures must be one of none, quick, all, not 'some'"):
        result.report(tmp_path / "report.html", figures="some")  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (None, "NoneType is no table; give a dict of arrays"),
        ({}, "the arrays have no 'x'; they have no names at all"),
        (pd.DataFrame(np.zeros((3, 2)), columns=["x", "x"]), "2 columns of the table are called 'x'"),
    ],
    ids=["none", "empty", "doubled"],
)
def test_what_is_no_table_is_said_so(arrays: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        column_of(arrays, "x")


def test_keys_of_a_configuration_are_texts() -> None:
    with pytest.raises(ConfigError, match=r"Keys should be strings|must be a valid string"):
        pidlab.run({**CONTENT, 1: 2})


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_names_of_runs_and_configurations_that_no_file_has(name: str) -> None:
    with pytest.raises(UsageError, match="is not the folder of a run"):
        pidlab.load(name)
    with pytest.raises(UsageError, match="cannot be read as a configuration"):
        pidlab.run(name)


def test_values_beyond_single_precision_are_compared_without_a_warning() -> None:
    assert shown_in_double(np.array([1.0, 2.0, 3.0]) * 1e300)


# Processes that are killed


HALF = """
import os, sys
from pathlib import Path
from pidlab.atomic import replacing
from pidlab.cli.entry import cli
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os._exit(9)
"""


def test_what_a_killed_process_left_is_removed_when_its_file_is_written_again(tmp_path: Path) -> None:
    target = tmp_path / "sample.root"
    assert subprocess.run([sys.executable, "-c", HALF, str(target)], check=False).returncode == 9
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    with replacing(target) as outer:
        outer.write_text("first")
        with replacing(target) as inner:  # another process, which sweeps nothing away that is being written
            inner.write_text("second")
        assert outer.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["sample.root"]
    assert target.read_text() == "first"
