"""Constant predictions: the mean, the median, quantiles, or a Gaussian that is the same for every candidate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pidlab.models.base import Progress, TrainingRows, ValidationSet
from pidlab.models.regressors.base import AnyLossRegressor, Array, TargetScale, weighted_quantiles
from pidlab.sample import FloatArray


class ConstantRegressor(AnyLossRegressor):
    """The best constant in each loss: what any other model has to beat.

    It is the weighted mean, median, quantiles, or mean and standard deviation of the target. Features are not looked
    at.

    Args:
        loss: squared, absolute, quantile, gaussian.
        quantiles: the quantiles that the loss `quantile` predicts.

    Attributes:
        values_: (m,) the constants, as `numbers` gives them.
    """

    kind = "constant"
    values_: Array

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags

    def train(self, rows: TrainingRows, validation: ValidationSet | None, progress: Progress | None) -> None:
        """Takes the constants from targets and weights; `validation` and `progress` are not used."""
        target, weight = rows.label, rows.weight
        if self.loss in ("squared", "gaussian"):
            whole = TargetScale.of(target, weight, robust=False)
            self.values_ = np.array([whole.centre, whole.width][: 1 + (self.loss == "gaussian")])
        else:
            self.values_ = weighted_quantiles(target, weight, self.levels or (0.5,))

    def numbers(self, x: FloatArray) -> Array:
        """Returns the constants (n, m) for each row."""
        return np.tile(self.values_, (len(x), 1))

    def _fitted(self) -> dict[str, Any]:
        return super()._fitted() | {"values": self.values_.tolist()}

    def _restore(self, content: Mapping[str, Any], directory: Path) -> None:
        super()._restore(content, directory)
        self.values_ = np.asarray(content["values"], np.float64)
        expected = len(self.levels) or 1 + (self.loss == "gaussian")
        if self.values_.shape != (expected,) or not np.isfinite(self.values_).all():
            raise ValueError(f"the loss {self.loss} does not go with {self.values_.size} constants")
