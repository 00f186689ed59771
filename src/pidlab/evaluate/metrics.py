"""One model on one sample: areas, accuracies, the confusion matrix and the decision matrix."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pidlab.evaluate.curves import separation
from pidlab.evaluate.intervals import blocks, effective_number, efficiency, mixture, proportion
from pidlab.evaluate.points.working_points import passes
from pidlab.evaluate.ranking import ScoredSample, groups_of
from pidlab.evaluate.results import DecisionMatrix, SampleMetrics
from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import FloatArray, IntArray

UNDECIDED = -1


class Decided(NamedTuple):
    """The names of k classes, the true and the decided class (n,) of each candidate, and the threshold."""

    classes: tuple[str, ...]
    true: IntArray
    decided: IntArray
    threshold: float


class _Counted(NamedTuple):
    """Sums over the candidates of each true class that are decided to be each class.

    Attributes:
        sums: (k, k + 1) weights; the last column is that of candidates without a decision.
        rates: (k, k, 4) the shares of a true class with their intervals, as `Measured` has them.
        right: the share of all candidates that is decided to be what it is.
    """

    sums: Array
    rates: Array
    right: Measured


def _counted(choice: Decided, weight: FloatArray, groups: IntArray | None) -> _Counted:
    k = len(choice.classes)
    sums, squares = np.zeros((k, k + 1)), np.zeros((k, k + 1))
    for rows in blocks(len(weight)):
        cell = choice.true[rows].astype(np.intp) * (k + 1) + np.where(
            choice.decided[rows] == UNDECIDED, k, choice.decided[rows]
        )
        w = weight[rows]
        sums += np.bincount(cell, w, sums.size).reshape(sums.shape)
        squares += np.bincount(cell, w * w, sums.size).reshape(sums.shape)
    totals, totals2 = sums.sum(axis=1), squares.sum(axis=1)
    if groups is None:
        rates = np.stack(efficiency(sums[:, :k], totals[:, None], squares[:, :k], totals2[:, None]), axis=-1)
        right = efficiency(np.trace(sums), totals.sum(), np.trace(squares), totals2.sum()).measured()
        return _Counted(sums, rates, right)
    rates = np.empty((k, k, 4))
    for true in range(k):
        members = choice.true == true
        decided, w, events = choice.decided[members], weight[members], groups_of(groups, members)
        rates[true] = [proportion(decided == j, w, events) for j in range(k)]
    return _Counted(sums, rates, proportion(choice.decided == choice.true, weight, groups))


def sample_metrics(scores: FloatArray, scored: ScoredSample, threshold: float, *, fixed_cut: bool) -> SampleMetrics:
    """Returns the metrics of scores (n, k) on a sample; `auc` and `separation` are those of signal against the rest.

    With two classes, and for a model that scores only the signal (the other columns are NaN), the decision is
    signal score > threshold; with more than two classes, `classes` are then (signal, "rest"). Otherwise the largest
    column decides and `threshold` is NaN. A candidate without any score has no decision but counts in all totals.
    """
    sample, weight = scored.sample, scored.sample.weight
    choice = decide(scores, scored, threshold)
    k = len(choice.classes)
    counted = _counted(choice, weight, scored.groups)
    return SampleMetrics(
        auc=UNDEFINED if fixed_cut else scored.area,
        balanced_accuracy=mixture([(1 / k, Measured(*map(float, counted.rates[c, c]))) for c in range(k)]),
        accuracy=counted.right,
        separation=separation(scored),
        threshold=choice.threshold,
        classes=choice.classes,
        confusion=counted.sums[:, :k],
        n_by_class={c: effective_number(weight[sample.y == i]) for i, c in enumerate(sample.classes)},
    )


def decide(scores: FloatArray, scored: ScoredSample, threshold: float) -> Decided:
    """Returns the true and the decided class of each candidate, as `sample_metrics` defines them."""
    sample = scored.sample
    k, decided = len(sample.classes), np.empty(len(sample), np.int16)
    others = [c for c in range(k) if c != sample.signal]
    if k > 2 and any(not np.isnan(scores[rows, c]).all() for rows in blocks(len(scores)) for c in others):
        for rows in blocks(len(scores)):
            missing = np.isnan(scores[rows])
            largest = np.argmax(np.where(missing, -np.inf, scores[rows]), axis=1)
            decided[rows] = np.where(missing.all(axis=1), UNDECIDED, largest)
        return Decided(sample.classes, sample.y, decided, float("nan"))
    classes, true, positive = sample.classes, sample.y, sample.signal
    if k > 2:
        classes, true, positive = (classes[positive], "rest"), (~sample.is_signal).astype(np.int8), 0
    for rows in blocks(len(scores)):
        decided[rows] = np.where(passes(scored.score[rows], threshold), positive, 1 - positive)
    return Decided(classes, true, decided, float(np.float32(threshold)))


def decision_matrix(decided: Decided, weight: FloatArray, groups: IntArray | None) -> DecisionMatrix:
    """Returns the share of each true class decided to be each class; the row of an absent class is NaN."""
    table = _counted(decided, weight, groups).rates
    return DecisionMatrix(decided.classes, table[..., 0], table[..., 1], table[..., 2], table[:, 0, 3])
