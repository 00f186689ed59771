"""Pieces: samples in the memory of workers, whose rows have one order, and what is asked of some of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.apply.cluster import Cluster
from pidlab.sample import Sample, joined

Selector = tuple[slice, ...] | NDArray[np.int64]
"""Rows: some ranges of consecutive ones, or indices."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """The samples of p workers' tasks and the order of their rows.

    Attributes:
        cluster: the cluster.
        held: (p,) the future of each sample.
        piece: (s,) for each segment, which is consecutive in the order and in its piece, the number of the piece.
        start: (s,) its first row in the piece.
        first: (s + 1,) its first row in the order; last, the number of all rows.
    """

    cluster: Cluster
    held: tuple[Any, ...]
    piece: NDArray[np.int64]
    start: NDArray[np.int64]
    first: NDArray[np.int64]

    def split(self, rows: slice | NDArray[np.int64]) -> Iterator[tuple[int, Selector, Selector]]:
        """Yields for each piece that has some of `rows` its number, its rows, and their places among `rows`."""
        if isinstance(rows, slice):
            yield from self._split_slice(rows.start, rows.stop)
            return
        segment = np.searchsorted(self.first, rows, side="right") - 1
        piece, local = self.piece[segment], rows - self.first[segment] + self.start[segment]
        for number in np.unique(piece).tolist():
            places = np.flatnonzero(piece == number)
            yield number, local[places], places

    def _split_slice(self, start: int, stop: int) -> Iterator[tuple[int, Selector, Selector]]:
        own: dict[int, tuple[list[slice], list[slice]]] = {}
        for s in range(len(self.piece)):
            first, last = max(start, int(self.first[s])), min(stop, int(self.first[s + 1]))
            if first < last:
                offset = int(self.start[s] - self.first[s])
                local, places = own.setdefault(int(self.piece[s]), ([], []))
                local.append(slice(first + offset, last + offset))
                places.append(slice(first - start, last - start))
        for number, (local, places) in own.items():
            yield number, tuple(local), tuple(places)

    def ask(self, rows: slice | NDArray[np.int64], work: Callable[[Sample], Any]) -> Any:
        """Returns (n, …) what `work` says of n of the rows, in their order; it is called with those of one piece.

        Raises:
            PidlabError: `work` raised it, or the cluster has lost its workers.
        """
        split = list(self.split(rows)) or [(0, np.empty(0, np.int64), np.empty(0, np.int64))]
        function = self.cluster.submit(given, work)
        futures = [self.cluster.submit(_applied, function, self.held[number], local) for number, local, _ in split]
        answers = self.cluster.results(futures)
        return put_together(answers, [places for _, _, places in split])


def given(value: Any) -> Any:
    """Returns its argument: a task that carries an object to workers, and brings it again after one has died."""
    return value


def _applied(work: Callable[[Sample], Any], held: Sample, rows: Selector) -> Any:
    return work(taken(held, rows))


def taken(sample: Sample, rows: Selector) -> Sample:
    """Returns rows of a sample, as a view if they are consecutive."""
    if isinstance(rows, tuple):
        return sample.take(rows[0] if len(rows) == 1 else indices(rows))
    return sample.take(rows)


def indices(rows: Selector) -> NDArray[np.int64]:
    """Returns (n,) the numbers of rows."""
    return np.concatenate([np.arange(r.start, r.stop) for r in rows]) if isinstance(rows, tuple) else rows


def put_together(answers: list[Any], places: list[Selector]) -> Any:
    """Returns (n, …) the rows of all answers, each in its place; numpy, or awkward if they are jagged or text."""
    if not all(isinstance(values, np.ndarray) and values.dtype.kind != "T" for values in answers):
        return joined(answers)[np.argsort(np.concatenate([indices(each) for each in places]))]
    n = sum(len(values) for values in answers)
    out = np.empty((n, *answers[0].shape[1:]), np.result_type(*answers))
    for values, each in zip(answers, places, strict=True):
        at = 0
        for place in each if isinstance(each, tuple) else (each,):
            length = place.stop - place.start if isinstance(place, slice) else len(place)
            out[place] = values[at : at + length]
            at += length
    return out
