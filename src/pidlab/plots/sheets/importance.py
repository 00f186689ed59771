"""Figures of the features' importance: by permutation, by contributions, and by the partial dependence of the score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pidlab.evaluate.results import (
    AnyResults,
    Importance,
    PartialDependence,
    RegressionImportance,
    RegressionResults,
    Results,
)
from pidlab.measured import UNDEFINED, Measured
from pidlab.plots.canvas.style import LineStyle, class_styles, legend, model_styles, new_figure, shown
from pidlab.plots.exploring.dependence import dependence
from pidlab.plots.regression.targets import STYLE
from pidlab.plots.robustness import importance
from pidlab.plots.sheets.sheet import Sheet, columns_of, grid, label_left, objects_of
from pidlab.plots.sheets.table import FigureTable, bounded, table_of

MOST_FEATURES = 25
_EVENTS = "events"  # a regression has one class


def importances(results: Results) -> Iterator[Sheet]:
    """Yields the importance of features to each model; a figure shows at most the 25 of largest effect."""
    for name, one in results.importance.items():
        if one.features:
            thresholds = f"thresholds as at {one.working_point} and " if one.working_point else ""
            alt = f"change of {name} on test when it is shuffled, with {thresholds}68.3 % intervals"
            table = _columns(one, with_auc=not results.models[name].fixed_cut)
            yield _importance_sheet(results, name, one, table, f"{alt}{_and_contributions(one, 'margin')}")


def residual_importances(results: RegressionResults) -> Iterator[Sheet]:
    """Yields the importance of features to each model of a regression, at most the 25 of largest effect."""
    for name, one in results.importance.items():
        if one.features and name in results.models:
            quantities = f"change of RMS, mean absolute residual and σ68 of {name} on test"
            alt = f"{quantities} when it is shuffled, with 68.3 % intervals{_and_contributions(one, 'prediction')}"
            yield _importance_sheet(results, name, one, _residual_columns(one), alt)


def _and_contributions(one: Importance | RegressionImportance, what: str) -> str:
    return f", and the mean size of its contribution to the {what}." if one.n_explained else "."


def _importance_sheet(
    results: AnyResults,
    name: str,
    one: Importance | RegressionImportance,
    table: Mapping[str, Sequence[Measured]],
    alt: str,
) -> Sheet:
    """Returns the sheet of a table with the numbers of each feature by quantity, which `alt` describes."""
    features = [each.feature for each in one.features]
    point = one.working_point if isinstance(one, Importance) else ""
    return Sheet(
        name=f"importance_{name}",
        title=f"Importance of the features to {name}",
        alt=f"Bars for each feature: {alt}",
        draw=partial(_bars, results, name, point, features, table),
        numbers=partial(_columns_table, features, table),
        section="importance",
        objects=objects_of(name, "importance*"),
        kind="importance",
        about={"model": name},
    )


def _residual_columns(one: RegressionImportance) -> dict[str, list[Measured]]:
    """Returns, for each quantity, its number for each feature."""
    table = {
        "ΔRMS": [f.delta_rms for f in one.features],
        "Δmean |residual|": [f.delta_mae for f in one.features],
        "Δσ68": [f.delta_sigma68 for f in one.features],
    }
    if one.n_explained:
        table["mean |contribution|"] = [f.contribution or UNDEFINED for f in one.features]
    return table


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


def _bars(
    results: AnyResults, model: str, point: str, features: Sequence[str], table: Mapping[str, Sequence[Measured]]
) -> Figure:
    """Returns a panel for each quantity of the table, with a bar for each feature, the largest of the first on top."""
    style = model_styles(results.models.values())[model]
    lost = np.nan_to_num([abs(number.value) for number in next(iter(table.values()))])
    order = [int(i) for i in np.argsort(-lost, kind="stable")[:MOST_FEATURES]]
    figure = new_figure(2.7 * len(table), 1.2 + 0.32 * len(order))
    axes = figure.subplots(1, len(table), sharey=True, squeeze=False, gridspec_kw={"wspace": 0.14})[0]
    for (quantity, numbers), ax in zip(table.items(), axes, strict=True):
        importance({features[i]: numbers[i] for i in order}, quantity, ax, style=style, labels=results.labels)
    about = f"{shown(model, 24)}, shuffled − as it is" + (f", at {point}" if point else "")
    axes[0].set_xlabel(about, loc="left", fontsize=10, parse_math=False)
    return figure


def _columns_table(features: Sequence[str], table: Mapping[str, Sequence[Measured]]) -> FigureTable:
    rows = [
        (name, *(number for values in table.values() for number in values[i][:3])) for i, name in enumerate(features)
    ]
    return table_of(("feature", *bounded(*table)), rows)


def dependences(results: AnyResults) -> Iterator[Sheet]:
    """Yields the partial dependence of the score or prediction of each model on its most important features."""
    classes: tuple[str, ...] = (_EVENTS,)
    if isinstance(results, RegressionResults):
        by_model, quantity, of_what = results.dependence, "prediction", results.target
        styles, axis = {_EVENTS: STYLE}, "prediction"
    else:
        by_model, quantity, of_what, classes = results.exploration.dependence, "score", results.signal, results.classes
        styles, axis = class_styles(classes, results.signal), f"score for {shown(results.signal, 24)}"
    for name, found in by_model.items():
        some = [one for one in found if _moves(one)]
        if some and name in results.models:
            whole = f"score of {name} for {of_what}" if quantity == "score" else f"prediction of {of_what} by {name}"
            draw = partial(
                _dependences, some, name, axis, classes=classes, style=model_styles(results.models.values())[name],
                styles=styles, labels=results.labels,
            )  # fmt: skip
            yield Sheet(
                name=f"dependence_{name}",
                title=f"How the {quantity} of {name} goes with its features",
                alt=(
                    f"Partial dependence: the mean {whole} if {some[0].n_candidates} candidates of test all have the "
                    f"same value of {', '.join(one.feature for one in some)}, with 68.3 % bands, and the curves of "
                    f"{len(some[0].curves)} single candidates, shifted to begin where the mean begins."
                ),
                draw=draw,
                numbers=partial(_dependence_table, some, f"mean {quantity}"),
                section="importance",
                objects=objects_of(name, "dependence_*"),
                kind="partial_dependence",
                about={"model": name},
            )


def _moves(one: PartialDependence) -> bool:
    """Returns whether any value of the feature changes the mean or a single candidate; else a panel shows nothing."""
    numbers = np.vstack([one.mean, one.curves]) if len(one.value) else np.empty((0, 0))
    return any(np.ptp(row[~np.isnan(row)]) > 0 for row in numbers if not np.isnan(row).all())


def _dependences(
    some: Sequence[PartialDependence],
    name: str,
    quantity: str,
    *,
    classes: Sequence[str],
    style: LineStyle,
    styles: Mapping[str, LineStyle],
    labels: Mapping[str, str],
) -> Figure:
    n_columns = min(columns_of(len(some)), 3)
    figure, axes = grid(len(some), n_columns, 3.3, 2.7, sharey=True)  # so that what moves the score little looks flat
    entries: dict[str, Any] = {}
    for one, ax in zip(some, axes, strict=True):
        drawn = dependence(one, ax, classes=classes, style=style, styles=styles, quantity=quantity, labels=labels)
        entries = {text: artist for artist, text in drawn} | entries
    legend(axes[0], [(artist, text) for text, artist in entries.items()], title=name)
    label_left(axes, n_columns)
    return figure


def _dependence_table(some: Sequence[PartialDependence], quantity: str) -> FigureTable:
    """Returns the mean at each value with its bounds; the single candidates are in results.root."""
    rows = [
        (one.feature, "missing" if np.isnan(value) else value, *numbers)
        for one in some
        for value, *numbers in zip(one.value, one.mean, one.low, one.high, strict=True)
    ]
    return table_of(("feature", "value", *bounded(quantity)), rows)
