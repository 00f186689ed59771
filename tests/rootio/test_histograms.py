"""Histograms are those that ROOT itself would have filled: contents, errors, entries and statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from pidlab.evaluate.results import Histogram
from pidlab.rootio import fill, from_cells, th1, th2, th3, tprofile
from pidlab.rootio.histograms import find_bins, titles
from real_root import ask_root, needs_root

UNEQUAL = np.array([-1.5, -1.0, 0.0, 0.3, 1.0, 2.5])
FILLED_IN_ROOT = """
values = np.load(given["values"])
x, y, z, w = (values[k] for k in "xyzw")
unequal = np.array(given["unequal"])
made = {
    "one": ROOT.TH1D("one_", "", 20, -2, 2),
    "unequal": ROOT.TH1D("unequal_", "", len(unequal) - 1, unequal),
    "two": ROOT.TH2D("two_", "", 20, -2, 2, len(unequal) - 1, unequal),
    "three": ROOT.TH3D("three_", "", 20, -2, 2, 8, -2, 2, 4, -2, 2),
    "profile": ROOT.TProfile("profile_", "", 20, -2, 2),
}
for h in made.values(): h.Sumw2()
for a, b, c, u in zip(x, y, z, w):
    made["one"].Fill(a, u); made["unequal"].Fill(a, u); made["two"].Fill(a, b, u)
    made["three"].Fill(a, b, c, u); made["profile"].Fill(a, b, u)
def facts(h):
    n = h.GetNcells()
    return {
        "class": h.ClassName(), "entries": h.GetEntries(), "effective": h.GetEffectiveEntries(),
        "mean": [h.GetMean(i) for i in (1, 2, 3)], "std": [h.GetStdDev(i) for i in (1, 2, 3)],
        "correlation": h.GetCorrelationFactor(1, 2) if "TH2" in h.ClassName() or "TH3" in h.ClassName() else 0.0,
        "content": [h.GetBinContent(i) for i in range(n)], "error": [h.GetBinError(i) for i in range(n)],
        "low": [h.GetXaxis().GetBinLowEdge(i) for i in range(1, h.GetNbinsX() + 2)],
    }
file = ROOT.TFile.Open(given["file"])
answer = {name: [facts(file.Get("some/" + name)), facts(made[name])] for name in made}
"""


@needs_root
@pytest.mark.parametrize("grid", [None, 10], ids=["continuous", "on the edges"])
def test_root_fills_the_same_histograms(tmp_path: Path, grid: int | None) -> None:
    rng = np.random.default_rng(1)
    x, y, z = rng.normal(size=(3, 2000))
    if grid:
        x, y, z = (np.round(v * grid) / grid for v in (x, y, z))
    x[:3] = np.nan, np.inf, -np.inf
    w = rng.normal(1, 1, 2000)
    np.savez(tmp_path / "values.npz", x=x, y=y, z=z, w=w)
    regular = np.linspace(-2, 2, 21)
    one = fill([x], [regular], w)
    with uproot.recreate(tmp_path / "ours.root") as file:
        file["some/one"] = th1(Histogram(one.edges[0], one.sumw, one.sumw2, int(one.entries), one.moments))
        file["some/unequal"] = th1(fill([x], [UNEQUAL], w))
        file["some/two"] = th2(fill([x, y], [regular, UNEQUAL], w))
        file["some/three"] = th3(fill([x, y, z], [regular, np.linspace(-2, 2, 9), np.linspace(-2, 2, 5)], w))
        file["some/profile"] = tprofile(x, np.nan_to_num(y), regular, w)
    answer = ask_root(
        FILLED_IN_ROOT, file=tmp_path / "ours.root", values=tmp_path / "values.npz", unequal=UNEQUAL.tolist()
    )
    for ours, roots in answer.values():
        assert ours["class"] == roots["class"]
        assert ours["entries"] == roots["entries"] == 2000
        for fact in ("effective", "mean", "std", "correlation", "content", "error", "low"):
            # ROOT adds one by one, numpy pairwise: the sums of 2000 terms differ in their last digits; where a
            # statistic is zero by cancellation, it is compared on the scale of the values
            np.testing.assert_allclose(ours[fact], roots[fact], rtol=1e-11, atol=1e-13, err_msg=fact)


@needs_root
def test_titles_and_labels(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "ours.root") as file:
        file["one"] = th1(from_cells([1, 2], [[0, 1, 2]]), "main #; more;p [GeV];entries", ["all", "kept & clean"])
        file["two"] = th2(from_cells([[1, 2]], [[0, 1], [0, 1, 2]]), "t;x;y;z", ["a"], ["b", "c"])
    answer = ask_root(
        """
file = ROOT.TFile.Open(given["file"])
one, two = file.Get("one"), file.Get("two")
answer = [one.GetTitle(), one.GetXaxis().GetTitle(), one.GetYaxis().GetTitle(), two.GetZaxis().GetTitle(),
          [one.GetXaxis().GetBinLabel(i) for i in (1, 2)], two.GetYaxis().GetBinLabel(2),
          one.GetXaxis().FindFixBin("all")]
""",
        file=tmp_path / "ours.root",
    )
    assert answer == ["main ; more", "p [GeV]", "entries", "z", ["all", "kept & clean"], "c", 1]


def test_titles_are_split_as_root_splits_them() -> None:
    assert titles("") == ("", "", "", "")
    assert titles("a#;b;c") == ("a;b", "c", "", "")
    assert titles("a;b;c;d;e") == ("a", "b", "c", "d")


def test_cells_have_the_moments_of_their_centres() -> None:
    bins = from_cells([[1.0, 2.0], [3.0, 4.0]], [[0, 2, 4], [0, 1, 2]], [[1.0, 4.0], [9.0, 16.0]], entries=7)
    w = np.array([1.0, 2.0, 3.0, 4.0])
    x, y = np.array([1.0, 1, 3, 3]), np.array([0.5, 1.5, 0.5, 1.5])
    expected = [w.sum(), 30.0, w @ x, w @ x**2, w @ y, w @ y**2, w @ (x * y)]
    np.testing.assert_allclose(bins.moments, expected, rtol=1e-14)
    assert bins.entries == 7
    assert bins.sumw.shape == (4, 4)
    assert not bins.sumw[0].any()
    assert not bins.sumw[:, -1].any()


@given(
    values=st.lists(st.floats(width=32), min_size=1, max_size=50),
    edges=st.lists(st.floats(-100, 100), min_size=2, max_size=8, unique=True).map(sorted),
)
def test_every_value_is_in_the_bin_that_holds_it(values: list[float], edges: list[float]) -> None:
    x, e = np.array(values), np.array(edges)
    bins = find_bins(x, e)
    low, high = np.concatenate([[-np.inf], e]), np.concatenate([e, [np.inf]])
    number = ~np.isnan(x)
    assert (low[bins[number]] <= x[number]).all()
    assert ((x < high[bins]) | (x == np.inf))[number].all()
    assert (bins[~number] == len(e)).all()


def test_the_sum_of_all_bins_is_the_sum_of_all_weights() -> None:
    rng = np.random.default_rng(2)
    x, y, w = rng.normal(size=(3, 500))
    bins: Any = fill([x, y], [np.linspace(-1, 1, 5), UNEQUAL], w)
    np.testing.assert_allclose([bins.sumw.sum(), bins.sumw2.sum()], [w.sum(), (w * w).sum()], rtol=1e-12)
