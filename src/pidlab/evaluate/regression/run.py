"""Everything measured of a regression: from the samples and the predictions of its models to its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pidlab.config.schema import Map
from pidlab.errors import DataError
from pidlab.evaluate.histograms import correlations, histogram, input_histograms, robust_edges
from pidlab.evaluate.pairs import plane_of
from pidlab.evaluate.regression.compare import (
    QuantityDifference,
    compare_predictions,
    overtrainings,
    train_against_test,
)
from pidlab.evaluate.regression.metrics import residual_metrics
from pidlab.evaluate.regression.predictions import Predicted, Prediction, Targets
from pidlab.evaluate.regression.trends import axes, residual_trend, target_profiles
from pidlab.evaluate.results import CutStep, Histogram, Scoring, Training
from pidlab.evaluate.results.regression import (
    PredictionPlane,
    RegressionModel,
    RegressionResults,
    ResidualMetrics,
    ResidualTrend,
)
from pidlab.measured import Array
from pidlab.sample import FloatArray, Sample

SAMPLES = ("train", "validation", "test")
_RESIDUAL_BINS = 200
_REACH = 20.0  # of the smallest σ68, beyond which residuals are under- and overflow
_PULL_EDGES = np.linspace(-6.0, 6.0, 61)
_PLANE_BINS = 50
_REACH_OF_TARGET = 10.0  # half-widths of the central 68.3 %, which tails of an exponential do not reach


def regression_results(
    *,
    target: str,
    features: Sequence[str],
    samples: Mapping[str, Sample],
    predictions: Mapping[str, Mapping[str, Prediction]],
    kinds: Mapping[str, str],
    trainings: Mapping[str, Training | None],
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
    frame = _Frame(held, targets, _residual_edges(test, metrics), _plane_edges(targets["test"].target))
    trends: dict[str, list[ResidualTrend]] = {name: [] for name in test}
    for axis in axes(held["test"], target, maps):
        for name, predicted in test.items():
            trends[name].append(residual_trend(predicted, axis, least))
    models: dict[str, RegressionModel] = {}
    against_train: dict[str, QuantityDifference] = {}
    for name, of_sample in predictions.items():
        found, compared = frame.measured(name, kinds[name], of_sample, metrics[name], test[name])
        training, scoring = trainings.get(name), (scorings or {}).get(name)
        if training is not None and compared is not None:
            against_train[name] = compared
        note = " ".join([*(model_notes or {}).get(name, ()), *_notes(metrics[name])])
        models[name] = replace(found, trends=tuple(trends[name]), training=training, scoring=scoring, note=note)
    for name, overtraining in overtrainings(against_train).items():
        models[name] = replace(models[name], overtraining=overtraining)
    weights, target_edges = targets["test"].weights, robust_edges(targets["test"].target)
    (correlation,) = correlations(held["test"]).values()
    inputs = {
        name: histogram for name, by_class in input_histograms(held["test"]).items() for histogram in by_class.values()
    }
    return RegressionResults(
        target=target,
        features=tuple(features),
        n={name: len(sample) for name, sample in held.items()},
        cutflow=tuple(cutflow),
        models=models,
        comparisons=compare_predictions(test),
        inputs=inputs,
        targets={name: histogram(t.target, t.weights.weight, target_edges) for name, t in targets.items()},
        profiles=target_profiles(held["test"], weights) if weights.usable else {},
        correlation=correlation,
        labels=dict(labels or {}),
        reference=reference or next(iter(predictions), ""),
    )


@dataclass(frozen=True)
class _Frame:
    """What all models are measured in.

    Attributes:
        samples, targets: those of each sample.
        edges: edges of the histograms of residuals.
        plane_edges: edges of target and prediction.
    """

    samples: Mapping[str, Sample]
    targets: Mapping[str, Targets]
    edges: Array
    plane_edges: Array

    def measured(
        self, name: str, kind: str, predictions: Mapping[str, Prediction], metrics: ResidualMetrics, test: Predicted
    ) -> tuple[RegressionModel, QuantityDifference | None]:
        """Returns a model, and train against test; train and validation are held one at a time.

        Args:
            name, kind: the name and kind of the model.
            predictions: sample to what it predicts.
            metrics: the metrics of test.
            test: its predictions on test.
        """
        of_sample, residuals = {"test": metrics}, {"test": self._histogram(test)}
        compared = None
        for sample in self.samples:
            if sample == "test" or sample not in predictions:
                continue
            predicted = Predicted.of(predictions[sample], self.targets[sample])
            of_sample[sample], residuals[sample] = residual_metrics(predicted), self._histogram(predicted)
            if sample == "train":
                compared = train_against_test(predicted, test, (self.samples["train"], self.samples["test"]))
        order = [sample for sample in SAMPLES if sample in of_sample]
        value, weight, edges = test.prediction.value, test.weights.weight, self.plane_edges
        model = RegressionModel(
            name=name,
            kind=kind,
            samples={sample: of_sample[sample] for sample in order},
            residuals={sample: residuals[sample] for sample in order},
            plane=PredictionPlane(edges, plane_of(test.target, value, weight, edges, edges)),
            trends=(),
            pulls=None if test.pull is None else histogram(test.pull, weight, _PULL_EDGES),
        )
        return model, compared

    def _histogram(self, predicted: Predicted) -> Histogram:
        return histogram(predicted.residual, predicted.weights.weight, self.edges)


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


def _plane_edges(target: FloatArray) -> Array:
    """Returns edges over the central 99.8 % of the target, at most ten half-widths of its core from the median.

    So the candidates of a long tail do not press all others into a corner of a figure.
    """
    edges = robust_edges(target, _PLANE_BINS)
    low, middle, high = np.quantile(target, [0.1587, 0.5, 0.8413])
    reach = _REACH_OF_TARGET * (high - low) / 2
    if reach > 0 and (edges[0] < middle - reach or edges[-1] > middle + reach):
        return robust_edges(target[np.abs(target - middle) <= reach], _PLANE_BINS)
    return edges
