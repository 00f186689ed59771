"""Tally: what the report on files counts while they are scored; of any number of pieces, the sums are all that is kept.

Besides the sums some of the events are kept with their features, for the comparison with the events of the run. They
are those whose hash lies below a share, which is halved whenever more than `MOST_KEPT` are held. So the same events are
kept, independent of how the files are cut into pieces and of which process scores them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.histograms import bin_numbers
from pidlab.evaluate.points.identified import combinations, sums_of_decisions
from pidlab.sample import BoolArray, FloatArray
from pidlab.split import Keys, share_of

MOST_KEPT = 50_000
"""Rows whose features are kept: they tell an AUC to .002."""
_SEED = 1

Edges = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Watched:
    """What is counted; two that are equal count the same in any process.

    Attributes:
        edges: feature or spectator to its bin edges.
        scores: model to the bin edges of its score; models without a distribution of scores are left out.
        decisions: the model and the name of each working point.
    """

    edges: tuple[tuple[str, Edges], ...]
    scores: tuple[tuple[str, Edges], ...]
    decisions: tuple[tuple[str, str], ...]

    def without(self, variables: frozenset[str]) -> Watched:
        """Returns the same without some variables."""
        return replace(self, edges=tuple((name, edges) for name, edges in self.edges if name not in variables))


@dataclass(slots=True)
class Tally:
    """Counts of rows, which add up, and some rows.

    Attributes:
        steps: (c + 1,) rows, and those left after each cut of the selection.
        n: (p,) rows that each decision accepts.
        total: variable to (b + 2,) selected rows by bin.
        accepted: variable to (p, b + 2) rows that each decision accepts.
        scores: model to (b + 2,) selected rows by score.
        x: (m, d) features of the rows that are kept.
        event: (m,) hashes of their events.
        share: the share of the events that are kept.
    """

    steps: NDArray[np.int64]
    n: NDArray[np.int64]
    total: dict[str, NDArray[np.int64]]
    accepted: dict[str, NDArray[np.int64]]
    scores: dict[str, NDArray[np.int64]]
    x: FloatArray
    event: Keys
    share: float = 1.0

    def thin(self, share: float) -> None:
        """Keeps only the rows of a smaller share of the events."""
        if share < self.share:
            some = share_of(self.event, share, _SEED)
            self.x, self.event, self.share = self.x[some], self.event[some], share


def tally_of(
    watched: Watched,
    steps: Sequence[int],
    x: FloatArray,
    features: Sequence[str],
    spectators: Mapping[str, FloatArray],
    decisions: Sequence[BoolArray],
    scores: Mapping[str, NDArray[np.float32]],
    event: Keys,
) -> Tally:
    """Counts the m selected rows of a piece.

    Args:
        watched: what is counted.
        steps: the rows of the piece, and those left after each cut.
        x: (m, d + c) features.
        features: d names.
        spectators: (m,) each.
        decisions: (m,) each, in the order of `watched.decisions`.
        scores: model to the signal's score (m,).
        event: (m,) hashes of the events.
    """
    columns = {name: x[:, j] for j, name in enumerate(features)}
    groups = combinations(decisions)
    total, accepted = {}, {}
    for name, edges in watched.edges:
        values = columns[name] if name in columns else spectators[name]
        cell, size = bin_numbers(np.asarray(values, np.float64), np.asarray(edges)), len(edges) + 1
        total[name] = np.bincount(cell, minlength=size)
        accepted[name] = sums_of_decisions(groups, cell, size).astype(np.int64)
    by_score = {
        model: np.bincount(bin_numbers(scores[model].astype(np.float64), np.asarray(edges)), minlength=len(edges) + 1)
        for model, edges in watched.scores
    }
    kept = np.ascontiguousarray(x[:, : len(features)])
    n = np.array([np.count_nonzero(mask) for mask in decisions], np.int64)
    return Tally(np.array(steps, np.int64), n, total, accepted, by_score, kept, event)


@dataclass(slots=True)
class Tallies:
    """The sum of the tallies of all pieces of the outputs that could be made.

    Attributes:
        watched: what is counted.
        whole: the sum; None before the first output is whole.
        share: the share of the events that are kept.
    """

    watched: Watched
    whole: Tally | None = None
    share: float = 1.0
    _pending: list[Tally] = field(default_factory=list)

    def add(self, tally: Tally) -> None:
        """Adds that of a piece, which counts when its output is whole."""
        self._pending = [_sum(self._pending[0], tally)] if self._pending else [tally]
        self._thin()

    def output_is_whole(self) -> None:
        """Lets the pieces of an output count."""
        if self._pending:
            own = self._pending.pop()
            self.whole = own if self.whole is None else _sum(self.whole, own)
            self._thin()

    def output_failed(self) -> None:
        """Forgets the pieces of an output that cannot be made."""
        self._pending.clear()

    def _thin(self) -> None:
        """Halves the share of the events that are kept until there are few enough."""
        for held in (*self._pending, self.whole):
            while held is not None and len(held.event) > MOST_KEPT:
                self.share = min(self.share, held.share) / 2
                held.thin(self.share)


def _sum(a: Tally, b: Tally) -> Tally:
    """Returns the sum of two tallies; of the rows those of the smaller share are kept."""
    share = min(a.share, b.share)
    for each in (a, b):
        each.thin(share)

    def added(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
        return {name: values + other[name] for name, values in one.items()}

    return Tally(
        a.steps + b.steps,
        a.n + b.n,
        added(a.total, b.total),
        added(a.accepted, b.accepted),
        added(a.scores, b.scores),
        np.concatenate([a.x, b.x]),
        np.concatenate([a.event, b.event]),
        share,
    )
