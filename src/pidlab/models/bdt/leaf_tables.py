"""Scoring of boosted trees by leaf masks: a table look-up for each feature instead of a walk down every tree.

Each leaf of a tree is a bit. A node forbids the leaves of the side to which an event does not go, so the event reaches
the first leaf that no node forbids (QuickScorer: Lucchese et al., SIGIR 2015). Here the thresholds of a feature divide
its axis into bins, and the leaves that all nodes of a tree on that feature allow are tabulated for each bin, so that an
event needs one `and` for each feature and tree. This is faster than a walk if few features have few thresholds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic
from numpy.typing import NDArray

from pidlab.compiled import compiled
from pidlab.models.bdt.forest import Forest, Tree
from pidlab.sample import FloatArray

_BLOCK = 1024  # events whose bins and sums stay in the first-level cache while a group of trees is evaluated
_GROUP_BYTES = 1 << 18  # of masks of one group of trees, to stay in the second-level cache
_CHUNK = 65_536  # events a thread takes at a time


@dataclass(frozen=True, slots=True)
class LeafTables:
    """A forest as tables. Rows of `masks`: for each feature used, its bins from low to high, then "missing".

    Attributes:
        features: (u,) int64, the features on which any tree splits.
        thresholds: (sum of t,) float32, the sorted thresholds of each of them, one after the other.
        n_thresholds: (u,) int64, t of each; bin b holds the x with exactly b thresholds at or below them.
        masks: (sum of t + 2, trees) unsigned, the leaves allowed; trees in the order of their margin.
        leaves: (trees, width) float32, the leaf values, as many as a mask has bits.
        groups: (g, 3) int64, first tree, last tree + 1 and margin of trees that are evaluated together.
        base: (m,) float32.
    """

    features: NDArray[np.int64]
    thresholds: NDArray[np.float32]
    n_thresholds: NDArray[np.int64]
    masks: NDArray[Any]
    leaves: NDArray[np.float32]
    groups: NDArray[np.int64]
    base: NDArray[np.float32]

    def margins(self, x: FloatArray, n_threads: int = 1) -> NDArray[np.float32]:
        """Returns the margins (n, m) of float32 features (n, d), NaN if missing; rows do not influence each other."""
        x = np.ascontiguousarray(x)  # of one layout, so that one version is compiled
        out = np.empty((len(x), len(self.base)), np.float32)
        chunks = [slice(start, start + _CHUNK) for start in range(0, len(x), _CHUNK)]
        tables = self.features, self.thresholds, self.n_thresholds, self.masks, self.leaves, self.groups, self.base

        def evaluate(chunk: slice) -> None:
            _evaluate(x[chunk], *tables, out[chunk])

        if n_threads == 1 or len(chunks) == 1:
            for chunk in chunks:
                evaluate(chunk)
        else:
            with ThreadPoolExecutor(n_threads) as pool:
                list(pool.map(evaluate, chunks))
        return out


def build_tables(forest: Forest) -> LeafTables:
    """Returns the tables of a forest of at least one tree, none with more than 64 leaves."""
    trees, bits = sorted(forest.trees, key=lambda tree: tree.margin), forest.mask_bits
    features = forest.features_used
    thresholds = {int(f): _thresholds(trees, f) for f in features}
    n_thresholds = np.array([len(t) for t in thresholds.values()], np.int64)
    first_row = dict(zip(thresholds, np.cumsum(n_thresholds + 2) - n_thresholds - 2, strict=True))
    n_rows = max(1, int((n_thresholds + 2).sum()))  # a forest without splits has one row, which allows everything
    columns = np.full((len(trees), n_rows), (1 << bits) - 1, f"u{bits // 8}")
    leaves = np.zeros((len(trees), bits), np.float32)
    for column, row, tree in zip(columns, leaves, trees, strict=True):
        _forbid(tree, column, row, thresholds, first_row)
    return LeafTables(
        features=features,
        thresholds=np.concatenate([*thresholds.values(), np.empty(0, np.float32)]),
        n_thresholds=n_thresholds,
        masks=np.ascontiguousarray(columns.T),
        leaves=leaves,
        groups=np.array(list(_groups(trees, columns[0].nbytes)), np.int64),
        base=forest.base,
    )


def _thresholds(trees: Sequence[Tree], feature: int) -> NDArray[np.float32]:
    """Returns the sorted thresholds of one feature."""
    return np.unique(np.concatenate([t.threshold[(t.left >= 0) & (t.feature == feature)] for t in trees]))


def _forbid(
    tree: Tree,
    column: NDArray[Any],
    leaves: NDArray[np.float32],
    thresholds: Mapping[int, NDArray[np.float32]],
    first_row: Mapping[int, np.int64],
) -> None:
    """Clears the leaves that each node forbids in a tree's column of masks, and fills in the leaf values by bit."""
    full = int(np.iinfo(column.dtype).max)
    n_leaves = 0

    def descend(node: int) -> int:  # returns the leaves below the node as bits
        nonlocal n_leaves
        if tree.left[node] < 0:
            leaves[n_leaves] = tree.value[node]
            n_leaves += 1
            return 1 << (n_leaves - 1)
        left, right = descend(int(tree.left[node])), descend(int(tree.right[node]))
        of_feature = thresholds[int(tree.feature[node])]
        first = int(first_row[int(tree.feature[node])])
        rank = int(np.searchsorted(of_feature, tree.threshold[node]))
        middle, missing = first + rank + 1, first + len(of_feature) + 1
        column[first:middle] &= column.dtype.type(full & ~right)
        column[middle:missing] &= column.dtype.type(full & ~left)
        column[missing] &= column.dtype.type(full & ~(right if tree.missing_left[node] else left))
        return left | right

    descend(0)


def _groups(trees: Sequence[Tree], bytes_a_tree: int) -> Iterator[tuple[int, int, int]]:
    """Yields groups of trees of one margin whose masks fit the cache together, as (first, last + 1, margin)."""
    size = max(16, _GROUP_BYTES // bytes_a_tree)
    start = 0
    for i, tree in enumerate(trees):
        if i - start == size or tree.margin != trees[start].margin:
            yield start, i, trees[start].margin
            start = i
    yield start, len(trees), trees[start].margin


def _lowest_bit_instruction(_typing_context: Any, mask: Any) -> Any:
    """Defines for numba the index of the lowest set bit of a positive unsigned integer, one machine instruction."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return mask(mask), generate


_lowest_bit: Any = intrinsic(_lowest_bit_instruction)


@compiled(nogil=True)
def _bins(
    x: NDArray[np.float32], thresholds: NDArray[np.float32], first_row: int, place: NDArray[np.uint32],
    out: NDArray[np.int64],
) -> None:  # fmt: skip
    """Fills `out` with the rows of the masks for values x of one feature: counts thresholds at or below x by halving.

    Each step is done for all of `x` and without branches, so that it is vectorised; `place` is a buffer.
    """
    n = len(thresholds)
    size = 1
    while size < n + 1:
        size *= 2
    padded = np.full(size, np.float32(np.nan))  # no value is at or above NaN
    padded[1 : n + 1] = thresholds
    for i in range(len(x)):
        place[i] = np.uint32(0)
    jump = np.uint32(size // 2)
    while jump:
        for i in range(len(x)):
            place[i] += jump * np.uint32(padded[np.uint64(place[i] + jump)] <= x[i])
        jump >>= np.uint32(1)
    for i in range(len(x)):
        out[i] = first_row + (n + 1 if np.isnan(x[i]) else np.int64(place[i]))


@compiled(nogil=True, fastmath={"reassoc", "nsz"})
def _evaluate(
    x: FloatArray, features: NDArray[np.int64], thresholds: NDArray[np.float32], n_thresholds: NDArray[np.int64],
    masks: NDArray[Any], leaves: NDArray[np.float32], groups: NDArray[np.int64], base: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:  # fmt: skip
    """Fills `out` (n, m) block by block: first the bins of each feature, then the trees group by group."""
    n_used, width = len(features), leaves.shape[1]
    second, third = min(1, max(n_used - 1, 0)), min(2, max(n_used - 1, 0))  # using a mask twice changes nothing
    flat = leaves.ravel()
    rows = np.zeros((_BLOCK, max(n_used, 1)), np.int64)
    allowed = np.empty(masks.shape[1], masks.dtype)
    sums = np.empty((_BLOCK, len(base)))  # in double precision, so that their order does not matter
    place = np.empty(_BLOCK, np.uint32)
    for start in range(0, len(x), _BLOCK):
        n = min(_BLOCK, len(x) - start)
        at, row = 0, 0
        for f in range(n_used):
            t = n_thresholds[f]
            _bins(x[start : start + n, features[f]], thresholds[at : at + t], row, place, rows[:, f])
            at, row = at + t, row + t + 2
        sums[:n] = base
        for g in range(len(groups)):
            first, last, margin = groups[g]
            n_trees = last - first
            for i in range(n):
                a, b = masks[rows[i, 0], first:last], masks[rows[i, second], first:last]
                c = masks[rows[i, third], first:last]
                total = 0.0
                if n_used <= 3:  # all in one pass
                    for t in range(n_trees):
                        leaf = _lowest_bit(a[t] & b[t] & c[t])
                        total += flat[np.uint64((first + t) * width) + np.uint64(leaf)]
                else:
                    for t in range(n_trees):
                        allowed[t] = a[t] & b[t] & c[t]
                    for f in range(3, n_used):
                        mask = masks[rows[i, f], first:last]
                        for t in range(n_trees):
                            allowed[t] &= mask[t]
                    for t in range(n_trees):
                        total += flat[np.uint64((first + t) * width) + np.uint64(_lowest_bit(allowed[t]))]
                sums[i, margin] += total
        out[start : start + n] = sums[:n]
