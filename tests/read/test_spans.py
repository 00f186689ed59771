"""Spans: a table cut where its baskets begin, and read from any entry on, gives what it gives as a whole."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import write_tree
from pidlab.read import Source, Table, identity_of
from pidlab.read.table import edges

N = 1_000


@given(
    st.lists(st.lists(st.integers(1, 900), max_size=40), min_size=1, max_size=4),
    st.integers(0, 5000),
    st.integers(1, 700),
)
def test_edges_cover_every_entry_once_in_pieces_of_bounded_length(lengths: list[list[int]], n: int, step: int) -> None:
    offsets = [np.unique(np.minimum(np.cumsum([0, *each, n]), n)) for each in lengths]
    found = edges(offsets, n, step)
    assert found[0] == 0
    assert found[-1] == n
    assert all(0 < b - a <= 1.5 * step for a, b in itertools.pairwise(found))


def test_edges_stand_where_the_baskets_of_all_branches_begin() -> None:
    tens, fifteens = np.arange(0, 1001, 10), np.append(np.arange(0, 1000, 15), 1000)
    assert edges([tens, fifteens], 1000, 100) == [*range(0, 901, 90), 1000]
    assert edges([np.array([0, 1000])], 1000, 300) == [0, 300, 600, 1000]


@pytest.fixture(scope="module")
def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    hits = ak.unflatten(rng.normal(size=3 * N), np.bincount(rng.integers(0, N, 3 * N), minlength=N))
    return {"x": rng.normal(size=N), "v": rng.normal(size=(N, 3)).astype("f4"), "hits": hits}


@pytest.fixture(scope="module", params=["small baskets", "one basket", "RNTuple", "with a friend"])
def source(request: pytest.FixtureRequest, arrays: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Source:
    path = tmp_path_factory.mktemp("spans") / "a.root"
    if request.param == "RNTuple":
        with uproot.recreate(path) as file:
            ntuple = file.mkrntuple("T", {k: v[:130] for k, v in arrays.items()})
            for start in range(130, N, 130):
                ntuple.extend({k: v[start : start + 130] for k, v in arrays.items()})
        return Source(str(path), "T")
    step = N if request.param == "one basket" else 70
    if request.param != "with a friend":
        return Source(str(write_tree(path, arrays, step=step)), "T")
    own, other = {"x": arrays["x"]}, {name: arrays[name] for name in ("v", "hits")}
    beside = write_tree(path.with_name("b.root"), other, step=110)
    return Source(str(write_tree(path, own, step=step)), "T", friends=(Source(str(beside), "T"),))


@pytest.mark.slow
@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, N), st.integers(0, N)).map(sorted), max_size=6))
def test_spans_in_any_order_are_slices(source: Source, arrays: dict[str, Any], spans: list[list[int]]) -> None:
    with Table(source) as table:
        for start, stop in spans:
            chunk = table.span(arrays, start, stop)
            assert chunk.n_rows == stop - start
            assert chunk.entry.tolist() == list(range(start, stop))
            for name, values in arrays.items():
                assert ak.to_list(chunk.arrays[name]) == ak.to_list(values[start:stop])


def test_spans_from_edge_to_edge_are_the_whole(source: Source, arrays: dict[str, Any]) -> None:
    with Table(source) as table:
        found = table.edges(arrays, 200)
        assert found is not None
        parts = [table.span(["x"], a, b).arrays["x"] for a, b in itertools.pairwise(found)]
    assert len(parts) >= 4
    assert np.array_equal(np.concatenate(parts), arrays["x"])


def test_formats_that_cannot_be_read_from_the_middle_have_no_edges(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,4\n")
    with Table(Source(str(tmp_path / "x.csv"), "x")) as table:
        assert table.edges(["a"]) is None


def test_an_identity_changes_with_the_content_and_not_with_the_place(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "a.root", {"x": np.arange(5)})
    first = identity_of(Source(str(path), "T"))
    (tmp_path / "b").mkdir()
    moved = path.rename(tmp_path / "b" / "a.root")
    assert identity_of(Source(str(moved), "T")) == first
    again = write_tree(moved, {"x": np.arange(5)})
    assert identity_of(Source(str(again), "T")) != first
    assert identity_of(Source("postgresql://host/name", "t")) is None


def test_an_updated_file_has_another_identity(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "a.root", {"x": np.arange(5)})
    first = identity_of(Source(str(path), "T"))
    with uproot.update(path) as file:
        file["more"] = "something"
    assert identity_of(Source(str(path), "T")) != first


@pytest.mark.parametrize("name", ["a.root", "a.parquet", "a.npy"])
def test_a_file_that_is_cut_short_while_it_is_open_is_an_error(tmp_path: Path, name: str) -> None:
    """A file that is mapped into memory would end the process."""
    path, x = tmp_path / name, np.random.default_rng(1).normal(size=400_000)
    if name == "a.root":
        write_tree(path, {"x": x}, step=20_000)
    elif name == "a.parquet":
        pytest.importorskip("pyarrow.parquet").write_table(pytest.importorskip("pyarrow").table({"x": x}), path)
    else:
        np.save(path, x[:, None])
    program = (
        "import os, sys\n"
        "from pidlab.errors import DataError\n"
        "from pidlab.read import Table, find_sources\n"
        "from pathlib import Path\n"
        "path = sys.argv[1]\n"
        "(source,) = find_sources([path], None, Path(), ['x'])\n"
        "with Table(source) as table:\n"
        "    os.truncate(path, 200_000)\n"
        "    try:\n"
        "        print(sum(chunk.arrays['x'].sum() for chunk in table.chunks(['x'], 50_000)))\n"
        "    except DataError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert f"{name}" in done.stdout
    assert "branch 'x'" in done.stdout
