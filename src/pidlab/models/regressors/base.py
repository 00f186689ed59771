"""The interface of regressors: a prediction of the target, with a width or with quantiles if the loss has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin

from pidlab.config.schema import quantile_name
from pidlab.errors import ModelError
from pidlab.evaluate.results import json_value
from pidlab.models.base import Estimator, Progress, TrainingDataError, TrainingRows, ValidationSet, choice
from pidlab.models.likelihood.quantiles import quantiles as quantiles_of_slices
from pidlab.models.matrix import LazyMatrix
from pidlab.sample import FloatArray

Array = NDArray[np.float64]

LOSSES = ("squared", "absolute", "quantile", "gaussian")
QUANTILES = (0.16, 0.5, 0.84)
NARROWEST = -12.0
"""The least logarithm of a width in scaled units: e^-12 of the target's width is near single precision."""

_LOSSES = ("loss", "validation_loss")  # of a history
_CORE = (0.1587, 0.5, 0.8413)  # a Gaussian's -1, 0 and 1 standard deviation


class Regressor(RegressorMixin, Estimator):  # type: ignore[misc]  # scikit-learn has no types
    """Base class of the regressors, which predict a target from d features.

    With the loss `squared` the prediction estimates the mean of the target, with `absolute` its median. With `gaussian`
    it is the mean, and the further output `sigma` the width of a Gaussian, both of them functions of the features. With
    `quantile` there is an output for each of `quantiles`, named in per cent (`q16`), and the prediction is the one
    nearest to the median.

    A run takes a regressor for an estimator with the single class 0, whose score is the prediction.

    Attributes:
        losses: those that it knows.
        loss: the one that it is trained with.
        quantiles: used by the loss `quantile` only.
        scale_: the scale of the target, if a model is trained on a scaled one.
    """

    losses: ClassVar[tuple[str, ...]] = LOSSES
    y_numeric = True
    probability = False
    one_sided = True
    classes_ = np.arange(1)
    loss: str = "squared"
    quantiles: Sequence[float] = QUANTILES
    scale_: TargetScale

    @property
    def notes(self) -> tuple[str, ...]:
        """Returns a sentence about widths that no validation sample has corrected."""
        scale = getattr(self, "scale_", None)
        if self.loss != "gaussian" or scale is None or scale.sigma_factor != 1.0:
            return ()
        return (
            "Its widths are those of the training sample alone, where residuals are smaller than elsewhere: with a "
            "validation sample they would be multiplied by the RMS of its pulls.",
        )

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles that are predicted, rising; empty with another loss."""
        return tuple(sorted(map(float, self.quantiles))) if self.loss == "quantile" else ()

    @property
    def output_names(self) -> tuple[str, ...]:
        """Returns ("sigma",), or ("q16", "q50", …), or ()."""
        if self.loss == "gaussian":
            return ("sigma",)
        return tuple(quantile_name(level) for level in self.levels)

    @property
    def prediction_column(self) -> int:
        """The column of `numbers` that is the prediction."""
        return int(np.argmin(np.abs(np.subtract(self.levels, 0.5)))) if self.levels else 0

    def _check_options(self) -> None:
        super()._check_options()
        self.check_loss()

    def _rows(self, X: Any, y: Any, sample_weight: Any) -> TrainingRows:
        """Returns checked rows, whose `label` is the target in float64.

        Raises:
            TrainingDataError: weights are negative, no row has a weight, or the target of one is not finite.
            ValueError: scikit-learn refuses a shape, a type or a number that is not finite.
        """
        rows = super()._rows(X, y, sample_weight)
        target = np.asarray(rows.label, np.float64)
        if not len(target):
            raise TrainingDataError("no row with a weight above 0 is left to train on")
        if isinstance(X, LazyMatrix) and not np.isfinite(target).all():
            raise TrainingDataError(f"the target of {(~np.isfinite(target)).sum()} training rows is not finite")
        return replace(rows, label=target)

    def check_loss(self) -> None:
        """Checks the loss and the quantiles.

        Raises:
            ModelError: the loss is not known, or the quantiles are not different numbers between 0 and 1.
        """
        choice(self.kind, "loss", self.loss, self.losses)
        levels = self.levels
        if self.loss == "quantile" and not (
            levels and levels[0] > 0 and levels[-1] < 1 and len(set(self.output_names)) == len(levels)
        ):
            raise ModelError(f"{self.kind}: quantiles are {list(levels)}; they must be different numbers in (0, 1)")

    def numbers(self, x: FloatArray) -> Array:
        """Returns (n, m) predicted numbers of unchecked features: the prediction, or mean and sigma, or quantiles."""
        raise NotImplementedError

    def predict(self, X: Any) -> Array:
        """Returns the (n,) predictions of X (n, d)."""
        return self.numbers(self._checked(X))[:, self.prediction_column]

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns the (n, 1) float32 predictions of unchecked X."""
        return single(self.numbers(X)[:, self.prediction_column, None])

    def outputs(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns (n, m) float32, the width or the quantiles for unchecked X."""
        m = len(self.output_names)
        return single(self.numbers(X)[:, -m:]) if m else np.empty((len(X), 0), np.float32)

    def loss_in_units(self, value: float) -> float:
        """Returns the loss an event in the target's units from that in scaled units."""
        return self.scale_.loss_in_units(self.loss, value)

    def history_in_units(self, history: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
        """Returns a history with the losses in the target's units, and all else unchanged."""
        return {
            name: [self.loss_in_units(v) for v in values] if name in _LOSSES else list(values)
            for name, values in history.items()
        }

    def progress_in_units(self, progress: Progress | None) -> Progress | None:
        """Returns the progress that is told of losses in the target's units."""
        if progress is None:
            return None
        told = progress

        def report(done: int, total: int, numbers: Mapping[str, float]) -> None:
            told(done, total, {n: self.loss_in_units(v) if n in _LOSSES else v for n, v in numbers.items()})

        return report

    @classmethod
    def stored_type(cls) -> str:
        """Returns what the file of a saved model says of its type."""
        return f"{cls.kind} regression"

    def _fitted(self) -> dict[str, Any]:
        return {"n_features": self.n_features_in_, "history": json_value(self.history_)}

    def _restore(self, content: Mapping[str, Any], directory: Path) -> None:
        self.check_loss()
        super()._restore(content, directory)


@dataclass(eq=False, repr=False)  # scikit-learn reads the parameters from the `__init__` that this makes
class AnyLossRegressor(Regressor):
    """Base class of the regressors that can be trained with each of `LOSSES`."""

    loss: str = "squared"
    quantiles: Sequence[float] = QUANTILES


@dataclass(frozen=True, slots=True)
class TargetScale:
    """The units in which a model sees the target: y = centre + width · scaled.

    Attributes:
        sigma_factor: by which a predicted width is multiplied besides, so that pulls on validation have the width 1.
    """

    centre: float
    width: float
    sigma_factor: float = 1.0

    @classmethod
    def of(cls, y: Array, weight: Array, *, robust: bool = True) -> TargetScale:
        """Returns the scale of a target (n,): the median and half the central 68 %, or mean and standard deviation.

        A target without such a width has the next best: the standard deviation, or 1 if it is constant.
        """
        mean = float(np.average(y, weights=weight))
        deviation = math.sqrt(float(np.average((y - mean) ** 2, weights=weight)))
        centre, width = mean, deviation
        if robust:
            low, centre, high = weighted_quantiles(y, weight, _CORE).tolist()
            width = (high - low) / 2
        least = 1e-12 * abs(centre)  # below which rounding makes what is left
        return cls(centre, next((each for each in (width, deviation) if each > least), 1.0))

    def scaled(self, y: Array) -> Array:
        """Returns the target (n,) in these units."""
        return np.asarray((y - self.centre) / self.width)

    def numbers(self, raw: Array, loss: str) -> Array:
        """Returns (n, m) numbers in the target's units: of a Gaussian mean and sigma, of quantiles in rising order.

        Args:
            raw: (n, m) what a model gives in scaled units; of a Gaussian the mean and the logarithm of the width.
            loss: that the model was trained with.
        """
        if loss == "gaussian":
            with np.errstate(over="ignore"):  # far from all training events a width may be infinite
                sigma = self.sigma_factor * self.width * np.exp(np.maximum(raw[:, 1], NARROWEST))
            return np.column_stack([self.centre + self.width * raw[:, 0], sigma])
        return np.asarray(self.centre + self.width * np.sort(raw, axis=1))

    def loss_in_units(self, loss: str, value: float) -> float:
        """Returns the loss an event in the target's units from that in scaled units."""
        if loss == "squared":
            return value * self.width**2
        return value + math.log(self.width) if loss == "gaussian" else value * self.width

    def with_unit_pulls(self, raw: Array, y: Array, weight: Array) -> TargetScale:
        """Returns the scale with which the pulls of a Gaussian on a sample that was not trained on have an RMS of 1.

        One common factor on all widths maximises the likelihood of the sample there; a model that was fitted to its
        training sample too closely predicts widths that are too small by some per cent.

        Args:
            raw: (n, 2) what the model gives.
            y: (n,) the target.
            weight: (n,), not negative.
        """
        pulls = (self.scaled(y) - raw[:, 0]) * np.exp(-np.maximum(raw[:, 1], NARROWEST))
        root_mean_square = math.sqrt(float(np.average(pulls**2, weights=weight)))
        usable = math.isfinite(root_mean_square) and root_mean_square > 0
        return replace(self, sigma_factor=root_mean_square) if usable else self

    def to_json(self) -> dict[str, float]:
        """Returns the scale in the types of JSON."""
        return {"centre": self.centre, "width": self.width, "sigma_factor": self.sigma_factor}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TargetScale:
        """Returns what `to_json` described.

        Raises:
            KeyError, TypeError, ValueError: the content is damaged.
        """
        scale = cls(*(float(content[name]) for name in ("centre", "width", "sigma_factor")))
        if not (scale.width > 0 and scale.sigma_factor > 0):
            raise ValueError("the width of the target is not positive")
        return scale


def single(numbers: Array) -> NDArray[np.float32]:
    """Returns numbers as float32, infinite where they do not fit."""
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32)


def weighted_quantiles(values: Array, weight: Array, levels: Sequence[float]) -> Array:
    """Returns the quantiles (q,) of values (n,) with positive weights (n,), where an integer weight means copies."""
    order = np.argsort(values, kind="stable")
    ends = np.array([0, len(values)])
    return np.asarray(quantiles_of_slices(values[order], weight[order], ends, np.asarray(levels, np.float64))[0])


def checked_validation(model: Regressor, validation: ValidationSet | None) -> ValidationSet | None:
    """Returns a validation sample with the target in float64; None if there is none.

    Raises:
        TrainingDataError: the shapes do not go together, a target is not finite, or the weights are no weights.
    """
    if validation is None:
        return None
    x = validation.x if isinstance(validation.x, LazyMatrix) else np.asarray(validation.x)
    y, weight = np.asarray(validation.y, np.float64), np.asarray(validation.weight, np.float64)
    if x.shape != (len(y), model.n_features_in_) or y.ndim != 1 or weight.shape != y.shape:
        raise TrainingDataError(
            f"the validation sample has shapes x {x.shape}, y {y.shape}, weight {weight.shape}; "
            f"expected (n, {model.n_features_in_}), (n,), (n,)"
        )
    if not np.isfinite(y).all():
        raise TrainingDataError("the validation sample has targets that are not finite")
    if not len(y) or weight.min() < 0 or not weight.sum() > 0:
        raise TrainingDataError(
            "the validation sample is empty, or its weights are negative or sum to zero; leave it out"
        )
    return ValidationSet(x, y, weight)
