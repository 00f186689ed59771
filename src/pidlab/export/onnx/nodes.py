"""Builds the nodes of an ONNX graph, and the look-up in sorted tables that scaling and cuts share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pidlab import __version__
from pidlab.errors import UsageError

if TYPE_CHECKING:
    import onnx

# The oldest operator set whose Equal compares floats, as finding NaN needs; onnxruntime reads it since 1.0.
OPSET, TREES_OPSET, IR_VERSION = 11, 1, 6
TREES_DOMAIN = "ai.onnx.ml"
FLOAT, INT64, DOUBLE = 1, 7, 11  # onnx.TensorProto.FLOAT, .INT64, .DOUBLE


def onnx_package() -> ModuleType:
    """Returns the package onnx.

    Raises:
        UsageError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise UsageError(f"ONNX graphs need the package onnx ({error}): pip install 'pidlab[onnx]'") from error
    return onnx


Value = str | NDArray[Any] | np.generic
"""The name of a node's output, or a constant."""


class GraphBuilder:
    """A graph under construction, from `features` (batch, d) float32 to `scores` (batch, k) float32, or others."""

    features = "features"

    def __init__(self) -> None:
        self._onnx = onnx_package()
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: Value, domain: str = "", **attributes: Any) -> str:
        """Appends a node with one output, and returns the name of that output."""
        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        name = f"{operator.lower()}_{len(self._nodes)}"
        node = self._onnx.helper.make_node(operator, names, [name], name=name, domain=domain, **attributes)
        self._nodes.append(node)
        return name

    def column(self, x: str, j: int) -> str:
        """Returns the column j (batch, 1) of x (batch, n)."""
        return self.add("Gather", x, np.array([j], np.int64), axis=1)

    def sorted(self, x: str, n: int) -> str:
        """Returns the n columns of x (batch, n) with the numbers of each row in rising order."""
        name = f"sorted_{len(self._nodes)}"
        names, outputs = [x, self._constant(np.array([n], np.int64))], [name, f"{name}_places"]
        attributes = {"axis": 1, "largest": 0, "sorted": 1}
        self._nodes.append(self._onnx.helper.make_node("TopK", names, outputs, name=name, **attributes))
        return name

    def _constant(self, value: NDArray[Any] | np.generic) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def mean(self, values: Sequence[str]) -> str:
        """Returns the mean of values of one shape."""
        return values[0] if len(values) == 1 else self.add("Mean", *values)

    def model(
        self, outputs: Mapping[str, tuple[str, int]], n_features: int, metadata: Mapping[str, str]
    ) -> onnx.ModelProto:
        """Returns the checked model; each of `outputs` has a name, the name of its value, and a number of columns."""
        helper = self._onnx.helper
        last = [helper.make_node("Identity", [value], [name], name=name) for name, (value, _) in outputs.items()]
        nodes = [*self._nodes, *last]
        columns = {self.features: n_features, **{name: n for name, (_, n) in outputs.items()}}
        tensors = [helper.make_tensor_value_info(name, FLOAT, ["batch", n]) for name, n in columns.items()]
        ends = tensors[:1], tensors[1:]
        graph = helper.make_graph(nodes, metadata.get("model", "pidlab"), *ends, initializer=self._constants)
        versions = {"": OPSET} | ({TREES_DOMAIN: TREES_OPSET} if any(n.domain == TREES_DOMAIN for n in nodes) else {})
        model: onnx.ModelProto = helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_operatorsetid(domain, version) for domain, version in versions.items()],
            producer_name="pidlab",
            producer_version=__version__,
        )
        helper.set_model_props(model, dict(metadata))
        self._onnx.checker.check_model(model, full_check=True)
        return model


def look_up(graph: GraphBuilder, x: str, keys: NDArray[np.float64]) -> Value:
    """Returns the slot of each value of `x` (batch, d) float64 in d sorted tables, by bisection.

    The slots are (batch, d) int64, or (d,) for s = 0: indices into the tables one behind the other.

    Args:
        keys: (d, 2^s) rising; a value is in the last slot whose key is not above it, or in slot 0; NaN is in the last.
    """
    d, n_slots = keys.shape
    slot: Value = np.arange(d, dtype=np.int64) * n_slots
    step = n_slots // 2
    while step:
        ahead = graph.add("Add", slot, np.array(step, np.int64))
        below = graph.add("Less", x, graph.add("Gather", keys.ravel(), ahead, axis=0))
        slot = graph.add("Where", below, slot, ahead)
        step //= 2
    return slot


def padded(rows: Sequence[NDArray[np.float64]], n_slots: int, beyond: float | None = None) -> NDArray[np.float64]:
    """Returns (d, n_slots) from d rows of different lengths, filled up with `beyond` or each row's last value."""
    result = np.empty((len(rows), n_slots))
    for target, row in zip(result, rows, strict=True):
        target[: len(row)], target[len(row) :] = row, row[-1] if beyond is None else beyond
    return result


def slots_for(n: int) -> int:
    """Returns the smallest power of two that is not below n."""
    return 1 << (n - 1).bit_length()


def broken_line(
    graph: GraphBuilder, x: str, knots: Sequence[NDArray[np.float64]], values: Sequence[NDArray[np.float64]]
) -> str:
    """Returns `x` (batch, d) float64 with column j interpolated from rising knots (m,) to values (m,), constant beyond.

    The result for NaN is undefined.
    """
    inside = graph.add("Max", x, np.array([k[0] for k in knots]))
    inside = graph.add("Min", inside, np.array([k[-1] for k in knots]))
    starts, lows = [k[: max(1, len(k) - 1)] for k in knots], [v[: max(1, len(v) - 1)] for v in values]
    slopes = [np.diff(v) / np.diff(k) if len(k) > 1 else np.zeros(1) for k, v in zip(knots, values, strict=True)]
    n_slots = slots_for(max(map(len, starts)))
    slot = look_up(graph, inside, padded(starts, n_slots, np.inf))
    start, slope, low = (graph.add("Gather", padded(t, n_slots).ravel(), slot, axis=0) for t in (starts, slopes, lows))
    return graph.add("Add", graph.add("Mul", graph.add("Sub", inside, start), slope), low)
