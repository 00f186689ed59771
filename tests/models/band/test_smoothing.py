"""How smooth a band is: the posterior of the strengths of the roughness, and of a curve over all of them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pidlab.models.band.curves import spline_basis
from pidlab.models.band.smoothing import SmoothCurve

Array = NDArray[np.float64]


def curve_through(n_functions: int, noise: float = 0.05, n: int = 400) -> SmoothCurve:
    """What n values with this noise say of sin(5 x), x from 0 to 1."""
    x = np.linspace(0, 1, n)[:, None]
    basis = spline_basis(x, [n_functions])
    assert basis.roughness is not None
    y = np.sin(5 * x[:, 0]) + noise * np.random.default_rng(1).normal(size=n)
    design = basis.design(x)
    known = design.T @ design / noise**2 + 1e-6 * np.eye(n_functions)
    return SmoothCurve(basis.roughness, known, design.T @ y / noise**2)


@pytest.mark.parametrize("n_functions", [8, 28])
def test_the_roughness_has_the_traces_and_the_determinant_of_its_matrix(n_functions: int) -> None:
    roughness = curve_through(n_functions).roughness
    strengths = 10.0 ** np.arange(len(roughness.shares))
    penalty = roughness.penalty(strengths)
    values = np.linalg.eigvalsh(penalty)
    # two eigenvalues are those of a straight line, 0 but for rounding
    assert roughness.log_determinant(strengths) == pytest.approx(np.log(values[2:]).sum(), rel=1e-6)
    inverse = np.linalg.pinv(penalty, rcond=1e-11, hermitian=True)
    np.testing.assert_allclose(
        roughness.prior_traces(strengths), roughness.traces(strengths, inverse), rtol=1e-4, atol=0
    )


def test_the_average_over_one_strength_is_that_of_a_fine_grid() -> None:
    curve = curve_through(8)
    assert len(curve.roughness.shares) == 1
    grid = np.linspace(-25, 25, 2001)
    found = [curve.posterior(np.array([each])) for each in grid]
    logarithms = np.array([evidence for _, _, evidence in found]) - 0.5 * grid
    weight = np.exp(logarithms - logarithms.max())
    weight /= weight.sum()
    means, covariances = np.array([mean for mean, _, _ in found]), np.array([each for _, each, _ in found])
    expected = weight @ means
    away = means - expected
    total = np.einsum("t,tij->ij", weight, covariances) + (away * weight[:, None]).T @ away
    mean, covariance = curve.averaged(np.ones(1), 1e12)
    errors = np.sqrt(np.diag(total))
    # 128 points, of which some 60 count: a hundredth of an error, and a few per cent of it
    assert np.abs((mean - expected) / errors).max() < 0.05
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), errors, rtol=0.03, atol=0)


def test_the_average_does_not_depend_on_where_the_search_of_the_strengths_begins() -> None:
    curve = curve_through(28)
    n_parts = len(curve.roughness.shares)
    (one, of_one), (other, of_other) = (curve.averaged(np.full(n_parts, start), 1e12) for start in (1e-3, 1e5))
    errors = np.sqrt(np.diag(of_one))
    assert np.abs((one - other) / errors).max() < 0.02
    np.testing.assert_allclose(np.sqrt(np.diag(of_other)), errors, rtol=0.02, atol=0)


def test_errors_are_larger_than_those_of_the_best_strengths_alone() -> None:
    curve = curve_through(28, noise=0.5)
    n_parts = len(curve.roughness.shares)
    place, _ = curve._most_probable(np.zeros(n_parts), np.log(1e12))
    _, of_best, _ = curve.posterior(place)
    _, averaged = curve.averaged(np.exp(place), 1e12)
    assert np.mean(np.diag(averaged) / np.diag(of_best)) > 1.05
