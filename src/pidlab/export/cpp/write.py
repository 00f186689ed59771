"""Writes a C++ header for models of a run and holds it against pidlab."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pidlab.export.cpp.check import checked
from pidlab.export.cpp.header import Header
from pidlab.export.parity import Exported, ParityEvents
from pidlab.expressions.literals import cpp_identifier
from pidlab.runs.bundle import Bundle


def write(bundle: Bundle, models: Sequence[str], output: Path, events: ParityEvents, run: Path) -> list[Exported]:
    """Write `pid_RUN.h` into `output`, compile it, and hold it against pidlab on `events`.

    Raises:
        UsageError: a model or an expression cannot be written in C++.
        ModelError: the header disagrees with pidlab.
    """
    header = Header(bundle, models, events, namespace_of(run))
    path = output / f"{header.namespace}.h"
    path.write_text(header.text(), encoding="utf-8")
    worst, note = checked(header, path, events)
    return [Exported(path, "header", tuple(models), worst, len(events), note)]


def namespace_of(run: Path) -> str:
    """The namespace of a run's header, `pid_` and the name of its folder."""
    return cpp_identifier(f"pid_{run.resolve().name}")
