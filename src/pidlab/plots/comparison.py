"""Models compared on the same events: differences with their intervals, a row for each pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from pidlab.evaluate.results import Comparison
from pidlab.measured import UNDEFINED, Measured
from pidlab.plots.canvas.style import GREY, name_ticks, shown, with_errors


def delta_auc(comparisons: Sequence[Comparison], ax: Axes) -> None:
    """Draws AUC(b) − AUC(a) for each pair; b, which the row names first, is better if the point lies right of zero."""
    numbers = [pair.delta_auc for pair in comparisons]
    forest(numbers, _names(comparisons), "ΔAUC", f"{_first(comparisons)} better →", ax)


def delta_misid(comparisons: Sequence[Comparison], point: str, particle: str, ax: Axes) -> None:
    """Draws misid(b) − misid(a) of `particle` at the working point `point` in per cent.

    The model b, named first, is better left of zero.
    """
    by_pair = [{(p.name, p.particle): p.delta_misid for p in pair.working_points} for pair in comparisons]
    numbers = [found.get((point, particle), UNDEFINED) for found in by_pair]
    percent = [Measured(100 * m.value, 100 * m.low, 100 * m.high, m.n) for m in numbers]
    forest(percent, _names(comparisons), f"Δmisid (%), {shown(point, 20)}", f"← {_first(comparisons)} better", ax)


def _names(comparisons: Sequence[Comparison]) -> list[str]:
    """Returns a name for each row: "b − a"."""
    return [f"{shown(pair.b, 20)} − {shown(pair.a, 20)}" for pair in comparisons]


def _first(comparisons: Sequence[Comparison]) -> str:
    """Returns how to call the model b of each row: by its name if it is the same in all rows."""
    names = {pair.b for pair in comparisons}
    return shown(names.pop(), 12) if len(names) == 1 else "first-named"


def forest(numbers: Sequence[Measured], rows: Sequence[str], quantity: str, hint: str, ax: Axes) -> None:
    """Draws numbers with their intervals, a row for each, around a line at zero.

    Args:
        numbers: one for each row.
        rows: the names of the rows.
        quantity: heads the axes.
        hint: says below the axis which side is better.
        ax: where to draw.
    """
    value, errors = with_errors(numbers)
    ax.axvline(0.0, color=GREY, linewidth=1.0)
    properties: dict[str, Any] = {"color": "black", "marker": "o", "markersize": 3.5, "linestyle": "none"}
    ax.errorbar(value, range(len(rows)), xerr=errors, **properties)
    name_ticks(ax, "y", rows)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.xaxis.set_major_locator(MaxNLocator(3, symmetric=False))
    form = ScalarFormatter(useMathText=True)
    form.set_powerlimits((-2, 3))
    ax.xaxis.set_major_formatter(form)
    ax.set_title(quantity, fontsize=11, parse_math=False)
    # One line below the power of ten at the right end of the axis.
    ax.set_xlabel(hint, loc="left", fontsize=10, parse_math=False, labelpad=14)
