"""Simulated events, and samples of them, which are drawn in blocks with one stream of random numbers each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

BLOCK: Final = 50_000
"""Number of events drawn together; a float32 branch of a block is a basket of 200 kB, which is read fast."""


@dataclass(frozen=True, slots=True)
class SimulatedCollection:
    """The candidates of n events: `counts` (n,) in each event, and fields (sum of counts,), event by event."""

    counts: Integers
    fields: Mapping[str, NDArray[Any]]

    def head(self, n_events: int) -> SimulatedCollection:
        """Returns the candidates of the first `n_events` events."""
        n = int(self.counts[:n_events].sum())
        return SimulatedCollection(self.counts[:n_events], {name: values[:n] for name, values in self.fields.items()})


@dataclass(frozen=True, slots=True)
class SimulatedEvents:
    """n events: branches (n,) with the types of the file, and jagged collections by their prefix."""

    branches: Mapping[str, NDArray[Any]]
    collections: Mapping[str, SimulatedCollection] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.branches.values())))

    def head(self, n_events: int) -> SimulatedEvents:
        """Returns the first `n_events` events."""
        return SimulatedEvents(
            {name: values[:n_events] for name, values in self.branches.items()},
            {name: candidates.head(n_events) for name, candidates in self.collections.items()},
        )


@dataclass(frozen=True, slots=True)
class Simulation:
    """A kind of sample.

    Attributes:
        tree: the name of the tree in the file; empty for the banks of a HIPO file.
        n_events: the default number of events.
        block: draws the events of the given entry numbers (`BLOCK`,) with a generator.
    """

    tree: str
    n_events: int
    block: Callable[[np.random.Generator, Integers], SimulatedEvents]

    def blocks(self, n_events: int, seed: int) -> Iterator[SimulatedEvents]:
        """Yields the sample in blocks of at most `BLOCK` events.

        Block i has the stream (seed, i) and is always drawn in full, so a smaller sample is the beginning of a larger
        one with the same seed.
        """
        for start in range(0, n_events, BLOCK):
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(start // BLOCK,)))
            yield self.block(rng, np.arange(start, start + BLOCK)).head(n_events - start)
