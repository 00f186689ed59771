"""Converts trained estimators to ONNX graphs, since pidlab stores no pickle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import ModelError, UsageError

PROBABILITIES = "probabilities"
_HISTOGRAMS = ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")
_OPSET, _ML_OPSET, _IR = 17, 3, 8  # read by onnxruntime since 1.12
_INSTEAD = (
    "pidlab stores models without pickle, as ONNX; take an estimator that skl2onnx or onnxmltools can convert, such as "
    "those of sklearn.ensemble, sklearn.linear_model and sklearn.neural_network"
)


def converters() -> tuple[Any, Any]:
    """Returns the packages skl2onnx and onnxmltools.

    Raises:
        UsageError: one of them is not installed.
    """
    try:
        import onnxmltools  # type: ignore[import-untyped]  # it has no types
        import skl2onnx  # type: ignore[import-untyped]  # it has no types
    except ImportError as error:
        raise UsageError(
            f"models of type sklearn need skl2onnx and onnxmltools ({error}): pip install 'pidlab[onnx]'"
        ) from error
    return skl2onnx, onnxmltools


def refuse_unconvertible(estimator: Any) -> None:
    """Refuses an estimator that no converter supports.

    Raises:
        ModelError: no converter supports it.
        UsageError: the converters are not installed.
    """
    converters()
    from skl2onnx._supported_operators import sklearn_operator_name_map  # type: ignore[import-untyped]  # no types

    package = type(estimator).__module__.split(".")[0]
    # Other packages may register converters of their own there.
    if package in ("xgboost", "lightgbm") or type(estimator) in sklearn_operator_name_map:
        return
    raise ModelError(f"{type(estimator).__name__} cannot be converted to ONNX; {_INSTEAD}")


def keeps_missing(estimator: Any) -> bool:
    """Returns whether the estimator takes NaN for missing values, and its ONNX graph treats them in the same way.

    scikit-learn's forests take NaN too, but their converter loses on which side of a cut they go.
    """
    cls = type(estimator)
    return cls.__module__.split(".")[0] in ("xgboost", "lightgbm") or cls.__name__ in _HISTOGRAMS


def converted(estimator: Any, n_features: int) -> bytes:
    """Returns a fitted estimator as an ONNX graph from (n, d) float32 to probabilities (n, k), or predictions (n, 1).

    They are the output `probabilities`, or the last output of floats.

    Raises:
        ModelError: the converter fails.
    """
    cls = type(estimator)
    package = cls.__module__.split(".")[0]
    try:
        if cls.__name__ in _HISTOGRAMS and package == "sklearn":
            return _histogram_trees(estimator, n_features)
        model = _by_converter(estimator, package, n_features)
    except ModelError:
        raise
    except Exception as error:  # converters raise exceptions of any class
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{cls.__name__} cannot be converted to ONNX ({reason}); {_INSTEAD}") from error
    return bytes(model.SerializeToString())


def with_columns(content: bytes, columns: Sequence[int]) -> bytes:
    """Returns a graph that gives the probabilities of another graph in another order of the classes."""
    import onnx
    from onnx import helper

    model = onnx.load_from_string(content)
    floats = [port.name for port in model.graph.output if port.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    name = PROBABILITIES if PROBABILITIES in floats else floats[-1]
    for node in model.graph.node:
        node.output[:] = [f"{name}_of_labels" if each == name else each for each in node.output]
    model.graph.initializer.append(helper.make_tensor("class_order", onnx.TensorProto.INT64, [len(columns)], columns))
    model.graph.node.append(helper.make_node("Gather", [f"{name}_of_labels", "class_order"], [name], axis=1))
    return bytes(model.SerializeToString())


def _by_converter(estimator: Any, package: str, n_features: int) -> Any:
    skl2onnx, onnxmltools = converters()
    if package in ("xgboost", "lightgbm"):
        from onnxmltools.convert.common.data_types import FloatTensorType  # type: ignore[import-untyped]  # as above

        takes = [("features", FloatTensorType([None, n_features]))]
        if package == "xgboost":
            return onnxmltools.convert_xgboost(estimator, initial_types=takes)
        return onnxmltools.convert_lightgbm(estimator, initial_types=takes, zipmap=False)
    example = np.zeros((1, n_features), np.float32)
    classifies = hasattr(estimator, "predict_proba")  # regressors have no option for what classes become
    return skl2onnx.to_onnx(estimator, example, options={id(estimator): {"zipmap": False}} if classifies else None)


def _histogram_trees(estimator: Any, n_features: int) -> bytes:
    """scikit-learn's histogram boosting, tree by tree: sums of leaves, then the link.

    The link of a classifier is the logistic function or softmax; that of a regressor the identity, or the exponential
    function of the losses `poisson` and `gamma`. An event goes left where x <= threshold in float64. For x in float32
    that is x <= the largest float32 that is not above the threshold.
    """
    from onnx import TensorProto, helper

    rounds = estimator._predictors
    k = len(rounds[0])
    table: dict[str, list[Any]] = {name: [] for name in (*_NODES, *_LEAVES)}
    for number, (output, tree) in enumerate((j, tree) for trees in rounds for j, tree in enumerate(trees)):
        _add_tree(table, tree.nodes, number, output)
    margins = helper.make_node("TreeEnsembleRegressor", ["features"], ["margins"], domain="ai.onnx.ml")
    base = [float(v) for v in np.ravel(estimator._baseline_prediction)]
    for key, value in {"n_targets": k, "base_values": base, **table}.items():
        margins.attribute.append(helper.make_attribute(key, value))
    name = PROBABILITIES
    if type(estimator).__name__ == _HISTOGRAMS[1]:
        link = "Exp" if type(estimator._loss.link).__name__ == "LogLink" else "Identity"
        name, nodes = "prediction", [margins, helper.make_node(link, ["margins"], ["prediction"])]
    elif k == 1:
        nodes = [
            margins,
            helper.make_node("Neg", ["margins"], ["opposite"]),
            helper.make_node("Concat", ["opposite", "margins"], ["both"], axis=1),
            helper.make_node("Sigmoid", ["both"], [PROBABILITIES]),
        ]
    else:
        nodes = [margins, helper.make_node("Softmax", ["margins"], [PROBABILITIES], axis=1)]
    graph = helper.make_graph(
        nodes,
        "trees",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, n_features])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, max(k, 2) if name == PROBABILITIES else 1])],
    )
    domains = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
    return bytes(helper.make_model(graph, opset_imports=domains, ir_version=_IR).SerializeToString())


_NODES = (
    *("nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_values", "nodes_modes"),
    *("nodes_truenodeids", "nodes_falsenodeids", "nodes_missing_value_tracks_true"),
)
_LEAVES = ("target_treeids", "target_nodeids", "target_ids", "target_weights")


def _add_tree(table: dict[str, list[Any]], nodes: NDArray[Any], tree: int, output: int) -> None:
    """Appends a tree of scikit-learn's node records to the attributes of a TreeEnsembleRegressor."""
    if nodes["is_categorical"].any():
        raise ModelError("categorical_features cannot be converted to ONNX; leave them out")
    n, leaf = len(nodes), nodes["is_leaf"].astype(bool)
    thresholds = nodes["num_threshold"].astype(np.float32)
    above = thresholds.astype(np.float64) > nodes["num_threshold"]
    thresholds[above] = np.nextafter(thresholds[above], np.float32(-np.inf))
    columns = {
        "nodes_treeids": np.full(n, tree),
        "nodes_nodeids": np.arange(n),
        "nodes_featureids": np.where(leaf, 0, nodes["feature_idx"]),
        "nodes_values": np.where(leaf, np.float32(0), thresholds),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ"),
        "nodes_truenodeids": np.where(leaf, 0, nodes["left"]),
        "nodes_falsenodeids": np.where(leaf, 0, nodes["right"]),
        "nodes_missing_value_tracks_true": np.where(leaf, 0, nodes["missing_go_to_left"].astype(np.int64)),
        "target_treeids": np.full(int(leaf.sum()), tree),
        "target_nodeids": np.flatnonzero(leaf),
        "target_ids": np.full(int(leaf.sum()), output),
        "target_weights": nodes["value"][leaf],
    }
    for name, values in columns.items():
        table[name] += values.tolist()
