"""Files without labels beside the expectation of a run: scores, and features and spectators after identification."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullLocator

from pidlab.evaluate.points.identified import holds_whole_numbers
from pidlab.evaluate.results import Applied, AppliedModel, AppliedPoint, Beside
from pidlab.measured import Array
from pidlab.plots.canvas.style import (
    BLACK,
    GREY,
    Caption,
    LineStyle,
    caption,
    class_styles,
    context,
    draw_points,
    label_axes,
    legend,
    legend_lines,
    log_scale,
    nothing_to_draw,
    shown,
)
from pidlab.plots.exploring.identified import filled_range, narrowing, per_bin
from pidlab.plots.inputs import mark_flows
from pidlab.plots.response import mark_thresholds
from pidlab.plots.sheets.sheet import grid_of_pairs, label_pairs_left, pages

VARIABLES_A_PAGE = 12
_BAND = "0.75"
_DEEPEST = 1e-4
"""The part of the highest bin down to which an axis shows the parts of the classes."""


class AppliedFigure(NamedTuple):
    """A figure of what was applied.

    Attributes:
        name: the stem of its file.
        title: heads it.
        alt: says in words what it shows.
        figure: the drawing.
    """

    name: str
    title: str
    alt: str
    figure: Figure


def score_figure(applied: Applied, models: Sequence[AppliedModel]) -> AppliedFigure | None:
    """Returns the scores of some models in files beside the expectation; None if none of them has a score."""
    with_score = [(model, model.score) for model in models if model.score is not None]
    if not with_score:
        return None
    with context("scores"):
        figure, pairs = grid_of_pairs(len(with_score), 3, 4.4, 4.1, ratio=0.4, column_gap=0.9)
        styles = class_styles(applied.classes, applied.signal)
        for (model, score), (above, below) in zip(with_score, pairs, strict=True):
            beside(score, above, below, caption=Caption(f"score of {shown(model.name, 20)}"), styles=styles)
            names_at: dict[float, list[str]] = {}
            for name, threshold in model.thresholds.items():
                if score.edges[0] <= threshold <= score.edges[-1]:
                    names_at.setdefault(threshold, []).append(name)
            mark_thresholds([(", ".join(names), threshold) for threshold, names in names_at.items()], above)
        _legend(applied, pairs[0][0], styles)
    names = ", ".join(model.name for model, _ in with_score)
    alt = (
        f"Scores for {applied.signal} of {names} in the files (points) and as expected, with the parts of the classes."
    )
    return AppliedFigure("scores", "Scores of all selected rows", alt, figure)


def point_figures(applied: Applied, model: AppliedModel, point: AppliedPoint) -> Iterator[AppliedFigure]:
    """Yields features and spectators of the rows that a working point accepts and rejects, twelve in a figure."""
    for page, some in pages(list(point.accepted), VARIABLES_A_PAGE):
        suffix = f"_{page}" if page > 1 else ""
        name = f"{model.name}_{point.name}{suffix}"
        with context(name):
            figure = _accepted_and_rejected(applied, model, point, some)
        alt = (
            f"Rows of the files that {model.name} accepts and rejects at {point.name} (points) in {', '.join(some)}, "
            "and as expected, with the parts of the classes; below each the ratio of files and expectation."
        )
        title = f"{model.name} at {point.name}: accepted and rejected{f', {page}' if page > 1 else ''}"
        yield AppliedFigure(name, title, alt, figure)


def _accepted_and_rejected(applied: Applied, model: AppliedModel, point: AppliedPoint, some: Sequence[str]) -> Figure:
    n_columns = 4 if len(some) > 1 else 2
    figure, pairs = grid_of_pairs(2 * len(some), n_columns, 3.4, 3.6, ratio=0.4, column_gap=0.85)
    styles = class_styles(applied.classes, applied.signal)
    panels = [
        (name, what, by[name])
        for name in some
        for what, by in (("accepted", point.accepted), ("rejected", point.rejected))
    ]
    for (name, what, found), (above, below) in zip(panels, pairs, strict=True):
        beside(found, above, below, caption=caption(name, applied.labels, 30), styles=styles)
        above.text(1.0, 1.01, what, transform=above.transAxes, ha="right", va="bottom", fontsize=10, color=GREY)
    label_pairs_left(pairs, n_columns)
    _legend(applied, pairs[0][0], styles, title=f"{shown(model.name, 24)} at {shown(point.name, 24)}")
    return figure


def _legend(applied: Applied, ax: Axes, styles: Mapping[str, LineStyle], title: str = "") -> None:
    data = Line2D([], [], color="black", marker="o", markersize=4, linestyle="none")
    entries = [(data, "files"), (Patch(facecolor=_BAND, edgecolor=GREY), "expectation")]
    lines = legend_lines(styles, applied.classes, marker=False)
    legend(ax, [*entries, *((line, f"expected {name}") for line, name in lines)], title=title)


def beside(found: Beside, above: Axes, below: Axes, *, caption: Caption, styles: Mapping[str, LineStyle]) -> None:
    """Draws counts with errors over the expectation and its band on a log axis, and below the ratio of both.

    Args:
        found: the distribution.
        above, below: where to draw.
        caption: the text of the x axis.
        styles: class to its style.
    """
    edges, per = found.edges, narrowing(found.edges)
    whole = np.sum(list(found.expected.values()), axis=0)
    counts, total, error = found.counts[1:-1], whole[1:-1], found.error[1:-1]
    centres, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    positive, seen = total > 0, counts > 0
    if positive.any():
        low, high = (np.where(positive, np.maximum(total + sign * error, 1e-9) * per, np.nan) for sign in (-1, 1))
        above.stairs(high, edges, baseline=low, fill=True, color=_BAND, linewidth=0)
        above.stairs(np.where(positive, total * per, np.nan), edges, color=GREY, linewidth=1.2)
    lines = []
    for name, expected in found.expected.items():
        inside = expected[1:-1] * per
        if (inside > 0).any():
            style = styles[name]
            line = np.where(inside > 0, inside, np.nan)
            above.stairs(line, edges, color=style.colour, linestyle=style.line, linewidth=1.2)
            lines.append(line)
    y, errors = (counts * per)[seen], (np.sqrt(counts) * per)[seen]
    draw_points(above, centres[seen], y, BLACK, 2.5, 1.0, xerr=half[seen], yerr=errors, zorder=5)
    if not seen.any() and not positive.any():
        nothing_to_draw(above, "no rows")
    heights = np.concatenate([counts * per, total * per, *lines])
    # Parts of classes far below everything else would flatten what is seen.
    least = max(0.3, _DEEPEST * float(np.nanmax(heights)))
    log_scale(above, heights[heights >= least], least=30.0)
    above.yaxis.set_minor_locator(NullLocator())  # eight ticks in each decade take longer than what is drawn
    above.tick_params(axis="x", labelbottom=False)
    mark_flows([found.counts], above)
    label_axes(above, "", per_bin("rows", edges))
    _ratio(counts, total, error, edges, below)
    limits = filled_range(seen | (total > 0.3), edges)
    for ax in (above, below):
        ax.set_xlim(*limits)
    below.xaxis.set_major_locator(MaxNLocator(5, integer=holds_whole_numbers(edges)))
    label_axes(below, caption, "files / exp.")


def _ratio(counts: Array, total: Array, error: Array, edges: Array, ax: Axes) -> None:
    """Draws counts over the expectation from 0 to 2; an arrow at the edge stands for a larger ratio."""
    known = total > 0
    share = np.where(known, error / np.where(known, total, 1.0), np.nan)
    if known.any():
        ax.stairs(1 + share, edges, baseline=1 - share, fill=True, color=_BAND, linewidth=0)
    centres, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    ratio = np.divide(counts, total, out=np.full(len(total), np.nan), where=known)
    errors = np.divide(np.sqrt(counts), total, out=np.zeros(len(total)), where=known)
    inside = known & (counts > 0) & (ratio <= 2)
    draw_points(ax, centres[inside], ratio[inside], BLACK, 2.5, 1.0, xerr=half[inside], yerr=errors[inside])
    beyond = known & (ratio > 2)
    ax.plot(
        centres[beyond], np.full(int(beyond.sum()), 1.93), marker="^", markersize=4, color="black", linestyle="none"
    )
    ax.axhline(1.0, color=GREY, linestyle="--", linewidth=0.8)
    ax.set_ylim(0.0, 2.0)
    ax.yaxis.set_major_locator(MaxNLocator(2))
