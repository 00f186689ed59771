"""The interval of the AUC near 1 and under heavy weights; benchmarks/auc_coverage.py has all of it, with more toys."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from evaluate_samples import probabilities, sample_of, weights
from pidlab.evaluate.metrics import sample_metrics
from pidlab.evaluate.ranking import ScoredSample, auc

N_TOYS = 250
SCATTER = 0.03  # of a share of .683 in so many toys


def heavy(kind, n, rng):
    """(n,) weights, and which candidates they take off again."""
    nobody = np.zeros(n, np.bool_)
    if kind == "30 % negative":
        return np.where(rng.random(n) < 0.3, -1.0, 1.0), nobody
    if kind == "one in ten of 50":
        return np.where(rng.random(n) < 0.1, 50.0, 1.0), nobody
    if kind.startswith("log-normal"):
        return np.exp(float(kind.split()[1]) * rng.normal(size=n)), nobody
    return weights(kind, n, rng)


def found_in(kind, area, n, rng):
    is_signal = np.arange(2 * n) < n
    weight, background = heavy(kind, 2 * n, rng)
    score = rng.normal(np.sqrt(2) * special.ndtri(area) * is_signal - background).astype(np.float32)
    return auc(score, is_signal, weight)


def coverage(kind, area, n, n_toys=N_TOYS):
    rng = np.random.default_rng(21)
    found = [found_in(kind, area, n, rng) for _ in range(n_toys)]
    return np.mean([m.low <= area <= m.high for m in found])


@pytest.mark.slow
@pytest.mark.parametrize("area", [0.55, 0.9, 0.99, 0.999])
@pytest.mark.parametrize(
    "kind", ["unit", "exponential", "30 % negative", "sweights", "one in ten of 50", "log-normal 1", "log-normal 3"]
)
def test_the_interval_covers_near_1_and_under_heavy_weights(kind, area):
    """From influences alone it covered .62 (unit, 50 a class, .99), .29 (exponential, .999), .17 (one in ten of 50)."""
    least = 0.60 if kind == "log-normal 3" else 0.64
    for n in (50, 200):
        assert coverage(kind, area, n) > least - 2 * SCATTER


@pytest.mark.parametrize("kind", ["unit", "30 % negative", "one in ten of 50"])
def test_it_is_no_wider_than_it_must_be_where_events_are_many(kind):
    assert 0.64 - 3 * SCATTER < coverage(kind, 0.999, 2000, 100) < 0.9 + SCATTER


def test_one_event_of_all_the_weight_says_that_it_knows_nothing():
    rng = np.random.default_rng(2)
    weight = np.ones(400)
    weight[3] = 1e9
    area = auc(rng.normal(size=400).astype(np.float32), np.arange(400) % 2 == 1, weight)
    assert area.low < 0.01
    assert area.high > 0.99
    assert area.n == pytest.approx(1, rel=1e-6)


def test_n_is_that_of_the_class_that_has_fewer():
    y, weight = np.repeat([0, 1, 2], [30, 500, 700]), np.concatenate([np.ones(530), np.repeat([1.0, 3.0], 350)])
    sample = sample_of(y, weight=weight, classes=("a", "b", "c"))
    scores = np.pad(probabilities(np.arange(1230.0) / 100), ((0, 0), (0, 1)))
    found = sample_metrics(scores, ScoredSample.of(scores, sample), 0.5, fixed_cut=False)
    assert found.auc.n == pytest.approx(30)
    expected = {"a": 30, "b": 500, "c": (350 + 3 * 350) ** 2 / (350 + 9 * 350)}
    assert found.n_by_class == pytest.approx(expected)
