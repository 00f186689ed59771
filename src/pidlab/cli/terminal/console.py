"""The console that everything is printed on; it shows no passwords and obeys nothing in a text from a file."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pidlab.cli.printable import printable
from pidlab.credentials import without_secrets
from pidlab.process import encodable


class PlainConsole(Console):
    """A console without markup, names of emoji and escape sequences, which removes passwords from addresses."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Makes a string printable; rich calls this for every string, in a table or alone."""
        return super().render_str(encodable(printable(without_secrets(text)), self.encoding), **options)


def table_with(*columns: str, left: Collection[str] = (), **options: Any) -> Table:
    """Returns a table without rows; the columns in `left` are aligned left, and the others, of numbers, right."""
    table = Table(**options)
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", overflow="fold")
    return table
