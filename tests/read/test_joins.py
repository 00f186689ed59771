"""Elements that a condition or an index chooses of a list, compared with awkward by hand and with real ROOT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from pidlab.errors import ExpressionError
from pidlab.expressions import Kind, Number, check, evaluate, kind_from_array, parse, selects
from pidlab.read import Source, Table
from real_root import ask_root, needs_root

SMALL = st.integers(-2, 6)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Generated particles and candidates of some events; the candidates point at particles, some of them at none."""
    n = draw(st.integers(1, 8))
    sizes = draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=n, max_size=n))
    n_gen, n_rec = (np.array(each) for each in zip(*sizes, strict=True))
    index = draw(st.lists(SMALL, min_size=int(n_rec.sum()), max_size=int(n_rec.sum())))
    return made(np.random.default_rng(draw(st.integers(0, 10_000))), n_gen, n_rec, index)


def made(rng: np.random.Generator, n_gen: Any, n_rec: Any, index: Any) -> dict[str, Any]:
    """Events with these numbers of particles and candidates, and with the index of each candidate."""
    n = len(n_gen)

    def lists(values: Any, counts: Any, dtype: str) -> Any:
        return ak.unflatten(np.asarray(values).astype(dtype), counts)

    return {
        "Gen_pdgId": lists(rng.integers(-5, 6, n_gen.sum()), n_gen, "i4"),
        "Gen_pt": lists(rng.normal(size=n_gen.sum()), n_gen, "f4"),
        "Gen_mother": lists(rng.integers(-1, 4, n_gen.sum()), n_gen, "i2"),
        "Rec_pt": lists(rng.normal(size=n_rec.sum()), n_rec, "f8"),
        "Rec_genIdx": lists(index, n_rec, "i2"),
        "k": rng.integers(-2, 5, n).astype("i4"),
        "flag": rng.random(n) < 0.5,
    }


def value(text: str, arrays: dict[str, Any]) -> Any:
    return evaluate(parse(text), arrays, len(arrays["k"]))


def by_hand(items: Any, index: Any) -> list[list[float]]:
    """The elements by index, NaN where there is none, in plain Python."""
    return [
        [float(row[i]) if 0 <= i < len(row) else np.nan for i in wanted]
        for row, wanted in zip(items.tolist(), index.tolist(), strict=True)
    ]


@settings(max_examples=30, deadline=None)
@given(arrays=events())
def test_a_condition_chooses_as_a_mask_of_awkward_does(arrays: dict[str, Any]) -> None:
    pt, pdg = arrays["Gen_pt"], arrays["Gen_pdgId"]
    chosen = ak.values_astype(pt[(pdg > 0) & (pt < 1)], "f8")
    np.testing.assert_allclose(
        value("Sum$(Gen_pt[Gen_pdgId > 0 && Gen_pt < 1])", arrays), ak.sum(chosen, axis=1), rtol=1e-12
    )
    assert np.array_equal(value("Length$(Gen_pt[Gen_pdgId > 0 && Gen_pt < 1])", arrays), ak.num(chosen))
    assert np.array_equal(
        value("Max$(Gen_pt[Gen_pdgId > 0 && Gen_pt < 1])", arrays), ak.fill_none(ak.max(chosen, axis=1), 0)
    )
    products = ak.sum(ak.values_astype(pt[pdg > 0], "f8") * pdg[pdg > 0], axis=1)
    np.testing.assert_allclose(
        value("Sum$(Gen_pt[Gen_pdgId > 0] * Gen_pdgId[Gen_pdgId > 0])", arrays), products, rtol=1e-12, atol=1e-12
    )
    first = ak.to_numpy(ak.fill_none(ak.firsts(chosen), np.nan))
    assert np.array_equal(value("Gen_pt[Gen_pdgId > 0 && Gen_pt < 1][0]", arrays), first, equal_nan=True)
    everything_or_nothing = np.where(arrays["flag"], ak.num(pt), 0)
    assert np.array_equal(value("Length$(Gen_pt[flag])", arrays), everything_or_nothing)


@settings(max_examples=30, deadline=None)
@given(arrays=events())
def test_an_index_chooses_as_awkward_does_and_beyond_the_ends_there_is_nothing(arrays: dict[str, Any]) -> None:
    pdg, index = arrays["Gen_pdgId"], arrays["Rec_genIdx"]
    joined = by_hand(pdg, index)
    sums = [sum(x for x in row if x == x) for row in joined]
    assert np.array_equal(value("Sum$(isnan(Gen_pdgId[Rec_genIdx]) ? 0 : Gen_pdgId[Rec_genIdx])", arrays), sums)
    own = np.array(by_hand(pdg, ak.unflatten(arrays["k"], np.ones(len(pdg), int))))[:, 0]
    assert np.array_equal(value("Gen_pdgId[k]", arrays), own, equal_nan=True)
    assert np.array_equal(selects(parse("Gen_pdgId[k] > -99 || 1"), arrays, len(pdg)), ~np.isnan(own))
    last = ak.to_numpy(ak.fill_none(ak.firsts(pdg[:, ::-1]), np.nan))
    assert np.array_equal(value("Gen_pdgId[Length$(Gen_pdgId) - 1]", arrays), last, equal_nan=True)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_candidates_are_joined_by_index_also_with_others_of_their_own_collection(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 5, (2, 40))
    arrays = made(rng, *sizes, rng.integers(-2, 7, sizes[1].sum()))
    path = tmp_path / "nano.root"
    with uproot.recreate(path) as file:
        file.mktree(
            "Events",
            {
                name: array.type.content if isinstance(array, ak.Array) else array.dtype
                for name, array in arrays.items()
            },
        )
        file["Events"].extend(arrays)
    texts = {
        "Gen_pdgId[Rec_genIdx]": ("Rec", by_hand(arrays["Gen_pdgId"], arrays["Rec_genIdx"])),
        "Gen_pdgId[Gen_mother]": ("Gen", by_hand(arrays["Gen_pdgId"], arrays["Gen_mother"])),
        "Rec_pt[0]": ("Rec", [row[:1] * len(row) for row in arrays["Rec_pt"].tolist()]),
        "Sum$(Rec_pt[Rec_genIdx == Iteration$])": (
            "Gen",
            [
                [sum(p for p, j in zip(pt, idx, strict=True) if i == j) for i in range(n)]
                for pt, idx, n in zip(arrays["Rec_pt"].tolist(), arrays["Rec_genIdx"].tolist(), sizes[0], strict=True)
            ],
        ),
    }  # fmt: skip
    for text, (per, wanted) in texts.items():
        expression = parse(text)
        with Table(Source(str(path), "Events"), per) as table:
            assert check(expression, table.kinds(expression.reads)).is_scalar
            own = [evaluate(expression, chunk.arrays, chunk.n_rows) for chunk in table.chunks(expression.reads, 3)]
        flat = np.array([x for row in wanted for x in row])
        np.testing.assert_allclose(np.concatenate(own), flat, rtol=1e-12, atol=1e-12, err_msg=text)


@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_a_reduction_of_branches_of_the_candidates_is_one_of_all_candidates_of_the_event(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """`Sum$(Electron_pt > 10)` counts the electrons of the event, although the rows are electrons."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 5, (2, 30)) + 1
    arrays = made(rng, *sizes, rng.integers(-2, 7, sizes[1].sum()))
    path = tmp_path_factory.mktemp("candidates") / "nano.root"
    with uproot.recreate(path) as file:
        types = {name: a.type.content if isinstance(a, ak.Array) else a.dtype for name, a in arrays.items()}
        file.mktree("Events", types)
        file["Events"].extend(arrays)
    pt, index, gen = arrays["Rec_pt"], arrays["Rec_genIdx"], arrays["Gen_pt"]
    of_event = {
        "Sum$(Rec_pt > 0)": ak.sum(pt > 0, axis=1),
        "Length$(Rec_pt)": ak.num(pt),
        "Max$(Rec_pt * Rec_genIdx)": ak.max(pt * index, axis=1),
        "MaxIf$(Rec_pt, Rec_genIdx > 1)": ak.fill_none(ak.max(pt[index > 1], axis=1), 0),
        "Sum$(Rec_pt > Max$(Gen_pt))": ak.sum(pt > ak.max(gen, axis=1), axis=1),
        "Sum$(Rec_pt[Rec_genIdx > 1])": ak.sum(pt[index > 1], axis=1),
        "Length$(Rec_pt[Rec_pt < Sum$(Rec_pt)])": ak.num(pt[pt < ak.sum(pt, axis=1)]),
    }
    wanted = {text: ak.flatten(ak.broadcast_arrays(values, pt)[0]) for text, values in of_event.items()}
    wanted["Rec_pt / Sum$(abs(Rec_pt))"] = ak.flatten(pt / ak.sum(abs(pt), axis=1))
    own = ak.sum(gen[:, np.newaxis] > pt[:, :, np.newaxis], axis=2)  # beside another list the candidate's own number
    wanted["Sum$(Gen_pt > Rec_pt)"] = ak.flatten(own)
    wanted["Gen_pt[Rec_genIdx]"] = np.array([x for row in by_hand(gen, index) for x in row])
    for text, numbers in wanted.items():
        expression = parse(text)
        with Table(Source(str(path), "Events"), "Rec") as table:
            assert check(expression, table.kinds(expression.reads)).is_scalar
            found = [evaluate(expression, chunk.arrays, chunk.n_rows) for chunk in table.chunks(expression.reads, 7)]
        np.testing.assert_allclose(
            np.concatenate(found), ak.to_numpy(numbers), rtol=1e-12, atol=1e-12, err_msg=text
        )  # sums of float32 numbers of any sign


def test_relations_of_edm4hep_are_followed_through_their_ranges(tmp_path: Path) -> None:
    """A parent of a particle is at `_MCParticles_parents.index[parents_begin]`, as podio stores relations."""
    arrays = {
        "MCParticles.PDG": ak.values_astype(ak.Array([[23, 11, -11], [], [111, 22, 22]]), "i4"),
        "MCParticles.parents_begin": ak.values_astype(ak.Array([[0, 0, 1], [], [0, 0, 1]]), "u4"),
        "MCParticles.parents_end": ak.values_astype(ak.Array([[0, 1, 2], [], [0, 1, 2]]), "u4"),
        "_MCParticles_parents.index": ak.values_astype(ak.Array([[0, 0], [], [0, 0]]), "i4"),
        "link#0.index": ak.values_astype(ak.Array([[2, -1], [], [1]]), "i4"),
        "Reco.energy": ak.values_astype(ak.Array([[1.5, 2.5], [], [3.5]]), "f4"),
    }
    with uproot.recreate(tmp_path / "events.root") as file:
        file.mktree("events", {name: array.type.content for name, array in arrays.items()})
        file["events"].extend(arrays)
    parent = "MCParticles.PDG[_MCParticles_parents.index[MCParticles.parents_begin]]"
    cases: list[tuple[str, str | list[str], list[float]]] = [
        (
            f"MCParticles.parents_end > MCParticles.parents_begin ? {parent} : 0",
            "MCParticles",
            [0, 23, 23, 0, 111, 111],
        ),
        ("MCParticles.PDG[`link#0.index`]", ["Reco.energy", "link#0.index"], [-11, np.nan, 22]),
    ]
    for text, per, wanted in cases:
        expression = parse(text)
        with Table(Source(str(tmp_path / "events.root"), "events"), per) as table:
            (chunk,) = table.chunks(expression.reads)
        assert np.array_equal(evaluate(expression, chunk.arrays, chunk.n_rows), wanted, equal_nan=True)


@pytest.mark.slow
@needs_root
def test_an_index_and_the_number_of_the_candidate_are_those_of_tree_draw(tmp_path: Path) -> None:
    """Beyond the end TTree::Draw has NaN too; for -1 it has NaN and complains, which `ask_root` does not let pass."""
    arrays = made(
        np.random.default_rng(4), np.arange(1, 30), np.arange(29), np.random.default_rng(5).integers(0, 12, 406)
    )
    arrays["k"] = abs(arrays["k"])
    with uproot.recreate(tmp_path / "a.root") as file:
        types = {name: a.type.content if isinstance(a, ak.Array) else a.dtype for name, a in arrays.items()}
        file.mktree("T", types)
        file["T"].extend(arrays)
    code = """
file = ROOT.TFile(given["path"])
answer = [columns(file.Get("T"), [text])[0].tolist() for text in given["texts"]]
"""
    texts = ["Gen_pdgId[k]", "Gen_pdgId[Rec_genIdx]", "Iteration$ + Rec_pt", "Gen_pdgId[Length$(Gen_pt) - 1]"]
    theirs = ask_root(code, path=tmp_path / "a.root", texts=texts)
    for text, wanted in zip(texts, theirs, strict=True):
        expression = parse(text)
        with Table(Source(str(tmp_path / "a.root"), "T"), "Rec" if "Rec" in text else None) as table:
            (chunk,) = table.chunks(expression.reads)
        assert np.array_equal(evaluate(expression, chunk.arrays, chunk.n_rows), wanted, equal_nan=True), text


def test_kinds_of_what_is_chosen() -> None:
    kinds = {
        "x": kind_from_array(ak.Array([[1.5]])),
        "n": kind_from_array(ak.Array([[1]])),
        "i": Kind(Number.INT),
        "b": Kind(Number.BOOL),
        "v": Kind(Number.INT, (3,)),
    }
    wanted = {
        "n[i]": Number.INT, "x[i]": Number.FLOAT, "v[i] & 1": Number.UNSIGNED, "Sum$(n[n > 1])": Number.INT,
        "Max$(v[v > 1])": Number.INT, "Sum$(n[n])": Number.FLOAT, "Length$(x[b])": Number.INT,
    }  # fmt: skip
    for text, number in wanted.items():
        assert check(parse(text), kinds) == Kind(number), text


def test_a_fixed_array_is_chosen_from_like_a_list() -> None:
    arrays = {"v": np.arange(6).reshape(2, 3), "k": np.array([2, 3])}
    assert value("Sum$(v[v > 1])", arrays).tolist() == [2, 12]
    assert np.array_equal(value("v[k]", arrays), [2, np.nan], equal_nan=True)


def test_the_number_of_the_candidate_is_refused_where_rows_are_events() -> None:
    with pytest.raises(ExpressionError, match="a row is an event"):
        value("Iteration$ + k", {"k": np.arange(3)})
