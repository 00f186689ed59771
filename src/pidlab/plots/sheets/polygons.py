"""Figures of polygons: the test sample on the axes of each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pidlab.evaluate.results import PolygonResult, Results
from pidlab.plots.canvas.style import class_styles
from pidlab.plots.exploring.polygon import polygon
from pidlab.plots.sheets.sheet import Sheet, panels, root_key
from pidlab.plots.sheets.table import FigureTable, table_of


def polygons(results: Results) -> Iterator[Sheet]:
    """Yields a figure for each polygon that is asked of every candidate, with a panel for each class."""
    for result in results.polygons:
        if result.pair is None:
            continue
        numbers = "; ".join(
            f"{name}: {result.inside[name]:,} candidates inside, {result.outside[name]:,} outside"
            for name in result.pair.planes
        )
        key = root_key(result.short_name)
        yield Sheet(
            name=f"polygon_{result.short_name}",
            title=f"Polygon {result.short_name} on its axes",
            alt=f"Density of each class in the test sample over {result.pair.x} and {result.pair.y}, with the polygon "
            f"{result.name} drawn on it. {numbers}.",
            draw=partial(_drawn, results, result),
            numbers=partial(_table, result),
            section="inputs",
            objects=(f"polygons/{key}", *(f"polygons/{key}_{root_key(c)}" for c in result.pair.planes)),
            kind="polygon",
            about={"name": result.name, "x": result.pair.x, "y": result.pair.y},
        )


def _drawn(results: Results, result: PolygonResult) -> Figure:
    assert result.pair is not None
    styles = class_styles(results.classes, results.signal)

    def draw(particle: str, ax: Axes) -> None:
        polygon(result, particle, ax, style=styles[particle], labels=results.labels)

    particles = [(particle,) for particle in results.classes if particle in result.pair.planes]
    return panels(particles, draw, 3, 4.6, 4.0, row_gap=0.95, column_gap=0.7)


def _table(result: PolygonResult) -> FigureTable:
    rows = [(name, n, result.outside[name]) for name, n in result.inside.items()]
    return table_of(("class", "candidates inside", "candidates outside"), rows)
