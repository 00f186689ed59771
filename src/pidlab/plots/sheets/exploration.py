"""Figures to explore a sample and its models: ratios, pairs of features, scaled features, contributions and trees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pidlab.evaluate.histograms import density_ratio
from pidlab.evaluate.results import AnyResults, Explained, FeaturePair, Histogram, RegressionResults, Results, TreeNode
from pidlab.plots.canvas.style import class_styles, legend, legend_lines, shown
from pidlab.plots.exploring.contributions import contributions
from pidlab.plots.exploring.ratio import signal_ratio
from pidlab.plots.exploring.scatter import scatter
from pidlab.plots.exploring.trees import tree
from pidlab.plots.inputs import feature
from pidlab.plots.sheets.inputs import sheets_of_features
from pidlab.plots.sheets.sheet import Sheet, grid, objects_of, one_panel, pages, panels, root_key
from pidlab.plots.sheets.table import FigureTable, histogram_table, table_of

PANELS_A_PAGE = 6
MOST_FEATURES = 12

_ByClass = Mapping[str, Histogram]


def ratios(results: Results) -> Iterator[Sheet]:
    """Yields the density of the signal over that of the other classes in each feature, twelve features in a figure."""
    signal, styles = results.signal, class_styles(results.classes, results.signal)
    others = [name for name in results.classes if name != signal]

    def heading(ax: Axes) -> None:
        legend(ax, [(line, f"{signal} / {name}") for line, name in legend_lines(styles, others, marker=False)])

    return sheets_of_features(
        {name: by_class for name, by_class in results.inputs.items() if signal in by_class},
        partial(signal_ratio, signal=signal, styles=styles, labels=results.labels),
        kind="signal_ratio",
        title="Signal over the other classes in each input",
        alt=lambda names: (
            f"Density of {signal} over that of each other class in bins of {names}, in the test sample with standard "
            "errors, on a log axis."
        ),
        numbers=partial(_ratio_table, signal=signal),
        objects=lambda name, by_class: [f"{name}_ratio_{c}" for c in by_class],
        heading=heading,
    )


def _ratio_table(some: Mapping[str, _ByClass], signal: str) -> FigureTable:
    rows: list[tuple[Any, ...]] = []
    for name, by_class in some.items():
        for particle, histogram in by_class.items():
            if particle != signal:
                columns = (histogram.edges[:-1], histogram.edges[1:], *density_ratio(by_class[signal], histogram))
                rows += [(name, particle, *bin_) for bin_ in zip(*columns, strict=True)]
    return table_of(("feature", "class", "from", "to", f"{signal} / class", "error"), rows)


def scaled_inputs(results: Results) -> Iterator[Sheet]:
    """Yields the features as networks and linear models see them, twelve in a figure."""
    styles = class_styles(results.classes, results.signal)

    def scaled_feature(name: str, by_class: _ByClass, ax: Axes) -> None:
        feature(name, by_class, ax, styles=styles, labels=results.labels)
        ax.set_xlabel(f"{ax.get_xlabel()}, scaled")

    return sheets_of_features(
        results.exploration.scaled,
        scaled_feature,
        kind="scaled_inputs",
        title="Inputs after scaling, as networks and linear models see them",
        alt=lambda names: (
            f"Histograms of {names} in the test sample after the scaling that was fitted on train, with unit area for "
            "each class, on a log axis."
        ),
        numbers=partial(histogram_table, first="feature"),
        objects=lambda name, by_class: [f"{name}_scaled_{c}" for c in by_class],
        heading=lambda ax: legend(ax, legend_lines(styles, results.classes, marker=False)),
        name="inputs_scaled",
    )


def scatters(results: Results) -> Iterator[Sheet]:
    """Yields the distribution of each class over pairs of features, twelve panels in a figure."""
    for page, some in pages(results.exploration.pairs, max(PANELS_A_PAGE // len(results.classes), 1)):
        names = ", ".join(f"{pair.y} against {pair.x}" for pair in some)
        yield Sheet(
            name=f"scatter_{page}" if page > 1 else "scatter",
            title=f"Pairs of inputs by class{f', {page}' * (page > 1)}",
            alt=f"Density of each class in the test sample, and profile with errors: {names}.",
            draw=partial(_scatters, results, some),
            numbers=partial(_profile_table, some),
            section="inputs",
            objects=tuple(
                f"inputs/{root_key(f'{pair.x}_{pair.y}_{c}{kind}')}"
                for kind in ("", "_profile")
                for pair in some
                for c in pair.planes
            ),
            kind="scatter",
            about={"page": str(page)},
        )


def _scatters(results: Results, some: Sequence[FeaturePair]) -> Figure:
    styles = class_styles(results.classes, results.signal)

    def draw(pair: FeaturePair, particle: str, ax: Axes) -> None:
        scatter(pair, particle, ax, style=styles[particle], labels=results.labels)

    shown_pairs = [(pair, particle) for pair in some for particle in results.classes if particle in pair.planes]
    n_columns = min(len(results.classes), 4)
    return panels(shown_pairs, draw, n_columns, 3.3, 2.9, same_y=False, row_gap=0.95, column_gap=0.95)


def _profile_table(some: Sequence[FeaturePair]) -> FigureTable:
    """Returns the profiles; the planes are in results.root."""
    rows: list[tuple[Any, ...]] = []
    for pair in some:
        for particle, plane in pair.planes.items():
            columns = (pair.x_edges[:-1], pair.x_edges[1:], plane.sumw.sum(axis=1), plane.mean, plane.error)
            rows += [(pair.x, pair.y, particle, *bin_) for bin_ in zip(*columns, strict=True)]
    return table_of(("x", "y", "class", "x from", "x to", "sum of weights", "mean of y", "error"), rows)


def swarms(results: AnyResults) -> Iterator[Sheet]:
    """Yields the contributions of the features to single candidates, a figure for each model that has them."""
    classes: tuple[str, ...] = ("events",)
    if isinstance(results, RegressionResults):
        explained, quantity = results.explained, f"the prediction of {results.target}"
    else:
        explained, quantity, classes = results.exploration.explained, f"the margin of {results.signal}", results.classes
    for name, table in explained.items():
        if len(table.particle) and name in results.models:
            yield Sheet(
                name=f"contributions_{name}",
                title=f"Contributions of the features to {name}",
                alt=(
                    f"A point for each of {len(table.particle)} candidates of test and each feature: what it "
                    f"contributes to {quantity} by {name}, coloured by the value of the feature; the feature of "
                    "largest mean contribution on top."
                ),
                draw=partial(_swarm, table, quantity, results.labels),
                numbers=partial(_swarm_table, classes, table),
                section="importance",
                objects=objects_of(name, "importance_contribution", "contribution_*"),
                kind="contributions",
                about={"model": name},
            )


def _swarm(table: Explained, quantity: str, labels: Mapping[str, str]) -> Figure:
    size = np.nan_to_num(np.abs(table.contribution)).mean(axis=0)
    rows = [int(j) for j in np.argsort(-size, kind="stable")[:MOST_FEATURES]]
    draw = partial(contributions, table, rows, quantity=quantity, labels=labels)
    return one_panel(draw, 7.0, 1.4 + 0.42 * len(rows))


def _swarm_table(classes: Sequence[str], table: Explained) -> FigureTable:
    header = ["class", *(f"{name}{what}" for name in table.features for what in ("", ", contribution"))]
    rows = []
    for i, particle in enumerate(table.particle):
        numbers = zip(table.value[i], table.contribution[i], strict=True)
        rows.append((classes[particle], *(number for pair in numbers for number in pair)))
    return table_of(header, rows)


def trees(results: Results) -> Iterator[Sheet]:
    """Yields the first trees of each model that is made of trees."""
    for name, first in results.exploration.trees.items():
        if first and name in results.models:
            yield Sheet(
                name=f"trees_{name}",
                title=f"The first trees of {name}",
                alt=(
                    f"The first {len(first)} trees of {name}, at most three splits deep: the condition of each split "
                    "with its gain, and what each leaf adds to the margin."
                ),
                draw=partial(_trees, name, first),
                numbers=partial(_tree_table, first),
                section="learning",
                kind="trees",
                about={"model": name},
            )


def _trees(model: str, first: Sequence[tuple[str, Sequence[TreeNode]]]) -> Figure:
    figure, axes = grid(len(first), 1, 10.5, 4.0, row_gap=0.4)
    for i, ((particle, nodes), ax) in enumerate(zip(first, axes, strict=True)):
        where = "; up where the condition holds" if i == 0 else ""
        title = f"{shown(model, 24)}, tree {i + 1}: adds to the margin of {shown(particle, 24)}{where}"
        tree(nodes, ax, title=title)
    return figure


def _tree_table(first: Sequence[tuple[str, Sequence[TreeNode]]]) -> FigureTable:
    rows = [
        (i + 1, particle, j, node.feature, node.cut, str(node.missing_below), node.value, node.below, node.above)
        for i, (particle, nodes) in enumerate(first)
        for j, node in enumerate(nodes)
    ]
    header = ("tree", "margin of", "node", "feature", "cut", "missing below", "gain or leaf value", "below", "above")
    return table_of(header, rows)
