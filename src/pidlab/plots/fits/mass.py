"""The distribution of a mass with the fitted components, the pulls below it, and the weights that follow from a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mplhep
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pidlab.measured import Array
from pidlab.plots.canvas.style import (
    GREY,
    Caption,
    LineStyle,
    class_styles,
    is_tex,
    label_axes,
    legend,
    legend_lines,
    new_figure,
    shown,
    write_text,
)
from pidlab.plots.sheets.sheet import stack

_FIT_COLOUR = "#222222"


def mass_figure(
    edges: Array,
    counts: Array,
    expected: Mapping[str, Array],
    *,
    curve: tuple[Array, Mapping[str, Array]],
    label: str,
    remarks: Sequence[str] = (),
    errors: Array | None = None,
) -> Figure:
    """Returns the figure of a fit: the data with the curves of all components and of their sum, and the pulls.

    A pull is the difference of data and fit over the square root of the expected count, or over the error of a
    weighted count, where the expected count is at least one.

    Args:
        edges: (m + 1,) of the bins of the data.
        counts: (m,) in the bins.
        expected: component to the (m,) expected counts; the first is the signal.
        curve: masses (c,), and component to (c,) expected counts a bin there.
        label: the label of the mass; text between dollars is mathematics.
        remarks: lines that stand in the upper right corner.
        errors: (m,) of the counts; left out, those of counts without weights.
    """
    figure, (top, bottom) = stack(2, 6.0, 5.6, gap=0.08, ratios=(3.2, 1))
    _draw_fit(top, edges, counts, curve, remarks, errors)
    total = np.sum([*expected.values()], axis=0)
    scale = np.sqrt(np.maximum(total, 0)) if errors is None else errors
    pull = np.divide(counts - total, scale, out=np.full(len(counts), np.nan), where=(total >= 1) & (scale > 0))
    draw_pulls(bottom, edges, pull)
    label_axes(top, "", f"candidates / {edges[1] - edges[0]:.3g}")
    label_axes(bottom, mass_caption(label), "pull")
    figure.align_ylabels([top, bottom])
    return figure


def mass_caption(label: str) -> Caption:
    """Returns the label of the mass as mathematics if it can be typeset as such."""
    return Caption(label, tex=True) if is_tex(label) else Caption(shown(label))


def _draw_fit(
    ax: Axes,
    edges: Array,
    counts: Array,
    curve: tuple[Array, Mapping[str, Array]],
    remarks: Sequence[str],
    errors: Array | None,
) -> None:
    masses, components = curve
    names = [*components]
    styles = class_styles(names, names[0])
    total = np.sum([*components.values()], axis=0)
    mplhep.histplot(
        counts, bins=edges, histtype="errorbar", color="black", markersize=4, elinewidth=1.0, flow="none", ax=ax,
        **({"w2": counts, "w2method": "poisson"} if errors is None else {"yerr": errors}),
    )  # fmt: skip
    for name, values in components.items():
        style = styles[name]
        ax.plot(masses, values, color=style.colour, linestyle=style.line, linewidth=1.6)
    ax.fill_between(masses, components[names[0]], color=styles[names[0]].colour, alpha=0.15, linewidth=0)
    ax.plot(masses, total, color=_FIT_COLOUR, linewidth=1.4)
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(0, 1.15 * max(float((counts + np.sqrt(np.abs(counts))).max()), float(total.max()), 1.0))
    drawn = {"data": LineStyle("black", "o", "none"), "fit": LineStyle(_FIT_COLOUR, "", "-")}
    entries = legend_lines(drawn, ["data"], marker=True) + legend_lines(
        {**drawn, **styles}, ["fit", *names], marker=False
    )
    legend(ax, entries)
    for i, remark in enumerate(remarks):
        at = {"transform": ax.transAxes, "ha": "right", "va": "top", "fontsize": 10}
        write_text(ax, 0.97, 0.96 - 0.065 * i, remark, **at)


def draw_pulls(ax: Axes, edges: Array, pull: Array) -> None:
    """Draws the pulls (m,) as bars with lines at plus and minus two; those beyond five are cut and marked."""
    width = np.diff(edges)
    ax.bar(edges[:-1], np.clip(pull, -5, 5), width, align="edge", color="#8a8f98", linewidth=0)
    beyond = np.abs(pull) > 5
    centres = (edges[1:] + edges[:-1]) / 2
    ax.plot(centres[beyond], np.sign(pull[beyond]) * 4.6, linestyle="none", marker="x", color="#d55e00", markersize=5)
    for height in (-2, 2):
        ax.axhline(height, color=GREY, linestyle="--", linewidth=0.8)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.set_ylim(-5, 5)
    ax.set_yticks([-4, -2, 0, 2, 4])


def weights_figure(mass: Array, weights: Mapping[str, Array], label: str) -> Figure:
    """Returns the figure of the weights (n,) of each component, and of their sum, as functions of the mass (n,)."""
    figure = new_figure(6.0, 4.2)
    ax = figure.subplots()
    names = [*weights]
    styles = class_styles(names, names[0])
    for name, values in weights.items():
        ax.plot(mass, values, color=styles[name].colour, linestyle=styles[name].line)
    entries = legend_lines(styles, names, marker=False)
    if len(names) > 1:
        ax.plot(mass, np.sum([*weights.values()], axis=0), color=_FIT_COLOUR, linewidth=1.0)
        entries += legend_lines({"sum": LineStyle(_FIT_COLOUR, "", "-")}, ["sum"], marker=False)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.set_xlim(mass[0], mass[-1])
    legend(ax, entries)
    label_axes(ax, mass_caption(label), "weight")
    return figure
