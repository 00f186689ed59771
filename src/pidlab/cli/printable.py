"""Text from files as a terminal may show it: nothing in it moves the cursor, changes colours or hides letters."""

from __future__ import annotations

import unicodedata

_KEPT = "\n\t\N{ZERO WIDTH JOINER}"
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format (such as right-to-left), lone surrogates, line separators


def printable(text: str) -> str:
    r"""The text with characters that are no letters as their codes: `\x1b[2J` for what would clear the screen.

    Line feeds, tabs and the joiners inside emoji stay; a byte of a file name that is no UTF-8 is shown as `\xff`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_code(c) if c not in _KEPT and unicodedata.category(c) in _UNSEEN else c for c in text)


def _code(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # how Python holds a byte that is no UTF-8
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
