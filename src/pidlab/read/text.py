"""Text files: csv and its kin, and json lines. Looked through once for types and number of entries, then streamed."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from pidlab.errors import DataError
from pidlab.read.backend import Arrays, as_text
from pidlab.read.cells import tags_of, to_array, type_of, why_no_type

_BLOCK = 50_000
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
_EXACT = 2.0**53
_A_FILE = re.compile(r"\.(root|parquet|pq|csv|npy|npz|json|jsonl|sqlite|db)(:[^:]+)?$")
_SPELLINGS = (
    (re.compile(r"[-+]?\d+,\d*([eE][-+]?\d+)?"), "a decimal comma; write a point"),
    (re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[dD][-+]?\d+"), "Fortran's exponent; write E for D"),
    (re.compile(r"[-+]?(1\.#|nan|inf).*", re.IGNORECASE), "write nan or leave it empty"),
)


def _open(path: str) -> TextIO:
    with Path(path).open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if packed:
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return Path(path).open(encoding="utf-8-sig")


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """The lines that hold something, with their numbers.

    Raises:
        DataError: this is not text.
    """
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text in UTF-8; what format is it?") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: cannot be unpacked; it is damaged or was cut short") from error


def _state(path: str) -> tuple[int, int]:
    """What changes when the file does."""
    status = Path(path).stat()
    return status.st_size, status.st_mtime_ns


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a text file holds.

    Attributes:
        delimiter: the character between cells; None for any blank space.
        skipped: lines before the first entry.
        types: column to float, int or text.
        odd: column of text to the first cell that is no number, and its line.
    """

    delimiter: str | None
    skipped: int
    types: dict[str, str]
    n_entries: int
    odd: dict[str, tuple[int, str]]


def _delimiter(line: str) -> str | None:
    return next((d for d in ("\t", ";", ",") if d in line), None)


def _cells(lines: Sequence[str], delimiter: str | None) -> list[list[str]]:
    if delimiter is None:
        return [line.split() for line in lines]
    return [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Head:
    """The beginning of a text file.

    Attributes:
        delimiter: the character between cells; None for any blank space.
        cells: those of the first line that is no comment.
        names: the last comment's words, where they name the columns of a file without other names; else empty.
        n_comments: lines that begin with # before the first entry.
    """

    delimiter: str | None
    cells: list[str]
    names: list[str]
    n_comments: int


def _head(path: str) -> _Head:
    """Look at the first lines; comments stand before everything else, as numpy.savetxt writes them.

    Raises:
        DataError: there is none but comments.
    """
    comments: list[str] = []
    for _, line in _lines(path):
        if line.startswith("#"):
            comments.append(line.lstrip("#").strip())
            continue
        delimiter = _delimiter(line)
        cells = _cells([line], delimiter)[0]
        return _Head(delimiter, cells, _names_in(comments[-1:], cells, delimiter), len(comments))
    raise DataError(f"{path}: is an empty file; was it written to its end?")


def _names_in(last_comment: Sequence[str], cells: Sequence[str], delimiter: str | None) -> list[str]:
    """The words of the comment above numbers, where there is one for each of them."""
    if not last_comment or not any(map(_is_number, cells)):
        return []
    for by in dict.fromkeys([delimiter, _delimiter(last_comment[0]), None]):
        words = _cells(list(last_comment), by)[0] if last_comment[0] else []
        if len(words) == len(cells) and not any(map(_is_number, words)):
            return words
    return []


def invented_columns(path: str) -> tuple[str, ...]:
    """column_1, column_2, … for a file whose first line holds numbers; empty where it names the columns."""
    head = _head(path)
    n = len(head.cells)
    return tuple(f"column_{i + 1}" for i in range(n)) if any(map(_is_number, head.cells)) and not head.names else ()


def _named(path: str, cells: Sequence[str], columns: Sequence[str]) -> list[str]:
    """The names of the columns, from `columns` or from the first line's cells."""
    if columns:
        if len(columns) != len(cells):
            raise DataError(f"{path}: has {len(cells)} columns, data.columns names {len(columns)}")
        if list(columns) == list(cells):
            raise DataError(f"{path}: its first line names the columns; leave data.columns out")
        return list(columns)
    if any(map(_is_number, cells)):
        what = f"its first line holds numbers ({', '.join(cells[:3])}, …) and no names"
        raise DataError(f"{path}: {what}; name the {len(cells)} columns in data.columns: [..]")
    names = [cell or f"column_{i + 1}" for i, cell in enumerate(cells)]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise DataError(f"{path}: two columns are called {repeated!r}")
    return names


def _blocks(path: str, skipped: int, size: int) -> Iterator[tuple[list[int], list[str]]]:
    lines = itertools.islice(_lines(path), skipped, None)
    while block := list(itertools.islice(lines, size)):
        yield [number for number, _ in block], [line for _, line in block]


@lru_cache(maxsize=64)
def _layout(path: str, columns: tuple[str, ...], state: tuple[int, int]) -> _Layout:
    """Look through a whole file: names and types of its columns, and how many entries it has.

    Raises:
        DataError: lines differ in their number of cells, or the columns have no names.
    """
    head = _head(path)
    delimiter = head.delimiter
    names = _named(path, head.cells if columns or not head.names else head.names, columns)
    _refuse_list(path, names)
    skipped, n_entries = head.n_comments + int(not columns and not head.names), 0
    types = ["int"] * len(names)
    odd: dict[str, tuple[int, str]] = {}
    for numbers, lines in _blocks(path, skipped, _BLOCK):
        n_entries += len(lines)
        _check_widths(path, numbers, lines, delimiter, len(names))
        for i in _narrow(types, lines, delimiter):
            rows = ((number, row[i]) for number, row in zip(numbers, _cells(lines, delimiter), strict=True))
            odd[names[i]] = next((n, cell) for n, cell in rows if not _is_number(cell) and cell.lower() not in _MISSING)
    return _Layout(delimiter, skipped, dict(zip(names, types, strict=True)), n_entries, odd)


def _refuse_list(path: str, names: Sequence[str]) -> None:
    """A list of files is no table.

    Raises:
        DataError: the only column has the name of a file.
    """
    if len(names) == 1 and _A_FILE.search(names[0]):
        what = f"is a list of files, of which {names[0]!r} is the first"
        raise DataError(f"{path}: {what}; say so as @{Path(path).name}, or name the files in a list")


def _check_widths(path: str, numbers: Sequence[int], lines: Sequence[str], delimiter: str | None, width: int) -> None:
    if delimiter is not None and all(line.count(delimiter) == width - 1 for line in lines):
        return
    rows = _cells(lines, delimiter)
    if len(rows) != len(lines):
        raise DataError(f"{path}: a quote that begins after line {numbers[0]} runs over several lines")
    for number, row in zip(numbers, rows, strict=True):
        if len(row) != width:
            raise DataError(f"{path}: line {number} has {len(row)} cells, the others have {width}")


def _narrow(types: list[str], lines: Sequence[str], delimiter: str | None) -> list[int]:
    """Adapt the types of the columns to further lines; the columns that turn out to hold text."""
    turned = []
    for i, kind in enumerate(types):
        if kind == "text":
            continue
        try:
            values = _floats(lines, delimiter, i)[:, 0]
        except ValueError:
            types[i] = "text"
            turned.append(i)
            continue
        if (kind == "int" and not (np.abs(values) <= _EXACT).all()) or (
            kind == "int" and not (values == np.rint(values)).all()
        ):
            types[i] = "float"
    return turned


def _floats(lines: Sequence[str], delimiter: str | None, *columns: int) -> Any:
    """(n, columns) float64, NaN where a cell is missing.

    Raises:
        ValueError: a cell is neither a number nor missing.
    """
    options: dict[str, Any] = {"delimiter": delimiter, "usecols": columns, "comments": None, "quotechar": '"'}
    try:
        return np.loadtxt(lines, np.float64, ndmin=2, **options)
    except ValueError:
        rows = _cells(lines, delimiter)
        numbers = [[np.nan if row[i].lower() in _MISSING else float(row[i]) for i in columns] for row in rows]
        return np.array(numbers, np.float64)


class CsvFile:
    """Cells in lines, between commas, semicolons, tabulators or blanks; packed by gzip or not."""

    def __init__(self, path: str, columns: Sequence[str] = ()) -> None:
        self._path = path
        self._layout = _layout(path, tuple(columns), _state(path))
        self.n_entries = self._layout.n_entries

    @property
    def names(self) -> list[str]:
        """All columns."""
        return list(self._layout.types)

    def place(self, name: str) -> str:
        """The file."""
        return self._path

    def reason(self, name: str) -> str:
        """Every column can be used."""
        return ""

    def remark(self, name: str) -> str:
        """Why a column is one of text, as a sentence; empty for numbers."""
        if name not in self._layout.odd:
            return ""
        line, cell = self._layout.odd[name]
        advice = next((f" ({what})" for form, what in _SPELLINGS if form.fullmatch(cell)), "")
        return f"line {line} has {cell!r}{advice}"

    def empty(self, name: str) -> Any:
        """A column without entries."""
        return to_array([], self._layout.types[name])

    def iterate(self, names: Sequence[str], step: int) -> Iterator[Arrays]:
        """The columns in pieces; the cells of other columns are passed over."""
        for numbers, lines in _blocks(self._path, self._layout.skipped, step):
            yield self._arrays(names, numbers, lines)

    def _arrays(self, names: Sequence[str], numbers: Sequence[int], lines: Sequence[str]) -> dict[str, Any]:
        layout, order = self._layout, list(self._layout.types)
        arrays: dict[str, Any] = {}
        wanted = [name for name in names if layout.types[name] != "text"]
        try:
            values = _floats(lines, layout.delimiter, *map(order.index, wanted)) if wanted else np.empty((0, 0))
        except (ValueError, IndexError) as error:
            raise DataError(f"something in lines {numbers[0]} to {numbers[-1]} is no number any more") from error
        for i, name in enumerate(wanted):
            column = np.ascontiguousarray(values[:, i])
            arrays[name] = column.astype(np.int64) if layout.types[name] == "int" else column
        if len(wanted) < len(names):
            rows = _cells(lines, layout.delimiter)
            arrays |= {n: as_text([row[order.index(n)] for row in rows]) for n in names if n not in arrays}
        return arrays

    def values(self, name: str, start: int, stop: int) -> Any:
        """A part of a column."""
        lines = list(itertools.islice(_lines(self._path), self._layout.skipped + start, self._layout.skipped + stop))
        if not lines:
            return self.empty(name)
        return self._arrays([name], [number for number, _ in lines], [line for _, line in lines])[name]

    def close(self) -> None:
        """Nothing is open between two reads."""


class JsonLinesFile:
    """A record in json a line."""

    def __init__(self, path: str, columns: Sequence[str] = ()) -> None:
        self._path = path
        self._tags, self.n_entries = _record_tags(path, _state(path))
        if not self.n_entries:
            raise DataError(f"{path}: is an empty file; was it written to its end?")

    @property
    def names(self) -> list[str]:
        """All keys."""
        return list(self._tags)

    def place(self, name: str) -> str:
        """The file."""
        return self._path

    def reason(self, name: str) -> str:
        """Why a key cannot be used: its values are of several types."""
        return "" if type_of(self._tags[name]) else why_no_type(self._tags[name])

    def empty(self, name: str) -> Any:
        """A column without entries."""
        return to_array([], type_of(self._tags[name]))

    def iterate(self, names: Sequence[str], step: int) -> Iterator[Arrays]:
        """The columns in pieces."""
        for numbers, lines in _blocks(self._path, 0, step):
            records = _records(self._path, numbers, lines)
            yield {n: to_array([r.get(n) for r in records], type_of(self._tags[n])) for n in names}

    def values(self, name: str, start: int, stop: int) -> Any:
        """A part of a column."""
        lines = list(itertools.islice(_lines(self._path), start, stop))
        records = _records(self._path, [number for number, _ in lines], [line for _, line in lines])
        return to_array([record.get(name) for record in records], type_of(self._tags[name]))

    def close(self) -> None:
        """Nothing is open between two reads."""


def _records(path: str, numbers: Sequence[int], lines: Sequence[str]) -> list[dict[str, Any]]:
    records = []
    for number, line in zip(numbers, lines, strict=True):
        try:
            records.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: line {number} is no json") from error
        if not isinstance(records[-1], dict):
            raise DataError(f"{path}: line {number} is no record, which would be written {{..}}")
    return records


@lru_cache(maxsize=64)
def _record_tags(path: str, state: tuple[int, int]) -> tuple[dict[str, set[str]], int]:
    """Which sorts of values each key has in the whole file, and the number of records."""
    tags: dict[str, set[str]] = {}
    n_entries = 0
    for numbers, lines in _blocks(path, 0, _BLOCK):
        records = _records(path, numbers, lines)
        known = dict.fromkeys([*tags, *(name for record in records for name in record)])
        for name in known:
            earlier = tags.setdefault(name, {"none"} if n_entries else set())
            earlier |= tags_of(record.get(name) for record in records)
        n_entries += len(records)
    return tags, n_entries
