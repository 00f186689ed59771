"""The macros run in ROOT as their heads say, and draw what the files hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import uproot

from example_results import example
from pidlab.rootio import FriendWriter, write_results
from real_root import ask_root, needs_root

MACROS = Path(__file__).parents[1] / "macros"
pytestmark = needs_root


def run_macro(name: str, *arguments: object) -> tuple[int, list[str]]:
    """What a macro returns, and the lines that it prints."""
    code = """
import tempfile
ROOT.gErrorIgnoreLevel = ROOT.kWarning
assert ROOT.gROOT.LoadMacro(given["macro"]) == 0
with tempfile.TemporaryFile() as caught:
    sys.stdout.flush(); old = os.dup(1); os.dup2(caught.fileno(), 1)
    returned = int(getattr(ROOT, given["name"])(*given["arguments"]))
    ROOT.gSystem.Exec("true"); ROOT.gInterpreter.ProcessLine("fflush(stdout); fflush(stderr);"); os.dup2(old, 1)
    caught.seek(0); lines = caught.read().decode().splitlines()
answer = [returned, lines]
"""
    texts = [str(argument) for argument in arguments]
    returned, lines = ask_root(code, macro=MACROS / f"{name}.C", name=name, arguments=texts)
    return returned, lines


def n_pages(path: Path) -> int:
    return path.read_bytes().count(b"/Type /Page\n")


def test_results_are_drawn(tmp_path: Path) -> None:
    results = example(("electron", "pion", "kaon"))
    write_results(tmp_path / "results.root", results, "{}", {"P.gtr.p": "$p$ [GeV]"})
    returned, lines = run_macro("draw_results", tmp_path / "results.root", tmp_path / "out.pdf")
    curves = {line.split(",")[0] for line in lines if "points" in line}
    assert curves == {"drawn: hand/working_points_pion", "drawn: cuts/roc", "drawn: mlp/roc"}
    drawn = {line.split(",")[0].removeprefix("drawn: ") for line in lines if "bins" in line}
    assert drawn == {f"{model}/efficiency_p_{wp}" for model in ("cuts", "mlp") for wp in ("eff90", "eff95", "eff99")}
    assert returned == len(curves) + len(drawn)
    assert n_pages(tmp_path / "out.pdf") == 3


def test_a_file_without_models_draws_nothing(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "other.root") as file:
        file["folder/text"] = "nothing of ours"
    assert run_macro("draw_results", tmp_path / "other.root", tmp_path / "out.pdf")[0] == 0


@pytest.fixture
def scored(tmp_path: Path) -> tuple[Path, Path, dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    n = 3000
    score, selected, p = rng.random(n, np.float32), rng.random(n) < 0.7, rng.uniform(2, 10, n)
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("in/T", {"event": "int64", "P.gtr.p": "float64"})
        file["in/T"].extend({"event": np.arange(n), "P.gtr.p": p})
    columns = {
        "pid_selected": selected,
        "pid_mlp": np.where(selected, score, np.float32(np.nan)),
        "pid_mlp_eff90": selected & (score > 0.3),
        "pid_mlp_eff99": selected & (score > 0.1),
    }
    with FriendWriter(tmp_path / "a_pid.root", "T_pid", {k: v.dtype for k, v in columns.items()}) as friend:
        friend.extend(columns)
    return tmp_path / "a.root", tmp_path / "a_pid.root", columns


@pytest.mark.parametrize("chosen", [(), ("P.gtr.p * 2", "eff99")], ids=["left out", "chosen"])
def test_a_friend_is_drawn(
    scored: tuple[Path, Path, dict[str, np.ndarray]], chosen: tuple[str, ...], tmp_path: Path
) -> None:
    source, friend, columns = scored
    returned, lines = run_macro("draw_friend", source, "in/T", friend, "mlp", tmp_path / "out.pdf", *chosen)
    point = chosen[1] if chosen else "eff90"
    kept, selected = int(columns[f"pid_mlp_{point}"].sum()), int(columns["pid_selected"].sum())
    assert returned == kept
    assert lines[-1] == (
        f"draw_friend: pid_mlp of 3000 entries, {selected} selected, {kept} kept by pid_mlp_{point}; "
        + (chosen[0] if chosen else "P.gtr.p")
    )
    assert n_pages(tmp_path / "out.pdf") == 2


def test_what_a_friend_does_not_hold_is_said(scored: tuple[Path, Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    source, friend, _ = scored
    assert run_macro("draw_friend", source, "in/T", friend, "bdt", tmp_path / "out.pdf")[0] == -1
    assert run_macro("draw_friend", source, "in/T", friend, "mlp", tmp_path / "out.pdf", "", "eff50")[0] == -1
    assert run_macro("draw_friend", source, "other", friend, "mlp", tmp_path / "out.pdf")[0] == -1


@pytest.mark.parametrize("macro", sorted(MACROS.glob("*.C")), ids=lambda path: path.stem)
def test_the_head_says_how_to_run_it(macro: Path) -> None:
    head = macro.read_text().split("\n\n", 1)[0]
    assert all(line.startswith("///") for line in head.splitlines() if line)
    assert f"root -l -b -q '{macro.name}(" in macro.read_text()


def cut_file(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["# the cuts of the test", "", *lines]) + "\n")
    return path


def test_a_cut_flow_counts_what_numpy_counts(scored: tuple[Path, Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    source, _, _ = scored
    with uproot.open(source) as file:
        p = file["in/T"]["P.gtr.p"].array(library="np")
    cuts = cut_file(tmp_path / "cuts.txt", "slow: P.gtr.p < 6", "  early : event % 3 == 0 || event < 10")
    returned, lines = run_macro("cutflow", source, "in/T", cuts, tmp_path / "out.root", "P.gtr.p")
    events = np.arange(len(p))
    steps = [np.ones(len(p), bool), p < 6, (p < 6) & ((events % 3 == 0) | (events < 10))]
    assert returned == steps[-1].sum()
    with uproot.open(tmp_path / "out.root") as file:
        np.testing.assert_allclose(file["cutflow"].values(), [p[s].sum() for s in steps], rtol=1e-12, atol=0)
        assert list(file["cutflow"].axis().labels()) == ["all", "slow", "early"]
    code = """
file = ROOT.TFile(given["path"])
flow = file.Get("cutflow_efficiency")
answer = [[flow.GetEfficiency(i), flow.GetEfficiencyErrorLow(i)] for i in (1, 2)]
"""
    found = ask_root(code, path=tmp_path / "out.root")
    expected = [steps[i + 1].sum() / steps[i].sum() for i in range(2)]
    np.testing.assert_allclose([f[0] for f in found], expected, rtol=1e-12, atol=0)
    assert all(f[1] > 0 for f in found)
    assert [line.split()[0] for line in lines[1:4]] == ["all", "slow", "early"]


def told_by_cutflow(source: Path, cuts: Path) -> str:
    """What the macro says on stderr."""
    code = """
import tempfile
assert ROOT.gROOT.LoadMacro(given["macro"]) == 0
with tempfile.TemporaryFile() as caught:
    old = os.dup(2); os.dup2(caught.fileno(), 2)
    ROOT.cutflow(given["source"], "in/T", given["cuts"])
    ROOT.gInterpreter.ProcessLine("fflush(stderr);"); os.dup2(old, 2)
    caught.seek(0); answer = caught.read().decode().strip()
"""
    return str(ask_root(code, macro=MACROS / "cutflow.C", source=source, cuts=cuts))


def test_a_cut_flow_that_cannot_be_made_is_said(
    scored: tuple[Path, Path, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    source, _, _ = scored
    good = cut_file(tmp_path / "good.txt", "slow: P.gtr.p < 6")
    assert run_macro("cutflow", source, "no_tree", good)[0] == -1
    assert run_macro("cutflow", source, "in/T", tmp_path / "missing.txt")[0] == -1
    assert run_macro("cutflow", source, "in/T", cut_file(tmp_path / "bare.txt", "P.gtr.p < 6"))[0] == -1
    for name, told in (("missing.txt", "cannot be opened"), ("none.txt", "holds no cuts")):
        cut_file(tmp_path / "none.txt")
        assert told_by_cutflow(source, tmp_path / name) == f"cutflow: {tmp_path / name} {told}"


def test_two_runs_are_compared_where_both_have_a_curve(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        write_results(tmp_path / f"{name}.root", example(seed=seed), "{}")
    with uproot.open(tmp_path / "a.root") as file, uproot.open(tmp_path / "b.root") as other:
        x, y = file["mlp/roc"].values()
        first, last = other["mlp/roc"].values()[0][[0, -1]]
    inside = int(((y > 0) & (x >= first) & (x <= last)).sum())
    returned, lines = run_macro(
        "compare_runs", *(tmp_path / f for f in ("a.root", "b.root")), "mlp", tmp_path / "c.pdf"
    )
    assert 0 < returned <= inside
    assert sum("efficiency 0." in line for line in lines) == 6
    assert n_pages(tmp_path / "c.pdf") == 1
    missing = (tmp_path / "a.root", tmp_path / "b.root", "hand", tmp_path / "c.pdf")
    assert run_macro("compare_runs", *missing)[0] == -1
