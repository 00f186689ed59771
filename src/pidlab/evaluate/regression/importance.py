"""Importance for a regression: how much worse the residuals of a model are if one feature is shuffled."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from pidlab.evaluate.importance import REPEATS, Rates, changes_by_shuffling, mean_contributions
from pidlab.evaluate.regression.metrics import mae, rms, sigma68
from pidlab.evaluate.regression.predictions import Predicted, Prediction, Targets
from pidlab.evaluate.regression.statistics import Statistic
from pidlab.evaluate.results.regression import RegressionImportance, ResidualImportance
from pidlab.evaluate.robustness import reduced
from pidlab.sample import FloatArray, Sample

_QUANTITIES: Mapping[str, Callable[[Predicted], Statistic]] = {"rms": rms, "mae": mae, "sigma68": sigma68}


def measure_residual_importance(
    predict: Callable[[Sample], FloatArray],
    sample: Sample,
    *,
    seed: int,
    contributions: tuple[FloatArray, Sample] | None = None,
) -> RegressionImportance:
    """Measures the residuals of a model with each feature shuffled among the candidates, three times.

    Candidates, shuffles and intervals are those of `pidlab.evaluate.importance.measure_importance`. A model that does
    not use a feature changes by exactly 0.

    Args:
        predict: returns the predictions (n, 1) of a sample with other features.
        sample: the test sample.
        seed: seed of the shuffles and of the choice of events.
        contributions: (m, d) contribution of each feature to the prediction, and the m candidates.
    """
    sample = reduced(sample, seed)
    targets = Targets.of(sample)

    def measure(changed: Sample) -> Rates:
        value = np.ascontiguousarray(predict(changed)[:, 0], np.float32)
        return _numbers(Predicted.of(Prediction(value), targets))

    explained = {} if contributions is None else mean_contributions(*contributions)
    changes = changes_by_shuffling(measure, sample, seed=seed)
    features = tuple(
        ResidualImportance(name, of_rms, of_mae, of_sigma68, explained.get(name))
        for name, (of_rms, of_mae, of_sigma68) in zip(sample.features, changes, strict=True)
    )
    n_explained = 0 if contributions is None else len(contributions[1])
    return RegressionImportance(len(sample), REPEATS, features, n_explained)


def _numbers(predicted: Predicted) -> Rates:
    """Returns RMS, mean absolute residual and σ68, each with its influences; None where they are not defined."""
    weights, k = predicted.weights, len(_QUANTITIES)
    if not weights.usable:
        return Rates((None,) * k, (np.zeros(len(predicted.target)),) * k, (0.0,) * k)
    found = [statistic(predicted) for statistic in _QUANTITIES.values()]
    values = tuple(one.value if math.isfinite(one.value) else None for one in found)
    return Rates(values, tuple(one.influence(weights).parts for one in found), (weights.n,) * k)
