"""C++: an expression as C++17 text with the same meaning for one row, which needs <cmath>, <limits> and <string>."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pidlab.errors import ExpressionError
from pidlab.expressions.literals import cpp_string
from pidlab.expressions.operations import operation_of
from pidlab.expressions.polygons import TableName
from pidlab.expressions.tree import CHOICE, Apply, Branch, Constant, Entry, Expression, Inside


@dataclass(frozen=True, slots=True)
class _Text:
    """A C++ expression in pieces; its `type` is double, bool, text, bits (unsigned long long), or any (a variable)."""

    pieces: tuple[str | _Text, ...]
    type: str


_RESULTS = {"bool": "bool", "unsigned": "bits"}


def to_cpp(expression: Expression, variable: Callable[[str], str], table: TableName | None = None) -> str:
    """Returns C++ for the value in one row: a double, a bool, or an unsigned 64-bit integer of bits.

    Integers are compared as doubles, so that the result can differ from `evaluate` beyond 2^53.

    Args:
        expression: an expression without reductions, `Alt$` and `Entry$`.
        variable: returns the C++ name of a branch; an element of an array becomes `name[i]`.
        table: returns the C++ name of the corners of a polygon, `const double[n][2]`, which the function
            `detail::inside` takes; None if there is no place for tables.

    Raises:
        ExpressionError: a part has no meaning for a single row.
    """
    text = expression.text
    result = expression.fold(partial(_leaf, text, variable), partial(_applied, text, table))
    return _written(_double(result) if result.type == "any" else result)


def _leaf(text: str, variable: Callable[[str], str], step: Constant | Branch | Entry) -> _Text:
    if isinstance(step, Branch):
        return _Text((variable(step.name), *(f"[{i}]" for i in step.indices)), "any")
    if isinstance(step, Constant):
        return _constant(step.value)
    raise ExpressionError(f"{step.name!r} has no meaning in C++ for one row", text, step.position, step.length)


def _constant(value: float | int | bool | str) -> _Text:
    if isinstance(value, str):
        return _Text((cpp_string(value),), "text")
    if isinstance(value, bool):
        return _Text((str(value).lower(),), "bool")
    if isinstance(value, int):
        return _Text((f"{value}ull",), "any")
    if math.isnan(value):
        return _Text(("std::numeric_limits<double>::quiet_NaN()",), "double")
    if math.isinf(value):
        return _Text(("std::numeric_limits<double>::infinity()",), "double")
    return _Text((repr(value),), "double")


def _applied(text: str, table: TableName | None, step: Apply, arguments: list[_Text]) -> _Text:
    operation = operation_of(step)
    if operation is None or (isinstance(step, Inside) and table is None):
        hint = "Compute it as a feature of its own when the file is read."
        what = "an index that is no constant" if step.name == CHOICE else step.name
        raise ExpressionError(f"{what} has no C++ for one row", text, step.position, step.length, hint)
    if any(a.type == "text" for a in arguments):
        return _Text(("(std::string(", arguments[0], f") {step.name} std::string(", arguments[1], "))"), "bool")
    written: list[str | _Text] = [_AS[letter](a) for letter, a in zip(operation.takes, arguments, strict=True)]
    if isinstance(step, Inside) and table is not None:
        written.append(table(step.polygon))
    between = re.split(r"\{([0-2])\}", operation.cpp)
    pieces = tuple(written[int(piece)] if k % 2 else piece for k, piece in enumerate(between))
    return _Text(pieces, _RESULTS.get(operation.result, "double"))


def _written(value: _Text) -> str:
    """Returns the pieces joined, in one pass without recursion, so that long expressions take linear time."""
    found: list[str] = []
    waiting: list[str | _Text] = [value]
    while waiting:
        piece = waiting.pop()
        if isinstance(piece, str):
            found.append(piece)
        else:
            waiting.extend(reversed(piece.pieces))
    return "".join(found)


def _double(value: _Text) -> _Text:
    return value if value.type == "double" else _Text(("double(", value, ")"), "double")


def _bits(value: _Text) -> _Text:
    """Returns the 64 bits; doubles are first converted to a signed integer, which is defined for negative ones."""
    if value.type == "bits":
        return value
    through = "(unsigned long long)(long long)(" if value.type == "double" else "(unsigned long long)("
    return _Text((through, value, ")"), "bits")


def _truth(value: _Text) -> _Text:
    return value if value.type == "bool" else _Text(("(", value, " != 0)"), "bool")


_AS: dict[str, Callable[[_Text], _Text]] = {"d": _double, "u": _bits, "b": _truth}
