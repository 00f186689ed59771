"""The grid of levels on which boxes are searched, and the compiled counting of the candidates inside boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from pidlab.compiled import compiled
from pidlab.models.matrix import Matrix, slices
from pidlab.sample import IntArray

Side = Literal["auto", "min", "max", "both"]
Levels = NDArray[np.int64]
Codes = NDArray[np.uint16]
Array = NDArray[np.float64]
Faces = tuple[Levels, Levels]
"""Levels of the low faces and of the high faces: (d,) each for one box, (K, d) each for K boxes."""

BLOCK = 512  # candidates: small enough to lie on one side of most faces, large enough to pay for asking


@dataclass(frozen=True, slots=True)
class Allowed:
    """The limits that a user sets for the window of one feature.

    Attributes:
        side: "min" has only a low face, "max" only a high one, "both" always has both, "auto" is free.
        low, high: faces lie in this range, in the feature's unit.
        min_width: a window with two faces is at least this wide, in the feature's unit.
    """

    side: Side = "auto"
    low: float = -math.inf
    high: float = math.inf
    min_width: float = 0.0


@dataclass(frozen=True, slots=True)
class Grid:
    """The positions that the faces of each window may take: d features, each with at most L levels between its edges.

    A window is a pair of levels (low, high), both inside; level 0 as low and the last level as high mean "not cut".

    Attributes:
        n_levels: (d,) levels of each feature, one more than it has edges; its code for NaN.
        low_value, high_value: (d, L) the cut that a face at this level means; infinite where it is none.
        first_low, last_low, first_high, last_high: (d,) the levels allowed to the two faces.
        min_width: (d,) in the features' units.
    """

    n_levels: Levels
    low_value: Array
    high_value: Array
    first_low: Levels
    last_low: Levels
    first_high: Levels
    last_high: Levels
    min_width: Array

    @classmethod
    def of(cls, edges: Sequence[Array], allowed: Sequence[Allowed]) -> Self:
        """Returns the grid of these edges (ascending, one array a feature) within the limits of each window."""
        n_levels = np.array([len(e) + 1 for e in edges], dtype=np.int64)
        low_value = np.full((len(edges), n_levels.max()), -math.inf)
        high_value = np.full((len(edges), n_levels.max()), math.inf)
        for j, cuts in enumerate(edges):
            low_value[j, 1 : len(cuts) + 1] = cuts
            high_value[j, : len(cuts)] = cuts
        last = n_levels - 1
        only_low = np.array([a.side == "min" for a in allowed])
        only_high = np.array([a.side == "max" for a in allowed])
        both = np.array([a.side == "both" for a in allowed]) & (n_levels >= 3)
        return cls(
            n_levels=n_levels,
            low_value=low_value,
            high_value=high_value,
            first_low=both.astype(np.int64),
            last_low=np.where(only_high, 0, last),
            first_high=np.where(only_low, last, 0),
            last_high=last - both,
            min_width=np.array([a.min_width for a in allowed]),
        )

    @property
    def loosest(self) -> Faces:
        """Levels (d,) of the loosest box that the limits allow."""
        return self.first_low.copy(), self.last_high.copy()

    def within(self, outer: Faces, inner: Faces | None) -> Grid:
        """Returns the grid of boxes inside the box `outer` and, if given, around the box `inner`; (d,) levels each."""
        last_low, first_high = (self.last_low, self.first_high) if inner is None else inner
        return replace(self, first_low=outer[0], last_low=last_low, first_high=first_high, last_high=outer[1])

    def repaired(self, low: Levels, high: Levels) -> Faces:
        """Returns boxes (K, d) with their faces moved to allowed levels; windows that are too narrow are opened."""
        low, high = np.minimum(low, high), np.maximum(low, high)
        low = np.clip(low, self.first_low, self.last_low)
        high = np.clip(high, self.first_high, self.last_high)
        bad = low > high
        if self.min_width.any():
            low_cut, high_cut = self.values(low, high)
            bad |= high_cut - low_cut < self.min_width
        return np.where(bad, self.first_low, low), np.where(bad, self.last_high, high)

    def values(self, low: Levels, high: Levels) -> tuple[Array, Array]:
        """Returns the cuts (K, d) of boxes (K, d); a candidate passes if low < x < high, strictly."""
        features = np.arange(len(self.n_levels))
        return self.low_value[features, low], self.high_value[features, high]


@dataclass(frozen=True, slots=True)
class BinnedColumns:
    """The candidates of one class, binned and sorted so that neighbours in space share a block of BLOCK.

    Attributes:
        codes: (d, n) levels.
        weight: (n,), or empty if all weights are equal.
        total: sum of weights, or n if all weights are equal.
        first, last: (blocks, d) the range of levels in each block.
        block_weight: (blocks,) sum of weights.
    """

    codes: Codes
    weight: Array
    total: float
    first: Codes
    last: Codes
    block_weight: Array

    @classmethod
    def of(cls, x: Matrix, weight: Array, edges: Sequence[Array], rows: IntArray | None = None) -> Self:
        """Bins x (n, d) with weights (n,), or the rows (m,) of them; NaN gets the code after the last level."""
        rows = np.arange(len(x)) if rows is None else rows
        codes = np.empty((x.shape[1], len(rows)), dtype=np.uint16)
        for part in slices(len(rows)):
            block = x[rows[part]]
            for j, cuts in enumerate(edges):
                codes[j, part] = np.searchsorted(cuts, block[:, j], side="left")
                codes[j, part][np.isnan(block[:, j])] = len(cuts) + 1
        own = weight[rows]
        return cls.from_codes(codes, np.empty(0) if np.all(own == own[0]) else own)

    @classmethod
    def from_codes(cls, codes: Codes, weight: Array) -> Self:
        """Sorts codes (d, n), in place, and weights, (n,) or empty, into blocks."""
        order = _in_blocks(codes)
        for column in codes:
            column[:] = column[order]
        starts = np.arange(0, codes.shape[1], BLOCK)
        weight = weight[order] if len(weight) else weight
        block_weight = np.add.reduceat(weight if len(weight) else np.ones(codes.shape[1]), starts)
        first = np.ascontiguousarray(np.minimum.reduceat(codes, starts, axis=1).T)
        last = np.ascontiguousarray(np.maximum.reduceat(codes, starts, axis=1).T)
        return cls(codes, weight, float(block_weight.sum()), first, last, block_weight)

    def take(self, rows: Levels) -> BinnedColumns:
        """Returns the candidates of these row numbers."""
        return BinnedColumns.from_codes(self.codes[:, rows], self.weight[rows] if len(self.weight) else self.weight)

    def outside(self, n_levels: Levels, low: Levels, high: Levels) -> BinnedColumns:
        """Returns the candidates outside a box, (d,) levels each."""
        uncut = (low == 0) & (high == n_levels - 1)
        within = (self.codes >= low[:, None]) & (self.codes <= high[:, None])
        return self.take(np.flatnonzero(~np.all(within | uncut[:, None], axis=0)))

    def inside(self, n_levels: Levels, low: Levels, high: Levels) -> Array:
        """Returns the share of the weight inside each box, (K,), of boxes (K, d)."""
        blocks = (self.first, self.last, self.block_weight)
        inside = count_inside(self.codes, self.weight, *blocks, n_levels, low, high)
        return np.asarray(inside / self.total)


def _in_blocks(codes: Codes) -> IntArray:
    """Returns (n,) an order in which each block is a cell of a k-d tree: halved, again and again, where it is widest.

    Bentley, "Multidimensional binary search trees used for associative searching", Commun. ACM 18 (1975) 509.
    """
    n = codes.shape[1]
    order: IntArray = np.arange(n, dtype=np.uint32 if n < 1 << 32 else np.int64)
    cells = [(0, len(order))]
    while cells:
        start, stop = cells.pop()
        n_blocks = -(-(stop - start) // BLOCK)
        if n_blocks <= 1:
            continue
        rows = order[start:stop]
        widest = int(np.argmax(codes[:, rows[:: max(1, len(rows) // 1000)]].std(axis=1)))
        middle = (n_blocks + 1) // 2 * BLOCK
        order[start:stop] = rows[np.argpartition(codes[widest, rows], middle)]
        cells += [(start, start + middle), (start + middle, stop)]
    return order


@dataclass(frozen=True, slots=True)
class Counter:
    """Counts signal and background inside boxes of one grid; every search relies on it."""

    grid: Grid
    signal: BinnedColumns
    background: BinnedColumns

    def rates(self, low: Levels, high: Levels) -> tuple[Array, Array]:
        """Returns the signal and the background efficiency, (K,) each, of boxes (K, d)."""
        low, high = np.ascontiguousarray(low), np.ascontiguousarray(high)
        n_levels = self.grid.n_levels
        return self.signal.inside(n_levels, low, high), self.background.inside(n_levels, low, high)

    def level_shares(self, low: Levels, high: Levels) -> tuple[Array, Array]:
        """Returns, for signal and background, the share by level that only window j decides; (d, L + 1) each."""
        signal, background = (
            level_weights(columns.codes, columns.weight, self.grid.n_levels, low, high) / columns.total
            for columns in (self.signal, self.background)
        )
        return signal, background

    def outside(self, low: Levels, high: Levels) -> Counter:
        """Returns the candidates of each class outside a box, (d,) levels each."""
        parts = (columns.outside(self.grid.n_levels, low, high) for columns in (self.signal, self.background))
        return Counter(self.grid, *parts)

    def subsample(self, n: int, rng: np.random.Generator) -> Counter:
        """Returns at most n random candidates of each class."""

        def drawn(columns: BinnedColumns) -> BinnedColumns:
            size = columns.codes.shape[1]
            return columns if size <= n else columns.take(rng.choice(size, n, replace=False))

        return Counter(self.grid, drawn(self.signal), drawn(self.background))


@compiled(nogil=True, fastmath=True)
def count_inside(
    codes: Codes, weight: Array, first: Codes, last: Codes, block_weight: Array,
    n_levels: Levels, low: Levels, high: Levels,
) -> Array:  # fmt: skip
    """Returns the weight inside each box, (K,), of boxes (K, d); a window that does not cut lets NaN pass.

    A window is compared, without branches, only in blocks that its faces cross.
    """
    n_features, n = codes.shape
    inside = np.zeros(low.shape[0])
    mask = np.empty(BLOCK, np.uint8)
    crossed = np.empty(n_features, np.int64)
    for block in range(block_weight.size):
        start = block * BLOCK
        size = min(BLOCK, n - start)
        for k in range(low.shape[0]):
            n_crossed = 0
            for j in range(n_features):
                bottom, top = np.int64(first[block, j]), np.int64(last[block, j])
                if top <= high[k, j] and bottom >= low[k, j]:
                    continue
                if low[k, j] == 0 and high[k, j] == n_levels[j] - 1:
                    continue
                if bottom > high[k, j] or top < low[k, j]:
                    n_crossed = -1
                    break
                crossed[n_crossed] = j
                n_crossed += 1
            if n_crossed == 0:
                inside[k] += block_weight[block]
            if n_crossed <= 0:
                continue
            mask[:size] = 1
            for c in range(n_crossed):
                j = crossed[c]
                column = codes[j, start : start + size]
                least, width = np.uint16(low[k, j]), np.uint16(high[k, j] - low[k, j])
                for i in range(size):
                    mask[i] &= np.uint8(np.uint16(column[i] - least) <= width)
            if weight.size == 0:
                n_inside = 0
                for i in range(size):
                    n_inside += mask[i]
                inside[k] += n_inside
            else:
                sum_inside = 0.0
                for i in range(size):
                    sum_inside += weight[start + i] * mask[i]
                inside[k] += sum_inside
    return inside


@compiled(nogil=True)
def level_weights(codes: Codes, weight: Array, n_levels: Levels, low: Levels, high: Levels) -> Array:
    """Returns (d, L + 1) weight, by level of feature j, of candidates in the other windows of a box (d,); NaN last."""
    n_features, n = codes.shape
    table = np.zeros((n_features, n_levels.max() + 1))
    failed = np.empty(BLOCK, np.uint8)
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        failed[:size] = 0
        for j in range(n_features):
            if low[j] > 0 or high[j] < n_levels[j] - 1:
                column = codes[j, start : start + size]
                first, width = np.uint16(low[j]), np.uint16(high[j] - low[j])
                for i in range(size):
                    failed[i] += np.uint8(np.uint16(column[i] - first) > width)
        for i in range(size):
            w = 1.0 if weight.size == 0 else weight[start + i]
            if failed[i] == 0:
                for j in range(n_features):
                    table[j, codes[j, start + i]] += w
            elif failed[i] == 1:
                for j in range(n_features):
                    level = codes[j, start + i]
                    if (low[j] > 0 or high[j] < n_levels[j] - 1) and (level < low[j] or level > high[j]):
                        table[j, level] += w
    return table
