"""Training inputs: the columns that a model reads, scaled, with the weights of training, and its validation set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pidlab.config.columns import own_column_names
from pidlab.config.schema import AnyModel, Config, TrainableSpec
from pidlab.errors import ModelError
from pidlab.models.base import ValidationSet
from pidlab.models.fold import BandColumn, FoldModel, read_columns
from pidlab.models.matrix import LazyMatrix, Matrix, needs_blocks, slices
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
        x: (n, d) of them, scaled: made when it is read if the sample is larger than one block.
        y: (n,) classes, or the target of a regression.
        weight: (n,) weights, never negative.
        validation: None if a class is missing in the validation sample.
    """

    columns: tuple[int, ...]
    band_columns: tuple[BandColumn, ...]
    names: tuple[str, ...]
    scaler: Scaler | None
    x: Matrix
    y: IntArray | FloatArray
    weight: NDArray[np.float64]
    validation: ValidationSet | None


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """A model that is to be trained: its name and section of the configuration, and what its training may use."""

    name: str
    spec: TrainableSpec
    config: Config
    resources: Resources

    def inputs(
        self,
        train: Sample,
        validation: Sample,
        *,
        bands: Mapping[str, FoldModel] | None = None,
        fills_missing: bool = False,
    ) -> TrainingInputs:
        """Returns what the model trains on; `validation` may be empty.

        Bands whose numbers of sigmas are features are fitted on `train` alone, unless `bands` holds them. With
        `fills_missing`, missing values are filled even if the features are not scaled.

        Raises:
            ModelError: a class has no positive weight, or a band cannot be fitted.
        """
        spec, config = self.spec, self.config
        train, validation = trainable(train, config), trainable(validation, config)
        plain, from_bands = columns_read(self.name, spec, config)
        columns = tuple(train.features.index(each) for each in plain)
        if bands is None:
            bands = self.bands(train, validation)
        band_columns = tuple(_band_column(each, bands, config) for each in from_bands)
        weight, scaler = training_weights(train, config, spec), None
        scaled = getattr(spec, "scaled", MODEL_TYPES[spec.kind].scaled)
        if scaled or fills_missing:
            # Candidates without weight do not move the scales, nor do negative weights that training takes as zero.
            unscaled = _matrix(train, columns, band_columns, None)
            scaler = fit_scaler(unscaled, config.scaling if scaled else "none", weight)
        x, x_validation = (_matrix(sample, columns, band_columns, scaler) for sample in (train, validation))
        validation_set = None
        if all((validation.y == each).any() for each in range(len(train.classes))):
            validation_set = ValidationSet(
                x_validation, _learned(validation), training_weights(validation, config, spec)
            )
        return TrainingInputs(
            columns, band_columns, (*plain, *from_bands), scaler, x, _learned(train), weight, validation_set
        )

    def bands(self, train: Sample, validation: Sample) -> dict[str, FoldModel]:
        """Returns the bands whose numbers of sigmas the model reads, fitted on `train`.

        Raises:
            ModelError: a band cannot be fitted.
        """
        fitted: dict[str, FoldModel] = {}
        for each in columns_read(self.name, self.spec, self.config)[1]:
            band = self.config.band_features[each].band
            own = self.config.models[band]
            assert isinstance(own, TrainableSpec)
            if band not in fitted:
                inputs = TrainingTask(band, own, self.config, self.resources).inputs(train, validation)
                estimator: Any = build_estimator(own, inputs.names, train.signal, self.config.seed, self.resources)
                estimator.fit(inputs.x, inputs.y, inputs.weight, validation=inputs.validation)
                fitted[band] = FoldModel(inputs.columns, None, estimator)
        return fitted


def _learned(sample: Sample) -> IntArray | FloatArray:
    """Returns (n,) what a model learns of a sample: the target of a regression, or else the classes."""
    return sample.y if sample.target is None else sample.target


def _matrix(
    sample: Sample, columns: tuple[int, ...], band_columns: tuple[BandColumn, ...], scaler: Scaler | None
) -> Matrix:
    """Returns (n, d) what a model reads of a sample."""
    n_columns = len(columns) + len(band_columns) + (len(scaler.indicators) if scaler else 0)
    read = partial(read_columns, columns=columns, band_columns=band_columns, scaler=scaler)
    return LazyMatrix(sample.x, read, n_columns) if needs_blocks(len(sample)) else read(sample.x)


def columns_read(name: str, spec: TrainableSpec, config: Config) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the names of the columns that a model reads, and of its features that are numbers of sigmas."""
    if own := own_column_names(config, name):
        return own, ()
    chosen = getattr(spec, "features", None) or [f.name for f in config.feature_list] + [*config.band_features]
    from_bands = tuple(each for each in chosen if each in config.band_features)
    return tuple(each for each in chosen if each not in from_bands), from_bands


def _band_column(name: str, bands: Mapping[str, FoldModel], config: Config) -> BandColumn:
    """Returns the feature of this name, which is a number of sigmas of one of `bands`."""
    feature = config.band_features[name]
    own = config.models[feature.band].own_columns()
    variables = [text for place, text in own.items() if place[0] == "variables"]
    return BandColumn(bands[feature.band], variables.index(feature.variable) if feature.variable else 0)


def training_weights(sample: Sample, config: Config, spec: AnyModel) -> NDArray[np.float64]:
    """Returns the (n,) weights of training of a model, which `negative_weights` makes positive or zero.

    With `balance: equal` the weights of each of the k classes sum to n / k; otherwise their mean is one. A model whose
    section states the abundances itself has the weights that go with these, whatever `balance` says.

    Raises:
        ModelError: a class has no positive weight.
    """
    weight = np.abs(sample.weight) if config.negative_weights == "abs" else np.maximum(sample.weight, 0)
    abundances = abundances_of(spec, config)
    if abundances != "sample":
        sums = np.bincount(sample.y, weights=weight, minlength=len(sample.classes))
        if not (sums > 0).all():
            empty = sample.classes[int(np.argmin(sums))]
            raise ModelError(f"the class {empty!r} has no positive weight to train on; check data.weight")
        share = np.array([1.0 if abundances == "equal" else abundances[name] for name in sample.classes])
        factor = len(weight) * share / share.sum() / sums
        for rows in slices(len(weight)):
            weight[rows] *= factor[sample.y[rows]]
    else:
        weight *= len(weight) / weight.sum()
    return np.asarray(weight)


def abundances_of(spec: AnyModel, config: Config) -> dict[str, float] | Literal["equal", "sample"]:
    """Returns the abundances of the classes that the probabilities of a model are for."""
    return spec.abundances or ("equal" if config.balance == "equal" else "sample")


def trainable(sample: Sample, config: Config) -> Sample:
    """Returns the candidates that training may use: without those of negative weight with `negative_weights: drop`."""
    dropped = config.negative_weights == "drop" and len(sample) and sample.weight.min() < 0
    return sample.take(sample.weight >= 0) if dropped else sample
