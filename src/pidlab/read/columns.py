"""Columns: what libraries read, as arrays of one type: numpy if the rows are alike, awkward if they are lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import awkward as ak
import numpy as np

from pidlab.errors import DataError

TEXT = np.dtypes.StringDType()
LARGEST_EXACT = 2**53
"""Up to here float64 holds every whole number."""
_TYPES = {type(None): "none", bool: "bool", int: "int", float: "float", Decimal: "float", str: "text", list: "list"}
_NUMBERS = {"bool", "int", "float"}


def as_column(array: Any) -> Any:
    """Returns an array in this machine's byte order: numpy if its rows are alike, text as StringDType, else awkward."""
    if isinstance(array, ak.Array):
        content = array.type.content
        if content.parameters.get("__array__") == "string":
            return as_text(ak.to_list(array))
        while isinstance(content, ak.types.RegularType):
            content = content.content
        if not isinstance(content, ak.types.NumpyType):
            return array
        array = ak.to_numpy(array, allow_missing=False)
    if array.dtype.kind in "OUS":
        return as_text(array)
    if array.dtype.kind in "iuf" and not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def as_text(values: Any) -> Any:
    """Returns (n,) StringDType of strings; None becomes the empty string."""
    array = np.asarray(values, dtype=object)
    if array.ndim != 1:
        return array
    return np.array(["" if v is None else decoded(v) for v in array], dtype=TEXT)


def decoded(word: str | bytes) -> str:
    """Returns a text of a file as text that can be shown: UTF-8, or Latin-1, as older programs wrote, if it is not."""
    raw = word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def value_types(values: Iterable[Any]) -> set[str]:
    """Returns which types occur: none, bool, int, float, text, list of int, list of float, list of nothing, object."""
    values = list(values)
    found = {_TYPES.get(kind, "object") for kind in map(type, values)}
    if "list" not in found:
        return found
    inner = {_TYPES.get(type(x), "object") for v in values if isinstance(v, list) for x in v}
    if not inner <= _NUMBERS | {"none"}:
        return found - {"list"} | {"object"}
    return found - {"list"} | {"list of int" if inner == {"int"} else "list of float" if inner else "list of nothing"}


def column_type(types: set[str]) -> str:
    """Returns the type of a column with values of these types; empty if no type holds them all.

    Numbers of several types become floats, and so do numbers of which some are missing; a missing number is NaN. A
    missing text is empty, and so is a missing list.
    """
    held = types - {"none"}
    if held <= _NUMBERS:
        return next(iter(held)) if len(held) == 1 and "none" not in types else "float"
    if held == {"text"}:
        return "text"
    if held <= {"list of int", "list of float", "list of nothing"}:
        return "list of int" if held == {"list of int"} else "list of float"
    return ""


def why_no_column_type(types: set[str]) -> str:
    """Returns the end of a sentence about a column with values of these types; empty if one type holds them all."""
    if column_type(types):
        return ""
    return "holds objects" if "object" in types else f"mixes {' and '.join(sorted(types - {'none'}))}"


def to_array(values: Sequence[Any], kind: str) -> Any:
    """Returns (n,) the values as an array of the type `kind`.

    Raises:
        DataError: a value is of another type.
    """
    try:
        if kind == "text":
            return as_text(values)
        if kind.startswith("list"):
            dtype = np.int64 if kind == "list of int" else np.float64
            lists = [v or [] for v in values]
            inner = np.array([np.nan if x is None else x for v in lists for x in v], dtype)
            return ak.unflatten(inner, np.array([len(v) for v in lists], np.int64))
        if kind == "float":
            return np.array([np.nan if v is None else v for v in values], np.float64)
        return np.array(values, {"int": np.int64, "bool": np.bool_}[kind])
    except (ValueError, TypeError, OverflowError) as error:
        wrong = next((v for v in values if column_type(value_types([v])) != kind), None)
        raise DataError(f"it should hold {kind} values, and {wrong!r} is none") from error


def first_line(error: Exception) -> str:
    """Returns the first line of what an error of a library says, or its class if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
