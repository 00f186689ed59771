"""Text from files, made safe for a terminal: it cannot move the cursor, change colours or hide letters."""

from __future__ import annotations

import re
import unicodedata

_KEPT = "\n\t\N{ZERO WIDTH JOINER}"
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format (such as right-to-left), lone surrogates, line separators


def printable(text: str) -> str:
    r"""The text with control and format characters as their codes, such as `\x1b[2J`, which would clear the screen.

    Line feeds, tabs and the joiners inside emoji stay. A byte of a file name that is not UTF-8 becomes `\xff`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_code(c) if c not in _KEPT and unicodedata.category(c) in _INVISIBLE else c for c in text)


_ASCII = {
    "±": "+-", "−": "-", "–": "-", "—": "-", "×": "x", "·": "*", "•": "*", "→": "->", "…": "...", "∞": "inf",
    "Δ": "Delta ", "√": "sqrt ", "≥": ">=", "≤": "<=", "≈": "~", "‘": "'", "’": "'", "“": '"', "”": '"',
}  # fmt: skip
_POWER = re.compile("[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_DIGITS = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "+-0123456789")


def encodable(text: str, encoding: str) -> str:
    r"""The text in characters that an encoding has: signs in ASCII, such as +- for ±, and others as their codes.

    An output that cannot show a character (`PYTHONIOENCODING=ascii`, a terminal of the locale C) is no reason to stop.
    """
    if text.isascii():
        return text
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        powers = _POWER.sub(lambda found: f"^{found[0].translate(_DIGITS)}", text)
        signs = "".join(_ASCII.get(character, character) for character in powers)
        return signs.encode(encoding, "backslashreplace").decode(encoding)
    return text


def _code(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # how Python represents a byte that is not UTF-8
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
