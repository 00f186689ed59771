"""Simulated samples in memory, and comparisons with an expectation that allow for the sample's size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.simulate import SAMPLES, SimulatedCollection, SimulatedEvents


def simulated(kind: str, n_events: int, seed: int) -> SimulatedEvents:
    """The events of a sample, its blocks joined."""
    blocks = list(SAMPLES[kind].blocks(n_events, seed))

    def collection(name: str) -> SimulatedCollection:
        each = [block.collections[name] for block in blocks]
        fields = {key: np.concatenate([c.fields[key] for c in each]) for key in each[0].fields}
        return SimulatedCollection(np.concatenate([c.counts for c in each]), fields)

    return SimulatedEvents(
        {name: np.concatenate([block.branches[name] for block in blocks]) for name in blocks[0].branches},
        {name: collection(name) for name in blocks[0].collections},
    )


def assert_share(selected: NDArray[np.bool_], expected: float) -> None:
    """Within five standard deviations of the binomial."""
    n = len(selected)
    assert abs(selected.mean() - expected) < 5 * np.sqrt(expected * (1 - expected) / n), (selected.mean(), expected, n)


def assert_mean(values: NDArray[Any], expected: float) -> None:
    """Within five standard errors."""
    assert abs(values.mean() - expected) < 5 * values.std() / np.sqrt(len(values)), (values.mean(), expected)
