"""Attach: the two files beside the friends put them next to their inputs, in real ROOT and in Python."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from apply_runs import events, friend, make_inputs, make_run

from conftest import write_tree
from pidlab.apply import apply
from pidlab.progress import Watcher
from pidlab.read import Source
from pidlab.runs.bundle import Bundle, load_bundle
from real_root import ask_root, needs_root


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_run(tmp_path_factory.mktemp("attach")), ["fisher", "own"])


def applied(bundle: Bundle, folder: Path, inputs: list[Path]) -> Path:
    apply(bundle, [Source(str(path), "T") for path in inputs], folder, Watcher())
    return folder


def in_python(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("attach", folder / "attach.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHAIN = """
ROOT.gROOT.LoadMacro(given["macro"])
chain = ROOT.attach()
entries, scores, names = columns(chain, ["event", "pid_own", "T_pid.pid_fisher"], "pid_selected")
answer = [chain.GetEntries(), entries.tolist(), scores.tolist(), chain.Draw("a", "pid_fisher_eff90", "goff")]
"""


@pytest.mark.slow
@needs_root
def test_root_chains_inputs_and_friends(bundle: Bundle, tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path / "in", 2, n=3_000)
    folder = applied(bundle, tmp_path / "out", inputs)
    n, numbers, scores, n_passed = ask_root(CHAIN, macro=folder / "attach.C")
    friends = [friend(folder / f"in{i}_pid.root") for i in range(2)]
    both = {name: np.concatenate([each[name] for each in friends]) for name in friends[0]}
    selected = both["pid_selected"]
    assert n == 6_000
    assert np.array_equal(numbers, both["event"][selected])
    assert np.array_equal(np.float32(scores), both["pid_own"][selected])
    assert n_passed == both["pid_fisher_eff90"].sum()


@pytest.mark.slow
@needs_root
def test_root_says_so_where_no_input_has_the_tree(bundle: Bundle, tmp_path: Path) -> None:
    folder = applied(bundle, tmp_path / "out", make_inputs(tmp_path, 1, n=10))
    code = 'ROOT.gROOT.LoadMacro(given["macro"]); ROOT.gErrorIgnoreLevel = ROOT.kFatal; answer = not ROOT.attach("U")'
    assert ask_root(code, macro=folder / "attach.C") is True


@pytest.mark.slow
@needs_root
@pytest.mark.parametrize(("name", "opens"), [("a#b", False), ("a?b", False), ("a$HOME", False), ("é😀 *[1]%20~", True)])
def test_root_opens_what_it_can_and_names_what_it_cannot(
    bundle: Bundle, tmp_path: Path, name: str, opens: bool
) -> None:
    (source,) = make_inputs(tmp_path / "in", 1, n=100)
    folder = applied(bundle, tmp_path / "out", [source.rename(source.with_name(f"{name}.root"))])
    code = 'ROOT.gROOT.LoadMacro(given["macro"]); ROOT.gErrorIgnoreLevel = ROOT.kFatal; chain = ROOT.attach()\n'
    code += "answer = chain.GetEntries() if chain else 0"
    assert ask_root(code, macro=folder / "attach.C") == (100 if opens else 0)
    assert len(list(in_python(folder).iterate(["event"], ["pid_own"]))) == 1


def test_python_iterates_over_inputs_and_friends(bundle: Bundle, tmp_path: Path) -> None:
    folder = applied(bundle, tmp_path / "out", make_inputs(tmp_path / "in", 2, n=3_000))
    parts = list(in_python(folder).iterate(["event", "a"], ["pid_own"], step=1_000))
    got, made = ak.concatenate(parts), events(6_000, 1_000_000)
    assert len(parts) == 6
    assert set(got.fields) == {"pid_own", "event", "a"}
    assert got["event"].tolist() == made["event"].tolist()
    friends = [friend(folder / f"in{i}_pid.root")["pid_own"] for i in range(2)]
    assert np.array_equal(got["pid_own"], np.concatenate(friends), equal_nan=True)


@pytest.mark.slow
@needs_root
def test_inputs_below_the_folder_are_found_where_both_are_moved(bundle: Bundle, tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path / "here" / "data", 1, n=100)
    applied(bundle, tmp_path / "here", inputs)
    assert str(tmp_path) not in (tmp_path / "here" / "attach.C").read_text()
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert ask_root(CHAIN, macro=tmp_path / "there" / "attach.C")[0] == 100
    assert sum(map(len, in_python(tmp_path / "there").iterate())) == 100


def test_names_with_quotes_and_backslashes_stay_what_they_are(bundle: Bundle, tmp_path: Path) -> None:
    path = write_tree(tmp_path / 'odd "name" \\ {x}.root', events(50))
    folder = applied(bundle, tmp_path / "out", [path])
    assert sum(map(len, in_python(folder).iterate())) == 50
