"""What a model trains on: its features, scaled, with training weights, and what it may watch meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pidlab.config.schema import BdtModel, Config, FisherModel, LogisticModel, MlpModel, Section, SklearnModel
from pidlab.errors import ModelError
from pidlab.models.base import ValidationSet
from pidlab.preprocess.scaling import Scaler, fit_scaler
from pidlab.sample import FloatArray, IntArray, Sample


@dataclass(frozen=True, slots=True)
class Prepared:
    """The input of one training.

    Attributes:
        columns: the features it reads, as indices; `names`: as names.
        scaler: None where the features go in as they are.
        x: (n, d), y: (n,), weight: (n,) never negative.
        holdout: what training may watch; None where a class is missing there.
    """

    columns: tuple[int, ...]
    names: tuple[str, ...]
    scaler: Scaler | None
    x: FloatArray
    y: IntArray
    weight: NDArray[np.float64]
    holdout: ValidationSet | None


def prepare(
    spec: Section | BdtModel, train: Sample, validation: Sample, config: Config, *, fills_missing: bool = False
) -> Prepared:
    """What the model of `spec` trains on; `validation` may be empty.

    With `fills_missing` missing values are filled even where the features are not scaled.

    Raises:
        ModelError: a class has no positive weight.
    """
    train, validation = trainable(train, config), trainable(validation, config)
    columns = columns_of(spec, train.features)
    x, x_validation = train.x[:, list(columns)], validation.x[:, list(columns)]
    weight, scaler = training_weights(train, config), None
    scaled = isinstance(spec, MlpModel | FisherModel | LogisticModel) or (
        isinstance(spec, SklearnModel) and spec.scaled
    )
    if scaled or fills_missing:
        # What does not count in training does not move the scales: weights of zero, negative ones taken as zero.
        scaler = fit_scaler(x[weight > 0], config.scaling if scaled else "none")
        x, x_validation = scaler.transform(x), scaler.transform(x_validation)
    holdout = None
    if len(np.unique(validation.y)) == len(train.classes):
        holdout = ValidationSet(x_validation, validation.y, training_weights(validation, config))
    names = tuple(train.features[j] for j in columns)
    return Prepared(columns, names, scaler, x, train.y, weight, holdout)


def columns_of(spec: object, features: Sequence[str]) -> tuple[int, ...]:
    """The indices of the features that a model reads: those that it names, else all."""
    chosen = getattr(spec, "features", None)
    return tuple(features.index(name) for name in chosen) if chosen else tuple(range(len(features)))


def training_weights(sample: Sample, config: Config) -> NDArray[np.float64]:
    """(n,) weights for training: never negative, by `negative_weights`; with `balance: equal` each class sums to n / k.

    Without balance they are scaled to a mean of one.

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
    """The rows that training may use: all, or without the negative weights where they are to be dropped."""
    return sample.take(sample.weight >= 0) if config.negative_weights == "drop" else sample
