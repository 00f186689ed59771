"""The numbers behind a figure as a table: one row for each point, bin or cell that is drawn."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pidlab.evaluate.results.run import Histogram
from pidlab.measured import Array

Cell = str | int | float


class FigureTable(NamedTuple):
    """Names of columns, and rows of as many cells."""

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def as_csv(self) -> str:
        """Returns comma-separated values (RFC 4180) with every digit of the numbers; NaN becomes an empty cell."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\r\n")
        writer.writerow(self.header)
        writer.writerows([_exact(cell) for cell in row] for row in self.rows)
        return stream.getvalue()


Numbers = Callable[[], FigureTable]
"""Makes the table of a figure."""


def _exact(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    return "" if isinstance(cell, float) and math.isnan(cell) else repr(cell)


def table_of(header: Iterable[str], rows: Iterable[Sequence[Any]]) -> FigureTable:
    """Returns a table whose cells are Python numbers, also where `rows` holds scalars of numpy."""
    return FigureTable(
        tuple(header), tuple(tuple(c.item() if isinstance(c, np.generic) else c for c in row) for row in rows)
    )


def bounded(*quantities: str) -> list[str]:
    """Returns the names of the columns for the value and the two bounds of each quantity."""
    return [f"{quantity}{bound}" for quantity in quantities for bound in ("", " low", " high")]


def histogram_table(by_name: Mapping[str, Mapping[str, Histogram]], first: str) -> FigureTable:
    """Returns the bins of histograms: edges, sums of weights, their errors, and densities.

    A density has unit area inside the range of the axis.

    Args:
        by_name: for each feature or sample, the histogram of each class.
        first: the heading of the first column, which holds the keys of `by_name`.
    """
    rows = []
    for name, by_class in by_name.items():
        for particle, h in by_class.items():
            inside = h.sumw[1:-1]
            area = inside.sum()
            density = inside / area / np.diff(h.edges) if area > 0 else np.full(len(inside), math.nan)
            columns = (h.edges[:-1], h.edges[1:], inside, np.sqrt(h.sumw2[1:-1]), density)
            rows += [(name, particle, *bin_) for bin_ in zip(*columns, strict=True)]
    return table_of((first, "class", "from", "to", "sum of weights", "error", "density"), rows)


def matrix_table(values: Array, names: Sequence[str], corner: str) -> FigureTable:
    """Returns a (d, d) matrix with the names of its rows and columns."""
    return table_of((corner, *names), [(name, *row) for name, row in zip(names, values, strict=True)])
