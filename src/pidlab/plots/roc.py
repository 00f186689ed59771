"""Receiver operating characteristics: signal efficiency against rejection, which is 1 / misidentification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from pidlab.evaluate.results.run import ModelResult, Roc, WorkingPoint
from pidlab.measured import Array
from pidlab.plots.style import (
    LineStyle,
    error_lengths,
    label_axes,
    legend,
    log_scale,
    nothing_to_draw,
    shown,
    with_errors,
)
from pidlab.rounding import format_measured


def roc(models: Sequence[ModelResult], against: str, ax: Axes, *, styles: Mapping[str, LineStyle]) -> Axes:
    """Draw rejection of `against` over signal efficiency: curves with 68.3 % bands, and points for fixed cuts.

    Args:
        models: only those that were measured for `against` are drawn.
        against: a class, or "rest" for all others together.
        ax: where to draw.
        styles: model to its style.
    """
    entries: list[tuple[Any, str]] = []
    tops: list[Array] = []
    for model in models:
        style = styles[model.name]
        if model.fixed_cut:
            crosses = [_cross(point, _rejection(point, against), ax, style) for point in _points(model, against)]
            entries.extend((cross, model.name) for cross in crosses)
        elif against in model.roc:
            entries.append((_curve(model.roc[against], ax, style), model.name))
            tops.append(_inverse(model.roc[against].misid))
    if not entries:
        nothing_to_draw(ax, "no curve")
    log_scale(ax, np.concatenate(tops) if tops else np.array([]))
    label_axes(ax, "signal efficiency", f"rejection of {shown(against)}  (1 / misid)")
    legend(ax, entries, width=60)
    return ax


_SMALLEST_RATIO = 0.05
"""A curve leaves the panel below this share of the reference, so that it does not flatten the others."""


def roc_ratio(
    models: Sequence[ModelResult], against: str, ax: Axes, *, reference: ModelResult, styles: Mapping[str, LineStyle]
) -> Axes:
    """Draw each rejection divided by that of `reference` at the same efficiency.

    The reference is interpolated linearly between its points, which is exact for a random mixture of two decisions
    (Fawcett, Pattern Recognition Letters 27 (2006) 861). Bands leave out the uncertainty of the reference.
    """
    base = reference.roc[against]
    drawn: list[Array] = []
    for model in models:
        style = styles[model.name]
        if model.fixed_cut:
            for point in _points(model, against):
                drawn.append(_ratio_marker(point, against, base, ax, style))
        elif against in model.roc:
            drawn.append(_ratio_curve(model.roc[against], base, ax, style))
    ratios = np.concatenate(drawn) if drawn else np.array([])
    log_scale(ax, ratios[~(ratios < _SMALLEST_RATIO)], below=1.3, above=1.3)
    if ax.get_yscale() == "log":
        low, high = ax.get_ylim()
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 50 * low else (1.0,), numticks=8))
        ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    label_axes(ax, "signal efficiency", f"ratio to {shown(reference.name, 16)}")
    return ax


def roc_pairs(model: ModelResult, ax: Axes, *, styles: Sequence[LineStyle]) -> Axes:
    """Draw each pair of classes against each other: rejection of the second over efficiency of the first.

    Args:
        model: its `roc_pairs` are drawn.
        ax: where to draw.
        styles: a style for each pair.
    """
    curves = [(one, other, curve) for one, others in model.roc_pairs.items() for other, curve in others.items()]
    entries: list[tuple[Any, str]] = [
        (_curve(curve, ax, style), f"{shown(one, 12)} : {shown(other, 12)}, AUC {format_measured(curve.auc)}")
        for (one, other, curve), style in zip(curves, styles, strict=True)
    ]
    log_scale(ax, np.concatenate([_inverse(curve.misid) for *_, curve in curves]))
    label_axes(ax, "efficiency of the first", "rejection of the second  (1 / misid)")
    legend(ax, entries, title=model.name, width=76)
    return ax


def _inverse(misid: Array) -> Array:
    """Returns 1 / misid, NaN where misid is not positive."""
    rejection: Array = np.full(np.shape(misid), np.nan)
    return np.divide(1.0, misid, out=rejection, where=misid > 0)


def _curve(curve: Roc, ax: Axes, style: LineStyle) -> Any:
    """Draw rejection over efficiency with its band; returns the line."""
    (line,) = ax.plot(curve.efficiency, _inverse(curve.misid), color=style.colour, linestyle=style.line)
    _band(curve.efficiency, curve, np.ones_like(curve.misid), ax, style)
    return line


def _band(efficiency: Array, curve: Roc, base: Array, ax: Axes, style: LineStyle) -> None:
    """Fill between base / misid_high and base / misid_low; the band is open above if misid_low is 0."""
    low, high = base * _inverse(curve.misid_high), base * _inverse(curve.misid_low)
    high = np.where(np.isnan(high) & (curve.misid > 0), 1e30, high)
    ax.fill_between(efficiency, low, high, color=style.colour, alpha=0.2, linewidth=0)


def _ratio_curve(curve: Roc, base: Roc, ax: Axes, style: LineStyle) -> Array:
    at_same = base.misid if curve is base else _misid_at(curve.efficiency, base)
    ratio: Array = at_same * _inverse(curve.misid)
    ax.plot(curve.efficiency, ratio, color=style.colour, linestyle=style.line)
    _band(curve.efficiency, curve, at_same, ax, style)
    return ratio


def _misid_at(efficiency: Array, curve: Roc) -> Array:
    """Returns the misidentification (m,) of `curve` at efficiencies (m,), NaN beyond its ends."""
    # Negative weights can make the efficiency decrease in places; interpolation needs the running maximum.
    reached = np.maximum.accumulate(curve.efficiency)
    return np.interp(efficiency, reached, curve.misid, left=np.nan, right=np.nan)


def _points(model: ModelResult, against: str) -> list[WorkingPoint]:
    return [point for point in model.working_points if np.isfinite(_rejection(point, against)[0])]


def _rejection(point: WorkingPoint, against: str) -> tuple[float, float, float]:
    measured = point.rejection.get(against)
    return (np.nan, np.nan, np.nan) if measured is None else measured[:3]


def _ratio_marker(point: WorkingPoint, against: str, base: Roc, ax: Axes, style: LineStyle) -> Array:
    at_same = float(_misid_at(np.array([point.efficiency.value]), base)[0])
    value, low, high = (at_same * rejection for rejection in _rejection(point, against))
    _cross(point, (value, low, high), ax, style)
    return np.array([value])


def _cross(point: WorkingPoint, y: tuple[float, float, float], ax: Axes, style: LineStyle) -> Any:
    x, x_errors = with_errors([point.efficiency])
    value, low, high = (np.array([number]) for number in y)
    y_errors = error_lengths(value, low, np.where(np.isfinite(high), high, 1e30))
    return ax.errorbar(
        x, value, yerr=y_errors, xerr=x_errors, color=style.colour, marker=style.marker, markersize=7, capsize=2.5,
        linestyle="none", zorder=5,
    )  # fmt: skip
