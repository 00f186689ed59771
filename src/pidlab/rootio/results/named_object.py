"""A ROOT object with its path in a file, and the graphs and histograms of measured numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from pidlab.measured import Array, Measured, bounds
from pidlab.rootio.graphs import tgraph_asymm_errors
from pidlab.rootio.histograms import from_cells, th1

Column = tuple[Array, Array, Array]
"""(n,) values with their lower and upper bounds."""
Titles = Callable[[str], str]
"""Gives the title of the axis of a feature or spectator."""


class NamedObject(NamedTuple):
    """A ROOT object, None if there is nothing to show, and its path: directories and name as in the results."""

    path: tuple[str, ...]
    content: Any


def key_of(path: Sequence[str], used: set[str]) -> str:
    """Returns an unused path of plain names: odd characters become underscores, repeated paths are numbered."""
    parts = [re.sub(r"[^A-Za-z0-9_]+", "_", part) or "_" for part in path]
    key, number = "/".join(parts), 1
    while key in used:
        number += 1
        key = "/".join(parts) + f"_{number}"
    used.add(key)
    return key


def labelled(labels: Sequence[str], values: Sequence[Measured], title: str) -> Any:
    """Returns a histogram with a labelled bin a value, half the interval as error; None if all are undefined.

    An infinite interval, as of a single event, has the error 0.
    """
    centre, low, high = bounds(values)
    if not np.isfinite(centre).any():
        return None
    lengths = high - low
    variances = np.where(np.isfinite(lengths), lengths / 2, 0.0) ** 2
    edges = (np.arange(len(values) + 1.0),)
    return th1(from_cells(np.nan_to_num(centre), edges, variances, entries=len(values)), title, labels)


def graph_of(x: Column, y: Column, title: str) -> Any:
    """Returns the graph of the finite points (value, low, high), (n,) each; None if there are none to draw."""
    columns = np.array([*x, *y], dtype=np.float64)
    columns = columns[:, np.isfinite(columns).all(axis=0)]
    if not columns.size:
        return None
    xs, x_low, x_high, ys, y_low, y_high = columns
    exl, exh, eyl, eyh = (np.maximum(e, 0.0) for e in (xs - x_low, x_high - xs, ys - y_low, y_high - ys))
    return tgraph_asymm_errors(xs, ys, exl, exh, eyl, eyh, title)


def root_text(label: str) -> str:
    r"""Returns a label with TeX between dollars as ROOT's TLatex has it: `$\theta$ [deg]` becomes `#theta [deg]`.

    TLatex has no `\mathrm{x}`, because its letters are upright anyway, and no thin spaces.
    """
    text = re.sub(r"\\(?:mathrm|mathit|text|rm)\s*\{([^{}]*)\}", r"\1", label)
    text = re.sub(r"\\[,;:! ]", " ", text).replace(r"\%", "%")
    return re.sub(r"\\(?=[A-Za-z])", "#", text.replace("$", "")).replace(";", "#;")
