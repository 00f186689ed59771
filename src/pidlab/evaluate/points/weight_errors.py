"""The statistical error of weights that make samples alike, added to the intervals of what they weigh.

The interval of a rate takes the weights as known. Replicas of the weights say what it would have been with others: the
root mean square of the differences adds to both sides of the interval in quadrature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pidlab.evaluate.decisions import one_by_one
from pidlab.evaluate.intervals import inverse
from pidlab.evaluate.maps import bins_of
from pidlab.evaluate.points.flat import decided_by
from pidlab.evaluate.points.working_points import passes
from pidlab.evaluate.ranking import signal_score
from pidlab.evaluate.results import EfficiencyMap, ModelResult, WorkingPoint
from pidlab.measured import Array, Measured
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample


class _Counted(NamedTuple):
    """Candidates in m cells, and the sum of weights in each of them by the weights and by r replicas.

    Attributes:
        nominal: (m,) by the weights.
        replicas: (r, m) by each replica.
    """

    nominal: Array
    replicas: Array

    @classmethod
    def of(cls, cell: IntArray, n_cells: int, weight: FloatArray, factors: Sequence[FloatArray]) -> _Counted:
        """Returns the sums of candidates whose cells are `cell` (n,); those of a negative cell are left out."""
        held = cell >= 0
        place, own = cell[held].astype(np.intp), weight[held].astype(np.float64)
        sums = [np.bincount(place, own * factor[held], n_cells) for factor in factors]
        return cls(np.bincount(place, own, n_cells).astype(np.float64), np.array(sums, np.float64))

    def both(self) -> tuple[Array, Array]:
        """Returns the sums with two entries for each cell: of candidates that fail, and of those that pass."""
        return self.nominal.reshape(-1, 2), self.replicas.reshape(len(self.replicas), -1, 2)


def with_weight_errors(
    model: ModelResult,
    scores: FloatArray,
    sample: Sample,
    factors: Sequence[FloatArray],
    abundance: Mapping[str, float] | None,
) -> ModelResult:
    """Returns what was measured of a model on test with the error of the weights in its intervals.

    These are the efficiencies, misidentification rates, rejections and purities of all working points, the maps, and
    the AUC. Curves and paired comparisons are as they were: both models of a pair have the same weights.

    Args:
        model: as measured with weights that are taken as known.
        scores: (n, k) of the test sample.
        sample: the test sample.
        factors: for each replica its weights over the weights, (n,).
        abundance: that for which purities are; None for that of the sample.
    """
    if not len(factors):
        return model
    decided: dict[str, BoolArray] = {}
    for one, column, _ in one_by_one(model, scores, None, sample):
        score = np.ascontiguousarray(column, np.float32)
        decided |= {point.name: passes(*decided_by(point, score, sample)) for point in one.working_points}
    points = tuple(_point(p, decided[p.name], sample, factors, abundance) for p in model.working_points)
    class_points = {}
    for name, of_class in model.class_points.items():
        turned = replace(sample, signal=sample.classes.index(name))
        score = signal_score(scores, turned)
        each = [(point, passes(*decided_by(point, score, turned))) for point in of_class]
        class_points[name] = tuple(_point(p, passing, turned, factors, abundance) for p, passing in each)
    samples = dict(model.samples)
    if not model.fixed_cut:
        area = widened(samples["test"].auc, _auc_error(signal_score(scores, sample), sample, factors))
        samples["test"] = replace(samples["test"], auc=area)
    return replace(
        model,
        samples=samples,
        working_points=points,
        class_points=class_points,
        maps=tuple(_maps(model.maps, decided, sample, factors)),
    )


def widened(measured: Measured, error: float) -> Measured:
    """Returns a rate with a further error (standard deviation) in its interval, which stays in [0, 1] if it was."""
    if not error > 0 or not np.isfinite(measured.value):
        return measured
    value, low, high, n = measured
    lower, upper = value - np.hypot(value - low, error), value + np.hypot(high - value, error)
    return Measured(value, max(float(lower), min(low, 0.0)), min(float(upper), max(high, 1.0)), n)


def _rms(changes: Array) -> Array:
    """Returns the root mean square over replicas (r, …); 0 where a number is not defined."""
    return np.asarray(np.nan_to_num(np.sqrt(np.mean(changes**2, axis=0))))


def _ratio(part: Array, whole: Array) -> Array:
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0))


def _point(
    point: WorkingPoint,
    passing: BoolArray,
    sample: Sample,
    factors: Sequence[FloatArray],
    abundance: Mapping[str, float] | None,
) -> WorkingPoint:
    k = len(sample.classes)
    counted = _Counted.of(2 * sample.y.astype(np.intp) + passing, 2 * k, sample.weight, factors)

    def rates_and_purity(sums: Array) -> tuple[Array, Array]:
        rates = _ratio(sums[..., 1], sums.sum(axis=-1))
        passed = rates * np.array([abundance[name] for name in sample.classes]) if abundance else sums[..., 1]
        return rates, _ratio(passed[..., sample.signal], passed.sum(axis=-1))

    (rates, purity), (varied, varied_purity) = (rates_and_purity(sums) for sums in counted.both())
    errors = dict(zip(sample.classes, _rms(varied - rates), strict=True))
    misid = {name: widened(rate, float(errors[name])) for name, rate in point.misid.items()}
    return replace(
        point,
        efficiency=widened(point.efficiency, float(errors[sample.classes[sample.signal]])),
        misid=misid,
        rejection={name: inverse(rate) for name, rate in misid.items()},
        purity=widened(point.purity, float(_rms(varied_purity - purity))),
    )


def _auc_error(score: FloatArray, sample: Sample, factors: Sequence[FloatArray]) -> float:
    """Returns the error of the area under the ROC curve of the signal against all others."""
    values, place = np.unique(np.where(np.isnan(score), -np.inf, score), return_inverse=True)
    counted = _Counted.of(2 * place + sample.is_signal, 2 * len(values), sample.weight, factors)

    def area(sums: Array) -> Array:
        other, signal = sums[..., 0], sums[..., 1]
        below = np.cumsum(other, axis=-1) - other / 2
        return np.asarray((signal * below).sum(axis=-1) / (signal.sum(axis=-1) * other.sum(axis=-1)))

    nominal, replicas = counted.both()
    return float(_rms(area(replicas) - area(nominal)))


def _maps(
    maps: Sequence[EfficiencyMap],
    decided: Mapping[str, BoolArray],
    sample: Sample,
    factors: Sequence[FloatArray],
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
            counted = _Counted.of(cell, 2 * size * len(sample.classes), sample.weight, factors)
            nominal, replicas = (_ratio(sums[..., 1], sums.sum(axis=-1)) for sums in counted.both())
            errors = {key: _rms(replicas - nominal).reshape(-1, *shape)}
        error = errors[key][sample.classes.index(each.particle)]
        low = np.maximum(each.value - np.hypot(each.value - each.low, error), np.minimum(each.low, 0.0))
        high = np.minimum(each.value + np.hypot(each.high - each.value, error), np.maximum(each.high, 1.0))
        found.append(replace(each, low=np.where(error > 0, low, each.low), high=np.where(error > 0, high, each.high)))
    return found
