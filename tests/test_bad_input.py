"""Bad input: a sentence that says what, where and what to do; exit code 1 or 2; no traceback; nothing half-written."""

from __future__ import annotations

import os
import resource
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from conftest import Run, write_tree

CONFIG = """\
data: {files: a.root, tree: T}
classes:
  electron: "species == 0"
  pion: "species == 1"
selection:
  loose: "a > -100"
features: [a, b]
models:
  fisher: {type: fisher}
evaluate: {robustness: null}
"""
N = 400


def arrays(**others: Any) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    species = np.arange(N, dtype="i4") % 2
    content = {"a": rng.normal(species, 1), "b": rng.normal(size=N), "species": species, "event": np.arange(N)}
    return content | {"flat": np.ones(N), "none": np.full(N, np.nan)} | others


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tree(tmp_path / "a.root", arrays())
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path


def files_in(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


def refused(pidlab: Run, folder: Path, code: int, *words: Any, **options: Any) -> str:
    """Run a command that must fail with `code` and leave nothing; what it says."""
    before = files_in(folder)
    answer = pidlab(*words, cwd=folder, **options)
    assert answer.returncode == code, answer.stderr
    assert "Traceback" not in answer.stderr
    assert files_in(folder) - before <= {"runs"}
    return answer.stderr


@pytest.mark.parametrize(
    ("before", "after", "code", "said"),
    [
        ("a.root", "none.root", 1, "none.root: no such file; did you mean 'a.root'"),
        ("a.root", "c.yaml", 1, "c.yaml: is not a ROOT file"),
        ("tree: T", "tree: events", 1, "a.root: no tree 'events'; known: T"),
        ("[a, b]", "[a, bb]", 2, "c.yaml:7:15: features[1]: "),
        ("[a, b]", "[a, flatt]", 2, "Did you mean 'flat'"),
        ("[a, b]", "[a, flat]", 1, "the feature 'flat' is 1 in all 400 selected events; leave it out"),
        ("[a, b]", "[a, none]", 1, "the feature 'none' is missing (NaN) in all 400 selected events"),
        ("[a, b]", "[a, species]", 2, "the feature 'species' reads 'species', which defines the class 'electron'"),
        ("species == 1", "species == 2", 1, "the class 'pion' has no events before any cut (electron 200, pion 0)"),
        ("species == 1", "species < 2", 1, "in two classes, 'electron' and 'pion'; make the classes exclude"),
        ("a > -100", "a > 100", 1, "the class 'electron' has no events left after the cut 'loose' (200 before it)"),
        ("a > -100", "a > 100", 1, "c.yaml:6:3: selection.loose: "),
        ("a > -100", "a > 100", 1, "(200 before it): a > 100; loosen it. `pidlab inspect FILE --ranges` shows"),
        ("a > -100", "0 < a < 1", 2, "c.yaml:6:3: selection.loose: "),
        ("a > -100", "__import__('os').system('touch gone')", 2, "selection.loose"),
        ("tree: T", "tree: T, event_id: [evnt]", 2, "no branch 'evnt'; did you mean 'event'"),
        ("tree: T", "tree: T, event_id: [a]", 1, "event_id: 'a' holds float64; event keys must be integers"),
        ("tree: T", "tree: T, weight: none", 1, "the weight 'none' is nan in entry 0; weights must be finite"),
        (
            "type: fisher",
            "type: bdt, subsampel: 0.5",
            2,
            "models.fisher.subsampel: xgboost's trees have no parameter",
        ),
        ("models:", "split: {test: 0.001}\nmodels:", 1, "is in the test sample"),
    ],
)
def test_a_bad_configuration_or_table_is_explained(
    folder: Path, pidlab: Run, before: str, after: str, code: int, said: str
) -> None:
    assert before in CONFIG
    (folder / "c.yaml").write_text(CONFIG.replace(before, after))
    assert said in refused(pidlab, folder, code, "run", "c.yaml")


def test_several_trees_are_listed(folder: Path, pidlab: Run) -> None:
    with uproot.update(folder / "a.root") as file:
        file.mktree("U", {"x": "f4"}).extend({"x": np.ones(3, "f4")})
    (folder / "c.yaml").write_text(CONFIG.replace(", tree: T", ""))
    assert "holds several trees: T (400 entries), U (3 entries); say which" in refused(
        pidlab, folder, 1, "run", "c.yaml"
    )


def test_a_jagged_branch_names_the_three_ways_out(folder: Path, pidlab: Run) -> None:
    import awkward as ak

    write_tree(folder / "a.root", arrays(hit=ak.Array([[1.0], [2.0, 3.0]] * (N // 2))))
    (folder / "c.yaml").write_text(CONFIG.replace("[a, b]", "[a, hit]"))
    said = refused(pidlab, folder, 2, "run", "c.yaml")
    assert all(way in said for way in ("hit[0]", "$(", "per:"))


def test_usage_is_answered_with_code_2(folder: Path, pidlab: Run) -> None:
    assert "No such command" in refused(pidlab, folder, 2, "rum")
    assert "pidlab init" in refused(pidlab, folder, 2, "run", "none.yaml")
    assert "is not the folder of a run" in refused(pidlab, folder, 2, "apply", ".", "a.root", "-o", "out")
    assert "expected KEY=VALUE" in refused(pidlab, folder, 2, "run", "c.yaml", "--set", "seed")


def no_large_files() -> None:
    """As on a full disk: a write beyond 20 kB fails."""
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_disk_that_is_full_leaves_nothing(folder: Path, pidlab: Run) -> None:
    said = refused(pidlab, folder, 1, "run", "c.yaml", "-o", "out", preexec_fn=no_large_files)
    assert "out" in said
    assert "cannot be written" in said


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_an_output_that_cannot_be_written_is_said_so(folder: Path, pidlab: Run) -> None:
    assert "cannot be written" in refused(pidlab, folder, 1, "run", "c.yaml", "-o", "c.yaml/out")
    closed = folder / "closed"
    closed.mkdir()
    closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
    if not os.access(closed, os.W_OK):
        assert "cannot be written" in refused(pidlab, folder, 1, "run", "c.yaml", "-o", "closed/out")


def test_apply_names_the_file_that_lacks_a_branch_and_scores_the_others(folder: Path, pidlab: Run) -> None:
    assert pidlab("run", "c.yaml", "-o", "done", cwd=folder).returncode == 0
    write_tree(folder / "other.root", {"a": np.ones(5), "c": np.ones(5)})
    answer = pidlab("apply", "done", "a.root", "other.root", "-o", "out", cwd=folder)
    assert answer.returncode == 1
    assert "1 of 2 inputs could not be scored:" in answer.stderr
    assert "other.root:T" in answer.stderr
    assert "unknown branch 'b'" in answer.stderr
    assert {p.name for p in (folder / "out").iterdir()} == {"a_pid.root", "attach.C", "attach.py"}


def test_debug_shows_the_traceback(folder: Path, pidlab: Run) -> None:
    answer = pidlab("--debug", "run", "none.yaml", cwd=folder)
    assert "Traceback" in answer.stderr
