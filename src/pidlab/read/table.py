"""Table: one open input, whatever its format; its branches in chunks of entries, every entry accounted for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import awkward as ak
import numpy as np

from pidlab.errors import DataError, nearest
from pidlab.expressions import Kind, kind_from_array
from pidlab.read.backend import Backend, Seekable
from pidlab.read.candidates import Collection, find_collection, row_kinds
from pidlab.read.clusters import edges
from pidlab.read.formats import Source
from pidlab.read.friends import open_with_friends
from pidlab.sample import IntArray

STEP = 200_000


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows from consecutive entries of one tree.

    Attributes:
        arrays: branch name to an array of n_rows: numpy (n,) or (n, m), or awkward where it is jagged;
            `LocalEntry$` is the number of the entry in this input, `Entry$` in all inputs one after another.
        first_row: the number of the first row in this input.
        n_rows: how many there are.
        entries: branch name to an array of n_entries, before candidates were made of them; the same as `arrays`
            where a row is an entry.
        counts: (n_entries,) rows from each entry where a row is a candidate; None where a row is an entry.
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
        """How many entries the rows come from."""
        return len(self.entries["Entry$"])

    def take(self, rows: IntArray) -> Chunk:
        """The rows `rows` (indices into this chunk) of every array."""
        taken = {
            name: values.take(rows, axis=0) if isinstance(values, np.ndarray) else values[rows]
            for name, values in self.arrays.items()
        }
        return replace(self, arrays=taken, n_rows=len(rows), entries=taken, counts=None)


class Table:
    """One open input: its branches, and their values in chunks. Use as a context manager.

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
            self._known = frozenset(self._backend.names)
            if self._per is not None:
                self.collection = find_collection(self._per, self._entry_kinds(self.names))
        except BaseException:
            self._backend.close()
            raise
        return self

    def __exit__(self, *exception: Any) -> None:
        self._backend.close()

    @property
    def names(self) -> list[str]:
        """The names of all branches."""
        return self._backend.names

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def dtype(self, name: str) -> np.dtype[Any]:
        """The type of a flat branch."""
        dtype: np.dtype[Any] = self._backend.empty(name).dtype
        return dtype

    def reason(self, name: str) -> str:
        """Why no expression can use a branch, as the end of a sentence; empty where one can."""
        return self._backend.reason(name)

    def remark(self, name: str) -> str:
        """What there is to say of a branch of text that should hold numbers; mostly empty."""
        remark = getattr(self._backend, "remark", None)
        return str(remark(name)) if remark else ""

    @property
    def aliases(self) -> dict[str, str]:
        """The names that the tree itself defines, with their expressions (TTree::SetAlias)."""
        return dict(getattr(self._backend, "aliases", {}))

    def kinds(self, names: Iterable[str]) -> dict[str, Kind]:
        """What a row of each of the branches `names` holds; those that do not exist or cannot be used are left out."""
        kinds = self._entry_kinds(names)
        return row_kinds(kinds, self.collection) if self.collection else kinds

    def _entry_kinds(self, names: Iterable[str]) -> dict[str, Kind]:
        names = list(names)
        for name in names:
            if name in self._known and name not in self._kinds and not self._backend.reason(name):
                self._kinds[name] = kind_from_array(self._backend.empty(name))
        return {name: self._kinds[name] for name in names if name in self._kinds}

    def chunks(self, names: Iterable[str], step: int = STEP) -> Iterator[Chunk]:
        """The branches `names` in chunks of at most `step` entries.

        Raises:
            DataError: there is no such branch, or a basket cannot be read; names file, branch and entries.
        """
        wanted = self._wanted(names)
        pieces = self._backend.iterate(wanted, step) if wanted else None
        first_row = 0
        for start in range(0, self.n_entries, step):
            stop = min(start + step, self.n_entries)
            try:
                arrays = dict(next(pieces)) if pieces else {}
            except Exception as error:
                raise self._damage(wanted, start, stop, error) from error
            self._account(arrays, start, stop)
            chunk = self._chunk({**arrays, **self._numbers(start, stop)}, start, first_row)
            yield chunk
            first_row += chunk.n_rows

    def edges(self, names: Iterable[str], step: int = STEP) -> list[int] | None:
        """Entry numbers, about `step` apart and where baskets begin, at which to cut the table for `span`.

        None for a format that can only be read from its beginning.

        Raises:
            DataError: there is no such branch.
        """
        wanted = self._wanted(names)
        if not isinstance(self._backend, Seekable):
            return None
        offsets = [self._backend.offsets(name) for name in wanted] or [np.array([0, self.n_entries])]
        return edges(offsets, self.n_entries, step)

    def span(self, names: Iterable[str], start: int, stop: int) -> Chunk:
        """The branches `names` in the entries from `start` to before `stop`; rows are counted from there.

        Spans that follow each other read each basket once. Only for tables that have `edges`.

        Raises:
            DataError: as `chunks`.
        """
        wanted = self._wanted(names)
        assert isinstance(self._backend, Seekable)
        try:
            arrays = self._backend.span(wanted, start, stop)
        except Exception as error:
            raise self._damage(wanted, start, stop, error) from error
        self._account(arrays, start, stop)
        return self._chunk({**arrays, **self._numbers(start, stop)}, start, 0)

    def _wanted(self, names: Iterable[str]) -> list[str]:
        """The branches to read for `names`, sorted.

        Raises:
            DataError: there is no such branch.
        """
        wanted = sorted({*names, self.collection.reference} if self.collection else set(names))
        for name in wanted:
            if name not in self._known:
                raise DataError(f"{self.source}: no branch {name!r}; {nearest(name, self._known)}")
        return wanted

    def _account(self, arrays: Mapping[str, Any], start: int, stop: int) -> None:
        """See that each branch gave every entry."""
        for name, values in arrays.items():
            if len(values) != stop - start:
                given = f"gave {len(values):,} entries of {stop - start:,}"
                where = f"branch {name!r}, entries {start:,} to {stop - 1:,}"
                raise DataError(f"{self._backend.place(name)}: {where}: {given}; the input changed or is damaged")

    def _numbers(self, start: int, stop: int) -> dict[str, Any]:
        """The numbers of the entries from `start` to before `stop`, as expressions call them."""
        local = np.arange(start, stop)
        first = self.source.first_entry
        return {"LocalEntry$": local, "Entry$": local + first if first else local}

    def _chunk(self, arrays: Mapping[str, Any], start: int, first_row: int) -> Chunk:
        if self.collection is None:
            return Chunk(arrays, first_row, len(arrays["Entry$"]), arrays)
        try:
            rows, counts = self.collection.flatten(arrays, start)
        except DataError as error:
            raise DataError(f"{self.source}: {error}") from error
        return Chunk(rows, first_row, int(counts.sum()), arrays, counts)

    def flat_values(self, name: str, stop: int) -> Any:
        """(n,) everything that a branch holds in the entries before `stop`, arrays of any shape flattened.

        Raises:
            DataError: the branch cannot be read.
        """
        try:
            values = self._backend.values(name, 0, stop)
        except Exception as error:
            raise self._damage([name], 0, stop, error) from error
        return values.reshape(-1) if isinstance(values, np.ndarray) else ak.to_numpy(ak.flatten(values, axis=None))

    def _damage(self, names: Sequence[str], start: int, stop: int, error: Exception) -> DataError:
        """Which branch it is that cannot be read, and why where the format knows it."""
        entries = f"entries {start:,} to {stop - 1:,}"
        why = str(error) if isinstance(error, DataError) else ""
        for name in names:
            try:
                self._backend.values(name, start, stop)
            except Exception as own:  # whatever the library says of it, this is the branch
                why = str(own) if isinstance(own, DataError) else why
                where = f"{self._backend.place(name)}: branch {name!r}, {entries} cannot be read"
                return DataError(f"{where}; {why or 'the file is damaged or was cut short'}")
        return DataError(f"{self.source}: {entries} cannot be read; {why or 'the file is damaged'}")
