"""Searches for the boxes of least background at all signal efficiencies of a scan, each of which fills an archive.

The archive search starts from peeled boxes and best intervals and then breeds boxes, each of which may improve any
target. The genetic search, a particle swarm, simulated annealing and random boxes, of which TMVA made most known, serve
for comparison.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import dual_annealing

from pidlab.compiled import compiled
from pidlab.models.cuts.grid import Array, Counter, Faces, Grid, Levels
from pidlab.models.cuts.polish import polish

Report = Callable[[int, int, "Archive"], None]
"""Called as `report(done, total, archive)` after each generation."""

SUBSAMPLE_SIZE = 20_000  # candidates of each class: the start only has to be near, and each step is a pass over them
_BATCH = 400
_NEAR = 4.0  # steps: the standard deviation of the distance from a wanted target at which parents are drawn
_PATIENCE, _STANDSTILL = 25, 2e-6  # generations, and the mean background that they must gain
_STARTS, _STARTS_WITHIN = 8, 21  # boxes that are polished for a wanted target, among so many steps above it
_STARTS_KNOWN = 4  # of them where the search began with good boxes
_NEIGHBOURS = 0.04  # share of the archive: the largest distance of two parents in efficiency
_N_TARGETS = 12  # of the scan, for a search that takes one target at a time
_POPULATION = 200
_INERTIA, _ATTRACTION = 0.7298, 1.4962
_RANDOM_BOXES = 1000
_MISSED = 10.0  # background that a missing unit of signal efficiency counts for


@dataclass(frozen=True, slots=True)
class BoxScan:
    """The signal efficiencies of a search, ascending, and those among them that the user wants."""

    targets: Array
    wanted: Array

    def until(self, target: float) -> BoxScan:
        """Returns the scan of the efficiencies up to a target."""
        return BoxScan(self.targets[self.targets <= target], self.wanted[self.wanted <= target])

    def beyond(self, efficiency: float) -> BoxScan:
        """Returns the scan of the higher efficiencies, as shares of the signal outside a box of this efficiency."""
        higher = (each[each > efficiency] for each in (self.targets, self.wanted))
        return BoxScan(*((each - efficiency) / (1 - efficiency) for each in higher))


class Archive:
    """The best box seen for each step of signal efficiency.

    Attributes:
        scan, counter: the efficiencies to search, and the sample.
        targets: (T,) ascending signal efficiencies; step t holds boxes with at least targets[t], less than the next.
        efficiency, background: (T,) of the box kept; background is infinite if there is none.
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
        """The steps that have a box, ascending."""
        return np.flatnonzero(np.isfinite(self.background))

    def try_boxes(self, low: Levels, high: Levels) -> tuple[Array, Array]:
        """Counts boxes (K, d), keeps each that is better than the box of its step, and returns both efficiencies."""
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
        """Returns, for each target, the step whose box passes least background at no less efficiency; -1 if none."""
        least = np.minimum.accumulate(self.background[::-1])
        lower = self.background[::-1] < np.concatenate([[np.inf], least[:-1]])
        newest = np.maximum.accumulate(np.where(lower, np.arange(len(least)), -1))[::-1]
        return np.where(newest < 0, -1, len(least) - 1 - newest)

    def until(self, step: int) -> Archive:
        """Returns the archive of the targets up to this step, the last of which holds boxes of any more efficiency."""
        part = Archive(self.scan.until(self.targets[step]), self.counter)
        for name in ("efficiency", "background", "low", "high"):
            setattr(part, name, getattr(self, name)[: step + 1])
        return part

    def mean_background(self) -> float:
        """Returns the least background, averaged over the targets that have a box; NaN if none has."""
        steps = self.frontier()
        return float(self.background[steps[steps >= 0]].mean()) if steps[0] >= 0 else math.nan


def search_archive(
    counter: Counter,
    scan: BoxScan,
    rng: np.random.Generator,
    generations: int,
    report: Report | None = None,
    known: Faces | None = None,
) -> Archive:
    """Returns the best box for every target: peels, sweeps best intervals, then refines for at most `generations`.

    If efficiencies are wanted, half of the generations are enough, since their boxes are polished afterwards. If boxes
    are `known` that should be good in this sample, the search starts from them too, and fewer boxes are polished.
    """
    generations = generations if len(scan.wanted) == 0 else (generations + 1) // 2
    archive = Archive(scan, counter)
    subsample = counter.subsample(SUBSAMPLE_SIZE, rng)
    start = peel(subsample, *counter.grid.loosest, floor=float(scan.targets[0]))
    start += sweep(subsample)
    archive.try_boxes(*stacked(start))
    archive.try_boxes(*random_boxes(counter.grid, _RANDOM_BOXES, rng))
    if known is not None:
        archive.try_boxes(*known)
    means = [archive.mean_background()]
    for done in range(generations if len(archive) else 0):
        if done >= _PATIENCE and means[-1 - _PATIENCE] - means[-1] < _STANDSTILL:
            break
        archive.try_boxes(*offspring(archive, rng))
        means.append(archive.mean_background())
        if report is not None:
            report(done + 1, generations, archive)
    _polish_wanted(archive, _STARTS if known is None else _STARTS_KNOWN)
    return archive


def _polish_wanted(archive: Archive, n_starts: int) -> None:
    """Polishes, for each wanted target, its best box and `n_starts` boxes of somewhat more signal."""
    for step in np.searchsorted(archive.targets, archive.scan.wanted - 1e-12):
        best = archive.frontier()[step]
        if best < 0:
            continue
        near = archive.filled[archive.filled >= step][:_STARTS_WITHIN]
        starts = np.unique(np.append(near[np.linspace(0, len(near) - 1, n_starts).astype(np.int64)], best))
        boxes = [polish(archive.counter, archive.low[i], archive.high[i], archive.targets[step]) for i in starts]
        archive.try_boxes(*stacked(boxes))


def stacked(boxes: list[Faces]) -> Faces:
    """Returns the low and the high levels, (K, d) each, of K boxes."""
    return np.stack([low for low, _ in boxes]), np.stack([high for _, high in boxes])


def random_boxes(grid: Grid, n: int, rng: np.random.Generator) -> Faces:
    """Returns boxes (n, d) that cut a little, most often very little, on every side."""
    shape = (n, len(grid.n_levels))
    low = np.floor(0.5 * rng.random(shape) ** 3 * grid.n_levels).astype(np.int64)
    high = grid.n_levels - 1 - np.floor(0.5 * rng.random(shape) ** 3 * grid.n_levels).astype(np.int64)
    return grid.repaired(low, high)


def offspring(archive: Archive, rng: np.random.Generator) -> Faces:
    """Returns boxes (n, d) with windows of two parents of similar efficiency and with some faces moved."""
    grid, filled, n = archive.counter.grid, archive.filled, _BATCH
    n_features = len(grid.n_levels)
    mother = _mothers(archive, rng, n)
    far = max(1, round(_NEIGHBOURS * len(archive.targets)))
    father = np.clip(mother + rng.integers(-far, far + 1, n), 0, len(filled) - 1)
    share = np.where(rng.random((n, 1)) < 0.5, 1.0, 0.5)  # half of the boxes have one parent only
    inherited = rng.random((n, n_features)) < share
    low = np.where(inherited, archive.low[filled[mother]], archive.low[filled[father]])
    high = np.where(inherited, archive.high[filled[mother]], archive.high[filled[father]])
    scale = grid.n_levels * 10 ** rng.uniform(-3, -1, (n, 1))
    moved = max(0.06, 0.75 / n_features)  # about one and a half faces of a box
    low, high = (faces + random_moves(scale.shape, moved, scale, rng) for faces in (low, high))
    return grid.repaired(low, high)


def _mothers(archive: Archive, rng: np.random.Generator, n: int) -> Levels:
    """Returns indices (n,) of filled steps: evenly, but half of them near wanted targets if there are any."""
    filled, wanted = archive.filled, archive.scan.wanted
    anywhere = rng.integers(len(filled), size=n)
    if len(wanted) == 0:
        return anywhere
    step = np.searchsorted(archive.targets, rng.choice(wanted, n)) + np.abs(rng.normal(0, _NEAR, n)).astype(np.int64)
    near = np.minimum(np.searchsorted(filled, step), len(filled) - 1)
    return np.where(rng.random(n) < 0.5, near, anywhere)


def random_moves(shape: tuple[int, ...], moved: float, scale: Array, rng: np.random.Generator) -> Levels:
    """Returns normal steps in levels of this scale for a share `moved` of the faces, and 0 for the others."""
    steps = np.rint((rng.random(shape) < moved) * rng.normal(size=shape) * scale)
    return np.asarray(steps, dtype=np.int64)


def peel(
    counter: Counter,
    low: Levels,
    high: Levels,
    *,
    inner: Faces | None = None,
    floor: float = 0.0,
    step: float = 0.005,
    max_boxes: int = 2000,
) -> list[Faces]:
    """Returns boxes from (low, high) inwards: each step removes the slice with most background for its signal.

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
    boxes = [(low, high)]
    while len(boxes) < max_boxes:
        signal, background = counter.level_shares(low, high)
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
    """Returns the share inside the box, from the level shares of its first feature."""
    is_open = low[0] == 0 and high[0] == grid.n_levels[0] - 1
    return float(table[0, low[0] : high[0] + 1 + is_open].sum())


def sweep(counter: Counter, n_prices: int = 12) -> list[Faces]:
    """Returns boxes that maximise signal - price · background, one window at a time, for rising prices."""
    grid = counter.grid
    low, high = grid.loosest
    boxes = []
    for price in np.geomspace(0.05, 60.0, n_prices):
        for _ in range(50):
            signal, background = counter.level_shares(low, high)
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
    """Returns the move that loses most background for its signal: feature, 0 (low face) or 1 (high face), new level.

    Cutting on a feature that was not cut removes its NaN too. The feature is -1 if no face may move.
    """
    best, chosen = 0.0, (-1, 0, 0)
    for j in range(low.size):
        uncut = low[j] == 0 and high[j] == n_levels[j] - 1
        for face in range(2):
            lost_signal = signal[j, n_levels[j]] if uncut else 0.0
            lost_background = background[j, n_levels[j]] if uncut else 0.0
            direction = 1 if face == 0 else -1
            level = low[j] if face == 0 else high[j]
            stop = min(last_low[j], high[j]) if face == 0 else max(first_high[j], low[j])
            while level != stop and lost_signal <= 4 * size:
                lost_signal += signal[j, level]
                lost_background += background[j, level]
                level += direction
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
    """Returns the window (feature, low, high) of largest sum of gain (d, L + 1); the feature is -1 if none is better.

    One pass for each feature suffices (Kadane; Bentley, "Programming pearls", Commun. ACM 27 (1984) 865).
    """
    most, chosen = 1e-9, (-1, 0, 0)
    for j in range(low.size):
        now = gain[j, low[j] : high[j] + 1].sum()
        if low[j] == 0 and high[j] == n_levels[j] - 1:
            now += gain[j, n_levels[j]]
        elif first_low[j] == 0 and last_high[j] == n_levels[j] - 1 and gain[j].sum() - now > most:
            most, chosen = gain[j].sum() - now, (j, 0, n_levels[j] - 1)
        before, least, start = 0.0, np.inf, 0
        for level in range(n_levels[j]):
            if first_low[j] <= level <= last_low[j] and before < least:
                least, start = before, level
            before += gain[j, level]
            total = before - least
            whole = start == 0 and level == n_levels[j] - 1
            if first_high[j] <= level <= last_high[j] and not whole and total - now > most:
                most, chosen = total - now, (j, start, level)
    return chosen


def search_monte_carlo(
    counter: Counter, scan: BoxScan, rng: np.random.Generator, generations: int, report: Report | None = None
) -> Archive:
    """Tries random boxes, a thousand in each generation, as the baseline for the other searches."""
    archive = Archive(scan, counter)
    for done in range(generations):
        archive.try_boxes(*random_boxes(counter.grid, _RANDOM_BOXES, rng))
        if report is not None:
            report(done + 1, generations, archive)
    return archive


_Cost = Callable[[Array], Array]
"""From genes (K, 2d) in [0, 1] to background efficiencies (K,) plus a penalty for missing the target."""


def search_one_by_one(
    method: Callable[[_Cost, Grid, np.random.Generator, int], None],
    counter: Counter,
    scan: BoxScan,
    rng: np.random.Generator,
    generations: int,
    report: Report | None = None,
) -> Archive:
    """Searches for each wanted target, or a dozen of the scan; each box tried enters the archive for all targets.

    Args:
        method: `evolve`, `swarm` or `anneal`.
        counter, scan, rng, generations, report: as of every search.
    """
    archive = Archive(scan, counter)
    dozen = np.unique(np.linspace(0, len(scan.targets) - 1, _N_TARGETS).round().astype(int))
    points = scan.wanted if len(scan.wanted) else scan.targets[dozen]
    for done, target in enumerate(points):

        def cost(genes: Array, target: float = float(target)) -> Array:
            efficiency, background = archive.try_boxes(*box_levels(counter.grid, genes))
            return background + _MISSED * np.maximum(target - efficiency, 0.0)

        method(cost, counter.grid, rng, generations)
        if report is not None:
            report(done + 1, len(points), archive)
    return archive


def evolve(cost: _Cost, grid: Grid, rng: np.random.Generator, generations: int) -> None:
    """Runs a genetic search: the better half of parents and children of tournaments stays.

    Mutation grows after a success and shrinks after a failure.
    """
    genes = _random_genes(grid, rng)
    n, n_genes = genes.shape
    fitness, mutation_size = cost(genes), 0.2
    for _ in range(generations):
        parents = [_tournament(fitness, rng) for _ in range(2)]
        child = np.where(rng.random((n, n_genes)) < 0.5, genes[parents[0]], genes[parents[1]])
        mutated = rng.random((n, n_genes)) < max(1.5 / n_genes, 0.1)
        child = np.abs(child + mutated * rng.normal(0, mutation_size, (n, n_genes)))
        child = np.clip(1 - np.abs(1 - child), 0.0, 1.0)
        child_fitness = cost(child)
        improved = child_fitness.min() < fitness.min()
        mutation_size = min(0.3, mutation_size * 1.1) if improved else max(0.003, mutation_size * 0.93)
        genes, fitness = np.concatenate([genes, child]), np.concatenate([fitness, child_fitness])
        best = np.argsort(fitness, kind="stable")[:n]
        genes, fitness = genes[best], fitness[best]


def swarm(cost: _Cost, grid: Grid, rng: np.random.Generator, generations: int) -> None:
    """Runs a particle swarm (J. Kennedy, R. Eberhart, Proc. IEEE Int. Conf. Neural Networks (1995)).

    Particles move with inertia towards the best place that each has seen, and the best that any has seen. The factors
    are those of M. Clerc and J. Kennedy, IEEE Trans. Evol. Comput. 6 (2002) 58, for which swarms converge.
    """
    places = _random_genes(grid, rng)
    speed = rng.normal(0, 0.1, places.shape)
    own, least = places.copy(), cost(places)
    for _ in range(generations):
        towards_own, towards_best = (_ATTRACTION * rng.random(places.shape) for _ in range(2))
        best = own[np.argmin(least)]
        speed = _INERTIA * speed + towards_own * (own - places) + towards_best * (best - places)
        places = np.clip(places + speed, 0.0, 1.0)
        found = cost(places)
        better = found < least
        own[better], least[better] = places[better], found[better]


def anneal(cost: _Cost, grid: Grid, rng: np.random.Generator, generations: int) -> None:
    """Runs simulated annealing: scipy's `dual_annealing` without local search."""
    n_features = len(grid.n_levels)
    open_box = np.concatenate([np.full(n_features, 1e-3), np.full(n_features, 1 - 1e-3)])
    dual_annealing(
        lambda u: float(cost(u[None])[0]), [(0.0, 1.0)] * (2 * n_features), x0=open_box,
        maxfun=50 * generations, no_local_search=True, rng=rng,
    )  # fmt: skip


def _random_genes(grid: Grid, rng: np.random.Generator) -> Array:
    """Returns the genes of a population of random boxes."""
    return genes_of(grid, *random_boxes(grid, _POPULATION, rng))


def _tournament(fitness: Array, rng: np.random.Generator) -> Levels:
    """Returns the winners (n,) of n random pairs."""
    pairs = rng.integers(len(fitness), size=(len(fitness), 2))
    return np.where(fitness[pairs[:, 0]] < fitness[pairs[:, 1]], pairs[:, 0], pairs[:, 1])


def genes_of(grid: Grid, low: Levels, high: Levels) -> Array:
    """Returns genes (K, 2d) in [0, 1] for boxes (K, d)."""
    return np.concatenate([(low + 0.5) / grid.n_levels, (high + 0.5) / grid.n_levels], axis=1)


def box_levels(grid: Grid, genes: Array) -> Faces:
    """Returns the boxes (K, d) of genes (K, 2d)."""
    levels = np.floor(genes * np.tile(grid.n_levels, 2)).astype(np.int64)
    levels = np.minimum(levels, np.tile(grid.n_levels, 2) - 1)
    n_features = len(grid.n_levels)
    return grid.repaired(levels[:, :n_features], levels[:, n_features:])
