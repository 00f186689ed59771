"""Histograms and correlations of a sample, with the sums ROOT keeps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pidlab.evaluate.intervals import blocks
from pidlab.evaluate.results import Histogram
from pidlab.measured import Array
from pidlab.sample import FloatArray, IntArray, Sample

_BINS = 50
_CHUNK = 100_000
OUTSIDE = -1
_LARGEST_WHOLE = 2.0**24
"""From here on float32, in which features are kept, has no fractions and knows only every second integer."""


def histogram(values: FloatArray, weights: FloatArray, edges: ArrayLike) -> Histogram:
    """Returns the weighted histogram of values (n,) in bins of edges (b + 1,).

    The last bin contains its upper edge, as in numpy, so that a probability of exactly 1 is no overflow. NaN is
    overflow, as in ROOT.
    """
    return _histograms(np.zeros(len(values), np.int8), values, weights, edges, 1)[0]


def _histograms(
    kind: IntArray, values: FloatArray, weights: FloatArray, edges: ArrayLike, n_kinds: int
) -> list[Histogram]:
    """Returns the `histogram` of the values (n,) of each kind (n,), from 0 to n_kinds - 1."""
    edges = np.asarray(edges, np.float64)
    size = len(edges) + 1
    sums, counts = np.zeros((4, n_kinds, size)), np.zeros(n_kinds, np.int64)  # of w, w², w x and w x²
    for rows in blocks(len(values)):
        x, w = np.asarray(values[rows], np.float64), np.asarray(weights[rows], np.float64)
        index = bin_numbers(x, edges)
        own = kind[rows].astype(np.intp)
        counts += np.bincount(own, minlength=n_kinds)
        cell = own * size + index
        x = np.where((index > 0) & (index < size - 1), x, 0.0)  # what lies outside may be infinite
        sums += [
            np.bincount(cell, part, n_kinds * size).reshape(n_kinds, size) for part in (w, w * w, w * x, w * x * x)
        ]
    inside = sums[:, :, 1:-1].sum(axis=2)
    found = []
    for i in range(n_kinds):
        stats = [float(total) for total in inside[:, i]]
        found.append(Histogram(edges, sums[0, i], sums[1, i], int(counts[i]), (stats[0], stats[1], stats[2], stats[3])))
    return found


def bin_numbers(values: FloatArray, edges: Array) -> IntArray:
    """Returns the bins (n,) of values (n,) as `histogram` has them: 0 for underflow, and b + 1 for overflow and NaN."""
    index = np.searchsorted(edges, values, side="right")
    index[values == edges[-1]] = len(edges) - 1
    return index


def bins_of(axes: Sequence[FloatArray], edges: Sequence[Array]) -> IntArray:
    """Returns the number (n,) of each row in the flattened bins of some axes, the last varying fastest; -1 outside.

    `axes` are (n,) for each axis. The last bin of an axis contains its upper edge; NaN is outside.
    """
    flat, inside = np.zeros(len(axes[0]), np.int64), np.ones(len(axes[0]), np.bool_)
    for values, e in zip(axes, edges, strict=True):
        index = bin_numbers(values, e) - 1
        inside &= (index >= 0) & (index < len(e) - 1)
        flat = flat * (len(e) - 1) + index
    return np.where(inside, flat, OUTSIDE)


def robust_edges(values: FloatArray, bins: int = _BINS) -> Array:
    """Returns bins + 1 equidistant edges over the central 99.8 % of the finite values, which excludes outliers.

    If all values are whole numbers, the edges are half-integers and every bin holds the same number of integers, so
    that no bin is empty or twice as full only because of its edges. There are then at most `bins` bins.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.linspace(0.0, 1.0, bins + 1)
    least, most = float(finite.min()), float(finite.max())
    is_whole = max(-least, most) < _LARGEST_WHOLE and all(
        np.array_equal(part, np.rint(part)) for part in (finite[rows] for rows in blocks(len(finite)))
    )
    low, high = map(float, np.quantile(finite, [0.001, 0.999], method="inverted_cdf", overwrite_input=True))
    if not low < high:
        low, high = least, most
    if is_whole:
        return _whole_edges((least, most), low, high, bins)
    margin = 0.5 if low == high else 0.0
    edges = np.linspace(low - margin, high + margin, bins + 1)
    return edges if np.all(np.diff(edges) > 0) else np.linspace(low - abs(low), low + abs(low), bins + 1)


def _whole_edges(ends: tuple[float, float], low: float, high: float, bins: int) -> Array:
    """Returns half-integer edges from `low` to `high`, or between the `ends` if `bins` bins hold one integer each."""
    if ends[1] - ends[0] < bins:
        low, high = ends
    width = np.ceil((high - low + 1) / bins)
    return np.asarray(low - 0.5 + width * np.arange(np.ceil((high - low + 1) / width) + 1))


def input_histograms(sample: Sample) -> dict[str, dict[str, Histogram]]:
    """Returns the histogram of each feature, then class; all classes have the same edges."""
    return {
        name: histograms_by_class(column, sample, robust_edges(column)) for name, column in sample.feature_columns()
    }


def histograms_by_class(values: FloatArray, sample: Sample, edges: Array) -> dict[str, Histogram]:
    """Returns the histogram of values (n,) for each true class."""
    found = _histograms(sample.y, values, sample.weight, edges, len(sample.classes))
    return dict(zip(sample.classes, found, strict=True))


def density_ratio(signal: Histogram, other: Histogram) -> tuple[Array, Array]:
    """Returns the ratio (b,) of two densities of unit area and its error (b,); NaN where one of them is not positive.

    The error is that of two independent sums of weights: r √(Σw²ₛ / (Σwₛ)² + Σw²ₒ / (Σwₒ)²).
    """
    s, o = signal.sumw[1:-1], other.sumw[1:-1]
    both = (s > 0) & (o > 0) & (s.sum() > 0) & (o.sum() > 0)
    ratio = np.divide(s * o.sum(), o * s.sum(), out=np.full(len(s), np.nan), where=both)
    squares = np.full(len(s), np.nan)
    squares[both] = signal.sumw2[1:-1][both] / s[both] ** 2 + other.sumw2[1:-1][both] / o[both] ** 2
    return ratio, ratio * np.sqrt(squares)


def correlations(sample: Sample) -> dict[str, NDArray[np.float64]]:
    """Returns the weighted linear correlation (d, d) of each class, from the candidates that have both features.

    If the sample has a target, it is the last row and column of (d + 1, d + 1).
    It is NaN for a feature that is constant, absent, or without a positive variance because of negative weights.
    """
    return {name: _correlation(sample, np.flatnonzero(sample.y == c)) for c, name in enumerate(sample.classes)}


def _correlation(sample: Sample, rows: IntArray) -> NDArray[np.float64]:
    """Returns the correlation from sums over chunks; values relative to each feature's median lose no digits."""
    n_features, target = len(sample.features), sample.target
    d = n_features + (target is not None)
    origin = np.array([_median(sample.x[rows, i]) for i in range(n_features)])
    if target is not None:
        origin = np.append(origin, _median(target[rows]))
    n, first, mixed, second = (np.zeros((d, d)) for _ in range(4))
    for chunk in blocks(len(rows), _CHUNK):
        part, w = sample.x[rows[chunk], :n_features].astype(np.float64), sample.weight[rows[chunk], None]
        part = (part if target is None else np.column_stack([part, target[rows[chunk]]])) - origin
        has = np.isfinite(part)
        part, mask = np.where(has, part, 0.0), has.astype(np.float64)
        n += mask.T @ (w * mask)
        first += part.T @ (w * mask)
        mixed += part.T @ (w * part)
        second += (part * part).T @ (w * mask)
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = mixed / n - first / n * (first.T / n)
        variance = second / n - (first / n) ** 2
        variance = np.where(variance > 1e-14 * second / n, variance, np.nan)
        return np.asarray(covariance / np.sqrt(variance * variance.T))


def _median(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite, overwrite_input=True)) if len(finite) else 0.0
