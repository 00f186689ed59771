"""Writes boosted trees as xgboost JSON: NAME.json, or one NAME_foldI.json a fold, for `xgboost.Booster().load_model`.

A file holds the trees up to the best round of early stopping and no others. Its features are named as in the
configuration and in that order; [, ] and <, which xgboost's matrices do not take, become (, ) and "lt". The attribute
`pidlab` of the booster is JSON: `features` with their expressions and missing codes, `classes`, `signal`, `thresholds`
by working point, `flat_thresholds`, `calibration`, `fingerprint`. For two classes the prediction is the probability of
the second one; a missing value is NaN, and the score of a model with folds is the mean of its files'. A `calibration`
acts on the prediction of each file, and thresholds are for what it gives.

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
from pidlab.export.parity import Exported, ParityEvents, largest_difference
from pidlab.models.categories import parts_of
from pidlab.models.fold import FoldModel
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
        for path, fitted in zip(paths, (part for each in model.fitted for part in parts_of(each)), strict=True):
            path.write_text(json.dumps(booster_json(bundle, name, fitted), ensure_ascii=False), encoding="utf-8")
            found.append(predict(path, events.x[:, list(fitted.columns)]))
        expected = events.scores[name]
        if model.calibration is not None:
            expected = np.mean([fitted.scores(events.x) for fitted in model.fitted], axis=0)
            note = f"{note} {_UNCALIBRATED}".strip()
        difference = largest_difference(f"{name}.json", np.mean(found, axis=0), expected)
        exported += [Exported(path, "xgboost", (name,), difference, len(events.x), note) for path in paths]
        note = ""
    return exported


def booster_json(bundle: Bundle, name: str, fitted: FoldModel) -> dict[str, Any]:
    """Returns xgboost's JSON with feature names, the model's description, and a base_score that all readers take."""
    booster = fitted.estimator.booster_
    content: dict[str, Any] = json.loads(bytes(booster.save_raw("json")))
    learner = content["learner"]
    learner["feature_names"] = matrix_names([bundle.recipe.features[j][0].name for j in fitted.columns])
    learner["feature_types"] = ["float"] * len(fitted.columns)
    learner["attributes"] = {"pidlab": json.dumps(description(bundle, name))}
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


def predict(path: Path, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the class probabilities (n, k) that xgboost predicts from the file for features (n, d), NaN if missing.

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
    return np.stack([1 - scores, scores], axis=1) if scores.ndim == 1 else np.asarray(scores)
