"""One model on one sample: areas, accuracies, the confusion matrix."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.curves import separation
from pidlab.evaluate.intervals import effective_number, mixture, proportion, sums_by
from pidlab.evaluate.points.working_points import passes
from pidlab.evaluate.ranking import auc, groups_of, signal_score
from pidlab.evaluate.results import SampleMetrics
from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import FloatArray, IntArray, Sample

UNDECIDED = -1


class Decided(NamedTuple):
    """The names of k classes, the true and the decided one of each candidate (n,), the threshold that decided."""

    classes: tuple[str, ...]
    true: IntArray
    decided: IntArray
    threshold: float


def sample_metrics(
    scores: NDArray[np.floating[Any]], sample: Sample, groups: IntArray | None, threshold: float, *, fixed_cut: bool
) -> SampleMetrics:
    """The metrics of scores (n, k) on a sample; `auc` and `separation` are signal against the rest.

    With two classes, and for a model that scores only the signal (the other columns are NaN), the decision is
    signal score > threshold; `classes` are then (signal, "rest") where there are more than two. Otherwise the largest
    column decides, `threshold` is NaN, and a candidate without any score is decided nowhere but counts in all totals.
    """
    score = signal_score(scores, sample)
    classes, true, decided, threshold = decide(scores, sample, threshold)
    recalls = [_recall(decided, true, c, sample.weight, groups) for c in range(len(classes))]
    return SampleMetrics(
        auc=UNDEFINED if fixed_cut else auc(score, sample.is_signal, sample.weight, groups),
        balanced_accuracy=mixture([(1 / len(recalls), recall) for recall in recalls]),
        accuracy=proportion(decided == true, sample.weight, groups),
        separation=separation(score, sample, groups),
        threshold=threshold,
        classes=classes,
        confusion=_confusion(decided, true, sample.weight, len(classes)),
        n_by_class={c: effective_number(sample.weight[sample.y == i]) for i, c in enumerate(sample.classes)},
    )


def decide(scores: NDArray[np.floating[Any]], sample: Sample, threshold: float) -> Decided:
    """True and decided class of each candidate, as `sample_metrics` has it."""
    one_sided = len(sample.classes) > 2 and bool(np.isnan(np.delete(scores, sample.signal, axis=1)).all())
    if len(sample.classes) > 2 and not one_sided:
        return Decided(sample.classes, sample.y, _largest(scores), float("nan"))
    classes, true, positive = _two_sided(sample)
    decided = np.where(passes(signal_score(scores, sample), threshold), positive, 1 - positive)
    return Decided(classes, true, decided, float(np.float32(threshold)))


def _two_sided(sample: Sample) -> tuple[tuple[str, ...], IntArray, int]:
    """Names, true classes (n,) and the signal's index where a candidate is signal or not."""
    if len(sample.classes) == 2:
        return sample.classes, sample.y, sample.signal
    return (sample.classes[sample.signal], "rest"), np.where(sample.is_signal, 0, 1), 0


def _largest(scores: NDArray[np.floating[Any]]) -> IntArray:
    """(n,) the column of the largest score, NaN below all."""
    filled = np.where(np.isnan(scores), -np.inf, scores)
    return np.where(np.isnan(scores).all(axis=1), UNDECIDED, np.argmax(filled, axis=1))


def _recall(decided: IntArray, true: IntArray, index: int, weight: FloatArray, groups: IntArray | None) -> Measured:
    rows = true == index
    return proportion(decided[rows] == index, weight[rows], groups_of(groups, rows))


def _confusion(decided: IntArray, true: IntArray, weight: FloatArray, k: int) -> Array:
    """(k, k) sums of weights by true and decided class."""
    known = decided != UNDECIDED
    return sums_by(true[known] * k + decided[known], weight[known], k * k).reshape(k, k)
