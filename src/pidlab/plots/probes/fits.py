"""The mass of passing and of failing probes of one bin, with what was fitted to it, and the pulls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pidlab.measured import Array
from pidlab.plots.canvas.style import BLACK, GREY, draw_points, label_axes, legend, new_figure, nothing_to_draw

_SIGNAL, _BACKGROUND, _FAILED = "#00609c", "#c44a00", "#b3261e"


class FittedMass(NamedTuple):
    """The mass of some probes, and a fit of it.

    Attributes:
        title: such as "passing".
        counts, variances: (m,) sums of weights and of squared weights.
        total, background: (m,) what the fit expects; None if there is no fit.
        others: (m,) the background of each alternative fit.
    """

    title: str
    counts: Array
    variances: Array
    total: Array | None
    background: Array | None
    others: Sequence[Array] = ()


def fit_figure(
    edges: Array, panels: tuple[FittedMass, ...], *, mass: str, lines: tuple[str, ...], failure: str = ""
) -> Figure:
    """Returns the masses side by side, each with its pulls below.

    Args:
        edges: (m + 1,) of the mass.
        panels: passing and failing probes.
        mass: the label of the axis.
        lines: written into the first panel, such as the efficiency and the p-value.
        failure: why the fit failed; it is then written across both panels. Empty if it did not.
    """
    figure = new_figure(8.6, 3.7)
    axes = figure.subplots(2, len(panels), gridspec_kw={"height_ratios": [3, 1], "hspace": 0.06, "wspace": 0.22})
    for panel, top, bottom in zip(panels, *axes, strict=True):
        entries = _mass(top, edges, panel)
        _pulls(bottom, edges, panel)
        label_axes(bottom, mass, "pull")
        label_axes(top, "", f"probes / {edges[1] - edges[0]:.3g}" if top is axes[0, 0] else "")
        top.tick_params(labelbottom=False)
        if top is axes[0, 0]:
            legend(top, entries)
        top.text(0.96, 0.94, panel.title, transform=top.transAxes, ha="right", va="top", fontweight="bold")
        if failure:
            top.text(
                0.5, 0.55, "fit failed", transform=top.transAxes, ha="center", va="center",
                color=_FAILED, fontsize=17, fontweight="bold", alpha=0.75, rotation=12,
            )  # fmt: skip
    for number, line in enumerate(lines):
        axes[0, 0].text(
            0.04, 0.94 - 0.085 * number, line, transform=axes[0, 0].transAxes, va="top", fontsize=9, parse_math=False
        )
    return figure


def _mass(ax: Axes, edges: Array, panel: FittedMass) -> list[tuple[object, str]]:
    centres = (edges[1:] + edges[:-1]) / 2
    if not panel.counts.any():
        nothing_to_draw(ax, "no probes")
    points = draw_points(ax, centres, panel.counts, BLACK, 2.6, 0.8, yerr=np.sqrt(panel.variances))
    entries: list[tuple[object, str]] = [(points, "probes")]
    top = float((panel.counts + np.sqrt(panel.variances)).max(initial=1.0))
    if panel.total is not None and panel.background is not None:
        thin = [
            ax.stairs(each, edges, color=GREY, linestyle=":", linewidth=1.1, baseline=None) for each in panel.others
        ]
        below = ax.stairs(panel.background, edges, color=_BACKGROUND, linestyle="--", linewidth=1.4, baseline=None)
        above = ax.stairs(panel.total, edges, color=_SIGNAL, linewidth=1.4, baseline=None)
        entries += [(above, "fit"), (below, "background"), *((each, "alternatives") for each in thin[:1])]
        top = max(top, float(panel.total.max(initial=0.0)))
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(0, 1.25 * top)
    return entries


def _pulls(ax: Axes, edges: Array, panel: FittedMass) -> None:
    """Draws (probes - fit) / standard deviation of the fit's expectation; nothing where none is expected."""
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(-4.2, 4.2)
    ax.set_yticks([-3, 0, 3])
    for height in (-3, 0, 3):
        ax.axhline(height, color=GREY, linewidth=0.6, linestyle="-" if height == 0 else ":")
    if panel.total is None:
        return
    sums, squares = float(panel.counts.sum()), float(panel.variances.sum())
    scale = squares / sums if sums > 0 else 1.0
    centres, expected = (edges[1:] + edges[:-1]) / 2, panel.total
    drawn = expected > 0
    pulls = (panel.counts[drawn] - expected[drawn]) / np.sqrt(scale * expected[drawn])
    inside = np.abs(pulls) <= 4
    ax.plot(centres[drawn][inside], pulls[inside], "o", color="black", markersize=2.2)
    for x, pull in zip(centres[drawn][~inside], pulls[~inside], strict=True):
        ax.plot([x], [np.sign(pull) * 3.6], "^" if pull > 0 else "v", color=_FAILED, markersize=4)
