"""Figures of what a cut on the score does: efficiencies, purity and figures of merit against threshold."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from pidlab.evaluate.results import ModelResult, Results, Roc, Scan
from pidlab.plots.canvas.style import GREY, LineStyle, class_styles, model_styles, shown
from pidlab.plots.merit import cut_scan, expected_text, merit
from pidlab.plots.sheets.sheet import Sheet, label_bottom, objects_of, stack
from pidlab.plots.sheets.table import FigureTable, bounded, table_of


def merits(results: Results) -> Iterator[Sheet]:
    """Yields efficiencies, purity and figures of merit against threshold, a figure for each model."""
    for model in results.models.values():
        if model.scan is not None:
            yield Sheet(
                name=f"merit_{model.name}",
                title=f"Efficiencies and figures of merit of {model.name} against threshold",
                alt=(
                    f"Efficiency of {results.signal}, misidentification, purity, significance and Punzi's figure of "
                    f"merit of {model.name} on test against threshold with 68.3 % bands, for "
                    f"{expected_text(model.scan)}; dashed lines mark the thresholds chosen on validation."
                ),
                draw=partial(_merits, results, model, model.scan),
                numbers=partial(_merit_table, model.scan, _main(model)),
                section="merit",
                objects=objects_of(model.name, "merit*"),
                kind="merit",
                about={"model": model.name},
            )


def _merits(results: Results, model: ModelResult, scan: Scan) -> Figure:
    figure, (upper, lower) = stack(2, 6.4, 6.6, gap=0.2, ratios=(2, 1))
    curve = _main(model)
    styles = class_styles(results.classes, results.signal)
    own, other = styles[results.signal], styles.get(curve.against, LineStyle(GREY, "", (0, (5, 1.5))))
    cut_scan(scan, curve, upper, signal=results.signal, signal_style=own, other_style=other)
    merit(scan, "punzi", lower, style=model_styles(results.models.values())[model.name])
    label_bottom([upper, lower])
    heading = upper.get_legend()
    if heading is not None:
        heading.set_title(f"{shown(model.name, 24)}, for {expected_text(scan)}")
        heading.get_title().set_parse_math(False)
    return figure


def _main(model: ModelResult) -> Roc:
    """Returns the curve against all other classes."""
    return model.roc["rest"] if "rest" in model.roc else next(iter(model.roc.values()))


def _merit_table(scan: Scan, curve: Roc) -> FigureTable:
    """Returns each figure of merit with its bounds at each threshold, and the efficiencies as the lines show them."""
    misid = np.interp(scan.threshold, curve.threshold[::-1], curve.misid[::-1])  # thresholds fall, np.interp wants rise
    columns = [column for m in scan.merits.values() for column in (m.value, m.low, m.high)]
    rows = zip(scan.threshold, scan.efficiency, misid, *columns, strict=True)
    return table_of(("threshold", "efficiency", "misid", *bounded(*scan.merits)), rows)
