"""The console that everything is printed on: text is shown as it is, and neither obeyed nor with a password in it."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from pidlab.cli.printable import printable
from pidlab.credentials import without_secrets


class PlainConsole(Console):
    """A console for text from files: no markup, no names of emoji, no escape sequences, no secrets of addresses."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Every string that is printed, in a table or alone, passes here."""
        return super().render_str(printable(without_secrets(text)), **options)
