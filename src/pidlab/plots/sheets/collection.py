"""Which figures a run has: each maker turns results into sheets, and leaves out what has no content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from pidlab.evaluate.results import Histogram, ModelResult, Results, Training
from pidlab.measured import Array
from pidlab.plots.cutflow import cut_flow
from pidlab.plots.inputs import feature
from pidlab.plots.matrices import confusion, correlation
from pidlab.plots.response import response
from pidlab.plots.roc import roc, roc_ratio
from pidlab.plots.sheets import quality as sheets_quality
from pidlab.plots.sheets import tables
from pidlab.plots.sheets.changes import changes, comparisons
from pidlab.plots.sheets.flat import flat_points
from pidlab.plots.sheets.sheet import Sheet, grid, label_left
from pidlab.plots.sheets.spectators import efficiencies, maps
from pidlab.plots.style import class_looks, legend, model_looks, new_figure, samples_of, shown
from pidlab.plots.training import learning_curve, quantities

FEATURES_A_PAGE = 12


def inputs(results: Results) -> Iterator[Sheet]:
    """Every feature by class, twelve a page."""
    features = list(results.inputs.items())
    for page in range(0, len(features), FEATURES_A_PAGE):
        some = features[page : page + FEATURES_A_PAGE]
        number = f"_{page // FEATURES_A_PAGE + 1}" if page else ""
        names = ", ".join(name for name, _ in some)
        alt = f"Histograms of {names} in the test sample, with unit area for each class, on a log axis."
        numbers = partial(tables.histograms, dict(some), "feature")
        yield Sheet(f"inputs{number}", "Inputs by class", alt, partial(_inputs, results, some), numbers)


def _inputs(results: Results, some: Sequence[tuple[str, Mapping[str, Histogram]]]) -> Figure:
    n_columns = 4 if len(some) > 6 else 3
    figure, axes = grid(len(some), n_columns, 3.3, 2.7)
    looks = class_looks(results.classes, results.signal)
    for (name, by_class), ax in zip(some, axes, strict=True):
        feature(name, by_class, ax, looks=looks, labels=results.labels)
    legend(axes[0], samples_of(looks, results.classes, marker=False))
    label_left(axes, n_columns)
    return figure


def correlations(results: Results) -> Iterator[Sheet]:
    """The correlation of the features, a figure a class."""
    for particle, matrix in results.correlation.items():
        if len(results.features) > 1:
            alt = f"Matrix of the linear correlation, in per cent, of {len(results.features)} features for {particle}."
            yield Sheet(
                f"correlation_{particle}", f"Correlation of the inputs, {particle} (%)", alt,
                partial(_correlation, particle, results, matrix),
                partial(tables.matrix, matrix, results.features, particle),
            )  # fmt: skip


def _correlation(particle: str, results: Results, matrix: Array) -> Figure:
    side = float(np.clip(1.6 + 0.5 * len(results.features), 3.5, 11))
    figure = new_figure(side, side)
    ax = figure.subplots()
    correlation(matrix, results.features, ax, labels=results.labels)
    ax.set_title(f"{shown(particle)} (%)", fontsize=12, parse_math=False)
    return figure


def learning(results: Results) -> Iterator[Sheet]:
    """Learning curves of the models that keep a history."""
    for model in results.models.values():
        if model.training is not None and quantities(model.training):
            what = ", ".join(quantities(model.training))
            alt = f"Curves of {what} against epoch for {model.name}, {model.training.epochs} epochs."
            yield Sheet(
                f"learning_{model.name}", f"Learning curves of {model.name}", alt,
                partial(_learning, model.training), partial(tables.learning, model.training),
            )  # fmt: skip


def _learning(training: Training) -> Figure:
    what = list(quantities(training))
    figure, axes = grid(len(what), 2, 4.8, 3.4, aside=1.1)
    for quantity, ax in zip(what, axes, strict=True):
        learning_curve(training, quantity, ax)
    return figure


def responses(results: Results) -> Iterator[Sheet]:
    """The response of each model by class, train and test."""
    for model in results.models.values():
        if any(model.response.values()) and not model.fixed_cut:
            alt = (
                f"Score of {model.name} for {results.signal} by class ({', '.join(results.classes)}): test filled, "
                "train as points with errors, thresholds of the working points as dashed lines, log axis."
            )
            numbers = partial(tables.histograms, model.response, "sample")
            draw = partial(_response, results, model)
            yield Sheet(f"response_{model.name}", f"Response of {model.name}", alt, draw, numbers)


def _response(results: Results, model: ModelResult) -> Figure:
    figure = new_figure(6.4, 4.4)
    looks = class_looks(results.classes, results.signal)
    response(model, figure.subplots(), signal=results.signal, looks=looks)
    return figure


def confusions(results: Results) -> Iterator[Sheet]:
    """The confusion matrix of each model on the test sample, where there is none with intervals to draw."""
    for model in results.models.values():
        metrics = model.samples.get("test")
        if metrics is not None and metrics.confusion.size and model.matrix is None:
            alt = (
                f"Confusion matrix of {model.name} on test: share of each true class by decision, with sums of weights."
            )
            numbers = partial(tables.matrix, metrics.confusion, metrics.classes, "true class / decided")
            title = f"Confusion matrix of {model.name}"
            yield Sheet(f"confusion_{model.name}", title, alt, partial(_confusion, model), numbers)


def _confusion(model: ModelResult) -> Figure:
    metrics = model.samples["test"]
    side = 1.5 + 1.15 * len(metrics.classes)
    figure = new_figure(side, side)
    ax = figure.subplots()
    confusion(metrics, ax)
    ax.set_title(shown(model.name), fontsize=12, parse_math=False)
    return figure


def rocs(results: Results) -> Iterator[Sheet]:
    """One ROC figure of all models for two classes; for more one against the rest and one against each class."""
    against = list(dict.fromkeys(name for model in results.models.values() for name in model.roc))
    main = "rest" if "rest" in against else next(iter(against), "")
    models = list(results.models.values())
    for other in against:
        alt = (
            f"ROC curves: rejection of {other} over the efficiency of {results.signal} with 68.3 % bands, for "
            f"{', '.join(results.models)}; below it the ratio to {_reference(models, other).name}."
        )
        name = "roc" if other == main else f"roc_{other}"
        draw, numbers = partial(_roc, models, other), partial(tables.rocs, models, other)
        yield Sheet(name, f"ROC: {results.signal} against {other}", alt, draw, numbers)


def _reference(models: Sequence[ModelResult], against: str) -> ModelResult:
    """The optimised cuts where there are any, else the first model with a curve: what the others must beat."""
    curves = [m for m in models if against in m.roc and not m.fixed_cut] or list(models)
    return next((m for m in curves if m.kind == "cuts"), curves[0])


def _roc(models: Sequence[ModelResult], against: str) -> Figure:
    figure = new_figure(6.8, 6.4)
    reference, looks = _reference(models, against), model_looks([m.name for m in models])
    if reference.fixed_cut:
        roc(models, against, figure.subplots(), looks=looks)
        return figure
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.2), gridspec_kw={"hspace": 0.06})
    roc(models, against, upper, looks=looks)
    roc_ratio(models, against, lower, reference=reference, looks=looks)
    upper.set_xlabel("")
    lower.set_xlim(0.0, 1.0)
    return figure


def cut_flows(results: Results) -> Iterator[Sheet]:
    """The cut flow of the selection."""
    if results.cutflow:
        alt = f"Number of candidates of each class after {', '.join(step.name for step in results.cutflow)}."
        numbers = partial(tables.cut_flow, results.cutflow, results.classes)
        yield Sheet("cutflow", "Cut flow", alt, partial(_cut_flow, results), numbers)


def _cut_flow(results: Results) -> Figure:
    figure = new_figure(7.0, 1.2 + 0.32 * len(results.cutflow) * (0.6 + 0.6 * len(results.classes)))
    cut_flow(results.cutflow, figure.subplots(), looks=class_looks(results.classes, results.signal))
    return figure


ALL: tuple[Callable[[Results], Iterator[Sheet]], ...] = (
    inputs, correlations, learning, rocs, responses, confusions, efficiencies, maps, flat_points, comparisons, changes,
    cut_flows,
    *sheets_quality.ALL,
)  # fmt: skip
