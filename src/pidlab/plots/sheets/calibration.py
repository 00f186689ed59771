"""Figures of calibration: whether the score of a model is a probability."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from pidlab.evaluate.results import Calibration, Results
from pidlab.plots.calibration import calibration, calibration_gap
from pidlab.plots.canvas.style import model_styles
from pidlab.plots.sheets.sheet import Sheet, label_bottom, objects_of, stack
from pidlab.plots.sheets.table import FigureTable, table_of


def calibrations(results: Results) -> Iterator[Sheet]:
    """Yields the calibration of each model that gives probabilities."""
    for model in results.models.values():
        curve = model.calibration
        if curve is not None and np.isfinite(curve.fraction).any():
            yield Sheet(
                name=f"calibration_{model.name}",
                title=f"Calibration of {model.name}",
                alt=(
                    f"Share of {results.signal} against the mean score of {model.name} on test with 68.3 % intervals, "
                    "below it their difference; on the dashed line the score is a probability."
                ),
                draw=partial(_calibration, results, model.name, curve),
                numbers=partial(_calibration_table, curve),
                section="calibration",
                objects=objects_of(model.name, "calibration"),
                kind="calibration",
                about={"model": model.name},
            )


def _calibration(results: Results, model: str, curve: Calibration) -> Figure:
    figure, axes = stack(2, 5.6, 6.2, gap=0.06, ratios=(3, 1.2))
    style = model_styles(results.models.values())[model]
    calibration(curve, axes[0], signal=results.signal, style=style, name=model)
    calibration_gap(curve, axes[1], signal=results.signal, style=style)
    label_bottom(axes)
    return figure


def _calibration_table(curve: Calibration) -> FigureTable:
    rows = zip(curve.score, curve.fraction, curve.low, curve.high, curve.n, strict=True)
    return table_of(("mean score", "share of signal", "low", "high", "n"), rows)
