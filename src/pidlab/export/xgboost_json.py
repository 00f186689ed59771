"""Writes boosted trees as xgboost JSON: NAME.json, or one NAME_foldI.json a fold, for `xgboost.Booster().load_model`.

A file holds the trees up to the best round of early stopping and no others. Its features are named as in the
configuration and in that order; [, ] and <, which xgboost's matrices do not take, become (, ) and "lt". The attribute
`pidlab` of the booster is JSON: `features` with their expressions and missing codes, `classes`, `signal`, `thresholds`
by working point, `flat_thresholds`, `calibration`, `fingerprint`. For two classes the prediction is the probability of
the second one; a missing value is NaN, and the score of a model with folds is the mean of its files'. A `calibration`
acts on the prediction of each file, and thresholds are for what it gives.

A file of a regression predicts in the target's units, though pidlab trains on a scaled target: the number itself; with
the loss `gaussian` the mean and the logarithm of the width; with `quantile` the quantiles in rising order, but for
those that cross, which the reader has to put in order. `outputs` in the attribute names the columns.

xgboost 3.1 began to write one base_score as "[5E-1]", which its earlier versions and most other readers of the format
take for text; a single one is written as the number that all of them read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import ModelError
from pidlab.export.choice import choose, description
from pidlab.export.parity import LIMIT, LIMIT_OF_LEAVES, Exported, ParityEvents, largest_difference, units_of
from pidlab.models.fold import FoldModel
from pidlab.models.regressors.bdt import BDTRegressor
from pidlab.runs.bundle import Bundle

_REPLACED = str.maketrans({"[": "(", "]": ")", "<": "lt"})
_UNCALIBRATED = "The scores of the file are those before the calibration, which its attribute `pidlab` tells."


def write(bundle: Bundle, models: Sequence[str], output: Path, events: ParityEvents, run: Path) -> list[Exported]:
    """Writes the files of each BDT into the folder `output`, reads them back and compares their scores on `events`.

    Raises:
        UsageError: a model is not a BDT.
        ModelError: xgboost refuses a file, or its scores disagree with pidlab.
    """
    names, note = choose(bundle, models, "xgboost")
    exported = []
    for name in names:
        model = bundle.models[name]
        paths = [output / f"{name}_fold{i}.json" for i in range(len(model.fitted))]
        paths = paths if len(paths) > 1 else [output / f"{name}.json"]
        found = []
        for path, fitted in zip(paths, (part for each in model.fitted for part in each.models), strict=True):
            path.write_text(json.dumps(booster_json(bundle, name, fitted), ensure_ascii=False), encoding="utf-8")
            found.append(predict(path, events.x[:, list(fitted.columns)], fitted.estimator))
        expected = events.scores[name]
        if bundle.recipe.target is not None:
            expected = np.concatenate([expected, events.outputs[name]], axis=1)
        if model.calibration is not None:
            expected = np.mean([fitted.scores(events.x) for fitted in model.fitted], axis=0)
            note = f"{note} {_UNCALIBRATED}".strip()
        limit = LIMIT if bundle.recipe.target is None else LIMIT_OF_LEAVES
        unit = units_of(bundle, expected)
        difference = largest_difference(f"{name}.json", np.mean(found, axis=0), expected, limit, unit)
        exported += [Exported(path, "xgboost", (name,), difference, len(events.x), note) for path in paths]
        note = ""
    return exported


def booster_json(bundle: Bundle, name: str, fitted: FoldModel) -> dict[str, Any]:
    """Returns xgboost's JSON with feature names, the model's description, and a base_score that all readers take."""
    estimator: Any = fitted.estimator
    content: dict[str, Any] = json.loads(bytes(estimator.booster_.save_raw("json")))
    learner = content["learner"]
    if isinstance(estimator, BDTRegressor):
        _to_units(learner, estimator)
    learner["feature_names"] = matrix_names([bundle.recipe.features[j][0].name for j in fitted.columns])
    learner["feature_types"] = ["float"] * len(fitted.columns)
    outputs = {"outputs": _columns(estimator)} if isinstance(estimator, BDTRegressor) else {}
    learner["attributes"] = {"pidlab": json.dumps(description(bundle, name) | outputs)}
    parameters = learner["learner_model_param"]
    numbers = parameters["base_score"].strip("[]").split(",")
    parameters["base_score"] = numbers[0] if len(numbers) == 1 else parameters["base_score"]
    return content


def matrix_names(features: Sequence[str]) -> list[str]:
    """Returns distinct names without [, ] and <, which xgboost's matrices do not take."""
    names: list[str] = []
    for feature in features:
        name = feature.translate(_REPLACED)
        names.append(name if name not in names else f"{name} #{len(names)}")
    return names


def _columns(model: BDTRegressor) -> list[str]:
    """Returns what the columns of a prediction by xgboost are."""
    if model.loss == "gaussian":
        return ["prediction", "log(sigma)"]
    return list(model.output_names) or ["prediction"]


def _to_units(learner: dict[str, Any], model: BDTRegressor) -> None:
    """Multiplies the leaves of trees that were grown on a scaled target, and moves their base score, in place."""
    scale, parameters, trees = model.scale_, learner["learner_model_param"], learner["gradient_booster"]["model"]
    widths = np.full(model.objective.n_margins, scale.width)
    base = np.array(parameters["base_score"].strip("[]").split(","), np.float64) * scale.width + scale.centre
    base = np.broadcast_to(base, widths.shape).copy()
    if model.loss == "gaussian":
        widths[1], base[1] = 1.0, np.log(scale.width * scale.sigma_factor)
    for tree, margin in zip(trees["trees"], trees["tree_info"], strict=True):
        leaf = np.array(tree["left_children"]) < 0
        for name in ("split_conditions", "base_weights"):  # a leaf's value, and the weights of all nodes
            values = np.array(tree[name], np.float64)
            chosen = leaf if name == "split_conditions" else np.ones(len(leaf), np.bool_)
            tree[name] = [float(v) for v in np.where(chosen, values * widths[margin], values).astype(np.float32)]
    parameters["base_score"] = f"[{','.join(repr(float(v)) for v in base)}]"


def predict(path: Path, x: NDArray[np.float32], model: Any = None) -> NDArray[np.float32]:
    """Returns the class probabilities (n, k) that xgboost predicts from the file for features (n, d), NaN if missing.

    For a `model` of a regression they are the prediction and its further outputs.

    Raises:
        ModelError: xgboost refuses the file.
    """
    import xgboost

    booster = xgboost.Booster({"verbosity": 0})
    try:
        booster.load_model(path)
        scores = booster.predict(xgboost.DMatrix(x, feature_names=booster.feature_names))
    except (xgboost.core.XGBoostError, ValueError) as error:
        raise ModelError(f"{path.name}: xgboost refuses it ({error}); nothing was exported") from error
    if not isinstance(model, BDTRegressor):
        return np.stack([1 - scores, scores], axis=1) if scores.ndim == 1 else np.asarray(scores)
    scores = scores.reshape(len(x), -1)
    if model.loss == "gaussian":
        return np.column_stack([scores[:, 0], np.exp(scores[:, 1])])
    scores = np.sort(scores, axis=1)
    return np.concatenate([scores[:, [model.prediction_column]], scores[:, : len(model.output_names)]], axis=1)
