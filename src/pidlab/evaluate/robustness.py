"""Robustness: what is left of a model when the real detector is worse than the sample, thresholds as they were."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.config.schema import Robustness
from pidlab.evaluate.intervals import proportion
from pidlab.evaluate.points.working_points import passes
from pidlab.evaluate.ranking import auc, event_groups, groups_of, signal_score
from pidlab.evaluate.results import ModelResult, RobustnessPoint, RobustnessResult
from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import FloatArray, IntArray, Sample

ALL = "all"
_CANDIDATES = 20_000
_BREAK = 0.01


class _Change(NamedTuple):
    """One change of the features in `columns`, named `feature` ("all" for all of them)."""

    kind: str
    feature: str
    columns: tuple[int, ...]
    size: float

    @property
    def key(self) -> str:
        return f"{self.kind} {self.feature}"


def measure_robustness(
    score: Callable[[Sample], NDArray[np.floating[Any]]],
    sample: Sample,
    result: ModelResult,
    spread: FloatArray,
    options: Robustness,
    *,
    seed: int,
) -> RobustnessResult:
    """Smear, scale, shift and drop each feature, the first three also all together, at the first working point.

    Of a sample beyond 20,000 candidates about that many are taken, whole events, the same for every model. The noise
    of a feature depends on the seed and its name only, so it is the same for every model and every size. A change of
    size zero reproduces `nominal` exactly, and `nominal` is the model's test result exactly where no candidates were
    left out.

    Args:
        score: gives (n, k) scores of a sample with other features.
        sample: the test sample.
        result: of the model on it.
        spread: (d,) each feature's spread in its own unit: the unit of smear and shift.
        options: the sizes.
        seed: of noise and choice of events.
    """
    sample = reduced(sample, seed)
    groups = event_groups(sample)
    noise = _noise(sample, seed)

    def measured(change: _Change) -> RobustnessPoint:
        x = changed(sample.x, change.kind, change.columns, change.size, spread, noise)
        return _point(change, score(sample.with_x(x)), sample, groups, result)

    nominal = measured(_Change("nominal", ALL, (), 0.0))
    changes = list(_changes(options, sample.features))
    points = [measured(change) for change in changes]
    keys = dict.fromkeys(change.key for change in changes)
    breaks = {
        key: _breaks_at(
            key.split(" ", 1)[0], [p for c, p in zip(changes, points, strict=True) if c.key == key], nominal
        )
        for key in keys
    }
    return RobustnessResult(tuple(points), breaks, nominal)


def _changes(options: Robustness, features: Sequence[str]) -> Iterator[_Change]:
    targets = [(name, (i,)) for i, name in enumerate(features)]
    everything: list[tuple[str, tuple[int, ...]]] = [*targets, (ALL, tuple(range(len(features))))]
    sizes: list[tuple[str, Iterable[float]]] = [
        ("smear", options.smear),
        ("scale", options.scale),
        ("shift", options.shift),
    ]
    for kind, values in sizes:
        yield from (_Change(kind, name, columns, float(size)) for name, columns in everything for size in values)
    if options.drop:
        yield from (_Change("drop", name, columns, 1.0) for name, columns in targets)


def changed(
    x: FloatArray, kind: str, columns: tuple[int, ...], size: float, spread: FloatArray, noise: Array
) -> FloatArray:
    """x (n, d) with `columns` smeared or shifted by size spreads, scaled by size, or dropped; missing stays missing.

    `spread` is (d,), where NaN counts as 0; `noise` (n, d) is standard normal.
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


def _noise(sample: Sample, seed: int) -> Array:
    """(n, d) standard normal; a column depends on the seed and the feature's name."""
    columns = [np.random.default_rng([seed, zlib.crc32(name.encode())]) for name in sample.features]
    return np.stack([rng.standard_normal(len(sample)) for rng in columns], axis=1)


def reduced(sample: Sample, seed: int, most: int = _CANDIDATES) -> Sample:
    """About 20,000 candidates at most, or `most`: the events whose key, hashed once more, is small."""
    if len(sample) <= most:
        return sample
    mixed = (sample.event ^ np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    share = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
    return sample.take(share < most / len(sample))


def _point(
    change: _Change, scores: NDArray[np.floating[Any]], sample: Sample, groups: IntArray | None, result: ModelResult
) -> RobustnessPoint:
    signal = signal_score(scores, sample)
    area = UNDEFINED if result.fixed_cut else auc(signal, sample.is_signal, sample.weight, groups)
    if not result.working_points:  # none could be set
        others = [name for index, name in enumerate(sample.classes) if index != sample.signal]
        return RobustnessPoint(
            change.kind, change.feature, change.size, area, UNDEFINED, dict.fromkeys(others, UNDEFINED)
        )
    passing = passes(signal, result.working_points[0].threshold)
    rates: dict[str, Measured] = {}
    for index, name in enumerate(sample.classes):
        rows = sample.y == index
        rates[name] = proportion(passing[rows], sample.weight[rows], groups_of(groups, rows))
    efficiency = rates.pop(sample.classes[sample.signal])
    return RobustnessPoint(change.kind, change.feature, change.size, area, efficiency, rates)


def _breaks_at(kind: str, points: Sequence[RobustnessPoint], nominal: RobustnessPoint) -> float | None:
    """The interpolated size where the AUC lost 1 % of its way to 0.5, on the side nearer to no change.

    Sizes above and below no change (0, or 1 for scale) are two directions; a dropped feature has size 1. None where
    it is not reached.
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
    """Where the loss, linear between sizes on one side of the origin, first passes 1 %."""
    before = (origin, 0.0)
    for size, loss in lost[::side]:
        if loss > _BREAK:
            return before[0] + (size - before[0]) * (_BREAK - before[1]) / (loss - before[1])
        before = (size, loss)
    return None
