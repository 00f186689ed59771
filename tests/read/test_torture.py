"""The files that trip readers: each does the right thing, or says in a sentence why it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from conftest import Run
from pidlab.errors import DataError
from pidlab.expressions import evaluate, parse, selects
from pidlab.read import Chunk, Source, Table, find_all, find_sources, trees_in
from pidlab.read.inspection import inspect

COMPRESSIONS = ["lz4", "lzma", "uncompressed", "zlib", "zstd"]


@pytest.fixture
def torture(shared: Path) -> Path:
    """The folder of the files."""
    if not (shared / "torture").is_dir():
        pytest.skip("there is no folder of ROOT files that trip readers")
    return shared / "torture"


def only(path: Path) -> Source:
    (source,) = find_all(str(path))
    return source


def whole(source: Source, *names: str, per: str | None = None) -> Chunk:
    with Table(source, per) as table:
        (chunk,) = table.chunks(names or table.kinds(table.names), step=1_000_000)
    return chunk


@pytest.fixture(scope="module")
def zlib_events(shared: Path) -> Chunk:
    """HZZ as zlib holds it: what the other compressions are compared with."""
    return whole(only(shared / "torture" / "uproot-HZZ-zlib.root"))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_each_compression_of_hzz_gives_the_same_table(compression: str, torture: Path, zlib_events: Chunk) -> None:
    source = only(torture / f"uproot-HZZ-{compression}.root")
    with Table(source) as table:
        kinds = table.kinds(table.names)
        assert (table.n_entries, len(kinds)) == (2421, 51)
        assert sum(kind.is_scalar for kind in kinds.values()) == 28
    events = whole(source)
    assert events.arrays.keys() == zlib_events.arrays.keys()
    for name, values in zlib_events.arrays.items():
        assert ak.array_equal(events.arrays[name], values), name


def test_each_muon_of_hzz_is_a_row(torture: Path) -> None:
    source = only(torture / "uproot-HZZ-zstd.root")
    rows = whole(source, "Muon_Px", "Muon_Py", "Muon_Charge", "MET_px", per="Muon")
    with uproot.open(source.path) as file:
        counts = file["events"]["NMuon"].array(library="np")
        px = ak.to_numpy(ak.flatten(file["events"]["Muon_Px"].array()))
        met = file["events"]["MET_px"].array(library="np")
    assert rows.n_rows == counts.sum() == 3825
    np.testing.assert_array_equal(rows.arrays["Muon_Px"], px)
    np.testing.assert_array_equal(rows.arrays["MET_px"], np.repeat(met, counts))
    np.testing.assert_array_equal(rows.entry, np.repeat(np.arange(2421), counts))
    assert set(np.unique(rows.arrays["Muon_Charge"])) == {-1, 1}


def test_objects_of_hzz_are_left_out_with_a_reason_and_the_rest_is_read(torture: Path, zlib_events: Chunk) -> None:
    source = only(torture / "uproot-HZZ-objects.root")
    with Table(source) as table:
        assert table.reason("MET") == "holds objects of the type TVector2"
        assert table.reason("muonp4") == "holds objects of the type std::vector<TLorentzVector>"
        assert len(table.kinds(table.names)) == 11
    events = whole(source, "muoniso", "eventweight")
    assert ak.array_equal(events.arrays["muoniso"], zlib_events.arrays["Muon_Iso"])
    assert ak.array_equal(events.arrays["eventweight"], zlib_events.arrays["EventWeight"])


def test_zmumu_has_its_z(torture: Path) -> None:
    events = whole(
        only(torture / "uproot-Zmumu.root"), "E1", "E2", "px1", "px2", "py1", "py2", "pz1", "pz2", "Type", "M"
    )
    mass = parse("sqrt((E1+E2)^2 - (px1+px2)^2 - (py1+py2)^2 - (pz1+pz2)^2)")
    np.testing.assert_allclose(evaluate(mass, events.arrays, 2304), events.arrays["M"], rtol=1e-3, atol=0)
    is_gt = selects(parse("Type == 'GT'"), events.arrays, 2304)
    assert is_gt.sum() == sum(t == "GT" for t in events.arrays["Type"].tolist()) > 0


def test_truncated_doubles_are_numbers_within_their_precision(torture: Path) -> None:
    events = whole(only(torture / "uproot-double32-float16.root"))
    exact, coarse = events.arrays["double32_32"], events.arrays["double32_10"]
    assert (exact.dtype, events.arrays["float16_16"].dtype, events.arrays["array_30"].shape) == ("f8", "f4", (17, 3))
    np.testing.assert_allclose(coarse, exact, rtol=0, atol=12.71 / 2**10)
    assert selects(parse("array_30[1] > -3"), events.arrays, 17).all()


def test_a_tree_without_entries_answers_in_a_sentence(torture: Path, pidlab: Run, tmp_path: Path) -> None:
    source = only(torture / "uproot-empty.root")
    with Table(source) as table:
        summary = inspect(table)
        assert {b.name: b.remarks for b in summary.branches} == dict.fromkeys("xyz", ("has no entries",))
        assert list(table.chunks("xy")) == []
    config = {
        "data": {"files": source.path},
        "classes": {"a": "x == 1", "b": "x == 2"},
        "features": ["y"],
        "models": {"f": {"type": "fisher"}},
    }
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    done = pidlab("run", "c.yaml", "-o", "run")
    assert done.returncode == 1
    assert "uproot-empty.root:tree: has no entries" in done.stderr


def test_numbers_of_hepdata_are_read_from_an_ntuple(torture: Path) -> None:
    events = whole(only(torture / "uproot-hepdata-example.root"))
    assert (events.n_rows, set(events.arrays)) == (75_000, {"px", "py", "pz", "random", "i", "Entry$", "LocalEntry$"})
    np.testing.assert_allclose(
        events.arrays["pz"], events.arrays["px"] ** 2 + events.arrays["py"] ** 2, rtol=1e-4, atol=1e-6
    )


def test_a_file_of_histograms_holds_no_tree(torture: Path, pidlab: Run) -> None:
    with pytest.raises(DataError, match=r"uproot-histograms\.root: holds no tree"):
        find_sources(str(torture / "uproot-histograms.root"), None, Path())
    done = pidlab("inspect", torture / "uproot-histograms.root")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "holds no tree" in done.stderr


def test_the_leaves_of_a_leaf_list_are_branches(torture: Path) -> None:
    events = whole(only(torture / "uproot-leaflist.root"))
    assert {name: v.tolist() for name, v in events.arrays.items() if not name.endswith("Entry$")} == {
        "leaflist.x": [1.1, 2.2, 3.3, 4.0, 5.5],
        "leaflist.y": [1, 2, 3, 4, 5],
        "leaflist.z": [97, 98, 99, 100, 101],
    }
    assert selects(parse("leaflist.x > 3 && leaflist.y < 5"), events.arrays, 5).tolist() == [
        False,
        False,
        True,
        True,
        False,
    ]


def test_trees_in_nested_directories_are_told_apart(torture: Path) -> None:
    path = torture / "uproot-nesteddirs.root"
    assert trees_in(str(path)) == {"one/two/tree": 100, "one/tree": 4, "three/tree": 100}
    with pytest.raises(DataError, match=r"several trees: one/tree \(4 entries\), one/two/tree \(100 entries\)"):
        find_sources(str(path), None, Path())
    flat, split = (find_sources(f"{path}:{tree}", None, Path())[0] for tree in ("one/two/tree", "three/tree"))
    a = whole(flat, "Int32", "ArrayInt32", "SliceFloat64", "Str")
    b = whole(split, "I32", "ArrayI32", "SliceF64", "P3.Py", "StdStr", "StlVecF32")
    assert selects(parse("Int32 == ArrayInt32[9] && Length$(SliceFloat64) == Int32 % 10"), a.arrays, 100).all()
    assert selects(parse("I32 == ArrayI32[9] && Length$(SliceF64) == Length$(StlVecF32)"), b.arrays, 100).all()
    assert np.flatnonzero(selects(parse("Str == 'evt-007'"), a.arrays, 100)).tolist() == [7]
    assert np.flatnonzero(selects(parse("StdStr == 'std-007'"), b.arrays, 100)).tolist() == [7]
    with Table(split) as table:
        assert table.reason("StlVecStr") == "holds objects of the type std::vector<std::string>"


def test_a_text_beside_numbers_is_read(torture: Path) -> None:
    events = whole(only(torture / "uproot-simple.root"))
    expected: dict[str, list[Any]] = {"one": [1, 2, 3, 4], "two": pytest.approx([1.1, 2.2, 3.3, 4.4])}
    assert {name: events.arrays[name].tolist() for name in expected} == expected
    assert events.arrays["three"].tolist() == ["uno", "dos", "tres", "quatro"]
