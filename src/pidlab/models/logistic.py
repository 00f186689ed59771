"""Logistic regression, a linear baseline that assumes nothing about the distributions of the classes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

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

    def _fit(self, x: NDArray[np.float64], label: NDArray[np.int64], weight: NDArray[np.float64]) -> None:
        from sklearn.linear_model import LogisticRegression

        x, mean, deviation = standardised(x, weight)
        regression = LogisticRegression(C=self.C, max_iter=_MAX_ITERATIONS, tol=1e-8)
        regression.fit(x, label, sample_weight=weight)
        self.coefficients_ = regression.coef_ / deviation
        self.intercept_ = regression.intercept_ - self.coefficients_ @ mean
        self.n_iter_ = int(np.max(regression.n_iter_))
