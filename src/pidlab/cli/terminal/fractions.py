"""The species fractions of data, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from pidlab.rounding import format_compact

if TYPE_CHECKING:
    from pidlab.evaluate.results import Fractions


def fractions_table(found: Fractions) -> Table:
    """Returns a line for each model, bin and class: yield and fraction by the fit, and by the inverted matrix."""
    table = Table(caption="68.3 % intervals, which hold the statistics of the templates", caption_justify="left")
    bins = [found.variable] if found.variable else []
    for name in ("model", *bins, "class", "yield", "fraction", "yield, inverted", "fraction", "χ²/ndf"):
        is_text = name in ("model", "class", *bins)
        table.add_column(name, justify="left" if is_text else "right", overflow="fold")
    for model in found.models:
        for b, each in enumerate(model.bins):
            for i, name in enumerate(found.classes):
                where = [f"{each.low:g} to {each.high:g}" if i == 0 else ""] if found.variable else []
                goodness = ""
                if i == 0 and each.fitted:
                    goodness = f"{each.chi2:.1f}/{each.ndf}" if each.ndf > 0 else "–"
                numbers = (each.fit.yields, each.fit.fractions, each.inverted.yields, each.inverted.fractions)
                cells = [format_compact(quantity[name]) for quantity in numbers]
                table.add_row(model.model if b == i == 0 else "", *where, name, *cells, goodness)
        table.add_section()
    return table
