"""One figure that can be made, and how its panels are laid out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pidlab.plots.sheets.tables import Numbers
from pidlab.plots.style import Draw, new_figure


class Sheet(NamedTuple):
    """A figure that can be made: `draw` makes it, within `style.context`, and `numbers` what it shows as a table."""

    name: str
    title: str
    alt: str
    draw: Draw
    numbers: Numbers | None = None


def grid(
    n: int,
    n_columns: int,
    width: float,
    height: float,
    *,
    gap: float = 0.8,
    aside: float = 0.8,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Figure, list[Axes]]:
    """A figure of n panels in rows of `n_columns`, each `width` x `height` inches.

    Of these, `gap` are between rows and, where y is not shared, `aside` between columns.
    """
    n_columns = max(1, min(n, n_columns))
    n_rows = -(-n // n_columns)
    figure = new_figure(width * n_columns, height * n_rows)
    spaces = {"wspace": 0.12 if sharey else aside / (width - aside), "hspace": gap / (height - gap)}
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=sharex, sharey=sharey, gridspec_kw=spaces)
    for empty in axes.flat[n:]:
        empty.remove()
    return figure, list(axes.flat[:n])


def label_left(axes: Sequence[Axes], n_columns: int) -> None:
    """Leave the label of the y axis to the first panel of each row."""
    for i, ax in enumerate(axes):
        if i % n_columns:
            ax.set_ylabel("")
