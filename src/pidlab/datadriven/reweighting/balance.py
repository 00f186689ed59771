"""Balances weights: in bins of each matched variable both samples then hold the same, and replicas tell the error.

Trees that stop early leave the distributions of the variables a little apart, and the weights have a statistical error
that many events share. Here one factor for each bin of each variable makes the sums of weights in these bins those of
the target. The factors are found again for replicas of both samples, whose differences are the error. What the trees
of the folds say differently within bins, each balanced in the same bins, is the rest of the error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.datadriven.reweighting.ratio import BinRatio, Ratio, TreeRatio, Weighted, bin_ratio, cells
from pidlab.evaluate.intervals import effective_number
from pidlab.measured import Array
from pidlab.sample import BoolArray, FloatArray, IntArray, WeightReplicas
from pidlab.split import Keys, poisson_counts

N_REPLICAS = 25
"""The number of replicas: the standard deviation of so many numbers is known to 14 %."""
_MOST_BINS = 10  # of a variable; in toys 20 of them had a third more variance, and no smaller bias
# Effective events that either sample has in a bin. A factor is a ratio of two sums, whose mean is too large by the
# relative variance of the lower one: by one per cent at most.
_LEAST_EVENTS = 100.0
_PRIOR_WIDTH = 1.0  # of the logarithm of a factor; it decides only what the samples leave open
_MOST_STEPS, _LONGEST_STEP, _CLOSE = 50, 2.0, 1e-6  # of Newton's method, in logarithms of factors
_BLOCK = 1 << 14


@dataclass(frozen=True, slots=True)
class Factors:
    """Factors by which the weights of replicas differ from the weights, in cells of some of the matched variables.

    Attributes:
        columns: the places of these variables among all.
        edges: the rising edges of the bins of each of them; `cells` says what is beyond them.
        values: the factors, with one axis for the replicas and one for each variable.
    """

    columns: tuple[int, ...]
    edges: tuple[Array, ...]
    values: Array

    def of(self, z: FloatArray) -> IntArray:
        """Returns the place (n,) of each row (n, d) among the flattened cells."""
        shape = self.values.shape[1:]
        return np.asarray(np.ravel_multi_index(cells(self.edges, z[:, list(self.columns)]), shape))


def weight_replicas(
    factors: Sequence[Factors],
    z: FloatArray,
    ratios: Sequence[Ratio] = (),
    shapes: Sequence[Factors] = (),
    seed: int = 1,
) -> WeightReplicas | None:
    """Returns the replicas of the weights of rows (n, d) of the matched variables; None without factors.

    Their cells are those of all tables together that hold a row.

    Args:
        factors: of the replicas.
        z: the matched variables.
        ratios, shapes: of the folds, whose differences are a part of the error; empty for ratios by bins, and in runs
            of older versions.
        seed: of the steps that replicas take between the folds.
    """
    if not factors:
        return None
    cell, table = np.zeros(len(z), np.int64), np.ones((len(factors[0].values), 1))
    for each in factors:
        values = each.values.reshape(len(each.values), -1)
        joint, cell = np.unique(cell * values.shape[1] + each.of(z), return_inverse=True)
        table = table[:, joint // values.shape[1]] * values[:, joint % values.shape[1]]
    cell = cell.ravel().astype(np.int32)
    if not shapes:
        return WeightReplicas(table, cell)
    return WeightReplicas(table, cell, fold_directions(ratios, shapes, z), fold_steps(len(ratios), seed))


class Balanced(NamedTuple):
    """Ratios of which the samples hold the same in bins of each variable, and what tells their error.

    Attributes:
        ratios: one for each fold.
        factors: of the replicas.
        shapes: by which the ratio of each fold is multiplied so that it alone is balanced, with one axis for the folds
            and one for the cells of a variable; empty for ratios by bins.
    """

    ratios: tuple[Ratio, ...]
    factors: tuple[Factors, ...]
    shapes: tuple[Factors, ...]


def balanced(
    ratios: Sequence[Ratio], source: Weighted, target: Weighted, ratio: Array, events: tuple[Keys, Keys], seed: int
) -> Balanced:
    """Returns the ratios, balanced if they are trees, and what tells their error.

    A replica counts each event as often as a Poisson number of mean 1 says (B. Efron, R. Tibshirani, An Introduction to
    the Bootstrap, Chapman and Hall 1993). The trees are the same for all replicas; how their shape within bins
    fluctuates is told by the folds, see `fold_directions`.

    Args:
        ratios: one for each fold.
        source, target: all training events.
        ratio: (n,) the ratio of each event of the source, by the fit that did not see it.
        events: the hashes of the events of both, on which the replicas depend.
        seed: of the replicas.
    """
    draws = ([poisson_counts(each, f"reweight {b}", seed) for each in events] for b in range(N_REPLICAS))
    if isinstance(first := ratios[0], BinRatio):
        return Balanced(tuple(ratios), (_replicas_of_bins(first, source, target, draws),), ())
    own = Weighted(source.z, source.weight * ratio)
    edges = [_edges(own, target, j) for j in range(source.z.shape[1])]
    balance = _Balance.of(own, target, edges)
    weight, target_weight = own.weight.astype(np.float64), target.weight.astype(np.float64)
    nominal = balance.logarithms(weight, target_weight, np.zeros(balance.n_cells))
    # Replicas and folds keep the sum of the weights, which balancing leaves open.
    total = float(weight @ np.exp(nominal[balance.kinds].sum(axis=1))[balance.kind_of])
    replicas = [
        balance.scaled(balance.logarithms(weight * a, target_weight * b, nominal), weight, total) for a, b in draws
    ]
    ends = np.cumsum([len(each) for each in edges])[:-1]  # as many cells as edges: the last is for missing values
    tables = np.split(nominal, ends)
    changes = np.split(_rounded(np.exp(np.array(replicas) - nominal)), ends, axis=1)
    made = [each.times(edges, tables) if isinstance(each, TreeRatio) else each for each in ratios]
    by_fold = [source.weight * each(source.z) for each in ratios]
    of_folds = np.array(
        [balance.scaled(balance.logarithms(own, target_weight, nominal), own, total) - nominal for own in by_fold]
    )
    shapes = np.split(_rounded(np.exp(of_folds)), ends, axis=1)
    tables_of = [
        tuple(Factors((j,), (own_edges,), values[j]) for j, own_edges in enumerate(edges))
        for values in (changes, shapes)
    ]
    return Balanced(tuple(made), *tables_of)


def fold_directions(ratios: Sequence[Ratio], shapes: Sequence[Factors], z: FloatArray) -> NDArray[np.float32]:
    """Returns (k, n) by how much the weights of rows (n, d) by the trees of each fold differ from their mean, over it.

    Each fold's weights are balanced on their own, so that what differs is their shape within bins.
    """
    found = np.array([ratio(z) for ratio in ratios])
    for each in shapes:
        found *= each.values.reshape(len(each.values), -1)[:, each.of(z)]
    mean = found.mean(axis=0)
    return np.asarray(np.divide(found, mean, out=np.ones_like(found), where=mean > 0) - 1, np.float32)


def fold_steps(n_folds: int, seed: int) -> Array:
    """Returns (r, k) random steps, by which the variance over replicas of a number is that of the jackknife over folds.

    That is (k - 1) / k times the sum of the squared differences from the mean (B. Efron, The Jackknife, the Bootstrap
    and Other Resampling Plans, SIAM 1982); each of the k trees was fitted without one fold.
    """
    normal = np.random.default_rng(seed).standard_normal((N_REPLICAS, n_folds))
    return np.asarray(normal * np.sqrt((n_folds - 1) / n_folds))


def _replicas_of_bins(ratio: BinRatio, source: Weighted, target: Weighted, draws: Iterable[list[Array]]) -> Factors:
    """Returns the ratios of replicas over that of all events, in the cells of a ratio by bins."""
    nominal = bin_ratio(source, target, ratio.edges)
    place, found = cells(ratio.edges, source.z), []
    total = float(source.weight @ nominal.values[place])
    for of_source, of_target in draws:
        own = Weighted(source.z, source.weight * of_source)
        values = bin_ratio(own, Weighted(target.z, target.weight * of_target), ratio.edges).values
        new = float(source.weight @ values[place])
        values = values * (total / new if total > 0 and new > 0 else 1.0)  # replicas keep the sum of the weights
        found.append(np.divide(values, nominal.values, out=np.ones_like(values), where=nominal.values > 0))
    return Factors(tuple(range(len(ratio.edges))), ratio.edges, _rounded(np.array(found)))


def _rounded(factors: Array) -> Array:
    """Returns factors as they are saved, with the digits of float32: those of an error are fewer."""
    return factors.astype(np.float32).astype(np.float64)


def _edges(own: Weighted, target: Weighted, j: int) -> Array:
    """Returns the edges of the bins of one variable, in each of which both samples have enough effective events."""
    values = target.z[:, j]
    finite = values[np.isfinite(values) & (target.weight != 0)]
    if not len(finite):
        return np.array([0.0, 1.0])
    # Trees read float32, so edges are float32 too.
    inner = np.quantile(finite, np.arange(1, _MOST_BINS) / _MOST_BINS, method="inverted_cdf").astype(np.float32)
    fine = np.concatenate([[-np.inf], np.unique(inner.astype(np.float64)), [np.inf]])
    sums = [_sums(each, fine, j) for each in (own, target)]
    kept, held = [-np.inf], np.zeros((2, 2))
    for b in range(len(fine) - 1):
        held = held + np.array([[each[0][b], each[1][b]] for each in sums])
        if all(_effective(*each) >= _LEAST_EVENTS for each in held):
            kept.append(float(fine[b + 1]))
            held = np.zeros((2, 2))
    # What is left above the last whole bin belongs to it.
    return np.array([*kept[:-1], np.inf]) if len(kept) > 1 else np.array([-np.inf, np.inf])


def _sums(rows: Weighted, edges: Array, j: int) -> tuple[Array, Array]:
    """Returns the sums of weights and of squared weights in the bins of a variable, and of its missing values."""
    (place,) = cells([edges], rows.z[:, [j]])
    weight = rows.weight.astype(np.float64)
    sums, squares = (np.bincount(place, each, len(edges)).astype(np.float64) for each in (weight, weight**2))
    return sums, squares


def _effective(total: float, squares: float) -> float:
    return total**2 / squares if total > 0 and squares > 0 else 0.0


class _Balance(NamedTuple):
    """Two samples in the cells of all variables.

    Attributes:
        n_cells: of all variables together.
        n_first: of the first variable.
        free: (n_cells,) whether the factor of a cell is fitted; the others are 1.
        kinds: (u, d) the cells of rows of the source that share all of them.
        kind_of: (n,) the kind of each row of the source.
        of_target: (m, d) the cells of each row of the target.
    """

    n_cells: int
    n_first: int
    free: BoolArray
    kinds: IntArray
    kind_of: IntArray
    of_target: IntArray

    @classmethod
    def of(cls, own: Weighted, target: Weighted, edges: Sequence[Array]) -> _Balance:
        """Returns the cells of two samples."""
        firsts = np.cumsum([0, *(len(each) for each in edges)])
        places = [
            np.column_stack(cells(edges, rows.z)).astype(np.int32) + firsts[:-1].astype(np.int32)
            for rows in (own, target)
        ]
        kinds, kind_of = np.unique(places[0], axis=0, return_inverse=True)
        free = []
        for j, each in enumerate(edges):
            sums = [_sums(rows, each, j) for rows in (own, target)]
            free += [all(_effective(w[b], w2[b]) >= _LEAST_EVENTS for w, w2 in sums) for b in range(len(each))]
        return cls(int(firsts[-1]), len(edges[0]), np.array(free), kinds, kind_of.ravel(), places[1])

    def logarithms(self, weight: Array, target_weight: Array, start: Array) -> Array:
        """Returns the logarithms (n_cells,) of the factors that make the sums of weights alike in each cell.

        They minimise the Kullback-Leibler divergence of the weighted source from the target (M. Sugiyama et al., Ann.
        Inst. Stat. Math. 60 (2008) 699), that is log Σ w exp(b) - Σ v b / Σ v, with a Gaussian prior on each b.

        Args:
            weight, target_weight: (n,) and (m,) the weights of both samples.
            start: (n_cells,) where the search begins; returned if it does not converge, as with odd weights.
        """
        held = np.bincount(self.kind_of, weight, len(self.kinds))
        shares = np.zeros(self.n_cells)
        for column in self.of_target.T:
            shares += np.bincount(column, target_weight, self.n_cells)
        shares /= target_weight.sum()
        n, found = effective_number(target_weight), start.copy()
        free = np.flatnonzero(self.free)
        for _ in range(_MOST_STEPS):
            exponent = found[self.kinds].sum(axis=1)
            new = held * np.exp(exponent - exponent.max())
            mean, square = self._moments(new / new.sum())
            gradient = n * (mean - shares) + found / _PRIOR_WIDTH**2
            curvature = n * (square - np.outer(mean, mean)) + np.eye(self.n_cells) / _PRIOR_WIDTH**2
            try:
                step = np.linalg.solve(curvature[np.ix_(free, free)], gradient[free])
            except np.linalg.LinAlgError:
                return start
            largest = np.abs(step).max(initial=0.0)
            if not np.isfinite(largest):
                return start
            found[free] -= step * min(1.0, _LONGEST_STEP / max(largest, _CLOSE))
            if largest < _CLOSE:
                return found
        return start

    def scaled(self, found: Array, weight: Array, total: float) -> Array:
        """Returns logarithms (n_cells,) of factors by which weights (n,) get the sum `total`.

        The factors of the first variable are scaled. What is alike in all cells is left open by `logarithms`.
        """
        new = float(np.bincount(self.kind_of, weight, len(self.kinds)) @ np.exp(found[self.kinds].sum(axis=1)))
        moved = found.copy()
        if new > 0 and total > 0:
            moved[: self.n_first] -= np.log(new / total)
        return moved

    def _moments(self, share: Array) -> tuple[Array, Array]:
        """Returns the share of each cell (n_cells,), and that of each two of them (n_cells, n_cells)."""
        mean, square = np.zeros(self.n_cells), np.zeros((self.n_cells, self.n_cells))
        for first in range(0, len(share), _BLOCK):
            rows = slice(first, first + _BLOCK)
            kinds, weight = self.kinds[rows], share[rows]
            design = np.zeros((len(kinds), self.n_cells))
            np.put_along_axis(design, kinds.astype(np.intp), 1.0, axis=1)
            mean += weight @ design
            square += (design * weight[:, None]).T @ design
        return mean, square
