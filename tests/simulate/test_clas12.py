"""The sample of CLAS12: shares and sizes are those of its docstring, and the banks of the file are those drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from deviations import assert_mean, assert_share, simulated

from pidlab.simulate import simulate
from pidlab.simulate.events import SimulatedEvents

N = 40_000


@pytest.fixture(scope="module")
def events() -> SimulatedEvents:
    return simulated("clas12", N, 3)


def rows(events: SimulatedEvents, bank: str) -> Any:
    candidates = events.collections[bank]
    return ak.unflatten(ak.zip(dict(candidates.fields)), candidates.counts)


def truth(events: SimulatedEvents) -> Any:
    """What each matched particle was, NaN for the others."""
    generated, match = rows(events, "MC::Particle"), rows(events, "MC::RecMatch")
    pid = generated.pid[ak.mask(match.mcindex, match.mcindex >= 0)]
    return ak.to_numpy(ak.fill_none(ak.flatten(pid), np.nan))


def test_shares_of_species_matches_noise_and_identification(events: SimulatedEvents) -> None:
    true, pid = truth(events), events.collections["REC::Particle"].fields["pid"]
    assert_share(np.isnan(true), 0.02)
    for species, share in {11: 0.35, -211: 0.35, 211: 0.15, 22: 0.15}.items():
        assert_share(true[~np.isnan(true)] == species, share)
    assert_share(pid[true == 11] == 11, 0.95)
    assert_share(pid[true == -211] == 11, 0.04)
    assert_share(ak.to_numpy(ak.any(rows(events, "REC::Calorimeter").pindex == -1, axis=1)), 0.2)
    assert_mean(events.collections["REC::Particle"].counts.astype(float), 2.6)


def test_energies_and_photo_electrons(events: SimulatedEvents) -> None:
    particles, calorimeter, cherenkov = (
        rows(events, f"REC::{name}") for name in ("Particle", "Calorimeter", "Cherenkov")
    )
    index = ak.local_index(particles.px)
    p = ak.to_numpy(ak.flatten(np.sqrt(particles.px**2 + particles.py**2 + particles.pz**2)))
    pairs = ak.cartesian([index, calorimeter.pindex], nested=True)
    mine = pairs["0"] == pairs["1"]
    counts = ak.to_numpy(ak.flatten(ak.sum(mine, axis=-1)))
    energy = ak.to_numpy(ak.flatten(ak.sum(ak.where(mine, calorimeter.energy[:, np.newaxis], 0), axis=-1)))
    electron = (truth(events) == 11) & (counts == 3)
    assert_share(counts == 3, 0.96**3)
    assert_mean((energy / p)[electron], 0.25)
    fired = ak.cartesian([index, cherenkov.pindex], nested=True)
    fired = ak.to_numpy(ak.flatten(ak.any(fired["0"] == fired["1"], axis=-1)))
    slow_pion = (truth(events) == -211) & (p < 4.8)
    assert_share(fired[slow_pion], 0.05 * (1 - np.exp(-3)))
    assert_share(fired[truth(events) == 11], 1 - 0.03 * (1 - 0.05 * (1 - np.exp(-3))))


def test_the_file_holds_the_banks_that_were_drawn(tmp_path: Path) -> None:
    oxihipo = pytest.importorskip("oxihipo")
    simulate("clas12", tmp_path / "dst.hipo", 500, 3)
    drawn, file = simulated("clas12", 500, 3), oxihipo.open(str(tmp_path / "dst.hipo"))
    for bank in drawn.collections:
        assert file.arrays(bank).tolist() == rows(drawn, bank).tolist()
    assert ak.flatten(file.array("RUN::config", "event")).tolist() == drawn.branches["RUN::config.event"].tolist()
    assert [each.name for each in tmp_path.iterdir()] == ["dst.hipo"]
