"""The distribution of one class over the axes of a polygon, with the polygon drawn on it."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.patches import Polygon as Outline

from pidlab.evaluate.results import PolygonResult
from pidlab.plots.canvas.style import NO_LABELS, LineStyle, legend
from pidlab.plots.exploring.scatter import density


def polygon(
    result: PolygonResult, particle: str, ax: Axes, *, style: LineStyle, labels: Mapping[str, str] = NO_LABELS
) -> None:
    """Draws the density of one class, the polygon, and the numbers of candidates inside and outside of it.

    Args:
        result: a polygon with the distribution of each class.
        particle: one of its classes.
        ax: where to draw.
        style: the style of the class.
        labels: expression of an axis to its text.
    """
    assert result.pair is not None
    density(result.pair, particle, ax, style=style, labels=labels)
    outline = Outline(result.points, closed=True, fill=False, edgecolor="black", linewidth=1.5)
    ax.add_artist(outline)  # clipped at the axes, if it reaches beyond everything
    counted = f"{particle}: {result.inside[particle]:,} inside, {result.outside[particle]:,} outside"
    ax.set_title("")
    legend(ax, [(outline, counted)])
