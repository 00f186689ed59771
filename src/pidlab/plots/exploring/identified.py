"""After identification: one variable of what a working point accepts, and what it consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from pidlab.evaluate.points.identified import holds_whole_numbers, kept, purity
from pidlab.evaluate.results import BinSums
from pidlab.measured import Array
from pidlab.plots.canvas.style import GREY, Caption, LineStyle, error_lengths, label_axes, log_scale, nothing_to_draw
from pidlab.plots.inputs import mark_flows

SEEN = LineStyle("#000000", "o", "-")
"""Everything that is accepted, which is all that there is to see without the true classes."""


def composition(
    accepted: BinSums,
    total: BinSums,
    edges: Array,
    ax: Axes,
    *,
    classes: Sequence[str],
    signal: str,
    styles: Mapping[str, LineStyle],
) -> None:
    """Draws what is accepted, and what each class contributes to it, on a log axis.

    The dashed line is the signal before the decision. A bin whose weights do not sum to a positive number has no line.
    A triangle at an edge marks what is accepted beyond it.
    """
    heights = []

    def line(sumw: Array, colour: str, dash: object, width: float) -> None:
        inside = sumw[1:-1] * narrowing(edges)
        if (inside > 0).any():
            ax.stairs(np.where(inside > 0, inside, np.nan), edges, color=colour, linestyle=dash, linewidth=width)
            heights.append(inside)

    line(total.sumw[classes.index(signal)], styles[signal].colour, "--", 1.0)
    line(accepted.sumw.sum(axis=0), SEEN.colour, "-", 2.0)
    for i, name in enumerate(classes):
        line(accepted.sumw[i], styles[name].colour, styles[name].line, 1.3)
    if not heights:
        nothing_to_draw(ax, "nothing is accepted")
    log_scale(ax, np.concatenate([np.array([]), *heights]), least=30.0)
    ax.yaxis.set_minor_locator(NullLocator())  # eight ticks in each decade take longer than what is drawn
    ax.set_xlim(*shown_range(accepted, total, edges, classes.index(signal)))
    mark_flows([accepted.sumw.sum(axis=0)], ax)
    ax.tick_params(axis="x", labelbottom=False)
    label_axes(ax, "", per_bin("candidates", edges))
    if not _is_regular(edges):
        ax.yaxis.label.set_fontsize(9.5)  # "candidates / 0.0031" is longer than the panel is high, and meets "share"


def narrowing(edges: Array) -> Array:
    """Returns the width (b,) of the narrowest bin over that of each, by which contents of bins become comparable."""
    widths = np.diff(edges)
    return np.ones(len(widths)) if _is_regular(edges) else np.asarray(widths.min() / widths)


def per_bin(what: str, edges: Array) -> str:
    """Returns the label of contents times `narrowing`: with the width to which they refer, if the widths differ."""
    return what if _is_regular(edges) else f"{what} / {np.diff(edges).min():.2g}"


def _is_regular(edges: Array) -> bool:
    widths = np.diff(edges)
    return bool(np.allclose(widths, widths[0]))


def quality(
    accepted: BinSums,
    total: BinSums,
    edges: Array,
    ax: Axes,
    *,
    caption: Caption,
    signal: int,
    style: LineStyle,
) -> None:
    """Draws the purity of what is accepted (black) and the signal's efficiency in each bin, with 68.3 % intervals."""
    centres, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    for found, colour in ((kept(accepted, total, signal), style.colour), (purity(accepted, signal), SEEN.colour)):
        known = np.isfinite(found.value)
        errors = error_lengths(found.value, found.low, found.high)
        ax.errorbar(
            centres[known], found.value[known], xerr=half[known], yerr=errors[:, known], color=colour, marker="",
            linestyle="none", elinewidth=1.1,
        )  # fmt: skip
    ax.axhline(1.0, color=GREY, linestyle="--", linewidth=0.8)
    ax.set_ylim(0.0, 1.12)
    ax.set_xlim(*shown_range(accepted, total, edges, signal))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=holds_whole_numbers(edges)))
    ax.yaxis.set_major_locator(MaxNLocator(3))
    label_axes(ax, caption, "share")


def shown_range(accepted: BinSums, total: BinSums, edges: Array, signal: int) -> tuple[float, float]:
    """Returns the range of the bins in which something is accepted or the signal was; all of them if there is none."""
    return filled_range((accepted.sumw2[:, 1:-1].sum(axis=0) > 0) | (total.sumw2[signal, 1:-1] > 0), edges)


def filled_range(filled: NDArray[np.bool_], edges: Array) -> tuple[float, float]:
    """Returns the range of the bins that are `filled` (b,); all of them if none is."""
    bins = np.flatnonzero(filled)
    return (float(edges[bins[0]]), float(edges[bins[-1] + 1])) if len(bins) else (float(edges[0]), float(edges[-1]))
