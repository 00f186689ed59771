"""Two models on the same events: differences with paired intervals, and a sentence that says who wins.

What the intervals cover: the fluctuation of the test events, shared by both models, and that of the events which
decided the thresholds (their signal moves the thresholds, and each threshold moves its misidentification along the
ROC curve). So they are about the misidentification at the true signal efficiency that the point asks for. A model whose
score jumps from one efficiency to the next counts at exactly that efficiency, on the straight line between the two.
They do not cover training again on other events.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pidlab.evaluate.decisions import one_by_one, pair_name
from pidlab.evaluate.intervals import LEVEL, effective_number, inner, proportion, sums_by
from pidlab.evaluate.points.flat import decided_by
from pidlab.evaluate.points.working_points import HAND_THRESHOLD, Crossing, crossing, passes, signal_efficiency
from pidlab.evaluate.ranking import (
    Influence,
    Score,
    auc_influence,
    difference,
    event_groups,
    groups_of,
    signal_score,
    variance,
)
from pidlab.evaluate.results import Comparison, ModelResult, WorkingPoint
from pidlab.evaluate.verdicts import WIDE, Differences, Finding, judged
from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample

Scores = NDArray[np.floating[Any]]
_NEAR = 10.0
"""So many effective signal candidates fail the decision that tells how alike two models reject: fewer tell little."""

_PRIOR = 3.0
"""What order statistics say of a threshold's variance weighs as much as so many candidates that fail it. With 3, equal
models are told apart in 1 to 7 % of toys (`benchmarks/false_winners.py`); with 0, in up to half."""


class _Events(NamedTuple):
    """The samples of a comparison with the events of their candidates; without `deciding`, thresholds are as given."""

    test: Sample
    test_groups: IntArray | None
    deciding: Sample | None
    deciding_groups: IntArray | None


class _Decision(NamedTuple):
    """One decision of one model, at exactly the efficiency asked for: somewhere on an edge of its ROC curve.

    Attributes:
        tight, loose: (n,) what passes in test at the two ends of the edge.
        share: how far along the edge, towards `loose`, the decision lies.
        deciding: (m,) the probability of each candidate of the deciding sample to pass.
        near: (m,) the same for a decision nearby that at least `_NEAR` effective signal candidates fail.
        fixed: true for somebody's cuts, which no threshold moves.
        slopes: (k,) d misid / d signal efficiency of each class.
    """

    tight: BoolArray
    loose: BoolArray
    share: float
    deciding: Array
    near: Array
    fixed: bool
    slopes: Array

    @property
    def test(self) -> Array:
        """(n,) the probability of each candidate of test to pass."""
        return np.asarray((1 - self.share) * self.tight + self.share * self.loose)


class _Model(NamedTuple):
    """A model as compared: the signal's scores, the influences on its AUC, its decisions at its working points."""

    result: ModelResult
    test: Score
    deciding: Score
    area: Influence | None
    decisions: dict[str, _Decision]


def compare_models(
    scores: Mapping[str, Scores],
    sample_test: Sample,
    scores_validation: Mapping[str, Scores],
    sample_validation: Sample,
    results: Mapping[str, ModelResult],
) -> tuple[Comparison, ...]:
    """Each pair of models (a, b) on the same test events, as `find_differences`, all judged together."""
    return judged(find_differences(scores, sample_test, scores_validation, sample_validation, results))


def find_differences(
    scores: Mapping[str, Scores],
    sample_test: Sample,
    scores_validation: Mapping[str, Scores],
    sample_validation: Sample,
    results: Mapping[str, ModelResult],
) -> tuple[Differences, ...]:
    """Each pair of models (a, b) on the same test events, in the order of `scores`; somebody's cuts always come as a.

    `scores` are (n, k) on test, `scores_validation` (m, k) on the sample that decided the thresholds (train where
    there is no validation). Without candidates there, the other model is cut at the cuts' efficiency on test, and no
    interval holds the fluctuation of thresholds.
    """
    deciding = sample_validation if len(sample_validation) else None
    groups = None if deciding is None else event_groups(deciding)
    events = _Events(sample_test, event_groups(sample_test), deciding, groups)
    models = [
        [_model(*each, events) for each in one_by_one(results[name], own, scores_validation.get(name), sample_test)]
        for name, own in scores.items()
    ]
    return tuple(_compare_all(a, b, events) for a, b in itertools.combinations(models, 2))


def _compare_all(a: Sequence[_Model], b: Sequence[_Model], events: _Events) -> Differences:
    """Two models; of one without a score each decision, with that of the other at the point of the same name."""
    both = min(len(a), len(b)) > 1
    pairs = [(x, y) for x in a for y in b if not both or x.decisions.keys() == y.decisions.keys()]
    if not pairs:
        return Differences(a[0].result.name, b[0].result.name, UNDEFINED, ())
    found = [_compare(*_cuts_first(x, y), events) for x, y in pairs]
    return replace(found[0], findings=tuple(finding for each in found for finding in each.findings))


def _model(result: ModelResult, scores: Scores, deciding: Scores | None, events: _Events) -> _Model:
    test = signal_score(scores, events.test)
    empty = np.empty(0, np.float32)
    decided = empty if events.deciding is None or deciding is None else signal_score(deciding, events.deciding)
    area = None if result.fixed_cut else auc_influence(test, events.test.is_signal, events.test.weight)
    points = {p.name: _at_point(p, test, decided, events, fixed=result.fixed_cut) for p in result.working_points}
    return _Model(result, test, decided, area, points)


def _at_point(point: WorkingPoint, test: Score, deciding: Score, events: _Events, *, fixed: bool) -> _Decision:
    """A model's decision at the efficiency that a working point asks for; a flat point and cuts decide as they are."""
    score, threshold = decided_by(point, test, events.test)
    own = deciding if events.deciding is None else decided_by(point, deciding, events.deciding)[0]
    edge = Crossing(threshold, threshold, 1.0)
    if events.deciding is not None and not fixed and point.flat is None:
        rows = events.deciding.is_signal
        edge = crossing(own[rows], events.deciding.weight[rows], point.target, threshold)
    return _decide(score, own, edge, point.target, events, fixed=fixed)


def _cuts_first(a: _Model, b: _Model) -> tuple[_Model, _Model]:
    return (b, a) if b.result.fixed_cut and not a.result.fixed_cut else (a, b)


def _decide(
    test: Score, deciding: Score, edge: Crossing, target: float, events: _Events, *, fixed: bool = False
) -> _Decision:
    chance, there = edge.chance(test), edge.chance(deciding)
    slopes = np.zeros(len(events.test.classes)) if fixed else _slopes(test, chance, target, events.test)
    if not fixed and events.deciding is not None:
        reach = _threshold_deviation(there, events.deciding, events.deciding_groups)
        if _step(edge, deciding, events.deciding) > 2 * reach:
            slopes = _slopes(test, chance, target, events.test, reach)
    near = there if fixed or events.deciding is None else _near(deciding, there, events.deciding)
    ends = passes(test, edge.tight), passes(test, edge.loose)
    return _Decision(*ends, edge.share, there, near, fixed, slopes)


def _step(edge: Crossing, score: Score, deciding: Sample) -> float:
    """The signal efficiency between both ends of an edge, in the sample that decides, whose scores are (m,)."""
    between = passes(score, edge.loose) & ~passes(score, edge.tight) & deciding.is_signal
    weight = deciding.weight
    return float(weight[between].sum() / weight[deciding.is_signal].sum())


def _near(score: Score, chance: Array, deciding: Sample) -> Array:
    """(m,) `chance`, or that of a tighter decision where fewer than `_NEAR` effective signal candidates fail.

    The tighter one keeps half of the signal at least.
    """
    rows = deciding.is_signal
    weight = deciding.weight[rows]
    tighter = 1 - min(_NEAR / effective_number(weight), 0.5)
    if inner(weight, chance[rows]) / weight.sum() <= tighter:
        return chance
    return crossing(score[rows], weight, tighter).chance(score)


def _slopes(score: Score, chance: Array, target: float, sample: Sample, reach: float | None = None) -> Array:
    """(k,) d misid / d efficiency of each class for a decision on scores (n,) that has the efficiency `target`.

    `chance` (n,) is the probability of each candidate to pass it.

    Between two normal distributions, the ROC curve is a line in normal deviates: its slope is taken there, over half
    a deviate to each side for 400 signal candidates and less for more, where the curve bends least and counts scatter
    least. With `reach` it is that between the efficiencies `target` - `reach` and `target` + `reach`: where a discrete
    score makes straight edges of the curve that are longer than a threshold fluctuates, it moves along one of them,
    which may be much steeper or flatter than the smooth curve there.
    """
    signal, w = score[sample.is_signal], sample.weight[sample.is_signal]
    if not w.sum() > 0:
        return np.zeros(len(sample.classes))
    rates = _pass_rates(chance, sample)
    rates[sample.signal] = target
    at = _deviates(rates, sample)
    width = 0.5 * (len(w) / 400) ** -0.2
    targets = special.ndtr(at[sample.signal] + width * np.array([-1, 1]))
    if reach is not None:
        targets = np.clip(target + reach * np.array([-1, 1]), 0.0, 1.0)
    tight, loose = (
        _deviates(_pass_rates(crossing(signal, w, target).chance(score), sample), sample) for target in targets
    )
    step = loose[sample.signal] - tight[sample.signal]
    if not step > 0:
        return np.zeros(len(sample.classes))
    density = np.exp((at[sample.signal] ** 2 - at**2) / 2)
    return np.asarray(np.maximum(loose - tight, 0.0) / step * density)


def _deviates(rates: Array, sample: Sample) -> Array:
    """(k,) rates as normal deviates, kept half a candidate away from 0 and 1."""
    half = 0.5 / np.maximum(np.bincount(sample.y, minlength=len(rates)), 1)
    return np.asarray(special.ndtri(np.clip(rates, half, 1 - half)))


def _pass_rates(chance: Array, sample: Sample) -> Array:
    """(k,) the fraction of each class that passes with `chance` (n,), 0 for an absent one."""
    k = len(sample.classes)
    total = sums_by(sample.y, sample.weight, k)
    passed = sums_by(sample.y, chance * sample.weight, k)
    return np.divide(passed, total, out=np.zeros(k), where=total != 0)


def _compare(a: _Model, b: _Model, events: _Events) -> Differences:
    area = UNDEFINED if a.area is None or b.area is None else difference(a.area, b.area, events.test_groups)
    if a.result.fixed_cut:
        efficiency = signal_efficiency(a.test, events.test, HAND_THRESHOLD)
        (own,) = a.decisions.values()
        name = pair_name(a.result, b.result)
        found = _findings((a, b), name, efficiency, (own, _at_cuts(a, b, events)), events)
    else:
        theirs = {p.name: p.target for p in b.result.working_points}
        common = [p for p in a.result.working_points if theirs.get(p.name) == p.target]
        pairs = [(p, (a.decisions[p.name], b.decisions[p.name])) for p in common]
        found = [each for p, pair in pairs for each in _findings((a, b), p.name, p.target, pair, events)]
    return Differences(a.result.name, b.result.name, area, tuple(found))


def _at_cuts(cuts: _Model, other: _Model, events: _Events) -> _Decision:
    """The other model at the efficiency that the cuts have where thresholds are decided; other cuts as they are."""
    if other.result.fixed_cut:
        return next(iter(other.decisions.values()))
    sample, own, score = events.deciding, cuts.deciding, other.deciding
    if sample is None:
        sample, own, score = events.test, cuts.test, other.test
    rows = sample.is_signal
    target = signal_efficiency(own, sample, HAND_THRESHOLD)
    edge = crossing(score[rows], sample.weight[rows], target)
    return _decide(other.test, other.deciding, edge, target, events)


def _findings(
    models: tuple[_Model, _Model], name: str, efficiency: float, pair: tuple[_Decision, _Decision], events: _Events
) -> list[Finding]:
    """One for each class, other than the signal, that test has."""
    a, b = models
    alike = np.array_equal(a.test, b.test, equal_nan=True) and np.array_equal(a.deciding, b.deciding, equal_nan=True)
    sample, found = events.test, []
    for index, particle in enumerate(sample.classes):
        if index == sample.signal or not sample.weight[sample.y == index].sum():
            continue
        names, fixed = (a.result.name, b.result.name), (pair[0].fixed, pair[1].fixed)
        rates = _rates(pair, index, events, alike=alike)
        found.append(Finding(names, name, particle, efficiency, fixed, alike, *rates))
    return found


class _PairedRates(NamedTuple):
    """Misidentification by both, at 68.3 % and 95 %, and the paired deviations of their difference and log ratio.

    `student` times the deviation is that of p-values and of the difference's 95 % interval.
    """

    misid: tuple[Measured, Measured]
    wide: tuple[Measured, Measured]
    deviation: float
    log_deviation: float
    student: float


def _rates(pair: tuple[_Decision, _Decision], index: int, events: _Events, *, alike: bool) -> _PairedRates:
    rows = events.test.y == index
    w, groups = events.test.weight[rows], groups_of(events.test_groups, rows)
    misid, wide = (
        (_rate(pair[0], rows, w, groups, level), _rate(pair[1], rows, w, groups, level)) for level in (LEVEL, WIDE)
    )
    parts = [w * (decision.test[rows] - m.value) / w.sum() for decision, m in zip(pair, misid, strict=True)]
    fixed = _Thresholds(0.0, 0.0, 1.0)
    thresholds, cautious = (fixed if alike else _thresholds(pair, index, events, wide=wide) for wide in (False, True))
    discordant = 0.0 if alike else _one_event(w)

    def deviation(scale_a: float, scale_b: float, thresholds: _Thresholds = thresholds) -> float:
        on_test = variance(scale_b * parts[1] - scale_a * parts[0], groups)
        counted = discordant * max(scale_a, scale_b)
        return float(np.sqrt(on_test + thresholds.variance(scale_a, scale_b) + counted**2))

    rates = [m.value for m in misid]
    log_deviation = deviation(1 / rates[0], 1 / rates[1]) if min(rates) > 0 else float("nan")
    own = deviation(1.0, 1.0)
    return _PairedRates(misid, wide, own, log_deviation, deviation(1.0, 1.0, cautious) / own if own > 0 else 1.0)


def _rate(decision: _Decision, rows: BoolArray, weight: FloatArray, groups: IntArray | None, level: float) -> Measured:
    """The fraction of the candidates in `rows` that pass: between those of the two ends of the edge."""
    loose = proportion(decision.loose[rows], weight, groups, level=level)
    if decision.share == 1:
        return loose
    tight = proportion(decision.tight[rows], weight, groups, level=level)
    return Measured(*(float((1 - decision.share) * t + decision.share * m) for t, m in zip(tight, loose, strict=True)))


def _one_event(weight: FloatArray) -> float:
    """The share of one event of typical weight in all."""
    return float(np.sqrt(inner(weight, weight) / len(weight)) / abs(weight.sum()))


class _Thresholds(NamedTuple):
    """What the fluctuation of the thresholds does to both rates: standard deviations, and their correlation."""

    a: float
    b: float
    correlation: float

    def variance(self, scale_a: float, scale_b: float) -> float:
        """The variance of the difference of the scaled rates."""
        a, b = scale_a * self.a, scale_b * self.b
        return a**2 + b**2 - 2 * self.correlation * a * b


def _thresholds(pair: tuple[_Decision, _Decision], index: int, events: _Events, *, wide: bool) -> _Thresholds:
    """How the signal of the deciding sample moves both rates, by moving the true efficiency of the thresholds.

    A threshold for a fixed target has the true efficiency target - (fluctuation of its own decisions); one for the
    cuts' efficiency follows the fluctuation of the cuts' decisions as well.
    """
    if events.deciding is None:
        return _Thresholds(0.0, 0.0, 0.0)
    slope_a, slope_b = (float(decision.slopes[index]) for decision in pair)
    if pair[0].fixed:
        a, b = (_fluctuation(decision.deciding, events.deciding) for decision in pair)
        weight = events.deciding.weight[events.deciding.is_signal]
        # The gap below a threshold that follows cuts is exponential with a mean of one candidate, and 1.96 times 1.5
        # of its mean hold 95 % of it.
        gap = 1.5 / effective_number(weight)
        return _Thresholds(0.0, slope_b * float(np.sqrt(variance(a - b, events.deciding_groups) + gap**2)), 0.0)
    from_a, from_b = (
        _threshold_deviation(decision.deciding, events.deciding, events.deciding_groups, wide=wide) for decision in pair
    )
    correlation = _correlation(pair, events.deciding, events.deciding_groups)
    return _Thresholds(slope_a * from_a, slope_b * from_b, correlation)


def _fluctuation(chance: Array, deciding: Sample) -> Array:
    """(m,) the influence of each candidate on the efficiency of a decision that it passes with `chance` (m,)."""
    w = np.where(deciding.is_signal, deciding.weight, 0.0)
    w = w / w.sum()
    return np.asarray(w * (chance - np.sum(w * chance)))


def _threshold_deviation(chance: Array, deciding: Sample, groups: IntArray | None, *, wide: bool = False) -> float:
    """The standard deviation of the true efficiency of a threshold that candidates (m,) pass with `chance`.

    That is the fluctuation of the decisions that it makes in the sample which decided it, but where all k = n signal
    candidates pass, or those that fail have small weights, these show none. The true efficiency of the k-th of n
    scores has the variance k (n + 1 - k) / ((n + 1)² (n + 2)) nevertheless (H. A. David and H. N. Nagaraja, Order
    Statistics, 2003, section 2.1). This, with n_eff for n, counts as much as `_PRIOR` candidates that fail.

    What is seen is that of ν = (Σ φ²)² / Σ φ⁴ events of influence φ. Student's quantile for z deviations is that of a
    normal distribution with (1 + (1 + z²) / 2ν) times its variance (to first order in 1/ν; Abramowitz and Stegun,
    Handbook of Mathematical Functions, 26.7.5): with `wide`, z² = 2 is taken, for p-values and intervals of 95 %.
    """
    weight = deciding.weight[deciding.is_signal]
    n = effective_number(weight)
    passing = n * float(np.clip(inner(weight, chance[deciding.is_signal]) / weight.sum(), 0.0, 1.0))
    of_order = passing * (n + 1 - passing) / ((n + 1) ** 2 * (n + 2))
    influence = _fluctuation(chance, deciding)
    squares = (influence if groups is None else sums_by(groups, influence)) ** 2
    seen, fourth = float(squares.sum()), inner(squares, squares)
    if wide and seen > 0:
        seen *= 1 + 1.5 * fourth / seen**2
    return float(np.sqrt(((n - passing) * seen + _PRIOR * of_order) / (n - passing + _PRIOR)))


def _correlation(pair: tuple[_Decision, _Decision], deciding: Sample, groups: IntArray | None) -> float:
    """The correlation of two thresholds' fluctuations, from decisions nearby; not below 0.

    It is shrunk by f / (f + 1/2), with f the effective number of signal candidates that fail: what fails by chance in
    both models alike need not do so next time.
    """
    a, b = (_fluctuation(decision.near, deciding) for decision in pair)
    of_a, of_b, of_both = (variance(each, groups) for each in (a, b, a + b))
    if min(of_a, of_b) <= 0:
        return 0.0
    weight = deciding.weight[deciding.is_signal]
    passing = min(inner(weight, decision.near[deciding.is_signal]) for decision in pair) / weight.sum()
    failing = effective_number(weight) * float(np.clip(1 - passing, 0.0, 1.0))
    found = (of_both - of_a - of_b) / (2 * np.sqrt(of_a * of_b))
    return float(np.clip(found, 0.0, 1.0)) * failing / (failing + 0.5)
