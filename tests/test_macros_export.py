"""The macros that score with an exported header give, in ROOT, what `pidlab apply` gives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from conftest import write_tree
from export_runs import cached, events
from pidlab.apply import apply
from pidlab.export import export
from pidlab.progress import Watcher
from pidlab.runs.bundle import load_bundle
from real_root import ask_root, needs_root
from test_macros import MACROS, run_macro

pytestmark = needs_root
MODELS = ("hand", "bdt", "mlp")
N = 30_000


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """A header, a file of several clusters, and the friend branches that pidlab gives it."""
    run = cached(tmp_path_factory.getbasetemp() / "export", "two")
    folder = tmp_path_factory.mktemp("scored")
    bundle = load_bundle(run, MODELS)
    header = export(bundle, run, "header", [], folder)[0].path
    source = write_tree(folder / "events.root", events(N, seed=7), step=3000)
    apply(bundle, bundle.recipe.inputs([str(source)], None), folder, Watcher())
    with uproot.open(folder / "events_pid.root") as file:
        branches = file["T_pid"].arrays(library="np")
    return header, source, {name: values for name, values in branches.items() if name.startswith("pid_")}


def agree(found: Any, expected: dict[str, Any], order: Any = slice(None)) -> None:
    """Every branch, of its type: scores nearly, decisions exactly."""
    for name, values in expected.items():
        own = found[name].array(library="np")[order]
        assert own.dtype == values.dtype
        if values.dtype == np.float32:
            np.testing.assert_allclose(own, values, rtol=0, atol=2e-7)
        else:
            np.testing.assert_array_equal(own, values)


def test_the_loop_writes_the_friend_tree_of_apply(scored: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    header, source, expected = scored
    returned, lines = run_macro("apply_loop", header, source, "T", tmp_path / "friend.root")
    n_selected = int(expected["pid_selected"].sum())
    assert (returned, lines[-1]) == (N, f"apply_loop: {n_selected} of {N} entries selected; {tmp_path / 'friend.root'}")
    with uproot.open(tmp_path / "friend.root") as file:
        assert set(file["T_pid"].keys()) == set(expected)
        agree(file["T_pid"], expected)


def test_the_data_frame_scores_on_several_threads(scored: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    header, source, expected = scored
    code = """
ROOT.gErrorIgnoreLevel = ROOT.kWarning
assert ROOT.gROOT.LoadMacro(given["macro"]) == 0
answer = [int(ROOT.apply_rdataframe(given["header"], given["source"], "T", given["output"], 2))]
answer += [ROOT.GetThreadPoolSize(), int(ROOT.apply_rdataframe(given["header"], given["other"], "T", given["none"], 2))]
"""
    macro, output = MACROS / "apply_rdataframe.C", tmp_path / "scored.root"
    other = write_tree(tmp_path / "other.root", {"x": np.arange(3.0)})
    given = {"macro": macro, "header": header, "source": source, "output": output, "other": other}
    assert ask_root(code, **given, none=tmp_path / "none.root") == [N, min(2, len(os.sched_getaffinity(0))), -1]
    with uproot.open(output) as file:
        order = np.argsort(file["T"]["serial"].array(library="np"))
        agree(file["T"], expected, order)
        names = set(file["T"].keys())
        assert {"species", "P_cal_etot", "adc", "xy"} < names
        assert not {name for name in names if name.startswith("rdf_")}
        etot = file["T"]["P_cal_etot"].array(library="np")[order]
    assert np.array_equal(etot, events(N, seed=7)["P.cal.etot"])


def test_what_is_missing_is_said(scored: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    header, source, _ = scored
    other = write_tree(tmp_path / "other.root", {"x": np.arange(3.0)})
    assert run_macro("apply_loop", header, other, "T", tmp_path / "out.root")[0] == -1
    assert run_macro("apply_loop", header, source, "U", tmp_path / "out.root")[0] == -1
    assert not (tmp_path / "out.root").exists()


@pytest.mark.parametrize("name", ["apply_loop", "apply_rdataframe"])
def test_the_head_says_how_to_run_it(name: str) -> None:
    head = (MACROS / f"{name}.C").read_text().split("\n\n", 1)[0]
    assert all(line.startswith("///") for line in head.splitlines())
    assert f"root -l -b -q '{name}.C(" in head
