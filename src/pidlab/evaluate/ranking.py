"""Candidates in the order of their score: the area under the ROC curve, and how much each candidate moves it.

Intervals rest on influence functions instead of replicas: the variance of a statistic is the sum over events of its
squared influence (the infinitesimal jackknife, the first order of the bootstrap over events). For the AUC of
independent candidates with unit weights that is DeLong's variance. It costs one sort, and paired differences of
models come from differences of influences. Near an AUC of 0 or 1, and where few events carry most of the weight, the
candidates at hand are too few to show their own variance: there the interval leans on that of a model (`auc`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

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
    shares_events,
    sums_by,
    symmetric,
    union,
)
from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample

Score = NDArray[np.float32]
_ONE_EVENT = 1 + 1e-9  # the effective number of one event, as sums of weights round it
_PRIOR_EVENTS = 0.75
"""How many events the model of the AUC's variance counts for, against those that show their own. In simulation (normal
scores, the weights of benchmarks/auc_coverage.py) .75 gives at least .65 everywhere and at most .87 above 200 effective
events; 0 gives down to .34 for exponential weights at .99, 2 gives .92 for 280 effective events at .999."""


class Influence(NamedTuple):
    """A statistic with its first-order change (n,) for each candidate.

    `n` is the effective number of events of the class that has fewer: one event has no spread.
    """

    value: float
    parts: FloatArray
    n: float

    def deviation(self, groups: IntArray | None = None) -> float:
        """The standard deviation for events in `groups`; infinite where it cannot be measured."""
        return float(np.sqrt(variance(self.parts, groups))) if self.n > _ONE_EVENT else float("inf")


class Falling(NamedTuple):
    """Distinct scores (m,) from high to low, and for each kind of weight the sums (m,) at or above them."""

    values: FloatArray
    sums: tuple[Array, ...]


def signal_score(scores: NDArray[np.floating[Any]], sample: Sample) -> Score:
    """(n,) float32, what is cut on: the signal's column of scores (n, k)."""
    return np.ascontiguousarray(scores[:, sample.signal], dtype=np.float32)


def signal_scores(signal_score: FloatArray, n_classes: int, signal: int, *, probability: bool) -> NDArray[np.float32]:
    """Returns (n, k) scores of a model that has one score (n,), that of the signal.

    The column of the only other class holds the opposite, which is 1 - p for a probability p and -s for any other
    score s. With more than two classes the other columns hold NaN.
    """
    scores = np.full((len(signal_score), n_classes), np.nan, np.float32)
    if n_classes == 2:
        scores[:] = (1 - signal_score if probability else -signal_score)[:, None]
    scores[:, signal] = signal_score
    return scores


def event_groups(sample: Sample) -> IntArray | None:
    """(n,) the number of each candidate's event, or None where no two candidates share one."""
    distinct, groups = np.unique(sample.event, return_inverse=True)
    return None if len(distinct) == len(groups) else groups.astype(np.int64)


def variance(parts: FloatArray, groups: IntArray | None = None) -> float:
    """Sum over events of the squared sum of influences `parts` (n,)."""
    by_event = parts if groups is None or not len(parts) else sums_by(groups, parts)
    return inner(by_event, by_event)


def just_below(score: float) -> float:
    """The largest float32 below `score` that C++ built to flush subnormal numbers also takes for smaller."""
    tiny = np.finfo(np.float32).tiny
    lower = np.nextafter(np.float32(score), np.float32(-np.inf))
    if 0 < abs(lower) < tiny:
        lower = np.float32(0) if lower > 0 else -tiny
    return float(lower)


def falling(score: FloatArray, *weights: FloatArray) -> Falling:
    """Cumulated weights by falling score, without the candidates that have no score (NaN, -inf) and never pass."""
    usable = np.flatnonzero(score > -np.inf)
    order = usable[np.argsort(-score[usable])]
    ordered = score[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(ordered) else np.empty(0, np.int64)
    return Falling(ordered[ends], tuple(np.cumsum(w[order], dtype=np.float64)[ends] for w in weights))


def auc_influence(score: Score, is_signal: BoolArray, weight: FloatArray) -> Influence | None:
    """The AUC as a weighted sum over pairs of signal and other candidates, ties counted half, weights of any sign.

    score, is_signal and weight are (n,). A candidate without a score ranks below all others. None where a class is
    absent or its weights sum to zero. Influences carry DeLong's factors n/(n - 1) (Biometrics 44 (1988) 837), with
    effective numbers for weights.
    """
    placed = _placed(score, is_signal, weight)
    if placed is None:
        return None
    return Influence(placed.value, placed.shares * (placed.places - placed.value), placed.n)


class _Placed(NamedTuple):
    """The AUC as the mean over one class of its candidates' places in the other, and the same seen from the other.

    Attributes:
        value: the AUC.
        places: (n,) for a signal candidate the share of the others below it, for another that of the signal above it.
        shares: (n,) the weight as a share of its class, times DeLong's factor.
        n: effective number of events of the class that has fewer.
    """

    value: float
    places: FloatArray
    shares: FloatArray
    n: float


def _placed(score: Score, is_signal: BoolArray, weight: FloatArray) -> _Placed | None:
    """As `auc_influence` has it; None where a class is absent or its weights sum to zero."""
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
    return _Placed(inner(signal, below) / total_s, places, shares, min(n_s, n_o))


def _delong_factor(n: float) -> float:
    return float(np.sqrt(n / (n - 1))) if n > _ONE_EVENT else 1.0


def auc(score: Score, is_signal: BoolArray, weight: FloatArray, groups: IntArray | None = None) -> Measured:
    """The AUC of `auc_influence` with an interval for whole events; `n` is that of the class that has fewer.

    The interval is the union of two, since either alone fails somewhere. Fieller's for a ratio, from influences, asks
    nothing of the weights, but shrinks to nothing where nearly all pairs are in the right order. Newcombe's has the
    variance of a model at the true area, with effective numbers of events. How many times larger the variance is than
    the model's is measured as far as events can tell: their ν = (Σ φ²)² / Σ φ⁴ of influences φ count against
    three quarters of one for the model. Student's quantile stands for the standard deviation where few events are left.

    A perfect separation has at least the bounds of an efficiency without a failure in the smaller class.
    """
    placed = _placed(score, is_signal, weight)
    return UNDEFINED if placed is None else _measured(placed, is_signal, weight, groups, 1.0)


def auc_in_folds(
    score: Score,
    is_signal: BoolArray,
    weight: FloatArray,
    fold: IntArray,
    groups: IntArray | None = None,
    *,
    inflation: float = 1.0,
) -> Measured:
    """The mean AUC of folds (n,): only candidates of the same fold are compared, which one model scored.

    Scores of different fold models need not be on one scale, and where a candidate was left out of training its class
    was too: pairs across folds come out in the wrong order slightly too often. The interval is that of `auc`, with
    `inflation` times its variance.
    """
    placed = _placed_in_folds(score, is_signal, weight, fold)
    return UNDEFINED if placed is None else _measured(placed, is_signal, weight, groups, inflation)


def influence_in_folds(score: Score, is_signal: BoolArray, weight: FloatArray, fold: IntArray) -> Influence | None:
    """The AUC of `auc_in_folds` with its influences; None where no fold has both classes."""
    placed = _placed_in_folds(score, is_signal, weight, fold)
    if placed is None:
        return None
    return Influence(placed.value, placed.shares * (placed.places - placed.value), placed.n)


def fold_shares(is_signal: BoolArray, weight: FloatArray, fold: IntArray) -> Array:
    """(k,) how much each fold counts in a mean AUC: 1 / (1 / n_signal + 1 / n_other), effective numbers, as a share.

    That is the inverse of its variance, but for a common factor, where the classes are alike. 0 where weights of a
    class do not sum to more than zero.
    """
    shares = np.zeros(int(fold.max(initial=-1)) + 1)
    for k in range(len(shares)):
        parts = [weight[(fold == k) & rows] for rows in (is_signal, ~is_signal)]
        if min(part.sum() for part in parts) > 0:
            shares[k] = 1 / sum(1 / effective_number(part) for part in parts)
    return np.asarray(shares / shares.sum()) if shares.any() else shares


def _placed_in_folds(score: Score, is_signal: BoolArray, weight: FloatArray, fold: IntArray) -> _Placed | None:
    """Places within each fold, moved by the distance of its AUC to the mean of all: folds differ by chance."""
    counts = fold_shares(is_signal, weight, fold)
    places, shares, value = np.zeros(len(score)), np.zeros(len(score)), 0.0
    centre = np.zeros(len(score))
    for k in np.flatnonzero(counts):
        rows = np.flatnonzero(fold == k)
        placed = _placed(score[rows], is_signal[rows], weight[rows])
        if placed is not None:
            value += counts[k] * placed.value
            places[rows], shares[rows], centre[rows] = placed.places, counts[k] * placed.shares, placed.value
    if not counts.any():
        return None
    used = counts[fold] > 0
    n = min(effective_number(weight[used & rows]) for rows in (is_signal, ~is_signal))
    return _Placed(value, np.where(used, places - centre + value, 0.0), shares, n)


def _measured(
    placed: _Placed, is_signal: BoolArray, weight: FloatArray, groups: IntArray | None, inflation: float
) -> Measured:
    """The interval of `auc`, with `inflation` times its variance."""
    value, n = placed.value, placed.n
    if not n > _ONE_EVENT:
        return Measured(value, min(0.0, value), max(1.0, value), n)
    ones, moved = placed.shares, placed.shares * placed.places
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
    # Sums of weights round: a perfect separation may come out as 1 - 1e-16.
    if perfect in (0, 1) and abs(value - perfect) < 1e-9:
        exact = clopper_pearson(perfect * n, n)
        low, high = min(low, float(exact[0])), max(high, float(exact[1]))
    return Measured(value, low, high, n)


def _modelled(
    value: float, influence: FloatArray, n_signal: float, n_other: float, inflation: float
) -> tuple[Array, Array]:
    """Newcombe's interval, with the variance that the influences (e,) of events show as far as they can tell.

    All of it counts `inflation` times.
    """
    n = min(n_signal, n_other)
    z = float(special.stdtrit(n - 1, (1 + LEVEL) / 2)) if n > _ONE_EVENT else np.inf
    if not np.isfinite(z):
        return np.asarray(0.0), np.asarray(1.0)
    squares = influence**2
    total = float(squares.sum())
    # Below 1e-9 of a standard deviation it is rounding that is left of a perfect separation.
    seen = total**2 / inner(squares, squares) if total > 1e-18 else 0.0
    model = hanley_mcneil(min(max(value, 0.0), 1.0), n_signal, n_other)
    ratio = total / model if model > 0 else 1.0
    scale = (seen * ratio + _PRIOR_EVENTS) / (seen + _PRIOR_EVENTS)
    low, high = newcombe(value, n_signal, n_other, inflation * scale, z)
    return np.asarray(low), np.asarray(high)


def groups_of(groups: IntArray | None, rows: BoolArray) -> IntArray | None:
    """The events of the candidates in `rows`, or None where no two of them share one."""
    part = None if groups is None else groups[rows]
    return part if part is not None and shares_events(part) else None


def difference(a: Influence, b: Influence, groups: IntArray | None = None) -> Measured:
    """b - a on the same candidates, with the interval of their paired difference; exactly zero for equal scores."""
    paired = Influence(b.value - a.value, b.parts - a.parts, min(a.n, b.n))
    return symmetric(paired.value, paired.deviation(groups), paired.n)
