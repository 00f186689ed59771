"""Writes numbers as C++ literals that keep every bit, and tables of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WIDTH = 112  # characters of a line behind its indent


def number(value: Any) -> str:
    """Returns the shortest literal of a float32 or float64."""
    single = isinstance(value, np.float32)
    kind = "float" if single else "double"
    if np.isnan(value):
        return f"std::numeric_limits<{kind}>::quiet_NaN()"
    if np.isinf(value):
        return f"{'-' if value < 0 else ''}std::numeric_limits<{kind}>::infinity()"
    return f"{value!s}f" if single else repr(float(value))


def table(name: str, values: NDArray[Any]) -> str:
    """Returns the definition of a constant array of float32, float64 or integers, of any shape."""
    kind = {"f4": "float", "f8": "double", "u4": "std::uint32_t", "u1": "unsigned char"}[values.dtype.str[1:]]
    shape = "".join(f"[{n}]" for n in values.shape)
    return f"inline const {kind} {name}{shape} = {_braced(values)};\n"


def records(kind: str, name: str, rows: Iterable[str]) -> str:
    """Returns the definition of a constant array of structures."""
    return f"inline const {kind} {name}[] = {{\n{_wrapped(rows)}}};\n"


def _wrapped(items: Iterable[str]) -> str:
    """Returns the items in indented lines, with commas between them."""
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
    return "{" + ", ".join(items) + "}" if len(items) < 12 else "{\n" + _wrapped(items) + "}"
