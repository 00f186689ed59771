"""Data against simulation: two samples of the same features, and a score that was to tell them apart."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.histograms import histogram, input_histograms
from pidlab.evaluate.overtraining import class_p, ks_distance, share_events
from pidlab.evaluate.ranking import (
    Score,
    auc,
    auc_in_folds,
    auc_influence,
    difference,
    event_groups,
    fold_shares,
    influence_in_folds,
    signal_score,
    variance,
)
from pidlab.evaluate.results import FeatureShift, Shift
from pidlab.measured import UNDEFINED, Measured
from pidlab.sample import IntArray, Sample

_NAMED = 3
_CERTAIN = 2.0


_LEAST_SHARED = 0.5
"""Models that are trained on each other's test events make the variance of their mean AUC at least so much larger."""


class FoldScores(Protocol):
    """Scores of models each of which did not see one fold of the events."""

    @property
    def fold(self) -> IntArray:
        """(n,) the fold of each candidate, the same for all candidates of an event."""

    def __call__(self, sample: Sample) -> NDArray[np.floating[Any]]:
        """(n, 2) scores of the sample, or of one with other features, by models that did not see the event."""

    def without(self, sample: Sample) -> NDArray[np.floating[Any]] | None:
        """(n, k) the signal's score by models that saw neither a candidate's own fold nor the fold of the column.

        The column of its own fold is that of `__call__`. None where there are no such models.
        """


def measure_shift(score: FoldScores, sample: Sample, *, seed: int) -> Shift:
    """How well `score` tells the second class of `sample` (the signal) from the first, and by which features.

    A feature's loss is the AUC less that after its values are shuffled among all candidates (Breiman, Machine Learning
    45 (2001) 5), with the interval of the paired difference.

    Args:
        score: scores candidates by models that did not see their events.
        sample: candidates of "run" and "files", weights of any sign.
        seed: of shuffles and permutations.
    """
    own, groups = signal_score(score(sample), sample), event_groups(sample)
    inflation = 1 + shared_training(score, sample, groups)
    area = auc_in_folds(own, sample.is_signal, sample.weight, score.fold, groups, inflation=inflation)
    shifts = []
    for j, name in enumerate(sample.features):
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        x = sample.x.copy()
        x[:, j] = rng.permutation(x[:, j])
        shuffled = signal_score(score(sample.with_x(x)), sample)
        shifts.append(_feature_shift(j, sample, _loss(own, shuffled, sample, score.fold, groups), groups, seed))
    shifts.sort(key=lambda shift: -shift.loss.value)
    counts = np.bincount(sample.y, minlength=2)
    n = {name: int(counts[i]) for i, name in enumerate(sample.classes)}
    edges = np.linspace(0.0, 1.0, 51)
    rows = [sample.y == i for i in range(2)]
    response = {c: histogram(own[r], sample.weight[r], edges) for c, r in zip(sample.classes, rows, strict=True)}
    return Shift(n, area, tuple(shifts), response, input_histograms(sample), sentence(area, n, tuple(shifts)))


def shared_training(score: FoldScores, sample: Sample, groups: IntArray | None) -> float:
    """How much larger the variance of the mean AUC of folds is than if their models had nothing to do with each other.

    The events that test one model have trained the others: where they lean to one side by chance, these have learned
    it. For a rule that is linear in the events, and samples that cannot be told apart, this doubles the variance,
    whatever the number of folds. For any rule, the covariance of the AUCs of two folds j and k is then the mean of
    the product of what training on k adds to the AUC of j and of what training on j adds to that of k: without
    either, their expectation given all other events is 0.5. So each pair of folds gives an unbiased estimate from
    models that saw neither. Their sum scatters by about .6 of the variance, hence the least value; there it is
    between .1 and .7 in simulation for boosted trees.
    """
    left_out = score.without(sample)
    if left_out is None:
        return _LEAST_SHARED
    counts = fold_shares(sample.is_signal, sample.weight, score.fold)
    influence = influence_in_folds(signal_score(score(sample), sample), sample.is_signal, sample.weight, score.fold)
    folds = np.flatnonzero(counts)
    if influence is None or len(folds) < 2:
        return _LEAST_SHARED
    areas = np.full((len(counts), len(counts)), np.nan)
    for k in folds:
        rows = np.flatnonzero(score.fold == k)
        for j in folds:
            column = np.ascontiguousarray(left_out[rows, j], np.float32)
            found = auc_influence(column, sample.is_signal[rows], sample.weight[rows])
            areas[k, j] = np.nan if found is None else found.value
    gain = counts[:, None] * (np.diagonal(areas)[:, None] - areas)
    gain = np.where(np.eye(len(gain), dtype=bool), np.nan, gain)
    gain = np.nan_to_num(gain - np.nanmean(gain))
    alone = variance(influence.parts, groups)
    return max(float(np.sum(gain * gain.T)) / alone, _LEAST_SHARED) if alone > 0 else _LEAST_SHARED


def _loss(own: Score, shuffled: Score, sample: Sample, fold: IntArray, groups: IntArray | None) -> Measured:
    before, after = (influence_in_folds(s, sample.is_signal, sample.weight, fold) for s in (own, shuffled))
    return UNDEFINED if before is None or after is None else difference(after, before, groups)


def _feature_shift(j: int, sample: Sample, loss: Measured, groups: IntArray | None, seed: int) -> FeatureShift:
    x, w = sample.x[:, j].astype(np.float32), sample.weight
    alone = auc(x, sample.is_signal, w, groups)
    parts = [sample.take(sample.y == i) for i in range(2)]
    parts = [replace(part, y=np.zeros_like(part.y)) for part in parts]
    first, second = ((part.x[:, j], part, event_groups(part)) for part in parts)
    p = class_p(first, second, 0, seed, paired=share_events(first[1], second[1]))
    distance = ks_distance(first[0], second[0], first[1].weight, second[1].weight)
    missing = [float(part.weight[np.isnan(part.x[:, j])].sum() / part.weight.sum()) for part in parts]
    return FeatureShift(sample.features[j], loss, alone, distance, p, (missing[0], missing[1]))


def sentence(area: Measured, n: dict[str, int], shifts: tuple[FeatureShift, ...]) -> str:
    """What the AUC means for somebody who wants to use the models on these files."""
    error = max(area.value - area.low, area.high - area.value)
    what = f"the {n['files']:,} rows of the files from the {n['run']:,} of the run"
    number = f"AUC {area.value:.4f} ± {error:.4f} (0.5: cannot tell)"
    if not area.value - 0.5 > _CERTAIN * error:
        return (
            f"A BDT cannot tell {what}: {number}. Nothing here speaks against using the efficiencies of the run for "
            "these files."
        )
    guilty = [s for s in shifts if s.loss.value > _CERTAIN * (s.loss.value - s.loss.low)][:_NAMED]
    by = ", ".join(f"{s.name} (shuffling it costs {s.loss.value:.3f})" for s in guilty) or "no single feature"
    return (
        f"A BDT tells {what}: {number}, by {by}. Efficiencies of the run need not hold for these files; the "
        "composition counts too: compare like with like, or state evaluate.abundance."
    )
