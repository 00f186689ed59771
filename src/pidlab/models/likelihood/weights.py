"""Weights of the detectors: a multinomial logistic regression on their log-likelihoods."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pidlab.measured import Array

_MOST = 300_000  # candidates, on which a weight is known to better than a hundredth
_TOWARDS_ONE = 1.0  # the inverse variance of a prior around 1, which decides for a detector that never measured


def fitted_weights(terms: Array, offset: Array, label: NDArray[np.int64], weight: Array) -> Array:
    """Returns the weights (D, k) ≥ 0 of D detectors that maximise the likelihood of the classes.

    The margin of a class is offset + Σ weight · log-likelihood over the detectors, and the probabilities are its
    softmax, as Belle II weighs its detectors. All weights are 1 if the detectors are independent and their
    likelihoods right; a detector whose information another one has too gets less.

    Args:
        terms: (D, n, k) log-likelihoods relative to the likeliest class, 0 where a detector did not measure.
        offset: (n, k) logarithms of the abundances.
        label: (n,) classes.
        weight: (n,) weights that sum to an effective number of candidates.
    """
    from scipy.optimize import minimize

    n_detectors, n, k = terms.shape
    if n > _MOST:
        every = np.linspace(0, n - 1, _MOST).astype(np.int64)
        terms, offset, label = terms[:, every], offset[every], label[every]
        weight = weight[every] * (n / _MOST)
    rows = np.arange(len(label))

    def loss(flat: Array) -> tuple[float, Array]:
        own = flat.reshape(n_detectors, k)
        margins = offset + np.einsum("dnk,dk->nk", terms, own)
        margins -= margins.max(axis=1, keepdims=True)
        powers = np.exp(margins)
        total = powers.sum(axis=1)
        value = float((weight * (np.log(total) - margins[rows, label])).sum())
        excess = powers / total[:, None]
        excess[rows, label] -= 1
        slope = np.einsum("dnk,nk->dk", terms, excess * weight[:, None]) + _TOWARDS_ONE * (own - 1)
        return value + 0.5 * _TOWARDS_ONE * float(((own - 1) ** 2).sum()), slope.ravel()

    found = minimize(loss, np.ones(n_detectors * k), jac=True, method="L-BFGS-B", bounds=[(0, None)] * n_detectors * k)
    return np.asarray(found.x.reshape(n_detectors, k), np.float64)
