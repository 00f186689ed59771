"""The results of a run: the table, and the sentences that compare hand-made cuts with the other models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from pidlab.rounding import format_symmetric

if TYPE_CHECKING:  # the evaluation takes a second to load, which commands that look at a file do not need
    from pidlab.evaluate.results.run import ModelResult, Results, WorkingPoint


def results_table(results: Results) -> Table:
    """AUC and misidentification in per cent at each working point, a line for each model and other class.

    Hand-made cuts have a column of their own, with their efficiency, if it fits into a hundred characters.
    """
    models = [m for m in results.models.values() if not m.fixed_cut]
    set_points = {w.name: w.target for m in models for w in m.working_points if w.flat is None}
    unset = [name for m in models for name in m.unset if name not in set_points]
    points = [
        *sorted((target, name) for name, target in set_points.items()),
        *((1.0, name) for name in sorted(set(unset))),
    ]
    others = [c for c in results.classes if c != results.signal]
    table = Table(title=f"{results.signal} against {' and '.join(others)}: test sample, 68.3 % intervals")
    table.add_column("model")
    table.add_column("AUC", justify="right")
    if len(others) > 1:
        table.add_column("misid of")
    for _, name in points:
        table.add_column(f"{others[0]} % at\n{name}" if len(others) == 1 else f"% at\n{name}", justify="right")
    own = any(m.fixed_cut for m in results.models.values()) and (len(others) == 1 or not points)
    if own:
        table.add_column(
            f"{others[0]} % at own\nefficiency (%)" if len(others) == 1 else "% at own\nefficiency (%)", justify="right"
        )
    for model in results.models.values():
        for line in _lines(model, [name for _, name in points], others, own=own):
            table.add_row(*line)
    return table


def _lines(model: ModelResult, points: Sequence[str], others: Sequence[str], *, own: bool) -> Iterator[list[str]]:
    at = {w.name: w for w in model.working_points}
    for i, other in enumerate(others):
        head = [model.name, format_symmetric(model.samples["test"].auc)] if i == 0 else ["", ""]
        numbers = [_at_point(at[name], other) if name in at else _absent(model, name) for name in points]
        if own:
            numbers.append(_at_own(model, other))
        yield [*head, *([other] if len(others) > 1 else []), *numbers]


def _at_point(point: WorkingPoint, other: str) -> str:
    """Misidentification in per cent, and the efficiency in per cent if it is far from the target of the point."""
    shown = format_symmetric(point.misid[other], 100.0)
    far = abs(point.efficiency.value - point.target) > min(0.03, 1 - point.target)
    return f"{shown} (eff. {100 * point.efficiency.value:.1f})" if far else shown


def _absent(model: ModelResult, name: str) -> str:
    return "not set" if name in model.unset else "–"


def _at_own(model: ModelResult, other: str) -> str:
    """Misidentification and efficiency of hand-made cuts, in per cent; empty for other models."""
    if not model.fixed_cut:
        return ""
    point = model.working_points[0]
    efficiency = point.efficiency.value
    own = "–" if math.isnan(efficiency) else f"{100 * efficiency:.1f}"
    return f"{format_symmetric(point.misid[other], 100.0)} ({own})"


def sentences(results: Results) -> list[str]:
    """The verdicts on the hand-made cuts against every other model at the efficiency of the cuts."""
    hand = {name for name, m in results.models.items() if m.fixed_cut}
    return [p.verdict for c in results.comparisons if {c.a, c.b} & hand for p in c.working_points if p.verdict]
