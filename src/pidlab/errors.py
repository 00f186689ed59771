"""Errors: the exceptions of pidlab, whose messages say what happened, where, and what to do.

```
PidlabError                     exit code 1
├── UsageError                  exit code 2: the command or the configuration is wrong
│   ├── ConfigError             every mistake of a configuration file at once
│   └── ExpressionError         a cut or feature expression, with the place under a caret
├── DataError                   the input: a file, tree, branch, or what is in it
├── ModelError                  a model that cannot be trained, saved or loaded
└── OutputError                 a result that cannot be written
```
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from pidlab.credentials import without_secrets


class PidlabError(Exception):
    """Base of all errors that pidlab raises intentionally."""

    exit_code = 1

    def __str__(self) -> str:
        """Returns the message without the passwords of addresses in it."""
        return without_secrets(super().__str__())


class UsageError(PidlabError):
    """The command line or the configuration asks for something impossible."""

    exit_code = 2


class DataError(PidlabError):
    """An input cannot be read, or what it holds cannot be used."""


class ModelError(PidlabError):
    """A model cannot be trained, saved or loaded."""


class OutputError(PidlabError):
    """A result cannot be written."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in a configuration: `place` is `file.yaml:line:column`, `key` the dotted path."""

    place: str
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.key}: {self.message}" if self.key else f"{self.place}: {self.message}"


def in_order(mistakes: Iterable[Mistake]) -> list[Mistake]:
    """Returns each of the mistakes once, in the order of the file; those of `--set`, which have no line, follow."""

    def position(mistake: Mistake) -> tuple[int, ...]:
        numbers = mistake.place.split(":")[-2:]
        return tuple(map(int, numbers)) if all(map(str.isdecimal, numbers)) else (sys.maxsize,)

    return sorted(dict.fromkeys(mistakes), key=position)


class ConfigError(UsageError):
    """All the mistakes of one configuration."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


class ExpressionError(UsageError):
    """An expression that is refused; `position` and `length` mark the place in `text`."""

    def __init__(self, message: str, text: str, position: int = 0, length: int = 1, hint: str = "") -> None:
        self.message, self.text, self.position, self.length, self.hint = message, text, position, length, hint
        super().__init__(self._picture())

    def _picture(self) -> str:
        start = max(0, self.position - 60)
        window = self.text[start : start + 120].replace("\n", " ")
        caret = " " * (self.position - start) + "^" * max(1, min(self.length, 120 - (self.position - start)))
        fix = f"\n{self.hint}" if self.hint else ""
        return f"{self.message}\n    {window}\n    {caret}{fix}"


def nearest(name: str, known: Iterable[str], n: int = 3) -> str:
    """Returns a clause with the most similar known names, else with the first known ones; empty if none is known."""
    known = sorted(set(known))
    close = difflib.get_close_matches(name, known, n=n, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(c) for c in close) + "?"
    if known:
        shown = ", ".join(known[:12]) + (f", … ({len(known)} in all)" if len(known) > 12 else "")
        return f"known: {shown}"
    return ""
