"""Literals: text from files where it enters C++, Python and YAML, one function for each place it can stand in.

Names of trees and branches, paths and classes may hold anything, quotes, backslashes, line ends and bytes that are no
text among it. HTML is escaped by the report's templates, SVG and JSON by the libraries that write them.
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
_IN_CPP = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_IN_YAML = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def cpp_string(text: str) -> str:
    """A literal of C++ that is this text, byte by byte as files have it."""
    return '"' + re.sub(r"(?<=\?)\?", r"\?", "".join(map(_cpp_character, text))) + '"'


def _cpp_character(character: str) -> str:
    if character in _IN_CPP:
        return _IN_CPP[character]
    if _is_shown(character):
        return character
    # Three octal digits end there, whatever follows; hexadecimal ones would go on.
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))


def _is_shown(character: str) -> bool:
    """Whether a character is seen where it stands: no control, no change of direction, no half of a pair."""
    return character == " " or not unicodedata.category(character).startswith(("C", "Z"))


def cpp_comment(text: str) -> str:
    """Text as a line may hold it behind `//`, and between `/*` and `*/`."""
    shown = _one_line(text).replace("\\", "/")
    return re.sub(r"\?(?=\?)", "? ", shown).replace("*/", "* /").replace("/*", "/ *")


def _one_line(text: str) -> str:
    """Text on one line, with a sign in place of what is not seen."""
    return " ".join("".join(c if _is_shown(c) or c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text).split())


@cache
def _macros() -> frozenset[str]:
    """Names that the standard headers of C and C++, POSIX and ROOT define as macros."""
    return frozenset(files("pidlab.expressions").joinpath("cpp_macros.txt").read_text(encoding="ascii").split())


def cpp_identifier(text: str, taken: Iterable[str] = ()) -> str:
    """A valid name of C++ like `text`: no keyword, no macro of a usual header, and none of those `taken`."""
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
    """A literal of Python that is this text; bytes that are no text stay what they are to `open`."""
    return ascii(text) if any(not _is_shown(c) for c in text) else repr(text)


def yaml_string(text: str) -> str:
    """A double-quoted scalar of YAML that is this text."""
    return '"' + "".join(map(_yaml_character, text)) + '"'


def _yaml_character(character: str) -> str:
    if character in _IN_YAML:
        return _IN_YAML[character]
    if _is_shown(character):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def yaml_comment(text: str) -> str:
    """Text as a line may hold it behind `#`."""
    return _one_line(text)
