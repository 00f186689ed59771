"""Matrices of features that are made when they are read, so that a large training never holds a copy of its sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.sample import FloatArray, IntArray

# Rows that are made at once: 12 MB of float32 for 12 features, and 25 MB of float64. Where a result is a sum over all
# rows, it is a sum of the sums of such blocks: a smaller sample has one block, and larger ones differ by rounding.
BLOCK_ROWS = 1 << 18
LARGEST_TABLE = 1 << 27  # bytes: 134 MB of features, labels and weights from which networks draw their batches


@dataclass(frozen=True, slots=True, eq=False)
class LazyMatrix:
    """A matrix (n, d) float32 whose rows are made from those of a sample whenever they are read.

    It may take the place of an array in `fit`: indexed by a slice or by row numbers it gives an array, and
    `numpy.asarray` makes it whole.

    Attributes:
        source: (N, D) the columns of the sample.
        read: returns (m, d) float32 for rows (m, D) of the source; a row does not influence the others.
        n_columns: d.
        rows: (n,) the rows of the source that it has; None for all.
    """

    source: FloatArray
    read: Callable[[FloatArray], FloatArray]
    n_columns: int
    rows: IntArray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return len(self), self.n_columns

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """float32."""
        return np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self.source) if self.rows is None else len(self.rows)

    def __getitem__(self, rows: slice | IntArray) -> FloatArray:
        """Returns the (m, d) features of these rows."""
        return self.read(self.source[rows if self.rows is None else self.rows[rows]])

    def take(self, rows: IntArray) -> LazyMatrix:
        """Returns the matrix of these rows, of which nothing is made yet."""
        return replace(self, rows=rows if self.rows is None else self.rows[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Returns the whole matrix as an array, for estimators that need it."""
        whole = np.empty(self.shape, np.float32 if dtype is None else dtype)
        for rows in slices(len(self)):
            whole[rows] = self[rows]
        return whole


Matrix = FloatArray | LazyMatrix


def needs_blocks(n: int) -> bool:
    """Returns whether n rows are more than one block."""
    return n > BLOCK_ROWS


def slices(n: int, size: int | None = None) -> Iterator[slice]:
    """Yields the slices of n rows in blocks of `size`, or of `BLOCK_ROWS`, the last shorter; an empty one if n is 0."""
    size = size or BLOCK_ROWS
    for first in range(0, max(n, 1), size):
        yield slice(first, min(first + size, n))


def column_of(x: Matrix, j: int) -> FloatArray:
    """Returns feature number j of a matrix, (n,)."""
    return np.concatenate([x[rows][:, j] for rows in slices(len(x))])


def in_blocks(function: Callable[[slice], NDArray[np.float32]], n: int) -> NDArray[np.float32]:
    """Returns the (n, m) numbers that `function` gives for the rows of a slice, computed block by block."""
    if not needs_blocks(n):
        return function(slice(0, n))
    whole: NDArray[np.float32] | None = None
    for rows in slices(n):
        part = function(rows)
        if whole is None:
            whole = np.empty((n, *part.shape[1:]), part.dtype)
        whole[rows] = part
    assert whole is not None
    return whole
