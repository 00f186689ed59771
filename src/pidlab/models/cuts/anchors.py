"""The boxes at a few signal efficiencies optimised together, each inside the one before: what a nested chain hangs on.

The best boxes at two efficiencies often do not nest. Many candidates may share one value of a feature (all "without a
hit"); the tighter box drops them, the looser one keeps them and cuts elsewhere, deeper than the tighter one does. Then
one of the two must give way, and how much each gives is decided here, for all at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pidlab.models.cuts.boxes import Array, Counter, Levels
from pidlab.models.cuts.search import Archive

Box = tuple[Levels, Levels]
"""(d,) levels of the low faces and of the high ones."""
Cost = Callable[[Array, Array], Array]
"""From (S, K) signal efficiencies and (S, K) background efficiencies to (S,) costs."""

_CHILDREN, _PARENTS = 120, 30
_GENERATIONS, _PATIENCE, _STANDSTILL = 200, 25, 1e-3  # the cost must fall by this share within so many generations
_SLACK = (0, 2, 5, 9)  # steps of the archive above a target's own
_ROOTS = 4  # stacks to start from: each holds the own optimum of one target
_CLIPPED_BELOW, _CLIPPED_ABOVE = 40, 80  # steps from the target: boxes of the archive that are tried, clipped to fit
_MOVED = 0.09  # of all faces of a box move in a mutation


@dataclass(frozen=True, slots=True)
class Stacks:
    """S stacks of K nested boxes in d features, loose to tight: low, high (S, K, d) levels."""

    low: Levels
    high: Levels

    def __len__(self) -> int:
        return len(self.low)

    def take(self, rows: Levels) -> Stacks:
        """The stacks of these numbers."""
        return Stacks(self.low[rows], self.high[rows])

    def __add__(self, other: Stacks) -> Stacks:
        return Stacks(np.concatenate([self.low, other.low]), np.concatenate([self.high, other.high]))

    def rates(self, counter: Counter) -> tuple[Array, Array]:
        """(S, K) signal efficiency and background efficiency."""
        flat = (-1, self.low.shape[2])
        rates = counter.rates(self.low.reshape(flat), self.high.reshape(flat))
        efficiency, background = (rate.reshape(self.low.shape[:2]) for rate in rates)
        return efficiency, background

    def led_through(self, place: Levels, low: Levels, high: Levels) -> Stacks:
        """Each stack with the box low, high (S, d) at its place (S,): looser ones are widened, tighter ones clipped."""
        number = np.arange(self.low.shape[1])[None, :, None]
        looser, tighter = number < place[:, None, None], number > place[:, None, None]
        low, high = low[:, None], high[:, None]
        lows = np.where(looser, np.minimum(self.low, low), np.where(tighter, np.maximum(self.low, low), low))
        highs = np.where(looser, np.maximum(self.high, high), np.where(tighter, np.minimum(self.high, high), high))
        return Stacks(lows, highs)


def anchors(archive: Archive, steps: Levels, cost: Cost, rng: np.random.Generator) -> Stacks:
    """The stack of nested boxes, one for each of the steps (K,), of least cost among those found: an evolution.

    It starts from stacks that hold the own optimum of one target, or of a little more signal, and at each other target
    the best box of the archive that can be clipped to fit. (A little more signal matters: where two optima exclude each
    other, a somewhat looser box at the looser target is what lets both be nearly as good.) A child takes the windows of
    features from two parents and has faces of two of its boxes moved; the other boxes give way. Every stack of the
    start reaches all targets, and a child that misses one is dropped.

    Args:
        archive: the best box found for each target, nested or not.
        steps: of the archive's targets, falling, so that boxes go from loose to tight.
        cost: from efficiencies and backgrounds, both (S, K), to what each stack costs (S,).
        rng: random numbers.
    """
    counter, targets = archive.counter, archive.targets[steps]
    stacks = _starts(archive, steps)

    def costs(some: Stacks) -> Array:
        efficiency, background = some.rates(counter)
        reached = np.all(efficiency >= targets - 1e-12, axis=1)
        return np.where(reached, cost(efficiency, background), np.inf)

    paid = costs(stacks)
    least = [float(paid.min())]
    for _ in range(_GENERATIONS):
        children = _children(stacks, counter, rng)
        stacks, paid = stacks + children, np.concatenate([paid, costs(children)])
        # of stacks that cost the same one is kept: they are mostly copies
        best = np.unique(paid, return_index=True)[1][:_PARENTS]
        stacks, paid = stacks.take(best), paid[best]
        least.append(float(paid[0]))
        if len(least) > _PATIENCE and least[-1 - _PATIENCE] - least[-1] <= _STANDSTILL * least[-1]:
            break
    return stacks.take(np.array([0]))


def _starts(archive: Archive, steps: Levels) -> Stacks:
    """Stacks that hold, each, the own optimum of one target or of a little more signal."""
    roots = np.unique(np.linspace(0, len(steps) - 1, _ROOTS).round().astype(np.int64))
    highest = int(archive.filled[-1])
    stacks = [
        _stack_through(archive, steps, int(root), min(int(steps[root]) + slack, highest))
        for root, slack in itertools.product(roots, _SLACK)
    ]
    return Stacks(np.stack([low for low, _ in stacks]), np.stack([high for _, high in stacks]))


def _stack_through(archive: Archive, steps: Levels, root: int, step: int) -> Box:
    """(K, d) levels of nested boxes: at `root` the best box of this step, elsewhere the archive's, clipped to fit."""
    optimum = archive.frontier()[step]
    boxes = {root: (archive.low[optimum], archive.high[optimum])}
    for number in range(root - 1, -1, -1):
        boxes[number] = _clipped_best(archive, int(steps[number]), archive.counter.grid.loosest, boxes[number + 1])
    for number in range(root + 1, len(steps)):
        boxes[number] = _clipped_best(archive, int(steps[number]), boxes[number - 1], None)
    lows, highs = zip(*(boxes[number] for number in range(len(steps))), strict=True)
    return np.stack(lows), np.stack(highs)


def _clipped_best(archive: Archive, step: int, outer: Box, inner: Box | None) -> Box:
    """The box of least background that reaches the step's target, of `outer` and the archive's clipped to fit."""
    counter, filled = archive.counter.within(outer, inner), archive.filled
    place = int(np.searchsorted(filled, step))
    filled = filled[max(place - _CLIPPED_BELOW, 0) : place + _CLIPPED_ABOVE]
    lows, highs = counter.grid.repaired(archive.low[filled], archive.high[filled])
    lows, highs = np.concatenate([outer[0][None], lows]), np.concatenate([outer[1][None], highs])
    efficiency, background = counter.rates(lows, highs)
    best = int(np.argmin(np.where(efficiency >= archive.targets[step] - 1e-12, background, np.inf)))
    return lows[best], highs[best]


def _children(stacks: Stacks, counter: Counter, rng: np.random.Generator) -> Stacks:
    """Stacks bred from these: the windows of two parents, feature by feature, then faces of two boxes moved."""
    n, n_features = _CHILDREN, stacks.low.shape[2]
    mother, father = rng.integers(len(stacks), size=(2, n))
    share = np.where(rng.random((n, 1, 1)) < 0.5, 1.0, 0.5)  # half of the children have one parent only
    inherited = rng.random((n, 1, n_features)) < share
    children = Stacks(
        np.where(inherited, stacks.low[mother], stacks.low[father]),
        np.where(inherited, stacks.high[mother], stacks.high[father]),
    )
    grid, rows = counter.grid, np.arange(n)
    scale = grid.n_levels * 10 ** rng.uniform(-3.2, -1, (n, 1))
    moved = max(_MOVED, 0.5 / n_features)
    for _ in range(2):
        place = rng.integers(stacks.low.shape[1], size=n)
        steps = np.rint((rng.random((2, n, n_features)) < moved) * rng.normal(size=(2, n, n_features)) * scale)
        low, high = np.stack([children.low[rows, place], children.high[rows, place]]) + steps.astype(np.int64)
        children = children.led_through(place, *grid.repaired(low, high))
    low, high = grid.repaired(children.low, children.high)
    allowed = np.all((low == children.low) & (high == children.high), axis=(1, 2))
    return children.take(np.flatnonzero(allowed))
