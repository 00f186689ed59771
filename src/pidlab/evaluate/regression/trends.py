"""Bias and resolution in bins of the target and of spectators, and the target in bins of a feature."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pidlab.config.schema import Map
from pidlab.errors import UsageError, nearest
from pidlab.evaluate.histograms import OUTSIDE, bins_of, robust_edges
from pidlab.evaluate.intervals import blocks
from pidlab.evaluate.maps import edges_of
from pidlab.evaluate.ranking import Order, taken
from pidlab.evaluate.regression.order import Ordered
from pidlab.evaluate.regression.predictions import Predicted
from pidlab.evaluate.regression.statistics import EventWeights, mean, powers
from pidlab.evaluate.results.regression import ResidualTrend, TargetProfile
from pidlab.measured import UNDEFINED, Array, Measured, bounds
from pidlab.sample import FloatArray, Sample

_BINS = 10  # of equal population, as efficiencies have them
_PROFILE_BINS = 20


class BinnedRows(NamedTuple):
    """The rows of a sample in bins of an axis.

    Attributes:
        x: the expression of the axis.
        edges: (b + 1,) edges.
        rows: the rows in each of the b bins.
    """

    x: str
    edges: Array
    rows: tuple[Order, ...]


def axes(sample: Sample, target: str, asked: Sequence[Map]) -> Iterator[BinnedRows]:
    """Yields the target and each spectator in its bins: those of a map of it alone, or else 10 equally populated ones.

    Raises:
        UsageError: A map names something that is neither the target nor a spectator.
    """
    known = (target, *sample.spectators)
    for one in asked:
        for name in (one.x, *([] if one.y is None else [one.y])):
            if name not in known:
                raise UsageError(f"maps: {name!r} is no spectator and not the target; {nearest(name, known)}")
    bins = {m.y: m.y_bins for m in asked if m.y is not None} | {m.x: m.bins for m in asked}
    bins |= {m.x: m.bins for m in asked if m.y is None}
    assert sample.target is not None
    for name in known:
        values = sample.target if name == target else sample.spectators[name]
        yield binned(name, values, edges_of(values, sample.weight != 0, bins.get(name, _BINS)))


def binned(x: str, values: FloatArray, edges: Array) -> BinnedRows:
    """Returns the rows of values (n,) in bins of edges (b + 1,); the last bin contains its upper edge."""
    n_bins = len(edges) - 1
    index = np.empty(len(values), np.int16 if n_bins < np.iinfo(np.int16).max else np.int32)
    for rows in blocks(len(values)):
        index[rows] = bins_of([values[rows]], (edges,))
    order = np.argsort(index, kind="stable").astype(np.uint32)
    ends = np.cumsum(np.bincount(index - OUTSIDE, minlength=n_bins + 1))
    return BinnedRows(x, edges, tuple(order[first:last] for first, last in itertools.pairwise(ends)))


def residual_trend(predicted: Predicted, binned: BinnedRows, least: float) -> ResidualTrend:
    """Returns bias and σ68 of a model's residuals in bins; those with less than `least` effective events are thin."""
    measured = [_in_bin(predicted, rows) for rows in binned.rows]
    (bias, sigma68) = (bounds([pair[i] for pair in measured]) for i in (0, 1))
    n = np.array([pair[0].n for pair in measured])
    return ResidualTrend(binned.x, binned.edges, *bias, *sigma68, n, least)


def _in_bin(predicted: Predicted, rows: Order) -> tuple[Measured, Measured]:
    residual, weights = taken(predicted.residual, rows), predicted.weights.take(rows)
    if not weights.usable:
        return UNDEFINED, UNDEFINED
    sigma68 = Ordered.of(residual, weights.weight, weights.n).sigma68
    return mean(powers(residual), weights).measured(weights), sigma68.measured(weights)


def target_profiles(sample: Sample, weights: EventWeights) -> dict[str, TargetProfile]:
    """Returns the mean and the spread of the target in equidistant bins of each feature."""
    target = sample.target
    assert target is not None
    return {name: _profile(column, target, weights) for name, column in sample.feature_columns()}


def _profile(column: FloatArray, target: FloatArray, weights: EventWeights) -> TargetProfile:
    values = np.ascontiguousarray(column)
    edges = robust_edges(values, _PROFILE_BINS)
    means, spreads = [], []
    for rows in binned("", values, edges).rows:
        own, part = weights.take(rows), taken(target, rows)
        if not own.usable:
            means.append(UNDEFINED)
            spreads.append(np.nan)
            continue
        centre = mean(powers(part), own)
        square = mean(powers(part, 2, centre.value), own)
        means.append(centre.measured(own))
        spreads.append(float(np.sqrt(square.value)) if square.value >= 0 else np.nan)
    n = np.array([m.n for m in means])
    return TargetProfile(edges, *bounds(means), np.array(spreads), n)
