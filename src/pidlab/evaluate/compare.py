"""Two models on the same events: differences with paired intervals, and a sentence that names the better one.

The intervals cover the fluctuation of the test events, which both models share, and that of the events of the threshold
sample: their signal moves the thresholds, and each threshold moves its misidentification along the ROC curve. So they
are intervals of the misidentification at the true signal efficiency that the point asks for. A model whose score jumps
from one efficiency to the next is compared at exactly that efficiency, on the straight line between the two. The
intervals do not cover training again on other events.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import special

from pidlab.evaluate.decisions import one_by_one, pair_name
from pidlab.evaluate.intervals import LEVEL, effective_number, inner, proportion, sums_by
from pidlab.evaluate.points.flat import decided_by
from pidlab.evaluate.points.working_points import (
    HAND_THRESHOLD,
    Crossing,
    crossing,
    order_statistic_variance,
    passes,
    signal_efficiency,
)
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

_NEAR = 10.0
"""The effective number of failing signal candidates that shows how alike two models reject; fewer show little."""

_PRIOR = 3.0
"""The number of failing candidates that the variance by order statistics counts for. With 3, equal models are reported
as different in 1 to 7 % of toys (`benchmarks/false_winners.py`); with 0, in up to half."""


class _Samples(NamedTuple):
    """The samples of a comparison with their event numbers; without a threshold sample, thresholds are fixed."""

    test: Sample
    test_groups: IntArray | None
    threshold_sample: Sample | None
    threshold_groups: IntArray | None


class _Decision(NamedTuple):
    """A decision of a model at exactly the efficiency asked for, on an edge of its ROC curve.

    Attributes:
        tight, loose: (n,) the candidates of test that pass at the two ends of the edge.
        share: the position of the decision along the edge, from 0 at `tight` to 1 at `loose`.
        chance: (m,) the probability of each candidate of the threshold sample to pass.
        nearby: (m,) the same for a decision nearby that at least `_NEAR` effective signal candidates fail.
        fixed: True for a fixed cut, which has no threshold.
        slopes: (k,) d misid / d signal efficiency of each class.
    """

    tight: BoolArray
    loose: BoolArray
    share: float
    chance: Array
    nearby: Array
    fixed: bool
    slopes: Array

    @property
    def on_test(self) -> Array:
        """Returns the probability (n,) of each candidate of test to pass."""
        return np.asarray((1 - self.share) * self.tight + self.share * self.loose)


class _ComparedModel(NamedTuple):
    """A model with the signal's score on both samples, its AUC with influences, and its decisions by working point."""

    result: ModelResult
    test_score: Score
    threshold_score: Score
    area: Influence | None
    decisions: dict[str, _Decision]


def compare_models(
    scores: Mapping[str, FloatArray],
    sample_test: Sample,
    scores_validation: Mapping[str, FloatArray],
    sample_validation: Sample,
    results: Mapping[str, ModelResult],
) -> tuple[Comparison, ...]:
    """Compares each pair of models (a, b) on the same test events by `find_differences`, and judges all together."""
    return judged(find_differences(scores, sample_test, scores_validation, sample_validation, results))


def find_differences(
    scores: Mapping[str, FloatArray],
    sample_test: Sample,
    scores_validation: Mapping[str, FloatArray],
    sample_validation: Sample,
    results: Mapping[str, ModelResult],
) -> tuple[Differences, ...]:
    """Returns the differences of each pair of models (a, b), in the order of `scores`; a fixed cut always is a.

    `scores` are (n, k) on test, `scores_validation` (m, k) on the threshold sample, which is train if there is no
    validation. Without candidates there, a model is compared with a fixed cut at the efficiency of the cut on test, and
    intervals do not contain the fluctuation of thresholds.
    """
    threshold = sample_validation if len(sample_validation) else None
    groups = None if threshold is None else event_groups(threshold)
    samples = _Samples(sample_test, event_groups(sample_test), threshold, groups)
    models = [
        [_compared(*each, samples) for each in one_by_one(results[name], own, scores_validation.get(name), sample_test)]
        for name, own in scores.items()
    ]
    return tuple(_compare_all(a, b, samples) for a, b in itertools.combinations(models, 2))


def _compare_all(a: Sequence[_ComparedModel], b: Sequence[_ComparedModel], samples: _Samples) -> Differences:
    """Returns the differences of two models, each given as one model for each of its decisions if it has no score.

    If both have several, those at the points of the same name are compared.
    """
    both = min(len(a), len(b)) > 1
    pairs = [(x, y) for x in a for y in b if not both or x.decisions.keys() == y.decisions.keys()]
    if not pairs:
        return Differences(a[0].result.name, b[0].result.name, UNDEFINED, ())
    found = [_compare(pair, samples) for pair in pairs]
    return replace(found[0], findings=tuple(finding for each in found for finding in each.findings))


def _compared(
    result: ModelResult, scores: FloatArray, on_threshold: FloatArray | None, samples: _Samples
) -> _ComparedModel:
    test, threshold = signal_score(scores, samples.test), np.empty(0, np.float32)
    if samples.threshold_sample is not None and on_threshold is not None:
        threshold = signal_score(on_threshold, samples.threshold_sample)
    area = None if result.fixed_cut else auc_influence(test, samples.test.is_signal, samples.test.weight)
    decisions = {p.name: _at_point(p, test, threshold, samples, fixed=result.fixed_cut) for p in result.working_points}
    return _ComparedModel(result, test, threshold, area, decisions)


def _at_point(point: WorkingPoint, test: Score, threshold: Score, samples: _Samples, *, fixed: bool) -> _Decision:
    """Returns the decision at the efficiency of a working point; flat points and fixed cuts are taken unchanged.

    Candidates without a score are the last to pass. Where the others are too few for the efficiency, some of them pass
    at random, as on the last edge of the ROC curve, so that both models of a pair keep the same share of the signal.
    """
    score, cut = decided_by(point, test, samples.test)
    edge = Crossing(cut, cut, 1.0)
    if samples.threshold_sample is None:
        return _decide(score, threshold, edge, point.target, samples, fixed=fixed)
    own = decided_by(point, threshold, samples.threshold_sample)[0]
    if not fixed and point.flat is None:
        rows = samples.threshold_sample.is_signal
        weight = samples.threshold_sample.weight[rows]
        score, own = _last(score), _last(own)
        reached = float(weight[passes(own[rows], cut)].sum()) >= point.target * float(weight.sum()) * (1 - 1e-12)
        edge = crossing(own[rows], weight, point.target, cut if reached else None)
    return _decide(score, own, edge, point.target, samples, fixed=fixed)


def _last(score: Score) -> Score:
    """Returns the scores (n,), with a number below those of any model for candidates without a score."""
    return np.where(np.isnan(score), np.float32(-1e38), score)  # thresholds lie below it, and float32 holds them


def _decide(
    test: Score, threshold: Score, edge: Crossing, target: float, samples: _Samples, *, fixed: bool = False
) -> _Decision:
    chance = nearby = edge.chance(threshold)
    slopes = np.zeros(len(samples.test.classes))
    if not fixed:
        on_test = edge.chance(test)
        slopes = _slopes(test, on_test, target, samples.test)
        if samples.threshold_sample is not None:
            nearby = _nearby(threshold, chance, samples.threshold_sample)
            reach = _threshold_deviation(chance, samples.threshold_sample, samples.threshold_groups)
            if _step(edge, threshold, samples.threshold_sample) > 2 * reach:
                slopes = _slopes(test, on_test, target, samples.test, reach)
    ends = passes(test, edge.tight), passes(test, edge.loose)
    return _Decision(*ends, edge.share, chance, nearby, fixed, slopes)


def _step(edge: Crossing, score: Score, sample: Sample) -> float:
    """Returns the signal efficiency between both ends of an edge, for scores (m,) of the threshold sample."""
    between = passes(score, edge.loose) & ~passes(score, edge.tight) & sample.is_signal
    return float(sample.weight[between].sum() / sample.weight[sample.is_signal].sum())


def _nearby(score: Score, chance: Array, sample: Sample) -> Array:
    """Returns `chance` (m,), or that of a tighter decision if fewer than `_NEAR` effective signal candidates fail.

    The tighter decision keeps at least half of the signal.
    """
    rows = sample.is_signal
    weight = sample.weight[rows]
    tighter = 1 - min(_NEAR / effective_number(weight), 0.5)
    if inner(weight, chance[rows]) / weight.sum() <= tighter:
        return chance
    return crossing(score[rows], weight, tighter).chance(score)


def _slopes(score: Score, chance: Array, target: float, sample: Sample, reach: float | None = None) -> Array:
    """Returns d misid / d efficiency (k,) of each class for a decision on scores (n,) with the efficiency `target`.

    `chance` (n,) is the probability of each candidate to pass it.

    The ROC curve of two normal distributions is a straight line in normal deviates. The slope is taken there, over half
    a deviate to each side for 400 signal candidates and over less for more, because the curve bends and counts
    fluctuate least on that scale. A discrete score has straight edges in the curve. If an edge is longer than a
    threshold fluctuates, the threshold moves along that edge, which may be much steeper or flatter than the smooth
    curve. With `reach`, the slope is therefore that between the efficiencies `target` - `reach` and `target` + `reach`.
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
    """Returns rates (k,) as normal deviates; rates are limited to half a candidate away from 0 and 1."""
    half = 0.5 / np.maximum(np.bincount(sample.y, minlength=len(rates)), 1)
    return np.asarray(special.ndtri(np.clip(rates, half, 1 - half)))


def _pass_rates(chance: Array, sample: Sample) -> Array:
    """Returns the fraction (k,) of each class that passes with `chance` (n,), 0 for an absent class."""
    k = len(sample.classes)
    total = sums_by(sample.y, sample.weight, k)
    passed = sums_by(sample.y, chance * sample.weight, k)
    return np.divide(passed, total, out=np.zeros(k), where=total != 0)


def _compare(pair: tuple[_ComparedModel, _ComparedModel], samples: _Samples) -> Differences:
    a, b = sorted(pair, key=lambda model: not model.result.fixed_cut)  # a fixed cut comes first
    area = UNDEFINED if a.area is None or b.area is None else difference(a.area, b.area, samples.test_groups)
    if a.result.fixed_cut:
        efficiency = signal_efficiency(a.test_score, samples.test, HAND_THRESHOLD)
        (own,) = a.decisions.values()
        found = _findings((a, b), pair_name(a.result, b.result), efficiency, (own, _at_cut(a, b, samples)), samples)
    else:
        theirs = {p.name: p for p in b.result.working_points}
        common = [p for p in a.result.working_points if p.name in theirs and theirs[p.name].target == p.target]
        decisions = [(a.decisions[p.name], b.decisions[p.name]) for p in common]
        found = [
            replace(f, attained=(p.efficiency.value, theirs[p.name].efficiency.value), exact=p.flat is None)
            for p, d in zip(common, decisions, strict=True)
            for f in _findings((a, b), p.name, p.target, d, samples)
        ]
    return Differences(a.result.name, b.result.name, area, tuple(found))


def _at_cut(cut: _ComparedModel, other: _ComparedModel, samples: _Samples) -> _Decision:
    """Returns the other model's decision at the cut's efficiency in the threshold sample; a fixed cut is unchanged."""
    if other.result.fixed_cut:
        return next(iter(other.decisions.values()))
    sample, own, score = samples.threshold_sample, cut.threshold_score, other.threshold_score
    if sample is None:
        sample, own, score = samples.test, cut.test_score, other.test_score
    rows = sample.is_signal
    target = signal_efficiency(own, sample, HAND_THRESHOLD)
    edge = crossing(score[rows], sample.weight[rows], target)
    return _decide(other.test_score, other.threshold_score, edge, target, samples)


def _findings(
    models: tuple[_ComparedModel, _ComparedModel],
    name: str,
    efficiency: float,
    pair: tuple[_Decision, _Decision],
    samples: _Samples,
) -> list[Finding]:
    """Returns one finding for each class in test other than the signal."""
    a, b = models
    sample = samples.test
    alike = np.array_equal(a.test_score, b.test_score, equal_nan=True) and np.array_equal(
        a.threshold_score, b.threshold_score, equal_nan=True
    )
    others = [i for i in range(len(sample.classes)) if i != sample.signal and sample.weight[sample.y == i].sum()]
    names = (a.result.name, b.result.name)
    return [_finding(names, name, efficiency, pair, i, samples, alike=alike) for i in others]


def _finding(
    names: tuple[str, str],
    point: str,
    efficiency: float,
    pair: tuple[_Decision, _Decision],
    index: int,
    samples: _Samples,
    *,
    alike: bool,
) -> Finding:
    rows = samples.test.y == index
    w, groups = samples.test.weight[rows], groups_of(samples.test_groups, rows)
    misid, wide = (
        (_rate(pair[0], rows, w, groups, level), _rate(pair[1], rows, w, groups, level)) for level in (LEVEL, WIDE)
    )
    parts = [w * (decision.on_test[rows] - m.value) / w.sum() for decision, m in zip(pair, misid, strict=True)]
    constant = _Thresholds(0.0, 0.0, 1.0)
    thresholds, cautious = (
        constant if alike else _thresholds(pair, index, samples, wide=wide) for wide in (False, True)
    )
    one_event = 0.0 if alike else float(np.sqrt(inner(w, w) / len(w)) / abs(w.sum()))  # the share of a typical one

    def deviation(scale_a: float, scale_b: float, thresholds: _Thresholds = thresholds) -> float:
        on_test = variance(scale_b * parts[1] - scale_a * parts[0], groups)
        counted = one_event * max(scale_a, scale_b)
        return float(np.sqrt(on_test + thresholds.variance(scale_a, scale_b) + counted**2))

    rates = [m.value for m in misid]
    log_deviation = deviation(1 / rates[0], 1 / rates[1]) if min(rates) > 0 else float("nan")
    own = deviation(1.0, 1.0)
    student = deviation(1.0, 1.0, cautious) / own if own > 0 else 1.0
    fixed, particle = (pair[0].fixed, pair[1].fixed), samples.test.classes[index]
    return Finding(names, point, particle, efficiency, fixed, alike, misid, wide, own, log_deviation, student)


def _rate(decision: _Decision, rows: BoolArray, weight: FloatArray, groups: IntArray | None, level: float) -> Measured:
    """Returns the fraction of the candidates `rows` that pass, between those at the two ends of the edge."""
    loose = proportion(decision.loose[rows], weight, groups, level=level)
    if decision.share == 1:
        return loose
    tight = proportion(decision.tight[rows], weight, groups, level=level)
    return Measured(*(float((1 - decision.share) * t + decision.share * m) for t, m in zip(tight, loose, strict=True)))


class _Thresholds(NamedTuple):
    """The standard deviations of both rates by the fluctuation of the thresholds, and their correlation."""

    a: float
    b: float
    correlation: float

    def variance(self, scale_a: float, scale_b: float) -> float:
        """Returns the variance of the difference of the scaled rates."""
        a, b = scale_a * self.a, scale_b * self.b
        return a**2 + b**2 - 2 * self.correlation * a * b


def _thresholds(pair: tuple[_Decision, _Decision], index: int, samples: _Samples, *, wide: bool) -> _Thresholds:
    """Returns how the signal of the threshold sample moves both rates, by moving the true efficiency of the thresholds.

    The true efficiency of a threshold for a fixed target is the target minus the fluctuation of its own decisions. That
    of a threshold for the efficiency of a fixed cut also contains the fluctuation of the decisions of the cut.
    """
    sample, groups = samples.threshold_sample, samples.threshold_groups
    if sample is None:
        return _Thresholds(0.0, 0.0, 0.0)
    slope_a, slope_b = (float(decision.slopes[index]) for decision in pair)
    if pair[0].fixed:
        a, b = (_fluctuation(decision.chance, sample) for decision in pair)
        # The gap below a threshold at the efficiency of a cut is exponential with a mean of one candidate, and 1.96
        # times 1.5 of this mean contain 95 % of it.
        gap = 1.5 / effective_number(sample.weight[sample.is_signal])
        return _Thresholds(0.0, slope_b * float(np.sqrt(variance(a - b, groups) + gap**2)), 0.0)
    from_a, from_b = (_threshold_deviation(decision.chance, sample, groups, wide=wide) for decision in pair)
    return _Thresholds(slope_a * from_a, slope_b * from_b, _correlation(pair, sample, groups))


def _fluctuation(chance: Array, sample: Sample) -> Array:
    """Returns each candidate's influence (m,) on the efficiency of a decision that it passes with `chance` (m,)."""
    w = np.where(sample.is_signal, sample.weight, 0.0)
    w = w / w.sum()
    return np.asarray(w * (chance - np.sum(w * chance)))


def _threshold_deviation(chance: Array, sample: Sample, groups: IntArray | None, *, wide: bool = False) -> float:
    """Returns the standard deviation of the true efficiency of a threshold that candidates pass with `chance` (m,).

    This is the fluctuation of its decisions in the threshold sample. But these show no fluctuation if all k = n signal
    candidates pass or those that fail have small weights, whereas the true efficiency of the k-th of n scores still has
    the variance of `order_statistic_variance`. That variance, with n_eff for n, counts as much as `_PRIOR` failing
    candidates.

    The measured variance is that of ν = (Σ φ²)² / Σ φ⁴ events of influence φ. Student's quantile for z deviations is
    that of a normal distribution with (1 + (1 + z²) / 2ν) times its variance (to first order in 1/ν; Abramowitz and
    Stegun, Handbook of Mathematical Functions, 26.7.5). With `wide`, z² = 2 is used, for p-values and 95 % intervals.
    """
    weight = sample.weight[sample.is_signal]
    n = effective_number(weight)
    passing = n * float(np.clip(inner(weight, chance[sample.is_signal]) / weight.sum(), 0.0, 1.0))
    influence = _fluctuation(chance, sample)
    squares = (influence if groups is None else sums_by(groups, influence)) ** 2
    seen, fourth = float(squares.sum()), inner(squares, squares)
    if wide and seen > 0:
        seen *= 1 + 1.5 * fourth / seen**2
    prior = _PRIOR * order_statistic_variance(passing, n)
    return float(np.sqrt(((n - passing) * seen + prior) / (n - passing + _PRIOR)))


def _correlation(pair: tuple[_Decision, _Decision], sample: Sample, groups: IntArray | None) -> float:
    """Returns the correlation of two thresholds' fluctuations, from decisions nearby; at least 0.

    It is multiplied by f / (f + 1/2) with the effective number f of signal candidates that fail, because candidates
    that fail both models by chance need not do so in another sample.
    """
    a, b = (_fluctuation(decision.nearby, sample) for decision in pair)
    of_a, of_b, of_both = (variance(each, groups) for each in (a, b, a + b))
    if min(of_a, of_b) <= 0:
        return 0.0
    weight = sample.weight[sample.is_signal]
    passing = min(inner(weight, decision.nearby[sample.is_signal]) for decision in pair) / weight.sum()
    failing = effective_number(weight) * float(np.clip(1 - passing, 0.0, 1.0))
    found = (of_both - of_a - of_b) / (2 * np.sqrt(of_a * of_b))
    return float(np.clip(found, 0.0, 1.0)) * failing / (failing + 0.5)
