"""A call of `apply` in a process of its own, forked from one that has imported everything already."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pidlab.apply.inputs
from forked import forked
from pidlab.apply import apply
from pidlab.progress import Watcher
from pidlab.read import Source
from pidlab.runs.bundle import load_bundle


def called(run: Path, inputs: Sequence[Path], output: Path, jobs: int) -> None:
    """Applies a run to inputs in pieces of 2,000 entries."""
    pidlab.apply.inputs.STEP = 2_000
    apply(load_bundle(run), [Source(str(path), "T") for path in inputs], output, Watcher(), jobs=jobs)


def call(run: Path, inputs: Sequence[Path], output: Path, jobs: int = 1) -> ForkServerProcess:
    """The same in a process of its own, which begins now."""
    return forked(called, run, inputs, output, jobs)
