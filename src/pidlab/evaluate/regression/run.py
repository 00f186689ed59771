"""Everything measured of a regression: from the samples and the predictions of its models to its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pidlab.config.schema import Map
from pidlab.errors import DataError
from pidlab.evaluate.histograms import correlations, histogram, robust_edges
from pidlab.evaluate.pairs import plane_of
from pidlab.evaluate.regression.compare import compare_predictions, train_against_test
from pidlab.evaluate.regression.metrics import residual_metrics
from pidlab.evaluate.regression.predictions import Predicted, Prediction, Targets
from pidlab.evaluate.regression.trends import Binned, axes, residual_trend, target_profiles
from pidlab.evaluate.results import CutStep, Histogram, Scoring, Training
from pidlab.evaluate.results.regression import (
    PredictionPlane,
    RegressionModel,
    RegressionResults,
    ResidualMetrics,
)
from pidlab.measured import Array
from pidlab.sample import Sample

SAMPLES = ("train", "validation", "test")
_RESIDUAL_BINS = 200
_REACH = 20.0  # of the smallest σ68, beyond which residuals are under- and overflow
_PULL_EDGES = np.linspace(-6.0, 6.0, 61)
_PLANE_BINS = 50


def regression_results(
    *,
    target: str,
    features: Sequence[str],
    samples: Mapping[str, Sample],
    predictions: Mapping[str, Mapping[str, Prediction]],
    kinds: Mapping[str, str],
    trainings: Mapping[str, Training | None],
    notes: Sequence[str] = (),
    model_notes: Mapping[str, Sequence[str]] | None = None,
    scorings: Mapping[str, Scoring | None] | None = None,
    labels: Mapping[str, str] | None = None,
    reference: str = "",
    cutflow: Sequence[CutStep] = (),
    maps: Sequence[Map] = (),
    least: float = 10.0,
) -> RegressionResults:
    """Returns the results of a regression.

    Args:
        target: the expression that is predicted.
        features: names of the features.
        samples: "train", "test" and, if there is one, "validation" to the candidates, which have a target.
        predictions: model, then sample, to what it predicts for all candidates of that sample.
        kinds: model to its `type` in the configuration.
        trainings: model to the duration and history of its training; None if it is not trained.
        notes: remarks for every reader, in sentences.
        model_notes: model to remarks on its numbers, in sentences.
        scorings: model to the speed of its predictions.
        labels: feature, spectator or target to its axis label.
        reference: the model to which figures of all models refer; "" for the first model.
        cutflow: the candidates that each cut leaves.
        maps: bins of spectators and of the target, as in the section `evaluate.maps`.
        least: bins with fewer effective events are thin.

    Raises:
        DataError: A sample is empty, or predictions and candidates do not match.
        UsageError: A map names something that is neither the target nor a spectator.
    """
    for sample in ("train", "test"):
        if sample not in samples or not len(samples[sample]):
            raise DataError(f"nothing can be evaluated: the {sample} sample is empty; look at the cut flow and `split`")
    held = {name: samples[name] for name in SAMPLES if name in samples and len(samples[name])}
    targets = {name: Targets.of(sample) for name, sample in held.items()}
    test = {name: Predicted.of(of_sample["test"], targets["test"]) for name, of_sample in predictions.items()}
    metrics = {name: residual_metrics(predicted) for name, predicted in test.items()}
    edges = _residual_edges(test, metrics)
    binned = list(axes(held["test"], target, maps))
    plane_edges = robust_edges(targets["test"].target, _PLANE_BINS)
    models = {
        name: _model(
            name, kinds[name], predictions[name], metrics[name], test[name], held, targets, binned, edges, plane_edges,
            trainings.get(name), (scorings or {}).get(name), (model_notes or {}).get(name, ()), least,
        )
        for name in predictions
    }  # fmt: skip
    weights = targets["test"].weights
    (correlation,) = correlations(held["test"]).values()
    return RegressionResults(
        target=target,
        features=tuple(features),
        n={name: len(sample) for name, sample in held.items()},
        cutflow=tuple(cutflow),
        models=models,
        comparisons=compare_predictions(test),
        inputs=_inputs(held["test"]),
        targets=_target_histograms(targets),
        profiles=target_profiles(held["test"], weights) if weights.usable else {},
        correlation=correlation,
        notes=tuple(notes),
        labels=dict(labels or {}),
        reference=reference or next(iter(predictions), ""),
    )


def _model(
    name: str,
    kind: str,
    predictions: Mapping[str, Prediction],
    metrics: ResidualMetrics,
    test: Predicted,
    samples: Mapping[str, Sample],
    targets: Mapping[str, Targets],
    binned: Sequence[Binned],
    edges: Array,
    plane_edges: Array,
    training: Training | None,
    scoring: Scoring | None,
    notes: Sequence[str],
    least: float,
) -> RegressionModel:
    """Returns what is measured of one model; train and validation are held one at a time."""
    of_sample, residuals = {"test": metrics}, {"test": _residual_histogram(test, edges)}
    overtraining = None
    for sample in samples:
        if sample == "test" or sample not in predictions:
            continue
        predicted = Predicted.of(predictions[sample], targets[sample])
        of_sample[sample], residuals[sample] = residual_metrics(predicted), _residual_histogram(predicted, edges)
        if sample == "train" and training is not None:
            overtraining = train_against_test(name, predicted, test, (samples["train"], samples["test"]))
    order = [sample for sample in SAMPLES if sample in of_sample]
    value, weight = test.prediction.value, test.weights.weight
    pulls = None if test.pull is None else histogram(test.pull, weight, _PULL_EDGES)
    return RegressionModel(
        name=name,
        kind=kind,
        samples={sample: of_sample[sample] for sample in order},
        residuals={sample: residuals[sample] for sample in order},
        plane=PredictionPlane(plane_edges, plane_of(test.target, value, weight, plane_edges, plane_edges)),
        trends=tuple(residual_trend(test, axis, least) for axis in binned),
        pulls=pulls,
        overtraining=overtraining,
        training=training,
        scoring=scoring,
        note=" ".join([*notes, *_notes(of_sample["test"])]),
    )


def _notes(test: ResidualMetrics) -> list[str]:
    """Returns what a reader has to know of the numbers of a model, in sentences."""
    notes = []
    if test.missing:
        notes.append(
            f"{test.missing} of {test.n + test.missing} test candidates have no prediction; they count in no number."
        )
    if not np.isfinite(test.rms.value):
        notes.append("The weights of test have no positive sum of squared residuals, so that there is no RMS.")
    return notes


def _residual_edges(test: Mapping[str, Predicted], metrics: Mapping[str, ResidualMetrics]) -> Array:
    """Returns edges around 0 that hold 99.8 % of the residuals of the widest model, limited by the best one's σ68."""
    widths = [m.sigma68.value for m in metrics.values() if m.sigma68.value > 0]
    ends = [p.numbers.ends for p in test.values() if p.weights.usable]
    reach = float(np.max(np.abs(ends), initial=0.0))
    if widths:
        reach = min(max(reach, 3 * min(widths)), _REACH * min(widths))
    return np.linspace(-1.0, 1.0, _RESIDUAL_BINS + 1) * (reach or 1.0)


def _residual_histogram(predicted: Predicted, edges: Array) -> Histogram:
    return histogram(predicted.residual, predicted.weights.weight, edges)


def _inputs(sample: Sample) -> dict[str, Histogram]:
    """Returns the histogram of each feature."""
    columns = zip(sample.features, sample.x.T, strict=False)  # conditions of categories come after them
    return {name: histogram(column, sample.weight, robust_edges(column)) for name, column in columns}


def _target_histograms(targets: Mapping[str, Targets]) -> dict[str, Histogram]:
    """Returns the histogram of the target in each sample; all have the same edges."""
    edges = robust_edges(targets["test"].target)
    return {name: histogram(each.target, each.weights.weight, edges) for name, each in targets.items()}
