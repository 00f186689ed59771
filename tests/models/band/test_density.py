"""The densities about a band, integrated over cells, against their formulae."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.stats import exponnorm

from pidlab.models.band.density import core_cells, tail_cells

EDGES = np.linspace(-4.5, 4.5, 19)


def core_density(t: float, below: float, above: float, k_below: float, k_above: float) -> float:
    """A Gaussian of two widths whose sides continue as exponentials."""
    z, k = (t / above, k_above) if t > 0 else (-t / below, k_below)
    return float(np.exp(-0.5 * z**2) if z < k else np.exp(0.5 * k**2 - k * z))


@pytest.mark.parametrize("shape", [(1.0, 1.0, 1.2, 2.5), (0.8, 1.3, 0.4, 6.0)])
@pytest.mark.parametrize("shift", [0.0, 0.37, -1.0])
def test_a_cell_of_the_core_has_the_integral_of_its_density(
    shape: tuple[float, float, float, float], shift: float
) -> None:
    below, above, k_below, k_above = shape
    breaks = [0.0, -k_below * below, k_above * above]
    cells = []
    for low, high in zip(EDGES[:-1] - shift, EDGES[1:] - shift, strict=True):
        inside = [at for at in breaks if low < at < high] or None
        cells.append(quad(core_density, low, high, args=shape, points=inside, epsabs=1e-13)[0])
    expected = np.array(cells) / np.sum(cells)
    found = core_cells(EDGES, *(np.full(2, value) for value in (shift, *shape)))
    np.testing.assert_allclose(found, np.stack([expected, expected]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("tau", [0.05, 1.0, 3.0])
def test_a_cell_of_a_tail_has_the_integral_of_a_gaussian_folded_with_an_exponential(side: int, tau: float) -> None:
    shift, width = np.array([0.2, -0.5]), np.array([0.9, 1.1])

    def expected(at: int) -> NDArray[np.float64]:
        edges = np.sort(side * (EDGES - shift[at]) / width[at])
        cells = np.diff(exponnorm.cdf(edges, tau))[::side]
        return np.asarray(cells / cells.sum())

    found = tail_cells(EDGES, shift, width, np.full(2, tau), side)
    # cells far on the other side have differences of two distributions that are nearly alike
    np.testing.assert_allclose(found, np.stack([expected(0), expected(1)]), rtol=1e-7, atol=2e-12)
