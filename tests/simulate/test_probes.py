"""The probes' sample: masses, shares and detector are what its docstring states, and data are not as simulated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from deviations import assert_mean, assert_share, simulated
from numpy.typing import NDArray
from scipy.stats import crystalball, kstest, norm

from pidlab.cli import cli
from pidlab.simulate import SAMPLES

N = 100_000
Branches = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def data() -> Branches:
    return dict(simulated("probes", N, 3).branches)


@pytest.fixture(scope="module")
def simulation() -> Branches:
    return dict(simulated("simulated_probes", N, 4).branches)


def cells(branches: Branches) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    i = np.searchsorted([10, 20, 35, 60, 100], branches["p"], "right") - 1
    return np.minimum(i, 3), np.searchsorted([0, 0.8, 1.6, 2.4], np.abs(branches["eta"]), "right") - 1


def test_electrons_have_a_crystal_ball_and_background_an_exponential_in_each_cell(data: Branches) -> None:
    i, j = cells(data)
    for cell in ((0, 0), (1, 2), (3, 1)):
        here = (i == cell[0]) & (j == cell[1])
        electrons = data["mass"][here & (data["species"] == 0)]
        shape = crystalball(1.4, 4, loc=91.0 - 0.25 * cell[1], scale=1.8 + 0.15 * cell[0] + 0.45 * cell[1])
        assert kstest(electrons, shape.cdf).pvalue > 1e-4
        background = data["mass"][here & (data["species"] == 1)]
        length = (18, 25, 40, 80)[cell[0]]
        share = -np.expm1(-80 / length)
        assert kstest(background, lambda m, t=length, s=share: -np.expm1(-(m - 50) / t) / s).pvalue > 1e-4
        assert_share(data["species"][here] == 1, (0.55, 0.40, 0.25, 0.15)[cell[0]] + 0.04 * cell[1])


def test_within_a_cell_mass_tells_nothing_about_the_detector(data: Branches) -> None:
    i, j = cells(data)
    for species in (0, 1):
        here = (i == 1) & (j == 1) & (data["species"] == species)
        for name in ("eop", "shower_width", "hoe", "isolation"):
            correlation = np.corrcoef(data["mass"][here], data[name][here])[0, 1]
            assert abs(correlation) < 5 / np.sqrt(here.sum())


@pytest.mark.parametrize(("kind", "mean", "wider"), [("probes", 0.985, 1.25), ("simulated_probes", 1.0, 1.0)])
def test_the_efficiency_of_a_cut_on_eop_is_the_stated_one(kind: str, mean: float, wider: float) -> None:
    branches = simulated(kind, N, 5).branches
    electrons = branches["species"] == 0
    p = branches["p"][electrons].astype(np.float64)
    stated = norm.sf(0.9, mean, wider * np.hypot(0.20 / np.sqrt(p), 0.02))
    assert_mean((branches["eop"][electrons] > 0.9) - stated, 0.0)


def test_data_differ_from_simulation_as_stated(data: Branches, simulation: Branches) -> None:
    for name, ratio in (("isolation", 1.30), ("shower_width", 1.03), ("hoe", 1.0)):
        ours, theirs = data[name].astype(np.float64), simulation[name].astype(np.float64)
        error = np.hypot(ours.std() / ours.mean(), theirs.std() / theirs.mean()) / np.sqrt(N)
        assert abs(ours.mean() / theirs.mean() / ratio - 1) < 5 * error


def test_the_command_knows_every_sample() -> None:
    choices = next(p for p in cli.commands["simulate"].params if p.name == "sample").type
    assert set(choices.choices) == set(SAMPLES)  # type: ignore[attr-defined]
