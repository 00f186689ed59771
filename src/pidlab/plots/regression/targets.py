"""The target of a regression: its distribution in each sample, and its mean in bins of a feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from pidlab.evaluate.results import Histogram, TargetProfile
from pidlab.plots.canvas.style import (
    NO_LABELS,
    caption,
    draw_density,
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
COLOUR = "#0072b2"
_INVISIBLE = 0.01  # of the highest bin: about the width of a line


def target_histogram(
    target: str, by_sample: Mapping[str, Histogram], ax: Axes, *, labels: Mapping[str, str] = NO_LABELS
) -> Axes:
    """Draws the distribution of the target in each sample with unit area, on a log axis if it has a long tail."""
    entries: list[tuple[Any, str]] = []
    for sample, properties in _SAMPLES.items():
        drawn = draw_density(by_sample[sample], ax, **properties) if sample in by_sample else None
        if drawn is not None:
            entries.append((drawn.artist, sample))
    if not entries:
        nothing_to_draw(ax, "no values")
    if entries and any(_has_long_tail(histogram) for histogram in by_sample.values()):
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)
    label_axes(ax, caption(target, labels), "density")
    legend(ax, entries)
    return ax


def _has_long_tail(histogram: Histogram) -> bool:
    """Returns whether most bins that hold candidates would not be seen on a linear axis."""
    inside = histogram.sumw[1:-1]
    return bool(np.sum((inside > 0) & (inside < _INVISIBLE * inside.max(initial=0))) > np.sum(inside > 0) / 2)


def target_profile(
    feature: str, profile: TargetProfile, ax: Axes, *, target: str, labels: Mapping[str, str] = NO_LABELS
) -> Axes:
    """Draws the mean of the target with its interval in bins of a feature, and a band of its standard deviation."""
    known = np.isfinite(profile.mean) & np.isfinite(profile.low) & np.isfinite(profile.high)
    if known.any():
        spread = np.where(known, np.nan_to_num(profile.spread), np.nan)
        ax.stairs(
            profile.mean + spread, profile.edges, baseline=profile.mean - spread, fill=True, color=COLOUR, alpha=0.2
        )
        centres = (profile.edges[1:] + profile.edges[:-1]) / 2
        lengths = error_lengths(profile.mean, profile.low, profile.high)
        ax.errorbar(
            centres[known], profile.mean[known], xerr=(np.diff(profile.edges) / 2)[known], yerr=lengths[:, known],
            color=COLOUR, marker="o", markersize=2.5, linestyle="none", elinewidth=1.0,
        )  # fmt: skip
    else:
        nothing_to_draw(ax, "no values")
    ax.set_xlim(profile.edges[0], profile.edges[-1])
    label_axes(ax, caption(feature, labels, 30), caption(target, labels, 24))
    return ax
