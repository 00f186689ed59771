"""Maps: what passes a working point in bins of spectators, and which bins there are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from evaluate_samples import both_features, evaluated, fraction, gaussians, sample_of, three_samples
from pidlab.config.schema import Evaluate, Map
from pidlab.errors import UsageError
from pidlab.evaluate.curves import roc_curves
from pidlab.evaluate.intervals import Sums, fieller
from pidlab.evaluate.maps import edges_of, efficiency_maps
from pidlab.evaluate.points.working_points import passes
from pidlab.evaluate.ranking import ScoredSample, event_groups, signal_score
from pidlab.evaluate.results import WorkingPoint
from pidlab.measured import UNDEFINED


def test_maps_count_what_passes_in_each_bin():
    rng = np.random.default_rng(5)
    samples = three_samples()
    test = dataclasses.replace(
        samples["test"],
        weight=rng.exponential(size=2000),
        spectators={"p": rng.uniform(0, 10, 2000), "th": rng.normal(size=2000)},
    )
    maps = [Map(x="p", bins=[2, 4, 6, 20, 30], y="th", y_bins=[-1, 0, 1])]
    found = evaluated(samples=samples | {"test": test}, options=Evaluate(maps=maps))
    assert len(found.maps) == 3 * 3 * 2  # the map of both and one along each, by working point and class
    one = next(m for m in found.maps if (m.working_point, m.particle) == ("eff95", "pion"))
    assert one.value.shape == (4, 2)
    passed = passes(signal_score(both_features(test), test), found.working_points[1].threshold)
    p, th = test.spectators["p"], test.spectators["th"]
    rows = (test.y == 1) & (p >= 4) & (p < 6) & (th >= 0) & (th < 1)
    np.testing.assert_allclose(one.value[1, 1], fraction(passed[rows], test.weight[rows]), rtol=1e-12)
    np.testing.assert_allclose(one.total2[1, 1], np.sum(test.weight[rows] ** 2), rtol=1e-12)
    assert np.isnan([one.value[3], one.low[3], one.high[3]]).all()
    assert np.all(one.n[3] == 0)


def test_spectators_without_a_map_get_equally_populated_bins():
    rng = np.random.default_rng(6)
    sample = dataclasses.replace(
        gaussians(5000, rng),
        spectators={"p": rng.exponential(size=5000), "run": np.full(5000, 3.0), "hole": np.full(5000, np.nan)},
    )
    found = evaluated(samples=three_samples() | {"test": sample})
    by_name = {m.names[0]: m for m in found.maps if m.working_point == "eff90" and m.particle == "electron"}
    assert set(by_name) == {"p", "run", "hole"}
    counts = np.histogram(sample.spectators["p"], by_name["p"].edges[0])[0]
    assert np.all(np.abs(counts - 500) <= 1)
    of_p = [m for m in found.maps if m.names == ("p",) and m.working_point == "eff90"]
    assert sum(m.total.sum() for m in of_p) == 5000  # the largest value too
    assert by_name["run"].total.tolist() == [2500]
    assert np.isnan(by_name["hole"].value).all()


def test_a_map_of_two_spectators_comes_with_one_along_each():
    sample = dataclasses.replace(
        gaussians(500, np.random.default_rng(7)), spectators={"p": np.arange(500.0), "q": np.zeros(500)}
    )
    options = Evaluate(maps=[Map(x="p", bins=[0.0, 100.0, 500.0], y="q", y_bins=[-1.0, 1.0])])
    found = evaluated(samples=three_samples() | {"test": sample}, options=options)
    along_p = next(m for m in found.maps if m.names == ("p",))
    both = next(m for m in found.maps if m.names == ("p", "q"))
    assert along_p.edges[0].tolist() == [0, 100, 500]
    assert along_p.total.tolist() == both.total[:, 0].tolist()


def test_a_map_of_what_is_no_spectator_is_refused():
    sample = dataclasses.replace(gaussians(10, np.random.default_rng(1)), spectators={"momentum": np.zeros(10)})
    with pytest.raises(UsageError, match="did you mean 'momentum'"):
        efficiency_maps(np.zeros(10, np.float32), [], sample, [Map(x="momentun")])


def test_rows_without_weight_move_no_edges():
    rng = np.random.default_rng(9)
    y, p = np.arange(4000) % 2, rng.normal(size=4000)
    far, weight = np.where(np.arange(4000) < 1000, 1e6, p), np.where(np.arange(4000) < 1000, 0.0, 1.0)
    score, point = rng.random(4000).astype(np.float32), WorkingPoint("p", 0.5, 0.5, UNDEFINED, {}, {}, UNDEFINED)
    whole = sample_of(y, weight=weight, spectators={"p": far})
    rest = whole.take(weight > 0)
    for a, b in zip(
        efficiency_maps(score, [point], whole, [Map(x="p", bins=8)]),
        efficiency_maps(score[1000:], [point], rest, [Map(x="p", bins=8)]),
        strict=True,
    ):
        np.testing.assert_array_equal(a.edges[0], b.edges[0])
        np.testing.assert_array_equal(a.value, b.value)


@pytest.mark.parametrize("bins", [[-np.inf, 0.0, np.inf], [-np.inf, np.inf], [0.0, np.inf], [1e3, np.inf]])
def test_a_bin_without_end_holds_what_lies_beyond_and_has_finite_edges(bins: list[float]) -> None:
    test = three_samples(400)["test"]
    p = np.random.default_rng(5).normal(size=len(test))
    sample = dataclasses.replace(test, spectators={"p": p})
    point = WorkingPoint("eff50", 0.5, 0.5, UNDEFINED, {}, {}, UNDEFINED)
    found = efficiency_maps(signal_score(test.x, test), (point,), sample, Evaluate(maps=[Map(x="p", bins=bins)]).maps)
    expected = np.histogram(p[test.y == 0], np.asarray(bins), weights=test.weight[test.y == 0])[0]
    one = next(m for m in found if m.particle == test.classes[0])
    assert np.isfinite(one.edges[0]).all()
    assert (np.diff(one.edges[0]) > 0).all()
    assert one.edges[0][1:-1].tolist() == bins[1:-1]
    np.testing.assert_allclose(one.total, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("values", "bins"), [([1, 2, 3, 4, 5, 6], 10), ([-1, 1], 2), ([5001, 5003, 7000], 3)])
def test_each_of_a_few_whole_numbers_has_a_bin_of_its_own(values: list[int], bins: int):
    """Sectors 5 and 6 are two sectors, although the last bin of a map contains its upper edge."""
    column = np.repeat(np.array(values, np.float64), np.arange(1, len(values) + 1))
    rows = column > -np.inf
    edges = edges_of(column, rows, bins)
    assert np.histogram(column, edges)[0].tolist() == list(range(1, len(values) + 1))
    quantiles = np.unique(np.quantile(column + 0.25, np.linspace(0, 1, bins + 1)))
    np.testing.assert_array_equal(edges_of(column + 0.25, rows, bins), quantiles)  # as many of each: for other numbers


def test_bounds_of_maps_and_curves_are_those_of_whole_events():
    """Each event is there three times: its copies tell nothing new, so that intervals are those of the events alone."""
    rng = np.random.default_rng(11)
    n, p = 600, rng.uniform(0, 4, 600)
    y, weight = np.arange(n) % 2, rng.exponential(size=n)
    score = (rng.normal(size=n) - y).astype(np.float32)
    point, three = WorkingPoint("p", 0.5, 0.0, UNDEFINED, {}, {}, UNDEFINED), np.repeat(np.arange(n), 3)
    alone = dataclasses.replace(sample_of(y, weight=weight, spectators={"p": p}), event=np.arange(n).astype(np.uint64))
    copied = alone.take(three)
    maps = [Map(x="p", bins=[0, 1, 2, 3, 4, 5])]
    for one, other in zip(
        efficiency_maps(score, [point], alone, maps),
        efficiency_maps(score[three], [point], copied, maps),
        strict=True,
    ):
        np.testing.assert_allclose(other.value, one.value, rtol=1e-12)
        fieller_of_one = fieller(Sums(one.passed, one.total - one.passed, one.passed2, one.total2 - one.passed2, 0, 0))
        # Wilson's interval, with the effective number of candidates, is the narrower one of the two here
        np.testing.assert_allclose(other.low[:4], np.maximum(fieller_of_one[0], 0)[:4], rtol=1e-9)
        np.testing.assert_allclose(other.high[:4], np.minimum(fieller_of_one[1], 1)[:4], rtol=1e-9)
        assert np.isnan(other.low[4])
    curves = [
        roc_curves(ScoredSample(own, sample, event_groups(sample)))["pion"]
        for own, sample in ((score, alone), (score[three], copied))
    ]
    middle = [np.flatnonzero((c.efficiency > 0.3) & (c.efficiency < 0.7)) for c in curves]
    widths = [np.median(c.efficiency_high[m] - c.efficiency_low[m]) for c, m in zip(curves, middle, strict=True)]
    assert widths[1] == pytest.approx(widths[0], rel=0.02)  # the curve of the copies has other points
