"""Polygons: the test sample on their axes, and how many candidates of each class lie inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pidlab.evaluate.histograms import robust_edges
from pidlab.evaluate.pairs import plane_of
from pidlab.evaluate.results import FeaturePair, PolygonResult
from pidlab.expressions import Polygon
from pidlab.expressions.aliases import with_aliases
from pidlab.measured import Array
from pidlab.sample import FloatArray, Sample

_BINS = 40


def polygon_results(
    sample: Sample, polygons: Sequence[Polygon], aliases: Mapping[str, str]
) -> tuple[PolygonResult, ...]:
    """Returns each polygon with the candidates of the test sample if they have its axes, which are among `axes`."""
    return tuple(_result(sample, polygon, aliases) for polygon in polygons)


def _result(sample: Sample, polygon: Polygon, aliases: Mapping[str, str]) -> PolygonResult:
    points = np.array(polygon.points, np.float64)
    x, y = (with_aliases(axis, aliases) for axis in (polygon.x, polygon.y))
    if polygon.x not in sample.axes or polygon.y not in sample.axes:
        return PolygonResult(polygon.name, points, x, y)
    u, v = sample.axes[polygon.x], sample.axes[polygon.y]
    edges = _edges(u, points[:, 0]), _edges(v, points[:, 1])
    is_inside = polygon.contains(u, v)
    planes, inside, outside = {}, {}, {}
    for c, name in enumerate(sample.classes):
        rows = sample.y == c
        planes[name] = plane_of(u[rows], v[rows], sample.weight[rows], *edges)
        inside[name], outside[name] = int(is_inside[rows].sum()), int((~is_inside[rows]).sum())
    pair = FeaturePair(polygon.x, polygon.y, *edges, planes)
    return PolygonResult(polygon.name, points, x, y, pair, inside, outside)


def _edges(values: FloatArray, corners: Array) -> Array:
    """Returns the edges of bins that hold all but outliers, and the corners unless they are far from everything."""
    edges = robust_edges(values, _BINS)
    low, high = float(edges[0]), float(edges[-1])
    width = high - low
    margin = 0.05 * float(np.ptp(corners))
    wider = max(low - width, min(low, corners.min() - margin)), min(high + width, max(high, corners.max() + margin))
    return edges if wider == (low, high) else np.linspace(*wider, _BINS + 1)
