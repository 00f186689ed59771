"""Weighted quantiles of many slices at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pidlab.measured import Array

_TIE = 1e-9  # of the weight of a slice: a quantile this close to a border between two values is their mean


def ordered_slices(x: Array, number: NDArray[np.int64], n_slices: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the order (n,) of values by slice and then by value, and the first place (n_slices + 1,) of each slice.

    Args:
        x: (n,) values.
        number: (n,) the slice of each value.
        n_slices: the number of slices.
    """
    order = np.lexsort((x, number))
    first = np.concatenate([[0], np.cumsum(np.bincount(number, minlength=n_slices))])
    return order, first


def quantiles(x: Array, weight: Array, first: NDArray[np.int64], shares: Array) -> Array:
    """Returns the weighted quantiles (n_slices, q) of ordered values; slices must not be empty.

    A quantile is the value at which the cumulative weight passes the share, or the mean of two neighbours if it is
    reached exactly between them. An integer weight is therefore the same as a repeated value.

    Args:
        x: (n,) values, in order within each slice.
        weight: (n,) positive weights.
        first: (n_slices + 1,) the first place of each slice, then n.
        shares: (q,) shares between 0 and 1.
    """
    ends = np.concatenate([[0.0], np.cumsum(weight)])
    low, high = ends[first[:-1], None], ends[first[1:], None]
    target, tie = low + (high - low) * shares, _TIE * (high - low)
    last = first[1:, None] - 1
    below = np.clip(np.searchsorted(ends[1:], target - tie), first[:-1, None], last)
    above = np.clip(np.searchsorted(ends[1:], target + tie), first[:-1, None], last)
    return np.asarray((x[below] + x[above]) / 2)
