"""Candidates that two finished runs share: those of one event, one place in it, and one class."""

from __future__ import annotations

import numpy as np

from pidlab.runs.scored_events import ScoredEvents
from pidlab.sample import IntArray

Positions = tuple[IntArray, IntArray]
"""Indices, in each of two runs, of the same candidates."""


def positions_of_same(a: ScoredEvents, b: ScoredEvents, rows: Positions) -> Positions:
    """Returns the positions in `rows` of each run of the same candidates, in the order of the first run."""
    first, second = _identity(a, rows[0]), _identity(b, rows[1])
    _, ours, theirs = np.intersect1d(first, second, assume_unique=True, return_indices=True)
    order = np.argsort(ours)
    return ours[order], theirs[order]


def _identity(scored: ScoredEvents, rows: IntArray) -> IntArray:
    """(len(rows),) records of the event, the place among its candidates, and the rank of the class by name."""
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
