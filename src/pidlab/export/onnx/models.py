"""Writes models as ONNX nodes, from features to scores: scaling, networks, trees, linear models, cuts, calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.export.onnx.nodes import (
    DOUBLE,
    FLOAT,
    INT64,
    TREES_DOMAIN,
    GraphBuilder,
    Value,
    broken_line,
    look_up,
    padded,
    slots_for,
)
from pidlab.models.calibration import Calibrator, Isotonic, scale_and_offsets
from pidlab.models.categories import CategoryModel
from pidlab.models.fold import BandColumn, FoldModel
from pidlab.models.registry import MODEL_TYPES, imported
from pidlab.preprocess.scaling import Scaler

_FAR = 1e4  # log-odds beyond this, also infinite ones, give probabilities of 0 and 1
_SMALLEST = float(np.finfo(np.float32).smallest_subnormal)

if TYPE_CHECKING:
    from pidlab.models.bdt.forest import Forest
    from pidlab.models.cuts.estimator import Cuts
    from pidlab.models.cuts.windows import Windows
    from pidlab.models.likelihood.detectors import DetectorDensity
    from pidlab.models.likelihood.estimator import Likelihood
    from pidlab.models.margins import LinearClassifier
    from pidlab.models.mlp.estimator import MLP
    from pidlab.models.mlp.network import DenseNetwork
    from pidlab.models.naive_bayes import NaiveBayes

ScoreWriter = Callable[[GraphBuilder, str, Any], str]
"""Adds the nodes of an estimator to a graph: from the name of its input (batch, d) to that of its scores (batch, k)."""


def fitted_scores(graph: GraphBuilder, fitted: FoldModel, kind: str, n_features: int) -> str:
    """Returns the scores (batch, k) of one fold model of type `kind`, from the features (batch, n_features).

    A feature that is NaN or infinite is missing.

    Raises:
        ModelError: the trees are weighted (booster: dart).
    """
    finite = graph.add("Less", graph.add("Abs", graph.features), _number(np.inf))
    features = x = graph.add("Where", finite, graph.features, _number(np.nan))  # as pidlab reads a feature
    if fitted.columns and fitted.columns != tuple(range(n_features)):
        x = graph.add("Gather", x, np.array(fitted.columns, np.int64), axis=1)
    if fitted.band_columns:
        sigmas = [_sigmas(graph, features, column) for column in fitted.band_columns]
        x = graph.add("Concat", *([x] if fitted.columns else []), *sigmas, axis=1)
    write: ScoreWriter = imported(MODEL_TYPES[kind].exports["onnx"])
    return write(graph, scaled(graph, x, fitted.scaler) if fitted.scaler else x, fitted.estimator)


def scores_of(graph: GraphBuilder, fitted: FoldModel | CategoryModel, kind: str, shape: tuple[int, int]) -> str:
    """Returns the scores (batch, k) of one fold model, with or without categories; `shape` is (features, k).

    Of a regression these are the prediction and the further outputs.

    Raises:
        ModelError: the trees are weighted (booster: dart).
    """
    n_features, k = shape
    if isinstance(fitted, FoldModel):
        return fitted_scores(graph, fitted, kind, n_features)
    found: Any = np.full((1, k), np.nan, np.float32)
    for category in reversed(fitted.categories):  # the first category whose condition holds counts
        scores = fitted_scores(graph, category.model, kind, n_features)
        if category.calibration is not None:
            scores = calibrated(graph, scores, category.calibration, k)
        condition = graph.column(graph.features, category.column)
        found = graph.add("Where", graph.add("Less", _number(0), condition), scores, found)
    return str(found)


def _sigmas(graph: GraphBuilder, features: str, column: BandColumn) -> str:
    """Returns (batch, 1) the number of sigmas from a band, from all features (batch, d)."""
    x = graph.add("Gather", features, np.array(column.band.columns, np.int64), axis=1)
    write: ScoreWriter = imported(MODEL_TYPES["band"].exports["onnx_outputs"])
    outputs = write(graph, x, column.band.estimator)
    return graph.column(outputs, column.output)


def _number(value: float) -> NDArray[np.float32]:
    return np.array([value], np.float32)


def scaled(graph: GraphBuilder, x: str, scaler: Scaler) -> str:
    """Returns `Scaler.transform` of features (batch, d) with NaN: (batch, d + m) float32, lines in double precision."""
    wide = graph.add("Cast", x, to=DOUBLE)
    knots, values = scaler.knots, scaler.values
    line = broken_line(graph, wide, knots, values) if scaler.clamp else _straight_line(graph, wide, scaler)
    line = graph.add("Cast", line, to=FLOAT)
    d, indicators = len(scaler.fill), np.array(scaler.indicators, np.int64)
    filled = scaler.transform(np.full((1, d), np.nan))[0, :d]
    whole = graph.add("Where", graph.add("Equal", wide, wide), line, filled)
    if not len(indicators):
        return whole
    asked = graph.add("Gather", wide, indicators, axis=1)
    missing = graph.add("Where", graph.add("Equal", asked, asked), _number(0), _number(1))
    return graph.add("Concat", whole, missing, axis=1)


def _straight_line(graph: GraphBuilder, x: str, scaler: Scaler) -> str:
    start, end, low, high = (
        np.array([line[side] for line in lines]) for lines in (scaler.knots, scaler.values) for side in (0, -1)
    )
    return graph.add("Add", graph.add("Mul", graph.add("Sub", x, start), (high - low) / (end - start)), low)


def posterior(graph: GraphBuilder, margins: str, n_margins: int) -> str:
    """Returns class probabilities (batch, k) from margins: log-odds of the second of two classes, or k for a softmax.

    Log-odds m become a softmax of -m/2 and m/2, because Sigmoid rounds small probabilities to 0.
    """
    if n_margins == 1:
        margins = graph.add("Mul", margins, np.array([[-0.5, 0.5]], np.float32))
    return graph.add("Softmax", margins, axis=1)


def calibrated(graph: GraphBuilder, scores: str, calibration: Calibrator, n_classes: int) -> str:
    """Returns probabilities (batch, k) after the calibration, computed in double precision; NaN stays NaN."""
    wide = graph.add("Cast", scores, to=DOUBLE)
    if isinstance(calibration, Isotonic):
        return graph.add("Cast", _isotonic(graph, wide, calibration, n_classes), to=FLOAT)
    return _vector_scaled(graph, wide, *scale_and_offsets(calibration, n_classes))


def _vector_scaled(graph: GraphBuilder, scores: str, scale: float, offsets: tuple[float, ...]) -> str:
    """Returns the softmax of the logarithms (for two classes, of the log-odds) times a factor, plus offsets."""
    n_classes = len(offsets)
    logarithms = graph.add("Log", graph.add("Max", scores, np.array([_SMALLEST])))
    margins = graph.add("Add", graph.add("Mul", logarithms, np.array([scale])), np.array([offsets]))
    if n_classes == 2:
        margins = graph.add("MatMul", margins, np.array([[-1.0], [1.0]]))
    margins = graph.add("Cast", margins, to=FLOAT)
    return posterior(graph, margins, 1 if n_classes == 2 else n_classes)


def _isotonic(graph: GraphBuilder, scores: str, calibration: Isotonic, n_classes: int) -> str:
    """Returns each column mapped by its line; the other of two classes gets the rest, k classes are scaled to sum 1."""
    asked = graph.add("Gather", scores, np.array(calibration.columns, np.int64), axis=1)
    line = broken_line(graph, asked, calibration.x, calibration.y)
    mapped = graph.add("Where", graph.add("Equal", asked, asked), line, np.array([np.nan]))
    if len(calibration.columns) == 1 and n_classes > 2:
        is_signal = np.arange(n_classes)[None, :] == calibration.columns[0]
        return graph.add("Where", is_signal, mapped, np.full((1, n_classes), np.nan))
    if len(calibration.columns) == 1:
        pair = [graph.add("Sub", np.array([1.0]), mapped), mapped]
        return graph.add("Concat", *(pair if calibration.columns[0] == 1 else reversed(pair)), axis=1)
    total = graph.add("ReduceSum", mapped, axes=[1], keepdims=1)
    nowhere = graph.add("Equal", total, np.array([0.0]))
    share = graph.add("Div", mapped, graph.add("Where", nowhere, np.array([1.0]), total))
    return graph.add("Where", nowhere, np.array([1 / len(calibration.columns)]), share)


def _leaky_relu(graph: GraphBuilder, z: str) -> str:
    from pidlab.models.mlp.activations import LEAKY_SLOPE

    return graph.add("LeakyRelu", z, alpha=LEAKY_SLOPE)


def _gelu(graph: GraphBuilder, z: str) -> str:
    """Returns ½ z (1 + erf(z / √2))."""
    error = graph.add("Erf", graph.add("Mul", z, _number(np.sqrt(0.5))))
    return graph.add("Mul", graph.add("Mul", z, _number(0.5)), graph.add("Add", error, _number(1)))


ACTIVATIONS: Mapping[str, Callable[[GraphBuilder, str], str]] = {
    "sigmoid": lambda graph, z: graph.add("Sigmoid", z),
    "tanh": lambda graph, z: graph.add("Tanh", z),
    "relu": lambda graph, z: graph.add("Relu", z),
    "leaky_relu": _leaky_relu,
    "elu": lambda graph, z: graph.add("Elu", z, alpha=1.0),
    "silu": lambda graph, z: graph.add("Mul", z, graph.add("Sigmoid", z)),
    "gelu": _gelu,
}


def network_scores(graph: GraphBuilder, x: str, mlp: MLP) -> str:
    """Returns the mean of the members' probabilities; NaN if an input is not finite, as unclamped scaling can give."""
    members = [
        posterior(graph, layers(graph, x, network, _linear, _activated), network.n_outputs) for network in mlp.networks_
    ]
    nothing = graph.add("ReduceSum", graph.add("Mul", x, _number(0)), axes=[1], keepdims=1)
    return graph.add("Add", graph.mean(members), nothing)


def layers(
    graph: GraphBuilder,
    x: str,
    network: DenseNetwork,
    dense: Callable[[GraphBuilder, str, NDArray[Any], NDArray[Any]], str],
    activated: Callable[[GraphBuilder, str, str], str],
) -> str:
    """Returns the outputs (batch, k) of a network, from `dense` layers and what is `activated`, by its name."""
    parts = list(zip(network.weights, network.biases, strict=True))
    for weight, bias in parts[:-1]:
        if network.activation == "maxout":
            halves = zip(np.split(weight, 2), np.split(bias, 2), strict=True)
            x = graph.add("Max", *(dense(graph, x, *half) for half in halves))
        else:
            x = activated(graph, network.activation, dense(graph, x, weight, bias))
    return dense(graph, x, *parts[-1])


def _activated(graph: GraphBuilder, activation: str, z: str) -> str:
    return ACTIVATIONS[activation](graph, z)


def _linear(graph: GraphBuilder, x: str, weight: NDArray[Any], bias: NDArray[Any]) -> str:
    return graph.add("Gemm", x, weight.astype(np.float32), bias.astype(np.float32), transB=1)


def linear_scores(graph: GraphBuilder, x: str, model: LinearClassifier) -> str:
    """Returns scores from margins in double precision: large coefficients of correlated features cancel each other."""
    product = graph.add("MatMul", graph.add("Cast", x, to=DOUBLE), model.coefficients_.T)
    return _posterior_of_double(graph, graph.add("Add", product, model.intercept_), len(model.intercept_))


def naive_bayes_scores(graph: GraphBuilder, x: str, model: NaiveBayes) -> str:
    """Margins in double precision, because the distances of a far candidate are large and cancel."""
    wide = graph.add("Cast", x, to=DOUBLE)
    margins = []
    for mean, variance, prior in zip(model.mean_, model.variance_, model.prior_, strict=True):
        distance = graph.add("Sub", wide, mean)
        density = graph.add("MatMul", graph.add("Mul", distance, distance), -0.5 / variance[:, None])
        margins.append(graph.add("Add", density, np.log([prior]) - 0.5 * np.log(2 * np.pi * variance).sum()))
    if len(margins) == 2:
        return _posterior_of_double(graph, graph.add("Sub", margins[1], margins[0]), 1)
    together = graph.add("Concat", *margins, axis=1)
    largest = graph.add("ReduceMax", together, axes=[1], keepdims=1)
    return _posterior_of_double(graph, graph.add("Sub", together, largest), len(margins))


def likelihood_scores(graph: GraphBuilder, x: str, model: Likelihood) -> str:
    """Returns scores from margins in double precision: abundances, and the log-likelihoods of each detector."""
    from pidlab.models.likelihood.curves import FINE

    wide = graph.add("Cast", x, to=DOUBLE)
    axis: _Axis | None = None
    margins: Value = model.log_prior_[:1]
    if model.against_ is not None:
        position = graph.column(wide, model.against_)
        known = graph.add("Equal", position, position)
        axis = _on_axis(graph, graph.add("Where", known, position, model.axis_[:1]), known, model.axis_, FINE)
        low = graph.add("Gather", model.log_prior_, axis.slice, axis=0)
        high = graph.add("Gather", model.log_prior_, axis.next_slice, axis=0)
        margins = graph.add("Where", known, _between(graph, low, high, axis.part), model.log_prior_missing_)
    for detector, weights in zip(model.detectors_, model.weights_, strict=True):
        margins = graph.add("Add", margins, _relative_likelihoods(graph, wide, axis, detector, weights))
    if len(model.classes_) == 2:
        return _posterior_of_double(graph, graph.add("MatMul", margins, np.array([[-1.0], [1.0]])), 1)
    largest = graph.add("ReduceMax", margins, axes=[1], keepdims=1)
    return _posterior_of_double(graph, graph.add("Sub", margins, largest), len(model.classes_))


class _Axis(NamedTuple):
    """The position on the axis of a likelihood: node, slice and the next ones (batch,), the shares of the way to them
    (batch, 1), and whether it is known (batch, 1)."""

    node: str
    next_node: str
    share: str
    slice: str
    next_slice: str
    part: str
    known: str


def _on_axis(graph: GraphBuilder, position: str, known: str, nodes: NDArray[np.float64], fine: int) -> _Axis:
    """Returns the position of values (batch, 1) that are no NaN, within the ends of the axis."""
    inside = graph.add("Min", graph.add("Max", position, nodes[:1]), nodes[-1:])
    starts = nodes[: max(1, len(nodes) - 1)]
    steps = np.diff(nodes) if len(nodes) > 1 else np.ones(1)
    node = look_up(graph, inside, padded([starts], slots_for(len(starts)), np.inf))
    if not isinstance(node, str):  # a single node
        node = graph.add("Cast", graph.add("Mul", inside, np.zeros(1)), to=INT64)
    start, step = (graph.add("Gather", each, node, axis=0) for each in (starts, np.where(steps > 0, steps, 1.0)))
    share = graph.add("Div", graph.add("Sub", inside, start), step)
    slice_ = graph.add("Div", node, np.array([fine], np.int64))
    at = graph.add("Div", graph.add("Add", graph.add("Cast", node, to=DOUBLE), share), np.array([float(fine)]))
    part = graph.add("Sub", at, graph.add("Cast", slice_, to=DOUBLE))
    following = np.array([int(len(nodes) > 1)], np.int64)  # of a single node, itself
    flat = [graph.add("Squeeze", each, axes=[1]) for each in (node, slice_)]
    after = [graph.add("Add", each, following) for each in flat]
    return _Axis(flat[0], after[0], share, flat[1], after[1], part, known)


def _between(graph: GraphBuilder, low: str, high: str, share: Value) -> str:
    return graph.add("Add", low, graph.add("Mul", share, graph.add("Sub", high, low)))


def _relative_likelihoods(
    graph: GraphBuilder, x: str, axis: _Axis | None, detector: DetectorDensity, weights: NDArray[np.float64]
) -> str:
    """Returns (batch, k) weighted log-likelihoods of one detector, 0 where a variable or the axis is missing."""
    from pidlab.models.likelihood import density

    k, n_slices, length = detector.tables.shape[:3]
    flat = detector.tables.astype(np.float64).ravel()
    cells = length ** len(detector.columns)
    firsts = np.arange(k, dtype=np.int64)[None] * n_slices * cells

    def curve(number: int) -> Value:
        column = np.ascontiguousarray(detector.curves[:, :, number])
        if axis is None:
            return column[:1]
        low, high = graph.add("Gather", column, axis.node, axis=0), graph.add("Gather", column, axis.next_node, axis=0)
        return _between(graph, low, high, axis.share)

    known = None if axis is None else axis.known
    cell: Value = np.zeros((1, 1), np.int64)
    shares: list[str] = []
    for v, column in enumerate(detector.columns):
        value = graph.column(x, column)
        measured = graph.add("Equal", value, value)
        known = measured if known is None else graph.add("And", known, measured)
        value = graph.add("Where", measured, value, np.zeros(1))
        z = graph.add("Mul", graph.add("Sub", value, curve(2 * v)), curve(2 * v + 1))
        t = graph.add("Div", z, graph.add("Add", graph.add("Abs", z), np.array([density.REACH])))
        end = density.last_node()
        t = graph.add("Min", graph.add("Max", t, np.array([-end])), np.array([end]))
        at = graph.add("Add", graph.add("Div", t, np.array([end])), np.array([1.0]))
        at = graph.add("Mul", at, np.array([0.5 * (length - 1)]))
        low = graph.add("Cast", graph.add("Min", at, np.array([length - 1.5])), to=INT64)
        shares.append(graph.add("Sub", at, graph.add("Cast", low, to=DOUBLE)))
        cell = graph.add("Add", graph.add("Mul", cell, np.array([length], np.int64)), low)

    def at_slice(slice_: str | None) -> str:
        first: Value = firsts
        if slice_ is not None:
            rows = graph.add("Unsqueeze", graph.add("Mul", slice_, np.array([cells], np.int64)), axes=[1])
            first = graph.add("Add", rows, firsts)
        corner = graph.add("Add", first, cell)

        def looked_up(step: int) -> str:
            return graph.add("Gather", flat, graph.add("Add", corner, np.array([step], np.int64)), axis=0)

        if len(shares) == 1:
            return _between(graph, looked_up(0), looked_up(1), shares[0])
        low, high = (_between(graph, looked_up(i), looked_up(i + 1), shares[1]) for i in (0, length))
        return _between(graph, low, high, shares[0])

    value = at_slice(None if axis is None else axis.slice)
    if axis is not None:
        value = _between(graph, value, at_slice(axis.next_slice), axis.part)
    value = graph.add("Sub", value, curve(2 * len(detector.columns)))
    relative = graph.add("Sub", value, graph.add("ReduceMax", value, axes=[1], keepdims=1))
    assert known is not None
    return graph.add("Where", known, graph.add("Mul", relative, weights[None]), np.zeros(1))


def _posterior_of_double(graph: GraphBuilder, margins: str, n_margins: int) -> str:
    """Class probabilities (batch, k) from margins in double precision."""
    margins = graph.add("Cast", margins, to=FLOAT)
    if n_margins == 1:
        margins = graph.add("Max", graph.add("Min", margins, _number(_FAR)), _number(-_FAR))
    return posterior(graph, margins, n_margins)


def tree_scores(graph: GraphBuilder, x: str, model: Any) -> str:
    """Returns the scores of boosted trees, by one TreeEnsembleRegressor whose targets are the margins."""
    forest: Forest = model.forest()
    return posterior(graph, tree_margins(graph, x, forest), len(forest.base))


def tree_margins(graph: GraphBuilder, x: str, forest: Forest) -> str:
    """Returns the margins (batch, m) of boosted trees, in single precision."""
    return graph.add("TreeEnsembleRegressor", x, domain=TREES_DOMAIN, **_tree_attributes(forest))


def _tree_attributes(forest: Forest) -> dict[str, Any]:
    """Returns the trees as lists of nodes, whose true side takes x < threshold and, if so marked, a missing x."""
    sizes = [len(tree.left) for tree in forest.trees]
    tree_of = np.repeat(np.arange(len(sizes)), sizes)
    node_of = np.concatenate([np.arange(size) for size in sizes])
    left, right, feature, threshold, missing_left, value = (
        np.concatenate([getattr(tree, name) for tree in forest.trees])
        for name in ("left", "right", "feature", "threshold", "missing_left", "value")
    )
    leaf = left < 0
    margin_of = np.repeat([tree.margin for tree in forest.trees], sizes)
    return {
        "n_targets": len(forest.base),
        "base_values": forest.base.tolist(),
        "aggregate_function": "SUM",
        "post_transform": "NONE",
        "nodes_treeids": tree_of.tolist(),
        "nodes_nodeids": node_of.tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LT").tolist(),
        "nodes_featureids": np.where(leaf, 0, feature).tolist(),
        "nodes_values": np.where(leaf, np.float32(0), threshold).tolist(),
        "nodes_truenodeids": np.where(leaf, 0, left).tolist(),
        "nodes_falsenodeids": np.where(leaf, 0, right).tolist(),
        "nodes_missing_value_tracks_true": (missing_left & ~leaf).astype(int).tolist(),
        "target_treeids": tree_of[leaf].tolist(),
        "target_nodeids": node_of[leaf].tolist(),
        "target_ids": margin_of[leaf].tolist(),
        "target_weights": value[leaf].tolist(),
    }


def cut_scores(graph: GraphBuilder, x: str, cuts: Cuts) -> str:
    """Returns the score of the tightest box that an event passes; the other of two classes has one minus that."""
    wide = graph.add("Cast", x, to=DOUBLE)
    chains = [[_chain_score(graph, wide, chain) for chain in windows.chains()] for windows in cuts.windows_]
    own = [graph.add("Max", *each) if len(each) > 1 else each[0] for each in chains]
    if len(cuts.classes_) > 2:
        return graph.add("Concat", *own, axis=1)
    signal = cuts.classes_[-1] if cuts.signal is None else cuts.signal
    pair = [graph.add("Sub", _number(1), own[0]), own[0]]
    return graph.add("Concat", *(pair if signal == cuts.classes_[1] else reversed(pair)), axis=1)


def _chain_score(graph: GraphBuilder, x: str, windows: Windows) -> str:
    """Returns the score (batch, 1) of the last box of a chain that all features pass.

    The number of boxes that a feature passes is constant between two neighbouring limits, so it is looked up. Scores
    rise with it, so the smallest score of all features counts.
    """
    pairs = list(zip(windows.low.T, windows.high.T, strict=True))
    keys = [_limits(low, high) for low, high in pairs]
    n_slots = slots_for(max(len(k) for k in keys) + 1)
    slot = look_up(graph, x, padded(keys, n_slots, np.inf))
    open_ = [np.count_nonzero((low == -np.inf) & (high == np.inf)) for low, high in pairs]
    levels = [_boxes_passed(k, low, high) for k, (low, high) in zip(keys, pairs, strict=True)]
    table = np.stack([padded([row], n_slots, float(missing))[0] for row, missing in zip(levels, open_, strict=True)])
    scores = windows.level_score[table.astype(np.int64)].astype(np.float32)
    return graph.add("ReduceMin", graph.add("Gather", scores.ravel(), slot, axis=0), axes=[1], keepdims=1)


def _limits(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns one feature's keys: -inf, then the smallest number above each lower limit and each upper limit."""
    faces = np.concatenate([np.nextafter(low[np.isfinite(low)], np.inf), high[np.isfinite(high)]])
    return np.concatenate([[-np.inf], np.unique(faces)])


def _boxes_passed(
    keys: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns how many of the windows (low, high) (m,) a value of each slot passes."""
    value = np.concatenate([np.nextafter(keys[1:2], -np.inf), keys[1:]]) if len(keys) > 1 else np.zeros(1)
    return np.asarray(np.count_nonzero((low < value[:, None]) & (value[:, None] < high), axis=1), np.float64)
