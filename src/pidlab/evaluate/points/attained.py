"""The efficiency that a working point has on test: whether it misses its target, why, and which points are one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pidlab.config.names import HAND, SWEET_SPOT, YOUDEN
from pidlab.evaluate.intervals import effective_number
from pidlab.evaluate.points.flat import decided_by
from pidlab.evaluate.points.working_points import passes
from pidlab.evaluate.ranking import ScoredSample
from pidlab.evaluate.results import ModelResult, WorkingPoint
from pidlab.measured import format_share
from pidlab.sample import Sample

LEAST_MISS = 0.005
"""A distance to the target that matters: half a per cent of the signal, the step in which boxes of cuts are chosen."""
_CHANCE = 3.0
"""Standard deviations between two samples up to which a difference counts as a fluctuation, of a dozen points or so."""


def misses_target(point: WorkingPoint) -> bool:
    """Returns True if the efficiency on test is off its target by more than its interval and by more than .005.

    The point of a fixed cut, and the optimal points of a curve, have no target of their own.
    """
    value, low, high, _ = point.efficiency
    if point.name in (HAND, SWEET_SPOT, YOUDEN):
        return False
    return abs(value - point.target) > LEAST_MISS and not low <= point.target <= high and math.isfinite(value)


def with_reasons(
    points: Sequence[WorkingPoint], threshold_sample: ScoredSample, test: Sample, decided_on: str
) -> tuple[WorkingPoint, ...]:
    """Returns the points, those that miss their target with the reason; `decided_on` names the threshold sample."""
    return tuple(
        replace(p, reason=_reason(p, threshold_sample, test, decided_on)) if misses_target(p) else p for p in points
    )


def _reason(point: WorkingPoint, threshold_sample: ScoredSample, test: Sample, decided_on: str) -> str:
    """Returns why a point misses its target: its score jumps there or ends before, or the two samples differ."""
    sample, efficiency = threshold_sample.sample, point.efficiency.value
    score, threshold = decided_by(point, threshold_sample.score, sample)
    part, weight = score[sample.is_signal], sample.weight[sample.is_signal]
    if not weight.sum() > 0:
        return f"{decided_on} has no signal that could set the threshold"
    passing = passes(part, threshold)
    reached = float(weight[passing].sum() / weight.sum())
    lowest = passing & (part == part[passing].min()) if passing.any() else passing
    above = reached - float(weight[lowest].sum() / weight.sum())
    nearer = abs(efficiency - reached) < abs(efficiency - point.target)
    if int(lowest.sum()) > 1 and above < point.target < reached and nearer:
        return (
            f"the score jumps there: {int(lowest.sum())} signal candidates of {decided_on} share one value, and a "
            f"threshold passes either {format_share(above)} or {format_share(reached)} % of the signal"
        )
    if reached < point.target * (1 - 1e-9) and passing.sum() == np.isfinite(part).sum():
        return (
            f"the loosest threshold passes {format_share(reached)} % of the signal of {decided_on}; the rest of it has "
            "no score"
        )
    n, n_test = effective_number(weight), effective_number(test.weight[test.is_signal])
    pooled = min(max((n * reached + n_test * efficiency) / (n + n_test), 0.5 / n), 1 - 0.5 / n)
    away = abs(efficiency - reached) / math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / n_test))
    if away <= _CHANCE:
        return (
            f"chance (the signal that sets the threshold, effectively {n:,.0f} candidates of {decided_on}, and that "
            f"which measures it, {n_test:,.0f} of test, agree within {_CHANCE:.0f} standard deviations)"
        )
    return (
        f"{decided_on} and test differ by more than chance ({away:.1f} standard deviations): the threshold passes "
        f"{format_share(reached)} % of the signal of {decided_on}"
    )


def same_decisions(model: ModelResult) -> list[tuple[str, ...]]:
    """Returns the names of working points that are one decision, since they have one threshold or one box."""
    by_decision: dict[str, list[str]] = {}
    for point in model.working_points:
        if point.flat is None:
            by_decision.setdefault(point.cut_string or repr(float(np.float32(point.threshold))), []).append(point.name)
    return [tuple(names) for names in by_decision.values() if len(names) > 1]
