"""What became of each input when it was scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pidlab.read import Source


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


def friend_name(source: Source) -> str:
    """The name of the friend tree of an input: that of its tree, without folder and cycle, with `_pid` behind it."""
    return f"{source.tree.rsplit('/', 1)[-1].partition(';')[0]}_pid"
