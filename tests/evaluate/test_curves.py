"""AUC, ROC, separation, histograms, correlations: equal to the references, with intervals that cover."""

from __future__ import annotations

import boost_histogram as bh
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from evaluate_samples import WEIGHTS, sample_of, weights
from pidlab.evaluate.curves import response_edges, roc_curves, separation
from pidlab.evaluate.histograms import correlations, histogram, histograms_by_class, input_histograms
from pidlab.evaluate.ranking import ScoredSample, auc, auc_influence, difference, event_groups, just_below, variance

TRUTH = float(stats.norm.cdf(1.2 / np.sqrt(2)))


def two_gaussians(n, rng, kind="unit", apart=1.2):
    """(score, is_signal, weight); what sWeights take off lies far on the wrong side."""
    is_signal = np.arange(n) % 2 == 0
    weight, background = weights(kind, n, rng)
    centre = np.where(background, np.where(is_signal, -1.0, 1.0), np.where(is_signal, apart, 0.0))
    return rng.normal(centre).astype(np.float32), is_signal, weight


def pair_sum(score, is_signal, weight):
    """The definition, pair by pair."""
    s, o = score[is_signal][:, None], score[~is_signal][None, :]
    w = weight[is_signal][:, None] * weight[~is_signal][None, :]
    return float(np.sum(w * ((s > o) + 0.5 * (s == o))) / np.sum(w))


@pytest.mark.parametrize("digits", [8, 1])  # 1: full of ties
def test_the_auc_of_unit_weights_is_scikit_learns(digits):
    score, is_signal, _ = two_gaussians(5001, np.random.default_rng(1))
    score = np.round(score, digits)
    expected = roc_auc_score(is_signal, score)
    np.testing.assert_allclose(auc(score, is_signal, np.ones(5001)).value, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_the_weighted_auc_is_the_sum_over_pairs(kind):
    score, is_signal, weight = two_gaussians(501, np.random.default_rng(2), kind)
    score = np.round(score, 1)
    expected = pair_sum(score, is_signal, weight)
    np.testing.assert_allclose(auc(score, is_signal, weight).value, expected, rtol=1e-12, atol=0)


def test_the_variance_of_unit_weights_is_delongs():
    score, is_signal, weight = two_gaussians(300, np.random.default_rng(3))
    wins = (score[is_signal][:, None] > score[~is_signal][None, :]).astype(float)
    expected = np.var(wins.mean(axis=1), ddof=1) / 150 + np.var(wins.mean(axis=0), ddof=1) / 150
    np.testing.assert_allclose(variance(auc_influence(score, is_signal, weight).parts), expected, rtol=1e-9, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WEIGHTS)
def test_the_interval_of_the_auc_covers(kind):
    rng = np.random.default_rng(4)
    areas = [auc(*two_gaussians(800, rng, kind)) for _ in range(500)]
    assert 0.65 <= np.mean([area.low <= TRUTH <= area.high for area in areas]) <= 0.75


@pytest.mark.slow
def test_the_interval_of_the_auc_takes_events_as_a_whole():
    rng, groups, hits, naive = np.random.default_rng(5), np.repeat(np.arange(200), 4), [], []
    is_signal = np.arange(800) % 4 < 2
    for _ in range(800):
        # Signal and background of one event see different noise: what the candidates of a class share counts once.
        noise = rng.normal(size=(200, 2))[groups, is_signal.astype(int)]
        score = (0.6 * rng.normal(size=800) + 0.8 * noise + 1.2 * is_signal).astype(np.float32)
        for found, g in ((hits, groups), (naive, None)):
            area = auc(score, is_signal, np.ones(800), g)
            found.append(area.low <= TRUTH <= area.high)
    assert 0.64 <= np.mean(hits) <= 0.75
    assert np.mean(naive) < 0.62


def test_a_perfect_separation_still_has_a_lower_bound():
    area = auc(np.arange(40, dtype=np.float32), np.arange(40) >= 30, np.ones(40))
    assert area.value == area.high == 1
    np.testing.assert_allclose(area.low, 0.15865525393145707**0.1, rtol=1e-9)


def test_an_auc_of_one_event_in_a_class_says_that_it_knows_nothing():
    area = auc(np.array([1, 2, 0], np.float32), np.array([True, False, False]), np.ones(3))
    assert area[:3] == (0.5, 0.0, 1.0)


def test_an_auc_without_a_class_is_undefined():
    assert np.isnan(auc(np.ones(3, np.float32), np.ones(3, bool), np.ones(3)).value)


def test_a_candidate_without_a_score_ranks_last():
    score = np.array([0.9, np.nan, 0.1, np.nan, -np.inf], np.float32)
    is_signal = np.array([True, True, False, False, False])
    # 0.9 wins three times; NaN loses to 0.1 and ties with NaN and -inf.
    assert auc(score, is_signal, np.ones(5)).value == pytest.approx((3 + 0 + 0.5 + 0.5) / 6, rel=1e-12)


CANDIDATES = st.lists(
    st.tuples(st.integers(-50, 50), st.booleans(), st.floats(0.01, 10)), min_size=4, max_size=60
).filter(lambda c: len({s for _, s, _ in c}) == 2)


def columns(candidates):
    score, is_signal, weight = zip(*candidates, strict=True)
    return np.array(score, np.float32), np.array(is_signal), np.array(weight)


@given(CANDIDATES, st.floats(1e-3, 1e3))
def test_the_auc_knows_only_order_and_relative_weights(candidates, scale):
    score, is_signal, weight = columns(candidates)
    area = auc(score, is_signal, weight)
    np.testing.assert_allclose(auc(np.arctan(score / 10), is_signal, weight), area, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(auc(score, is_signal, weight * scale), area, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(auc(-score, is_signal, weight).value, 1 - area.value, rtol=1e-9, atol=1e-12)


@given(CANDIDATES)
def test_an_event_twice_is_an_event_of_weight_two(candidates):
    score, is_signal, weight = columns(candidates)
    twice = np.concatenate([np.arange(len(score)), [0]])
    doubled = np.where(np.arange(len(score)) == 0, 2 * weight, weight)
    a, b = auc(score[twice], is_signal[twice], weight[twice]), auc(score, is_signal, doubled)
    np.testing.assert_allclose(a.value, b.value, rtol=1e-9, atol=1e-12)


def test_a_model_against_itself_differs_by_exactly_zero():
    influence = auc_influence(*two_gaussians(500, np.random.default_rng(6)))
    assert difference(influence, influence)[:3] == (0.0, 0.0, 0.0)


def test_events_are_groups_only_where_they_hold_several_candidates():
    assert event_groups(sample_of(np.zeros(4))) is None
    groups = event_groups(sample_of(np.zeros(4), event=[2**63 + 1, 2**63, 2**63 + 1, 5]))
    assert groups[0] == groups[2]
    assert len(set(groups)) == 3


@pytest.mark.parametrize("score", [0.5, 1.0, -3.0, 0.0, 1.1754944e-38, np.inf])
def test_just_below_is_below_also_where_subnormal_numbers_count_as_zero(score):
    below = np.float32(just_below(score))
    assert below < np.float32(score)
    assert below == 0 or abs(below) >= np.finfo(np.float32).tiny


def test_each_point_of_the_roc_is_the_decision_at_its_threshold():
    score, is_signal, _ = two_gaussians(20001, np.random.default_rng(7))
    sample = sample_of(np.where(is_signal, 0, 1))
    curve = roc_curves(ScoredSample(score, sample, None))["pion"]
    assert len(curve.threshold) <= 400
    assert (curve.misid[0], curve.efficiency[0]) == (0, 0)
    assert (curve.misid[-1], curve.efficiency[-1]) == (1, 1)
    for t, eff, misid in zip(curve.threshold, curve.efficiency, curve.misid, strict=True):
        passed = score > np.float32(t)
        np.testing.assert_allclose([passed[is_signal].mean(), passed[~is_signal].mean()], [eff, misid], rtol=1e-12)
    np.testing.assert_allclose(np.trapezoid(curve.efficiency, curve.misid), curve.auc.value, rtol=2e-3)
    assert np.all(np.diff(curve.threshold) < 0)
    assert np.all((curve.misid_low <= curve.misid) & (curve.misid <= curve.misid_high))


def test_the_roc_resolves_small_misidentification():
    score, is_signal, _ = two_gaussians(40000, np.random.default_rng(8), apart=4)
    curve = roc_curves(ScoredSample(score, sample_of(np.where(is_signal, 0, 1)), None))["pion"]
    assert np.sum((curve.misid > 0) & (curve.misid < 0.01)) > 40


def test_several_classes_get_a_curve_each_and_the_rest():
    rng = np.random.default_rng(9)
    y = rng.integers(0, 3, 900)
    score = rng.normal(2.0 - y).astype(np.float32)
    sample = sample_of(y, classes=("electron", "pion", "kaon"))
    curves = roc_curves(ScoredSample(score, sample, None))
    assert set(curves) == {"pion", "kaon", "rest"}
    pair = y != 2
    np.testing.assert_allclose(curves["pion"].auc.value, roc_auc_score(y[pair] == 0, score[pair]), rtol=1e-12)
    np.testing.assert_allclose(curves["rest"].auc.value, roc_auc_score(y == 0, score), rtol=1e-12)


def test_a_class_that_is_absent_has_no_curve():
    sample = sample_of([0, 0, 1, 1], classes=("electron", "pion", "kaon"))
    assert set(roc_curves(ScoredSample(np.arange(4, dtype=np.float32), sample, None))) == {"pion", "rest"}


def test_the_roc_ends_below_1_where_candidates_have_no_score():
    score = np.array([3, 2, np.nan, 1, np.nan], np.float32)
    curve = roc_curves(ScoredSample(score, sample_of([0, 0, 0, 1, 1]), None))["pion"]
    assert curve.efficiency[-1] == pytest.approx(2 / 3)
    assert curve.misid[-1] == 0.5


@pytest.mark.parametrize(
    ("apart", "kind"), [(1.2, "unit"), (1.2, "exponential"), (1.2, "negative"), (2.5, "unit"), (0.0, "unit")]
)
def test_the_separation_covers_tmvas_integral(apart, kind):
    rng, x = np.random.default_rng(10), np.linspace(-8, 11, 20001)
    s, b = stats.norm.pdf(x - apart), stats.norm.pdf(x)
    truth = 0.5 * np.trapezoid((s - b) ** 2 / (s + b), x)
    found = []
    for _ in range(200):
        score, is_signal, weight = two_gaussians(800, rng, kind, apart)
        found.append(separation(ScoredSample(score, sample_of(np.where(is_signal, 0, 1), weight=weight), None)))
    # Without separation the second-order terms alone remain, and cover more; bins lose a little of the integral.
    assert 0.62 <= np.mean([m.low <= truth <= m.high for m in found]) <= (0.8 if apart else 1)
    assert abs(np.mean([m.value for m in found]) - truth) < 0.3 * np.std([m.value for m in found])


@pytest.mark.parametrize(("kind", "n"), [("unit", 100), ("unit", 400), ("30 % negative", 400), ("exponential", 100)])
@pytest.mark.parametrize("apart", [3.0, 4.0, 5.0])
def test_the_separation_covers_where_few_events_overlap(apart, kind, n):
    """It covered .46 at 5 with 100 candidates of a class, and .34 at 5 with 400 of which 30 % count negative."""
    rng, x = np.random.default_rng(14), np.linspace(-8, 13, 20001)
    s, b = stats.norm.pdf(x - apart), stats.norm.pdf(x)
    truth, y, hits = 0.5 * np.trapezoid((s - b) ** 2 / np.maximum(s + b, 1e-300), x), np.arange(2 * n) % 2, []
    for _ in range(250):
        weight = np.where(rng.random(2 * n) < 0.3, -1.0, 1.0) if "negative" in kind else weights(kind, 2 * n, rng)[0]
        score = (rng.normal(size=2 * n) + apart * (y == 0)).astype(np.float32)
        found = separation(ScoredSample(score, sample_of(y, weight=weight), None))
        hits.append(found.low <= truth <= found.high)
    # 250 toys scatter by .03 about .68; with a handful of events in the overlap the interval is wider than need be.
    assert np.mean(hits) > 0.62


def test_weights_that_nearly_empty_a_bin_leave_the_separation_finite():
    """A bin of weights that sum to next to nothing gave separations of -1e44."""
    rng, y = np.random.default_rng(15), np.arange(200) % 2
    for _ in range(300):
        weight = np.where(rng.random(200) < 0.3, -1.0, 1.0)
        if min(weight[y == 0].sum(), weight[y == 1].sum()) > 10:
            found = separation(ScoredSample(rng.normal(size=200).astype(np.float32), sample_of(y, weight=weight), None))
            assert abs(found.value) < 2
            assert found.low <= found.value <= found.high


def test_the_separation_is_1_without_overlap_and_the_same_under_monotone_maps():
    score, is_signal, _ = two_gaussians(4000, np.random.default_rng(11))
    sample = sample_of(np.where(is_signal, 0, 1))
    found, mapped, perfect = (
        separation(ScoredSample(each, sample, None)) for each in (score, np.arctan(score), is_signal.astype(np.float32))
    )
    np.testing.assert_allclose(found, mapped, rtol=1e-6)
    np.testing.assert_allclose(perfect.value, 1.0, rtol=1e-12)


def test_a_histogram_is_boost_histograms():
    rng = np.random.default_rng(12)
    values, weight, edges = rng.normal(size=3000), rng.normal(size=3000), np.array([-2, -1, 0.5, 0.7, 2.5])
    found = histogram(values, weight, edges)
    expected = bh.Histogram(bh.axis.Variable(edges), storage=bh.storage.Weight()).fill(values, weight=weight)
    np.testing.assert_allclose(found.sumw, expected.view(flow=True).value, rtol=1e-9)
    np.testing.assert_allclose(found.sumw2, expected.view(flow=True).variance, rtol=1e-9)
    assert found.entries == 3000
    inside = (values >= -2) & (values < 2.5)
    w, x = weight[inside], values[inside]
    np.testing.assert_allclose(found.moments, [w.sum(), (w * w).sum(), (w * x).sum(), (w * x * x).sum()], rtol=1e-9)


def test_a_probability_of_1_is_no_overflow_and_nan_is():
    found = histogram(np.array([0.0, 1.0, np.nan, -0.1], np.float32), np.ones(4), np.linspace(0, 1, 51))
    assert (found.sumw[0], found.sumw[1], found.sumw[50], found.sumw[51]) == (1, 1, 1, 1)


def test_responses_of_all_samples_share_their_edges():
    rng = np.random.default_rng(13)
    scores = {"train": rng.normal(5, 2, 500).astype(np.float32), "test": rng.normal(5, 2, 300).astype(np.float32)}
    edges = response_edges(scores, probability=False)
    assert len(edges) == 51
    np.testing.assert_array_equal(response_edges(scores, probability=True), np.linspace(0, 1, 51))
    sample = sample_of(rng.integers(0, 2, 300), weight=rng.normal(size=300))
    found = histograms_by_class(scores["test"], sample, edges)
    np.testing.assert_allclose(sum(h.sumw.sum() for h in found.values()), sample.weight.sum(), rtol=1e-9)


@pytest.mark.parametrize("values", [[np.nan] * 4, [7.0] * 4, [0.0] * 4, [1e20, 1e20, 1e20, 1e20], [np.inf, 1, 2, 3]])
def test_any_column_has_a_histogram(values):
    found = input_histograms(sample_of([0, 0, 1, 1], x=np.array(values)[:, None]))["f0"]["electron"]
    assert np.all(np.diff(found.edges) > 0)
    assert found.sumw.sum() == 2


@pytest.mark.parametrize(
    ("values", "first", "last", "width"),
    [
        (np.arange(18), -0.5, 17.5, 1), (np.array([0, 1]), -0.5, 1.5, 1), (np.array([-1, 0, 0, 1]), -1.5, 1.5, 1),
        (np.array([5, 5, 5]), 4.5, 5.5, 1), (np.arange(200), -0.5, 199.5, 4), (np.arange(205), -0.5, 204.5, 5),
        (np.array([*range(200)] * 10 + [10**6]), -0.5, 199.5, 4),
    ],
)  # fmt: skip
def test_whole_numbers_are_counted_in_bins_that_are_integers_wide(values, first, last, width):
    """Bins of 0.36 hold two integers, one, or none: a comb that the data does not have."""
    x = np.repeat(values, 10).astype(float)
    x[0] = np.nan
    found = input_histograms(sample_of(np.zeros(len(x)), x=x[:, None]))["f0"]["electron"]
    np.testing.assert_array_equal(np.diff(found.edges), width)
    assert (found.edges[0], found.edges[-1]) == (first, last)
    assert np.all(found.sumw[1:-1] > 0)


def test_one_fraction_makes_a_feature_continuous():
    x = np.append(np.arange(1000) % 18, 0.5)
    found = input_histograms(sample_of(np.zeros(len(x)), x=x[:, None]))["f0"]["electron"]
    assert (len(found.edges), found.edges[0], found.edges[-1]) == (51, 0.0, 17.0)


@pytest.mark.parametrize(("low", "high", "first", "last"), [(0.4, 0.6, 0.4, 0.6), (0.1, 0.9, 0, 1), (0.3, 0.3, 0, 1)])
def test_a_probability_that_fills_little_of_its_range_has_bins_where_it_is(low, high, first, last):
    scores = {"train": np.array([low, high, np.nan], np.float32), "test": np.array([(low + high) / 2], np.float32)}
    edges = response_edges(scores, probability=True)
    np.testing.assert_allclose(edges, np.linspace(first, last, 51), rtol=1e-6, atol=1e-7)
    assert edges[0] <= scores["train"][0] <= scores["train"][1] <= edges[-1]


def test_an_outlier_does_not_flatten_a_histogram():
    x = np.append(np.random.default_rng(14).normal(size=9999), 796e3)
    found = input_histograms(sample_of(np.zeros(10000), x=x[:, None]))["f0"]["electron"]
    assert found.edges[-1] < 5
    assert found.sumw[-1] >= 1
    assert np.sum(found.sumw[1:-1] > 0) > 40


def test_correlations_are_numpys_with_weights_of_frequency():
    rng = np.random.default_rng(15)
    x = rng.multivariate_normal([100, 0, 1], [[1, 0.5, 0], [0.5, 2, -0.3], [0, -0.3, 1]], 400)
    w = rng.integers(1, 4, 400)
    found = correlations(sample_of(np.arange(400) % 2, x=x, weight=w))["pion"]
    rows = np.arange(400) % 2 == 1
    expected = np.corrcoef(np.repeat(x[rows].astype(np.float32), w[rows], axis=0).T)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_correlations_use_the_pairs_that_are_there_and_know_constants():
    rng = np.random.default_rng(16)
    x = rng.normal(size=(300, 3)).astype(np.float32)
    x[:, 1] += x[:, 0]
    x[::3, 0] = np.nan
    x[:, 2] = 4.5
    found = correlations(sample_of(np.zeros(300), x=x))["electron"]
    has = ~np.isnan(x[:, 0])
    np.testing.assert_allclose(found[0, 1], np.corrcoef(x[has, 0], x[has, 1])[0, 1], rtol=1e-6)
    assert np.isnan(found[2]).all()
    assert np.isnan(correlations(sample_of(np.zeros(300), x=x))["pion"]).all()


def test_the_separation_of_classes_that_hardly_overlap():
    """Five bins had one across the border of the classes, and a separation of 1 came out as .79."""
    score = np.r_[np.arange(50), np.arange(100, 150)].astype(np.float32)
    assert separation(ScoredSample(score, sample_of(np.arange(100) < 50), None))[:3] == (
        pytest.approx(1.0, rel=1e-12),
        pytest.approx(0.96),
        pytest.approx(1.0, rel=1e-12),
    )
    rng, truth, found = np.random.default_rng(12), 0.93142, []  # of two normal distributions 4 apart
    for _ in range(400):
        score, is_signal, weight = two_gaussians(200, rng, apart=4.0)
        found.append(separation(ScoredSample(score, sample_of(np.where(is_signal, 0, 1), weight=weight), None)))
    assert abs(np.mean([m.value for m in found]) - truth) < 0.02
    # Three or four events overlap, and their number jumps: no interval comes closer to .683 than this.
    assert 0.64 < np.mean([m.low <= truth <= m.high for m in found]) < 0.9
