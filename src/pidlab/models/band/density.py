"""The density of a variable about its band, in cells: a core with exponential tails, wide tails, and backgrounds.

Distances z from a first band are in units of its widths. All densities are integrated over the cells between edges,
for each of J bins of x, and are normalised to the window between the first and the last edge.
"""

from __future__ import annotations

import math

import numpy as np

from pidlab.compiled import compiled
from pidlab.models.band.curves import Array

_ROOT_TWO = math.sqrt(2)
_HALF_ROOT = math.sqrt(math.pi / 2)  # the integral of one side of exp(-t²/2)
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
    integral = np.empty((len(shift), len(edges)))
    _core_integral(edges, shift, below, above, k_below, k_above, integral)
    return _shares(integral)


def tail_cells(edges: Array, shift: Array, width: Array, tau: Array, side: int) -> Array:
    """Returns the shares (J, m) of a Gaussian folded with an exponential of `tau` widths, upwards for side 1, else -1.

    Its distribution is Φ(t) - exp(1/(2τ²) - t/τ) Φ(t - 1/τ), with t in widths (K. Grushka, Anal. Chem. 44 (1972) 1733).
    """
    integral = np.empty((len(shift), len(edges)))
    _tail_integral(edges, shift, width, tau, float(side), integral)
    return _shares(integral)


def background_cells(edges: Array) -> Array:
    """Returns the shares (4, m) of the Bernstein polynomials of degree 3, whose sums are smooth and not negative."""
    from scipy.stats import beta

    place = (edges - edges[0]) / (edges[-1] - edges[0])
    return _shares(np.stack([beta.cdf(place, i + 1, N_BACKGROUNDS - i) for i in range(N_BACKGROUNDS)]))


def _shares(integral: Array) -> Array:
    cells = np.maximum(np.diff(integral, axis=1), 1e-12)
    return np.asarray(cells / cells.sum(axis=1, keepdims=True))


@compiled(nogil=True)
def _core_integral(
    edges: Array, shift: Array, below: Array, above: Array, k_below: Array, k_above: Array, out: Array
) -> None:  # pragma: no cover, compiled
    """Writes the integral of the core from its mean to each edge into `out` (J, m + 1)."""
    for j in range(len(shift)):
        for is_above in (False, True):
            sign, width, k = (1.0, above[j], k_above[j]) if is_above else (-1.0, below[j], k_below[j])
            inside = _HALF_ROOT * math.erf(k / _ROOT_TWO)
            beyond = math.exp(-0.5 * k * k) / k
            for i in range(len(edges)):
                t = sign * (edges[i] - shift[j]) / width
                if t < 0 or (t == 0 and not is_above):
                    continue
                if t < k:
                    out[j, i] = sign * width * _HALF_ROOT * math.erf(t / _ROOT_TWO)
                else:
                    out[j, i] = sign * width * (inside - beyond * math.expm1(-k * (t - k)))


@compiled(nogil=True)
def _tail_integral(
    edges: Array, shift: Array, width: Array, tau: Array, side: float, out: Array
) -> None:  # pragma: no cover, compiled
    """Writes the integral of a tail from its far end to each edge into `out` (J, m + 1)."""
    for j in range(len(shift)):
        rate = 1 / tau[j]
        for i in range(len(edges)):
            t = side * (edges[i] - shift[j]) / width[j]
            folded = 0.5 * math.exp(min(0.5 * rate * rate - rate * t, 700.0)) * math.erfc((rate - t) / _ROOT_TWO)
            out[j, i] = side * (0.5 * math.erfc(-t / _ROOT_TWO) - folded)
