"""The optimal points of a ROC curve: closed forms, brute force, other libraries; when they are decisions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_curve

from evaluate_samples import (
    WEIGHTS,
    both_features,
    evaluated,
    hand_cuts,
    one_feature,
    sample_of,
    three_samples,
    weights,
)
from pidlab.config.schema import Evaluate
from pidlab.evaluate.compare import compare_models
from pidlab.evaluate.model import evaluate_model
from pidlab.evaluate.points.optimal import REST, optimal_points
from pidlab.evaluate.points.working_points import rising
from pidlab.evaluate.ranking import ScoredSample

MODELS = {"one": one_feature, "both": both_features}


def scored(score, y, weight=None, classes=("electron", "pion")):
    return ScoredSample(np.asarray(score, np.float32), sample_of(y, weight=weight, classes=classes), None)


def found(sample, against="pion"):
    return {point.name: point for point in optimal_points(sample, sample, [against], None)[against]}


def two_normals(n, mean, width):
    """Quantiles of N(mean, width), the signal, and of N(0, 1): without noise."""
    u = (np.arange(n) + 0.5) / n
    score = np.concatenate([stats.norm(mean, width).ppf(u), stats.norm.ppf(u)])
    return scored(score, np.repeat([0, 1], n))


@pytest.mark.parametrize("distance", [0.5, 2.0, 3.0])
def test_both_points_of_two_equal_gaussians_lie_at_the_midpoint(distance):
    points = found(two_normals(20_000, distance, 1.0))
    for point in points.values():
        assert point.threshold == pytest.approx(distance / 2, abs=0.03)
        assert point.efficiency.value == pytest.approx(stats.norm.cdf(distance / 2), abs=0.01)
        assert point.misid["pion"].value == pytest.approx(stats.norm.cdf(-distance / 2), abs=0.01)


def test_youden_of_unequal_gaussians_is_where_their_densities_cross():
    """Densities of N(2, 2) and N(0, 1) are equal where (x - 2)²/8 + log 2 = x²/2."""
    crossing = max(np.roots([1 / 8 - 1 / 2, -1 / 2, 1 / 2 + np.log(2)]))
    assert found(two_normals(20_000, 2.0, 2.0))["youden"].threshold == pytest.approx(crossing, abs=0.03)


def test_thresholds_estimated_from_events_scatter_about_the_truth_without_bias():
    rng = np.random.default_rng(7)
    y = np.arange(2000) % 2
    drawn = [found(scored(rng.normal(np.where(y == 0, 2.0, 0.0)), y)) for _ in range(60)]
    for name, spread in (("youden", 0.3), ("sweet_spot", 0.15)):
        thresholds = np.array([points[name].threshold for points in drawn])
        assert abs(thresholds.mean() - 1.0) < 4 * thresholds.std() / np.sqrt(len(drawn))
        assert thresholds.std() < spread


def test_the_points_are_those_of_scikit_learns_curve():
    rng = np.random.default_rng(1)
    y, weight = np.arange(900) % 2, rng.exponential(size=900)
    score = np.round(rng.normal(np.where(y == 0, 1.0, 0.0)), 1)  # ties
    fpr, tpr, _ = roc_curve(y == 0, score, sample_weight=weight, drop_intermediate=False)
    points = found(scored(score, y, weight))
    youden, spot = points["youden"], points["sweet_spot"]
    assert youden.efficiency.value - youden.misid["pion"].value == pytest.approx((tpr - fpr).max(), rel=1e-9)
    distance = np.hypot(1 - spot.efficiency.value, spot.misid["pion"].value)
    assert distance == pytest.approx(np.hypot(1 - tpr, fpr).min(), rel=1e-9)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_no_threshold_is_better_by_the_regularised_curve(kind):
    """Weights of both signs too: the efficiencies are those that rise from 0 to 1."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 2, 600)
    score = np.round(rng.normal(np.where(y == 0, 1.2, 0.0)), 2).astype(np.float32)
    weight = weights(kind, 600, rng)[0]
    values = np.unique(score)[::-1]
    curves = []
    for c in (0, 1):
        sums = np.array([weight[(y == c) & (score >= value)].sum() for value in values])
        curves.append(rising(sums, weight[y == c].sum()) / weight[y == c].sum())
    points = found(scored(score, y, weight))
    for name, worth in (("youden", curves[0] - curves[1]), ("sweet_spot", -np.hypot(1 - curves[0], curves[1]))):
        passed = int((values > points[name].threshold).sum()) - 1
        assert worth[passed] == pytest.approx(worth.max(), abs=1e-9)
        assert 0 <= points[name].target <= 1


def test_a_perfect_separation_and_equally_good_thresholds_take_the_tightest():
    points = found(scored([5, 4, 1, 0], [0, 0, 1, 1]))
    assert {point.threshold for point in points.values()} == {2.5}
    # Two of four signals pass and no pion, or all four and one pion of two.
    level = found(scored([9, 8, 7, 6, 5, 4], [0, 0, 1, 0, 0, 1]))
    assert level["youden"].threshold == 7.5


def test_candidates_without_a_score_pass_nothing_and_count():
    points = found(scored([2, 1, np.nan, 0, np.nan], [0, 0, 0, 1, 1]))
    assert points["youden"].threshold == 0.5
    assert points["youden"].efficiency.value == pytest.approx(2 / 3)


def test_each_curve_of_several_classes_has_its_own_points():
    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, 30_000)
    sample = scored(rng.normal(np.array([3.0, 0.0, 2.0])[y]), y, classes=("electron", "pion", "kaon"))
    points = optimal_points(sample, sample, ["pion", "kaon", REST], None)
    thresholds = {against: {p.name: p.threshold for p in both} for against, both in points.items()}
    assert thresholds["pion"]["youden"] == pytest.approx(1.5, abs=0.3)
    assert thresholds["kaon"]["youden"] == pytest.approx(2.5, abs=0.3)
    assert 1.5 < thresholds[REST]["youden"] < 2.5
    rest = next(p for p in points[REST] if p.name == "youden")
    passing = sample.score > np.float32(rest.threshold)
    assert rest.misid[REST].value == pytest.approx(passing[y > 0].mean(), rel=1e-9)
    assert rest.misid[REST].low < rest.misid[REST].value < rest.misid[REST].high
    assert REST not in points["pion"][0].misid


def test_a_curve_without_weight_has_no_points():
    sample = scored([2, 1, 0], [0, 1, 1], weight=[1.0, 1.0, -1.0])
    assert optimal_points(sample, sample, ["pion"], None) == {}


def test_thresholds_come_from_validation_and_rates_from_test():
    samples = three_samples(4000, seed=1)
    result = evaluated(one_feature, samples)
    deciding, test = (ScoredSample.of(one_feature(samples[part]), samples[part]) for part in ("validation", "test"))
    expected = optimal_points(deciding, test, ["pion"], None)["pion"]
    assert result.optimal_points == {"pion": expected}
    assert [point.name for point in expected] == ["sweet_spot", "youden"]
    for point in expected:
        passing = test.score > np.float32(point.threshold)
        assert point.efficiency.value == pytest.approx(passing[test.sample.y == 0].mean(), rel=1e-9)
        assert point.efficiency.low < point.efficiency.value < point.efficiency.high
        assert result.points[point.name] == point


def test_they_are_working_points_only_if_asked_for():
    assert [p.name for p in evaluated().working_points] == ["eff90", "eff95", "eff99"]
    asked = evaluated(options=Evaluate(optimal_points=["youden"]))
    assert [p.name for p in asked.working_points] == ["eff90", "eff95", "eff99", "youden"]
    assert asked.working_points[-1] == asked.points["youden"] == asked.optimal_points["pion"][1]


def test_a_fixed_cut_has_no_curve_and_none_of_its_points():
    assert evaluated(hand_cuts, fixed_cut=True).optimal_points == {}


def test_models_at_their_own_best_efficiencies_are_not_compared():
    """Two thresholds of different efficiency say nothing about which model is better: there is no sentence on them."""
    samples, options = three_samples(3000, seed=4), Evaluate(optimal_points=["sweet_spot", "youden"])
    scores = {name: {part: model(s) for part, s in samples.items()} for name, model in MODELS.items()}
    results = {name: evaluate_model(name, "mlp", each, samples, options) for name, each in scores.items()}
    on_test, on_validation = ({name: each[part] for name, each in scores.items()} for part in ("test", "validation"))
    (pair,) = compare_models(on_test, samples["test"], on_validation, samples["validation"], results)
    assert [point.name for point in pair.working_points] == ["eff90", "eff95", "eff99"]
