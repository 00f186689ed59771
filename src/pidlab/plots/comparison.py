"""Models against each other on the same events: differences with their intervals, one row a pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from pidlab.evaluate.results import Comparison
from pidlab.measured import UNDEFINED, Measured
from pidlab.plots.style import GREY, arms, columns, name_ticks, shown


def delta_auc(comparisons: Sequence[Comparison], ax: Axes) -> Axes:
    """Draw AUC(b) − AUC(a) for each pair; right of zero b is better."""
    return _forest([pair.delta_auc for pair in comparisons], pairs(comparisons), "ΔAUC", "b better →", ax)


def delta_misid(comparisons: Sequence[Comparison], point: str, particle: str, ax: Axes) -> Axes:
    """Draw misid(b) − misid(a) of `particle` at the working point `point`; left of zero b is better."""
    numbers = [_paired(pair, point, particle) for pair in comparisons]
    return _forest(numbers, pairs(comparisons), f"Δmisid, {shown(point, 20)}", "← b better", ax)


def pairs(comparisons: Sequence[Comparison]) -> list[str]:
    """The rows' names: "b − a"."""
    return [f"{shown(pair.b, 20)} − {shown(pair.a, 20)}" for pair in comparisons]


def _paired(pair: Comparison, point: str, particle: str) -> Measured:
    found = (p.delta_misid for p in pair.working_points if (p.name, p.particle) == (point, particle))
    return next(found, UNDEFINED)


def _forest(numbers: Sequence[Measured], rows: Sequence[str], quantity: str, hint: str, ax: Axes) -> Axes:
    value, low, high = columns(numbers)
    ax.axvline(0.0, color=GREY, linewidth=1.0)
    style: dict[str, Any] = {"color": "black", "marker": "o", "markersize": 3.5, "linestyle": "none"}
    ax.errorbar(value, range(len(rows)), xerr=arms(value, low, high), **style)
    name_ticks(ax, "y", rows)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.xaxis.set_major_locator(MaxNLocator(3, symmetric=False))
    form = ScalarFormatter(useMathText=True)
    form.set_powerlimits((-2, 3))
    ax.xaxis.set_major_formatter(form)
    ax.set_title(quantity, fontsize=11, parse_math=False)
    ax.set_xlabel(hint, loc="left", fontsize=10)
    return ax
