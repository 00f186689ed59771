"""Figures of what goes into the models: the features by class, their correlation, and the cut flow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from pidlab.evaluate.results import CutStep, Histogram, Results
from pidlab.measured import Array
from pidlab.plots.canvas.style import class_styles, legend, legend_lines, new_figure, shown
from pidlab.plots.cutflow import cut_flow
from pidlab.plots.inputs import feature
from pidlab.plots.matrices import correlation
from pidlab.plots.sheets.sheet import Sheet, columns_of, grid, label_left, root_key
from pidlab.plots.sheets.table import FigureTable, histogram_table, matrix_table, table_of

FEATURES_A_PAGE = 12


def inputs(results: Results) -> Iterator[Sheet]:
    """Yields every feature by class, twelve features in a figure."""
    features = list(results.inputs.items())
    for page, first in enumerate(range(0, len(features), FEATURES_A_PAGE), start=1):
        some = features[first : first + FEATURES_A_PAGE]
        names = ", ".join(name for name, _ in some)
        yield Sheet(
            name=f"inputs_{page}" if page > 1 else "inputs",
            title=f"Inputs by class{f', {page}' * (page > 1)}",
            alt=f"Histograms of {names} in the test sample, with unit area for each class, on a log axis.",
            draw=partial(_inputs, results, some),
            numbers=partial(histogram_table, dict(some), "feature"),
            section="inputs",
            objects=tuple(f"inputs/{root_key(f'{name}_{c}')}" for name, by_class in some for c in by_class),
            kind="inputs",
            about={"page": str(page)},
        )


def _inputs(results: Results, some: Sequence[tuple[str, Mapping[str, Histogram]]]) -> Figure:
    n_columns = columns_of(len(some))
    figure, axes = grid(len(some), n_columns, 3.3, 2.7)
    styles = class_styles(results.classes, results.signal)
    for (name, by_class), ax in zip(some, axes, strict=True):
        feature(name, by_class, ax, styles=styles, labels=results.labels)
    legend(axes[0], legend_lines(styles, results.classes, marker=False))
    label_left(axes, n_columns)
    return figure


def correlations(results: Results) -> Iterator[Sheet]:
    """Yields the correlation of the features, a figure for each class."""
    n_features = len(results.features)
    for particle, matrix in results.correlation.items():
        if n_features > 1:
            yield Sheet(
                name=f"correlation_{particle}",
                title=f"Correlation of the inputs, {particle} (%)",
                alt=f"Matrix of the linear correlation, in per cent, of {n_features} features for {particle}.",
                draw=partial(_correlation, particle, results, matrix),
                numbers=partial(matrix_table, matrix, results.features, particle),
                section="inputs",
                objects=(f"inputs/{root_key(f'correlation_{particle}')}",),
                kind="correlation",
                about={"particle": particle},
            )


def _correlation(particle: str, results: Results, matrix: Array) -> Figure:
    side = float(np.clip(1.6 + 0.5 * len(results.features), 3.5, 11))
    figure = new_figure(side, side)
    ax = figure.subplots()
    correlation(matrix, results.features, ax, labels=results.labels)
    ax.set_title(f"{shown(particle)} (%)", fontsize=12, parse_math=False)
    return figure


def cut_flows(results: Results) -> Iterator[Sheet]:
    """Yields the cut flow of the selection."""
    if results.cutflow:
        yield Sheet(
            name="cutflow",
            title="Cut flow",
            alt=f"Number of candidates of each class after {', '.join(step.name for step in results.cutflow)}.",
            draw=partial(_cut_flow, results),
            numbers=partial(cut_flow_table, results.cutflow, results.classes),
            section="cutflow",
            objects=("cutflow/*",),
            kind="cutflow",
        )


def _cut_flow(results: Results) -> Figure:
    figure = new_figure(7.0, 1.2 + 0.32 * len(results.cutflow) * (0.6 + 0.6 * len(results.classes)))
    cut_flow(results.cutflow, figure.subplots(), styles=class_styles(results.classes, results.signal))
    return figure


def cut_flow_table(steps: Sequence[CutStep], classes: Sequence[str]) -> FigureTable:
    """Returns the candidates and the sums of weights that each cut leaves."""
    header = ("cut", *(f"{particle}{kind}" for particle in classes for kind in ("", ", weighted")))
    rows = [(s.name, *(v for c in classes for v in (s.passed.get(c, 0), s.weighted.get(c, math.nan)))) for s in steps]
    return table_of(header, rows)
