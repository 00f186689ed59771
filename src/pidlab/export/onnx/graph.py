"""Writes a model as one ONNX graph from raw features to scores, for onnxruntime in any language.

The input is `features`, (batch, d) float32 in the recipe's order, NaN or infinite if a value is missing; the output is
`scores`, (batch, k) float32 in the order of the classes. A regression has the outputs `prediction` and, where they are
predicted, `sigma`, or `q16`, `q50` …, each (batch, 1) float32. Scaling, the rule for missing values, the members of an
ensemble, the calibration and the models of the folds (their mean) are in the graph. What a reader needs besides is in
the model's metadata, lists and tables as JSON: `features` with their expressions and missing codes, `classes`,
`signal`, `thresholds` by working point (a decision is score > threshold, strictly), `flat_thresholds`, `fingerprint`.

Operator set 11 (ONNX 1.6, 2019), with version 1 of the tree operators. Graphs of networks and linear models hold only
operators that ROOT's SOFIE lists as supported (README of tmva/sofie): Abs, Add, Cast, Concat, Div, Elu, Equal, Erf,
Gather, Gemm, Identity, LeakyRelu, Less, Log, MatMul, Max, Mean, Min, Mul, ReduceSum, Relu, Sigmoid, Softmax, Sub, Tanh,
Where. Those of regressors are the same and Exp, in double precision, and TopK for quantiles. Those of trees
(TreeEnsembleRegressor) and cuts (ReduceMin) do not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pidlab.errors import ModelError, UsageError
from pidlab.export.choice import choose, description
from pidlab.export.onnx.models import calibrated, scores_of
from pidlab.export.onnx.nodes import GraphBuilder, onnx_package
from pidlab.export.parity import LIMIT, LIMIT_OF_LEAVES, Exported, ParityEvents, largest_difference, units_of
from pidlab.models.external.onnx.runtime import open_session
from pidlab.models.fold import Scores
from pidlab.models.model import Model
from pidlab.runs.bundle import Bundle
from pidlab.sample import FloatArray

_ROWS_AT_ONCE = 10_000


def write(bundle: Bundle, models: Sequence[str], output: Path, events: ParityEvents, run: Path) -> list[Exported]:
    """Writes NAME.onnx for each model into the folder `output` and compares its scores with pidlab's on `events`.

    Raises:
        UsageError: a model cannot be a graph, or onnx or onnxruntime is not installed.
        ModelError: a graph is not valid, or disagrees with pidlab.
    """
    onnx = onnx_package()
    names, note = choose(bundle, models, "onnx")
    exported = []
    for name in names:
        path = output / f"{name}.onnx"
        model = bundle.models[name]
        try:
            onnx.save_model(graph_of(model, metadata(bundle, name)), path)
        except onnx.checker.ValidationError as error:
            raise ModelError(f"{path.name}: is not a valid graph ({error}); nothing was exported") from error
        found = run_graph(path, events.x)
        if model.calibration is None:
            expected = events.scores[name]
            if bundle.recipe.target is not None:
                expected = np.concatenate([expected, events.outputs[name]], axis=1)
            limit = LIMIT_OF_LEAVES if model.kind == "bdt_regression" else LIMIT
            difference = largest_difference(path.name, found, expected, limit, units_of(bundle, expected))
            steep = ""
        else:
            difference = _difference_in_steps(path.name, found, model, events.x)
            steep = _after_calibration(found, events.scores[name])
        exported.append(Exported(path, "onnx", (name,), difference, len(events.x), f"{note} {steep}".strip()))
        note = ""
    return exported


def _difference_in_steps(what: str, found: Scores, model: Model, x: FloatArray) -> float:
    """Returns the largest difference of the scores before the calibration, and of the calibration of those scores.

    A steep calibration turns a difference in the last digit into a large one, so each step is compared with pidlab's
    for the same input.
    """
    assert model.calibration is not None
    worst, expected = 0.0, []
    for fitted in model.fitted:
        raw = run_graph(graph_of(replace(model, fitted=(fitted,), calibration=None), {}).SerializeToString(), x)
        worst = max(worst, largest_difference(f"{what} before its calibration", raw, fitted.scores(x)))
        expected.append(model.calibration.apply(raw))
    return max(worst, largest_difference(what, found, np.mean(expected, axis=0)))


def _after_calibration(found: Scores, expected: Scores) -> str:
    """Returns a sentence about scores that differ although both steps are right; empty if there are none."""
    difference = np.nan_to_num(np.abs(found.astype(np.float64) - expected)).max(axis=1)
    n = int((difference > LIMIT).sum())
    if not n:
        return ""
    changed = f"{n:,} of {len(difference):,} scores by more than {LIMIT:g}, at most {difference.max():.2g}"
    return f"The calibration is steep in places: there the last digit before it changes {changed}."


def graph_of(model: Model, properties: Mapping[str, str]) -> Any:
    """Returns the checked onnx.ModelProto of a trained model (the mean of its folds), with `properties` as metadata.

    Raises:
        UsageError: onnx is not installed.
        ModelError: the trees are weighted (booster: dart).
    """
    graph = GraphBuilder()
    d, k = model.recipe.n_columns, len(model.recipe.classes)
    if model.recipe.target is not None:
        k += len(model.output_names)
    scores = [scores_of(graph, fitted, model.kind, (d, k)) for fitted in model.fitted]
    if model.calibration is not None:
        scores = [calibrated(graph, each, model.calibration, k) for each in scores]
    joined = graph.mean(scores)
    if model.recipe.target is None:
        return graph.model({"scores": (joined, k)}, d, properties)
    names = ("prediction", *model.output_names)
    columns = [graph.column(joined, j) for j in range(len(names))]
    return graph.model({name: (column, 1) for name, column in zip(names, columns, strict=True)}, d, properties)


def metadata(bundle: Bundle, name: str) -> dict[str, str]:
    """Returns the description of a model, lists and tables as JSON."""
    items = description(bundle, name).items()
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in items}


def run_graph(model: Path | bytes, x: FloatArray) -> Scores:
    """Returns the outputs (n, m), side by side, that onnxruntime computes from a file for features (n, d).

    This session is a plain one, as users have it, and not that of `models.external.onnx`, which fills up batches.

    Raises:
        UsageError: onnxruntime is not installed.
        ModelError: onnxruntime refuses the graph.
    """
    try:
        session = open_session(model, 1)
        parts = [
            np.concatenate(
                session.run(None, {"features": np.ascontiguousarray(x[start : start + _ROWS_AT_ONCE], np.float32)}),
                axis=1,
            )
            for start in range(0, max(len(x), 1), _ROWS_AT_ONCE)
        ]
    except UsageError:
        raise
    except Exception as error:  # onnxruntime's own classes have no common base
        name = "a graph" if isinstance(model, bytes) else model.name
        raise ModelError(f"{name}: onnxruntime refuses it ({error}); nothing was exported") from error
    return np.concatenate(parts)
