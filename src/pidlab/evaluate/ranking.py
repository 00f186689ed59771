"""Candidates in the order of their score: the area under the ROC curve, and the influence of each candidate on it.

Intervals are computed from influence functions and need no replicas: the variance of a statistic is the sum over events
of its squared influence (the infinitesimal jackknife, which is the bootstrap over events to first order). For the AUC
of independent candidates with unit weights this is DeLong's variance. It takes one sort, and the paired difference of
two models has the difference of their influences. Near an AUC of 0 or 1, and where few events carry most of the weight,
the candidates do not show their own variance: the interval then uses that of a model too (`auc`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pidlab.evaluate.intervals import (
    LEVEL,
    Sums,
    clopper_pearson,
    effective_number,
    fieller,
    hanley_mcneil,
    inner,
    newcombe,
    proportion,
    shares_events,
    sums_by,
    symmetric,
    union,
)
from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample

Score = NDArray[np.float32]
_ONE_EVENT = 1 + 1e-9  # the effective number of a single event, with the rounding of sums of weights
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
        return float(np.sqrt(variance(self.parts, groups))) if self.n > _ONE_EVENT else float("inf")


class CumulativeWeights(NamedTuple):
    """Distinct scores (m,) from high to low, and for each kind of weight the sums (m,) at or above them."""

    values: FloatArray
    sums: tuple[Array, ...]


class ScoredSample(NamedTuple):
    """A sample with the signal's score (n,) and the event numbers (n,) of its candidates from `event_groups`."""

    score: Score
    sample: Sample
    groups: IntArray | None

    @classmethod
    def of(cls, scores: FloatArray, sample: Sample) -> ScoredSample:
        """Returns the sample with its scores (n, k)."""
        return cls(signal_score(scores, sample), sample, event_groups(sample))

    def class_rates(self, passing: BoolArray) -> dict[str, Measured]:
        """Returns the fraction of each class that passes a decision (n,), by the name of the class."""
        rows = [self.sample.y == index for index in range(len(self.sample.classes))]
        rates = (proportion(passing[r], self.sample.weight[r], groups_of(self.groups, r)) for r in rows)
        return dict(zip(self.sample.classes, rates, strict=True))


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
    distinct, groups = np.unique(sample.event, return_inverse=True)
    return None if len(distinct) == len(groups) else groups.astype(np.int64)


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


def cumulative_by_score(score: FloatArray, *weights: FloatArray) -> CumulativeWeights:
    """Returns the weights (n,) cumulated from the highest score (n,) to the lowest.

    Candidates without a score (NaN, -inf), which never pass, are left out.
    """
    usable = np.flatnonzero(score > -np.inf)
    order = usable[np.argsort(-score[usable])]
    ordered = score[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(ordered) else np.empty(0, np.int64)
    return CumulativeWeights(ordered[ends], tuple(np.cumsum(w[order], dtype=np.float64)[ends] for w in weights))


def auc_influence(score: Score, is_signal: BoolArray, weight: FloatArray) -> Influence | None:
    """Returns the AUC with its influences; None if a class is absent or its weights sum to zero.

    The AUC is a weighted sum over pairs of a signal and another candidate, in which ties count half; score, is_signal
    and weight are (n,), and weights may have any sign. A candidate without a score ranks below all others. Influences
    contain DeLong's factors n/(n - 1) (Biometrics 44 (1988) 837), with effective numbers of events.
    """
    ranked = _ranked(score, is_signal, weight)
    return None if ranked is None else ranked.influence


class _Ranked(NamedTuple):
    """The AUC with each candidate's place among those of the other class.

    Attributes:
        value: the AUC, which is the mean place of either class.
        places: (n,) for a signal candidate the share of the others below it, for another that of the signal above it.
        shares: (n,) the weight as a share of its class, times DeLong's factor.
        n: effective number of events of the smaller class.
    """

    value: float
    places: FloatArray
    shares: FloatArray
    n: float

    @property
    def influence(self) -> Influence:
        """Returns the AUC with the influence of each candidate."""
        return Influence(self.value, self.shares * (self.places - self.value), self.n)


def _ranked(score: Score, is_signal: BoolArray, weight: FloatArray) -> _Ranked | None:
    """Returns the places that `auc_influence` computes its result from, and None where it returns None."""
    order = np.argsort(np.where(np.isnan(score), -np.inf, score))
    ordered, w, s = score[order], weight[order], is_signal[order]
    same = (ordered[1:] == ordered[:-1]) | ~((ordered[1:] > -np.inf) | (ordered[:-1] > -np.inf))
    level = np.concatenate([[0], np.cumsum(~same)])[: len(order)]
    signal, other = sums_by(level, np.where(s, w, 0.0)), sums_by(level, np.where(s, 0.0, w))
    total_s, total_o = float(signal.sum()), float(other.sum())
    if not total_s or not total_o:
        return None
    below = (np.cumsum(other) - other / 2) / total_o
    above = 1 - (np.cumsum(signal) - signal / 2) / total_s
    n_s, n_o = effective_number(weight[is_signal]), effective_number(weight[~is_signal])
    per_s, per_o = _delong_factor(n_s) / total_s, _delong_factor(n_o) / total_o
    places, shares = np.empty(len(order)), np.empty(len(order))
    places[order] = np.where(s, below[level], above[level])
    shares[order] = w * np.where(s, per_s, per_o)
    return _Ranked(inner(signal, below) / total_s, places, shares, min(n_s, n_o))


def _delong_factor(n: float) -> float:
    return float(np.sqrt(n / (n - 1))) if n > _ONE_EVENT else 1.0


def auc(score: Score, is_signal: BoolArray, weight: FloatArray, groups: IntArray | None = None) -> Measured:
    """Returns the AUC of `auc_influence` with an interval for whole events; `n` is that of the smaller class.

    The interval is the union of two, because each of them fails somewhere. Fieller's interval for a ratio, computed
    from influences, makes no assumption on the weights but shrinks to nothing where nearly all pairs are in the right
    order. Newcombe's has the variance of a model at the true area, with effective numbers of events. The ratio of the
    measured variance to the model's is averaged with 1: the measured one has the weight ν = (Σ φ²)² / Σ φ⁴, the number
    of events that its influences φ amount to, and the model the weight of three quarters of an event. Student's
    quantile replaces the standard deviation, which matters where few events are left.

    For a perfect separation the interval contains that of an efficiency without a failure in the smaller class.
    """
    ranked = _ranked(score, is_signal, weight)
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
    return None if ranked is None else ranked.influence


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
    n = min(effective_number(weight[used & rows]) for rows in (is_signal, ~is_signal))
    return _Ranked(value, np.where(used, places - centre + value, 0.0), shares, n)


def _measured(
    ranked: _Ranked, is_signal: BoolArray, weight: FloatArray, groups: IntArray | None, inflation: float
) -> Measured:
    """Returns the AUC with the interval of `auc` for `inflation` times its variance."""
    value, n = ranked.value, ranked.n
    if not n > _ONE_EVENT:
        return Measured(value, min(0.0, value), max(1.0, value), n)
    ones, moved = ranked.shares, ranked.shares * ranked.places
    weights = [np.where(is_signal, weight, 0.0), np.where(is_signal, 0.0, weight)]
    if groups is not None:
        ones, moved, *weights = (sums_by(groups, part) for part in (ones, moved, *weights))
    rest = ones - moved
    seen = (inflation * inner(*both) for both in ((moved, moved), (rest, rest), (moved, rest)))
    sums = Sums(*map(np.asarray, (value, 1 - value, *seen, 1.0)))
    numbers = [effective_number(part) for part in weights]
    modelled = _modelled(value, moved - value * ones, numbers[0], numbers[1], inflation)
    low, high = (float(bound) for bound in union(np.asarray(value), modelled, fieller(sums)))
    perfect = round(value)
    # By the rounding of sums, a perfect separation may have an AUC of 1 - 1e-16.
    if perfect in (0, 1) and abs(value - perfect) < 1e-9:
        exact = clopper_pearson(perfect * n, n)
        low, high = min(low, float(exact[0])), max(high, float(exact[1]))
    return Measured(value, low, high, n)


def _modelled(
    value: float, influence: FloatArray, n_signal: float, n_other: float, inflation: float
) -> tuple[Array, Array]:
    """Returns Newcombe's interval with the variance that `auc` describes, from the influences (e,) of events.

    That variance is multiplied by `inflation`.
    """
    n = min(n_signal, n_other)
    z = float(special.stdtrit(n - 1, (1 + LEVEL) / 2)) if n > _ONE_EVENT else np.inf
    if not np.isfinite(z):
        return np.asarray(0.0), np.asarray(1.0)
    squares = influence**2
    total = float(squares.sum())
    # A standard deviation below 1e-9 is the rounding error of a perfect separation.
    seen = total**2 / inner(squares, squares) if total > 1e-18 else 0.0
    model = hanley_mcneil(min(max(value, 0.0), 1.0), n_signal, n_other)
    ratio = total / model if model > 0 else 1.0
    scale = (seen * ratio + _PRIOR_EVENTS) / (seen + _PRIOR_EVENTS)
    low, high = newcombe(value, n_signal, n_other, inflation * scale, z)
    return np.asarray(low), np.asarray(high)


def groups_of(groups: IntArray | None, rows: BoolArray) -> IntArray | None:
    """Returns the event numbers of the candidates in `rows` (n,), or None if no two of them share an event."""
    part = None if groups is None else groups[rows]
    return part if part is not None and shares_events(part) else None


def difference(a: Influence, b: Influence, groups: IntArray | None = None) -> Measured:
    """Returns b - a on the same candidates with its paired interval, which has no length for equal scores."""
    paired = Influence(b.value - a.value, b.parts - a.parts, min(a.n, b.n))
    return symmetric(paired.value, paired.deviation(groups), paired.n)
