"""Spellings: characters that look like those of an expression, words of other languages, and what to type for them."""

from __future__ import annotations

import re
import unicodedata

QUOTES = {**dict.fromkeys("“”„‟«»″＂", '"'), **dict.fromkeys("‘’‚‛‹›′´＇", "'")}
"""Quotation marks that word processors and web pages put in the place of the straight ones."""

_SIGNS = {
    **QUOTES,
    **dict.fromkeys("‐‑‒–—―−﹣", "-"),
    **dict.fromkeys("×⋅·∙∗✕", "*"),
    **dict.fromkeys("÷∕⁄", "/"),
    **dict.fromkeys("≤⩽≦", "<="),
    **dict.fromkeys("≥⩾≧", ">="),
    **dict.fromkeys("∣❘", "|"),
    "≠": "!=", "≡": "==", "∧": "&&", "∨": "||", "¬": "!", "∼": "~", "ˆ": "^", "²": "^2", "³": "^3", "√": "sqrt",
    "π": "pi", "\N{ZERO WIDTH SPACE}": "", "\N{ZERO WIDTH NO-BREAK SPACE}": "", "\N{WORD JOINER}": "",
    "\N{SOFT HYPHEN}": "",
}  # fmt: skip

_OPERATORS = {
    "===": "==", "!==": "!=", "=<": "<=", "=>": ">=", "<>": "!=", "=!": "!=", "~=": "!=", ":=": "==", "&&&": "&&",
    "|||": "||",
}  # fmt: skip
_BROKEN = frozenset({"<=", ">=", "!=", "==", "&&", "||"})
"""Operators of two signs, which must not have a space between them."""
_WORDS = {
    "and": "Write '&&' between two conditions.",
    "or": "Write '||' between two conditions.",
    "not": "Write '!' before a condition: !(x > 1).",
    "xor": "Write '!=' between two conditions in brackets.",
    "in": "Write 'x == 1 || x == 2' for one of several values.",
    "is": "Write '==' to compare.",
    "eq": "Write '==' to compare.",
    "if": "Write 'condition ? value : other value'.",
}
_RUN = re.compile(r"[=<>!~:&|](?:[ ]?[=<>!~:&|])*")


def to_type(character: str) -> str | None:
    """Returns what the keyboard has for a character that only looks like it; None for every other character."""
    if character.isascii():
        return None
    if character in _SIGNS:
        return _SIGNS[character]
    if unicodedata.category(character) == "Zs":  # no-break, thin and ideographic spaces
        return " "
    plain = unicodedata.normalize("NFKC", character) if 0xFF01 <= ord(character) <= 0xFF5E else ""  # full width
    return plain or None


def retyped(text: str) -> str:
    """Returns the text with each character that only looks like one of the keyboard replaced by that one."""
    return "".join(c if (typed := to_type(c)) is None else typed for c in text)


def character_name(character: str) -> str:
    """Returns a character with its number and name, such as `'−' (U+2212, minus sign)`."""
    name = unicodedata.name(character, "").lower()
    shown = f"{character!r} (" if character.isprintable() and not character.isspace() else "a character ("
    return f"{shown}U+{ord(character):04X}{f', {name}' if name else ''})"


def how_to_type(character: str) -> str:
    """Returns what to do about a character that only looks like one of the keyboard, as the words of a command."""
    typed = to_type(character)
    if typed == " ":
        return "type a space"
    return f"type {_in_quotes(typed)}" if typed else "delete it"


def _in_quotes(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"


def operator_hint(text: str, position: int) -> str:
    """Returns which operator is meant by the signs around `position`, if they are none; otherwise an empty text."""
    for found in _RUN.finditer(text):
        signs = found[0].replace(" ", "")
        meant = _OPERATORS.get(signs) or (signs if signs != found[0] and signs in _BROKEN else "")
        if meant and found.start() <= position < found.end():
            return f"Write '{meant}' in place of '{found[0]}'."
    return ""


def word_hint(word: str) -> str:
    """Returns how an expression writes a word of Python, SQL or Fortran; otherwise an empty text."""
    return _WORDS.get(word.lower().strip("."), "")
