"""What a table asks of a format: names, number of entries, and arrays of consecutive entries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import awkward as ak
import numpy as np

TEXT = np.dtypes.StringDType()
Arrays = Mapping[str, Any]


class Backend(Protocol):
    """One open table of one format.

    Arrays are numpy (n, ...) or, where rows differ in length, awkward; text is numpy's StringDType.

    Attributes:
        n_entries: the number of entries.
    """

    n_entries: int

    @property
    def names(self) -> list[str]:
        """All branches, the unusable ones included."""

    def place(self, name: str) -> str:
        """The input that holds the branch `name`, for messages."""

    def reason(self, name: str) -> str:
        """Why the branch cannot be used, as the end of a sentence; empty where it can."""

    def empty(self, name: str) -> Any:
        """An array of no entries, of the branch's type."""

    def iterate(self, names: Sequence[str], step: int) -> Iterator[Arrays]:
        """The branches `names`, in arrays of `step` entries; the last ones may be shorter."""

    def values(self, name: str, start: int, stop: int) -> Any:
        """The entries from `start` to before `stop` of one branch."""

    def close(self) -> None:
        """Give back the file."""


@runtime_checkable
class Seekable(Backend, Protocol):
    """A table that can be read from any entry on."""

    def offsets(self, name: str) -> Any:
        """(m,) the entries at which pieces of the branch begin that are read as a whole, and the end."""

    def span(self, names: Sequence[str], start: int, stop: int) -> Arrays:
        """The branches `names` in the entries from `start` to before `stop`."""


def plain(array: Any) -> Any:
    """Numpy where rows are alike, in this machine's byte order, text as StringDType; awkward where rows are lists."""
    if isinstance(array, ak.Array):
        content = array.type.content
        if content.parameters.get("__array__") == "string":
            return as_text(ak.to_list(array))
        if not _is_regular(content):
            return array
        array = ak.to_numpy(array, allow_missing=False)
    if array.dtype.kind in "OUS":
        return as_text(array)
    if array.dtype.kind in "iuf" and not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def as_text(values: Any) -> Any:
    """(n,) StringDType of strings; None is the empty string."""
    array = np.asarray(values, dtype=object)
    if array.ndim != 1:
        return array
    return np.array(["" if v is None else readable(v) for v in array], dtype=TEXT)


def readable(word: str | bytes) -> str:
    """A text of a file as text that can be shown: UTF-8, or else Latin-1, as programs wrote before it."""
    raw = word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def joined(parts: Sequence[Any]) -> Any:
    """Arrays of one branch, one after another."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    return ak.concatenate(parts)


def _is_regular(content: Any) -> bool:
    """True for numbers, and for lists of one length by their type."""
    while isinstance(content, ak.types.RegularType):
        content = content.content
    return isinstance(content, ak.types.NumpyType)


class Columns:
    """Whole columns in memory, or mapped into it: the backend of formats that cannot be streamed."""

    def __init__(self, place: str, columns: Mapping[str, Any], left_out: Mapping[str, str]) -> None:
        self._place, self._columns, self._left_out = place, columns, left_out
        self.n_entries = len(next(iter(columns.values()))) if columns else 0

    @property
    def names(self) -> list[str]:
        """All columns."""
        return [*self._columns, *self._left_out]

    def place(self, name: str) -> str:
        """The input."""
        return self._place

    def reason(self, name: str) -> str:
        """Why a column cannot be used."""
        return self._left_out.get(name, "")

    def empty(self, name: str) -> Any:
        """A column without entries."""
        return self.values(name, 0, 0)

    def iterate(self, names: Sequence[str], step: int) -> Iterator[Arrays]:
        """The columns in pieces."""
        for start in range(0, self.n_entries, step):
            yield {name: self.values(name, start, start + step) for name in names}

    def values(self, name: str, start: int, stop: int) -> Any:
        """A part of a column."""
        return plain(self._columns[name][start:stop])

    def close(self) -> None:
        """Let go of the columns."""
        self._columns = {}
