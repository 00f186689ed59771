"""Robustness: the rates of a model at fixed thresholds if the features are smeared, shifted, scaled or missing."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pidlab.config.schema import Robustness
from pidlab.evaluate.intervals import blocks
from pidlab.evaluate.points.working_points import passes
from pidlab.evaluate.ranking import ScoredSample, event_groups, signal_score
from pidlab.evaluate.results import ModelResult, RobustnessPoint, RobustnessResult
from pidlab.measured import UNDEFINED, Array
from pidlab.sample import FloatArray, Sample

ALL = "all"
_CANDIDATES = 20_000
_BREAK = 0.01


class _Change(NamedTuple):
    """A change of the features in `columns`; `feature` is the name of the feature, or "all"."""

    kind: str
    feature: str
    columns: tuple[int, ...]
    size: float


def measure_robustness(
    score: Callable[[Sample], FloatArray],
    sample: Sample,
    result: ModelResult,
    spread: FloatArray,
    options: Robustness,
    *,
    seed: int,
) -> RobustnessResult:
    """Measures a model at its first working point with each feature smeared, scaled, shifted and dropped.

    The first three changes are also applied to all features together. If the sample has more than 20,000 candidates,
    about that many are taken, in whole events that are the same for every model. The noise of a feature depends on the
    seed and its name only, so it is the same for every model and size. A change of size zero reproduces `nominal`
    exactly, and if no candidates were left out, `nominal` is exactly the model's test result.

    Args:
        score: returns the scores (n, k) of a sample with other features.
        sample: the test sample.
        result: the model's result on the test sample.
        spread: (d,) spread of each feature in its own unit, which is the unit of smear and shift.
        options: the changes and their sizes.
        seed: seed of the noise and of the choice of events.
    """
    sample = reduced(sample, seed)
    groups = event_groups(sample)
    rngs = [np.random.default_rng([seed, zlib.crc32(name.encode())]) for name in sample.features]
    noise = np.stack([rng.standard_normal(len(sample)) for rng in rngs], axis=1)

    def measured(change: _Change) -> RobustnessPoint:
        x = changed(sample.x, change.kind, change.columns, change.size, spread, noise)
        scores = score(sample.with_x(x))
        return _point(change, ScoredSample(signal_score(scores, sample), sample, groups), result)

    nominal = measured(_Change("nominal", ALL, (), 0.0))
    points = [measured(change) for change in _changes(options, sample.features)]
    by_key = itertools.groupby(points, key=lambda point: (point.change, point.feature))  # sizes follow each other
    breaks = {f"{kind} {feature}": _breaks_at(kind, [*same], nominal) for (kind, feature), same in by_key}
    return RobustnessResult(tuple(points), breaks, nominal)


def _changes(options: Robustness, features: Sequence[str]) -> Iterator[_Change]:
    single = [(name, (i,)) for i, name in enumerate(features)]
    every = [*single, (ALL, tuple(range(len(features))))]
    for kind in ("smear", "scale", "shift"):
        yield from (_Change(kind, *columns, float(size)) for columns in every for size in getattr(options, kind))
    if options.drop:
        yield from (_Change("drop", *columns, 1.0) for columns in single)


def changed(
    x: FloatArray, kind: str, columns: tuple[int, ...], size: float, spread: FloatArray, noise: Array
) -> FloatArray:
    """Returns x (n, d) with `columns` smeared or shifted by `size` times their spread, scaled by `size`, or dropped.

    `spread` is (d,), and NaN in it counts as 0; `noise` (n, d) is standard normal. Missing values stay missing.
    """
    x = x.copy()
    for i in columns:
        step = size * float(np.nan_to_num(spread[i]))
        column = x[:, i].astype(np.float64)
        if kind == "smear":
            x[:, i] = column + step * noise[:, i]
        elif kind == "shift":
            x[:, i] = column + step
        elif kind == "scale":
            x[:, i] = column * size
        else:
            x[:, i] = np.nan
    return x


def reduced(sample: Sample, seed: int, most: int = _CANDIDATES) -> Sample:
    """Returns about `most` candidates at most, in whole events: those whose key, hashed once more, is small."""
    if len(sample) <= most:
        return sample
    held = []
    for rows in blocks(len(sample)):
        mixed = (sample.event[rows] ^ np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        share = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
        held.append(rows.start + np.flatnonzero(share < most / len(sample)))
    return sample.take(np.concatenate(held))


def _point(change: _Change, scored: ScoredSample, result: ModelResult) -> RobustnessPoint:
    sample = scored.sample
    area = UNDEFINED if result.fixed_cut else scored.area
    rates = dict.fromkeys(sample.classes, UNDEFINED)
    if result.working_points:
        rates = scored.class_rates(passes(scored.score, result.working_points[0].threshold))
    efficiency = rates.pop(sample.classes[sample.signal])
    return RobustnessPoint(change.kind, change.feature, change.size, area, efficiency, rates)


def _breaks_at(kind: str, points: Sequence[RobustnessPoint], nominal: RobustnessPoint) -> float | None:
    """Returns the interpolated size at which the AUC has lost 1 % of its distance to 0.5; None if it is not reached.

    Sizes above and below no change (0, or 1 for scale) are two directions, of which the smaller change is returned. A
    dropped feature has size 1.
    """
    way = nominal.auc.value - 0.5
    if not way > 0:
        return None
    if kind == "drop":
        return 1.0 if any(nominal.auc.value - p.auc.value > _BREAK * way for p in points) else None
    origin = 1.0 if kind == "scale" else 0.0
    lost = [(p.size, (nominal.auc.value - p.auc.value) / way) for p in points]
    found = [_crossing(sorted((s, v) for s, v in lost if (s - origin) * side > 0), origin, side) for side in (1, -1)]
    reached = [size for size in found if size is not None]
    return min(reached, key=lambda size: abs(size - origin)) if reached else None


def _crossing(lost: list[tuple[float, float]], origin: float, side: int) -> float | None:
    """Returns the size at which the loss, linear between sizes on one side of the origin, first passes 1 %."""
    before = (origin, 0.0)
    for size, loss in lost[::side]:
        if loss > _BREAK:
            return before[0] + (size - before[0]) * (_BREAK - before[1]) / (loss - before[1])
        before = (size, loss)
    return None
