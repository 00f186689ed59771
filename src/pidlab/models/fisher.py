"""Fisher's linear discriminant with weights, in closed form."""

from __future__ import annotations

import numpy as np

from pidlab.models.margins import Array, Blocks, LinearClassifier, average


class Fisher(LinearClassifier):
    """Fisher's discriminant; for k > 2 classes linear discriminant analysis. All classes have equal priors.

    With class means μ and the pooled within-class covariance W = Σ w (x − μ)(x − μ)ᵀ / Σ w, the margin of a class is
    μᵀW⁺x − ½ μᵀW⁺μ, and the difference of two of them, (μ₁ − μ₀)ᵀW⁺x + const, is Fisher's discriminant (Fisher, Annals
    of Eugenics 7 (1936) 179). The probabilities are the posterior of Gaussian classes with covariance W: exact for
    such classes, and monotone in the discriminant for all others. Integer weights are the same as repeated rows.

    W⁺ is the pseudo-inverse: features that depend on each other linearly count once in their common direction, and a
    feature that does not vary within the classes has no effect.
    """

    kind = "fisher"

    def _fit(self, blocks: Blocks) -> None:
        total = sum(weight.sum() for _, _, weight in blocks())
        center = sum(weight @ x for x, _, weight in blocks()) / total
        own = (((x[y == c] - center, w[y == c]) for x, y, w in blocks()) for c in range(len(self.classes_)))
        means = np.array([average(of_class) for of_class in own])  # relative to the centre, so that squares are small
        residuals = ((x - center - means[label], weight) for x, label, weight in blocks())
        directions = means @ _inverse_within(sum((r * weight[:, None]).T @ r for r, weight in residuals) / total)
        offsets = -0.5 * np.einsum("cj,cj->c", directions, means)
        if len(self.classes_) == 2:
            directions, offsets = directions[1:] - directions[:1], offsets[1:] - offsets[:1]
        self.coefficients_, self.intercept_ = directions, offsets - directions @ center


def _inverse_within(covariance: Array) -> Array:
    """Returns the (d, d) pseudo-inverse of a covariance within the classes.

    It is computed in units of their standard deviations, so that the units of the features do not matter.
    """
    deviation = np.sqrt(np.diag(covariance))
    unit = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    return np.asarray(np.linalg.pinv(covariance * np.outer(unit, unit), hermitian=True) * np.outer(unit, unit))
