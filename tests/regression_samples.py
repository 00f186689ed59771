"""Regression toys with known truth: targets of known mean and width, and predictions with known residuals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pidlab.evaluate.explaining.partial_dependence import measure_dependence, most_important
from pidlab.evaluate.regression.importance import measure_residual_importance
from pidlab.evaluate.regression.predictions import Prediction
from pidlab.evaluate.regression.run import regression_results
from pidlab.evaluate.results import CutStep, Explained, Training
from pidlab.evaluate.results.regression import RegressionResults
from pidlab.sample import Sample

FEATURES = ("x0", "x1", "x2")


def sample_of(target, *, x=None, weight=None, event=None, spectators=None) -> Sample:
    n = len(target)
    x = np.zeros((n, 1), np.float32) if x is None else np.asarray(x, np.float32)
    return Sample(
        x=x,
        y=np.zeros(n, np.int8),
        weight=np.ones(n) if weight is None else np.asarray(weight, np.float64),
        event=np.arange(n, dtype=np.uint64) if event is None else np.asarray(event, np.uint64),
        features=tuple(f"x{i}" for i in range(x.shape[1])),
        classes=("events",),
        signal=0,
        spectators=spectators or {},
        columns={},
        file=np.zeros(n, np.int32),
        row=np.arange(n),
        target=np.asarray(target, np.float64),
    )


def prediction(value, sigma=None, quantiles: Mapping[float, np.ndarray] | None = None) -> Prediction:
    """Arrays in the types that models give."""
    single = {p: np.asarray(q, np.float32) for p, q in (quantiles or {}).items()}
    return Prediction(np.asarray(value, np.float32), None if sigma is None else np.asarray(sigma, np.float32), single)


def toy(rng, n, *, weights="unit", per_event=1) -> tuple[Sample, np.ndarray, np.ndarray]:
    """Candidates of three features with the mean and the width that their Gaussian target has."""
    x = rng.normal(size=(n, 3)).astype(np.float32)
    mean, width = 1 + 0.3 * x[:, 0] + 0.1 * x[:, 0] * x[:, 1], 0.1 * (1 + np.abs(x[:, 1]))
    target = mean + width * rng.normal(size=n)
    weight = np.where(rng.random(n) < 0.1, -1.0, 1.0) if weights == "signed" else np.ones(n)
    spectators = {"P": np.abs(rng.normal(3, 1, n)), "theta": rng.uniform(0.1, 0.5, n)}
    event = np.arange(n, dtype=np.uint64) // np.uint64(per_event) + np.uint64(rng.integers(2**40) << 20)
    x[rng.random(n) < 0.02, 2] = np.nan
    return sample_of(target, x=x, weight=weight, event=event, spectators=spectators), mean, width


def toy_predictions(sample: Sample, mean, width, rng) -> dict[str, Prediction]:
    """What four models predict: a constant, a line, a model with quantiles, and one with the true width."""
    noise = rng.normal(size=(2, len(sample)))
    return {
        "constant": prediction(np.full(len(sample), 1.0), np.full(len(sample), 0.36)),
        "linear": prediction(1 + 0.3 * sample.x[:, 0]),
        "bdt": prediction(
            mean + 0.03 * noise[0], None, {0.16: mean - 0.9945 * width, 0.5: mean, 0.84: mean + 0.9945 * width}
        ),
        "mlp": prediction(mean + 0.02 * noise[1], width),
    }


def toy_results(n=6000, seed=1, *, weights="unit") -> RegressionResults:
    """The results of a whole toy regression of four models."""
    rng = np.random.default_rng(seed)
    samples, predictions = {}, {}
    for name, size in (("train", n), ("validation", n // 3), ("test", n // 2)):
        samples[name], mean, width = toy(rng, size, weights=weights)
        for model, each in toy_predictions(samples[name], mean, width, rng).items():
            predictions.setdefault(model, {})[name] = each
    falling = np.exp(-np.arange(30) / 5)
    history = {"train_loss": list(0.1 + falling), "validation_loss": list(0.11 + falling)}
    counts = {"events": sum(map(len, samples.values()))}
    results = regression_results(
        target="E_true/E_reco",
        features=FEATURES,
        samples=samples,
        predictions=predictions,
        kinds={model: model for model in predictions},
        trainings={"linear": Training(0.1, 1), "bdt": Training(1.2, 30, history), "mlp": Training(2.5, 30, history)},
        labels={"P": "$P$ (GeV)"},
        cutflow=(CutStep("all", counts, {"events": float(counts["events"])}),),
    )
    return with_explanations(results, samples["test"])


def with_explanations(results: RegressionResults, test: Sample) -> RegressionResults:
    """What features are worth to two of the models, and what they contribute to the line."""
    predicted = {
        "linear": lambda x: 1 + 0.3 * x[:, 0],
        "mlp": lambda x: 1 + 0.3 * x[:, 0] + 0.1 * x[:, 0] * x[:, 1],
    }
    importance, dependence = {}, {}
    some = test.take(slice(0, 200))
    parts = np.column_stack([0.3 * some.x[:, 0], np.zeros((len(some), 2))])
    for name, function in predicted.items():

        def predict(changed, function=function):
            return function(changed.x).astype(np.float32)[:, None]

        own = (parts, some) if name == "linear" else None
        importance[name] = measure_residual_importance(predict, test, seed=1, contributions=own)
        dependence[name] = measure_dependence(predict, test, most_important(importance[name]), seed=1)
    explained = {"linear": Explained(FEATURES, np.zeros(len(some), np.int64), some.x.astype(float), parts)}
    return replace(results, importance=importance, dependence=dependence, explained=explained)
