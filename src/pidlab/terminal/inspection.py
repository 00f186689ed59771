"""What a table holds, for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from pidlab.inspect import TableSummary


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
