"""Tokens: text as numbers, names, quoted names and operators; everything else is refused with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pidlab.errors import ExpressionError
from pidlab.expressions.spellings import character_name, how_to_type, operator_hint, retyped, to_type, word_hint

MAX_LENGTH = 10_000
"""The largest number of characters in an expression."""

_PATTERN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+)
  | (?P<number>0[xX][0-9a-fA-F]+ | (?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:(?:::[A-Za-z_]|\.[A-Za-z0-9_])[A-Za-z0-9_]*)*\$?)
  | (?P<quoted>`[^`]*` | "[^"]*" | '[^']*')
  | (?P<operator>\*\*|&&|\|\||==|!=|<=|>=|<<|>>|[-+*/%^<>!&|~?:()\[\],])
    """,
    re.VERBOSE,
)

_ADVICE = {
    ";": "One expression is one cut; join conditions with '&&'.",
    "@": "'@' is not supported; use 'Length$(x)' for the number of elements.",
    "{": "Use round brackets.",
    "}": "Use round brackets.",
}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text; `kind` is number, name, quoted, operator or end, and `text` has no quotes."""

    kind: str
    text: str
    position: int
    length: int

    @property
    def stop(self) -> int:
        """The position after the token."""
        return self.position + self.length


def tokens(text: str) -> list[Token]:
    """Returns the tokens of `text`, followed by one of kind `end`.

    Raises:
        ExpressionError: the text is too long, or a character has no meaning in an expression.
    """
    if len(text) > MAX_LENGTH:
        message = f"the expression has {len(text)} characters, {MAX_LENGTH} are allowed"
        raise ExpressionError(message, text[:200], hint="Give its parts names in data.aliases.")
    found: list[Token] = []
    position = 0
    while position < len(text):
        match = _PATTERN.match(text, position)
        if match is None or match.lastgroup is None:
            raise _unknown_character(text, position)
        if match.lastgroup != "space":
            found.append(_token(match.lastgroup, match[0], position, text))
        position = match.end()
    found.append(Token("end", "", len(text), 1))
    return found


def _token(kind: str, word: str, position: int, text: str) -> Token:
    stop = position + len(word)
    if kind == "number" and re.match(r"[A-Za-z0-9_.$]", text[stop : stop + 1]):
        raise ExpressionError(
            f"{text[position : stop + 1]!r} is not a number",
            text,
            position,
            len(word) + 1,
            "Numbers are written 12, 0.5, 1e-3 or 0x1F, without a suffix; put odd branch names in backquotes.",
        )
    name = word[1:-1] if kind == "quoted" else word
    if kind == "quoted" and (not name.strip() or not name.isprintable()):
        message = "a quoted name holds nothing printable"
        raise ExpressionError(message, text, position, len(word), "Quote a branch name.")
    return Token(kind, name, position, len(word))


def _unknown_character(text: str, position: int) -> ExpressionError:
    character = text[position]
    if to_type(character) is not None:
        advice = how_to_type(character)
        message = f"{character_name(character)} at column {position + 1} has no meaning in an expression"
        return ExpressionError(message, text, position, 1, f"{advice[:1].upper()}{advice[1:]}: {retyped(text).strip()}")
    if character in "\"'`":
        message = f"the quote {character!r} at column {position + 1} is not closed"
        return ExpressionError(message, text, position, 1, "The quote is not closed: write it again behind the name.")
    if character == "=":
        compare = f"Write '==' to compare: {text[:position].strip()} == {text[position + 1 :].strip()}"
        advice = operator_hint(text, position) or compare
    elif fortran := re.match(r"\.([A-Za-z]+)\.", text[position:]):
        advice = word_hint(fortran[1])
    else:
        advice = _ADVICE.get(character, "Put a branch name that holds such a character in backquotes.")
    shown = repr(character) if character.isascii() and character.isprintable() else character_name(character)
    return ExpressionError(f"{shown} has no meaning in an expression", text, position, 1, advice)
