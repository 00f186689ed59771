"""The `nano` sample: jagged electron candidates in the manner of CMS NanoAOD, prompt ones against fakes.

This is a toy: names, types and typical sizes are those of NanoAOD, the distributions were chosen for this sample.

**Events.** `run` (uint32) changes every 20,000 events from 362000 on, `luminosityBlock` (uint32) every 100; `event`
(uint64) starts beyond 2^32. `PV_npvs` (int32) is Poisson of mean 32, at least 1. `genWeight` (float32) is ±26.7,
negative for 12 % of the events, as generators at next-to-leading order make it. Of the events 25 % are Z → ee, 35 %
W → eν, 40 % multijet; `MET_pt` (GeV) is Gamma(2) of scale 8, plus 25 times a Gamma(4)/4 in W events.

**Candidates**, `nElectron` in each event, are in descending order of pt. Each of the 2, 1 or 0 true electrons is found
with probability 0.85; Poisson(0.35) unmatched candidates and Poisson(0.15) from heavy flavour are added. Many events
have no candidate.
`Electron_genPartFlav` (uint8): 1 prompt, 5 from a b hadron, 4 from a c hadron (40 % of the heavy flavour), 0 unmatched.

| `Electron_` | prompt | heavy flavour | unmatched |
|---|---|---|---|
| `pt` (GeV) | 42 with σ 10, at least 5 | 5 + Exp(12) | 5 + Exp(12) |
| `eta` | normal 1.3 within ±2.5 | uniform | uniform |
| `phi` | uniform | uniform | uniform |
| `sieie`, barrel | .0098 with σ .0006 | + Exp(.0004) | + Exp(.0022) |
| `sieie`, endcap | .0265 with σ .0016 | + Exp(.0010) | + Exp(.0055) |
| `hoe` | 0 for 40 %, else Exp(.015) | 0 for 20 %, else Exp(.05) | 0 for 10 %, else Exp(.08) |
| `eInvMinusPInv` (1/GeV) | σ .25/pt, 10 % with 4 times that | as prompt, σ .5/pt | σ .9/pt about -.4/pt |
| `dxy` (cm) | σ .003, 5 % with .012 | Laplace .012 | σ .02 |
| `r9` | 1 - Beta(1.2, 12) | 1 - Beta(1.5, 8) | 1 - Beta(2, 5) |

`charge` (int32) is -1 or 1, `mass` .000511 GeV. Pile-up adds .0003 PV_npvs to every `hoe` that is not 0. The barrel
ends at |eta| = 1.479.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pidlab.simulate.events import Array, Integers, SimulatedCollection, SimulatedEvents, Simulation

PROMPT: Final = 1
FROM_B: Final = 5
FROM_C: Final = 4
UNMATCHED: Final = 0

_FIRST_RUN: Final = 362_000
_EVENTS_PER_RUN: Final = 20_000
_EVENTS_PER_BLOCK: Final = 100
_FIRST_EVENT: Final = 4_300_000_000
_BARREL_END: Final = 1.479
_ELECTRON_MASS: Final = 0.000511

# Arrays of three numbers below are for prompt, heavy flavour and unmatched candidates.


def _origins(rng: np.random.Generator, n_true: Integers) -> tuple[Integers, Integers]:
    """Returns the event number and the origin (0 prompt, 1 heavy flavour, 2 unmatched) of each candidate."""
    n = len(n_true)
    counts = np.stack([rng.binomial(n_true, 0.85), rng.poisson(0.15, n), rng.poisson(0.35, n)], axis=1)
    event, origin = (column.ravel() for column in np.indices(counts.shape))
    return np.repeat(event, counts.ravel()), np.repeat(origin, counts.ravel())


def _kinematics(rng: np.random.Generator, origin: Integers) -> dict[str, Array]:
    n, prompt = len(origin), origin == 0
    pt = np.where(prompt, np.maximum(42 + 10 * rng.standard_normal(n), 5.0), 5 + rng.exponential(12, n))
    central = np.abs(1.3 * rng.standard_normal(n))
    central = np.where(central < 2.5, central, rng.uniform(0, 2.5, n))  # the few beyond the tracker are spread over it
    eta = np.where(prompt, np.where(rng.random(n) < 0.5, -central, central), rng.uniform(-2.5, 2.5, n))
    return {"pt": pt, "eta": eta, "phi": rng.uniform(-np.pi, np.pi, n)}


def _shape(rng: np.random.Generator, origin: Integers, eta: Array, npvs: Integers) -> dict[str, Array]:
    """Returns the shower shape of the candidates; `npvs` is that of their events."""
    n, barrel = len(origin), np.abs(eta) < _BARREL_END
    core = np.where(barrel, 0.0098, 0.0265) + np.where(barrel, 0.0006, 0.0016) * rng.standard_normal(n)
    tail = np.where(barrel, np.array([0, 0.0004, 0.0022])[origin], np.array([0, 0.0010, 0.0055])[origin])
    leaks = rng.random(n) >= np.array([0.4, 0.2, 0.1])[origin]
    behind = rng.exponential(np.array([0.015, 0.05, 0.08])[origin]) + 0.0003 * npvs
    wide = rng.beta(np.array([1.2, 1.5, 2.0])[origin], np.array([12.0, 8.0, 5.0])[origin])
    return {"sieie": core + tail * rng.exponential(size=n), "hoe": np.where(leaks, behind, 0.0), "r9": 1 - wide}


def _matching(rng: np.random.Generator, origin: Integers, pt: Array) -> dict[str, Array]:
    """Returns how well energy, momentum and vertex agree."""
    n = len(origin)
    radiated = np.where((origin < 2) & (rng.random(n) < 0.1), 4.0, 1.0)
    width = np.array([0.25, 0.5, 0.9])[origin] * radiated / pt
    offset = np.array([0.0, 0.0, -0.4])[origin] / pt
    gaussian = np.where(rng.random(n) < 0.05, 0.012, 0.003) * rng.standard_normal(n)
    displaced = np.select(
        [origin == 1, origin == 2], [rng.laplace(0, 0.012, n), 0.02 * rng.standard_normal(n)], gaussian
    )
    return {"eInvMinusPInv": offset + width * rng.standard_normal(n), "dxy": displaced}


def _flavour(rng: np.random.Generator, origin: Integers) -> NDArray[np.uint8]:
    heavy = np.where(rng.random(len(origin)) < 0.4, FROM_C, FROM_B)
    return np.select([origin == 0, origin == 1], [PROMPT, heavy], UNMATCHED).astype(np.uint8)


def _electrons(rng: np.random.Generator, n_true: Integers, npvs: Integers) -> SimulatedCollection:
    event, origin = _origins(rng, n_true)
    fields = _kinematics(rng, origin)
    fields |= _shape(rng, origin, fields["eta"], npvs[event])
    fields |= _matching(rng, origin, fields["pt"])
    by_pt = np.lexsort((-fields["pt"], event))
    columns: dict[str, NDArray[Any]] = {name: values[by_pt].astype(np.float32) for name, values in fields.items()}
    columns["genPartFlav"] = _flavour(rng, origin)[by_pt]
    columns["charge"] = rng.choice(np.array([-1, 1], np.int32), len(by_pt))
    columns["mass"] = np.full(len(by_pt), _ELECTRON_MASS, np.float32)
    return SimulatedCollection(np.bincount(event, minlength=len(n_true)), columns)


def _block(rng: np.random.Generator, entry: Integers) -> SimulatedEvents:
    n = len(entry)
    process = rng.choice(3, n, p=[0.40, 0.35, 0.25])  # the number of true electrons: multijet, W, Z
    npvs = np.maximum(rng.poisson(32, n), 1)
    neutrino = np.where(process == 1, 25 * rng.gamma(4.0, 0.25, n), 0.0)
    branches: dict[str, NDArray[Any]] = {
        "run": (_FIRST_RUN + entry // _EVENTS_PER_RUN).astype(np.uint32),
        "luminosityBlock": (1 + entry % _EVENTS_PER_RUN // _EVENTS_PER_BLOCK).astype(np.uint32),
        "event": (_FIRST_EVENT + entry).astype(np.uint64),
        "genWeight": np.where(rng.random(n) < 0.12, -26.7, 26.7).astype(np.float32),
        "MET_pt": (8 * rng.gamma(2.0, 1.0, n) + neutrino).astype(np.float32),
        "PV_npvs": npvs.astype(np.int32),
    }
    return SimulatedEvents(branches, {"Electron": _electrons(rng, process, npvs)})


NANO: Final = Simulation("Events", 100_000, _block)
