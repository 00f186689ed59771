"""Apply under load: killed, out of space, cut short, changed under its hands; nothing is lost or there twice."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import threading
import time
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from apply_calls import call
from apply_runs import content, damage, events, make_inputs, make_run

from conftest import Run, write_tree
from forked import fork_workers
from pidlab.apply import apply, find_inputs
from pidlab.atomic import hidden_path, locked, sweep
from pidlab.progress import Watcher
from pidlab.read import Source
from pidlab.rootio import read_marker
from pidlab.rootio.files import whole_file
from pidlab.runs.bundle import Bundle, load_bundle

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("load")
    make_run(folder)
    make_inputs(folder / "in", 6, n=40_000, step=2_000)
    return folder


@pytest.fixture(scope="module")
def inputs(folder: Path) -> list[Path]:
    return sorted((folder / "in").glob("*.root"))


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return load_bundle(folder / "run")


@pytest.fixture(scope="module")
def expected(bundle: Bundle, inputs: list[Path], folder: Path) -> dict[str, str]:
    apply(bundle, [Source(str(path), "T") for path in inputs], folder / "expected", Watcher(), jobs=1)
    return content(folder / "expected")


def parts(output: Path) -> list[Path]:
    return list(output.rglob(".*.part"))


def test_killed_at_random_moments_and_resumed_it_is_as_if_undisturbed(
    folder: Path, inputs: list[Path], expected: dict[str, str], tmp_path: Path
) -> None:
    output, rng = tmp_path / "out", np.random.default_rng(5)
    call(folder / "run", inputs[:1], tmp_path / "first").join()  # starts the process that the others are forked from
    start = time.monotonic()
    call(folder / "run", inputs, tmp_path / "undisturbed").join()
    whole = time.monotonic() - start
    for _ in range(5):
        process = call(folder / "run", inputs, output)
        time.sleep(rng.uniform(0, whole / 3))
        process.kill()
        process.join()
        there = content(output)
        assert there.items() <= expected.items()
        assert all(read_marker(path) is not None for path in output.glob("*_pid.root"))
    process = call(folder / "run", inputs, output)
    process.join()
    assert process.exitcode == 0
    assert content(output) == expected
    assert parts(output) == []


def test_two_calls_on_one_folder_do_each_other_no_harm(
    folder: Path, inputs: list[Path], expected: dict[str, str], tmp_path: Path
) -> None:
    both = [call(folder / "run", inputs, tmp_path) for _ in range(2)]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert content(tmp_path) == expected
    assert parts(tmp_path) == []


def test_what_another_process_is_writing_is_not_swept_away(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a_pid.root", "zstd") as file:
        locked(hidden_path(tmp_path / "a_pid.root")).close()  # as the system closes the files of a killed process
        assert len(parts(tmp_path)) == 2
        assert sweep(tmp_path / "b_pid.root") == 0
        assert sweep(tmp_path / "a_pid.root") == 1
        file["x"] = "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a_pid.root"]


def kill_one_child(output: Path) -> None:
    while not parts(output):
        time.sleep(0.005)
    victims = multiprocessing.active_children()
    assert victims[0].pid is not None
    os.kill(victims[0].pid, signal.SIGKILL)


def test_a_worker_that_dies_loses_nothing(
    bundle: Bundle,
    inputs: list[Path],
    expected: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pidlab.apply.inputs.STEP", 2_000)
    fork_workers(monkeypatch)
    killer = threading.Thread(target=kill_one_child, args=(tmp_path,))
    killer.start()
    summaries = apply(bundle, [Source(str(path), "T") for path in inputs], tmp_path, Watcher(), jobs=2)
    killer.join()
    assert [s.failure for s in summaries] == [""] * 6
    assert content(tmp_path) == expected


def test_a_worker_that_dies_is_noticed_where_the_executor_does_not_tell(
    bundle: Bundle,
    inputs: list[Path],
    expected: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if the thread of the executor had ended by an error when a piece was submitted at the same moment."""
    monkeypatch.setattr("concurrent.futures.process._ExecutorManagerThread.terminate_broken", lambda *_: None)
    monkeypatch.setattr("pidlab.apply.workers._SECONDS_UNTIL_TOLD", 1.0)
    monkeypatch.setattr("pidlab.apply.inputs.STEP", 2_000)
    fork_workers(monkeypatch)
    killer = threading.Thread(target=kill_one_child, args=(tmp_path,))
    killer.start()
    summaries = apply(bundle, [Source(str(path), "T") for path in inputs], tmp_path, Watcher(), jobs=2)
    killer.join()
    assert [s.failure for s in summaries] == [""] * 6
    assert content(tmp_path) == expected


def children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="asks Linux for the processes")
def test_workers_do_not_outlive_a_killed_call(folder: Path, inputs: list[Path], tmp_path: Path) -> None:
    process = call(folder / "run", inputs, tmp_path, jobs=2)
    assert process.pid is not None
    while not parts(tmp_path):
        time.sleep(0.01)
    workers = children(process.pid)
    assert len(workers) >= 2
    process.kill()
    process.join()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in workers if Path(f"/proc/{pid}").exists()] == []


def no_large_files() -> None:
    """As on a full disk: a write beyond 300 kB fails."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))


def test_a_full_disk_leaves_no_half_file_and_keeps_what_was_finished(
    folder: Path, inputs: list[Path], expected: dict[str, str], pidlab: Run, tmp_path: Path
) -> None:
    (small,) = make_inputs(tmp_path / "small", 1, n=500)
    done = pidlab("apply", folder / "run", small, inputs[0], "-o", "out", preexec_fn=no_large_files)
    assert done.returncode == 1
    assert "in0_pid.root: cannot be written (File too large)" in done.stderr
    assert "Traceback" not in done.stderr
    assert parts(tmp_path / "out") == []
    assert len(content(tmp_path / "out")) == 1


def test_inputs_cut_short_anywhere_are_named_and_stop_no_other(
    bundle: Bundle, inputs: list[Path], expected: dict[str, str], tmp_path: Path
) -> None:
    rng, whole = np.random.default_rng(6), inputs[1].read_bytes()
    for i, size in enumerate(rng.integers(0, len(whole), 12)):
        (tmp_path / f"cut{i}.root").write_bytes(whole[:size])
    words = [str(inputs[0]), *(str(tmp_path / f"cut{i}.root") for i in range(12))]
    found, lost = find_inputs(bundle.recipe, words, None)
    summaries = apply(bundle, found, tmp_path / "out", Watcher())
    named = [each.reason for each in lost] + [s.failure for s in summaries if s.failure]
    assert len(named) == 12
    assert all(f"cut{i}.root" in " ".join(named) for i in range(12))
    assert list(content(tmp_path / "out").values()) == [expected["in0_pid.root"]]


def test_a_branch_may_change_its_type_between_files_and_one_that_is_a_list_is_refused(
    bundle: Bundle, tmp_path: Path
) -> None:
    made, paths = events(2_000), []
    kinds: dict[str, Any] = {
        "float": made["a"],
        "double": made["a"].astype("f8"),
        "whole": np.rint(made["a"]).astype("i2"),
        "lists": ak.Array(made["a"][:, None].tolist()),
        "words": ak.Array([f"{x}" for x in made["a"]]),
    }
    for name, values in kinds.items():
        if name == "words":
            np.savez(tmp_path / "words.npz", **(made | {"a": np.array(list(values))}))
            paths.append(Source(str(tmp_path / "words.npz"), "words"))
        else:
            paths.append(Source(str(write_tree(tmp_path / f"{name}.root", made | {"a": values})), "T"))
    summaries = {s.source.stem: s for s in apply(bundle, paths, tmp_path / "out", Watcher())}
    hashes = content(tmp_path / "out")
    assert hashes["float_pid.root"] == hashes["double_pid.root"] != hashes["whole_pid.root"]
    assert set(hashes) == {"float_pid.root", "double_pid.root", "whole_pid.root"}
    assert "lists.root" in summaries["lists"].failure
    assert "words.npz" in summaries["words"].failure


def test_branches_that_are_not_needed_are_not_read(
    bundle: Bundle, inputs: list[Path], expected: dict[str, str], tmp_path: Path
) -> None:
    made = events(40_000, 1_000_000)
    further = {f"x{i}": made["a"] * i for i in range(50)} | {"hits": ak.Array([[1.0], [2.0, 3.0]] * 20_000)}
    path = write_tree(tmp_path / "in0.root", further | made, step=2_000)
    damage(path, "x7", 3)
    (summary,) = apply(bundle, [Source(str(path), "T")], tmp_path / "out", Watcher())
    assert summary.failure == ""
    assert content(tmp_path / "out") == {"in0_pid.root": expected["in0_pid.root"]}
