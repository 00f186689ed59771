"""Files of columns: parquet (streamed by row groups, through pyarrow), npy, npz and json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from pidlab.errors import DataError
from pidlab.read.backend import Arrays, Backend, ColumnsInMemory
from pidlab.read.columns import (
    LARGEST_EXACT,
    TEXT,
    as_column,
    as_text,
    column_type,
    first_line,
    to_array,
    value_types,
    why_no_column_type,
)
from pidlab.sample import joined

_TOO_LARGE = "whole numbers above 2^53 with nulls among them"


class ParquetFile(Backend):
    """A parquet file."""

    def __init__(self, path: str, columns: Sequence[str] = ()) -> None:
        super().__init__(path)
        try:
            from pyarrow import parquet
        except ModuleNotFoundError as error:
            needed = "reading parquet needs pyarrow, which is not installed: pip install 'pidlab[parquet]'"
            raise DataError(f"{path}: {needed}") from error
        try:
            self._file = parquet.ParquetFile(path, memory_map=False)
        except Exception as error:
            raise DataError(f"{path}: cannot be opened as a parquet file; it is damaged or was cut short") from error
        self._types = {field.name: field.type for field in self._file.schema_arrow}
        self._with_nulls, too_large = _by_statistics(self._file.metadata)
        self._too_large = self._with_nulls & too_large
        self.names = list(self._types)
        self.n_entries = int(self._file.metadata.num_rows)

    def reason(self, name: str) -> str:
        """Returns why a column cannot be used: it holds neither numbers nor text nor lists of numbers."""
        if name in self._too_large:
            return f"holds {_TOO_LARGE}, which no type of numbers holds; fill them first"
        return "" if _is_usable(self._types[name]) else f"holds values of the type {self._types[name]}"

    def empty(self, name: str) -> Any:
        """Returns a column without entries."""
        import pyarrow

        return self._converted(name, pyarrow.array([], self._types[name]))

    def iterate(self, names: Sequence[str], step: int) -> Iterator[Arrays]:
        """Yields the columns in pieces; only the column chunks of these columns are read."""
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
        """Returns a part of a column."""
        sizes = [self._file.metadata.row_group(i).num_rows for i in range(self._file.metadata.num_row_groups)]
        begins = np.concatenate([[0], np.cumsum(sizes)])
        groups = [i for i, size in enumerate(sizes) if begins[i] < stop and begins[i] + size > start]
        if not groups:
            return self.empty(name)
        column = self._file.read_row_groups(groups, columns=[name]).column(name).combine_chunks()
        first = int(begins[groups[0]])
        return self._converted(name, column)[start - first : stop - first]

    def close(self) -> None:
        """Closes the input."""
        self._file.close()

    def _converted(self, name: str, column: Any) -> Any:
        return _from_arrow(column, name in self._with_nulls)


def _by_statistics(metadata: Any) -> tuple[set[str], set[str]]:
    """Returns, from the file's statistics, the columns with missing values and those with large whole numbers.

    The second are those that float64 does not hold exactly.
    """
    with_nulls, large = set(), set()
    for group in range(metadata.num_row_groups):
        for i in range(metadata.num_columns):
            column = metadata.row_group(group).column(i)
            statistics = column.statistics
            if statistics is None:
                continue
            if statistics.null_count:
                with_nulls.add(column.path_in_schema)
            limits = (statistics.min, statistics.max) if statistics.has_min_max else ()
            if any(isinstance(limit, int) and abs(limit) > LARGEST_EXACT for limit in limits):
                large.add(column.path_in_schema)
    return with_nulls, large


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
    """Returns an arrow array of a usable type as numpy or awkward; integers with missing values become float64."""
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
            raise DataError(f"{_TOO_LARGE} fit into no type; fill them first") from error
    return column.to_numpy(zero_copy_only=False)


class NpyFile(ColumnsInMemory):
    """A numpy file, mapped into memory: a structured array, or (n, m) with names for its columns."""

    def __init__(self, path: str, columns: Sequence[str] = ()) -> None:
        array = _loaded(path)
        if array.dtype.names:
            if columns:
                raise DataError(f"{path}: names its columns itself; leave data.columns out")
            fields: dict[str, Any] = {name: array[name] for name in array.dtype.names}
        elif array.ndim == 2:
            n = array.shape[1]
            if len(columns) != n:
                named = f"data.columns names {len(columns)}" if columns else "the file does not name them"
                raise DataError(f"{path}: has {n} columns, and {named}; name each in data.columns: [..]")
            fields = {name: array[:, i] for i, name in enumerate(columns)}
        else:
            shape = " x ".join(map(str, array.shape))
            raise DataError(f"{path}: holds an array of {shape}; a table is structured or has two dimensions")
        self._size = Path(path).stat().st_size
        super().__init__(path, *_usable(fields))

    def values(self, name: str, start: int, stop: int) -> Any:
        """Returns a copy; reading mapped bytes that a file has lost would end the process."""
        if Path(self._place).stat().st_size < self._size:
            raise DataError("the file was cut short while it was read")
        return super().values(name, start, stop).copy()


def n_unnamed_columns(path: str) -> int:
    """Returns the number of columns of a numpy file that does not name them; 0 if it does."""
    array = _loaded(path)
    return 0 if array.dtype.names or array.ndim != 2 else int(array.shape[1])


def _loaded(path: str) -> Any:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:
        raise DataError(f"{path}: cannot be read as a numpy file ({first_line(error)})") from error


class NpzFile(ColumnsInMemory):
    """Several numpy arrays of one length, each a column."""

    def __init__(self, path: str, columns: Sequence[str] = ()) -> None:
        fields, left_out = {}, {}
        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
                members = set(archive.zip.namelist())
                if not any(f"{name}.npy" in members for name in archive.files):
                    listed = ", ".join([*sorted(members)[:3], *(["…"] if len(members) > 3 else [])]) or "empty"
                    raise DataError(f"{path}: is a zip archive ({listed}), not a numpy one; unpack it first")
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
            raise DataError(f"{path}: cannot be read as a numpy archive ({first_line(error)})") from error
        _check_lengths(path, {name: values.shape[:1] for name, values in fields.items()})
        usable, others = _usable(fields)
        super().__init__(path, usable, left_out | others)


def _usable(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the arrays of numbers or text, and the reasons why the others are left out."""
    usable, left_out = {}, {}
    for name, values in fields.items():
        is_text = values.dtype.kind in "US" and values.ndim == 1
        if values.dtype.kind in "fiub" or is_text or values.dtype == TEXT:
            usable[name] = values.astype(np.float32) if values.dtype == np.float16 else values
        else:
            left_out[name] = f"holds values of the type {values.dtype}"
    return usable, left_out


def _check_lengths(path: str, lengths: Mapping[str, Any]) -> None:
    if len(set(lengths.values())) > 1 or () in lengths.values():
        listed = ", ".join(f"{name} {length[0] if length else 'one value'}" for name, length in lengths.items())
        raise DataError(f"{path}: its columns differ in length: {listed}")


class JsonFile(ColumnsInMemory):
    """A json file: a list of records, or a record of lists, which is read as a whole (json lines are streamed)."""

    def __init__(self, path: str, columns: Sequence[str] = ()) -> None:
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: cannot be read as json ({first_line(error)})") from error
        lists = _lists(path, content)
        _check_lengths(path, {name: (len(values),) for name, values in lists.items()})
        types = {name: value_types(values) for name, values in lists.items()}
        left_out = {name: why for name, held in types.items() if (why := why_no_column_type(held))}
        usable = {name: to_array(lists[name], column_type(types[name])) for name in lists if name not in left_out}
        super().__init__(path, {name: as_column(values) for name, values in usable.items()}, left_out)


def _lists(path: str, content: Any) -> dict[str, list[Any]]:
    if isinstance(content, dict) and all(isinstance(v, list) for v in content.values()):
        return content
    if isinstance(content, list) and all(isinstance(record, dict) for record in content):
        names = dict.fromkeys(name for record in content for name in record)
        return {name: [record.get(name) for record in content] for name in names}
    raise DataError(f"{path}: a table in json is a list of records, or a record of lists")
