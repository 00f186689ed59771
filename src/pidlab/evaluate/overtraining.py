"""Overtraining: are the scores of the training and the test sample of one distribution, and does the AUC hold?"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pidlab.evaluate.intervals import symmetric
from pidlab.evaluate.ranking import Score, auc_influence, groups_of, variance
from pidlab.evaluate.results import Overtraining
from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample
from pidlab.split import share_of

_PERMUTATIONS = 499
_PERMUTED_AT_MOST = 10_000
_EXACT_AT_MOST = 10_000
_THINNED_TO = 20_000
_PATHS, _STEPS = 999, 2000

Part = tuple[Score, Sample, IntArray | None]


def overtraining(train: Part, test: Part, *, fixed_cut: bool, seed: int) -> Overtraining:
    """A Kolmogorov-Smirnov p-value for each class, and AUC(train) - AUC(test), from (score, sample, groups) of each.

    With folds both samples hold the same events, scored by models that saw them and that did not: the two scores of an
    event are then compared as a pair. NaN for a class that one of the samples lacks.
    """
    paired = share_events(train[1], test[1])
    p = {name: class_p(train, test, c, seed, paired=paired) for c, name in enumerate(test[1].classes)}
    return Overtraining(p, UNDEFINED if fixed_cut else _delta_auc(train, test, paired=paired))


def share_events(train: Sample, test: Sample) -> bool:
    """Whether some events stand in both samples, from a few of them."""
    some = [_some(sample.event) for sample in (train, test)]
    return len(np.intersect1d(train.event[some[0]], test.event[some[1]])) > 0


def _some(event: NDArray[np.uint64]) -> BoolArray:
    """(n,) true for about 20,000 candidates at most, whole events, the same ones in every sample of that size."""
    return share_of(event, _THINNED_TO / max(len(event), _THINNED_TO), 1)


def class_p(train: Part, test: Part, index: int, seed: int, *, paired: bool) -> float:
    """The p-value of one class, alike in train and test; `paired` where they share events (`share_events`)."""
    rows = [sample.y == index for _, sample, _ in (train, test)]
    grouped = any(groups_of(part[2], r) is not None for part, r in zip((train, test), rows, strict=True))
    events = None
    if paired or grouped:
        keys = [sample.event for _, sample, _ in (train, test)]
        share = _THINNED_TO / max(sum(int(r.sum()) for r in rows), _THINNED_TO)
        rows = [r & share_of(key, share, seed) for r, key in zip(rows, keys, strict=True)]
        both = np.concatenate([key[r] for r, key in zip(rows, keys, strict=True)])
        numbers = np.unique(both, return_inverse=True)[1].astype(np.int64)
        events = (numbers[: int(rows[0].sum())], numbers[int(rows[0].sum()) :])
    (a, w_a), (b, w_b) = (
        (score[r], sample.weight[r]) for (score, sample, _), r in zip((train, test), rows, strict=True)
    )
    return ks_p_value(a, b, w_a, w_b, events=events, seed=seed)


def _delta_auc(train: Part, test: Part, *, paired: bool) -> Measured:
    """The variances of two independent samples add; of one event in both the difference counts."""
    parts = [auc_influence(score, sample.is_signal, sample.weight) for score, sample, _ in (train, test)]
    if parts[0] is None or parts[1] is None:
        return UNDEFINED
    spread = float(np.hypot(parts[0].deviation(train[2]), parts[1].deviation(test[2])))
    if paired and np.isfinite(spread):
        events = np.unique(np.concatenate([train[1].event, test[1].event]), return_inverse=True)[1].astype(np.int64)
        spread = float(np.sqrt(variance(np.concatenate([parts[0].parts, -parts[1].parts]), events)))
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
    events: tuple[IntArray, IntArray] | None = None,
    seed: int = 1,
) -> float:
    """The probability of a distance at least this large if a and b, with their weights, are of one distribution.

    Equal weights and distinct events: scipy's two-sample test, exact up to 10,000 events. Other weights may go with
    the score and have any sign: 499 permutations of whole events with their candidates and weights between the samples
    (p is then (1 + as large) / 500), or, above 10,000 candidates, paths of the limiting process (`_by_paths`). `events`
    numbers the events of both where some hold several candidates, or stand in both samples; the latter are exchanged
    as pairs. NaN where a sample is empty or its weights do not sum to more than zero.
    """
    if not len(a) or not len(b) or weight_a.sum() <= 0 or weight_b.sum() <= 0:
        return float("nan")
    if events is not None:
        return _permuted(a, b, weight_a, weight_b, events, seed)
    if np.all(weight_a == weight_a[0]) and np.all(weight_b == weight_b[0]):
        return _unweighted(np.nan_to_num(a, nan=-np.inf), np.nan_to_num(b, nan=-np.inf))
    if len(a) + len(b) <= _PERMUTED_AT_MOST:
        alone = np.arange(len(a) + len(b))
        return _permuted(a, b, weight_a, weight_b, (alone[: len(a)], alone[len(a) :]), seed)
    return _by_paths(a, b, weight_a, weight_b, seed)


def _unweighted(a: FloatArray, b: FloatArray) -> float:
    method = "exact" if max(len(a), len(b)) <= _EXACT_AT_MOST else "asymp"
    with warnings.catch_warnings():
        # scipy warns where the exact sum overflows, and then gives the asymptotic value, which is what is wanted.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(stats.ks_2samp(a, b, method=method).pvalue)


def _by_paths(a: FloatArray, b: FloatArray, weight_a: FloatArray, weight_b: FloatArray, seed: int) -> float:
    """The weighted distance among 999 paths of its limit: B(V(t)) - F(t) B(V(inf)), B a Brownian motion.

    F is the common distribution and V(t) the sum of squared normalised weights up to t, so that weights which go with
    the score have their effect; for equal weights it is the Brownian bridge (van der Vaart, Asymptotic Statistics,
    1998, chapter 19). Distance and paths are taken at the same 2000 scores.
    """
    order, ends, in_a = _merged(a, b)
    share_a, share_b = weight_a / weight_a.sum(), weight_b / weight_b.sum()
    shares = np.concatenate([share_a, share_b])[order]
    at = ends[np.unique(np.linspace(0, len(ends) - 1, _STEPS).astype(np.int64))]
    side, squares = in_a[order], np.cumsum(shares**2)[at]
    difference = np.cumsum(np.where(side > 0, shares, -shares))[at]
    pooled = np.cumsum(shares)[at] / 2
    rng = np.random.default_rng(seed)
    steps = np.sqrt(np.diff(squares, prepend=0.0)).astype(np.float32)
    paths = np.cumsum(rng.standard_normal((_PATHS, len(at)), np.float32) * steps, axis=1)
    paths -= paths[:, -1:] * pooled.astype(np.float32)
    largest = np.abs(paths).max(axis=1)
    return float((1 + np.sum(largest >= np.abs(difference).max())) / (1 + _PATHS))


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
    events: tuple[IntArray, IntArray],
    seed: int,
) -> float:
    """Events of one sample change sides among each other, those of both swap their two; candidates go along."""
    order, ends, in_a = _merged(a, b)
    weight, event = np.concatenate([weight_a, weight_b])[order], np.concatenate(events)[order]
    now, n = in_a[order], int(max(e.max() for e in events)) + 1
    stands_in = [np.bincount(e, minlength=n) > 0 for e in events]
    shared, alone = stands_in[0] & stands_in[1], np.flatnonzero(stands_in[0] ^ stands_in[1])
    side, swaps, rng = stands_in[0].astype(np.float64), shared[event], np.random.default_rng(seed)
    observed, larger = _distance(weight, now, ends), 0
    for _ in range(_PERMUTATIONS):
        side[alone] = rng.permutation(side[alone])
        side[shared] = rng.integers(0, 2, int(shared.sum()))
        moved = side[event]
        larger += _distance(weight, np.where(swaps, np.abs(now - moved), moved), ends) >= observed * (1 - 1e-12)
    return (1 + larger) / (1 + _PERMUTATIONS)


def _distance(weight: FloatArray, in_a: FloatArray, ends: IntArray) -> float:
    """The distance for weights and sides in the order of the scores; infinite where a side's weights cancel."""
    all_up_to, a_up_to = np.cumsum(weight), np.cumsum(weight * in_a)
    sum_a, sum_b = a_up_to[-1], all_up_to[-1] - a_up_to[-1]
    if sum_a <= 0 or sum_b <= 0:
        return float("inf")
    steps = a_up_to * (1 / sum_a + 1 / sum_b) - all_up_to / sum_b
    return float(np.max(np.abs(steps[ends])))
