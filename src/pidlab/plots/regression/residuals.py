"""Residuals, predictions and pulls of the models of a regression, and what depends on the target or a spectator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, SymmetricalLogLocator

from pidlab.evaluate.results import FeaturePair, Histogram, RegressionModel, ResidualTrend
from pidlab.measured import Array, Measured, format_number
from pidlab.plots.canvas.style import (
    BLACK,
    GREY,
    NO_LABELS,
    LineStyle,
    caption,
    draw_densities,
    draw_points,
    error_lengths,
    label_axes,
    legend,
    log_scale,
    name_ticks,
    nothing_to_draw,
    outline,
    shown,
    visible_edges,
    with_errors,
)
from pidlab.plots.comparison import forest
from pidlab.plots.efficiency import hatch_thin
from pidlab.plots.exploring.scatter import density

_FEW_OUTSIDE = 0.005  # more than the 0.2 % that edges of the central 99.8 % leave out
_TAIL = 8.0  # the same for the train and test of one model, whose tails matter more
CORE = 4.0
"""How many σ68 of the best model the linear panel of residuals shows to each side."""
_WIDE_RANGE = 50.0  # of the smallest error: beyond it differences are drawn on a scale that is linear only near zero
_FEWEST_BINS = 40  # enough for a shape, and few enough that dashed lines are told apart
_MOST_OUTLIERS = 8.0  # times the median half length: longer intervals would flatten the others


def residuals(
    models: Sequence[RegressionModel], ax: Axes, *, styles: Mapping[str, LineStyle], log: bool, reach: float = 0.0
) -> list[tuple[Any, str]]:
    """Draws the residuals of models on test with unit area, on a linear or a logarithmic axis.

    Args:
        models: those to draw.
        ax: where to draw.
        styles: model to its style.
        log: whether the y axis is logarithmic.
        reach: the end of the x axis to each side; 0 for all bins.

    Returns:
        The lines with the names of the models, for a legend.
    """
    ax.axvline(0.0, color=GREY, linewidth=1.0)
    some = ((m.name, _coarser(m.residuals["test"], reach), outline(styles[m.name])) for m in models)
    entries, heights = draw_densities(some, ax, "no residuals")
    if log:
        log_scale(ax, heights)
    elif entries:
        ax.set_ylim(0.0, 1.08 * float(heights.max()))
    if models:
        edges = models[0].residuals["test"].edges
        end = min(reach, float(edges[-1])) if reach > 0 else float(edges[-1])
        ax.set_xlim(-end, end)
    label_axes(ax, "prediction − target", "density")
    return entries


def _coarser(histogram: Histogram, reach: float) -> Histogram:
    """Returns the histogram with as many neighbouring bins merged as leave `_FEWEST_BINS` up to `reach`."""
    edges = histogram.edges
    inside = np.count_nonzero(np.abs(edges) <= reach) if reach > 0 else len(edges)
    n = next(n for n in (8, 5, 4, 2, 1) if n == 1 or ((len(edges) - 1) % n == 0 and inside / n >= _FEWEST_BINS))
    return merged(histogram, n)


def core_reach(models: Sequence[RegressionModel]) -> float:
    """Returns the residual to which the linear panel reaches; 0 if no model has a width."""
    widths = [m.test.sigma68.value for m in models if m.test.sigma68.value > 0]
    return CORE * min(widths) if widths else 0.0


def train_and_test(model: RegressionModel, ax: Axes, *, style: LineStyle) -> None:
    """Draws the residuals of one model on test, filled, and on train, as points with errors."""
    edges, width = model.residuals["test"].edges, model.test.sigma68.value
    reach = min(_TAIL * width, float(edges[-1])) if width > 0 else float(edges[-1])
    look: dict[str, dict[str, Any]] = {
        "test": {"fill": True, "alpha": 0.35, "color": style.colour},
        "train": {"points": True, "markersize": 3.0, "color": style.colour},
    }
    shapes = {sample: _coarser(model.residuals[sample], reach) for sample in look if sample in model.residuals}
    entries, heights = draw_densities(((each, shapes[each], look[each]) for each in shapes), ax, "no residuals")
    log_scale(ax, heights)
    ax.set_xlim(-reach, reach)
    label_axes(ax, "prediction − target", "density")
    legend(ax, entries, title=shown(model.name))


def merged(histogram: Histogram, n: int) -> Histogram:
    """Returns the histogram with n neighbouring bins as one; its number of bins must be a multiple of n."""
    sums = [np.concatenate([s[:1], s[1:-1].reshape(-1, n).sum(1), s[-1:]]) for s in (histogram.sumw, histogram.sumw2)]
    return Histogram(histogram.edges[::n], sums[0], sums[1], histogram.entries, histogram.moments)


def prediction_plane(
    model: RegressionModel, target: str, ax: Axes, *, style: LineStyle, labels: Mapping[str, str] = NO_LABELS
) -> None:
    """Draws the density of prediction against target on a logarithmic scale, the mean prediction, and the diagonal.

    Where more than half a per cent of the candidates lie outside, the axis of the target says how many.
    """
    edges, plane = model.plane.edges, model.plane.plane
    outside = 1 - plane.entries / model.test.n if model.test.n else 0.0
    name = f"prediction of {model.name}"
    if density(FeaturePair(target, name, edges, edges, {name: plane}), name, ax, style=style, labels=labels):
        (line,) = ax.plot(edges[[0, -1]], edges[[0, -1]], color="black", linewidth=1.0, linestyle=(0, (5, 2)))
        centres = (edges[1:] + edges[:-1]) / 2
        known = plane.error < edges[-1] - edges[0]  # a wider error, as of weights that cancel, says nothing
        points = draw_points(ax, centres[known], plane.mean[known], BLACK, 2.5, 1.0, yerr=plane.error[known])
        ax.set_title("")
        legend(ax, [(points, "mean prediction"), (line, "prediction = target")])
    remark = f"  ({format_number(100 * outside, 2)} % outside)" if outside > _FEW_OUTSIDE else ""
    label_axes(ax, caption(target, labels, 30, remark=remark), shown(name))


def trend(
    trends: Mapping[str, ResidualTrend],
    quantity: Literal["bias", "sigma68"],
    ax: Axes,
    *,
    styles: Mapping[str, LineStyle],
    labels: Mapping[str, str] = NO_LABELS,
) -> list[tuple[Any, str]]:
    """Draws the bias or σ68 of models with intervals in bins of one axis.

    Args:
        trends: model to its trend; all are of one axis and have the same bins.
        quantity: "bias" or "sigma68".
        ax: where to draw.
        styles: model to its style.
        labels: axis to its text.

    Returns:
        The points with the names of the models, for a legend.
    """
    entries: list[tuple[Any, str]] = []
    first = next(iter(trends.values()))
    edges, remark = visible_edges(first.edges)
    if quantity == "bias":
        ax.axhline(0.0, color=GREY, linewidth=1.0)
    ends: list[Array] = []
    for i, (name, one) in enumerate(trends.items()):
        value, low, high = (getattr(one, f"{quantity}{end}") for end in ("", "_low", "_high"))
        known = np.isfinite(value) & np.isfinite(low) & np.isfinite(high)
        if not known.any():
            continue
        # Models stand beside each other in a bin, since their intervals would hide each other.
        room = np.minimum(np.diff(edges), np.median(np.diff(edges)))
        centres = (edges[1:] + edges[:-1]) / 2 + 0.7 * room * ((i + 0.5) / len(trends) - 0.5)
        lengths = error_lengths(value, low, high)[:, known]
        entries.append((draw_points(ax, centres[known], value[known], styles[name], 4, yerr=lengths), name))
        length = high[known] - low[known]
        shown_bins = length <= _MOST_OUTLIERS * np.median(length)
        ends += [low[known][shown_bins], high[known][shown_bins]]
    if not entries:
        nothing_to_draw(ax, "no candidates in any bin")
    else:
        _fit_to(ax, np.concatenate(ends), from_zero=quantity == "sigma68")
    thin = (first.n > 0) & (first.n < first.least)
    remark += hatch_thin(edges, thin, first.least, ax)
    ax.set_xlim(edges[0], edges[-1])
    label_axes(ax, caption(first.x, labels, remark=remark), {"bias": "bias", "sigma68": "σ68"}[quantity])
    return entries


def _fit_to(ax: Axes, values: Array, *, from_zero: bool) -> None:
    """Sets the limits of the y axis around values, from zero if they are widths."""
    low, high = float(values.min()), float(values.max())
    if from_zero:
        ax.set_ylim(0.0, 1.12 * high if high > 0 else 1.0)
        return
    low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.08 * ((high - low) or 1.0)
    ax.set_ylim(low - margin, high + margin)


def pulls(models: Sequence[RegressionModel], ax: Axes, *, styles: Mapping[str, LineStyle], log: bool) -> None:
    """Draws the pulls of the models that predict a width with unit area, and a unit Gaussian."""
    some = ((m.name, m.pulls, outline(styles[m.name])) for m in models if m.pulls is not None)
    entries, heights = draw_densities(some, ax)
    x = np.linspace(-6, 6, 241)
    gaussian = np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    (line,) = ax.plot(x, gaussian, color="black", linewidth=1.2, linestyle=(0, (4, 1.5)))
    entries.append((line, "unit Gaussian"))
    if log and len(heights):
        log_scale(ax, np.append(np.maximum(heights[heights > 0], 1e-6), gaussian.max()))
    else:
        ax.set_ylim(0.0, 1.1 * float(np.append(heights, gaussian).max()))
    ax.set_xlim(-6, 6)
    label_axes(ax, "(prediction − target) / predicted σ", "density")
    if not log:
        legend(ax, entries)


def quantile_coverage(models: Sequence[RegressionModel], ax: Axes, *, styles: Mapping[str, LineStyle]) -> None:
    """Draws by how much the share of targets below each predicted quantile exceeds its probability, with intervals."""
    ax.axhline(0.0, color=GREY, linewidth=1.0)
    entries: list[tuple[Any, str]] = []
    for model in models:
        found = model.test.quantiles
        if not found:
            continue
        probability = np.array([q.probability for q in found])
        value, errors = with_errors([q.share for q in found])
        x, y = 100 * probability, 100 * (value - probability)
        entries.append((draw_points(ax, x, y, styles[model.name], 5, yerr=100 * errors), model.name))
    if not entries:
        nothing_to_draw(ax, "no quantiles")
    ax.set_xlim(0, 100)
    low, high = ax.get_ylim()
    reach = max(abs(low), abs(high), 0.5)
    ax.set_ylim(-reach, reach)
    label_axes(ax, "probability of the quantile (%)", "share below − probability (%)")
    legend(ax, entries)


def metric_rows(models: Sequence[RegressionModel], quantity: str, ax: Axes, *, styles: Mapping[str, LineStyle]) -> None:
    """Draws one metric of each model on test as a bar from zero with its interval, a row for each model."""
    value, errors = with_errors([getattr(model.test, quantity) for model in models])
    known = np.isfinite(value)
    for row, model in enumerate(models):
        if not known[row]:
            continue
        style = styles[model.name]
        ax.barh(row, value[row], height=0.62, color=style.colour, alpha=0.35)
        ax.errorbar(
            value[row], row, xerr=errors[:, row, None], color=style.colour, marker=style.marker, markersize=4,
            elinewidth=1.4,
        )  # fmt: skip
    ax.axvline(0.0, color=GREY, linewidth=1.0)
    name_ticks(ax, "y", [model.name for model in models])
    ax.set_ylim(len(models) - 0.5, -0.5)
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.set_title(_NAMES[quantity], fontsize=11, parse_math=False)


_NAMES = {"bias": "bias", "rms": "RMS", "sigma68": "σ68", "effective": "effective resolution", "mae": "mean |residual|"}


def differences(pairs: Sequence[tuple[str, str]], numbers: Sequence[Measured], quantity: str, ax: Axes) -> None:
    """Draws the difference b - a of one quantity for each pair (a, b) with its paired interval."""
    rows = [f"{shown(b, 20)} − {shown(a, 20)}" for a, b in pairs]
    hint = "first-named better →" if quantity == "log-likelihood" else "← first-named better"
    forest(numbers, rows, f"Δ {quantity}", hint, ax)
    sizes = [(abs(m.value), (m.high - m.low) / 2) for m in numbers if np.isfinite(m.value) and m.high > m.low]
    smallest = min((error for _, error in sizes), default=0.0)
    if sizes and max(size for size, _ in sizes) > _WIDE_RANGE * smallest:
        # Differences of good models would lie on the line at zero beside those to a model that knows nothing.
        power = float(10.0 ** np.floor(np.log10(4 * smallest)))
        ax.set_xscale("symlog", linthresh=power)
        ticks = SymmetricalLogLocator(base=10.0, linthresh=power)
        ticks.set_params(numticks=5)  # as many labels as stand side by side in a narrow panel
        ax.xaxis.set_major_locator(ticks)
        # Room for a point at the end, which takes more than a few per cent of a logarithm.
        low, high = (f(x for m in numbers for x in m[1:3] if np.isfinite(x)) for f in (min, max))
        ax.set_xlim(min(2 * low, -power), max(2 * high, power))
        ax.tick_params(axis="x", labelsize=8)
