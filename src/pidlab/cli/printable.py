"""Text from files, made safe for a terminal: it cannot move the cursor, change colours or hide letters."""

from __future__ import annotations

import os
import sys
import unicodedata
from typing import IO

from pidlab.errors import OutputError

_KEPT = "\n\t\N{ZERO WIDTH JOINER}"
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format (such as right-to-left), lone surrogates, line separators


def printable(text: str) -> str:
    r"""Returns the text with control and format characters as their codes; `\x1b[2J` would clear the screen.

    Line feeds, tabs and the joiners inside emoji stay. A byte of a file name that is not UTF-8 becomes `\xff`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_code(c) if c not in _KEPT and unicodedata.category(c) in _INVISIBLE else c for c in text)


def echo(text: str, error: bool = False) -> None:
    """Writes a text on a line of its own to stdout, or to stderr.

    `click.echo` would write UTF-8 to a stream that was told to take ASCII only.

    Raises:
        OutputError: stdout cannot be written, and its reader has not just gone away.
    """
    stream = sys.stderr if error else sys.stdout
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except OSError as failure:
        discard(stream)
        if not error and not isinstance(failure, BrokenPipeError):
            raise not_shown(failure) from failure


def not_shown(error: OSError) -> OutputError:
    """Returns the error of a standard output that cannot be written, such as a log on a full disk."""
    return OutputError(
        f"standard output cannot be written ({error.strerror or error}): what it was to show is lost; everything else "
        "was done"
    )


def discard(stream: IO[str]) -> None:
    """Discards all further output to a stream that cannot be written, so that the work goes on.

    Its reader has gone away, as `head` does, or it is a file on a full disk.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def _code(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # how Python represents a byte that is not UTF-8
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
