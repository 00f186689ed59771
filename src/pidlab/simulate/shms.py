"""The `shms` sample: electrons and pions in a spectrometer like the Super High Momentum Spectrometer of Hall C.

The detector is parametrised, not fully simulated, with enough physics that each cut of a real analysis has its reason.
A letter gives the source of a number: [S] S. Ali et al., The SHMS 11 GeV/c spectrometer in Hall C, arXiv:2503.08706;
[M] H. Mkrtchyan et al., The lead-glass electromagnetic calorimeters of Hall C, NIM A 719 (2013) 85, arXiv:1204.6413;
[P] the Review of Particle Physics; [c] chosen for this sample, of a size that such detectors have.

**Runs.** Every 2,000 events are a run, numbered from 6000; central momenta of 2.0, 2.4, 2.8, 3.4 and 4.2 GeV follow
each other run by run [c]; the spectrometer goes up to 11 GeV [S]. `event` counts within the run, from 1, from 2^24 + 1
and from 2^31 + 1 in turn, so only (`run`, `event`) names an event, and only as integers. Pions are 8, 6, 5, 4 and 4
times as many as electrons at the five momenta, 5.1 to 1 together [c]. `species` is 0 for electrons, 1 for pions.

**Track.** `P.gtr.dp`, the momentum in per cent off the central one, is -12 + 36 u with u uniform for electrons and
u^1.15 for pions: wider than the acceptance of -10 to 22 % [S], to be cut. `P.gtr.th` and `P.gtr.ph` (rad, dispersive
and other direction) are uniform within 0.045 and 0.030, smeared by 0.003 [c]. The track meets the calorimeter at
x = 1.4 cm/% dp + 200 cm th + 1 cm g, y = 700 cm ph + 4 cm g, with g standard normal [c].

**Calorimeter.** Lead glass, 10 cm of preshower before 50 cm of shower blocks, 9 cm wide [M]; radiation length 2.74 cm,
critical energy 15 MeV, interaction length of pions 40 cm [c, near P].
*Electrons*: E/p is normal about 1 with σ/E = 6 %/√(E/GeV) ⊕ 2 % [the first term as M; c]; 8 % of them lose a further
exponential share of mean 0.12 by radiation and leakage [c]. The preshower holds the track's ionisation (as that of
pions, below) and, of the rest, the share Γ(a, t/2) of the longitudinal profile of an electromagnetic shower,
a = 1 + t_max/2, t_max = ln(E/E_c) - 0.5 [P], where t is 3.65 + 0.4 radiation lengths (glass and matter before it) less
an exponential delay of mean 1.2 [c].
*Pions* interact at a depth drawn from their interaction length, less 5 cm for the matter before the glass; 20 % pass
through. Up to there they leave 6 MeV/cm with a Moyal fluctuation of width 12 % [c]. An interaction makes visible a
share Beta(1.5, 2.6) of the momentum, deposited exponentially with length 30 cm [c]; in 6 % of them, charge exchange
π⁻ p → π⁰ n hands a share Beta(16, 1) to photons, whose shower (t_max = ln(E/E_c) + 0.5 [P]) starts at that depth and
reaches E/p near 1 [c]. All is smeared by the resolution above. Most such showers start behind the preshower, which is
how it rejects them [M].
*Dead region*: a block, x from 18 to 27 cm and y from 9 to 18 cm, loses 80 % of the light of the shower part, with
borders as soft as the shower is wide (2 cm) [c]. `P.cal.etottracknorm` and `P.cal.eprtracknorm` are all energy and
that of the preshower, divided by the momentum.

**Heavy-gas Cherenkov.** C4F8O at 1 atm, n - 1 = 1.39e-3 [c, near S]: pions give light above p_th = m_π / √(n² - 1),
2.65 GeV. The mean number of photo-electrons is 11 for β = 1 [c] and goes as 1 - p_th²/p² [P]. Light collection varies
by 25 % and dips by 60 % where the mirrors meet, a band about x = 0 of σ = 3 cm [c]. 3 % of the pions knock on an
electron that radiates along a uniform part of the path [c]. `P.hgcer.npeSum` is Poisson, smeared by 0.4 √N (the width
of one photo-electron) and a pedestal of 0.1 [c].

**Time of flight.** `P.gtr.beta` is p/√(p² + m²), smeared by 0.02, for 5 % of the events by 0.1 [c]: at these momenta
pions are slower by 0.0004 to 0.003, so it says little.

**Weights.** `w` = prescale / (live time × tracking efficiency): prescale 2 at 2.0 GeV and 1 elsewhere, live time
.88 to .97 run by run, efficiency .97 - .06 (th/0.045)² [c]; between 1.06 and 2.6.

**What goes wrong.** The Cherenkov has no signal in 2.5 %, the time of flight in 3 % of the events: -999. One in 2,000
tracks is reconstructed with a wild momentum, log-uniform in 50 to 1000 GeV, with `P.gtr.dp` and the normalised energies
to match, and in one in 3,000 piled-up energy makes the total 5 to 50 times as large [c].
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, ndtr

from pidlab.simulate.events import Array, Integers, Mask, SimulatedEvents, Simulation

EVENTS_PER_RUN: Final = 2_000
FIRST_RUN: Final = 6_000
MISSING: Final = -999.0
DEAD_X: Final = (18.0, 27.0)
DEAD_Y: Final = (9.0, 18.0)

_MOMENTUM: Final = np.array([2.0, 2.4, 2.8, 3.4, 4.2])
_PIONS_PER_ELECTRON: Final = np.array([8.0, 6.0, 5.0, 4.0, 4.0])
_PRESCALE: Final = np.array([2.0, 1.0, 1.0, 1.0, 1.0])
_LIVE_TIME: Final = np.array([0.95, 0.88, 0.92, 0.97, 0.90, 0.93, 0.96])
_FIRST_EVENT: Final = np.array([1, 2**24 + 1, 2**31 + 1])

_ELECTRON_MASS: Final = 0.000511
_PION_MASS: Final = 0.13957

_PRESHOWER: Final = 10.0
_GLASS: Final = 60.0
_RADIATION_LENGTH: Final = 2.74
_INTERACTION_LENGTH: Final = 40.0
_HADRONIC_LENGTH: Final = 30.0
_CRITICAL_ENERGY: Final = 0.015
_MATTER_BEFORE: Final = 0.4
_HADRONIC_MATTER_BEFORE: Final = 5.0
_IONISATION: Final = 0.006

_REFRACTIVITY: Final = 1.39e-3
PION_THRESHOLD: Final = _PION_MASS / float(np.sqrt((1 + _REFRACTIVITY) ** 2 - 1))
_PHOTO_ELECTRONS: Final = 11.0


class _Deposit(NamedTuple):
    """Energy in GeV, (n,) each."""

    preshower: Array
    shower: Array


def _track(rng: np.random.Generator, electron: Mask) -> tuple[Array, Array, Array]:
    """Returns dp in per cent and the two slopes in rad of each track."""
    n = len(electron)
    dp = -12 + 36 * rng.random(n) ** np.where(electron, 1.0, 1.15)
    theta = rng.uniform(-0.045, 0.045, n) + 0.003 * rng.standard_normal(n)
    phi = rng.uniform(-0.030, 0.030, n) + 0.003 * rng.standard_normal(n)
    return dp, theta, phi


def _resolution(rng: np.random.Generator, energy: Array) -> Array:
    """Returns factors (n,) about 1, the resolution of the calorimeter at an energy in GeV."""
    return np.asarray(1 + np.hypot(0.06 / np.sqrt(energy), 0.02) * rng.standard_normal(len(energy)))


def _shower_share(energy: Array, depth: Array, offset: float) -> Array:
    """Returns the share of an electromagnetic shower of `energy` GeV up to `depth` radiation lengths.

    The longitudinal profile of the Review of Particle Physics, Passage of particles through matter, with b = 0.5;
    `offset` is -0.5 for electrons and 0.5 for photons.
    """
    peak = np.maximum(np.log(energy / _CRITICAL_ENERGY) + offset, 0.1)
    return np.asarray(gammainc(1 + 0.5 * peak, 0.5 * np.maximum(depth, 0.0)))


def _ionisation(rng: np.random.Generator, n: int) -> Array:
    """Returns the energy in GeV (n,) that a track deposits in a cm of glass."""
    moyal = -np.log(np.maximum(rng.standard_normal(n) ** 2, 1e-12))  # Z normal: -ln Z² is Moyal's distribution
    return _IONISATION * np.maximum(1 + 0.12 * (moyal - 1.27), 0.2)  # 1.27 is the mean of Moyal's


def _electrons(rng: np.random.Generator, p: Array) -> _Deposit:
    n = len(p)
    lost = np.where(rng.random(n) < 0.08, rng.exponential(0.12, n), 0.0)
    energy = p * _resolution(rng, p) * np.maximum(1 - lost, 0.05)
    depth = _PRESHOWER / _RADIATION_LENGTH + _MATTER_BEFORE - rng.exponential(1.2, n)
    share = _shower_share(p, depth, -0.5)
    track = np.minimum(_PRESHOWER * _ionisation(rng, n), energy)
    preshower = track + share * (energy - track)
    return _Deposit(preshower, energy - preshower)


def _pions(rng: np.random.Generator, p: Array) -> _Deposit:
    n = len(p)
    depth = np.maximum(rng.exponential(_INTERACTION_LENGTH, n) - _HADRONIC_MATTER_BEFORE, 0.0)
    interacts = depth < _GLASS
    before, behind = np.maximum(_PRESHOWER - depth, 0.0), np.maximum(_GLASS - depth, 0.0)

    ionisation = _ionisation(rng, n)
    to_photons = interacts & (rng.random(n) < 0.06)
    photons = p * rng.beta(16.0, 1.0, n) * to_photons
    hadrons = p * rng.beta(1.5, 2.6, n) * (interacts & ~to_photons)

    def up_to(length: Array) -> Array:
        """Returns the energy that the interaction deposits in the `length` cm of glass after it."""
        share = _shower_share(np.maximum(photons, 0.1), length / _RADIATION_LENGTH, 0.5)
        return np.asarray(photons * share - hadrons * np.expm1(-length / _HADRONIC_LENGTH))

    preshower = ionisation * np.minimum(depth, _PRESHOWER) + up_to(before)
    total = ionisation * np.minimum(depth, _GLASS) + up_to(behind)
    smear = np.maximum(_resolution(rng, total), 0.05)
    return _Deposit(preshower * smear, (total - preshower) * smear)


def _calorimeter(rng: np.random.Generator, p: Array, electron: Mask, x: Array, y: Array) -> _Deposit:
    """Returns the measured energies of particles of momentum p (GeV) at x, y (cm)."""
    of_electrons, of_pions = _electrons(rng, p), _pions(rng, p)
    preshower, shower = (np.where(electron, e, h) for e, h in zip(of_electrons, of_pions, strict=True))
    inside = _inside(x, DEAD_X) * _inside(y, DEAD_Y)
    return _Deposit(preshower, shower * (1 - 0.8 * inside))


def _inside(position: Array, borders: tuple[float, float]) -> Array:
    """Returns the share of a shower of 2 cm width that lies between two borders."""
    low, high = borders
    return np.asarray(ndtr((position - low) / 2.0) - ndtr((position - high) / 2.0))


def _cherenkov(rng: np.random.Generator, p: Array, electron: Mask, x: Array) -> Array:
    """Returns the number of photo-electrons of the heavy-gas Cherenkov."""
    n = len(p)
    light = np.where(electron, 1.0, np.maximum(1 - (PION_THRESHOLD / p) ** 2, 0.0))
    knock_on = ~electron & (rng.random(n) < 0.03)
    light = np.where(knock_on, np.maximum(light, rng.random(n)), light)
    collection = np.maximum(1 + 0.25 * rng.standard_normal(n), 0.0) * (1 - 0.6 * np.exp(-0.5 * (x / 3.0) ** 2))
    count = rng.poisson(_PHOTO_ELECTRONS * light * collection)
    return np.asarray(count + 0.4 * np.sqrt(count) * rng.standard_normal(n) + 0.1 * rng.standard_normal(n))


def _beta(rng: np.random.Generator, p: Array, electron: Mask) -> Array:
    """Returns the velocity by time of flight."""
    mass = np.where(electron, _ELECTRON_MASS, _PION_MASS)
    width = np.where(rng.random(len(p)) < 0.05, 0.1, 0.02)
    return np.asarray(p / np.hypot(p, mass) + width * rng.standard_normal(len(p)))


def _missing(rng: np.random.Generator, values: Array, share: float) -> Array:
    """Returns `values` with a share of them replaced by the code for a detector without a signal."""
    return np.where(rng.random(len(values)) < share, MISSING, values)


def _block(rng: np.random.Generator, entry: Integers) -> SimulatedEvents:
    n, run = len(entry), entry // EVENTS_PER_RUN
    setting = run % len(_MOMENTUM)
    electron = rng.random(n) < 1 / (1 + _PIONS_PER_ELECTRON[setting])
    dp, theta, phi = _track(rng, electron)
    p = _MOMENTUM[setting] * (1 + dp / 100)
    x = 1.4 * dp + 200 * theta + rng.standard_normal(n)
    y = 700 * phi + 4 * rng.standard_normal(n)
    deposit = _calorimeter(rng, p, electron, x, y)
    npe = _missing(rng, _cherenkov(rng, p, electron, x), 0.025)
    beta = _missing(rng, _beta(rng, p, electron), 0.03)
    shower = np.where(rng.random(n) < 1 / 3000, rng.uniform(5, 50, n), 1.0) * deposit.shower
    measured = np.where(rng.random(n) < 1 / 2000, 50 * 20 ** rng.random(n), p)

    floats = {
        "P.gtr.p": measured,
        "P.gtr.dp": 100 * (measured / _MOMENTUM[setting] - 1),
        "P.gtr.th": theta,
        "P.gtr.ph": phi,
        "P.gtr.beta": beta,
        "P.cal.etottracknorm": (deposit.preshower + shower) / measured,
        "P.cal.eprtracknorm": deposit.preshower / measured,
        "P.cal.xtrack": x,
        "P.cal.ytrack": y,
        "P.hgcer.npeSum": npe,
        "w": _PRESCALE[setting] / (_LIVE_TIME[run % len(_LIVE_TIME)] * (0.97 - 0.06 * (theta / 0.045) ** 2)),
    }
    branches: dict[str, NDArray[Any]] = {name: values.astype(np.float32) for name, values in floats.items()}
    branches["run"] = (FIRST_RUN + run).astype(np.int32)
    branches["event"] = (_FIRST_EVENT[run % len(_FIRST_EVENT)] + entry % EVENTS_PER_RUN).astype(np.int64)
    branches["species"] = np.where(electron, 0, 1).astype(np.int32)
    return SimulatedEvents(branches)


SHMS: Final = Simulation("T", 200_000, _block)
