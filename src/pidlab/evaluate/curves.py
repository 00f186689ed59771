"""ROC curves of the signal and of pairs of classes, the response of a model, and the separation of the classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import special

from pidlab.evaluate.histograms import histograms_by_class, robust_edges
from pidlab.evaluate.intervals import effective_number, efficiency, sums_by
from pidlab.evaluate.ranking import (
    Score,
    ScoredSample,
    auc,
    cumulative_by_score,
    groups_of,
    just_below,
    scores_every_class,
    variance,
)
from pidlab.evaluate.results import Histogram, Roc
from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample

_SEPARATION_BINS = 52
_PRIOR_OVERLAP = 6.0
"""The number of overlapping events that the variance of one event on the other side counts for. Such small counts are
discrete: for normal distributions 3 to 5 deviations apart and 60 to 400 candidates of a class, 6 gives coverages of .64
to .95 for 68.3 %, 3 gives .54 to .95, and 0 gives .45 where no event overlaps."""


def roc_curves(scored: ScoredSample) -> dict[str, Roc]:
    """Returns the curve against each other class and, if there are several, against "rest"; none for absent classes."""
    sample = scored.sample
    others = {name: sample.y == c for c, name in enumerate(sample.classes) if c != sample.signal}
    if len(others) > 1:
        others["rest"] = ~sample.is_signal
    curves = {name: roc_curve(scored, rows, name) for name, rows in others.items()}
    return {name: curve for name, curve in curves.items() if curve is not None}


def roc_curve(scored: ScoredSample, other: BoolArray, against: str) -> Roc | None:
    """Returns at most 400 points of the exact curve of the signal against the candidates `other` (n,).

    The curve ends below 1 if candidates have no score, since these never pass. None if a class is absent.
    """
    score, sample, groups = scored
    rows = np.flatnonzero(sample.is_signal | other)
    s, w, part = sample.is_signal[rows], sample.weight[rows], score[rows]
    area = auc(part, s, w, groups_of(groups, sample.is_signal | other))
    signal, rest = np.where(s, w, 0.0), np.where(s, 0.0, w)
    steps = cumulative_by_score(part, signal, signal**2, rest, rest**2)
    if np.isnan(area.value) or not len(steps.values):
        return None
    thresholds = np.append(steps.values, np.float32(just_below(float(steps.values[-1])))).astype(np.float64)
    sums = [np.concatenate([[0.0], total]) for total in steps.sums]
    totals = [float(t.sum()) for t in (signal, signal**2, rest, rest**2)]
    keep = chosen_points(sums[0] / totals[0], sums[2] / totals[2], 1 / max(effective_number(w[~s]), 1.0))
    passed, failed = (efficiency(sums[i][keep], totals[i], sums[i + 1][keep], totals[i + 1]) for i in (0, 2))
    return Roc(against, thresholds[keep], *passed[:3], *failed[:3], area)


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
    if not scores_every_class(scores, sample):
        return curves
    order = [sample.signal, *(c for c in range(len(sample.classes)) if c != sample.signal)]
    for i, one in enumerate(order):
        for other in order[i + 1 :]:
            pair = ScoredSample(pair_score(scores, one, other), replace(sample, signal=one), scored.groups)
            curve = roc_curve(pair, sample.y == other, sample.classes[other])
            if curve is not None:
                curves.setdefault(sample.classes[one], {})[sample.classes[other]] = curve
    return curves


def chosen_points(passed: Array, misid: Array, smallest: float) -> IntArray:
    """Returns at most 400 indices, evenly in efficiency, log misidentification, and log inefficiency near 1."""
    if len(passed) <= 400:
        return np.arange(len(passed))
    rising, falling_ = np.maximum.accumulate(passed), np.maximum.accumulate(misid)
    even = np.searchsorted(rising, np.linspace(0, 1, 201) * rising[-1])
    pure = np.searchsorted(falling_, np.geomspace(min(smallest, 0.5), 1, 120) * falling_[-1])
    full = np.searchsorted(rising, (1 - np.geomspace(1e-4, 0.1, 60)) * rising[-1])
    chosen = np.concatenate([[0, len(passed) - 1], even, pure, full])
    return np.unique(np.minimum(chosen, len(passed) - 1))


def response_edges(scores: Mapping[str, Score], *, probability: bool) -> Array:
    """Returns the edges of the responses of all samples.

    They are 51 edges over [0, 1] for a probability, or over the range of its scores if these fill less than 70 % of
    [0, 1]; and otherwise `robust_edges` of the scores.
    """
    every = np.concatenate(list(scores.values()))
    if not probability:
        return robust_edges(every)
    finite = every[np.isfinite(every)].astype(np.float64)
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    return np.linspace(low, high, 51) if 1e-6 < high - low < 0.7 else np.linspace(0.0, 1.0, 51)


def response(score: Score, sample: Sample, edges: Array) -> dict[str, Histogram]:
    """Returns the histogram of the signal's score (n,) for each true class."""
    return histograms_by_class(score, sample, edges)


def separation(score: Score, sample: Sample, groups: IntArray | None) -> Measured:
    """Returns ½ ∫ (s - b)² / (s + b) of signal against the rest: 0 for equal shapes, 1 for no overlap.

    This is the separation <S²> of the TMVA Users Guide, arXiv:physics/0703039. Each bin holds the same share of the two
    normalised shapes together (8 to 52 bins with about 12 effective events of each class), so that the number does not
    change with a monotonic transformation of the score. The first-order bias of finite bin contents is subtracted.
    Differences within a bin are lost. This loss is proportional to the square of the bin width, so a third of what is
    lost by halving the number of bins is added (L. F. Richardson, Phil. Trans. R. Soc. A 226 (1927) 299), and counts as
    an error too.

    The variance is that of influences to second order, and that of one event of the smaller class on the other side,
    2 / n, because an overlap of no event shows no fluctuation. The latter is multiplied by 6 / (6 + m) if m events
    overlap. The interval holds one standard deviation of the value and, towards 1, of its logit. `n` is that of the
    smaller class.
    """
    usable = score > -np.inf
    is_signal, w = sample.is_signal, sample.weight
    totals = np.array([w[is_signal].sum(), w[~is_signal].sum()])
    n = [effective_number(w[is_signal]), effective_number(w[~is_signal])]
    if not np.all(totals) or min(n) <= 1:
        return UNDEFINED
    scaled = w / np.where(is_signal, totals[0], totals[1])
    # Shares of |weight| in each class: weights of both signs must not move the middle into one of two pure shapes.
    sizes = np.abs(w) / np.where(is_signal, np.abs(w[is_signal]).sum(), np.abs(w[~is_signal]).sum())
    index = np.zeros(len(score), np.int64)  # candidates without a score have a bin of their own
    # A multiple of four: shapes that hardly overlap meet at half of the share, where no fine or coarse bin may lie.
    bins = 4 * int(np.clip(min(n) / 48, 2, _SEPARATION_BINS / 4))
    index[usable] = 1 + equal_shares(score[usable], sizes[usable], bins)
    fine, coarse = (
        _binned_separation(filled_bins(bin_of, scaled), scaled, is_signal, groups)
        for bin_of in (index, (index + 1) // 2)
    )
    lost = max(fine.value - coarse.value, 0.0) / 3
    value = fine.value + lost
    overlapping = max(1 - value, 0.0) * min(n) / 2
    unseen = (2 / min(n)) ** 2 * _PRIOR_OVERLAP / (_PRIOR_OVERLAP + overlapping)
    return _around(value, float(np.sqrt(fine.variance + unseen + lost**2)), min(n))


def equal_shares(score: Score, share: FloatArray, bins: int) -> IntArray:
    """Returns the bin (n,) of each score among `bins` with equal shares; equal scores are in the same bin."""
    if not len(score):
        return np.empty(0, np.int64)
    steps = cumulative_by_score(score, share)
    wanted = np.linspace(0, 1, bins + 1)[1:-1] * steps.sums[0][-1] * (1 - 1e-12)
    ends = np.searchsorted(steps.sums[0], wanted)
    edges = np.unique(steps.values[np.minimum(ends, len(steps.values) - 1)])
    return np.searchsorted(edges, score, side="right")


def filled_bins(index: IntArray, weight: FloatArray) -> IntArray:
    """Returns the bins (n,) merged so that the weights of each bin from 1 on sum to at least two standard deviations.

    If weights of both signs nearly cancel in a bin, the ratio of its contents is unknown: it joins the next bin.
    """
    sums, squares = sums_by(index, weight), sums_by(index, weight**2)
    joined, number, held, held2 = np.zeros(len(sums), np.int64), 1, 0.0, 0.0
    for i in range(1, len(sums)):
        joined[i], held, held2 = number, held + sums[i], held2 + squares[i]
        if held > 2 * np.sqrt(held2):
            number, held, held2 = number + 1, 0.0, 0.0
    if held2 > 0 and number > 1:  # an incomplete bin at the end joins the last complete one
        joined[joined == number] = number - 1
    return joined[index]


class _Binned(NamedTuple):
    """A sum over bins with its variance."""

    value: float
    variance: float


def _binned_separation(index: IntArray, scaled: FloatArray, is_signal: BoolArray, groups: IntArray | None) -> _Binned:
    """Returns the sum of f(s, b) over bins less its bias ½ (f_ss var s + f_bb var b); variance to second order."""
    in_s, in_b = np.where(is_signal, scaled, 0.0), np.where(is_signal, 0.0, scaled)
    s, b, var_s, var_b = (sums_by(index, part) for part in (in_s, in_b, in_s**2, in_b**2))
    filled = s + b > 0
    s, b, var_s, var_b = (np.where(filled, part, 0.0) for part in (s, b, var_s, var_b))
    both = np.where(filled, s + b, 1.0)
    f_s, f_b = 0.5 - 2 * (b / both) ** 2, 0.5 - 2 * (s / both) ** 2
    bend_s, bend_b, bend_mixed = 4 * b**2 / both**3 * var_s, 4 * s**2 / both**3 * var_b, 4 * s * b / both**3
    value = float(np.sum(0.5 * (s - b) ** 2 / both) - np.sum(bend_s + bend_b) / 2)
    second = float(np.sum(bend_s**2 + bend_b**2) / 2 + np.sum(bend_mixed**2 * var_s * var_b))
    parts = in_s * (f_s - f_s @ s)[index] + in_b * (f_b - f_b @ b)[index]
    return _Binned(value, variance(parts, groups) + second)


def _around(value: float, deviation: float, n: float) -> Measured:
    """Returns a quantity in [0, 1] with one standard deviation to each side, limited to [0, 1] unless it lies outside.

    Towards 1 each bound is that of the value or that of its logit, whichever is further away.
    """
    low, high = value - deviation, value + deviation
    if 0.5 < value < 1 - 1e-9:  # a separation of 1, up to rounding, has no logit
        centre, width = special.logit(value), deviation / (value * (1 - value))
        low, high = min(low, float(special.expit(centre - width))), max(high, float(special.expit(centre + width)))
    return Measured(value, max(low, min(value, 0.0)), min(high, max(value, 1.0)), n)
