"""Reductions from many numbers a row to one: `Sum$ Max$ Min$ Length$ MinIf$ MaxIf$ Alt$`, as in TTreeFormula.

Arrays in one argument are walked in parallel up to the end of the shortest one. A row without elements gives 0. NaN is
treated as in ROOT's loop: it is the result if it is the first element, and is ignored elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Value:
    """An intermediate result on n rows.

    Attributes:
        data: a constant, (n,) one number a row, or the elements of all rows, concatenated.
        valid: (n,) false if a requested element does not exist; None if all exist.
        counts: (n,) the number of elements in each row; None if a row holds one number.
    """

    data: Any
    valid: NDArray[np.bool_] | None = None
    counts: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Reduction:
    """One row of the table; `result` is that of `Operation`, `apply` takes the arguments and the number of rows."""

    arity: int
    result: str
    apply: Callable[..., Value]


def elementwise(function: Callable[..., Any], arguments: list[Value]) -> Value:
    """Returns the function of the arguments, element by element if one of them has several a row."""
    if all(a.counts is None for a in arguments):
        masks = [a.valid for a in arguments if a.valid is not None]
        return Value(function(*(a.data for a in arguments)), reduce(np.logical_and, masks) if masks else None)
    counts = _shortest(arguments)
    return Value(function(*(_elements(a, counts) for a in arguments)), None, counts)


def _shortest(arguments: list[Value]) -> NDArray[np.int64]:
    """Returns (n,) the number of elements that all arguments have in each row; 0 if a single number is missing."""
    counts: NDArray[np.int64] | None = None
    for a in arguments:
        if a.counts is not None:
            counts = a.counts if counts is None or counts is a.counts else np.minimum(counts, a.counts)
    if counts is None:
        raise ValueError("no argument has elements")
    for a in arguments:
        if a.valid is not None:
            counts = np.where(a.valid, counts, 0)
    return counts


def _elements(argument: Value, counts: NDArray[np.int64]) -> Any:
    """Returns the first `counts` elements of each row, concatenated; constants are returned unchanged."""
    if argument.counts is None:
        return argument.data if np.ndim(argument.data) == 0 else np.repeat(argument.data, counts)
    if argument.counts is counts or np.array_equal(argument.counts, counts):
        return argument.data
    start = np.cumsum(argument.counts) - argument.counts
    within = np.arange(len(argument.data)) - np.repeat(start, argument.counts)
    return argument.data[within < np.repeat(counts, argument.counts)]


def _listed(argument: Value, n: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Returns elements and counts; one number a row is a list of one, or of none if it is missing."""
    if argument.counts is not None:
        return np.asarray(argument.data), argument.counts
    counts = np.ones(n, np.int64) if argument.valid is None else argument.valid.astype(np.int64)
    return np.broadcast_to(argument.data, (n,))[counts > 0], counts


def _repeated(argument: Value, counts: NDArray[np.int64]) -> Any:
    """Returns the same as `_elements`, with constants repeated too."""
    return np.broadcast_to(_elements(argument, counts), (int(counts.sum()),))


def choose(items: Value, index: Value, n: int) -> Value:
    """Returns the elements of the lists `items` that conditions (bool) or whole numbers choose.

    A whole number that is negative or beyond the end of the list chooses an element that does not exist; of a list of
    whole numbers such an element is NaN.
    """
    if np.asarray(index.data).dtype == np.bool_:
        counts = _shortest([items, index])
        wanted = _repeated(index, counts)
        rows = np.repeat(np.arange(n), counts)[wanted]
        return Value(_repeated(items, counts)[wanted], None, np.bincount(rows, minlength=n).astype(np.int64))
    assert items.counts is not None
    start = np.cumsum(items.counts) - items.counts
    elements = np.asarray(items.data)
    if index.counts is None:
        number = np.broadcast_to(np.asarray(index.data).astype(np.int64), (n,))
        exists = (number >= 0) & (number < items.counts)
        exists = exists if index.valid is None else exists & index.valid
        chosen = np.zeros(n, elements.dtype)
        chosen[exists] = elements[(start + number)[exists]]
        return Value(chosen, exists)
    row = np.repeat(np.arange(n), index.counts)
    number = np.asarray(index.data).astype(np.int64)
    exists = (number >= 0) & (number < items.counts[row])
    found = np.full(len(number), np.nan)
    found[exists] = elements[(start[row] + number)[exists]]
    return Value(found, None, index.counts)


def _length(argument: Value, n: int) -> Value:
    return Value(_listed(argument, n)[1])


def _sum(argument: Value, n: int) -> Value:
    elements, counts = _listed(argument, n)
    return Value(np.bincount(np.repeat(np.arange(n), counts), weights=elements, minlength=n))


def _extreme(ufunc: Any) -> Callable[[Value, int], Value]:
    """Returns a reduction to the largest or smallest element of each row; `ufunc` is fmax or fmin."""
    return lambda argument, n: Value(_extreme_of(ufunc, *_listed(argument, n), n))


def _extreme_if(ufunc: Any) -> Callable[[Value, Value, int], Value]:
    """Returns the same reduction of the elements for which the condition is not zero."""

    def apply(argument: Value, condition: Value, n: int) -> Value:
        if argument.counts is None and condition.counts is None:
            argument = Value((listed := _listed(argument, n))[0], None, listed[1])
        counts = _shortest([argument, condition])
        wanted = np.not_equal(_repeated(condition, counts), 0)
        rows = np.repeat(np.arange(n), counts)[wanted]
        kept = np.bincount(rows, minlength=n).astype(np.int64)
        return Value(_extreme_of(ufunc, _repeated(argument, counts)[wanted], kept, n))

    return apply


def _extreme_of(ufunc: Any, elements: NDArray[Any], counts: NDArray[np.int64], n: int) -> NDArray[Any]:
    """Returns (n,) extremes of consecutive runs of `counts` elements, 0 for empty runs, NaN if the first is NaN."""
    elements = elements.astype(np.int64) if elements.dtype == np.bool_ else elements
    result = np.zeros(n, elements.dtype)
    filled = counts > 0
    if filled.any():
        start = (np.cumsum(counts) - counts)[filled]
        first = elements[start]
        result[filled] = np.where(np.isnan(first), first, ufunc.reduceat(elements, start))
    return result


def _alternative(primary: Value, other: Value, n: int) -> Value:
    """Returns the first value, or the second in rows in which the first does not exist."""
    if primary.valid is None:
        return primary
    a, b = (np.broadcast_to(v.data, (n,)) for v in (primary, other))
    valid = None if other.valid is None else primary.valid | other.valid
    return Value(np.where(primary.valid, a, b), valid)


REDUCTIONS: dict[str, Reduction] = {
    "Sum$": Reduction(1, "same", _sum),
    "Max$": Reduction(1, "same", _extreme(np.fmax)),
    "Min$": Reduction(1, "same", _extreme(np.fmin)),
    "Length$": Reduction(1, "int", _length),
    "MaxIf$": Reduction(2, "same", _extreme_if(np.fmax)),
    "MinIf$": Reduction(2, "same", _extreme_if(np.fmin)),
    "Alt$": Reduction(2, "same", _alternative),
}

LISTS = frozenset(REDUCTIONS) - {"Alt$"}
"""The reductions whose arguments may be lists."""
