"""Boosted trees as plain xgboost JSON: NAME.json, or one NAME_foldI.json a fold, for `xgboost.Booster().load_model`.

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
from pidlab.models.model import FoldModel
from pidlab.runs.bundle import Bundle

_REPLACED = str.maketrans({"[": "(", "]": ")", "<": "lt"})
_UNCALIBRATED = "The scores of the file are those before the calibration, which its attribute `pidlab` tells."


def write(bundle: Bundle, models: Sequence[str], output: Path, events: ParityEvents, run: Path) -> list[Exported]:
    """The files of each BDT among `models` into the folder `output`, read back and held against pidlab on `events`.

    Raises:
        UsageError: a model is no BDT.
        ModelError: xgboost refuses a file, or predicts something else from it.
    """
    names, note = choose(bundle, models, "xgboost")
    exported = []
    for name in names:
        fitted = bundle.models[name].fitted
        stems = [f"{name}_fold{i}" for i in range(len(fitted))] if len(fitted) > 1 else [name]
        found = []
        for stem, each in zip(stems, fitted, strict=True):
            path = output / f"{stem}.json"
            path.write_text(json.dumps(booster_json(bundle, name, each), ensure_ascii=False), encoding="utf-8")
            found.append(predict(path, events.x[:, list(each.columns)]))
        expected, told = events.scores[name], note
        if bundle.models[name].calibration is not None:
            expected, told = (
                np.mean([each.scores(events.x) for each in fitted], axis=0),
                f"{note} {_UNCALIBRATED}".strip(),
            )
        difference = largest_difference(f"{name}.json", np.mean(found, axis=0), expected)
        paths = [output / f"{stem}.json" for stem in stems]
        exported += [Exported(path, "xgboost", (name,), difference, len(events.x), told) for path in paths]
        note = ""
    return exported


def booster_json(bundle: Bundle, name: str, fitted: FoldModel) -> dict[str, Any]:
    """xgboost's JSON with names, what a reader needs to know, and a base_score that every reader understands."""
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
    """Names that xgboost's matrices take, each once: without [, ] and <."""
    names: list[str] = []
    for feature in features:
        name = feature.translate(_REPLACED)
        names.append(name if name not in names else f"{name} #{len(names)}")
    return names


def predict(path: Path, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, k) class probabilities of (n, d) features, NaN where missing, by xgboost from the file.

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
