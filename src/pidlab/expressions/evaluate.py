"""The expression on arrays: a stack machine over the steps, on numpy columns and flattened lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.expressions.check import check
from pidlab.expressions.kinds import Kind, kind_from_array
from pidlab.expressions.operations import OPERATIONS
from pidlab.expressions.reductions import REDUCTIONS, Value, elementwise
from pidlab.expressions.tree import Apply, Branch, Constant, Entry, Expression

_BLOCK = 262_144
"""Rows at a time: few enough for intermediate results to stay in the cache, many enough to hide the overhead."""


def evaluate(expression: Expression, arrays: Mapping[str, Any], n: int, first_entry: int = 0) -> NDArray[Any]:
    """(n,) float64, int64 (uint64 for a result that needs it) or bool: the expression in each row.

    A row in which an element does not exist (`hit[0]` of an empty list) gives NaN.

    Args:
        expression: what to compute.
        arrays: the branches it reads, n rows each: numpy (n, ...) or awkward.
        n: number of rows.
        first_entry: the number of the first row, for `Entry$` and `LocalEntry$`; not used where `arrays` has the
            numbers under these names.

    Raises:
        ExpressionError: the expression does not fit the arrays; see `check`.
    """
    return _rows(expression, arrays, n, first_entry, _numbers)


def selects(expression: Expression, arrays: Mapping[str, Any], n: int, first_entry: int = 0) -> NDArray[np.bool_]:
    """(n,) true where `TTree::Draw` would take the row: the result is not zero (NaN counts as true).

    A row in which an element does not exist is dropped, even where the other side of `||` is true; `Alt$` keeps it.
    Arguments and errors are those of `evaluate`.
    """
    return _rows(expression, arrays, n, first_entry, _truth)


def _numbers(value: Value, n: int) -> NDArray[Any]:
    """(n,) the value in its widest type, NaN where it does not exist."""
    data = np.asarray(value.data)
    widest = {"b": np.bool_, "i": np.int64, "u": np.uint64 if data.dtype.itemsize == 8 else np.int64}
    data = data.astype(widest.get(data.dtype.kind, np.float64), copy=False)
    data = np.full(n, data) if data.ndim == 0 else data
    return data if value.valid is None else np.where(value.valid, data, np.nan)


def _truth(value: Value, n: int) -> NDArray[np.bool_]:
    """(n,) true where the value exists and is not zero."""
    data = np.asarray(value.data)
    truth: NDArray[np.bool_] = data if data.dtype == np.bool_ else np.not_equal(data, 0)
    truth = np.full(n, truth) if truth.ndim == 0 else truth
    return truth if value.valid is None else truth & value.valid


def _rows(
    expression: Expression, arrays: Mapping[str, Any], n: int, first_entry: int, finish: Callable[..., NDArray[Any]]
) -> NDArray[Any]:
    """(n,) the finished values; flat columns are walked in blocks, which keeps intermediate results in the cache."""
    _fit(expression, arrays)
    numbered = {step.name for step in expression.steps if isinstance(step, Entry)} & arrays.keys()
    columns = {name: arrays[name] for name in expression.branches | numbered}
    flat = all(isinstance(column, np.ndarray) for column in columns.values())
    if n <= _BLOCK or len(expression.steps) == 1 or not flat:
        return finish(_run(expression, columns, n, first_entry), n)
    parts = []
    for start in range(0, n, _BLOCK):
        size = min(_BLOCK, n - start)
        block = {name: column[start : start + size] for name, column in columns.items()}
        parts.append(finish(_run(expression, block, size, first_entry + start), size))
    return np.concatenate(parts)


def _run(expression: Expression, arrays: Mapping[str, Any], n: int, first_entry: int) -> Value:
    """The final value of the steps."""
    stack: list[Value] = []
    with np.errstate(all="ignore"):
        for step in expression.steps:
            if isinstance(step, Apply):
                arguments = stack[len(stack) - step.arity :]
                del stack[len(stack) - step.arity :]
                stack.append(_apply(step.name, arguments, n))
            elif isinstance(step, Branch):
                stack.append(_branch(step, arrays[step.name], n))
            elif isinstance(step, Entry):
                numbers = arrays.get(step.name)
                stack.append(Value(np.arange(first_entry, first_entry + n) if numbers is None else numbers))
            else:
                stack.append(Value(_constant(step)))
    return stack[-1]


def _fit(expression: Expression, arrays: Mapping[str, Any]) -> None:
    """Check against what the arrays hold; the answer is remembered from chunk to chunk."""
    names = expression.branches if expression.branches <= arrays.keys() else arrays.keys()
    _remembered_check(expression, tuple((name, kind_from_array(arrays[name])) for name in sorted(names)))


@lru_cache(maxsize=1024)
def _remembered_check(expression: Expression, kinds: tuple[tuple[str, Kind], ...]) -> None:
    check(expression, dict(kinds))


def _apply(name: str, arguments: list[Value], n: int) -> Value:
    if name in REDUCTIONS:
        return REDUCTIONS[name].apply(*arguments, n)
    return elementwise(OPERATIONS[name].numpy, arguments)


def _constant(step: Constant) -> Any:
    """Floats and truth values as numpy's, which keep their precision beside float32; integers and text as Python's."""
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
    """A branch that came as an awkward array, or the element of it that the indices name."""
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
    """The elements of the rows that have them, in their places; the other rows are not valid or have none."""
    inner = _awkward(array[exists], indices)
    if inner.counts is not None:
        return Value(inner.data, None, _placed(inner.counts, exists))
    valid = exists if inner.valid is None else _placed(inner.valid, exists)
    return Value(_placed(inner.data, exists), valid)


def _placed(values: NDArray[Any], rows: NDArray[np.bool_]) -> NDArray[Any]:
    """`values` at the true places of `rows`, zero elsewhere."""
    result = np.zeros(len(rows), values.dtype)
    result[rows] = values
    return result
