"""Bands: the variable against what its mean follows with the band over it, pulls, and their core against a quantity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from pidlab.evaluate.results import BandPanel, BandVariable, FeaturePair, PullTrend
from pidlab.measured import Array, format_measured
from pidlab.plots.canvas.style import (
    GREY,
    NO_LABELS,
    LineStyle,
    caption,
    draw_densities,
    draw_points,
    label_axes,
    legend,
    log_scale,
    nothing_to_draw,
    outline,
    shown,
)
from pidlab.plots.exploring.scatter import density

MOST_LINES = 2
"""Working points that are drawn; more of them cover the data."""
_LIMITS = ((0, (5, 1.5)), (0, (1, 1)))
_DARKEST = 0.75  # of a class's colour, so that the lines are seen on it


def shown_lines(band: BandVariable) -> dict[str, float]:
    """Returns the working points whose limits are drawn, with their numbers of widths."""
    return dict(list(band.lines.items())[:MOST_LINES])


def band_plane(
    band: BandVariable,
    panel: BandPanel,
    particle: str,
    ax: Axes,
    *,
    style: LineStyle,
    labels: Mapping[str, str] = NO_LABELS,
) -> list[tuple[Any, str]]:
    """Draws one class over the first quantity and the variable, and the band of the signal over it.

    The density is in shades of a logarithm. The mean is a full line, the limits of working points are broken ones, on
    the sides that count.

    Args:
        band: one variable of a band.
        panel: one of its groups.
        particle: one of the classes.
        ax: where to draw.
        style: the style of the class.
        labels: feature to its text.

    Returns:
        The lines with their names, for a legend.
    """
    pair = FeaturePair(band.against[0], band.variable, band.x_edges, band.y_edges, panel.planes)
    density(pair, particle, ax, style=style, labels=labels, darkest=_DARKEST)
    curve = panel.curve
    entries = [(_line(curve.x, curve.mean, ax, "-"), "mean of the band")]
    for (name, n), dashes in zip(shown_lines(band).items(), _LIMITS, strict=False):
        for side, limit in (("low", curve.mean - n * curve.below), ("high", curve.mean + n * curve.above)):
            if band.side in (side, "both"):
                drawn = _line(curve.x, limit, ax, dashes)
        sign = {"low": "−", "high": "+", "both": "±"}[band.side]
        entries.append((drawn, f"{sign} {n:.3g} σ, {prose(name)}"))
    if panel.group:
        ax.set_title(f"{shown(particle)}, {shown(panel.group)}", fontsize=11, parse_math=False)
    ax.set(xlim=band.x_edges[[0, -1]], ylim=band.y_edges[[0, -1]])
    return entries


def prose(point: str) -> str:
    """Returns the name of a working point as prose has it: sigma3.5 for sigma3_5."""
    return point.replace("_", ".") if point.startswith("sigma") else shown(point)


def _line(x: Array, y: Array, ax: Axes, dashes: Any) -> Any:
    """Draws a line that is seen on any colour."""
    ax.plot(x, y, color="white", linewidth=3.0, alpha=0.8)
    return ax.plot(x, y, color="black", linewidth=1.3, linestyle=dashes)[0]


def pulls(band: BandVariable, gaussian: Array, ax: Axes, *, signal: str, styles: Mapping[str, LineStyle]) -> None:
    """Draws the pulls of each class on a log axis, and a unit Gaussian.

    Args:
        band: one variable of a band; the signal is drawn as points with errors, other classes as outlines.
        gaussian: (m, 2) points of the Gaussian.
        ax: where to draw.
        signal: the signal's name.
        styles: class to its style.
    """
    entries: list[tuple[Any, str]] = []
    heights = np.array([gaussian[:, 1].max()])
    for particle, histogram in band.pulls.items():
        style = styles[particle]
        if particle == signal:
            look: dict[str, Any] = {"color": style.colour, "marker": style.marker, "markersize": 3.0, "points": True}
            drawn, own = draw_densities([(f"{particle}, core {_core(band)}", histogram, look)], ax)
            heights = np.append(heights, own[own > 0])
        else:
            drawn, _ = draw_densities([(particle, histogram, outline(style))], ax)
        entries += drawn
    (line,) = ax.plot(gaussian[:, 0], gaussian[:, 1], color="black", linewidth=1.2)
    entries.append((line, "unit Gaussian"))
    log_scale(ax, np.maximum(heights, 1e-4))
    ax.set_xlim(gaussian[0, 0], gaussian[-1, 0])
    label_axes(ax, f"distance of {shown(band.variable)} from the mean, in widths", "density")
    legend(ax, entries, columns=2)


def _core(band: BandVariable) -> str:
    """Returns the mean and the width of the core of the signal's pulls as text."""
    if not np.isfinite(band.mean.value):
        return "not fitted: too few candidates"
    return f"{format_measured(band.mean)}, width {format_measured(band.width)}"


def pull_trend(
    trend: PullTrend, what: str, ax: Axes, *, style: LineStyle, labels: Mapping[str, str] = NO_LABELS
) -> None:
    """Draws the mean ("mean") or the width ("width") of the core of the signal's pulls with errors against a quantity.

    Args:
        trend: the trend of one quantity.
        what: "mean" or "width".
        ax: where to draw.
        style: the style of the signal.
        labels: feature to its text.
    """
    value, error = (trend.mean, trend.mean_error) if what == "mean" else (trend.width, trend.width_error)
    right = 0.0 if what == "mean" else 1.0
    ax.axhline(right, color=GREY, linewidth=1.0)
    known = np.isfinite(value)
    if known.any():
        centre, half = (trend.edges[1:] + trend.edges[:-1]) / 2, np.diff(trend.edges) / 2
        draw_points(ax, centre[known], value[known], style, 4, 1.0, xerr=half[known], yerr=error[known])
        reach = max(float(np.max(np.abs(value[known] - right) + 1.5 * error[known])), 0.1)
        ax.set_ylim(right - reach, right + reach)
    else:
        nothing_to_draw(ax, "too few candidates")
    label_axes(ax, caption(trend.x, labels, 40), f"{what} of the core")
