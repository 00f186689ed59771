"""TEfficiency: ROOT reads what we write, we read what ROOT writes, and the intervals agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from pidlab.errors import DataError, OutputError
from pidlab.evaluate.intervals import clopper_pearson
from pidlab.rootio import read_efficiency, tefficiency
from real_root import ask_root, needs_root

EDGES = [np.array([0.0, 1, 2, 4, 8]), np.array([-1.0, 0, 3]), np.linspace(0, 1, 4)]
READ_IN_ROOT = """
file = ROOT.TFile.Open(given["file"])
answer = {}
for name in given["names"]:
    e = file.Get("model/" + name)
    h = e.GetTotalHistogram()
    inside = [i for i in range(h.GetNcells()) if not (h.IsBinUnderflow(i) or h.IsBinOverflow(i))]
    numbers = [[e.GetEfficiency(i), e.GetEfficiencyErrorLow(i), e.GetEfficiencyErrorUp(i)] for i in inside]
    answer[name] = [[e.ClassName(), e.GetName(), e.GetTitle()], e.GetDimension(), e.UsesWeights(), e.GetWeight(),
                    e.GetConfidenceLevel(), int(e.GetStatisticOption()), h.GetXaxis().GetTitle(), numbers]
"""


def counts(shape: tuple[int, ...], seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    total = rng.integers(1, 10_000, shape).astype(float)
    passed = rng.binomial(total.astype(int), rng.choice([0.0, 0.001, 0.5, 0.99, 1.0], shape)).astype(float)
    total.flat[1], passed.flat[1] = 0, 0
    return passed, total


def in_root_order(cells: np.ndarray) -> np.ndarray:
    return cells.T.reshape(-1)


@needs_root
def test_roots_clopper_pearson_intervals_are_ours(tmp_path: Path) -> None:
    shapes = {"one": (4,), "two": (4, 2), "three": (4, 2, 3)}
    with uproot.recreate(tmp_path / "ours.root") as file:
        for i, (name, shape) in enumerate(shapes.items()):
            file[f"model/{name}"] = tefficiency(*counts(shape), EDGES[: i + 1], "mlp;p [GeV];#varepsilon")
    answer = ask_root(READ_IN_ROOT, file=tmp_path / "ours.root", names=[*shapes])
    for i, (name, shape) in enumerate(shapes.items()):
        identity, dimension, weighted, weight, level, option, x_title, numbers = answer[name]
        assert identity == ["TEfficiency", name, "mlp"]
        assert (dimension, weighted, weight, level, option, x_title) == (i + 1, False, 1, 0.682689492137, 0, "p [GeV]")
        passed, total = (in_root_order(c) for c in counts(shape))
        tried = total > 0
        low, high = clopper_pearson(passed[tried], total[tried])
        value, error_low, error_high = np.array(numbers)[tried].T
        np.testing.assert_allclose(value, passed[tried] / total[tried], rtol=1e-14, atol=0)
        # ROOT writes the confidence level with 12 digits and inverts the beta function to about 1e-10
        np.testing.assert_allclose(value - error_low, low, rtol=0, atol=1e-9)
        np.testing.assert_allclose(value + error_high, high, rtol=0, atol=1e-9)


@needs_root
def test_weighted_events_have_roots_normal_approximation(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    w = rng.normal(1, 0.5, (4, 300))
    kept = rng.random((4, 300)) < 0.7
    sums = [(w * kept).sum(1), w.sum(1), (w**2 * kept).sum(1), (w**2).sum(1)]
    with uproot.recreate(tmp_path / "ours.root") as file:
        file["model/weighted"] = tefficiency(*sums[:2], EDGES[:1], "", *sums[2:])
    _, _, weighted, _, _, option, _, numbers = ask_root(READ_IN_ROOT, file=tmp_path / "ours.root", names=["weighted"])[
        "weighted"
    ]
    assert weighted
    assert option == 1
    e = sums[0] / sums[1]
    error = np.sqrt(sums[2] * (1 - 2 * e) + sums[3] * e**2) / sums[1]
    value, low, high = np.array(numbers).T
    np.testing.assert_allclose(value, e, rtol=1e-13, atol=0)
    np.testing.assert_allclose(low, error, rtol=1e-9, atol=0)
    np.testing.assert_allclose(high, np.minimum(error, 1 - e), rtol=1e-9, atol=0)


@needs_root
def test_equal_weights_are_counts_with_a_weight(tmp_path: Path) -> None:
    passed, total = counts((4,))
    with uproot.recreate(tmp_path / "ours.root") as file:
        file["model/equal"] = tefficiency(0.3 * passed, 0.3 * total, EDGES[:1], "", 0.09 * passed, 0.09 * total)
    _, _, weighted, weight, _, _, _, numbers = ask_root(READ_IN_ROOT, file=tmp_path / "ours.root", names=["equal"])[
        "equal"
    ]
    assert not weighted
    np.testing.assert_allclose(weight, 0.3, rtol=1e-12)
    read = read_efficiency(tmp_path / "ours.root", "model/equal")
    np.testing.assert_array_equal([read.passed, read.total, read.total2], [passed, total, total])
    low, _ = clopper_pearson(passed[0], total[0])
    np.testing.assert_allclose(numbers[0][0] - numbers[0][1], low, rtol=0, atol=1e-9)


def test_one_bin_of_unequal_weights_is_weighted(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "ours.root") as file:
        file["e"] = tefficiency([0.0], [2.0], [[0, 1]], "", [0.0], [2.5])
    assert read_efficiency(tmp_path / "ours.root", "e").weighted


WRITTEN_BY_ROOT = """
file = ROOT.TFile(given["file"], "RECREATE")
one = ROOT.TEfficiency("one", "by ROOT;x;y", 3, 0, 3)
two = ROOT.TEfficiency("two", "t", 2, 0, 2, 3, 0, 3)
weighted = ROOT.TEfficiency("weighted", "t", 2, 0, 2)
weighted.SetUseWeightedEvents()
prior = ROOT.TEfficiency("prior", "t", 2, 0, 2)
prior.SetStatisticOption(ROOT.TEfficiency.kBBayesian)
prior.SetBetaBinParameters(1, 2.0, 3.0)
for i in range(30):
    one.Fill(i % 3 == 0, i % 3 + 0.5); two.Fill(i % 2 == 0, i % 2 + 0.5, i % 3 + 0.5); prior.Fill(i % 4 > 0, 0.5)
    weighted.FillWeighted(i % 3 == 0, 0.5 * i, i % 2 + 0.5)
for e in (one, two, weighted, prior): e.Write()
ROOT.TH1D("histogram", "", 2, 0, 2).Write()
file.Close()
answer = True
"""


@needs_root
def test_what_root_wrote_is_read(tmp_path: Path) -> None:
    path = tmp_path / "roots.root"
    ask_root(WRITTEN_BY_ROOT, file=path)
    i = np.arange(30)
    one = read_efficiency(path, "one")
    np.testing.assert_array_equal([one.passed, one.total], [[10, 0, 0], [10, 10, 10]])
    np.testing.assert_array_equal(one.edges[0], [0, 1, 2, 3])
    assert (one.title, one.weighted, one.weight) == ("by ROOT", False, 1)
    two = read_efficiency(path, "two")
    expected = [
        [[np.sum((i % 2 == a) & (i % 3 == b) & ((i % 2 == 0) | k)) for b in range(3)] for a in range(2)] for k in (0, 1)
    ]
    np.testing.assert_array_equal([two.passed, two.total], expected)
    weighted = read_efficiency(path, "weighted")
    assert weighted.weighted
    odd = i % 2 == 1
    np.testing.assert_allclose(weighted.total2, [(0.25 * i[~odd] ** 2).sum(), (0.25 * i[odd] ** 2).sum()], rtol=1e-14)
    assert read_efficiency(path, "prior").passed[0] == np.sum(i % 4 > 0)
    with pytest.raises(DataError, match="'histogram' is a TH1D, not a TEfficiency"):
        read_efficiency(path, "histogram")


@settings(max_examples=25, deadline=None)
@given(data=st.data(), dimensions=st.integers(1, 3), weighted=st.booleans())
def test_written_and_read_back_is_the_same(
    data: st.DataObject, dimensions: int, weighted: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    edges = EDGES[:dimensions]
    shape = tuple(len(e) - 1 for e in edges)
    total = np.array(data.draw(st.lists(st.integers(0, 10**6), min_size=(n := int(np.prod(shape))), max_size=n)), float)
    passed = np.floor(total * data.draw(st.floats(0, 1)))
    # no events of one weight have these sums of w and of w²: for t events, their number would be 6 t² / (9 t + 2)
    sums = [c.reshape(shape) for c in (passed, total, 3 * passed, 1.5 * total + 1 / 3)]
    path = tmp_path_factory.mktemp("efficiency") / "ours.root"
    with uproot.recreate(path) as file:
        file["e"] = tefficiency(*sums[:2], edges, "t;x", *(sums[2:] if weighted else ()))
    read = read_efficiency(path, "e")
    np.testing.assert_array_equal([read.passed, read.total], sums[:2])
    np.testing.assert_array_equal([read.passed2, read.total2], sums[2:] if weighted else sums[:2])
    assert read.weighted == weighted
    assert all(np.array_equal(a, b) for a, b in zip(read.edges, edges, strict=True))


def test_counts_that_cannot_be_are_refused() -> None:
    for passed, total in (([3], [2]), ([0.5], [1]), ([-1], [1])):
        with pytest.raises(OutputError, match="whole numbers with 0 <= passed <= total; give the sums of squared"):
            tefficiency(passed, total, [[0, 1]], "mlp")
    with pytest.raises(OutputError, match=r"a number a bin, \(2,\)"):
        tefficiency([1], [1], [[0, 1, 2]])


def test_a_file_or_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.root: 'e' cannot be read"):
        read_efficiency(tmp_path / "none.root", "e")
    with uproot.recreate(tmp_path / "ours.root") as file:
        file["other"] = "text"
    with pytest.raises(DataError, match=r"ours\.root: 'e' cannot be read"):
        read_efficiency(tmp_path / "ours.root", "e")
