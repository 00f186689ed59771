"""The branches of a table, for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from pidlab.read.inspection import BranchSummary, TableSummary


_MANY = 1000
"""More branches than this are printed as plain lines, since rich takes a minute to lay out a table of 50,000."""
_LINES_AT_ONCE = 500
_NUMBERS = ("low", "1 %", "median", "99 %", "high")


def inspection(summary: TableSummary, with_ranges: bool) -> Iterator[str | Table]:
    """The lines and the table that `pidlab inspect` shows of one tree."""
    yield f"{summary.name}: {summary.n_entries:,} entries, {len(summary.branches)} branches"
    yield from _rows(summary, with_ranges) if len(summary.branches) <= _MANY else _lines(summary, with_ranges)
    if summary.n_read < summary.n_entries and with_ranges:
        yield f"Ranges are those of the first {summary.n_read:,} entries."
    if summary.n_duplicates:
        share = summary.n_duplicates / summary.n_read
        yield (
            f"{summary.n_duplicates:,} rows ({share:.2%}) repeat an earlier row exactly; "
            "across a random split they leak from training into test: give data.event_id, or remove them."
        )


def _cells(branch: BranchSummary) -> list[str]:
    numbers = (branch.low, *branch.quantiles, branch.high)
    return [f"{v:.4g}" if math.isfinite(v) else "–" for v in numbers] + ["; ".join(branch.remarks)]


def _rows(summary: TableSummary, with_ranges: bool) -> Iterator[Table]:
    table = Table(box=None, pad_edge=False)
    for name in ("branch", "type", *((*_NUMBERS, "remarks") if with_ranges else ())):
        is_text = name in ("branch", "type", "remarks")
        table.add_column(name, justify="left" if is_text else "right", overflow="fold", no_wrap=name != "remarks")
    for b in summary.branches:
        table.add_row(b.name, b.kind, *(_cells(b) if with_ranges else ()))
    yield table


def _lines(summary: TableSummary, with_ranges: bool) -> Iterator[str]:
    """The same columns as lines of text, some hundred at a time."""
    width = max(len(b.name) for b in summary.branches)
    kind = max(len(b.kind) for b in summary.branches)
    lines = ["  ".join(["branch".ljust(width), "type".ljust(kind), *(f"{n:>10}" for n in _NUMBERS if with_ranges)])]
    for b in summary.branches:
        *numbers, remarks = _cells(b)
        more = [*(f"{n:>10}" for n in numbers), remarks] if with_ranges else []
        lines.append("  ".join([b.name.ljust(width), b.kind.ljust(kind), *more]).rstrip())
        if len(lines) == _LINES_AT_ONCE:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)
