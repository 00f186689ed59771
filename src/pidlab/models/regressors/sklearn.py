"""Any regressor of scikit-learn, xgboost or lightgbm, saved as ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pidlab.errors import ModelError
from pidlab.models.external.sklearn.estimators import REGRESSOR, EstimatorKind
from pidlab.models.external.sklearn.given import GivenObject
from pidlab.models.external.sklearn.model import SklearnEstimator
from pidlab.models.regressors.base import Array, Regressor
from pidlab.sample import FloatArray


@dataclass(eq=False, repr=False)
class SklearnRegressor(SklearnEstimator, Regressor):
    """A regressor by its import path.

    It is trained on the target in its own unit, since some parameters, such as `epsilon` of a support vector machine,
    have this unit.
    """

    estimator_kind: ClassVar[EstimatorKind] = REGRESSOR

    def numbers(self, x: FloatArray) -> Array:
        """Returns the (n, 1) predictions of (n, d) features from the ONNX graph."""
        return np.asarray(self._run(np.asarray(x, np.float32)), np.float64).reshape(-1, 1)


class GivenRegressor(GivenObject, SklearnRegressor):
    """Any object with scikit-learn's `fit` and `predict`, such as a pipeline; the arguments are those of `GivenObject`.

    It is trained on the target in its own unit.
    """

    def _check_row(self, x: FloatArray) -> None:
        shape = self.numbers(x).shape
        if shape != (1, 1):
            raise ModelError(f"{self._name} gives predictions of shape {shape} for 1 row; one number is compared")

    def numbers(self, x: FloatArray) -> Array:
        """Returns the (n, 1) predictions of (n, d) features."""
        single = np.asarray(x, np.float32)
        if not self._refused:
            return super().numbers(single)
        return np.asarray(self.answers(single) if len(single) else np.empty(0), np.float64).reshape(len(single), -1)
