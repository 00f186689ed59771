"""Writes regressors as ONNX nodes: the prediction, and behind it the width or the quantiles, in double precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pidlab.export.onnx.models import ACTIVATIONS, layers, tree_margins
from pidlab.export.onnx.nodes import DOUBLE, FLOAT, GraphBuilder
from pidlab.models.regressors.base import NARROWEST, Regressor, TargetScale

if TYPE_CHECKING:
    from pidlab.models.mlp.network import DenseNetwork
    from pidlab.models.regressors.constant import ConstantRegressor
    from pidlab.models.regressors.linear import LinearRegressor


def constant(graph: GraphBuilder, x: str, model: ConstantRegressor) -> str:
    """Returns the constants (batch, m) in each row."""
    first = graph.add("Gather", graph.add("Cast", x, to=DOUBLE), np.array([0], np.int64), axis=1)
    nothing = graph.add("Where", graph.add("Equal", first, first), np.zeros((1, 1)), np.zeros((1, 1)))
    return _answer(graph, model, graph.add("Add", nothing, model.values_[None]))


def linear(graph: GraphBuilder, x: str, model: LinearRegressor) -> str:
    """Returns the prediction (batch, 1): large coefficients of correlated features cancel each other."""
    product = graph.add("MatMul", graph.add("Cast", x, to=DOUBLE), np.ascontiguousarray(model.coefficients_.T))
    return _answer(graph, model, graph.add("Add", product, model.intercept_))


def trees(graph: GraphBuilder, x: str, model: Any) -> str:
    """Returns the numbers (batch, m) of boosted trees, whose leaves onnxruntime adds in single precision."""
    margins = graph.add("Cast", tree_margins(graph, x, model.forest()), to=DOUBLE)
    return _in_units(graph, model, model.scale_, margins)


def network(graph: GraphBuilder, x: str, model: Any) -> str:
    """Returns the numbers (batch, m) of a network, NaN if an input is not finite, as unclamped scaling can give."""
    wide = graph.add("Cast", x, to=DOUBLE)
    raw = ""
    for member in model.networks_:
        own = graph.add("Mul", double_layers(graph, wide, member), np.array([1 / len(model.networks_)]))
        raw = graph.add("Add", raw, own) if raw else own
    nothing = graph.add("ReduceSum", graph.add("Mul", wide, np.array([0.0])), axes=[1], keepdims=1)
    return _in_units(graph, model, model.scale_, graph.add("Add", raw, nothing))


def double_layers(graph: GraphBuilder, x: str, network: DenseNetwork) -> str:
    """Returns the outputs (batch, m) of a network in double precision."""
    return layers(graph, x, network, _dense, _activated)


def _dense(graph: GraphBuilder, x: str, weight: NDArray[Any], bias: NDArray[Any]) -> str:
    product = graph.add("MatMul", x, np.ascontiguousarray(weight.T, np.float64))
    return graph.add("Add", product, bias[None].astype(np.float64))


def _activated(graph: GraphBuilder, activation: str, z: str) -> str:
    """Returns the activation in double precision, by operators that onnxruntime has for it."""
    zero = np.array([0.0])
    if activation in ("sigmoid", "tanh", "silu"):
        return ACTIVATIONS[activation](graph, z)
    if activation == "relu":
        return graph.add("Max", z, zero)
    if activation == "leaky_relu":
        from pidlab.models.mlp.activations import LEAKY_SLOPE

        return graph.add("Max", z, graph.add("Mul", z, np.array([LEAKY_SLOPE])))
    if activation == "elu":
        below = graph.add("Sub", graph.add("Exp", graph.add("Min", z, zero)), np.array([1.0]))
        return graph.add("Add", graph.add("Max", z, zero), below)
    assert activation == "gelu"
    scaled = graph.add("Cast", graph.add("Mul", z, np.array([np.sqrt(0.5)])), to=FLOAT)
    error = graph.add("Cast", graph.add("Erf", scaled), to=DOUBLE)  # there is none in double precision
    return graph.add("Mul", graph.add("Mul", z, np.array([0.5])), graph.add("Add", error, np.array([1.0])))


def _in_units(graph: GraphBuilder, model: Regressor, scale: TargetScale, raw: str) -> str:
    """Returns the answer from what a model gives in scaled units, (batch, m) in double precision."""
    if model.loss == "gaussian":
        mean = _shifted(graph, graph.column(raw, 0), scale)
        logarithm = graph.add("Max", graph.column(raw, 1), np.array([[NARROWEST]]))
        sigma = graph.add("Mul", graph.add("Exp", logarithm), np.array([[scale.sigma_factor * scale.width]]))
        return _answer(graph, model, graph.add("Concat", mean, sigma, axis=1))
    if len(model.levels) > 1:
        raw = graph.sorted(raw, len(model.levels))
    return _answer(graph, model, _shifted(graph, raw, scale))


def _shifted(graph: GraphBuilder, raw: str, scale: TargetScale) -> str:
    return graph.add("Add", graph.add("Mul", raw, np.array([[scale.width]])), np.array([[scale.centre]]))


def _answer(graph: GraphBuilder, model: Regressor, numbers: str) -> str:
    """Returns (batch, 1 + m) float32: the prediction, then the further outputs."""
    n_numbers = len(model.levels) or 1 + (model.loss == "gaussian")
    m = len(model.output_names)
    columns = np.array([model.prediction_column, *range(n_numbers - m, n_numbers)], np.int64)
    return graph.add("Cast", graph.add("Gather", numbers, columns, axis=1), to=FLOAT)
