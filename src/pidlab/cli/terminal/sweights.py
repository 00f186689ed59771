"""The fit of a mass and its weights, for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from pidlab.datadriven.massfit.fit import Fit, FitParameter
    from pidlab.datadriven.sweights.analysis import SweightsResult


def fit_table(fit: Fit) -> Table:
    """Returns a row for each parameter of a fit with its interval and a remark; the caption is the goodness of fit."""
    table = Table(caption=_goodness(fit), caption_justify="left")
    for name in ("parameter", "value", "68.3 % interval", ""):
        table.add_column(name, justify="left" if name in ("parameter", "") else "right", overflow="fold")
    for name, parameter in fit.parameters.items():
        table.add_row(name, *_row(parameter))
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
    table = Table()
    for name in ("weights of", "yield", "sum of weights", "smallest", "largest", "effective candidates"):
        table.add_column(name, justify="left" if name == "weights of" else "right", overflow="fold")
    for name, sums in found.sums.items():
        numbers = (f"{found.yields[name]:,.1f}", f"{sums.total:,.1f}", f"{sums.smallest:.3f}", f"{sums.largest:.3f}")
        table.add_row(name, *numbers, f"{sums.n_effective:,.0f}")
    return table
