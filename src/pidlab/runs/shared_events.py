"""Pairs of finished runs, and the candidates that two of them share: of one event, one place in it, and one class."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from pidlab.evaluate.results import Comparison, RegressionComparison, RegressionResults, Results
from pidlab.runs.manifest import from_run
from pidlab.runs.scored_events import ScoredEvents
from pidlab.sample import IntArray

FEWEST_SHARED = 100
"""Candidates that two runs must share in test to be compared event by event; of classes, so many of the signal and of
the others."""

AnyResults = TypeVar("AnyResults", Results, RegressionResults)
AnyComparison = TypeVar("AnyComparison", Comparison, RegressionComparison)
Differences = TypeVar("Differences")


@dataclass(frozen=True, slots=True)
class Finished(Generic[AnyResults]):
    """A finished run, of classes or of a target, with a name that no other run of the comparison has."""

    name: str
    results: AnyResults
    scored: ScoredEvents


@dataclass(frozen=True, slots=True)
class Pair(Generic[AnyComparison]):
    """Two runs: the test candidates that both have, and the paired comparisons of their models.

    The models are called `run:model`. `note` says why there are no comparisons, or which are left out.
    """

    a: str
    b: str
    n_shared: int
    comparisons: tuple[AnyComparison, ...]
    note: str = ""


def compare_each_two(
    runs: Sequence[Finished[AnyResults]],
    find: Callable[[Finished[AnyResults], Finished[AnyResults]], tuple[Pair[AnyComparison], Sequence[Differences]]],
    judge: Callable[[Sequence[Differences]], tuple[AnyComparison, ...]],
) -> list[Pair[AnyComparison]]:
    """Compares every pair of runs; the differences of all pairs are judged together.

    Args:
        runs: two or more.
        find: returns a pair without comparisons, and the differences between the models of its runs.
        judge: makes a comparison of each difference.

    Raises:
        ModelError: the files of a run do not fit together.
    """
    found = []
    for a, b in itertools.combinations(runs, 2):
        with from_run(Path(f"{a.name} and {b.name}")):
            found.append(find(a, b))
    comparisons = iter(judge([difference for _, differences in found for difference in differences]))
    return [
        replace(pair, comparisons=tuple(itertools.islice(comparisons, len(differences)))) for pair, differences in found
    ]


def models_to_compare(a: Results | RegressionResults, b: Results | RegressionResults) -> list[tuple[str, str]]:
    """Returns the pairs of models to compare: those of one name, and the best of each run by AUC or RMS."""
    pairs = [(name, name) for name in a.models if name in b.models]
    if a.ranked and b.ranked and (best := (a.ranked[0].name, b.ranked[0].name)) not in pairs:
        pairs.append(best)
    return pairs


Positions = tuple[IntArray, IntArray]
"""Indices, in each of two runs, of the same candidates."""


def positions_of_same(a: ScoredEvents, b: ScoredEvents, rows: Positions) -> Positions:
    """Returns the positions in `rows` of each run of the same candidates, in the order of the first run."""
    first, second = _identity(a, rows[0]), _identity(b, rows[1])
    _, ours, theirs = np.intersect1d(first, second, assume_unique=True, return_indices=True)
    order = np.argsort(ours)
    return ours[order], theirs[order]


def _identity(scored: ScoredEvents, rows: IntArray) -> IntArray:
    """Returns (len(rows),) records of the event, the place among its candidates, and the rank of the class by name."""
    sample = scored.sample
    order = np.lexsort((sample.row, sample.file, sample.event))
    event = sample.event[order]
    starts = np.flatnonzero(np.r_[True, event[1:] != event[:-1]]) if len(event) else np.zeros(0, np.int64)
    place = np.empty(len(event), np.int64)
    place[order] = np.arange(len(event)) - np.repeat(starts, np.diff(np.r_[starts, len(event)]))
    names = np.array([sorted(sample.classes).index(name) for name in sample.classes])
    result = np.zeros(len(rows), [("event", np.uint64), ("place", np.int64), ("particle", np.int64)])
    result["event"], result["place"], result["particle"] = sample.event[rows], place[rows], names[sample.y[rows]]
    return result
