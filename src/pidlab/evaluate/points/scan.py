"""Figures of merit against threshold: purity, significance and Punzi's, for stated numbers of candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from pidlab.config.schema import Evaluate
from pidlab.evaluate.curves import chosen_points
from pidlab.evaluate.intervals import Interval, Sums, fieller, fraction, sums_by
from pidlab.evaluate.ranking import Score, cumulative_by_score, groups_of, just_below
from pidlab.evaluate.results import Scan, ScannedFigure
from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample

Part = tuple[Score, Sample, IntArray | None]
"""The signal's score (n,), the candidates, and the events of those that share them."""


class _Counts(NamedTuple):
    """At m thresholds: the signal efficiency, the expected signal S and background B, each (m,) with bounds."""

    efficiency: Interval
    signal: Interval
    background: Interval


def merit_scan(deciding: Part, test: Part, options: Evaluate) -> Scan | None:
    """Figures of merit at up to 400 thresholds on test; the best threshold of each is chosen on `deciding`.

    S and B are `evaluate.expected` times the efficiency of each class; left out, as many candidates as test has are
    divided by `evaluate.abundance`, or are those of test. Significance grows with the root of these numbers, and
    Punzi's best threshold depends on them (G. Punzi, PHYSTAT 2003, physics/0308063). Sums of weights below zero count
    as none in both. None where a class of test has no positive sum of weights.

    Bounds are those of the efficiencies, for whole events, carried over by MOVER (see `_carried`); they are about the
    fluctuation of test, not about that of S and B. Classes count as independent; where they share events they tend to
    fluctuate together, and bounds are wider than they need be. Chosen is the threshold with the largest lower bound,
    so that a tight cut which no background happened to pass is not taken for perfect.
    """
    score, sample, _ = test
    sums = sums_by(sample.y, sample.weight, len(sample.classes))
    if not (sums > 0).all():
        return None
    expected, basis = _expected(options, sample, sums)
    thresholds = _thresholds(score, sample)
    if not len(thresholds):
        return None
    counts = _counts(test, thresholds, expected)
    figures = _figures(counts, options.punzi)
    tried = _thresholds(*deciding[:2])
    decided = _figures(_counts(deciding, tried, expected), options.punzi) if len(tried) else {}
    merits = {}
    for name, (value, low, high) in figures.items():
        best = None if name == "purity" or name not in decided else _best(tried, decided[name][1])
        at_best, efficiency = UNDEFINED, UNDEFINED
        if best is not None:
            there = _counts(test, np.array([best]), expected)
            n = min(float(there.signal.n[0]), float(there.background.n[0]))
            found, below, above = (float(column[0]) for column in _figures(there, options.punzi)[name])
            at_best = Measured(found, below, above, n)
            efficiency = Measured(*(float(column[0]) for column in there.efficiency))
        merits[name] = ScannedFigure(value, low, high, best, at_best, efficiency)
    by_class = dict(zip(sample.classes, map(float, expected), strict=True))
    return Scan(thresholds, counts.efficiency.value, merits, by_class, basis, options.punzi)


def _expected(options: Evaluate, sample: Sample, sums: Array) -> tuple[Array, str]:
    """(k,) candidates of each class before the decision, and where the numbers come from."""

    def by_class(numbers: Mapping[str, float]) -> Array:
        return np.array([numbers[c] for c in sample.classes], np.float64)

    if options.expected is not None:
        return by_class(options.expected), "expected"
    if options.abundance is not None:
        shares = by_class(options.abundance)
        return shares / shares.sum() * sums.sum(), "abundance"
    return sums, "sample"


def _thresholds(score: Score, sample: Sample) -> Array:
    """At most 400 falling thresholds, from one that nothing passes to one that everything with a score passes."""
    s, w = sample.is_signal, sample.weight
    steps = cumulative_by_score(score, np.where(s, w, 0.0), np.where(s, 0.0, w))
    totals = [float(w[s].sum()), float(w[~s].sum())]
    if not len(steps.values) or min(totals) <= 0:
        return np.empty(0)
    keep = chosen_points(steps.sums[0] / totals[0], steps.sums[1] / totals[1], 1 / max(int((~s).sum()), 1))
    last = just_below(float(steps.values[-1]))
    return np.append(steps.values[keep].astype(np.float64), last)


def _counts(part: Part, thresholds: Array, expected: Array) -> _Counts:
    score, sample, groups = part
    rates = [_rate(score, sample.y == c, sample, groups, thresholds) for c in range(len(sample.classes))]
    numbers = zip(expected, rates, strict=True)
    scaled = [Interval(n * rate.value, n * rate.low, n * rate.high, rate.n) for n, rate in numbers]
    background = [rate for c, rate in enumerate(scaled) if c != sample.signal]
    return _Counts(rates[sample.signal], scaled[sample.signal], _sum(background))


def _sum(parts: list[Interval]) -> Interval:
    """The sum of independent parts, (m,) each, with MOVER bounds as in `intervals.mixture`."""
    value = np.sum([p.value for p in parts], axis=0)
    below = np.sqrt(np.sum([(p.value - p.low) ** 2 for p in parts], axis=0))
    above = np.sqrt(np.sum([(p.high - p.value) ** 2 for p in parts], axis=0))
    return Interval(value, value - below, value + above, np.min([p.n for p in parts], axis=0))


def _rate(score: Score, mine: BoolArray, sample: Sample, groups: IntArray | None, thresholds: Array) -> Interval:
    """The fraction of the candidates marked `mine` (n,) that pass each of (m,) falling thresholds.

    Where candidates share events, the sum over events of (passing weight)² grows, with each candidate that passes,
    by w² + 2 w times what has passed of its event before.
    """
    rows = np.flatnonzero(mine)
    known = rows[score[rows] > -np.inf]
    order = known[np.argsort(-score[known])]
    ends = np.searchsorted(-score[order], -thresholds.astype(np.float32), side="left")
    w, all_of = sample.weight[order], sample.weight[rows]
    total, total2 = float(all_of.sum()), float(np.sum(all_of**2))
    events = groups_of(groups, mine)
    if groups is None or events is None:
        passed, passed2 = _cumulated(w, ends), _cumulated(w * w, ends)
        sums = Sums(passed, total - passed, passed2, total2 - passed2, np.zeros(len(ends)), np.full(len(ends), total2))
        return fraction(sums)
    by_event = sums_by(events, all_of)
    mixed = _cumulated(w * by_event[groups[order]], ends)
    passed, passed2 = _cumulated(w, ends), _cumulated(w * w + 2 * w * _before(w, groups[order]), ends)
    failed2 = float(np.sum(by_event**2)) - 2 * mixed + passed2
    sums = Sums(passed, total - passed, passed2, failed2, mixed - passed2, np.full(len(ends), total2))
    return fraction(sums, independent=False)


def _cumulated(values: FloatArray, ends: IntArray) -> Array:
    """(m,) sums of the first `ends` (m,) of values (n,)."""
    return np.asarray(np.concatenate([[0.0], np.cumsum(values)])[ends])


def _before(w: FloatArray, groups: IntArray) -> Array:
    """(n,) the sum of the weights of the same event that stand before each."""
    order = np.argsort(groups, kind="stable")
    running = np.cumsum(w[order]) - w[order]
    first = np.flatnonzero(np.append(True, groups[order][1:] != groups[order][:-1]))
    lengths = np.diff(np.append(first, len(order)))
    before = np.empty(len(w))
    before[order] = running - np.repeat(running[first], lengths)
    return before


def _figures(counts: _Counts, sigma: float) -> dict[str, tuple[Array, Array, Array]]:
    """Each figure of merit, (m,) with bounds."""
    return {
        "purity": _purity(counts.signal, counts.background),
        "significance": _carried(significance, counts.signal, counts.background),
        "punzi": _carried(lambda e, b: punzi(e, b, sigma), counts.efficiency, counts.background),
    }


def _purity(s: Interval, b: Interval) -> tuple[Array, Array, Array]:
    """S / (S + B) with the bounds of `intervals.share`, NaN where nothing is left."""
    total = s.value + b.value
    value = np.divide(s.value, total, out=np.full(len(total), np.nan), where=total != 0)
    none = np.zeros(len(total))
    low = fieller(Sums(s.value, b.value, (s.value - s.low) ** 2, (b.high - b.value) ** 2, none, none))[0]
    high = fieller(Sums(s.value, b.value, (s.high - s.value) ** 2, (b.value - b.low) ** 2, none, none))[1]
    low = np.where((value >= 0) | np.isinf(low), np.maximum(low, np.minimum(value, 0.0)), low)
    high = np.where((value <= 1) | np.isinf(high), np.minimum(high, np.maximum(value, 1.0)), high)
    unknown = np.isnan(value)
    return value, np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)


def significance(signal: Array, background: Array) -> Array:
    """S / √(S + B), 0 where both are."""
    s, b = np.maximum(signal, 0.0), np.maximum(background, 0.0)
    return np.asarray(np.divide(s, np.sqrt(s + b), out=np.zeros_like(s), where=s + b > 0))


def punzi(efficiency: Array, background: Array, sigma: float) -> Array:
    """Signal efficiency / (sigma / 2 + √B)."""
    return np.asarray(np.maximum(efficiency, 0.0) / (sigma / 2 + np.sqrt(np.maximum(background, 0.0))))


def _carried(
    figure: Callable[[Array, Array], Array], rising: Interval, sinking: Interval
) -> tuple[Array, Array, Array]:
    """A figure that rises with one quantity and falls with an independent other one, with bounds.

    MOVER (Zou and Donner, Stat. Med. 27 (2008) 1693) for a function: what each quantity's bound alone does to the
    figure adds in quadrature. Unlike derivatives it has room where B is 0.
    """
    value = figure(rising.value, sinking.value)
    below = value - figure(rising.low, sinking.value), value - figure(rising.value, sinking.high)
    above = figure(rising.high, sinking.value) - value, figure(rising.value, sinking.low) - value
    return value, np.maximum(value - np.hypot(*below), 0.0), value + np.hypot(*above)


def _best(thresholds: Array, low: Array) -> float | None:
    """The threshold with the largest lower bound."""
    return float(thresholds[np.nanargmax(low)]) if np.isfinite(low).any() else None
