"""Species fractions: the scores of data with the fitted classes, and the fractions against a variable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pidlab.evaluate.results import Fractions, FractionsBin, ModelFractions
from pidlab.plots.canvas.style import (
    GREY,
    LineStyle,
    caption,
    class_styles,
    context,
    draw_points,
    label_axes,
    legend,
    nothing_to_draw,
    shown,
    with_errors,
)
from pidlab.plots.sheets.sheet import grid, stack

_OFFSET = 0.12  # of the width of a bin, between the points of the two methods


def figures(found: Fractions, signal: str, labels: Mapping[str, str]) -> Iterator[tuple[str, Figure]]:
    """Yields the name and the figure of each fit, and the fractions by each model against the variable."""
    styles = class_styles(found.classes, signal)
    for model in found.models:
        for b, each in enumerate(model.bins):
            name = f"fit_{model.model}_bin{b}" if found.variable else f"fit_{model.model}"
            with context(name):
                figure = score_figure(model.model, each, found.variable, styles)
            yield name, figure
        if found.variable:
            name = f"fractions_{model.model}"
            with context(name):
                figure = fractions_figure(model, found, styles, labels)
            yield name, figure


def score_figure(model: str, each: FractionsBin, variable: str, styles: Mapping[str, LineStyle]) -> Figure:
    """Returns the scores of data in their bins with the fitted content of each class on each other, and the pulls."""
    figure, (top, bottom) = stack(2, 6.4, 5.0, gap=0.08, ratios=(3.2, 1))
    draw_scores(each, top, styles)
    where = f", {shown(variable)} {each.low:g} to {each.high:g}" if variable else ""
    goodness = f"χ²/ndf {each.chi2:.1f}/{each.ndf}, p = {each.p:.2g}" if each.fitted else shown(each.fit.problem, 70)
    if each.fitted and each.ndf == 0:  # as many bins as classes: every fit goes through all points
        goodness = "no degree of freedom is left"
    top.text(
        0.98, 0.97, f"{shown(model)}{where}\n{goodness}", transform=top.transAxes, ha="right", va="top", fontsize=9
    )
    top.set_ylim(top=1.3 * top.get_ylim()[1])  # room for the text
    if each.fitted:
        total = np.sum([*each.fitted.values()], axis=0)
        error = np.sqrt(np.maximum(total, 0) * _variance(each) + each.template_error**2)
        pulls = np.divide(each.observed - total, error, out=np.zeros(len(total)), where=error > 0)
        bottom.bar(np.arange(len(pulls)) + 0.5, pulls, width=1.0, color=GREY, alpha=0.6)
        bottom.axhline(0.0, color="black", linewidth=0.8)
        most = max(3.5, 1.1 * float(np.abs(pulls).max(initial=0.0)))
        bottom.set_ylim(-most, most)
    else:
        nothing_to_draw(bottom, "no fit")
    label_axes(bottom, _score_axis(each), "pull")
    label_axes(top, "", "candidates")
    return figure


def _variance(each: FractionsBin) -> float:
    """Returns the mean variance of a unit of data: 1 without weights."""
    total = float(each.observed.sum())
    return float((each.observed_error**2).sum()) / total if total > 0 else 1.0


def _score_axis(each: FractionsBin) -> str:
    names = [name for name in each.names if name]
    return f"bin of the score, by the largest: {', '.join(names)}" if names else "bin of the signal's score"


def draw_scores(each: FractionsBin, ax: Axes, styles: Mapping[str, LineStyle]) -> None:
    """Draws data as points with errors, and what is fitted of each class stacked below them."""
    n = len(each.observed)
    centre, base, entries = np.arange(n) + 0.5, np.zeros(n), []
    for name, values in each.fitted.items():
        bars = ax.bar(centre, values, width=1.0, bottom=base, color=styles[name].colour, alpha=0.5)
        entries.append((bars, name))
        base = base + values
    points = ax.errorbar(
        centre, each.observed, yerr=each.observed_error, color="black", marker="o", markersize=3.5, linestyle="none"
    )
    first = 0
    for size in list(each.names.values())[:-1]:
        first += size
        ax.axvline(first, color=GREY, linewidth=0.8, linestyle="dotted")
    ax.set_xlim(0, n)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.set_ylim(bottom=min(0.0, float(each.observed.min(initial=0.0))))
    legend(ax, [(points, "data"), *entries])


def fractions_figure(
    model: ModelFractions, found: Fractions, styles: Mapping[str, LineStyle], labels: Mapping[str, str]
) -> Figure:
    """Returns the fraction of each class against the variable, by the fit (filled) and the inverted matrix (open)."""
    figure, axes = grid(1, 1, 6.4, 4.4)
    ax = axes[0]
    x, half = centres(model.bins)
    entries = []
    for method, offset, face in (("fit", -_OFFSET, None), ("inverted", _OFFSET, "white")):
        place = x + offset * half
        for name in found.classes:
            value, lengths = with_errors([getattr(each, method).fractions[name] for each in model.bins])
            known = np.isfinite(value)
            if not known.any():
                continue
            style = styles[name]
            sides = (place - x + half, x + half - place) if method == "fit" and known.all() else None
            points = draw_points(
                ax, place[known], value[known], style, 5, 1.0, xerr=sides, yerr=lengths[:, known],
                markerfacecolor=face or style.colour,
            )  # fmt: skip
            entries.append((points, name if method == "fit" else f"{name}, inverted matrix"))
    if not entries:
        nothing_to_draw(ax, "no fractions")
    legend(ax, entries)
    label_axes(ax, caption(found.variable, labels), f"fraction by {shown(model.model)}")
    return figure


def centres(bins: Sequence[FractionsBin]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the centre and half the width of each bin; an outermost one without an edge is as wide as the next."""
    low, high = np.array([each.low for each in bins]), np.array([each.high for each in bins])
    width = high - low
    typical = float(np.median(width[np.isfinite(width)])) if np.isfinite(width).any() else 1.0
    low = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high - typical, 0.0))
    high = np.where(np.isfinite(high), high, low + typical)
    return (low + high) / 2, (high - low) / 2
