"""Figures of what goes into the models: the features by class, their correlation, and the cut flow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes

from pidlab.evaluate.results import AnyResults, CutStep, Results
from pidlab.plots.canvas.style import class_styles, legend, legend_lines, shown
from pidlab.plots.cutflow import cut_flow
from pidlab.plots.inputs import feature
from pidlab.plots.matrices import correlation
from pidlab.plots.sheets.sheet import Sheet, columns_of, one_panel, pages, panels, root_key
from pidlab.plots.sheets.table import FigureTable, histogram_table, matrix_table, table_of

T = TypeVar("T")
FEATURES_A_PAGE = 12


def inputs(results: Results) -> Iterator[Sheet]:
    """Yields every feature by class, twelve features in a figure."""
    styles = class_styles(results.classes, results.signal)
    return sheets_of_features(
        results.inputs,
        partial(feature, styles=styles, labels=results.labels),
        kind="inputs",
        title="Inputs by class",
        alt=lambda names: f"Histograms of {names} in the test sample, with unit area for each class, on a log axis.",
        numbers=partial(histogram_table, first="feature"),
        objects=lambda name, by_class: [f"{name}_{c}" for c in by_class],
        heading=lambda ax: legend(ax, legend_lines(styles, results.classes, marker=False)),
    )


def sheets_of_features(
    content: Mapping[str, T],
    draw: Callable[..., object],
    *,
    kind: str,
    title: str,
    alt: Callable[[str], str],
    numbers: Callable[[dict[str, T]], FigureTable],
    objects: Callable[[str, T], Iterable[str]],
    heading: Callable[[Axes], object] | None = None,
    name: str = "",
) -> Iterator[Sheet]:
    """Yields sheets with a panel for each feature, twelve in a figure.

    Args:
        content: what is shown of each feature.
        draw: fills a panel: `draw(feature, content, ax)`.
        kind: the kind of the sheets.
        title: their title, which has the number of the page behind it from the second one on.
        alt: says what a figure shows, from the names of its features.
        numbers: makes the table of a figure from its part of `content`.
        objects: gives the names of the objects in `inputs/` of `results.root` that show a feature.
        heading: writes what stands above the first panel.
        name: the name of the first sheet; left out: the kind.
    """
    name = name or kind
    for page, some in pages(list(content.items()), FEATURES_A_PAGE):
        yield Sheet(
            name=f"{name}_{page}" if page > 1 else name,
            title=f"{title}{f', {page}' * (page > 1)}",
            alt=alt(", ".join(each for each, _ in some)),
            draw=partial(panels, some, draw, columns_of(len(some)), 3.3, 2.7, heading=heading),
            numbers=partial(numbers, dict(some)),
            section="inputs",
            objects=tuple(f"inputs/{root_key(key)}" for each in some for key in objects(*each)),
            kind=kind,
            about={"page": str(page)},
        )


def correlations(results: Results) -> Iterator[Sheet]:
    """Yields the correlation of the features, a figure for each class."""
    n_features = len(results.features)
    side = matrix_side(n_features)
    for particle, matrix in results.correlation.items():
        if n_features > 1:
            yield Sheet(
                name=f"correlation_{particle}",
                title=f"Correlation of the inputs, {particle} (%)",
                alt=f"Matrix of the linear correlation, in per cent, of {n_features} features for {particle}.",
                draw=partial(
                    one_panel,
                    partial(correlation, matrix, results.features, labels=results.labels),
                    side,
                    side,
                    f"{shown(particle)} (%)",
                ),
                numbers=partial(matrix_table, matrix, results.features, particle),
                section="inputs",
                objects=(f"inputs/{root_key(f'correlation_{particle}')}",),
                kind="correlation",
                about={"particle": particle},
            )


def matrix_side(n_features: int) -> float:
    """Returns the sides in inches of a figure of the correlation of so many features."""
    return float(np.clip(1.6 + 0.5 * n_features, 3.5, 11))


def cut_flows(results: AnyResults) -> Iterator[Sheet]:
    """Yields the cut flow of the selection, of each class or of the events of a regression."""
    steps = results.cutflow
    if isinstance(results, Results):
        classes, signal, whose = results.classes, results.signal, " of each class"
        height = 1.2 + 0.32 * len(steps) * (0.6 + 0.6 * len(classes))
    else:
        classes, whose = tuple(dict.fromkeys(name for step in steps for name in step.passed)), ""
        signal, height = next(iter(classes), ""), 1.2 + 0.4 * len(steps)
    if steps:
        draw = partial(cut_flow, steps, styles=class_styles(classes, signal))
        yield Sheet(
            name="cutflow",
            title="Cut flow",
            alt=f"Number of candidates{whose} after {', '.join(step.name for step in steps)}.",
            draw=partial(one_panel, draw, 7.0, height),
            numbers=partial(_cut_flow_table, steps, classes),
            section="cutflow",
            objects=("cutflow/*",),
            kind="cutflow",
        )


def _cut_flow_table(steps: Sequence[CutStep], classes: Sequence[str]) -> FigureTable:
    """Returns the candidates and the sums of weights that each cut leaves."""
    header = ("cut", *(f"{particle}{kind}" for particle in classes for kind in ("", ", weighted")))
    rows = [(s.name, *(v for c in classes for v in (s.passed.get(c, 0), s.weighted.get(c, math.nan)))) for s in steps]
    return table_of(header, rows)
