"""Draw: a fixed number of events for a first look, the same ones in each run, while the inputs are read."""

from __future__ import annotations

import numpy as np

from pidlab.sample import BoolArray
from pidlab.split import Keys, draw_order

_LAST = np.uint64(2**64 - 1)


class Draw:
    """Keeps the N events whose hashes come first, without holding more than N hashes.

    Each class keeps its share of the events but for its statistical fluctuation, and all candidates of an event stay
    together. An event that is offered when M of them have been is kept for the time being with the probability N/M, so
    that in all about N (1 + ln(M/N)) events are held until the last is read, rather than M.

    Args:
        n: the number of events.
        seed: another seed draws other events.
    """

    def __init__(self, n: int, seed: int) -> None:
        self._n, self._seed = n, seed
        self._first: Keys = np.empty(0, np.uint64)
        self._limit = _LAST

    def offer(self, event: Keys) -> BoolArray:
        """Takes note of the events of a chunk; returns (m,) true for those that may be among the N."""
        place = draw_order(event, self._seed)
        self._first = np.unique(np.concatenate([self._first, place[place <= self._limit]]))[: self._n]
        if len(self._first) == self._n:
            self._limit = self._first[-1]
        return np.asarray(place <= self._limit)

    def holds(self, event: Keys) -> BoolArray:
        """Returns (m,) true for the events that are among the N, after all have been offered."""
        return np.asarray(draw_order(event, self._seed) <= self._limit)

    @property
    def n_events(self) -> int:
        """The number of events that are held: N, or all if there are fewer."""
        return len(self._first)
