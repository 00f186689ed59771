"""Figures of the importance of features: what shuffling each of them costs a model, and what it contributes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from pidlab.evaluate.results import Importance, ModelResult, Results
from pidlab.measured import UNDEFINED, Measured
from pidlab.plots.robustness import importance
from pidlab.plots.sheets.sheet import Sheet, objects_of
from pidlab.plots.sheets.table import FigureTable, bounded, table_of
from pidlab.plots.style import model_styles, new_figure, shown

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
