"""The calibration of a model as ONNX nodes, in double precision as `models.calibration` has it."""

from __future__ import annotations

import numpy as np

from pidlab.export.onnx.models import posterior
from pidlab.export.onnx.nodes import DOUBLE, FLOAT, GraphBuilder, broken_line
from pidlab.models.calibration import Calibrator, Isotonic, Temperature

_SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


def calibrated(graph: GraphBuilder, scores: str, calibration: Calibrator, n_classes: int) -> str:
    """Probabilities (batch, k) through the calibration; NaN stays NaN."""
    wide = graph.add("Cast", scores, to=DOUBLE)
    if isinstance(calibration, Temperature):
        return _cooled(graph, wide, calibration.temperature, n_classes)
    return graph.add("Cast", _stepped(graph, wide, calibration), to=FLOAT)


def _cooled(graph: GraphBuilder, scores: str, temperature: float, n_classes: int) -> str:
    """The logarithms divided by the temperature; for two classes the log-odds."""
    margins = graph.add("Log", graph.add("Max", scores, np.array([_SMALLEST])))
    if n_classes == 2:
        margins = graph.add("MatMul", margins, np.array([[-1.0], [1.0]]))
    margins = graph.add("Cast", graph.add("Div", margins, np.array([temperature])), to=FLOAT)
    return posterior(graph, margins, 1 if n_classes == 2 else n_classes)


def _stepped(graph: GraphBuilder, scores: str, calibration: Isotonic) -> str:
    """Each column through its line; one of two leaves the rest to the other, k are scaled to sum 1."""
    asked = graph.add("Gather", scores, np.array(calibration.columns, np.int64), axis=1)
    line = broken_line(graph, asked, calibration.x, calibration.y)
    mapped = graph.add("Where", graph.add("Equal", asked, asked), line, np.array([np.nan]))
    if len(calibration.columns) == 1:
        pair = [graph.add("Sub", np.array([1.0]), mapped), mapped]
        return graph.add("Concat", *(pair if calibration.columns[0] == 1 else reversed(pair)), axis=1)
    total = graph.add("ReduceSum", mapped, axes=[1], keepdims=1)
    nowhere = graph.add("Equal", total, np.array([0.0]))
    share = graph.add("Div", mapped, graph.add("Where", nowhere, np.array([1.0]), total))
    return graph.add("Where", nowhere, np.array([1 / len(calibration.columns)]), share)
