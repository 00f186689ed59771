"""Calibration: whether four of five candidates with a probability of 0.8 are signal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pidlab.evaluate.curves import equal_shares
from pidlab.evaluate.intervals import effective_number, proportion, sums_by, symmetric
from pidlab.evaluate.ranking import Score, ScoredSample, groups_of, variance
from pidlab.evaluate.results import Calibration
from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import FloatArray, IntArray, Sample

_BINS = 20
_LEAST_IN_BIN = 50  # effective events
_WIDE = 0.15  # a wider bin is divided
_SMALLEST = float(np.finfo(np.float32).eps)


def calibration_curve(
    scored: ScoredSample, *, balanced: bool, method: str = "none", abundances: Mapping[str, float] | None = None
) -> Calibration | None:
    """Returns the share of signal against the signal's probability; None if a class has no positive sum of weights.

    There are up to 20 bins with equal sums of |weight|. Bins wider than 0.15, where a good classifier has few
    candidates, are divided at tenths as long as 50 effective events are left in each part; equal scores share a bin. A
    model trained with `balance: equal` gives the probability for equal abundances of all classes. Therefore `balanced`
    scales each class's weights to the same sum; without it every such model would seem miscalibrated. `abundances` does
    the same for a model that states others. Candidates without a score are left out. The intervals of the shares are
    those of `intervals.proportion`.

    Negative weights keep their sign in every sum. A bin in which the weights do not have a positive sum is NaN and is
    left out of the errors.
    """
    score, sample, groups = scored
    usable = np.isfinite(score)
    scaled = balanced or abundances is not None
    weight = class_balanced(sample, abundances) if scaled else sample.weight
    sums = sums_by(sample.y[usable], weight[usable], len(sample.classes))
    if not (sums > 0).all():
        return None
    s, w, p = sample.is_signal[usable], weight[usable], score[usable].astype(np.float64)
    events = groups_of(groups, usable)
    index = _bins(score[usable], np.abs(w))
    rates = [
        proportion(s[rows], w[rows], groups_of(events, rows)) for rows in (index == b for b in range(index.max() + 1))
    ]
    filled = sums_by(index, w) > 0
    mean = np.divide(sums_by(index, w * p), sums_by(index, w), out=np.full(len(filled), np.nan), where=filled)
    fraction, low, high, n = (np.where(filled, column, np.nan) for column in np.array(rates).reshape(-1, 4).T)
    expected, rms = _errors(p - s, w, index, events)
    clipped = np.clip(p, _SMALLEST, 1 - _SMALLEST)
    y = sample.y[usable]
    return Calibration(
        score=mean,
        fraction=fraction,
        low=low,
        high=high,
        n=np.nan_to_num(n),
        error=expected,
        rms_error=rms,
        brier=_mean((p - s) ** 2, w, y, events, balanced=scaled),
        log_loss=_mean(-np.where(s, np.log(clipped), np.log1p(-clipped)), w, y, events, balanced=scaled),
        balanced=balanced and abundances is None,
        method=method,
        abundances=dict(abundances or {}),
    )


def _bins(score: Score, share: FloatArray) -> IntArray:
    """Returns the number (n,) of each candidate's bin, which rises with the score; no bin is empty."""
    index = equal_shares(score, share, int(np.clip(effective_number(share) / _LEAST_IN_BIN, 1, _BINS)))
    upper, lower = np.full(index.max() + 1, -np.inf), np.full(index.max() + 1, np.inf)
    np.maximum.at(upper, index, score)
    np.minimum.at(lower, index, score)
    tenths, wide = np.arange(1, 10) / 10, upper - lower > _WIDE
    inside = (tenths[:, None] > lower[wide]) & (tenths[:, None] < upper[wide])
    edges = np.unique(np.concatenate([upper[upper > -np.inf], tenths[inside.any(axis=1)]]))
    cell = np.searchsorted(edges, score.astype(np.float64), side="left")
    total, total2 = sums_by(cell, share), sums_by(cell, share * share)
    number, bin_of, held = 0, np.zeros(len(total), np.int64), np.zeros(2)
    for i, both in enumerate(zip(total, total2, strict=True)):
        rest = total[i:].sum(), total2[i:].sum()
        if all(part[0] ** 2 >= _LEAST_IN_BIN * part[1] > 0 for part in (held, rest)):
            number, held = number + 1, np.zeros(2)
        bin_of[i] = number
        held += both
    return bin_of[cell]


def class_balanced(sample: Sample, abundances: Mapping[str, float] | None = None) -> FloatArray:
    """Returns the weights (n,) with each class scaled to the sum n / k, or to n times its share of the `abundances`.

    A class whose sum is not positive has weights of 0.
    """
    k = len(sample.classes)
    sums = sums_by(sample.y, sample.weight, k)
    share = np.array([1.0 if abundances is None else abundances[name] for name in sample.classes])
    factor = np.divide(len(sample) * share / share.sum(), sums, out=np.zeros(k), where=sums > 0)
    return np.asarray(sample.weight * factor[sample.y])


def _errors(gap: FloatArray, w: FloatArray, index: IntArray, groups: IntArray | None) -> tuple[Measured, Measured]:
    """Returns the weighted mean size and root mean square over bins of the mean gap (n,) in each bin.

    The mean size is the expected calibration error as it is usually quoted (M. Pakdaman Naeini et al., AAAI 2015).
    Fluctuations make the size of a gap too large on average: a perfectly calibrated model would show .8 of a standard
    deviation. The bias of a gap other than 0 is smaller but unknown, so the lower bound allows for the full .8.

    The square of a gap is too large by its variance, whatever the gap. The second number is corrected for this (A.
    Kumar et al., NeurIPS 2019), and its bounds are one standard deviation of the square to each side.
    """
    total = sums_by(index, w)
    filled = np.flatnonzero(total > 0)
    mean = np.zeros(len(total))
    mean[filled] = sums_by(index, w * gap, len(total))[filled] / total[filled]
    deviations = _deviations(w * (gap - mean[index]), index, groups)[filled] / total[filled]
    part, gaps, n = total[filled] / total[filled].sum(), mean[filled], effective_number(w)
    size, error = float(np.sum(part * np.abs(gaps))), float(np.sqrt(np.sum((part * deviations) ** 2)))
    by_chance = float(np.sqrt(2 / np.pi) * np.sum(part * deviations))
    expected = Measured(size, max(size - by_chance - error, 0.0), size + error, n)
    square = float(np.sum(part * (gaps**2 - deviations**2)))
    least = float(np.sum(2 * part**2 * deviations**4))
    step = float(np.sqrt(max(np.sum(part**2 * (4 * gaps**2 * deviations**2 - 2 * deviations**4)), least)))
    roots = [float(np.sqrt(max(x, 0.0))) for x in (square, square - step, square + step)]
    return expected, Measured(roots[0], roots[1], roots[2], n)


def _deviations(parts: FloatArray, index: IntArray, groups: IntArray | None) -> Array:
    """Returns the standard deviations (b,) of the sums of parts (n,) in bins, for whole events."""
    if groups is None:
        return np.sqrt(sums_by(index, parts * parts))
    cells, where = np.unique(index.astype(np.int64) * (int(groups.max()) + 1) + groups, return_inverse=True)
    by_event = sums_by(where, parts)
    return np.sqrt(sums_by(cells // (int(groups.max()) + 1), by_event * by_event))


def _mean(values: FloatArray, w: FloatArray, y: IntArray, groups: IntArray | None, *, balanced: bool) -> Measured:
    """Returns the weighted mean of values (n,) plus and minus one standard deviation over events.

    With `balanced` the deviation includes the normalisation of the classes' weights.
    """
    total = float(w.sum())
    if not total > 0:
        return UNDEFINED
    value = float(np.sum(w * values)) / total
    centre: FloatArray | float = value
    if balanced:
        sums = sums_by(y, w)
        centre = np.divide(sums_by(y, w * values), sums, out=np.zeros(len(sums)), where=sums != 0)[y]
    return symmetric(value, float(np.sqrt(variance(w * (values - centre) / total, groups))), effective_number(w))
