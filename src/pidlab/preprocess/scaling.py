"""Scaling and imputation for models that need finite numbers of order one: network, Fisher and logistic regression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pidlab.sample import FloatArray, IntArray

Method = Literal["none", "minmax", "standard", "robust", "quantile"]
_N_KNOTS = 257
_MOST_ROWS = 1 << 20  # decide the scales
_BLOCK_ROWS = 1 << 17  # looked at together: 6 MB of 12 features


@dataclass(frozen=True, slots=True)
class Scaler:
    """A fitted scaling of d features, each by a line or a broken line through its knots.

    A missing value (NaN) is first replaced by the median of the feature in training. Each feature that had missing
    values in training adds an indicator column after the d scaled ones, which is 1 where the value is missing.

    Attributes:
        knots, values: d rising arrays each; a value at `knots[j][i]` becomes `values[j][i]`, linear in between.
        clamp: whether values outside the knots become the outermost value (quantile) or continue the line.
        fill: (d,) the numbers that replace missing values.
        indicators: the features that have an indicator column.
    """

    knots: tuple[NDArray[np.float64], ...]
    values: tuple[NDArray[np.float64], ...]
    clamp: bool
    fill: NDArray[np.float64]
    indicators: tuple[int, ...]

    def transform(self, x: FloatArray) -> NDArray[np.float32]:
        """Returns (n, d + m) finite float32 for features (n, d) with NaN; m is the number of indicators."""
        n, d = x.shape
        scaled = np.empty((n, d + len(self.indicators)), np.float32)
        for j in range(d):
            self._scale(j, x[:, j], scaled[:, j])
        for i, j in enumerate(self.indicators):
            scaled[:, d + i] = np.isnan(x[:, j])
        return scaled

    def column(self, j: int, values: FloatArray) -> NDArray[np.float32]:
        """Returns feature number j scaled, (n,) as `transform` gives it, of its values (n,)."""
        scaled = np.empty(len(values), np.float32)
        self._scale(j, values, scaled)
        return scaled

    def _scale(self, j: int, values: FloatArray, out: NDArray[np.float32]) -> None:
        column = values.astype(np.float64)
        missing = np.isnan(column)
        if missing.any():
            column[missing] = self.fill[j]
        knots, values = self.knots[j], self.values[j]
        if self.clamp:
            from pidlab.preprocess.scaling_lines import broken_line

            broken_line(column, knots, values, out)
            return
        slope = (values[-1] - values[0]) / (knots[-1] - knots[0])
        out[:] = (column - knots[0]) * slope + values[0]

    def to_json(self) -> dict[str, Any]:
        """Returns the scaler in the types of JSON."""
        return {
            "knots": [k.tolist() for k in self.knots],
            "values": [v.tolist() for v in self.values],
            "clamp": self.clamp,
            "fill": self.fill.tolist(),
            "indicators": list(self.indicators),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Scaler:
        """Returns the scaler that `to_json` described.

        Raises:
            KeyError, TypeError, ValueError: the content is not that of a scaler.
        """
        knots = tuple(np.asarray(k, np.float64) for k in content["knots"])
        values = tuple(np.asarray(v, np.float64) for v in content["values"])
        fill, indicators = np.asarray(content["fill"], np.float64), tuple(content["indicators"])
        for k, v in zip(knots, values, strict=True):
            if k.ndim != 1 or k.shape != v.shape or len(k) < 2 or not np.isfinite([k, v]).all():
                raise ValueError("the knots of a feature are no two equally long lists of numbers")
            if (np.diff(k) <= 0).any() or (np.diff(v) < 0).any():
                raise ValueError("the knots of a feature do not rise")
        if fill.shape != (len(knots),) or not np.isfinite(fill).all() or not isinstance(content["clamp"], bool):
            raise ValueError("what fills missing values is damaged")
        rising = all(a < b for a, b in pairwise(indicators))
        if not all(type(j) is int and 0 <= j < len(knots) for j in indicators) or not rising:
            raise ValueError("the columns that tell what is missing are damaged")
        return cls(knots, values, content["clamp"], fill, indicators)


class FeatureRows(Protocol):
    """Features (n, d) that are read by rows: an array, or a matrix that is made when it is read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Returns the (m, d) features of a slice or of row numbers."""


def fit_scaler(x: FeatureRows, method: Method, weight: FloatArray | None = None) -> Scaler:
    """Returns a scaler fitted to training features (n, d), NaN where missing, of the rows with a weight (n,).

    Of more than 1,048,576 rows this many decide, drawn evenly over all rows and always the same: a quantile then moves
    by at most about a thousandth in rank. `minmax` takes the range of all rows, and the indicators tell of a missing
    value in any row.

    `minmax` maps the range to [0, 1]; `standard` maps mean and standard deviation to 0 and 1; `robust` does so with
    median and interquartile range; `quantile` maps the ranks to a standard normal distribution, by a broken line
    through at most 257 quantiles.
    """
    n, d = x.shape
    lowest, highest, missing = np.full(d, np.inf), np.full(d, -np.inf), np.zeros(d, np.bool_)
    for first in range(0, n, _BLOCK_ROWS):
        block = _weighted(x, slice(first, min(first + _BLOCK_ROWS, n)), weight)
        missing |= np.isnan(block).any(axis=0)
        if method == "minmax":
            finite = np.isfinite(block)
            lowest = np.minimum(lowest, np.min(block, axis=0, where=finite, initial=np.inf))
            highest = np.maximum(highest, np.max(block, axis=0, where=finite, initial=-np.inf))
    decides = _weighted(x, slice(None), weight) if n <= _MOST_ROWS else _drawn(x, weight)
    lines, fill = [], []
    for j in range(d):
        column = decides[:, j].astype(np.float64)
        column = column[np.isfinite(column)]
        fill.append(float(np.median(column)) if len(column) else 0.0)
        if method == "minmax" and lowest[j] <= highest[j]:
            column = np.array([lowest[j], highest[j]])
        lines.append(_fit_line(column, method) if len(column) else (np.array([0.0, 1.0]), np.array([0.0, 1.0])))
    knots, values = zip(*lines, strict=True)
    indicators = tuple(int(j) for j in np.flatnonzero(missing))
    return Scaler(knots, values, method == "quantile", np.array(fill), indicators)


def _weighted(x: FeatureRows, rows: slice | IntArray, weight: FloatArray | None) -> FloatArray:
    """Returns the features of those of the rows that have a weight."""
    own: FloatArray = x[rows]
    if weight is None:
        return own
    has_weight = weight[rows] > 0
    return own if has_weight.all() else own[has_weight]


def _drawn(x: FeatureRows, weight: FloatArray | None) -> FloatArray:
    """Returns the features of rows with a weight, one row at a random place in each of `_MOST_ROWS` equal pieces."""
    n, d = x.shape
    places = np.arange(_MOST_ROWS) + np.random.default_rng(0).random(_MOST_ROWS)
    rows = (places * (n / _MOST_ROWS)).astype(np.int64)
    drawn, size = np.empty((_MOST_ROWS, d), np.float32), 0
    for first in range(0, _MOST_ROWS, _BLOCK_ROWS):
        block = _weighted(x, rows[first : first + _BLOCK_ROWS], weight)
        drawn[size : size + len(block)] = block
        size += len(block)
    return drawn[:size]


def _fit_line(column: NDArray[np.float64], method: Method) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if method == "quantile":
        return _quantile_line(column)
    zero, one = _unit(column, method)
    if not one > zero:
        one = zero + 1.0
    return np.array([zero, one], np.float64), np.array([0.0, 1.0])


def _unit(column: NDArray[np.float64], method: Method) -> tuple[float, float]:
    """Returns the values that become 0 and 1."""
    if method == "minmax":
        return float(column.min()), float(column.max())
    if method == "standard":
        return float(column.mean()), float(column.mean() + column.std())
    if method == "robust":
        low, middle, high = np.percentile(column, [25, 50, 75])
        return float(middle), float(middle + high - low)
    return 0.0, 1.0


def _quantile_line(column: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns knots at quantiles and their values; a value that fills several quantiles gets their mean rank."""
    from scipy.special import ndtri  # a fitted scaler does without scipy

    ranks = np.linspace(0.0, 1.0, _N_KNOTS)
    quantiles = np.quantile(column, ranks)
    knots, group = np.unique(quantiles, return_inverse=True)
    mean_rank = np.bincount(group, weights=ranks) / np.bincount(group)
    tail = max(0.5 / len(column), 1e-4)
    values = ndtri(np.clip(mean_rank, tail, 1 - tail))
    if len(knots) == 1:
        knots, values = np.array([knots[0], knots[0] + 1.0]), np.array([0.0, 1.0])
    return knots, values
