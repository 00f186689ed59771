"""Calibration: whether four of five candidates with a probability of 0.8 are signal."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from pidlab.evaluate.curves import share_edges
from pidlab.evaluate.intervals import Interval, blocks, efficiency, inner, proportion, sums_by, symmetric
from pidlab.evaluate.ranking import Score, ScoredSample, groups_of, rows_among, steps_of
from pidlab.evaluate.results import Calibration
from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample

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
    score, sample = scored.score, scored.sample
    usable = np.isfinite(score)
    scaled = balanced or abundances is not None
    if not (sums_by(sample.y[usable], sample.weight[usable], len(sample.classes)) > 0).all():
        return None
    factors = class_factors(sample, abundances) if scaled else np.ones(len(sample.classes))
    chosen = _Usable(scored, usable, factors)
    edges = _bin_edges(chosen)
    index = np.zeros(len(score), np.uint8)
    for rows in blocks(len(score)):
        index[rows] = edges.bins(score[rows])
    size = int(index[usable].max()) + 1
    filled, mean = _mean_scores(chosen, index, size)
    rates = _rates(chosen, index, size)
    fraction, low, high, n = (np.where(filled, column, np.nan) for column in rates)
    n_events = chosen.effective_number()
    expected, rms = _errors(chosen, index, size, n_events)
    return Calibration(
        score=mean,
        fraction=fraction,
        low=low,
        high=high,
        n=np.nan_to_num(n),
        error=expected,
        rms_error=rms,
        brier=_mean(lambda p, s: (p - s) ** 2, chosen, n_events, balanced=scaled),
        log_loss=_mean(_loss, chosen, n_events, balanced=scaled),
        balanced=balanced and abundances is None,
        method=method,
        abundances=dict(abundances or {}),
    )


class _Part(NamedTuple):
    """Some of the usable candidates.

    Attributes:
        rows: (m,) their rows in the sample.
        p: (m,) the signal's probability.
        s: (m,) true for signal.
        w: (m,) weights.
        y: (m,) classes.
    """

    rows: IntArray
    p: Array
    s: BoolArray
    w: FloatArray
    y: IntArray


class _Usable(NamedTuple):
    """The candidates with a score, by which the calibration is measured.

    Attributes:
        scored: the sample with its scores.
        usable: (n,) true for candidates with a score.
        factors: (k,) the factors by which the weights of each class are multiplied.
    """

    scored: ScoredSample
    usable: BoolArray
    factors: Array

    def weigh(self, rows: IntArray) -> FloatArray:
        """Returns the weights (m,) of some rows of the sample."""
        sample = self.scored.sample
        return np.asarray(sample.weight[rows] * self.factors[sample.y[rows]])

    def parts(self) -> Iterator[_Part]:
        """Yields the candidates a block at a time."""
        sample = self.scored.sample
        for block in blocks(len(self.usable)):
            rows = block.start + np.flatnonzero(self.usable[block])
            y = sample.y[rows]
            yield _Part(rows, self.scored.score[rows].astype(np.float64), y == sample.signal, self.weigh(rows), y)

    def by_bin(self, index: IntArray, size: int, *values: Callable[[_Part], FloatArray]) -> Array:
        """Returns (v, b) the sums over bins of v values of candidates, whose bin is their `index` (n,)."""
        sums = np.zeros((len(values), size))
        for part in self.parts():
            sums += [sums_by(index[part.rows], each(part), size) for each in values]
        return sums

    def effective_number(self) -> float:
        """Returns the effective number of events."""
        sums = np.sum([(part.w.sum(), np.sum(part.w * part.w)) for part in self.parts()], axis=0)
        return float(sums[0]) ** 2 / float(sums[1]) if sums[1] > 0 else 0.0

    def variance(self, influence: Callable[[_Part], FloatArray]) -> float:
        """Returns the sum over events of the squared sum of influences."""
        groups = self.groups()
        if groups is None:
            return sum(inner(each, each) for each in map(influence, self.parts()))
        by_event = np.zeros(int(groups.max()) + 1)
        for part in self.parts():
            np.add.at(by_event, groups[part.rows], influence(part))
        return inner(by_event, by_event)

    def groups(self) -> IntArray | None:
        """Returns the event numbers of all candidates of the sample, None if no two usable ones share an event."""
        return self.scored.groups if groups_of(self.scored.groups, self.usable) is not None else None


class _Edges(NamedTuple):
    """Cells of a score between `edges` (c,), and the bin (c + 1,) that each cell is a part of."""

    edges: Array
    bin_of: IntArray

    def bins(self, score: Score) -> IntArray:
        """Returns the bins (n,) of scores (n,)."""
        return self.bin_of[np.searchsorted(self.edges, score.astype(np.float64), side="left")]


def _bin_edges(chosen: _Usable) -> _Edges:
    """Returns bins whose numbers rise with the score; none is empty."""
    score, order = chosen.scored.score, chosen.scored.order
    n_events = np.sum([(np.abs(part.w).sum(), np.sum(part.w * part.w)) for part in chosen.parts()], axis=0)
    effective = float(n_events[0]) ** 2 / float(n_events[1]) if n_events[1] > 0 else 0.0
    bins = int(np.clip(effective / _LEAST_IN_BIN, 1, _BINS))
    steps = steps_of(score, rows_among(order, chosen.usable))
    between = share_edges(steps, lambda rows: np.abs(chosen.weigh(rows)), bins)
    rising = steps.values[::-1]
    ends = [0, *np.searchsorted(rising, between), len(rising)]
    spans = [
        (float(rising[i]), float(rising[j - 1])) if j > i else (np.inf, -np.inf) for i, j in itertools.pairwise(ends)
    ]
    lower, upper = np.array(spans).T
    tenths, wide = np.arange(1, 10) / 10, upper - lower > _WIDE
    inside = (tenths[:, None] > lower[wide]) & (tenths[:, None] < upper[wide])
    edges = np.unique(np.concatenate([upper[upper > -np.inf], tenths[inside.any(axis=1)]]))
    total, total2 = np.zeros(len(edges) + 1), np.zeros(len(edges) + 1)
    for part in chosen.parts():
        cell = np.searchsorted(edges, part.p, side="left")
        total += sums_by(cell, np.abs(part.w), len(total))
        total2 += sums_by(cell, part.w * part.w, len(total))
    number, bin_of, held = 0, np.zeros(len(total), np.int64), np.zeros(2)
    for i, both in enumerate(zip(total, total2, strict=True)):
        rest = total[i:].sum(), total2[i:].sum()
        if all(part[0] ** 2 >= _LEAST_IN_BIN * part[1] > 0 for part in (held, rest)):
            number, held = number + 1, np.zeros(2)
        bin_of[i] = number
        held += both
    return _Edges(edges, bin_of)


def _mean_scores(chosen: _Usable, index: IntArray, size: int) -> tuple[BoolArray, Array]:
    """Returns which bins (b,) have a positive sum of weights, and the mean score (b,) in them."""
    sums, moments = chosen.by_bin(index, size, lambda part: part.w, lambda part: part.w * part.p)
    filled = sums > 0
    return filled, np.divide(moments, sums, out=np.full(size, np.nan), where=filled)


def _rates(chosen: _Usable, index: IntArray, size: int) -> Interval:
    """Returns the share of signal (b,) in each bin."""
    groups = chosen.groups()
    if groups is None:
        passed, total = (lambda part: np.where(part.s, part.w, 0.0)), (lambda part: part.w)
        squares = (lambda part, each=each: each(part) ** 2 for each in (passed, total))
        return efficiency(*chosen.by_bin(index, size, passed, total, *squares))
    found = []
    for b in range(size):
        rows = chosen.usable & (index == b)
        is_signal = chosen.scored.sample.y[rows] == chosen.scored.sample.signal
        found.append(proportion(is_signal, chosen.weigh(np.flatnonzero(rows)), groups_of(groups, rows)))
    return Interval(*np.array(found).reshape(-1, 4).T)


def _loss(p: Array, s: BoolArray) -> Array:
    """Returns the logarithmic loss (n,) of probabilities (n,) for candidates that are signal or not."""
    clipped = np.clip(p, _SMALLEST, 1 - _SMALLEST)
    return -np.where(s, np.log(clipped), np.log1p(-clipped))


def class_balanced(sample: Sample) -> FloatArray:
    """Returns the weights (n,) with each class scaled to the sum n / k."""
    return np.asarray(sample.weight * class_factors(sample)[sample.y])


def class_factors(sample: Sample, abundances: Mapping[str, float] | None = None) -> Array:
    """Returns the factors (k,) by which the weights of each class sum to n / k, or to n times its abundance's share.

    That of a class whose sum is not positive is 0.
    """
    k = len(sample.classes)
    sums = sums_by(sample.y, sample.weight, k)
    share = np.array([1.0 if abundances is None else abundances[name] for name in sample.classes])
    return np.asarray(np.divide(len(sample) * share / share.sum(), sums, out=np.zeros(k), where=sums > 0))


def _errors(chosen: _Usable, index: IntArray, size: int, n: float) -> tuple[Measured, Measured]:
    """Returns the weighted mean size and root mean square over bins of the mean gap of score and signal in each bin.

    The mean size is the expected calibration error as it is usually quoted (M. Pakdaman Naeini et al., AAAI 2015).
    Fluctuations make the size of a gap too large on average: a perfectly calibrated model would show .8 of a standard
    deviation. The bias of a gap other than 0 is smaller but unknown, so the lower bound allows for the full .8.

    The square of a gap is too large by its variance, whatever the gap. The second number is corrected for this (A.
    Kumar et al., NeurIPS 2019), and its bounds are one standard deviation of the square to each side.
    """
    total, gap = chosen.by_bin(index, size, lambda part: part.w, lambda part: part.w * (part.p - part.s))
    filled = np.flatnonzero(total > 0)
    mean = np.zeros(size)
    mean[filled] = gap[filled] / total[filled]
    deviations = _deviations(chosen, index, mean)[filled] / total[filled]
    share, gaps = total[filled] / total[filled].sum(), mean[filled]
    mean_size, error = float(np.sum(share * np.abs(gaps))), float(np.sqrt(np.sum((share * deviations) ** 2)))
    by_chance = float(np.sqrt(2 / np.pi) * np.sum(share * deviations))
    expected = Measured(mean_size, max(mean_size - by_chance - error, 0.0), mean_size + error, n)
    square = float(np.sum(share * (gaps**2 - deviations**2)))
    least = float(np.sum(2 * share**2 * deviations**4))
    step = float(np.sqrt(max(np.sum(share**2 * (4 * gaps**2 * deviations**2 - 2 * deviations**4)), least)))
    roots = [float(np.sqrt(max(x, 0.0))) for x in (square, square - step, square + step)]
    return expected, Measured(roots[0], roots[1], roots[2], n)


def _deviations(chosen: _Usable, index: IntArray, mean: Array) -> Array:
    """Returns the standard deviations (b,) of the sums over bins of weight times (gap - `mean` (b,)), for whole events.

    The bin of a candidate is its `index` (n,).
    """

    def influence(part: _Part) -> FloatArray:
        return np.asarray(part.w * (part.p - part.s - mean[index[part.rows]]))

    if chosen.groups() is None:
        return np.asarray(np.sqrt(chosen.by_bin(index, len(mean), lambda part: influence(part) ** 2)[0]))

    def in_bin(b: int) -> float:
        return chosen.variance(lambda part: np.where(index[part.rows] == b, influence(part), 0.0))

    return np.sqrt([in_bin(b) for b in range(len(mean))])


def _mean(values: Callable[[Array, BoolArray], Array], chosen: _Usable, n: float, *, balanced: bool) -> Measured:
    """Returns the weighted mean of values of score and signal, plus and minus one standard deviation over events.

    With `balanced` the deviation includes the normalisation of the classes' weights. `n` is the effective number of
    events.
    """
    k = len(chosen.factors)
    sums, moments, moment = np.zeros(k), np.zeros(k), 0.0
    for part in chosen.parts():
        weighted = part.w * values(part.p, part.s)
        moment += float(np.sum(weighted))
        sums += sums_by(part.y, part.w, k)
        moments += sums_by(part.y, weighted, k)
    total = float(sums.sum())
    if not total > 0:
        return UNDEFINED
    value = moment / total
    centre = np.full(k, value)
    if balanced:
        centre = np.divide(moments, sums, out=np.zeros(k), where=sums != 0)

    def influence(part: _Part) -> FloatArray:
        return np.asarray(part.w * (values(part.p, part.s) - centre[part.y]) / total)

    return symmetric(value, float(np.sqrt(chosen.variance(influence))), n)
