"""Literals: text from files as it is written into C++, Python and YAML, with one function for each place.

Names of trees, branches, paths and classes may hold anything, including quotes, backslashes, line ends and bytes that
are no text. HTML is escaped by the templates of the report, SVG and JSON by the libraries that write them.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

_KEYWORD_LIST = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class compl
concept const consteval constexpr constinit const_cast continue co_await co_return co_yield decltype default delete
do double dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable
namespace new noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast
requires return short signed sizeof static static_assert static_cast struct switch template this thread_local throw
true try typedef typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq
"""
_KEYWORDS = frozenset(_KEYWORD_LIST.split())
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def cpp_string(text: str) -> str:
    """Returns a C++ literal of the text, with the same bytes as in files."""
    return '"' + re.sub(r"(?<=\?)\?", r"\?", "".join(map(_cpp_character, text))) + '"'


def _cpp_character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if _is_printed(character):
        return character
    # An octal escape ends after three digits; a hexadecimal one would include digits that follow.
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))


def _is_printed(character: str) -> bool:
    """True for a character that is printed as itself: no control, no change of direction, no surrogate."""
    return character == " " or not unicodedata.category(character).startswith(("C", "Z"))


def cpp_comment(text: str) -> str:
    """Returns text that can follow `//` on a line, or stand between `/*` and `*/`."""
    shown = _one_line(text).replace("\\", "/")
    return re.sub(r"\?(?=\?)", "? ", shown).replace("*/", "* /").replace("/*", "/ *")


def _one_line(text: str) -> str:
    """Returns text on one line, with a replacement character for what is not printed."""
    return " ".join("".join(c if _is_printed(c) or c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text).split())


@cache
def _macros() -> frozenset[str]:
    """Returns names that the standard headers of C and C++, POSIX and ROOT define as macros."""
    return frozenset(files("pidlab.expressions").joinpath("cpp_macros.txt").read_text(encoding="ascii").split())


def cpp_identifier(text: str, taken: Iterable[str] = ()) -> str:
    """Returns a C++ identifier similar to `text` that is no keyword, no macro of a usual header, and not `taken`."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", text)
    name = re.sub(r"__+", "_", name).strip("_") or "x"
    name = f"x_{name}" if name[0].isdigit() else name
    name = f"{name}_" if name in _KEYWORDS or name in _macros() else name
    taken, numbered, n = set(taken), name, 1
    while numbered in taken:
        n += 1
        numbered = f"{name}_{n}"
    return numbered


def python_string(text: str) -> str:
    """Returns a Python literal of the text; `open` finds the same file even if its name is no text."""
    return ascii(text) if any(not _is_printed(c) for c in text) else repr(text)


def yaml_string(text: str) -> str:
    """Returns a double-quoted YAML scalar of the text."""
    return '"' + "".join(map(_yaml_character, text)) + '"'


def _yaml_character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if _is_printed(character):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def yaml_comment(text: str) -> str:
    """Returns text that can follow `#` on a line."""
    return _one_line(text)
