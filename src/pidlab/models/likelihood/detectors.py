"""Detectors: the fitted densities of one or two variables in each class, and their logarithms for candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.measured import Array
from pidlab.models.likelihood import density
from pidlab.models.likelihood.curves import FINE, centre_and_width
from pidlab.models.likelihood.look_up import add_detector
from pidlab.models.likelihood.quantiles import quantiles

BINS_OF_TWO = 40
"""Bins of each of two variables of one detector, whose table has as many cells as the product."""

_SPREAD = np.array([0.02275, 0.15866, 0.84134, 0.97725])  # of a normal density: -2, -1, 1 and 2 widths


@dataclass(frozen=True, slots=True)
class DetectorDensity:
    """The densities of the variables of one detector in k classes, along an axis with N nodes and S slices.

    Attributes:
        name: the detector.
        columns: the one or two columns of X that hold its variables.
        curves: (N, k, 2 v + 1) for v variables: the centre and the inverse width of each, and last the sum of the
            logarithms of the widths.
        tables: (k, S, T[, T]) float32 logarithms of the densities of the standardised variables; see `density`.
        n_effective: (k,) effective number of candidates of each class that have been measured.
    """

    name: str
    columns: tuple[int, ...]
    curves: Array
    tables: NDArray[np.float32]
    n_effective: Array

    def add(self, X: NDArray[Any], place: Array, weights: Array, out: Array) -> None:
        """Adds the weighted log-likelihoods of X (n, d), relative to that of the likeliest class, to `out` (n, k).

        A candidate adds nothing if a variable of the detector or the position on the axis is not finite.

        Args:
            X: (n, d) values.
            place: (n,) positions on the axis, in nodes.
            weights: (k,) the weight of the detector for each class.
            out: (n, k), changed in place.
        """
        x = np.ascontiguousarray(X[:, list(self.columns)], np.float64)
        ends = density.REACH, density.last_node()
        add_detector(x, place, self.curves, self.tables, *ends, FINE, weights, out)


def fit_detector(
    name: str,
    columns: Sequence[int],
    X: Array,
    place: Array,
    label: NDArray[np.int64],
    weight: Array,
    counts: bool,
    shape: tuple[int, int, int],
    bins: int,
    method: str,
) -> DetectorDensity:
    """Returns the densities of one detector; a class that it never measured gets that of all classes together.

    Args:
        name: the detector.
        columns: the columns of its variables.
        X: (n, d) values, NaN where missing.
        place: (n,) positions on the axis; NaN where they are unknown.
        label: (n,) classes.
        weight: (n,) positive weights.
        counts: whether weights count repeated rows.
        shape: the number of classes, of nodes of the axis and of slices.
        bins: the number of bins of the table of one variable.
        method: "histogram" or "kernel".
    """
    n_classes, n_nodes, n_slices = shape
    x = X[:, list(columns)]
    known = np.isfinite(x).all(axis=1) & np.isfinite(place)
    bins = bins if len(columns) == 1 else BINS_OF_TWO
    curves = np.zeros((n_nodes, n_classes, 2 * len(columns) + 1))
    curves[:, :, 1:-1:2] = 1
    tables = np.zeros((n_classes, n_slices, *(bins + 1,) * len(columns)), np.float32)
    measured = [np.flatnonzero(known & (label == k)) for k in range(n_classes)]
    n_effective = np.array([float(as_events(weight[rows], counts=counts).sum()) for rows in measured])
    if known.any():
        scales = [_width(x[known, v], weight[known]) for v in range(len(columns))]
        floor = density.smallest(float(n_effective[n_effective > 0].min()))
    for k in range(n_classes if known.any() else 0):
        rows = measured[k] if len(measured[k]) else np.flatnonzero(known)
        own = as_events(weight[rows], counts=counts)
        z = []
        for v, scale in enumerate(scales):
            centre, width = centre_and_width(x[rows, v], place[rows], own, n_nodes, scale)
            curves[:, k, 2 * v], curves[:, k, 2 * v + 1] = centre, 1 / width
            curves[:, k, -1] += np.log(width)
            nodes = np.arange(n_nodes)
            here = np.interp(place[rows], nodes, centre), np.interp(place[rows], nodes, 1 / width)
            z.append((x[rows, v] - here[0]) * here[1])
        found = density.counted(tuple(z), place[rows] / FINE, own, n_slices, bins)
        tables[k] = density.log_densities(found, method, floor)
    return DetectorDensity(name, tuple(columns), curves, tables, n_effective)


def as_events(weight: Array, *, counts: bool) -> Array:
    """Returns weights (n,) whose sum is the effective number of candidates, (Σw)² / Σw², or the weights if they count
    repeated rows."""
    return weight if counts or not len(weight) else weight * (weight.sum() / (weight**2).sum())


def _width(x: Array, weight: Array) -> float:
    """Returns the width of a variable in all classes: half of the central 68 %, or a quarter of the central 95 %."""
    order = np.argsort(x)
    q = quantiles(x[order], weight[order], np.array([0, len(x)]), _SPREAD)[0]
    width = max((q[2] - q[1]) / 2, (q[3] - q[0]) / 4)
    # A variable that hardly varies still needs a width that numbers of its size can resolve.
    return float(max(width, float(x.max() - x.min()) * 1e-3, float(np.abs(x).max()) * 1e-9, 1e-30))
