"""What applying is told of a run's own events, and what it tells of each input afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.read import Source
from pidlab.split import Keys, Part


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of one tree.

    Attributes:
        target: the friend file; not there where `failure` says something.
        n_passed: model to the number of rows that pass its first working point.
        n_known: selected rows that the run used itself, scored by the fold model that did not see them.
        seconds: by stage (read, select, each model, write), summed over all workers.
        skipped: it was finished already, by an earlier call.
        failure: why there is no friend of this input; empty where there is one.
    """

    source: Source
    target: Path
    n_rows: int = 0
    n_selected: int = 0
    n_passed: Mapping[str, int] = field(default_factory=dict)
    n_known: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    skipped: bool = False
    failure: str = ""

    @property
    def friend(self) -> str:
        """The name of the friend tree."""
        return f"{self.source.tree.rsplit('/', 1)[-1].partition(';')[0]}_pid"


@dataclass(frozen=True, slots=True)
class RunSplit:
    """What a run knows of its own inputs.

    Attributes:
        part: gives the (n_rows,) `Part` of each row of an input.
        events: sorted hashes of the events that the run used; None: of all selected ones.
    """

    part: Callable[[Source], NDArray[np.int8]]
    events: Keys | None = None


def parts_of(
    inputs: Sequence[Source],
    n_rows: Sequence[int],
    file: NDArray[Any],
    row: NDArray[Any],
    part: NDArray[np.int8],
    event: Keys | None = None,
) -> RunSplit:
    """What a run knows of its rows: all others were not used."""

    def of(source: Source) -> NDArray[np.int8]:
        index = inputs.index(source)
        result = np.full(n_rows[index], Part.UNUSED, np.int8)
        mine = file == index
        result[row[mine]] = part[mine]
        return result

    return RunSplit(of, None if event is None else np.unique(event))


def summed(counts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mappings of numbers added up, name by name."""
    total: dict[str, Any] = {}
    for each in counts:
        for name, value in each.items():
            total[name] = total.get(name, 0) + value
    return total
