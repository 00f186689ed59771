"""Which figures a run has: each maker turns results into sheets, and leaves out what has no content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pidlab.evaluate.results import (
    UNDEFINED,
    Array,
    Comparison,
    EfficiencyMap,
    Histogram,
    Measured,
    ModelResult,
    Results,
    RobustnessPoint,
    Training,
)  # fmt: skip
from pidlab.plots.comparison import delta_auc, delta_misid
from pidlab.plots.cutflow import cut_flow
from pidlab.plots.efficiency import efficiency
from pidlab.plots.inputs import feature
from pidlab.plots.matrices import confusion, correlation, efficiency_map
from pidlab.plots.response import response
from pidlab.plots.robustness import dropped, robustness
from pidlab.plots.roc import roc, roc_ratio
from pidlab.plots.style import Draw, class_looks, legend, model_looks, new_figure, point_looks, samples_of, shown
from pidlab.plots.training import learning_curve, quantities

FEATURES_A_PAGE = 12
WORST_FEATURES = 5
MOST_ROWS = 25


class Sheet(NamedTuple):
    """A figure that can be made: `draw` makes it, within `style.context`."""

    name: str
    title: str
    alt: str
    draw: Draw


def _grid(
    n: int, n_columns: int, width: float, height: float, *, gap: float = 0.8, sharex: bool = False, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of n panels in rows of `n_columns`, each `width` x `height` inches, of which `gap` are between rows."""
    n_columns = max(1, min(n, n_columns))
    n_rows = -(-n // n_columns)
    figure = new_figure(width * n_columns, height * n_rows)
    spaces = {"wspace": 0.12 if sharey else 0.8 / width, "hspace": gap / (height - gap)}
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=sharex, sharey=sharey, gridspec_kw=spaces)
    for empty in axes.flat[n:]:
        empty.remove()
    return figure, list(axes.flat[:n])


def _label_left(axes: Sequence[Axes], n_columns: int) -> None:
    """Leave the label of the y axis to the first panel of each row."""
    for i, ax in enumerate(axes):
        if i % n_columns:
            ax.set_ylabel("")


def inputs(results: Results) -> Iterator[Sheet]:
    """Every feature by class, twelve a page."""
    features = list(results.inputs.items())
    for page in range(0, len(features), FEATURES_A_PAGE):
        some = features[page : page + FEATURES_A_PAGE]
        number = f"_{page // FEATURES_A_PAGE + 1}" if page else ""
        names = ", ".join(name for name, _ in some)
        alt = f"Histograms of {names} in the test sample, with unit area for each class, on a log axis."
        yield Sheet(f"inputs{number}", "Inputs by class", alt, partial(_inputs, results, some))


def _inputs(results: Results, some: Sequence[tuple[str, Mapping[str, Histogram]]]) -> Figure:
    n_columns = 4 if len(some) > 6 else 3
    figure, axes = _grid(len(some), n_columns, 3.3, 2.7)
    looks = class_looks(results.classes, results.signal)
    for (name, by_class), ax in zip(some, axes, strict=True):
        feature(name, by_class, ax, looks=looks)
    legend(axes[0], samples_of(looks, results.classes, marker=False))
    _label_left(axes, n_columns)
    return figure


def correlations(results: Results) -> Iterator[Sheet]:
    """The correlation of the features, a figure a class."""
    for particle, matrix in results.correlation.items():
        if len(results.features) > 1:
            alt = f"Matrix of the linear correlation, in per cent, of {len(results.features)} features for {particle}."
            yield Sheet(
                f"correlation_{particle}", f"Correlation of the inputs, {particle} (%)", alt,
                partial(_correlation, particle, results.features, matrix),
            )  # fmt: skip


def _correlation(particle: str, features: Sequence[str], matrix: Array) -> Figure:
    side = float(np.clip(1.6 + 0.5 * len(features), 3.5, 11))
    figure = new_figure(side, side)
    ax = figure.subplots()
    correlation(matrix, features, ax)
    ax.set_title(f"{shown(particle)} (%)", fontsize=12, parse_math=False)
    return figure


def learning(results: Results) -> Iterator[Sheet]:
    """Learning curves of the models that keep a history."""
    for model in results.models.values():
        if model.training is not None and quantities(model.training):
            what = ", ".join(quantities(model.training))
            alt = f"Curves of {what} against epoch for {model.name}, {model.training.epochs} epochs."
            yield Sheet(
                f"learning_{model.name}", f"Learning curves of {model.name}", alt, partial(_learning, model.training)
            )


def _learning(training: Training) -> Figure:
    what = list(quantities(training))
    figure, axes = _grid(len(what), 2, 4.8, 3.4)
    for quantity, ax in zip(what, axes, strict=True):
        learning_curve(training, quantity, ax)
    return figure


def responses(results: Results) -> Iterator[Sheet]:
    """The response of each model by class, train and test."""
    for model in results.models.values():
        if any(model.response.values()) and not model.single_point:
            alt = (
                f"Score of {model.name} for {results.signal} by class ({', '.join(results.classes)}): test filled, "
                "train as points with errors, thresholds of the working points as dashed lines, log axis."
            )
            yield Sheet(f"response_{model.name}", f"Response of {model.name}", alt, partial(_response, results, model))


def _response(results: Results, model: ModelResult) -> Figure:
    figure = new_figure(6.4, 4.4)
    looks = class_looks(results.classes, results.signal)
    response(model, figure.subplots(), signal=results.signal, looks=looks)
    return figure


def confusions(results: Results) -> Iterator[Sheet]:
    """The confusion matrix of each model on the test sample."""
    for model in results.models.values():
        metrics = model.samples.get("test")
        if metrics is not None and metrics.confusion.size:
            alt = (
                f"Confusion matrix of {model.name} on test: share of each true class by decision, with sums of weights."
            )
            yield Sheet(f"confusion_{model.name}", f"Confusion matrix of {model.name}", alt, partial(_confusion, model))


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
        yield Sheet(name, f"ROC: {results.signal} against {other}", alt, partial(_roc, models, other))


def _reference(models: Sequence[ModelResult], against: str) -> ModelResult:
    """The optimised cuts where there are any, else the first model with a curve: what the others must beat."""
    curves = [m for m in models if against in m.roc and not m.single_point] or list(models)
    return next((m for m in curves if m.kind == "cuts"), curves[0])


def _roc(models: Sequence[ModelResult], against: str) -> Figure:
    figure = new_figure(6.8, 6.4)
    reference, looks = _reference(models, against), model_looks([m.name for m in models])
    if reference.single_point:
        roc(models, against, figure.subplots(), looks=looks)
        return figure
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.2), gridspec_kw={"hspace": 0.06})
    roc(models, against, upper, looks=looks)
    roc_ratio(models, against, lower, reference=reference, looks=looks)
    upper.set_xlabel("")
    lower.set_xlim(0.0, 1.0)
    return figure


def efficiencies(results: Results) -> Iterator[Sheet]:
    """For each model and spectator the efficiency and the misidentifications at every working point."""
    for model in results.models.values():
        for names, maps in _by_names(model.maps).items():
            if len(names) == 1:
                alt = (
                    f"Efficiency of {results.signal} and misidentification of the others by {model.name} in bins of "
                    f"{names[0]}, at {', '.join(dict.fromkeys(m.working_point for m in maps))}, with 68.3 % intervals."
                )
                yield Sheet(
                    f"efficiency_{names[0]}_{model.name}", f"{model.name}: efficiency against {names[0]}", alt,
                    partial(_efficiency, results, model, maps),
                )  # fmt: skip


def _by_names(maps: Sequence[EfficiencyMap]) -> dict[tuple[str, ...], list[EfficiencyMap]]:
    found: dict[tuple[str, ...], list[EfficiencyMap]] = {}
    for one in maps:
        found.setdefault(one.names, []).append(one)
    return found


def _efficiency(results: Results, model: ModelResult, maps: Sequence[EfficiencyMap]) -> Figure:
    order = [results.signal, *(name for name in results.classes if name != results.signal)]
    particles = [name for name in order if any(one.particle == name for one in maps)]
    figure = new_figure(6.4, 1.2 + 2.3 * len(particles))
    axes = figure.subplots(len(particles), 1, sharex=True, squeeze=False, gridspec_kw={"hspace": 0.08})[:, 0]
    looks = point_looks(list(dict.fromkeys(one.working_point for one in maps)))
    for i, (particle, ax) in enumerate(zip(particles, axes, strict=True)):
        some = [one for one in maps if one.particle == particle]
        efficiency(some, ax, looks=looks, signal=results.signal, title="" if i else model.name)
        if particle != particles[-1]:
            ax.set_xlabel("")
    return figure


def maps(results: Results) -> Iterator[Sheet]:
    """For each model and pair of spectators the efficiency of every class at every working point."""
    for model in results.models.values():
        for names, some in _by_names(model.maps).items():
            if len(names) == 2:
                alt = f"Fraction of each class that passes {model.name} in bins of {names[0]} and {names[1]}."
                yield Sheet(
                    f"map_{names[0]}_{names[1]}_{model.name}", f"{model.name}: map of {names[0]} and {names[1]}", alt,
                    partial(_maps, some),
                )  # fmt: skip


def _maps(some: Sequence[EfficiencyMap]) -> Figure:
    n_columns = len({one.working_point for one in some})
    figure, axes = _grid(len(some), n_columns, 4.2, 3.4, gap=1.05)
    by_class = sorted(some, key=lambda one: [o.particle for o in some].index(one.particle))
    for one, ax in zip(by_class, axes, strict=True):
        efficiency_map(one, ax)
    _label_left(axes, n_columns)
    return figure


def comparisons(results: Results) -> Iterator[Sheet]:
    """The differences of all pairs: AUC and, for each other class, misidentification at each working point."""
    others = dict.fromkeys(p.particle for pair in results.comparisons for p in pair.working_points)
    for i, particle in enumerate(others or ([""] if results.comparisons else [])):
        alt = (
            "Differences between models on the same test events with 68.3 % intervals: AUC"
            + (f", and misidentification of {particle} at each working point" if particle else "")
            + "; the zero line means no difference."
        )
        name = f"compare_{particle}" if i else "compare"
        title = f"Models compared: {particle}" if particle else "Models compared"
        yield Sheet(name, title, alt, partial(_comparison, results.comparisons, particle))


def _comparison(comparisons: Sequence[Comparison], particle: str) -> Figure:
    points = [p for pair in comparisons for p in pair.working_points if p.particle == particle]
    names = list(dict.fromkeys(p.name for p in points))
    figure = new_figure(2.6 * (1 + len(names)), 1.3 + 0.36 * len(comparisons))
    axes = figure.subplots(1, 1 + len(names), sharey=True, squeeze=False, gridspec_kw={"wspace": 0.08})[0]
    delta_auc(comparisons, axes[0])
    for name, ax in zip(names, axes[1:], strict=True):
        delta_misid(comparisons, name, particle, ax)
    return figure


def changes(results: Results) -> Iterator[Sheet]:
    """AUC against the size of each kind of change: all features at once and the most sensitive ones."""
    points = [p for changed in results.robustness.values() for p in changed.points if np.isfinite(p.auc.value)]
    for change in dict.fromkeys(p.change for p in points if p.change != "drop"):
        features = _most_sensitive([p for p in points if p.change == change], WORST_FEATURES)
        alt = (
            f"AUC of {', '.join(results.robustness)} on test against the size of the change '{change}' "
            f"of {', '.join(features)}."
        )
        yield Sheet(f"robustness_{change}", f"Robustness: {change}", alt, partial(_changes, results, change, features))
    if any(p.change == "drop" for p in points):
        alt = f"Bars from the AUC with all features to the AUC without one, for {', '.join(results.robustness)}."
        yield Sheet("robustness_drop", "Robustness: without one feature", alt, partial(_drops, results))


def _most_sensitive(points: Sequence[RobustnessPoint], most: int) -> list[str]:
    """All features at once ("all") where that was tried, then those whose worst AUC over all models is lowest."""
    worst: dict[str, float] = {}
    for point in points:
        worst[point.feature] = float(np.fmin(worst.get(point.feature, np.inf), point.auc.value))
    ranked = sorted((f for f in worst if f != "all"), key=lambda f: worst[f])
    return ["all"] * ("all" in worst) + ranked[:most]


def _unchanged(results: Results, model: str) -> Measured:
    """AUC on the candidates that were changed, before the change."""
    nominal = results.robustness[model].nominal
    return results.models[model].samples["test"].auc if nominal is None else nominal.auc


def _changes(results: Results, change: str, features: Sequence[str]) -> Figure:
    figure, axes = _grid(len(features), 3, 3.6, 3.0, sharey=True, gap=1.05)
    looks = model_looks(list(results.models))
    unchanged = {name: _unchanged(results, name) for name in results.robustness}
    for feature_name, ax in zip(features, axes, strict=True):
        robustness(results.robustness, change, feature_name, ax, looks=looks, unchanged=unchanged)
    drawn = [name for name in results.robustness if np.isfinite(unchanged[name].value)]
    legend(axes[0], samples_of(looks, drawn, marker=True), above=1.1)
    _label_left(axes, 3)
    return figure


def _drops(results: Results) -> Figure:
    by_model = {
        name: {p.feature: p for p in changed.points if p.change == "drop"}
        for name, changed in results.robustness.items()
    }
    by_model = {
        name: points for name, points in by_model.items() if any(np.isfinite(p.auc.value) for p in points.values())
    }
    features = _most_sensitive([p for points in by_model.values() for p in points.values()], MOST_ROWS)
    figure, axes = _grid(len(by_model), 5, 2.6, 1.2 + 0.28 * len(features), sharex=True, sharey=True)
    looks = model_looks(list(results.models))
    for (model, points), ax in zip(by_model.items(), axes, strict=True):
        rows = {name: points[name].auc if name in points else UNDEFINED for name in features}
        dropped(rows, _unchanged(results, model), ax, look=looks[model])
        ax.set_title(shown(model, 24), fontsize=11, parse_math=False)
    return figure


def cut_flows(results: Results) -> Iterator[Sheet]:
    """The cut flow of the selection."""
    if results.cutflow:
        alt = f"Number of candidates of each class after {', '.join(step.name for step in results.cutflow)}."
        yield Sheet("cutflow", "Cut flow", alt, partial(_cut_flow, results))


def _cut_flow(results: Results) -> Figure:
    figure = new_figure(7.0, 1.2 + 0.32 * len(results.cutflow) * (0.6 + 0.6 * len(results.classes)))
    cut_flow(results.cutflow, figure.subplots(), looks=class_looks(results.classes, results.signal))
    return figure


ALL: tuple[Callable[[Results], Iterator[Sheet]], ...] = (
    inputs, correlations, learning, rocs, responses, confusions, efficiencies, maps, comparisons, changes, cut_flows,
)  # fmt: skip
