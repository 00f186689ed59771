"""The tables of results as text, from which the terminal, the report and a notebook make theirs: the same cells in all.

Efficiencies and misidentification are in per cent, with 68.3 % intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from pidlab.evaluate.points.attained import misses_target, same_decisions
from pidlab.evaluate.points.working_points import unset_sentences
from pidlab.evaluate.results import (
    Comparison,
    DetectorTable,
    ModelResult,
    PairedPoint,
    RegressionComparison,
    RegressionResults,
    Results,
    WorkingPoint,
)
from pidlab.evaluate.verdicts import ERROR, among_others, format_p, measured_p
from pidlab.measured import Measured, format_compact, format_number, format_share

_NO_REASON = "this run was made by a version of pidlab that kept no reasons"
_N_NAMED = 3  # contradictions that a headline can hold
MARK = "*"
"""Stands behind an efficiency that is not the target of its working point."""


@dataclass(frozen=True, slots=True)
class TableCell:
    """One cell: its text, and a second line below it, which may be empty. `strong` marks a winner."""

    text: str
    below: str = ""
    strong: bool = False


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of text.

    Attributes:
        caption: what is shown, on which sample, in which unit.
        columns: the headers; a line feed separates two lines.
        rows: cells, as many in each row as there are columns.
        remarks: sentences below the table, on the cells that are marked among others.
        numeric: for each column, whether it holds numbers, which are aligned on the right.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    remarks: tuple[str, ...]
    numeric: tuple[bool, ...]


def as_html(table: TextTable) -> str:
    """Returns a table as HTML, every text escaped, with its remarks below it; the report and a notebook show it."""
    header = "".join(
        f'<th scope="col"{_aligned(numeric)}>{_lines(column)}</th>'
        for column, numeric in zip(table.columns, table.numeric, strict=True)
    )
    body = "\n".join(f"<tr>{_html_row(row, table.numeric)}</tr>" for row in table.rows)
    remarks = "".join(f'<p class="remark">{escape(sentence)}</p>\n' for sentence in table.remarks)
    return (
        f"<table>\n<caption>{escape(table.caption)}</caption>\n<thead><tr>{header}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table>\n{remarks}"
    )


def _html_row(row: Sequence[TableCell], numeric: Sequence[bool]) -> str:
    first, *rest = row
    cells = [f'<th scope="row">{escape(first.text)}</th>']
    for cell, number in zip(rest, numeric[1:], strict=True):
        text = f"<strong>{escape(cell.text)}</strong>" if cell.strong else escape(cell.text)
        below = f'<div class="soft">{escape(cell.below)}</div>' if cell.below else ""
        cells.append(f"<td{_aligned(number)}>{text}{below}</td>")
    return "".join(cells)


def _aligned(numeric: bool) -> str:
    return ' class="n" style="text-align: right"' if numeric else ""


def _lines(header: str) -> str:
    return escape(header).replace("\n", "<br>")


def as_text(table: TextTable) -> str:
    """Returns a table in lines of text, as a terminal without colours shows it."""
    headers = [name.split("\n") for name in table.columns]
    n_lines = max(map(len, headers))
    lines = [[*([""] * (n_lines - len(name))), *name] for name in headers]
    rows = [list(line) for line in zip(*lines, strict=True)]
    n_headers = len(rows)
    for row in table.rows:
        rows.append([cell.text for cell in row])
        if any(cell.below for cell in row):
            rows.append([cell.below for cell in row])
    widths = [max(len(row[j]) for row in rows) for j in range(len(headers))]
    aligned = [
        "  ".join(
            text.rjust(width) if numeric else text.ljust(width)
            for text, width, numeric in zip(row, widths, table.numeric, strict=True)
        ).rstrip()
        for row in rows
    ]
    aligned.insert(n_headers, "─" * max(map(len, aligned)))
    return "\n".join([table.caption, "", *aligned, *table.remarks])


def models_table(results: Results) -> TextTable:
    """Returns AUC and misidentification at each working point, with the efficiency that the point has on test.

    There is one row for each model and class other than the signal. Fixed cuts have a column of their own, if it fits
    beside the others; efficiencies that miss their target are marked, and the remarks give the reasons.
    """
    others = [c for c in results.classes if c != results.signal]
    points = [name for _, name in _ordinary_points(results)]
    own = any(m.fixed_cut for m in results.models.values()) and (len(others) == 1 or len(points) < 4)
    what = f"{others[0]} % at" if len(others) == 1 else "% at"
    columns = ["model", "AUC", *(["misid of"] if len(others) > 1 else []), *(f"{what}\n{name}" for name in points)]
    columns += [f"{what}\nown cuts"] if own else []
    rows = tuple(row for model in results.models.values() for row in _model_rows(model, points, others, own=own))
    against = f"{results.signal} against {listed(others)}"
    caption = f"{against} on test, 68.3 % intervals; below, the point's efficiency (%)"
    n_words = 3 if len(others) > 1 else 2
    numeric = tuple(i == 1 or i >= n_words for i in range(len(columns)))
    return TextTable(caption, tuple(columns), rows, tuple(remarks(results)), numeric)


def _ordinary_points(results: Results) -> list[tuple[float, str]]:
    """Returns (target, name) of the points in their order, those that no model could set at the end."""
    models = [m for m in results.models.values() if not m.fixed_cut]
    known = {p.name: p.target for m in models for p in m.working_points if p.flat is None}
    unset = sorted({name for m in models for name in m.unset if name not in known})
    return [*sorted((target, name) for name, target in known.items()), *((1.0, name) for name in unset)]


def _model_rows(
    model: ModelResult, points: Sequence[str], others: Sequence[str], *, own: bool
) -> Iterator[tuple[TableCell, ...]]:
    at = {p.name: p for p in model.working_points} if not model.fixed_cut else {}
    test = model.samples.get("test")
    for i, other in enumerate(others):
        auc = TableCell(format_compact(test.auc) if test else "–")
        cells = [TableCell(model.name), auc] if i == 0 else [TableCell(""), TableCell("")]
        cells += [TableCell(other)] if len(others) > 1 else []
        for name in points:
            absent = "not set" if name in model.unset else "–"
            cells.append(_rate_cell(at[name], other, first=i == 0) if name in at else TableCell(absent))
        if own:
            cells.append(_rate_cell(model.working_points[0], other, first=i == 0) if model.fixed_cut else TableCell(""))
        yield tuple(cells)


def _rate_cell(point: WorkingPoint, other: str, *, first: bool) -> TableCell:
    misid = point.misid.get(other)
    return TableCell(format_compact(misid, 100.0) if misid else "–", f"at {attained(point)}" if first else "")


def attained(point: WorkingPoint) -> str:
    """Returns the efficiency of a point on test in per cent, marked if it misses its target."""
    shown = format_share(point.efficiency.value)
    return f"{shown} {MARK}" if misses_target(point) else shown


def remarks(results: Results) -> Iterator[str]:
    """Yields sentences on points that are one decision or not set, and on marked efficiencies, one for each reason."""
    off: dict[str, list[str]] = {}
    for model in results.models.values():
        if model.fixed_cut and len(model.working_points) < 2:
            continue
        for names in same_decisions(model):
            point = next(p for p in model.working_points if p.name == names[0])
            yield (
                f"{model.name}: {listed(names)} are one and the same decision, of efficiency "
                f"{format_share(point.efficiency.value)} %."
            )
        yield from (f"{model.name}: {sentence}" for sentence in unset_sentences(model.unset))
        by_reason: dict[str, list[str]] = {}
        for point in model.working_points:
            if misses_target(point):
                shown = f"{point.name} {format_share(point.efficiency.value)} %"
                by_reason.setdefault(point.reason or _unkept_reason(model, point), []).append(shown)
        for reason, points in by_reason.items():
            off.setdefault(reason, []).append(f"{model.name} {', '.join(points)}")
    for reason, where in off.items():
        yield f"Off target ({MARK}): {'; '.join(where)}. The reason: {reason}."


def _unkept_reason(model: ModelResult, point: WorkingPoint) -> str:
    """Returns the reason of a miss in results of an older version, which do not hold it."""
    shared = any(point.name in names for names in same_decisions(model))
    return "the score jumps there, as two points are one decision" if shared else _NO_REASON


def listed(names: Sequence[str]) -> str:
    """Returns names as in "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def first_of(told: Sequence[str]) -> str:
    """Returns a sentence of the first statements, as many as a headline can hold; empty if there are none."""
    more = f", and {len(told) - _N_NAMED} more pairs differ" if len(told) > _N_NAMED else ""
    return f"{'; '.join(told[:_N_NAMED])}{more}." if told else ""


# comparisons


def auc_winner(pair: Comparison) -> str | None:
    """Returns the model of the larger AUC, "" if they are level, None if they were not compared.

    Level are areas that differ by less than two standard errors, or not significantly at 95 % if all comparisons that
    were judged together are corrected for.
    """
    value = pair.delta_auc.value
    if not math.isfinite(value):
        return None
    error = error_towards_zero(pair.delta_auc)
    p = pair.auc_p_adjusted if math.isfinite(pair.auc_p_adjusted) else measured_p(pair.delta_auc)
    if not error > 0 or abs(value) < 2 * error or not p <= ERROR:
        return ""
    return pair.b if value > 0 else pair.a


def error_towards_zero(difference: Measured) -> float:
    """Returns the side of a difference's interval that lies towards 0, as a standard error."""
    value, low, high, _ = difference
    return value - low if value > 0 else high - value


def point_winner(pair: Comparison, point: PairedPoint) -> str | None:
    """Returns the model that is better at a point, "" if they are level, None if they were not compared.

    Results of older versions do not hold the winner: it is then that of the difference of misidentification alone.
    """
    if point.winner is not None or not math.isfinite(point.delta_misid.value):
        return point.winner
    p = point.p_adjusted if math.isfinite(point.p_adjusted) else measured_p(point.delta_misid)
    if not p <= ERROR:
        return "" if math.isfinite(p) else None
    return pair.b if point.delta_misid.value < 0 else pair.a


def verdict_table(results: Results) -> TextTable:
    """Returns the winner of each pair of models, in AUC and at each ordinary working point, or "level".

    Below stands the difference b − a with its 68.3 % interval, that of misidentification in per cent, and the p-value
    that is corrected for all comparisons. The caption says once for how many.
    """
    pairs = results.ordinary_comparisons
    by_hand = {name for name, model in results.models.items() if model.fixed_cut}
    names = list(dict.fromkeys(p.name for c in pairs if not {c.a, c.b} & by_hand for p in c.working_points))
    own = any({c.a, c.b} & by_hand for c in pairs)
    classes = [c for c in results.classes if c != results.signal]
    targets = {name: target for target, name in _ordinary_points(results)}
    columns = ["a – b", *(["of"] if len(classes) > 1 else []), "AUC"]
    columns += [f"{name}, at {100 * targets[name]:.3g} %" if name in targets else name for name in names]
    columns += ["at the cuts' own"] if own else []
    rows = []
    for pair in pairs:
        for i, particle in enumerate(classes):
            at = {p.name: p for p in pair.working_points if p.particle == particle}
            cells = [TableCell(f"{pair.a} – {pair.b}" if i == 0 else "")]
            cells += [TableCell(particle)] if len(classes) > 1 else []
            cells.append(_auc_cell(pair) if i == 0 else TableCell(""))
            fixed = bool({pair.a, pair.b} & by_hand)
            cells += [_point_cell(pair, at.get(name)) if not fixed else TableCell("") for name in names]
            if own:
                cells.append(_point_cell(pair, next(iter(at.values()), None)) if fixed else TableCell(""))
            rows.append(tuple(cells))
    caption = (
        "The better model of each pair on the same events of test, and below it the difference b − a with its 68.3 % "
        "interval (AUC; misidentification in %) and its p-value. Points are compared at exactly their target."
    )
    caption = " ".join([*family(pairs), caption])
    return TextTable(caption, tuple(columns), tuple(rows), (), tuple(False for _ in columns))


def _auc_cell(pair: Comparison) -> TableCell:
    winner = auc_winner(pair)
    if winner is None:
        return TableCell("")
    p = pair.auc_p_adjusted if math.isfinite(pair.auc_p_adjusted) else measured_p(pair.delta_auc)
    return TableCell(winner or "level", _difference(pair.delta_auc, 1.0, p), strong=bool(winner))


def _point_cell(pair: Comparison, point: PairedPoint | None) -> TableCell:
    if point is None or (winner := point_winner(pair, point)) is None:
        return TableCell("–")
    return TableCell(winner or "level", _difference(point.delta_misid, 100.0, point.p_adjusted), strong=bool(winner))


def _difference(difference: Measured, factor: float, p: float) -> str:
    shown = _signed(difference, factor)
    return f"{shown}, {format_p(p)}" if math.isfinite(p) else shown


def family(comparisons: Sequence[Comparison | RegressionComparison]) -> Iterator[str]:
    """Yields one sentence on the correction for the number of comparisons; nothing if there is only one."""
    n = max((c.n_comparisons for c in comparisons), default=0)
    if n > 1:
        yield (
            f"All {n} comparisons are judged together: p-values are corrected for their number by Holm's "
            "procedure, so that of runs with equal models one in twenty names any winner."
        )


def against_hand_cuts(results: Results) -> list[str]:
    """Returns the sentences of the comparisons with fixed cuts, at the efficiency of these cuts."""
    by_hand = {name for name, model in results.models.items() if model.fixed_cut}
    pairs = (pair for pair in results.comparisons if {pair.a, pair.b} & by_hand)
    return [among_others(p.verdict, pair.n_comparisons) for pair in pairs for p in pair.working_points if p.verdict]


# weights


def weights_tables(results: Results | RegressionResults) -> list[TextTable]:
    """Returns what the weights that make classes alike do to each group of classes; nothing if there are none."""
    found = results.reweighting
    if found is None:
        return []
    columns = ("classes", "effective events", "largest weight", "no events of target", "beyond reach", "AUC before")
    rows = []
    for group in found.groups:
        rows.append(
            (
                TableCell(listed(group.classes)),
                TableCell(f"{group.effective_after:,.0f}", f"of {group.effective_before:,.0f}"),
                TableCell(format_number(group.largest, 3)),
                TableCell(f"{format_share(group.no_support)} %"),
                TableCell(f"{format_share(group.out_of_reach)} %"),
                TableCell(format_compact(group.auc_before)),
                TableCell(format_compact(group.auc_after)),
            )
        )
    caption = (
        f"Made like {found.target}; measured on events that trained no weight. Weights are in units of their mean; "
        "shares are of the sum of |w|: of the classes where the target has no events (weight 0), and of the target "
        "beyond the range of the classes, which no weight can mend. The AUC is that of a classifier that tells them "
        "from the target by the matched variables."
    )
    numeric = (False, *(True for _ in range(6)))
    return [TextTable(caption, (*columns, "AUC after"), tuple(rows), (), numeric)]


# detectors


def detector_tables(results: Results) -> list[TextTable]:
    """Returns for each likelihood with several detectors what each of them contributes."""
    return [_detector_table(name, table, results) for name, table in results.detectors.items()]


def _detector_table(model: str, found: DetectorTable, results: Results) -> TextTable:
    others = [c for c in results.classes if c != results.signal]
    rows = []
    for row in found.rows:
        is_all = row is found.rows[0]
        cells = [TableCell(row.name), TableCell(format_compact(row.auc), "" if is_all else _signed(row.delta_auc, 1.0))]
        cells.append(TableCell(format_share(row.efficiency.value)))
        for other in others:
            rate, delta = row.misid.get(other), row.delta_misid.get(other)
            below = "" if is_all or delta is None else _signed(delta, 100.0)
            cells.append(TableCell(format_compact(rate, 100.0) if rate else "–", below))
        rows.append(tuple(cells))
    caption = (
        f"{model}: the likelihood of all detectors, of each alone, and with each left out, on test with 68.3 % "
        f"intervals. The misidentification (%) is at {found.working_point}, with a threshold of each row's own. Below, "
        "the difference to all detectors on the same events, at exactly the efficiency asked for."
    )
    columns = ("detectors", "AUC", f"{found.working_point}: {results.signal} %", *(f"{other} %" for other in others))
    return TextTable(caption, columns, tuple(rows), (), (False, *(True for _ in columns[1:])))


def _signed(difference: Measured, factor: float) -> str:
    shown = format_compact(difference, factor)
    return shown if shown.startswith("−") else f"+{shown}"


# robustness


def robustness_table(results: Results) -> TextTable:
    """Returns the changes that break a model, and the size at which; the remark counts those that break none."""
    by_hand = {name for name, model in results.models.items() if model.fixed_cut}
    broken = {n: r.breaks_at for n, r in results.robustness.items() if r.breaks_at and n not in by_hand}
    changes = list(dict.fromkeys(change for sizes in broken.values() for change in sizes))
    breaking = [c for c in changes if any(sizes.get(c) is not None for sizes in broken.values())]
    rows = tuple(
        (TableCell(change), *(_size_cell(change, sizes.get(change)) for sizes in broken.values()))
        for change in breaking
    )
    kinds = {c.partition(" ")[0]: [k for k in changes if k.partition(" ")[0] == c.partition(" ")[0]] for c in changes}
    kept = {kind: len([c for c in of_kind if c not in breaking]) for kind, of_kind in kinds.items()}
    told = ", ".join(f"{kind} ({n} of {len(kinds[kind])})" for kind, n in kept.items() if n)
    held = "No model breaks" if not breaking else "No other change that was tried breaks a model"
    caption = "The size of a change at which the AUC has lost 1 % of its distance to 0.5."
    return TextTable(
        caption, ("Change", *broken), rows, (f"{held}: {told}.",) if told else (), (False, *(True for _ in broken))
    )


def _size_cell(change: str, size: float | None) -> TableCell:
    if size is None:
        return TableCell("holds")
    return TableCell("breaks" if change.startswith("drop ") else format_number(size, 3), strong=True)
