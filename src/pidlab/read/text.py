"""Text files: csv and similar tables, and json lines; scanned once for types and number of entries, then streamed."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from pidlab.errors import DataError
from pidlab.read.backend import Arrays, Backend
from pidlab.read.columns import LARGEST_EXACT, as_text, column_type, to_array, value_types, why_no_column_type

_BLOCK = 50_000  # lines scanned at a time
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
_FILE_NAME = re.compile(r"\.(root|parquet|pq|csv|npy|npz|json|jsonl|sqlite|db)(:[^:]+)?$")
_SPELLINGS = (
    (re.compile(r"[-+]?\d+,\d*([eE][-+]?\d+)?"), "a decimal comma; write a point"),
    (re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[dD][-+]?\d+"), "Fortran's exponent; write E for D"),
    (re.compile(r"[-+]?(1\.#|nan|inf).*", re.IGNORECASE), "write nan or leave it empty"),
)


_Lines = Sequence[tuple[int, str]]
"""Lines with their numbers in the file."""


def _open(path: str) -> TextIO:
    with Path(path).open("rb") as file:
        is_compressed = file.read(2) == b"\x1f\x8b"
    if is_compressed:
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return Path(path).open(encoding="utf-8-sig")


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """Yields the lines that are not blank, with their numbers.

    Raises:
        DataError: the file is not text.
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
    """Returns length and time of last change, which differ once the file was changed."""
    status = Path(path).stat()
    return status.st_size, status.st_mtime_ns


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a text file holds.

    Attributes:
        delimiter: the character between cells; None for any blank space.
        n_skipped: the number of lines before the first entry.
        types: column to float, int or text.
        n_entries: the number of lines that are entries.
        first_texts: column of text to the line of the first cell that is no number, and that cell.
    """

    delimiter: str | None
    n_skipped: int
    types: dict[str, str]
    n_entries: int
    first_texts: dict[str, tuple[int, str]]


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
        cells: the cells of the first line that is no comment.
        names: the words of the last comment if they name the columns of a file without other names; else empty.
        n_comments: the number of lines that begin with # before the first entry.
    """

    delimiter: str | None
    cells: list[str]
    names: list[str]
    n_comments: int


def _head(path: str) -> _Head:
    """Reads the first lines; comments precede everything else, as numpy.savetxt writes them.

    Raises:
        DataError: the file holds nothing but comments.
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
    """Returns the words of the comment above a line of numbers if there is one for each number; else none."""
    if not last_comment or not any(map(_is_number, cells)):
        return []
    for by in dict.fromkeys([delimiter, _delimiter(last_comment[0]), None]):
        words = _cells(list(last_comment), by)[0] if last_comment[0] else []
        if len(words) == len(cells) and not any(map(_is_number, words)):
            return words
    return []


def n_unnamed_columns(path: str) -> int:
    """Returns the number of columns of a file that does not name them, so that its first line holds numbers; else 0."""
    head = _head(path)
    return len(head.cells) if any(map(_is_number, head.cells)) and not head.names else 0


def _named(path: str, cells: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Returns the names of the columns, from `columns` or from the cells of the first line."""
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


def _blocks(path: str, n_skipped: int, size: int) -> Iterator[_Lines]:
    lines = itertools.islice(_lines(path), n_skipped, None)
    while block := list(itertools.islice(lines, size)):
        yield block


@lru_cache(maxsize=64)
def _layout(path: str, columns: tuple[str, ...], state: tuple[int, int]) -> _Layout:
    """Scans a whole file for the names and types of its columns and its number of entries.

    `state` is an argument so that a file that was changed is scanned again.

    Raises:
        DataError: lines differ in their number of cells, or the columns have no names.
    """
    head = _head(path)
    delimiter = head.delimiter
    names = _named(path, head.cells if columns or not head.names else head.names, columns)
    _refuse_list(path, names)
    n_skipped, n_entries = head.n_comments + int(not columns and not head.names), 0
    types = ["int"] * len(names)
    first_texts: dict[str, tuple[int, str]] = {}
    for block in _blocks(path, n_skipped, _BLOCK):
        n_entries += len(block)
        numbers, lines = [number for number, _ in block], [line for _, line in block]
        _check_widths(path, numbers, lines, delimiter, len(names))
        for i in _widen(types, lines, delimiter):
            cells = ((number, row[i]) for number, row in zip(numbers, _cells(lines, delimiter), strict=True))
            first_texts[names[i]] = next(
                (n, cell) for n, cell in cells if not _is_number(cell) and cell.lower() not in _MISSING
            )
    return _Layout(delimiter, n_skipped, dict(zip(names, types, strict=True)), n_entries, first_texts)


def _refuse_list(path: str, names: Sequence[str]) -> None:
    """Refuses a list of files, which is no table.

    Raises:
        DataError: the only column has the name of a file.
    """
    if len(names) == 1 and _FILE_NAME.search(names[0]):
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


def _widen(types: list[str], lines: Sequence[str], delimiter: str | None) -> list[int]:
    """Changes the types of the columns so that they hold further lines; returns the columns that became text."""
    became_text = []
    for i, kind in enumerate(types):
        if kind == "text":
            continue
        try:
            values = _floats(lines, delimiter, i)[:, 0]
        except ValueError:
            types[i] = "text"
            became_text.append(i)
            continue
        if kind == "int" and not ((np.abs(values) <= LARGEST_EXACT) & (values == np.rint(values))).all():
            types[i] = "float"
    return became_text


def _floats(lines: Sequence[str], delimiter: str | None, *columns: int) -> Any:
    """Returns (n, columns) float64, NaN where a cell is missing.

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


class _LineFile(Backend):
    """A text file with an entry a line, after `n_skipped` lines that are none.

    Attributes:
        types: column to its type as `to_array` takes it; empty if no type holds its values.
    """

    def __init__(self, path: str, types: Mapping[str, str], n_entries: int, n_skipped: int = 0) -> None:
        super().__init__(path)
        self._types, self._n_skipped = types, n_skipped
        self.names, self.n_entries = list(types), n_entries

    def empty(self, name: str) -> Any:
        return to_array([], self._types[name])

    def iterate(self, names: Sequence[str], step: int) -> Iterator[Arrays]:
        for lines in _blocks(self._place, self._n_skipped, step):
            yield self._arrays(names, lines)

    def values(self, name: str, start: int, stop: int) -> Any:
        lines = list(itertools.islice(_lines(self._place), self._n_skipped + start, self._n_skipped + stop))
        return self._arrays([name], lines)[name] if lines else self.empty(name)

    @abstractmethod
    def _arrays(self, names: Sequence[str], lines: _Lines) -> dict[str, Any]:
        """Returns the columns `names` of these lines."""


class CsvFile(_LineFile):
    """Cells in lines, separated by commas, semicolons, tabulators or blanks; compressed by gzip or not."""

    def __init__(self, path: str, columns: Sequence[str] = ()) -> None:
        self._layout = layout = _layout(path, tuple(columns), _state(path))
        super().__init__(path, layout.types, layout.n_entries, layout.n_skipped)

    def remark(self, name: str) -> str:
        """Returns the first cell that makes a column one of text, as a sentence; empty for numbers."""
        if name not in self._layout.first_texts:
            return ""
        line, cell = self._layout.first_texts[name]
        advice = next((f" ({what})" for form, what in _SPELLINGS if form.fullmatch(cell)), "")
        return f"line {line} has {cell!r}{advice}"

    def _arrays(self, names: Sequence[str], lines: _Lines) -> dict[str, Any]:
        """Returns the columns; the cells of other columns are not converted."""
        types, delimiter = self._types, self._layout.delimiter
        texts = [line for _, line in lines]
        numbers = [name for name in names if types[name] != "text"]
        try:
            values = _floats(texts, delimiter, *map(self.names.index, numbers)) if numbers else np.empty((0, 0))
        except (ValueError, IndexError) as error:
            raise DataError(f"something in lines {lines[0][0]} to {lines[-1][0]} is no number any more") from error
        arrays: dict[str, Any] = {}
        for i, name in enumerate(numbers):
            column = np.ascontiguousarray(values[:, i])
            arrays[name] = column.astype(np.int64) if types[name] == "int" else column
        if len(numbers) < len(names):
            rows = _cells(texts, delimiter)
            arrays |= {n: as_text([row[self.names.index(n)] for row in rows]) for n in names if n not in arrays}
        return arrays


class JsonLinesFile(_LineFile):
    """A record in json a line."""

    def __init__(self, path: str, columns: Sequence[str] = ()) -> None:
        self._found, n_entries = _record_types(path, _state(path))
        if not n_entries:
            raise DataError(f"{path}: is an empty file; was it written to its end?")
        super().__init__(path, {name: column_type(found) for name, found in self._found.items()}, n_entries)

    def reason(self, name: str) -> str:
        """Returns why a key cannot be used: its values are of several types."""
        return why_no_column_type(self._found[name])

    def _arrays(self, names: Sequence[str], lines: _Lines) -> dict[str, Any]:
        records = _records(self._place, lines)
        return {name: to_array([record.get(name) for record in records], self._types[name]) for name in names}


def _records(path: str, lines: _Lines) -> list[dict[str, Any]]:
    records = []
    for number, line in lines:
        try:
            records.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: line {number} is no json") from error
        if not isinstance(records[-1], dict):
            raise DataError(f"{path}: line {number} is no record, which would be written {{..}}")
    return records


@lru_cache(maxsize=64)
def _record_types(path: str, state: tuple[int, int]) -> tuple[dict[str, set[str]], int]:
    """Returns the types of values that each key has in the whole file, and the number of records."""
    types: dict[str, set[str]] = {}
    n_entries = 0
    for lines in _blocks(path, 0, _BLOCK):
        records = _records(path, lines)
        known = dict.fromkeys([*types, *(name for record in records for name in record)])
        for name in known:
            earlier = types.setdefault(name, {"none"} if n_entries else set())
            earlier |= value_types(record.get(name) for record in records)
        n_entries += len(records)
    return types, n_entries
