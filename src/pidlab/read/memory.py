"""Arrays in memory as columns: of dicts, records, awkward arrays and data frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np

from pidlab.errors import DataError, nearest

Columns = Mapping[str, Any]
"""Arrays of one length by branch name: a dict of numpy or awkward arrays, an awkward record array, a pandas
DataFrame, or the events of a coffea processor."""


def find_array(arrays: Columns, name: str) -> Any:
    """Returns the array of a branch, or None if there is none.

    `Electron_pt` and `Electron.pt` are also `pt` of a record `Electron`.
    """
    names = names_of(arrays)
    if name in names:
        return arrays[name]
    for separator in ("_", "."):
        record, _, member = name.partition(separator)
        if member and record in names and member in names_of(arrays[record]):
            return arrays[record][member]
    return None


def names_of(arrays: Any) -> tuple[str, ...]:
    """Returns the names of the columns of a table, in its order.

    Raises:
        DataError: it is no table.
    """
    if isinstance(arrays, ak.Array):
        return tuple(arrays.fields)
    if isinstance(arrays, np.ndarray):
        return tuple(arrays.dtype.names or ())
    columns = getattr(arrays, "columns", None)
    if columns is None and not hasattr(arrays, "keys"):
        raise DataError(f"{type(arrays).__name__} is no table; give a dict of arrays, a data frame or awkward records")
    return tuple(arrays.keys() if columns is None else map(str, columns))


def column_of(arrays: Columns, name: str) -> Any:
    """Returns the array of a branch as expressions take it, see `as_values`.

    Raises:
        DataError: there is no such branch, or its values cannot be used.
    """
    found = find_array(arrays, name)
    if found is None:
        hint = nearest(name, names_of(arrays)) or "they have no names at all"
        raise DataError(f"the arrays have no {name!r}; {hint}")
    return as_values(found, name)


def as_values(found: Any, name: str) -> Any:
    """Returns one array as expressions take it: numpy, awkward if it is jagged; text as numpy's StringDType.

    Args:
        found: a numpy or awkward array, a list, or a column of pandas.
        name: its name, for messages.

    Raises:
        DataError: it holds objects, or values are missing that are not floating-point.
    """
    if isinstance(found, ak.Array):
        return _from_awkward(found, name)
    if isinstance(found, np.ma.MaskedArray):
        return _without_gaps(found.data, np.ma.getmaskarray(found), name)
    if hasattr(found, "isna") and not isinstance(getattr(found, "dtype", None), np.dtype):
        return _from_extension(found, name)
    values = np.asarray(found)
    if values.dtype.kind == "O" and values.ndim == 1:
        return _from_objects(values, name)
    return values.astype(np.dtypes.StringDType()) if values.dtype.kind in "OU" else values


def _from_awkward(found: ak.Array, name: str) -> Any:
    """Returns a numpy array if there is one value a row, else an awkward array of plain lists."""
    plain = ak.without_parameters(found) if found.ndim > 1 else found
    if plain.ndim == 1 and "?" not in str(plain.type.content):
        return ak.to_numpy(plain, allow_missing=False)
    if plain.ndim == 1:
        mask = ak.to_numpy(ak.is_none(plain))
        if not str(plain.type.content).lstrip("?").startswith(("int", "uint", "float", "bool")):
            _refuse_gaps(mask, name)
            return ak.to_numpy(ak.drop_none(plain), allow_missing=False)
        return _without_gaps(ak.to_numpy(ak.fill_none(plain, 0), allow_missing=False), mask, name)
    for axis in reversed(range(plain.ndim)):  # inside first: drop_none would take gaps further inside along
        gaps = ak.is_none(plain, axis=axis)
        if not ak.any(gaps, axis=None):
            plain = ak.drop_none(plain, axis=axis)  # the type of an option goes, nothing else
        elif axis == plain.ndim - 1 and "float" in str(plain.type):
            plain = ak.fill_none(plain, np.nan, axis=axis)
        else:
            while gaps.ndim > 1:
                gaps = ak.fill_none(ak.any(gaps, axis=-1), False)
            _refuse_gaps(ak.to_numpy(gaps), name)
    return ak.Array(ak.to_packed(plain).layout)


def _from_objects(values: Any, name: str) -> Any:
    """Returns text or numbers from a numpy array (n,) of objects; None and NaN are missing values.

    Raises:
        DataError: the array holds something else, or a missing value that is not floating-point.
    """
    mask = np.array([v is None or v != v for v in values], np.bool_)  # noqa: PLR0124  # NaN, of any type
    held = values[~mask]
    if all(isinstance(v, str) for v in held):
        _refuse_gaps(mask, name)
        return values.astype(np.dtypes.StringDType())
    numbers = np.asarray(held.tolist()) if all(np.ndim(v) == 0 for v in held) else held
    if numbers.dtype.kind not in "iufb":
        kinds = ", ".join(sorted({type(v).__name__ for v in held}))
        raise DataError(
            f"the array {name!r} holds objects ({kinds}); give numbers or text, jagged ones as awkward arrays"
        )
    filled = np.zeros(len(values), numbers.dtype)
    filled[~mask] = numbers
    return _without_gaps(filled, mask, name)


def _from_extension(found: Any, name: str) -> Any:
    """Returns the values of a pandas column of a type that numpy lacks: nullable numbers and text."""
    if hasattr(found, "columns"):
        raise DataError(f"{len(found.columns)} columns of the table are called {name!r}; give each a name of its own")
    mask, kind = np.asarray(found.isna()), getattr(found.dtype, "kind", "O")
    if kind == "f":
        return np.asarray(found.to_numpy(dtype=np.float64, na_value=np.nan))
    _refuse_gaps(mask, name)
    if kind in "iub":
        return np.asarray(found.to_numpy(dtype={"i": np.int64, "u": np.uint64, "b": np.bool_}[kind]))
    return np.asarray(found, dtype=np.dtypes.StringDType())


def _without_gaps(values: Any, mask: Any, name: str) -> Any:
    """Returns floating-point values with NaN where `mask` (n, ...) is true.

    Raises:
        DataError: a value is missing that is not floating-point.
    """
    if values.dtype.kind == "f":
        return np.where(mask, np.asarray(np.nan, values.dtype), values)
    _refuse_gaps(mask.reshape(len(mask), -1).any(axis=1), name)
    return np.asarray(values)


def _refuse_gaps(mask: Any, name: str) -> None:
    """Refuses rows without a value, which are true in `mask` (n,).

    Raises:
        DataError: there are such rows.
    """
    gaps = np.flatnonzero(mask)
    if len(gaps):
        raise DataError(
            f"the array {name!r} has no value in {len(gaps):,} of {len(mask):,} rows, the first in row {gaps[0]:,}; "
            "only floating-point values may be missing (they count as NaN): fill it, or leave these rows out"
        )
