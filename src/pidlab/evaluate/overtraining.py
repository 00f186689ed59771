"""Overtraining: tests whether the scores of train and test have one distribution, and compares their AUC."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.intervals import blocks, symmetric
from pidlab.evaluate.ranking import (
    Influence,
    ScoredSample,
    auc_influence,
    groups_of,
    numbers_of,
    order_of,
    taken,
    variance,
)
from pidlab.evaluate.results import Overtraining
from pidlab.measured import UNDEFINED, Measured
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample
from pidlab.split import share_of

_PERMUTATIONS = 499
_PERMUTED_AT_MOST = 10_000
_EXACT_AT_MOST = 10_000
_THINNED_TO = 20_000
_PATHS, _STEPS = 999, 2000
_PARTS = 16  # of the events that are compared as pairs, one at a time


def overtraining(train: ScoredSample, test: ScoredSample, *, fixed_cut: bool, seed: int) -> Overtraining:
    """Returns a Kolmogorov-Smirnov p-value for each class, and AUC(train) - AUC(test).

    With folds both samples hold the same events, scored by models that were trained on them and by models that were
    not: the two scores of an event are then compared as a pair. The p-value of an absent class is NaN.
    """
    paired = share_events(train.sample, test.sample)
    p = {name: class_p(train, test, c, seed, paired=paired) for c, name in enumerate(test.sample.classes)}
    return Overtraining(p, UNDEFINED if fixed_cut else _delta_auc(train, test, paired=paired))


def share_events(train: Sample, test: Sample) -> bool:
    """Returns True if the samples have events in common, among about 20,000 candidates of each at most.

    Whole events are taken, the same ones in every sample of that size.
    """
    one, other = (s.event[_thinned(s.event, _THINNED_TO / max(len(s), _THINNED_TO), 1)] for s in (train, test))
    return len(np.intersect1d(one, other)) > 0


def _thinned(event: NDArray[np.uint64], share: float, seed: int) -> BoolArray:
    """Returns (n,) true for a share of the events, as `share_of` does, but without intermediate results of all."""
    held = np.empty(len(event), np.bool_)
    for rows in blocks(len(event)):
        held[rows] = share_of(event[rows], share, seed)
    return held


def class_p(train: ScoredSample, test: ScoredSample, index: int, seed: int, *, paired: bool) -> float:
    """Returns the p-value that one class has the same scores in train and test; `paired` is from `share_events`."""
    both = (train, test)
    rows = [part.sample.y == index for part in both]
    events = None
    if paired or any(groups_of(part.groups, r) is not None for part, r in zip(both, rows, strict=True)):
        share = _THINNED_TO / max(sum(int(r.sum()) for r in rows), _THINNED_TO)
        rows = [r & _thinned(part.sample.event, share, seed) for r, part in zip(rows, both, strict=True)]
        numbers = _common_numbers(*(part.sample.event[r] for r, part in zip(rows, both, strict=True)))
        n_train = int(rows[0].sum())
        events = (numbers[:n_train], numbers[n_train:])
    (a, w_a), (b, w_b) = ((part.score[r], part.sample.weight[r]) for part, r in zip(both, rows, strict=True))
    return ks_p_value(a, b, w_a, w_b, events=events, seed=seed)


def _common_numbers(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> IntArray:
    """Returns the numbers of the events of two samples, one behind the other."""
    return numbers_of(np.concatenate([one, other]))


def _delta_auc(train: ScoredSample, test: ScoredSample, *, paired: bool) -> Measured:
    """Returns the difference; variances of independent samples add, and events in both samples count by difference."""
    found = []
    for each in (train, test):
        influence = auc_influence(each.score, each.sample.is_signal, each.sample.weight, each.order)
        if influence is None:
            return UNDEFINED
        deviation = influence.deviation(each.groups)
        found.append((influence if paired else influence._replace(parts=np.empty(0)), deviation))
        del influence
    (of_train, one), (of_test, other) = found
    deviation = float(np.hypot(one, other))
    if paired and np.isfinite(deviation):
        deviation = float(np.sqrt(paired_variance(of_train, train.sample.event, of_test, test.sample.event)))
    return symmetric(of_train.value - of_test.value, deviation, min(of_train.n, of_test.n))


def paired_variance(
    of_train: Influence, train: NDArray[np.uint64], of_test: Influence, test: NDArray[np.uint64]
) -> float:
    """Returns the sum over events of the squared difference of their influences in both samples.

    It is made of the sums over parts of the events, which are told apart by their hashes (n,).
    """
    total = 0.0
    for part in range(_PARTS):
        rows = [np.flatnonzero(event % np.uint64(_PARTS) == part) for event in (train, test)]
        events = _common_numbers(train[rows[0]], test[rows[1]])
        total += variance(np.concatenate([of_train.parts[rows[0]], -of_test.parts[rows[1]]]), events)
    return total


def ks_distance(a: FloatArray, b: FloatArray, weight_a: FloatArray, weight_b: FloatArray) -> float:
    """Returns the largest distance of two weighted cumulative distributions; NaN counts as the lowest score."""
    order, is_last = _merged(a, b)
    of_a, weights = _sides(order, len(a), weight_a, weight_b)
    return _distance(weights, of_a.astype(np.float64), np.flatnonzero(is_last))


def ks_p_value(
    a: FloatArray,
    b: FloatArray,
    weight_a: FloatArray,
    weight_b: FloatArray,
    *,
    events: tuple[IntArray, IntArray] | None = None,
    seed: int = 1,
) -> float:
    """Returns the probability of a distance at least this large if a and b, with weights, have one distribution.

    With equal weights and distinct events this is scipy's two-sample test, which is exact up to 10,000 events. Other
    weights may be correlated with the score and have any sign. Then whole events, with their candidates and weights,
    are permuted between the samples 499 times, and p is (1 + number of distances as large) / 500. For more than 10,000
    candidates, paths of the limiting process replace the permutations (`_by_paths`). The result is NaN if a sample is
    empty or the sum of its weights is not positive.

    Args:
        a, b: scores (n,) and (m,).
        weight_a, weight_b: weights (n,) and (m,).
        events: numbers of the events of both, needed if some hold several candidates or stand in both samples; events
            in both samples are exchanged as pairs.
        seed: seed of the permutations and paths.
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
    from scipy import stats  # takes half a second, and is not needed for weighted samples

    if max(len(a), len(b)) > _EXACT_AT_MOST:
        # The same as ks_2samp(a, b, method="asymp"), whose memory is ten times that of the scores.
        a, b = np.sort(a), np.sort(b)
        distance = max(_largest_gap(a, a, b), _largest_gap(b, a, b))
        n = len(a) * len(b) / (len(a) + len(b))
        return float(np.clip(stats.kstwo.sf(distance, np.round(n)), 0.0, 1.0))
    with warnings.catch_warnings():
        # scipy warns if the exact sum overflows and then returns the asymptotic value, as wanted here.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(stats.ks_2samp(a, b, method="exact").pvalue)


def _largest_gap(at: FloatArray, a: FloatArray, b: FloatArray) -> float:
    """Returns the largest distance of the cumulative distributions of sorted scores a and b at the scores `at`."""
    largest = 0.0
    for rows in blocks(len(at)):
        shares = [np.searchsorted(each, at[rows], side="right") / len(each) for each in (a, b)]
        largest = max(largest, float(np.abs(shares[0] - shares[1]).max()))
    return largest


def _by_paths(a: FloatArray, b: FloatArray, weight_a: FloatArray, weight_b: FloatArray, seed: int) -> float:
    """Returns the p-value of the weighted distance from 999 paths of its limit B(V(t)) - F(t) B(V(inf)).

    B is a Brownian motion, F the common distribution and V(t) the sum of squared normalised weights up to t, which
    includes the correlation of weights and score. For equal weights the limit is the Brownian bridge (van der Vaart,
    Asymptotic Statistics, 1998, chapter 19). Distance and paths are taken at the same 2000 scores.
    """
    totals, n_a = (weight_a.sum(), weight_b.sum()), len(a)
    order, is_last = _merged(a, b)
    ends = np.flatnonzero(is_last)
    at = ends[np.unique(np.linspace(0, len(ends) - 1, _STEPS).astype(np.int64))]
    del is_last, ends
    squares, difference, pooled = (np.empty(len(at)) for _ in range(3))
    before = np.zeros(3)
    for rows in blocks(len(order)):
        of_a, shares = _sides(order[rows], n_a, weight_a, weight_b)
        shares /= np.where(of_a, *totals)
        sums = [np.cumsum(part) for part in (shares * shares, np.where(of_a, shares, -shares), shares)]
        some = slice(*np.searchsorted(at, (rows.start, rows.stop)))
        for found, summed, start in zip((squares, difference, pooled), sums, before, strict=True):
            found[some] = start + summed[at[some] - rows.start]
        before += [summed[-1] for summed in sums]
    pooled /= 2
    rng = np.random.default_rng(seed)
    steps = np.sqrt(np.diff(squares, prepend=0.0)).astype(np.float32)
    paths = np.cumsum(rng.standard_normal((_PATHS, len(at)), np.float32) * steps, axis=1)
    paths -= paths[:, -1:] * pooled.astype(np.float32)
    largest = np.abs(paths).max(axis=1)
    return float((1 + np.sum(largest >= np.abs(difference).max())) / (1 + _PATHS))


def _sides(
    order: NDArray[np.uint32], n_a: int, weight_a: FloatArray, weight_b: FloatArray
) -> tuple[BoolArray, FloatArray]:
    """Returns for rows (m,) of both samples, a before b, whether they are of a, and their weights."""
    of_a = order < n_a
    weights = np.empty(len(order))
    weights[of_a], weights[~of_a] = weight_a[order[of_a]], weight_b[order[~of_a] - np.uint32(n_a)]
    return of_a, weights


def _merged(a: FloatArray, b: FloatArray) -> tuple[NDArray[np.uint32], BoolArray]:
    """Returns the order of both samples' scores, a before b, and true for the last of each distinct score in it."""
    both = np.concatenate([a, b])
    both[np.isnan(both)] = -np.inf
    order = order_of(both)
    both = taken(both, order)
    return order, np.append(both[1:] > both[:-1], True)


def _permuted(
    a: FloatArray,
    b: FloatArray,
    weight_a: FloatArray,
    weight_b: FloatArray,
    events: tuple[IntArray, IntArray],
    seed: int,
) -> float:
    """Returns the p-value from permutations of events: those of one sample change sides, those of both swap theirs."""
    order, is_last = _merged(a, b)
    ends = np.flatnonzero(is_last)
    of_a, weight = _sides(order, len(a), weight_a, weight_b)
    event = np.concatenate(events)[order]
    now, n = of_a.astype(np.float64), int(max(e.max() for e in events)) + 1
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
    """Returns the distance for weights and sides in the order of scores; infinite if the weights of a side cancel."""
    all_up_to, a_up_to = np.cumsum(weight), np.cumsum(weight * in_a)
    sum_a, sum_b = a_up_to[-1], all_up_to[-1] - a_up_to[-1]
    if sum_a <= 0 or sum_b <= 0:
        return float("inf")
    steps = a_up_to * (1 / sum_a + 1 / sum_b) - all_up_to / sum_b
    return float(np.max(np.abs(steps[ends])))
