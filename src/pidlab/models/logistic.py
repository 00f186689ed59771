"""Logistic regression, a linear baseline that asks nothing of the shape of the classes."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from pidlab.models.base import Progress, ValidationSet, training_data
from pidlab.models.linear import LinearClassifier

_MAX_ITERATIONS = 1000


class Logistic(LinearClassifier):
    """scikit-learn's LogisticRegression on standardised features, with coefficients given back in the features' units.

    The penalty |β|² / 2C acts on features of unit spread and on weights of mean one, so that neither units nor a common
    factor of the weights change the model. (An integer weight is therefore the same as repeated rows only up to the
    share of the penalty.)

    Args:
        C: inverse strength of the penalty, as scikit-learn's.
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
        """Fit finite X (n, d), y (n,) and weights (n,) that are not negative; `validation` and `progress` play no part.

        Raises:
            TrainingDataError: negative weights, or fewer than two classes.
        """
        from sklearn.linear_model import LogisticRegression

        x, label, weight = training_data(self, X, y, sample_weight, dtype=np.float64)
        center = np.average(x, axis=0, weights=weight)
        spread = np.sqrt(np.average((x - center) ** 2, axis=0, weights=weight))
        spread[spread == 0] = 1
        regression = LogisticRegression(C=self.C, max_iter=_MAX_ITERATIONS, tol=1e-8)
        regression.fit((x - center) / spread, label, sample_weight=weight)
        self.coefficients_ = regression.coef_ / spread
        self.intercept_ = regression.intercept_ - self.coefficients_ @ center
        self.n_iter_ = int(np.max(regression.n_iter_))
        self.history_: dict[str, list[float]] = {}
        return self
