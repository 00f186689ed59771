"""Replicas: the numbers of a map moved at random within their uncertainties, with what is common moved in common."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from pidlab.datadriven.efficiency.result import Quantity
from pidlab.measured import Array

SEED = 20211  # any number will do, but it must stay: replica r is the same in every program and in every year
_STATISTICAL = "statistical"


def replicas(values: Sequence[Quantity], n: int, *, seed: int = SEED) -> Array:
    """Returns (n, bins) replicas; NaN in a bin without a number.

    In replica r each bin moves by its statistical error times a normal number of its own, and all bins move together by
    the shift of each systematic times one normal number. The numbers depend on the seed, on r and on the name of the
    source alone. So candidates in one bin move alike, and maps of other working points, or in other folders with the
    same bins, move together as far as they share sources. An efficiency is kept within 0 and 1 if it lies there.
    """
    table = np.array([q.measured[:3] if q.usable else (np.nan,) * 3 for q in values]).reshape(-1, 3)
    value, low, high = table.T
    moved = np.empty((n, len(values)))
    sources = list(dict.fromkeys(source for q in values for source in q.systematics))
    shifts = {source: np.array([q.systematics.get(source, 0.0) for q in values]) for source in sources}
    for r in range(n):
        z = _normal(seed, r, _STATISTICAL, len(values))
        moved[r] = value + np.where(z > 0, high - value, value - low) * z
        for source, shift in shifts.items():
            moved[r] += np.nan_to_num(shift) * _normal(seed, r, source, 1)[0]
    return np.asarray(np.maximum(moved, np.minimum(value, 0.0)))


def _normal(seed: int, r: int, source: str, n: int) -> Array:
    """Returns n normal numbers that depend on the arguments alone; a smaller n gives the first of them."""
    sequence = np.random.SeedSequence([seed, r, zlib.crc32(source.encode())])
    return np.random.default_rng(sequence).standard_normal(n)
