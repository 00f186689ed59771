"""Flat-efficiency working points: the threshold against a spectator, and the efficiency it replaces and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from pidlab.evaluate.results import Flatness, WorkingPoint
from pidlab.plots.canvas.style import (
    GREY,
    NO_LABELS,
    LineStyle,
    caption,
    colour_bar,
    error_lengths,
    label_axes,
    legend,
    shades,
    shown,
    visible_edges,
)


def thresholds(points: Sequence[WorkingPoint], ax: Axes, *, styles: Mapping[str, LineStyle], title: str = "") -> None:
    """Draws thresholds against the spectator that they follow, with the constant thresholds as dashed lines.

    Args:
        points: the points of one model; only flat ones are drawn.
        ax: where to draw.
        styles: working point to its style.
        title: heads the legend; no legend is drawn if it is empty.
    """
    entries = []
    for point in points:
        if point.flat is None:
            continue
        style = styles[point.name]
        (line,) = ax.plot(point.flat.nodes[0], point.flat.values, color=style.colour, marker=style.marker, markersize=4)
        ax.axhline(point.threshold, color=style.colour, linestyle="--", linewidth=1.0)
        entries.append((line, point.name))
    label_axes(ax, "", "threshold")
    if title:
        legend(ax, entries, title=title)


def flatness(
    found: Flatness, target: float, ax: Axes, *, style: LineStyle, labels: Mapping[str, str] = NO_LABELS
) -> None:
    """Draws the efficiency in bins of one spectator: grey points at the constant threshold, filled at the flat one.

    Args:
        found: the flatness of a point that follows one spectator.
        target: the efficiency asked for, a dashed line.
        ax: where to draw.
        style: the style of the working point.
        labels: spectator to the text of its axis.
    """
    edges, remark = visible_edges(found.after.edges[0])
    centres, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    entries = []
    for one, colour, filled, word, chi2, offset in (
        (found.before, GREY, "white", "constant threshold", found.chi2_before, -0.15),
        (found.after, style.colour, style.colour, found.working_point, found.chi2_after, 0.15),
    ):
        bars = ax.errorbar(
            centres + offset * half, one.value, yerr=error_lengths(one.value, one.low, one.high), color=colour,
            marker=style.marker, markerfacecolor=filled, markersize=4.5, linestyle="none", elinewidth=1.2,
        )  # fmt: skip
        entries.append((bars, f"{word}: χ²/ndf {chi2:.3g}/{found.ndf}"))
    ax.axhline(target, color="black", linestyle="--", linewidth=0.8)
    label_axes(
        ax, caption(found.after.names[0], labels, remark=remark), f"efficiency of {shown(found.after.particle, 20)}"
    )
    legend(ax, entries)


def threshold_map(point: WorkingPoint, ax: Axes, *, labels: Mapping[str, str] = NO_LABELS) -> None:
    """Draws the thresholds at the nodes of a point that follows two spectators; between nodes it interpolates."""
    flat = point.flat
    assert flat is not None
    nodes, values = flat.nodes, flat.values.T
    mesh = ax.pcolormesh(nodes[0], nodes[1], values, cmap=shades("Purples"), shading="nearest")
    colour_bar(mesh, ax)
    x, y = np.meshgrid(*nodes)
    ax.plot(x.ravel(), y.ravel(), color=GREY, marker=".", markersize=3, linestyle="none")
    label_axes(ax, *(caption(name, labels) for name in flat.names))
    ax.set_title(f"threshold, {shown(point.name, 24)}", fontsize=11, parse_math=False)
