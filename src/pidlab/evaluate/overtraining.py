"""Overtraining: are the scores of the training and the test sample of one distribution, and does the AUC hold?"""

from __future__ import annotations

import warnings

import numpy as np
from scipy import stats

from pidlab.evaluate.intervals import effective_number, sums_by, symmetric
from pidlab.evaluate.ranking import Score, auc_influence, groups_of
from pidlab.evaluate.results import UNDEFINED, Array, Measured, Overtraining
from pidlab.sample import FloatArray, IntArray, Sample

_PERMUTATIONS = 499
_PERMUTED_AT_MOST = 10_000
_EXACT_AT_MOST = 10_000


def overtraining(
    train: tuple[Score, Sample, IntArray | None],
    test: tuple[Score, Sample, IntArray | None],
    *,
    single_point: bool,
    seed: int,
) -> Overtraining:
    """A Kolmogorov-Smirnov p-value for each class, and AUC(train) - AUC(test), from (score, sample, groups) of each.

    NaN for a class that one of the samples lacks.
    """
    sample = test[1]
    p = {name: _class_p(train, test, c, seed) for c, name in enumerate(sample.classes)}
    return Overtraining(p, UNDEFINED if single_point else _delta_auc(train, test))


def _class_p(
    train: tuple[Score, Sample, IntArray | None], test: tuple[Score, Sample, IntArray | None], index: int, seed: int
) -> float:
    scores, weights, groups = [], [], []
    for score, sample, events in (train, test):
        rows = sample.y == index
        scores.append(score[rows])
        weights.append(sample.weight[rows])
        groups.append(groups_of(events, rows))
    return ks_p_value(scores[0], scores[1], weights[0], weights[1], groups=(groups[0], groups[1]), seed=seed)


def _delta_auc(train: tuple[Score, Sample, IntArray | None], test: tuple[Score, Sample, IntArray | None]) -> Measured:
    """Two independent samples: the variances add."""
    parts = [auc_influence(score, sample.is_signal, sample.weight) for score, sample, _ in (train, test)]
    if parts[0] is None or parts[1] is None:
        return UNDEFINED
    spread = float(np.hypot(parts[0].deviation(train[2]), parts[1].deviation(test[2])))
    return symmetric(parts[0].value - parts[1].value, spread, min(parts[0].n, parts[1].n))


def ks_distance(a: FloatArray, b: FloatArray, weight_a: FloatArray, weight_b: FloatArray) -> float:
    """The largest distance of the two weighted cumulative distributions, where scores change; NaN ranks lowest."""
    order, ends, in_a = _merged(a, b)
    return _distance(np.concatenate([weight_a, weight_b])[order], in_a[order], ends)


def ks_p_value(
    a: FloatArray,
    b: FloatArray,
    weight_a: FloatArray,
    weight_b: FloatArray,
    *,
    groups: tuple[IntArray | None, IntArray | None] = (None, None),
    seed: int = 1,
) -> float:
    """The probability of a distance at least this large if a and b, with their weights, are of one distribution.

    Unit weights and distinct events: scipy's two-sample test, exact up to 10,000 events. Otherwise 499 permutations
    of whole events between the samples (p is then (1 + as large) / 500), or, above 10,000 candidates, Kolmogorov's
    distribution with effective numbers of events. NaN where a sample is empty or its weights do not sum to more than
    zero.
    """
    if not len(a) or not len(b) or weight_a.sum() <= 0 or weight_b.sum() <= 0:
        return float("nan")
    unit = bool(np.all(weight_a == 1) and np.all(weight_b == 1))
    if unit and groups[0] is None and groups[1] is None:
        return _unweighted(np.nan_to_num(a, nan=-np.inf), np.nan_to_num(b, nan=-np.inf))
    if len(a) + len(b) <= _PERMUTED_AT_MOST:
        return _permuted(a, b, weight_a, weight_b, groups, seed)
    n_a, n_b = (_events(w, g) for w, g in ((weight_a, groups[0]), (weight_b, groups[1])))
    return float(stats.kstwobign.sf(np.sqrt(n_a * n_b / (n_a + n_b)) * ks_distance(a, b, weight_a, weight_b)))


def _unweighted(a: FloatArray, b: FloatArray) -> float:
    method = "exact" if max(len(a), len(b)) <= _EXACT_AT_MOST else "asymp"
    with warnings.catch_warnings():
        # scipy warns where the exact sum overflows, and then gives the asymptotic value, which is what is wanted.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(stats.ks_2samp(a, b, method=method).pvalue)


def _events(weight: FloatArray, groups: IntArray | None) -> float:
    """The effective number of events: candidates of one event count together."""
    return effective_number(weight if groups is None else sums_by(groups, weight))


def _merged(a: FloatArray, b: FloatArray) -> tuple[IntArray, IntArray, Array]:
    """The order of both samples' scores, the places in it where a distinct value ends, and 1 for a, 0 for b."""
    both = np.concatenate([a, b])
    both = np.where(np.isnan(both), -np.inf, both)
    order = np.argsort(both)
    ends = np.flatnonzero(np.append(both[order][1:] > both[order][:-1], True))
    return order, ends, np.concatenate([np.ones(len(a)), np.zeros(len(b))])


def _permuted(
    a: FloatArray,
    b: FloatArray,
    weight_a: FloatArray,
    weight_b: FloatArray,
    groups: tuple[IntArray | None, IntArray | None],
    seed: int,
) -> float:
    """Events change sides together with their candidates and weights."""
    order, ends, in_a = _merged(a, b)
    weight = np.concatenate([weight_a, weight_b])[order]
    first = groups[0] if groups[0] is not None else np.arange(len(a))
    second = groups[1] if groups[1] is not None else np.arange(len(b))
    _, event = np.unique(np.concatenate([first, second + first.max() + 1]), return_inverse=True)
    side = np.empty(int(event.max()) + 1)
    side[event] = in_a
    event, rng = event[order], np.random.default_rng(seed)
    distances = [_distance(weight, rng.permutation(side)[event], ends) for _ in range(_PERMUTATIONS)]
    observed = _distance(weight, side[event], ends)
    return (1 + sum(d >= observed * (1 - 1e-12) for d in distances)) / (1 + _PERMUTATIONS)


def _distance(weight: FloatArray, in_a: FloatArray, ends: IntArray) -> float:
    """The distance for weights and sides in the order of the scores; infinite where a side's weights cancel."""
    all_up_to, a_up_to = np.cumsum(weight), np.cumsum(weight * in_a)
    sum_a, sum_b = a_up_to[-1], all_up_to[-1] - a_up_to[-1]
    if sum_a <= 0 or sum_b <= 0:
        return float("inf")
    steps = a_up_to * (1 / sum_a + 1 / sum_b) - all_up_to / sum_b
    return float(np.max(np.abs(steps[ends])))
