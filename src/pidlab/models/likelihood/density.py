"""Densities of standardised variables as tables of their logarithm, smoothed so that no bin is empty.

A variable z with centre 0 and width 1 is mapped to t = z / (REACH + |z|), which lies in (-1, 1) and is nearly linear
for small z. A table has equidistant nodes in t, fine in the middle of the density and coarse in its tails, and holds
the logarithm of the density in z at each node; between nodes the logarithm is linear in t.
"""

from __future__ import annotations

import numpy as np

from pidlab.measured import Array

REACH = 4.0
_LARGEST = 60.0  # widths from the centre to the last node, beyond which a density is constant
_SHARED = 2.0  # effective candidates of the mean shape that every slice has besides its own
_PENALTIES = np.geomspace(1e5, 1e-3, 13)
_COUPLINGS = np.geomspace(1e4, 0.01, 13)  # of neighbouring slices, in their mean population
_WORSE = 20.0  # above the smallest criterion, the search ends
_PRICE = 1.4  # of a degree of freedom in the choice of the penalty; 1 chooses too little smoothing now and then
"""C. Gu, Smoothing Spline ANOVA Models (2013), section 3.2.4, recommends 1.4."""
_STEPS, _ENOUGH, _LARGEST_STEP = 60, 1e-2, 3.0  # of Newton's method, in logarithms of the density
_FLOOR = 1e-3  # of a candidate within one width: no density is taken to be smaller, because no training shows it
_ALONG_SLICES = (0.01, 1.0, 2.0, 4.0, 1e6)  # widths of kernels along the slices: from none to one shape for all
_WIDTHS = np.geomspace(0.7, 10.0, 7)  # of the kernels of two variables, in units of the pilot's


def last_node() -> float:
    """Returns t at the last node of every table."""
    return _LARGEST / (REACH + _LARGEST)


def grid(n_bins: int) -> Array:
    """Returns z at the (n_bins + 1,) nodes of a table."""
    t = np.linspace(-last_node(), last_node(), n_bins + 1)
    return np.asarray(REACH * t / (1 - np.abs(t)))


def counted(z: tuple[Array, ...], place: Array, weight: Array, n_slices: int, n_bins: int) -> Array:
    """Returns the weights (n_slices, n_bins + 1[, n_bins + 1]) of candidates near each node of a table.

    A candidate belongs to the nearest node in each standardised variable, and in parts to the two nearest slices.

    Args:
        z: one or two (n,) standardised variables.
        place: (n,) positions on the axis, in slices.
        weight: (n,) weights.
        n_slices, n_bins: the shape of the table.
    """
    n = n_bins + 1
    cell = np.zeros(len(place), np.int64)
    for each in z:
        t = each / (REACH + np.abs(each))
        cell = cell * n + np.rint((np.clip(t / last_node(), -1, 1) + 1) / 2 * n_bins).astype(np.int64)
    low = np.minimum(place.astype(np.int64), max(n_slices - 2, 0))
    share, size = place - low, n ** len(z)
    result = np.bincount(low * size + cell, weight * (1 - share), n_slices * size)
    if n_slices > 1:
        result += np.bincount((low + 1) * size + cell, weight * share, n_slices * size)
    return np.asarray(result.reshape(n_slices, *(n,) * len(z)))


def log_densities(counts: Array, method: str, floor: float) -> Array:
    """Returns the logarithms of the densities, of the shape of the counts (n_slices, T[, T]) that `counted` returns.

    Every slice has a share in the mean shape of all, which is the shape of a slice without candidates. Each density
    is normalised and at least `floor`.

    Args:
        counts: the effective numbers of candidates.
        method: "histogram" for a histogram smoothed by a penalty, "kernel" for an adaptive kernel; two variables
            always take the kernel.
        floor: the smallest logarithm.
    """
    z = grid(counts.shape[-1] - 1)
    wide = np.gradient(z)
    volume = wide if counts.ndim == 2 else wide[:, None] * wide
    smooth = _penalised if counts.ndim == 2 and method == "histogram" else _kernels
    mean = np.exp(smooth(counts.sum(axis=0, keepdims=True), z)) * volume
    shared = counts + _SHARED * mean / mean.sum()
    found = np.maximum(smooth(shared, z), floor) if len(counts) > 1 else np.maximum(np.log(mean / volume), floor)
    over = tuple(range(1, counts.ndim))
    return np.asarray(np.maximum(found - np.log((np.exp(found) * volume).sum(axis=over, keepdims=True)), floor))


def smallest(n_effective: float) -> float:
    """Returns the smallest logarithm of a density from so many effective candidates."""
    return float(np.log(_FLOOR / max(n_effective, 1.0)))


def _penalised(counts: Array, z: Array) -> Array:
    """Returns logarithms (s, T) of densities by penalised likelihood (I. Good, R. Gaskins, Biometrika 58 (1971) 255).

    The counts of bins are Poisson, with the mean density · bin width · sum of counts. The first penalty is the integral
    of the squared second derivative of the logarithm, so that a smooth density is a straight line in the logarithm: an
    exponential tail, which continues where there are no candidates. The second is the squared difference of the
    logarithms of neighbouring slices, averaged over the mean shape. The two factors have the smallest Akaike criterion;
    its degrees of freedom are those of a linear smoother of slices that are equally populated.
    """
    n_slices, wide, total = len(counts), np.gradient(z), counts.sum(axis=1, keepdims=True)
    broad = wide / (np.pi * (1 + z**2))
    shape = np.maximum(counts.sum(axis=0) / counts.sum() + 1e-3 * broad, 1e-9)
    matrix, coupling = _roughness(z), _differences(n_slices)
    root = 1 / np.sqrt(shape)
    stiffness = np.clip(np.linalg.eigvalsh(matrix * root * root[:, None]), 0, None)
    stiffness_between = np.clip(np.linalg.eigvalsh(coupling), 0, None)
    start = np.log((counts + 0.5 * total * broad) / (1.5 * total * wide))

    def solved(penalty: float, between: float, value: Array) -> tuple[float, Array]:
        value = _newton(value, counts, total * wide, (penalty * matrix, between * coupling, shape))
        fitted = np.exp(value) * total * wide
        hold = (penalty * stiffness[:, None] + between * stiffness_between) / (counts.sum() / n_slices)
        freedom = float((1 / (1 + hold)).sum())
        return 2 * float(fitted.sum() - (counts * value).sum()) + 2 * _PRICE * freedom, value

    couplings = _COUPLINGS * counts.sum() / n_slices if n_slices > 1 else [0.0]
    penalty, between, best, kept = _PENALTIES[0], couplings[0], np.inf, start
    for choices in ("penalty", "coupling", "penalty")[: 3 if n_slices > 1 else 1]:
        value = kept if choices == "coupling" else start
        for candidate in _PENALTIES if choices == "penalty" else couplings:
            tried = (candidate, between) if choices == "penalty" else (penalty, candidate)
            criterion, value = solved(*tried, value)
            if criterion < best:
                best, kept, (penalty, between) = criterion, value, tried
            elif criterion > best + _WORSE:
                break
    return np.asarray(kept)


def _roughness(z: Array) -> Array:
    """Returns the matrix (T, T) of the integral of the squared second derivative."""
    h = np.diff(z)
    first, last = 2 / (h[:-1] * (h[:-1] + h[1:])), 2 / (h[1:] * (h[:-1] + h[1:]))
    second = np.zeros((len(z) - 2, len(z)))
    rows = np.arange(len(z) - 2)
    second[rows, rows], second[rows, rows + 1], second[rows, rows + 2] = first, -first - last, last
    return np.asarray(second.T @ (second * ((h[:-1] + h[1:]) / 2)[:, None]))


def _differences(n_slices: int) -> Array:
    """Returns the matrix (s, s) of the sum of the squared differences of neighbouring slices."""
    step = np.diff(np.eye(n_slices), axis=0)
    return np.asarray(step.T @ step)


def _newton(value: Array, counts: Array, exposure: Array, penalties: tuple[Array, Array, Array]) -> Array:
    """Returns the logarithms (s, T) that maximise the penalised likelihood, by Newton's method.

    Nodes are ordered by bin and then by slice, so that the system is a band of twice the number of slices.
    """
    from scipy.linalg import solveh_banded

    matrix, coupling, shape = penalties
    n_slices, n = counts.shape
    band = np.zeros((2 * n_slices + 1, n, n_slices))
    for offset in range(3):
        band[2 * n_slices - offset * n_slices, offset:] += np.diagonal(matrix, offset)[:, None]
    band[-1] += shape[:, None] * np.diagonal(coupling)
    if n_slices > 1:
        band[-2, :, 1:] += shape[:, None] * np.diagonal(coupling, 1)
    band = band.reshape(2 * n_slices + 1, -1)
    for _ in range(_STEPS):
        fitted = np.exp(np.minimum(value, 50.0)) * exposure
        pull = value @ matrix + (coupling @ value) * shape
        system = band.copy()
        system[-1] += np.maximum(fitted, 1e-9).T.ravel()
        slope = (counts - fitted - pull).T.ravel()
        step = solveh_banded(system, slope, overwrite_ab=True, check_finite=False).reshape(n, n_slices).T
        value = value + np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
        if np.abs(step * np.sqrt(fitted)).max() < _ENOUGH:
            break
    return value


def _kernels(counts: Array, z: Array) -> Array:
    """Returns logarithms (s, T[, T]) of densities by kernels in the variables and along the slices.

    The width along the slices has the largest likelihood of candidates that are left out one by one (cross-validation).
    """
    smooth = _kernel_line if counts.ndim == 2 else _kernel_plane
    number = np.arange(len(counts))
    best, kept = -np.inf, np.zeros(counts.shape)
    for width in _ALONG_SLICES if len(counts) > 1 else _ALONG_SLICES[:1]:
        distance = (number[:, None] - number) / width
        together = np.tensordot(np.exp(-0.5 * distance**2), counts, axes=1)
        found, own = smooth(together, z)
        total = together.reshape(len(counts), -1).sum(axis=1).reshape(-1, *(1,) * (counts.ndim - 1))
        others = np.maximum(np.exp(found) - own / total, 1e-12)
        likelihood = float((counts * np.log(others)).sum())
        if likelihood > best:
            best, kept = likelihood, found
    return kept


def _kernel_line(counts: Array, z: Array) -> tuple[Array, Array]:
    """Returns logarithms (s, T) of densities by normal kernels, wider where the density is small (I. Abramson, Annals
    of Statistics 10 (1982) 1217), with Silverman's width for the pilot; and (s, T) the height of each kernel."""
    result, height = np.empty_like(counts), np.empty_like(counts)
    for number, row in enumerate(counts):
        width = 0.9 * row.sum() ** -0.2
        distance = z[:, None] - z
        share = row / row.sum()
        pilot = np.exp(-0.5 * (distance / width) ** 2) @ share
        held = share > 0
        mean = np.exp((share[held] * np.log(pilot[held])).sum())
        own = width * np.clip(np.sqrt(mean / np.maximum(pilot, 1e-300)), _WIDTHS[0], _WIDTHS[-1])
        kernels = np.exp(-0.5 * (distance / own) ** 2) / (own * np.sqrt(2 * np.pi))
        kernels /= np.maximum((kernels * np.gradient(z)[:, None]).sum(axis=0), 1e-300)
        result[number] = np.log(np.maximum(kernels @ share, 1e-300))
        height[number] = np.diagonal(kernels)
    return result, height


def _kernel_plane(counts: Array, z: Array) -> tuple[Array, Array]:
    """Returns logarithms (s, T, T) of densities of two variables by adaptive kernels of seven widths; and heights."""
    result, height = np.empty_like(counts), np.empty_like(counts)
    wide = np.gradient(z)
    distance = z[:, None] - z

    def smoothed(share: Array, width: float) -> Array:
        kernel = np.exp(-0.5 * (distance / width) ** 2)
        kernel /= np.maximum((kernel * wide[:, None]).sum(axis=0), 1e-300)
        return np.asarray(kernel @ share @ kernel.T)

    for number, plane in enumerate(counts):
        width = plane.sum() ** (-1 / 6)
        share = plane / plane.sum()
        pilot = np.maximum(smoothed(share, width), 1e-300)
        held = share > 0
        mean = np.exp((share[held] * np.log(pilot[held])).sum())
        factor = np.clip(np.sqrt(mean / pilot), _WIDTHS[0], _WIDTHS[-1])
        level = np.interp(np.log(factor), np.log(_WIDTHS), np.arange(len(_WIDTHS)))
        density = np.zeros_like(plane)
        for i, relative in enumerate(_WIDTHS):
            part = share * np.clip(1 - np.abs(level - i), 0, None)
            if part.any():
                density += smoothed(part, width * relative)
        result[number] = np.log(np.maximum(density, 1e-300))
        height[number] = 1 / (2 * np.pi * (width * factor) ** 2)
    return result, height
