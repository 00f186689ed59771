"""From the best boxes to a chain, each box inside the one before: a candidate has one number, how far in it gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from pidlab.compiled import compiled
from pidlab.models.cuts.anchors import Stacks, anchors
from pidlab.models.cuts.boxes import Array, Counter, Levels
from pidlab.models.cuts.search import FIRST_LOOK, Archive, peel, stacked
from pidlab.models.cuts.windows import NestedPoint

_ROUNDS = 6
_REACH = (1, 3, 8, 20)  # links: how far around its place in the chain a new box may spread
_KEEP = 3  # boxes a step of efficiency that stay in the pool
_SMALL_SHARE = 0.02  # of the background at a wanted target, besides its standard error, is a small price for nesting
_WANTED_SHARE = 0.03  # of the whole scan's background is what a small price at one wanted target counts for
_FREE, _NEAR, _FAR = 0.0045, 0.0005, 0.005  # more signal than is wanted: costs nothing; then a small price each


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes on the grid with their rates on the training sample: low, high (m, d), efficiency, background (m,)."""

    low: Levels
    high: Levels
    efficiency: Array
    background: Array

    def __len__(self) -> int:
        return len(self.efficiency)

    def take(self, rows: Levels) -> Boxes:
        """The boxes of these numbers."""
        return Boxes(self.low[rows], self.high[rows], self.efficiency[rows], self.background[rows])

    def serving(self, targets: Array) -> Levels:
        """(T,) the number of the tightest box that reaches each target, of boxes in falling order of efficiency."""
        return np.searchsorted(-self.efficiency, -targets + 1e-12, side="right") - 1

    def __add__(self, other: Boxes) -> Boxes:
        return Boxes(
            np.concatenate([self.low, other.low]),
            np.concatenate([self.high, other.high]),
            np.concatenate([self.efficiency, other.efficiency]),
            np.concatenate([self.background, other.background]),
        )


@dataclass(frozen=True, slots=True)
class _Price:
    """What a chain pays for the background at each target, so that chains can be compared.

    A target of the scan costs its background. A wanted target costs, besides, the square of what nesting adds to its
    background, in units of what is small there (a standard error and two per cent): so where the optima of two wanted
    targets exclude each other both pay a little, and neither pays much.

    Attributes:
        targets: (T,) ascending signal efficiencies, wanted ones among them.
        wanted: steps of the wanted targets that can be reached.
        optimum: (T,) the least background known at each target, whether it fits into a chain or not.
        small: (T,) the excess of background that counts as small.
        event: the efficiency of one signal event.
    """

    targets: Array
    wanted: Levels
    optimum: Array
    small: Array
    event: float

    @classmethod
    def of(cls, archive: Archive) -> Self:
        """The prices of an archive's scan."""
        steps = archive.frontier()
        optimum = np.where(steps >= 0, archive.background[steps], 1.0)
        n = archive.counter.background.codes.shape[1]
        error = np.sqrt(np.maximum(optimum * (1 - optimum), 1 / n) / n)
        event = 1.0 / archive.counter.signal.codes.shape[1]
        return cls(archive.targets, _wanted_steps(archive), optimum, error + _SMALL_SHARE * optimum, event)

    def paid_up_to(self, efficiency: Array, background: Array) -> Array:
        """(T + 1, K) what boxes of these rates (K,) pay where they serve the first 0, 1 … T targets."""
        paid = np.arange(len(self.targets) + 1)[:, None] * background
        besides = self.of_nesting(efficiency[:, None], background[:, None], self.wanted)
        for step, price in zip(self.wanted, besides.T, strict=True):
            paid[step + 1 :] += price
        return paid

    def of_nesting(self, efficiency: Array, background: Array, steps: Levels) -> Array:
        """(K, w) what boxes of these rates, (K, w) or (K, 1), cost at the wanted steps (w,) for being no optimum."""
        excess = np.maximum((background - self.optimum[steps]) / self.small[steps], 0.0)
        free = max(self.event, self.event / 2 + _FREE)  # targets lie half an event below the efficiency asked for
        more = np.maximum(efficiency - self.targets[steps] - free, 0.0)
        beside = np.minimum(more / _NEAR, 1.0) + np.maximum(more - _NEAR, 0.0) / _FAR
        return np.asarray(_WANTED_SHARE * self.optimum.sum() * (0.1 * excess + excess**2 + beside))

    def served(self, efficiency: Array) -> Levels:
        """(K,) how many targets boxes (K,) of these efficiencies reach."""
        return np.searchsorted(self.targets, efficiency + 1e-12, side="right")


def nested_chain(archive: Archive, rng: np.random.Generator, rounds: int = _ROUNDS) -> Boxes:
    """The chain, loose to tight, that serves the archive's targets with the least background, as `_Price` counts it.

    The best chain of a pool of boxes is exact (`best_chain`); what matters is what the pool offers. All candidates that
    share one value of a feature ("no hit") leave a box together. A chain that drops them between the wrong two links
    has a hole there that nothing between its links can fill. So the boxes for the wanted targets are found first, under
    nesting and together (`anchors`), and the archive's boxes are fitted to them. Then the pool grows in rounds by what
    fits between the links of the chain so far: the archive's own best boxes clipped, random spreads, and slices peeled
    from link to link.
    """
    counter, price = archive.counter, _Price.of(archive)
    look = counter.subsample(FIRST_LOOK, rng)
    pool = _counted(counter, *stacked([counter.grid.loosest])) + _from_archive(archive)
    pool = _led_through(counter, pool, _anchors(archive, price, rng)) + pool
    chain = _chain_of(pool, price)
    for i in range(rounds):
        pool = _pruned(pool, price) + chain
        if i % 3 == 0:
            pool = (
                pool + _counted(counter, *_peeled(look, chain, price.targets)) + _counted(counter, *_core(look, chain))
            )
        for reach in _REACH:
            pool = pool + _clipped(archive, chain, reach) + _spread(counter, chain, reach, rng)
        chain = _chain_of(pool, price)
    pool = chain + _counted(counter, *_peeled(counter, chain, price.targets)) + _counted(counter, *_core(look, chain))
    return _chain_of(pool, price)


def nesting_points(archive: Archive, chain: Boxes, asked: Array) -> tuple[NestedPoint, ...]:
    """What nesting costs at each wanted target that the chain reaches, from low targets to high ones.

    `asked` are the efficiencies (w,) that the archive's wanted targets (w,) stand for.
    """
    points = []
    for step in _wanted_steps(archive):
        target = float(asked[np.argmin(np.abs(archive.scan.wanted - archive.targets[step]))])
        own = float(archive.background[archive.frontier()[step]])
        place = int(chain.serving(archive.targets[step : step + 1])[0])
        if place >= 0:
            background = float(chain.background[place])
            points.append(NestedPoint(target, float(chain.efficiency[place]), background, min(own, background)))
    return tuple(points)


def best_per_target(archive: Archive) -> Boxes:
    """The box of each wanted target, or of every target, loose to tight, each its own optimum."""
    chosen, wanted = archive.frontier(), archive.scan.wanted
    chosen = chosen[np.searchsorted(archive.targets, wanted)] if len(wanted) else chosen
    steps = np.unique(chosen[chosen >= 0])[::-1]
    if len(steps) == 0:
        return _counted(archive.counter, *stacked([archive.counter.grid.loosest]))
    return _from_archive(archive).take(np.searchsorted(archive.filled, steps))


def _from_archive(archive: Archive) -> Boxes:
    filled = archive.filled
    return Boxes(archive.low[filled], archive.high[filled], archive.efficiency[filled], archive.background[filled])


def _counted(counter: Counter, low: Levels, high: Levels) -> Boxes:
    return Boxes(low, high, *counter.rates(low, high))


def _allowed(counter: Counter, low: Levels, high: Levels) -> Boxes:
    """Those of the boxes that the grid allows, counted."""
    wide, at_most = counter.grid.repaired(low, high)
    fits = np.all((wide == low) & (at_most == high), axis=1)
    return _counted(counter, low[fits], high[fits])


def _chain_of(pool: Boxes, price: _Price) -> Boxes:
    """The best chain of this pool, loose to tight."""
    order = np.lexsort((pool.background, -pool.efficiency))
    pool = pool.take(order)
    paid = price.paid_up_to(pool.efficiency, pool.background)
    # the small second term prefers more links where several chains pass the same background
    density = 1e-3 * (pool.background + 1e-6 * (1 + pool.efficiency))
    return pool.take(best_chain(pool.low, pool.high, price.served(pool.efficiency), paid, pool.efficiency, density))


def _pruned(pool: Boxes, price: _Price) -> Boxes:
    """The best few boxes of each step of efficiency."""
    step = price.served(pool.efficiency)
    order = np.lexsort((pool.background, step))
    step = step[order]
    rank = np.arange(len(step)) - np.searchsorted(step, step)
    return pool.take(order[rank < _KEEP])


def _wanted_steps(archive: Archive) -> Levels:
    """Ascending steps of the wanted targets that some box reaches."""
    steps = np.searchsorted(archive.targets, archive.scan.wanted - 1e-12)
    return np.asarray(steps[archive.frontier()[steps] >= 0])


def _anchors(archive: Archive, price: _Price, rng: np.random.Generator) -> Stacks:
    """Nested boxes, one for each wanted target, optimised together; the loosest box where none is wanted."""
    steps = price.wanted[::-1]
    if len(steps) == 0:
        return Stacks(*(faces[None, None] for faces in archive.counter.grid.loosest))

    def cost(efficiency: Array, background: Array) -> Array:
        return np.asarray(price.of_nesting(efficiency, background, steps).sum(axis=1))

    return anchors(archive, steps, cost, rng)


def _led_through(counter: Counter, chain: Boxes, stack: Stacks) -> Boxes:
    """The boxes fitted to those of one stack: looser ones are widened to hold them, tighter ones clipped."""
    chain = chain.take(np.argsort(-chain.efficiency, kind="stable"))
    efficiency, low, high = stack.rates(counter)[0][0], stack.low[0], stack.high[0]
    for at, box_low, box_high in zip(efficiency, low, high, strict=True):
        place = int(np.searchsorted(-chain.efficiency, -at))
        looser, tighter = slice(0, place), slice(place, None)
        lows = (np.minimum(chain.low[looser], box_low), box_low[None], np.maximum(chain.low[tighter], box_low))
        highs = (np.maximum(chain.high[looser], box_high), box_high[None], np.minimum(chain.high[tighter], box_high))
        led = _allowed(counter, np.concatenate(lows), np.concatenate(highs))
        chain = led.take(np.argsort(-led.efficiency, kind="stable"))
    return chain


def _neighbourhood(chain: Boxes, efficiency: Array, reach: int) -> tuple[Boxes, Boxes]:
    """For each efficiency the link of the chain `reach` before its place and the one `reach` after it."""
    place = np.searchsorted(-chain.efficiency, -efficiency)
    last = len(chain) - 1
    return chain.take(np.clip(place - reach, 0, last)), chain.take(np.clip(place + reach - 1, 0, last))


def _between(counter: Counter, low: Levels, high: Levels, outer: Boxes, inner: Boxes) -> Boxes:
    """Boxes clipped to lie inside `outer` and around `inner`, counted."""
    return _allowed(counter, np.clip(low, outer.low, inner.low), np.clip(high, inner.high, outer.high))


def _clipped(archive: Archive, chain: Boxes, reach: int) -> Boxes:
    best = _from_archive(archive)
    return _between(archive.counter, best.low, best.high, *_neighbourhood(chain, best.efficiency, reach))


def _spread(counter: Counter, chain: Boxes, reach: int, rng: np.random.Generator, n: int = 300) -> Boxes:
    """Boxes between links: a face lies where the link in between has it, or anywhere from outer to inner link."""
    place = rng.integers(len(chain), size=n)
    last = len(chain) - 1
    outer, inner = chain.take(np.maximum(place - reach, 0)), chain.take(np.minimum(place + reach, last))
    own = chain.take(place)
    shape = own.low.shape
    moved = rng.random(shape) < max(0.3, 1 / shape[1])
    low = outer.low + np.floor(rng.random(shape) * (inner.low - outer.low + 1)).astype(np.int64)
    high = inner.high + np.floor(rng.random(shape) * (outer.high - inner.high + 1)).astype(np.int64)
    moved_high = rng.random(shape) < max(0.3, 1 / shape[1])
    return _between(counter, np.where(moved, low, own.low), np.where(moved_high, high, own.high), outer, inner)


def _peeled(counter: Counter, chain: Boxes, targets: Array) -> tuple[Levels, Levels]:
    """Slices peeled between links that lie more than two targets apart."""
    boxes = [(chain.low[-1], chain.high[-1])]
    served = np.searchsorted(targets, chain.efficiency + 1e-12, side="right")
    for i in np.flatnonzero(served[:-1] - served[1:] > 2):
        inner = (chain.low[i + 1], chain.high[i + 1])
        share = (chain.efficiency[i] - chain.efficiency[i + 1]) / (served[i] - served[i + 1])
        boxes += peel(counter, chain.low[i], chain.high[i], inner=inner, step=share / 2, max_boxes=200,
                      floor=float(chain.efficiency[i + 1]))[1:]  # fmt: skip
    return stacked(boxes)


def _core(counter: Counter, chain: Boxes) -> tuple[Levels, Levels]:
    """Slices peeled from the tightest link inwards, so that what lies in it is ranked too."""
    return stacked(peel(counter, chain.low[-1], chain.high[-1], floor=0.02, step=0.05, max_boxes=60))


@compiled(nogil=True)
def best_chain(
    low: Levels, high: Levels, served: Levels, paid_up_to: Array, efficiency: Array, density: Array
) -> Levels:
    """The cheapest nested chain from the first box: numbers (m,) of boxes, of M in falling order of efficiency.

    A box pays for the targets that it reaches and the next box of the chain does not, the last one for all it reaches.

    Args:
        low, high: (M, d) levels.
        served: (M,) how many of T targets each box reaches.
        paid_up_to: (T + 1, M) what each box pays where it serves the first 0, 1 … T targets.
        efficiency: (M,) signal efficiencies, falling.
        density: (M,) what a box pays, besides, for the signal between it and the next box.
    """
    n = efficiency.size
    total = np.full(n, np.inf)  # what the best chain that ends here pays where the last box serves all it reaches
    before = np.full(n, -1)
    for i in range(n):
        least, spared = 0.0 if i == 0 else np.inf, paid_up_to[served[i]]
        for p in range(i - 1, -1, -1):  # the nearest first: most others then cost more by their price alone
            price = total[p] - spared[p] - density[p] * efficiency[i]
            if price < least and efficiency[p] > efficiency[i]:
                inside, j = True, 0
                while inside and j < low.shape[1]:
                    inside = low[i, j] >= low[p, j] and high[i, j] <= high[p, j]
                    j += 1
                if inside:
                    least, before[i] = price, p
        total[i] = least + spared[i] + density[i] * efficiency[i]
    last = np.argmin(total)
    n_links = 1
    link = last
    while before[link] >= 0:
        link = before[link]
        n_links += 1
    chain = np.empty(n_links, np.int64)
    for place in range(n_links - 1, -1, -1):
        chain[place] = last
        last = before[last]
    return chain
