"""A regression in words and tables: the headline, what warns of the numbers, and the table of its models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from pidlab.evaluate.regression.compare import QUANTITIES
from pidlab.evaluate.results import PairedQuantity, PullMetrics, RegressionModel, RegressionResults, ResidualMetrics
from pidlab.evaluate.verdicts import ERROR, corrected
from pidlab.measured import Measured, fixed, format_compact, format_measured, format_number
from pidlab.report.tables import TableCell, TextTable, first_of, listed

FEW = 100.0
"""Effective events on test below which the interval of an RMS is wider than a twelfth of it."""
_READABLE = (1e-5, 1e6)


def regression_headline(results: RegressionResults) -> str:
    """Returns sentences on the model of smallest RMS on test, as far as the comparisons show it to be the best."""
    ranked = results.ranked
    if not ranked:
        return "No model has an RMS on test, so none can be called best."
    first = ranked[0]
    if len(ranked) == 1:
        return f"{first.name} predicts {results.target} with an RMS of {format_measured(first.rms)} on test."
    leaders = level_with_the_first(results)
    if len(leaders) > 1:
        shown = ", ".join(f"{name} {format_measured(results.models[name].rms)}" for name in leaders)
        said = f"{listed(leaders)} are level in RMS on test ({shown}); none is shown to be the best."
    else:
        said = f"{first.name} has the smallest RMS: {format_measured(first.rms)} on test; {_lead(results)}"
    but = _contradictions(results, leaders)
    return f"{said} {but}" if but else said


def best_regression(results: RegressionResults) -> str:
    """Returns the model of smallest RMS, empty if others are level with it or beat it in another quantity."""
    leaders = level_with_the_first(results)
    return leaders[0] if len(leaders) == 1 and not _contradictions(results, leaders) else ""


def level_with_the_first(results: RegressionResults) -> list[str]:
    """Returns the model of smallest RMS on test, and those whose RMS is not shown to be larger, in rising order."""
    ranked = [model.name for model in results.ranked]
    return [name for i, name in enumerate(ranked) if i == 0 or _winner(results, ranked[0], name) != ranked[0]]


def _compared(results: RegressionResults, a: str, b: str, quantity: str) -> PairedQuantity | None:
    found = next((c for c in results.comparisons if {c.a, c.b} == {a, b}), None)
    return None if found is None else found.quantity(quantity)


def _winner(results: RegressionResults, a: str, b: str) -> str | None:
    found = _compared(results, a, b, "rms")
    return None if found is None else found.winner


def _lead(results: RegressionResults) -> str:
    """Returns by how much the first model is better than the second, on the same candidates."""
    first, second = (model.name for model in results.ranked[:2])
    found = _compared(results, first, second, "rms")
    assert found is not None  # it was found to be better
    value, low, high, n = found.difference
    lead = Measured(abs(value), min(abs(low), abs(high)), max(abs(low), abs(high)), n)
    pair = next(c for c in results.comparisons if {c.a, c.b} == {first, second})
    p = f" ({corrected(found.p_adjusted, pair.n_comparisons)})" if pair.n_comparisons > 1 else ""
    # Powers of ten are for what is too small or too large to be read without them.
    by = format_compact(lead) if _READABLE[0] <= lead.value < _READABLE[1] else format_measured(lead)
    return f"better than {second}, the next, by {by} on the same candidates{p}."


def _contradictions(results: RegressionResults, leaders: list[str]) -> str:
    """Returns a sentence on the quantities in which a leader is beaten."""
    where: dict[tuple[str, str], list[str]] = {}
    for pair in results.comparisons:
        for quantity in pair.quantities:
            loser = pair.a if quantity.winner == pair.b else pair.b
            if quantity.winner and quantity.name != "rms" and loser in leaders:
                where.setdefault((quantity.winner, loser), []).append(QUANTITIES[quantity.name])
    return first_of([f"{winner} beats {loser} in {listed(names)}" for (winner, loser), names in where.items()])


def regression_cautions(results: RegressionResults) -> Iterator[str]:
    """Yields what warns of the numbers: few events, nothing better than a constant, wrong widths and quantiles."""
    ranked = results.ranked
    n = max((model.rms.n for model in ranked), default=0.0)
    if n < FEW:
        yield f"Only {n:,.0f} events of test (effectively): all that is said has wide intervals."
    constants = [model.name for model in results.models.values() if model.kind == "constant"]
    if ranked and constants and len(ranked) > len(constants):
        level = level_with_the_first(results)
        same = [name for name in constants if name in level]
        if same:
            yield (
                f"No model is shown to be better than {listed(same)}, which predicts the same value for all: the "
                f"features say little of {results.target}, or there are too few events to learn from."
            )
    for model in results.models.values():
        yield from _about_widths(model)


_WRONG_WIDTH = 0.05
_WRONG_SHARE = 0.02
_WITHIN_ONE, _WRONG_WITHIN = 0.6827, 0.05
"""The differences of the pulls' width from 1, of a quantile's share from its probability, and of the share of pulls
within one σ from that of a Gaussian, that are said first."""


def _about_widths(model: RegressionModel) -> Iterator[str]:
    pulls = model.test.pulls
    if pulls is not None and _differs(pulls.width, 1.0, _WRONG_WIDTH):
        too = "small" if pulls.width.value > 1 else "large"
        width = format_measured(pulls.width)
        yield f"{model.name} predicts widths that are too {too}: its pulls have a width of {width}."
    elif pulls is not None and _differs(pulls.within_one, _WITHIN_ONE, _WRONG_WITHIN):
        yield (
            f"The pulls of {model.name} are not Gaussian: {format_compact(pulls.within_one, 100)} % of them lie within "
            f"one predicted σ, where {format_number(100 * _WITHIN_ONE, 3)} % of a Gaussian do. Its σ is the root mean "
            "square of the residuals, whatever their shape; quantiles (loss: quantile) tell the shape."
        )
    wrong = [q for q in model.test.quantiles if _differs(q.share, q.probability, _WRONG_SHARE)]
    if wrong:
        told = listed(
            [f"{format_number(100 * q.share.value, 3)} % for {format_number(100 * q.probability, 3)} %" for q in wrong]
        )
        yield f"{model.name} predicts quantiles that hold other shares of test than they should: {told}."


def _differs(number: Measured, right: float, least: float) -> bool:
    """Returns whether a number is wrong by more than `least` and by more than twice its error."""
    error = max(number.high - number.value, number.value - number.low)
    return abs(number.value - right) > max(least, 2 * error)


def regression_sentences(results: RegressionResults) -> list[str]:
    """Returns what the table does not show: the headline, what warns of the numbers, overtraining, and remarks.

    Overtraining that is not shown is told in the report only.
    """
    told = (model.overtraining for model in results.models.values() if model.overtraining is not None)
    overtrained = [found.sentence for found in told if found.p_adjusted <= ERROR]
    notes = [f"{model.name}: {model.note}" for model in results.models.values() if model.note]
    return [regression_headline(results), *regression_cautions(results), *overtrained, *notes]


def regression_table(results: RegressionResults) -> TextTable:
    """Returns bias, RMS, σ68 and R² of each model on test, and the width of its pulls if a model predicts widths.

    A hundred columns of a terminal hold them.
    """
    caption = f"{results.target} on test, residual = prediction − target, 68.3 % intervals"
    return _table(caption, "model", [(name, model) for name, model in results.models.items()], best_regression(results))


def regression_runs_table(runs: Mapping[str, RegressionResults]) -> TextTable:
    """Returns the numbers of `regression_table` for the models of several runs, each on its own test sample."""
    caption = "each run on its own test sample, residual = prediction − target, 68.3 % intervals"
    models = [(f"{name}:{model}", found) for name, run in runs.items() for model, found in run.models.items()]
    return _table(caption, "run:model", models)


def _table(caption: str, first: str, models: Sequence[tuple[str, RegressionModel]], best: str = "") -> TextTable:
    """Returns a row for each model, under the name it has here; that of the best is strong."""
    with_pulls = any(model.test.pulls is not None for _, model in models)
    columns = [first, "bias", "RMS", "σ68", "R²", *(["width\nof pulls"] if with_pulls else [])]
    rows = tuple(_row(name, model.test, with_pulls=with_pulls, strong=name == best) for name, model in models)
    return TextTable(caption, tuple(columns), rows, (), (False, *[True] * (len(columns) - 1)))


def _row(name: str, test: ResidualMetrics, *, with_pulls: bool, strong: bool) -> tuple[TableCell, ...]:
    cells = [
        TableCell(name),
        _cell(test.bias),
        _cell(test.rms, strong=strong),
        _cell(test.sigma68),
        TableCell(format_r2(test.r2)),
    ]
    if with_pulls:
        pulls: PullMetrics | None = test.pulls
        cells.append(TableCell("–") if pulls is None else _cell(pulls.width))
    return tuple(cells)


def _cell(number: Measured, *, strong: bool = False) -> TableCell:
    return TableCell(format_compact(number) if math.isfinite(number.value) else "–", strong=strong)


def format_r2(number: Measured) -> str:
    """Returns R² with at most four decimal places, since those of a constant have many zeros before them."""
    error = max(number.high - number.value, number.value - number.low)
    if error < _SMALLEST_R2:
        return f"{fixed(number.value, 4)} ± {fixed(error, 4)}"
    return format_compact(number)


_SMALLEST_R2 = 5e-4
