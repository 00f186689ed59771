"""Figures of one model each: its calibration, figures of merit, pairs of classes, decisions, importance of features."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from pidlab.evaluate.results import Calibration, DecisionMatrix, Importance, ModelResult, Results, Scan
from pidlab.plots.matrices import decisions
from pidlab.plots.quality import (
    MERITS,
    calibration,
    calibration_gap,
    expected_text,
    importance,
    importance_columns,
    merit,
    pairs,
)
from pidlab.plots.sheets import tables_quality as tables
from pidlab.plots.sheets.sheet import Sheet
from pidlab.plots.style import Look, model_looks, new_figure, shown

MOST_FEATURES = 25


def calibrations(results: Results) -> Iterator[Sheet]:
    """The calibration of each model that gives probabilities."""
    for model in results.models.values():
        curve = model.calibration
        if curve is not None and np.isfinite(curve.fraction).any():
            alt = (
                f"Share of {results.signal} against the mean score of {model.name} on test with 68.3 % intervals, "
                "below it their difference; on the dashed line the score is a probability."
            )
            yield Sheet(
                f"calibration_{model.name}", f"Calibration of {model.name}", alt,
                partial(_calibration, results, model, curve), partial(tables.calibration, curve),
            )  # fmt: skip


def _calibration(results: Results, model: ModelResult, curve: Calibration) -> Figure:
    figure = new_figure(5.6, 6.2)
    look = model_looks(list(results.models))[model.name]
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.2), gridspec_kw={"hspace": 0.06})
    calibration(curve, upper, signal=results.signal, look=look, name=model.name)
    calibration_gap(curve, lower, signal=results.signal, look=look)
    upper.set_xlabel("")
    return figure


def merits(results: Results) -> Iterator[Sheet]:
    """Figures of merit against threshold, a figure a model."""
    for model in results.models.values():
        if model.scan is not None:
            alt = (
                f"Purity, significance and Punzi's figure of merit of {model.name} on test against threshold with "
                f"68.3 % bands, for {expected_text(model.scan)}; dashed lines mark the thresholds chosen on validation."
            )
            yield Sheet(
                f"merit_{model.name}", f"Figures of merit of {model.name}", alt,
                partial(_merits, results, model, model.scan), partial(tables.merit, model.scan),
            )  # fmt: skip


def _merits(results: Results, model: ModelResult, scan: Scan) -> Figure:
    names = [name for name in MERITS if name in scan.merits]
    figure = new_figure(6.4, 0.9 + 2.3 * len(names))
    axes = figure.subplots(len(names), 1, sharex=True, squeeze=False, gridspec_kw={"hspace": 0.24})[:, 0]
    look = model_looks(list(results.models))[model.name]
    for name, ax in zip(names, axes, strict=True):
        merit(scan, name, ax, look=look)
        if name != names[-1]:
            ax.set_xlabel("")
    heading = f"{shown(model.name, 24)}, for {expected_text(scan)}"
    axes[0].set_title(heading, fontsize=11, loc="left", parse_math=False)
    return figure


def class_pairs(results: Results) -> Iterator[Sheet]:
    """The curves of all pairs of more than two classes, a figure a model."""
    for model in results.models.values():
        if model.roc_pairs:
            alt = (
                f"ROC curves of each pair of classes alone by {model.name} on test, with 68.3 % bands: rejection of "
                "the second class over the efficiency of the first, by the first's share of the two scores."
            )
            yield Sheet(
                f"roc_pairs_{model.name}", f"Pairs of classes by {model.name}", alt,
                partial(_pairs, model), partial(tables.pairs, model),
            )  # fmt: skip


def _pairs(model: ModelResult) -> Figure:
    figure = new_figure(6.8, 5.2)
    n = sum(len(others) for others in model.roc_pairs.values())
    looks: list[Look] = list(model_looks([str(i) for i in range(n)]).values())
    pairs(model, figure.subplots(), looks=looks)
    return figure


def matrices(results: Results) -> Iterator[Sheet]:
    """The share of each true class decided to be each class, a figure a model."""
    for model in results.models.values():
        if model.matrix is not None and np.isfinite(model.matrix.rate).any():
            alt = f"Share of each true class by decision of {model.name} on test, in per cent with 68.3 % intervals."
            yield Sheet(
                f"matrix_{model.name}", f"Decided against true class by {model.name}", alt,
                partial(_matrix, model, model.matrix), partial(tables.matrix, model.matrix),
            )  # fmt: skip


def _matrix(model: ModelResult, matrix: DecisionMatrix) -> Figure:
    side = 1.5 + 1.2 * len(matrix.classes)
    figure = new_figure(side, side)
    ax = figure.subplots()
    decisions(matrix, ax)
    ax.set_title(f"{shown(model.name)} (%)", fontsize=12, parse_math=False)
    return figure


def importances(results: Results) -> Iterator[Sheet]:
    """What each feature is worth to each model; the 25 that matter most where there are more."""
    for name, one in results.importance.items():
        model = results.models[name]
        if one.features:
            alt = (
                f"Bars for each feature: change of {name} on test when it is shuffled, with "
                + (f"thresholds as at {one.working_point} and " if one.working_point else "")
                + "68.3 % intervals"
                + (", and the mean size of its contribution to the margin." if one.n_explained else ".")
            )
            yield Sheet(
                f"importance_{name}", f"Importance of the features to {name}", alt,
                partial(_importance, results, model, one),
                partial(tables.importance, one, area=not model.fixed_cut),
            )  # fmt: skip


def _importance(results: Results, model: ModelResult, one: Importance) -> Figure:
    table = importance_columns(one, area=not model.fixed_cut)
    lost = np.nan_to_num([abs(number.value) for number in next(iter(table.values()))])
    order = [int(i) for i in np.argsort(-lost, kind="stable")[:MOST_FEATURES]]
    figure = new_figure(2.7 * len(table), 1.2 + 0.32 * len(order))
    axes = figure.subplots(1, len(table), sharey=True, squeeze=False, gridspec_kw={"wspace": 0.14})[0]
    look = model_looks(list(results.models))[model.name]
    for (quantity, numbers), ax in zip(table.items(), axes, strict=True):
        rows = {one.features[i].feature: numbers[i] for i in order}
        importance(rows, quantity, ax, look=look, labels=results.labels)
    about = f"{shown(model.name, 24)}, shuffled − as it is" + (f", at {one.working_point}" if one.working_point else "")
    axes[0].set_xlabel(about, loc="left", fontsize=10, parse_math=False)
    return figure


ALL = (calibrations, merits, class_pairs, matrices, importances)
