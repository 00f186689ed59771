"""The friend trees that `pidlab apply` wrote, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from pidlab.cli.terminal.console import table_with

if TYPE_CHECKING:
    from pidlab.apply import Summary, UnreadableInput


def summary_table(summaries: Sequence[Summary]) -> Table:
    """Returns a line for each input: the rows that were read, selected, and pass each model's first working point."""
    models = dict.fromkeys(model for s in summaries for model in s.n_passed)
    table = table_with("friend file", "rows", "selected", *models, left=("friend file",))
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
    """Returns the meaning of the columns, the number of events that the run had seen, and the seconds by stage."""
    seconds: dict[str, float] = {}
    for stage, value in ((stage, value) for s in summaries for stage, value in s.seconds.items()):
        seconds[stage] = seconds.get(stage, 0.0) + value
    parts = ["a model's column: rows that pass its first working point"] if any(s.n_passed for s in summaries) else []
    if n_known := sum(s.n_known for s in summaries):
        parts.append(f"{n_known:,} selected rows are the run's own events, scored by the model that did not see them")
    if seconds:
        stages = ", ".join(f"{stage} {value:.2f}" for stage, value in seconds.items())
        parts.append(f"seconds, all workers together: {stages}")
    return "; ".join(parts)


def failures(summaries: Sequence[Summary], unreadable: Sequence[UnreadableInput]) -> str:
    """Returns the inputs that have no friend tree, with the reasons; empty if all have one."""
    reasons = [each.reason for each in unreadable] + [s.failure for s in summaries if s.failure]
    if not reasons:
        return ""
    n = len(unreadable) + len(summaries)
    return "\n  ".join([f"{len(reasons)} of {n} inputs could not be scored:", *dict.fromkeys(reasons)])
