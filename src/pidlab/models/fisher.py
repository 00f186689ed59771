"""Fisher's linear discriminant with weights, in closed form."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pidlab.models.base import Progress, ValidationSet, training_data
from pidlab.models.linear import LinearClassifier


class Fisher(LinearClassifier):
    """Fisher's discriminant; for k > 2 classes linear discriminant analysis, all with equal priors.

    With class means μ and the pooled within-class covariance W = Σ w (x − μ)(x − μ)ᵀ / Σ w, the margin of a class is
    μᵀW⁺x − ½ μᵀW⁺μ, and the difference of two of them, (μ₁ − μ₀)ᵀW⁺x + const, is Fisher's discriminant (Fisher, Annals
    of Eugenics 7 (1936) 179). The probabilities are the posterior of Gaussian classes with covariance W: exact where
    the classes are such, and monotone in the discriminant always. Integer weights are the same as repeated rows.

    W⁺ is the pseudo-inverse: where features depend on each other linearly their common direction counts once, and a
    feature that does not vary within the classes counts nothing.

    Attributes:
        coefficients_: (1, d), or (k, d) for k > 2 classes, in the inverse units of the features.
        intercept_: (1,) or (k,).
    """

    kind: ClassVar[str] = "fisher"

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
        x, label, weight = training_data(self, X, y, sample_weight, dtype=np.float64)
        center = weight @ x / weight.sum()
        x = x - center  # small numbers before squares
        means = _class_means(x, label, weight, len(self.classes_))
        directions = means @ _inverse_within(x - means[label], weight)
        offsets = -0.5 * np.einsum("cj,cj->c", directions, means)
        if len(self.classes_) == 2:
            directions, offsets = directions[1:] - directions[:1], offsets[1:] - offsets[:1]
        self.coefficients_, self.intercept_ = directions, offsets - directions @ center
        self.history_: dict[str, list[float]] = {}
        return self


def _class_means(
    x: NDArray[np.float64], label: NDArray[np.int64], weight: NDArray[np.float64], n_classes: int
) -> NDArray[np.float64]:
    """(k, d) weighted means."""
    return np.array([np.average(x[label == c], axis=0, weights=weight[label == c]) for c in range(n_classes)])


def _inverse_within(residual: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """(d, d) pseudo-inverse of the weighted covariance of (n, d) residuals, found in units of their spreads."""
    covariance = (residual * weight[:, None]).T @ residual / weight.sum()
    spread = np.sqrt(np.diag(covariance))
    unit = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
    return np.asarray(np.linalg.pinv(covariance * np.outer(unit, unit), hermitian=True) * np.outer(unit, unit))
