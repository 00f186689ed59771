"""The best points of a ROC curve by themselves: the one nearest to (0, 1), and Youden's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pidlab.config.names import SWEET_SPOT, YOUDEN
from pidlab.evaluate.intervals import inverse
from pidlab.evaluate.points.working_points import ChosenPoint, halfway_below, measure, passes, rising
from pidlab.evaluate.ranking import ScoredSample, Steps, steps_of, total_of
from pidlab.evaluate.results import WorkingPoint
from pidlab.measured import Array
from pidlab.sample import BoolArray, FloatArray, IntArray

REST = "rest"
"""All classes other than the signal together, in the ratio of the sample."""
_ROUNDING = 1e-12  # of sums of weights: thresholds whose worth differs by less are equally good


def optimal_points(
    threshold_sample: ScoredSample, test: ScoredSample, curves: Sequence[str], abundance: Mapping[str, float] | None
) -> dict[str, tuple[WorkingPoint, ...]]:
    """Returns the points `sweet_spot` and `youden` of each ROC curve: thresholds from one sample, rates on the other.

    With the efficiency ε of the signal and the misidentification μ of what the curve is against, the sweet spot has the
    smallest (1 - ε)² + μ², the distance to the corner (0, 1) of a perfect decision, and Youden's point the largest
    ε - μ (W. J. Youden, Cancer 3 (1950) 32). Neither knows abundances or costs. For scores with ties each step is one
    decision; of thresholds that are equally good, the tightest is taken. Where weights of both signs let the
    efficiencies rise and fall, `rising` defines them.

    Args:
        threshold_sample: sets the thresholds; each lies halfway to the next lower score of this sample.
        test: measures the rates of every class, and for a point against "rest" those of the rest too.
        curves: what the curves are against: a class, or "rest".
        abundance: for the purity, as in `measure`.

    Returns:
        Curve to its two points. A curve is left out if its weights in the threshold sample have no positive sums.
    """
    sample, steps = threshold_sample.sample, steps_of(threshold_sample.score, threshold_sample.order)
    efficiency = _rates(threshold_sample, steps, sample.is_signal)
    found: dict[str, tuple[WorkingPoint, ...]] = {}
    for against in curves:
        other = ~sample.is_signal if against == REST else sample.y == sample.classes.index(against)
        misid = _rates(threshold_sample, steps, other)
        if efficiency is not None and misid is not None:
            chosen = _chosen(steps, efficiency, misid)
            found[against] = tuple(_measured(point, test, against, abundance) for point in chosen)
    return found


def named(points: Mapping[str, Sequence[WorkingPoint]], names: Sequence[str]) -> list[ChosenPoint]:
    """Returns those of the first curve's optimal points that are among `names`, as working points to be measured.

    The first curve is that against the only other class, or against all others together.
    """
    first = points.get(REST, next(iter(points.values()), ()))
    return [ChosenPoint(p.name, p.target, p.threshold) for p in first if p.name in names]


def _chosen(steps: Steps, efficiency: Array, misid: Array) -> list[ChosenPoint]:
    """Returns both points of a curve with these rates (m,) at its steps."""
    worth = {SWEET_SPOT: -((1 - efficiency) ** 2 + misid**2), YOUDEN: efficiency - misid}
    found = []
    for name, values in worth.items():
        best = int(np.argmax(values >= values.max() - _ROUNDING))
        found.append(ChosenPoint(name, float(efficiency[best]), halfway_below(steps.values[best : best + 2])))
    return found


def _rates(scored: ScoredSample, steps: Steps, rows: BoolArray) -> Array | None:
    """Returns the share (m,) of the candidates `rows` (n,) at or above each score.

    It is None if their weights have no positive sum, or no candidate has a score.
    """
    weight = scored.sample.weight

    def weigh(some: IntArray) -> FloatArray:
        return np.where(rows[some], weight[some], 0.0)

    total = total_of(scored.order, weigh)
    return rising(steps.sums(weigh), total) / total if total > 0 and len(steps.values) else None


def _measured(
    chosen: ChosenPoint, test: ScoredSample, against: str, abundance: Mapping[str, float] | None
) -> WorkingPoint:
    point = measure(chosen, test, abundance)
    if against != REST:
        return point
    two = replace(test.sample, y=(~test.sample.is_signal).astype(np.int8), classes=("signal", REST), signal=0)
    rate = ScoredSample(test.score, two, test.groups).class_rates(passes(test.score, chosen.threshold))[REST]
    return replace(point, misid={**point.misid, REST: rate}, rejection={**point.rejection, REST: inverse(rate)})
