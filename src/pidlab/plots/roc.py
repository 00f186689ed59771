"""Receiver operating characteristics: signal efficiency against rejection, which is 1 / misidentification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

from pidlab.config.names import SWEET_SPOT, YOUDEN
from pidlab.evaluate.results import ModelResult, Roc, WorkingPoint
from pidlab.measured import Array, format_measured
from pidlab.plots.canvas.style import (
    LineStyle,
    draw_limits,
    error_lengths,
    label_axes,
    legend,
    log_scale,
    nothing_to_draw,
    shown,
    with_errors,
)

# The marker, its size in points, and what the legend says of it: both can be seen where they coincide.
_OPTIMAL = {SWEET_SPOT: ("o", 6.5, "nearest to (0, 1)"), YOUDEN: ("D", 3.5, "Youden")}


def roc(models: Sequence[ModelResult], against: str, ax: Axes, *, styles: Mapping[str, LineStyle]) -> None:
    """Draws rejection of `against` over signal efficiency: curves with 68.3 % bands, and points for fixed cuts.

    Each curve has small markers at its sweet spot and at Youden's point, as far as something of `against` passes there.
    A fixed cut that no candidate of `against` passes is an arrow up from the 68.3 % lower limit of its rejection.

    Args:
        models: only those that were measured for `against` are drawn.
        against: a class, or "rest" for all others together.
        ax: where to draw.
        styles: model to its style.
    """
    entries: list[tuple[Any, str]] = []
    tops: list[Array] = []
    marked: set[str] = set()
    for model in models:
        style = styles[model.name]
        if model.fixed_cut:
            for point in _points(model, against):
                entries.append((_cross(point, _rejection(point, against), ax, style), model.name))
                tops.append(np.array(_rejection(point, against)))
            for point in _nothing_passes(model, against):
                efficiency, limit = np.array([point.efficiency.value]), np.array([point.rejection[against].low])
                entries.append((draw_limits(ax, efficiency, limit, style, up=True), model.name))
                tops.append(2 * limit)  # the end of the arrow
        elif against in model.roc:
            entries.append((_curve(model.roc[against], ax, style), model.name))
            marked |= _mark_optimal(model, against, ax, style)
            tops.append(_inverse(model.roc[against].misid))
    if not entries:
        nothing_to_draw(ax, "no curve")
    log_scale(ax, np.concatenate(tops) if tops else np.array([]))
    label_axes(ax, "signal efficiency", f"rejection of {shown(against)}  (1 / misid)")
    entries += [(Line2D([], [], **_optimal_look(n, "0.3")), text) for n, (*_, text) in _OPTIMAL.items() if n in marked]
    legend(ax, entries)


def _mark_optimal(model: ModelResult, against: str, ax: Axes, style: LineStyle) -> set[str]:
    """Marks the optimal points of a curve in its colour, and returns the names of those that can be drawn."""
    marked = set()
    for point in model.optimal_points.get(against, ()):
        rejection = _rejection(point, against)[0]
        if np.isfinite(rejection) and rejection > 0:
            ax.plot(point.efficiency.value, rejection, zorder=4, **_optimal_look(point.name, style.colour))
            marked.add(point.name)
    return marked


def _optimal_look(name: str, colour: str) -> dict[str, Any]:
    marker, size, _ = _OPTIMAL[name]
    edge = {"markeredgecolor": colour, "markeredgewidth": 1.3}
    return {"marker": marker, "markersize": size, "markerfacecolor": "white", "linestyle": "none", **edge}


def roc_ratio(
    models: Sequence[ModelResult], against: str, ax: Axes, *, reference: ModelResult, styles: Mapping[str, LineStyle]
) -> None:
    """Draws each rejection divided by that of `reference` at the same efficiency.

    The reference is interpolated linearly between its points, which is exact for a random mixture of two decisions
    (Fawcett, Pattern Recognition Letters 27 (2006) 861). That of a fixed cut consists of the straight lines from (0, 0)
    through its point to (1, 1). Bands leave out the uncertainty of the reference.

    The axis holds all curves and all points with their errors; only bands may leave it. It is logarithmic if these span
    more than a factor of ten.
    """
    base = _mixtures(reference, against)
    drawn: list[Array] = []
    for model in models:
        style = styles[model.name]
        if model.fixed_cut:
            if model is reference:
                ax.axhline(1.0, color=style.colour, linestyle=style.line)
            drawn += [_ratio_marker(point, against, base, ax, style) for point in _points(model, against)]
        elif against in model.roc:
            drawn.append(_ratio_curve(model.roc[against], base, ax, style, is_base=model is reference))
    _ratio_scale(ax, np.concatenate([[1.0], *drawn]))
    how = "\n(mixed at random)" if reference.fixed_cut else ""
    label_axes(ax, "signal efficiency", f"ratio to {shown(reference.name, 16)}{how}")


class _Base(NamedTuple):
    """What the ratio panel divides by: rising efficiencies (m,) and misidentifications (m,), linear between them."""

    efficiency: Array
    misid: Array

    def misid_at(self, efficiency: Array) -> Array:
        """Returns the misidentification (n,) at efficiencies (n,), NaN beyond the ends."""
        return np.interp(efficiency, self.efficiency, self.misid, left=np.nan, right=np.nan)


def _mixtures(reference: ModelResult, against: str) -> _Base:
    if not reference.fixed_cut:
        curve = reference.roc[against]
        # Negative weights can make the efficiency decrease in places; interpolation needs the running maximum.
        return _Base(np.maximum.accumulate(curve.efficiency), curve.misid)
    points = sorted((p.efficiency.value, p.misid[against].value) for p in _points(reference, against))
    # A cut that all signal passes ends the curve: what lies above it costs more and gains nothing.
    end = [(1.0, 1.0)] if not points or points[-1][0] < 1 else []
    efficiency, misid = zip((0.0, 0.0), *points, *end, strict=True)
    return _Base(np.array(efficiency), np.array(misid))


def _ratio_scale(ax: Axes, ratios: Array) -> None:
    """Sets the limits of the y axis around the positive `ratios`, on a log axis if they span more than ten."""
    positive = ratios[np.isfinite(ratios) & (ratios > 0)]
    low, high = float(positive.min()), float(positive.max())
    if high <= 10 * low:
        margin = max(0.08 * (high - low), 0.02 * high)
        ax.set_ylim(low - margin, high + margin)
        ax.yaxis.set_major_locator(MaxNLocator(4))
        return
    log_scale(ax, positive, below=1.3, above=1.3)
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 50 * low else (1.0,), numticks=8))
    ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def roc_pairs(model: ModelResult, ax: Axes, *, styles: Sequence[LineStyle]) -> None:
    """Draws each pair of classes against each other: rejection of the second over efficiency of the first.

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
    legend(ax, entries, title=model.name)


def _inverse(misid: Array) -> Array:
    """Returns 1 / misid, NaN where misid is not positive."""
    rejection: Array = np.full(np.shape(misid), np.nan)
    return np.divide(1.0, misid, out=rejection, where=misid > 0)


def _curve(curve: Roc, ax: Axes, style: LineStyle) -> Any:
    """Draws rejection over efficiency with its band; returns the line."""
    (line,) = ax.plot(curve.efficiency, _inverse(curve.misid), color=style.colour, linestyle=style.line)
    _band(curve.efficiency, curve, np.ones_like(curve.misid), ax, style)
    return line


def _band(efficiency: Array, curve: Roc, base: Array, ax: Axes, style: LineStyle) -> None:
    """Fills between base / misid_high and base / misid_low; the band is open above if misid_low is 0."""
    low, high = base * _inverse(curve.misid_high), base * _inverse(curve.misid_low)
    high = np.where(np.isnan(high) & (curve.misid > 0), 1e30, high)
    ax.fill_between(efficiency, low, high, color=style.colour, alpha=0.2, linewidth=0)


def _ratio_curve(curve: Roc, base: _Base, ax: Axes, style: LineStyle, *, is_base: bool) -> Array:
    at_same = base.misid if is_base else base.misid_at(curve.efficiency)
    ratio: Array = at_same * _inverse(curve.misid)
    ax.plot(curve.efficiency, ratio, color=style.colour, linestyle=style.line)
    _band(curve.efficiency, curve, at_same, ax, style)
    return ratio


def _points(model: ModelResult, against: str) -> list[WorkingPoint]:
    return [point for point in model.working_points if np.isfinite(_rejection(point, against)[0])]


def _nothing_passes(model: ModelResult, against: str) -> list[WorkingPoint]:
    """Returns the points of which the rejection has a lower bound, but no value because no candidate passes."""
    points = [p for p in model.working_points if against in p.rejection]
    return [p for p in points if np.isinf(p.rejection[against].value) and 0 < p.rejection[against].low < np.inf]


def _rejection(point: WorkingPoint, against: str) -> tuple[float, float, float]:
    measured = point.rejection.get(against)
    return (np.nan, np.nan, np.nan) if measured is None else measured[:3]


def _ratio_marker(point: WorkingPoint, against: str, base: _Base, ax: Axes, style: LineStyle) -> Array:
    """Draws the ratio of one point with its errors, and returns what must be inside the axis."""
    at_same = float(base.misid_at(np.array([point.efficiency.value]))[0])
    ratio = [at_same * rejection for rejection in _rejection(point, against)]
    _cross(point, (ratio[0], ratio[1], ratio[2]), ax, style)
    return np.array(ratio)


def _cross(point: WorkingPoint, y: tuple[float, float, float], ax: Axes, style: LineStyle) -> Any:
    x, x_errors = with_errors([point.efficiency])
    value, low, high = (np.array([number]) for number in y)
    y_errors = error_lengths(value, low, np.where(np.isfinite(high), high, 1e30))
    return ax.errorbar(
        x, value, yerr=y_errors, xerr=x_errors, color=style.colour, marker=style.marker, markersize=7, capsize=2.5,
        linestyle="none", zorder=5,
    )  # fmt: skip
