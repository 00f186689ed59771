"""Training inputs: the features of a model, scaled, with the weights of training, and its validation set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pidlab.config.schema import Config, TrainableSpec
from pidlab.errors import ModelError
from pidlab.models.base import ValidationSet
from pidlab.models.registry import MODEL_TYPES
from pidlab.preprocess.scaling import Scaler, fit_scaler
from pidlab.sample import FloatArray, IntArray, Sample


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """The input of one training.

    Attributes:
        columns: indices of the features that the model reads.
        names: names of these features.
        scaler: scales the features and fills missing values; None if the features are used in their own units.
        x: (n, d) features, scaled.
        y: (n,) classes.
        weight: (n,) weights, never negative.
        validation: None if a class is missing in the validation sample.
    """

    columns: tuple[int, ...]
    names: tuple[str, ...]
    scaler: Scaler | None
    x: FloatArray
    y: IntArray
    weight: NDArray[np.float64]
    validation: ValidationSet | None


def prepare(
    spec: TrainableSpec, train: Sample, validation: Sample, config: Config, *, fills_missing: bool = False
) -> TrainingInputs:
    """Returns what the model of a section trains on; `validation` may be empty.

    With `fills_missing`, missing values are filled even if the features are not scaled.

    Raises:
        ModelError: a class has no positive weight.
    """
    train, validation = trainable(train, config), trainable(validation, config)
    chosen = getattr(spec, "features", None) or train.features
    columns = tuple(train.features.index(name) for name in chosen)
    x, x_validation = train.x[:, list(columns)], validation.x[:, list(columns)]
    weight, scaler = training_weights(train, config), None
    scaled = getattr(spec, "scaled", MODEL_TYPES[spec.type].scaled)
    if scaled or fills_missing:
        # Candidates without weight do not move the scales; negative weights that training takes as zero are among them.
        scaler = fit_scaler(x[weight > 0], config.scaling if scaled else "none")
        x, x_validation = scaler.transform(x), scaler.transform(x_validation)
    validation_set = None
    if len(np.unique(validation.y)) == len(train.classes):
        validation_set = ValidationSet(x_validation, validation.y, training_weights(validation, config))
    return TrainingInputs(columns, tuple(chosen), scaler, x, train.y, weight, validation_set)


def training_weights(sample: Sample, config: Config) -> NDArray[np.float64]:
    """Returns the (n,) weights of training, which `negative_weights` makes positive or zero.

    With `balance: equal` the weights of each of the k classes sum to n / k; otherwise their mean is one.

    Raises:
        ModelError: a class has no positive weight.
    """
    weight = np.abs(sample.weight) if config.negative_weights == "abs" else np.clip(sample.weight, 0, None)
    if config.balance == "equal":
        sums = np.bincount(sample.y, weights=weight, minlength=len(sample.classes))
        if not (sums > 0).all():
            empty = sample.classes[int(np.argmin(sums))]
            raise ModelError(f"the class {empty!r} has no positive weight to train on; check data.weight")
        return np.asarray(weight * (len(weight) / len(sums) / sums)[sample.y])
    return np.asarray(weight * (len(weight) / weight.sum()))


def trainable(sample: Sample, config: Config) -> Sample:
    """Returns the candidates that training may use: without those of negative weight with `negative_weights: drop`."""
    return sample.take(sample.weight >= 0) if config.negative_weights == "drop" else sample
