"""Finished runs, compared, made again and exported, for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from pidlab.rounding import format_compact

if TYPE_CHECKING:
    from pidlab.export import Exported
    from pidlab.runs.compare import Finished, Pair
    from pidlab.runs.reproduce import Moved, Reproduction


_N_SHOWN = 20  # of the numbers that moved


def runs_table(runs: Sequence[Finished]) -> Table:
    """A line for each model of each run: AUC and misidentification in per cent at each working point, on its test."""
    names = dict.fromkeys(w.name for r in runs for m in r.results.models.values() for w in m.working_points)
    table = Table(title="each run on its own test sample, 68.3 % intervals; misidentification in %")
    table.add_column("run:model", overflow="fold")
    table.add_column("AUC", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    for run in runs:
        others = [c for c in run.results.classes if c != run.results.signal]
        for model in run.results.models.values():
            at = {w.name: " / ".join(format_compact(w.misid[o], 100.0) for o in others) for w in model.working_points}
            auc = model.samples["test"].auc
            shown = "–" if not math.isfinite(auc.value) else f"{auc.value:.4f} ± {(auc.high - auc.low) / 2:.4f}"
            table.add_row(f"{run.name}:{model.name}", shown, *(at.get(name, "–") for name in names))
    return table


def pair_lines(pair: Pair) -> Iterator[str]:
    """Sentences on how two runs differ on the events that both tested."""
    yield f"{pair.a} and {pair.b}: {pair.n_shared:,} test candidates in common"
    if pair.note:
        yield f"  note: {pair.note}"
    for comparison in pair.comparisons:
        delta = comparison.delta_auc
        if math.isfinite(delta.value):
            error = (delta.high - delta.low) / 2
            yield f"• AUC of {comparison.b} − AUC of {comparison.a} = {delta.value:+.5f} ± {error:.5f}"
        yield from (f"• {point.verdict}" for point in comparison.working_points if point.verdict)


def reproduction_lines(found: Reproduction) -> Iterator[str]:
    """Sentences on how a run that was made again differs from the first."""
    if found.identical:
        yield f"identical: all {found.n_compared:,} numbers came out as they were"
    else:
        yield f"not reproduced: {len(found.moved):,} of {found.n_compared:,} numbers moved"
        yield from (f"  {_moved_line(moved)}" for moved in found.moved[:_N_SHOWN])
        if len(found.moved) > _N_SHOWN:
            yield f"  … and {len(found.moved) - _N_SHOWN:,} more, by less"
    if found.differences:
        yield "what differs from then:"
        yield from (f"  {difference}" for difference in found.differences)
    elif not found.identical:
        yield "inputs, versions, hardware and seeds are the same: a model does not train the same way twice here"


def _moved_line(moved: Moved) -> str:
    by = f" ({moved.errors:.2g} standard errors)" if moved.errors is not None else ""
    return f"{moved.name}: {moved.before} → {moved.after}{by}"


def summary_line(exported: Exported) -> str:
    """An exported file, and how far it is from pidlab on events."""
    if math.isnan(exported.largest_difference):
        return f"{exported.path}: {exported.note or 'not checked'}"
    checked = f"largest difference {exported.largest_difference:.2g} on {exported.n_events:,} events"
    return f"{exported.path}: {checked}{f'; {exported.note}' if exported.note else ''}"
