"""What is measured in data without labels, for the terminal: fits of a mass, sWeights, fractions, efficiencies."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.table import Table

from pidlab.cli.terminal.console import table_with
from pidlab.measured import format_compact

if TYPE_CHECKING:
    from pidlab.datadriven.efficiency.result import EfficiencyResult, PointResult
    from pidlab.datadriven.massfit.fit import Fit, FitParameter
    from pidlab.datadriven.sweights.analysis import SweightsResult
    from pidlab.evaluate.results import Fractions


def fit_table(fit: Fit) -> Table:
    """Returns a row for each parameter of a fit with its interval and a remark; the caption is the goodness of fit."""
    rows = [(name, *_row(parameter)) for name, parameter in fit.parameters.items()]
    names = ["parameter", "value", "68.3 % interval", *(["remark"] if any(row[-1] for row in rows) else [])]
    table = table_with(*names, left=("parameter", "remark"), caption=_goodness(fit), caption_justify="left")
    for row in rows:
        table.add_row(*row[: len(names)])
    return table


def _row(parameter: FitParameter) -> tuple[str, str, str]:
    value, low, high, _ = parameter.measured
    if parameter.fixed:
        return f"{value:.6g}", "", "fixed"
    digits = max(0, 1 - math.floor(math.log10(high - low))) if 0 < high - low < math.inf else 4
    interval = f"{low:,.{digits}f} to {high:,.{digits}f}" if math.isfinite(high - low) else "not known"
    return f"{value:,.{digits}f}", interval, f"the same as {parameter.shared}" if parameter.shared else ""


def _goodness(fit: Fit) -> str:
    goodness = fit.goodness
    how = f"{fit.method} fit of {fit.n:,.0f} candidates"
    if not math.isfinite(goodness.p):
        return how
    return f"{how}; χ²/ndf {goodness.chi2:.1f}/{goodness.ndof} in {len(goodness.observed)} bins, p = {goodness.p:.2g}"


def weights_table(found: SweightsResult) -> Table:
    """Returns a row for each component: its yield, and the sum, range and effective number of its weights."""
    numbers = ("yield", "sum of weights", "smallest", "largest", "effective candidates")
    table = table_with("weights of", *numbers, left=("weights of",))
    yields = {} if found.weights is None else found.weights.yields
    for name, sums in found.sums.items():
        cells = (f"{yields[name]:,.1f}", f"{sums.total:,.1f}", f"{sums.smallest:.3f}", f"{sums.largest:.3f}")
        table.add_row(name, *cells, f"{sums.n_effective:,.0f}")
    return table


def fractions_table(found: Fractions) -> Table:
    """Returns a line for each model, bin and class: yield and fraction by the fit, and by the inverted matrix."""
    caption = "68.3 % intervals, which hold the statistics of the templates"
    words = ["model", *([found.variable] if found.variable else []), "class"]
    numbers = ("yield", "fraction", "yield, inverted", "fraction, inverted", "χ²/ndf")
    table = table_with(*words, *numbers, left=words, caption=caption, caption_justify="left")
    for model in found.models:
        for b, each in enumerate(model.bins):
            for i, name in enumerate(found.classes):
                where = [f"{each.low:g} to {each.high:g}" if i == 0 else ""] if found.variable else []
                goodness = ""
                if i == 0 and each.fitted:
                    goodness = f"{each.chi2:.1f}/{each.ndf}" if each.ndf > 0 else "–"
                found_by = (each.fit.yields, each.fit.fractions, each.inverted.yields, each.inverted.fractions)
                cells = [format_compact(quantity[name]) for quantity in found_by]
                table.add_row(model.model if b == i == 0 else "", *where, name, *cells, goodness)
        table.add_section()
    return table


def efficiency_table(result: EfficiencyResult, point: PointResult) -> Table:
    """Returns a line for each bin: efficiency in data and in simulation, the scale factor, and how good the fit is."""
    from pidlab.datadriven.efficiency.output import columns, lines

    title = f"{point.model} at {point.working_point}, 68.3 % intervals, statistical and systematic errors"
    names = columns(result)
    table = table_with(*names, left=names[:1], title=title)
    for row in lines(result, point):
        table.add_row(*row)
    return table
