"""Writes bands in C++: the tables of their curves, and a function that gives the distances in widths."""

from __future__ import annotations

from typing import Any

from pidlab.export.cpp.regressors import double_layers
from pidlab.export.cpp.text import number, table
from pidlab.models.band.curves import Curves, Polynomials
from pidlab.models.band.shapes import BandCurves

_SIDES = {"low": -1, "both": 0, "high": 1}


def band_scores(name: str, model: Any, x: str, d: int) -> tuple[str, str]:
    """Writes the scores of a band: minus the combined distance for the signal."""
    tables = _distances(name, model)
    sides = ", ".join(str(_SIDES[side]) for side in model.sides_)
    signal = f"combined({name}_distances({x}), {{{{{sides}}}}})"
    other = "-signal" if len(model.classes_) == 2 else "std::numeric_limits<float>::quiet_NaN()"
    scores = ", ".join("signal" if label == model.signal else other for label in model.classes_.tolist())
    return tables, f"   const float signal = single({signal});\n   return {{{{{scores}}}}};\n"


def band_outputs(name: str, model: Any, x: str, d: int) -> tuple[str, str]:
    """Writes the distance of each variable, in widths and with its sign."""
    values = ", ".join(f"single(distances[{j}])" for j in range(len(model.variables_)))
    return _distances(name, model), f"   const auto distances = {name}_distances({x});\n   return {{{{{values}}}}};\n"


def _distances(name: str, model: Any) -> str:
    """Returns the function `NAME_distances(x)` and the tables that it uses."""
    v, d = len(model.variables_), model.n_against
    tables, lines = "", [f"   std::array<double, {v}> distances;\n", '   distances.fill(std::nan(""));\n']
    for g, group in enumerate(model.groups_.tolist()):
        inner = []
        for j in range(v):
            curves: BandCurves = model.curves_[j][g]
            own = f"{name}_{j}_{g}"
            if not isinstance(curves, Curves):
                tables += _network(own, curves)
                inner.append(f"distances[{j}] = {own}_distance(x[{j}], x + {v});\n")
                continue
            places = [_placed(curves, f"x[{v + i}]", i) for i in range(d)] + ["0.0"] * (2 - d)
            sides = ["mean", "below", "above"]
            if curves.is_symmetric:
                sides = ["mean", "below", "below"]
            for side in dict.fromkeys(sides):
                tables += _curve(f"{own}_{side}", curves.tables[side])
            use = ", ".join(f"{own}_{side}" for side in sides)
            inner.append(f"distances[{j}] = distance(x[{j}], {', '.join(places)}, {use}, {number(curves.least)});\n")
        if model.by is None:
            lines += [f"   {each}" for each in inner]
        else:
            lines += [f"   if (x[{v + d}] == {group}) {{\n", *(f"      {each}" for each in inner), "   }\n"]
    body = "".join([*lines, "   return distances;\n"])
    return f"{tables}inline std::array<double, {v}> {name}_distances(const float* x)\n{{\n{body}}}\n"


def _network(name: str, curves: Any) -> str:
    """Returns the function `NAME_distance(value, x)` of a network, and its tables."""
    regression = curves.regression
    network, scaling = regression.network_, regression.scaling_
    widths = [network.n_inputs, *(len(bias) for bias in network.biases)]
    text, layers, out = double_layers(name, network)
    body = f"   double a[{max(widths)}], b[{max(widths)}];\n"
    for i, parts in enumerate(zip(scaling.low, scaling.high, scaling.centre, scaling.width, strict=True)):
        low, high, centre, width = map(number, parts)
        body += f"   a[{i}] = (within(double(x[{i}]), {low}, {high}) - {centre}) / {width};\n"
    body += layers
    centre, width = number(regression.centre_[0]), number(regression.width_[0])
    body += f"   return (value - ({centre} + {width} * {out}[0])) / ({width} * std::exp({out}[1]));\n"
    return f"{text}inline double {name}_distance(double value, const float* x)\n{{\n{body}}}\n"


def _placed(curves: Curves, x: str, j: int) -> str:
    """Returns the coordinate of the polynomials at a quantity."""
    low, high = number(curves.basis.low[j]), number(curves.basis.high[j])
    return f"1 / within(double({x}), {low}, {high})" if curves.basis.reciprocal else f"double({x})"


def _curve(name: str, curve: Polynomials) -> str:
    """Returns a constant of the type `Polynomials` with the tables of a curve."""
    text = "".join(table(f"{name}_{field}", getattr(curve, field)) for field in curve._fields)
    fields = ", ".join(f"{name}_{field}" for field in curve._fields)
    cells_u, cells_v, powers_u, powers_v = curve.coefficients.shape
    kind = f"Polynomials<{cells_u}, {cells_v}, {powers_u}, {powers_v}>"
    return f"{text}inline const {kind} {name} = {{{fields}}};\n"
