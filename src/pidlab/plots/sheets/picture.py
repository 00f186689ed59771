"""A drawn figure, as the report takes it."""

from __future__ import annotations

from typing import NamedTuple

from pidlab.plots.sheets.table import FigureTable


class Picture(NamedTuple):
    """A figure as the report takes it.

    Attributes:
        name: the stem of its file.
        title, alt, section, objects: as in its `Sheet`.
        svg: the drawing.
        table: its numbers; None for figures without a table.
    """

    name: str
    title: str
    alt: str
    svg: str
    table: FigureTable | None = None
    section: str = "more"
    objects: tuple[str, ...] = ()
