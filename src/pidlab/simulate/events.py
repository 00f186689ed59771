"""Simulated events as values, and how a sample is drawn: in blocks, each from a stream of random numbers of its own."""

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
"""Events drawn together: a float32 branch of a block is 200 kB, a basket that reads fast."""


@dataclass(frozen=True, slots=True)
class SimulatedCollection:
    """Candidates of events: `counts` (n,) of them in each of n events, every field (sum of counts,), event by event."""

    counts: Integers
    fields: Mapping[str, NDArray[Any]]

    def head(self, n_events: int) -> SimulatedCollection:
        """The candidates of the first `n_events` events."""
        n = int(self.counts[:n_events].sum())
        return SimulatedCollection(self.counts[:n_events], {name: values[:n] for name, values in self.fields.items()})


@dataclass(frozen=True, slots=True)
class SimulatedEvents:
    """n events: branches (n,) in the types that the file gets, and jagged collections by their prefix."""

    branches: Mapping[str, NDArray[Any]]
    collections: Mapping[str, SimulatedCollection] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.branches.values())))

    def head(self, n_events: int) -> SimulatedEvents:
        """The first `n_events` events."""
        return SimulatedEvents(
            {name: values[:n_events] for name, values in self.branches.items()},
            {name: candidates.head(n_events) for name, candidates in self.collections.items()},
        )


def joined(parts: list[SimulatedEvents]) -> SimulatedEvents:
    """The events of all parts, in order."""
    first = parts[0]

    def collection(name: str) -> SimulatedCollection:
        each = [part.collections[name] for part in parts]
        fields = {key: np.concatenate([c.fields[key] for c in each]) for key in each[0].fields}
        return SimulatedCollection(np.concatenate([c.counts for c in each]), fields)

    return SimulatedEvents(
        {name: np.concatenate([part.branches[name] for part in parts]) for name in first.branches},
        {name: collection(name) for name in first.collections},
    )


@dataclass(frozen=True, slots=True)
class Simulation:
    """A kind of sample.

    Attributes:
        tree: the tree's name in the file.
        n_events: how many events make the sample when nobody says.
        block: draws the events of the given entry numbers (`BLOCK`,) from a generator.
    """

    tree: str
    n_events: int
    block: Callable[[np.random.Generator, Integers], SimulatedEvents]

    def blocks(self, n_events: int, seed: int) -> Iterator[SimulatedEvents]:
        """The sample in blocks of at most `BLOCK` events.

        Block i has the stream (seed, i) and is always drawn whole, so a smaller sample is the beginning of a larger
        one of the same seed.
        """
        for start in range(0, n_events, BLOCK):
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(start // BLOCK,)))
            yield self.block(rng, np.arange(start, start + BLOCK)).head(n_events - start)

    def events(self, n_events: int, seed: int) -> SimulatedEvents:
        """The sample in memory, `n_events` of at least 1."""
        return joined(list(self.blocks(n_events, seed)))
