"""The results of a run: the table, and the sentences below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:  # the evaluation takes a second to load, which commands that look at a file do not need
    from pidlab.evaluate.results import AnyResults
    from pidlab.report.tables import TextTable


def results_table(results: AnyResults) -> Table:
    """Returns a table of a hundred columns: that of `models_table`, and of a regression that of `regression_table`."""
    from pidlab.evaluate.results import RegressionResults
    from pidlab.report.regression import regression_table
    from pidlab.report.tables import models_table

    return as_rich(regression_table(results) if isinstance(results, RegressionResults) else models_table(results))


def as_rich(content: TextTable) -> Table:
    """Returns the same table for the terminal."""
    table = Table(title=content.caption)
    for header, numeric in zip(content.columns, content.numeric, strict=True):
        table.add_column(header, justify="right" if numeric else "left")
    for row in content.rows:
        table.add_row(*(f"{cell.text}\n{cell.below}" if cell.below else cell.text for cell in row))
    return table


def sentences(results: AnyResults) -> list[str]:
    """Returns what the table does not show: the headline, warnings, points off their target, and the hand-made cuts.

    Warnings are of models below chance, of faults of a training and of few events.
    The hand-made cuts are compared with every other model at the efficiency of the cuts. One sentence before the first
    says that the p-values are corrected for the number of comparisons. Those of a regression are of its own module.
    """
    from pidlab.evaluate.results import RegressionResults
    from pidlab.report.headline import below_chance, few_events, headline, training_faults
    from pidlab.report.regression import regression_sentences
    from pidlab.report.tables import against_hand_cuts, family, remarks

    if isinstance(results, RegressionResults):
        return regression_sentences(results)
    against = against_hand_cuts(results)
    warnings = [*below_chance(results), *training_faults(results), *few_events(results)]
    told = [headline(results), *warnings, *remarks(results)]
    return [*told, *(family(results.comparisons) if against else ()), *against]
