"""The spectrometer's sample: each distribution is what its docstring states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from deviations import assert_mean, assert_share, simulated
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import gammainc
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from pidlab.simulate.shms import EVENTS_PER_RUN, FIRST_RUN, PION_THRESHOLD

Branches = dict[str, NDArray[Any]]
CENTRAL = np.array([2.0, 2.4, 2.8, 3.4, 4.2])
N_SHMS = 200_000


@pytest.fixture(scope="module")
def shms() -> Branches:
    return {k: v.astype(float) if v.dtype == np.float32 else v for k, v in draw_shms(N_SHMS, 11).items()}


def draw_shms(n: int, seed: int) -> Branches:
    return dict(simulated("shms", n, seed).branches)


@pytest.fixture(scope="module")
def electron(shms: Branches) -> NDArray[np.bool_]:
    return shms["species"] == 0


@pytest.fixture(scope="module")
def clean(shms: Branches) -> NDArray[np.bool_]:
    """Far from the dead block, without wild tracks and piled-up energy."""
    far = np.maximum(abs(shms["P.cal.xtrack"] - 22.5), abs(shms["P.cal.ytrack"] - 13.5)) > 12
    return far & (shms["P.gtr.p"] < 11) & (shms["P.cal.etottracknorm"] < 2)


def setting(shms: Branches) -> NDArray[np.int64]:
    return np.asarray((shms["run"] - FIRST_RUN) % 5)


def test_pions_are_the_majority_by_the_stated_ratios(shms: Branches, electron: NDArray[np.bool_]) -> None:
    for i, pions in enumerate([8, 6, 5, 4, 4]):
        assert_share(electron[setting(shms) == i], 1 / (1 + pions))
    assert set(np.unique(shms["species"])) == {0, 1}


def test_event_is_unique_only_with_its_run_and_only_as_integer(shms: Branches) -> None:
    keys = np.stack([shms["run"].astype(np.int64), shms["event"]], axis=1)
    assert len(np.unique(keys, axis=0)) == N_SHMS
    assert len(np.unique(shms["event"])) == 3 * EVENTS_PER_RUN
    assert len(np.unique(keys.astype(np.float32), axis=0)) < 0.7 * N_SHMS
    assert shms["event"].dtype == np.int64
    assert shms["event"].max() > 2**31
    assert (np.diff(shms["run"]) >= 0).all()
    assert len(np.unique(shms["run"])) == N_SHMS // EVENTS_PER_RUN


def test_momentum_and_dp_agree_with_the_setting_of_the_run(shms: Branches) -> None:
    expected = CENTRAL[setting(shms)] * (1 + shms["P.gtr.dp"] / 100)
    np.testing.assert_allclose(shms["P.gtr.p"], expected, rtol=1e-6)
    good = shms["P.gtr.p"] < 11
    assert shms["P.gtr.dp"][good].min() >= -12
    assert shms["P.gtr.dp"][good].max() <= 24
    assert_share(~good, 1 / 2000)
    assert shms["P.gtr.p"][~good].min() >= 50
    assert 700 < shms["P.gtr.p"][~good].max() <= 1000
    for energy in ("P.cal.etottracknorm", "P.cal.eprtracknorm"):  # a wild momentum is what they were divided by
        assert np.median(shms[energy][~good]) < 0.05 * np.median(shms[energy][good])


def test_electrons_dp_is_uniform_and_pions_softer(shms: Branches, electron: NDArray[np.bool_]) -> None:
    u = (shms["P.gtr.dp"] + 12) / 36
    good = u <= 1
    assert_mean(u[good & electron], 1 / 2)
    assert_mean(u[good & ~electron], 1 / (1 + 1.15))


def test_calorimeter_resolution_of_electrons(
    shms: Branches, electron: NDArray[np.bool_], clean: NDArray[np.bool_]
) -> None:
    sigma = np.hypot(0.06 / np.sqrt(shms["P.gtr.p"]), 0.02)
    pull = (shms["P.cal.etottracknorm"] - 1) / sigma
    upper = electron & clean & (pull > 0)  # the half above 1, which radiation does not fill
    assert_mean(pull[upper] ** 2, 1.0)
    for i in range(5):
        assert_mean(pull[upper & (setting(shms) == i)] ** 2, 1.0)
    assert_share(pull[electron & clean] > 0, 0.5 * 0.92 + 0.08 * chance_above_one_after_radiation())


def chance_above_one_after_radiation() -> float:
    """P(r g > 1 - …) for a normal resolution of 4 % and an exponential loss of mean 0.12, by integration."""
    return float(quad(lambda lost: np.exp(-lost / 0.12) / 0.12 * norm.sf(1 / (1 - lost), 1, 0.041), 0, 0.9)[0])


def test_preshower_share_of_electrons_is_the_shower_profile(
    shms: Branches, electron: NDArray[np.bool_], clean: NDArray[np.bool_]
) -> None:
    share = shms["P.cal.eprtracknorm"] / shms["P.cal.etottracknorm"]
    depth = 10 / 2.74 + 0.4

    def mean_share(p: float) -> float:
        a = 1 + 0.5 * (np.log(p / 0.015) - 0.5)
        shower = quad(lambda d: np.exp(-d / 1.2) / 1.2 * gammainc(a, 0.5 * (depth - d)), 0, depth)[0]
        return float(shower + (1 - shower) * 0.06 / p)  # 10 cm of 6 MeV/cm by the track itself

    p = shms["P.gtr.p"]
    grid = np.linspace(1.7, 5.3, 20)
    expected = np.interp(p, grid, [mean_share(at) for at in grid])
    for low, high in ((1.7, 5.3), (1.7, 2.2), (4.2, 5.3)):
        inside = electron & clean & (p > low) & (p < high)
        assert_mean((share / expected)[inside], 1.0)


def test_pions_have_a_minimum_ionising_peak_and_reach_full_energy(
    shms: Branches, electron: NDArray[np.bool_], clean: NDArray[np.bool_]
) -> None:
    eop, pion = shms["P.cal.etottracknorm"], ~electron & clean
    counts, edges = np.histogram((eop * shms["P.gtr.p"])[pion], bins=40, range=(0.0, 0.8))
    peak = edges[np.argmax(counts)] + 0.01
    assert 0.27 < peak < 0.35  # 60 cm of 6 MeV/cm, less 1.27 of 12 % from the mean to the mode of Moyal's distribution
    like_electrons = pion & (eop > 0.85) & (eop < 1.15)
    assert 0.01 < like_electrons.sum() / pion.sum() < 0.05
    preshower = shms["P.cal.eprtracknorm"]
    assert np.median(preshower[like_electrons]) < 0.4 * np.median(preshower[electron & clean])


def test_dead_block_loses_the_shower_and_not_the_preshower(
    shms: Branches, electron: NDArray[np.bool_], clean: NDArray[np.bool_]
) -> None:
    x, y = shms["P.cal.xtrack"], shms["P.cal.ytrack"]
    core = electron & (np.maximum(abs(x - 22.5), abs(y - 13.5)) < 2) & (shms["P.gtr.p"] < 11)
    assert core.sum() > 100
    total, preshower = shms["P.cal.etottracknorm"], shms["P.cal.eprtracknorm"]
    behind = total - preshower
    inside = [norm.cdf(4.5, u, 2) - norm.cdf(-4.5, u, 2) for u in (x[core] - 22.5, y[core] - 13.5)]
    left = 1 - 0.8 * inside[0] * inside[1]
    assert left.max() < 0.4
    assert np.median(behind[core] / left) == pytest.approx(np.median(behind[electron & clean]), rel=0.03)
    spread = preshower[electron & clean].std() / np.sqrt(core.sum())
    assert abs(preshower[core].mean() - preshower[electron & clean].mean()) < 5 * spread
    assert_share(total[electron & clean] > 0.75, 0.99)


def test_cherenkov_threshold_of_pions(shms: Branches, electron: NDArray[np.bool_]) -> None:
    assert pytest.approx(2.65, abs=0.01) == PION_THRESHOLD
    npe, p = shms["P.hgcer.npeSum"], shms["P.gtr.p"]
    seen = (npe != -999) & (abs(shms["P.cal.xtrack"]) > 12) & (p < 11)  # away from where the mirrors meet
    assert_mean(npe[seen & electron], 11.0)
    assert npe[seen & electron].var() > 1.4 * 11  # Poisson, one photo-electron's width, light collection
    for low, high in ((1.8, 2.2), (2.2, 2.6), (2.8, 3.0), (3.4, 3.6), (4.2, 4.5), (4.8, 5.2)):
        inside = seen & ~electron & (p > low) & (p < high)
        light = np.maximum(1 - (PION_THRESHOLD / p[inside]) ** 2, 0)
        expected = light + 0.03 * (1 - light) ** 2 / 2  # a knock-on electron radiates a uniform part, if that is more
        assert_mean(npe[inside] - 11 * expected, 0.0)
        assert low > PION_THRESHOLD or 0.01 < (npe[inside] > 2).mean() < 0.03


def test_mirrors_lose_light_where_they_meet(shms: Branches, electron: NDArray[np.bool_]) -> None:
    npe, x = shms["P.hgcer.npeSum"], shms["P.cal.xtrack"]
    middle = electron & (npe != -999) & (abs(x) < 0.5)
    assert_mean(npe[middle] - 11 * (1 - 0.6 * np.exp(-0.5 * (x[middle] / 3) ** 2)), 0.0)


def test_time_of_flight_says_little(shms: Branches, electron: NDArray[np.bool_]) -> None:
    beta, p = shms["P.gtr.beta"], shms["P.gtr.p"]
    seen = (beta != -999) & (p < 11)
    pion = p / np.hypot(p, 0.13957)
    assert_mean(beta[seen & electron], 1.0)
    assert_mean((beta - pion)[seen & ~electron], 0.0)
    assert_mean((beta - pion)[seen & ~electron] ** 2, 0.95 * 0.02**2 + 0.05 * 0.1**2)
    assert 0.0003 < 1 - pion[seen].max() < 1 - pion[seen].min() < 0.0035
    assert roc_auc_score(electron[seen], beta[seen]) < 0.55


def test_missing_detectors_are_coded_in_both_classes(shms: Branches, electron: NDArray[np.bool_]) -> None:
    for species in (electron, ~electron):
        assert_share(shms["P.hgcer.npeSum"][species] == -999, 0.025)
        assert_share(shms["P.gtr.beta"][species] == -999, 0.03)
    finite = [np.isfinite(values).all() for values in shms.values()]
    assert all(finite)
    assert_share(shms["P.cal.etottracknorm"] > 4, 1 / 3000 * 0.6)


def test_weights_are_positive_and_know_no_species(shms: Branches, electron: NDArray[np.bool_]) -> None:
    w = shms["w"]
    assert 1.06 < w.min() < w.max() < 2.6
    for i in range(5):
        here = setting(shms) == i
        assert_mean(w[here & electron], w[here & ~electron].mean())
        assert (w[here].min() > 2) == (i == 0)


@pytest.mark.slow
def test_hand_cuts_are_decent_and_a_learner_is_clearly_better(
    shms: Branches, electron: NDArray[np.bool_], clean: NDArray[np.bool_]
) -> None:
    p, eop, npe = (shms[name] for name in ("P.gtr.p", "P.cal.etottracknorm", "P.hgcer.npeSum"))
    hand = (eop > 0.75) & (npe > 2)
    low, high = clean & (p < 2.6), clean & (p > 3.5)
    assert 0.91 < hand[clean & electron].mean() < 0.97
    assert hand[low & ~electron].mean() < 0.0025
    assert hand[high & ~electron].mean() > 0.02

    names = ("P.cal.etottracknorm", "P.cal.eprtracknorm", "P.hgcer.npeSum", "P.gtr.beta")
    x = np.stack([shms[name] for name in names], axis=1)
    train, test = (clean & (shms["event"] % 4 != 0)), (clean & (shms["event"] % 4 == 0))
    learner = HistGradientBoostingClassifier(max_iter=40, early_stopping=False, class_weight="balanced")
    with threadpool_limits(1):  # several threads stand in each other's way on a busy machine
        score = learner.fit(x[train], electron[train]).predict_proba(x[test])[:, 1]
    threshold = np.quantile(score[electron[test]], 1 - hand[test & electron].mean())
    gain = hand[test & ~electron].mean() / (score[~electron[test]] > threshold).mean()
    assert 2 < gain < 8
