"""From the best boxes to a chain, each box inside the one before: a candidate has one number, how far in it gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numba
import numpy as np

from pidlab.models.cut_boxes import Array, Counter, Levels
from pidlab.models.cut_polish import polish
from pidlab.models.cut_search import FIRST_LOOK, Archive, peel, stacked

_ROUNDS = 8
_REACH = (1, 3, 8, 20)  # links: how far around its place in the chain a new box may spread
_KEEP = 3  # boxes a step of efficiency that stay in the pool
_ROOTS = 3  # wanted targets from whose own optimum the other wanted targets are searched
_STARTS = 4  # boxes that are polished for a wanted target between its neighbours
_WORST = 3  # targets a round, those where nesting costs most, through whose own optimum the chain is led
_COMPROMISES = 4  # boxes tried on the way from a link of the chain to the own optimum of its target
_BENDS = 3  # led chains a round that enter the pool
_SMALL_SHARE = 0.02  # of the background at a wanted target, besides its standard error, is a small price for nesting
_WANTED_SHARE = 0.01  # of the whole scan's background is what a small price at one wanted target counts for


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
    """

    targets: Array
    wanted: Levels
    optimum: Array
    small: Array

    @classmethod
    def of(cls, archive: Archive) -> Self:
        """The prices of an archive's scan."""
        steps = archive.frontier()
        optimum = np.where(steps >= 0, archive.background[steps], 1.0)
        n = archive.counter.background.codes.shape[1]
        error = np.sqrt(np.maximum(optimum * (1 - optimum), 1 / n) / n)
        return cls(archive.targets, _wanted_steps(archive), optimum, error + _SMALL_SHARE * optimum)

    def at(self, background: Array) -> Array:
        """(T, K) the price of each target where boxes of these backgrounds (K,) serve it."""
        price = np.repeat(background[None], len(self.targets), axis=0)
        excess = (background - self.optimum[self.wanted, None]) / self.small[self.wanted, None]
        excess = np.maximum(excess, 0.0)
        price[self.wanted] += _WANTED_SHARE * self.optimum.sum() * (0.1 * excess + excess**2)
        return price

    def served(self, efficiency: Array) -> Levels:
        """(K,) how many targets boxes (K,) of these efficiencies reach."""
        return np.searchsorted(self.targets, efficiency + 1e-12, side="right")

    def loss(self, chain: Boxes) -> Array:
        """(T,) what nesting costs at each target."""
        place = np.maximum(chain.serving(self.targets), 0)
        steps = np.arange(len(self.targets))
        return np.asarray(self.at(chain.background)[steps, place] - self.at(self.optimum)[steps, steps])

    def excess(self, chain: Boxes) -> Array:
        """What nesting adds to the background at each wanted target, in units of what is small."""
        place = np.maximum(chain.serving(self.targets[self.wanted]), 0)
        return np.asarray((chain.background[place] - self.optimum[self.wanted]) / self.small[self.wanted])


def nested_chain(archive: Archive, rng: np.random.Generator, rounds: int = _ROUNDS) -> Boxes:
    """The chain, loose to tight, that serves the archive's targets with the least background, by the weights of `_Price`.

    The best chain of a pool of boxes is exact (`best_chain`); what matters is what the pool offers. A few bits of
    signal that share one value of a feature (all candidates "without a hit") leave a box together, so a chain that
    drops them at the wrong place has a hole there, which nothing between its links can fill. So the chain is led
    through the own optimum of each wanted target (`_anchored`) and of the targets where nesting costs most (`_bent`), and
    between the links the pool gets the archive's best boxes clipped to fit, random spreads, and slices peeled from link to link.
    """
    counter, price = archive.counter, _Price.of(archive)
    look = counter.subsample(FIRST_LOOK, rng)
    pool = _from_archive(archive) + _counted(counter, *stacked([counter.grid.loosest]))
    chain = _chain_of(pool, price)
    for root in _roots(archive):
        pool = pool + _through(counter, chain, _anchored(archive, root))
    chain = _chain_of(pool, price)
    for i in range(rounds):
        pool = _pruned(pool, price) + chain
        for bent in _bends(archive, chain, price, rng):
            pool = pool + bent
        if i % 3 == 0:
            pool = pool + _counted(counter, *_peeled(look, chain, price.targets))
        for reach in _REACH:
            pool = pool + _clipped(archive, chain, reach) + _spread(counter, chain, reach, rng)
        chain = _chain_of(pool, price)
    chain = _chain_of(chain + _through(counter, chain, _polished(archive, chain)), price)
    pool = chain + _counted(counter, *_peeled(counter, chain, price.targets)) + _counted(counter, *_core(look, chain))
    return _chain_of(pool, price)


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
    paid = np.zeros((len(price.targets) + 1, len(pool)))
    np.cumsum(price.at(pool.background), axis=0, out=paid[1:])
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


def _own_optimum(archive: Archive, step: int) -> tuple[Levels, Levels]:
    """(d,) levels of the best box of the archive that reaches this step's target."""
    best = archive.frontier()[step]
    return archive.low[best], archive.high[best]


def _wanted_steps(archive: Archive) -> Levels:
    """Ascending steps of the wanted targets that some box reaches."""
    steps = np.searchsorted(archive.targets, archive.scan.wanted - 1e-12)
    return np.asarray(steps[archive.frontier()[steps] >= 0])


def _roots(archive: Archive) -> Levels:
    """Steps of the wanted targets, or some of them, evenly, where there are many."""
    steps = _wanted_steps(archive)
    return steps[np.unique(np.linspace(0, len(steps) - 1, _ROOTS).round().astype(np.int64))] if len(steps) else steps


def _anchored(archive: Archive, root: int) -> list[tuple[Levels, Levels]]:
    """Nested boxes, one a wanted target: the own optimum of `root`, then outwards and inwards the best that still fit."""
    steps, loosest = _wanted_steps(archive), archive.counter.grid.loosest
    anchors = [_own_optimum(archive, root)]
    for step in steps[steps > root]:
        anchors.append(_best_between(archive, step, loosest, anchors[-1]))
    inner = anchors[0]
    for step in steps[steps < root][::-1]:
        inner = _best_between(archive, step, inner, None)
        anchors.append(inner)
    return anchors


def _polished(archive: Archive, chain: Boxes) -> list[tuple[Levels, Levels]]:
    """Each wanted target's box of the chain, searched again between those of its neighbours among the wanted targets."""
    steps = _wanted_steps(archive)
    place = chain.serving(archive.targets[steps])
    boxes: list[tuple[Levels, Levels]] = [(chain.low[i], chain.high[i]) for i in place]
    bounds = [None, *boxes, archive.counter.grid.loosest]
    for i, step in enumerate(steps):
        inner, outer = bounds[i], bounds[i + 2]
        bounds[i + 1] = _best_between(archive, step, outer, inner, boxes[i])
    return bounds[1:-1]


def _best_between(
    archive: Archive, step: int, outer: tuple[Levels, Levels], inner: tuple[Levels, Levels] | None,
    known: tuple[Levels, Levels] | None = None,
) -> tuple[Levels, Levels]:
    """The box of least background found for a step's target inside `outer` and, if there is one, around `inner`."""
    counter, target = archive.counter.within(outer, inner), float(archive.targets[step])
    best = _from_archive(archive)
    tried = _counted(counter, *counter.grid.repaired(best.low, best.high))
    tried = tried + _counted(counter, *stacked([outer, *([] if known is None else [known])]))
    tried = tried.take(np.flatnonzero(tried.efficiency >= target - 1e-12))
    first = tried.take(np.argsort(tried.background, kind="stable")[:_STARTS])
    boxes = [polish(counter, low, high, target) for low, high in zip(first.low, first.high, strict=True)]
    found = _counted(counter, *stacked(boxes))
    i = int(np.argmin(found.background))
    return found.low[i], found.high[i]


def _worst(chain: Boxes, price: _Price) -> Levels:
    """Steps of the targets where nesting costs most, no two of them within a hundredth of the scan."""
    loss, steps = price.loss(chain), []
    apart = max(1, len(loss) // 50)
    for _ in range(_WORST):
        step = int(np.argmax(loss))
        if not loss[step] > 0:
            break
        steps.append(step)
        loss[max(0, step - apart) : step + apart + 1] = 0
    return np.array(steps, dtype=np.int64)


def _bends(archive: Archive, chain: Boxes, price: _Price, rng: np.random.Generator) -> list[Boxes]:
    """The chain led through boxes that are better where nesting costs most: those of the led chains that cost least."""
    boxes = [box for step in _worst(chain, price) for box in _compromises(archive, chain, step, rng)]
    bent = [_bent(archive.counter, chain, *box) for box in boxes]
    return sorted(bent, key=lambda led: float(price.loss(led).sum()))[:_BENDS]


def _compromises(archive: Archive, chain: Boxes, step: int, rng: np.random.Generator) -> list[tuple[Levels, Levels]]:
    """The own optimum of a step's target, and boxes on the way to it from the link of the chain that serves it."""
    low, high = _own_optimum(archive, step)
    link = max(int(chain.serving(archive.targets[step : step + 1])[0]), 0)
    boxes = [(low, high)]
    for _ in range(_COMPROMISES):
        part = np.where(rng.random((2, len(low))) < 0.5, rng.random(), rng.integers(0, 2, (2, len(low))))
        between = np.stack([chain.low[link], chain.high[link]]) * (1 - part) + np.stack([low, high]) * part
        boxes.append(tuple(np.rint(between).astype(np.int64)))
    return boxes


def _through(counter: Counter, chain: Boxes, anchors: list[tuple[Levels, Levels]]) -> Boxes:
    """The chain led through nested boxes."""
    for low, high in anchors:
        chain = _bent(counter, chain, low, high)
    return chain


def _bent(counter: Counter, chain: Boxes, low: Levels, high: Levels) -> Boxes:
    """The chain led through one box (d,): looser links are widened to hold it, tighter ones clipped to lie in it."""
    box = _counted(counter, low[None], high[None])
    place = int(np.searchsorted(-chain.efficiency, -box.efficiency[0]))
    looser, tighter = slice(0, place), slice(place, None)
    lows = np.concatenate([np.minimum(chain.low[looser], low), low[None], np.maximum(chain.low[tighter], low)])
    highs = np.concatenate([np.maximum(chain.high[looser], high), high[None], np.minimum(chain.high[tighter], high)])
    bent = _allowed(counter, lows, highs)
    return bent.take(np.argsort(-bent.efficiency, kind="stable"))


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


@numba.njit(cache=True, nogil=True)
def best_chain(low: Levels, high: Levels, served: Levels, paid_up_to: Array, efficiency: Array, density: Array) -> Levels:
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
        for p in range(i):
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
