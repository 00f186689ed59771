"""The numbers behind a figure as a table: one row a point, a bin or a cell, as they are drawn."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pidlab.evaluate.results import (
    Comparison,
    CutStep,
    EfficiencyMap,
    Histogram,
    ModelResult,
    RobustnessResult,
    Roc,
    Training,
)
from pidlab.measured import Array

Cell = str | int | float
_BOUNDS = ("value", "low", "high")
_MOST_POINTS = 200


class FigureTable(NamedTuple):
    """Names of columns, and rows of as many cells."""

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def as_csv(self) -> str:
        """Comma-separated values (RFC 4180), numbers exactly as they are; empty where there is none."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\r\n")
        writer.writerow(self.header)
        writer.writerows([_exact(cell) for cell in row] for row in self.rows)
        return stream.getvalue()


Numbers = Callable[[], FigureTable]


def _exact(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    return "" if isinstance(cell, float) and math.isnan(cell) else repr(cell)


def table_of(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> FigureTable:
    """A table of plain Python numbers."""
    return FigureTable(
        tuple(header), tuple(tuple(c.item() if isinstance(c, np.generic) else c for c in row) for row in rows)
    )


def histograms(by_name: Mapping[str, Mapping[str, Histogram]], first: str) -> FigureTable:
    """Bins of histograms, each named by `first` and the class: edges, sums of weights, their errors, densities.

    A density has unit area inside the range of the axis.
    """
    rows = []
    for name, by_class in by_name.items():
        for particle, h in by_class.items():
            inside = h.sumw[1:-1]
            width = np.diff(h.edges)
            area = inside.sum()
            density = inside / area / width if area > 0 else np.full(len(inside), math.nan)
            columns = (h.edges[:-1], h.edges[1:], inside, np.sqrt(h.sumw2[1:-1]), density)
            rows += [(name, particle, *bin_) for bin_ in zip(*columns, strict=True)]
    return table_of((first, "class", "from", "to", "sum of weights", "error", "density"), rows)


def matrix(values: Array, names: Sequence[str], corner: str) -> FigureTable:
    """A square matrix (d, d) with its names."""
    return table_of((corner, *names), [(name, *row) for name, row in zip(names, values, strict=True)])


def learning(training: Training) -> FigureTable:
    """The history of training, a row an epoch or round."""
    history = training.history
    n = max(map(len, history.values()), default=0)
    rows = [(i + 1, *(v[i] if i < len(v) else math.nan for v in history.values())) for i in range(n)]
    return table_of(("epoch or round", *history), rows)


def rocs(models: Sequence[ModelResult], against: str) -> FigureTable:
    """The points of all curves, at most 200 of each, and of somebody's cuts."""
    rows: list[tuple[Any, ...]] = []
    for model in models:
        if against in model.roc and not model.fixed_cut:
            rows += [(model.name, *point) for point in curve_points(model.roc[against])]
        elif model.fixed_cut:
            points = [p for p in model.working_points if against in p.misid]
            rows += [(model.name, p.threshold, *p.efficiency[:3], *p.misid[against][:3]) for p in points]
    bounds = [f"{quantity} {bound}".removesuffix(" value") for quantity in ("efficiency", "misid") for bound in _BOUNDS]
    return table_of(("model", "threshold", *bounds), rows)


def curve_points(roc: Roc) -> Iterable[tuple[Any, ...]]:
    """At most 200 points of a curve: threshold, then efficiency and misidentification with their bounds."""
    columns = (
        roc.threshold, roc.efficiency, roc.efficiency_low, roc.efficiency_high,
        roc.misid, roc.misid_low, roc.misid_high,
    )  # fmt: skip
    n = len(roc.threshold)
    chosen = np.unique(np.linspace(0, max(n - 1, 0), min(n, _MOST_POINTS)).astype(int))
    return zip(*(column[chosen] for column in columns), strict=True)


def efficiency_maps(maps: Sequence[EfficiencyMap]) -> FigureTable:
    """The bins of maps over the same spectators."""
    names = maps[0].names
    rows = []
    for one in maps:
        for index, value in np.ndenumerate(one.value):
            edges = [edge for e, i in zip(one.edges, index, strict=True) for edge in (e[i], e[i + 1])]
            rows.append((one.working_point, one.particle, *edges, value, one.low[index], one.high[index], one.n[index]))
    ends = [f"{name} {end}" for name in names for end in ("from", "to")]
    return table_of(("working point", "class", *ends, "passing fraction", "low", "high", "n"), rows)


def comparisons(pairs: Sequence[Comparison], particle: str) -> FigureTable:
    """The differences of all pairs."""
    rows: list[tuple[Any, ...]] = []
    for pair in pairs:
        rows.append((pair.b, pair.a, "AUC", *pair.delta_auc))
        some = [p for p in pair.working_points if p.particle == particle]
        rows += [(pair.b, pair.a, f"misid of {particle} at {p.name}", *p.delta_misid) for p in some]
    return table_of(("b", "a", "difference b − a of", *_BOUNDS, "n"), rows)


def changes(by_model: Mapping[str, RobustnessResult], change: str) -> FigureTable:
    """AUC after one kind of change, a row a model, feature and size; those of no feature are unchanged."""
    rows: list[tuple[Any, ...]] = []
    for model, changed in by_model.items():
        if changed.nominal is not None:
            rows.append((model, "none", 0.0, *changed.nominal.auc))
        rows += [(model, p.feature, p.size, *p.auc) for p in changed.points if p.change == change]
    return table_of(("model", "feature", "size", *(f"AUC {b}".removesuffix(" value") for b in _BOUNDS), "n"), rows)


def cut_flow(steps: Sequence[CutStep], classes: Sequence[str]) -> FigureTable:
    """What each cut leaves: candidates and sums of weights."""
    header = ("cut", *(f"{particle}{kind}" for particle in classes for kind in ("", ", weighted")))
    rows = [(s.name, *(v for c in classes for v in (s.passed.get(c, 0), s.weighted.get(c, math.nan)))) for s in steps]
    return table_of(header, rows)
