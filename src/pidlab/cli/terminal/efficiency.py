"""Efficiencies from data, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from pidlab.datadriven.efficiency.result import EfficiencyResult, PointResult


def efficiency_table(result: EfficiencyResult, point: PointResult) -> Table:
    """Returns a line for each bin: efficiency in data and in simulation, the scale factor, and how good the fit is."""
    from pidlab.datadriven.efficiency.output import columns, lines

    table = Table(title=f"{point.model} at {point.working_point}, 68.3 % intervals, statistical and systematic errors")
    for number, name in enumerate(columns(result)):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in lines(result, point):
        table.add_row(*row)
    return table
