"""Replicas: the numbers of a map moved at random within their uncertainties, with what is common moved in common."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from pidlab.datadriven.efficiency.result import Quantity, QuantityColumns
from pidlab.measured import Array

SEED = 20211  # any number will do, but it must stay: replica r is the same in every program and in every year
_STATISTICAL = "statistical"


def replicas(values: Sequence[Quantity], n: int) -> Array:
    """Returns (n, bins) replicas; NaN in a bin without a number.

    In replica r each bin moves by its statistical error times a normal number of its own, and all bins move together by
    the shift of each systematic times one normal number. The numbers depend on the seed, on r and on the name of the
    source alone. So candidates in one bin move alike, and maps of other working points, or in other folders with the
    same bins, move together as far as they share sources. An efficiency is kept within 0 and 1 if it lies there.
    """
    value, low, high, _, _, shifts = QuantityColumns.of(values)
    moved = np.empty((n, len(values)))
    for r in range(n):
        z = _normal(r, _STATISTICAL, len(values))
        moved[r] = value + np.where(z > 0, high - value, value - low) * z
        for source, shift in shifts.items():
            moved[r] += np.nan_to_num(shift) * _normal(r, source, 1)[0]
    return np.asarray(np.maximum(moved, np.minimum(value, 0.0)))


def _normal(r: int, source: str, n: int) -> Array:
    """Returns n normal numbers that depend on the arguments alone; a smaller n gives the first of them."""
    sequence = np.random.SeedSequence([SEED, r, zlib.crc32(source.encode())])
    return np.random.default_rng(sequence).standard_normal(n)
