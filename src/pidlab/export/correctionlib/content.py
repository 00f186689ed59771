"""Builds the corrections of a run in correctionlib's schema: categories, bins and formulas, in JSON's types."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any

import numpy as np

from pidlab import __version__
from pidlab.evaluate.results import EfficiencyMap, FlatThreshold, ModelResult, Results, WorkingPoint
from pidlab.measured import Array, Measured

SYSTEMATICS = ("nominal", "low", "high")

Node = dict[str, Any]
_UNDEFINED: Node = {"nodetype": "category", "input": "systematic", "content": []}  # raises for every key
_MARGIN, _SMALLEST = Decimal("2e-15"), Decimal("1e-300")
_LINE = "[0]+[1]*(min(max(x,[2]),[3])-[2])"
_SURFACE = "[0]+[1]*(min(max(x,[2]),[3])-[2])+(min(max(y,[4]),[5])-[4])*([6]+[7]*(min(max(x,[2]),[3])-[2]))"


def corrections(results: Results, models: Sequence[ModelResult], fingerprint: str) -> Node:
    """Returns a CorrectionSet of schema 2 in JSON's types."""
    signal = f"signal {results.signal}, classes {', '.join(results.classes)}"
    found = [
        correction
        for model in models
        for point in model.working_points
        for correction in _of_point(results, model, point)
    ]
    return {
        "schema_version": 2,
        "description": f"Efficiencies measured by pidlab {__version__}; {signal}; fingerprint {fingerprint}.",
        "corrections": found,
    }


def _of_point(results: Results, model: ModelResult, point: WorkingPoint) -> Iterator[Node]:
    """Yields the corrections of one working point."""
    name = correction_name(model, point)
    if point.flat is None:
        decision = f"score > {point.threshold!r}"
    else:
        decision = f"score > a threshold that follows {' and '.join(point.flat.names)}"
    description = f"{model.name} ({model.kind}) at {point.name}, {decision}. On the test sample"
    content = {c: _by_systematic(rate_of(results, point, c)[:3], leaf) for c in results.classes}
    yield _correction(name, f"{description}, all of it.", ["particle", "systematic"], category("particle", content))
    for key, maps in grouped(model, point).items():
        content = {m.particle: _map_content(m) for m in maps}
        inputs = ["particle", *maps[0].names, "systematic"]
        binned = f"{description}, in bins of {' and '.join(maps[0].names)}.{_empty_bins(maps)}"
        yield _correction(f"{name}{key}", binned, inputs, category("particle", content))
    if point.flat is not None:
        yield _threshold(f"{name}:threshold", f"The threshold of {model.name} at {point.name}.", point.flat)


def rate_of(results: Results, point: WorkingPoint, particle: str) -> Measured:
    """Returns the efficiency of the signal, or the misidentification rate of another class."""
    return point.efficiency if particle == results.signal else point.misid[particle]


def correction_name(model: ModelResult, point: WorkingPoint) -> str:
    """Returns the name of a working point's correction; those of its maps and threshold begin with it."""
    return f"{model.name}_{point.name}"


def grouped(model: ModelResult, point: WorkingPoint) -> dict[str, list[EfficiencyMap]]:
    """Returns the maps of a working point by the end of their name, all classes together; " #2" is a second binning.

    Maps whose bins correctionlib cannot tell are left out.
    """
    found: dict[str, list[EfficiencyMap]] = {}
    for m in (m for m in model.maps if m.working_point == point.name and has_readable_edges(m)):
        key = variables = f"[{', '.join(m.names)}]"
        number = 1
        while key in found and not all(map(np.array_equal, found[key][0].edges, m.edges)):
            number += 1
            key = f"{variables} #{number}"
        found.setdefault(key, []).append(m)
    return found


def _empty_bins(maps: Sequence[EfficiencyMap]) -> str:
    """Returns a sentence about the bins without a number; empty if there are none."""
    found = []
    for m in maps:
        for place in np.argwhere(~np.isfinite(m.value)):
            sides = [f"{name} {e[i]:g} to {e[i + 1]:g}" for name, e, i in zip(m.names, m.edges, place, strict=True)]
            found.append(f"{m.particle} in {', '.join(sides)}")
    return f" No candidates, so no number: {'; '.join(found)}." if found else ""


def _correction(name: str, description: str, inputs: Sequence[str], data: Node, **further: Any) -> Node:
    words = {"particle": "the true class", "systematic": "nominal, or low and high of the 68.3 % interval"}
    variables = [variable(i, words.get(i, "a spectator"), "string" if i in words else "real") for i in inputs]
    return correction(name, description, variables, "threshold" if further else "fraction that passes", data) | further


def variable(name: str, description: str, kind: str = "real") -> Node:
    """Returns an input of a correction, which is a number, or a text if it is of the type `string`."""
    return {"name": name, "type": kind, "description": description}


def correction(name: str, description: str, inputs: Sequence[Node], output: str, data: Node) -> Node:
    """Returns a correction of these inputs; `output` says what its number is."""
    return {
        "name": name, "description": description, "version": 1, "inputs": list(inputs),
        "output": {"name": output, "type": "real"}, "data": data,
    }  # fmt: skip


def category(name: str, content: Mapping[str, Any]) -> Node:
    """Returns a choice by the text of an input."""
    items = [{"key": key, "value": value} for key, value in content.items()]
    return {"nodetype": "category", "input": name, "content": items}


def _by_systematic(bounds: Sequence[Any], node: Callable[[Any], Any]) -> Node:
    """Returns a category of nominal, low and high, with `node` of each."""
    return category("systematic", {s: node(values) for s, values in zip(SYSTEMATICS, bounds, strict=True)})


def leaf(value: float) -> float | Node:
    """Returns a number, or what raises an error if it is undefined."""
    return float(value) if np.isfinite(value) else _UNDEFINED


def _map_content(m: EfficiencyMap) -> Node:
    edges = readable_edges(m.edges)
    return _by_systematic(
        (m.value, m.low, m.high), lambda values: binning(m.names, edges, [leaf(v) for v in values.ravel()], "error")
    )


def readable_edges(edges: Sequence[Array]) -> list[list[float]]:
    """Returns the edges of each axis as they stand in the file, so that a value on an edge falls into pidlab's bin."""
    return [[*(just_below(e) for e in each[:-1]), _just_above(each[-1])] for each in edges]


def has_readable_edges(m: EfficiencyMap) -> bool:
    """Returns whether the edges of a map rise with the 15 digits that correctionlib reads, as those of IDs may not."""
    return all(np.all(np.diff(edges) > 0) for edges in readable_edges(m.edges))


def just_below(edge: float) -> float:
    """Returns the edge if correctionlib reads it exactly, otherwise a number lower by a few parts in 10^15.

    Its parser is exact up to 15 digits and powers of ten up to 22; beyond, it is wrong by up to three units in the last
    place. A quantile of float32 values has 17 digits, and the event it comes from must stay on its side of the edge.
    """
    number = Decimal(repr(float(edge)))
    if not number.is_finite() or (len(number.as_tuple().digits) <= 15 and abs(int(number.as_tuple().exponent)) <= 22):
        return float(edge)
    return float(Context(15, ROUND_FLOOR).create_decimal(number - abs(number) * _MARGIN))


def _just_above(edge: float) -> float:
    """Returns an upper edge of a last bin that is higher by the same few parts, so that the bin holds its edge."""
    number = Decimal(repr(float(edge)))
    beyond = number + max(abs(number) * _MARGIN, _SMALLEST) if number.is_finite() else number
    return float(Context(15, ROUND_CEILING).create_decimal(beyond))


def binning(names: Sequence[str], edges: Sequence[Sequence[float] | Array], content: list[Any], flow: str) -> Node:
    """Returns bins of one input or more; in `content` the last input varies fastest."""
    sides = [[float(e) if np.isfinite(e) else str(e) for e in each] for each in edges]
    if len(names) == 1:
        return {"nodetype": "binning", "input": names[0], "edges": sides[0], "content": content, "flow": flow}
    return {"nodetype": "multibinning", "inputs": list(names), "edges": sides, "content": content, "flow": flow}


def _threshold(name: str, description: str, flat: FlatThreshold) -> Node:
    """Returns a formula for each cell between the nodes; it clamps its arguments to the cell, so it holds outside."""
    nodes = [np.append(n, n + 1 + np.abs(n)) if len(n) == 1 else n for n in flat.nodes]
    values = np.asarray(flat.values)
    for axis, (own, stretched) in enumerate(zip(flat.nodes, nodes, strict=True)):
        values = values if len(own) == len(stretched) else np.repeat(values, 2, axis)
    cells = _surface(nodes, values) if len(nodes) == 2 else _line(nodes[0], values)
    refs = [{"nodetype": "formularef", "index": 0, "parameters": cell.tolist()} for cell in cells]
    expression = _SURFACE if len(nodes) == 2 else _LINE
    formula = {"nodetype": "formula", "expression": expression, "parser": "TFormula", "variables": list(flat.names)}
    cells_of = binning(flat.names, nodes, refs, "clamp")
    return _correction(name, description, flat.names, cells_of, generic_formulas=[formula])


def _line(nodes: Array, values: Array) -> Array:
    """Returns the parameters of `_LINE` (cells, 4)."""
    return np.stack([values[:-1], np.diff(values) / np.diff(nodes), nodes[:-1], nodes[1:]], axis=1)


def _surface(nodes: Sequence[Array], values: Array) -> Array:
    """Returns the parameters of `_SURFACE` (cells, 8); the cells of the last axis vary fastest."""
    x, y = np.diff(nodes[0])[:, None], np.diff(nodes[1])[None, :]
    corner = values[:-1, :-1]
    along_x, along_y = values[1:, :-1] - corner, values[:-1, 1:] - corner
    twist = values[1:, 1:] - values[1:, :-1] - along_y
    x_low, y_low = np.meshgrid(nodes[0][:-1], nodes[1][:-1], indexing="ij")
    x_high, y_high = np.meshgrid(nodes[0][1:], nodes[1][1:], indexing="ij")
    parts = [corner, along_x / x, x_low, x_high, y_low, y_high, along_y / y, twist / x / y]
    return np.stack([p.ravel() for p in parts], axis=1)
