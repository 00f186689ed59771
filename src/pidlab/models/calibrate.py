"""Calibrate: give a trained model the map that `evaluate.calibration` asks for, fitted on validation."""

from __future__ import annotations

from dataclasses import replace

from pidlab.errors import ModelError
from pidlab.evaluate.calibration import WITHOUT_PROBABILITIES
from pidlab.models.calibration import fit_calibration
from pidlab.models.inputs import trainable, training_weights
from pidlab.models.model import Model
from pidlab.sample import Sample


def calibrated(contender: Model, validation: Sample) -> Model:
    """The model with its calibration; as it is where none is asked for, or where its scores only rank.

    The weights are those of training: never negative, by `negative_weights`, and each class the same with `balance:
    equal`. With folds, each candidate's score is that of a model that watched it without training on it, and the one
    map is for all of them.

    Raises:
        ModelError: too little is left to fit on.
    """
    config = contender.recipe.loaded.config
    method = config.evaluate.calibration
    if method == "none" or contender.kind in WITHOUT_PROBABILITIES or not contender.probability:
        return contender
    usable = trainable(validation, config)
    try:
        scores, weight = contender.scores(usable, fold_offset=1), training_weights(usable, config)
        found = fit_calibration(method, scores, usable.y, weight, usable.signal)
    except ModelError as error:
        raise ModelError(f"models.{contender.name}: {error}") from error
    return replace(contender, calibration=found)
