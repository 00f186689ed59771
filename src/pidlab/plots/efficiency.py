"""Efficiency and misidentification against one spectator, with the intervals of each working point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pidlab.evaluate.results import EfficiencyMap
from pidlab.measured import Array
from pidlab.plots.canvas.style import (
    NO_LABELS,
    LineStyle,
    caption,
    draw_limits,
    draw_points,
    error_lengths,
    label_axes,
    legend,
    log_scale,
    nothing_to_draw,
    shown,
    visible_edges,
)


def efficiency(
    maps: Sequence[EfficiencyMap],
    ax: Axes,
    *,
    styles: Mapping[str, LineStyle],
    signal: str,
    title: str = "",
    labels: Mapping[str, str] = NO_LABELS,
) -> None:
    """Draws the fraction of one class that passes each working point, in bins of one spectator.

    The axis is logarithmic for misidentification, that is for every class but `signal`. There an arrow at the upper
    bound of the 68.3 % interval stands for a bin of which nothing passes.

    Args:
        maps: the maps of one class and one spectator, one for each working point.
        ax: where to draw.
        styles: working point to its style.
        signal: the signal's name.
        title: heads the legend; no legend is drawn if it is empty.
        labels: spectator to the text of its axis.
    """
    particle = maps[0].particle
    entries = []
    remark = ""
    for i, one in enumerate(maps):
        style = styles[one.working_point]
        edges, remark = visible_edges(one.edges[0])
        centres = (edges[1:] + edges[:-1]) / 2
        limits = np.where((one.value > 0) | (particle == signal), np.nan, one.high)
        high = np.where(np.isnan(limits), one.high, one.value)  # the arrow stands in place of the bar
        half, lengths = np.diff(edges) / 2, error_lengths(one.value, one.low, high)
        entries.append((draw_points(ax, centres, one.value, style, 4.5, xerr=half, yerr=lengths), one.working_point))
        # Working points often have equal limits, which would hide each other at one place.
        beside = np.diff(edges) * 0.7 * ((i + 0.5) / len(maps) - 0.5)
        draw_limits(ax, centres + beside, limits, style)
    remark += hatch_thin(visible_edges(maps[0].edges[0])[0], maps[0].thin, maps[0].least, ax)
    if all(np.isnan(one.value).all() for one in maps):
        nothing_to_draw(ax, f"no {shown(particle)} in any bin")
    elif particle != signal:
        # Arrows reach to half of their limits.
        log_scale(ax, np.concatenate([np.concatenate([one.value, one.high]) for one in maps]), below=2.2, above=1.5)
    quantity = "efficiency" if particle == signal else "misid"
    label_axes(ax, caption(maps[0].names[0], labels, remark=remark), f"{quantity} of {shown(particle, 20)}")
    if title:
        legend(ax, entries, title=title)


def hatch_thin(edges: Array, thin: NDArray[np.bool_], least: float, ax: Axes) -> str:
    """Hatches the `thin` bins, of less than `least` effective events; returns a remark about them for the axis."""
    for i in np.flatnonzero(thin):
        ax.axvspan(edges[i], edges[i + 1], facecolor="none", hatch="////", edgecolor="0.8", linewidth=0, zorder=0)
    return f"  (hatched: n < {least:g})" if thin.any() else ""
