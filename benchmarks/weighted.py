"""Kinds of weights that the simulations of intervals try."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
PEAK, AWAY = 0.6, 1.0  # sWeights: the share of candidates they stand for, and how much lower the others score
KINDS = (
    "unit",
    "exponential",
    "20 % negative",
    "30 % negative",
    "sWeights",
    "one in ten of 50",
    "log-normal, σ = 1",
    "log-normal, σ = 2",
    "log-normal, σ = 3",
)
"""One; exponential; -1 for a share of the candidates, else 1; sWeights of a peak over a flat background; 50 for one
candidate in ten, else 1; log-normal with the standard deviation σ of the logarithm."""


class Weights(NamedTuple):
    """(n,) weights, and which candidates are the background that sWeights take off: nobody, for the other kinds."""

    weight: Array
    background: NDArray[np.bool_]


def weights(kind: str, n: int, rng: np.random.Generator) -> Weights:
    """Weights of one of `KINDS` for n candidates."""
    if kind == "sWeights":
        return _sweights(n, rng)
    name, _, number = kind.rpartition(" = ")
    if name:
        weight = rng.lognormal(0.0, float(number), n)
    elif kind.endswith("% negative"):
        weight = np.where(rng.random(n) < float(kind.split(maxsplit=1)[0]) / 100, -1.0, 1.0)
    else:
        weight = {
            "unit": lambda: np.ones(n),
            "exponential": lambda: rng.exponential(size=n),
            "one in ten of 50": lambda: np.where(rng.random(n) < 0.1, 50.0, 1.0),
        }[kind]()
    return Weights(weight, np.zeros(n, np.bool_))


def _sweights(n: int, rng: np.random.Generator) -> Weights:
    """sWeights (Pivk and Le Diberder, NIM A 555 (2005) 356) of a peak in mass over a flat background."""

    def peak(mass: Array) -> Array:
        return np.asarray(np.exp(-0.5 * ((mass - 0.5) / 0.1) ** 2) / (0.1 * np.sqrt(2 * np.pi)))

    background = rng.random(n) >= PEAK
    mass = np.where(background, rng.random(n), rng.normal(0.5, 0.1, n))
    grid = peak(np.linspace(0, 1, 2001))
    density = PEAK * grid + 1 - PEAK
    mixed = np.mean(grid / density)
    inverse = np.linalg.inv([[np.mean(grid**2 / density), mixed], [mixed, np.mean(1 / density)]])
    weight = (inverse[0, 0] * peak(mass) + inverse[0, 1]) / (PEAK * peak(mass) + 1 - PEAK)
    return Weights(weight, background)
