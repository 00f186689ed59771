"""Training inputs: the columns that a model reads, scaled, with the weights of training, and its validation set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pidlab.config.columns import own_column_names
from pidlab.config.schema import AnyModel, Config, TrainableSpec
from pidlab.errors import ModelError
from pidlab.models.base import ValidationSet
from pidlab.models.fold import BandColumn, FoldModel
from pidlab.models.registry import MODEL_TYPES, Resources, build_estimator
from pidlab.preprocess.scaling import Scaler, fit_scaler
from pidlab.sample import FloatArray, IntArray, Sample


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """The input of one training.

    Attributes:
        columns: indices of the columns of the sample that the model reads.
        band_columns: the numbers of sigmas that it reads after them.
        names: names of all these.
        scaler: scales them and fills missing values; None if they are used in their own units.
        x: (n, d) of them, scaled.
        y: (n,) classes.
        weight: (n,) weights, never negative.
        validation: None if a class is missing in the validation sample.
    """

    columns: tuple[int, ...]
    band_columns: tuple[BandColumn, ...]
    names: tuple[str, ...]
    scaler: Scaler | None
    x: FloatArray
    y: IntArray
    weight: NDArray[np.float64]
    validation: ValidationSet | None


def prepare(
    name: str,
    spec: TrainableSpec,
    train: Sample,
    validation: Sample,
    config: Config,
    resources: Resources,
    *,
    fills_missing: bool = False,
) -> TrainingInputs:
    """Returns what the model `name` with the section `spec` trains on; `validation` may be empty.

    Bands whose numbers of sigmas are features are fitted on `train` alone. With `fills_missing`, missing values are
    filled even if the features are not scaled.

    Raises:
        ModelError: a class has no positive weight, or a band cannot be fitted.
    """
    train, validation = trainable(train, config), trainable(validation, config)
    own = own_column_names(config, name)
    chosen = own or getattr(spec, "features", None) or [f.name for f in config.feature_list] + [*config.band_features]
    plain = tuple(each for each in chosen if own or each not in config.band_features)
    columns = tuple(train.features.index(each) for each in plain)
    from_bands = [each for each in chosen if each not in plain]
    band_columns = _fitted_bands(from_bands, train, validation, config, resources)
    x, x_validation = (_read(sample, columns, band_columns) for sample in (train, validation))
    weight, scaler = training_weights(train, config, spec), None
    scaled = getattr(spec, "scaled", MODEL_TYPES[spec.type].scaled)
    if scaled or fills_missing:
        # Candidates without weight do not move the scales; negative weights that training takes as zero are among them.
        scaler = fit_scaler(x[weight > 0], config.scaling if scaled else "none")
        x, x_validation = scaler.transform(x), scaler.transform(x_validation)
    validation_set = None
    if len(np.unique(validation.y)) == len(train.classes):
        validation_set = ValidationSet(x_validation, validation.y, training_weights(validation, config, spec))
    return TrainingInputs(columns, band_columns, (*plain, *from_bands), scaler, x, train.y, weight, validation_set)


def _read(sample: Sample, columns: tuple[int, ...], band_columns: tuple[BandColumn, ...]) -> FloatArray:
    """Returns (n, d) what a model reads of a sample, not yet scaled."""
    x = sample.x[:, list(columns)]
    return np.column_stack([x, *(band.outputs(sample.x)[:, j] for band, j in band_columns)]) if band_columns else x


def _fitted_bands(
    names: list[str], train: Sample, validation: Sample, config: Config, resources: Resources
) -> tuple[BandColumn, ...]:
    """Returns the features of these names, which are numbers of sigmas, with their bands fitted on `train`."""
    fitted: dict[str, FoldModel] = {}
    columns = []
    for name in names:
        feature = config.band_features[name]
        band, spec = str(feature.band), config.models[str(feature.band)]
        assert isinstance(spec, TrainableSpec)
        if band not in fitted:
            inputs = prepare(band, spec, train, validation, config, resources)
            estimator: Any = build_estimator(
                spec, inputs.names, train.signal, config.seed, resources, classes=train.classes
            )
            estimator.fit(inputs.x, inputs.y, inputs.weight, validation=inputs.validation)
            fitted[band] = FoldModel(inputs.columns, None, estimator)
        variables = [text for place, text in spec.own_columns().items() if place[0] == "variables"]
        columns.append(BandColumn(fitted[band], variables.index(feature.variable) if feature.variable else 0))
    return tuple(columns)


def training_weights(sample: Sample, config: Config, spec: AnyModel) -> NDArray[np.float64]:
    """Returns the (n,) weights of training of a model, which `negative_weights` makes positive or zero.

    With `balance: equal` the weights of each of the k classes sum to n / k; otherwise their mean is one. A model whose
    section states the abundances itself has the weights that go with these, whatever `balance` says.

    Raises:
        ModelError: a class has no positive weight.
    """
    weight = np.abs(sample.weight) if config.negative_weights == "abs" else np.clip(sample.weight, 0, None)
    abundances = abundances_of(spec, config)
    if abundances != "sample":
        sums = np.bincount(sample.y, weights=weight, minlength=len(sample.classes))
        if not (sums > 0).all():
            empty = sample.classes[int(np.argmin(sums))]
            raise ModelError(f"the class {empty!r} has no positive weight to train on; check data.weight")
        share = np.array([1.0 if abundances == "equal" else abundances[name] for name in sample.classes])
        return np.asarray(weight * (len(weight) * share / share.sum() / sums)[sample.y])
    return np.asarray(weight * (len(weight) / weight.sum()))


def abundances_of(spec: AnyModel, config: Config) -> dict[str, float] | Literal["equal", "sample"]:
    """Returns the abundances of the classes that the probabilities of a model are for."""
    return spec.abundances or ("equal" if config.balance == "equal" else "sample")


def trainable(sample: Sample, config: Config) -> Sample:
    """Returns the candidates that training may use: without those of negative weight with `negative_weights: drop`."""
    return sample.take(sample.weight >= 0) if config.negative_weights == "drop" else sample
