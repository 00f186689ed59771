"""Figures of the features' importance: by permutation, by contributions, and by the partial dependence of the score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pidlab.evaluate.results import Importance, ModelResult, PartialDependence, Results
from pidlab.measured import UNDEFINED, Measured
from pidlab.plots.canvas.style import class_styles, legend, model_styles, new_figure, shown
from pidlab.plots.exploring.dependence import dependence
from pidlab.plots.robustness import importance
from pidlab.plots.sheets.sheet import Sheet, grid, label_left, objects_of
from pidlab.plots.sheets.table import FigureTable, bounded, table_of

MOST_FEATURES = 25


def importances(results: Results) -> Iterator[Sheet]:
    """Yields the importance of features to each model; a figure shows at most the 25 of largest effect."""
    for name, one in results.importance.items():
        model = results.models[name]
        if one.features:
            yield Sheet(
                name=f"importance_{name}",
                title=f"Importance of the features to {name}",
                alt=(
                    f"Bars for each feature: change of {name} on test when it is shuffled, with "
                    + (f"thresholds as at {one.working_point} and " if one.working_point else "")
                    + "68.3 % intervals"
                    + (", and the mean size of its contribution to the margin." if one.n_explained else ".")
                ),
                draw=partial(_importance, results, model, one),
                numbers=partial(_importance_table, one, with_auc=not model.fixed_cut),
                section="importance",
                objects=objects_of(name, "importance*"),
                kind="importance",
                about={"model": name},
            )


def _columns(one: Importance, *, with_auc: bool) -> dict[str, list[Measured]]:
    """Returns, for each quantity, its number for each feature.

    Rates need a working point, and contributions must have been measured. `with_auc` is False for fixed cuts.
    """
    features = one.features
    misids = {particle: None for f in features for particle in f.delta_misid}
    table = {"ΔAUC": [f.delta_auc for f in features]} if with_auc else {}
    if one.working_point:
        table["Δefficiency"] = [f.delta_efficiency for f in features]
        table |= {f"Δmisid of {shown(c, 16)}": [f.delta_misid.get(c, UNDEFINED) for f in features] for c in misids}
    if one.n_explained:
        table["mean |contribution|"] = [f.contribution or UNDEFINED for f in features]
    return table


def _importance(results: Results, model: ModelResult, one: Importance) -> Figure:
    table = _columns(one, with_auc=not model.fixed_cut)
    lost = np.nan_to_num([abs(number.value) for number in next(iter(table.values()))])
    order = [int(i) for i in np.argsort(-lost, kind="stable")[:MOST_FEATURES]]
    figure = new_figure(2.7 * len(table), 1.2 + 0.32 * len(order))
    axes = figure.subplots(1, len(table), sharey=True, squeeze=False, gridspec_kw={"wspace": 0.14})[0]
    style = model_styles(results.models.values())[model.name]
    for (quantity, numbers), ax in zip(table.items(), axes, strict=True):
        rows = {one.features[i].feature: numbers[i] for i in order}
        importance(rows, quantity, ax, style=style, labels=results.labels)
    about = f"{shown(model.name, 24)}, shuffled − as it is" + (f", at {one.working_point}" if one.working_point else "")
    axes[0].set_xlabel(about, loc="left", fontsize=10, parse_math=False)
    return figure


def _importance_table(one: Importance, *, with_auc: bool) -> FigureTable:
    """Returns each number of each feature with its bounds."""
    table = _columns(one, with_auc=with_auc)
    rows = [
        (f.feature, *(number for values in table.values() for number in values[i][:3]))
        for i, f in enumerate(one.features)
    ]
    return table_of(("feature", *bounded(*table)), rows)


def dependences(results: Results) -> Iterator[Sheet]:
    """Yields the partial dependence of each model on its most important features."""
    for name, found in results.exploration.dependence.items():
        some = [one for one in found if len(one.value)]
        if some and name in results.models:
            yield Sheet(
                name=f"dependence_{name}",
                title=f"How the score of {name} goes with its features",
                alt=(
                    f"Partial dependence: the mean score of {results.models[name].name} for {results.signal} if "
                    f"{some[0].n_candidates} candidates of test all have the same value of "
                    f"{', '.join(one.feature for one in some)}, with 68.3 % bands, and the curves of "
                    f"{len(some[0].curves)} single candidates, shifted to begin where the mean begins."
                ),
                draw=partial(_dependences, results, results.models[name], some),
                numbers=partial(_dependence_table, some),
                section="importance",
                objects=objects_of(name, "dependence_*"),
                kind="partial_dependence",
                about={"model": name},
            )


def _dependences(results: Results, model: ModelResult, some: Sequence[PartialDependence]) -> Figure:
    figure, axes = grid(len(some), 3, 3.3, 2.7, sharey=True)  # so that what moves the score little looks flat
    style = model_styles(results.models.values())[model.name]
    entries: dict[str, Any] = {}
    for one, ax in zip(some, axes, strict=True):
        drawn = dependence(
            one,
            ax,
            classes=results.classes,
            style=style,
            styles=class_styles(results.classes, results.signal),
            signal=shown(results.signal, 24),
            labels=results.labels,
        )
        entries = {text: artist for artist, text in drawn} | entries
    legend(axes[0], [(artist, text) for text, artist in entries.items()], title=model.name)
    label_left(axes, 3)
    return figure


def _dependence_table(some: Sequence[PartialDependence]) -> FigureTable:
    """Returns the mean score at each value with its bounds; the single candidates are in results.root."""
    rows = [
        (one.feature, "missing" if np.isnan(value) else value, *numbers)
        for one in some
        for value, *numbers in zip(one.value, one.mean, one.low, one.high, strict=True)
    ]
    return table_of(("feature", "value", *bounded("mean score")), rows)
