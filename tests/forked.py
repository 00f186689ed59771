"""Processes for tests, forked from one that has imported what pidlab needs: each new one would import for seconds."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

_IMPORTED = (
    "pidlab.cli", "pidlab.apply.report", "pidlab.pipeline.run", "pidlab.tune.run", "pidlab.models.bdt.estimator",
    "pidlab.models.mlp.estimator", "pidlab.models.mlp.engine.training", "pidlab.models.logistic", "pidlab.runs.record",
    "sklearn.ensemble", "optuna", "distributed",
)  # fmt: skip
"""Modules of the environment, one of which may be absent; those of the tests are not found by what imports these."""


def forked(work: Callable[..., Any], *arguments: Any) -> ForkServerProcess:
    """Starts `work(*arguments)` in a process of its own, which imports the module of `work`."""
    process = context().Process(target=work, args=arguments)
    process.start()
    return process


def fork_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the processes of `apply` and their successors be forked, too, in place of new ones."""
    context()
    monkeypatch.setattr("pidlab.apply.workers.SpawnProcess", ForkServerProcess)


def start_forking() -> None:
    """Starts the process that others are forked from, before a library lets it import something else."""
    context()
    ensure_running()


def context() -> ForkServerContext:
    """Returns what makes such processes, and pipes to them."""
    made = get_context("forkserver")
    made.set_forkserver_preload([*_IMPORTED])  # heeded when the first process is started
    return made


def command(
    words: Sequence[str], folder: Path, terminal: str = "", surroundings: Mapping[str, str] = MappingProxyType({})
) -> ForkServerProcess:
    """Starts `pidlab WORDS` in a folder, the leader of a group.

    Args:
        words: the arguments.
        folder: where it works, and writes stdout.txt and stderr.txt unless there is a terminal.
        terminal: the device that it reads from and writes to.
        surroundings: further variables of its environment.
    """
    for name in ("stdout.txt", "stderr.txt"):
        (folder / name).write_text("")
    streams = [terminal] * 3 if terminal else [os.devnull, "stdout.txt", "stderr.txt"]
    return forked(_command, [*words], folder, streams, dict(surroundings))


def written(folder: Path) -> tuple[str, str]:
    """What a command wrote to its stdout and stderr."""
    return (folder / "stdout.txt").read_text(), (folder / "stderr.txt").read_text()


def _command(words: list[str], folder: Path, streams: list[str], surroundings: dict[str, str]) -> None:
    """Does what `python -W error -m pidlab.cli WORDS` does once libraries are imported."""
    from pidlab.cli import main

    os.setsid()
    os.chdir(folder)
    for number, name in enumerate(streams):
        opened = os.open(name, os.O_RDWR | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - numbers of streams
    os.environ.update(surroundings)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.simplefilter("error")
    main(words)
