"""The density of a variable about its band, in cells: a core with exponential tails, wide tails, and backgrounds.

Distances z from a first band are in units of its widths. All densities are integrated over the cells between edges,
for each of J bins of x, and are normalised to the window between the first and the last edge.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from pidlab.models.band.curves import Array

_ROOT = np.sqrt(2 * np.pi)
N_BACKGROUNDS = 4


def core_cells(edges: Array, shift: Array, below: Array, above: Array, k_below: Array, k_above: Array) -> Array:
    """Returns the shares (J, m) of a Gaussian whose sides continue as exponentials, k widths from the mean.

    On either side the density is exp(-t²/2) up to t = k and exp(k²/2 - k t) beyond, with the distance t in the widths
    of that side; value and slope are continuous (S. Das, arXiv:1603.08591). The widths of the sides may differ.

    Args:
        edges: of the cells (m + 1,).
        shift: of the mean (J,).
        below, above: the widths (J,).
        k_below, k_above: where the tails begin (J,), in widths.
    """
    t = edges[None, :] - shift[:, None]
    low = -below[:, None] * _half(np.maximum(-t, 0) / below[:, None], k_below[:, None])
    high = above[:, None] * _half(np.maximum(t, 0) / above[:, None], k_above[:, None])
    return _shares(low + high)


def _half(t: Array, k: Array) -> Array:
    """Returns the integral from 0 to t of one side of the core of width 1."""
    inside = _ROOT * (ndtr(np.minimum(t, k)) - 0.5)
    beyond = np.exp(-0.5 * k**2) * -np.expm1(-k * np.maximum(t - k, 0)) / k
    return np.asarray(inside + beyond)


def tail_cells(edges: Array, shift: Array, width: Array, tau: Array, side: int) -> Array:
    """Returns the shares (J, m) of a Gaussian folded with an exponential of `tau` widths, upwards for side 1, else -1.

    Its distribution is Φ(t) - exp(1/(2τ²) - t/τ) Φ(t - 1/τ), with t in widths (K. Grushka, Anal. Chem. 44 (1972) 1733).
    """
    t = side * (edges[None, :] - shift[:, None]) / width[:, None]
    rate = 1 / tau[:, None]
    distribution = ndtr(t) - np.exp(np.minimum(0.5 * rate**2 - rate * t, 700.0)) * ndtr(t - rate)
    return _shares(side * distribution)


def background_cells(edges: Array) -> Array:
    """Returns the shares (4, m) of the Bernstein polynomials of degree 3, whose sums are smooth and not negative."""
    from scipy.stats import beta

    place = (edges - edges[0]) / (edges[-1] - edges[0])
    return _shares(np.stack([beta.cdf(place, i + 1, N_BACKGROUNDS - i) for i in range(N_BACKGROUNDS)]))


def _shares(integral: Array) -> Array:
    cells = np.maximum(np.diff(integral, axis=1), 1e-12)
    return np.asarray(cells / cells.sum(axis=1, keepdims=True))
