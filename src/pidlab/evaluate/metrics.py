"""One model on one sample: areas, accuracies, the confusion matrix and the decision matrix."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pidlab.evaluate.curves import separation
from pidlab.evaluate.intervals import effective_number, mixture, proportion, sums_by
from pidlab.evaluate.points.working_points import passes
from pidlab.evaluate.ranking import ScoredSample, auc, groups_of, signal_score
from pidlab.evaluate.results import DecisionMatrix, SampleMetrics
from pidlab.measured import UNDEFINED, Measured
from pidlab.sample import FloatArray, IntArray, Sample

UNDECIDED = -1


class Decided(NamedTuple):
    """The names of k classes, the true and the decided class (n,) of each candidate, and the threshold."""

    classes: tuple[str, ...]
    true: IntArray
    decided: IntArray
    threshold: float

    def rate(self, true: int, decided: int, weight: FloatArray, groups: IntArray | None) -> Measured:
        """Returns the share of a true class that is decided to be a class."""
        rows = self.true == true
        return proportion(self.decided[rows] == decided, weight[rows], groups_of(groups, rows))


def sample_metrics(scores: FloatArray, scored: ScoredSample, threshold: float, *, fixed_cut: bool) -> SampleMetrics:
    """Returns the metrics of scores (n, k) on a sample; `auc` and `separation` are those of signal against the rest.

    With two classes, and for a model that scores only the signal (the other columns are NaN), the decision is
    signal score > threshold; with more than two classes, `classes` are then (signal, "rest"). Otherwise the largest
    column decides and `threshold` is NaN. A candidate without any score has no decision but counts in all totals.
    """
    sample, weight, groups = scored.sample, scored.sample.weight, scored.groups
    choice = decide(scores, sample, threshold)
    k, known = len(choice.classes), choice.decided != UNDECIDED
    cell = choice.true[known] * k + choice.decided[known]
    return SampleMetrics(
        auc=UNDEFINED if fixed_cut else auc(scored.score, sample.is_signal, weight, groups),
        balanced_accuracy=mixture([(1 / k, choice.rate(c, c, weight, groups)) for c in range(k)]),
        accuracy=proportion(choice.decided == choice.true, weight, groups),
        separation=separation(scored.score, sample, groups),
        threshold=choice.threshold,
        classes=choice.classes,
        confusion=sums_by(cell, weight[known], k * k).reshape(k, k),
        n_by_class={c: effective_number(weight[sample.y == i]) for i, c in enumerate(sample.classes)},
    )


def decide(scores: FloatArray, sample: Sample, threshold: float) -> Decided:
    """Returns the true and the decided class of each candidate, as `sample_metrics` defines them."""
    k, missing = len(sample.classes), np.isnan(scores)
    if k > 2 and not np.delete(missing, sample.signal, axis=1).all():
        largest = np.argmax(np.where(missing, -np.inf, scores), axis=1)
        return Decided(sample.classes, sample.y, np.where(missing.all(axis=1), UNDECIDED, largest), float("nan"))
    classes, true, positive = sample.classes, sample.y, sample.signal
    if k > 2:
        classes, true, positive = (classes[positive], "rest"), np.where(sample.is_signal, 0, 1), 0
    decided = np.where(passes(signal_score(scores, sample), threshold), positive, 1 - positive)
    return Decided(classes, true, decided, float(np.float32(threshold)))


def decision_matrix(decided: Decided, weight: FloatArray, groups: IntArray | None) -> DecisionMatrix:
    """Returns the share of each true class decided to be each class; the row of an absent class is NaN."""
    k = range(len(decided.classes))
    table = np.array([[decided.rate(i, j, weight, groups) for j in k] for i in k])
    return DecisionMatrix(decided.classes, table[..., 0], table[..., 1], table[..., 2], table[:, 0, 3])
