"""Text of C++: numbers that come back bit for bit, tables, and names that are valid."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WIDTH = 112
_KEYWORD_LIST = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class
compl concept const consteval constexpr constinit const_cast continue co_await co_return co_yield decltype
default delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline
int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public register
reinterpret_cast requires return short signed sizeof static static_assert static_cast struct switch template
this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t
while xor xor_eq
"""
_KEYWORDS = frozenset(_KEYWORD_LIST.split())


def identifier(text: str, taken: Iterable[str] = ()) -> str:
    """A valid C++ name like `text`, and none of those `taken`."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", text)
    name = re.sub(r"__+", "_", name).strip("_") or "x"
    name = f"x_{name}" if name[0].isdigit() else name
    name = f"{name}_" if name in _KEYWORDS else name
    taken, numbered, n = set(taken), name, 1
    while numbered in taken:
        n += 1
        numbered = f"{name}_{n}"
    return numbered


def quoted(text: str) -> str:
    """A C++ literal of text."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def comment(text: str) -> str:
    """Text as a line may hold it behind `//`."""
    return " ".join(text.replace("\\", "/").replace("??", "? ?").split())


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
