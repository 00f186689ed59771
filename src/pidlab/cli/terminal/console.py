"""The console that everything is printed on; it shows no passwords and obeys nothing in a text from a file."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pidlab.cli.printable import discard, printable
from pidlab.credentials import without_secrets
from pidlab.process import encodable


class PlainConsole(Console):
    """A console without markup, names of emoji and escape sequences, which removes passwords from addresses.

    A stream that cannot be written stops no work: `failure` is the reason, unless its reader has just gone away.
    """

    failure: OSError | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Makes a string printable; rich calls this for every string, in a table or alone."""
        return super().render_str(encodable(printable(without_secrets(text)), self.encoding), **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Prints as rich does; nothing more after a failure."""
        try:
            super().print(*objects, **options)
        except OSError as error:
            self.failure = error
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Lets the command go on without output; rich would end it, and a run would be lost because of `| head`."""
        self.quiet = True
        discard(self.file)


def table_with(*columns: str, left: Collection[str] = (), **options: Any) -> Table:
    """Returns a table without rows; the columns in `left` are aligned left, and the others, of numbers, right."""
    table = Table(**options)
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", overflow="fold")
    return table
