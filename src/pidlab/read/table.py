"""Table: one open input of any format, read in chunks of entries; every branch is checked to return every entry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from pidlab.errors import DataError, nearest
from pidlab.expressions import Kind, branch_of, kind_from_array, stored
from pidlab.read.backend import Backend
from pidlab.read.candidates import Collection, find_collection, row_kinds
from pidlab.read.friends import open_with_friends
from pidlab.read.source import Source
from pidlab.sample import IntArray

STEP = 200_000
"""Entries in a chunk."""
_LONGEST = 1.5
"""A piece may be longer than asked for by this factor if it then ends where baskets end."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows from consecutive entries of one tree.

    Attributes:
        arrays: branch name to an array of n_rows: numpy (n,) or (n, m), or awkward if it is jagged;
            `LocalEntry$` is the number of the entry in this input, `Entry$` in all inputs one after another.
        first_row: the number of the first row in this input.
        n_rows: the number of rows.
        entries: branch name to an array of n_entries, from which candidates were made; the same as `arrays` if a row
            is an entry.
        counts: (n_entries,) the number of rows from each entry if a row is a candidate; None if a row is an entry.
    """

    arrays: Mapping[str, Any]
    first_row: int
    n_rows: int
    entries: Mapping[str, Any]
    counts: IntArray | None = None

    @property
    def entry(self) -> IntArray:
        """(n,) entry numbers in the tree."""
        return np.asarray(self.arrays["LocalEntry$"])

    @property
    def n_entries(self) -> int:
        """The number of entries from which the rows come."""
        return len(self.entries["Entry$"])

    def take(self, rows: IntArray) -> Chunk:
        """Returns the rows `rows` (indices into this chunk) of every array."""
        taken = {
            name: values.take(rows, axis=0) if isinstance(values, np.ndarray) else values[rows]
            for name, values in self.arrays.items()
        }
        return replace(self, arrays=taken, n_rows=len(rows), entries=taken, counts=None)


class Table:
    """One open input, to be used as a context manager: its branches, and their values in chunks.

    With `per`, a row is a candidate of that collection (see `pidlab.read.candidates`); otherwise a row is an entry.
    """

    def __init__(self, source: Source, per: str | Sequence[str] | None = None) -> None:
        self.source, self._per = source, per
        self.collection: Collection | None = None
        self._kinds: dict[str, Kind] = {}

    def __enter__(self) -> Table:
        self._backend: Backend = open_with_friends(self.source)
        try:
            self.n_entries = self._backend.n_entries
            self.names = self._backend.names
            self._known = frozenset(self.names)
            if self._per is not None:
                self.collection = find_collection(self._per, self._entry_kinds(self.names))
        except BaseException:
            self._backend.close()
            raise
        return self

    def __exit__(self, *exception: Any) -> None:
        self._backend.close()

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def dtype(self, name: str) -> np.dtype[Any]:
        """Returns the type of a flat branch."""
        dtype: np.dtype[Any] = self._backend.empty(name).dtype
        return dtype

    def reason(self, name: str) -> str:
        """Returns why no expression can use a branch, as the end of a sentence; empty if one can."""
        return self._backend.reason(name)

    def remark(self, name: str) -> str:
        """Returns why a branch that should hold numbers holds text, where the format can tell; mostly empty."""
        return self._backend.remark(name)

    @property
    def n_inspected(self) -> int:
        """The number of entries from which an inspection tells ranges."""
        return min(self.n_entries, self._backend.n_inspected)

    @property
    def aliases(self) -> Mapping[str, str]:
        """The names that the tree itself defines, with their expressions (TTree::SetAlias)."""
        return self._backend.notes.aliases

    def kinds(self, names: Iterable[str]) -> dict[str, Kind]:
        """Returns what a row holds of each of `names` that exists and can be used.

        Names are branches, and also `whole_list` of branches with one value for each candidate.
        """
        names = list(names)
        kinds = self._entry_kinds(dict.fromkeys(map(branch_of, names)))
        rows = row_kinds(kinds, self.collection) if self.collection else kinds
        return {name: rows[name] for name in names if name in rows}

    def _entry_kinds(self, names: Iterable[str]) -> dict[str, Kind]:
        names = list(names)
        for name in names:
            if name in self._known and name not in self._kinds and not self._backend.reason(name):
                self._kinds[name] = kind_from_array(self._backend.empty(name))
        return {name: self._kinds[name] for name in names if name in self._kinds}

    def chunks(self, names: Iterable[str], step: int = STEP) -> Iterator[Chunk]:
        """Yields the branches `names`, or what expressions read, in chunks of at most `step` entries.

        Raises:
            DataError: there is no such branch, or a basket cannot be read; the message names file, branch and entries.
        """
        names, step = set(names), min(step, self._backend.most_at_once)
        wanted = self._wanted(names)
        pieces = self._backend.iterate(wanted, step) if wanted else None
        first_row = 0
        for start in range(0, self.n_entries, step):
            stop = min(start + step, self.n_entries)
            try:
                arrays = dict(next(pieces)) if pieces else {}
            except Exception as error:
                raise self._damage(wanted, start, stop, error) from error
            chunk = self._chunk(arrays, names, start, stop, first_row)
            yield chunk
            first_row += chunk.n_rows

    def edges(self, names: Iterable[str], step: int = STEP) -> list[int] | None:
        """Returns entry numbers at which to cut the table for `span`, about `step` apart and where baskets begin.

        None for a format that can only be read from its beginning.

        Raises:
            DataError: there is no such branch.
        """
        offsets = [self._backend.offsets(name) for name in self._wanted(names)]
        if any(each is None for each in offsets):
            return None
        step = min(step, self._backend.most_at_once)
        return edges(offsets or [np.array([0, self.n_entries])], self.n_entries, step)

    def span(self, names: Iterable[str], start: int, stop: int) -> Chunk:
        """Returns the branches `names` in the entries from `start` to before `stop`; rows are counted from there.

        Spans that follow each other read each basket once. It is slow for tables without `edges`.

        Raises:
            DataError: as `chunks`.
        """
        names = set(names)
        wanted = self._wanted(names)
        try:
            arrays = dict(self._backend.span(wanted, start, stop))
        except Exception as error:
            raise self._damage(wanted, start, stop, error) from error
        return self._chunk(arrays, names, start, stop, 0)

    def _wanted(self, names: Iterable[str]) -> list[str]:
        """Returns the branches to read for `names`, which are those of `Expression.reads`, sorted.

        Raises:
            DataError: there is no such branch.
        """
        wanted = sorted(stored(names) | ({self.collection.reference} if self.collection else set()))
        for name in wanted:
            if name not in self._known:
                raise DataError(f"{self.source}: no branch {name!r}; {nearest(name, self._known)}")
        return wanted

    def _chunk(self, arrays: dict[str, Any], reads: set[str], start: int, stop: int, first_row: int) -> Chunk:
        """Returns the chunk of these arrays, with the numbers of its entries as expressions call them.

        Raises:
            DataError: a branch did not return every entry.
        """
        for name, values in arrays.items():
            if len(values) != stop - start:
                what = f"gave {len(values):,} entries of {stop - start:,}"
                where = f"branch {name!r}, entries {start:,} to {stop - 1:,}"
                raise DataError(f"{self._backend.place(name)}: {where}: {what}; the input changed or is damaged")
        local = np.arange(start, stop)
        first = self.source.first_entry
        arrays |= {"LocalEntry$": local, "Entry$": local + first if first else local}
        if self.collection is None:
            return Chunk(arrays, first_row, len(arrays["Entry$"]), arrays)
        try:
            rows, counts = self.collection.flatten(arrays, start, reads)
        except DataError as error:
            raise DataError(f"{self.source}: {error}") from error
        return Chunk(rows, first_row, int(counts.sum()), arrays, counts)

    def flat_values(self, name: str, stop: int) -> Any:
        """Returns (n,) everything that a branch holds in the entries before `stop`, arrays of any shape flattened.

        Raises:
            DataError: the branch cannot be read.
        """
        try:
            values = self._backend.values(name, 0, stop)
        except Exception as error:
            raise self._damage([name], 0, stop, error) from error
        return values.reshape(-1) if isinstance(values, np.ndarray) else ak.to_numpy(ak.flatten(values, axis=None))

    def _damage(self, names: Sequence[str], start: int, stop: int, error: Exception) -> DataError:
        """Returns the error that names the branch that cannot be read, and the reason if the format knows it."""
        entries = f"entries {start:,} to {stop - 1:,}"
        why = str(error) if isinstance(error, DataError) else ""
        for name in names:
            try:
                self._backend.values(name, start, stop)
            except Exception as own:  # libraries raise many classes; this is the damaged branch
                why = str(own) if isinstance(own, DataError) else why
                where = f"{self._backend.place(name)}: branch {name!r}, {entries} cannot be read"
                return DataError(f"{where}; {why or 'the file is damaged or was cut short'}")
        return DataError(f"{self.source}: {entries} cannot be read; {why or 'the file is damaged'}")


def edges(offsets: Iterable[NDArray[Any]], n_entries: int, step: int) -> list[int]:
    """Returns rising entry numbers from 0 to `n_entries`, about `step` apart, at which pieces begin and the last ends.

    An edge is where baskets of all branches begin, as near to the wanted length as there is such an entry, so that no
    basket is read twice; inside longer clusters it is after `step` entries.

    Args:
        offsets: for each branch the entries at which its baskets begin, and the end.
        n_entries: the number of entries of the table.
        step: the wanted length of a piece.
    """
    common = reduce(np.intersect1d, offsets)
    found = [0]
    while n_entries - found[-1] > _LONGEST * step:
        start = found[-1]
        first, last = np.searchsorted(common, [start, start + _LONGEST * step], side="right")
        near = common[first:last]
        found.append(int(near[np.argmin(np.abs(near - start - step))]) if len(near) else start + step)
    return [*found, n_entries] if n_entries else found
