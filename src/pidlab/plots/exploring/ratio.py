"""The ratio of the signal's density to that of another class, in bins of one feature."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from pidlab.evaluate.histograms import density_ratio
from pidlab.evaluate.results import Histogram
from pidlab.plots.canvas.style import GREY, NO_LABELS, LineStyle, caption, label_axes, log_scale, nothing_to_draw


def signal_ratio(
    name: str,
    by_class: Mapping[str, Histogram],
    ax: Axes,
    *,
    signal: str,
    styles: Mapping[str, LineStyle],
    labels: Mapping[str, str] = NO_LABELS,
) -> None:
    """Draws the density of the signal over that of each other class, bin by bin with errors, on a log axis.

    Args:
        name: the feature.
        by_class: its histogram in each class, with the same edges.
        ax: where to draw.
        signal: the signal's name.
        styles: class to its style.
        labels: feature to its text.
    """
    drawn = []
    for particle, histogram in by_class.items():
        if particle == signal or signal not in by_class:
            continue
        ratio, error = density_ratio(by_class[signal], histogram)
        if np.isfinite(ratio).any():
            lower = np.minimum(error, 0.999 * ratio)  # an error bar down to zero has no end on a log axis
            style, edges = styles[particle], histogram.edges
            ax.errorbar(
                (edges[1:] + edges[:-1]) / 2, ratio, xerr=np.diff(edges) / 2, yerr=np.stack([lower, error]),
                color=style.colour, marker="", linestyle="none", elinewidth=1.2,
            )  # fmt: skip
            drawn.append(ratio)
    if not drawn:
        nothing_to_draw(ax, "no values")
    ax.axhline(1.0, color=GREY, linestyle="--", linewidth=0.8)
    log_scale(ax, np.concatenate([np.array([]), *drawn]), least=30.0)
    ax.yaxis.set_minor_locator(NullLocator())  # eight ticks in each decade take longer than the points
    label_axes(ax, caption(name, labels, 30), "signal / other")
