"""The `tracks` sample: e, π, K, p in a time projection chamber, an inner tracker and a time of flight.

The detectors are those of a central barrel such as ALICE's, parametrised so that every density is known in closed form:
the exact likelihood ratio of any two species at any momentum bounds what a classifier can reach, and a fitted band can
be compared with the mean and the width that it should have found.
A letter gives the source of a number or formula: [A] ALICE Collaboration, Performance of the ALICE experiment,
arXiv:1402.4476; [R] AliRoot's AliPIDResponse, AliITSPIDResponse and AliExternalTrackParam::BetheBlochAleph;
[B] W. Blum, W. Riegler, L. Rolandi, Particle Detection with Drift Chambers (Springer 2008), chapter 10; [D] S. Das, A
simple alternative to the Crystal Ball function, arXiv:1603.08591; [P] the Review of Particle Physics; [C] W. Allison,
J. Cobb, Annu. Rev. Nucl. Part. Sci. 30 (1980) 253; [c] chosen for this sample, of a size that such detectors have.

**Tracks.** A row is one track of one event; tracks are independent. `species` is 0 for electrons, 1 pions, 2 kaons,
3 protons, which are 10, 50, 20 and 20 % [c]. `p` (GeV) is log-uniform in 0.2 to 5, `eta` uniform within ±0.9, `sector`
one of 1 to 6, `charge` -1 or 1, each independent of the species [c]: they say nothing about it by themselves, and the
likelihood ratio of the detectors at given `p` is the best discriminant there is (Neyman and Pearson). The momentum is
taken as measured exactly. Every 5,000 tracks are a run, numbered from 244,000; `event` counts within the run from 1.
`w` is one over the tracking efficiency .92 - .30 exp(-p / 0.3 GeV) - .05 (eta/0.9)² [c], between 1.08 and 1.41.

**Shape of every response.** A Gaussian of mean μ and width σ with an exponential tail on one side, which begins k
widths from the mean, where it joins with the same value and slope [D; R for the time of flight]. With t = (x - μ)/σ,
towards the tail, the density is

    exp(-t²/2) / (σ N) for t < k,   exp(k²/2 - k t) / (σ N) for t ≥ k,   N = √(2π) Φ(k) + exp(-k²/2) / k.

μ is the mode, and up to k widths on one side and everywhere on the other the density *is* a Gaussian: μ and σ are what
a fit of the core has to find, whatever the tail does.

**Time projection chamber.** `tpc_dedx`, 50 for a minimum-ionising particle; its mean is 50 times

    P1/β^P4 (P2 - β^P4 - ln(P3 + 1/(βγ)^P5)),   P = .076176, 10.632, .13279e-4, 1.8631, 1.9479 [B, formula; R, numbers],

times 1 + .015 (eta² - .27) [c] and the gain of the sector, .998, 1.003, 1.000, .997, 1.004 and .998 [c]. `tpc_n`, the
number of clusters, is 70 to 159 [159 rows: A], 70 + a beta-binomial of 89, 10 and 2 [c]: 144 on average. The relative
width is 6.5 % (n/159)^-.46 [6.5 %: A, central Pb-Pb collisions; exponent: C]. The tail, upwards, begins at
k = 2 √(n/159) [c]: a truncated mean of fewer clusters has more of the Landau tail.

**Inner tracker.** `its_dedx` (keV) is the energy lost in 300 μm of silicon. Its mean is the most probable loss
ξ (ln(2 m_e c² β²γ² / I) + ln(ξ/I) + .200 - β² - δ(βγ)), ξ = .1535 MeV .4985 x / β² for x = 0.0699 g/cm², with the
density effect δ in Sternheimer's parametrisation for silicon [P]. `its_n`, the number of samples, is 4 for 75 % of the
tracks and 3 for the others [c]. The relative width is 10.4 % of four samples and 11.6 % of three [R]. The tail,
upwards, begins at k = 1.2 √(n/4) [c].

**Time of flight.** 35 % of the tracks reach it: none below 0.3 GeV, a share .45 (1 - exp((0.3 GeV - p)/0.15 GeV)) above
[c], whatever their species. `has_tof` says so, and `tof_beta` is -999 for the others. The mean of `tof_beta` is
β = p/√(p² + m²), the width β² c 80 ps / 3.7 m [propagated from time; 80 ps and 3.7 m: A], the tail, to slow particles,
begins at k = 1.5 [c; 0.9 to 1.1: R].

`tracks_log_likelihoods` gives the exact log-likelihoods, `tracks_log_density` the densities, `tracks_core` μ and σ. A
discriminant that knows `p` but neither `eta`, `sector` nor the numbers of samples loses less than .0005 of the AUC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, comb, ndtr, ndtri

from pidlab.errors import UsageError, nearest
from pidlab.simulate.events import Array, Integers, SimulatedEvents, Simulation

SPECIES: Final = ("electron", "pion", "kaon", "proton")
DETECTORS: Final[Mapping[str, str]] = MappingProxyType({"tpc": "tpc_dedx", "its": "its_dedx", "tof": "tof_beta"})
"""The branch of each detector."""
MISSING: Final = -999.0
TRACKS_PER_RUN: Final = 5_000
FIRST_RUN: Final = 244_000
LOWEST_MOMENTUM, HIGHEST_MOMENTUM = 0.2, 5.0

_MASS: Final = np.array([0.00051099895, 0.13957039, 0.493677, 0.93827209])  # GeV [P]
_ABUNDANCE: Final = (0.1, 0.5, 0.2, 0.2)
_ETA: Final = 0.9
_ETA_SLOPE: Final = 0.015
_GAIN: Final = np.array([0.998, 1.003, 1.000, 0.997, 1.004, 0.998])  # of sectors 1 to 6, 1 on average
_ROWS: Final = 159
_FEWEST_CLUSTERS: Final = 70
_CLUSTERS: Final = (10.0, 2.0)  # of the beta distribution of the share of the rows beyond the fewest
_TPC_WIDTH, _TPC_EXPONENT, _TPC_TAIL = 0.065, -0.46, 2.0
_ITS_WIDTH: Final = np.array([np.nan, np.nan, np.nan, 0.116, 0.104])  # by the number of samples
_ITS_TAIL: Final = 1.2
_FOUR_SAMPLES: Final = 0.75
_TOF_WIDTH: Final = 299792458.0 * 80e-12 / 3.7  # of 1/β
_TOF_TAIL: Final = 1.5


# --- densities


@dataclass(frozen=True, slots=True)
class _Response:
    """A Gaussian core with an exponential tail, for n tracks.

    Attributes:
        mean: the mean of the core, and the mode (n,).
        width: the width of the core (n,).
        tail: where the tail begins, in widths from the mean, more than 0 (n,).
        side: 1 for a tail above the mean, -1 for one below.
    """

    mean: Array
    width: Array
    tail: Array
    side: int

    def log_density(self, x: Array) -> Array:
        """Returns the logarithm of the density (n,) at x (n,), in one over the unit of x."""
        t, k = self.side * (x - self.mean) / self.width, self.tail
        shape = np.where(t < k, -0.5 * t**2, (0.5 * k - t) * k)
        return np.asarray(shape - np.log(self.width * (self._core() + self._beyond())))

    def draw(self, rng: np.random.Generator) -> Array:
        """Returns a measurement of each track (n,)."""
        u, k = rng.random(len(self.mean)), self.tail
        core = self._core()
        share = core / (core + self._beyond())
        # u in [0, share) is the core by the inverse of its distribution, 1 - u keeps its argument away from 0
        inside = ndtri(np.minimum((1 - u) / share, 1.0) * ndtr(k))
        t = np.where(1 - u <= share, inside, k + rng.exponential(size=len(u)) / k)
        return np.asarray(self.mean + self.side * self.width * t)

    def _core(self) -> Array:
        return np.asarray(np.sqrt(2 * np.pi) * ndtr(self.tail))

    def _beyond(self) -> Array:
        return np.asarray(np.exp(-0.5 * self.tail**2) / self.tail)


def _gas_ionisation(beta_gamma: Array) -> Array:
    """Returns the mean ionisation in the chamber's gas, 1 for a minimum-ionising particle [B, R]."""
    power = (beta_gamma / np.hypot(1, beta_gamma)) ** 1.8631
    return np.asarray(0.076176 / power * (10.632 - power - np.log(0.13279e-4 + beta_gamma**-1.9479)))


def _silicon_loss(beta_gamma: Array) -> Array:
    """Returns the most probable energy loss in 300 μm of silicon, in keV [P, passage of particles through matter]."""
    beta2 = beta_gamma**2 / (1 + beta_gamma**2)
    xi = 153.5 * 0.49848 * 0.0699 / beta2  # keV
    excitation, electron = 0.173, 510.99895  # mean excitation energy and m_e c², keV
    logarithm = np.log10(beta_gamma)
    # Sternheimer's density effect; numbers of silicon
    rising = 0.14921 * np.maximum(2.8716 - logarithm, 0.0) ** 3.2546
    conductor = 0.14 * 10 ** (2 * np.minimum(logarithm - 0.2015, 0.0))
    density_effect = np.where(logarithm < 0.2015, conductor, 2 * np.log(10) * logarithm - 4.4355 + rising)
    logarithms = np.log(2 * electron * beta_gamma**2 / excitation) + np.log(xi / excitation)
    return np.asarray(xi * (logarithms + 0.200 - beta2 - density_effect))


def _tpc(mass: Array, p: Array, eta: Array, n: Array, sector: Integers) -> _Response:
    mean = 50 * _gas_ionisation(p / mass) * (1 + _ETA_SLOPE * (eta**2 - _ETA**2 / 3)) * _GAIN[sector - 1]
    share = n / _ROWS
    return _Response(mean, mean * _TPC_WIDTH * share**_TPC_EXPONENT, _TPC_TAIL * np.sqrt(share), 1)


def _its(mass: Array, p: Array, n: Integers) -> _Response:
    mean = _silicon_loss(p / mass)
    return _Response(mean, mean * _ITS_WIDTH[n], _ITS_TAIL * np.sqrt(n / 4), 1)


def _tof(mass: Array, p: Array) -> _Response:
    mean = p / np.hypot(p, mass)
    return _Response(mean, mean**2 * _TOF_WIDTH, np.full(mean.shape, _TOF_TAIL), -1)


def _response(detector: str, mass: Array, track: Mapping[str, NDArray[Any]]) -> _Response:
    """Returns the response of a detector to particles of the given mass (n,) with the tracks' branches (n,)."""
    p = np.asarray(track["p"], np.float64)
    if detector == "tpc":
        eta, n = np.asarray(track["eta"], np.float64), np.asarray(track["tpc_n"], np.float64)
        return _tpc(mass, p, eta, n, np.asarray(track["sector"], np.int64))
    if detector == "its":
        return _its(mass, p, np.asarray(track["its_n"], np.int64))
    return _tof(mass, p)


# --- what is known exactly


def _check(detector: str) -> None:
    if detector not in DETECTORS:
        raise UsageError(f"the tracks sample has no detector {detector!r}: {nearest(detector, DETECTORS)}")


def tracks_log_density(detector: str, species: int, x: ArrayLike, track: Mapping[str, NDArray[Any]]) -> Array:
    """Returns the logarithm of the density of a measurement of the `tracks` sample, in one over the branch's unit.

    Args:
        detector: tpc, its or tof.
        species: 0 electron, 1 pion, 2 kaon, 3 proton.
        x: the measurement (n,): what the branches tpc_dedx, its_dedx or tof_beta hold.
        track: by name, the branches (n,) that the density depends on: p for all; eta, sector and tpc_n for tpc; its_n
            for its.

    Raises:
        UsageError: the detector does not exist.
        KeyError: a branch is missing.
    """
    _check(detector)
    x = np.asarray(x, np.float64)
    return _response(detector, np.full(x.shape, _MASS[species]), track).log_density(x)


def tracks_log_likelihoods(branches: Mapping[str, NDArray[Any]]) -> dict[str, Array]:
    """Returns the exact log-likelihood of each species by each detector, for n tracks of the `tracks` sample.

    Their sum over the detectors is the log-likelihood of a track. The difference of two columns of it is the log
    likelihood ratio; no discriminant of these two species has a larger AUC, in the whole sample or at any momentum
    (Neyman and Pearson, Phil. Trans. R. Soc. A 231 (1933) 289).

    Args:
        branches: the branches of the file by name (n,), as `uproot` or `SimulatedEvents.branches` give them.

    Returns:
        For tpc, its and tof an array (n, 4), its columns in the order of `species`. A track that does not reach the
        time of flight has 0 there for each species: the detector adds nothing.
    """
    found = {}
    for detector, branch in DETECTORS.items():
        x = np.asarray(branches[branch], np.float64)
        columns = [tracks_log_density(detector, species, x, branches) for species in range(len(SPECIES))]
        found[detector] = np.stack(columns, axis=1)
    found["tof"][~np.asarray(branches["has_tof"], bool)] = 0.0
    return found


def tracks_core(
    detector: str,
    species: int,
    p: ArrayLike,
    *,
    eta: ArrayLike | None = None,
    n: ArrayLike | None = None,
    sector: ArrayLike | None = None,
) -> tuple[Array, Array]:
    """Returns mean and width of the Gaussian core of a detector's response: what the fit of a band is to find.

    What is left out is averaged over its distribution in the sample. The core of all tracks is then a sum of Gaussians,
    which are so similar (widths and means vary by 3 and 7 % of a width) that it is a Gaussian again for every practical
    purpose: its mean is the average of the means, its squared width the harmonic average of the squared widths, which
    is what the core of a sum of Gaussians has, plus the variance of the means. A fit of a Gaussian to the density
    within 1.5 widths finds both within .001 widths.

    Args:
        detector: tpc, its or tof.
        species: 0 electron, 1 pion, 2 kaon, 3 proton.
        p: momenta in GeV, of any shape; the other arrays are broadcast with it.
        eta: pseudorapidity; matters for tpc.
        n: number of samples, `tpc_n` or `its_n`; matters for tpc and its.
        sector: 1 to 6; matters for tpc.

    Returns:
        Mean and width, of the shape of the arguments, in the unit of the branch.

    Raises:
        UsageError: the detector does not exist.
    """
    _check(detector)
    p = np.asarray(p, np.float64)
    if detector == "tof":
        response = _tof(np.full(p.shape, _MASS[species]), p)
        return response.mean, response.width
    if detector == "its":
        mean = _silicon_loss(p / _MASS[species])
        average = 1 / np.sqrt(_FOUR_SAMPLES / _ITS_WIDTH[4] ** 2 + (1 - _FOUR_SAMPLES) / _ITS_WIDTH[3] ** 2)
        relative = np.asarray(average if n is None else _ITS_WIDTH[np.asarray(n, np.int64)])
        mean, width = np.broadcast_arrays(mean, mean * relative)
        return mean, width
    mean = 50 * _gas_ionisation(p / _MASS[species])
    spread = 1.0  # mean square of the gains and of eta's factor that are averaged over; their means are 1
    if eta is None:
        spread *= 1 + _ETA_SLOPE**2 * _ETA**4 * 4 / 45  # the variance of eta² is 4/45 of the fourth power of its limit
    else:
        mean = mean * (1 + _ETA_SLOPE * (np.asarray(eta, np.float64) ** 2 - _ETA**2 / 3))
    if sector is None:
        spread *= float(np.mean(_GAIN**2))
    else:
        mean = mean * _GAIN[np.asarray(sector, np.int64) - 1]
    counts = np.arange(_FEWEST_CLUSTERS, _ROWS + 1) if n is None else np.asarray(n, np.float64)
    squared = np.asarray((_TPC_WIDTH * (counts / _ROWS) ** _TPC_EXPONENT) ** 2)
    if n is None:
        squared = np.asarray(1 / np.sum(_cluster_shares() / squared))
    mean, width = np.broadcast_arrays(mean, mean * np.sqrt(squared * spread + (spread - 1)))
    return mean, width


# --- the sample


def _clusters(rng: np.random.Generator, n: int) -> Integers:
    """Returns the number of clusters of n tracks: beta-binomial above the fewest."""
    return np.asarray(_FEWEST_CLUSTERS + rng.binomial(_ROWS - _FEWEST_CLUSTERS, rng.beta(*_CLUSTERS, n)))


def _cluster_shares() -> Array:
    """Returns the share of tracks with each number of clusters, from the fewest to all rows."""
    extra, (a, b) = np.arange(_ROWS - _FEWEST_CLUSTERS + 1), _CLUSTERS
    n = _ROWS - _FEWEST_CLUSTERS
    return np.asarray(comb(n, extra) * np.exp(betaln(extra + a, n - extra + b) - betaln(a, b)))


def _block(rng: np.random.Generator, entry: Integers) -> SimulatedEvents:
    n = len(entry)
    species = rng.choice(len(SPECIES), n, p=_ABUNDANCE)
    # In the types of the file before the response is drawn: the densities hold for what the file says.
    branches: dict[str, NDArray[Any]] = {
        "p": (LOWEST_MOMENTUM * (HIGHEST_MOMENTUM / LOWEST_MOMENTUM) ** rng.random(n)).astype(np.float32),
        "eta": rng.uniform(-_ETA, _ETA, n).astype(np.float32),
        "charge": rng.choice(np.array([-1, 1], np.int32), n),
        "sector": rng.integers(1, len(_GAIN) + 1, n, dtype=np.int32),
        "tpc_n": _clusters(rng, n).astype(np.int32),
        "its_n": np.where(rng.random(n) < _FOUR_SAMPLES, 4, 3).astype(np.int32),
    }
    p, eta = branches["p"].astype(np.float64), branches["eta"].astype(np.float64)
    branches["has_tof"] = np.asarray(rng.random(n) < -0.45 * np.expm1(np.minimum((0.3 - p) / 0.15, 0.0)))
    for detector, branch in DETECTORS.items():
        measured = _response(detector, _MASS[species], branches).draw(rng)
        branches[branch] = measured.astype(np.float32)
    branches["tof_beta"][~branches["has_tof"]] = MISSING
    branches["w"] = (1 / (0.92 - 0.30 * np.exp(-p / 0.3) - 0.05 * (eta / _ETA) ** 2)).astype(np.float32)
    branches["run"] = (FIRST_RUN + entry // TRACKS_PER_RUN).astype(np.int32)
    branches["event"] = (1 + entry % TRACKS_PER_RUN).astype(np.int64)
    branches["species"] = species.astype(np.int32)
    return SimulatedEvents(branches)


TRACKS: Final = Simulation("tracks", 200_000, _block)
