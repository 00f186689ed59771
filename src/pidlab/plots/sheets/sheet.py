"""A figure that can be made, with its table and its place in the report, and the layout of a figure's panels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pidlab.plots.canvas.style import Draw, new_figure
from pidlab.plots.sheets.table import Numbers

T = TypeVar("T")
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Sheet(NamedTuple):
    """A figure that can be made.

    Attributes:
        name: identifies the figure; its file is called so, odd characters replaced.
        title: heads the figure in the report.
        alt: says in words what the figure shows.
        draw: draws it, within `style.context`.
        numbers: makes the table of what it shows; None for figures without a table.
        section: the section of the report that shows it.
        objects: patterns, as of `fnmatch`, of the objects in `results.root` that show the same; the report offers
            them in the order of the patterns.
        quick: True for the figures of a first look.
        on_request: True for figures that no run draws, and `pidlab plot` does.
        kind: what a method of `Plots` is called; all figures of one kind differ in `about`.
        about: what identifies the figure among those of its kind, such as {"model": "bdt"}.
        models: the models that it shows, if it shows several.
        has_reference: whether it compares the models with a reference.
    """

    name: str
    title: str
    alt: str
    draw: Draw
    numbers: Numbers | None = None
    section: str = "more"
    objects: tuple[str, ...] = ()
    quick: bool = False
    on_request: bool = False
    kind: str = ""
    about: Mapping[str, str] = _NOTHING
    models: tuple[str, ...] = ()
    has_reference: bool = False


def root_key(name: str) -> str:
    """Returns how `pidlab.rootio` writes the name of a model, class or feature in the path of an object."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", name) or "_"


def objects_of(model: str, *patterns: str) -> tuple[str, ...]:
    """Returns `patterns` in the directory of a model."""
    return tuple(f"{root_key(model)}/{pattern}" for pattern in patterns)


def pages(content: Sequence[T], n: int) -> Iterator[tuple[int, Sequence[T]]]:
    """Yields `content` in pages of n, numbered from 1."""
    for first in range(0, len(content), n):
        yield first // n + 1, content[first : first + n]


def columns_of(n: int) -> int:
    """Returns in how many columns n small panels stand: four of them in a square, many of them in rows of four."""
    return 4 if n > 6 else 2 if n == 4 else 3


def grid(
    n: int,
    n_columns: int,
    width: float,
    height: float,
    *,
    row_gap: float = 0.8,
    column_gap: float = 0.8,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Figure, list[Axes]]:
    """Returns a figure of n panels in rows of `n_columns`; each takes `width` x `height` inches.

    These include `row_gap` between rows and, unless the panels share y, `column_gap` between columns.
    """
    n_columns = max(1, min(n, n_columns))
    n_rows = -(-n // n_columns)
    figure = new_figure(width * n_columns, height * n_rows)
    spaces = {"wspace": 0.12 if sharey else column_gap / (width - column_gap), "hspace": row_gap / (height - row_gap)}
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=sharex, sharey=sharey, gridspec_kw=spaces)
    for empty in axes.flat[n:]:
        empty.remove()
    return figure, list(axes.flat[:n])


def panels(
    items: Sequence[tuple[Any, ...]],
    draw: Callable[..., object],
    n_columns: int,
    width: float,
    height: float,
    *,
    heading: Callable[[Axes], object] | None = None,
    same_y: bool = True,
    **layout: Any,
) -> Figure:
    """Returns a figure with a panel for each of `items`, laid out by `grid`.

    Args:
        items: what the panels show.
        draw: fills a panel: `draw(*item, ax)`.
        n_columns: panels in a row.
        width: inches that a panel takes.
        height: inches that it takes.
        heading: writes what stands above the first panel, such as a legend.
        same_y: whether the panels of a row show the same quantity along y, so that only the first one keeps its label.
        **layout: gaps and shared axes, as `grid` takes them.
    """
    figure, axes = grid(len(items), n_columns, width, height, **layout)
    for item, ax in zip(items, axes, strict=True):
        draw(*item, ax)
    if heading is not None:
        heading(axes[0])
    if same_y:
        label_left(axes, n_columns)
    return figure


def one_panel(draw: Callable[[Axes], object], width: float, height: float, title: str = "") -> Figure:
    """Returns a figure of `width` x `height` inches with one panel that `draw` fills, and a title above it."""
    figure = new_figure(width, height)
    ax = figure.subplots()
    draw(ax)
    if title:
        ax.set_title(title, fontsize=12, parse_math=False)
    return figure


def grid_of_pairs(
    n: int, n_columns: int, width: float, height: float, *, ratio: float, column_gap: float
) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """Returns a figure of n pairs of panels, the lower under the upper, in rows of `n_columns`.

    A pair takes `width` x `height` inches. These include a gap below it and `column_gap` beside it. The lower panel is
    `ratio` as high as the upper one.
    """
    row_gap = 0.75  # for the tick labels and the label of the lower x axis
    n_columns = max(1, min(n, n_columns))
    n_rows = -(-n // n_columns)
    upper = (height - row_gap) / (1 + ratio)
    heights = [upper, upper * ratio, row_gap] * n_rows
    figure = new_figure(width * n_columns, sum(heights[:-1]))
    axes = figure.subplots(
        len(heights) - 1, n_columns, squeeze=False, height_ratios=heights[:-1],
        gridspec_kw={"wspace": column_gap / (width - column_gap), "hspace": 0.04},
    )  # fmt: skip
    for gap in axes[2::3].flat:
        gap.remove()
    pairs = [
        pair for above, below in zip(axes[::3], axes[1::3], strict=True) for pair in zip(above, below, strict=True)
    ]
    for empty in (ax for pair in pairs[n:] for ax in pair):
        empty.remove()
    return figure, pairs[:n]


def stack(
    n: int, width: float, height: float, *, gap: float, ratios: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """Returns a figure of `width` x `height` inches with n panels under each other that share their x axis.

    `gap` is the space between panels as a share of their height; `ratios` gives the relative heights of panels.
    """
    figure = new_figure(width, height)
    axes = figure.subplots(n, 1, sharex=True, squeeze=False, height_ratios=ratios, gridspec_kw={"hspace": gap})
    return figure, list(axes[:, 0])


def label_left(axes: Sequence[Axes], n_columns: int) -> None:
    """Removes the label of the y axis from all panels but the first of each row."""
    for i, ax in enumerate(axes):
        if i % n_columns:
            ax.set_ylabel("")


def label_pairs_left(pairs: Sequence[tuple[Axes, Axes]], n_columns: int) -> None:
    """Removes the labels of y axes from all pairs but the first of each row; one with a width of bins stays."""
    for i, (above, below) in enumerate(pairs):
        if i % n_columns:
            if "/" not in above.get_ylabel():
                above.set_ylabel("")
            below.set_ylabel("")


def label_bottom(axes: Sequence[Axes]) -> None:
    """Removes the label of the x axis from all panels of a stack but the lowest."""
    for ax in axes[:-1]:
        ax.set_xlabel("")
