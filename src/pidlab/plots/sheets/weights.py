"""Figures of the weights that make classes alike: the matched variables before and after, and the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pidlab.evaluate.results import Histogram, RegressionResults, Results, ReweightedGroup
from pidlab.plots.canvas.style import (
    GREY,
    NO_LABELS,
    caption,
    draw_densities,
    label_axes,
    legend,
    log_scale,
    shown,
)
from pidlab.plots.sheets.sheet import Sheet, grid, root_key
from pidlab.plots.sheets.table import histogram_table


def weights(results: Results | RegressionResults) -> Iterator[Sheet]:
    """Yields for each group of classes that was reweighted its matched variables and its weights."""
    found = results.reweighting
    for group in found.groups if found is not None else ():
        name, target = group.name or "all", found.target if found is not None else ""
        variables = ", ".join(group.variables)
        folder = f"reweighting/{root_key(name)}"
        yield Sheet(
            name=f"reweighting_{name}",
            title=f"Weights of {' and '.join(group.classes)}",
            alt=(
                f"Densities of {variables} of {target}, and of {' and '.join(group.classes)} before and after the "
                "weights, with their ratio, on events that trained no weight; and the distribution of the weights."
            ),
            draw=partial(_weights, group, target, results.labels),
            numbers=partial(histogram_table, group.variables, "variable"),
            section="reweighting",
            objects=(f"{folder}/*",),
            kind="weights",
            about={"group": name},
        )


_HEADROOM = 0.3  # of the height of the logarithmic axis, for the text above the weights


def _weights(group: ReweightedGroup, target: str, labels: Mapping[str, str]) -> Figure:
    n_columns = min(len(group.variables) + 1, 3)
    figure, axes = grid(len(group.variables) + 1, n_columns, 4.0, 3.5, column_gap=1.0)
    name = " and ".join(group.classes)
    for i, ((variable, by_key), ax) in enumerate(zip(group.variables.items(), axes[:-1], strict=True)):
        matched(variable, by_key, ax, target=target, name=name, labels=labels, with_legend=i == 0)
    drawn, heights = draw_densities([("", group.weights, {"color": _AFTER})], axes[-1], "no weights")
    if drawn:
        log_scale(axes[-1], heights)
        low, high = axes[-1].get_ylim()
        axes[-1].set_ylim(low, high * (high / low) ** _HEADROOM)
    label_axes(axes[-1], "weight / mean weight", "density")
    kept = group.effective_after / group.effective_before if group.effective_before > 0 else np.nan
    text = f"{kept:.0%} of the effective events\nlargest weight {group.largest:.3g}"
    axes[-1].text(0.95, 0.93, text, transform=axes[-1].transAxes, ha="right", va="top", fontsize=9)
    return figure


_AFTER = "C3"


def matched(
    variable: str,
    by_key: Mapping[str, Histogram],
    ax: Axes,
    *,
    target: str,
    name: str,
    labels: Mapping[str, str] = NO_LABELS,
    with_legend: bool = True,
) -> None:
    """Draws the target filled, the group before the weights dashed, and after them as points with errors.

    A grey band marks where the group has events and the target has none.
    """
    style: dict[str, dict[str, Any]] = {
        "target": {"fill": True, "color": "C0", "alpha": 0.35},
        "before": {"color": "black", "linestyle": "dashed"},
        "after": {"points": True, "color": _AFTER, "markersize": 4},
    }
    words = {"target": shown(target), "before": f"{shown(name)}, before", "after": f"{shown(name)}, after"}
    entries, _ = draw_densities(((words[key], by_key[key], look) for key, look in style.items()), ax, "no values")
    if not entries:
        return
    edges, wanted, own = by_key["target"].edges, by_key["target"].sumw[1:-1], by_key["before"].sumw[1:-1]
    for j in np.flatnonzero((wanted <= 0) & (own > 0)):
        ax.axvspan(edges[j], edges[j + 1], color=GREY, alpha=0.2, linewidth=0)
    ax.set_ylim(bottom=0)
    label_axes(ax, caption(variable, labels, 30), "density")
    if with_legend:
        legend(ax, entries)
