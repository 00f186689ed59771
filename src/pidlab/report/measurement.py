"""What the page of a measurement of efficiencies from data shows: tables, figures, and every fit a click away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Cell(NamedTuple):
    """A cell of a table: its text, and the name of a fit to which it leads; empty for none."""

    text: str
    fit: str = ""
    warn: bool = False


class PointTable(NamedTuple):
    """A working point.

    Attributes:
        title: the title of the working point.
        figure: its figure as SVG.
        columns: the names of the columns of its table.
        rows: a row for each bin.
        fits: the name, the title, and the PNG of the figure of each fit, in the order of the bins.
    """

    title: str
    figure: bytes
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    fits: Sequence[tuple[str, str, bytes]]
