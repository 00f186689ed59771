"""Intervals from numbers of signal: Wilson's without excess, and ones that hold where background was subtracted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from probe_toys import Toy

from pidlab.datadriven.efficiency.estimate import Histograms, Shapes
from pidlab.datadriven.efficiency.intervals import generalised_wilson, ratio
from pidlab.datadriven.efficiency.subtraction import by_sidebands, by_sweights
from pidlab.evaluate.intervals import Sums, efficiency, fieller, wilson
from pidlab.measured import Measured


@given(st.integers(0, 500), st.integers(1, 500))
def test_without_excess_it_is_wilsons_interval(passed: int, failed: int) -> None:
    found = generalised_wilson(passed, failed, passed, failed)
    low, high = wilson(passed / (passed + failed), passed + failed)
    assert found.low == pytest.approx(float(low), abs=1e-12)
    assert found.high == pytest.approx(float(high), abs=1e-12)


@given(st.floats(1, 500), st.floats(1, 500), st.floats(0, 200), st.floats(0, 200))
def test_its_bounds_solve_the_stated_equation(p: float, f: float, excess_p: float, excess_f: float) -> None:
    found, n = generalised_wilson(p, f, p + excess_p, f + excess_f), p + f
    for e in (found.low, found.high):
        if 1e-9 < e < 1 - 1e-9:
            variance = e * (1 - e) / n + ((1 - e) ** 2 * excess_p + e**2 * excess_f) / n**2
            assert (found.value - e) ** 2 == pytest.approx(variance, rel=1e-6, abs=1e-12)


def test_background_in_the_failing_probes_alone_widens_it_below_more() -> None:
    found = generalised_wilson(900, 100, 900, 500)
    union = efficiency(900, 1000, 900, 1400).measured()
    assert found.low == pytest.approx(0.9 - 0.02, abs=0.004)
    # both know the excess; the union adds Wilson's with an effective number, so it is never narrower than Fieller's
    other = fieller(Sums(*map(np.array, (900.0, 100.0, 900.0, 500.0, 0.0, 1400.0))))
    assert union.high - union.low >= float(other[1] - other[0]) - 1e-12
    assert found.high - found.low == pytest.approx(union.high - union.low, rel=0.15)


@pytest.mark.parametrize(("a", "b"), [(Measured(0.8, 0.78, 0.82, 100), Measured(0.9, 0.89, 0.91, 100))])
def test_a_ratio_of_well_known_numbers_has_the_error_of_propagation(a: Measured, b: Measured) -> None:
    found = ratio(a, b)
    expected = found.value * np.hypot(0.02 / 0.8, 0.01 / 0.9)
    assert found.value == pytest.approx(0.8 / 0.9)
    assert found.high - found.value == pytest.approx(expected, rel=0.02)
    assert found.value - found.low == pytest.approx(expected, rel=0.02)


def test_a_ratio_to_a_number_that_may_be_zero_has_no_bound() -> None:
    assert ratio(Measured(0.5, 0.4, 0.6, 10), Measured(0.1, -0.1, 0.3, 10)).high == np.inf


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sweights", "sideband"])
def test_subtraction_finds_the_efficiency_with_an_interval_that_holds(method: str) -> None:
    toy = Toy(background_efficiency=0.3, decay=1e6) if method == "sideband" else Toy(background_efficiency=0.3)
    rng, n = np.random.default_rng(8), 60 if method == "sweights" else 400
    shapes = Shapes("gauss", "exponential", True, True)
    found = []
    for _ in range(n):
        probes = toy.draw(rng)
        found.append(by_sidebands(probes, (80, 102)) if method == "sideband" else by_sweights(probes, shapes))
    assert not any(each.failure for each in found)
    values = np.array([each.efficiency[:3] for each in found])
    error = values[:, 0].std()
    assert abs(values[:, 0].mean() - toy.efficiency) < 0.1 * error + 3 * error / np.sqrt(n)
    covered = np.mean((values[:, 1] <= toy.efficiency) & (toy.efficiency <= values[:, 2]))
    assert abs(covered - 0.683) < 3 * np.sqrt(0.683 * 0.317 / n)


@pytest.mark.parametrize("method", ["sweights", "sideband"])
def test_the_unit_of_weights_does_not_matter(method: str) -> None:
    """With weights of 0.01 each, as of a luminosity, intervals were nine times as long."""
    probes = Toy(n=3000).draw(np.random.default_rng(4))
    scaled = Histograms(
        probes.edges,
        *(0.01 * n for n in (probes.passing, probes.failing)),
        *(1e-4 * n for n in (probes.passing2, probes.failing2)),
    )
    one, other = (
        by_sidebands(each) if method == "sideband" else by_sweights(each, Shapes("gauss", "exponential", True, True))
        for each in (probes, scaled)
    )
    assert other.efficiency[:3] == pytest.approx(one.efficiency[:3], abs=2e-4)


def test_sweights_sum_to_the_fitted_signal() -> None:
    probes = Toy(n=5000).draw(np.random.default_rng(4))
    found = by_sweights(probes, Shapes("gauss", "exponential", True, True))
    assert found.passing is not None
    assert found.failing is not None
    fitted = (found.passing.total - found.passing.background + found.failing.total - found.failing.background).sum()
    assert found.n_signal.value == pytest.approx(float(fitted), rel=1e-3)


def test_a_range_without_sidebands_fails_with_a_reason() -> None:
    assert "no sideband" in by_sidebands(Toy().asimov(), (59, 130)).failure
