"""A ROOT object with its place in a file, and the graphs and histograms that measured numbers become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.measured import Measured
from pidlab.rootio.graphs import tgraph_asymm_errors
from pidlab.rootio.histograms import from_cells, th1

Array = NDArray[np.float64]
Column = tuple[Array, Array, Array]
"""(n,) values with their lower and upper bounds."""


class NamedObject(NamedTuple):
    """A ROOT object, None where there is nothing to show, and its place: directories and name as the results say."""

    place: tuple[str, ...]
    content: Any


def labelled(labels: Sequence[str], values: Sequence[Measured], title: str) -> Any:
    """A histogram with one labelled bin a value; its error is half the interval. None where no value is defined."""
    centre, low, high = bounds(values)
    if not np.isfinite(centre).any():
        return None
    variances = np.nan_to_num((high - low) / 2) ** 2
    edges = (np.arange(len(values) + 1.0),)
    return th1(from_cells(np.nan_to_num(centre), edges, variances, entries=len(values)), title, labels)


def graph_of(x: Column, y: Column, title: str) -> Any:
    """A graph of (value, low, high) against (value, low, high), (n,) each, without the points that are not finite.

    None where no point is left: ROOT cannot draw it.
    """
    columns = np.array([*x, *y], dtype=np.float64)
    columns = columns[:, np.isfinite(columns).all(axis=0)]
    if not columns.size:
        return None
    xs, x_low, x_high, ys, y_low, y_high = columns
    exl, exh, eyl, eyh = (np.maximum(e, 0.0) for e in (xs - x_low, x_high - xs, ys - y_low, y_high - ys))
    return tgraph_asymm_errors(xs, ys, exl, exh, eyl, eyh, title)


def bounds(values: Sequence[Measured]) -> Column:
    """Value, low and high of n numbers, (n,) each."""
    table = np.array([[v.value, v.low, v.high] for v in values], dtype=np.float64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]
