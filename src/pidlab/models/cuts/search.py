"""The search for boxes: peeling and best intervals to start from, then an archive where each box improves the curve."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pidlab.compiled import compiled
from pidlab.models.cuts.boxes import Array, Counter, Grid, Levels
from pidlab.models.cuts.polish import polish

Report = Callable[[int, int, "Archive"], None]
"""Called as `report(done, total, archive)` after each generation."""

FIRST_LOOK = 20_000  # candidates a class: the start only has to be near, and costs a pass for every step
_BATCH = 400
_NEAR = 4.0  # steps: how far from a wanted target its parents are drawn
_PATIENCE, _STANDSTILL = 25, 2e-6  # generations, and how much mean background they must gain
_STARTS, _STARTS_WITHIN = 12, 21  # boxes that are polished for a wanted target, out of so many steps above it
_NEIGHBOURS = 0.04  # of the archive: how far apart two parents may be in efficiency


@dataclass(frozen=True, slots=True)
class BoxScan:
    """The signal efficiencies of a search: all of them, ascending, and those among them that somebody asked for."""

    targets: Array
    wanted: Array


class Archive:
    """The best box seen for each step of signal efficiency.

    Attributes:
        scan, counter: what is looked for, and in which sample.
        targets: (T,) ascending signal efficiencies; step t holds boxes with at least targets[t], less than the next.
        efficiency, background: (T,) of the box kept; background is infinite where there is none.
        low, high: (T, d) levels of the box kept.
    """

    def __init__(self, scan: BoxScan, counter: Counter) -> None:
        self.scan, self.targets, self.counter = scan, scan.targets, counter
        targets = scan.targets
        shape = (len(targets), len(counter.grid.n_levels))
        self.efficiency, self.background = np.zeros(len(targets)), np.full(len(targets), np.inf)
        self.low, self.high = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.filled)

    @property
    def filled(self) -> Levels:
        """Steps that have a box, ascending."""
        return np.flatnonzero(np.isfinite(self.background))

    def try_boxes(self, low: Levels, high: Levels) -> tuple[Array, Array]:
        """Count (K, d) boxes and keep each that is better than what its step has; returns both efficiencies, (K,)."""
        efficiency, background = self.counter.rates(low, high)
        step = np.searchsorted(self.targets, efficiency + 1e-12, side="right") - 1
        order = np.lexsort((-efficiency, background, step))
        order = order[step[order] >= 0]
        steps, first = np.unique(step[order], return_index=True)
        best = order[first]
        gain = background[best] < self.background[steps]
        gain |= (background[best] == self.background[steps]) & (efficiency[best] > self.efficiency[steps])
        steps, best = steps[gain], best[gain]
        self.efficiency[steps], self.background[steps] = efficiency[best], background[best]
        self.low[steps], self.high[steps] = low[best], high[best]
        return efficiency, background

    def frontier(self) -> Levels:
        """(T,) for each target the step whose box passes least background at no less efficiency; -1: there is none."""
        least = np.minimum.accumulate(self.background[::-1])
        lower = self.background[::-1] < np.concatenate([[np.inf], least[:-1]])
        newest = np.maximum.accumulate(np.where(lower, np.arange(len(least)), -1))[::-1]
        return np.where(newest < 0, -1, len(least) - 1 - newest)

    def mean_background(self) -> float:
        """Least background, averaged over the targets that have a box; NaN where none has."""
        steps = self.frontier()
        return float(self.background[steps[steps >= 0]].mean()) if steps[0] >= 0 else math.nan


def search_archive(
    counter: Counter, scan: BoxScan, rng: np.random.Generator, generations: int, report: Report | None = None
) -> Archive:
    """The best box for every target: peel, sweep best intervals, then refine for at most this many generations.

    Where efficiencies are wanted, half of the generations do: their boxes are polished in the end.
    """
    generations = generations if len(scan.wanted) == 0 else (generations + 1) // 2
    archive = Archive(scan, counter)
    first_look = counter.subsample(FIRST_LOOK, rng)
    start = peel(first_look, *counter.grid.loosest, floor=float(scan.targets[0]))
    start += sweep(first_look)
    archive.try_boxes(*stacked(start))
    archive.try_boxes(*random_boxes(counter.grid, 1000, rng))
    means = [archive.mean_background()]
    for done in range(generations if len(archive) else 0):
        if done >= _PATIENCE and means[-1 - _PATIENCE] - means[-1] < _STANDSTILL:
            break
        archive.try_boxes(*offspring(archive, rng))
        means.append(archive.mean_background())
        if report is not None:
            report(done + 1, generations, archive)
    _polish_wanted(archive)
    return archive


def _polish_wanted(archive: Archive) -> None:
    """Polish, for each wanted target, its best box and boxes of somewhat more signal: one way down from each."""
    for target in archive.scan.wanted:
        step = int(np.searchsorted(archive.targets, target - 1e-12))
        best = archive.frontier()[step]
        if best < 0:
            continue
        near = archive.filled[archive.filled >= step][:_STARTS_WITHIN]
        starts = np.unique(np.append(near[np.linspace(0, len(near) - 1, _STARTS).astype(np.int64)], best))
        boxes = [polish(archive.counter, archive.low[i], archive.high[i], archive.targets[step]) for i in starts]
        archive.try_boxes(*stacked(boxes))


def stacked(boxes: list[tuple[Levels, Levels]]) -> tuple[Levels, Levels]:
    """(K, d) low and high levels of a list of boxes."""
    return np.stack([low for low, _ in boxes]), np.stack([high for _, high in boxes])


def random_boxes(grid: Grid, n: int, rng: np.random.Generator) -> tuple[Levels, Levels]:
    """(n, d) boxes that cut a little, most often very little, on every side."""
    shape = (n, len(grid.n_levels))
    low = np.floor(0.5 * rng.random(shape) ** 3 * grid.n_levels).astype(np.int64)
    high = grid.n_levels - 1 - np.floor(0.5 * rng.random(shape) ** 3 * grid.n_levels).astype(np.int64)
    return grid.repaired(low, high)


def offspring(archive: Archive, rng: np.random.Generator, n: int = _BATCH) -> tuple[Levels, Levels]:
    """(n, d) boxes bred from the archive: windows of two parents of like efficiency, faces moved a little or far."""
    grid, filled = archive.counter.grid, archive.filled
    n_features = len(grid.n_levels)
    mother = _mothers(archive, rng, n)
    far = max(1, round(_NEIGHBOURS * len(archive.targets)))
    father = np.clip(mother + rng.integers(-far, far + 1, n), 0, len(filled) - 1)
    share = np.where(rng.random((n, 1)) < 0.5, 1.0, 0.5)  # half of the boxes have one parent only
    inherited = rng.random((n, n_features)) < share
    low = np.where(inherited, archive.low[filled[mother]], archive.low[filled[father]])
    high = np.where(inherited, archive.high[filled[mother]], archive.high[filled[father]])
    scale = grid.n_levels * 10 ** rng.uniform(-3, -1, (n, 1))
    low, high = low + _moves(scale, rng), high + _moves(scale, rng)
    return grid.repaired(low, high)


def _mothers(archive: Archive, rng: np.random.Generator, n: int) -> Levels:
    """(n,) numbers of filled steps: evenly, but every other one near a wanted target where there is one."""
    filled, wanted = archive.filled, archive.scan.wanted
    anywhere = rng.integers(len(filled), size=n)
    if len(wanted) == 0:
        return anywhere
    step = np.searchsorted(archive.targets, rng.choice(wanted, n)) + np.abs(rng.normal(0, _NEAR, n)).astype(np.int64)
    near = np.minimum(np.searchsorted(filled, step), len(filled) - 1)
    return np.where(rng.random(n) < 0.5, near, anywhere)


def _moves(scale: Array, rng: np.random.Generator) -> Levels:
    """(n, d) steps in levels: most faces stay, about one and a half of a box's move."""
    moved = rng.random(scale.shape) < max(0.06, 0.75 / scale.shape[1])
    steps = np.rint(moved * rng.normal(0, 1, scale.shape) * scale)
    return np.asarray(steps, dtype=np.int64)


def peel(
    counter: Counter,
    low: Levels,
    high: Levels,
    *,
    inner: tuple[Levels, Levels] | None = None,
    floor: float = 0.0,
    step: float = 0.005,
    max_boxes: int = 2000,
) -> list[tuple[Levels, Levels]]:
    """Boxes from (low, high) inwards: each step takes off the slice with most background for its signal.

    Friedman & Fisher, "Bump hunting in high-dimensional data", Statistics and Computing 9 (1999) 123.

    Args:
        counter: the sample.
        low, high: (d,) levels to start from.
        inner: faces do not move beyond those of this box.
        floor: stop at this signal efficiency.
        step: the signal that a slice may hold, as a share of what is left; slices of up to four times that are tried.
        max_boxes: stop at this number of boxes.
    """
    grid = counter.grid
    last_low = grid.last_low if inner is None else inner[0]
    first_high = grid.first_high if inner is None else inner[1]
    quarter_event = 0.25 / counter.signal.total
    boxes, low, high = [(low, high)], low, high
    while len(boxes) < max_boxes:
        signal, background = counter.faces(low, high)
        left = _inside(grid, low, high, signal)
        if left <= floor or left == 0:
            break
        feature, face, level = best_slice(
            signal, background, low, high, last_low, first_high,
            grid.n_levels, grid.low_value, grid.high_value, grid.min_width, step * left, quarter_event,
        )  # fmt: skip
        if feature < 0:
            break
        low, high = low.copy(), high.copy()
        (low if face == 0 else high)[feature] = level
        boxes.append((low, high))
    return boxes


def _inside(grid: Grid, low: Levels, high: Levels, table: Array) -> float:
    """The share inside the box, from the levels of its first feature."""
    is_open = low[0] == 0 and high[0] == grid.n_levels[0] - 1
    return float(table[0, low[0] : high[0] + 1 + is_open].sum())


def sweep(counter: Counter, n_prices: int = 12) -> list[tuple[Levels, Levels]]:
    """Boxes that maximise signal - price · background by one window at a time, from cheap background to dear."""
    grid = counter.grid
    low, high = grid.loosest
    boxes = []
    for price in np.geomspace(0.05, 60.0, n_prices):
        for _ in range(50):
            signal, background = counter.faces(low, high)
            feature, first, last = best_interval(
                signal - price * background, low, high, grid.n_levels,
                grid.first_low, grid.last_low, grid.first_high, grid.last_high,
            )  # fmt: skip
            if feature < 0:
                break
            low, high = low.copy(), high.copy()
            low[feature], high[feature] = first, last
            boxes.append(tuple(b[0] for b in grid.repaired(low[None], high[None])))
    return boxes


@compiled(nogil=True)
def best_slice(
    signal: Array, background: Array, low: Levels, high: Levels, last_low: Levels, first_high: Levels,
    n_levels: Levels, low_value: Array, high_value: Array, min_width: Array, size: float, quarter_event: float,
) -> tuple[int, int, int]:  # fmt: skip
    """(feature, 0 for the low face and 1 for the high one, its new level) that loses most background for its signal.

    Cutting on a feature that was not cut takes its NaN off, too. Feature is -1 where no face may move.
    """
    best, chosen = 0.0, (-1, 0, 0)
    for j in range(low.size):
        uncut = low[j] == 0 and high[j] == n_levels[j] - 1
        for face in range(2):
            lost_signal = signal[j, n_levels[j]] if uncut else 0.0
            lost_background = background[j, n_levels[j]] if uncut else 0.0
            way = 1 if face == 0 else -1
            level = low[j] if face == 0 else high[j]
            stop = min(last_low[j], high[j]) if face == 0 else max(first_high[j], low[j])
            while level != stop and lost_signal <= 4 * size:
                lost_signal += signal[j, level]
                lost_background += background[j, level]
                level += way
                if lost_signal < 0.3 * size and lost_background == 0:
                    continue
                first, last = (level, high[j]) if face == 0 else (low[j], level)
                if high_value[j, last] - low_value[j, first] < min_width[j]:
                    break
                price = (lost_background + 1e-9) / (max(lost_signal, 0.3 * size) + quarter_event)
                if price > best:
                    best, chosen = price, (j, face, level)
    return chosen


@compiled(nogil=True)
def best_interval(
    gain: Array, low: Levels, high: Levels, n_levels: Levels,
    first_low: Levels, last_low: Levels, first_high: Levels, last_high: Levels,
) -> tuple[int, int, int]:  # fmt: skip
    """(feature, low, high): the window, over all features, of largest sum of gain (d, L + 1); -1 where none is better.

    One pass a feature (Kadane; Bentley, "Programming pearls", Commun. ACM 27 (1984) 865).
    """
    most, chosen = 1e-9, (-1, 0, 0)
    for j in range(low.size):
        now = gain[j, low[j] : high[j] + 1].sum()
        if low[j] == 0 and high[j] == n_levels[j] - 1:
            now += gain[j, n_levels[j]]
        elif first_low[j] == 0 and last_high[j] == n_levels[j] - 1 and gain[j].sum() - now > most:
            most, chosen = gain[j].sum() - now, (j, 0, n_levels[j] - 1)
        before, least, start = 0.0, np.inf, 0
        total = 0.0
        for level in range(n_levels[j]):
            if first_low[j] <= level <= last_low[j] and before < least:
                least, start = before, level
            before += gain[j, level]
            total = before - least
            whole = start == 0 and level == n_levels[j] - 1
            if first_high[j] <= level <= last_high[j] and not whole and total - now > most:
                most, chosen = total - now, (j, start, level)
    return chosen
