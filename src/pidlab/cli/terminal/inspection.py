"""The branches of a table, for the terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pidlab.read.inspection import BranchSummary, TableSummary

_LINES_AT_ONCE = 500
_NUMBERS = ("low", "1 %", "median", "99 %", "high")
_GAP = "  "
_LEAST_NAME = 16
"""Columns that a name keeps on a narrow terminal; then lines are longer than it is wide, and no digit is lost."""
_LEAST_REMARK = 24
"""Columns beside the numbers with which remarks stand there; with fewer they stand below the branch."""


def inspection(summary: TableSummary, with_ranges: bool, width: int | None = None) -> Iterator[str]:
    """Yields the lines that `pidlab inspect` shows of one tree, some hundred at a time.

    Args:
        summary: the tree.
        with_ranges: show numbers and remarks too.
        width: columns of the terminal, for which names are shortened in their middle and remarks are wrapped; None
            shows everything on one line a branch.
    """
    listed = "" if summary.n_branches == len(summary.branches) else f", {len(summary.branches)} of them listed"
    yield f"{summary.name}: {summary.n_entries:,} entries, {summary.n_branches} branches{listed}"
    lines: list[str] = []
    for line in _lines(summary.branches, with_ranges, width):
        lines.append(line)
        if len(lines) == _LINES_AT_ONCE:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)
    if summary.n_read < summary.n_entries and with_ranges:
        yield f"Ranges are those of the first {summary.n_read:,} entries."
    if summary.n_duplicates:
        share = summary.n_duplicates / summary.n_read
        yield (
            f"{summary.n_duplicates:,} rows ({share:.2%}) repeat an earlier row exactly; "
            "across a random split they leak from training into test: give data.event_id, or remove them."
        )


def shortened(name: str, width: int) -> str:
    """Returns the name in at most `width` columns, with … in place of its middle; its end tells branches apart, too."""
    if len(name) <= width:
        return name
    end = width // 2
    return f"{name[: width - end - 1]}…{name[len(name) - end :]}"


def _lines(branches: tuple[BranchSummary, ...], with_ranges: bool, width: int | None) -> Iterator[str]:
    """Yields a line of headings, then the lines of each branch."""
    cells = [[b.kind, *(_numbers(b) if with_ranges else ())] for b in branches]
    headings = ["type", *(_NUMBERS if with_ranges else ())]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    longest = max((len(b.name) for b in branches), default=0)
    behind = sum(len(_GAP) + n for n in widths)
    name = longest = max(longest, len("branch"))
    if width is not None:
        name = min(longest, max(_LEAST_NAME, width - behind))
    room = math.inf if width is None else width - name - behind - len(_GAP)
    yield _line("branch".ljust(name), headings, widths, "remarks" if with_ranges and room >= _LEAST_REMARK else "")
    for branch, row in zip(branches, cells, strict=True):
        remarks = "; ".join(branch.remarks) if with_ranges else ""
        beside: list[str] = [remarks]
        if remarks and width is not None:
            margin = name + behind + len(_GAP) if room >= _LEAST_REMARK else 4
            beside = textwrap.wrap(remarks, max(width - margin, _LEAST_REMARK), break_on_hyphens=False)
            beside = beside if room >= _LEAST_REMARK else ["", *beside]
        yield _line(shortened(branch.name, name).ljust(name), row, widths, beside[0])
        yield from (f"{' ' * margin}{line}" for line in beside[1:])


def _line(name: str, cells: list[str], widths: list[int], remark: str) -> str:
    kind, *numbers = (c.ljust(n) if not i else c.rjust(n) for i, (c, n) in enumerate(zip(cells, widths, strict=True)))
    return _GAP.join([name, kind, *numbers, remark]).rstrip()


def _numbers(branch: BranchSummary) -> list[str]:
    """Returns the least, quantiles and the largest; of integers, such as run numbers, with all digits."""
    whole = branch.kind.startswith(("int", "unsigned"))
    values = (branch.low, *branch.quantiles, branch.high)
    return [_number(v, whole) if math.isfinite(v) else "–" for v in values]


def _number(value: float, whole: bool) -> str:
    # Above 2^53 the value is no longer exact as a double, and its last digits would be invented.
    return f"{value:.0f}" if whole and value.is_integer() and abs(value) <= 2**53 else f"{value:.4g}"
