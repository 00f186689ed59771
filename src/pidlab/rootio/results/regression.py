"""A regression as ROOT objects: residuals, predictions, pulls, bias and resolution of its models, and its inputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pidlab.evaluate.results import RegressionModel, RegressionResults, ResidualTrend
from pidlab.measured import UNDEFINED, Measured, bounds
from pidlab.rootio.histograms import th1
from pidlab.rootio.results.changes import RESIDUALS
from pidlab.rootio.results.named_object import (
    NamedObject,
    Titles,
    graph_of,
    histories,
    labelled,
    of_bins,
    of_matrix,
    of_plane,
    profile_of,
    root_text,
)

_RESIDUAL = "prediction - target"
_COMPARED = {**RESIDUALS, "log_likelihood": "log-likelihood"}
_METRICS = {
    "bias": "bias",
    "median": "median of the residuals",
    "rms": "RMS",
    "sigma68": "#sigma_{68}",
    "effective": "effective resolution",
    "mae": "mean |residual|",
    "r2": "R^{2}",
}


def regression_model_objects(folder: str, model: RegressionModel, target: str, titles: Titles) -> Iterator[NamedObject]:
    """Yields what the directory of a model holds.

    `residual`, `residual_train` and `residual_validation`, `prediction_against_target` with `prediction_profile`,
    `bias_against_X` and `sigma68_against_X` of the target and each spectator X, `pulls`, `quantile_coverage` and
    `history_QUANTITY`.

    Args:
        folder: the name of the directory.
        model: one of the results.
        target: the expression that is predicted.
        titles: gives the titles of axes.
    """
    for sample, histogram in model.residuals.items():
        suffix = "" if sample == "test" else f"_{sample}"
        title = f"{model.name}, {sample} sample;{_RESIDUAL};weighted candidates"
        yield NamedObject((folder, f"residual{suffix}"), th1(histogram, title))
    yield from _plane(folder, model, target, titles)
    for trend in model.trends:
        yield from _trend(folder, model.name, trend, titles)
    if model.pulls is not None:
        title = f"{model.name}, test sample;({_RESIDUAL}) / predicted #sigma;weighted candidates"
        yield NamedObject((folder, "pulls"), th1(model.pulls, title))
    quantiles = model.test.quantiles
    if quantiles:
        x = np.array([q.probability for q in quantiles])
        title = f"{model.name}, test sample;probability of the quantile;share of targets below"
        graph = graph_of((x, x, x), bounds([q.share for q in quantiles]), title)
        yield NamedObject((folder, "quantile_coverage"), graph)
    yield from histories(folder, model.name, model.training)


def _plane(folder: str, model: RegressionModel, target: str, titles: Titles) -> Iterator[NamedObject]:
    edges, plane = model.plane.edges, model.plane.plane
    axes = f"{model.name}, test sample;{titles(target)};prediction"
    yield NamedObject((folder, "prediction_against_target"), of_plane(plane, edges, edges, axes))
    graph = profile_of(plane, edges, axes.replace(";prediction", ";mean prediction"))
    yield NamedObject((folder, "prediction_profile"), graph)


def _trend(folder: str, model: str, trend: ResidualTrend, titles: Titles) -> Iterator[NamedObject]:
    columns = {
        "bias": ("bias", (trend.bias, trend.bias_low, trend.bias_high)),
        "sigma68": ("#sigma_{68}", (trend.sigma68, trend.sigma68_low, trend.sigma68_high)),
    }
    for name, (text, y) in columns.items():
        title = f"{model}, test sample;{titles(trend.x)};{text} of {_RESIDUAL}"
        yield NamedObject((folder, f"{name}_against_{trend.x}"), graph_of(of_bins(trend.edges), y, title))


def regression_objects(results: RegressionResults, titles: Titles) -> Iterator[NamedObject]:
    """Yields what the directories `compare` and `inputs` hold.

    `compare/metrics_QUANTITY` has a labelled bin for each model, and `compare/delta_QUANTITY` one for each pair.
    `inputs` has each feature and its `profile_FEATURE` of the target, `target` in each sample, and the
    `correlation`.
    """
    models = list(results.models.values())
    for quantity, text in _METRICS.items():
        values: list[Measured] = [getattr(model.test, quantity) for model in models]
        content = labelled([model.name for model in models], values, f"{text}, test sample;;{text}")
        yield NamedObject(("compare", f"metrics_{quantity}"), content)
    names = [f"{pair.b} - {pair.a}" for pair in results.comparisons]
    for quantity in dict.fromkeys(q.name for pair in results.comparisons for q in pair.quantities):
        found = [pair.quantity(quantity) for pair in results.comparisons]
        numbers = [UNDEFINED if q is None else q.difference for q in found]
        text = _COMPARED[quantity]
        content = labelled(names, numbers, f"{text}(b) - {text}(a), test sample;;#Delta {text}")
        yield NamedObject(("compare", f"delta_{quantity}"), content)
    yield from _inputs(results, titles)


def _inputs(results: RegressionResults, titles: Titles) -> Iterator[NamedObject]:
    target = titles(results.target)
    for feature, histogram in results.inputs.items():
        title = f"{root_text(feature)}, test sample;{titles(feature)};weighted candidates"
        yield NamedObject(("inputs", feature), th1(histogram, title))
    for sample, histogram in results.targets.items():
        suffix = "" if sample == "test" else f"_{sample}"
        title = f"target, {sample} sample;{target};weighted candidates"
        yield NamedObject(("inputs", f"target{suffix}"), th1(histogram, title))
    for feature, profile in results.profiles.items():
        title = f"mean target, test sample;{titles(feature)};mean of {target}"
        graph = graph_of(of_bins(profile.edges), (profile.mean, profile.low, profile.high), title)
        yield NamedObject(("inputs", f"profile_{feature}"), graph)
    names = (*results.features, results.target)
    matrix, title = results.correlation, "linear correlation (0 where a feature is constant)"
    content = of_matrix(matrix, names, title, results.n.get("test", 0), np.zeros_like(matrix))
    yield NamedObject(("inputs", "correlation"), content)
