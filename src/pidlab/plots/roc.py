"""Receiver operating characteristics of all models in one figure: signal efficiency against rejection, 1 / misid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from pidlab.evaluate.results import ModelResult, Roc, WorkingPoint
from pidlab.measured import Array
from pidlab.plots.style import Look, arms, columns, label_axes, legend, log_scale, nothing_to_draw, shown


def roc(models: Sequence[ModelResult], against: str, ax: Axes, *, looks: Mapping[str, Look]) -> Axes:
    """Draw rejection of `against` over signal efficiency: a curve with its 68.3 % band, or a point for hand-made cuts.

    Args:
        models: those without an answer for `against` are left out.
        against: a class, or "rest" for all others together.
        ax: where to draw.
        looks: one for each model.
    """
    entries: list[tuple[Any, str]] = []
    tops: list[Array] = []
    for model in models:
        look = looks[model.name]
        if model.fixed_cut:
            entries.extend((_marker(point, against, ax, look), model.name) for point in _points(model, against))
        elif against in model.roc:
            entries.append((_curve(model.roc[against], ax, look), model.name))
            tops.append(inverse(model.roc[against].misid))
    if not entries:
        nothing_to_draw(ax, "no curve")
    log_scale(ax, np.concatenate(tops) if tops else np.array([]))
    label_axes(ax, "signal efficiency", f"rejection of {shown(against)}  (1 / misid)")
    legend(ax, entries, width=60)
    return ax


_SMALLEST_RATIO = 0.05
"""Where a curve falls below this share of the reference, it leaves the panel rather than flatten the others."""


def roc_ratio(
    models: Sequence[ModelResult], against: str, ax: Axes, *, reference: ModelResult, looks: Mapping[str, Look]
) -> Axes:
    """Draw each rejection over that of `reference` at the same efficiency, the reference between its own points.

    Between two points of a curve the linear interpolation is exact: a random mixture of the two decisions
    (Fawcett, Pattern Recognition Letters 27 (2006) 861). The bands are each model's own, without the reference's.
    """
    base = reference.roc[against]
    drawn: list[Array] = []
    for model in models:
        look = looks[model.name]
        if model.fixed_cut:
            for point in _points(model, against):
                drawn.append(_ratio_marker(point, against, base, ax, look))
        elif against in model.roc:
            drawn.append(_ratio_curve(model.roc[against], base, ax, look))
    ratios = np.concatenate(drawn) if drawn else np.array([])
    log_scale(ax, ratios[~(ratios < _SMALLEST_RATIO)], below=1.3, above=1.3)
    if ax.get_yscale() == "log":
        low, high = ax.get_ylim()
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 50 * low else (1.0,), numticks=8))
        ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    label_axes(ax, "signal efficiency", f"ratio to {shown(reference.name, 16)}")
    return ax


def inverse(misid: Array) -> Array:
    """1 / misid, NaN where misid is not positive."""
    rejection: Array = np.full(np.shape(misid), np.nan)
    return np.divide(1.0, misid, out=rejection, where=misid > 0)


def _curve(curve: Roc, ax: Axes, look: Look) -> Any:
    (line,) = ax.plot(curve.efficiency, inverse(curve.misid), color=look.colour, linestyle=look.line)
    _band(curve.efficiency, curve, np.ones_like(curve.misid), ax, look)
    return line


def _band(efficiency: Array, curve: Roc, base: Array, ax: Axes, look: Look) -> None:
    """Fill between base / misid_high and base / misid_low; open above where misid_low is zero."""
    low, high = base * inverse(curve.misid_high), base * inverse(curve.misid_low)
    high = np.where(np.isnan(high) & (curve.misid > 0), 1e30, high)
    ax.fill_between(efficiency, low, high, color=look.colour, alpha=0.2, linewidth=0)


def _ratio_curve(curve: Roc, base: Roc, ax: Axes, look: Look) -> Array:
    at_same = base.misid if curve is base else _misid_at(curve.efficiency, base)
    ratio: Array = at_same * inverse(curve.misid)
    ax.plot(curve.efficiency, ratio, color=look.colour, linestyle=look.line)
    _band(curve.efficiency, curve, at_same, ax, look)
    return ratio


def _misid_at(efficiency: Array, curve: Roc) -> Array:
    """The misidentification of `curve` at other efficiencies (m,), NaN beyond its ends."""
    # Weights of both signs can let the efficiency fall for a while: what it had reached counts.
    reached = np.maximum.accumulate(curve.efficiency)
    return np.interp(efficiency, reached, curve.misid, left=np.nan, right=np.nan)


def _points(model: ModelResult, against: str) -> list[WorkingPoint]:
    return [point for point in model.working_points if np.isfinite(_rejection(point, against)[0])]


def _rejection(point: WorkingPoint, against: str) -> tuple[float, float, float]:
    measured = point.rejection.get(against)
    return (np.nan, np.nan, np.nan) if measured is None else measured[:3]


def _marker(point: WorkingPoint, against: str, ax: Axes, look: Look) -> Any:
    return _cross(point, _rejection(point, against), ax, look)


def _ratio_marker(point: WorkingPoint, against: str, base: Roc, ax: Axes, look: Look) -> Array:
    at_same = float(_misid_at(np.array([point.efficiency.value]), base)[0])
    value, low, high = (at_same * rejection for rejection in _rejection(point, against))
    _cross(point, (value, low, high), ax, look)
    return np.array([value])


def _cross(point: WorkingPoint, y: tuple[float, float, float], ax: Axes, look: Look) -> Any:
    x, x_low, x_high = columns([point.efficiency])
    value, low, high = (np.array([number]) for number in y)
    high = np.where(np.isfinite(high), high, 1e30)
    style: dict[str, Any] = {
        "color": look.colour,
        "marker": look.marker,
        "markersize": 7,
        "capsize": 2.5,
        "linestyle": "none",
    }
    return ax.errorbar(x, value, yerr=arms(value, low, high), xerr=arms(x, x_low, x_high), zorder=5, **style)
