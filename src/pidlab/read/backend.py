"""Backend: what a table asks of a format, that is names, the number of entries, and arrays of consecutive entries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pidlab.read.columns import as_column

Arrays = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TreeNotes:
    """What a ROOT tree states about itself besides its branches.

    Attributes:
        aliases: names that the tree defines (TTree::SetAlias), with their expressions.
        is_reshuffled: True if ROOT noted that the entries are not in the order of the tree they were made from.
        index: the branches of the index stored with the tree (TTree::BuildIndex), the major one first.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    is_reshuffled: bool = False
    index: tuple[str, ...] = ()


class Backend(ABC):
    """One open table of one format.

    Arrays are numpy (n, ...), or awkward if the rows differ in length; text is numpy's StringDType.

    Attributes:
        names: all branches, including those that no expression can use.
        n_entries: the number of entries.
        most_at_once: the largest number of entries that are read at a time.
        n_inspected: the number of entries from which ranges are told.
    """

    names: list[str]
    n_entries: int
    most_at_once: int = 10**9
    n_inspected: int = 1_000_000

    def __init__(self, place: str) -> None:
        self._place = place

    def place(self, name: str) -> str:
        """Returns the input that holds the branch `name`, for messages."""
        return self._place

    def reason(self, name: str) -> str:
        """Returns why the branch cannot be used, as the end of a sentence; empty if it can."""
        return ""

    def remark(self, name: str) -> str:
        """Returns why a branch that should hold numbers holds text, where the format can tell; mostly empty."""
        return ""

    @property
    def notes(self) -> TreeNotes:
        """What the tree states about itself; only trees of ROOT files state anything."""
        return TreeNotes()

    @abstractmethod
    def values(self, name: str, start: int, stop: int) -> Any:
        """Returns the entries from `start` to before `stop` of one branch."""

    def iterate(self, names: Sequence[str], step: int) -> Iterator[Arrays]:
        """Yields the branches `names` in arrays of `step` entries; the last ones may be shorter."""
        for start in range(0, self.n_entries, step):
            yield self.span(names, start, min(start + step, self.n_entries))

    def empty(self, name: str) -> Any:
        """Returns an array of no entries, of the branch's type."""
        return self.values(name, 0, 0)

    def offsets(self, name: str) -> Any:
        """Returns (m,) the entries at which pieces of the branch begin that are read as a whole, and the end.

        None if the format can only be read from its beginning, so that `span` would be slow.
        """
        return None

    def span(self, names: Sequence[str], start: int, stop: int) -> Arrays:
        """Returns the branches `names` in the entries from `start` to before `stop`."""
        return {name: self.values(name, start, stop) for name in names}

    def close(self) -> None:  # noqa: B027  # many formats have nothing to close
        """Closes the file or connection, if one is open between two reads."""


class ColumnsInMemory(Backend):
    """Whole columns in memory, or mapped into it: the backend of formats that cannot be streamed.

    Args:
        place: the input.
        columns: name to an array of one value an entry.
        left_out: name to the reason why that column cannot be used.
    """

    def __init__(self, place: str, columns: Mapping[str, Any], left_out: Mapping[str, str]) -> None:
        super().__init__(place)
        self._columns, self._left_out = columns, left_out
        self.names = [*columns, *left_out]
        self.n_entries = len(next(iter(columns.values()))) if columns else 0

    def reason(self, name: str) -> str:
        """Returns why a column cannot be used."""
        return self._left_out.get(name, "")

    def values(self, name: str, start: int, stop: int) -> Any:
        """Returns a part of a column."""
        return as_column(self._columns[name][start:stop])

    def close(self) -> None:
        """Closes the input."""
        self._columns = {}
