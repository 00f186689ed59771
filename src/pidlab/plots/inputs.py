"""The distribution of an input feature in each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter

from pidlab.evaluate.points.identified import holds_whole_numbers
from pidlab.evaluate.results import Histogram
from pidlab.measured import Array
from pidlab.plots.canvas.style import (
    NO_LABELS,
    LineStyle,
    caption,
    draw_densities,
    label_axes,
    log_scale,
    outline,
)


def feature(
    name: str,
    by_class: Mapping[str, Histogram],
    ax: Axes,
    *,
    styles: Mapping[str, LineStyle],
    labels: Mapping[str, str] = NO_LABELS,
) -> None:
    """Draws one feature by class with unit area on a log axis.

    A triangle at an edge marks candidates beyond it.
    """
    _, heights = draw_densities(((c, found, outline(styles[c])) for c, found in by_class.items()), ax, "no values")
    log_scale(ax, heights, least=30.0)
    ax.yaxis.set_minor_formatter(NullFormatter())
    if all(holds_whole_numbers(histogram.edges) for histogram in by_class.values()):
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    mark_flows([histogram.sumw for histogram in by_class.values()], ax)
    label_axes(ax, caption(name, labels, 30), "density")


def mark_flows(sums: Sequence[Array], ax: Axes) -> None:
    """Draws a triangle that points at the edge beyond which one of the histograms (b + 2,) has candidates.

    It stands inside the frame, since outside are the labels of the ticks.
    """
    for flow, x, marker in ((0, 0.0, 4), (-1, 1.0, 5)):
        if any(sumw[flow] for sumw in sums):
            ax.plot(
                [x], [0.06], marker=marker, markersize=7, color="black", transform=ax.transAxes, clip_on=False, zorder=6
            )
