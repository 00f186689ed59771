"""Shapes of a mass are densities: normalised in the range, equal to scipy's where it has them, guessed from data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import cumulative_simpson

from pidlab.datadriven.massfit import SHAPES, Guess, guess_of, shape_of
from pidlab.errors import UsageError

LOW, HIGH = 5.1, 5.5
GUESS = Guess(position=5.28, width=0.02, slope=-2.0, fraction=0.4)
NAMES = sorted({*SHAPES} - {"chebyshev"} | {"chebyshev:1", "chebyshev:3"})


def start(name: str) -> list[float]:
    return [parameter.start for parameter in shape_of(name).parameters(LOW, HIGH, GUESS)]


def within(parameters: tuple[object, ...], shares: list[float]) -> list[float]:
    return [p.low + share * (p.high - p.low) for p, share in zip(parameters, shares, strict=False)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NAMES)
def test_the_integral_of_a_density_is_its_cdf_and_one_in_the_range(name: str) -> None:
    shape, x = shape_of(name), np.linspace(LOW, HIGH, 20_001)
    parameters = [0.3, -0.2, 0.1][: len(shape.names)] if name.startswith("chebyshev") else start(name)
    density, cdf = shape.pdf(x, parameters, LOW, HIGH), shape.cdf(x, parameters, LOW, HIGH)
    inner = slice(0, -2)  # ARGUS has a root's end at the endpoint, which Simpson's rule does not follow
    np.testing.assert_allclose(cumulative_simpson(density, x=x, initial=0)[inner], cdf[inner], atol=2e-6)
    assert cdf[0] == pytest.approx(0, abs=1e-12)
    assert cdf[-1] == pytest.approx(1, rel=1e-12)
    assert np.all(np.diff(cdf) >= 0)


@pytest.mark.parametrize(
    ("name", "parameters", "known"),
    [
        ("gauss", [5.28, 0.02], stats.norm(5.28, 0.02)),
        ("crystal_ball", [5.28, 0.02, 1.2, 3.0], stats.crystalball(1.2, 3.0, 5.28, 0.02)),
        ("student", [5.28, 0.02, 4.0], stats.t(4.0, 5.28, 0.02)),
        ("exponential", [-3.0], stats.expon(LOW, 1 / 3.0)),
        ("argus", [1.5, 5.5], stats.argus(1.5, scale=5.5)),
        ("uniform", [], stats.uniform(LOW, HIGH - LOW)),
    ],
)
def test_densities_are_those_of_scipy_cut_off_at_the_range(name: str, parameters: list[float], known: object) -> None:
    x = np.linspace(LOW, HIGH, 101)
    norm = known.cdf(HIGH) - known.cdf(LOW)  # type: ignore[attr-defined]
    expected = known.pdf(x) / norm  # type: ignore[attr-defined]
    # scipy's CrystalBall and ARGUS differ from numba-stats' in the last digits of special functions.
    np.testing.assert_allclose(shape_of(name).pdf(x, parameters, LOW, HIGH), expected, rtol=1e-6, atol=1e-9)


def test_a_voigt_density_is_scipys_profile() -> None:
    from scipy.special import voigt_profile

    x = np.linspace(LOW, HIGH, 101)
    density = shape_of("voigt").pdf(x, [5.28, 0.01, 0.03], LOW, HIGH)
    known = voigt_profile(x - 5.28, 0.01, 0.015)
    np.testing.assert_allclose(density / density[50], known / known[50], rtol=1e-9, atol=0)


def test_a_double_crystal_ball_with_both_tails_far_away_is_normal() -> None:
    x = np.linspace(LOW, HIGH, 101)
    # The tails begin at six standard deviations, where the density is 1e-7 of a unit.
    far = shape_of("double_crystal_ball").pdf(x, [5.28, 0.03, 6.0, 3.0, 6.0, 3.0], LOW, HIGH)
    np.testing.assert_allclose(far, shape_of("gauss").pdf(x, [5.28, 0.03], LOW, HIGH), rtol=1e-4, atol=1e-6)


def test_an_exponential_without_slope_is_uniform_and_continuous_there() -> None:
    x = np.linspace(LOW, HIGH, 11)
    for slope in (0.0, 1e-9, -1e-9, 1e-7):
        density = shape_of("exponential").pdf(x, [slope], LOW, HIGH)
        np.testing.assert_allclose(density, 1 / (HIGH - LOW), rtol=1e-6, atol=0)


@settings(max_examples=60, deadline=None)
@given(shares=st.lists(st.floats(0.02, 0.98), min_size=6, max_size=6), name=st.sampled_from(NAMES))
def test_densities_are_finite_for_all_parameters_between_the_limits(shares: list[float], name: str) -> None:
    shape, x = shape_of(name), np.linspace(LOW, HIGH, 51)
    parameters = within(shape.parameters(LOW, HIGH, GUESS), shares)
    if "endpoint" in shape.names:
        parameters[shape.names.index("endpoint")] = HIGH
    assert np.isfinite(shape.pdf(x, parameters, LOW, HIGH)).all()


@pytest.mark.parametrize("degree", [1, 2, 3, 5, 8])
def test_no_polynomial_that_is_positive_has_coefficients_beyond_the_limits(degree: int) -> None:
    # Fejér: every such polynomial is the square of the modulus of one in exp(i t), here of random coefficients.
    limits = [p.high for p in shape_of(f"chebyshev:{degree}").parameters(LOW, HIGH, GUESS)]
    rng, largest = np.random.default_rng(degree), np.zeros(degree)
    for _ in range(2000):
        a = rng.normal(size=degree + 1)
        product = np.correlate(a, a, "full")[degree:]
        largest = np.maximum(largest, np.abs(2 * product[1:] / product[0]))
    assert np.all(largest <= np.array(limits) * (1 + 1e-12))
    ends = np.zeros(degree + 1)
    ends[[0, -1]] = 1.0
    product = np.correlate(ends, ends, "full")[degree:]
    assert 2 * product[-1] / product[0] == pytest.approx(limits[-1], rel=1e-12)  # it is reached: no wider than needed


def test_the_peak_is_guessed_where_it_is() -> None:
    rng = np.random.default_rng(4)
    mass = np.concatenate([rng.normal(5.31, 0.015, 3000), rng.uniform(LOW, HIGH, 9000)])
    guess = guess_of(*np.histogram(mass, 100, (LOW, HIGH)))
    assert guess.position == pytest.approx(5.31, abs=0.015)
    assert 0.5 < guess.width / 0.015 < 2
    assert guess.fraction == pytest.approx(0.25, abs=0.08)


def test_an_empty_histogram_gives_a_guess_too() -> None:
    guess = guess_of(np.zeros(20), np.linspace(LOW, HIGH, 21))
    assert all(np.isfinite([guess.position, guess.width, guess.slope, guess.fraction]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gaus", "did you mean 'gauss'"),
        ("chebyshev", "a polynomial has a degree from 1 to 8"),
        ("chebyshev:0", "a polynomial has a degree from 1 to 8"),
        ("chebyshev:nine", "a polynomial has a degree from 1 to 8"),
        ("gauss:2", "has no degree; write gauss"),
    ],
)
def test_a_name_that_is_no_shape_is_refused_with_what_was_meant(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        shape_of(text)
