"""Files that Keras, tf2onnx and torch really wrote: run as numpy computes them, or refused with advice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from pidlab.config.schema import OnnxModel
from pidlab.models.external.columns import ModelMismatchError
from pidlab.models.external.onnx.model import open_onnx

FOLDER = Path(__file__).with_name("onnx_real")
X = np.random.default_rng(1).normal(size=(1001, 3)).astype(np.float32)


def read(name: str) -> Any:
    return onnx.load_model_from_string((FOLDER / f"{name}.onnx").read_bytes())


def scores(model: Any, features: tuple[str, ...] = ("var1", "var2", "var3")) -> np.ndarray:
    """The signal's score of X, with the columns that the model asks for."""
    spec = OnnxModel(type="onnx", file="m.onnx")
    named = {name: name for name in features}
    columns, classifier = open_onnx(spec, model.SerializeToString(), named, ["electron", "pion"], 0)
    found: np.ndarray = classifier.scores(X[:, list(columns)])[:, 0]
    return found


def layers(model: Any) -> list[np.ndarray]:
    """The matrices and offsets in the order in which operators use them."""
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return [held[name] for node in model.graph.node for name in node.input if name in held]


def logistic(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z.astype(np.float64)))


def network(x: np.ndarray, parts: list[np.ndarray], activation: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The last margins of a network of dense layers."""
    for i in range(0, len(parts), 2):
        x = x @ parts[i].astype(np.float64) + parts[i + 1]
        x = activation(x) if i + 2 < len(parts) else x
    return x


def test_three_inputs_of_keras_are_found_by_their_names_in_any_order() -> None:
    model = read("keras3")
    expected = logistic(network(X, layers(model), lambda z: np.maximum(z, 0)))[:, 0]
    np.testing.assert_allclose(scores(model), expected, rtol=1e-5, atol=1e-6)
    swapped = scores(model, ("var3", "var1", "var2"))  # the columns of X are then var3, var1, var2
    expected = logistic(network(X[:, [1, 2, 0]], layers(model), lambda z: np.maximum(z, 0)))[:, 0]
    np.testing.assert_allclose(swapped, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["torch_old", "torch_fixed"])
def test_a_network_of_torch_is_run_with_a_free_and_with_a_fixed_number_of_events(name: str) -> None:
    model = read(name)
    parts = [part.T if part.ndim == 2 else part for part in layers(model)]
    np.testing.assert_allclose(scores(model), logistic(network(X, parts, np.tanh))[:, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "constant"),
    [
        ("keras1", "'sequential_1/normalization_1/Sub/y:0' (1, 3)"),
        ("keras2", "'sequential_1_1/normalization_1_1/Sub/y:0' (1, 3)"),
        ("tf", "'matmul/b:0' (3, 1)"),
    ],
)
def test_a_constant_that_the_exporter_left_as_an_input_is_named_with_what_to_do(name: str, constant: str) -> None:
    with pytest.raises(ModelMismatchError) as caught:
        scores(read(name))
    message = str(caught.value)
    assert f"lacks the values of constants, which its exporter left as inputs ({constant})" in message
    assert "put the normalisation into the features" in message
    assert "Sqrt" not in message  # which no operator reads


@pytest.mark.parametrize("name", ["keras1", "keras2"])
def test_with_the_values_in_the_file_the_network_runs_though_an_unused_input_is_left(name: str) -> None:
    model, mean = read(name), np.array([[0.1, -0.2, 0.3]], np.float32)
    (missing,) = [value.name for value in model.graph.input if "Sub/y" in value.name]
    model.graph.initializer.append(numpy_helper.from_array(mean, missing))
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    (scale,) = [value for key, value in held.items() if "truediv_recip" in key]
    margins = network((X - mean) * scale, [part for part in layers(model) if part.shape != (1, 3)], np.tanh)
    expected = logistic(margins[:, 0] if name == "keras1" else margins[:, 0] - margins[:, 1])
    np.testing.assert_allclose(scores(model), expected, rtol=1e-5, atol=2e-6)


def test_a_graph_that_reads_none_of_its_inputs_is_refused() -> None:
    constant = onnx.helper.make_node("Constant", [], ["p"], value=numpy_helper.from_array(np.ones((1, 1), np.float32)))
    ports = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", [None, 3]), ("p", [1, 1]))
    ]
    graph = onnx.helper.make_graph([constant], "g", ports[:1], ports[1:])
    with pytest.raises(ModelMismatchError, match="reads none of its inputs"):
        scores(onnx.helper.make_model(graph))
