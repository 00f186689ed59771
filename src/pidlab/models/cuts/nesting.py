"""A nested chain of boxes from the best boxes of a search, so that a candidate has a score: how many boxes it passes.

The best boxes at two efficiencies often do not nest. Many candidates may share one value of a feature ("no hit"); the
tighter box drops them, and the looser box keeps them and cuts deeper elsewhere. Then one of the two must give way. For
the wanted targets this is decided first, for all of them together, and the rest of the chain is fitted to the result.
If that costs a wanted target more than is small, there are two chains, and a candidate is accepted in either.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Self

import numpy as np

from pidlab.compiled import compiled
from pidlab.models.cuts.grid import Array, Counter, Faces, Levels
from pidlab.models.cuts.search import SUBSAMPLE_SIZE, Archive, peel, random_moves, search_archive, stacked
from pidlab.models.cuts.windows import NestedPoint

Stacks = Levels
"""(2, S, K, d) levels of the low faces and of the high faces of S stacks of K nested boxes, from loose to tight."""
StackCost = Callable[[Array, Array], Array]
"""From (S, K) signal efficiencies and (S, K) background efficiencies to (S,) costs."""

_ROUNDS = 4
_RANDOM_BOXES = 300  # for each reach in each round
_REACH = (1, 8)  # links on either side of a new box that bound it
_KEEP = 3  # boxes for each step of efficiency that stay in the pool
_SMALL_SHARE = 0.02  # of the background at a wanted target: with its standard error, a small cost of nesting
_WANTED_SHARE = 0.03  # of the background of the whole scan: the cost of a small excess at one wanted target
_FREE, _NEAR, _FAR = 0.0045, 0.0005, 0.005  # signal above a wanted target: free of cost, then a small cost for each

_GENERATIONS_OUTSIDE = 30  # of the search outside a chain, which begins with the boxes of the whole sample

_CHILDREN, _PARENTS = 60, 30
_GENERATIONS, _PATIENCE, _STANDSTILL = 200, 25, 1e-3  # the cost must fall by this share within so many generations
_SLACK = (0, 2, 5, 9)  # steps of the archive above a target's own
_ROOTS = 4  # stacks to start from, each of which holds the own optimum of one target
_CLIPPED_BELOW, _CLIPPED_ABOVE = 40, 80  # steps from the target: boxes of the archive that are tried, clipped to fit
_MOVED = 0.09  # share of the faces of a box that a mutation moves


@dataclass(frozen=True, slots=True)
class RatedBoxes:
    """Boxes on the grid with their rates on the training sample: low, high (m, d), efficiency, background (m,)."""

    low: Levels
    high: Levels
    efficiency: Array
    background: Array

    @classmethod
    def counted(cls, counter: Counter, low: Levels, high: Levels) -> Self:
        """Returns boxes (m, d) with their rates in the sample."""
        return cls(low, high, *counter.rates(low, high))

    @classmethod
    def of(cls, archive: Archive) -> Self:
        """Returns the boxes of an archive in ascending order of efficiency."""
        filled = archive.filled
        return cls(archive.low[filled], archive.high[filled], archive.efficiency[filled], archive.background[filled])

    def __len__(self) -> int:
        return len(self.efficiency)

    def take(self, rows: Levels) -> RatedBoxes:
        """Returns the boxes of these indices."""
        return RatedBoxes(self.low[rows], self.high[rows], self.efficiency[rows], self.background[rows])

    def added_to(self, efficiency: Array | float, background: Array | float) -> RatedBoxes:
        """Returns the boxes with the rates of what is accepted by them or was accepted before, at these rates."""
        return RatedBoxes(
            self.low,
            self.high,
            efficiency + (1 - efficiency) * self.efficiency,
            background + (1 - background) * self.background,
        )

    def serving(self, targets: Array) -> Levels:
        """Returns the index of the tightest box that reaches each target, (T,); boxes are in falling efficiency."""
        return np.searchsorted(-self.efficiency, -targets + 1e-12, side="right") - 1

    def __add__(self, other: RatedBoxes) -> RatedBoxes:
        return RatedBoxes(
            np.concatenate([self.low, other.low]),
            np.concatenate([self.high, other.high]),
            np.concatenate([self.efficiency, other.efficiency]),
            np.concatenate([self.background, other.background]),
        )


@dataclass(frozen=True, slots=True)
class _ChainCost:
    """The cost of a chain, from the background at each target, by which chains are compared.

    A target of the scan costs its background. A wanted target costs in addition the square of what nesting adds to its
    background, in units of what is small there (a standard error and two per cent): so if the optima of two wanted
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
        """Returns the costs for an archive's scan."""
        steps = archive.frontier()
        optimum = np.where(steps >= 0, archive.background[steps], 1.0)
        n = archive.counter.background.codes.shape[1]
        error = np.sqrt(np.maximum(optimum * (1 - optimum), 1 / n) / n)
        event = 1.0 / archive.counter.signal.codes.shape[1]
        return cls(archive.targets, _wanted_steps(archive), optimum, error + _SMALL_SHARE * optimum, event)

    def up_to(self, efficiency: Array, background: Array) -> Array:
        """Returns the costs (T + 1, K) of boxes of these rates (K,) that serve the first 0, 1 … T targets."""
        costs = np.arange(len(self.targets) + 1)[:, None] * background
        nesting = self.of_nesting(efficiency[:, None], background[:, None], self.wanted)
        for step, cost in zip(self.wanted, nesting.T, strict=True):
            costs[step + 1 :] += cost
        return costs

    def of_nesting(self, efficiency: Array, background: Array, steps: Levels) -> Array:
        """Returns the additional cost (K, w) of boxes at the wanted steps (w,); rates are (K, w) or (K, 1)."""
        excess = self.excess(background, steps)
        free = max(self.event, self.event / 2 + _FREE)  # targets lie half an event below the efficiency asked for
        surplus = np.maximum(efficiency - self.targets[steps] - free, 0.0)
        surplus_cost = np.minimum(surplus / _NEAR, 1.0) + np.maximum(surplus - _NEAR, 0.0) / _FAR
        return np.asarray(_WANTED_SHARE * self.optimum.sum() * (0.1 * excess + excess**2 + surplus_cost))

    def excess(self, background: Array, steps: Levels) -> Array:
        """Returns what backgrounds (…, w) have above the optimum at steps (w,), in units of what is small there."""
        return np.maximum((background - self.optimum[steps]) / self.small[steps], 0.0)

    def worst(self, chains: Sequence[RatedBoxes]) -> float:
        """Returns the largest excess at a wanted target of chains, loose to tight."""
        boxes = reduce(operator.add, chains)
        background = boxes.background[boxes.serving(self.targets[self.wanted])]
        return float(self.excess(background, self.wanted).max(initial=0.0))

    def until(self, step: int) -> Self:
        """Returns the costs of the targets up to this step."""
        first = slice(step + 1)
        wanted = self.wanted[self.wanted <= step]
        return replace(
            self, targets=self.targets[first], wanted=wanted, optimum=self.optimum[first], small=self.small[first]
        )

    def beyond(self, efficiency: float, background: float) -> Self:
        """Returns the costs of the looser targets, in shares of the candidates outside a box of these rates."""
        looser = self.targets > efficiency
        return replace(
            self,
            targets=(self.targets[looser] - efficiency) / (1 - efficiency),
            wanted=self.wanted[looser[self.wanted]] - np.count_nonzero(~looser),
            optimum=np.maximum(self.optimum[looser] - background, 0.0) / (1 - background),
            small=self.small[looser] / (1 - background),
            event=self.event / (1 - efficiency),
        )

    def served(self, efficiency: Array) -> Levels:
        """Returns the number of targets, (K,), that boxes of these efficiencies (K,) reach."""
        return np.searchsorted(self.targets, efficiency + 1e-12, side="right")


def nested_chains(archive: Archive, rng: np.random.Generator) -> list[RatedBoxes]:
    """Returns chains, loose to tight, that serve the archive's targets together; a candidate may pass any of them.

    One chain is enough where nesting costs no more than is small at each wanted target. Otherwise some of the tightest
    wanted targets get a chain of their own, and the looser ones are served by what a search finds among the candidates
    outside its loosest box. Efficiency and background are those of a chain and of all tighter ones together.
    """
    return _chains(archive, _ChainCost.of(archive), rng)


def _chains(archive: Archive, cost: _ChainCost, rng: np.random.Generator) -> list[RatedBoxes]:
    """Returns the fewest chains whose cost is small at each wanted target, or those of the least cost that were found.

    Those with most wanted targets in the tight chain are tried first.
    """
    subsample = archive.counter.subsample(SUBSAMPLE_SIZE, rng)
    stack = _wanted_stack(archive, cost, rng)
    found = [_several_chains(archive, cost, subsample, rng)] if _conflict(archive, cost, stack) else []
    if not found or cost.worst(found[0]) > 1:
        found.append([nested_chain(archive, cost, stack, subsample, rng)])
    return min(found, key=cost.worst)


def _several_chains(
    archive: Archive, cost: _ChainCost, subsample: Counter, rng: np.random.Generator
) -> list[RatedBoxes]:
    """Returns chains for two wanted targets or more: that of the tight ones, and before it those of the looser ones.

    The chain of the tight ones serves as many as it can at a small cost, and the tightest one in any case.
    """
    for step in cost.wanted[-2::-1]:
        part, own = archive.until(step), cost.until(step)
        stack = _wanted_stack(part, own, rng)
        if not _conflict(part, own, stack):
            break
    tight = nested_chain(part, own, stack, subsample, rng)
    tight = tight.take(np.arange(tight.serving(own.targets[-1:])[0], len(tight)))
    passed = float(tight.efficiency[0]), float(tight.background[0])
    outside = archive.counter.outside(tight.low[0], tight.high[0])
    known = archive.low[archive.filled], archive.high[archive.filled]
    rest = search_archive(outside, archive.scan.beyond(passed[0]), rng, _GENERATIONS_OUTSIDE, known=known)
    return [*(chain.added_to(*passed) for chain in _chains(rest, cost.beyond(*passed), rng)), tight]


def _conflict(archive: Archive, cost: _ChainCost, stack: Stacks) -> bool:
    """Returns whether several wanted targets cost one of them more than is small, in the boxes of one stack."""
    background = _rates(archive.counter, stack)[1][0, ::-1]
    return len(cost.wanted) > 1 and bool(cost.excess(background, cost.wanted).max() > 1)


def nested_chain(
    archive: Archive, cost: _ChainCost, stack: Stacks, subsample: Counter, rng: np.random.Generator
) -> RatedBoxes:
    """Returns the chain, loose to tight, that serves the archive's targets at the least cost.

    The best chain of a pool of boxes is exact (`best_chain`); what matters is what the pool offers. All candidates that
    share one value of a feature leave a box together, and a chain that drops them between the wrong two links has a
    hole there that no box can fill. So the boxes for the wanted targets are found first, the `stack`, and the archive's
    boxes are fitted to them. Then the pool grows in rounds by what fits between the links of the chain so
    far: the archive's own boxes clipped, random boxes, and slices peeled from link to link.
    """
    counter = archive.counter
    loosest = RatedBoxes.counted(counter, *stacked([counter.grid.loosest]))
    pool = loosest + RatedBoxes.of(archive)
    pool = _fitted_to(counter, pool, stack) + pool
    chain = _chain_of(loosest + pool, cost)
    for i in range(_ROUNDS):
        pool = _pruned(pool, cost) + chain
        if i % 3 == 0:
            pool = pool + _peeled_between(counter, subsample, chain, cost) + _peeled_inside(counter, subsample, chain)
        for reach in _REACH:
            pool = pool + _archive_between(archive, chain, reach) + _random_between(counter, chain, reach, rng)
        chain = _chain_of(loosest + pool, cost)
    pool = chain + _peeled_between(counter, counter, chain, cost) + _peeled_inside(counter, subsample, chain)
    return _chain_of(loosest + pool, cost)


def nesting_points(archive: Archive, chain: RatedBoxes, asked: Array) -> tuple[NestedPoint, ...]:
    """Returns what nesting costs at each wanted target that the chain reaches, from low targets to high ones.

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


def best_per_target(archive: Archive) -> RatedBoxes:
    """Returns the optimum of each wanted target, or of every target if none is wanted, from loose to tight."""
    chosen, wanted = archive.frontier(), archive.scan.wanted
    chosen = chosen[np.searchsorted(archive.targets, wanted)] if len(wanted) else chosen
    steps = np.unique(chosen[chosen >= 0])[::-1]
    if len(steps) == 0:
        return RatedBoxes.counted(archive.counter, *stacked([archive.counter.grid.loosest]))
    return RatedBoxes.of(archive).take(np.searchsorted(archive.filled, steps))


# The pool of boxes, and the chain made of it


def _wanted_steps(archive: Archive) -> Levels:
    """Returns the steps of the wanted targets that some box reaches, ascending."""
    steps = np.searchsorted(archive.targets, archive.scan.wanted - 1e-12)
    return np.asarray(steps[archive.frontier()[steps] >= 0])


def _chain_of(pool: RatedBoxes, cost: _ChainCost) -> RatedBoxes:
    """Returns the best chain of a pool that holds the loosest box, loose to tight.

    It begins with this one, or with a tighter box that loses no signal.
    """
    pool = pool.take(np.lexsort((-pool.background, -pool.efficiency)))
    costs = cost.up_to(pool.efficiency, pool.background)
    # the small second term prefers more links if several chains pass the same background
    density = 1e-3 * (pool.background + 1e-6 * (1 + pool.efficiency))
    chain = pool.take(best_chain(pool.low, pool.high, cost.served(pool.efficiency), costs, pool.efficiency, density))
    return chain.take(np.flatnonzero(np.diff(chain.efficiency, append=-1.0)))


def _pruned(pool: RatedBoxes, cost: _ChainCost) -> RatedBoxes:
    """Returns the best few boxes of each step of efficiency."""
    step = cost.served(pool.efficiency)
    order = np.lexsort((pool.background, step))
    step = step[order]
    rank = np.arange(len(step)) - np.searchsorted(step, step)
    return pool.take(order[rank < _KEEP])


def _allowed(counter: Counter, low: Levels, high: Levels) -> RatedBoxes:
    """Returns those of the boxes (K, d) that the grid allows."""
    wide, at_most = counter.grid.repaired(low, high)
    fits = np.all((wide == low) & (at_most == high), axis=1)
    return RatedBoxes.counted(counter, low[fits], high[fits])


def _fitted_to(counter: Counter, chain: RatedBoxes, stack: Stacks) -> RatedBoxes:
    """Returns the boxes fitted to those of one stack: looser ones are widened to hold them, tighter ones clipped."""
    chain = chain.take(np.argsort(-chain.efficiency, kind="stable"))
    for efficiency, low, high in zip(_rates(counter, stack)[0][0], *stack[:, 0], strict=True):
        place = int(np.searchsorted(-chain.efficiency, -efficiency))
        lows = (np.minimum(chain.low[:place], low), low[None], np.maximum(chain.low[place:], low))
        highs = (np.maximum(chain.high[:place], high), high[None], np.minimum(chain.high[place:], high))
        fitted = _allowed(counter, np.concatenate(lows), np.concatenate(highs))
        chain = fitted.take(np.argsort(-fitted.efficiency, kind="stable"))
    return chain


def _between(counter: Counter, low: Levels, high: Levels, outer: RatedBoxes, inner: RatedBoxes) -> RatedBoxes:
    """Returns boxes (K, d) clipped to lie inside `outer` and around `inner`."""
    return _allowed(counter, np.clip(low, outer.low, inner.low), np.clip(high, inner.high, outer.high))


def _archive_between(archive: Archive, chain: RatedBoxes, reach: int) -> RatedBoxes:
    """Returns the archive's boxes clipped to fit between the links `reach` before and after their place."""
    best, last = RatedBoxes.of(archive), len(chain) - 1
    place = np.searchsorted(-chain.efficiency, -best.efficiency)
    outer, inner = chain.take(np.clip(place - reach, 0, last)), chain.take(np.clip(place + reach - 1, 0, last))
    return _between(archive.counter, best.low, best.high, outer, inner)


def _random_between(counter: Counter, chain: RatedBoxes, reach: int, rng: np.random.Generator) -> RatedBoxes:
    """Returns random boxes between links: a face is that of a link, or lies between the links `reach` around it."""
    place = rng.integers(len(chain), size=_RANDOM_BOXES)
    outer = chain.take(np.maximum(place - reach, 0))
    inner = chain.take(np.minimum(place + reach, len(chain) - 1))
    own = chain.take(place)
    shape = own.low.shape
    moved = rng.random(shape) < max(0.3, 1 / shape[1])
    low = outer.low + np.floor(rng.random(shape) * (inner.low - outer.low + 1)).astype(np.int64)
    high = inner.high + np.floor(rng.random(shape) * (outer.high - inner.high + 1)).astype(np.int64)
    moved_high = rng.random(shape) < max(0.3, 1 / shape[1])
    return _between(counter, np.where(moved, low, own.low), np.where(moved_high, high, own.high), outer, inner)


def _peeled_between(counter: Counter, sample: Counter, chain: RatedBoxes, cost: _ChainCost) -> RatedBoxes:
    """Returns slices peeled, with the gains in `sample`, between links that lie more than two targets apart."""
    boxes = [(chain.low[-1], chain.high[-1])]
    served = cost.served(chain.efficiency)
    for i in np.flatnonzero(served[:-1] - served[1:] > 2):
        share = (chain.efficiency[i] - chain.efficiency[i + 1]) / (served[i] - served[i + 1])
        boxes += peel(
            sample,
            chain.low[i],
            chain.high[i],
            inner=(chain.low[i + 1], chain.high[i + 1]),
            floor=float(chain.efficiency[i + 1]),
            step=share / 2,
            max_boxes=200,
        )[1:]
    return RatedBoxes.counted(counter, *stacked(boxes))


def _peeled_inside(counter: Counter, sample: Counter, chain: RatedBoxes) -> RatedBoxes:
    """Returns slices peeled from the tightest link inwards, so that candidates inside it are ranked too."""
    boxes = peel(sample, chain.low[-1], chain.high[-1], floor=0.02, step=0.05, max_boxes=60)
    return RatedBoxes.counted(counter, *stacked(boxes))


@compiled(nogil=True)
def best_chain(
    low: Levels, high: Levels, served: Levels, cost_up_to: Array, efficiency: Array, density: Array
) -> Levels:
    """Returns the indices (m,) of the nested chain of least cost that begins with the first of M boxes.

    A box pays for the targets that it reaches and that the next box of the chain does not reach.

    Args:
        low, high: (M, d) levels.
        served: (M,) the number of targets, of T, that each box reaches.
        cost_up_to: (T + 1, M) what each box pays if it serves the first 0, 1 … T targets.
        efficiency: (M,) signal efficiencies in falling order. Each box has less than the one before it in the chain;
            the second may have as much as the first if its density is less.
        density: (M,) what a box pays in addition for the signal between it and the next box.
    """
    n = efficiency.size
    total = np.full(
        n, np.inf
    )  # cost of the best chain that ends here, if its last box serves all targets that it reaches
    before = np.full(n, -1)
    for i in range(n):
        least, spared = 0.0 if i == 0 else np.inf, cost_up_to[served[i]]
        for p in range(
            i - 1, -1, -1
        ):  # the nearest first: most others are then too expensive and need no comparison of faces
            cost = total[p] - spared[p] - density[p] * efficiency[i]
            if cost < least and (efficiency[p] > efficiency[i] or (p == 0 and density[p] > density[i])):
                inside, j = True, 0
                while inside and j < low.shape[1]:
                    inside = low[i, j] >= low[p, j] and high[i, j] <= high[p, j]
                    j += 1
                if inside:
                    least, before[i] = cost, p
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


# Nested boxes at the wanted targets, optimised together


def _wanted_stack(archive: Archive, cost: _ChainCost, rng: np.random.Generator) -> Stacks:
    """Returns one stack (2, 1, K, d) of nested boxes for the wanted targets, or the loosest box if none is wanted."""
    steps = cost.wanted[::-1]
    if len(steps) == 0:
        return np.stack(archive.counter.grid.loosest)[:, None, None]

    def nesting_cost(efficiency: Array, background: Array) -> Array:
        return np.asarray(cost.of_nesting(efficiency, background, steps).sum(axis=1))

    return nested_at_targets(archive, steps, nesting_cost, rng)


def nested_at_targets(archive: Archive, steps: Levels, cost: StackCost, rng: np.random.Generator) -> Stacks:
    """Returns the stack (2, 1, K, d) of nested boxes, one for each of the steps (K,), of least cost, by an evolution.

    The evolution starts from stacks that hold the own optimum of one target, or of a little more signal, and at each
    other target the best box of the archive that can be clipped to fit. (A little more signal matters: if two optima
    exclude each other, a somewhat looser box at the looser target lets both be nearly as good.) A child takes the
    windows of features from two parents and has faces of two of its boxes moved; the other boxes give way. All first
    stacks reach all targets, and a child that misses one is dropped.

    Args:
        archive: the best box found for each target, nested or not.
        steps: the steps of the archive's targets, in falling order, so that boxes go from loose to tight.
        cost: from signal and background efficiencies, both (S, K), to the cost of each stack (S,).
        rng: the random numbers.
    """
    counter, targets = archive.counter, archive.targets[steps]
    stacks = _first_stacks(archive, steps)

    def costs_of(stacks: Stacks) -> Array:
        efficiency, background = _rates(counter, stacks)
        reached = np.all(efficiency >= targets - 1e-12, axis=1)
        return np.where(reached, cost(efficiency, background), np.inf)

    costs = costs_of(stacks)
    least = [float(costs.min())]
    for _ in range(_GENERATIONS):
        children = _children(stacks, counter, rng)
        stacks, costs = np.concatenate([stacks, children], axis=1), np.concatenate([costs, costs_of(children)])
        # of stacks that cost the same one is kept: they are mostly copies
        best = np.unique(costs, return_index=True)[1][:_PARENTS]
        stacks, costs = stacks[:, best], costs[best]
        least.append(float(costs[0]))
        if len(least) > _PATIENCE and least[-1 - _PATIENCE] - least[-1] <= _STANDSTILL * least[-1]:
            break
    return stacks[:, :1]


def _rates(counter: Counter, stacks: Stacks) -> tuple[Array, Array]:
    """Returns signal efficiency and background efficiency, (S, K) each."""
    n_stacks, n_boxes, n_features = stacks.shape[1:]
    efficiency, background = counter.rates(*stacks.reshape(2, -1, n_features))
    return efficiency.reshape(n_stacks, n_boxes), background.reshape(n_stacks, n_boxes)


def _first_stacks(archive: Archive, steps: Levels) -> Stacks:
    """Returns stacks each of which holds the own optimum of one target or of a little more signal."""
    roots = np.unique(np.linspace(0, len(steps) - 1, _ROOTS).round().astype(np.int64))
    highest = int(archive.filled[-1])
    return np.stack(
        [
            _stack_through(archive, steps, int(root), min(int(steps[root]) + slack, highest))
            for root, slack in itertools.product(roots, _SLACK)
        ],
        axis=1,
    )


def _stack_through(archive: Archive, steps: Levels, root: int, step: int) -> Levels:
    """Returns nested boxes (2, K, d): at `root` the best box of this step, elsewhere the archive's, clipped to fit."""
    optimum = archive.frontier()[step]
    boxes = {root: (archive.low[optimum], archive.high[optimum])}
    for number in range(root - 1, -1, -1):
        boxes[number] = _clipped_best(archive, int(steps[number]), archive.counter.grid.loosest, boxes[number + 1])
    for number in range(root + 1, len(steps)):
        boxes[number] = _clipped_best(archive, int(steps[number]), boxes[number - 1], None)
    return np.stack([boxes[number] for number in range(len(steps))], axis=1)


def _clipped_best(archive: Archive, step: int, outer: Faces, inner: Faces | None) -> Faces:
    """Returns the box of least background that reaches the target: `outer`, or one of the archive clipped to fit."""
    grid, filled = archive.counter.grid.within(outer, inner), archive.filled
    place = int(np.searchsorted(filled, step))
    filled = filled[max(place - _CLIPPED_BELOW, 0) : place + _CLIPPED_ABOVE]
    lows, highs = grid.repaired(archive.low[filled], archive.high[filled])
    lows, highs = np.concatenate([outer[0][None], lows]), np.concatenate([outer[1][None], highs])
    efficiency, background = archive.counter.rates(lows, highs)
    best = int(np.argmin(np.where(efficiency >= archive.targets[step] - 1e-12, background, np.inf)))
    return lows[best], highs[best]


def _children(stacks: Stacks, counter: Counter, rng: np.random.Generator) -> Stacks:
    """Returns stacks with the windows of two parents, feature by feature, and faces of two of their boxes moved."""
    n, (n_stacks, n_boxes, n_features) = _CHILDREN, stacks.shape[1:]
    mother, father = rng.integers(n_stacks, size=(2, n))
    share = np.where(rng.random((n, 1, 1)) < 0.5, 1.0, 0.5)  # half of the children have one parent only
    inherited = rng.random((n, 1, n_features)) < share
    children = np.where(inherited, stacks[:, mother], stacks[:, father])
    grid, rows = counter.grid, np.arange(n)
    scale = grid.n_levels * 10 ** rng.uniform(-3.2, -1, (n, 1))
    moved = max(_MOVED, 0.5 / n_features)
    for _ in range(2):
        place = rng.integers(n_boxes, size=n)
        low, high = children[:, rows, place] + random_moves((2, n, n_features), moved, scale, rng)
        children = _with_box(children, place, *grid.repaired(low, high))
    repaired = np.stack(grid.repaired(*children))
    return children[:, np.all(repaired == children, axis=(0, 2, 3))]


def _with_box(stacks: Stacks, place: Levels, low: Levels, high: Levels) -> Stacks:
    """Returns each stack with the box low, high (S, d) at its place (S,): looser ones widened, tighter ones clipped."""
    number = np.arange(stacks.shape[2])[None, :, None]
    looser, tighter = number < place[:, None, None], number > place[:, None, None]
    low, high = low[:, None], high[:, None]
    lows = np.where(looser, np.minimum(stacks[0], low), np.where(tighter, np.maximum(stacks[0], low), low))
    highs = np.where(looser, np.maximum(stacks[1], high), np.where(tighter, np.minimum(stacks[1], high), high))
    return np.stack([lows, highs])
