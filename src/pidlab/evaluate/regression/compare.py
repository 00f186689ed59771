"""Two models of a regression on the same candidates, with paired intervals, and train against test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pidlab.evaluate.intervals import symmetric
from pidlab.evaluate.overtraining import paired_variance, share_events
from pidlab.evaluate.regression.metrics import log_likelihood, mae, rms, sigma68
from pidlab.evaluate.regression.predictions import Predicted
from pidlab.evaluate.regression.statistics import (
    Statistic,
    difference,
    scaled,
    student_p,
    student_quantile,
    with_changes,
    with_replicas,
)
from pidlab.evaluate.results.regression import PairedQuantity, RegressionComparison, RegressionOvertraining
from pidlab.evaluate.verdicts import ERROR, WIDE, Judged, format_p, judged_by
from pidlab.measured import UNDEFINED, Measured, format_alike, format_interval, format_number
from pidlab.sample import Sample

QUANTITIES: Mapping[str, str] = {
    "rms": "RMS",
    "mae": "mean absolute residual",
    "sigma68": "σ68",
    "log_likelihood": "log-likelihood",
}
"""What is compared, and its name in a sentence. Only of the log-likelihood a larger value is better."""
STATISTICS: Mapping[str, Callable[[Predicted], Statistic]] = {
    "rms": rms, "mae": mae, "sigma68": sigma68, "log_likelihood": log_likelihood,
}  # fmt: skip
"""Measures one of `QUANTITIES` of the predictions of one model."""
LARGER_IS_BETTER = frozenset({"log_likelihood"})
_UNKNOWN = float("nan")


class QuantityDifference(NamedTuple):
    """One quantity of two models, a and b, or of one model on two samples.

    Attributes:
        names: of the models, or of the samples.
        quantity: one of `QUANTITIES`.
        values: the quantity of each.
        deviation: half of the 68.3 % interval of b - a.
        n: the effective number of candidates, of two samples that of the smaller one.
        error: the standard deviation of b - a.
        degrees: the degrees of freedom with which the events determine that.
    """

    names: tuple[str, str]
    quantity: str
    values: tuple[float, float]
    deviation: float
    n: float
    error: float
    degrees: float

    @property
    def delta(self) -> float:
        """That of b minus that of a."""
        return self.values[1] - self.values[0]

    @property
    def p(self) -> float:
        """The two-sided p-value of no difference by Student's distribution: 1 if a single event determines it."""
        if not (np.isfinite(self.delta) and self.deviation > 0):
            return _UNKNOWN
        if not self.degrees > 0:
            return 1.0
        return student_p(self.delta, self.error, self.degrees)

    @property
    def wide(self) -> float:
        """Half of the 95 % interval of `delta`."""
        if not self.degrees > 0:
            return float("inf")
        return student_quantile(self.degrees, WIDE) * self.error

    @property
    def measured(self) -> Measured:
        """`delta` with its 68.3 % interval."""
        return symmetric(self.delta, self.deviation, self.n) if np.isfinite(self.delta) else UNDEFINED


class ResidualDifferences(NamedTuple):
    """The quantities in which two models differ, before any verdict."""

    names: tuple[str, str]
    found: tuple[QuantityDifference, ...]


def compare_predictions(predicted: Mapping[str, Predicted]) -> tuple[RegressionComparison, ...]:
    """Returns a comparison of each pair of models on the candidates of test for which both have a prediction."""
    pairs = itertools.combinations(predicted, 2)
    return judged_together([find_residual_differences((a, b), predicted[a], predicted[b]) for a, b in pairs])


def judged_together(pairs: Sequence[ResidualDifferences]) -> tuple[RegressionComparison, ...]:
    """Returns the differences of some pairs of models with verdicts.

    Whether a difference is shown is decided for all quantities of all pairs together, by Holm's procedure: if no model
    is better than another, at most one run in twenty names any winner.
    """
    verdicts = iter(found := judged_by([one.p for pair in pairs for one in pair.found]))
    n = found[0].n if found else 0
    return tuple(
        RegressionComparison(*pair.names, tuple(_judged(one, next(verdicts)) for one in pair.found), n)
        for pair in pairs
    )


def find_residual_differences(names: tuple[str, str], a: Predicted, b: Predicted) -> ResidualDifferences:
    """Returns the differences of two models on the candidates for which both have a prediction.

    Args:
        names: of the models.
        a, b: their predictions for the same candidates.
    """
    a, b = _on_common(a, b)
    found = []
    for quantity, statistic in STATISTICS.items():
        if quantity == "log_likelihood" and (a.pull is None or b.pull is None):
            continue
        if not a.weights.usable:
            nothing = (_UNKNOWN, _UNKNOWN)
            found.append(QuantityDifference(names, quantity, nothing, _UNKNOWN, 0.0, _UNKNOWN, 0.0))
            continue
        one, other = statistic(a), statistic(b)
        apart, n = difference(one, other), a.weights.n_events
        deviation, degrees = apart.deviation(a.weights), apart.degrees(a.weights)
        error = float(np.sqrt(apart.variance(a.weights) * n / (n - 1))) if degrees > 0 else 0.0
        error, degrees = with_replicas(error, degrees, apart.changes(a.weights))
        values = (one.value, other.value)
        found.append(QuantityDifference(names, quantity, values, deviation, a.weights.n, error, degrees))
    return ResidualDifferences(names, tuple(found))


def _on_common(a: Predicted, b: Predicted) -> tuple[Predicted, Predicted]:
    """Returns both predictions where both have one."""
    if a.known is None and b.known is None:
        return a, b
    known = np.ones(len(a.target), np.bool_)
    for each in (a, b):
        if each.known is not None:
            known &= each.known
    weights = a.weights.known(known)
    return replace(a, weights=weights, known=known), replace(b, weights=weights, known=known)


def _judged(found: QuantityDifference, verdict: Judged) -> PairedQuantity:
    winner = _winner(found, verdict)
    return PairedQuantity(
        found.quantity, found.measured, verdict.p, verdict.adjusted, winner, _sentence(found, verdict, winner)
    )


def _winner(found: QuantityDifference, verdict: Judged) -> str | None:
    """Returns the better model, "" if no difference is shown, None if nothing can be compared."""
    if not np.isfinite(found.delta):
        return None
    if not found.deviation > 0 or not verdict.significant:
        return ""
    larger = found.names[1] if found.delta > 0 else found.names[0]
    smaller = found.names[0] if found.delta > 0 else found.names[1]
    return larger if found.quantity in LARGER_IS_BETTER else smaller


def _sentence(found: QuantityDifference, verdict: Judged, winner: str | None) -> str:
    a, b = found.names
    what = QUANTITIES[found.quantity]
    if winner is None:
        return f"{a} and {b} cannot be compared in {what}: one of them is not defined on test"
    if not found.deviation > 0:
        return f"level: {a} and {b} predict alike"
    wide = found.wide
    low, high = found.delta - wide, found.delta + wide
    if not winner:
        texts = format_alike((*found.values, low, high), found.deviation)
        however = "" if low <= 0 <= high else verdict.phrase(", but ")
        return (
            f"level: {what} is {texts[1]} with {b} and {texts[0]} with {a}, 95 % interval of the difference "
            f"{texts[2]} to {texts[3]}{however}"
        )
    loser = a if winner == b else b
    nearer, further = sorted((abs(low), abs(high)))
    own, others = found.values if winner == a else found.values[::-1]
    texts = format_alike((abs(found.delta), nearer, further, own, others), found.deviation)
    comparative = "higher" if found.quantity in LARGER_IS_BETTER else "lower"
    return (
        f"{winner} beats {loser} in {what}: {texts[0]} {comparative}, 95 % interval {texts[1]} to {texts[2]} "
        f"({texts[3]} against {texts[4]}){verdict.phrase(', ')}"
    )


def train_against_test(train: Predicted, test: Predicted, samples: tuple[Sample, Sample]) -> QuantityDifference | None:
    """Returns the RMS on test and on train; None if it is undefined on either.

    With folds both samples hold the same events, predicted by models that were trained on them and by models that were
    not; the difference is then paired by event.
    """
    if not (train.weights.usable and test.weights.usable):
        return None
    on_train, on_test = rms(train), rms(test)
    if not (np.isfinite(on_train.value) and np.isfinite(on_test.value)):
        return None
    if share_events(*samples):
        influences = on_train.influence(train.weights), on_test.influence(test.weights)
        variance = paired_variance(influences[0], train.event, influences[1], test.event)
    else:
        variance = on_train.variance(train.weights) + on_test.variance(test.weights)
    n = min(train.weights.n_events, test.weights.n_events)
    degrees = min(on_train.degrees(train.weights), on_test.degrees(test.weights))
    error = scaled(variance, n) / student_quantile(degrees) if degrees > 0 else 0.0
    # One replica of the weights changes both samples.
    changes = on_train.changes(train.weights) - on_test.changes(test.weights)
    deviation = with_changes(scaled(variance, n), changes)
    error, degrees = with_replicas(error, degrees, changes)
    values, smaller = (on_test.value, on_train.value), min(train.weights.n, test.weights.n)
    return QuantityDifference(("test", "train"), "rms", values, deviation, smaller, error, degrees)


def overtrainings(found: Mapping[str, QuantityDifference]) -> dict[str, RegressionOvertraining]:
    """Returns for each model what train and test say; all models are judged together by Holm's procedure."""
    verdicts = judged_by([each.p for each in found.values()])
    return {
        name: RegressionOvertraining(each.measured, v.p, _overtraining_sentence(name, each, v.adjusted), v.adjusted)
        for (name, each), v in zip(found.items(), verdicts, strict=True)
    }


def _overtraining_sentence(name: str, found: QuantityDifference, p: float) -> str:
    delta, on_test = found.measured, found.values[0]
    other, one = format_alike(found.values, found.deviation)
    rates = f"RMS {one} on train and {other} on test, difference {format_interval(*delta[:3])}"
    if not np.isfinite(p):
        return f"{name} has the same residuals on train and test ({rates})."
    if p > ERROR:
        return f"{name} shows no overtraining: {rates}, {format_p(p)}."
    if delta.value > 0:
        return f"{name} is better on test than on train, which overtraining cannot explain: {rates}, {format_p(p)}."
    share = format_number(100 * abs(delta.value) / on_test, 2) if on_test > 0 else "–"
    return f"{name} knows its training sample: the RMS on train is {share} % smaller ({rates}, {format_p(p)})."
