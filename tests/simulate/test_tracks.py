"""The tracks' sample: each distribution is what its docstring states, and the likelihood ratio is the exact one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from deviations import assert_mean, assert_share, simulated
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import softmax
from scipy.stats import betabinom, kstest, norm
from sklearn.metrics import roc_auc_score

from pidlab.errors import UsageError
from pidlab.simulate import tracks_core, tracks_log_density, tracks_log_likelihoods
from pidlab.simulate.tracks import DETECTORS

Branches = dict[str, NDArray[Any]]
ELECTRON, PION, KAON, PROTON = range(4)
MASS = np.array([0.000511, 0.13957, 0.49368, 0.93827])
ABUNDANCE = np.array([0.1, 0.5, 0.2, 0.2])
N_TRACKS = 200_000
PAIRS = ((PION, KAON), (KAON, PROTON), (ELECTRON, PION))


@pytest.fixture(scope="module")
def tracks() -> Branches:
    return dict(simulated("tracks", N_TRACKS, 7).branches)


@pytest.fixture(scope="module")
def log_likelihoods(tracks: Branches) -> dict[str, NDArray[np.float64]]:
    return tracks_log_likelihoods(tracks)


def measured(tracks: Branches, detector: str) -> NDArray[np.bool_]:
    return tracks["has_tof"] if detector == "tof" else np.ones(len(tracks["p"]), bool)


# --- tracks


def test_species_have_the_stated_abundances_and_nothing_but_detectors_knows_them(tracks: Branches) -> None:
    species = tracks["species"]
    for i, share in enumerate(ABUNDANCE):
        assert_share(species == i, share)
        here = species == i
        log_p = np.log(tracks["p"][here] / 0.2) / np.log(5 / 0.2)
        assert kstest(log_p, "uniform").pvalue > 1e-4
        assert kstest((tracks["eta"][here] + 0.9) / 1.8, "uniform").pvalue > 1e-4
        assert_share(tracks["charge"][here] == 1, 0.5)
        assert_share(tracks["its_n"][here] == 4, 0.75)
        for sector in range(1, 7):
            assert_share(tracks["sector"][here] == sector, 1 / 6)
    assert set(np.unique(tracks["its_n"])) == {3, 4}
    assert set(np.unique(tracks["sector"])) == {1, 2, 3, 4, 5, 6}
    assert set(np.unique(tracks["charge"])) == {-1, 1}


def test_clusters_are_beta_binomial_above_the_fewest(tracks: Branches) -> None:
    stated = betabinom(89, 10, 2)
    assert tracks["tpc_n"].max() == 159
    assert tracks["tpc_n"].min() > 70
    assert_mean(tracks["tpc_n"], 70 + stated.mean())
    for n in (120, 140, 150, 158):
        assert_share(tracks["tpc_n"] <= n, stated.cdf(n - 70))


def test_a_third_of_the_tracks_reach_the_time_of_flight_whatever_they_are(tracks: Branches) -> None:
    reaches, p = tracks["has_tof"], tracks["p"]
    assert reaches.dtype == bool
    assert 0.33 < reaches.mean() < 0.36
    assert not reaches[p < 0.3].any()
    for species, (low, high) in itertools.product(range(4), ((0.3, 0.6), (0.6, 1.5), (1.5, 5.0))):
        here = (tracks["species"] == species) & (p > low) & (p < high)
        assert_mean(reaches[here] - 0.45 * (1 - np.exp((0.3 - p[here]) / 0.15)), 0.0)
    assert (tracks["tof_beta"][~reaches] == -999).all()
    assert tracks["tof_beta"][reaches].min() > 0


def test_runs_events_and_weights(tracks: Branches) -> None:
    keys = np.stack([tracks["run"].astype(np.int64), tracks["event"]], axis=1)
    assert len(np.unique(keys, axis=0)) == N_TRACKS
    assert (tracks["run"].min(), tracks["run"].max()) == (244_000, 244_000 + N_TRACKS // 5000 - 1)
    assert (tracks["event"].min(), tracks["event"].max()) == (1, 5000)
    p, eta, w = (tracks[name].astype(float) for name in ("p", "eta", "w"))
    np.testing.assert_allclose(1 / w, 0.92 - 0.30 * np.exp(-p / 0.3) - 0.05 * (eta / 0.9) ** 2, rtol=1e-6)
    assert 1.08 < w.min() < w.max() < 1.41
    for species in range(4):
        assert_mean(w[tracks["species"] == species], w.mean())


# --- means and widths


def stated_core(detector: str, mass: float, track: Branches) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Mean, width and the tail's beginning, by the docstring's formulas."""
    p = track["p"].astype(float)
    beta, beta_gamma = p / np.hypot(p, mass), p / mass
    if detector == "tof":
        return beta, beta**2 * 0.299792458 * 0.080 / 3.7, np.full(len(p), 1.5)
    if detector == "its":
        xi = 0.1535 * 0.4985 * 0.0699 / beta**2  # MeV
        x = np.log10(beta_gamma)
        above = 4.6052 * x - 4.4355 + 0.14921 * np.clip(2.8716 - x, 0, None) ** 3.2546
        delta = np.where(x < 0.2015, 0.14 * 100 ** (x - 0.2015), above)  # silicon is a conductor here
        logarithms = np.log(2 * 0.510999 * beta_gamma**2 / 173e-6) + np.log(xi / 173e-6)
        mean = 1000 * xi * (logarithms + 0.2 - beta**2 - delta)
        n = track["its_n"]
        return mean, mean * np.where(n == 4, 0.104, 0.116), 1.2 * np.sqrt(n / 4)
    power = beta**1.8631
    mean = 50 * 0.076176 / power * (10.632 - power - np.log(0.13279e-4 + beta_gamma**-1.9479))
    mean *= 1 + 0.015 * (track["eta"].astype(float) ** 2 - 0.27)
    mean *= np.array([0.998, 1.003, 1.000, 0.997, 1.004, 0.998])[track["sector"] - 1]
    share = track["tpc_n"] / 159
    return mean, mean * 0.065 * share**-0.46, 2 * np.sqrt(share)


@pytest.mark.parametrize("species", range(1, 4))
def test_the_mean_loss_in_silicon_has_no_step_where_the_density_effect_begins(species: int) -> None:
    begins = MASS[species] * 10**0.2015
    (below, above), _ = tracks_core("its", species, begins * np.array([1 - 1e-4, 1 + 1e-4]))
    # the slope is -1.3 per unit of the logarithm of p; δ, .14 of a bracket of 17, is rounded by .001
    np.testing.assert_allclose(above, below, rtol=5e-4, atol=0)


@pytest.mark.parametrize("species", range(4))
@pytest.mark.parametrize("detector", DETECTORS)
def test_measurements_follow_the_stated_density(detector: str, species: int, tracks: Branches) -> None:
    here = (tracks["species"] == species) & measured(tracks, detector)
    track = {name: values[here] for name, values in tracks.items()}
    mean, width, k = stated_core(detector, MASS[species], track)
    t = (track[DETECTORS[detector]] - mean) / width * (-1 if detector == "tof" else 1)
    core, tail = np.sqrt(2 * np.pi) * norm.cdf(k), np.exp(-(k**2) / 2) / k
    # the distribution function of the density of the docstring, integrated by hand
    beyond = 1 - tail * np.exp(-k * (np.maximum(t, k) - k)) / (core + tail)
    below = np.sqrt(2 * np.pi) * norm.cdf(t) / (core + tail)
    assert kstest(np.where(t < k, below, beyond), "uniform").pvalue > 1e-4
    assert_share(t >= k, float(np.mean(tail / (core + tail))))


@pytest.mark.parametrize("detector", DETECTORS)
def test_densities_integrate_to_one_and_their_cores_are_gaussian(detector: str) -> None:
    for species, p, n in itertools.product(range(4), (0.2, 0.7, 5.0), (3, 4)):
        track = {
            "p": np.array([p]), "eta": np.array([0.6]), "sector": np.array([2]),
            "tpc_n": np.array([30 * n]), "its_n": np.array([n]),
        }  # fmt: skip

        def log_density(x: float, species: int = species, track: Branches = track) -> float:
            return float(tracks_log_density(detector, species, [x], track)[0])

        counts = {"tpc": 30 * n, "its": n, "tof": None}
        mean, width = (float(v) for v in tracks_core(detector, species, p, eta=0.6, n=counts[detector], sector=2))
        borders = [mean - 40 * width, mean - width, mean + width, mean + 40 * width]
        integral = sum(quad(lambda x: np.exp(log_density(x)), a, b)[0] for a, b in itertools.pairwise(borders))
        assert integral == pytest.approx(1, abs=1e-6)
        # what a fit of the core is to find: the mode, and the width of the Gaussian on both sides of it
        top = log_density(mean)
        for t in (-1.0, -0.5, 0.5, 0.9):
            assert log_density(mean + t * width) - top == pytest.approx(-(t**2) / 2, abs=1e-9)


def test_ionisation_has_its_minimum_rise_and_plateau() -> None:
    p = np.geomspace(0.2, 5, 400)
    for detector, minimum, rise in (("tpc", 50, 1.6), ("its", 78, 1.08)):
        mean, _ = tracks_core(detector, PION, p)
        assert 3 < p[np.argmin(mean)] / MASS[PION] < 6
        assert mean.min() == pytest.approx(minimum, rel=0.01)
        assert tracks_core(detector, ELECTRON, 5.0)[0] / mean.min() == pytest.approx(rise, rel=0.02)
        # the same velocity, the same ionisation
        scaled = p * MASS[PROTON] / MASS[KAON]
        np.testing.assert_allclose(
            tracks_core(detector, PROTON, scaled)[0], tracks_core(detector, KAON, p)[0], rtol=1e-4
        )


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_fit_of_the_core_in_momentum_bins_finds_the_stated_mean_and_width(detector: str) -> None:
    """Within one width, which no tail reaches, moments of the pulls are those of a Gaussian cut at one width."""
    tracks = dict(simulated("tracks", 600_000, 19).branches)
    here = (tracks["species"] == PION) & measured(tracks, detector)
    p, x = tracks["p"][here].astype(float), tracks[DETECTORS[detector]][here].astype(float)
    mean, width = tracks_core(detector, PION, p)
    pull = (x - mean) / width
    inside = abs(pull) < 1
    variance = 1 - 2 * norm.pdf(1) / (norm.cdf(1) - norm.cdf(-1))
    for bin_ in np.array_split(np.argsort(p), 20):
        core = pull[bin_][inside[bin_]]
        assert_mean(core, 0.0)
        assert_mean(core**2, variance)
    whole = pull[inside]
    assert abs(whole.mean()) < 5 * whole.std() / np.sqrt(len(whole)) + 0.001


def test_what_is_left_out_of_the_core_is_averaged() -> None:
    one = tracks_core("tpc", KAON, 1.0, eta=0.3, n=150, sector=5)
    assert [v.shape for v in one] == [(), ()]
    grid = tracks_core("tpc", KAON, np.ones((2, 1)), eta=np.linspace(-0.9, 0.9, 1001), sector=3)
    assert grid[0].shape == grid[1].shape == (2, 1001)
    assert grid[0].mean() == pytest.approx(float(tracks_core("tpc", KAON, 1.0)[0]), rel=1e-4)
    few, many = (tracks_core("tpc", KAON, 1.0, n=n)[1] for n in (90, 159))
    assert few / many == pytest.approx((90 / 159) ** -0.46, rel=0.01)
    assert many < tracks_core("tpc", KAON, 1.0)[1] < few
    assert (
        tracks_core("its", KAON, 1.0, n=4)[1] < tracks_core("its", KAON, 1.0)[1] < tracks_core("its", KAON, 1.0, n=3)[1]
    )


def test_a_detector_that_does_not_exist_is_said() -> None:
    with pytest.raises(UsageError, match="the tracks sample has no detector 'tpx': did you mean 'tpc'"):
        tracks_core("tpx", PION, 1.0)
    with pytest.raises(UsageError, match="no detector 'tpx'"):
        tracks_log_density("tpx", PION, [50.0], {"p": np.ones(1)})


# --- the likelihood ratio


def test_posteriors_are_calibrated_in_the_whole_sample_and_in_momentum_bins(
    tracks: Branches, log_likelihoods: dict[str, NDArray[np.float64]]
) -> None:
    """The share of a species among tracks of equal posterior is the posterior: only exact densities do that."""
    posterior = softmax(sum(log_likelihoods.values()) + np.log(ABUNDANCE), axis=1)
    for low, high in ((0.2, 5), (0.2, 0.5), (0.5, 1), (1, 2), (2, 5)):
        here = (tracks["p"] >= low) & (tracks["p"] < high)
        for species in range(4):
            expected, is_species = posterior[here, species], tracks["species"][here] == species
            for slice_ in np.array_split(np.argsort(expected), 20):
                deviation = is_species[slice_].sum() - expected[slice_].sum()
                assert abs(deviation) < 5 * np.sqrt(np.sum(expected[slice_] * (1 - expected[slice_]))) + 1


def test_a_track_without_time_of_flight_learns_nothing_from_it(
    tracks: Branches, log_likelihoods: dict[str, NDArray[np.float64]]
) -> None:
    assert {name: values.shape for name, values in log_likelihoods.items()} == dict.fromkeys(DETECTORS, (N_TRACKS, 4))
    assert (log_likelihoods["tof"][~tracks["has_tof"]] == 0).all()
    assert (log_likelihoods["tof"][tracks["has_tof"]] != 0).all()
    assert all(np.isfinite(values).all() for values in log_likelihoods.values())


@pytest.mark.parametrize("detector", DETECTORS)
def test_auc_of_the_exact_ratio_is_the_integral_over_the_densities(detector: str, tracks: Branches) -> None:
    """Measurements are drawn once; the integral runs over all measurements that the same tracks could have made."""
    rows = np.flatnonzero(measured(tracks, detector))
    chosen = rows[np.argsort(tracks["p"][rows])][15 :: len(rows) // 2000]  # all momenta evenly
    track = {name: values[chosen] for name, values in tracks.items()}
    for one, other in PAIRS:
        cores = [tracks_core(detector, species, track["p"]) for species in (one, other)]
        low = np.min([mean - 12 * width for mean, width in cores], axis=0)
        high = np.max([mean + 12 * width for mean, width in cores], axis=0)
        step = (high - low) / 400
        mass, ratio = np.empty((2, 400, len(chosen))), np.empty((400, len(chosen)))
        for i in range(400):
            densities = [
                tracks_log_density(detector, species, low + (i + 0.5) * step, track) for species in (one, other)
            ]
            mass[:, i], ratio[i] = np.exp(densities) * step, densities[0] - densities[1]
        order = np.argsort(ratio.ravel())
        ones, others = (m.ravel()[order] / len(chosen) for m in mass)
        assert ones.sum() == pytest.approx(1, abs=2e-3)
        below = np.cumsum(others) - others / 2
        integrated = float(np.sum(ones * below) / (ones.sum() * others.sum()))

        pair = np.isin(tracks["species"], (one, other)) & measured(tracks, detector)
        all_ll = tracks_log_likelihoods({name: values[pair] for name, values in tracks.items()})[detector]
        sampled = roc_auc_score(tracks["species"][pair] == one, all_ll[:, one] - all_ll[:, other])
        n_fewer = np.bincount(tracks["species"][pair]).take([one, other]).min()
        error = np.sqrt(integrated * (1 - integrated) / n_fewer)  # the largest that the error of an AUC can be
        assert abs(sampled - integrated) < 3 * error + 5e-4


def test_every_detector_adds_what_the_others_lack(
    tracks: Branches, log_likelihoods: dict[str, NDArray[np.float64]]
) -> None:
    together = sum(log_likelihoods.values())

    def auc(scores: NDArray[np.float64], one: int, other: int) -> float:
        pair = np.isin(tracks["species"], (one, other))
        return float(roc_auc_score(tracks["species"][pair] == one, (scores[:, one] - scores[:, other])[pair]))

    for one, other in ((PION, KAON), (KAON, PROTON)):
        whole = auc(together, one, other)
        for detector, alone in log_likelihoods.items():
            assert auc(alone, one, other) < whole - 0.01
            assert auc(together - alone, one, other) < whole - 0.002, detector
    assert 0.98 < auc(together, PION, KAON) < 0.985
    assert 0.9975 < auc(together, ELECTRON, PION) < 0.9999


def test_knowing_momentum_alone_loses_next_to_nothing(tracks: Branches) -> None:
    """eta, sector and the numbers of samples matter little: a likelihood in bins of momentum can be nearly exact."""
    typical = tracks | {
        "eta": np.full(N_TRACKS, np.sqrt(0.27)), "sector": np.full(N_TRACKS, 3),
        "tpc_n": np.full(N_TRACKS, 144), "its_n": np.full(N_TRACKS, 4),
    }  # fmt: skip
    for one, other in PAIRS:
        pair = np.isin(tracks["species"], (one, other))
        exact, blind = (
            sum(tracks_log_likelihoods({n: v[pair] for n, v in branches.items()}).values())
            for branches in (tracks, typical)
        )
        auc = [roc_auc_score(tracks["species"][pair] == one, s[:, one] - s[:, other]) for s in (exact, blind)]
        assert -1e-5 < auc[0] - auc[1] < 0.0005
