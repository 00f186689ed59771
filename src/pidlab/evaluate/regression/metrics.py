"""Bias, widths and likelihood of a model's residuals and pulls on one sample, with 68.3 % intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pidlab.evaluate.intervals import blocks, proportion, widened
from pidlab.evaluate.regression.order import HALVED, Ordered
from pidlab.evaluate.regression.predictions import Predicted
from pidlab.evaluate.regression.statistics import EventWeights, Statistic, mean, powers, root
from pidlab.evaluate.results.regression import PullMetrics, QuantileCoverage, ResidualMetrics
from pidlab.measured import UNDEFINED, Measured
from pidlab.sample import BoolArray, FloatArray

_LOG_2PI = float(np.log(2 * np.pi))


def residual_metrics(predicted: Predicted) -> ResidualMetrics:
    """Returns what the residuals and pulls of a model say on one sample; undefined where no weight is left."""
    weights, n = predicted.weights, len(predicted.target) - predicted.missing
    if not weights.usable:
        nothing = (UNDEFINED,) * 8
        return ResidualMetrics(n, predicted.missing, *nothing)
    return ResidualMetrics(
        n=n,
        missing=predicted.missing,
        bias=bias(predicted).measured(weights),
        median=predicted.numbers.median.measured(weights),
        rms=rms(predicted).measured(weights),
        sigma68=sigma68(predicted).measured(weights),
        effective=effective(predicted),
        mse=mse(predicted).measured(weights),
        mae=mae(predicted).measured(weights),
        r2=r2(predicted).measured(weights),
        pulls=pull_metrics(predicted),
        quantiles=tuple(coverage(predicted, p) for p in predicted.prediction.quantiles),
    )


def bias(predicted: Predicted) -> Statistic:
    """Returns the mean residual."""
    return mean(powers(predicted.residual), predicted.weights)


def mse(predicted: Predicted) -> Statistic:
    """Returns the mean squared residual."""
    return mean(powers(predicted.residual, 2), predicted.weights, is_scale=True)


def rms(predicted: Predicted) -> Statistic:
    """Returns the root mean square of the residuals."""
    return root(mse(predicted))


def mae(predicted: Predicted) -> Statistic:
    """Returns the mean absolute residual."""
    residual = predicted.residual
    return mean(lambda rows: np.abs(residual[rows]).astype(np.float64), predicted.weights, is_scale=True)


def sigma68(predicted: Predicted) -> Statistic:
    """Returns half the central 68.3 % interval of the residuals."""
    return predicted.numbers.sigma68


def log_likelihood(predicted: Predicted) -> Statistic:
    """Returns the mean logarithm of the predicted Gaussian density of the target."""
    return mean(_log_density(predicted), predicted.weights)


def _log_density(predicted: Predicted) -> Callable[[slice], FloatArray]:
    pull, sigma = predicted.pull, predicted.prediction.sigma
    assert pull is not None
    assert sigma is not None
    known = predicted.known

    def density(rows: slice) -> FloatArray:
        width = np.asarray(sigma[rows], np.float64)
        if known is not None:
            width = np.where(known[rows], width, 1.0)
        return np.asarray(-0.5 * (pull[rows].astype(np.float64) ** 2 + _LOG_2PI) - np.log(width))

    return density


def effective(predicted: Predicted) -> Measured:
    """Returns half the length of the smallest interval that holds 68.3 % of the residuals.

    That interval is chosen for its length, so it is too short by an amount that falls as n^(-2/3). How much, the halves
    of the events show, in which it is shorter still. The bounds are corrected by this; the value is that of the sample.
    """
    found = predicted.numbers.effective
    if not predicted.weights.n_events > 2 or not np.isfinite(found.value):
        return found.measured(predicted.weights)
    first = _in_first_half(predicted)
    lengths = [predicted.half(np.flatnonzero(rows)).effective.value for rows in (first, ~first)]
    shift = max(found.value - float(np.mean(lengths)), 0.0) / HALVED if np.all(np.isfinite(lengths)) else 0.0
    # The correction is itself known to about half of its size, as the halves of simulated samples scatter.
    deviation = float(np.hypot(found.deviation(predicted.weights), shift / 2))
    centre = found.value + shift
    low = min(found.value, max(centre - deviation, 0.0))
    return Measured(found.value, low, centre + deviation, predicted.weights.n)


def _in_first_half(predicted: Predicted) -> BoolArray:
    """Returns (n,) true for the events whose hash, multiplied by an odd number, has its highest bit set."""
    found = np.empty(len(predicted.event), np.bool_)
    for rows in blocks(len(found)):
        found[rows] = (predicted.event[rows] * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(63) != 0
    return found


def r2(predicted: Predicted) -> Statistic:
    """Returns 1 - mean squared residual / variance of the target; NaN for a constant target."""
    target, weights = predicted.target, predicted.weights
    centre = mean(powers(target), weights).value
    scatter = mean(powers(target, 2, centre), weights)
    error = mse(predicted)
    if not scatter.value > 0:
        return Statistic(np.nan, error.response)
    ratio = error.value / scatter.value
    return Statistic(1 - ratio, lambda rows: (ratio * scatter.response(rows) - error.response(rows)) / scatter.value)


def coverage(predicted: Predicted, probability: float) -> QuantileCoverage:
    """Returns the share of candidates whose target is not larger than the predicted quantile."""
    below = predicted.target <= predicted.prediction.quantiles[probability]
    return QuantileCoverage(probability, _share(below, predicted.weights))


def _share(chosen: BoolArray, weights: EventWeights) -> Measured:
    found = proportion(chosen, weights.weight, weights.groups)
    if weights.replicas is None:
        return found
    changes = mean(lambda rows: chosen[rows].astype(np.float64), weights).changes(weights)
    return widened(found, float(np.sqrt(np.mean(changes**2))))


def pull_metrics(predicted: Predicted) -> PullMetrics | None:
    """Returns what the pulls say; None if the model predicts no width."""
    pull, weights = predicted.pull, predicted.weights
    if pull is None:
        return None
    centre = mean(powers(pull), weights)
    spread = root(mean(powers(pull, 2, centre.value), weights, is_scale=True))
    ordered = Ordered.of(pull, weights.weight, weights.n)
    size = np.abs(pull)
    return PullMetrics(
        chi2=mean(powers(pull, 2), weights, is_scale=True).measured(weights),
        mean=centre.measured(weights),
        width=spread.measured(weights),
        sigma68=ordered.sigma68.measured(weights),
        log_likelihood=log_likelihood(predicted).measured(weights),
        within_one=_share(size <= 1, weights),
        within_two=_share(size <= 2, weights),
    )
