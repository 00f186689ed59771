"""Progress: bars on a terminal and lines elsewhere, with notes and seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pidlab.cli.printable import printable
from pidlab.progress import Task, Watcher

_MAX_LINES = 20
"""The most lines of a task if stderr is no terminal."""

_MIN_SECONDS = 0.05
"""The least number of seconds between two updates of a bar."""


class _Bar(Task):
    """A progress bar that refreshes itself, since rich's own thread may get no turn while a model is busy."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task, self._shown = progress, task, 0.0

    def advance(self, amount: int = 1, numbers: Mapping[str, float] | None = None) -> None:
        self._progress.update(self._task, advance=amount, numbers=_short(numbers), refresh=self._is_due())

    def reach(self, done: int, total: int, numbers: Mapping[str, float]) -> None:
        refresh = self._is_due() or done == total
        self._progress.update(self._task, completed=done, total=total, numbers=_short(numbers), refresh=refresh)

    def _is_due(self) -> bool:
        now = time.monotonic()
        due = now - self._shown > _MIN_SECONDS
        self._shown = now if due else self._shown
        return due


class _Lines(Task):
    """A line after each twentieth of a task; if the task starts again, as for each fold, only one at its end."""

    def __init__(self, say: Callable[[str], None], name: str, total: int, unit: str) -> None:
        self._say, self._name, self._total, self._unit = say, name, total, unit
        self._done, self._step, self._n_steps = 0, 0, _MAX_LINES

    def advance(self, amount: int = 1, numbers: Mapping[str, float] | None = None) -> None:
        self.reach(self._done + amount, self._total, numbers or {})

    def reach(self, done: int, total: int, numbers: Mapping[str, float]) -> None:
        if done < self._done:
            self._step, self._n_steps = 0, 1
        self._done = done
        step = done * self._n_steps // total if total else 0
        if step > self._step:
            self._step = step
            amount = " ".join([f"{done:,}/{total:,}", *([self._unit] if self._unit else [])])
            shown = _short(numbers)
            self._say(f"  {self._name} {amount}{': ' if shown else ''}{shown}")


def _short(numbers: Mapping[str, float] | None) -> str:
    """Returns numbers in short: "loss 0.5577, validation 0.5505, AUC 0.7920"; the AUC is that on validation."""
    known = {"validation_loss": "validation", "validation_auc": "AUC"}
    return ", ".join(
        f"{known.get(name, name.replace('_', ' '))} {value:.4f}" for name, value in (numbers or {}).items()
    )


class Terminal(Watcher):
    """Shows stages, progress and notes on a console.

    Args:
        console: is written to.
        quiet: show no stages, progress and seconds, only notes.
        verbose: show the seconds of each stage and task and, if the console is no terminal, lines of progress.
    """

    def __init__(self, console: Console, quiet: bool = False, verbose: bool = False) -> None:
        self._console, self._quiet, self._verbose = console, quiet, verbose
        self._begun: tuple[str, float] | None = None

    def stage(self, name: str) -> None:
        """Announces a stage."""
        self.finish()
        self._begun = (name, time.perf_counter())
        if not self._quiet:
            self._console.print(name, style="bold", highlight=False)

    def finish(self) -> None:
        """Ends the last stage."""
        if self._begun is not None and self._verbose:
            name, start = self._begun
            self._say(f"  {name}: {time.perf_counter() - start:.2f} s")
        self._begun = None

    @contextmanager
    def task(self, name: str, total: int, unit: str = "") -> Iterator[Task]:
        """Shows a bar, or lines, while the block runs."""
        start = time.perf_counter()
        if self._quiet:
            yield Task()
        elif self._console.is_terminal:
            with self._bar(name, total, unit) as bar:
                yield bar
        else:
            yield _Lines(self._say, name, total, unit) if self._verbose else Task()
        if self._verbose:
            self._say(f"  {name}: {time.perf_counter() - start:.2f} s")

    @contextmanager
    def _bar(self, name: str, total: int, unit: str) -> Iterator[Task]:
        wide = self._console.width >= 100
        columns = (
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=20 if wide else 10),
            MofNCompleteColumn(),
            *([TextColumn(unit)] if unit else []),
            *([TimeRemainingColumn()] if wide else []),
            TextColumn("{task.fields[numbers]}", markup=False),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            yield _Bar(progress, progress.add_task(printable(name), total=total or None, numbers=""))

    def note(self, sentence: str) -> None:
        """Prints a note, also if only progress is to be silent: it says what a reader of the results must know."""
        self._print(f"  note: {sentence}")

    def remark(self, sentence: str) -> None:
        """Prints a note on what was chosen, unless the command is to be quiet."""
        self._say(f"  note: {sentence}")

    def _say(self, line: str) -> None:
        if not self._quiet:
            self._print(line)

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)
