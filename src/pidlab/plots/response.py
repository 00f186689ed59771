"""The response of a model: the distribution of its score in each true class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from pidlab.evaluate.results import Histogram, ModelResult
from pidlab.measured import Array
from pidlab.plots.canvas.style import (
    GREY,
    LineStyle,
    draw_density,
    draw_limits,
    label_axes,
    legend,
    log_scale,
    nothing_to_draw,
    outline,
    shown,
)


def response(model: ModelResult, ax: Axes, *, signal: str, styles: Mapping[str, LineStyle]) -> None:
    """Draws the score of `model` for each class with unit area on a log axis.

    Where a class has candidates of test in a bin but none of train, an arrow at the 68.3 % upper limit stands for the
    point. The axis covers what there is, and the thresholds, if these fill less than 70 % of it.

    Args:
        model: its `response` is drawn, "test" as outlines, which are filled for up to two classes, and "train" as
            points with errors, and its thresholds as dashed lines.
        ax: where to draw.
        signal: the class whose score it is.
        styles: class to its style.
    """
    entries: list[tuple[Any, str]] = []
    heights: list[float] = []
    # Fillings of three classes and more cover each other.
    looks = {"test": _filled if len(styles) <= 2 else outline, "train": _points}
    for sample, look in looks.items():
        for particle, histogram in model.response.get(sample, {}).items():
            drawn = draw_density(histogram, ax, **look(styles[particle]))
            if drawn is not None:
                entries.append((drawn.artist, f"{particle}, {sample}"))
                heights.extend(drawn.values)
                if sample == "train":
                    limits = _limits(histogram, model.response.get("test", {}).get(particle))
                    draw_limits(ax, (histogram.edges[1:] + histogram.edges[:-1]) / 2, limits, styles[particle])
                    heights.extend(limits / 2)  # where the arrows end
    if not entries:
        nothing_to_draw(ax, "no candidates")
    log_scale(ax, np.asarray(heights), above=25.0 if model.working_points else 2.0)
    _zoom(model, ax)
    _thresholds(model, ax)
    label_axes(ax, f"score for {shown(signal)}", "density")
    legend(ax, entries, title=model.name, columns=2)


def _filled(style: LineStyle) -> dict[str, Any]:
    colours = {"facecolor": (style.colour, 0.3), "edgecolor": style.colour}
    return {"fill": True, "linestyle": style.line, "linewidth": 1.0, **colours}


def _points(style: LineStyle) -> dict[str, Any]:
    return {"points": True, "color": style.colour, "marker": style.marker, "markersize": 3.5}


def _limits(train: Histogram, test: Histogram | None) -> Array:
    """Returns (b,) upper limits of the density in bins where only test has entries, NaN in the others."""
    limit = train.limit_if_empty / (train.sumw[1:-1].sum() * np.diff(train.edges))
    filled = np.zeros(len(limit), bool) if test is None else test.sumw2[1:-1] > 0
    return np.where((train.sumw2[1:-1] == 0) & filled, limit, np.nan)


def _zoom(model: ModelResult, ax: Axes) -> None:
    """Limits the axis to the bins with candidates and to the thresholds if they fill less than 70 % of the axis."""
    histograms = [h for by_class in model.response.values() for h in by_class.values()]
    if not histograms:
        return
    edges = histograms[0].edges
    filled = np.flatnonzero(np.any([h.sumw2[1:-1] > 0 for h in histograms], axis=0))
    if len(filled):
        marked = [p.threshold for p in model.working_points if edges[0] <= p.threshold <= edges[-1]]
        low, high = min([edges[filled[0]], *marked]), max([edges[filled[-1] + 1], *marked])
        if high - low < 0.7 * (edges[-1] - edges[0]):
            margin = 0.05 * (high - low)
            ax.set_xlim(low - margin, high + margin)


def _thresholds(model: ModelResult, ax: Axes) -> None:
    low, high = ax.get_xlim()
    # A working point that no cut reaches has a threshold beyond every score, which would stretch the axis.
    inside = [p for p in model.working_points if p.flat is None and low <= p.threshold <= high]
    mark_thresholds([(point.name, point.threshold) for point in inside], ax)


def mark_thresholds(thresholds: Sequence[tuple[str, float]], ax: Axes) -> None:
    """Draws a line at each threshold with the name of its working point, each name a step below the one before."""
    for i, (name, threshold) in enumerate(thresholds):
        ax.axvline(threshold, color=GREY, linestyle="--", linewidth=1.0)
        ax.text(
            threshold, 0.98 - 0.1 * (i % 6), f"{shown(name)} ", rotation=90, fontsize=9, color=GREY,
            transform=ax.get_xaxis_transform(), ha="right", va="top", parse_math=False,
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6},
        )  # fmt: skip
