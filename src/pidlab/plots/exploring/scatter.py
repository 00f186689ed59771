"""The distribution of one class over two features, with the profile of the second."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from pidlab.evaluate.results import FeaturePair
from pidlab.measured import Array
from pidlab.plots.canvas.style import (
    BLACK,
    NO_LABELS,
    LineStyle,
    caption,
    draw_points,
    label_axes,
    nothing_to_draw,
    shown,
)

_SHADES = 6
"""Cells of one shade are one path, which is drawn and saved much faster than a path for each cell."""


def scatter(
    pair: FeaturePair, particle: str, ax: Axes, *, style: LineStyle, labels: Mapping[str, str] = NO_LABELS
) -> None:
    """Draws the density of one class in shades of a logarithm, and the mean of y in bins of x with its error.

    Args:
        pair: two features.
        particle: one of its classes.
        ax: where to draw.
        style: the style of the class.
        labels: feature to its text.
    """
    plane = pair.planes[particle]
    if density(pair, particle, ax, style=style, labels=labels):
        centres = (pair.x_edges[1:] + pair.x_edges[:-1]) / 2
        draw_points(ax, centres, plane.mean, BLACK, 2.5, 1.0, yerr=plane.error)


def density(
    pair: FeaturePair,
    particle: str,
    ax: Axes,
    *,
    style: LineStyle,
    labels: Mapping[str, str] = NO_LABELS,
    darkest: float = 1.0,
) -> bool:
    """Draws the density of one class in shades of a logarithm, and returns whether there is anything to draw.

    The arguments are those of `scatter`; `darkest` is the share of the class's colour in the darkest shade.
    """
    plane = pair.planes[particle]
    positive = plane.sumw[plane.sumw > 0]
    if len(positive):
        low, high = np.log(positive.min()), np.log(positive.max())
        shade = np.full(plane.sumw.shape, -1)
        filled = plane.sumw > 0
        shade[filled] = np.clip((np.log(plane.sumw[filled]) - low) / ((high - low) or 1) * _SHADES, 0, _SHADES - 1)
        for i in range(_SHADES):
            cells = _cells(pair, shade == i)
            if cells is not None:
                colour = _lighter(style.colour, darkest * (i + 1) / _SHADES)
                # add_patch would measure each corner for the limits of the axes, which are known.
                ax.add_artist(PathPatch(cells, facecolor=colour, edgecolor="none", linewidth=0))
    else:
        nothing_to_draw(ax, "no values")
    ax.set(xlim=pair.x_edges[[0, -1]], ylim=pair.y_edges[[0, -1]])
    label_axes(ax, caption(pair.x, labels, 30), caption(pair.y, labels, 30))
    ax.set_title(shown(particle), fontsize=11, parse_math=False)
    return bool(len(positive))


def _cells(pair: FeaturePair, chosen: Array) -> Path | None:
    """Returns the rectangles of the chosen bins (bx, by) as one path; neighbours along y are one rectangle."""
    corners: list[tuple[float, float]] = []
    for i, column in enumerate(np.pad(chosen.astype(np.int8), ((0, 0), (1, 1)))):
        steps = np.diff(column)
        for begin, end in zip(np.flatnonzero(steps > 0), np.flatnonzero(steps < 0), strict=True):
            left, right = pair.x_edges[i], pair.x_edges[i + 1]
            bottom, top = pair.y_edges[begin], pair.y_edges[end]
            corners += [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
    if not corners:
        return None
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * (len(corners) // 5)
    return Path(corners, codes)


def _lighter(colour: str, share: float) -> tuple[float, float, float]:
    """Returns a mixture of a colour with white."""
    red, green, blue = (1 - share * (1 - part) for part in to_rgb(colour))
    return red, green, blue
