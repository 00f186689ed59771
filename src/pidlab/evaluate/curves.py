"""ROC curves of the signal and of pairs of classes, the response of a model, and the separation of the classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from pidlab.evaluate.histograms import robust_edges
from pidlab.evaluate.intervals import (
    Interval,
    Sums,
    blocks,
    effective_number,
    efficiency,
    fraction,
    inner,
    sums_by,
)
from pidlab.evaluate.ranking import (
    Order,
    Score,
    ScoredSample,
    Steps,
    Weigh,
    auc,
    groups_of,
    just_below,
    order_of,
    part_of_order,
    rows_among,
    scores_every_class,
    steps_of,
    taken,
    total_of,
    variance,
    weigh_kinds,
)
from pidlab.evaluate.results import Roc
from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import BoolArray, FloatArray, IntArray

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
    score, sample = scored.score, scored.sample
    is_signal, weight = sample.is_signal, sample.weight
    held = is_signal | other
    if held.all():
        return _curve(score, is_signal, weight, scored.groups, scored.order, against, scored.area)
    own, groups = part_of_order(scored.order, held), groups_of(scored.groups, held)
    return _curve(score[held], is_signal[held], weight[held], groups, own, against)


def _curve(
    score: Score,
    is_signal: BoolArray,
    weight: FloatArray,
    groups: IntArray | None,
    order: Order,
    against: str,
    known_area: Measured | None = None,
) -> Roc | None:
    """Returns the curve, from scores (n,) and their order; None if a class is absent.

    Where candidates share events, `groups` (n,), its bounds are those of whole events.
    """
    area = auc(score, is_signal, weight, groups, order) if known_area is None else known_area
    steps = steps_of(score, order)
    if np.isnan(area.value) or not len(steps.values):
        return None
    kinds = weigh_kinds(is_signal, weight)
    squares = [_squared(kind) for kind in kinds]
    totals = [(total_of(order, kind), total_of(order, square)) for kind, square in zip(kinds, squares, strict=True)]
    keep, kept = chosen_points(
        steps, kinds, [total for total, _ in totals], 1 / max(effective_number(weight[~is_signal]), 1.0), first=1
    )
    thresholds = np.append(steps.values, np.float32(just_below(float(steps.values[-1]))))[keep].astype(np.float64)
    if groups is None:
        passed, failed = (
            efficiency(own, total, steps.sums(square, first=1)[keep], total2)
            for own, square, (total, total2) in zip(kept, squares, totals, strict=True)
        )
    else:
        passed, failed = (
            rates_above(score, weight, groups, order, chosen, thresholds) for chosen in (is_signal, ~is_signal)
        )
    return Roc(against, thresholds, *passed[:3], *failed[:3], area)


def rates_above(
    score: Score,
    weight: FloatArray,
    groups: IntArray | None,
    order: Order,
    chosen: BoolArray,
    thresholds: Array,
) -> Interval:
    """Returns the fraction of the `chosen` (n,) candidates that pass each of the falling thresholds (m,).

    Args:
        score, weight: (n,) of all candidates.
        groups: (n,) the numbers of their events, or None if no two share one.
        order: their `order_of`.
        chosen: those that count.
        thresholds: falling.

    Where candidates share events, the sum over events of (passing weight)² grows with each candidate that passes, by
    w² + 2 w times the weight of the same event that has passed before.
    """
    steps = steps_of(score, rows_among(order, chosen))
    falling = steps.rows
    passing = len(steps.values) - np.searchsorted(steps.values[::-1], thresholds.astype(np.float32), side="right")
    if steps.ends is not None and len(steps.ends):
        passing = np.where(passing > 0, steps.ends[np.maximum(passing - 1, 0)] + 1, 0)
    all_of = weight[chosen]
    total, total2 = float(all_of.sum()), inner(all_of, all_of)
    events = groups_of(groups, chosen)
    passed = _cumulated(weight.__getitem__, falling, passing)
    if groups is None or events is None:
        passed2 = _cumulated(lambda rows: weight[rows] ** 2, falling, passing)
        n = len(passing)
        return fraction(Sums(passed, total - passed, passed2, total2 - passed2, np.zeros(n), np.full(n, total2)))
    by_event, own, w = sums_by(events, all_of), taken(groups, falling), taken(weight, falling)
    places = np.arange(len(falling), dtype=np.uint32)
    mixed = _cumulated(lambda rows: w[rows] * by_event[own[rows]], places, passing)
    before = _before(w, own)
    passed2 = _cumulated(lambda rows: w[rows] * w[rows] + 2 * w[rows] * before[rows], places, passing)
    failed2 = inner(by_event, by_event) - 2 * mixed + passed2
    sums = Sums(passed, total - passed, passed2, failed2, mixed - passed2, np.full(len(passing), total2))
    return fraction(sums, independent=False)


def _cumulated(weigh: Weigh, rows: Order, ends: IntArray) -> Array:
    """Returns the sums (m,) of the weights of the first `ends` (m,) of the rows (n,)."""
    return Steps(rows, np.empty(0), None).sums(weigh, first=1)[ends]


def _before(w: FloatArray, groups: IntArray) -> Array:
    """Returns for each weight (n,) the sum of the weights of the same event that stand before it."""
    order = np.argsort(groups, kind="stable")
    running = np.cumsum(w[order]) - w[order]
    first = np.flatnonzero(np.append(True, groups[order][1:] != groups[order][:-1]))
    lengths = np.diff(np.append(first, len(order)))
    before = np.empty(len(w))
    before[order] = running - np.repeat(running[first], lengths)
    return before


def _squared(weigh: Weigh) -> Weigh:
    return lambda rows: weigh(rows) ** 2


def pair_score(scores: FloatArray, one: int, other: int) -> Score:
    """Returns s_one / (s_one + s_other) (n,) of scores (n, k): the probability of `one` if it is one of the two.

    It is NaN for a candidate without a score, and where both are 0.
    """
    share = np.empty(len(scores), np.float32)
    for rows in blocks(len(scores)):
        a, b = scores[rows, one].astype(np.float64), scores[rows, other].astype(np.float64)
        total = a + b
        share[rows] = np.divide(a, total, out=np.full(len(a), np.nan), where=total > 0)
    return share


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
            held = (sample.y == one) | (sample.y == other)
            score, is_one = pair_score(scores[held], one, other), sample.y[held] == one
            groups, weight = groups_of(scored.groups, held), sample.weight[held]
            curve = _curve(score, is_one, weight, groups, order_of(score), sample.classes[other])
            if curve is not None:
                curves.setdefault(sample.classes[one], {})[sample.classes[other]] = curve
    return curves


def chosen_points(
    steps: Steps, kinds: Sequence[Weigh], totals: Sequence[float], smallest: float, *, first: int = 0
) -> tuple[IntArray, list[Array]]:
    """Returns at most 400 indices, evenly in efficiency, log misidentification, and log inefficiency near 1.

    Args:
        steps: (m,) the steps among which points are chosen, after `first` points that nothing passes.
        kinds: the weights of the signal and of the others.
        totals: their sums.
        smallest: the misidentification at which the logarithmic points begin.
        first: how many points come before the first step.

    Returns:
        The indices, and the sums of both kinds of weights there.
    """
    n = first + len(steps.values)
    sums = []
    chosen = [np.array([0, n - 1])]
    for kind, total, is_signal in zip(kinds, totals, (True, False), strict=True):
        sums.append(steps.sums(kind, first=first))
        if n <= 400:
            continue
        rising = sums[-1] / total
        np.maximum.accumulate(rising, out=rising)
        wanted = [np.linspace(0, 1, 201), 1 - np.geomspace(1e-4, 0.1, 60)]
        for shares in wanted if is_signal else [np.geomspace(min(smallest, 0.5), 1, 120)]:
            chosen.append(np.searchsorted(rising, shares * rising[-1]))
        del rising
    keep = np.arange(n) if n <= 400 else np.unique(np.minimum(np.concatenate(chosen), n - 1))
    return keep, [each[keep] for each in sums]


def response_edges(scores: Mapping[str, Score], *, probability: bool) -> Array:
    """Returns the edges of the responses of all samples.

    They are 51 edges over [0, 1] for a probability, or over the range of its scores if these fill less than 70 % of
    [0, 1]; and otherwise `robust_edges` of the scores.
    """
    if not probability:
        return robust_edges(np.concatenate(list(scores.values())))
    parts = (score[rows] for score in scores.values() for rows in blocks(len(score)))
    ends = [(float(own.min()), float(own.max())) for own in (part[np.isfinite(part)] for part in parts) if len(own)]
    low, high = (min(end[0] for end in ends), max(end[1] for end in ends)) if ends else (0.0, 1.0)
    return np.linspace(low, high, 51) if 1e-6 < high - low < 0.7 else np.linspace(0.0, 1.0, 51)


def separation(scored: ScoredSample) -> Measured:
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
    score, is_signal, w = scored.score, scored.sample.is_signal, scored.sample.weight
    totals, sizes, n = [], [], []
    for members in (is_signal, ~is_signal):
        own = w[members]
        totals.append(float(own.sum()))
        n.append(effective_number(own))
        sizes.append(float(np.abs(own, out=own).sum()))
    if not all(totals) or min(n) <= 1:
        return UNDEFINED
    # A multiple of four: shapes that hardly overlap meet at half of the share, where no fine or coarse bin may lie.
    bins = 4 * int(np.clip(min(n) / 48, 2, _SEPARATION_BINS / 4))
    # Shares of |weight| in each class: weights of both signs must not move the middle into one of two pure shapes.
    edges = share_edges(
        steps_of(score, scored.order), lambda rows: np.abs(w[rows]) / np.where(is_signal[rows], *sizes), bins
    )
    index = np.zeros(len(score), np.uint8)  # candidates without a score have a bin of their own
    size = bins + 2  # an even number of them
    sums, squares = np.zeros((size, 2)), np.zeros((size, 2))
    for rows in blocks(len(score)):
        index[rows] = np.where(score[rows] > -np.inf, 1 + np.searchsorted(edges, score[rows], side="right"), 0)
        scaled = w[rows] / np.where(is_signal[rows], *totals)
        cell = 2 * index[rows].astype(np.intp) + ~is_signal[rows]
        sums += np.bincount(cell, scaled, 2 * size).reshape(size, 2)
        squares += np.bincount(cell, scaled * scaled, 2 * size).reshape(size, 2)

    def binned(bin_of: IntArray) -> _Binned:
        """Returns the sum over bins, each of which joins several of those of `index`."""
        by_bin = [np.stack([sums_by(bin_of, column) for column in table.T], axis=1) for table in (sums, squares)]
        joined = filled_bins(by_bin[0].sum(axis=1), by_bin[1].sum(axis=1))
        last = np.stack([sums_by(joined, column) for column in by_bin[0].T])
        last2 = np.stack([sums_by(joined, column) for column in by_bin[1].T])
        if scored.groups is None:
            return _binned_separation(last, last2, lambda factors: float(np.sum(factors**2 * last2)))
        place = joined[bin_of]

        def by_event(factors: Array) -> float:
            parts = np.empty(len(score))
            for rows in blocks(len(score)):
                s = is_signal[rows]
                parts[rows] = w[rows] / np.where(s, *totals) * factors[(~s).astype(np.intp), place[index[rows]]]
            return variance(parts, scored.groups)

        return _binned_separation(last, last2, by_event)

    fine, coarse = binned(np.arange(size)), binned((np.arange(size) + 1) // 2)
    lost = max(fine.value - coarse.value, 0.0) / 3
    value = fine.value + lost
    overlapping = max(1 - value, 0.0) * min(n) / 2
    unseen = (2 / min(n)) ** 2 * _PRIOR_OVERLAP / (_PRIOR_OVERLAP + overlapping)
    return _around(value, float(np.sqrt(fine.variance + unseen + lost**2)), min(n))


def share_edges(steps: Steps, weigh: Weigh, bins: int) -> FloatArray:
    """Returns the edges between at most `bins` bins of a score with equal shares of the weights.

    A score that equals an edge belongs to the bin above it, so that equal scores are in the same bin.
    """
    if not len(steps.values):
        return steps.values
    sums = steps.sums(weigh)
    wanted = np.linspace(0, 1, bins + 1)[1:-1] * sums[-1] * (1 - 1e-12)
    ends = np.searchsorted(sums, wanted)
    return np.unique(steps.values[np.minimum(ends, len(steps.values) - 1)])


def filled_bins(sums: Array, squares: Array) -> IntArray:
    """Returns the number (b,) that each bin gets so that the weights of each from 1 on sum to two standard deviations.

    `sums` (b,) are those of weights, `squares` (b,) those of their squares. If weights of both signs nearly cancel in a
    bin, the ratio of its contents is unknown: it joins the next bin.
    """
    joined, number, held, held2 = np.zeros(len(sums), np.int64), 1, 0.0, 0.0
    for i in range(1, len(sums)):
        joined[i], held, held2 = number, held + sums[i], held2 + squares[i]
        if held > 2 * np.sqrt(held2):
            number, held, held2 = number + 1, 0.0, 0.0
    if held2 > 0 and number > 1:  # an incomplete bin at the end joins the last complete one
        joined[joined == number] = number - 1
    return joined


class _Binned(NamedTuple):
    """A sum over bins with its variance."""

    value: float
    variance: float


def _binned_separation(sums: Array, squares: Array, variance_of: Callable[[Array], float]) -> _Binned:
    """Returns the sum of f(s, b) over bins less its bias ½ (f_ss var s + f_bb var b); variance to second order.

    Args:
        sums: (2, b) the sums of weights of the signal and of the others.
        squares: (2, b) those of squared weights.
        variance_of: from factors (2, b) by class and bin to the variance of the sum of factor times weight.
    """
    filled = sums.sum(axis=0) > 0
    s, b, var_s, var_b = (np.where(filled, part, 0.0) for part in (*sums, *squares))
    both = np.where(filled, s + b, 1.0)
    f_s, f_b = 0.5 - 2 * (b / both) ** 2, 0.5 - 2 * (s / both) ** 2
    bend_s, bend_b, bend_mixed = 4 * b**2 / both**3 * var_s, 4 * s**2 / both**3 * var_b, 4 * s * b / both**3
    value = float(np.sum(0.5 * (s - b) ** 2 / both) - np.sum(bend_s + bend_b) / 2)
    second = float(np.sum(bend_s**2 + bend_b**2) / 2 + np.sum(bend_mixed**2 * var_s * var_b))
    return _Binned(value, variance_of(np.stack([f_s - inner(f_s, s), f_b - inner(f_b, b)])) + second)


def _around(value: float, deviation: float, n: float) -> Measured:
    """Returns a quantity in [0, 1] with one standard deviation to each side, limited to [0, 1] unless it lies outside.

    Towards 1 each bound is that of the value or that of its logit, whichever is further away.
    """
    low, high = value - deviation, value + deviation
    if 0.5 < value < 1 - 1e-9:  # a separation of 1, up to rounding, has no logit
        centre, width = special.logit(value), deviation / (value * (1 - value))
        low, high = min(low, float(special.expit(centre - width))), max(high, float(special.expit(centre + width)))
    return Measured(value, max(low, min(value, 0.0)), min(high, max(value, 1.0)), n)
