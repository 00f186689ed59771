"""Features and spectators after identification: what a working point accepts, by true class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pidlab.measured import Array


@dataclass(frozen=True, slots=True)
class BinSums:
    """Sums of w and of w², (k, b + 2) each: a row for each class, under- and overflow first and last.

    Candidates without the value are in the overflow, as NaN in ROOT.
    """

    sumw: Array
    sumw2: Array

    def __sub__(self, part: BinSums) -> BinSums:
        """Returns the sums of the candidates that are not in `part`."""
        return BinSums(self.sumw - part.sumw, self.sumw2 - part.sumw2)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a working point accepts.

    Attributes:
        n: class to the number of accepted candidates.
        sums: feature or spectator to the sums of the accepted candidates.
    """

    n: Mapping[str, int]
    sums: Mapping[str, BinSums]


@dataclass(frozen=True, slots=True)
class Identified:
    """Every feature and spectator on test, of all candidates and of those that each working point accepts.

    Attributes:
        classes: k names, the rows of all sums.
        spectators: the variables that are spectators; the others are features.
        edges: variable to its (b + 1,) bin edges, features first.
        n: class to the number of candidates.
        total: variable to the sums of all candidates.
        accepted: model, then working point, to what it accepts. Rejected is the rest of `total`.
    """

    classes: tuple[str, ...]
    spectators: tuple[str, ...]
    edges: Mapping[str, Array]
    n: Mapping[str, int]
    total: Mapping[str, BinSums]
    accepted: Mapping[str, Mapping[str, Accepted]]
