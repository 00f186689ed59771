"""ONNX graphs as the converters of Keras, PyTorch and scikit-learn lay them out, for the table of external_samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int64": TensorProto.INT64}
WEIGHTS = np.array([[1.2], [-0.6], [0.4]])
BIAS = np.array([-0.3])


def logit(x: np.ndarray) -> np.ndarray:
    """(n,) what the graphs below give before their last step."""
    return x.astype(np.float64) @ WEIGHTS[:, 0] + BIAS[0]


def probability(x: np.ndarray) -> np.ndarray:
    """(n,) the signal's."""
    return 1 / (1 + np.exp(-logit(x)))


def _model(nodes: list, inputs: list, outputs: list, constants: dict[str, np.ndarray], opset: int = 13) -> ModelProto:
    tensors = [numpy_helper.from_array(v, n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "tf2onnx", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def keras(
    last: str = "Sigmoid",
    dtype: str = "float32",
    batch: int | str = "unk__6",
    signs: Sequence[float] = (1.0,),
    factor: float = 1.0,
) -> ModelProto:
    """One dense layer as tf2onnx names it; column i of the output has the weights times `signs[i]`."""
    weights = factor * np.hstack([WEIGHTS * s for s in signs]).astype(dtype)
    bias = factor * np.hstack([BIAS * s for s in signs]).astype(dtype)
    base = "sequential/dense"
    nodes = [
        helper.make_node("MatMul", ["dense_input", f"{base}/MatMul/ReadVariableOp:0"], [f"{base}/MatMul:0"]),
        helper.make_node("Add", [f"{base}/MatMul:0", f"{base}/BiasAdd/ReadVariableOp:0"], [f"{base}/BiasAdd:0"]),
        helper.make_node(last, [f"{base}/BiasAdd:0"], ["dense"], **({"axis": 1} if last == "Softmax" else {})),
    ]
    kind = TYPES[dtype]
    inputs = [helper.make_tensor_value_info("dense_input", kind, [batch, 3])]
    outputs = [helper.make_tensor_value_info("dense", kind, [batch, len(signs)])]
    constants = {f"{base}/MatMul/ReadVariableOp:0": weights, f"{base}/BiasAdd/ReadVariableOp:0": bias}
    return _model(nodes, inputs, outputs, constants)


def one_input_a_feature(names: Sequence[str], flat: bool) -> ModelProto:
    """Inputs called `names`, (n,) where `flat`, else (n, 1), concatenated in the order a, b, c."""
    nodes, parts = [], {}
    for name in names:
        parts[name[0]] = name
        if flat:
            nodes.append(helper.make_node("Unsqueeze", [name, "axis"], [f"{name}/column"]))
            parts[name[0]] = f"{name}/column"
    nodes += [
        helper.make_node("Concat", [parts[k] for k in "abc"], ["x"], axis=1),
        helper.make_node("MatMul", ["x", "weights"], ["xw"]),
        helper.make_node("Add", ["xw", "bias"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["p"]),
    ]
    shape = ["N"] if flat else ["N", 1]
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in names]
    outputs = [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["N", 1])]
    constants = {"weights": WEIGHTS.astype(np.float32), "bias": BIAS.astype(np.float32)}
    return _model(nodes, inputs, outputs, constants | ({"axis": np.array([1])} if flat else {}))


def keeping_weights_outside(path: str) -> ModelProto:
    """The Keras graph whose weights are said to lie in the file `path`."""
    model = keras()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": path, "offset": "0", "length": "12"}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return model


def with_operator_of(domain: str) -> ModelProto:
    """The Keras graph whose last operator is of another domain."""
    model = keras()
    model.graph.node[-1].domain = domain
    model.opset_import.add(domain=domain, version=1)
    return model


def with_shapes(inputs: Sequence[object], dtype: str = "float32") -> ModelProto:
    """An Identity of an input of that shape and type."""
    kind = TYPES[dtype]
    return _model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [helper.make_tensor_value_info("x", kind, inputs)],
        [helper.make_tensor_value_info("y", kind, inputs)],
        {},
    )
