"""The terminal: progress bars while it works, and the table of results; plain lines where it is no terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from pidlab.apply import Summary
from pidlab.evaluate.results import Measured, ModelResult, Results
from pidlab.inspect import TableSummary
from pidlab.progress import Task, Watcher


class _Bar(Task):
    """A progress bar."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, amount: int = 1, numbers: Mapping[str, float] | None = None) -> None:
        self._progress.update(self._task, advance=amount, numbers=_told(numbers))

    def reach(self, done: int, total: int, numbers: Mapping[str, float]) -> None:
        self._progress.update(self._task, completed=done, total=total, numbers=_told(numbers))


def _told(numbers: Mapping[str, float] | None) -> str:
    return "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in (numbers or {}).items())


class Terminal(Watcher):
    """Shows stages, bars and notes on a console; bars only where it is a terminal."""

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._console, self._quiet = console, quiet

    def stage(self, name: str) -> None:
        """Announce a stage."""
        if not self._quiet:
            self._console.print(f"[bold]{name}[/bold]", highlight=False)

    @contextmanager
    def task(self, name: str, total: int, unit: str = "") -> Iterator[Task]:
        """Show a bar while the block runs."""
        if self._quiet or not self._console.is_terminal:
            yield Task()
            return
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            yield _Bar(progress, progress.add_task(name, total=total or None, numbers=""))

    def note(self, sentence: str) -> None:
        """Print a note."""
        if not self._quiet:
            self._console.print(f"  note: {sentence}", highlight=False, soft_wrap=True, markup=False)


def percent(number: Measured, digits: int = 2) -> str:
    """A fraction in per cent, with the larger side of its interval."""
    if not math.isfinite(number.value):
        return "–"
    error = max(number.high - number.value, number.value - number.low)
    return f"{100 * number.value:.{digits}f} ± {100 * error:.{digits}f}"


def results_table(results: Results) -> Table:
    """One line a model: AUC, and the misidentification in per cent at each working point."""
    points = sorted(
        {(w.target, w.name) for m in results.models.values() if not m.single_point for w in m.working_points}
    )
    others = [c for c in results.classes if c != results.signal]
    table = Table(title=f"{results.signal} against {' and '.join(others)}: test sample, 68.3 % intervals")
    table.add_column("model")
    table.add_column("AUC", justify="right")
    for _, name in points:
        for other in others:
            table.add_column(f"{other} % at\n{name}" if len(others) == 1 else f"{other}\n% at {name}", justify="right")
    for model in results.models.values():
        table.add_row(*_row(model, [name for _, name in points], others))
    return table


def _row(model: ModelResult, points: Sequence[str], others: Sequence[str]) -> list[str]:
    auc = model.samples["test"].auc
    cells = [model.name, "–" if not math.isfinite(auc.value) else f"{auc.value:.4f} ± {(auc.high - auc.low) / 2:.4f}"]
    at = {w.name: w for w in model.working_points}
    for name in points:
        cells += [percent(at[name].misid[other]) if name in at else "–" for other in others]
    return cells


def sentences(results: Results) -> list[str]:
    """What a physicist asks first: the hand-made cuts against every other model at their own efficiency."""
    hand = {name for name, m in results.models.items() if m.single_point}
    return [p.verdict for c in results.comparisons if {c.a, c.b} & hand for p in c.working_points if p.verdict]


def inspection(summary: TableSummary, with_ranges: bool) -> Iterator[str | Table]:
    """What `pidlab inspect` shows of one tree."""
    yield f"{summary.name}: {summary.n_entries:,} entries, {len(summary.branches)} branches"
    table = Table(box=None, pad_edge=False)
    for name in ("branch", "type", *(("low", "1 %", "median", "99 %", "high", "remarks") if with_ranges else ())):
        is_text = name in ("branch", "type", "remarks")
        table.add_column(name, justify="left" if is_text else "right", overflow="fold", no_wrap=name != "remarks")
    for b in summary.branches:
        numbers = (b.low, *b.quantiles, b.high)
        cells = [f"{v:.4g}" if math.isfinite(v) else "–" for v in numbers] + ["; ".join(b.remarks)]
        table.add_row(b.name, b.kind, *(cells if with_ranges else ()))
    yield table
    if summary.n_read < summary.n_entries and with_ranges:
        yield f"Ranges are those of the first {summary.n_read:,} entries."
    if summary.n_duplicates:
        share = summary.n_duplicates / summary.n_read
        yield (
            f"{summary.n_duplicates:,} rows ({share:.2%}) repeat an earlier row exactly; "
            "across a random split they leak from training into test: give data.event_id, or remove them."
        )


def summary_table(summaries: Sequence[Summary]) -> Table:
    """One line an input that was scored."""
    table = Table()
    for name in ("friend file", "rows", "selected"):
        table.add_column(name, justify="left" if name == "friend file" else "right", overflow="fold")
    for s in summaries:
        table.add_row(str(s.target), f"{s.n_rows:,}", f"{s.n_selected:,}")
    return table
