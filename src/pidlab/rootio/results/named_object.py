"""A ROOT object with its path in a file, and the graphs and histograms of measured numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from pidlab.evaluate.results import Plane, Training
from pidlab.measured import Array, Measured, bounds
from pidlab.rootio.graphs import tgraph, tgraph_asymm_errors
from pidlab.rootio.histograms import from_cells, th1, th2

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


def of_bins(edges: Array) -> Column:
    """Returns the middle of each bin with its lower and upper edge, for a graph whose points span their bins."""
    return (edges[:-1] + edges[1:]) / 2, edges[:-1], edges[1:]


def around(nodes: Array) -> Array:
    """Returns (m + 1,) edges of bins that hold one of the (m,) nodes each."""
    if len(nodes) == 1:
        return np.array([nodes[0] - 0.5, nodes[0] + 0.5])
    between = (nodes[1:] + nodes[:-1]) / 2
    return np.concatenate([[2 * nodes[0] - between[0]], between, [2 * nodes[-1] - between[-1]]])


def of_plane(plane: Plane, x_edges: Array, y_edges: Array, title: str) -> Any:
    """Returns the TH2 of the sums of weights of a plane."""
    return th2(from_cells(plane.sumw, (x_edges, y_edges), plane.sumw2, entries=plane.entries), title)


def of_matrix(cells: Array, names: Sequence[str], title: str, entries: float, variances: Array | None = None) -> Any:
    """Returns the TH2 of a square matrix whose rows and columns have names; 0 where it is not known."""
    edges = np.arange(len(names) + 1.0)
    return th2(from_cells(np.nan_to_num(cells), (edges, edges), variances, entries=entries), title, names, names)


def profile_of(plane: Plane, x_edges: Array, title: str) -> Any:
    """Returns the graph of the mean of y in bins of x."""
    return graph_of(of_bins(x_edges), (plane.mean, plane.mean - plane.error, plane.mean + plane.error), title)


def histories(folder: str, model: str, training: Training | None) -> Iterator[NamedObject]:
    """Yields a graph against the epoch of each quantity that the training of a model kept."""
    for quantity, values in ({} if training is None else training.history).items():
        title = f"{model};epoch;{root_text(quantity)}"
        yield NamedObject((folder, f"history_{quantity}"), tgraph(np.arange(1, len(values) + 1), values, title))


def root_text(label: str) -> str:
    r"""Returns a label with TeX between dollars as ROOT's TLatex has it: `$\theta$ [deg]` becomes `#theta [deg]`.

    TLatex has no `\mathrm{x}`, because its letters are upright anyway, and no thin spaces.
    """
    text = re.sub(r"\\(?:mathrm|mathit|text|rm)\s*\{([^{}]*)\}", r"\1", label)
    text = re.sub(r"\\[,;:! ]", " ", text).replace(r"\%", "%")
    return re.sub(r"\\(?=[A-Za-z])", "#", text.replace("$", "")).replace(";", "#;")
