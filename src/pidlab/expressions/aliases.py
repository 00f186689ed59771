"""Aliases written out: an expression for a program that knows none of the names of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pidlab.expressions.grammar import CUTG
from pidlab.expressions.tokens import Token, tokens


def with_aliases(text: str, aliases: Mapping[str, str], polygon: Callable[[str, list[str]], str] | None = None) -> str:
    """Returns an expression with every alias replaced by its expression in brackets.

    `polygon` returns what stands for `cutg`: it is given the polygon's name and the texts of the axes in the call.
    """
    written, end = "", 0
    listed = tokens(text)
    for i, token in enumerate(listed):
        if token.position < end:
            continue
        if token.kind == "name" and token.text == CUTG and polygon is not None:
            axes, stop = _arguments(text, listed[i + 1 :])
            written += f"{text[end : token.position]}{polygon(listed[i + 2].text, axes)}"
            end = stop
        elif token.kind == "name" and token.text in aliases:
            written += f"{text[end : token.position]}({with_aliases(aliases[token.text], aliases, polygon)})"
            end = token.stop
    return written + text[end:]


def _arguments(text: str, following: Sequence[Token]) -> tuple[list[str], int]:
    """Returns the texts of the arguments behind the first one, and where the bracket that comes first is closed."""
    depth, start, found = 0, 0, []
    for token in following:
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.text, 0) if token.kind == "operator" else 0
        if depth == 0 or (depth == 1 and token.kind == "operator" and token.text == ","):
            found.append(text[start : token.position].strip())
            start = token.stop
        if depth == 0:
            break
    return found[1:], start
