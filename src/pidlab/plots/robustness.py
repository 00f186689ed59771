"""What a changed detector does to a model: AUC against the size of the change, and without a feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pidlab.evaluate.results import RobustnessResult
from pidlab.measured import Measured
from pidlab.plots.style import GREY, NO_LABELS, Caption, Look, arms, caption, columns, label_axes, name_ticks

UNCHANGED = {"scale": 1.0}
"""The size that changes nothing, where it is not 0."""

_AXIS = {"smear": "smearing / spread", "shift": "shift / spread", "scale": "scale factor"}


def robustness(
    by_model: Mapping[str, RobustnessResult],
    change: str,
    feature: str,
    ax: Axes,
    *,
    looks: Mapping[str, Look],
    unchanged: Mapping[str, Measured],
    labels: Mapping[str, str] = NO_LABELS,
) -> Axes:
    """Draw AUC against the size of `change` of `feature`, all models.

    Args:
        by_model: model to its changes.
        change: "smear", "scale" or "shift".
        feature: a feature, or "all" for every feature at once.
        ax: where to draw.
        looks: one for each model.
        unchanged: model to AUC of the sample as it is.
        labels: feature to its text, for those that have one.
    """
    neutral = UNCHANGED.get(change, 0.0)
    for model, changes in by_model.items():
        at = {p.size: p.auc for p in changes.points if (p.change, p.feature) == (change, feature)}
        at.setdefault(neutral, unchanged[model])
        sizes = sorted(at)
        value, low, high = columns([at[size] for size in sizes])
        if np.isfinite(value).any():
            look = looks[model]
            style: dict[str, Any] = {
                "color": look.colour,
                "linestyle": look.line,
                "marker": look.marker,
                "markersize": 4,
            }
            ax.errorbar(sizes, value, yerr=arms(value, low, high), elinewidth=1.0, **style)
    ax.axvline(neutral, color=GREY, linewidth=0.8, linestyle=":")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    label_axes(ax, _AXIS.get(change, change), "AUC")
    named = Caption("all features at once") if feature == "all" else caption(feature, labels, 30)
    ax.set_title(named.text, fontsize=11, parse_math=named.tex)
    return ax


def dropped(
    without: Mapping[str, Measured],
    unchanged: Measured,
    ax: Axes,
    *,
    look: Look,
    labels: Mapping[str, str] = NO_LABELS,
) -> Axes:
    """Draw, for each feature taken away, a bar from the AUC with it to the AUC without it.

    Args:
        without: feature to the AUC without it, one row each, the first on top.
        unchanged: AUC with every feature.
        ax: where to draw.
        look: the model's.
        labels: feature to its text, for those that have one.
    """
    value, low, high = columns(list(without.values()))
    rows = np.arange(len(without))
    ax.barh(rows, value - unchanged.value, left=unchanged.value, height=0.62, color=look.colour, alpha=0.55)
    ax.errorbar(value, rows, xerr=arms(value, low, high), color="black", marker="", linestyle="none", elinewidth=1.2)
    ax.axvline(unchanged.value, color=look.colour, linewidth=1.2)
    name_ticks(ax, "y", [caption(name, labels) for name in without])
    ax.set_ylim(len(without) - 0.5, -0.5)
    ax.use_sticky_edges = False
    ax.margins(x=0.08)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    label_axes(ax, "AUC", "")
    return ax
