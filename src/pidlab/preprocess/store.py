"""Store: where the columns of the selected rows live, once, in memory or in files that no one can leave behind.

While the inputs are read, every column grows in the order of the rows. Afterwards its rows are put in the order of the
parts (train, validation, test), each column in one piece, so that the rows of a part are a view and no copy. What has
been moved is given back to the system at once: at no time does a column lie in memory twice.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pidlab.errors import DataError, UsageError
from pidlab.sample import IntArray

_SHARE = 0.5
"""The part of the allowed memory that columns may take; training and evaluation need about as much again."""
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40,
}  # fmt: skip
"""A single letter is a power of 1024, as for the batch systems' memory limits."""
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?(?:i?B)?)\s*", re.IGNORECASE)
_SMALL = 1 << 20
"""Bytes below which an array is an ordinary one: larger ones are mapped by themselves, since the system gets them back
when they are dropped, while the heap of the process may keep what lies between other arrays."""


def bytes_of(size: int | str) -> int:
    """Returns the bytes of a size such as 4GB, 500MB, 2.5GiB, or a number of bytes.

    Raises:
        UsageError: it is no size.
    """
    found = _SIZE.fullmatch(str(size))
    n = float(found[1]) * _UNITS[found[2].upper()] if found is not None else 0.0
    if not 0.5 < n < 2.0**63:
        raise UsageError(f"memory {size!r} is no size; write it as 4GB, 500MB or 2.5GiB")
    return round(n)


def available_memory() -> int:
    """Returns the bytes that this process may take: of the machine, or of its control group if that allows less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(path).read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such group, or "max": no limit
            continue
    return total


@dataclass(slots=True)
class Store:
    """Makes columns, and decides where they live.

    Attributes:
        memory: the bytes that the whole process may take; None for what there is.
        in_files: whether columns are files. They have no name, so that the system removes them with the process,
            however it ends.
    """

    memory: int | None = None
    in_files: bool = field(default=False, init=False)
    _files: list[mmap.mmap] = field(default_factory=list, init=False)

    def expect(self, n_rows: int, row_bytes: int) -> None:
        """Decides for files if so many rows of this size would take more than half of the memory."""
        allowed = self.memory if self.memory is not None else available_memory()
        self.in_files = n_rows * row_bytes > _SHARE * allowed

    def column(self, dtype: DTypeLike, width: int | None = None, *, single: bool = False) -> Column:
        """Returns an empty column; its rows are numbers, or `width` numbers each.

        Args:
            dtype: the type of the numbers.
            width: None for a column of one number a row.
            single: float64 numbers are kept as float32 as long as float32 holds all of them exactly.
        """
        kept = np.dtype(np.float32) if single else np.dtype(dtype)
        pieces: _Pieces = _FilePieces() if self.in_files else _MemoryPieces()
        return Column(self, kept, np.dtype(dtype), width, pieces)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Returns an array for a whole column, without values.

        Raises:
            DataError: the disk is full.
        """
        size = int(np.prod(shape)) * dtype.itemsize
        if not self.in_files or not size:
            return memory_array(shape, dtype)
        with _scratch_file() as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)  # without it, a full disk ends the process later on
            except OSError as error:
                raise _disk_error(error, size) from error
            self._files.append(mmap.mmap(file.fileno(), size))
        return np.frombuffer(self._files[-1], dtype).reshape(shape)

    def release(self) -> None:
        """Lets the system take the memory of columns that are files for something else, until they are read again."""
        for each in self._files:
            each.madvise(mmap.MADV_DONTNEED)


def memory_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Returns an array without values; a large one is given back to the system as soon as it is dropped."""
    size = int(np.prod(shape)) * dtype.itemsize
    if size < _SMALL:
        return np.empty(shape, dtype)
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    return np.frombuffer(mmap.mmap(-1, size, private), dtype).reshape(shape)


class _MemoryPieces:
    """The pieces of a growing column, in memory."""

    def __init__(self) -> None:
        self._pieces: list[NDArray[Any]] = []

    def add(self, values: NDArray[Any]) -> None:
        own = memory_array(values.shape, values.dtype)
        own[:] = values
        self._pieces.append(own)

    def drain(self) -> Iterator[NDArray[Any]]:
        """Yields the pieces in their order, and drops each before the next."""
        pieces, self._pieces = self._pieces[::-1], []
        while pieces:
            yield pieces.pop()


class _FilePieces:
    """The pieces of a growing column, one after another in a file without a name."""

    def __init__(self) -> None:
        self._file = _scratch_file()
        self._pieces: list[tuple[tuple[int, ...], np.dtype[Any]]] = []

    def __del__(self) -> None:
        self._file.close()

    def add(self, values: NDArray[Any]) -> None:
        content = np.ascontiguousarray(values)
        try:
            self._file.write(content.data if content.size else b"")
        except OSError as error:
            raise _disk_error(error, content.nbytes) from error
        self._pieces.append((content.shape, content.dtype))

    def drain(self) -> Iterator[NDArray[Any]]:
        """Yields the pieces in their order, and then closes the file."""
        with self._file as file:
            file.seek(0)
            for shape, dtype in self._pieces:
                piece = np.empty(shape, dtype)
                file.readinto(piece.reshape(-1).view(np.uint8).data)
                yield piece
            self._pieces = []


_Pieces = _MemoryPieces | _FilePieces


@dataclass(slots=True)
class Column:
    """A column that grows while inputs are read.

    Attributes:
        store: decides where it lives.
        kept: the type in which the numbers are kept.
        dtype: the type of the numbers that are added.
        width: the width of a row; None for one number a row.
        pieces: what was added.
    """

    store: Store
    kept: np.dtype[Any]
    dtype: np.dtype[Any]
    width: int | None
    pieces: _Pieces

    def add(self, values: NDArray[Any]) -> None:
        """Adds rows, (m,) or (m, width).

        Raises:
            DataError: the disk is full.
        """
        if self.kept != self.dtype:
            with np.errstate(over="ignore", under="ignore"):
                single = values.astype(self.kept)
            if not np.array_equal(single, values, equal_nan=True):
                self.kept = self.dtype
        self.pieces.add(values.astype(self.kept, copy=False))

    def ordered(self, place: IntArray, n: int) -> NDArray[Any]:
        """Returns all rows as one array and empties the column.

        Args:
            place: for each row that was added, where it goes; -1 drops it.
            n: the number of rows that stay.
        """
        shape = (n,) if self.width is None else (n, self.width)
        result, start = self.store.empty(shape, self.kept), 0
        for piece in self.pieces.drain():
            where = place[start : start + len(piece)]
            start += len(piece)
            kept = where >= 0
            if kept.all():
                result[where] = piece
            else:
                result[where[kept]] = piece[kept]
        return result


def _scratch_file() -> Any:
    """Returns a file without a name in the folder for temporary files (TMPDIR).

    Raises:
        DataError: none can be made there.
    """
    try:
        return tempfile.TemporaryFile(prefix="pidlab-")
    except OSError as error:
        raise _disk_error(error, 0) from error


def _disk_error(error: OSError, size: int) -> DataError:
    folder = tempfile.gettempdir()
    what = f"{size / 1e6:,.0f} MB of columns do not fit" if size else "the columns cannot be kept"
    why = "the disk is full" if error.errno == errno.ENOSPC else f"{error.strerror}"
    return DataError(f"{what} into {folder} ({why}); let TMPDIR name a folder on a larger disk, or give more --memory")
