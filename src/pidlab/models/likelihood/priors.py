"""Priors: the abundances of the classes, equal, stated, or those of the training sample along the axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import ModelError, nearest
from pidlab.measured import Array
from pidlab.models.likelihood.curves import FINE

_ADDED = 0.5  # candidates of a class, by its share of the whole sample, in each slice: no abundance is zero


def log_priors(
    priors: Mapping[Any, float] | str | None,
    names: Sequence[str],
    place: Array,
    label: NDArray[np.int64],
    weight: Array,
    n_slices: int,
) -> tuple[Array, Array]:
    """Returns the logarithms of the abundances, (S, k) in the slices of the axis and (k,) where the axis is missing.

    Args:
        priors: None for equal ones, class to its abundance in any unit, or "sample" for those of the sample.
        names: k names of the classes.
        place: (n,) positions of the training candidates on the axis, in nodes; NaN where unknown.
        label: (n,) their classes.
        weight: (n,) their weights, which sum to an effective number of candidates.
        n_slices: S.

    Raises:
        ModelError: a class has no prior, or a prior is of no class or not positive.
    """
    k = len(names)
    if priors is None:
        whole = np.full(k, 1 / k)
    elif isinstance(priors, str):
        if priors != "sample":
            raise ModelError(f"priors is {priors!r}; give 'sample', or a number for each class")
        return _of_sample(place, label, weight, n_slices, k)
    else:
        whole = _stated(priors, names)
    return np.tile(np.log(whole), (n_slices, 1)), np.log(whole)


def _stated(priors: Mapping[Any, float], names: Sequence[str]) -> Array:
    by_name = {str(name): value for name, value in priors.items()}
    for name in by_name:
        if name not in names:
            raise ModelError(f"priors names {name!r}, which is no class; {nearest(name, names)}")
    absent = [name for name in names if name not in by_name]
    if absent:
        raise ModelError(f"priors has no number for the class {absent[0]!r}; give one for each class")
    values = np.array([by_name[name] for name in names], np.float64)
    if not ((values > 0) & np.isfinite(values)).all():
        raise ModelError(f"priors of {names[int(np.argmin(values))]!r} is not positive; give numbers above 0")
    return np.asarray(values / values.sum())


def _of_sample(place: Array, label: NDArray[np.int64], weight: Array, n_slices: int, k: int) -> tuple[Array, Array]:
    sums = np.bincount(label, weight, k)
    whole = sums / sums.sum()
    known = np.isfinite(place)
    at, own, kind = place[known] / FINE, weight[known], label[known]
    low = np.minimum(at.astype(np.int64), max(n_slices - 2, 0))
    counts = np.bincount(low * k + kind, own * (1 - (at - low)), n_slices * k)
    if n_slices > 1:
        counts += np.bincount((low + 1) * k + kind, own * (at - low), n_slices * k)
    shares = counts.reshape(n_slices, k) + _ADDED * whole
    return np.log(shares / shares.sum(axis=1, keepdims=True)), np.log(whole)


def add_priors(place: Array, in_slices: Array, without: Array, n_slices: int) -> Array:
    """Returns the (n, k) logarithms of the abundances at positions (n,) on the axis, linear between slices."""
    if n_slices == 1 or np.ptp(in_slices, axis=0).max() == 0:
        result = np.tile(in_slices[0], (len(place), 1))
    else:
        at = np.nan_to_num(place) / FINE
        low = np.minimum(at.astype(np.int64), n_slices - 2)
        share = (at - low)[:, None]
        result = in_slices[low] + share * (in_slices[low + 1] - in_slices[low])
    missing = np.isnan(place)
    if missing.any():
        result[missing] = without
    return result
