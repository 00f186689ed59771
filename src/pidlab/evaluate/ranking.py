"""Candidates in the order of their score: the area under the ROC curve, and the influence of each candidate on it.

Intervals are computed from influence functions and need no replicas: the variance of a statistic is the sum over events
of its squared influence (the infinitesimal jackknife, which is the bootstrap over events to first order). For the AUC
of independent candidates with unit weights this is DeLong's variance. It takes one sort, and the paired difference of
two models has the difference of their influences. Near an AUC of 0 or 1, and where few events carry most of the weight,
the candidates do not show their own variance: the interval then uses that of a model too (`auc`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pidlab.evaluate.intervals import (
    LEVEL,
    Sums,
    blocks,
    clopper_pearson,
    cumulate,
    effective_number,
    fieller,
    hanley_mcneil,
    inner,
    newcombe,
    proportion,
    proportions,
    shares_events,
    sums_by,
    symmetric,
    union,
)
from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample, WeightReplicas

Score = NDArray[np.float32]
T = TypeVar("T", bound=np.generic)
Order = NDArray[np.uint32]
"""Rows (n,) from the lowest score to the highest; candidates without a score (NaN, -inf) come first."""
Weigh = Callable[[IntArray], FloatArray]
"""A function from rows (m,) to their weights (m,), which need not exist for all candidates at once."""
ONE_EVENT = 1 + 1e-9  # the effective number of a single event, with the rounding of sums of weights
_PRIOR_EVENTS = 0.75
"""The number of events that the model of the AUC's variance counts for, beside those that show their own variance. In
simulation (normal scores, the weights of benchmarks/auc_coverage.py) .75 gives coverages of at least .65 everywhere and
at most .87 above 200 effective events; 0 gives down to .34 for exponential weights at .99, and 2 gives .92 for 280
effective events at .999."""


class Influence(NamedTuple):
    """A statistic with its first-order change `parts` (n,) by each candidate.

    `n` is the effective number of events of the smaller class.
    """

    value: float
    parts: FloatArray
    n: float

    def deviation(self, groups: IntArray | None = None) -> float:
        """Returns the standard deviation for events in `groups`; infinite for one event, which shows none."""
        return float(np.sqrt(variance(self.parts, groups))) if self.n > ONE_EVENT else float("inf")


class Steps(NamedTuple):
    """The steps of a falling threshold, of which each lets the candidates of one more score pass.

    Attributes:
        rows: (u,) the candidates with a score, from the highest to the lowest.
        values: (m,) the distinct scores.
        ends: (m,) the place in `rows` of the last candidate of each score; None if no two scores are equal.
    """

    rows: Order
    values: FloatArray
    ends: Order | None

    def sums(self, weigh: Weigh, *, first: int = 0) -> Array:
        """Returns the sums (first + m,) of weights at or above each score, after `first` zeros."""
        summed = np.zeros(first + len(self.rows))
        own = summed[first:]
        for part in blocks(len(self.rows)):
            own[part] = weigh(self.rows[part])
        cumulate(own)
        return summed[: first + compress(own, self.ends)]


def compress(values: NDArray[Any], places: Order | None) -> int:
    """Moves the values at the rising `places` (m,) to the beginning, in place, and returns m; None stands for all."""
    if places is None:
        return len(values)
    for part in blocks(len(places)):
        values[part] = values[places[part]]  # places[i] >= i, so nothing is overwritten before it is read
    return len(places)


def taken(values: NDArray[T], rows: Order) -> NDArray[T]:
    """Returns the values of some rows; numpy alone would make 8 bytes a row of the row numbers first."""
    found = np.empty(len(rows), values.dtype)
    for part in blocks(len(rows)):
        found[part] = values[rows[part]]
    return found


def places_of(chosen: BoolArray) -> Order:
    """Returns the places (m,) at which `chosen` (n,) is true."""
    places, n = np.empty(int(np.count_nonzero(chosen)), np.uint32), 0
    for part in blocks(len(chosen)):
        own = np.flatnonzero(chosen[part])
        places[n : n + len(own)] = own + part.start
        n += len(own)
    return places


class CumulativeWeights(NamedTuple):
    """Distinct scores (m,) from high to low, and for each kind of weight the sums (m,) at or above them."""

    values: FloatArray
    sums: tuple[Array, ...]


@dataclass(frozen=True)
class ScoredSample:
    """A sample with the signal's score (n,) and the event numbers (n,) of its candidates from `event_groups`."""

    score: Score
    sample: Sample
    groups: IntArray | None

    @classmethod
    def of(cls, scores: FloatArray, sample: Sample) -> ScoredSample:
        """Returns the sample with its scores (n, k)."""
        return cls(signal_score(scores, sample), sample, event_groups(sample))

    @cached_property
    def order(self) -> Order:
        """(n,) the rows in the order of the score, which is found once."""
        return order_of(self.score)

    @cached_property
    def area(self) -> Measured:
        """The area under the ROC curve of the signal against all others."""
        return auc(self.score, self.sample.is_signal, self.sample.weight, self.groups, self.order)

    def with_score(self, score: Score) -> ScoredSample:
        """Returns the same candidates with another score (n,)."""
        return replace(self, score=score)

    def class_rates(self, passing: BoolArray) -> dict[str, Measured]:
        """Returns the fraction of each class that passes a decision (n,), by the name of the class."""
        sample = self.sample
        if self.groups is None:
            rates = proportions(sample.y, passing, sample.weight, len(sample.classes))
            return {name: Measured(*map(float, rate)) for name, *rate in zip(sample.classes, *rates, strict=True)}
        rows = (sample.y == index for index in range(len(sample.classes)))
        found = [proportion(passing[r], sample.weight[r], groups_of(self.groups, r)) for r in rows]
        return dict(zip(sample.classes, found, strict=True))


def signal_score(scores: FloatArray, sample: Sample) -> Score:
    """Returns the score (n,) that thresholds apply to: the signal's column of scores (n, k) as float32."""
    return np.ascontiguousarray(scores[:, sample.signal], dtype=np.float32)


def signal_scores(signal_score: FloatArray, n_classes: int, signal: int, *, probability: bool) -> NDArray[np.float32]:
    """Returns scores (n, k) of a model that has one score (n,), that of the signal.

    The column of the only other class holds the opposite, which is 1 - p for a probability p and -s for any other
    score s. With more than two classes the other columns hold NaN.
    """
    scores = np.full((len(signal_score), n_classes), np.nan, np.float32)
    if n_classes == 2:
        scores[:] = (1 - signal_score if probability else -signal_score)[:, None]
    scores[:, signal] = signal_score
    return scores


def scores_every_class(scores: FloatArray, sample: Sample) -> bool:
    """Returns True if there are more than two classes and each column of scores (n, k) holds a score."""
    return len(sample.classes) > 2 and not bool(np.isnan(scores).all(axis=0).any())


def event_groups(sample: Sample) -> IntArray | None:
    """Returns the number (n,) of each candidate's event, or None if no two candidates share an event."""
    ordered = np.sort(sample.event)
    if not np.any(ordered[1:] == ordered[:-1]):
        return None
    del ordered
    return numbers_of(sample.event)


def numbers_of(event: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Returns the number (n,) of each event among the distinct ones, in the order of their hashes (n,)."""
    order = np.argsort(event)
    numbers, held, before = np.empty(len(event), np.int32), -1, None
    for part in blocks(len(order)):
        rows = order[part]
        ordered = event[rows]
        is_new = np.append(before is None or before != ordered[0], ordered[1:] != ordered[:-1])
        numbers[rows] = held + np.cumsum(is_new)
        held, before = held + int(is_new.sum()), ordered[-1]
    return numbers


def variance(parts: FloatArray, groups: IntArray | None = None) -> float:
    """Returns the sum over events of the squared sum of influences `parts` (n,)."""
    by_event = parts if groups is None or not len(parts) else sums_by(groups, parts)
    return inner(by_event, by_event)


def just_below(score: float) -> float:
    """Returns the largest float32 below `score` that is also smaller for C++ built to flush subnormal numbers."""
    tiny = np.finfo(np.float32).tiny
    lower = np.nextafter(np.float32(score), np.float32(-np.inf))
    if 0 < abs(lower) < tiny:
        lower = np.float32(0) if lower > 0 else -tiny
    return float(lower)


def order_of(score: FloatArray) -> Order:
    """Returns the rows (n,) in the order of scores (n,)."""
    return np.argsort(np.where(np.isnan(score), score.dtype.type(-np.inf), score)).astype(np.uint32)


def rows_among(order: Order, rows: BoolArray) -> Order:
    """Returns those of an order that are among `rows` (n,)."""
    if rows.all():
        return order
    held = np.empty(len(order), np.bool_)
    for part in blocks(len(order)):
        held[part] = rows[order[part]]
    return order[held]


def part_of_order(order: Order, rows: BoolArray) -> Order:
    """Returns the order of the candidates `rows` (n,) alone, which are numbered among themselves."""
    place = np.cumsum(rows, dtype=np.uint32)
    place -= 1
    own = rows_among(order, rows)
    return taken(place, own)


def steps_of(score: FloatArray, order: Order | None = None) -> Steps:
    """Returns the steps of scores (n,) of which the `order` may be known, from the highest score to the lowest.

    Candidates without a score (NaN, -inf), which never pass, are left out. `order` may be that of some rows only.
    """
    falling = (order_of(score) if order is None else order)[::-1]
    ordered = taken(score, falling)
    n_known = len(ordered)
    if n_known and not ordered[-1] > -np.inf:
        n_known = int(np.count_nonzero(ordered > -np.inf))
        falling, ordered = falling[:n_known], ordered[:n_known]
    is_last = np.ones(n_known, np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_last[:-1])
    if is_last.all():
        return Steps(falling, ordered, None)
    ends = places_of(is_last)
    return Steps(falling, ordered[: compress(ordered, ends)], ends)


def cumulative_by_score(score: FloatArray, *weights: FloatArray) -> CumulativeWeights:
    """Returns the weights (n,) cumulated from the highest score (n,) to the lowest, at the steps of `steps_of`."""
    steps = steps_of(score)
    return CumulativeWeights(steps.values, tuple(steps.sums(w.__getitem__) for w in weights))


def weigh_kinds(is_signal: BoolArray, weight: FloatArray) -> tuple[Weigh, Weigh]:
    """Returns the weights of the signal, 0 for other candidates, and those of the others, 0 for the signal."""
    return (
        lambda rows: np.where(is_signal[rows], weight[rows], 0.0),
        lambda rows: np.where(is_signal[rows], 0.0, weight[rows]),
    )


def auc_influence(
    score: Score, is_signal: BoolArray, weight: FloatArray, order: Order | None = None
) -> Influence | None:
    """Returns the AUC with its influences; None if a class is absent or its weights sum to zero.

    The AUC is a weighted sum over pairs of a signal and another candidate, in which ties count half; score, is_signal
    and weight are (n,), and weights may have any sign. A candidate without a score ranks below all others. Influences
    contain DeLong's factors n/(n - 1) (Biometrics 44 (1988) 837), with effective numbers of events. `order` is that of
    the scores, if it is known.
    """
    ranked = _ranked(score, is_signal, weight, order)
    return None if ranked is None else ranked.influence()


class _Ranked(NamedTuple):
    """The AUC with each candidate's place among those of the other class.

    Attributes:
        value: the AUC, which is the mean place of either class.
        places: (n,) for a signal candidate the share of the others below it, for another that of the signal above it.
        shares: (n,) the weight as a share of its class, times DeLong's factor.
        n: effective numbers of events of the signal and of the others.
    """

    value: float
    places: FloatArray
    shares: FloatArray
    n: tuple[float, float]

    def influence(self) -> Influence:
        """Returns the AUC with the influence of each candidate, which takes the memory of the places."""
        parts = self.places
        parts -= self.value
        parts *= self.shares
        return Influence(self.value, parts, min(self.n))


def _ranked(score: Score, is_signal: BoolArray, weight: FloatArray, order: Order | None = None) -> _Ranked | None:
    """Returns the places that `auc_influence` computes its result from, and None where it returns None."""
    order = order_of(score) if order is None else order
    of_signal, of_other = weigh_kinds(is_signal, weight)
    total_s, total_o = (total_of(order, weigh) for weigh in (of_signal, of_other))
    if not total_s or not total_o:
        return None
    tied = _tied(taken(score, order))
    places = _sums_below(order, of_other, tied)
    places /= total_o
    others = _sums_below(order, of_signal, tied)
    others /= total_s
    np.subtract(1, others, out=others)
    np.copyto(places, others, where=~taken(is_signal, order))
    del others
    value = 0.0
    for part in blocks(len(order)):
        value += float(np.sum(of_signal(order[part]) * places[part]))
    by_row = np.empty(len(order))
    for part in blocks(len(order)):
        by_row[order[part]] = places[part]
    del places
    n = effective_number(weight[is_signal]), effective_number(weight[~is_signal])
    per_s, per_o = _delong_factor(n[0]) / total_s, _delong_factor(n[1]) / total_o
    shares = np.where(is_signal, per_s, per_o)
    shares *= weight
    return _Ranked(value / total_s, by_row, shares, n)


def total_of(order: Order, weigh: Weigh) -> float:
    """Returns the sum of the weights of the rows of an order."""
    return sum(float(weigh(order[part]).sum()) for part in blocks(len(order)))


class _Tied(NamedTuple):
    """Candidates with equal scores, in places of the order.

    Attributes:
        places: (n,) true where another candidate has the same score.
        first, last: (g,) the first and the last place of each score that several candidates have.
    """

    places: BoolArray
    first: Order
    last: Order


def _tied(ordered: Score) -> _Tied | None:
    """Returns the ties among rising scores (n,), None if there are none; scores of NaN and -inf are equal."""
    same = ordered[1:] == ordered[:-1]
    n_without = int(np.count_nonzero(~(ordered > -np.inf)))
    same[: max(n_without - 1, 0)] = True
    if not same.any():
        return None
    to_next, to_previous = np.append(same, False), np.append(False, same)
    return _Tied(to_next | to_previous, places_of(to_next & ~to_previous), places_of(to_previous & ~to_next))


def _sums_below(order: Order, weigh: Weigh, tied: _Tied | None) -> Array:
    """Returns the sum (n,) of the weights below each candidate of another kind, and half of those at its score.

    The weight of the candidate itself is 0 by `weigh`.
    """
    sums = np.empty(len(order))
    for part in blocks(len(order)):
        sums[part] = weigh(order[part])
    cumulate(sums)
    if tied is not None:
        middle = taken(sums, tied.last)
        starts_low = int(len(middle) > 0 and tied.first[0] == 0)
        middle[starts_low:] += taken(sums, tied.first[starts_low:] - np.uint32(1))
        middle /= 2
        sums[tied.places] = np.repeat(middle, tied.last - tied.first + 1)
    return sums


def _delong_factor(n: float) -> float:
    return float(np.sqrt(n / (n - 1))) if n > ONE_EVENT else 1.0


def auc(
    score: Score,
    is_signal: BoolArray,
    weight: FloatArray,
    groups: IntArray | None = None,
    order: Order | None = None,
) -> Measured:
    """Returns the AUC of `auc_influence` with an interval for whole events; `n` is that of the smaller class.

    The interval is the union of two, because each of them fails somewhere. Fieller's interval for a ratio, computed
    from influences, makes no assumption on the weights but shrinks to nothing where nearly all pairs are in the right
    order. Newcombe's has the variance of a model at the true area, with effective numbers of events. The ratio of the
    measured variance to the model's is averaged with 1: the measured one has the weight ν = (Σ φ²)² / Σ φ⁴, the number
    of events that its influences φ amount to, and the model the weight of three quarters of an event. Student's
    quantile replaces the standard deviation, which matters where few events are left.

    For a perfect separation the interval contains that of an efficiency without a failure in the smaller class. `order`
    is that of the scores, if it is known.
    """
    ranked = _ranked(score, is_signal, weight, order)
    return UNDEFINED if ranked is None else _measured(ranked, is_signal, weight, groups, 1.0)


def auc_in_folds(
    score: Score,
    is_signal: BoolArray,
    weight: FloatArray,
    fold: IntArray,
    groups: IntArray | None = None,
    *,
    inflation: float = 1.0,
) -> Measured:
    """Returns the mean AUC of folds (n,), in which only candidates of the same fold are compared.

    One model scored all candidates of a fold. The scores of different fold models need not have the same scale, and
    each model was trained on slightly fewer candidates of the classes of its own fold, so pairs across folds come out
    in the wrong order slightly too often. The interval is that of `auc`, with `inflation` times its variance.
    """
    ranked = _ranked_in_folds(score, is_signal, weight, fold)
    return UNDEFINED if ranked is None else _measured(ranked, is_signal, weight, groups, inflation)


def influence_in_folds(score: Score, is_signal: BoolArray, weight: FloatArray, fold: IntArray) -> Influence | None:
    """Returns the AUC of `auc_in_folds` with its influences; None if no fold has both classes."""
    ranked = _ranked_in_folds(score, is_signal, weight, fold)
    return None if ranked is None else ranked.influence()


def fold_shares(is_signal: BoolArray, weight: FloatArray, fold: IntArray) -> Array:
    """Returns the weight (k,) of each fold in a mean AUC: 1 / (1 / n_signal + 1 / n_other), normalised to sum to 1.

    With effective numbers n this is proportional to the inverse variance if the two classes have the same distribution.
    It is 0 for a fold in which the weights of a class do not have a positive sum.
    """
    shares = np.zeros(int(fold.max(initial=-1)) + 1)
    for k in range(len(shares)):
        parts = [weight[(fold == k) & rows] for rows in (is_signal, ~is_signal)]
        if min(part.sum() for part in parts) > 0:
            shares[k] = 1 / sum(1 / effective_number(part) for part in parts)
    return np.asarray(shares / shares.sum()) if shares.any() else shares


def _ranked_in_folds(score: Score, is_signal: BoolArray, weight: FloatArray, fold: IntArray) -> _Ranked | None:
    """Returns places within each fold, moved so that each fold has the mean AUC, since folds differ by chance."""
    counts = fold_shares(is_signal, weight, fold)
    places, shares, value = np.zeros(len(score)), np.zeros(len(score)), 0.0
    centre = np.zeros(len(score))
    for k in np.flatnonzero(counts):
        rows = np.flatnonzero(fold == k)
        ranked = _ranked(score[rows], is_signal[rows], weight[rows])
        if ranked is not None:
            value += counts[k] * ranked.value
            places[rows], shares[rows], centre[rows] = ranked.places, counts[k] * ranked.shares, ranked.value
    if not counts.any():
        return None
    used = counts[fold] > 0
    n_signal, n_other = (effective_number(weight[used & rows]) for rows in (is_signal, ~is_signal))
    return _Ranked(value, np.where(used, places - centre + value, 0.0), shares, (n_signal, n_other))


def _measured(
    ranked: _Ranked, is_signal: BoolArray, weight: FloatArray, groups: IntArray | None, inflation: float
) -> Measured:
    """Returns the AUC with the interval of `auc` for `inflation` times its variance."""
    value, n = ranked.value, min(ranked.n)
    if not n > ONE_EVENT:
        return Measured(value, min(0.0, value), max(1.0, value), n)
    ones, moved = ranked.shares, ranked.places
    moved *= ones  # nothing needs the places any more
    numbers = [effective_number(weight[rows]) for rows in (is_signal, ~is_signal)]
    if groups is not None:
        kinds = (np.where(is_signal, weight, 0.0), np.where(is_signal, 0.0, weight))
        numbers = [effective_number(sums_by(groups, kind)) for kind in kinds]
        del kinds
        ones, moved = sums_by(groups, ones), sums_by(groups, moved)
    seen = np.zeros(3)
    squared = fourth = 0.0
    for part in blocks(len(ones)):
        one, up = ones[part], moved[part]
        rest = one - up
        seen += [float(np.sum(a * b)) for a, b in ((up, up), (rest, rest), (up, rest))]
        squares = (up - value * one) ** 2
        squared += float(squares.sum())
        fourth += float(np.sum(squares * squares))
    sums = Sums(*map(np.asarray, (value, 1 - value, *(inflation * seen), 1.0)))
    modelled = _modelled(value, (squared, fourth), numbers[0], numbers[1], inflation)
    low, high = (float(bound) for bound in union(np.asarray(value), modelled, fieller(sums)))
    perfect = round(value)
    # By the rounding of sums, a perfect separation may have an AUC of 1 - 1e-16.
    if perfect in (0, 1) and abs(value - perfect) < 1e-9:
        exact = clopper_pearson(perfect * n, n)
        low, high = min(low, float(exact[0])), max(high, float(exact[1]))
    return Measured(value, low, high, n)


def _modelled(
    value: float, influence: tuple[float, float], n_signal: float, n_other: float, inflation: float
) -> tuple[Array, Array]:
    """Returns Newcombe's interval with the variance that `auc` describes.

    `influence` holds the sums over events of squares and of fourth powers. The variance is multiplied by `inflation`.
    """
    n = min(n_signal, n_other)
    z = float(special.stdtrit(n - 1, (1 + LEVEL) / 2)) if n > ONE_EVENT else np.inf
    if not np.isfinite(z):
        return np.asarray(0.0), np.asarray(1.0)
    total, fourth = influence
    # A standard deviation below 1e-9 is the rounding error of a perfect separation.
    seen = total**2 / fourth if total > 1e-18 else 0.0
    model = hanley_mcneil(min(max(value, 0.0), 1.0), n_signal, n_other)
    ratio = total / model if model > 0 else 1.0
    scale = (seen * ratio + _PRIOR_EVENTS) / (seen + _PRIOR_EVENTS)
    low, high = newcombe(value, n_signal, n_other, inflation * scale, z)
    return np.asarray(low), np.asarray(high)


def groups_of(groups: IntArray | None, rows: BoolArray) -> IntArray | None:
    """Returns the event numbers of the candidates in `rows` (n,), or None if no two of them share an event."""
    part = None if groups is None else groups[rows]
    return part if part is not None and shares_events(part) else None


def difference(
    a: Influence, b: Influence, groups: IntArray | None = None, replicas: WeightReplicas | None = None
) -> Measured:
    """Returns b - a on the same candidates with its paired interval, which has no length for equal scores.

    `replicas` are those of the weights, if these were fitted; their error is then in the interval.
    """
    parts: FloatArray = b.parts - a.parts
    paired = Influence(b.value - a.value, parts, min(a.n, b.n))
    of_weights = 0.0 if replicas is None else replicas.variance(parts)
    return symmetric(paired.value, float(np.hypot(paired.deviation(groups), np.sqrt(of_weights))), paired.n)
