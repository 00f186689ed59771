"""Efficiencies in data and simulation against one axis of the bins, a row of panels for the bins of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pidlab.measured import Array
from pidlab.plots.canvas.style import GREY, LineStyle, draw_points, error_lengths, label_axes, legend, new_figure

_DATA, _SIMULATION, _FAILED = "#1c1e21", "#00609c", "#b3261e"
_MOST_COLUMNS = 4


class Series(NamedTuple):
    """Numbers (b,) in the bins of one axis.

    Attributes:
        value, low, high: with the statistical interval; NaN where there is none.
        total_low, total_high: bounds with systematics.
    """

    value: Array
    low: Array
    high: Array
    total_low: Array
    total_high: Array


class Slice(NamedTuple):
    """The efficiencies along one axis in one bin of the others.

    Attributes:
        title: the bin of the other axes; empty if there are none.
        data: the efficiency in data.
        simulation, scale_factor: None without a simulation.
        doubtful: (b,) true where the nominal fit does not describe the data, or an alternative failed.
    """

    title: str
    data: Series
    simulation: Series | None
    scale_factor: Series | None
    doubtful: Array


def efficiency_figure(edges: Array, slices: Sequence[Slice], *, axis: str, title: str) -> Figure:
    """Returns the efficiencies of one working point, with the scale factor below them if there is one.

    A bin without an efficiency is marked by a cross, and one whose fit is doubtful by an open point.

    Args:
        edges: (b + 1,) of the axis.
        slices: a panel each, in rows of four.
        axis: the label of the axis.
        title: heads the first panel.
    """
    n_columns = min(len(slices), _MOST_COLUMNS)
    n_rows = -(-len(slices) // n_columns)
    with_factor = any(each.scale_factor is not None for each in slices)
    height = 3.4 if with_factor else 2.8
    figure = new_figure(1.0 + 3.2 * n_columns, 0.6 + height * n_rows)
    outer = figure.add_gridspec(n_rows, n_columns, hspace=0.45, wspace=0.12)
    tops: list[Axes] = []
    bottoms: list[Axes] = []
    for number, each in enumerate(slices):
        cell = outer[divmod(number, n_columns)]
        if with_factor:
            inner = cell.subgridspec(2, 1, height_ratios=[2, 1], hspace=0.06)
            top, bottom = figure.add_subplot(inner[0]), figure.add_subplot(inner[1])
            bottoms.append(bottom)
        else:
            top = bottom = figure.add_subplot(cell)
        tops.append(top)
        entries = _efficiencies(top, edges, each)
        if bottom is not top:
            top.tick_params(labelbottom=False)
            _factor(bottom, edges, each)
        first = number % n_columns == 0
        label_axes(bottom, axis, "" if bottom is not top or not first else "efficiency")
        if bottom is not top and first:
            label_axes(top, "", "efficiency")
            label_axes(bottom, axis, "scale factor")
        for ax in {top, bottom}:
            ax.tick_params(labelleft=first)
        heading = ", ".join(text for text in (title if number == 0 else "", each.title) if text)
        legend(top, entries if number == 0 else [], title=heading)
    _same_limits(tops, [e for s in slices for e in (s.data, s.simulation)], at_most=1.02)
    _same_limits(bottoms, [s.scale_factor for s in slices], at_most=np.inf)
    return figure


def _efficiencies(ax: Axes, edges: Array, one: Slice) -> list[tuple[object, str]]:
    entries: list[tuple[object, str]] = []
    if one.simulation is not None:
        entries.append((_points(ax, edges, one.simulation, _SIMULATION, "s", None), "simulation"))
    entries.insert(0, (_points(ax, edges, one.data, _DATA, "o", one.doubtful), "data"))
    ax.set_xlim(edges[0], edges[-1])
    return entries


def _factor(ax: Axes, edges: Array, one: Slice) -> None:
    ax.axhline(1.0, color=GREY, linewidth=0.8)
    if one.scale_factor is not None:
        _points(ax, edges, one.scale_factor, _DATA, "o", one.doubtful)
    ax.set_xlim(edges[0], edges[-1])


def _points(ax: Axes, edges: Array, series: Series, colour: str, marker: str, doubtful: Array | None) -> object:
    """Draws numbers with their statistical bars, and boxes as high as the whole error; returns the points."""
    centres, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    for x, w, low, high in zip(centres, half, series.total_low, series.total_high, strict=True):
        if np.isfinite(low) and np.isfinite(high):
            ax.fill_between([x - w, x + w], low, high, color=colour, alpha=0.18, linewidth=0)
    lengths = error_lengths(series.value, series.low, series.high)
    made = draw_points(ax, centres, series.value, LineStyle(colour, marker, ""), 4.0, 1.1, xerr=half, yerr=lengths)
    if doubtful is not None and doubtful.any():
        open_points: dict[str, Any] = {"color": colour, "markersize": 4.5, "linestyle": "none", "zorder": 5}
        ax.plot(centres[doubtful], series.value[doubtful], marker=marker, markerfacecolor="white", **open_points)
    missing = centres[np.isnan(series.value)]
    if doubtful is not None and len(missing):
        crosses: dict[str, Any] = {"color": _FAILED, "markersize": 7, "markeredgewidth": 2, "linestyle": "none"}
        ax.plot(missing, np.full(len(missing), 0.08), marker="x", transform=ax.get_xaxis_transform(), **crosses)
    return made


def _same_limits(axes: Sequence[Axes], series: Sequence[Series | None], at_most: float) -> None:
    known = [values for each in series if each is not None for values in (each.total_low, each.total_high, each.value)]
    values = np.concatenate(known) if known else np.empty(0)
    values = values[np.isfinite(values)]
    if not len(values):
        return
    low, high = float(values.min()), float(values.max())
    room = 0.08 * max(high - low, 0.02)
    for ax in axes:
        ax.set_ylim(max(low - room, 0.0), min(high + room, at_most))
