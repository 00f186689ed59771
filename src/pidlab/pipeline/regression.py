"""The evaluation of a regression: predictions of its models for the candidates of a run, and what they are worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pidlab.config.schema import RegressionConfig, quantile_name
from pidlab.evaluate.regression.importance import measure_residual_importance
from pidlab.evaluate.regression.predictions import Prediction
from pidlab.evaluate.regression.run import regression_results
from pidlab.evaluate.results import Scoring
from pidlab.evaluate.results.regression import RegressionResults
from pidlab.evaluate.robustness import reduced
from pidlab.models.explain import explained
from pidlab.models.fold import Scores
from pidlab.models.model import Model
from pidlab.preprocess.events import Events
from pidlab.preprocess.recipe import Recipe
from pidlab.sample import Sample
from pidlab.split import Parts

SIGMA = "sigma"
"""The further output of a model that is the standard deviation of the target."""


def evaluate_regression(
    recipe: Recipe,
    events: Events,
    parts: Parts,
    models: Mapping[str, Model],
    scores: Mapping[str, Mapping[str, Scores]],
    scorings: Mapping[str, Scoring],
) -> RegressionResults:
    """Measures every model on every sample.

    Args:
        recipe: the recipe of the run.
        events: the candidates.
        parts: what each of them is for.
        models: by name.
        scores: model, then sample, to the (n, 1) predictions, as `pipeline.analysis.score` gives them.
        scorings: model to the speed of its predictions.
    """
    config = recipe.loaded.config
    assert isinstance(config, RegressionConfig)
    samples = {name: events.sample.take(rows) for name, rows in parts.quoted().items()}
    results = regression_results(
        target=config.predicted.value,
        features=events.sample.features,
        samples=samples,
        predictions={name: predictions_of(model, events.sample, parts, scores[name]) for name, model in models.items()},
        kinds={name: config.models[name].type for name in models},
        trainings={name: model.training for name, model in models.items()},
        model_notes={name: model.notes for name, model in models.items()},
        scorings=scorings,
        labels=config.axis_labels,
        reference=config.style.reference or "",
        cutflow=events.cutflow,
        maps=config.evaluate.maps,
        least=config.evaluate.thin,
    )
    return _explained(results, models, samples["test"], config.seed) if config.evaluate.importance else results


def _explained(results: RegressionResults, models: Mapping[str, Model], test: Sample, seed: int) -> RegressionResults:
    """Returns the results with what each feature is worth to each model, and how its prediction goes with it."""
    some = reduced(test, seed).here()
    found = {
        name: explained(model, some, measure_residual_importance, seed=seed)
        for name, model in models.items()
        if model.type != "constant"  # it looks at no feature
    }
    return replace(
        results,
        importance={name: each.importance for name, each in found.items()},
        explained={name: each.contributions for name, each in found.items() if each.contributions is not None},
        dependence={name: each.dependence for name, each in found.items()},
    )


def predictions_of(model: Model, sample: Sample, parts: Parts, scores: Mapping[str, Scores]) -> dict[str, Prediction]:
    """Returns sample name to what a model predicts for its candidates, with the width and the quantiles."""
    if not model.output_names:
        return {part: Prediction(values[:, 0]) for part, values in scores.items()}
    outputs = model.outputs(sample)
    seen = outputs if parts.fold is None else model.outputs(sample, fold_offset=1)
    rows = parts.quoted()
    return {
        part: prediction(model, values, (outputs if part == "test" else seen)[rows[part]])
        for part, values in scores.items()
    }


def prediction(model: Model, scores: Scores, outputs: NDArray[np.float32]) -> Prediction:
    """Returns the (n, 1) scores and the (n, m) further outputs of a model as a prediction."""
    columns = {name: outputs[:, j] for j, name in enumerate(model.output_names)}
    section = model.recipe.loaded.config.models[model.name]
    shares = {quantile_name(share): share for share in getattr(section, "quantiles", ())}
    quantiles = {shares[name]: values for name, values in columns.items() if name in shares}
    return Prediction(scores[:, 0], columns.get(SIGMA), quantiles)
