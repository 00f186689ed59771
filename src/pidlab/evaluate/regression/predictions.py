"""The predictions of a model on one sample, beside their targets and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import DataError
from pidlab.evaluate.intervals import blocks
from pidlab.evaluate.ranking import event_groups
from pidlab.evaluate.regression.order import Ordered, OrderNumbers
from pidlab.evaluate.regression.statistics import EventWeights
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample

Single = NDArray[np.float32]


class Prediction(NamedTuple):
    """What a model predicts for the n candidates of a sample; NaN where it predicts nothing.

    Attributes:
        value: (n,) the target.
        sigma: (n,) the standard deviation of the target; None if the model predicts none.
        quantiles: probability to the (n,) quantile of the target.
    """

    value: Single
    sigma: Single | None = None
    quantiles: Mapping[float, Single] = {}


@dataclass(frozen=True)
class Predicted:
    """A prediction beside the targets of its sample.

    Attributes:
        prediction: the prediction of the model.
        target: (n,) float64.
        weights: the weights of the candidates; 0 for those without a prediction.
        event: (n,) hashes of the events.
        known: (n,) true where there is a prediction; None if there is one everywhere.
    """

    prediction: Prediction
    target: FloatArray
    weights: EventWeights
    event: NDArray[np.uint64]
    known: BoolArray | None = field(default=None)

    @classmethod
    def of(cls, prediction: Prediction, targets: Targets) -> Predicted:
        """Returns the prediction beside the targets of its sample.

        Raises:
            DataError: There are not as many predictions as candidates.
        """
        n = len(targets.target)
        arrays = (prediction.value, prediction.sigma, *prediction.quantiles.values())
        if any(a is not None and a.shape != (n,) for a in arrays):
            raise DataError(f"the predictions should have the shape ({n},), found {prediction.value.shape}")
        known = np.isfinite(prediction.value)
        if prediction.sigma is not None:
            known &= np.isfinite(prediction.sigma) & (prediction.sigma > 0)
        if known.all():
            return cls(prediction, targets.target, targets.weights, targets.event)
        return cls(prediction, targets.target, targets.weights.known(known), targets.event, known)

    @property
    def missing(self) -> int:
        """The number of candidates without a prediction."""
        return 0 if self.known is None else int(len(self.known) - np.count_nonzero(self.known))

    @cached_property
    def residual(self) -> Single:
        """(n,) prediction - target, 0 for candidates without a prediction, whose weight is 0."""
        found = np.empty(len(self.target), np.float32)
        for rows in blocks(len(found)):
            found[rows] = self.prediction.value[rows] - self.target[rows]
        if self.known is not None:
            found[~self.known] = 0
        return found

    @cached_property
    def pull(self) -> Single | None:
        """(n,) (prediction - target) / sigma; None if the model predicts no width."""
        if self.prediction.sigma is None:
            return None
        found = np.empty(len(self.target), np.float32)
        for rows in blocks(len(found)):
            with np.errstate(invalid="ignore", divide="ignore"):
                found[rows] = self.residual[rows] / self.prediction.sigma[rows]
        if self.known is not None:
            found[~self.known] = 0
        return found

    @cached_property
    def numbers(self) -> OrderNumbers:
        """What the residuals in rising order show."""
        return Ordered.of(self.residual, self.weights.weight, self.weights.n).numbers

    def half(self, rows: IntArray) -> Ordered:
        """Returns the order of the residuals of some rows."""
        weights = EventWeights(self.weights.weight[rows], None)
        return Ordered.of(self.residual[rows], weights.weight, weights.n)


@dataclass(frozen=True)
class Targets:
    """The targets (n,) of a sample with the weights and the events (n,) of its candidates."""

    target: FloatArray
    weights: EventWeights
    event: NDArray[np.uint64]

    @classmethod
    def of(cls, sample: Sample) -> Targets:
        """Returns the targets of a sample, whose target is not None."""
        assert sample.target is not None
        weights = EventWeights(sample.weight, event_groups(sample), sample.weight_replicas)
        return cls(sample.target, weights, sample.event)
