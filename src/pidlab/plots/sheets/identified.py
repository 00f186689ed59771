"""Figures after identification: features and spectators of what a working point accepts, and what it consists of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pidlab.evaluate.points.identified import kept, purity
from pidlab.evaluate.results import Identified, Results
from pidlab.plots.canvas.style import caption, class_styles, legend, legend_lines, shown
from pidlab.plots.exploring.identified import SEEN, composition, quality
from pidlab.plots.sheets.sheet import Sheet, columns_of, grid_of_pairs, label_pairs_left, pages, root_key
from pidlab.plots.sheets.table import FigureTable, bounded, table_of

PANELS_A_PAGE = 12


def compositions(results: Results) -> Iterator[Sheet]:
    """Yields, for each model and working point, every variable of what is accepted, twelve in a figure.

    A run draws the first figure of the first working point of the model of largest AUC. All others are on request.
    """
    found = results.identified
    if found is None:
        return
    first = next((model.name for model in (*results.ranked, *results.models.values())), "")
    for model in results.models.values():
        for number, (point, _) in enumerate(found.accepted.get(model.name, {}).items()):
            for page, some in pages(_order(found), PANELS_A_PAGE):
                yield Sheet(
                    name=f"identified_{model.name}_{point}" + (f"_{page}" if page > 1 else ""),
                    title=f"Accepted as {results.signal} by {model.name} at {point}",
                    alt=(
                        f"Candidates of test that {model.name} accepts as {results.signal} at {point}, all of them and "
                        f"by true class, in {', '.join(some)}, on a log axis; the signal before the decision is "
                        "dashed. Below, in each bin with 68.3 % intervals, the purity of what is accepted (black) and "
                        f"the efficiency of {results.signal}."
                    ),
                    draw=partial(_draw, results, found, model.name, point, some),
                    numbers=partial(_table, results, found, model.name, point, some),
                    section="identified",
                    objects=tuple(
                        f"{root_key(model.name)}/identified/{root_key(point)}/{root_key(variable)}{what}"
                        for variable in some
                        for what in ("", "_*")
                    ),
                    on_request=(model.name, number, page) != (first, 0, 1),
                    kind="identified",
                    about={"model": model.name, "point": point, "page": str(page)},
                )


def _order(found: Identified) -> list[str]:
    """Returns the variables in their order; of more than twelve, up to four spectators stand on the first page."""
    if len(found.edges) <= PANELS_A_PAGE:
        return [*found.edges]
    spectators = [name for name in found.edges if name in found.spectators]
    features = [name for name in found.edges if name not in found.spectators]
    n_first = PANELS_A_PAGE - min(len(spectators), max(4, PANELS_A_PAGE - len(features)))
    return [*features[:n_first], *spectators, *features[n_first:]]


def _draw(results: Results, found: Identified, model: str, point: str, some: Sequence[str]) -> Figure:
    n_columns = columns_of(len(some))
    figure, pairs = grid_of_pairs(len(some), n_columns, 3.5, 3.6, ratio=0.5, column_gap=0.85)
    styles, accepted = class_styles(found.classes, results.signal), found.accepted[model][point]
    signal = found.classes.index(results.signal)
    for name, (above, below) in zip(some, pairs, strict=True):
        sums, total, edges = accepted.sums[name], found.total[name], found.edges[name]
        composition(sums, total, edges, above, classes=found.classes, signal=results.signal, styles=styles)
        text = caption(name, results.labels, 30)
        quality(sums, total, edges, below, caption=text, signal=signal, style=styles[results.signal])
    label_pairs_left(pairs, n_columns)
    seen = Line2D([], [], color=SEEN.colour, linewidth=2.0), "everything accepted; its purity"
    wanted = Line2D([], [], color=styles[results.signal].colour, linestyle="--", linewidth=1.0)
    entries = [
        seen,
        *((line, f"true {name}") for line, name in legend_lines(styles, found.classes, marker=False)),
        (wanted, f"all {shown(results.signal, 20)} before the decision"),
    ]
    legend(pairs[0][0], entries, title=f"{shown(model, 24)} at {shown(point, 24)}")
    return figure


def _table(results: Results, found: Identified, model: str, point: str, some: Sequence[str]) -> FigureTable:
    """Returns the bins: sums of weights of all classes with errors, those that are accepted, purity and efficiency."""
    accepted, signal = found.accepted[model][point], found.classes.index(results.signal)
    header = ["variable", "from", "to"]
    for name in found.classes:
        header += [f"{name} accepted", f"{name} accepted, error", f"{name} of all"]
    rows = []
    for name in some:
        sums, total, edges = accepted.sums[name], found.total[name], found.edges[name]
        pure, efficient = purity(sums, signal), kept(sums, total, signal)
        columns = [edges[:-1], edges[1:]]
        for i in range(len(found.classes)):
            columns += [sums.sumw[i, 1:-1], np.sqrt(sums.sumw2[i, 1:-1]), total.sumw[i, 1:-1]]
        columns += [pure.value, pure.low, pure.high, efficient.value, efficient.low, efficient.high]
        rows += [(name, *cells) for cells in zip(*columns, strict=True)]
    return table_of((*header, *bounded("purity", f"efficiency of {results.signal}")), rows)
