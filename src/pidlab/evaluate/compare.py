"""Two models on the same events: differences with paired intervals, and a sentence that says who wins.

What the intervals cover: the fluctuation of the test events, shared by both models, and that of the events which
decided the thresholds (their signal moves the thresholds, and each threshold moves its misidentification along the
ROC curve). So they are about the misidentification at the true signal efficiency that the point asks for. They do not
cover training again on other events.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pidlab.evaluate.decisions import one_by_one, pair_name, put_together
from pidlab.evaluate.flat import decided_by
from pidlab.evaluate.intervals import LEVEL, inner, proportion, sums_by
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
from pidlab.evaluate.results import UNDEFINED, Array, Comparison, Measured, ModelResult, PairedPoint, WorkingPoint
from pidlab.evaluate.verdicts import WIDE, Finding, sentence
from pidlab.evaluate.working_points import HAND_THRESHOLD, passes, signal_efficiency, threshold_at
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample

Scores = NDArray[np.floating[Any]]


class _Events(NamedTuple):
    """The samples of a comparison with the events of their candidates; without `deciding`, thresholds are as given."""

    test: Sample
    test_groups: IntArray | None
    deciding: Sample | None
    deciding_groups: IntArray | None


class _Decision(NamedTuple):
    """One threshold of one model: what passes in test (n,) and in the sample that decided it (m,).

    `fixed` is true for somebody's cuts, which no threshold moves; `slopes` (k,) is d misid / d signal efficiency of
    each class.
    """

    test: BoolArray
    deciding: BoolArray
    fixed: bool
    slopes: Array


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


def _compare_all(a: Sequence[_Model], b: Sequence[_Model], events: _Events) -> Comparison:
    """Two models; of one without a score each decision, with that of the other at the point of the same name."""
    both = min(len(a), len(b)) > 1
    pairs = [(x, y) for x in a for y in b if not both or x.decisions.keys() == y.decisions.keys()]
    if not pairs:
        return Comparison(a[0].result.name, b[0].result.name, UNDEFINED, ())
    return put_together([_compare(*_cuts_first(x, y), events) for x, y in pairs])


def _model(result: ModelResult, scores: Scores, deciding: Scores | None, events: _Events) -> _Model:
    test = signal_score(scores, events.test)
    empty = np.empty(0, np.float32)
    decided = empty if events.deciding is None or deciding is None else signal_score(deciding, events.deciding)
    area = None if result.single_point else auc_influence(test, events.test.is_signal, events.test.weight)
    points = {
        p.name: _decide(*_distances(p, test, decided, events), events.test, fixed=result.single_point)
        for p in result.working_points
    }
    return _Model(result, test, decided, area, points)


def _distances(point: WorkingPoint, test: Score, deciding: Score, events: _Events) -> tuple[Score, Score, float]:
    """Scores on test and on the deciding sample, and the threshold on both, that make the point's decision."""
    score, threshold = decided_by(point, test, events.test)
    return score, deciding if events.deciding is None else decided_by(point, deciding, events.deciding)[0], threshold


def _cuts_first(a: _Model, b: _Model) -> tuple[_Model, _Model]:
    return (b, a) if b.result.single_point and not a.result.single_point else (a, b)


def _decide(test: Score, deciding: Score, threshold: float, sample: Sample, *, fixed: bool) -> _Decision:
    slopes = np.zeros(len(sample.classes)) if fixed else _slopes(test, threshold, sample)
    return _Decision(passes(test, threshold), passes(deciding, threshold), fixed, slopes)


def _slopes(score: Score, threshold: float, sample: Sample) -> Array:
    """(k,) d misid / d efficiency of each class at a threshold.

    Between two normal distributions, the ROC curve is a line in normal deviates: its slope is taken there, over half
    a deviate to each side for 400 signal candidates and less for more, where the curve bends least and counts scatter
    least.
    """
    signal, w = score[sample.is_signal], sample.weight[sample.is_signal]
    if not w.sum() > 0:
        return np.zeros(len(sample.classes))
    at = _deviates(_pass_rates(score, threshold, sample), sample)
    width = 0.5 * (len(w) / 400) ** -0.2
    targets = special.ndtr(at[sample.signal] + width * np.array([-1, 1]))
    tight, loose = (
        _deviates(_pass_rates(score, threshold_at(signal, w, target), sample), sample) for target in targets
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


def _pass_rates(score: Score, threshold: float, sample: Sample) -> Array:
    """(k,) the fraction of each class that passes, 0 for an absent one."""
    k = len(sample.classes)
    total = sums_by(sample.y, sample.weight, k)
    passed = sums_by(sample.y, np.where(passes(score, threshold), sample.weight, 0.0), k)
    return np.divide(passed, total, out=np.zeros(k), where=total != 0)


def _compare(a: _Model, b: _Model, events: _Events) -> Comparison:
    area = UNDEFINED if a.area is None or b.area is None else difference(a.area, b.area, events.test_groups)
    if a.result.single_point:
        efficiency = signal_efficiency(a.test, events.test, HAND_THRESHOLD)
        (own,) = a.decisions.values()
        name = pair_name(a.result, b.result)
        points = _paired((a, b), name, efficiency, (own, _at_cuts(a, b, events)), events)
    else:
        theirs = {p.name: p.target for p in b.result.working_points}
        common = [p for p in a.result.working_points if theirs.get(p.name) == p.target]
        pairs = [(p, (a.decisions[p.name], b.decisions[p.name])) for p in common]
        points = [point for p, pair in pairs for point in _paired((a, b), p.name, p.target, pair, events)]
    return Comparison(a.result.name, b.result.name, area, tuple(points))


def _at_cuts(cuts: _Model, other: _Model, events: _Events) -> _Decision:
    """The other model at the efficiency that the cuts have where thresholds are decided; other cuts as they are."""
    if other.result.single_point:
        return next(iter(other.decisions.values()))
    sample, own, score = events.deciding, cuts.deciding, other.deciding
    if sample is None:
        sample, own, score = events.test, cuts.test, other.test
    rows = sample.is_signal
    threshold = threshold_at(score[rows], sample.weight[rows], signal_efficiency(own, sample, HAND_THRESHOLD))
    return _decide(other.test, other.deciding, threshold, events.test, fixed=False)


def _paired(
    models: tuple[_Model, _Model], name: str, efficiency: float, pair: tuple[_Decision, _Decision], events: _Events
) -> list[PairedPoint]:
    """One PairedPoint for each class, other than the signal, that test has."""
    a, b = models
    alike = np.array_equal(a.test, b.test, equal_nan=True) and np.array_equal(a.deciding, b.deciding, equal_nan=True)
    sample, points = events.test, []
    for index, particle in enumerate(sample.classes):
        if index == sample.signal or not sample.weight[sample.y == index].sum():
            continue
        misid, wide, deviation, log_deviation = _rates(pair, index, events, alike=alike)
        names, fixed = (a.result.name, b.result.name), (pair[0].fixed, pair[1].fixed)
        finding = Finding(names, name, particle, efficiency, fixed, alike, misid, wide, deviation, log_deviation)
        ratio = finding.ratio(wide=False)
        points.append(PairedPoint(name, particle, efficiency, finding.delta_misid, ratio, sentence(finding)))
    return points


class _Rates(NamedTuple):
    """Misidentification by both, at 68.3 % and 95 %, and the paired deviations of their difference and log ratio."""

    misid: tuple[Measured, Measured]
    wide: tuple[Measured, Measured]
    deviation: float
    log_deviation: float


def _rates(pair: tuple[_Decision, _Decision], index: int, events: _Events, *, alike: bool) -> _Rates:
    rows = events.test.y == index
    w, groups = events.test.weight[rows], groups_of(events.test_groups, rows)
    chosen = [decision.test[rows] for decision in pair]
    misid, wide = (
        (proportion(chosen[0], w, groups, level=level), proportion(chosen[1], w, groups, level=level))
        for level in (LEVEL, WIDE)
    )
    parts = [w * (c - m.value) / w.sum() for c, m in zip(chosen, misid, strict=True)]
    moves = _moves(pair, index, events.deciding)
    steps = (0.0, 0.0) if alike else _steps(pair, index, w, events.deciding)

    def deviation(scale_a: float, scale_b: float) -> float:
        on_test = variance(scale_b * parts[1] - scale_a * parts[0], groups)
        by_threshold = variance(scale_b * moves[1] - scale_a * moves[0], events.deciding_groups)
        counted = steps[0] * max(scale_a, scale_b), steps[1] * scale_b
        return float(np.sqrt(on_test + by_threshold + counted[0] ** 2 + counted[1] ** 2))

    rates = [m.value for m in misid]
    log_deviation = deviation(1 / rates[0], 1 / rates[1]) if min(rates) > 0 else float("nan")
    return _Rates(misid, wide, deviation(1.0, 1.0), log_deviation)


def _steps(
    pair: tuple[_Decision, _Decision], index: int, weight: FloatArray, deciding: Sample | None
) -> tuple[float, float]:
    """What counting in whole events leaves open: one more discordant event in test, 1.5 below a threshold set by cuts.

    Decisions that never differ in these samples may differ in the next. The gap below such a threshold is exponential
    with a mean of one event, and 1.96 times 1.5 of its mean hold 95 % of it.
    """
    if deciding is None or not pair[0].fixed:
        return _one_event(weight), 0.0
    return _one_event(weight), 1.5 * float(pair[1].slopes[index]) * _one_event(deciding.weight[deciding.is_signal])


def _one_event(weight: FloatArray) -> float:
    """The share of one event of typical weight in all."""
    return float(np.sqrt(inner(weight, weight) / len(weight)) / abs(weight.sum()))


def _moves(pair: tuple[_Decision, _Decision], index: int, deciding: Sample | None) -> tuple[Array, Array]:
    """How each candidate (m,) of the deciding sample moves both rates, by moving the true efficiency of the thresholds.

    A threshold for a fixed target has the true efficiency target - (fluctuation of its own decisions); one for the
    cuts' efficiency follows the fluctuation of the cuts' decisions as well.
    """
    if deciding is None:
        return np.zeros(0), np.zeros(0)
    w = np.where(deciding.is_signal, deciding.weight, 0.0)
    w = w / w.sum()
    a, b = (w * (decision.deciding - np.sum(w, where=decision.deciding)) for decision in pair)
    aim_of_b = a if pair[0].fixed else 0.0
    return -pair[0].slopes[index] * a, pair[1].slopes[index] * (aim_of_b - b)
