"""How much models depend on their features: AUC after changes of a feature and without it, and its importance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pidlab.evaluate.results import RobustnessResult
from pidlab.measured import Measured
from pidlab.plots.canvas.style import (
    GREY,
    NO_LABELS,
    Caption,
    LineStyle,
    caption,
    label_axes,
    name_ticks,
    with_errors,
)

UNCHANGED = {"scale": 1.0}
"""The sizes of changes that change nothing, for kinds of changes for which this is not 0."""

_AXIS = {"smear": "smearing / spread", "shift": "shift / spread", "scale": "scale factor"}


def robustness(
    by_model: Mapping[str, RobustnessResult],
    change: str,
    feature: str,
    ax: Axes,
    *,
    styles: Mapping[str, LineStyle],
    unchanged: Mapping[str, Measured],
    labels: Mapping[str, str] = NO_LABELS,
) -> None:
    """Draws AUC against the size of `change` of `feature` for all models.

    Args:
        by_model: model to its changes.
        change: "smear", "scale" or "shift".
        feature: the changed feature, or "all" for every feature at once.
        ax: where to draw.
        styles: model to its style.
        unchanged: model to AUC on the unchanged sample.
        labels: feature to its text.
    """
    neutral = UNCHANGED.get(change, 0.0)
    for model, changes in by_model.items():
        at = {p.size: p.auc for p in changes.points if (p.change, p.feature) == (change, feature)}
        at.setdefault(neutral, unchanged[model])
        sizes = sorted(at)
        value, errors = with_errors([at[size] for size in sizes])
        if np.isfinite(value).any():
            style = styles[model]
            ax.errorbar(
                sizes, value, yerr=errors, color=style.colour, linestyle=style.line, marker=style.marker, markersize=4,
                elinewidth=1.0,
            )  # fmt: skip
    ax.axvline(neutral, color=GREY, linewidth=0.8, linestyle=":")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    label_axes(ax, _AXIS.get(change, change), "AUC")
    named = Caption("all features at once") if feature == "all" else caption(feature, labels, 30)
    ax.set_title(named.text, fontsize=11, parse_math=named.tex)


def dropped(
    without: Mapping[str, Measured],
    unchanged: Measured,
    ax: Axes,
    *,
    style: LineStyle,
    labels: Mapping[str, str] = NO_LABELS,
) -> None:
    """Draws, for each feature, a bar from the AUC with all features to the AUC without this one.

    Args:
        without: feature to the AUC without it, a row for each, the first on top.
        unchanged: AUC with every feature.
        ax: where to draw.
        style: the style of the model.
        labels: feature to its text.
    """
    _bars(without, unchanged.value, ax, style=style, names=[caption(name, labels) for name in without])
    ax.axvline(unchanged.value, color=style.colour, linewidth=1.2)
    label_axes(ax, "AUC", "")


def importance(
    rows: Mapping[str, Measured], quantity: str, ax: Axes, *, style: LineStyle, labels: Mapping[str, str]
) -> None:
    """Draws one number for each feature as a bar from zero, the first on top.

    Args:
        rows: feature to the number.
        quantity: what the number is; heads the axes.
        ax: where to draw.
        style: the style of the model.
        labels: feature to its text.
    """
    _bars(rows, 0.0, ax, style=style, names=[caption(name, labels, 30) for name in rows])
    ax.axvline(0.0, color=GREY, linewidth=1.0)
    ax.set_title(quantity, fontsize=11, parse_math=False)


def _bars(rows: Mapping[str, Measured], start: float, ax: Axes, *, style: LineStyle, names: Sequence[Caption]) -> None:
    """Draws a bar from `start` to each number, with its interval and its name."""
    value, errors = with_errors(list(rows.values()))
    places = np.arange(len(rows))
    ax.barh(places, np.nan_to_num(value - start), left=start, height=0.62, color=style.colour, alpha=0.55)
    ax.errorbar(value, places, xerr=errors, color="black", marker="", linestyle="none", elinewidth=1.2)
    name_ticks(ax, "y", names)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.use_sticky_edges = False
    ax.margins(x=0.08)
    ax.xaxis.set_major_locator(MaxNLocator(4))
