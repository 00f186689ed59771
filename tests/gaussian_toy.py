"""A toy of two classes whose likelihood ratio is known, for closure tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

Array = NDArray[np.float64]


def gaussian_toy(n_events: int, seed: int, distance: float = 1.8) -> tuple[Array, NDArray[np.int64], Array]:
    """Draws two equally abundant Gaussian classes in three dimensions.

    Class 1 lies `distance` widths from class 0 along the first axis and has other correlations and widths, so the
    best border is a quadric.

    Returns:
        x (n, 3), y (n,) of 0 and 1, and the log likelihood ratio of class 1 to class 0 at each x (n,).
    """
    rng = np.random.default_rng(seed)
    zero = np.zeros(3), _covariance([1.0, 1.0, 1.0], 0.5, 0.0, 0.3)
    one = np.array([distance, 0.0, 0.0]), _covariance([1.0, 1.5, 0.8], -0.3, 0.2, 0.0)
    y = rng.integers(0, 2, n_events)
    drawn = [mean + rng.standard_normal((n_events, 3)) @ np.linalg.cholesky(c).T for mean, c in (one, zero)]
    x = np.where((y == 1)[:, None], *drawn)
    return x, y, multivariate_normal(*one).logpdf(x) - multivariate_normal(*zero).logpdf(x)


def _covariance(widths: list[float], r12: float, r13: float, r23: float) -> Array:
    correlation = np.array([[1, r12, r13], [r12, 1, r23], [r13, r23, 1]])
    return np.asarray(correlation * np.outer(widths, widths))
