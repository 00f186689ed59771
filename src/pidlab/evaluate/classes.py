"""More than two classes: each pair of classes alone, and each class as the signal in turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pidlab.evaluate.curves import roc_curve
from pidlab.evaluate.points.working_points import choose, measure
from pidlab.evaluate.ranking import Score, ScoredSample, signal_score
from pidlab.evaluate.results import Roc, WorkingPoint
from pidlab.sample import FloatArray, Sample


def pair_score(scores: FloatArray, one: int, other: int) -> Score:
    """Returns s_one / (s_one + s_other) (n,) of scores (n, k): the probability of `one` if it is one of the two.

    It is NaN for a candidate without a score, and where both are 0.
    """
    a, b = scores[:, one].astype(np.float64), scores[:, other].astype(np.float64)
    total = a + b
    return np.asarray(np.divide(a, total, out=np.full(len(a), np.nan), where=total > 0), np.float32)


def pair_curves(scores: FloatArray, scored: ScoredSample) -> dict[str, dict[str, Roc]]:
    """Returns the ROC curve of each pair of classes alone by `pair_score`: class, then the other class, to the curve.

    Each pair occurs once, those of the signal first. There are none for two classes, whose curve is the ordinary one,
    and for a model that does not score every class.
    """
    sample, curves = scored.sample, dict[str, dict[str, Roc]]()
    if not _scores_every_class(scores, sample):
        return curves
    order = [sample.signal, *(c for c in range(len(sample.classes)) if c != sample.signal)]
    for i, one in enumerate(order):
        for other in order[i + 1 :]:
            pair = ScoredSample(pair_score(scores, one, other), replace(sample, signal=one), scored.groups)
            curve = roc_curve(pair, sample.y == other, sample.classes[other])
            if curve is not None:
                curves.setdefault(sample.classes[one], {})[sample.classes[other]] = curve
    return curves


def _scores_every_class(scores: FloatArray, sample: Sample) -> bool:
    """Returns True if there are more than two classes and each column of scores (n, k) holds a score."""
    return len(sample.classes) > 2 and not bool(np.isnan(scores).all(axis=0).any())


def class_points(
    threshold_sample: tuple[FloatArray, Sample],
    test: tuple[FloatArray, ScoredSample],
    targets: list[float],
    abundance: Mapping[str, float] | None,
) -> dict[str, tuple[WorkingPoint, ...]]:
    """Returns the working points of each class: thresholds on its own score from one sample, measured on the other.

    Each sample comes with its scores (n, k). There are none for two classes, and for a model that does not score every
    class. A class whose weights in the threshold sample have no positive sum is left out.
    """
    scores, sample = threshold_sample
    points: dict[str, tuple[WorkingPoint, ...]] = {}
    if not _scores_every_class(scores, sample):
        return points
    for c, name in enumerate(sample.classes):
        own = replace(sample, signal=c)
        if own.weight[own.is_signal].sum() > 0:
            quoted = replace(test[1].sample, signal=c)
            scored = ScoredSample(signal_score(test[0], quoted), quoted, test[1].groups)
            chosen = choose(signal_score(scores, own), own, targets, fixed_cut=False)
            points[name] = tuple(measure(p, scored, abundance) for p in chosen)
    return points
