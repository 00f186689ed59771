"""Two models on the same events: differences with paired intervals, and a sentence that names the better one.

The intervals cover the fluctuation of the test events, which both models share, and that of the events of the threshold
sample: their signal moves the thresholds, and each threshold moves its misidentification along the ROC curve. So they
are intervals of the misidentification at the true signal efficiency that the point asks for. A model whose score jumps
from one efficiency to the next is compared at exactly that efficiency, on the straight line between the two. If the
weights were fitted, their error is covered too: replicas of them change both models alike, and the thresholds with
them. The intervals do not cover training again on other events.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pidlab.evaluate.decisions import one_by_one, pair_name
from pidlab.evaluate.intervals import LEVEL, Interval, blocks, effective_number, efficiency, inner, proportion, sums_by
from pidlab.evaluate.points.flat import decided_by
from pidlab.evaluate.points.working_points import (
    HAND_THRESHOLD,
    Crossing,
    SignalSteps,
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
    numbers_of,
    variance,
)
from pidlab.evaluate.results import Comparison, ModelResult, WorkingPoint
from pidlab.evaluate.verdicts import WIDE, Differences, Finding, judged
from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample, WeightReplicas

_NEAR = 10.0
"""The effective number of failing signal candidates that shows how alike two models reject; fewer show little."""

_PRIOR = 2.0
"""The number of events that a variance as of equal weights counts for. With 1 to 3 the fluctuation of thresholds comes
out within a tenth for 160 signal candidates and the weights of `benchmarks/false_winners.py`, except for -1 in 30 % of
them, where it is a fifth too large."""

_STUDENT = 1.5
"""(1 + z²) / 2 with z² = 2: the variance that ν events show is multiplied by 1 + `_STUDENT` / ν for p-values and 95 %
intervals, which is Student's correction to first order; see `_true_efficiency`."""

_SHOWING = 25.0
"""The least effective number of signal candidates over which the slope of a ROC curve is taken: it is known to 20 %."""

_FAILING = 3.0
"""The effective number of failing signal candidates beyond which a ROC curve is too uncertain to take a slope."""

_SLOPE_DEVIATION = 0.5
"""The standard deviation about 1, in normal deviates, of the slopes of ROC curves: scores of the signal and of another
class are usually as wide as each other within a factor of two."""

_AREAS_AT_ONCE = 2
"""The models of a tile: the influences on the AUC of two tiles, of which each takes as much as a column of weights, are
held at once. The pairs of larger tiles would need fewer sorts and more memory."""


class _Passing(NamedTuple):
    """The candidates that pass the two decisions at the ends of an edge of a ROC curve, a bit for each.

    Attributes:
        tight, loose: the bits of the m candidates, by `np.packbits`.
        share: the position of a decision along the edge, from 0 at `tight` to 1 at `loose`.
        n: m.
    """

    tight: NDArray[np.uint8]
    loose: NDArray[np.uint8]
    share: float
    n: int

    @classmethod
    def of(cls, score: Score, edge: Crossing) -> _Passing:
        """Returns the candidates with scores (m,) that pass."""
        loose = np.packbits(passes(score, edge.loose))
        tight = loose if edge.share == 1 or edge.tight == edge.loose else np.packbits(passes(score, edge.tight))
        return cls(tight, loose, edge.share, len(score))

    def ends(self, rows: slice) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Returns for a block of candidates 1 where they pass at the tight end, and where at the loose end."""
        packed = slice(rows.start // 8, -(-rows.stop // 8))  # blocks begin at a whole byte
        loose = np.unpackbits(self.loose[packed], count=rows.stop - rows.start)
        if self.tight is self.loose:
            return loose, loose
        return np.unpackbits(self.tight[packed], count=rows.stop - rows.start), loose

    def states(self, rows: slice) -> NDArray[np.uint8]:
        """Returns the state of each candidate of a block: 2 if it passes at both ends, 1 at the loose one alone."""
        tight, loose = self.ends(rows)
        return tight + loose

    @property
    def chances(self) -> Array:
        """(3,) the probability to pass of a candidate in each state."""
        return np.array([0.0, self.share, (1 - self.share) + self.share])


class _Signal(NamedTuple):
    """The signal of the threshold sample.

    Attributes:
        rows: (m,) true for signal among all candidates of the sample.
        weight: (s,) the weights of the signal.
        events: (s,) the hashes of its events.
        groups: (s,) the numbers of its events, if some share one.
        n: the effective number of events.
        replicas: those of its weights, if these were fitted.
        column: the place of the signal among the classes.
    """

    rows: BoolArray
    weight: FloatArray
    events: NDArray[np.uint64]
    groups: IntArray | None
    n: float
    replicas: WeightReplicas | None
    column: int


class _Totals(NamedTuple):
    """The classes of the test sample: sums of weights and of their squares, and numbers of candidates, (k,) each."""

    sums: Array
    squares: Array
    counts: IntArray

    def effective(self, index: int) -> float:
        """Returns the effective number of events of a class."""
        return float(self.sums[index] ** 2 / self.squares[index]) if self.squares[index] > 0 else 0.0


class _Samples(NamedTuple):
    """The samples of a comparison with their event numbers; without a threshold sample, thresholds are fixed."""

    test: Sample
    test_groups: IntArray | None
    totals: _Totals
    threshold_sample: Sample | None
    signal: _Signal | None

    @classmethod
    def of(cls, test: Sample, threshold_sample: Sample) -> _Samples:
        k, square = len(test.classes), np.zeros(len(test.classes))
        for rows in blocks(len(test)):
            square += sums_by(test.y[rows], test.weight[rows] ** 2, k)
        totals = _Totals(sums_by(test.y, test.weight, k), square, np.bincount(test.y, minlength=k))
        signal = None
        if len(threshold_sample):
            is_signal = threshold_sample.is_signal
            weight = threshold_sample.weight[is_signal]
            groups = groups_of(event_groups(threshold_sample), is_signal)
            events = threshold_sample.event[is_signal]
            replicas = threshold_sample.weight_replicas
            own = None if replicas is None else replicas.take(is_signal)
            signal = _Signal(is_signal, weight, events, groups, effective_number(weight), own, test.signal)
        return cls(test, event_groups(test), totals, threshold_sample if signal else None, signal)


class _Spread(NamedTuple):
    """How the efficiency of a decision fluctuates in the threshold sample.

    Attributes:
        signal: the signal of the threshold sample.
        passing: its decisions.
        mean: their mean, which is the efficiency.
        second, fourth: sums over events of the square and of the fourth power of their influences on the efficiency.
    """

    signal: _Signal
    passing: _Passing
    mean: float
    second: float
    fourth: float


class _ByReplica(NamedTuple):
    """By how much r replicas of the weights change the rates of a decision.

    Attributes:
        misid: (k, r) the fraction of each class of test that passes.
        efficiency: (r,) its signal efficiency in the threshold sample; 0 without such a sample.
    """

    misid: Array
    efficiency: Array


class _Slopes(NamedTuple):
    """The ROC curves of a decision against each class, near it: straight lines in normal deviates.

    Attributes:
        at: (k,) the normal deviates of the rates, for the signal that of the efficiency asked for.
        slopes: (k,) how many deviates the rate of each class changes for one deviate of the signal efficiency.
    """

    at: Array
    slopes: Array


class _Decision(NamedTuple):
    """A decision of a model at exactly the efficiency asked for, on an edge of its ROC curve.

    Attributes:
        on_test: the candidates of test that pass.
        rates: level to the fraction of each class of test that passes.
        own: its fluctuation in the threshold sample; None if there is no such sample.
        nearby: the same for a decision nearby that at least `_NEAR` effective signal candidates fail.
        fixed: True for a fixed cut, which has no threshold.
        curve: its ROC curves near it.
        by_replica: what replicas of the weights change; None if the weights are known.
    """

    on_test: _Passing
    rates: Mapping[float, Sequence[Measured]]
    own: _Spread | None
    nearby: _Spread | None
    fixed: bool
    curve: _Slopes
    by_replica: _ByReplica | None


class _Cut(NamedTuple):
    """A fixed cut, at whose efficiencies the other models are compared with it."""

    name: str
    point: str
    on_test: float
    on_threshold: float


class _ComparedModel(NamedTuple):
    """A model with the signal's score on both samples, and its decisions by working point and by the name of a cut."""

    result: ModelResult
    test_score: FloatArray
    threshold_score: FloatArray
    decisions: dict[str, _Decision]
    at_cuts: dict[_Cut, _Decision]

    @property
    def cut(self) -> tuple[str, str]:
        """The names by which a fixed cut is known."""
        return self.result.name, self.result.working_points[0].name


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
    sample_validation: Sample | Mapping[str, Sample],
    results: Mapping[str, ModelResult],
) -> tuple[Differences, ...]:
    """Returns the differences of each pair of models (a, b), in the order of `scores`; a fixed cut always is a.

    `scores` are (n, k) on test, `scores_validation` (m, k) on the threshold sample, which is train if there is no
    validation. Models of different runs have threshold samples of their own, by their names. Without candidates there,
    a model is compared with a fixed cut at the efficiency of the cut on test, and intervals do not contain the
    fluctuation of thresholds.
    """
    if isinstance(sample_validation, Sample):
        of_models = [_Samples.of(sample_test, sample_validation)] * len(scores)
    else:
        of_models = [_Samples.of(sample_test, sample_validation[name]) for name in scores]
    entries = [
        list(one_by_one(results[name], own, scores_validation.get(name), sample_test)) for name, own in scores.items()
    ]
    both = list(zip(entries, of_models, strict=True))
    cuts = [_cut(*each, samples) for model, samples in both for each in model if each[0].fixed_cut]
    areas = _differences_of_areas([None if m[0][0].fixed_cut else m[0][1] for m in entries], of_models)
    models = [[_compared(*each, cuts, samples) for each in model] for model, samples in both]
    return tuple(
        replace(_compare_all(models[i], models[j], of_models[i]), delta_auc=areas.get((i, j), UNDEFINED))
        for i, j in itertools.combinations(range(len(models)), 2)
    )


def _differences_of_areas(
    scores: Sequence[FloatArray | None], of_models: Sequence[_Samples]
) -> dict[tuple[int, int], Measured]:
    """Returns the difference of the AUC of each pair (i, j) of scores (n,) on test; None stands for a fixed cut."""
    if not of_models:
        return {}
    samples = of_models[0]
    test = samples.test
    is_signal = test.is_signal
    scored = [(i, score) for i, score in enumerate(scores) if score is not None]
    tiles = [scored[i : i + _AREAS_AT_ONCE] for i in range(0, len(scored), _AREAS_AT_ONCE)]
    held: dict[int, Influence | None] = {}
    found = {}
    for place, first in enumerate(tiles):
        # The next tile comes last, because it is the first one of the next turn.
        for second in (first, *reversed(tiles[place + 1 :])):
            needed = dict([*first, *second])
            held = {i: influence for i, influence in held.items() if i in needed}
            for i, score in needed.items():
                if i not in held:
                    held[i] = auc_influence(np.ascontiguousarray(score, np.float32), is_signal, test.weight)
            for (i, _), (j, _) in itertools.product(first, second):
                a, b = held[i], held[j]
                if i < j and a is not None and b is not None:
                    found[i, j] = difference(a, b, samples.test_groups, test.weight_replicas)
    return found


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


def _cut(result: ModelResult, test: FloatArray, on_threshold: FloatArray | None, samples: _Samples) -> _Cut:
    on_test = signal_efficiency(test, samples.test, HAND_THRESHOLD)
    there = on_test
    if samples.threshold_sample is not None:
        own = np.empty(0, np.float32) if on_threshold is None else on_threshold
        there = signal_efficiency(own, samples.threshold_sample, HAND_THRESHOLD)
    return _Cut(result.name, result.working_points[0].name, on_test, there)


def _compared(
    result: ModelResult, test: FloatArray, on_threshold: FloatArray | None, cuts: Sequence[_Cut], samples: _Samples
) -> _ComparedModel:
    own = np.empty(0, np.float32)
    if samples.threshold_sample is not None and on_threshold is not None:
        own = on_threshold
    score, threshold = (np.ascontiguousarray(each, np.float32) for each in (test, own))
    deciding = _Deciding(score, threshold, samples)
    decisions = {p.name: deciding.at_point(p, fixed=result.fixed_cut) for p in result.working_points}
    at_cuts = {} if result.fixed_cut else {cut: deciding.at_cut(cut) for cut in cuts}
    return _ComparedModel(result, test, own, decisions, at_cuts)


class _Deciding:
    """Makes the decisions of a model from its scores on test (n,) and on the threshold sample (m,)."""

    def __init__(self, test: Score, threshold: Score, samples: _Samples) -> None:
        self._test, self._threshold, self._samples = test, threshold, samples

    @cached_property
    def _test_steps(self) -> SignalSteps:
        """The steps of the signal of test."""
        return _signal_steps(_last(self._test), self._samples.test)

    @cached_property
    def _threshold_steps(self) -> SignalSteps:
        """The steps of the signal of the threshold sample."""
        signal = self._samples.signal
        assert signal is not None
        return SignalSteps.of(_last(self._threshold[signal.rows]), signal.weight)

    def at_point(self, point: WorkingPoint, *, fixed: bool) -> _Decision:
        """Returns the decision at the efficiency of a working point; flat points and fixed cuts are taken unchanged.

        Candidates without a score are the last to pass. Where the others are too few for the efficiency, some of them
        pass at random, as on the last edge of the ROC curve, so that both models of a pair keep the same share of the
        signal.
        """
        samples = self._samples
        score, cut = decided_by(point, self._test, samples.test)
        edge = Crossing(cut, cut, 1.0)
        if samples.threshold_sample is None or samples.signal is None:
            return self._decide(score, self._threshold, edge, point.target, fixed=fixed)
        own = decided_by(point, self._threshold, samples.threshold_sample)[0][samples.signal.rows]
        if fixed or point.flat is not None:
            return self._decide(score, own, edge, point.target, fixed=fixed)
        weight = samples.signal.weight
        score, own = _last(score), _last(own)
        reached = float(weight[passes(own, cut)].sum()) >= point.target * float(weight.sum()) * (1 - 1e-12)
        edge = self._threshold_steps.crossing(point.target, cut if reached else None)
        return self._decide(score, own, edge, point.target, steps=lambda: (self._test_steps, self._threshold_steps))

    def at_cut(self, cut: _Cut) -> _Decision:
        """Returns the decision at the efficiency of a fixed cut in the threshold sample, or in test without one."""
        signal = self._samples.signal
        if signal is None:
            edge = _signal_steps(self._test, self._samples.test).crossing(cut.on_threshold)
            return self._decide(self._test, self._threshold, edge, cut.on_threshold)
        own = self._threshold[signal.rows]
        edge = SignalSteps.of(own, signal.weight).crossing(cut.on_threshold)
        return self._decide(self._test, own, edge, cut.on_threshold)

    def _decide(
        self,
        test: Score,
        own: Score,
        edge: Crossing,
        target: float,
        *,
        fixed: bool = False,
        steps: Callable[[], tuple[SignalSteps, SignalSteps]] | None = None,
    ) -> _Decision:
        """Returns a decision on scores of test (n,) and of the signal of the threshold sample (s,).

        `steps` gives those of the signal of both, if they are known.
        """
        samples, signal = self._samples, self._samples.signal
        curve = _Slopes(*np.zeros((2, len(samples.test.classes))))
        on_test = _Passing.of(test, edge)
        rates, passed = _rates(on_test, samples)
        spread = nearby = None if signal is None else _spread(_Passing.of(own, edge), signal)
        if not fixed:
            of_test, of_own = (None, None) if steps is None else steps()
            of_test = _signal_steps(test, samples.test) if of_test is None else of_test
            curve = _slopes(test, of_test, passed, target, samples)
            if signal is not None and spread is not None:
                nearby = _nearby(own, spread, signal, of_own)
                reach = _true_efficiency(spread).deviation
                if _step(edge, own, signal) > 2 * reach:
                    curve = _slopes(test, of_test, passed, target, samples, reach)
        return _Decision(on_test, rates, spread, nearby, fixed, curve, _by_replica(on_test, passed, spread, samples))


def _by_replica(on_test: _Passing, passed: Array, own: _Spread | None, samples: _Samples) -> _ByReplica | None:
    """Returns what replicas of the weights change of a decision; None if the weights are known.

    Args:
        on_test: the decisions on test.
        passed: (k,) the sums of the weights of each class that pass.
        own: the decisions on the signal of the threshold sample.
        samples: the test sample among them.
    """
    test, totals = samples.test, samples.totals.sums
    if test.weight_replicas is None:
        return None
    k = len(totals)
    rates = np.divide(passed, totals, out=np.zeros(k), where=totals != 0)
    shares = np.divide(1.0, totals, out=np.zeros(k), where=totals != 0)
    influence = np.empty(len(test))
    for rows in blocks(len(test)):
        y = test.y[rows]
        influence[rows] = test.weight[rows] * shares[y] * (on_test.chances[on_test.states(rows)] - rates[y])
    misid = [test.weight_replicas.changes(np.where(test.y == c, influence, 0.0)) for c in range(k)]
    efficiency = np.zeros(len(test.weight_replicas))
    if own is not None and own.signal.replicas is not None:
        efficiency = own.signal.replicas.changes(_influences(own.passing, own.mean, own.signal))
    return _ByReplica(np.array(misid), efficiency)


def _signal_steps(score: Score, sample: Sample) -> SignalSteps:
    rows = sample.is_signal
    return SignalSteps.of(score[rows], sample.weight[rows])


def _last(score: Score) -> Score:
    """Returns the scores (n,), with a number below those of any model for candidates without a score."""
    if not np.isnan(score).any():
        return score
    return np.where(np.isnan(score), np.float32(-1e38), score)  # thresholds lie below it, and float32 holds them


def _rates(passing: _Passing, samples: _Samples) -> tuple[dict[float, list[Measured]], Array]:
    """Returns level to the fraction of each class that passes, between those at the two ends of the edge.

    The array (k,) holds the sums of the weights that pass.
    """
    test, k = samples.test, len(samples.test.classes)
    sums, squares = np.zeros((2, k)), np.zeros((2, k))
    for rows in blocks(len(test)):
        y, w, states = test.y[rows].astype(np.intp), test.weight[rows], passing.states(rows)
        cell = 3 * y + states
        by_state, by_state2 = (np.bincount(cell, part, 3 * k).reshape(k, 3) for part in (w, w * w))
        sums += by_state[:, 2], by_state[:, 1] + by_state[:, 2]
        squares += by_state2[:, 2], by_state2[:, 1] + by_state2[:, 2]
    if samples.test_groups is None:
        at_both = {
            level: efficiency(sums, samples.totals.sums, squares, samples.totals.squares, level=level)
            for level in (LEVEL, WIDE)
        }
        of_end = {level: [Interval(*(part[end] for part in both)) for end in (0, 1)] for level, both in at_both.items()}
    else:
        of_end = {level: _rates_by_event(passing, samples, level) for level in (LEVEL, WIDE)}
    share = passing.share
    found = {}
    for level, (tight, loose) in of_end.items():
        both = (
            loose if share == 1 else Interval(*((1 - share) * t + share * m for t, m in zip(tight, loose, strict=True)))
        )
        found[level] = [Measured(*map(float, each)) for each in zip(*both, strict=True)]
    return found, (1 - share) * sums[0] + share * sums[1]


def _rates_by_event(passing: _Passing, samples: _Samples, level: float) -> list[Interval]:
    """Returns the fraction (k,) of each class that passes at the tight end and at the loose end, for whole events."""
    test = samples.test
    found = []
    for end in (0, 1):
        passed = np.concatenate([passing.ends(rows)[end] for rows in blocks(len(test))]).astype(np.bool_)
        rates = []
        for c in range(len(test.classes)):
            rows = test.y == c
            groups = groups_of(samples.test_groups, rows)
            rates.append(proportion(passed[rows], test.weight[rows], groups, level=level))
        found.append(Interval(*np.array(rates).T))
    return found


def _step(edge: Crossing, score: Score, signal: _Signal) -> float:
    """Returns the signal efficiency between both ends of an edge, for the signal's scores (s,)."""
    between = passes(score, edge.loose) & ~passes(score, edge.tight)
    return float(signal.weight[between].sum() / signal.weight.sum())


def _nearby(score: Score, spread: _Spread, signal: _Signal, steps: SignalSteps | None) -> _Spread:
    """Returns a decision, or the spread of a tighter one if fewer than `_NEAR` effective signal candidates fail it.

    The tighter decision keeps at least half of the signal.
    """
    tighter = 1 - min(_NEAR / signal.n, 0.5)
    if spread.mean <= tighter:
        return spread
    steps = SignalSteps.of(score, signal.weight) if steps is None else steps
    return _spread(_Passing.of(score, steps.crossing(tighter)), signal)


def _slopes(
    score: Score, steps: SignalSteps, passed: Array, target: float, samples: _Samples, reach: float | None = None
) -> _Slopes:
    """Returns the ROC curves near a decision on scores (n,) with the efficiency `target`.

    The ROC curve of two normal distributions is a straight line in normal deviates. The slope is taken over half a
    deviate to each side for 400 signal candidates and over less for more, because the curve bends and counts fluctuate
    least on that scale, but over `_SHOWING` candidates at least, of which `_FAILING` more fail. It is averaged with 1
    by their variances, that of 1 being `_SLOPE_DEVIATION`². The variance of this mean is added to its square, since
    variances are multiplied by it.

    A discrete score has straight edges in the curve. If an edge is longer than a threshold fluctuates, the threshold
    moves along that edge, which may be much steeper or flatter than the smooth curve. With `reach`, the slope is
    therefore that between the efficiencies `target` - `reach` and `target` + `reach`, without an average, since all
    candidates of the edge determine it. Here, too, `_FAILING` candidates fail, if they fail `target` itself: the curve
    ends at the lowest signal candidate of test, and its rate there is that of a single candidate.

    Args:
        score: the score of the test sample.
        steps: the steps of its signal.
        passed: (k,) the sums of the weights of each class that pass the decision.
        target: the efficiency of the decision.
        samples: the test sample among them.
        reach: half the range of efficiencies.
    """
    signal, totals = samples.test.signal, samples.totals
    if not steps.total > 0:
        return _Slopes(*np.zeros((2, len(totals.sums))))
    rates = np.divide(passed, totals.sums, out=np.zeros(len(passed)), where=totals.sums != 0)
    rates[signal] = target
    at = _deviates(rates, totals)
    width = 0.5 * (steps.n / 400) ** -0.2
    targets = special.ndtr(at[signal] + width * np.array([-1, 1]))
    n = totals.effective(signal)
    loosest = 1 - _FAILING / n
    targets[1] = max(min(targets[1], loosest), target)
    targets[0] = max(min(targets[0], targets[1] - _SHOWING / n), targets[1] / 2)
    if reach is not None:
        targets = np.array([max(target - reach, 0.0), max(min(target + reach, loosest), target)])
    ends = [_Passing.of(score, steps.crossing(float(each))) for each in targets]
    joint = _joint_powers((ends[0], ends[1]), samples, (1, 2))
    tight, loose = (_end(end, joint, axis, totals) for end, axis in zip(ends, (0, 1), strict=True))
    step = loose.deviates - tight.deviates
    if not step[signal] > 0:
        return _Slopes(at, np.zeros(len(at)))
    slopes = np.maximum(step, 0.0) / step[signal]
    if reach is not None:
        return _Slopes(at, slopes)
    # The influences of the candidates on the difference of the deviates, by class and both states.
    influences = loose.influences[:, None, :] - tight.influences[:, :, None]
    errors = np.sum(joint[1] * influences**2, axis=(1, 2))
    measured = (errors + slopes**2 * errors[signal]) / step[signal] ** 2
    share = _SLOPE_DEVIATION**2 / (_SLOPE_DEVIATION**2 + measured)
    slopes = share * slopes + (1 - share)
    return _Slopes(at, np.sqrt(slopes**2 + share * measured))


class _End(NamedTuple):
    """One end of a piece of the ROC curves of a test sample.

    Attributes:
        deviates: (k,) the normal deviates of the rates.
        influences: (k, 3) of a candidate of weight 1 on the deviate of its class, by its state.
    """

    deviates: Array
    influences: Array


def _end(passing: _Passing, joint: Array, axis: int, totals: _Totals) -> _End:
    """Returns the end with a decision, whose states are the `axis` of the sums `joint` of `_joint_powers`."""
    sums = np.sum(joint[0].sum(axis=2 - axis) * passing.chances, axis=1)
    rates = np.divide(sums, totals.sums, out=np.zeros(len(sums)), where=totals.sums != 0)
    deviates = _deviates(rates, totals)
    density = np.exp(-(deviates**2) / 2) / np.sqrt(2 * np.pi)
    shares = np.divide(1.0, totals.sums, out=np.zeros(len(sums)), where=totals.sums != 0)
    return _End(deviates, (shares / density)[:, None] * (passing.chances[None, :] - rates[:, None]))


def _density(deviate: float) -> float:
    """Returns the density of a normal distribution at a deviate: the change of a rate for one deviate."""
    return float(np.exp(-(deviate**2) / 2) / np.sqrt(2 * np.pi))


def _deviates(rates: Array, totals: _Totals) -> Array:
    """Returns rates (k,) as normal deviates; rates are limited to half a candidate away from 0 and 1."""
    half = 0.5 / np.maximum(totals.counts, 1)
    return np.asarray(special.ndtri(np.clip(rates, half, 1 - half)))


def _compare(pair: tuple[_ComparedModel, _ComparedModel], samples: _Samples) -> Differences:
    """Returns the differences of two models at their points; those of the AUC are found for all models together."""
    a, b = sorted(pair, key=lambda model: not model.result.fixed_cut)  # a fixed cut comes first
    alike = _equal(a.test_score, b.test_score) and _equal(a.threshold_score, b.threshold_score)
    if a.result.fixed_cut:
        (own,) = a.decisions.values()
        (cut,) = (each for each in b.at_cuts if (each.name, each.point) == a.cut) if b.at_cuts else (None,)
        if cut is None:
            efficiency_of_cut = signal_efficiency(a.test_score, samples.test, HAND_THRESHOLD)
            decisions = (own, next(iter(b.decisions.values())))
        else:
            efficiency_of_cut, decisions = cut.on_test, (own, b.at_cuts[cut])
        found = _findings((a, b), pair_name(a.result, b.result), efficiency_of_cut, decisions, samples, alike=alike)
    else:
        theirs = {p.name: p for p in b.result.working_points}
        common = [p for p in a.result.working_points if p.name in theirs and theirs[p.name].target == p.target]
        found = [
            replace(f, attained=(p.efficiency.value, theirs[p.name].efficiency.value), exact=p.flat is None)
            for p in common
            for f in _findings(
                (a, b), p.name, p.target, (a.decisions[p.name], b.decisions[p.name]), samples, alike=alike
            )
        ]
    return Differences(a.result.name, b.result.name, UNDEFINED, tuple(found))


def _equal(a: FloatArray, b: FloatArray) -> bool:
    """Returns True if scores (n,) and (m,) are the same, of which any may be missing."""
    return len(a) == len(b) and all(np.array_equal(a[rows], b[rows], equal_nan=True) for rows in blocks(len(a)))


def _findings(
    models: tuple[_ComparedModel, _ComparedModel],
    name: str,
    efficiency_asked: float,
    pair: tuple[_Decision, _Decision],
    samples: _Samples,
    *,
    alike: bool,
) -> list[Finding]:
    """Returns one finding for each class in test other than the signal."""
    a, b = models
    test, totals = samples.test, samples.totals
    others = [i for i in range(len(test.classes)) if i != test.signal and totals.sums[i]]
    names = (a.result.name, b.result.name)
    joint = _joint_powers((pair[0].on_test, pair[1].on_test), samples, (2, 4)) if samples.test_groups is None else None
    thresholds = [_fluctuations(pair, wide=wide, alike=alike) for wide in (False, True)]
    found = []
    for index in others:
        misid, wide = ((pair[0].rates[level][index], pair[1].rates[level][index]) for level in (LEVEL, WIDE))
        on_test = _on_test(pair, index, (misid[0].value, misid[1].value), joint, samples)
        # The share of a typical event.
        one_event = float(np.sqrt(totals.squares[index] / totals.counts[index]) / abs(totals.sums[index]))
        own_thresholds = thresholds[0].of_class(pair, index)
        own_weights = _WeightErrors.of(pair, index, test.signal)
        cautious = [
            (
                thresholds[1].of_class(pair, index, alike=one_curve),
                _WeightErrors.of(pair, index, test.signal, alike=one_curve, wide=True),
            )
            for one_curve in (False, True)
        ]

        def deviation(
            scale_a: float,
            scale_b: float,
            thresholds: _Thresholds = own_thresholds,
            weights: _WeightErrors = own_weights,
            on_test: _OnTest = on_test,
            one_event: float = 0.0 if alike else one_event,
            *,
            wide: bool = False,
        ) -> float:
            variance = on_test.variance(scale_a, scale_b)
            if wide and variance > 0:
                variance *= 1 + _STUDENT * on_test.fourth(scale_a, scale_b) / variance**2
            counted = one_event * max(scale_a, scale_b)
            variance += thresholds.variance(scale_a, scale_b) + weights.variance(scale_a, scale_b)
            return float(np.sqrt(variance + counted**2))

        rates = [m.value for m in misid]
        log_deviation = deviation(1 / rates[0], 1 / rates[1]) if min(rates) > 0 else float("nan")
        own = deviation(1.0, 1.0)
        student = max(deviation(1.0, 1.0, *each, wide=True) for each in cautious) / own if own > 0 else 1.0
        fixed = (pair[0].fixed, pair[1].fixed)
        found.append(
            Finding(
                names,
                name,
                test.classes[index],
                efficiency_asked,
                fixed,
                alike,
                misid,
                wide,
                own,
                log_deviation,
                student,
            )
        )
    return found


class _WeightErrors(NamedTuple):
    """The changes (r,) of both rates of a class by r replicas of fitted weights; none if the weights are known."""

    a: Array
    b: Array

    @classmethod
    def of(
        cls, pair: tuple[_Decision, _Decision], index: int, signal: int, *, alike: bool = False, wide: bool = False
    ) -> _WeightErrors:
        """Returns the changes of the rates of a class at the efficiency that was asked for.

        Replicas change the rates of both decisions at once, and what both share drops out. They also change the
        efficiency of a threshold in the threshold sample: the threshold for the efficiency that was asked for lies then
        elsewhere, and misidentification moves along the ROC curve. With `wide`, for p-values and 95 % intervals, the
        number of replicas counts as that of events.

        Args:
            pair: the decisions.
            index: the class.
            signal: the place of the signal among the classes.
            alike: whether both curves are the same, see `_rate_slopes`.
            wide: whether changes are those for p-values and 95 % intervals.
        """
        a, b = (decision.by_replica for decision in pair)
        if a is None or b is None:
            return cls(np.zeros(0), np.zeros(0))
        slope_a, slope_b = (
            slope / _density(decision.curve.at[signal]) if not decision.fixed else 0.0
            for slope, decision in zip(_rate_slopes(pair, index, alike=alike), pair, strict=True)
        )
        asked = a.efficiency if pair[0].fixed else 0.0  # the efficiency of a fixed cut changes too
        factor = np.sqrt(1 + _STUDENT / len(a.efficiency)) if wide else 1.0
        of_a = a.misid[index] - slope_a * a.efficiency
        of_b = b.misid[index] - slope_b * (b.efficiency - asked)
        return cls(factor * of_a, factor * of_b)

    def variance(self, scale_a: float, scale_b: float) -> float:
        """Returns the variance of the difference of the scaled rates."""
        if not len(self.a):
            return 0.0
        return float(np.mean((scale_b * self.b - scale_a * self.a) ** 2))


def _joint_powers(pair: tuple[_Passing, _Passing], samples: _Samples, powers: tuple[int, int]) -> Array:
    """Returns sums (2, k, 3, 3) of two powers of the weights of each class in test, by the states of two decisions."""
    test, k = samples.test, len(samples.totals.sums)
    sums = np.zeros((2, 9 * k))
    for rows in blocks(len(test)):
        a, b = (passing.states(rows) for passing in pair)
        cell = 9 * test.y[rows].astype(np.intp) + (3 * a + b)
        for i, power in enumerate(powers):
            sums[i] += np.bincount(cell, test.weight[rows] ** power, 9 * k)
    return sums.reshape(2, k, 3, 3)


class _OnTest(NamedTuple):
    """How the difference of two rates of a class fluctuates with the events of test, by the factors on both rates.

    Attributes:
        variance: the sum over events of squared influences.
        fourth: the sum of their fourth powers.
    """

    variance: Callable[[float, float], float]
    fourth: Callable[[float, float], float]


def _on_test(
    pair: tuple[_Decision, _Decision],
    index: int,
    misid: tuple[float, float],
    joint: Array | None,
    samples: _Samples,
) -> _OnTest:
    """Returns how the difference of the rates of a class fluctuates with the events of test.

    `joint` are the sums of `_joint_powers` if the candidates share no events.
    """
    total = samples.totals.sums[index]
    parts = [decision.on_test.chances - rate for decision, rate in zip(pair, misid, strict=True)]
    if joint is not None:

        def sum_of(power: int) -> Callable[[float, float], float]:
            sums = joint[power // 2 - 1, index] / total**power
            return lambda scale_a, scale_b: float(
                np.sum(sums * (scale_b * parts[1][None, :] - scale_a * parts[0][:, None]) ** power)
            )

        return _OnTest(sum_of(2), sum_of(4))
    test = samples.test
    rows = test.y == index
    w, groups = test.weight[rows], groups_of(samples.test_groups, rows)
    by_event = []
    for decision, part in zip(pair, parts, strict=True):
        states = np.concatenate([decision.on_test.states(block) for block in blocks(len(test))])[rows]
        influence = w * part[states] / total
        by_event.append(influence if groups is None else sums_by(groups, influence))

    def squared(scale_a: float, scale_b: float) -> Array:
        return np.asarray((scale_b * by_event[1] - scale_a * by_event[0]) ** 2)

    def fourth(scale_a: float, scale_b: float) -> float:
        squares = squared(scale_a, scale_b)
        return inner(squares, squares)

    return _OnTest(lambda scale_a, scale_b: float(squared(scale_a, scale_b).sum()), fourth)


class _Thresholds(NamedTuple):
    """How the thresholds fluctuate: standard deviations of one number for each model, and their correlation.

    The numbers are the normal deviates of the true efficiencies, or with `of_class` the rates of a class.
    """

    a: float
    b: float
    correlation: float

    def variance(self, scale_a: float, scale_b: float) -> float:
        """Returns the variance of the difference of the scaled numbers."""
        a, b = scale_a * self.a, scale_b * self.b
        return a**2 + b**2 - 2 * self.correlation * a * b

    def of_class(self, pair: tuple[_Decision, _Decision], index: int, *, alike: bool = False) -> _Thresholds:
        """Returns those of the rates of a class, if these are of the efficiencies of the signal; see `_rate_slopes`."""
        a, b = _rate_slopes(pair, index, alike=alike)
        return _Thresholds(a * self.a, b * self.b, self.correlation)


def _rate_slopes(pair: tuple[_Decision, _Decision], index: int, *, alike: bool) -> tuple[float, float]:
    """Returns how much the rate of a class changes for one normal deviate of the signal efficiency, for both decisions.

    A threshold that is low by chance has a large rate, at which the curve is flatter or steeper than at the efficiency
    asked for. With `alike`, for p-values and 95 % intervals, both curves are the same line through the point halfway
    between the two in normal deviates, as those of models with equal rates are; a fixed cut has none.
    """
    at, slopes = ([float(part[index]) for part in parts] for parts in zip(*(d.curve for d in pair), strict=True))
    if alike and not any(decision.fixed for decision in pair):
        at, slopes = 2 * [sum(at) / 2], 2 * [float(np.mean(slopes))]
    a, b = (slope * _density(each) for slope, each in zip(slopes, at, strict=True))
    return a, b


def _fluctuations(pair: tuple[_Decision, _Decision], *, wide: bool, alike: bool) -> _Thresholds:
    """Returns how the signal of the threshold sample moves the true efficiencies of both thresholds, in deviates.

    The true efficiency of a threshold for a fixed target is the target minus the fluctuation of its own decisions. That
    of a threshold for the efficiency of a fixed cut also contains the fluctuation of the decisions of the cut. Equal
    models have the same thresholds, whose fluctuation cancels.
    """
    a, b = (decision.own for decision in pair)
    if alike or a is None or b is None:
        return _Thresholds(0.0, 0.0, 1.0 if alike else 0.0)
    if pair[0].fixed:
        # The gap below a threshold at the efficiency of a cut is exponential with a mean of one candidate, and 1.96
        # times 1.5 of this mean contain 95 % of it.
        gap = 1.5 / b.signal.n
        deviation = float(np.sqrt(_joint_variance(a, b, -1) + gap**2))
        return _Thresholds(0.0, deviation / _density(pair[1].curve.at[b.signal.column]), 0.0)
    from_a, from_b = (_true_efficiency(each, wide=wide).in_deviates for each in (a, b))
    return _Thresholds(from_a, from_b, _correlation(pair, wide=wide))


def _spread(passing: _Passing, signal: _Signal) -> _Spread:
    """Returns how the efficiency of decisions (s,) on the signal of the threshold sample fluctuates."""
    total = float(signal.weight.sum())
    sums, squares, fourths = np.zeros(3), np.zeros(3), np.zeros(3)
    for rows in blocks(passing.n):
        states, share = passing.states(rows), signal.weight[rows] / total
        sums += np.bincount(states, share, 3)
        squares += np.bincount(states, share**2, 3)
        fourths += np.bincount(states, share**4, 3)
    mean = float(np.sum(sums * passing.chances))
    if signal.groups is None:
        away = (passing.chances - mean) ** 2
        return _Spread(signal, passing, mean, float(np.sum(squares * away)), float(np.sum(fourths * away**2)))
    by_event = _by_event(passing, mean, signal) ** 2
    return _Spread(signal, passing, mean, float(by_event.sum()), inner(by_event, by_event))


def _influences(passing: _Passing, mean: float, signal: _Signal) -> Array:
    """Returns the influence (s,) of each candidate on the efficiency of decisions whose mean is given."""
    states = np.concatenate([passing.states(rows) for rows in blocks(passing.n)])
    return np.asarray(signal.weight / signal.weight.sum() * (passing.chances - mean)[states])


def _by_event(passing: _Passing, mean: float, signal: _Signal) -> Array:
    """Returns each event's influence on the efficiency of decisions whose mean is given."""
    assert signal.groups is not None
    return sums_by(signal.groups, _influences(passing, mean, signal))


def _joint_variance(a: _Spread, b: _Spread, sign: int) -> float:
    """Returns the variance of the sum (`sign` 1) or the difference (-1) of the efficiencies of two decisions.

    Decisions of two threshold samples are correlated by the events that are in both.
    """
    signal = a.signal
    if b.signal is not signal:
        parts = [_influences(each.passing, each.mean, each.signal) for each in (a, b)]
        numbers = numbers_of(np.concatenate([signal.events, b.signal.events]))
        return variance(np.concatenate([parts[0], sign * parts[1]]), numbers)
    if signal.groups is not None:
        return variance(_by_event(a.passing, a.mean, signal) + sign * _by_event(b.passing, b.mean, signal))
    total, squares = float(signal.weight.sum()), np.zeros(9)
    for rows in blocks(a.passing.n):
        cell = 3 * a.passing.states(rows) + b.passing.states(rows)
        squares += np.bincount(cell, (signal.weight[rows] / total) ** 2, 9)
    of_a, of_b = a.passing.chances - a.mean, b.passing.chances - b.mean
    return float(np.sum(squares.reshape(3, 3) * (of_a[:, None] + sign * of_b[None, :]) ** 2))


class _TrueEfficiency(NamedTuple):
    """How the true efficiency of a threshold fluctuates.

    Attributes:
        deviation: its standard deviation.
        in_deviates: that of its normal deviate.
    """

    deviation: float
    in_deviates: float


def _true_efficiency(spread: _Spread, *, wide: bool = False) -> _TrueEfficiency:
    """Returns how the true efficiency of a threshold fluctuates whose decisions have this spread.

    A threshold halfway between the k-th of n scores and the next has a true efficiency whose distribution is beta(k +
    1/2, n + 1/2 - k), and beta(n, 1) below the last of all (H. A. David and H. N. Nagaraja, Order Statistics, 2003,
    section 2.1). It has a width even if all k = n signal candidates pass. Near 1 it is far from normal, but its deviate
    is not: half of its central 68.3 % counts as a standard deviation.

    With weights, n is their effective number, divided by the ratio of the spread's variance to that of n equal weights,
    in which the ratio 1 counts as much as `_PRIOR` events. A large ratio is shown by the events that make it, which are
    ν = (Σ φ²)² / Σ φ⁴ for influences φ. A small one may also come from heavy candidates that happen to pass, so it
    counts as much as the effective number of candidates that fail; the larger result is taken. The number is at least
    1, for which the true efficiency may be any.

    The spread's variance is that of ν events. Student's quantile for z deviations is that of a normal distribution with
    (1 + (1 + z²) / 2ν) times its variance (to first order in 1/ν; Abramowitz and Stegun, Handbook of Mathematical
    Functions, 26.7.5). With `wide`, z² = 2 is used, for p-values and 95 % intervals.
    """
    n, passed = spread.signal.n, float(np.clip(spread.mean, 0.0, 1.0))
    shown = spread.second**2 / spread.fourth if spread.fourth > 0 else 0.0
    failing = n * (1 - passed)
    scale = 1.0
    if shown > 0 and passed * failing > 0:
        ratio = spread.second * n**2 / (passed * failing) * (1 + _STUDENT / shown if wide else 1)
        scale = max((events * ratio + _PRIOR) / (events + _PRIOR) for events in (shown, failing))
    n = max(n / scale, 1.0)
    above = float(np.clip(n * passed + 0.5, 1.0, n))
    low, high = special.ndtri(special.betaincinv(above, n + 1 - above, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return _TrueEfficiency(order_statistic_variance(above, n) ** 0.5, float(high - low) / 2)


def _correlation(pair: tuple[_Decision, _Decision], *, wide: bool = False) -> float:
    """Returns the correlation of two thresholds' fluctuations, from decisions nearby; at least 0.

    It is multiplied by f / (f + 1/2) with the effective number f of signal candidates that fail, because candidates
    that fail both models by chance need not do so in another sample. With `wide`, for p-values and 95 % intervals,
    these are the ones that fail the decisions themselves: beyond those nearby the correlation falls.
    """
    a, b = (decision.nearby for decision in pair)
    if a is None or b is None or min(a.second, b.second) <= 0:
        return 0.0
    counted = [decision.own for decision in pair if decision.own is not None] if wide else [a, b]
    failing = max(each.signal.n * float(np.clip(1 - each.mean, 0.0, 1.0)) for each in counted)
    found = (_joint_variance(a, b, 1) - a.second - b.second) / (2 * np.sqrt(a.second * b.second))
    return float(np.clip(found, 0.0, 1.0)) * failing / (failing + 0.5)
