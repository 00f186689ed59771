"""Reading: the right tree, the right rows, and a sentence for everything that cannot be read."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from conftest import write_tree
from pidlab.errors import DataError, UsageError
from pidlab.read import Source, Table, find_all, find_sources, trees_in
from pidlab.read.find import split_tree

N = 1000
FLAT = {
    "P.gtr.p": np.linspace(0, 10, N).astype("f4"),
    "event": np.arange(N, dtype="i8") + 2**33,
    "ok": np.arange(N) % 2 == 0,
}


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "flat.root", FLAT, step=300)


def read(path: Path, *names: str, step: int = 128, per: str | list[str] | None = None) -> dict[str, object]:
    with Table(Source(str(path), trees_in(str(path)).popitem()[0]), per) as table:
        chunks = list(table.chunks(names, step))
    return {name: ak.concatenate([c.arrays[name] for c in chunks]) for name in (*names, "Entry$")}


def test_every_row_is_read_once_and_in_order_whatever_the_chunk(flat: Path) -> None:
    for step in (1, 7, 300, 5000):
        arrays = read(flat, *FLAT, step=step)
        for name, values in FLAT.items():
            assert ak.to_numpy(arrays[name]).tolist() == values.tolist()
        assert ak.to_numpy(arrays["Entry$"]).tolist() == list(range(N))


def test_names_with_dots_keep_their_types(flat: Path) -> None:
    with Table(Source(str(flat), "T")) as table:
        assert table.names == list(FLAT)
        assert {n: str(k) for n, k in table.kinds(FLAT).items()} == {"P.gtr.p": "float", "event": "int", "ok": "bool"}


def test_the_highest_cycle_of_a_tree_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cycles.root"
    with uproot.recreate(path) as file:
        file.mktree("T", {"x": "f4"}).extend({"x": np.zeros(5, "f4")})
    with uproot.update(path) as file:
        file.mktree("T", {"x": "f4"}).extend({"x": np.zeros(9, "f4")})
    assert trees_in(str(path)) == {"T": 9}


def test_trees_in_nested_directories_are_found(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "nested.root") as file:
        file.mktree("a/b/T", {"x": "f4"}).extend({"x": np.ones(3, "f4")})
    (source,) = find_sources(["nested.root"], None, tmp_path)
    assert source.tree == "a/b/T"
    assert find_sources(["nested.root:a/b/T"], None, tmp_path) == [source]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a.root", ("a.root", None)),
        ("a.root:T", ("a.root", "T")),
        ("a.root:dir/T", ("a.root", "dir/T")),
        ("root://host//data/a.root", ("root://host//data/a.root", None)),
        ("root://host:1094//data/a.root:T", ("root://host:1094//data/a.root", "T")),
        ("*.root:T", ("*.root", "T")),
    ],
)
def test_a_tree_is_named_after_a_colon(text: str, parts: tuple[str, str | None]) -> None:
    assert split_tree(text) == parts


def test_globs_are_sorted_and_relative_to_the_folder(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        write_tree(tmp_path / f"{name}.root", {"x": np.ones(2)})
    found = find_sources("*.root", "T", tmp_path)
    assert [s.stem for s in found] == ["a", "b", "c"]
    with pytest.raises(DataError, match="named twice"):
        find_sources(["*.root", "a.root"], "T", tmp_path)


def make_bad(kind: str, folder: Path) -> Path:
    path = folder / "bad.root"
    if kind == "text":
        path.write_text("this is no ROOT file, but it is long enough to look at " * 20)
    elif kind == "empty":
        path.touch()
    elif kind == "no tree":
        with uproot.recreate(path) as file:
            file["h"] = np.histogram([1.0, 2.0])
    elif kind == "two trees":
        with uproot.recreate(path) as file:
            file.mktree("A", {"x": "f4"}).extend({"x": np.ones(3, "f4")})
            file.mktree("B", {"x": "f4"}).extend({"x": np.ones(4, "f4")})
    elif kind == "folder":
        path.mkdir()
    elif kind == "cut short":
        write_tree(path, {"x": np.random.default_rng(1).normal(size=100_000)})
        path.write_bytes(path.read_bytes()[:200])
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "bad.root: no such file"),
        ("text", "bad.root: is not a ROOT file"),
        ("empty", "is an empty file"),
        ("no tree", "bad.root: holds no tree"),
        ("two trees", r"holds several trees: A \(3 entries\), B \(4 entries\); say which"),
        ("folder", "is a folder"),
        ("cut short", "damaged or was cut short"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(kind: str, said: str, tmp_path: Path) -> None:
    make_bad(kind, tmp_path)
    with pytest.raises(DataError, match=said):
        find_sources("bad.root", None, tmp_path)


def test_an_unknown_tree_names_the_nearest(flat: Path) -> None:
    with pytest.raises(DataError, match="no tree 'Tt'; did you mean 'T'"):
        find_sources(f"{flat}:Tt", None, Path())


def test_a_damaged_basket_names_file_branch_and_entries(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(3, 100_000))
    path = write_tree(tmp_path / "damaged.root", {"good": values[0], "bad": values[1], "last": values[2]}, step=50_000)
    with uproot.open(path) as file:
        basket = file["T"]["bad"].member("fBasketSeek")[1]
    content = bytearray(path.read_bytes())
    content[basket + 100 : basket + 5000] = bytes(4900)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged.root:T: branch 'bad', entries 50,000 to 74,999 cannot be read"):
        read(path, "good", "bad", "last", step=25_000)
    read(path, "good", "last")


def test_all_trees_of_a_file_can_be_listed(tmp_path: Path) -> None:
    assert {s.tree for s in find_all(str(make_bad("two trees", tmp_path)))} == {"A", "B"}


JAGGED = ak.Array([[1.5, 2.5], [], [3.5], [4.5, 5.5, 6.5]])


@pytest.fixture
def jagged(tmp_path: Path) -> Path:
    content = {
        "Electron": ak.zip({"pt": JAGGED, "q": ak.values_astype(JAGGED, "i4")}),
        "run": np.arange(4),
        "other": JAGGED[::-1],
    }
    path = tmp_path / "jagged.root"
    with uproot.recreate(path) as file:
        file.mktree(
            "Events", {k: v.type.content if isinstance(v, ak.Array) else v.dtype for k, v in content.items()}
        ).extend(content)
    return path


@pytest.mark.parametrize("step", [1, 2, 4])
@pytest.mark.parametrize("per", ["Electron", ["Electron_pt", "Electron_q"]])
def test_a_row_is_a_candidate_with_its_events_values_beside_it(jagged: Path, step: int, per: str | list[str]) -> None:
    arrays = read(jagged, "Electron_pt", "Electron_q", "run", "other", step=step, per=per)
    assert arrays["Electron_pt"].tolist() == [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]
    assert arrays["run"].tolist() == [0, 0, 2, 3, 3, 3]
    assert arrays["Entry$"].tolist() == [0, 0, 2, 3, 3, 3]
    assert arrays["other"].tolist() == [JAGGED[::-1][i].tolist() for i in (0, 0, 2, 3, 3, 3)]


def test_a_plain_jagged_branch_is_a_collection_of_its_own(jagged: Path) -> None:
    assert read(jagged, "other", per="other")["other"].tolist() == ak.flatten(JAGGED[::-1]).tolist()


def test_branches_of_different_lengths_are_no_collection(jagged: Path) -> None:
    with pytest.raises(DataError, match=r"jagged.root:Events: in entry 0 'other' has 3 and 'Electron_pt' has 2"):
        read(jagged, "Electron_pt", "other", per=["Electron_pt", "other"])


def test_an_unknown_collection_names_the_nearest(jagged: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'Electron'"):
        read(jagged, "run", per="Electrn")
