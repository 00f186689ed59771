"""Processes for tests, forked from one that has imported what pidlab needs: each new one would import for seconds."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

_IMPORTED = (
    "pidlab.cli", "pidlab.apply.report", "pidlab.pipeline.run", "pidlab.tune.run", "pidlab.models.bdt.estimator",
    "pidlab.models.mlp.estimator", "pidlab.models.logistic", "pidlab.runs.record", "sklearn.ensemble", "optuna",
)  # fmt: skip
"""Modules of the environment, one of which may be absent; those of the tests are not found by what imports these."""


def forked(work: Callable[..., Any], *arguments: Any) -> ForkServerProcess:
    """Starts `work(*arguments)` in a process of its own, which imports the module of `work`."""
    process = _context().Process(target=work, args=arguments)
    process.start()
    return process


def fork_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the processes of `apply` and their successors be forked, too, in place of new ones."""
    _context()
    monkeypatch.setattr("pidlab.apply.workers.SpawnProcess", ForkServerProcess)


def _context() -> ForkServerContext:
    context = get_context("forkserver")
    context.set_forkserver_preload([*_IMPORTED])  # heeded when the first process is started
    return context


def command(words: Sequence[str], folder: Path) -> ForkServerProcess:
    """Starts `pidlab WORDS` in a folder, the leader of a group; it writes stdout.txt and stderr.txt there."""
    for name in ("stdout.txt", "stderr.txt"):
        (folder / name).write_text("")
    return forked(_command, [*words], folder)


def written(folder: Path) -> tuple[str, str]:
    """What a command wrote to its stdout and stderr."""
    return (folder / "stdout.txt").read_text(), (folder / "stderr.txt").read_text()


def _command(words: list[str], folder: Path) -> None:
    """Does what `python -W error -m pidlab.cli WORDS` does once libraries are imported."""
    from pidlab.cli import main

    os.setsid()
    os.chdir(folder)
    for name, stream in (("stdout.txt", sys.stdout), ("stderr.txt", sys.stderr)):
        stream.flush()
        opened = os.open(name, os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, stream.fileno())
        os.close(opened)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.simplefilter("error")
    main(words)
