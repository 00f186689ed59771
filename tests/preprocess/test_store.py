"""Store: columns in memory or in files hold the same, move once, and leave nothing behind."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pidlab.config.load import check_config
from pidlab.errors import DataError, UsageError
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse, analysis
from pidlab.preprocess.events import load
from pidlab.preprocess.recipe import compile_recipe
from pidlab.preprocess.store import Store, available_memory, bytes_of, memory_array
from pidlab.progress import Watcher
from pidlab.rootio.files import write_tree

CONTENT = {
    "data": {"files": "t.root", "tree": "T", "weight": "w", "event_id": ["event"]},
    "classes": {"electron": "species == 0", "pion": "species == 1"},
    "features": ["a", "b", "abs(a - b)"],
    "spectators": ["p", "precise"],
    "models": {"cut": {"type": "expression", "cut": "a > 0.5"}, "fisher": {"type": "fisher"}, "bdt": {"type": "bdt"}},
    "evaluate": {"maps": [{"x": "p", "bins": 4}]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, n, path = np.random.default_rng(1), 4000, tmp_path_factory.mktemp("store")
    species = rng.integers(0, 2, n)
    columns = {
        "a": rng.normal(size=n).astype("f4") + species, "b": rng.normal(size=n).astype("f4"),
        "p": rng.uniform(1, 5, n).astype("f4"), "precise": rng.uniform(1, 5, n), "w": rng.normal(1, 0.3, n),
        "species": species, "event": np.arange(n) // 2,
    }  # fmt: skip
    write_tree(path / "t.root", "T", columns)
    return path


def in_files(store: Store) -> Store:
    store.expect(1, 2)
    assert store.in_files
    return store


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_column_holds_its_rows_in_the_order_that_is_asked_for(lengths: list[int], filed: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pieces = [rng.normal(size=(m, 3)) for m in lengths]
    whole = np.concatenate(pieces)
    column = (in_files(Store(1)) if filed else Store()).column(np.float64, 3)
    for piece in pieces:
        column.add(piece)
    chosen = np.flatnonzero(rng.random(len(whole)) < 0.7)
    order = rng.permutation(chosen)
    place = np.full(len(whole), -1)
    place[order] = np.arange(len(order))
    assert np.array_equal(column.ordered(place, len(order)), whole[order])


@pytest.mark.parametrize("filed", [False, True])
def test_doubles_are_kept_in_single_precision_only_while_that_is_exact(filed: bool) -> None:
    store = in_files(Store(1)) if filed else Store()
    exact = np.array([1.5, np.nan, -np.inf, 2.0**100])
    column = store.column(np.float64, single=True)
    column.add(exact)
    kept = column.ordered(np.arange(4), 4)
    assert kept.dtype == np.float32
    assert np.array_equal(kept.astype(np.float64), exact, equal_nan=True)
    column = store.column(np.float64, single=True)
    for values in (exact, np.array([0.1, 1e-300])):
        column.add(values)
    kept = column.ordered(np.arange(6), 6)
    assert kept.dtype == np.float64
    assert np.array_equal(kept, [*exact, 0.1, 1e-300], equal_nan=True)


def test_columns_become_files_when_they_would_take_more_than_half_of_the_memory() -> None:
    for n, filed in ((499, False), (501, True)):
        store = Store(bytes_of("100KB"))
        store.expect(n, 100)
        assert store.in_files == filed
    assert 10**8 < available_memory() < 10**14


def test_the_parts_of_a_sample_are_views_and_come_one_after_another(folder: Path) -> None:
    for further in ({}, {"folds": 3}):
        recipe = compile_recipe(check_config({**CONTENT, **further}, {}, folder / "a.yaml"))
        for memory in (None, 1000):
            events = load(recipe, Watcher(), memory)
            sample, parts = events.sample, events.parts
            for rows in parts.quoted().values():
                part = sample.take(rows)
                for name in ("x", "y", "weight", "event", "file", "row"):
                    assert np.shares_memory(getattr(part, name), getattr(sample, name))
                if not further:
                    assert (np.diff(part.row) > 0).all()
            ends = [(rows.start, rows.stop) for name, rows in parts.quoted().items() if name != "test" or not further]
            assert [0, *(stop for _, stop in ends)] == [*(start for start, _ in ends), 4000]
            assert sample.x.flags.c_contiguous
            assert np.array_equal(np.sort(sample.row), np.arange(4000))
            assert np.array_equal(sample.spectators["p"].astype("f4"), sample.spectators["p"])
            assert sample.spectators["precise"].dtype == np.float64


def test_results_are_the_same_with_columns_in_files(folder: Path) -> None:
    for further in ({}, {"folds": 2}):
        loaded = check_config({**CONTENT, **further}, {}, folder / "a.yaml")
        in_memory, filed = (
            analyse(loaded, Resources("cpu", 1, memory=memory), Watcher()) for memory in (None, 100_000)
        )
        assert np.array_equal(in_memory.scores["bdt"], filed.scores["bdt"])
        for name, model in in_memory.results.models.items():
            other = filed.results.models[name]
            assert other.working_points == model.working_points
            assert other.roc.keys() == model.roc.keys()
            assert all(np.array_equal(other.roc[c].misid, curve.misid) for c, curve in model.roc.items())
        assert in_memory.results.cutflow == filed.results.cutflow


def resident_features(folder: Path) -> int:
    """Returns the bytes of the largest column in files, the features, that are in the memory of this process."""
    mapped: list[list[str]] = []
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            mapped.append([])
        mapped[-1].append(line)
    ours = [lines for lines in mapped if f"{folder}/#" in lines[0] or f"{folder}/pidlab-" in lines[0]]
    sizes = [{line.split(":")[0]: int(line.split()[1]) for line in lines[1:3] + lines[3:8]} for lines in ours]
    return max(sizes, key=lambda size: size["Size"])["Rss"] * 1024


def test_features_in_files_are_in_memory_only_while_a_question_reads_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    loaded = check_config({**CONTENT, "evaluate": {"robustness": {"smear": [0.1]}}}, {}, folder / "a.yaml")
    seen: list[int] = []
    measure = analysis.measure_robustness

    def looked_at(*arguments: Any, **options: Any) -> Any:
        seen.append(resident_features(tmp_path))
        return measure(*arguments, **options)

    monkeypatch.setattr(analysis, "measure_robustness", looked_at)  # which comes after widths of all training features
    analyse(loaded, Resources("cpu", 1, memory=100_000), Watcher())
    assert seen[0] == 0
    assert len(seen) == 3


def test_files_have_no_name_and_go_with_the_process_even_if_it_is_killed(tmp_path: Path) -> None:
    code = """
import os, signal, numpy as np
from pidlab.preprocess.store import Store
store = Store(1)
store.expect(10, 10)
column = store.column(np.float64, 4)
column.add(np.ones((100_000, 4)))
kept = column.ordered(np.arange(100_000), 100_000)
assert kept.sum() == 400_000
store.release()
assert kept.sum() == 400_000
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(tmp_path)}, check=False)
    assert done.returncode == -9
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_with_the_folder_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    column = in_files(Store(1)).column(np.float64)
    column.add(np.ones(1000))
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        DataError, match=rf"into {tempfile.gettempdir()} \(the disk is full\); let TMPDIR name a folder"
    ):
        column.ordered(np.arange(1000), 1000)


def test_a_large_array_is_given_back_to_the_system_when_it_is_dropped() -> None:
    code = """
import json, numpy as np
from pidlab.preprocess.store import memory_array
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
before = resident()
array = memory_array((1000, 10_000), np.dtype(np.float64))
array[:] = 1
held = resident()
del array
print(json.dumps([held - before, resident() - before]))
"""
    held, left = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert held > 70_000_000
    assert left < 8_000_000
    assert memory_array((3,), np.dtype(np.int8)).shape == (3,)


@pytest.mark.parametrize("size", ["", "4 apples", "-1GB", "0", "1e9", "GB"])
def test_what_is_no_size_is_refused(size: str) -> None:
    with pytest.raises(UsageError, match="write it as 4GB"):
        bytes_of(size)


def test_sizes_are_powers_of_ten_unless_they_say_otherwise() -> None:
    sizes = {"4GB": 4 * 10**9, "2.5 GiB": 2.5 * 2**30, "500mb": 5 * 10**8, "3g": 3 * 2**30, "1000": 1000, 7: 7}
    assert {size: bytes_of(size) for size in sizes} == sizes
