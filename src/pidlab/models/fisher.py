"""Fisher's linear discriminant with weights, in closed form."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pidlab.models.margins import LinearClassifier


class Fisher(LinearClassifier):
    """Fisher's discriminant; for k > 2 classes linear discriminant analysis. All classes have equal priors.

    With class means μ and the pooled within-class covariance W = Σ w (x − μ)(x − μ)ᵀ / Σ w, the margin of a class is
    μᵀW⁺x − ½ μᵀW⁺μ, and the difference of two of them, (μ₁ − μ₀)ᵀW⁺x + const, is Fisher's discriminant (Fisher, Annals
    of Eugenics 7 (1936) 179). The probabilities are the posterior of Gaussian classes with covariance W: exact for
    such classes, and monotone in the discriminant for all others. Integer weights are the same as repeated rows.

    W⁺ is the pseudo-inverse: features that depend on each other linearly count once in their common direction, and a
    feature that does not vary within the classes has no effect.
    """

    kind: ClassVar[str] = "fisher"

    def _fit(self, x: NDArray[np.float64], label: NDArray[np.int64], weight: NDArray[np.float64]) -> None:
        center = weight @ x / weight.sum()
        x = x - center  # small numbers before squares
        means = _class_means(x, label, weight, len(self.classes_))
        directions = means @ _inverse_within(x - means[label], weight)
        offsets = -0.5 * np.einsum("cj,cj->c", directions, means)
        if len(self.classes_) == 2:
            directions, offsets = directions[1:] - directions[:1], offsets[1:] - offsets[:1]
        self.coefficients_, self.intercept_ = directions, offsets - directions @ center


def _class_means(
    x: NDArray[np.float64], label: NDArray[np.int64], weight: NDArray[np.float64], n_classes: int
) -> NDArray[np.float64]:
    """Returns the (k, d) weighted means of the classes."""
    return np.array([np.average(x[label == c], axis=0, weights=weight[label == c]) for c in range(n_classes)])


def _inverse_within(residual: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the (d, d) pseudo-inverse of the weighted covariance of (n, d) residuals.

    It is computed in units of their standard deviations, so that the units of the features do not matter.
    """
    covariance = (residual * weight[:, None]).T @ residual / weight.sum()
    deviation = np.sqrt(np.diag(covariance))
    unit = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    return np.asarray(np.linalg.pinv(covariance * np.outer(unit, unit), hermitian=True) * np.outer(unit, unit))
