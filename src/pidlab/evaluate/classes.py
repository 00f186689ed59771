"""Several classes at once: each pair against each other, each class as the signal in turn, decided against true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.curves import roc_curve
from pidlab.evaluate.intervals import proportion
from pidlab.evaluate.metrics import Decided
from pidlab.evaluate.points.working_points import choose, measure
from pidlab.evaluate.ranking import Score, groups_of, signal_score
from pidlab.evaluate.results import DecisionMatrix, Roc, WorkingPoint
from pidlab.sample import FloatArray, IntArray, Sample

Scores = NDArray[np.floating[Any]]


def pair_score(scores: Scores, one: int, other: int) -> Score:
    """(n,) s_one / (s_one + s_other) of scores (n, k): the probability of `one` if it is one of the two.

    NaN without a score, and where both are 0.
    """
    a, b = scores[:, one].astype(np.float64), scores[:, other].astype(np.float64)
    total = a + b
    return np.asarray(np.divide(a, total, out=np.full(len(a), np.nan), where=total > 0), np.float32)


def pair_curves(scores: Scores, sample: Sample, groups: IntArray | None) -> dict[str, dict[str, Roc]]:
    """Class, then another one, to the ROC curve of the two alone, by `pair_score`: the signal first, each pair once.

    Empty for two classes, whose curve is the ordinary one, and for a model that scores only the signal.
    """
    if len(sample.classes) < 3 or len(scored_classes(scores)) < len(sample.classes):
        return {}
    order = [sample.signal, *(c for c in range(len(sample.classes)) if c != sample.signal)]
    curves: dict[str, dict[str, Roc]] = {}
    for i, one in enumerate(order):
        for other in order[i + 1 :]:
            name, against = sample.classes[one], sample.classes[other]
            score = pair_score(scores, one, other)
            curve = roc_curve(score, sample.y == other, replace(sample, signal=one), groups, against)
            if curve is not None:
                curves.setdefault(name, {})[against] = curve
    return curves


def scored_classes(scores: Scores) -> list[int]:
    """The columns of scores (n, k) that hold any."""
    return np.flatnonzero(~np.isnan(scores).all(axis=0)).tolist()


def class_points(
    deciding: tuple[Scores, Sample],
    test: tuple[Scores, Sample, IntArray | None],
    targets: list[float],
    abundance: Mapping[str, float] | None,
) -> dict[str, tuple[WorkingPoint, ...]]:
    """Class to its working points: thresholds on its own score, chosen on one sample and quoted on the other.

    Empty for two classes. A class without positive weights to decide on, or without a score, is left out.
    """
    scores, sample = deciding
    columns = scored_classes(scores)
    if len(sample.classes) < 3 or len(columns) < len(sample.classes):
        return {}
    points = {}
    for c in columns:
        own = replace(sample, signal=c)
        if own.weight[own.is_signal].sum() > 0:
            quoted = replace(test[1], signal=c)
            score = signal_score(test[0], quoted)
            chosen = choose(signal_score(scores, own), own, targets, fixed_cut=False)
            points[sample.classes[c]] = tuple(measure(p, score, quoted, test[2], abundance) for p in chosen)
    return points


def decision_matrix(decided: Decided, weight: FloatArray, groups: IntArray | None) -> DecisionMatrix:
    """The share of each true class decided to be each class; a class that is absent has a row of NaN."""
    k = len(decided.classes)
    table = np.empty((k, k, 4))
    for i in range(k):
        rows = decided.true == i
        part, events = decided.decided[rows], groups_of(groups, rows)
        for j in range(k):
            table[i, j] = proportion(part == j, weight[rows], events)
    return DecisionMatrix(decided.classes, table[..., 0], table[..., 1], table[..., 2], table[:, 0, 3])
