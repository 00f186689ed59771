"""Writes regressors in C++: the prediction, and behind it the width or the quantiles, in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pidlab.export.cpp.models import tree_margins
from pidlab.export.cpp.text import number, table
from pidlab.models.regressors.base import NARROWEST, Regressor, TargetScale


def constant(name: str, model: Any, x: str, d: int) -> tuple[str, str]:
    """Writes a constant prediction."""
    values = [number(value) for value in model.values_]
    return "", f"   static_cast<void>({x});\n{_answer(model, values)}"


def linear(name: str, model: Any, x: str, d: int) -> tuple[str, str]:
    """Writes a linear function: its coefficients."""
    tables = table(f"{name}_coefficients", model.coefficients_) + table(f"{name}_intercept", model.intercept_)
    return tables, _answer(model, [f"linear_margins({name}_coefficients, {name}_intercept, {x})[0]"])


def trees(name: str, model: Any, x: str, d: int) -> tuple[str, str]:
    """Writes boosted trees: their nodes, and the sums of their leaves in the target's units."""
    tables, body, margins = tree_margins(name, model.forest(), x, d)
    return tables, body + _in_units(model, model.scale_, margins)


def network(name: str, model: Any, x: str, d: int) -> tuple[str, str]:
    """Writes a network or an ensemble: weights and biases, and the mean of what the members give."""
    networks = model.networks_
    shapes = [weight.shape for weight in networks[0].weights]
    widest, k = max(d, *(out for out, _ in shapes)), shapes[-1][0]
    tables, body = "", f"   double a[{widest}], b[{widest}];\n   std::array<double, {k}> raw{{}};\n"
    for m, own in enumerate(networks):
        own_tables, layers, out = double_layers(f"{name}_member{m}", own)
        tables += own_tables
        body += f"   for (std::size_t i = 0; i < {d}; ++i) a[i] = {x}[i];\n{layers}"
        body += f"   for (std::size_t i = 0; i < {k}; ++i) raw[i] += {out}[i] / {len(networks)};\n"
    raw = [f"raw[{i}] + spoiled({x}, {d})" for i in range(k)]
    return tables, body + _in_units(model, model.scale_, raw)


def double_layers(name: str, network: Any) -> tuple[str, str, str]:
    """Returns the tables of a network, its layers from the buffer a through b and a in turn, and where they end."""
    tables, body, source, target = "", "", "a", "b"
    for i, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        tables += table(f"{name}_bias{i}", np.asarray(bias, np.float32))
        tables += table(f"{name}_weights{i}", np.asarray(weight, np.float32))
        body += f"   dense({name}_bias{i}, {name}_weights{i}, {source}, {target});\n"
        if i < len(network.weights) - 1:
            body += _activated(network.activation, target, len(bias))
        source, target = target, source
    return tables, body, source


def _activated(activation: str, values: str, n: int) -> str:
    if activation == "maxout":
        half = n // 2
        return (
            f"   for (std::size_t i = 0; i < {half}; ++i) {values}[i] = std::max({values}[i], {values}[i + {half}]);\n"
        )
    function = "std::tanh" if activation == "tanh" else activation  # the others are functions of `pieces.h`
    return f"   for (std::size_t i = 0; i < {n}; ++i) {values}[i] = {function}({values}[i]);\n"


def _in_units(model: Regressor, scale: TargetScale, raw: Sequence[str]) -> str:
    """Returns the end of a function from expressions of what a model gives in scaled units."""
    centre, width = number(scale.centre), number(scale.width)
    if model.loss == "gaussian":
        sigma = f"{number(scale.sigma_factor * scale.width)} * std::exp(std::max({raw[1]}, {number(NARROWEST)}))"
        return _answer(model, [f"{centre} + {width} * ({raw[0]})", sigma])
    if not model.levels:
        return _answer(model, [f"{centre} + {width} * ({raw[0]})"])
    head = f"   std::array<double, {len(raw)}> quantiles{{{{{', '.join(raw)}}}}};\n"
    head += "   std::sort(quantiles.begin(), quantiles.end());\n"
    return head + _answer(model, [f"{centre} + {width} * quantiles[{i}]" for i in range(len(raw))])


def _answer(model: Regressor, numbers: Sequence[str]) -> str:
    """Returns the last line: the prediction, then the further outputs, from what `Regressor.numbers` gives."""
    m = len(model.output_names)
    listed = [numbers[model.prediction_column], *(numbers[-m:] if m else ())]
    return f"   return {{{{{', '.join(f'single({each})' for each in listed)}}}}};\n"
