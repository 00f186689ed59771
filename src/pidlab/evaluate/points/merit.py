"""Figures of merit: purity, significance and Punzi's, against threshold and at the best working point.

S and B are the expected numbers of signal and background candidates that pass a threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pidlab.config.names import BEST
from pidlab.config.schema import Evaluate, FigureOfMerit
from pidlab.evaluate.curves import chosen_points, rates_above
from pidlab.evaluate.intervals import Interval, share, sums_by
from pidlab.evaluate.points.working_points import ChosenPoint
from pidlab.evaluate.ranking import (
    Score,
    ScoredSample,
    Weigh,
    just_below,
    steps_of,
    weigh_kinds,
)
from pidlab.evaluate.results import Scan, ScannedFigure
from pidlab.measured import UNDEFINED, Array
from pidlab.sample import Sample


@dataclass(frozen=True, slots=True)
class Merit:
    """A figure of merit to be maximised.

    Attributes:
        asked: which figure of merit, and the least signal efficiency.
        expected: the number of candidates of every class before the decision.
        sigmas: the number of standard deviations in Punzi's figure of merit.
    """

    asked: FigureOfMerit
    expected: Mapping[str, float]
    sigmas: float


class _Counts(NamedTuple):
    """The signal efficiency, S and B at m thresholds, each (m,) with bounds."""

    efficiency: Interval
    signal: Interval
    background: Interval


def significance(signal: Array, background: Array) -> Array:
    """Returns S / √(S + B), or 0 where both are 0."""
    s, b = np.maximum(signal, 0.0), np.maximum(background, 0.0)
    return np.asarray(np.divide(s, np.sqrt(s + b), out=np.zeros_like(s), where=s + b > 0))


def punzi(efficiency: Array, background: Array, sigma: float) -> Array:
    """Returns efficiency / (sigma / 2 + √B) for a search at `sigma` standard deviations: physics/0308063, eq. 7."""
    return np.asarray(np.maximum(efficiency, 0.0) / (sigma / 2 + np.sqrt(np.maximum(background, 0.0))))


def figure(merit: Merit, rates: Array, classes: Sequence[str], signal: int) -> Array:
    """Returns the figure of merit (m,) for the pass rates (k, m) of the classes; -inf where nothing passes."""
    passing = np.maximum(rates * np.array([merit.expected[c] for c in classes])[:, None], 0.0)
    s, b = passing[signal], np.delete(passing, signal, axis=0).sum(axis=0)
    if merit.asked.name == "punzi":
        return punzi(rates[signal], b, merit.sigmas)
    value = significance(s, b) if merit.asked.name == "significance" else s / np.where(s + b > 0, s + b, 1.0)
    return np.where(s + b > 0, value, -np.inf)


def best_point(score: Score, sample: Sample, merit: Merit) -> ChosenPoint:
    """Returns the working point at which `merit` is largest, from scores (n,) of `sample`.

    Every distinct score is tried, and the target of the point is the signal efficiency there. If no threshold reaches
    the least efficiency, that is the target, and the threshold passes every candidate that has a score.
    """
    least = merit.asked.efficiency
    steps = steps_of(score)
    if not len(steps.values):
        return ChosenPoint(BEST, least, float(np.finfo(np.float32).max))
    rates = np.zeros((len(sample.classes), len(steps.values)))
    for c, rate in enumerate(rates):
        total = float(sample.weight[sample.y == c].sum())
        if total:
            np.divide(steps.sums(_weigh_class(sample, c)), total, out=rate)
    efficiency = rates[sample.signal]
    allowed = np.flatnonzero(efficiency >= least * (1 - 1e-12))
    if not len(allowed):
        return ChosenPoint(BEST, least, just_below(float(steps.values[-1])))
    best = allowed[np.argmax(figure(merit, rates[:, allowed], sample.classes, sample.signal))]
    return ChosenPoint(BEST, max(least, float(efficiency[best])), just_below(float(steps.values[best])))


def _weigh_class(sample: Sample, c: int) -> Weigh:
    return lambda rows: np.where(sample.y[rows] == c, sample.weight[rows], 0.0)


def merit_scan(threshold_sample: ScoredSample, test: ScoredSample, options: Evaluate) -> Scan | None:
    """Returns the figures of merit at up to 400 thresholds on test; None if a class of test has no positive weight.

    S and B are `evaluate.expected` times the efficiency of each class. Without it, the number of candidates of test is
    divided in the ratio of `evaluate.abundance`, or is that of each class in test. Significance grows with the root of
    these numbers, and Punzi's best threshold depends on them (G. Punzi, PHYSTAT 2003, physics/0308063). In both,
    negative sums of weights count as zero.

    Bounds are those of the efficiencies, for whole events, propagated by MOVER (see `_propagated`). They cover the
    fluctuation of test, but not that of the expected numbers. Classes are taken as independent; if they share events
    they tend to fluctuate together, and the bounds are wider than necessary.

    The best threshold of each figure is the one with the largest lower bound on `threshold_sample`, so that a tight cut
    which no background candidate happened to pass does not count as perfect.
    """
    sample = test.sample
    sums = sums_by(sample.y, sample.weight, len(sample.classes))
    thresholds = _thresholds(test)
    if not (sums > 0).all() or not len(thresholds):
        return None
    expected, basis = _expected(options, sample, sums)
    counts = _counts(test, thresholds, expected)
    tried = _thresholds(threshold_sample)
    decided = _figures(_counts(threshold_sample, tried, expected), options.punzi) if len(tried) else {}
    merits = {}
    for name, found in _figures(counts, options.punzi).items():
        best, at_best, efficiency = None, UNDEFINED, UNDEFINED
        if name != "purity" and name in decided and np.isfinite(decided[name].low).any():
            best = float(tried[np.nanargmax(decided[name].low)])
            there = _counts(test, np.array([best]), expected)
            at_best = _figures(there, options.punzi)[name].measured()
            efficiency = there.efficiency.measured()
        merits[name] = ScannedFigure(found.value, found.low, found.high, best, at_best, efficiency)
    by_class = dict(zip(sample.classes, map(float, expected), strict=True))
    return Scan(thresholds, counts.efficiency.value, merits, by_class, basis, options.punzi)


def _expected(options: Evaluate, sample: Sample, sums: Array) -> tuple[Array, str]:
    """Returns the expected candidates (k,) of each class before the decision, and the source of these numbers."""
    if options.expected is not None:
        return np.array([options.expected[c] for c in sample.classes], np.float64), "expected"
    if options.abundance is not None:
        shares = np.array([options.abundance[c] for c in sample.classes], np.float64)
        return shares / shares.sum() * sums.sum(), "abundance"
    return sums, "sample"


def _thresholds(scored: ScoredSample) -> Array:
    """Returns at most 400 falling thresholds, from one that nothing passes to one that every score passes."""
    s, w = scored.sample.is_signal, scored.sample.weight
    steps = steps_of(scored.score, scored.order)
    totals = [float(w[s].sum()), float(w[~s].sum())]
    if not len(steps.values) or min(totals) <= 0:
        return np.empty(0)
    keep, _ = chosen_points(steps, weigh_kinds(s, w), totals, 1 / max(int((~s).sum()), 1))
    last = just_below(float(steps.values[-1]))
    return np.append(steps.values[keep].astype(np.float64), last)


def _counts(scored: ScoredSample, thresholds: Array, expected: Array) -> _Counts:
    sample = scored.sample
    rates = [
        rates_above(scored.score, sample.weight, scored.groups, scored.order, sample.y == c, thresholds)
        for c in range(len(expected))
    ]
    numbers = zip(expected, rates, strict=True)
    scaled = [Interval(n * rate.value, n * rate.low, n * rate.high, rate.n) for n, rate in numbers]
    signal = scored.sample.signal
    return _Counts(rates[signal], scaled[signal], _sum([rate for c, rate in enumerate(scaled) if c != signal]))


def _sum(parts: list[Interval]) -> Interval:
    """Returns the sum of independent quantities, (m,) each, with MOVER bounds as in `intervals.mixture`."""
    value = np.sum([p.value for p in parts], axis=0)
    below = np.sqrt(np.sum([(p.value - p.low) ** 2 for p in parts], axis=0))
    above = np.sqrt(np.sum([(p.high - p.value) ** 2 for p in parts], axis=0))
    return Interval(value, value - below, value + above, np.min([p.n for p in parts], axis=0))


def _figures(counts: _Counts, sigma: float) -> dict[str, Interval]:
    """Returns each figure of merit, (m,) with bounds."""
    return {
        "purity": share(counts.signal, counts.background),
        "significance": _propagated(significance, counts.signal, counts.background),
        "punzi": _propagated(lambda e, b: punzi(e, b, sigma), counts.efficiency, counts.background),
    }


def _propagated(function: Callable[[Array, Array], Array], rising: Interval, sinking: Interval) -> Interval:
    """Returns a function that rises with one quantity and falls with an independent other one, with bounds.

    MOVER for a function (Zou and Donner, Stat. Med. 27 (2008) 1693) adds in quadrature the change of the function by
    the bound of each quantity alone. Unlike an error computed from derivatives, it does not vanish where B is 0.
    """
    value = function(rising.value, sinking.value)
    below = value - function(rising.low, sinking.value), value - function(rising.value, sinking.high)
    above = function(rising.high, sinking.value) - value, function(rising.value, sinking.low) - value
    n = np.minimum(rising.n, sinking.n)
    return Interval(value, np.maximum(value - np.hypot(*below), 0.0), value + np.hypot(*above), n)
