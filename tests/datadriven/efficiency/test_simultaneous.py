"""Simultaneous fits find the efficiency that toys were made with, with intervals that hold, and say when they fail."""

from __future__ import annotations

import math

import numpy as np
import pytest
from probe_toys import Toy
from scipy.optimize import brentq
from scipy.stats import binom

from pidlab.datadriven.efficiency.estimate import Histograms, Shapes, estimate_from
from pidlab.datadriven.efficiency.simultaneous import _Likelihood, fit_efficiency
from pidlab.datadriven.efficiency.subtraction import by_sweights
from pidlab.datadriven.massfit.shapes import shape_of
from pidlab.errors import UsageError

GAUSS = Shapes("gauss", "exponential")


@pytest.mark.parametrize("efficiency", [0.05, 0.5, 0.97])
@pytest.mark.parametrize("share_background", [False, True])
def test_the_expectation_itself_gives_the_efficiency_of_the_signal(efficiency: float, share_background: bool) -> None:
    toy = Toy(n=20_000, efficiency=efficiency)
    found = fit_efficiency(toy.asimov(), Shapes("gauss", "exponential", True, share_background))
    assert not found.failure
    assert found.efficiency.value == pytest.approx(efficiency, abs=2e-4)  # 1e-2 of the error
    assert found.n_signal.value == pytest.approx(12_000, rel=1e-3)
    assert found.n_background[0].value == pytest.approx(2_400, rel=5e-3)
    assert found.chi_square < 0.05


def test_without_background_the_interval_is_that_of_the_binomial_likelihood() -> None:
    toy = Toy(n=400, background=1e-9)
    found = fit_efficiency(toy.asimov(), Shapes("gauss", "uniform"))
    passed, total = 0.85 * 400, 400.0

    def fall(p: float) -> float:
        rest = total - passed
        return passed * np.log(0.85 / p) + rest * np.log(0.15 / (1 - p)) - 0.5

    exact = brentq(fall, 0.7, 0.85), brentq(fall, 0.85, 0.95)
    # the fit has to allow some background under the peak, so it is wider by a few per cent
    length = exact[1] - exact[0]
    assert found.efficiency.low == pytest.approx(exact[0], abs=0.03 * length)
    assert found.efficiency.high == pytest.approx(exact[1], abs=0.03 * length)
    assert binom.cdf(passed, total, found.efficiency.low) > 0.5


@pytest.mark.parametrize("beyond", [1.01, -0.01])
def test_an_efficiency_beyond_the_end_is_given_at_the_end_and_as_it_is_beside_it(beyond: float) -> None:
    """Fluctuations of the background can be as if a negative number of electrons failed, or passed."""
    found = fit_efficiency(Toy(n=20_000, efficiency=beyond).asimov(), GAUSS)
    end = round(beyond)
    assert found.efficiency.value == pytest.approx(end, abs=1e-6)
    assert end in (found.efficiency.low, found.efficiency.high)
    assert found.unconstrained == pytest.approx(beyond, abs=2e-4)


def test_an_efficiency_inside_is_the_unconstrained_one_and_is_saved() -> None:
    found = fit_efficiency(Toy().draw(np.random.default_rng(1)), GAUSS)
    assert found.unconstrained == found.efficiency.value
    content = found.as_json()
    assert estimate_from(content).unconstrained == found.unconstrained
    del content["unconstrained"]  # as files of older versions are
    assert math.isnan(estimate_from(content).unconstrained)


@pytest.mark.parametrize("names", ["gauss exponential", "crystal_ball chebyshev:2", "double_gauss cms_shape"])
@pytest.mark.parametrize("shared", [True, False])
def test_the_gradient_is_that_of_the_likelihood(names: str, shared: bool) -> None:
    probes = Toy().draw(np.random.default_rng(1))
    signal, background = names.split()
    shapes = Shapes(signal, background, shared, not shared)
    likelihood = _Likelihood(probes, shape_of(signal), shape_of(background), shapes)
    at = np.array([parameter.start for parameter in likelihood.parameters])
    steps = np.diag(1e-4 * np.array(likelihood.sizes))
    numerical = [(likelihood(at + step) - likelihood(at - step)) / (2 * step.sum()) for step in steps]
    scale = np.array(likelihood.sizes)
    np.testing.assert_allclose(likelihood.gradient(at) * scale, np.array(numerical) * scale, rtol=2e-4, atol=2e-3)


@pytest.mark.slow
def test_the_same_seeds_give_intervals_that_hold_and_no_bias() -> None:
    # A quick look: benchmarks/efficiency_coverage.py has 500 toys of several kinds.
    toy, rng, n = Toy(), np.random.default_rng(5), 80
    found = [fit_efficiency(toy.draw(rng), GAUSS) for _ in range(n)]
    assert not any(each.failure for each in found)
    values = np.array([each.efficiency[:3] for each in found])
    error = (values[:, 2] - values[:, 1]).mean() / 2
    covered = np.mean((values[:, 1] <= toy.efficiency) & (toy.efficiency <= values[:, 2]))
    assert abs(covered - 0.683) < 3 * np.sqrt(0.683 * 0.317 / n)
    assert abs(values[:, 0].mean() - toy.efficiency) < 0.1 * error + 3 * error / np.sqrt(n)
    assert values[:, 0].std() == pytest.approx(error, rel=0.25)


def test_weights_scale_errors_as_fewer_probes_do() -> None:
    plain = fit_efficiency(Toy(n=4000).asimov(), GAUSS)
    p = Toy(n=4000).asimov()
    weighted = fit_efficiency(Histograms(p.edges, 3 * p.passing, 3 * p.failing, 9 * p.passing, 9 * p.failing), GAUSS)
    assert weighted.efficiency.value == pytest.approx(plain.efficiency.value, abs=1e-4)
    assert weighted.efficiency.low == pytest.approx(plain.efficiency.low, abs=2e-4)
    assert weighted.n_signal.value == pytest.approx(3 * plain.n_signal.value, rel=1e-3)


@pytest.mark.parametrize("method", ["fit", "sweights"])
def test_heavy_weights_keep_intervals_that_hold(method: str) -> None:
    """One weight in ten of 50: with a scale for each bin of the mass the intervals covered .28 and .17."""
    toy, rng, pulls = Toy(n=2000, n_bins=30), np.random.default_rng(12), []
    for _ in range(60):
        drawn = toy.draw(rng)
        heavy = [rng.binomial(n.astype(int), 0.1) for n in (drawn.passing, drawn.failing)]
        light = [n - h for n, h in zip((drawn.passing, drawn.failing), heavy, strict=True)]
        sums = [[n + 50.0**power * h for n, h in zip(light, heavy, strict=True)] for power in (1, 2)]
        probes = Histograms(toy.edges, *sums[0], *sums[1])
        shared = Shapes("gauss", "exponential", True, True)
        found = (fit_efficiency(probes, GAUSS) if method == "fit" else by_sweights(probes, shared)).efficiency
        pulls.append((found.value - toy.efficiency) / (found.high - found.low) * 2)
    assert abs(np.mean(pulls)) < 0.5  # three standard deviations of the mean are 0.4
    assert 0.7 < np.std(pulls) < 1.4
    assert np.mean(np.abs(pulls) < 1) > 0.5


def test_all_probes_passing_gives_a_one_sided_interval() -> None:
    toy = Toy(n=300, efficiency=1.0, background_efficiency=1.0, background=0.1)
    found = fit_efficiency(toy.draw(np.random.default_rng(2)), GAUSS)
    assert not found.failure
    assert found.efficiency.value > 0.999
    assert found.efficiency.high == 1.0
    assert 0.98 < found.efficiency.low < 1.0


def test_a_wrong_background_is_told_by_the_goodness_of_fit() -> None:
    probes = Toy(n=60_000, background=0.6).draw(np.random.default_rng(3))
    assert fit_efficiency(probes, Shapes("gauss", "chebyshev:1")).p_value < 1e-6
    assert fit_efficiency(probes, Shapes("gauss", "exponential")).p_value > 1e-3


def test_empty_bins_and_weights_of_both_signs_fail_with_a_reason() -> None:
    nothing = np.zeros(60)
    empty = fit_efficiency(Histograms(Toy().edges, nothing, nothing, nothing, nothing), GAUSS)
    assert not empty.usable
    assert "no probes" in empty.failure
    negative = Toy().draw(np.random.default_rng(1))
    negative.failing[3] = -2.0
    assert "both signs" in fit_efficiency(negative, GAUSS).failure


def test_an_unknown_shape_is_told_with_its_neighbours() -> None:
    with pytest.raises(UsageError, match="did you mean"):
        fit_efficiency(Toy().asimov(), Shapes("gaus", "exponential"))
