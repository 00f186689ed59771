"""Calibration: does a probability of 0.8 mean that four of five are signal?"""

from __future__ import annotations

import numpy as np

from pidlab.evaluate.curves import equal_shares
from pidlab.evaluate.intervals import effective_number, proportion, sums_by, symmetric
from pidlab.evaluate.ranking import Score, groups_of, variance
from pidlab.evaluate.results.quality import Calibration
from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import FloatArray, IntArray, Sample

_BINS = 20
_A_BIN = 50
_WIDE = 0.15
_SMALLEST = float(np.finfo(np.float32).eps)


def calibration_curve(
    score: Score, sample: Sample, groups: IntArray | None, *, balanced: bool, method: str = "none"
) -> Calibration | None:
    """The share of signal against the signal's probability `score` (n,), in up to 20 bins of equal sums of |weight|.

    Bins that are wider than 0.15, where a good classifier has little, are cut at tenths as far as 50 effective events
    are left in each; equal scores share a bin. A model trained with `balance: equal` gives the probability for equal
    abundances of all classes: with `balanced` each class's weights are scaled to the same sum here too, or every such
    model would look wrong. Candidates without a score are left out. Intervals of the shares are those of
    `intervals.proportion`. None where a class has no positive sum of weights.

    Negative weights keep their sign in every sum. A bin where they leave nothing is NaN and counts nowhere.
    """
    usable = np.isfinite(score)
    weight = class_balanced(sample) if balanced else sample.weight
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
        brier=_mean((p - s) ** 2, w, y, events, balanced=balanced),
        log_loss=_mean(-np.where(s, np.log(clipped), np.log1p(-clipped)), w, y, events, balanced=balanced),
        balanced=balanced,
        method=method,
    )


def _bins(score: Score, share: FloatArray) -> IntArray:
    """(n,) the number of each candidate's bin, rising with the score; none is empty."""
    index = equal_shares(score, share, int(np.clip(effective_number(share) / _A_BIN, 1, _BINS)))
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
        if held[0] ** 2 >= _A_BIN * held[1] > 0 and _enough(total[i:], total2[i:]):
            number, held = number + 1, np.zeros(2)
        bin_of[i] = number
        held += both
    return bin_of[cell]


def _enough(total: Array, total2: Array) -> bool:
    """Whether candidates with these sums of weights and of their squares make a bin."""
    return bool(total.sum() ** 2 >= _A_BIN * total2.sum() > 0)


def class_balanced(sample: Sample) -> FloatArray:
    """(n,) the weights, each class scaled to the sum n / k; those of a class whose sum is not positive become 0."""
    k = len(sample.classes)
    sums = sums_by(sample.y, sample.weight, k)
    factor = np.divide(len(sample) / k, sums, out=np.zeros(k), where=sums > 0)
    return np.asarray(sample.weight * factor[sample.y])


def _errors(gap: FloatArray, w: FloatArray, index: IntArray, groups: IntArray | None) -> tuple[Measured, Measured]:
    """The mean and the root mean square, over bins by weight, of the mean gap (n,) in each.

    The mean size is the expected calibration error as it is usually quoted (M. Pakdaman Naeini et al., AAAI 2015). The
    size of a gap that fluctuates is too large on average: a perfect model would show .8 of its deviation, and nobody
    can say how much of that to take off a gap that is not 0. So its lower bound allows for all of it.

    A square is too large by the variance, whatever the gap: the second number is without it (A. Kumar et al., NeurIPS
    2019), and its bounds are one standard deviation of the square to each side.
    """
    total = sums_by(index, w)
    filled = np.flatnonzero(total > 0)
    mean = np.zeros(len(total))
    mean[filled] = sums_by(index, w * gap, len(total))[filled] / total[filled]
    spread = _deviations(w * (gap - mean[index]), index, groups)[filled] / total[filled]
    part, gaps, n = total[filled] / total[filled].sum(), mean[filled], effective_number(w)
    size, deviation = float(np.sum(part * np.abs(gaps))), float(np.sqrt(np.sum((part * spread) ** 2)))
    by_chance = float(np.sqrt(2 / np.pi) * np.sum(part * spread))
    expected = Measured(size, max(size - by_chance - deviation, 0.0), size + deviation, n)
    square = float(np.sum(part * (gaps**2 - spread**2)))
    least = float(np.sum(2 * part**2 * spread**4))
    step = float(np.sqrt(max(np.sum(part**2 * (4 * gaps**2 * spread**2 - 2 * spread**4)), least)))
    roots = [float(np.sqrt(max(x, 0.0))) for x in (square, square - step, square + step)]
    return expected, Measured(roots[0], roots[1], roots[2], n)


def _deviations(parts: FloatArray, index: IntArray, groups: IntArray | None) -> Array:
    """(b,) standard deviations of the sums of parts (n,) in bins, for whole events."""
    if groups is None:
        return np.sqrt(sums_by(index, parts * parts))
    cells, where = np.unique(index.astype(np.int64) * (int(groups.max()) + 1) + groups, return_inverse=True)
    by_event = sums_by(where, parts)
    return np.sqrt(sums_by(cells // (int(groups.max()) + 1), by_event * by_event))


def _mean(values: FloatArray, w: FloatArray, y: IntArray, groups: IntArray | None, *, balanced: bool) -> Measured:
    """The weighted mean of values (n,) plus and minus one standard deviation over events.

    With `balanced` the classes' sums are normalised, which the deviation allows for.
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
