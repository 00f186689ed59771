"""Candidates in the order of their score: the area under the ROC curve, and how much each candidate moves it.

Intervals rest on influence functions instead of replicas: the variance of a statistic is the sum over events of its
squared influence (the infinitesimal jackknife, the first order of the bootstrap over events). For the AUC of
independent candidates with unit weights that is DeLong's variance. It costs one sort, and paired differences of
models come from differences of influences.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.intervals import (
    clopper_pearson,
    effective_number,
    inner,
    shares_events,
    sums_by,
    symmetric,
    within_unit,
)
from pidlab.evaluate.results import UNDEFINED, Array, Measured
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample

Score = NDArray[np.float32]
_ONE_EVENT = 1 + 1e-9  # the effective number of one event, as sums of weights round it


class Influence(NamedTuple):
    """A statistic with its first-order change (n,) for each candidate.

    `n` is the effective number of events behind it, `smallest` that of the smaller class: one event has no spread.
    """

    value: float
    parts: FloatArray
    n: float
    smallest: float

    def deviation(self, groups: IntArray | None = None) -> float:
        """The standard deviation for events in `groups`; infinite where it cannot be measured."""
        return float(np.sqrt(variance(self.parts, groups))) if self.smallest > _ONE_EVENT else float("inf")


class Falling(NamedTuple):
    """Distinct scores (m,) from high to low, and for each kind of weight the sums (m,) at or above them."""

    values: Score
    sums: tuple[Array, ...]


def signal_score(scores: NDArray[np.floating[Any]], sample: Sample) -> Score:
    """(n,) float32, what is cut on: the signal's column of scores (n, k)."""
    return np.ascontiguousarray(scores[:, sample.signal], dtype=np.float32)


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


def falling(score: Score, *weights: FloatArray) -> Falling:
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
    value = inner(signal, below) / total_s
    n_s, n_o = effective_number(weight[is_signal]), effective_number(weight[~is_signal])
    per_s, per_o = _delong_factor(n_s) / total_s, _delong_factor(n_o) / total_o
    parts = np.empty(len(order))
    parts[order] = w * np.where(s, (below[level] - value) * per_s, (above[level] - value) * per_o)
    return Influence(value, parts, n_s + n_o, min(n_s, n_o))


def _delong_factor(n: float) -> float:
    return float(np.sqrt(n / (n - 1))) if n > _ONE_EVENT else 1.0


def auc(score: Score, is_signal: BoolArray, weight: FloatArray, groups: IntArray | None = None) -> Measured:
    """The AUC of `auc_influence` with an interval on the logit scale, for whole events; `n` adds both classes'.

    A perfect separation has no variance to measure: its bound is then that of an efficiency without a failure in the
    smaller class.
    """
    influence = auc_influence(score, is_signal, weight)
    if influence is None:
        return UNDEFINED
    deviation = influence.deviation(groups)
    if np.isinf(deviation):
        return Measured(influence.value, min(0.0, influence.value), max(1.0, influence.value), influence.n)
    perfect = round(influence.value)
    # Sums of weights round: a perfect separation may come out as 1 - 1e-16.
    if abs(influence.value - perfect) < 1e-9 and deviation < 1e-9:
        low, high = clopper_pearson(perfect * influence.smallest, influence.smallest)
        return Measured(influence.value, float(low), float(high), influence.n)
    if np.any(weight < 0):
        return symmetric(influence.value, deviation, influence.n)
    return within_unit(influence.value, deviation, influence.n)


def groups_of(groups: IntArray | None, rows: BoolArray) -> IntArray | None:
    """The events of the candidates in `rows`, or None where no two of them share one."""
    part = None if groups is None else groups[rows]
    return part if part is not None and shares_events(part) else None


def difference(a: Influence, b: Influence, groups: IntArray | None = None) -> Measured:
    """b - a on the same candidates, with the interval of their paired difference; exactly zero for equal scores."""
    paired = Influence(b.value - a.value, b.parts - a.parts, min(a.n, b.n), min(a.smallest, b.smallest))
    return symmetric(paired.value, paired.deviation(groups), paired.n)
