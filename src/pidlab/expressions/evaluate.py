"""Evaluate: an expression on arrays, step by step on numpy columns and flattened lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.expressions.check import check, in_whole_events, refuse_iteration
from pidlab.expressions.kinds import Kind, kind_from_array
from pidlab.expressions.operations import operation_of
from pidlab.expressions.reductions import REDUCTIONS, Value, choose, elementwise
from pidlab.expressions.tree import CHOICE, ITERATION, Apply, Branch, Constant, Entry, Expression, whole_list

_BLOCK = 262_144
"""Rows computed at a time: few enough for intermediate results to stay in the cache, many enough for low overhead."""


def evaluate(expression: Expression, arrays: Mapping[str, Any], n: int) -> NDArray[Any]:
    """Returns (n,) float64, int64 (uint64 for a result that needs it) or bool, the expression in each row.

    A row in which an element does not exist (`hit[0]` of an empty list) gives NaN.

    Args:
        expression: the expression to compute.
        arrays: the branches that it reads, n rows each: numpy (n, ...) or awkward. `Entry$` and `LocalEntry$` are
            found under these names, or else count the rows from 0.
        n: number of rows.

    Raises:
        ExpressionError: the expression does not fit the arrays; see `check`.
    """
    return _rows(expression, arrays, n, _numbers)


def selects(expression: Expression, arrays: Mapping[str, Any], n: int) -> NDArray[np.bool_]:
    """Returns (n,) true if `TTree::Draw` would select the row: the result is not zero (NaN counts as true).

    A row in which an element does not exist is dropped, even if the other side of `||` is true; `Alt$` keeps it.
    Arguments and errors are those of `evaluate`.
    """
    return _rows(expression, arrays, n, _truth)


def _numbers(value: Value, n: int) -> NDArray[Any]:
    """Returns (n,) the value in its widest type, NaN where it does not exist."""
    data = np.asarray(value.data)
    widest = {"b": np.bool_, "i": np.int64, "u": np.uint64 if data.dtype.itemsize == 8 else np.int64}
    data = data.astype(widest.get(data.dtype.kind, np.float64), copy=False)
    data = np.full(n, data) if data.ndim == 0 else data
    return data if value.valid is None else np.where(value.valid, data, np.nan)


def _truth(value: Value, n: int) -> NDArray[np.bool_]:
    """Returns (n,) true if the value exists and is not zero."""
    data = np.asarray(value.data)
    truth: NDArray[np.bool_] = data if data.dtype == np.bool_ else np.not_equal(data, 0)
    truth = np.full(n, truth) if truth.ndim == 0 else truth
    return truth if value.valid is None else truth & value.valid


def _rows(
    expression: Expression, arrays: Mapping[str, Any], n: int, finish: Callable[[Value, int], NDArray[Any]]
) -> NDArray[Any]:
    """Returns (n,) the finished values; flat columns are computed in blocks of `_BLOCK` rows."""
    names = expression.reads & arrays.keys() if expression.branches <= arrays.keys() else arrays.keys()
    expression = _checked(expression, tuple((name, kind_from_array(arrays[name])) for name in sorted(names)))
    columns = {name: arrays[name] for name in expression.reads if name in arrays}
    for step in expression.steps:
        if isinstance(step, Entry):
            refuse_iteration(expression, step, ITERATION in arrays)
            columns[step.name] = arrays[step.name] if step.name in arrays else np.arange(n)
    is_flat = all(isinstance(column, np.ndarray) for column in columns.values())
    if n <= _BLOCK or len(expression.steps) == 1 or not is_flat:
        return finish(_run(expression, columns, n), n)
    parts = []
    for start in range(0, n, _BLOCK):
        size = min(_BLOCK, n - start)
        block = {name: column[start : start + size] for name, column in columns.items()}
        parts.append(finish(_run(expression, block, size), size))
    return np.concatenate(parts)


def _run(expression: Expression, arrays: Mapping[str, Any], n: int) -> Value:
    """Returns the value of the expression on all of the n rows."""

    def leaf(step: Constant | Branch | Entry) -> Value:
        if isinstance(step, Branch):
            whole = arrays.get(whole_list(step.name)) if step.is_whole else None
            return _branch(step, arrays[step.name] if whole is None else whole, n)
        return Value(arrays[step.name] if isinstance(step, Entry) else _constant(step))

    def apply(step: Apply, arguments: list[Value]) -> Value:
        if step.name in REDUCTIONS:
            return REDUCTIONS[step.name].apply(*arguments, n)
        if step.name == CHOICE:
            items, index = arguments
            return choose(items, index, n)
        operation = operation_of(step)
        assert operation is not None
        value = elementwise(operation.numpy, arguments)
        if operation.result == "same" and np.asarray(value.data).dtype == np.bool_:
            value = replace(value, data=np.asarray(value.data).astype(np.int64))  # `check` calls it a whole number
        return value

    with np.errstate(all="ignore"):
        return expression.fold(leaf, apply)


@lru_cache(maxsize=1024)
def _checked(expression: Expression, kinds: tuple[tuple[str, Kind], ...]) -> Expression:
    """Returns the expression for arrays of these kinds, checked; it is remembered from chunk to chunk."""
    check(expression, dict(kinds))
    return in_whole_events(expression, dict(kinds))


def _constant(step: Constant) -> Any:
    """Returns floats and bools as numpy's, which keep their precision with float32; integers and text as Python's."""
    if isinstance(step.value, bool):
        return np.bool_(step.value)
    return step.value if isinstance(step.value, int | str) else np.float64(step.value)


def _branch(step: Branch, array: Any, n: int) -> Value:
    if not isinstance(array, np.ndarray):
        return _awkward(array, step.indices)
    index: Any = (slice(None), *step.indices)
    part = array[index] if step.indices else array
    if part.ndim == 1:
        return Value(part)
    return Value(part.reshape(-1), None, np.full(n, int(np.prod(part.shape[1:])), np.int64))


def _awkward(array: Any, indices: tuple[int, ...]) -> Value:
    """Returns a branch that is an awkward array, or the element of it that the indices name."""
    import awkward as ak

    for depth, index in enumerate(indices):
        lengths = ak.to_numpy(ak.num(array, axis=1))
        exists = lengths > index
        if not exists.all():
            return _sparse(array, exists, indices[depth:])
        array = array[:, index]
    if array.ndim == 1:
        return Value(ak.to_numpy(array))
    counts = ak.num(array, axis=-1)
    while counts.ndim > 1:
        counts = ak.sum(counts, axis=-1)
    return Value(ak.to_numpy(ak.flatten(array, axis=None)), None, ak.to_numpy(counts).astype(np.int64))


def _sparse(array: Any, exists: NDArray[np.bool_], indices: tuple[int, ...]) -> Value:
    """Returns the elements of the rows that have them; the other rows are not valid or have no elements."""
    inner = _awkward(array[exists], indices)
    if inner.counts is not None:
        return Value(inner.data, None, _placed(inner.counts, exists))
    valid = exists if inner.valid is None else _placed(inner.valid, exists)
    return Value(_placed(inner.data, exists), valid)


def _placed(values: NDArray[Any], rows: NDArray[np.bool_]) -> NDArray[Any]:
    """Returns `values` at the true places of `rows`, zero elsewhere."""
    result = np.zeros(len(rows), values.dtype)
    result[rows] = values
    return result
