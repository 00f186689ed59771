"""Looks up the log-likelihoods of many candidates in the curves and tables of a detector."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pidlab.compiled import compiled
from pidlab.measured import Array

Tables = NDArray[np.float32]


@compiled(nogil=True, error_model="numpy")
def _cell(x: float, centre: float, inverse: float, reach: float, end: float, n_bins: int) -> tuple[int, float]:
    """Returns the bin of a variable with this centre and inverse width, and the share of the way through it."""
    z = (x - centre) * inverse
    t = min(max(z / (reach + abs(z)), -end), end)
    at = (t / end + 1) * 0.5 * n_bins
    low = min(int(at), n_bins - 1)
    return low, at - low


@compiled(nogil=True, error_model="numpy")
def _in_plane(plane: Tables, i: int, j: int, f: float, g: float) -> float:
    """Returns the table of two variables at the shares f and g of the way through its cell i, j."""
    low = plane[i, j] + g * (plane[i, j + 1] - plane[i, j])
    high = plane[i + 1, j] + g * (plane[i + 1, j + 1] - plane[i + 1, j])
    return float(low + f * (high - low))


@compiled(nogil=True, error_model="numpy")
def add_detector(
    x: Array,
    place: Array,
    curves: Array,
    tables: Tables,
    reach: float,
    end: float,
    fine: int,
    weights: Array,
    out: Array,
) -> None:
    """Adds the weighted log-likelihoods of a detector of v variables, 1 or 2, relative to the likeliest class.

    Args:
        x: (n, v) the variables; a candidate adds nothing where one is not finite.
        place: (n,) positions on the axis, in nodes; a candidate adds nothing where it is NaN.
        curves: (N, k, 2 v + 1) centre and inverse width of each variable, and the sum of the logarithms of the widths,
            at each node.
        tables: (k, S, T) or (k, S, T, T) logarithms of the densities.
        reach, end: the reach and end of the map from standardised variables to tables, see `density`.
        fine: nodes of the axis for each slice.
        weights: (k,) factors on the log-likelihoods.
        out: (n, k), changed in place.
    """
    n_nodes, n_classes = curves.shape[0], curves.shape[1]
    n_slices, n_bins = tables.shape[1], tables.shape[2] - 1
    last = 2 * (tables.ndim - 2)
    values = np.empty(n_classes)
    for i in range(len(x)):
        measured = abs(x[i, 0]) < np.inf and place[i] >= 0
        if not measured or (tables.ndim == 4 and not abs(x[i, 1]) < np.inf):
            continue
        node = min(int(place[i]), max(n_nodes - 2, 0))
        share = place[i] - node
        after = min(node + 1, n_nodes - 1)
        row = node // fine
        part = place[i] / fine - row
        below = min(row + 1, n_slices - 1)
        largest = -np.inf
        for k in range(n_classes):
            a, b = curves[node, k], curves[after, k]
            j, f = _cell(x[i, 0], a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]), reach, end, n_bins)
            if tables.ndim == 3:  # numba compiles one of the two branches
                first, second = tables[k, row], tables[k, below]
                upper = first[j] + f * (first[j + 1] - first[j])
                lower = second[j] + f * (second[j + 1] - second[j])
            else:
                m, g = _cell(x[i, 1], a[2] + share * (b[2] - a[2]), a[3] + share * (b[3] - a[3]), reach, end, n_bins)
                upper, lower = _in_plane(tables[k, row], j, m, f, g), _in_plane(tables[k, below], j, m, f, g)
            value = upper + part * (lower - upper) - (a[last] + share * (b[last] - a[last]))
            values[k] = value
            largest = max(largest, value)
        for k in range(n_classes):
            out[i, k] += weights[k] * (values[k] - largest)
