"""Figures of merit against threshold: what a cut on the score is worth to a measurement."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from matplotlib.figure import Figure

from pidlab.evaluate.results import Results, Scan
from pidlab.plots.merit import MERITS, expected_text, merit
from pidlab.plots.sheets.sheet import Sheet, label_bottom, objects_of, stack
from pidlab.plots.sheets.table import FigureTable, bounded, table_of
from pidlab.plots.style import model_styles, shown


def merits(results: Results) -> Iterator[Sheet]:
    """Yields the figures of merit against threshold, a figure for each model."""
    for model in results.models.values():
        if model.scan is not None:
            yield Sheet(
                name=f"merit_{model.name}",
                title=f"Figures of merit of {model.name}",
                alt=(
                    f"Purity, significance and Punzi's figure of merit of {model.name} on test against threshold with "
                    f"68.3 % bands, for {expected_text(model.scan)}; dashed lines mark the thresholds chosen on "
                    "validation."
                ),
                draw=partial(_merits, results, model.name, model.scan),
                numbers=partial(_merit_table, model.scan),
                section="merit",
                objects=objects_of(model.name, "merit*"),
                kind="merit",
                about={"model": model.name},
            )


def _merits(results: Results, model: str, scan: Scan) -> Figure:
    names = [name for name in MERITS if name in scan.merits]
    figure, axes = stack(len(names), 6.4, 0.9 + 2.3 * len(names), gap=0.24)
    style = model_styles(results.models.values())[model]
    for name, ax in zip(names, axes, strict=True):
        merit(scan, name, ax, style=style)
    label_bottom(axes)
    heading = f"{shown(model, 24)}, for {expected_text(scan)}"
    axes[0].set_title(heading, fontsize=11, loc="left", parse_math=False)
    return figure


def _merit_table(scan: Scan) -> FigureTable:
    """Returns each figure of merit with its bounds at each threshold."""
    columns = [column for m in scan.merits.values() for column in (m.value, m.low, m.high)]
    rows = zip(scan.threshold, scan.efficiency, *columns, strict=True)
    return table_of(("threshold", "efficiency", *bounded(*scan.merits)), rows)
