"""Numbers in C++: literals that come back bit for bit, and tables of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.expressions.literals import cpp_identifier as identifier

__all__ = ["identifier", "number", "records", "table", "wrapped"]

_WIDTH = 112


def number(value: Any) -> str:
    """A float32 or double as the shortest literal that is this number."""
    single = isinstance(value, np.float32)
    kind = "float" if single else "double"
    if np.isnan(value):
        return f"std::numeric_limits<{kind}>::quiet_NaN()"
    if np.isinf(value):
        return f"{'-' if value < 0 else ''}std::numeric_limits<{kind}>::infinity()"
    return f"{value!s}f" if single else repr(float(value))


def table(name: str, values: NDArray[Any]) -> str:
    """A constant array of float32, float64 or integers, of any shape."""
    kind = {"f4": "float", "f8": "double", "u4": "std::uint32_t", "u1": "unsigned char"}[values.dtype.str[1:]]
    shape = "".join(f"[{n}]" for n in values.shape)
    return f"inline const {kind} {name}{shape} = {_braced(values)};\n"


def records(kind: str, name: str, rows: Iterable[str]) -> str:
    """A constant array of structures."""
    return f"inline const {kind} {name}[] = {{\n{wrapped(rows)}}};\n"


def wrapped(items: Iterable[str]) -> str:
    """The items with commas between, in lines."""
    lines, line = [], ""
    for item in items:
        if len(line) + len(item) > _WIDTH:
            lines.append(line.rstrip())
            line = ""
        line += f"{item}, "
    return "".join(f"   {each}\n" for each in [*lines, line.rstrip()])


def _braced(values: NDArray[Any]) -> str:
    if values.ndim > 1:
        return "{" + ",\n".join(_braced(part) for part in values) + "}"
    items = [number(v) for v in values] if values.dtype.kind == "f" else [str(v) for v in values]
    return "{" + ", ".join(items) + "}" if len(items) < 12 else "{\n" + wrapped(items) + "}"
