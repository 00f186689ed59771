"""The `probes` sample: electrons of Z → ee found by their partner, above a background, and the simulation of the same.

In data nobody knows which probe is an electron: only the mass of tag and probe says how many are. This toy has what
such a measurement has to cope with, and keeps the true label, so that every efficiency is known. All numbers were
chosen for this sample, of sizes that such measurements have. `probes` stands for data, `simulated_probes` for its
simulation.

**Probes.** A row is a probe. `run` (uint32) changes every 10,000 probes from 1 on, `event` (uint64) is the entry
number. `p` (float32, GeV) is log-uniform in 10 to 100, `eta` (float32) uniform within ±2.4, both for every species.
`species` (int32) is 0 for electrons and 1 for background, which nobody would know in data.

**Mass.** `mass` (float32, GeV) and the share of background depend on the twelve cells that the edges 10, 20, 35, 60,
100 in `p` and 0, 0.8, 1.6, 2.4 in |eta| make, counted from 0 (i in `p`, j in |eta|), and on nothing else within them:
in a bin that is a cell, mass is independent of all other branches for either species. Electrons are distributed as a
Crystal Ball function with its tail below (T. Skwarnicki, thesis, DESY F31-86-02): mode 91.0 - .25 j, width
1.8 + .15 i + .45 j, the tail from 1.4 widths on with the power 4. Background is exponential in 50 to 130 with the decay
length 18, 25, 40, 80 by i. It is .55, .40, .25, .15 of the probes by i, plus .04 j.

**Detector.** Four float32 branches, independent of each other at given `p` and `eta`:

| branch | electrons | background |
|---|---|---|
| `eop` | normal, mean 1 and width .20/√p ⊕ .02 | .3 + .9 Beta(2.5, 3) |
| `shower_width` | normal, mean .0100 + .0012 abs(eta), width 8 % of it | the same + Exp(.0030) |
| `hoe` | Exp(.02) | Exp(.10) |
| `isolation` | Exp(.05) | Exp(.25) |

**Data are not as simulated.** In `probes` the mean of the electrons' `eop` is .985 and its width 1.25 times as large,
`shower_width` is 3 % larger and `isolation` 30 % larger, for both species. So efficiencies in data are lower, the more
so at low `p`, and a scale factor is not 1.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from pidlab.simulate.events import Array, Integers, Mask, SimulatedEvents, Simulation

MOMENTUM_EDGES: Final = (10.0, 20.0, 35.0, 60.0, 100.0)
ETA_EDGES: Final = (0.0, 0.8, 1.6, 2.4)
"""Of the absolute value of eta."""
MASS_TAIL: Final = (1.4, 4.0)
"""Where the tail of the Crystal Ball function begins, in widths, and its power."""
BACKGROUND_RANGE: Final = (50.0, 130.0)

_DECAY_LENGTH: Final = np.array([18.0, 25.0, 40.0, 80.0])
_BACKGROUND_SHARE: Final = np.array([0.55, 0.40, 0.25, 0.15])
_PROBES_PER_RUN: Final = 10_000


class _Response(NamedTuple):
    """How a detector differs from the nominal one: see the table of the docstring."""

    eop_mean: float
    eop_width: float
    shower_width: float
    isolation: float


_DATA: Final = _Response(0.985, 1.25, 1.03, 1.30)
_SIMULATION: Final = _Response(1.0, 1.0, 1.0, 1.0)


def _crystal_ball(rng: np.random.Generator, n: int) -> Array:
    """Returns n pulls of the Crystal Ball function with `MASS_TAIL`."""
    alpha, power = MASS_TAIL
    beyond = power / alpha / (power - 1) * np.exp(-(alpha**2) / 2)
    core = np.sqrt(2 * np.pi) * ndtr(alpha)
    # u within (0, 1] picks a place of the tail by the inverse of its distribution, or one of the core.
    u = 1 - rng.random(n)
    tail = power / alpha - alpha - power / alpha * u ** (-1 / (power - 1))
    in_core = ndtri(ndtr(-alpha) + u * ndtr(alpha))
    return np.asarray(np.where(rng.random(n) < beyond / (beyond + core), tail, in_core))


def _masses(rng: np.random.Generator, electron: Mask, i: Integers, j: Integers) -> Array:
    n = len(electron)
    low, high = BACKGROUND_RANGE
    length = _DECAY_LENGTH[i]
    exponential = low - length * np.log1p(rng.random(n) * np.expm1(-(high - low) / length))
    return np.where(electron, 91.0 - 0.25 * j + (1.8 + 0.15 * i + 0.45 * j) * _crystal_ball(rng, n), exponential)


def _detector(rng: np.random.Generator, electron: Mask, p: Array, eta: Array, response: _Response) -> dict[str, Array]:
    n = len(electron)
    resolution = np.hypot(0.20 / np.sqrt(p), 0.02)
    eop = response.eop_mean + response.eop_width * resolution * rng.standard_normal(n)
    shower = (0.0100 + 0.0012 * np.abs(eta)) * (1 + 0.08 * rng.standard_normal(n))
    wider = np.where(electron, 0.0, 0.0030) * rng.exponential(size=n)
    return {
        "eop": np.where(electron, eop, 0.3 + 0.9 * rng.beta(2.5, 3.0, n)),
        "shower_width": response.shower_width * (shower + wider),
        "hoe": np.where(electron, 0.02, 0.10) * rng.exponential(size=n),
        "isolation": response.isolation * np.where(electron, 0.05, 0.25) * rng.exponential(size=n),
    }


def _block(rng: np.random.Generator, entry: Integers, response: _Response) -> SimulatedEvents:
    n = len(entry)
    # In the types of the file before the cell is found: a probe on an edge belongs where the file says.
    p = (10 * 10 ** rng.random(n)).astype(np.float32).astype(np.float64)
    eta = rng.uniform(-2.4, 2.4, n).astype(np.float32).astype(np.float64)
    i = np.clip(np.searchsorted(MOMENTUM_EDGES, p, "right") - 1, 0, len(_DECAY_LENGTH) - 1)
    j = np.clip(np.searchsorted(ETA_EDGES, np.abs(eta), "right") - 1, 0, len(ETA_EDGES) - 2)
    electron = rng.random(n) >= _BACKGROUND_SHARE[i] + 0.04 * j
    measured = {"p": p, "eta": eta, "mass": _masses(rng, electron, i, j)} | _detector(rng, electron, p, eta, response)
    branches: dict[str, NDArray[Any]] = {name: values.astype(np.float32) for name, values in measured.items()}
    branches["run"] = (1 + entry // _PROBES_PER_RUN).astype(np.uint32)
    branches["event"] = entry.astype(np.uint64)
    branches["species"] = np.where(electron, 0, 1).astype(np.int32)
    return SimulatedEvents(branches)


PROBES: Final = Simulation("probes", 200_000, partial(_block, response=_DATA))
SIMULATED_PROBES: Final = Simulation("probes", 200_000, partial(_block, response=_SIMULATION))
