"""Data against simulation: how well a classifier distinguishes two samples of the same features."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Protocol

import numpy as np

from pidlab.evaluate.histograms import histograms_by_class, input_histograms
from pidlab.evaluate.overtraining import class_p, ks_distance, share_events
from pidlab.evaluate.ranking import (
    Score,
    ScoredSample,
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
from pidlab.sample import FloatArray, IntArray, Sample

_NAMED = 3  # the most features that the sentence names
_CERTAIN = 2.0  # standard deviations from which on a difference is shown
_LEAST_SHARED = 0.5
"""The least relative increase of the variance of the mean AUC by models trained on each other's test events."""


class FoldScores(Protocol):
    """Scores by one model for each fold, which was trained without the events of that fold."""

    @property
    def fold(self) -> IntArray:
        """Returns the fold (n,) of each candidate, which is the same for all candidates of an event."""

    def __call__(self, sample: Sample) -> FloatArray:
        """Returns scores (n, 2) of the sample, or of one with other features, by models trained without the event."""

    def without(self, sample: Sample) -> FloatArray | None:
        """Returns the signal's score (n, k) by models trained without the candidate's fold and the column's fold.

        The column of the candidate's own fold is the score of `__call__`. None if there are no such models.
        """


def measure_shift(score: FoldScores, sample: Sample, *, seed: int, predicts: bool = False) -> Shift:
    """Measures how well `score` distinguishes the second class of `sample` (the signal) from the first.

    A feature's loss is the AUC minus the AUC after its values are shuffled among all candidates (Breiman, Machine
    Learning 45 (2001) 5), with the interval of the paired difference.

    Args:
        score: scores of models that were trained without the events they score.
        sample: candidates of "run" and "files", with weights of any sign.
        seed: seed of shuffles and permutations.
        predicts: whether the run is a regression, whose numbers are no efficiencies.
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
    response = histograms_by_class(own, sample, np.linspace(0.0, 1.0, 51))
    said = sentence(area, n, tuple(shifts), predicts=predicts)
    return Shift(n, area, tuple(shifts), response, input_histograms(sample), said)


def shared_training(score: FoldScores, sample: Sample, groups: IntArray | None) -> float:
    """Returns the relative increase of the variance of the mean AUC of folds over that of independent models.

    The events that test one model were used to train the others, which learn their chance fluctuations. For a rule that
    is linear in the events, and two samples of one distribution, this doubles the variance for any number of folds. For
    any rule, the covariance of the AUCs of folds j and k is then the mean of a product: the gain in the AUC of j by
    training on k, times the gain in the AUC of k by training on j, because the expected AUC without either fold, given
    all other events, is 0.5. So each pair of folds gives an unbiased estimate from models trained without both. The sum
    of these estimates fluctuates by about .6 of the variance, which is why there is a least value; in simulations of
    boosted trees the true value is between .1 and .7.
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
    """Returns the AUC of scores (n,) minus that of scores after a shuffle, each as the mean over folds."""
    before, after = (influence_in_folds(s, sample.is_signal, sample.weight, fold) for s in (own, shuffled))
    return UNDEFINED if before is None or after is None else difference(after, before, groups)


def _feature_shift(j: int, sample: Sample, loss: Measured, groups: IntArray | None, seed: int) -> FeatureShift:
    alone = auc(sample.x[:, j].astype(np.float32), sample.is_signal, sample.weight, groups)
    parts = [sample.take(sample.y == i) for i in range(2)]
    parts = [replace(part, y=np.zeros_like(part.y)) for part in parts]
    first, second = (ScoredSample(part.x[:, j], part, event_groups(part)) for part in parts)
    p = class_p(first, second, 0, seed, paired=share_events(first.sample, second.sample))
    distance = ks_distance(first.score, second.score, first.sample.weight, second.sample.weight)
    missing = [float(part.weight[np.isnan(part.x[:, j])].sum() / part.weight.sum()) for part in parts]
    return FeatureShift(sample.features[j], loss, alone, distance, p, (missing[0], missing[1]))


def sentence(area: Measured, n: dict[str, int], shifts: tuple[FeatureShift, ...], *, predicts: bool = False) -> str:
    """Returns what the AUC means for the use of the numbers of the run on these files, in a sentence."""
    error = max(area.value - area.low, area.high - area.value)
    what = f"the {n['files']:,} rows of the files from the {n['run']:,} of the run"
    number = f"AUC {area.value:.4f} ± {error:.4f} (0.5: cannot tell)"
    measured = "bias and resolution" if predicts else "efficiencies"
    if not area.value - 0.5 > _CERTAIN * error:
        return (
            f"A BDT cannot tell {what}: {number}. Nothing here speaks against using the {measured} of the run for "
            "these files."
        )
    guilty = [s for s in shifts if s.loss.value > _CERTAIN * (s.loss.value - s.loss.low)][:_NAMED]
    by = ", ".join(f"{s.name} (shuffling it costs {s.loss.value:.3f})" for s in guilty) or "no single feature"
    return (
        f"A BDT tells {what}: {number}, by {by}. {measured.capitalize()} of the run need not hold for these files; the "
        f"composition counts too: compare like with like{'' if predicts else ', or state evaluate.abundance'}."
    )
