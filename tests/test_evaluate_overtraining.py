"""Overtraining: p-values uniform where nothing is wrong, small where a model remembers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp

from evaluate_samples import both_features, evaluated, gaussians, probabilities, three_samples
from pidlab.evaluate.overtraining import ks_distance, ks_p_value


@pytest.mark.parametrize("how", [{}, {"kind": "exponential"}, {"per_event": 6}])
def test_p_values_are_uniform_when_train_and_test_are_alike(how):
    rng, p = np.random.default_rng(7), []
    for _ in range(60):
        a, b = (s.take(s.is_signal) for s in (gaussians(480, rng, **how), gaussians(480, rng, **how)))
        groups = (None, None) if "per_event" not in how else (a.event.astype(int), b.event.astype(int))
        p.append(ks_p_value(a.x[:, 0], b.x[:, 0], a.weight, b.weight, groups=groups))
    assert abs(np.mean(p) - 0.5) < 4.5 / np.sqrt(12 * 60)
    assert np.mean(np.array(p) < 0.1) < 0.25


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


def test_large_weighted_samples_use_effective_numbers():
    rng = np.random.default_rng(9)
    a, b = rng.normal(size=20_000), rng.normal(size=20_000)
    flat, exponential = np.full(20_000, 0.5), rng.exponential(size=20_000)
    np.testing.assert_allclose(ks_p_value(a, b, flat, flat), ks_2samp(a, b, method="asymp").pvalue, rtol=0.05)
    assert ks_p_value(a, b + 0.1, exponential, exponential) < 1e-6


def test_a_class_without_events_has_no_p_value():
    assert np.isnan(ks_p_value(np.empty(0), np.ones(3), np.empty(0), np.ones(3)))
