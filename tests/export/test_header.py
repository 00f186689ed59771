"""The C++ header says of every event what pidlab says, compiled by a compiler and in ROOT's interpreter alike."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from conftest import write_tree
from export_runs import TWO, cached, made, write_events
from pidlab.errors import ModelError, OutputError, UsageError
from pidlab.export import export, largest_difference, parity_events
from pidlab.export.cpp import check as cpp_check
from pidlab.export.cpp.check import compared, outputs_of
from pidlab.export.cpp.header import Header
from pidlab.export.parity import ParityEvents
from pidlab.expressions.literals import cpp_identifier as identifier
from pidlab.models.calibration import Isotonic, Temperature
from pidlab.read import Source
from pidlab.runs.bundle import Bundle, load_bundle
from real_root import ask_root, needs_root

needs_compiler = pytest.mark.skipif(not cpp_check.find_compiler(), reason="there is no C++ compiler")
EXACT = {"expression", "score", "cuts", "fisher", "logistic"}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cached(tmp_path_factory.getbasetemp() / "export", "two")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cached(tmp_path_factory.getbasetemp() / "export", "three")


@pytest.fixture(scope="module")
def of_two(two: Path) -> tuple[Bundle, ParityEvents]:
    bundle = load_bundle(two)
    return bundle, parity_events(bundle, 1500)


def answers(bundle: Bundle, events: ParityEvents, folder: Path, models: Sequence[str] = ()) -> tuple[Header, Any]:
    """What a fresh header says of events, by output."""
    header = Header(bundle, list(models) or list(bundle.models), events, "pid_test")
    path = folder / "pid_test.h"
    path.write_text(header.text())
    return header, outputs_of(header, path, events, folder)


@pytest.mark.slow
@needs_compiler
def test_a_hundred_thousand_events_are_scored_and_decided_alike(two: Path, tmp_path: Path) -> None:
    bundle = load_bundle(two)
    n = 100_000
    source = Source(str(write_events(tmp_path / "many.root", n, seed=5)), "T")
    events = parity_events(bundle, n, [source])
    assert len(events) >= n
    header, found = answers(bundle, events, tmp_path)
    assert compared(header, "pid_test.h", found, events) < 1e-5
    assert np.array_equal(found["pid_selected"], events.selected)
    assert 0.3 < events.selected.mean() < 0.9
    for model in header.models:
        kind = bundle.models[model].kind
        score = np.where(events.selected, events.scores[model][:, bundle.recipe.signal], np.nan)
        limit = 0 if kind in EXACT else 1e-6 if kind == "bdt" else 1e-5
        largest_difference(model, found[f"pid_{model}"], score, limit)
        flipped = {d.name: decided(events, found, model, d.name) for d in bundle.decisions[model]}
        assert not any(flipped.values()), flipped


def decided(events: ParityEvents, found: Any, model: str, point: str) -> int:
    """The number of decisions that differ, after a look whether both answers occur."""
    passed = events.passed[model][point]
    assert 0 < passed.sum() < len(passed)
    return int((found[f"pid_{model}_{point}"] != passed).sum())


@pytest.mark.slow
@needs_compiler
def test_three_classes_folds_boxes_and_every_activation(three: Path, tmp_path: Path) -> None:
    exported = export(load_bundle(three), three, "header", [], tmp_path)
    assert [e.path.name for e in exported] == ["pid_three.h"]
    assert exported[0].largest_difference < 1e-6
    text = exported[0].path.read_text()
    assert 'visit("pid_tanh_kaon"' in text
    assert "pid_boxes_eff90" in text


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(
    "calibration",
    [
        Temperature(1.7),
        Isotonic((1,), (np.array([0.1, 0.4, 0.8]),), (np.array([0.0, 0.5, 0.9]),)),
        Isotonic((0,), (np.array([0.1, 0.8]),), (np.array([0.2, 0.9]),)),
    ],
    ids=["temperature", "isotonic", "isotonic first"],
)
def test_calibrated_models_of_two_classes(
    of_two: tuple[Bundle, ParityEvents], calibration: Any, tmp_path: Path
) -> None:
    check_calibrated(of_two[0], ["fisher", "bdt", "mlp"], calibration, tmp_path)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_calibrated_models_of_three_classes(three: Path, method: str, tmp_path: Path) -> None:
    x = np.array([0.2, 0.5, 0.9])
    calibrations = {"temperature": Temperature(0.6), "isotonic": Isotonic((0, 1, 2), (x, x, x), (x - 0.2, x / 3, x))}
    check_calibrated(load_bundle(three), ["fisher", "bdt", "relu"], calibrations[method], tmp_path)


def check_calibrated(bundle: Bundle, models: list[str], calibration: Any, folder: Path) -> None:
    calibrated = {m: replace(bundle.models[m], calibration=calibration) for m in models}
    bundle = replace(bundle, models=calibrated, decisions={m: bundle.decisions[m] for m in models})
    events = parity_events(bundle, 500)
    header, found = answers(bundle, events, folder)
    assert compared(header, "pid_test.h", found, events) < 1e-6


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("planted", ["weight", "threshold"])
def test_a_wrong_constant_is_found_and_nothing_is_left(
    two: Path, planted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, text = load_bundle(two, ["fisher"]), Header.text
    right = repr(float(bundle.models["fisher"].fitted[0].estimator.coefficients_[0, 0]))
    wrong = repr(float(right) * 1.001)
    if planted == "threshold":
        threshold = np.float32(bundle.decisions["fisher"][0].threshold)
        right, wrong = f"score > {threshold!s}f", f"score > {threshold * np.float32(0.9)!s}f"
    assert right in Header(bundle, ["fisher"], parity_events(bundle, 100), "pid_x").text()
    manifest = (two / "manifest.json").read_text()
    monkeypatch.setattr(Header, "text", lambda self: text(self).replace(right, wrong))
    with pytest.raises(ModelError, match="the decision pid_fisher_eff90" if planted == "threshold" else "pid_fisher: "):
        export(bundle, two, "header", [], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    assert (two / "manifest.json").read_text() == manifest


@pytest.mark.slow
@needs_compiler
def test_strict_compilers_have_nothing_to_say_of_two_headers_in_one_file(
    two: Path, three: Path, tmp_path: Path
) -> None:
    for run in (two, three):
        bundle = load_bundle(run)
        text = Header(bundle, list(bundle.models), parity_events(bundle, 100), f"pid_{run.name}").text()
        (tmp_path / f"pid_{run.name}.h").write_text(text)
    # two files that include it: everything must be inline
    (tmp_path / "other.cpp").write_text('#include "pid_two.h"\n#include "pid_three.h"\n#include "pid_two.h"\n')
    (tmp_path / "main.cpp").write_text(
        '#include "pid_two.h"\n#include <cstdio>\n'
        'int main() { pid_two::Event e; std::printf("%d", pid_two::selected(e)); }\n'
    )
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-o", str(tmp_path / "program")]
    command = [*cpp_check.find_compiler(), *flags, *map(str, sorted(tmp_path.glob("*.cpp")))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=True).stdout == "0"


@needs_root
def test_without_a_compiler_root_checks_the_header(
    of_two: tuple[Bundle, ParityEvents], two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpp_check, "find_compiler", list)
    assert export(load_bundle(two), two, "header", ["bdt", "mlp", "hand"], tmp_path)[0].largest_difference < 1e-6


def test_with_nothing_to_compile_it_the_header_says_so(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(cpp_check.importlib.util, "find_spec", lambda name: None)
    exported = export(load_bundle(two, ["cuts"]), two, "header", [], tmp_path / "out")[0]
    assert (exported.path.exists(), exported.note) == (True, "not checked: no C++ compiler")
    noted = json.loads((two / "manifest.json").read_text())["exports"]
    entry = next(e for e in noted if (e["format"], e["models"]) == ("header", ["cuts"]))
    assert (entry["largest_difference"], entry["note"]) == (None, "not checked: no C++ compiler")


def test_a_steep_calibration_may_move_scores_by_what_their_last_digits_explain(
    of_two: tuple[Bundle, ParityEvents],
) -> None:
    bundle, events = of_two
    raw = bundle.models["fisher"].fitted[0].scores(events.x)
    signal = bundle.recipe.signal
    known = np.isfinite(raw[:, signal]) & events.selected
    at = float(np.median(raw[known, signal]))
    steep = Isotonic((signal,), (np.array([0, at, at + 1e-7, 1]),), (np.array([0, 0.1, 0.9, 1]),))
    scores = steep.apply(raw)
    steeply = replace(bundle, models={"fisher": replace(bundle.models["fisher"], calibration=steep)},
                      decisions={"fisher": ()})  # fmt: skip
    known_events = replace(events, scores={"fisher": scores})
    header = Header(steeply, ["fisher"], known_events, "pid_test")

    def found(step: float, rows: Any) -> dict[str, Any]:
        moved = np.where(rows, steep.apply(raw + np.float32(step))[:, signal], scores[:, signal]).astype(np.float64)
        column = np.where(events.selected, moved, np.nan)
        return {"pid_selected": events.selected, "pid_fisher": column, "fisher(…)": column}

    assert compared(header, "a.h", found(3e-6, known), known_events) > 0.1
    far = known & (np.abs(raw[:, signal] - at) > 0.01)
    with pytest.raises(ModelError, match=r"pid_fisher: differs from pidlab by"):
        compared(header, "a.h", found(1e-3, far), known_events)


@needs_root
@pytest.mark.parametrize("how", ["", "+"], ids=["interpreted", "compiled"])
def test_a_macro_of_root_can_use_it(of_two: tuple[Bundle, ParityEvents], how: str, tmp_path: Path) -> None:
    if how and not shutil.which("g++"):
        pytest.skip("ROOT compiles macros with g++")
    bundle, events = of_two
    path = tmp_path / "pid_test.h"
    header = Header(bundle, ["fisher", "bdt"], events, "pid_test")
    path.write_text(header.text())
    members = [m.name for m in header.members_of("bdt")]
    row = int(np.flatnonzero(events.selected)[0])
    values = {m.name: events.branches[m.branch][row] for m in header.members_of("bdt")}
    filled = "".join(f"e.{name} = {cpp(values[name])};" for name in members)
    (tmp_path / "use.C").write_text(
        f'#include "{path}"\ndouble use() {{ pid_test::Event e; {filled} return pid_test::score_bdt(e); }}\n'
    )
    score = ask_root(
        'assert ROOT.gROOT.LoadMacro(given["macro"]) == 0\nanswer = ROOT.use()', macro=f"{tmp_path}/use.C{how}"
    )
    assert score == pytest.approx(events.scores["bdt"][row, bundle.recipe.signal], abs=1e-6)


def cpp(value: Any) -> str:
    """A value of a branch as C++."""
    if np.ndim(value):
        return "{" + ", ".join(map(cpp, ak.to_list(value))) + "}"
    if isinstance(value, np.bool_ | bool):
        return str(bool(value)).lower()
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return f"{text}ull" if text.isdigit() and int(text) >= 2**63 else 'std::nan("")' if text == "nan" else text


@pytest.mark.parametrize(
    ("expression", "said"),
    [("Sum$(adc)", "Sum\\$ has no C\\+\\+"), ("Entry$ + xy[0]", "Entry\\$"), ("Alt$(adc[0], 0)", "Alt\\$ has no C")],
)
def test_what_has_no_meaning_for_one_row_is_refused_by_name(expression: str, said: str, tmp_path: Path) -> None:
    write_events(tmp_path / "events.root", 600)
    content = {k: v for k, v in TWO.items() if k != "evaluate"} | {"features": ["P.cal.etot", expression]}
    content |= {"models": {"fisher": {"type": "fisher"}}, "evaluate": {"robustness": None, "importance": False}}
    run = made(tmp_path, content, "run", 600)
    with pytest.raises(UsageError, match=f"features.{expression.replace('$', '.').replace('(', '.')[:3]}.*{said}"):
        export(load_bundle(run), run, "header", [], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@needs_compiler
def test_text_is_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    lines = [
        f"{x:.4f},{w},{s}"
        for x, w, s in zip(
            rng.normal(0, 1, 900), rng.choice(["good", 'b"d', ""], 900), rng.integers(0, 2, 900), strict=True
        )
    ]
    (tmp_path / "events.csv").write_text("x,quality,s\n" + "\n".join(lines) + "\n")
    content = {
        "data": {"files": "events.csv"},
        "classes": {"a": "s == 0", "b": "s == 1"},
        "selection": {"quality": 'quality == "good"'},
        "features": ["x"],
        "models": {"hand": {"type": "expression", "cut": "x > 0.3"}},
        "evaluate": {"robustness": None, "importance": False},
    }
    (tmp_path / "events.root").touch()  # not needed
    run = made(tmp_path, content, "run", 0)
    events = parity_events(load_bundle(run), 800)
    assert 0.2 < events.selected.mean() < 0.5
    assert export(load_bundle(run), run, "header", [], tmp_path / "out")[0].largest_difference == 0


@needs_compiler
@needs_root
def test_candidates_become_lists_in_a_data_frame(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    counts = rng.integers(0, 4, 1200)
    n = counts.sum()
    genuine = rng.integers(0, 2, n)
    columns = {
        "Electron_pt": ak.unflatten(rng.normal(20 + 10 * genuine, 6).astype(np.float32), counts),
        "Electron_genuine": ak.unflatten(genuine.astype(np.int32), counts),
        "PV_npvs": rng.integers(1, 60, len(counts)).astype(np.int32),
    }
    write_tree(tmp_path / "events.root", columns, tree="Events")
    content = {
        "data": {"files": "events.root", "tree": "Events", "per": "Electron"},
        "classes": {"genuine": "Electron_genuine == 1", "fake": "Electron_genuine == 0"},
        "selection": {"pt": "Electron_pt > 8"},
        "features": ["Electron_pt", "PV_npvs"],
        "models": {"fisher": {"type": "fisher"}},
        "evaluate": {"robustness": None, "importance": False, "working_points": [0.9]},
    }
    run = made(tmp_path, content, "run", 0)
    bundle = load_bundle(run)
    path = export(bundle, run, "header", [], tmp_path)[0].path
    code = """
ROOT.gInterpreter.Declare(f'#include "{given["header"]}"')
ROOT.gInterpreter.Declare("ROOT::RDF::RNode scored(ROOT::RDF::RNode f) { return pid_run::define(f); }")
frame = ROOT.scored(ROOT.RDF.AsRNode(ROOT.RDataFrame("Events", given["file"])))
columns = ("pid_fisher", "pid_selected", "pid_fisher_eff90")
kinds = ("ROOT::RVec<float>", "ROOT::RVec<bool>", "ROOT::RVec<bool>")
taken = [frame.Take[kind](name) for kind, name in zip(kinds, columns)]
answer = [[[repr(float(v)) for v in row] for row in column] for column in taken]
"""
    score, selected, passed = (
        np.array([float(v) for row in column for v in row])
        for column in ask_root(code, header=path, file=tmp_path / "events.root")
    )
    pt, npvs = ak.flatten(columns["Electron_pt"]).to_numpy(), np.repeat(columns["PV_npvs"], counts)
    expected = bundle.models["fisher"].scores_of(np.stack([pt, npvs], axis=1).astype(np.float32), {})[:, 0]
    assert np.array_equal(selected, pt > 8)
    assert np.array_equal(score, np.where(pt > 8, expected, np.nan), equal_nan=True)
    assert np.array_equal(passed, (pt > 8) & (expected > np.float32(bundle.decisions["fisher"][0].threshold)))


@pytest.mark.parametrize(
    ("text", "name"),
    [("P.cal.etot", "P_cal_etot"), ("3d", "x_3d"), ("class", "class_"), ("a-b c", "a_b_c"), ("", "x"), ("E$", "E")],
)
def test_names_become_valid(text: str, name: str) -> None:
    assert identifier(text) == name
    assert identifier(text, [name]) == f"{name}_2"


@needs_compiler
def test_a_full_temporary_folder_is_told_as_that(two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(
        OutputError, match=r"gone: the temporary files that check the header cannot be written .*TMPDIR"
    ):
        export(load_bundle(two), two, "header", ["fisher"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@needs_compiler
def test_a_compiler_that_takes_too_long_is_ended_with_all_that_it_started(
    of_two: tuple[Bundle, ParityEvents], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """g++ starts the compiler proper, which would go on alone."""
    slow = tmp_path / "slow"
    slow.write_text(f"#!/bin/sh\nsleep 30 &\necho $! > {tmp_path}/started\nwait\n")
    slow.chmod(0o755)
    monkeypatch.setenv("CXX", str(slow))
    monkeypatch.setattr(cpp_check, "_TIMEOUT", 1)
    bundle, events = of_two
    with pytest.raises(ModelError, match=r"does not compile: .*slow took more than 1 s"):
        answers(bundle, events, tmp_path, ["fisher"])
    started = Path(f"/proc/{(tmp_path / 'started').read_text().strip()}")
    deadline = time.monotonic() + 10
    while started.exists() and "State:\tZ" not in (started / "status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
