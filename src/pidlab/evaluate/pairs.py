"""Pairs of features: which of them are worth a look, and their distribution in each class."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from pidlab.evaluate.histograms import bins_of, robust_edges
from pidlab.evaluate.intervals import blocks, sums_by
from pidlab.evaluate.results import FeaturePair, Plane
from pidlab.measured import Array
from pidlab.sample import FloatArray, Sample

_BINS = 20
_MOST_PAIRS = 6  # all of four features


def feature_pairs(sample: Sample, correlation: Mapping[str, Array]) -> tuple[FeaturePair, ...]:
    """Returns all pairs of up to four features, else the six pairs of largest |correlation| in any class.

    Args:
        sample: the test sample.
        correlation: class to the linear correlation (d, d) of the features, NaN where it is undefined.
    """
    edges = [robust_edges(column, _BINS) for _, column in sample.feature_columns()]
    return tuple(_pair(sample, i, j, edges[i], edges[j]) for i, j in _chosen(len(sample.features), correlation))


def _chosen(n_features: int, correlation: Mapping[str, Array]) -> list[tuple[int, int]]:
    """Returns pairs of columns in the order of the features."""
    every = list(combinations(range(n_features), 2))
    if len(every) <= _MOST_PAIRS:
        return every
    strength = np.zeros((n_features, n_features))
    for matrix in correlation.values():
        strength = np.maximum(strength, np.nan_to_num(np.abs(matrix)))
    return sorted(sorted(every, key=lambda pair: -strength[pair])[:_MOST_PAIRS])


def _pair(sample: Sample, i: int, j: int, x_edges: Array, y_edges: Array) -> FeaturePair:
    planes = {}
    for c, name in enumerate(sample.classes):
        rows = sample.y == c
        planes[name] = plane_of(sample.x[rows, i], sample.x[rows, j], sample.weight[rows], x_edges, y_edges)
    return FeaturePair(sample.features[i], sample.features[j], x_edges, y_edges, planes)


def plane_of(x: FloatArray, y: FloatArray, weight: FloatArray, x_edges: Array, y_edges: Array) -> Plane:
    """Returns the sums of values (n,) in bins; the last bin of each axis contains its upper edge."""
    nx, ny = len(x_edges) - 1, len(y_edges) - 1
    index = np.empty(len(x), np.int32)
    sums, total, moment = np.zeros((2, nx * ny)), np.zeros(nx), np.zeros(nx)
    n_inside = 0
    for rows in blocks(len(x)):
        bx, by = bins_of([x[rows]], [x_edges]), bins_of([y[rows]], [y_edges])
        index[rows] = np.where((bx >= 0) & (by >= 0), bx, -1)
        inside = np.flatnonzero(index[rows] >= 0)
        bx, by, w = bx[inside], by[inside], weight[rows][inside].astype(np.float64)
        sums += sums_by(bx * ny + by, w, nx * ny), sums_by(bx * ny + by, w * w, nx * ny)
        total += sums_by(bx, w, nx)
        moment += sums_by(bx, w * y[rows][inside].astype(np.float64), nx)
        n_inside += len(inside)
    # The error of a weighted mean is that of ratios of sums: √(Σ w² (y − mean)²) / |Σ w|.
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(total != 0, moment / total, np.nan)
        spread = np.zeros(nx)
        for rows in blocks(len(x)):
            inside = np.flatnonzero(index[rows] >= 0)
            place, w = index[rows][inside], weight[rows][inside].astype(np.float64)
            spread += sums_by(place, (w * (y[rows][inside].astype(np.float64) - mean[place])) ** 2, nx)
        error = np.where(np.isfinite(mean), np.sqrt(spread) / np.abs(total), np.nan)
    sumw, sumw2 = sums.reshape(2, nx, ny)
    return Plane(rounded(sumw), rounded(sumw2), n_inside, rounded(mean), rounded(error))


def rounded(values: FloatArray) -> Array:
    """Returns values with four significant digits, to be written in few characters."""
    return np.array([float(f"{v:.4g}") for v in np.ravel(values)]).reshape(np.shape(values))
