"""The response of a model: the distribution of its score in each true class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from pidlab.evaluate.results.run import ModelResult
from pidlab.plots.style import GREY, LineStyle, draw_density, label_axes, legend, log_scale, nothing_to_draw, shown


def response(model: ModelResult, ax: Axes, *, signal: str, styles: Mapping[str, LineStyle]) -> Axes:
    """Draw the score of `model` for each class with unit area on a log axis.

    Args:
        model: its `response` is drawn, "test" filled and "train" as points with errors, and its thresholds as dashed
            lines.
        ax: where to draw.
        signal: the class whose score it is.
        styles: class to its style.
    """
    entries: list[tuple[Any, str]] = []
    heights: list[float] = []
    for sample, draw in (("test", _filled), ("train", _points)):
        for particle, histogram in model.response.get(sample, {}).items():
            drawn = draw(histogram, ax, styles[particle])
            if drawn is not None:
                entries.append((drawn, f"{particle}, {sample}"))
                heights.extend(_heights(drawn))
    if not entries:
        nothing_to_draw(ax, "no candidates")
    log_scale(ax, np.asarray(heights), above=25.0 if model.working_points else 2.0)
    _thresholds(model, ax)
    label_axes(ax, f"score for {shown(signal)}", "density")
    legend(ax, entries, title=model.name, width=44)
    return ax


def _filled(histogram: Any, ax: Axes, style: LineStyle) -> Any:
    drawn = draw_density(
        histogram, ax, errors=False, histtype="fill", facecolor=style.colour, edgecolor=style.colour, alpha=0.35
    )
    return None if drawn is None else drawn.stairs


def _points(histogram: Any, ax: Axes, style: LineStyle) -> Any:
    properties = {"color": style.colour, "marker": style.marker, "markersize": 3.5, "elinewidth": 1.0}
    drawn = draw_density(histogram, ax, errors=True, histtype="errorbar", **properties)
    return None if drawn is None else drawn.errorbar


def _heights(drawn: Any) -> list[float]:
    values = drawn.get_data().values if hasattr(drawn, "get_data") else drawn.lines[0].get_ydata()
    return [float(value) for value in values]


def _thresholds(model: ModelResult, ax: Axes) -> None:
    low, high = ax.get_xlim()
    # A working point that no cut reaches has a threshold beyond every score, which would stretch the axis.
    inside = [p for p in model.working_points if p.flat is None and low <= p.threshold <= high]
    for i, point in enumerate(inside):
        ax.axvline(point.threshold, color=GREY, linestyle="--", linewidth=1.0)
        ax.text(
            point.threshold, 0.98 - 0.1 * (i % 6), f"{shown(point.name)} ", rotation=90, fontsize=9, color=GREY,
            transform=ax.get_xaxis_transform(), ha="right", va="top", parse_math=False,
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6},
        )  # fmt: skip
