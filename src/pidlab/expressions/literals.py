"""Writes text from files as literals, comments and names of C++, Python and YAML.

Names of trees and branches, paths and classes may hold anything: quotes, backslashes, line ends and bytes that are not
valid text. The templates of the report escape HTML; the libraries that write SVG and JSON escape those.
"""

from __future__ import annotations

import itertools
import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from functools import cache
from importlib.resources import files

from pidlab.expressions.operations import CONSTANTS

_KEYWORD_LIST = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class compl
concept const consteval constexpr constinit const_cast continue co_await co_return co_yield decltype default delete
do double dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable
namespace new noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast
requires return short signed sizeof static static_assert static_cast struct switch template this thread_local throw
true try typedef typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq
"""
_KEYWORDS = frozenset(_KEYWORD_LIST.split())
# The escapes that C++ and double-quoted YAML have in common.
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def cpp_string(text: str) -> str:
    """Returns a C++ string literal with the bytes that `text` has in a file name."""
    return '"' + re.sub(r"(?<=\?)\?", r"\?", "".join(_escaped(c, _octal) for c in text)) + '"'


def _octal(character: str) -> str:
    # Three octal digits always end the escape; a hexadecimal escape would take the digits that follow it.
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))


def _escaped(character: str, code: Callable[[str], str]) -> str:
    """Returns the character, its common escape, or what `code` makes of it if it is invisible."""
    return _ESCAPES.get(character) or (character if _is_visible(character) else code(character))


def _is_visible(character: str) -> bool:
    """Returns whether a character prints: controls, changes of text direction and lone surrogates do not."""
    return character == " " or not unicodedata.category(character).startswith(("C", "Z"))


def cpp_comment(text: str) -> str:
    """Returns text that can stand in a C++ comment, behind `//` or between `/*` and `*/`."""
    shown = yaml_comment(text).replace("\\", "/")
    return re.sub(r"\?(?=\?)", "? ", shown).replace("*/", "* /").replace("/*", "/ *")


def yaml_comment(text: str) -> str:
    """Returns text on one line, as it can stand behind `#`; a replacement character stands for what does not print."""
    return " ".join("".join(c if _is_visible(c) or c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text).split())


@cache
def _macros() -> frozenset[str]:
    """Returns the macros that the standard headers of C and C++, POSIX and ROOT define."""
    return frozenset(files("pidlab.expressions").joinpath("cpp_macros.txt").read_text(encoding="ascii").split())


def cpp_identifier(text: str, taken: Iterable[str] = ()) -> str:
    """Returns a C++ identifier like `text` that is no keyword, no macro of a common header, and not in `taken`."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", text)
    name = re.sub(r"__+", "_", name).strip("_") or "x"
    name = f"x_{name}" if name[0].isdigit() else name
    return numbered(f"{name}_" if name in _KEYWORDS or name in _macros() else name, set(taken))


def numbered(name: str, taken: Collection[str]) -> str:
    """Returns a name that is not in `taken`: the name itself, or with the least number behind it, from 2."""
    further = (f"{name}_{number}" for number in itertools.count(2))
    return next(each for each in itertools.chain([name], further) if each not in taken)


_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*(?:::[A-Za-z_][A-Za-z0-9_.]*)*")


def branch_expression(name: str) -> str:
    """Returns a branch's name as an expression, in backquotes if it would be read as something else."""
    is_word = name in CONSTANTS or name in ("and", "or", "not")
    return name if _PLAIN_NAME.fullmatch(name) and not is_word else f"`{name}`"


def can_be_named(name: str) -> bool:
    """Returns True for a branch that an expression can name: quoted names are printable and hold no backquote."""
    return "`" not in name and name.isprintable() and bool(name.strip())


def python_string(text: str) -> str:
    """Returns a Python string literal; bytes that are not valid text keep the form that `open` understands."""
    return ascii(text) if any(not _is_visible(c) for c in text) else repr(text)


def yaml_string(text: str) -> str:
    """Returns a double-quoted scalar of YAML."""
    return '"' + "".join(_escaped(c, _hexadecimal) for c in text) + '"'


def _hexadecimal(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
