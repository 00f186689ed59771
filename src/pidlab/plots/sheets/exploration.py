"""Figures to explore a sample and its models: ratios, pairs of features, scaled features, contributions and trees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pidlab.evaluate.histograms import density_ratio
from pidlab.evaluate.results import Explained, FeaturePair, Histogram, RegressionResults, Results, TreeNode
from pidlab.plots.canvas.style import class_styles, legend, legend_lines, new_figure, shown
from pidlab.plots.exploring.contributions import contributions
from pidlab.plots.exploring.ratio import signal_ratio
from pidlab.plots.exploring.scatter import scatter
from pidlab.plots.exploring.trees import tree
from pidlab.plots.inputs import feature
from pidlab.plots.sheets.sheet import Sheet, columns_of, grid, label_left, objects_of, root_key
from pidlab.plots.sheets.table import FigureTable, histogram_table, table_of

FEATURES_A_PAGE = 12
PANELS_A_PAGE = 6
MOST_FEATURES = 12

_ByClass = Mapping[str, Histogram]


def ratios(results: Results) -> Iterator[Sheet]:
    """Yields the density of the signal over that of the other classes in each feature, twelve features in a figure."""
    features = [(name, by_class) for name, by_class in results.inputs.items() if results.signal in by_class]
    for page, some in _pages(features, FEATURES_A_PAGE):
        yield Sheet(
            name=f"signal_ratio_{page}" if page > 1 else "signal_ratio",
            title=f"Signal over the other classes in each input{f', {page}' * (page > 1)}",
            alt=(
                f"Density of {results.signal} over that of each other class in bins of "
                f"{', '.join(name for name, _ in some)}, in the test sample with standard errors, on a log axis."
            ),
            draw=partial(_ratios, results, some),
            numbers=partial(_ratio_table, some, results.signal),
            section="inputs",
            objects=tuple(f"inputs/{root_key(f'{name}_ratio_{c}')}" for name, by_class in some for c in by_class),
            kind="signal_ratio",
            about={"page": str(page)},
        )


def _ratios(results: Results, some: Sequence[tuple[str, _ByClass]]) -> Figure:
    n_columns = columns_of(len(some))
    figure, axes = grid(len(some), n_columns, 3.3, 2.7)
    styles = class_styles(results.classes, results.signal)
    for (name, by_class), ax in zip(some, axes, strict=True):
        signal_ratio(name, by_class, ax, signal=results.signal, styles=styles, labels=results.labels)
    others = [name for name in results.classes if name != results.signal]
    entries = [(line, f"{results.signal} / {name}") for line, name in legend_lines(styles, others, marker=False)]
    legend(axes[0], entries)
    label_left(axes, n_columns)
    return figure


def _ratio_table(some: Sequence[tuple[str, _ByClass]], signal: str) -> FigureTable:
    rows: list[tuple[Any, ...]] = []
    for name, by_class in some:
        for particle, histogram in by_class.items():
            if particle != signal:
                columns = (histogram.edges[:-1], histogram.edges[1:], *density_ratio(by_class[signal], histogram))
                rows += [(name, particle, *bin_) for bin_ in zip(*columns, strict=True)]
    return table_of(("feature", "class", "from", "to", f"{signal} / class", "error"), rows)


def scaled_inputs(results: Results) -> Iterator[Sheet]:
    """Yields the features as networks and linear models see them, twelve in a figure."""
    for page, some in _pages(list(results.exploration.scaled.items()), FEATURES_A_PAGE):
        yield Sheet(
            name=f"inputs_scaled_{page}" if page > 1 else "inputs_scaled",
            title=f"Inputs after scaling, as networks and linear models see them{f', {page}' * (page > 1)}",
            alt=(
                f"Histograms of {', '.join(name for name, _ in some)} in the test sample after the scaling that was "
                "fitted on train, with unit area for each class, on a log axis."
            ),
            draw=partial(_scaled, results, some),
            numbers=partial(histogram_table, dict(some), "feature"),
            section="inputs",
            objects=tuple(f"inputs/{root_key(f'{name}_scaled_{c}')}" for name, by_class in some for c in by_class),
            kind="scaled_inputs",
            about={"page": str(page)},
        )


def _scaled(results: Results, some: Sequence[tuple[str, _ByClass]]) -> Figure:
    n_columns = columns_of(len(some))
    figure, axes = grid(len(some), n_columns, 3.3, 2.7)
    styles = class_styles(results.classes, results.signal)
    for (name, by_class), ax in zip(some, axes, strict=True):
        feature(name, by_class, ax, styles=styles, labels=results.labels)
        ax.set_xlabel(f"{ax.get_xlabel()}, scaled")
    legend(axes[0], legend_lines(styles, results.classes, marker=False))
    label_left(axes, n_columns)
    return figure


def scatters(results: Results) -> Iterator[Sheet]:
    """Yields the distribution of each class over pairs of features, twelve panels in a figure."""
    for page, some in _pages(list(results.exploration.pairs), max(PANELS_A_PAGE // len(results.classes), 1)):
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
    panels = [(pair, particle) for pair in some for particle in results.classes if particle in pair.planes]
    n_columns = min(len(results.classes), 4)
    figure, axes = grid(len(panels), n_columns, 3.3, 2.9, row_gap=0.95, column_gap=0.95)
    styles = class_styles(results.classes, results.signal)
    for (pair, particle), ax in zip(panels, axes, strict=True):
        scatter(pair, particle, ax, style=styles[particle], labels=results.labels)
    return figure


def _profile_table(some: Sequence[FeaturePair]) -> FigureTable:
    """Returns the profiles; the planes are in results.root."""
    rows: list[tuple[Any, ...]] = []
    for pair in some:
        for particle, plane in pair.planes.items():
            columns = (pair.x_edges[:-1], pair.x_edges[1:], plane.sumw.sum(axis=1), plane.mean, plane.error)
            rows += [(pair.x, pair.y, particle, *bin_) for bin_ in zip(*columns, strict=True)]
    return table_of(("x", "y", "class", "x from", "x to", "sum of weights", "mean of y", "error"), rows)


def swarms(results: Results) -> Iterator[Sheet]:
    """Yields the contributions of the features to single candidates, a figure for each model that has them."""
    for name, table in results.exploration.explained.items():
        if len(table.particle) and name in results.models:
            yield _swarm_sheet(name, table, f"the margin of {results.signal}", results.classes, results.labels)


def prediction_swarms(results: RegressionResults) -> Iterator[Sheet]:
    """Yields the contributions of the features to single predictions, a figure for each model that has them."""
    for name, table in results.explained.items():
        if len(table.particle) and name in results.models:
            yield _swarm_sheet(name, table, f"the prediction of {results.target}", ("events",), results.labels)


def _swarm_sheet(
    name: str, table: Explained, quantity: str, classes: Sequence[str], labels: Mapping[str, str]
) -> Sheet:
    return Sheet(
        name=f"contributions_{name}",
        title=f"Contributions of the features to {name}",
        alt=(
            f"A point for each of {len(table.particle)} candidates of test and each feature: what it contributes to "
            f"{quantity} by {name}, coloured by the value of the feature; the feature of largest mean contribution on "
            "top."
        ),
        draw=partial(_swarm, table, quantity, labels),
        numbers=partial(_swarm_table, classes, table),
        section="importance",
        objects=objects_of(name, "importance_contribution", "contribution_*"),
        kind="contributions",
        about={"model": name},
    )


def _swarm(table: Explained, quantity: str, labels: Mapping[str, str]) -> Figure:
    size = np.nan_to_num(np.abs(table.contribution)).mean(axis=0)
    rows = [int(j) for j in np.argsort(-size, kind="stable")[:MOST_FEATURES]]
    figure = new_figure(7.0, 1.4 + 0.42 * len(rows))
    contributions(table, rows, figure.subplots(), quantity=quantity, labels=labels)
    return figure


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


def _pages(content: Sequence[Any], n: int) -> Iterator[tuple[int, Sequence[Any]]]:
    """Yields pages of n, numbered from 1."""
    for first in range(0, len(content), n):
        yield first // n + 1, content[first : first + n]
