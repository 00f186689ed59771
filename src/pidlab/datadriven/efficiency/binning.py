"""Binning: the axes in whose bins efficiencies are measured, read from the text of an option."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pidlab.errors import UsageError
from pidlab.evaluate.histograms import bins_of
from pidlab.measured import Array
from pidlab.sample import IntArray

_AXIS = re.compile(r"\s*(.+?)\s*:\s*\[(.*)\]\s*", re.DOTALL)
MOST_AXES = 3
"""ROOT has histograms and efficiencies in up to three dimensions."""


@dataclass(frozen=True, slots=True)
class Binning:
    """Bins in one to three quantities: [low, high) each, the last one of an axis with its upper edge.

    Attributes:
        names: the expressions of the quantities, which are their names.
        edges: for each axis its (b + 1,) edges, ascending.
    """

    names: tuple[str, ...]
    edges: tuple[Array, ...]

    def check(self) -> None:
        """Checks the axes.

        Raises:
            ValueError: there are none or too many, two have one name, or edges are too few or do not ascend.
        """
        if not 1 <= len(self.names) <= MOST_AXES or len(set(self.names)) < len(self.names):
            raise ValueError(f"there are not one to {MOST_AXES} different axes")
        for name, edges in zip(self.names, self.edges, strict=True):
            if edges.ndim != 1 or len(edges) < 2 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
                raise ValueError(f"{name}: an axis has two finite edges or more, which ascend")

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of bins of each axis."""
        return tuple(len(e) - 1 for e in self.edges)

    @property
    def n_bins(self) -> int:
        """The number of all bins; the last axis varies fastest in their numbers."""
        return math.prod(self.shape)

    def find(self, values: Sequence[Array]) -> IntArray:
        """Returns the number (n,) of the bin of each row, -1 outside of all; `values` are (n,) for each axis."""
        return bins_of(values, self.edges)

    def sides(self, number: int) -> list[tuple[str, float, float]]:
        """Returns the name, the lower and the upper edge of a bin on each axis."""
        place = np.unravel_index(number, self.shape)
        return [(name, float(e[i]), float(e[i + 1])) for name, e, i in zip(self.names, self.edges, place, strict=True)]

    def title(self, number: int) -> str:
        """Returns a bin in words, such as `p 1 to 2, eta 0 to 0.8`."""
        return ", ".join(f"{name} {low:g} to {high:g}" for name, low, high in self.sides(number))


def parse_bins(text: str) -> Binning:
    """Returns the bins that a text such as `p: [1, 2, 3]; abs(eta): [0, 0.8, 1.6]` means.

    Raises:
        UsageError: the text is not of that form, or edges do not ascend.
    """
    names, edges = [], []
    for axis in (part for part in text.split(";") if part.strip()):
        match = _AXIS.fullmatch(axis)
        if match is None:
            raise UsageError(f'--bins: {axis.strip()!r} is no axis; write it as in "p: [1, 2, 3]; abs(eta): [0, 0.8]"')
        try:
            numbers = np.array([float(number) for number in match[2].split(",")])
        except ValueError:
            raise UsageError(f"--bins: {match[1]}: [{match[2]}] is no list of numbers") from None
        if len(numbers) < 2 or not np.isfinite(numbers).all() or (np.diff(numbers) <= 0).any():
            raise UsageError(f"--bins: {match[1]}: an axis has two finite edges or more, which ascend; not {match[2]}")
        names.append(match[1])
        edges.append(numbers)
    if not 1 <= len(names) <= MOST_AXES or len(set(names)) < len(names):
        raise UsageError(f'--bins: one to {MOST_AXES} different axes are needed, as in "p: [1, 2, 3]; eta: [0, 1, 2]"')
    return Binning(tuple(names), tuple(edges))
