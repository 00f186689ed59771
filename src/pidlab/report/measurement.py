"""The page of a measurement of efficiencies from data: tables, figures, and every fit a click away, in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pidlab.report.offline import render_offline


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


def render_measurement(
    *,
    title: str,
    sentences: Sequence[str],
    failures: Sequence[str],
    points: Sequence[PointTable],
    settings: Mapping[str, object],
) -> str:
    """Returns the page as HTML, the same for the same input; it needs neither scripts nor other files.

    Args:
        title: the heading.
        sentences: what a reader must know.
        failures: a sentence for each measurement that failed.
        points: the working points.
        settings: how it was measured.
    """
    return render_offline(
        "measurement.html.jinja",
        title=title,
        sentences=sentences,
        failures=failures,
        points=points,
        settings=settings,
        made="measured",
    )
