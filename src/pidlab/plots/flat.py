"""Flat-efficiency working points: the threshold against a spectator, and the efficiency before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from pidlab.evaluate.results import Flatness, WorkingPoint
from pidlab.plots.style import (
    GREY,
    NO_LABELS,
    Look,
    arms,
    caption,
    colour_bar,
    label_axes,
    legend,
    shades,
    shown,
    visible_edges,
)


def thresholds(points: Sequence[WorkingPoint], ax: Axes, *, looks: Mapping[str, Look], title: str = "") -> Axes:
    """Draw the thresholds of flat points that follow one spectator, and the constant ones as dashed lines.

    Args:
        points: of one model; those that are not flat are left out.
        ax: where to draw.
        looks: one for each working point.
        title: written above the legend.
    """
    entries = []
    for point in points:
        if point.flat is None:
            continue
        look = looks[point.name]
        (line,) = ax.plot(point.flat.nodes[0], point.flat.values, color=look.colour, marker=look.marker, markersize=4)
        ax.axhline(point.threshold, color=look.colour, linestyle="--", linewidth=1.0)
        entries.append((line, point.name))
    label_axes(ax, "", "threshold")
    if title:
        legend(ax, entries, title=title)
    return ax


def flatness(found: Flatness, target: float, ax: Axes, *, look: Look, labels: Mapping[str, str] = NO_LABELS) -> Axes:
    """Draw the efficiency in bins of one spectator: open and grey at the constant threshold, filled at the flat one.

    Args:
        found: of a point that follows one spectator.
        target: the efficiency asked for, a dashed line.
        ax: where to draw.
        look: the working point's.
        labels: spectator to the text of its axis, for those that have one.
    """
    edges, remark = visible_edges(found.after.edges[0])
    centres, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    entries = []
    for one, colour, filled, word, chi2, aside in (
        (found.before, GREY, "white", "constant threshold", found.chi2_before, -0.15),
        (found.after, look.colour, look.colour, found.working_point, found.chi2_after, 0.15),
    ):
        bars = ax.errorbar(
            centres + aside * half, one.value, yerr=arms(one.value, one.low, one.high), color=colour,
            marker=look.marker, markerfacecolor=filled, markersize=4.5, linestyle="none", elinewidth=1.2,
        )  # fmt: skip
        entries.append((bars, f"{word}: χ²/ndf {chi2:.3g}/{found.ndf}"))
    ax.axhline(target, color="black", linestyle="--", linewidth=0.8)
    label_axes(
        ax, caption(found.after.names[0], labels, remark=remark), f"efficiency of {shown(found.after.particle, 20)}"
    )
    legend(ax, entries, width=84)
    return ax


def threshold_map(point: WorkingPoint, ax: Axes, *, labels: Mapping[str, str] = NO_LABELS) -> Axes:
    """Draw the thresholds of a point that follows two spectators, at its nodes, between which they are interpolated."""
    flat = point.flat
    assert flat is not None
    nodes, values = flat.nodes, flat.values.T
    mesh = ax.pcolormesh(nodes[0], nodes[1], values, cmap=shades("Purples"), shading="nearest")
    colour_bar(mesh, ax)
    x, y = np.meshgrid(*nodes)
    ax.plot(x.ravel(), y.ravel(), color=GREY, marker=".", markersize=3, linestyle="none")
    label_axes(ax, *(caption(name, labels) for name in flat.names))
    ax.set_title(f"threshold, {shown(point.name, 24)}", fontsize=11, parse_math=False)
    return ax
