"""The axis of the likelihood, and the centre and the width of a variable in one class as curves along it.

The axis is a variable such as the momentum. It has nodes, and every curve is linear between them. A position on the
axis is a number of nodes: 3.25 lies a quarter of the way from node 3 to node 4.
"""

from __future__ import annotations

import numpy as np

from pidlab.compiled import compiled
from pidlab.measured import Array
from pidlab.models.likelihood.quantiles import ordered_slices, quantiles

FINE = 8
"""Nodes of curves for each node of densities: a centre may change steeply along the axis, a shape changes slowly. With
16 slices of densities a curve of dE/dx, from .1 to 10 GeV, is a twentieth of its width away from the broken line."""

_OUTSIDE = 0.0005  # the share of the candidates beyond each end of the axis, which take the value at the end
_LOGARITHMIC = 5.0  # positive numbers whose ends have a larger ratio are divided by their logarithms
_SLICE = 250.0  # effective candidates of one slice, whose median is then known to 8 % of the width
_MOST_SLICES = 100
_LEAST_SLICES = 5  # fewer are joined by straight lines
_ROUNDS = 5  # the first finds where the slices lie, and after the third nothing moves by a hundredth of a width
_SIDES = np.array([0.02275, 0.15866, 0.5, 0.84134, 0.97725])  # of a normal density: -2, -1, 0, 1 and 2 widths
_NARROWEST = 1e-3  # of the width of all candidates: a class of equal values gets a finite density
_PRICE = 1.4  # of a degree of freedom in cross-validation, as for densities
_LEAST_LEFT = 0.2  # of the points, which are not taken by degrees of freedom at their price
_CLIP = 2.0  # widths, beyond which a candidate moves the centre and the width as if it were there
_CLIPPED_SQUARE = 0.92054  # the mean of min(z², _CLIP²) for a normal density


def axis_nodes(values: Array, weight: Array, n_slices: int) -> Array:
    """Returns the (N,) rising nodes of an axis with `n_slices` nodes of densities, N = FINE (n_slices - 1) + 1.

    Half of the distance between neighbours follows the candidates and half is uniform in the variable, or in its
    logarithm if it is positive and spans more than a factor of 5. There are fewer nodes if values repeat, and a single
    one if all values are equal.

    Args:
        values: (n,) finite values of the variable.
        weight: (n,) positive weights.
        n_slices: the number of nodes of densities.
    """
    order = np.argsort(values)
    ordered, share = values[order], np.cumsum(weight[order])
    share /= share[-1]
    low, high = ordered[np.searchsorted(share, [_OUTSIDE, 1 - _OUTSIDE])]
    n = FINE * (n_slices - 1) + 1
    if n == 1 or not low < high:
        return np.array([low])
    logarithmic = low > 0 and high > _LOGARITHMIC * low
    grid = np.geomspace(low, high, 20 * n) if logarithmic else np.linspace(low, high, 20 * n)
    grid[0], grid[-1] = low, high
    height = np.interp(grid, ordered, share)
    height = (height - height[0]) / (height[-1] - height[0]) + np.linspace(0, 1, len(grid))
    nodes = np.interp(np.linspace(0, 2, n), height, grid)
    nodes[0], nodes[-1] = low, high
    return np.asarray(nodes)


@compiled(nogil=True, error_model="numpy")
def located(values: Array, nodes: Array) -> Array:
    """Returns the position (n,) of values (n,) on an axis, within its ends; NaN for a value that is not finite."""
    last = len(nodes) - 1
    out = np.empty(len(values))
    for i in range(len(values)):
        value = values[i]
        if not abs(value) < np.inf:
            out[i] = np.nan
        elif value <= nodes[0]:
            out[i] = 0.0
        elif value >= nodes[last]:
            out[i] = last
        else:
            low, high = 0, last
            while high - low > 1:
                middle = (low + high) // 2
                if nodes[middle] <= value:
                    low = middle
                else:
                    high = middle
            out[i] = low + (value - nodes[low]) / (nodes[low + 1] - nodes[low])
    return out


def centre_and_width(x: Array, place: Array, weight: Array, n_nodes: int, scale: float) -> tuple[Array, Array]:
    """Returns the centre (N,) and the width (N,) of a variable in one class at each node of the axis.

    In slices of equal population, they begin as the median and half of the central 68 % and become Huber's mean and
    the matching width, in which tails count as if they ended at two widths. They are smoothed along the axis by a
    spline of generalised cross-validation. A slice is measured relative to the curves of the round before, so that
    neither the slope of the centre within the slice nor that of the width counts as width. Where the central 95 % are
    wider than 8 widths, as beside a sharp peak, the width is an eighth of them. Beyond the candidates of the class,
    both are constant.

    Args:
        x: (n,) values of the variable, n > 0.
        place: (n,) positions on the axis.
        weight: (n,) positive weights that sum to the effective number of candidates.
        n_nodes: N.
        scale: the width of the variable in all classes; the width of the class is at least a thousandth of it.
    """
    n_slices = int(np.clip(weight.sum() / _SLICE, 1, _MOST_SLICES)) if n_nodes > 1 else 1
    by_place = np.argsort(place, kind="stable")
    x, place, weight = x[by_place], place[by_place], weight[by_place]
    ends = np.cumsum(weight)
    number = np.minimum((ends - weight / 2) / ends[-1] * n_slices, n_slices - 1).astype(np.int64)
    population = np.bincount(number, weight, n_slices)
    at = np.bincount(number, weight * place, n_slices) / population
    error = 1 / np.sqrt(population)  # of the centre, and of the width, in widths, to a factor near 1
    edges = place[0], place[-1]
    nodes = np.arange(n_nodes, dtype=np.float64)
    order, first = ordered_slices(x, number, n_slices)
    q = quantiles(x[order], weight[order], first, _SIDES)
    least = scale * _NARROWEST
    centres = q[:, 2]
    widths = np.maximum(np.maximum((q[:, 3] - q[:, 1]) / 2, (q[:, 4] - q[:, 0]) / 8), least)
    positive = bool(q.min() > 0)
    centre = _smooth_centre(at, centres, error * widths, nodes, edges, positive=positive)
    log_width = _smooth(at, np.log(widths), error, nodes, edges)
    for _ in range(_ROUNDS if population.min() > 1 else 0):
        here = np.interp(place, nodes, centre), np.exp(np.interp(place, nodes, log_width))
        old = np.interp(at, nodes, centre), np.exp(np.interp(at, nodes, log_width))
        z = (x - here[0]) / here[1]
        clipped = np.clip(z, -_CLIP, _CLIP)
        within = np.bincount(number, weight * (z == clipped), n_slices) / population
        shift = np.bincount(number, weight * clipped, n_slices) / population / np.maximum(within, 0.5)
        square = np.bincount(number, weight * clipped**2, n_slices) / population
        centres = old[0] + old[1] * shift
        widths = np.maximum(old[1] * np.sqrt(np.maximum(square, 0.01) / _CLIPPED_SQUARE), least)
        centre = _smooth_centre(at, centres, error * widths, nodes, edges, positive=positive)
        log_width = _smooth(at, np.log(widths), error, nodes, edges)
    return centre, np.exp(log_width)


def _smooth_centre(
    at: Array, values: Array, error: Array, nodes: Array, edges: tuple[float, float], *, positive: bool
) -> Array:
    """Returns the spline through the centres; that of a positive variable is smooth in its logarithm, as a power of the
    momentum is."""
    if not positive or not (values > 0).all():
        return _smooth(at, values, error, nodes, edges)
    return np.asarray(np.exp(_smooth(at, np.log(values), error / values, nodes, edges)))


def _smooth(at: Array, values: Array, error: Array, nodes: Array, edges: tuple[float, float]) -> Array:
    """Returns the smoothing spline (N,) through values (s,) at positions (s,), at each node between the edges.

    It is the natural cubic spline of the smallest weighted squares plus a penalty on the squared second derivative (P.
    Green, B. Silverman, Nonparametric Regression and Generalized Linear Models (1994), section 2.3). The penalty is
    that of generalised cross-validation; scipy's own search for it fails for weights far from 1.
    """
    from scipy.interpolate import CubicSpline

    inside = np.clip(nodes, *edges)
    rising = np.append(True, np.diff(at) > 1e-9)
    at, values, error = at[rising], values[rising], error[rising]
    n = len(at)
    if n < _LEAST_SLICES:
        return np.asarray(np.interp(inside, at, values))
    h = np.diff(at)
    inner = np.arange(n - 2)
    second = np.zeros((n, n - 2))
    second[inner, inner], second[inner + 2, inner] = 1 / h[:-1], 1 / h[1:]
    second[inner + 1, inner] = -1 / h[:-1] - 1 / h[1:]
    band = np.diag((h[:-1] + h[1:]) / 3) + np.diag(h[1:-1] / 6, 1) + np.diag(h[1:-1] / 6, -1)
    penalty = error[:, None] * (second @ np.linalg.solve(band, second.T)) * error
    stiffness, modes = np.linalg.eigh((penalty + penalty.T) / 2)
    stiffness[:2] = 0  # a straight line is not penalised
    parts = modes.T @ (values / error)
    kept = 1 / (1 + np.geomspace(1e-2, 1e12, 71)[:, None] * np.maximum(stiffness / stiffness[-1], 0))
    left = 1 - _PRICE * kept.sum(axis=1) / n
    left[left < _LEAST_LEFT] = 1e-9
    best = np.argmin((((1 - kept) * parts) ** 2).sum(axis=1) / left**2)
    smooth = error * (modes @ (kept[best] * parts))
    return np.asarray(CubicSpline(at, smooth, bc_type="natural")(inside))
