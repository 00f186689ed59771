"""Cells: values that come one by one, as Python objects, into arrays of one type a column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import awkward as ak
import numpy as np

from pidlab.errors import DataError
from pidlab.read.backend import as_text

_TAGS = {type(None): "none", bool: "bool", int: "int", float: "float", Decimal: "float", str: "text", list: "list"}
_NUMBERS = {"bool", "int", "float"}


def tags_of(values: Iterable[Any]) -> set[str]:
    """Which sorts of values there are: none, bool, int, float, text, list of int, list of float, object."""
    values = list(values)
    tags = {_TAGS.get(kind, "object") for kind in map(type, values)}
    if "list" not in tags:
        return tags
    inner = {_TAGS.get(type(x), "object") for v in values if isinstance(v, list) for x in v}
    if not inner <= _NUMBERS | {"none"}:
        return tags - {"list"} | {"object"}
    return tags - {"list"} | {"list of int" if inner == {"int"} else "list of float" if inner else "list of nothing"}


def type_of(tags: set[str]) -> str:
    """The type of a column with values of these sorts; "" where no type holds them all.

    Numbers of several sorts, and numbers of which some are missing, are floats, a missing one NaN. A missing text is
    empty, and so is a missing list.
    """
    held = tags - {"none"}
    if held <= _NUMBERS:
        return next(iter(held)) if len(held) == 1 and "none" not in tags else "float"
    if held == {"text"}:
        return "text"
    if held <= {"list of int", "list of float", "list of nothing"}:
        return "list of int" if held == {"list of int"} else "list of float"
    return ""


def why_no_type(tags: set[str]) -> str:
    """The end of a sentence about a column without a type."""
    return "holds objects" if "object" in tags else f"mixes {' and '.join(sorted(tags - {'none'}))}"


def to_array(values: Sequence[Any], kind: str) -> Any:
    """(n,) values as an array of the type `kind`.

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
        wrong = next((v for v in values if type_of(tags_of([v])) != kind), None)
        raise DataError(f"it should hold {kind} values, and {wrong!r} is none") from error
