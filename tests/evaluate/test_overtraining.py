"""Overtraining: p-values uniform where nothing is wrong, small where a model remembers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import ks_2samp

from evaluate_samples import both_features, evaluated, gaussians, probabilities, three_samples, weights
from pidlab.evaluate.overtraining import ks_distance, ks_p_value, overtraining
from pidlab.evaluate.ranking import ScoredSample


def flat_enough(p):
    """Whether p-values look uniform: mean and share below a tenth, within 4.5 and 3.5 standard deviations."""
    p = np.array(p)
    return abs(p.mean() - 0.5) < 4.5 / np.sqrt(12 * len(p)) and abs((p < 0.1).mean() - 0.1) < 3.5 * 0.3 / np.sqrt(
        len(p)
    )


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, {"kind": "exponential"}, {"kind": "negative"}, {"per_event": 6}])
def test_p_values_are_uniform_when_train_and_test_are_alike(how):
    rng, p = np.random.default_rng(7), []
    for _ in range(30):
        a, b = (s.take(s.is_signal) for s in (gaussians(480, rng, **how), gaussians(480, rng, **how)))
        events = None if "per_event" not in how else (a.event.astype(int), b.event.astype(int) + 1000)
        p.append(ks_p_value(a.x[:, 0], b.x[:, 0], a.weight, b.weight, events=events))
    assert flat_enough(p)


def weights_that_go_with_the_score(kind, n, rng):
    """Scores (n,) and weights (n,): large ones at large scores, negative ones at small ones, or sWeights."""
    score = rng.normal(size=n)
    if kind == "rising":
        return score, np.exp(score) * rng.exponential(size=n)
    if kind == "negative":
        return score, np.where(rng.random(n) < np.where(score < 0, 0.35, 0.05), -1.0, 1.0) * rng.exponential(size=n)
    weight, background = weights("sweights", n, rng)
    return score - background, weight


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rising", "negative", "sweights"])
@pytest.mark.parametrize(("n", "n_toys"), [(200, 40), (5100, 25)])
def test_p_values_are_uniform_for_weights_that_go_with_the_score(kind, n, n_toys):
    """Permutations below 10,000 candidates, paths of the limiting process above."""
    rng, p = np.random.default_rng(3), []
    for _ in range(n_toys):
        a, b = (weights_that_go_with_the_score(kind, n, rng) for _ in "ab")
        p.append(ks_p_value(a[0], b[0], a[1], b[1], seed=int(rng.integers(1e6))))
    assert flat_enough(p)


def in_folds(n, rng, *, memory=0.0, kind="unit"):
    """The same events scored twice, by models that saw them (six sevenths) and that did not; both equally noisy."""
    test = gaussians(n, rng, kind=kind)
    seen = np.arange(n) % 7 != 0
    scores = [(test.x[:, 0] + 0.3 * rng.normal(size=n)).astype(np.float32) for _ in range(2)]
    scores[0] += np.where(test.is_signal, memory, -memory).astype(np.float32)
    return ScoredSample(scores[0][seen], test.take(seen), None), ScoredSample(scores[1], test, None)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unit", "negative"])
def test_events_that_folds_score_twice_are_compared_as_pairs(kind):
    """p-values uniform and the AUC difference covered: as independent samples both would look too much alike."""
    rng = np.random.default_rng(4)
    found = [overtraining(*in_folds(600, rng, kind=kind), fixed_cut=False, seed=i) for i in range(50)]
    assert flat_enough([o.ks_p["electron"] for o in found])
    assert 0.55 < np.mean([o.delta_auc.low <= 0 <= o.delta_auc.high for o in found]) < 0.8
    train, test = in_folds(600, rng, kind=kind)
    apart = dataclasses.replace(
        train, sample=dataclasses.replace(train.sample, event=train.sample.event + np.uint64(10_000))
    )
    paired, independent = (overtraining(t, test, fixed_cut=False, seed=1).delta_auc for t in (train, apart))
    assert paired.high - paired.low < 0.7 * (independent.high - independent.low)
    np.testing.assert_allclose(paired.value, independent.value, rtol=1e-12)


def test_folds_that_remember_are_found_out():
    found = overtraining(*in_folds(600, np.random.default_rng(5), memory=0.2), fixed_cut=False, seed=1)
    assert found.ks_p["electron"] < 0.01
    assert found.delta_auc.low > 0


def test_many_candidates_are_thinned_to_whole_events_and_still_tell():
    rng = np.random.default_rng(6)
    train, test = in_folds(60_000, rng, memory=0.1)
    assert overtraining(train, test, fixed_cut=False, seed=1).ks_p["pion"] < 0.01


def test_an_overtrained_model_is_found_out():
    samples = three_samples()

    def memory(sample):
        right = np.where(sample.is_signal, 1.0, -1.0) if sample is samples["train"] else 0.0
        return probabilities(sample.x[:, 0] + right)

    found = evaluated(memory, samples).overtraining
    assert found.ks_p["electron"] < 1e-6
    assert found.delta_auc.low > 0.05
    fair = evaluated(both_features, samples).overtraining
    assert fair.ks_p["electron"] > 1e-3
    assert abs(fair.delta_auc.value) < 5 * (fair.delta_auc.high - fair.delta_auc.low)


def test_the_weighted_distance_is_that_of_repeated_events():
    rng = np.random.default_rng(8)
    a, b, w = np.round(rng.normal(size=50), 1), np.round(rng.normal(size=70), 1), rng.integers(1, 4, 50)
    expected = ks_distance(np.repeat(a, w), b, np.ones(w.sum()), np.ones(70))
    np.testing.assert_allclose(ks_distance(a, b, w.astype(float), np.ones(70)), expected, rtol=1e-12)


def test_equal_weights_are_those_of_scipy_whatever_their_scale():
    rng = np.random.default_rng(9)
    a, b = rng.normal(size=20_000), rng.normal(size=20_000)
    half = np.full(20_000, 0.5)
    assert ks_p_value(a, b, half, half) == ks_2samp(a, b, method="asymp").pvalue


def test_the_limiting_paths_give_the_distribution_of_kolmogorov_for_nearly_equal_weights():
    rng = np.random.default_rng(10)
    a, b, w = rng.normal(size=6_000), rng.normal(size=6_000), np.ones(6_000)
    w[0] = 1.001
    expected = ks_2samp(a, b, method="asymp").pvalue
    # 999 paths scatter by .016 at most.
    assert abs(ks_p_value(a, b, w, np.ones(6_000)) - expected) < 0.05
    assert ks_p_value(a, b + 0.1, w, np.ones(6_000)) < 0.005


def test_a_class_without_events_has_no_p_value():
    assert np.isnan(ks_p_value(np.empty(0), np.ones(3), np.empty(0), np.ones(3)))
