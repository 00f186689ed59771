"""The target of a regression: its distribution in each sample, and its mean in bins of a feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from pidlab.evaluate.results import Histogram, TargetProfile
from pidlab.plots.canvas.style import (
    NO_LABELS,
    LineStyle,
    caption,
    draw_densities,
    draw_points,
    error_lengths,
    label_axes,
    legend,
    nothing_to_draw,
)

_SAMPLES: dict[str, dict[str, Any]] = {
    "test": {"fill": True, "color": "#0072b2", "alpha": 0.3},
    "train": {"color": "black"},
    "validation": {"color": "#d55e00", "linestyle": "dashed"},
}
STYLE = LineStyle("#0072b2", "o", "-")
"""That of the events, which are of one class."""
_INVISIBLE = 0.01  # of the highest bin: about the width of a line


def target_histogram(
    target: str, by_sample: Mapping[str, Histogram], ax: Axes, *, labels: Mapping[str, str] = NO_LABELS
) -> None:
    """Draws the distribution of the target in each sample with unit area, on a log axis if it has a long tail."""
    some = ((sample, by_sample[sample], look) for sample, look in _SAMPLES.items() if sample in by_sample)
    entries, _ = draw_densities(some, ax, "no values")
    if entries and any(_has_long_tail(histogram) for histogram in by_sample.values()):
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)
    label_axes(ax, caption(target, labels), "density")
    legend(ax, entries)


def _has_long_tail(histogram: Histogram) -> bool:
    """Returns whether most bins that hold candidates would not be seen on a linear axis."""
    inside = histogram.sumw[1:-1]
    return bool(np.sum((inside > 0) & (inside < _INVISIBLE * inside.max(initial=0))) > np.sum(inside > 0) / 2)


def target_profile(
    feature: str, profile: TargetProfile, ax: Axes, *, target: str, labels: Mapping[str, str] = NO_LABELS
) -> None:
    """Draws the mean of the target with its interval in bins of a feature, and a band of its standard deviation."""
    known = np.isfinite(profile.mean) & np.isfinite(profile.low) & np.isfinite(profile.high)
    if known.any():
        spread = np.where(known, np.nan_to_num(profile.spread), np.nan)
        low, high = profile.mean - spread, profile.mean + spread
        ax.stairs(high, profile.edges, baseline=low, fill=True, color=STYLE.colour, alpha=0.2)
        centres = (profile.edges[1:] + profile.edges[:-1]) / 2
        lengths = error_lengths(profile.mean, profile.low, profile.high)
        half, errors = (np.diff(profile.edges) / 2)[known], lengths[:, known]
        draw_points(ax, centres[known], profile.mean[known], STYLE, 2.5, 1.0, xerr=half, yerr=errors)
    else:
        nothing_to_draw(ax, "no values")
    ax.set_xlim(profile.edges[0], profile.edges[-1])
    label_axes(ax, caption(feature, labels, 30), caption(target, labels, 24))
