"""The terminal: progress bars while it works, and the table of results; plain lines where it is no terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from pidlab.apply import Lost, Summary
from pidlab.compare_runs import Finished, Pair
from pidlab.evaluate.results import ModelResult, Results
from pidlab.inspect import TableSummary
from pidlab.progress import Task, Watcher
from pidlab.reproduce import Moved, Reproduction
from pidlab.rounding import format_symmetric


class _Bar(Task):
    """A progress bar."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, amount: int = 1, numbers: Mapping[str, float] | None = None) -> None:
        self._progress.update(self._task, advance=amount, numbers=_told(numbers))

    def reach(self, done: int, total: int, numbers: Mapping[str, float]) -> None:
        self._progress.update(self._task, completed=done, total=total, numbers=_told(numbers))


def _told(numbers: Mapping[str, float] | None) -> str:
    """Numbers in short: "loss 0.5577, validation 0.5505, AUC 0.7920"; an AUC is always on validation."""
    known = {"validation_loss": "validation", "validation_auc": "AUC"}
    return ", ".join(
        f"{known.get(name, name.replace('_', ' '))} {value:.4f}" for name, value in (numbers or {}).items()
    )


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
        wide = self._console.width >= 100
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(bar_width=20 if wide else 10),
            MofNCompleteColumn(),
            *([TextColumn(unit)] if unit else []),
            *([TimeRemainingColumn()] if wide else []),
            TextColumn("{task.fields[numbers]}"),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            yield _Bar(progress, progress.add_task(name, total=total or None, numbers=""))

    def note(self, sentence: str) -> None:
        """Print a note."""
        if not self._quiet:
            self._console.print(f"  note: {sentence}", highlight=False, soft_wrap=True, markup=False)


def results_table(results: Results) -> Table:
    """AUC, and the misidentification in per cent at each working point: one line a model and other class."""
    points = sorted(
        {
            (w.target, w.name)
            for m in results.models.values()
            if not m.single_point
            for w in m.working_points
            if w.flat is None
        }
    )
    others = [c for c in results.classes if c != results.signal]
    table = Table(title=f"{results.signal} against {' and '.join(others)}: test sample, 68.3 % intervals")
    table.add_column("model")
    table.add_column("AUC", justify="right")
    if len(others) > 1:
        table.add_column("misid of")
    for _, name in points:
        table.add_column(f"{others[0]} % at\n{name}" if len(others) == 1 else f"% at\n{name}", justify="right")
    for model in results.models.values():
        for line in _lines(model, [name for _, name in points], others):
            table.add_row(*line)
    return table


def _lines(model: ModelResult, points: Sequence[str], others: Sequence[str]) -> Iterator[list[str]]:
    at = {w.name: w for w in model.working_points}
    for i, other in enumerate(others):
        head = [model.name, format_symmetric(model.samples["test"].auc)] if i == 0 else ["", ""]
        numbers = [format_symmetric(at[name].misid[other], 100.0) if name in at else "–" for name in points]
        yield [*head, *([other] if len(others) > 1 else []), *numbers]


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
    """One line an input that was scored: how many rows were read and selected, and pass each model's first point."""
    models = dict.fromkeys(model for s in summaries for model in s.n_passed)
    table = Table()
    for name in ("friend file", "rows", "selected", *models):
        table.add_column(name, justify="left" if name == "friend file" else "right", overflow="fold")
    for s in summaries:
        name = f"{s.target} (was finished)" if s.skipped else str(s.target)
        passed = (f"{s.n_passed[model]:,}" if model in s.n_passed else "–" for model in models)
        table.add_row(name, f"{s.n_rows:,}", f"{s.n_selected:,}", *passed)
    if len(summaries) > 1:
        totals = (sum(s.n_passed.get(model, 0) for s in summaries) for model in models)
        columns = (sum(s.n_rows for s in summaries), sum(s.n_selected for s in summaries), *totals)
        table.add_row("all", *(f"{n:,}" for n in columns))
    return table


def stage_line(summaries: Sequence[Summary]) -> str:
    """What the columns of the table mean, the events that the run had seen, and seconds by stage."""
    seconds: dict[str, float] = {}
    for stage, value in ((stage, value) for s in summaries for stage, value in s.seconds.items()):
        seconds[stage] = seconds.get(stage, 0.0) + value
    parts = ["a model's column: rows that pass its first working point"] if any(s.n_passed for s in summaries) else []
    if n_known := sum(s.n_known for s in summaries):
        parts.append(f"{n_known:,} selected rows are the run's own events, scored by the model that did not see them")
    if seconds:
        told = ", ".join(f"{stage} {value:.2f}" for stage, value in seconds.items())
        parts.append(f"seconds, all workers together: {told}")
    return "; ".join(parts)


def failures(summaries: Sequence[Summary], lost: Sequence[Lost]) -> str:
    """The inputs that have no friend tree, and why; empty where there is none."""
    reasons = [each.reason for each in lost] + [s.failure for s in summaries if s.failure]
    if not reasons:
        return ""
    n = len(lost) + len(summaries)
    return "\n  ".join([f"{len(reasons)} of {n} inputs could not be scored:", *dict.fromkeys(reasons)])


def runs_table(runs: Sequence[Finished]) -> Table:
    """One line a model of each run: AUC, and the misidentification in per cent at each working point, on its test."""
    names = dict.fromkeys(w.name for r in runs for m in r.results.models.values() for w in m.working_points)
    table = Table(title="each run on its own test sample, 68.3 % intervals; misidentification in %")
    table.add_column("run:model", overflow="fold")
    table.add_column("AUC", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    for run in runs:
        others = [c for c in run.results.classes if c != run.results.signal]
        for model in run.results.models.values():
            at = {w.name: " / ".join(format_symmetric(w.misid[o], 100.0) for o in others) for w in model.working_points}
            auc = model.samples["test"].auc
            shown = "–" if not math.isfinite(auc.value) else f"{auc.value:.4f} ± {(auc.high - auc.low) / 2:.4f}"
            table.add_row(f"{run.name}:{model.name}", shown, *(at.get(name, "–") for name in names))
    return table


def pair_lines(pair: Pair) -> Iterator[str]:
    """What two runs show on the events that both tested, in sentences."""
    yield f"{pair.a} and {pair.b}: {pair.n_shared:,} test candidates in common"
    if pair.note:
        yield f"  note: {pair.note}"
    for comparison in pair.comparisons:
        delta = comparison.delta_auc
        if math.isfinite(delta.value):
            error = (delta.high - delta.low) / 2
            yield f"• AUC of {comparison.b} − AUC of {comparison.a} = {delta.value:+.5f} ± {error:.5f}"
        yield from (f"• {point.verdict}" for point in comparison.working_points if point.verdict)


MOST_MOVED = 20
"""So many of the numbers that moved are shown one by one."""


def reproduction_lines(found: Reproduction) -> Iterator[str]:
    """What making a run again gave, in sentences."""
    if found.identical:
        yield f"identical: all {found.n_compared:,} numbers came out as they were"
    else:
        yield f"not reproduced: {len(found.moved):,} of {found.n_compared:,} numbers moved"
        yield from (f"  {_moved_line(moved)}" for moved in found.moved[:MOST_MOVED])
        if len(found.moved) > MOST_MOVED:
            yield f"  … and {len(found.moved) - MOST_MOVED:,} more, by less"
    if found.differences:
        yield "what differs from then:"
        yield from (f"  {difference}" for difference in found.differences)
    elif not found.identical:
        yield "inputs, versions, hardware and seeds are the same: a model does not train the same way twice here"


def _moved_line(moved: Moved) -> str:
    by = f" ({moved.errors:.2g} standard errors)" if moved.errors is not None else ""
    return f"{moved.name}: {moved.before} → {moved.after}{by}"
