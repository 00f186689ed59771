"""From the best boxes to a chain, each box inside the one before: a candidate has one number, how far in it gets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pidlab.compiled import compiled
from pidlab.models.cut_boxes import Array, Counter, Levels
from pidlab.models.cut_search import FIRST_LOOK, Archive, Scan, peel, stacked

_ROUNDS = 10
_REACH = (1, 3, 8, 20)  # links: how far around its place in the chain a new box may spread
_KEEP = 3  # boxes a step of efficiency that stay in the pool


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

    def __add__(self, other: Boxes) -> Boxes:
        return Boxes(
            np.concatenate([self.low, other.low]),
            np.concatenate([self.high, other.high]),
            np.concatenate([self.efficiency, other.efficiency]),
            np.concatenate([self.background, other.background]),
        )


def nested_chain(archive: Archive, rng: np.random.Generator, rounds: int = _ROUNDS) -> Boxes:
    """The chain, loose to tight, that serves the archive's targets with the least background, summed over targets.

    The best chain of a pool of boxes is exact (`best_chain`); the pool grows in rounds by what fits between the links
    of the chain so far: the archive's own best boxes clipped to fit, slices peeled from link to link, random spreads.
    """
    counter, scan = archive.counter, archive.scan
    look = counter.subsample(FIRST_LOOK, rng)
    pool = _from_archive(archive) + _counted(counter, *stacked([counter.grid.loosest]))
    chain = _chain_of(pool, scan)
    for i in range(rounds):
        pool = _pruned(pool, scan) + chain
        if i % 3 == 0:
            pool = pool + _counted(counter, *_peeled(look, chain, scan))
        for reach in _REACH:
            pool = pool + _clipped(archive, chain, reach) + _spread(counter, chain, reach, rng)
        chain = _chain_of(pool, scan)
    pool = chain + _counted(counter, *_peeled(look, chain, scan)) + _counted(counter, *_core(look, chain))
    return _chain_of(pool, scan)


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


def _chain_of(pool: Boxes, scan: Scan) -> Boxes:
    """The best chain of this pool, loose to tight."""
    order = np.lexsort((pool.background, -pool.efficiency))
    pool = pool.take(order)
    # the small second term prefers more links where several chains pass the same background
    cost = pool.background + 1e-6 * (1 + pool.efficiency)
    worth = scan.worth(pool.efficiency) + 1e-3 * pool.efficiency  # no two efficiencies are worth the same
    return pool.take(best_chain(pool.low, pool.high, worth, cost))


def _pruned(pool: Boxes, scan: Scan) -> Boxes:
    """The best few boxes of each step of efficiency."""
    step = np.searchsorted(scan.targets, pool.efficiency + 1e-12, side="right")
    order = np.lexsort((pool.background, step))
    step = step[order]
    rank = np.arange(len(step)) - np.searchsorted(step, step)
    return pool.take(order[rank < _KEEP])


def _neighbourhood(chain: Boxes, efficiency: Array, reach: int) -> tuple[Boxes, Boxes]:
    """For each efficiency the link of the chain `reach` before its place and the one `reach` after it."""
    place = np.searchsorted(-chain.efficiency, -efficiency)
    last = len(chain) - 1
    return chain.take(np.clip(place - reach, 0, last)), chain.take(np.clip(place + reach - 1, 0, last))


def _between(counter: Counter, low: Levels, high: Levels, outer: Boxes, inner: Boxes) -> Boxes:
    """Boxes clipped to lie inside `outer` and around `inner`, counted."""
    low, high = np.clip(low, outer.low, inner.low), np.clip(high, inner.high, outer.high)
    wide, at_most = counter.grid.repaired(low, high)
    fits = np.all((wide == low) & (at_most == high), axis=1)
    return _counted(counter, low[fits], high[fits])


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


def _peeled(counter: Counter, chain: Boxes, scan: Scan) -> tuple[Levels, Levels]:
    """Slices peeled between links that lie more than two targets apart."""
    boxes = [(chain.low[-1], chain.high[-1])]
    served = np.searchsorted(scan.targets, chain.efficiency + 1e-12, side="right")
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
def best_chain(low: Levels, high: Levels, worth: Array, cost: Array) -> Levels:
    """The cheapest nested chain from the first box: numbers (m,) of boxes, of M in falling order of worth (M,).

    A chain pays for each box its cost times the worth between it and the next; the last one down to zero.
    """
    n = worth.size
    paid = np.full(n, np.inf)
    before = np.full(n, -1)
    paid[0] = 0.0
    for i in range(1, n):
        for p in range(i):
            price = paid[p] + (worth[p] - worth[i]) * cost[p]
            if price < paid[i] and worth[p] > worth[i]:
                inside, j = True, 0
                while inside and j < low.shape[1]:
                    inside = low[i, j] >= low[p, j] and high[i, j] <= high[p, j]
                    j += 1
                if inside:
                    paid[i], before[i] = price, p
    last = np.argmin(paid + worth * cost)
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
