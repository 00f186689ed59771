"""What the likelihood of a band says that is known, where another class is described by few events."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from pidlab.models.band.counts import Binned, Template
from pidlab.models.band.curves import Array, Basis
from pidlab.models.band.likelihood import Likelihood
from pidlab.models.band.shapes import ShapeOptions
from pidlab.models.band.start import WorkingBand

EDGES = np.linspace(-4.5, 4.5, 55)
N_BINS, N_SIGNAL, N_OTHER = 12, 600, 300  # events of signal and other class in each bin


def cells(shift: float, width: float) -> Array:
    """The shares (m,) of a Gaussian in the cells."""
    shares = np.diff(norm.cdf(EDGES, shift, width))
    return np.asarray(shares / shares.sum())


def likelihood_with(density: Array, variance: Array) -> tuple[Likelihood, Array]:
    """A band in which 30 % are of another class with this density (J, m), and the coefficients of the truth."""
    x = np.linspace(1, 6, N_BINS)[:, None]
    basis = Basis(np.array([1.0]), np.array([6.0]), powers=((0,), (1,)))
    flat, none = np.array([1.0, 0.0]), np.zeros(2)
    band = WorkingBand(basis, none, flat, flat, np.zeros((3, 2, 2)))
    template = Template(density, variance, np.full(N_BINS, 0.3), np.full(N_BINS, float(N_OTHER)))
    counts = np.tile(N_SIGNAL * (0.7 * cells(0, 1) + 0.3 * cells(-0.8, 1)), (N_BINS, 1))
    rank = np.linspace(-1, 1, N_BINS)[:, None]
    found = Likelihood(Binned(EDGES, counts, x, rank, [template]), band, ShapeOptions("polynomial", 1, "symmetric"))
    for name in ("k_below", "k_above"):
        found.parameters[name].coefficients[0] = np.log(4.0)  # a Gaussian
    for name in found.mixed:
        found.parameters[name].coefficients[0] = -12.0  # and nothing beside it
    found.parameters["mislabelled"].coefficients[0] = 0.0
    return found, found.start()


def test_what_is_known_of_a_share_is_what_the_true_density_tells_and_not_its_noise() -> None:
    """Another class .8 widths from the signal, of which 300 events are in each of 12 bins."""
    truth = np.tile(cells(-0.8, 1), (N_BINS, 1))
    exact, theta = likelihood_with(truth, np.zeros_like(truth))
    (share,) = range(*exact.slices["mislabelled"].indices(len(theta)))
    expected = exact.derivatives(theta)[1][share, share]
    rng = np.random.default_rng(1)
    apparent, corrected = [], []
    for _ in range(40):
        noisy = rng.multinomial(N_OTHER, truth[0], size=N_BINS) / N_OTHER + 1e-6
        likelihood, _ = likelihood_with(noisy, truth / N_OTHER)
        information = likelihood.derivatives(theta)[1]
        apparent.append(information[share, share])
        corrected.append(likelihood.without_noise(theta, information)[share, share])
    # of cells with a few events each, which are nowhere averaged, the noise tells a fifth more than there is to know
    assert np.mean(apparent) > 1.1 * expected
    error = np.std(corrected) / np.sqrt(len(corrected))
    assert error < 0.02 * expected
    assert abs(np.mean(corrected) - expected) < 0.04 * expected


def test_without_noise_all_that_is_told_is_known() -> None:
    truth = np.tile(cells(-0.8, 1), (N_BINS, 1))
    likelihood, theta = likelihood_with(truth, np.zeros_like(truth))
    information = likelihood.derivatives(theta)[1]
    np.testing.assert_allclose(
        likelihood.without_noise(theta, information), information, rtol=1e-6, atol=1e-6 * np.abs(information).max()
    )


def test_no_combination_of_coefficients_is_known_to_less_than_nothing() -> None:
    """Densities of so few events that the correction for their noise is larger than what they tell."""
    truth = np.tile(cells(-0.8, 1), (N_BINS, 1))
    likelihood, theta = likelihood_with(truth, truth / 15)
    information = likelihood.derivatives(theta)[1]
    left = likelihood.without_noise(theta, information)
    unit = np.sqrt(np.diag(information))
    assert np.linalg.eigvalsh(left / np.outer(unit, unit)).min() > -1e-8
    prior = np.zeros_like(left)
    for name, parameter in likelihood.parameters.items():
        prior[likelihood.slices[name], likelihood.slices[name]] = parameter.prior_precision()
    share = np.zeros(len(theta))
    share[[likelihood.slices["mislabelled"].start, likelihood.slices["other_0"].start]] = 1
    before, after, nothing = (share @ np.linalg.inv(each + prior) @ share for each in (information, left, 0 * left))
    assert before < 0.1 * nothing
    assert 0.9 * nothing < after < 1.0001 * nothing  # what is left is the prior
