"""The searches that TMVA made known, one working point at a time, on the same counting as the archive."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import dual_annealing

from pidlab.models.cuts.boxes import Array, Counter, Grid, Levels
from pidlab.models.cuts.search import Archive, BoxScan, Report, random_boxes

_N_POINTS = 12
_POPULATION = 200
_MC_BATCH = 1000
_MISSED = 10.0  # background that a missing unit of signal efficiency counts for


def search_genetic(
    counter: Counter, scan: BoxScan, rng: np.random.Generator, generations: int, report: Report | None = None
) -> Archive:
    """A genetic search for each wanted target, or a dozen: tournament, crossover, mutation that adapts its size."""

    def run(cost: _Cost) -> None:
        genes = genes_of(counter.grid, *random_boxes(counter.grid, _POPULATION, rng))
        evolve(cost, genes, rng, generations)

    return _one_by_one(counter, scan, run, report)


def search_annealing(
    counter: Counter, scan: BoxScan, rng: np.random.Generator, generations: int, report: Report | None = None
) -> Archive:
    """Simulated annealing (scipy's `dual_annealing` without local search) for each wanted target, or a dozen."""

    def run(cost: _Cost) -> None:
        n_features = len(counter.grid.n_levels)
        open_box = np.concatenate([np.full(n_features, 1e-3), np.full(n_features, 1 - 1e-3)])
        dual_annealing(
            lambda u: float(cost(u[None])[0]), [(0.0, 1.0)] * (2 * n_features), x0=open_box,
            maxfun=50 * generations, no_local_search=True, rng=rng,
        )  # fmt: skip

    return _one_by_one(counter, scan, run, report)


def search_monte_carlo(
    counter: Counter, scan: BoxScan, rng: np.random.Generator, generations: int, report: Report | None = None
) -> Archive:
    """Random boxes, a thousand each generation: what any search has to beat."""
    archive = Archive(scan, counter)
    for done in range(generations):
        archive.try_boxes(*random_boxes(counter.grid, _MC_BATCH, rng))
        if report is not None:
            report(done + 1, generations, archive)
    return archive


_Cost = Callable[[Array], Array]
"""(K, 2d) genes in [0, 1] to (K,) background efficiency plus a penalty for missing the target."""


def _one_by_one(counter: Counter, scan: BoxScan, run: Callable[[_Cost], None], report: Report | None) -> Archive:
    """Search for each wanted target, or for some of the scan; what is tried for one enters the archive for all."""
    archive = Archive(scan, counter)
    spread = np.unique(np.linspace(0, len(scan.targets) - 1, _N_POINTS).round().astype(int))
    points = scan.wanted if len(scan.wanted) else scan.targets[spread]
    for done, target in enumerate(points):

        def cost(genes: Array, target: float = float(target)) -> Array:
            efficiency, background = archive.try_boxes(*box_levels(counter.grid, genes))
            return background + _MISSED * np.maximum(target - efficiency, 0.0)

        run(cost)
        if report is not None:
            report(done + 1, len(points), archive)
    return archive


def evolve(cost: _Cost, genes: Array, rng: np.random.Generator, generations: int) -> None:
    """Better half of parents and children survives; mutation grows after a success and shrinks after a failure."""
    n, n_genes = genes.shape
    fitness, spread = cost(genes), 0.2
    for _ in range(generations):
        parents = [_tournament(fitness, rng) for _ in range(2)]
        child = np.where(rng.random((n, n_genes)) < 0.5, genes[parents[0]], genes[parents[1]])
        mutated = rng.random((n, n_genes)) < max(1.5 / n_genes, 0.1)
        child = np.abs(child + mutated * rng.normal(0, spread, (n, n_genes)))
        child = np.clip(1 - np.abs(1 - child), 0.0, 1.0)
        child_fitness = cost(child)
        spread = min(0.3, spread * 1.1) if child_fitness.min() < fitness.min() else max(0.003, spread * 0.93)
        genes, fitness = np.concatenate([genes, child]), np.concatenate([fitness, child_fitness])
        best = np.argsort(fitness, kind="stable")[:n]
        genes, fitness = genes[best], fitness[best]


def _tournament(fitness: Array, rng: np.random.Generator) -> Levels:
    pairs = rng.integers(len(fitness), size=(len(fitness), 2))
    return np.where(fitness[pairs[:, 0]] < fitness[pairs[:, 1]], pairs[:, 0], pairs[:, 1])


def genes_of(grid: Grid, low: Levels, high: Levels) -> Array:
    """(K, 2d) numbers in [0, 1] for (K, d) boxes."""
    return np.concatenate([(low + 0.5) / grid.n_levels, (high + 0.5) / grid.n_levels], axis=1)


def box_levels(grid: Grid, genes: Array) -> tuple[Levels, Levels]:
    """(K, d) boxes of (K, 2d) genes."""
    levels = np.floor(genes * np.tile(grid.n_levels, 2)).astype(np.int64)
    levels = np.minimum(levels, np.tile(grid.n_levels, 2) - 1)
    n_features = len(grid.n_levels)
    return grid.repaired(levels[:, :n_features], levels[:, n_features:])
