"""Files of columns: parquet (streamed by row groups, through pyarrow), npy, npz and json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from pidlab.errors import DataError
from pidlab.read.backend import TEXT, Arrays, Columns, as_text, joined, plain
from pidlab.read.cells import tags_of, to_array, type_of, why_no_type

_EXACT = 2**53
"""Up to here float64 holds every whole number."""


class ParquetFile:
    """A parquet file."""

    def __init__(self, path: str, columns: Sequence[str] = ()) -> None:
        try:
            from pyarrow import parquet
        except ModuleNotFoundError as error:
            needed = "reading parquet needs pyarrow, which is not installed: pip install 'pidlab[parquet]'"
            raise DataError(f"{path}: {needed}") from error
        try:
            self._file = parquet.ParquetFile(path, memory_map=False)
        except Exception as error:
            raise DataError(f"{path}: cannot be opened as a parquet file; it is damaged or was cut short") from error
        self._path = path
        self._types = {field.name: field.type for field in self._file.schema_arrow}
        self._has_nulls = _columns_with_nulls(self._file.metadata)
        self._too_large = self._has_nulls & _columns_with_large_integers(self._file.metadata)
        self.n_entries = int(self._file.metadata.num_rows)

    @property
    def names(self) -> list[str]:
        """All columns."""
        return list(self._types)

    def place(self, name: str) -> str:
        """The file."""
        return self._path

    def reason(self, name: str) -> str:
        """Why a column cannot be used: it holds neither numbers nor text nor lists of numbers."""
        if name in self._too_large:
            return (
                "holds whole numbers above 2^53 with nulls among them, which no type of numbers holds; fill them first"
            )
        return "" if _is_usable(self._types[name]) else f"holds values of the type {self._types[name]}"

    def empty(self, name: str) -> Any:
        """A column without entries."""
        import pyarrow

        return self._converted(name, pyarrow.array([], self._types[name]))

    def iterate(self, names: Sequence[str], step: int) -> Iterator[Arrays]:
        """The columns in pieces; of the file, only their row groups' column chunks are read."""
        held: dict[str, list[Any]] = {name: [] for name in names}
        n_held = 0
        for batch in self._file.iter_batches(batch_size=step, columns=list(names)):
            n_held += batch.num_rows
            for name in names:
                held[name].append(self._converted(name, batch.column(name)))
            while n_held >= step:
                whole = {name: joined(parts) for name, parts in held.items()}
                yield {name: values[:step] for name, values in whole.items()}
                held = {name: [values[step:]] for name, values in whole.items()}
                n_held -= step
        if n_held:
            yield {name: joined(parts) for name, parts in held.items()}

    def values(self, name: str, start: int, stop: int) -> Any:
        """A part of a column."""
        sizes = [self._file.metadata.row_group(i).num_rows for i in range(self._file.metadata.num_row_groups)]
        begins = np.concatenate([[0], np.cumsum(sizes)])
        groups = [i for i, size in enumerate(sizes) if begins[i] < stop and begins[i] + size > start]
        if not groups:
            return self.empty(name)
        column = self._file.read_row_groups(groups, columns=[name]).column(name).combine_chunks()
        first = int(begins[groups[0]])
        return self._converted(name, column)[start - first : stop - first]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _converted(self, name: str, column: Any) -> Any:
        return _from_arrow(column, name in self._has_nulls)


def _columns_with_nulls(metadata: Any) -> set[str]:
    """The columns of numbers in which the file says that values are missing."""
    found = set()
    for group in range(metadata.num_row_groups):
        for i in range(metadata.num_columns):
            column = metadata.row_group(group).column(i)
            if column.statistics is not None and column.statistics.null_count:
                found.add(column.path_in_schema)
    return found


def _columns_with_large_integers(metadata: Any) -> set[str]:
    """The columns of whole numbers that float64 does not hold, as far as the file's statistics tell."""
    found = set()
    for group in range(metadata.num_row_groups):
        for i in range(metadata.num_columns):
            column = metadata.row_group(group).column(i)
            known = column.statistics is not None and column.statistics.has_min_max
            limits = (column.statistics.min, column.statistics.max) if known else ()
            if any(isinstance(limit, int) and abs(limit) > _EXACT for limit in limits):
                found.add(column.path_in_schema)
    return found


def _is_usable(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _is_number(kind.value_type)
    return _is_number(kind) or _is_text(kind)


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind) or types.is_decimal(kind))


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def _from_arrow(column: Any, has_nulls: bool) -> Any:
    """An arrow array of a usable type as numpy or awkward: integers of which some are missing become float64."""
    from pyarrow import compute, types

    kind = column.type
    if types.is_dictionary(kind) or _is_text(kind):
        return as_text(column.to_pylist())
    if types.is_list(kind) or types.is_large_list(kind):
        lengths = compute.fill_null(compute.list_value_length(column), 0)
        inner = column.flatten()
        return ak.unflatten(_numbers(inner, inner.null_count > 0), lengths.to_numpy(zero_copy_only=False))
    if types.is_fixed_size_list(kind):
        return _numbers(column.flatten(), has_nulls).reshape(-1, kind.list_size)
    return _numbers(column, has_nulls)


def _numbers(column: Any, has_nulls: bool) -> Any:
    import pyarrow
    from pyarrow import types

    if column.null_count and not has_nulls and not types.is_floating(column.type):
        raise DataError(f"values of the type {column.type} are missing, and the file's statistics do not say so")
    if types.is_float16(column.type):
        return column.cast(pyarrow.float32()).to_numpy(zero_copy_only=False)
    if types.is_decimal(column.type) or (has_nulls and not types.is_floating(column.type)):
        try:
            column = column.cast(pyarrow.float64())
        except pyarrow.ArrowInvalid as error:
            raise DataError(
                "whole numbers above 2^53 with nulls among them fit into no type; fill them first"
            ) from error
    return column.to_numpy(zero_copy_only=False)


class NpyFile(Columns):
    """A numpy file, mapped into memory: a structured array, or (n, m) with names for its columns."""

    def __init__(self, path: str, columns: Sequence[str] = ()) -> None:
        array = _loaded(path)
        if array.dtype.names:
            if columns:
                raise DataError(f"{path}: names its columns itself; leave data.columns out")
            fields: dict[str, Any] = {name: array[name] for name in array.dtype.names}
        elif array.ndim == 2:
            _match_columns(path, columns, array.shape[1])
            fields = {name: array[:, i] for i, name in enumerate(columns)}
        else:
            shape = " x ".join(map(str, array.shape))
            raise DataError(f"{path}: holds an array of {shape}; a table is structured or has two dimensions")
        self._size = Path(path).stat().st_size
        super().__init__(path, *_usable(fields))

    def values(self, name: str, start: int, stop: int) -> Any:
        """A part of a column; the file is mapped, and what is no longer there must not be looked at."""
        if Path(self._place).stat().st_size < self._size:
            raise DataError("the file was cut short while it was read")
        return super().values(name, start, stop).copy()


def invented_columns(path: str) -> tuple[str, ...]:
    """column_1, column_2, … for a numpy file that does not name its columns; empty where it does."""
    array = _loaded(path)
    return () if array.dtype.names or array.ndim != 2 else tuple(f"column_{i + 1}" for i in range(array.shape[1]))


def _loaded(path: str) -> Any:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:
        raise DataError(f"{path}: cannot be read as a numpy file ({_first_line(error)})") from error


def _match_columns(path: str, columns: Sequence[str], n: int) -> None:
    if len(columns) != n:
        given = f"data.columns names {len(columns)}" if columns else "the file does not name them"
        raise DataError(f"{path}: has {n} columns, and {given}; name each in data.columns: [..]")


class NpzFile(Columns):
    """Several numpy arrays of one length, each a column."""

    def __init__(self, path: str, columns: Sequence[str] = ()) -> None:
        fields, left_out = {}, {}
        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
                members = set(archive.zip.namelist())
                if not any(f"{name}.npy" in members for name in archive.files):
                    raise DataError(f"{path}: is a zip archive ({_some(members)}), not a numpy one; unpack it first")
                for name in archive.files:
                    if f"{name}.npy" not in members:
                        left_out[name] = "is no numpy array"
                        continue
                    try:
                        fields[name] = archive[name]
                    except ValueError:
                        left_out[name] = "holds Python objects, which are not read"
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"{path}: cannot be read as a numpy archive ({_first_line(error)})") from error
        _equally_long(path, {name: values.shape[:1] for name, values in fields.items()})
        usable, others = _usable(fields)
        super().__init__(path, usable, left_out | others)


def _some(names: Iterable[str]) -> str:
    """The first names, and that there are more."""
    listed = sorted(names)
    return ", ".join(listed[:3]) + (", …" if len(listed) > 3 else "") if listed else "empty"


def _usable(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The arrays of numbers or text, and why the others are left out."""
    usable, left_out = {}, {}
    for name, values in fields.items():
        is_text = values.dtype.kind in "US" and values.ndim == 1
        if values.dtype.kind in "fiub" or is_text or values.dtype == TEXT:
            usable[name] = values.astype(np.float32) if values.dtype == np.float16 else values
        else:
            left_out[name] = f"holds values of the type {values.dtype}"
    return usable, left_out


def _equally_long(path: str, lengths: Mapping[str, Any]) -> None:
    if len(set(lengths.values())) > 1 or () in lengths.values():
        listed = ", ".join(f"{name} {length[0] if length else 'one value'}" for name, length in lengths.items())
        raise DataError(f"{path}: its columns differ in length: {listed}")


class JsonFile(Columns):
    """A json file: a list of records, or a record of lists. Read at once: use .jsonl for what does not fit."""

    def __init__(self, path: str, columns: Sequence[str] = ()) -> None:
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: cannot be read as json ({_first_line(error)})") from error
        lists = _lists(path, content)
        _equally_long(path, {name: (len(values),) for name, values in lists.items()})
        tags = {name: tags_of(values) for name, values in lists.items()}
        usable = {name: to_array(lists[name], type_of(held)) for name, held in tags.items() if type_of(held)}
        left_out = {name: why_no_type(held) for name, held in tags.items() if not type_of(held)}
        super().__init__(path, {name: plain(values) for name, values in usable.items()}, left_out)


def _lists(path: str, content: Any) -> dict[str, list[Any]]:
    if isinstance(content, dict) and all(isinstance(v, list) for v in content.values()):
        return content
    if isinstance(content, list) and all(isinstance(record, dict) for record in content):
        names = dict.fromkeys(name for record in content for name in record)
        return {name: [record.get(name) for record in content] for name in names}
    raise DataError(f"{path}: a table in json is a list of records, or a record of lists")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
