"""The `clas12` sample: HIPO banks in the manner of CLAS12's DSTs, electrons against negative pions.

This is a toy: names, types and typical sizes are those of CLAS12, the distributions were chosen for this sample.

**Events.** `RUN::config` has `run` (5032 from the beginning, another one every 20,000 events) and `event`, from 1 on;
`REC::Event` has `startTime`, normal of mean 124.25 and σ 0.8 ns.

**Particles.** Each event has 1 + Poisson(1.6) rows in `REC::Particle`: 35 % electrons, 35 % negative pions, 15 %
positive pions, 15 % photons, in an order without meaning. p is uniform in 1 to 9 GeV, θ in 6° to 35°, φ in 2π. `pid` is
what a reconstruction says: 11 of electrons for 95 % and of negative pions for 4 %, else -211; 211 and 22 are true. `vz`
is normal of mean -3 and σ 0.6 cm, `beta` normal about the true velocity with σ 0.006, `chi2pid` normal.

**Detectors** point at their particle with `pindex`.
`REC::Calorimeter` has a row a layer: 1 (PCAL), 4 (ECIN) and 7 (ECOUT), each with `energy` (GeV) and `sector` (1 to 6
by φ). An electron or photon leaves a share of its p, normal of mean 0.25 and σ 0.02 √(1 + 2/p), of which PCAL has 0.55
to 0.85, ECOUT 0.02 to 0.08, ECIN the rest. A pion leaves 0.04, 0.05 and 0.06 GeV, each with a Gaussian error of 15 %;
40 % of the pions shower, Beta(2, 9) p more, divided 0.3, 0.4 and 0.3, and another 8 % exchange their charge and leave
0.6 to 1.05 of what an electron would. A layer is found with probability 0.96. A fifth of the events has a further row
of noise, Exp(0.02) GeV in PCAL, which belongs to no particle: `pindex` is -1.
`REC::Cherenkov` (`detector` 15, the HTCC) has a row with the number of photo-electrons, `nphe`, if it is not 0:
Poisson(14) of 97 % of the electrons, Poisson(14 (1 - (4.9/p)²)) of a charged pion above 4.9 GeV, and Poisson(3) more
for one in 20 of all charged particles.

**Truth.** `MC::Particle` has the generated particles (`pid`, `px`, `py`, `pz`) in another order, and `MC::RecMatch`
says with `pindex` and `mcindex` which belongs to which; `mcindex` is -1 for the 2 % without a match.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pidlab.simulate.events import Array, Integers, SimulatedCollection, SimulatedEvents, Simulation

_FIRST_RUN: Final = 5032
_EVENTS_PER_RUN: Final = 20_000
_SPECIES: Final = np.array([11, -211, 211, 22])
_SHARES: Final = (0.35, 0.35, 0.15, 0.15)
_CHARGES: Final = np.array([-1, -1, 1, 0], np.int8)
_MASSES: Final = np.array([0.000511, 0.13957, 0.13957, 0.0])
_THRESHOLD: Final = 4.9  # GeV, of pions in the HTCC
_HTCC: Final = 15  # numbers of detectors in CLAS12
_ECAL: Final = 7
_LAYERS: Final = np.array([1, 4, 7], np.int8)

Fields = dict[str, NDArray[Any]]


def _momenta(rng: np.random.Generator, n: int) -> tuple[Array, Array, Fields]:
    """Returns p, φ in [0, 2π), and the components as fields."""
    p, theta, phi = rng.uniform(1, 9, n), np.radians(rng.uniform(6, 35, n)), rng.uniform(0, 2 * np.pi, n)
    x, y, z = p * np.sin(theta) * np.cos(phi), p * np.sin(theta) * np.sin(phi), p * np.cos(theta)
    return p, phi, {"px": x.astype(np.float32), "py": y.astype(np.float32), "pz": z.astype(np.float32)}


def _reconstructed(rng: np.random.Generator, species: Integers, p: Array) -> Fields:
    n = len(p)
    pid = _SPECIES[species]
    looks_like_electron = rng.random(n) < np.select([species == 0, species == 1], [0.95, 0.04], 0)
    pid = np.where(species < 2, np.where(looks_like_electron, 11, -211), pid)
    beta = p / np.hypot(p, _MASSES[species]) + 0.006 * rng.standard_normal(n)
    return {
        "pid": pid.astype(np.int32),
        "charge": _CHARGES[species],
        "vz": (-3 + 0.6 * rng.standard_normal(n)).astype(np.float32),
        "beta": beta.astype(np.float32),
        "chi2pid": rng.standard_normal(n).astype(np.float32),
        "status": np.full(n, 2000, np.int16),
    }


def _energies(rng: np.random.Generator, species: Integers, p: Array) -> Array:
    """Returns (n, 3) the energies in PCAL, ECIN and ECOUT."""
    n = len(p)
    total = p * (0.25 + 0.02 * np.sqrt(1 + 2 / p) * rng.standard_normal(n))
    first, last = rng.uniform(0.55, 0.85, n), rng.uniform(0.02, 0.08, n)
    shower = total[:, None] * np.stack([first, 1 - first - last, last], axis=1)
    ionised = np.array([0.04, 0.05, 0.06]) * (1 + 0.15 * rng.standard_normal((n, 3)))
    hadronic = np.where(rng.random(n) < 0.4, rng.beta(2, 9, n) * p, 0.0)
    pion = ionised + hadronic[:, None] * np.array([0.3, 0.4, 0.3])
    exchanged = rng.random(n) < 0.08
    pion[exchanged] = shower[exchanged] * rng.uniform(0.6, 1.05, n)[exchanged, None]
    return np.where(((species == 0) | (species == 3))[:, None], shower, pion)


def _calorimeter(
    rng: np.random.Generator, n_events: int, event: Integers, index: Integers, energies: Array, sector: Integers
) -> SimulatedCollection:
    n = len(event)
    found = rng.random((n, 3)) < 0.96
    of, layer = np.nonzero(found)
    noisy = np.flatnonzero(rng.random(n_events) < 0.2)
    columns: Fields = {
        "pindex": np.concatenate([index[of], np.full(len(noisy), -1)]).astype(np.int16),
        "detector": np.full(len(of) + len(noisy), _ECAL, np.int8),
        "layer": np.concatenate([_LAYERS[layer], np.full(len(noisy), 1, np.int8)]),
        "sector": np.concatenate([sector[of], rng.integers(1, 7, len(noisy))]).astype(np.int8),
        "energy": np.concatenate([energies[found], rng.exponential(0.02, len(noisy))]).astype(np.float32),
    }
    rows = np.concatenate([event[of], noisy])
    order = np.lexsort((rng.random(len(rows)), rows))  # the rows of an event are in no order
    return SimulatedCollection(np.bincount(rows, minlength=n_events), {k: v[order] for k, v in columns.items()})


def _cherenkov(
    rng: np.random.Generator, n_events: int, event: Integers, index: Integers, species: Integers, p: Array
) -> SimulatedCollection:
    above = np.where(p > _THRESHOLD, 14 * (1 - (_THRESHOLD / p) ** 2), 0.0)
    of_electron = np.where(rng.random(len(p)) < 0.97, 14.0, 0.0)
    accidental = np.where((rng.random(len(p)) < 0.05) & (species != 3), 3.0, 0.0)
    nphe = rng.poisson(np.select([species == 0, species == 3], [of_electron, 0.0], above) + accidental)
    rows = np.flatnonzero(nphe)
    columns: Fields = {
        "pindex": index[rows].astype(np.int16),
        "detector": np.full(len(rows), _HTCC, np.int8),
        "nphe": nphe[rows].astype(np.float32),
    }
    return SimulatedCollection(np.bincount(event[rows], minlength=n_events), columns)


def _block(rng: np.random.Generator, entry: Integers) -> SimulatedEvents:
    n_events = len(entry)
    counts = 1 + rng.poisson(1.6, n_events)
    event = np.repeat(np.arange(n_events), counts)
    index = np.arange(len(event)) - np.repeat(np.cumsum(counts) - counts, counts)
    species = rng.choice(4, len(event), p=_SHARES)
    p, phi, momenta = _momenta(rng, len(event))
    sector = 1 + (phi / (np.pi / 3)).astype(np.int64) % 6
    energies = _energies(rng, species, p)
    shuffled = np.lexsort((rng.random(len(event)), event))  # the generated particles in another order
    place = np.empty_like(shuffled)
    place[shuffled] = index
    unmatched = rng.random(len(event)) < 0.02
    branches: Fields = {
        "RUN::config.run": (_FIRST_RUN + entry // _EVENTS_PER_RUN).astype(np.int32),
        "RUN::config.event": (1 + entry).astype(np.int32),
        "REC::Event.startTime": (124.25 + 0.8 * rng.standard_normal(n_events)).astype(np.float32),
    }
    generated = {"pid": _SPECIES[species].astype(np.int32)} | momenta
    matches: Fields = {
        "pindex": index.astype(np.int16),
        "mcindex": np.where(unmatched, -1, place).astype(np.int16),
    }
    return SimulatedEvents(
        branches,
        {
            "REC::Particle": SimulatedCollection(counts, _reconstructed(rng, species, p) | momenta),
            "REC::Calorimeter": _calorimeter(rng, n_events, event, index, energies, sector),
            "REC::Cherenkov": _cherenkov(rng, n_events, event, index, species, p),
            "MC::Particle": SimulatedCollection(counts, {name: v[shuffled] for name, v in generated.items()}),
            "MC::RecMatch": SimulatedCollection(counts, matches),
        },
    )


CLAS12: Final = Simulation("", 50_000, _block)
