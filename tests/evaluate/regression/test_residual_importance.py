"""Importance and partial dependence of regressions: known answers, features that do not count, and coverage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pidlab.evaluate.explaining.partial_dependence import measure_dependence, most_important
from pidlab.evaluate.importance import REPEATS
from pidlab.evaluate.regression.importance import measure_residual_importance
from pidlab.sample import Sample
from regression_samples import sample_of

SLOPES = np.array([2.0, -1.0, 0.0])
NOISE = 0.5


def linear(sample: Sample) -> np.ndarray:
    """A model that knows the truth."""
    return (np.nan_to_num(sample.x) @ SLOPES).astype(np.float32)[:, None]


def toy(n: int, seed: int, *, weights: str = "unit", per_event: int = 1) -> Sample:
    """Candidates of a linear target with Gaussian noise; the candidates of one event share their features."""
    rng = np.random.default_rng(seed)
    x = np.repeat(rng.normal(size=(n // per_event, 3)), per_event, axis=0)
    weight = np.where(rng.random(n) < 0.1, -1.0, 1.0) if weights == "signed" else None
    event = np.arange(n) // per_event + (seed << 32)
    return sample_of(x @ SLOPES + NOISE * rng.normal(size=n), x=x, weight=weight, event=event)


def test_shuffling_adds_what_the_slope_says() -> None:
    """After shuffling the residual has the variance 2 (slope · width)² + noise²."""
    found = measure_residual_importance(linear, toy(20_000, 1), seed=3)
    assert (found.n_candidates, found.repeats) == (20_000, REPEATS)
    for one, slope in zip(found.features, SLOPES, strict=True):
        width = np.sqrt(2 * slope**2 + NOISE**2)
        for delta, unit in ((one.delta_rms, 1.0), (one.delta_mae, np.sqrt(2 / np.pi)), (one.delta_sigma68, 1.0)):
            assert delta.value == pytest.approx(unit * (width - NOISE), rel=0.03, abs=1e-12)
            assert delta.low <= delta.value <= delta.high


def test_a_feature_that_a_model_does_not_use_is_worth_exactly_nothing() -> None:
    found = measure_residual_importance(linear, toy(2000, 2, weights="signed"), seed=3)
    unused = found.features[2]
    for delta in (unused.delta_rms, unused.delta_mae, unused.delta_sigma68):
        assert delta[:3] == (0.0, 0.0, 0.0)
    assert most_important(found)[:2] == [0, 1]


@pytest.mark.parametrize(("weights", "per_event"), [("unit", 1), ("signed", 1), ("unit", 2)])
def test_intervals_hold_the_truth_as_often_as_they_say(weights: str, per_event: int) -> None:
    """A share of .683 scatters by .047 in 100 toys."""
    truth = np.sqrt(2 * SLOPES[1] ** 2 + NOISE**2) - NOISE
    held = {"delta_rms": 0, "delta_mae": 0}
    n_toys = 100
    for seed in range(n_toys):
        one = measure_residual_importance(
            linear, toy(400, 100 + seed, weights=weights, per_event=per_event), seed=seed
        ).features[1]
        for name, scale in (("delta_rms", 1.0), ("delta_mae", np.sqrt(2 / np.pi))):
            delta = getattr(one, name)
            held[name] += delta.low <= scale * truth <= delta.high
    for name, n in held.items():
        assert 0.58 < n / n_toys < 0.79, name


def test_candidates_without_a_prediction_count_in_no_number() -> None:
    sample = toy(3000, 4)
    gone = np.arange(3000) % 3 == 0

    def partly(changed: Sample) -> np.ndarray:
        return np.where(gone[:, None], np.nan, linear(changed)).astype(np.float32)

    found = measure_residual_importance(partly, sample, seed=1).features[0].delta_rms
    assert found.value == pytest.approx(np.sqrt(8 + NOISE**2) - NOISE, rel=0.05)


def test_weights_that_sum_to_nothing_leave_everything_undefined() -> None:
    sample = toy(100, 5)
    found = measure_residual_importance(linear, replace(sample, weight=-sample.weight), seed=1)
    assert all(np.isnan(one.delta_rms.value) for one in found.features)


def test_the_dependence_of_a_known_function_is_that_function() -> None:
    sample = toy(5000, 6)

    def bent(changed: Sample) -> np.ndarray:
        return (np.sin(changed.x[:, 0]) + changed.x[:, 1] + 7).astype(np.float32)[:, None]

    (one,) = measure_dependence(bent, sample, [0], seed=2)
    rest = float(np.mean(one.mean - np.sin(one.value)))  # the mean of the second feature over the candidates, and 7
    assert rest == pytest.approx(7, abs=0.1)
    np.testing.assert_allclose(one.mean, np.sin(one.value) + rest, rtol=0, atol=1e-5)
    assert set(one.particle) == {0}
