"""The numbers behind the figures of `sheets_quality` as tables."""

from __future__ import annotations

import math
from typing import Any

from pidlab.evaluate.results import Calibration, DecisionMatrix, Importance, ModelResult, Scan
from pidlab.plots.quality import importance_columns
from pidlab.plots.sheets.tables import FigureTable, curve_points, table_of


def calibration(curve: Calibration) -> FigureTable:
    """The bins of a calibration curve."""
    rows = zip(curve.score, curve.fraction, curve.low, curve.high, curve.n, strict=True)
    return table_of(("mean score", "share of signal", "low", "high", "n"), rows)


def importance(one: Importance, *, area: bool) -> FigureTable:
    """What each feature is worth: each number with its bounds."""
    named = importance_columns(one, area=area)
    header = ["feature", *(f"{name}{bound}" for name in named for bound in ("", " low", " high"))]
    rows = [
        (f.feature, *(number for values in named.values() for number in values[i][:3]))
        for i, f in enumerate(one.features)
    ]
    return table_of(header, rows)


def merit(scan: Scan) -> FigureTable:
    """Each figure of merit at each threshold, with its bounds."""
    header = [f"{name}{bound}" for name in scan.merits for bound in ("", " low", " high")]
    columns = [column for m in scan.merits.values() for column in (m.value, m.low, m.high)]
    rows = zip(scan.threshold, scan.efficiency, *columns, strict=True)
    return table_of(("threshold", "efficiency", *header), rows)


def pairs(model: ModelResult) -> FigureTable:
    """The points of the curves of all pairs, at most 200 of each."""
    rows: list[tuple[Any, ...]] = []
    for one, others in model.roc_pairs.items():
        for other, roc in others.items():
            rows += [(one, other, *point) for point in curve_points(roc)]
    bounds = [f"{quantity}{bound}" for quantity in ("efficiency", "misid") for bound in ("", " low", " high")]
    return table_of(("class", "against", "threshold", *bounds), rows)


def matrix(one: DecisionMatrix) -> FigureTable:
    """The cells of a matrix of decided against true class."""
    k = len(one.classes)
    rows = [
        (one.classes[i], one.classes[j], one.rate[i, j], one.low[i, j], one.high[i, j], float(one.n[i]))
        for i in range(k)
        for j in range(k)
    ]
    return table_of(("true", "decided", "share", "low", "high", "n"), rows if k else [("", "", *[math.nan] * 4)])
