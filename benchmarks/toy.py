"""The sample of the TMVA figures: Gaussian classes behind a shear, so that the likelihood ratio is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

N_SIGNAL, N_BACKGROUND = 72_000, 216_000
SIGNAL = ([1.52, 1.2, -1.04], [0.81, 0.69, 0.75], [[1, 0.45, -0.3], [0.45, 1, 0.2], [-0.3, 0.2, 1]])
BACKGROUND = ([0.0, 0.0, 0.0], [0.8, 0.85, 0.9], [[1, -0.2, 0.35], [-0.2, 1, 0.3], [0.35, 0.3, 1]])


def gaussian(rng: np.random.Generator, n: int, mean: Any, width: Any, correlation: Any) -> NDArray[np.float64]:
    """(n, 3) of a normal distribution."""
    return rng.multivariate_normal(mean, covariance(width, correlation), n)


def covariance(width: Any, correlation: Any) -> NDArray[np.float64]:
    return np.array(correlation) * np.outer(width, width)


def sheared(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same events behind an invertible shear, which keeps volumes and so likelihood ratios."""
    x = z.copy()
    x[:, 1] += 0.35 * (z[:, 0] - 0.5) ** 2
    x[:, 2] += 0.5 * np.sin(1.3 * z[:, 0]) + 0.25 * z[:, 1]
    return x


def toy(seed: int = 20240607) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]:
    """288,000 events, shuffled: x (n, 3), y (n,), a quarter of them signal, and the exact log likelihood ratio (n,)."""
    rng = np.random.default_rng(seed)
    z = np.concatenate([gaussian(rng, N_SIGNAL, *SIGNAL), gaussian(rng, N_BACKGROUND, *BACKGROUND)])
    y = np.repeat([1, 0], [N_SIGNAL, N_BACKGROUND])
    densities = (multivariate_normal(m, covariance(w, c)).logpdf(z) for m, w, c in (SIGNAL, BACKGROUND))
    log_ratio = np.subtract(*densities)
    order = rng.permutation(len(y))
    return sheared(z)[order].astype(np.float32), y[order], log_ratio[order]
