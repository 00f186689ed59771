"""Logistic regression, a linear baseline that assumes nothing about the distributions of the classes."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from pidlab.models.base import Progress, ValidationSet, training_data
from pidlab.models.margins import LinearClassifier, standardised

_MAX_ITERATIONS = 1000


class Logistic(LinearClassifier):
    """scikit-learn's LogisticRegression on standardised features, with coefficients given back in the features' units.

    The penalty |β|² / 2C acts on features of unit standard deviation and on weights of mean one, so that neither units
    nor a common factor of the weights change the model. An integer weight is therefore the same as repeated rows only
    up to the share of the penalty.

    Args:
        C: inverse strength of the penalty, as in scikit-learn.
    """

    kind: ClassVar[str] = "logistic"

    def __init__(self, C: float = 1.0) -> None:
        self.C = C

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation: ValidationSet | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Fits finite X (n, d), y (n,) and weights (n,) that are not negative; `validation`, `progress` are not used.

        Raises:
            TrainingDataError: weights are negative, or fewer than two classes are left.
        """
        from sklearn.linear_model import LogisticRegression

        x, label, weight = training_data(self, X, y, sample_weight, dtype=np.float64)
        x, mean, deviation = standardised(x, weight)
        regression = LogisticRegression(C=self.C, max_iter=_MAX_ITERATIONS, tol=1e-8)
        regression.fit(x, label, sample_weight=weight)
        self.coefficients_ = regression.coef_ / deviation
        self.intercept_ = regression.intercept_ - self.coefficients_ @ mean
        self.n_iter_ = int(np.max(regression.n_iter_))
        self.history_: dict[str, list[float]] = {}
        return self
