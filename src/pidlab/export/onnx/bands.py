"""Writes bands as ONNX nodes: their curves in double precision, the distances in widths, and the scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pidlab.export.onnx.nodes import DOUBLE, FLOAT, INT64, GraphBuilder, Value, look_up, padded, slots_for
from pidlab.export.onnx.regressors import double_layers

if TYPE_CHECKING:
    from pidlab.models.band.curves import Array, Polynomials
    from pidlab.models.band.estimator import Band
    from pidlab.models.band.shapes import BandCurves

_NAN = np.array([[np.nan]])


def band_scores(graph: GraphBuilder, x: str, band: Band) -> str:
    """Returns the scores (batch, k): minus the combined distance for the signal."""
    total, n_known = "", ""
    one, zero = np.array([[1.0]]), np.array([[0.0]])
    for distance, side in zip(_distances(graph, x, band), band.sides_, strict=True):
        is_known = graph.add("Equal", distance, distance)
        counted = distance
        if side != "both":
            counted = graph.add("Min" if side == "low" else "Max", distance, zero)
        square = graph.add("Where", is_known, graph.add("Mul", counted, counted), zero)
        total = graph.add("Add", total, square) if total else square
        count = graph.add("Where", is_known, one, zero)
        n_known = graph.add("Add", n_known, count) if n_known else count
    distance = graph.add("Where", graph.add("Less", zero, n_known), graph.add("Sqrt", total), _NAN)
    single = graph.add("Cast", distance, to=FLOAT)
    signal = graph.add("Neg", single)
    other = single
    if len(band.classes_) > 2:
        nothing = np.array([[np.nan]], np.float32)
        other = graph.add("Where", graph.add("Equal", single, single), nothing, nothing)
    return graph.add("Concat", *(signal if label == band.signal else other for label in band.classes_.tolist()), axis=1)


def band_outputs(graph: GraphBuilder, x: str, band: Band) -> str:
    """Returns the distance (batch, v) of each variable, in widths and with its sign."""
    return graph.add("Cast", graph.add("Concat", *_distances(graph, x, band), axis=1), to=FLOAT)


def _distances(graph: GraphBuilder, x: str, band: Band) -> list[str]:
    """Returns the distance (batch, 1) of each variable in double precision; NaN where there is none."""
    wide = graph.add("Cast", x, to=DOUBLE)
    v, d = len(band.variables_), band.n_against
    found = []
    for j in range(v):
        value = graph.column(wide, j)
        distance: Value = _NAN
        for g, group in enumerate(band.groups_.tolist()):
            own = _distance(graph, value, [graph.column(wide, v + i) for i in range(d)], band.curves_[j][g])
            if band.by is None:
                distance = own
            else:
                is_group = graph.add("Equal", graph.column(wide, v + d), np.array([[float(group)]]))
                distance = graph.add("Where", is_group, own, distance)
        assert isinstance(distance, str)
        found.append(distance)
    return found


def _distance(graph: GraphBuilder, value: str, against: list[str], curves: BandCurves) -> str:
    """Returns (value - mean) / width (batch, 1), with the width of the value's side."""
    from pidlab.models.band.curves import Curves

    write = _from_polynomials if isinstance(curves, Curves) else _from_network
    distance = write(graph, value, against, curves)
    for each in (value, *against):
        distance = graph.add("Where", graph.add("Equal", each, each), distance, _NAN)
    return distance


def _inside(graph: GraphBuilder, x: str, low: float, high: float) -> str:
    """Returns x moved to within two limits. NaN becomes the lower one, and its distance is taken away at the end."""
    ends = np.array([[low]]), np.array([[high]])
    known = graph.add("Where", graph.add("Equal", x, x), x, ends[0])
    return graph.add("Min", graph.add("Max", known, ends[0]), ends[1])


def _from_polynomials(graph: GraphBuilder, value: str, against: list[str], curves: Any) -> str:
    places = []
    for j, x in enumerate(against):
        inside = _inside(graph, x, curves.basis.low[j], curves.basis.high[j])
        places.append(graph.add("Div", np.array([[1.0]]), inside) if curves.basis.reciprocal else inside)
    from_mean = graph.add("Sub", value, _curve(graph, places, curves.tables["mean"]))
    width = _curve(graph, places, curves.tables["above"])
    if not curves.is_symmetric:
        below = graph.add("Less", from_mean, np.array([[0.0]]))
        width = graph.add("Where", below, _curve(graph, places, curves.tables["below"]), width)
    return graph.add("Div", from_mean, graph.add("Max", width, np.array([[curves.least]])))


def _from_network(graph: GraphBuilder, value: str, against: list[str], curves: Any) -> str:
    regression = curves.regression
    network, scaling = regression.network_, regression.scaling_
    moved = [_inside(graph, x, scaling.low[j], scaling.high[j]) for j, x in enumerate(against)]
    x = graph.add("Concat", *moved, axis=1) if len(moved) > 1 else moved[0]
    x = graph.add("Div", graph.add("Sub", x, scaling.centre[None]), scaling.width[None])
    x = double_layers(graph, x, network)
    centre, width = np.array([[regression.centre_[0]]]), np.array([[regression.width_[0]]])
    mean = graph.add("Add", graph.add("Mul", graph.column(x, 0), width), centre)
    own = graph.add("Mul", graph.add("Exp", graph.column(x, 1)), width)
    return graph.add("Div", graph.add("Sub", value, mean), own)


def _curve(graph: GraphBuilder, places: list[str], curve: Polynomials) -> str:
    """Returns a piecewise polynomial (batch, 1) at one or two coordinates (batch, 1)."""
    edges, origins = (curve.u_edges, curve.v_edges), (curve.u_origins, curve.v_origins)
    cells, powers = curve.coefficients.shape[:2], curve.coefficients.shape[2:]
    slot: Value = np.array([[0]], np.int64)
    distances: list[Value] = []
    for place, edge, origin, n in zip(places, edges, origins, cells, strict=False):
        inside = graph.add("Min", graph.add("Max", place, edge[:1][None]), edge[-1:][None])
        own = _cell(graph, inside, edge[:-1])
        distances.append(graph.add("Sub", inside, graph.add("Gather", origin, own, axis=0)))
        slot = graph.add("Add", graph.add("Mul", slot, np.array([[n]], np.int64)), own)
    flat = curve.coefficients.reshape(-1, *powers)
    total: Value = np.array([[0.0]])
    for q in range(powers[0] - 1, -1, -1):
        inner: Value = graph.add("Gather", flat[:, q, powers[1] - 1], slot, axis=0)
        for r in range(powers[1] - 2, -1, -1):
            coefficient = graph.add("Gather", flat[:, q, r], slot, axis=0)
            inner = graph.add("Add", graph.add("Mul", inner, distances[1]), coefficient)
        total = inner if q == powers[0] - 1 else graph.add("Add", graph.add("Mul", total, distances[0]), inner)
    assert isinstance(total, str)
    return total


def _cell(graph: GraphBuilder, x: str, lower: Array) -> Value:
    """Returns the cell (batch, 1) that each value is in, from the lower edges of the cells."""
    if len(lower) == 1:
        return graph.add("Cast", graph.add("Mul", x, np.array([[0.0]])), to=INT64)
    return look_up(graph, x, padded([lower], slots_for(len(lower)), np.inf))
