"""Finished runs, compared, made again and exported, for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from pidlab.cli.terminal.results import as_rich
from pidlab.measured import format_compact

if TYPE_CHECKING:
    from pidlab.evaluate.results import Results
    from pidlab.export import Exported
    from pidlab.runs.compare import Runs
    from pidlab.runs.reproduce import Added, Moved, Reproduction
    from pidlab.runs.shared_events import Pair


_N_SHOWN = 20  # of the numbers that moved


def runs_table(runs: Runs) -> Table:
    """Returns a line for each model of each run, with what the table of a single run shows of it."""
    from pidlab.evaluate.results import RegressionResults
    from pidlab.report.regression import regression_runs_table

    of_target = {run.name: run.results for run in runs if isinstance(run.results, RegressionResults)}
    if of_target:
        return as_rich(regression_runs_table(of_target))
    return _of_classes([(run.name, run.results) for run in runs if not isinstance(run.results, RegressionResults)])


def _of_classes(runs: Sequence[tuple[str, Results]]) -> Table:
    """Returns AUC and misidentification (%) at each working point, of each model on the test sample of its run."""
    names = dict.fromkeys(w.name for _, r in runs for m in r.models.values() for w in m.working_points)
    table = Table(title="each run on its own test sample, 68.3 % intervals; misidentification in %")
    table.add_column("run:model", overflow="fold")
    table.add_column("AUC", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    for run, results in runs:
        others = [c for c in results.classes if c != results.signal]
        for model in results.models.values():
            at = {w.name: " / ".join(format_compact(w.misid[o], 100.0) for o in others) for w in model.working_points}
            auc = format_compact(model.samples["test"].auc)
            table.add_row(f"{run}:{model.name}", auc, *(at.get(name, "–") for name in names))
    return table


def pair_lines(pairs: Sequence[Pair[Any]]) -> Iterator[str]:
    """Yields how each two runs differ on the events that both tested, after one on all p-values together."""
    from pidlab.report.tables import family

    yield from family([comparison for pair in pairs for comparison in pair.comparisons])
    for pair in pairs:
        yield from _lines_of_pair(pair)


def _lines_of_pair(pair: Pair[Any]) -> Iterator[str]:
    from pidlab.evaluate.results import RegressionComparison
    from pidlab.evaluate.verdicts import among_others

    yield f"{pair.a} and {pair.b}: {pair.n_shared:,} test candidates in common"
    if pair.note:
        yield f"  note: {pair.note}"
    for comparison in pair.comparisons:
        if isinstance(comparison, RegressionComparison):
            verdicts = (among_others(q.verdict, comparison.n_comparisons) for q in comparison.quantities)
            yield from (f"• {sentence}" for sentence in dict.fromkeys(verdicts))  # "predict alike" in all quantities
            continue
        delta = comparison.delta_auc
        if math.isfinite(delta.value):
            error = (delta.high - delta.low) / 2
            yield f"• AUC of {comparison.b} − AUC of {comparison.a} = {delta.value:+.5f} ± {error:.5f}"
        told = (among_others(p.verdict, comparison.n_comparisons) for p in comparison.working_points if p.verdict)
        yield from (f"• {sentence}" for sentence in told)


def reproduction_lines(found: Reproduction) -> Iterator[str]:
    """Yields how a run that was made again differs from the first."""
    if found.identical:
        yield f"identical: all {found.n_compared:,} numbers came out as they were"
    else:
        yield f"not reproduced: {len(found.moved):,} of {found.n_compared:,} numbers moved"
        yield from (f"  {_moved_line(moved)}" for moved in found.moved[:_N_SHOWN])
        if len(found.moved) > _N_SHOWN:
            yield f"  … and {len(found.moved) - _N_SHOWN:,} more, by less"
    if found.added:
        n_new = sum(each.n_numbers for each in found.added)
        yield f"new: {n_new:,} numbers were not measured then, and have nothing to be compared with"
        yield from (f"  {line}" for line in _added_lines(found.added))
    if found.differences:
        yield "what differs from then:"
        yield from (f"  {difference}" for difference in found.differences)
    elif not found.identical:
        yield "inputs, versions, hardware and seeds are the same: a model does not train the same way twice here"


def _added_lines(added: Sequence[Added]) -> Iterator[str]:
    """Yields the first place of each key that was added, and how many more places there are."""
    places: dict[str, list[str]] = {}
    for each in added:
        places.setdefault(each.name.rpartition(".")[2], []).append(each.name)
    for names in list(places.values())[:_N_SHOWN]:
        yield f"{names[0]}{f' and {len(names) - 1:,} more of this name' if len(names) > 1 else ''}"
    if len(places) > _N_SHOWN:
        yield f"… and {len(places) - _N_SHOWN:,} more keys"


def _moved_line(moved: Moved) -> str:
    by = f" ({moved.errors:.2g} standard errors)" if moved.errors is not None else ""
    return f"{moved.name}: {moved.before} → {moved.after}{by}"


def summary_line(exported: Exported) -> str:
    """Returns the sentence on an exported file: how far it is from pidlab on events."""
    if math.isnan(exported.largest_difference):
        return f"{exported.path}: {exported.note or 'not checked'}"
    checked = f"largest difference {exported.largest_difference:.2g} on {exported.n_events:,} events"
    return f"{exported.path}: {checked}{f'; {exported.note}' if exported.note else ''}"
