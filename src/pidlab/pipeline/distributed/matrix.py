"""Matrix: features that lie in the memory of workers, looked at from here column by column, and scored where they are.

A sample whose features lie elsewhere has a `DistributedMatrix` in the place of its array `x`, and `DistributedColumns`
in the place of the branches that models read as expressions; everything else of it is narrow and is here. The rows have
one order over all workers, so that everything computed from a column is the same as if the whole column were here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.pipeline.distributed.pieces import Pieces
from pidlab.sample import Sample

_SMALL = 64_000_000
"""Bytes up to which a matrix is fetched as a whole and kept: a block of rows, or a test sample of a million rows."""
_KEPT = 256_000_000
"""Bytes of the columns of a larger one that are kept, those that were asked for last."""
_MANY = 0.1
"""Share of the rows from which on a column is fetched as a whole."""

Rows = slice | NDArray[np.int64]


def _rows_of(rows: Rows, chosen: Any) -> Rows:
    """Returns those of the rows that a slice, indices or a mask choose."""
    n = _length(rows)
    if isinstance(chosen, slice):
        start, stop, step = chosen.indices(n)
        if step == 1 and isinstance(rows, slice):
            return slice(rows.start + start, rows.start + max(start, stop))
        chosen = np.arange(start, stop, step)
    chosen = np.asarray(chosen)
    chosen = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else np.where(chosen < 0, chosen + n, chosen)
    return np.asarray(chosen + rows.start if isinstance(rows, slice) else rows[chosen])


def _length(rows: Rows) -> int:
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


@dataclass(frozen=True)
class DistributedMatrix:
    """Features (n, d) of rows that workers hold: indexed like an array, and an array wherever numpy needs one.

    A column, `x[:, 2]` or `x[rows, 2]`, is fetched when it is asked for. Rows or several columns of the matrix are
    such a matrix again.

    Attributes:
        pieces: all rows.
        rows: the n rows.
        columns: (d,) the columns of the samples that workers hold.
    """

    pieces: Pieces
    rows: Rows
    columns: tuple[int, ...]
    _kept: dict[int, NDArray[np.float32]] = field(default_factory=dict, repr=False, compare=False)

    dtype = np.dtype(np.float32)
    ndim = 2

    def __len__(self) -> int:
        return _length(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows and columns."""
        return len(self), len(self.columns)

    @property
    def size(self) -> int:
        """The number of values."""
        return len(self) * len(self.columns)

    def mapped(self, work: Callable[[Sample], NDArray[Any]]) -> NDArray[Any]:
        """Returns (n, …) what `work` says of the rows, which is computed where they are, one piece at a time."""
        return np.asarray(self.pieces.ask(self.rows, work))

    @property
    def nbytes(self) -> int:
        """The bytes that the values take."""
        return self.size * self.dtype.itemsize

    def __getitem__(self, key: Any) -> Any:
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        is_whole = isinstance(rows, slice) and rows == slice(None)
        own = self.rows if is_whole else _rows_of(self.rows, rows)
        if isinstance(columns, int | np.integer):
            if is_whole:
                return self._column(int(columns))
            if self.nbytes <= _SMALL or _length(own) > _MANY * len(self):
                return self._column(int(columns))[rows]
            return np.asarray(self.pieces.ask(own, partial(_column, self.columns[columns])))
        if isinstance(columns, slice) and columns == slice(None):
            return self if is_whole else DistributedMatrix(self.pieces, own, self.columns)
        chosen = np.asarray(self.columns)[columns if isinstance(columns, slice) else list(columns)]
        return DistributedMatrix(self.pieces, own, tuple(chosen.tolist()))

    def _column(self, j: int) -> NDArray[np.float32]:
        if self.nbytes <= _SMALL:
            return np.asarray(self)[:, j]
        values = self._kept.pop(j, None)
        if values is None:
            values = np.asarray(self.pieces.ask(self.rows, partial(_column, self.columns[j])))
            values.flags.writeable = False
        self._kept[j] = values  # as the last one
        while len(self._kept) > 1 and sum(each.nbytes for each in self._kept.values()) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        values = self._kept.get(-1)
        if values is None:
            values = self.mapped(partial(_matrix, self.columns))
            if values.nbytes <= _SMALL:
                values.flags.writeable = False
                self._kept[-1] = values
        return np.array(values, dtype, copy=copy)

    def copy(self) -> NDArray[Any]:
        """Returns the values as an array that may be written to."""
        return np.array(self, copy=True)

    def astype(self, dtype: Any) -> NDArray[Any]:
        """Returns the values as an array of another type."""
        return np.array(self, dtype, copy=True)


def _column(j: int, sample: Sample) -> NDArray[Any]:
    return np.ascontiguousarray(sample.x[:, j])


def _matrix(columns: Sequence[int], sample: Sample) -> NDArray[Any]:
    x = sample.x if tuple(columns) == tuple(range(sample.x.shape[1])) else sample.x[:, list(columns)]
    return np.ascontiguousarray(x)


@dataclass(frozen=True)
class DistributedColumns(Mapping[str, Any]):
    """Branches of rows that workers hold, which are fetched when they are asked for.

    Attributes:
        pieces: all rows.
        rows: the n rows.
        names: the names of the branches.
    """

    pieces: Pieces
    rows: Rows
    names: tuple[str, ...]
    _kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        values = self._kept.get(name)
        if values is None:
            values = self.pieces.ask(self.rows, partial(_branch, name))
            if _length(self.rows) <= _SMALL // 8:
                self._kept[name] = values
        return values

    def take(self, rows: Any) -> DistributedColumns:
        """Returns the branches of those of the rows that a slice, indices or a mask choose."""
        return DistributedColumns(self.pieces, _rows_of(self.rows, rows), self.names)


def _branch(name: str, sample: Sample) -> Any:
    return sample.columns[name]
