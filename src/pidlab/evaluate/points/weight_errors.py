"""The statistical error of weights that were fitted, added to the intervals of what they weigh.

The interval of a rate takes the weights as known. Replicas of the weights say what it would have been with others: the
root mean square of the differences adds to both sides of the interval in quadrature. Where an interval is made of
influences (paired comparisons, importance, everything of a regression), these give the same differences to first order,
see `pidlab.sample.WeightReplicas.changes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pidlab.evaluate.curves import pair_score
from pidlab.evaluate.decisions import one_by_one
from pidlab.evaluate.histograms import bins_of
from pidlab.evaluate.intervals import inverse, widened
from pidlab.evaluate.metrics import UNDECIDED, decide
from pidlab.evaluate.points.flat import decided_by
from pidlab.evaluate.points.optimal import REST
from pidlab.evaluate.points.working_points import passes
from pidlab.evaluate.ranking import ScoredSample, signal_score
from pidlab.evaluate.results import EfficiencyMap, ModelResult, Roc, WorkingPoint
from pidlab.measured import Array
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample, WeightReplicas


class _Counted(NamedTuple):
    """Candidates in m cells, and the sum of weights in each of them by the weights and by r replicas.

    Attributes:
        nominal: (m,) by the weights.
        replicas: (r, m) by each replica.
    """

    nominal: Array
    replicas: Array

    @classmethod
    def of(cls, cell: IntArray, n_cells: int, weight: FloatArray, replicas: WeightReplicas) -> _Counted:
        """Returns the sums of candidates whose cells are `cell` (n,); those of a negative cell are left out."""
        held = np.flatnonzero(cell >= 0)
        place, own = cell[held].astype(np.intp), weight[held].astype(np.float64)
        sums = [np.bincount(place, own * factor, n_cells) for factor in replicas.take(held)]
        return cls(np.bincount(place, own, n_cells).astype(np.float64), np.array(sums, np.float64))

    def both(self) -> tuple[Array, Array]:
        """Returns the sums with two entries for each cell: of candidates that fail, and of those that pass."""
        return self.nominal.reshape(-1, 2), self.replicas.reshape(len(self.replicas), -1, 2)


def with_weight_errors(
    model: ModelResult, scores: FloatArray, sample: Sample, abundance: Mapping[str, float] | None
) -> ModelResult:
    """Returns what was measured of a model on test with the error of the weights in its intervals.

    These are the efficiencies, misidentification rates, rejections and purities of all working points, the maps, all
    ROC curves and their areas, the accuracies, and the matrix of decided against true class. A sample whose weights are
    known (`weight_replicas` is None) changes nothing.

    Args:
        model: as measured with weights that are taken as known.
        scores: (n, k) of the test sample.
        sample: the test sample.
        abundance: that for which purities are; None for that of the sample.
    """
    replicas = sample.weight_replicas
    if replicas is None:
        return model
    decided: dict[str, BoolArray] = {}
    for one, column, _ in one_by_one(model, scores, None, sample):
        score = np.ascontiguousarray(column, np.float32)
        decided |= {point.name: passes(*decided_by(point, score, sample)) for point in one.working_points}
    points = tuple(_point(p, decided[p.name], sample, replicas, abundance) for p in model.working_points)
    class_points = {}
    for name, of_class in model.class_points.items():
        turned = replace(sample, signal=sample.classes.index(name))
        score = signal_score(scores, turned)
        each = [(point, passes(*decided_by(point, score, turned))) for point in of_class]
        class_points[name] = tuple(_point(p, passing, turned, replicas, abundance) for p, passing in each)
    score = signal_score(scores, sample)
    everything = np.ones(len(sample), np.bool_)
    matrix_error, balanced_error, accuracy_error = _of_decisions(model, scores, sample, replicas)
    on_test = model.samples["test"]
    on_test = replace(
        on_test,
        balanced_accuracy=widened(on_test.balanced_accuracy, balanced_error),
        accuracy=widened(on_test.accuracy, accuracy_error),
    )
    if not model.fixed_cut:
        area = widened(on_test.auc, _auc_error(score, sample.is_signal, everything, sample, replicas))
        on_test = replace(on_test, auc=area)
    matrix = model.matrix
    if matrix is not None:
        low, high = _widened_bounds(matrix.rate, matrix.low, matrix.high, matrix_error)
        matrix = replace(matrix, low=low, high=high)
    return replace(
        model,
        samples={**model.samples, "test": on_test},
        working_points=points,
        class_points=class_points,
        optimal_points={
            against: tuple(
                _point(p, passes(*decided_by(p, score, sample)), sample, replicas, abundance) for p in of_curve
            )
            for against, of_curve in model.optimal_points.items()
        },
        maps=tuple(_maps(model.maps, decided, sample, replicas)),
        roc={against: _curve(roc, score, sample, replicas) for against, roc in model.roc.items()},
        roc_pairs=_pair_curves(model.roc_pairs, scores, sample, replicas),
        matrix=matrix,
    )


def _widened_bounds(value: Array, low: Array, high: Array, error: Array) -> tuple[Array, Array]:
    """Returns the bounds of rates as `widened` has them."""
    lower = np.maximum(value - np.hypot(value - low, error), np.minimum(low, 0.0))
    upper = np.minimum(value + np.hypot(high - value, error), np.maximum(high, 1.0))
    return np.where(error > 0, lower, low), np.where(error > 0, upper, high)


def _rms(changes: Array) -> Array:
    """Returns the root mean square over replicas (r, …); 0 where a number is not defined."""
    return np.asarray(np.nan_to_num(np.sqrt(np.mean(changes**2, axis=0))))


def _ratio(part: Array, whole: Array) -> Array:
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0))


def _point(
    point: WorkingPoint,
    passing: BoolArray,
    sample: Sample,
    replicas: WeightReplicas,
    abundance: Mapping[str, float] | None,
) -> WorkingPoint:
    k = len(sample.classes)
    counted = _Counted.of(2 * sample.y.astype(np.intp) + passing, 2 * k, sample.weight, replicas)

    def rates_and_purity(sums: Array) -> tuple[Array, Array]:
        rates = _ratio(sums[..., 1], sums.sum(axis=-1))
        passed = rates * np.array([abundance[name] for name in sample.classes]) if abundance else sums[..., 1]
        return rates, _ratio(passed[..., sample.signal], passed.sum(axis=-1))

    nominal, replica = counted.both()
    (rates, purity), (varied, varied_purity) = (rates_and_purity(sums) for sums in (nominal, replica))
    errors = dict(zip(sample.classes, _rms(varied - rates), strict=True))
    if REST in point.misid:
        rest, varied_rest = (np.delete(sums, sample.signal, axis=-2).sum(axis=-2) for sums in (nominal, replica))
        rate, varied_rate = (_ratio(sums[..., 1], sums.sum(axis=-1)) for sums in (rest, varied_rest))
        errors[REST] = _rms(varied_rate - rate)
    misid = {name: widened(rate, float(errors[name])) for name, rate in point.misid.items()}
    return replace(
        point,
        efficiency=widened(point.efficiency, float(errors[sample.classes[sample.signal]])),
        misid=misid,
        rejection={name: inverse(rate) for name, rate in misid.items()},
        purity=widened(point.purity, float(_rms(varied_purity - purity))),
    )


def _auc_error(
    score: FloatArray, is_signal: BoolArray, held: BoolArray, sample: Sample, replicas: WeightReplicas
) -> float:
    """Returns the error of the area under the curve of the signal (n,) against the others, of those `held` (n,)."""
    values, place = np.unique(np.where(np.isnan(score), -np.inf, score), return_inverse=True)
    counted = _Counted.of(np.where(held, 2 * place + is_signal, -1), 2 * len(values), sample.weight, replicas)

    def area(sums: Array) -> Array:
        other, signal = sums[..., 0], sums[..., 1]
        below = np.cumsum(other, axis=-1) - other / 2
        pairs = signal.sum(axis=-1) * other.sum(axis=-1)
        return _ratio(np.asarray((signal * below).sum(axis=-1)), np.asarray(pairs))

    nominal, varied = counted.both()
    return float(_rms(area(varied) - area(nominal)))


def _curve(
    roc: Roc,
    score: FloatArray,
    sample: Sample,
    replicas: WeightReplicas,
    classes: tuple[int, int] | None = None,
) -> Roc:
    """Returns a ROC curve with the error of the weights in all of its intervals.

    Args:
        roc: of the signal against one other class or all of them, or of two classes alone.
        score: (n,) whose thresholds those of the curve are.
        sample: the test sample.
        replicas: those of its weights.
        classes: the two classes of a curve of these alone.
    """
    one, other = classes or (sample.signal, None)
    if classes is None and roc.against in sample.classes:
        other = sample.classes.index(roc.against)
    is_signal = sample.y == one
    held = is_signal | (sample.y == other) if other is not None else np.ones(len(sample), np.bool_)
    # Thresholds fall, and the first that lies below a score is the first point at which its candidate passes.
    first = np.searchsorted(-roc.threshold, -score.astype(np.float64), side="right")
    n_steps = len(roc.threshold) + 1
    cell = np.where(held, 2 * np.where(np.isnan(score), n_steps - 1, first) + is_signal, -1)
    counted = _Counted.of(cell, 2 * n_steps, sample.weight, replicas)

    def rates(sums: Array) -> Array:
        passed = np.cumsum(sums, axis=-2)
        return _ratio(passed[..., :-1, :], np.broadcast_to(passed[..., -1:, :], passed[..., :-1, :].shape))

    nominal, varied = (rates(sums) for sums in counted.both())
    of_misid, of_efficiency = _rms(varied - nominal).T
    efficiency = _widened_bounds(roc.efficiency, roc.efficiency_low, roc.efficiency_high, of_efficiency)
    misid = _widened_bounds(roc.misid, roc.misid_low, roc.misid_high, of_misid)
    return replace(
        roc,
        efficiency_low=efficiency[0],
        efficiency_high=efficiency[1],
        misid_low=misid[0],
        misid_high=misid[1],
        auc=widened(roc.auc, _auc_error(score, is_signal, held, sample, replicas)),
    )


def _pair_curves(
    curves: Mapping[str, Mapping[str, Roc]], scores: FloatArray, sample: Sample, replicas: WeightReplicas
) -> dict[str, dict[str, Roc]]:
    found: dict[str, dict[str, Roc]] = {}
    for name, of_class in curves.items():
        for against, roc in of_class.items():
            pair = sample.classes.index(name), sample.classes.index(against)
            score = pair_score(scores, *pair)
            found.setdefault(name, {})[against] = _curve(roc, score, sample, replicas, pair)
    return found


def _of_decisions(
    model: ModelResult, scores: FloatArray, sample: Sample, replicas: WeightReplicas
) -> tuple[Array, float, float]:
    """Returns the errors (k, k) of the shares decided to be each class, of the balanced accuracy and the accuracy."""
    choice = decide(scores, ScoredSample.of(scores, sample), model.samples["test"].threshold)
    k = len(choice.classes)
    decided = np.where(choice.decided == UNDECIDED, k, choice.decided)
    cell = choice.true.astype(np.intp) * (k + 1) + decided
    counted = _Counted.of(cell, k * (k + 1), sample.weight, replicas)

    def numbers(sums: Array) -> tuple[Array, Array, Array]:
        table = sums.reshape(*sums.shape[:-1], k, k + 1)
        shares = _ratio(table[..., :k], np.broadcast_to(table.sum(axis=-1)[..., None], table[..., :k].shape))
        right = np.diagonal(table, axis1=-2, axis2=-1).sum(axis=-1)
        own = np.diagonal(shares, axis1=-2, axis2=-1).mean(axis=-1)
        return shares, own, _ratio(np.asarray(right), np.asarray(table.sum(axis=(-2, -1))))

    nominal, varied = numbers(counted.nominal), numbers(counted.replicas)
    of_shares, of_balanced, of_accuracy = (_rms(each - own) for own, each in zip(nominal, varied, strict=True))
    return of_shares, float(of_balanced), float(of_accuracy)


def _maps(
    maps: Sequence[EfficiencyMap],
    decided: Mapping[str, BoolArray],
    sample: Sample,
    replicas: WeightReplicas,
) -> list[EfficiencyMap]:
    errors: dict[tuple[str, tuple[str, ...], int], Array] = {}
    found = []
    for each in maps:
        shape = tuple(len(edges) - 1 for edges in each.edges)
        size = int(np.prod(shape))
        key = (each.working_point, each.names, size)
        if key not in errors:  # of all classes at once, which follow each other in `maps`
            cell = bins_of([sample.spectators[name] for name in each.names], each.edges)
            cell = np.where(cell < 0, -1, 2 * (sample.y.astype(np.intp) * size + cell) + decided[each.working_point])
            counted = _Counted.of(cell, 2 * size * len(sample.classes), sample.weight, replicas)
            nominal, varied = (_ratio(sums[..., 1], sums.sum(axis=-1)) for sums in counted.both())
            errors = {key: _rms(varied - nominal).reshape(-1, *shape)}
        error = errors[key][sample.classes.index(each.particle)]
        low, high = _widened_bounds(each.value, each.low, each.high, error)
        found.append(replace(each, low=low, high=high))
    return found
