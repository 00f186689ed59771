"""Explaining a model: what each feature is worth to it, by shuffling the feature and, for trees, by contributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.importance import measure_importance
from pidlab.evaluate.results.quality import Importance
from pidlab.evaluate.results.run import ModelResult
from pidlab.evaluate.robustness import reduced
from pidlab.models.model import Model, Scores
from pidlab.sample import FloatArray, Sample
from pidlab.split import fold_of

# The contributions of one candidate take as long as hundreds of scores: with 1000 trees of depth 6 this many take 4 s.
_N_EXPLAINED = 500


@runtime_checkable
class _HasContributions(Protocol):
    """An estimator made of trees, which is imported only when it is used."""

    def contributions(self, X: Any) -> NDArray[np.float32]: ...


def explained(
    model: Model, score: Callable[[Sample], Scores], sample: Sample, result: ModelResult, *, seed: int
) -> Importance:
    """Returns the importance of each feature on the test sample, with contributions if the model is made of trees.

    Args:
        model: the model.
        score: returns its scores of a sample whose features were changed.
        sample: the test sample.
        result: the result of the model on it.
        seed: decides the shuffles and which candidates are explained.
    """
    found = contributions(model, reduced(sample, seed, _N_EXPLAINED))
    return measure_importance(score, sample, result, seed=seed, contributions=found)


def contributions(model: Model, sample: Sample) -> tuple[FloatArray, Sample] | None:
    """Returns (n, d) exact contributions to the signal's margin, before any calibration, and their candidates.

    With folds, a candidate is explained by the model that never saw it. A feature that the model does not read
    contributes 0. Returns None if the model has no contributions or the sample no candidates.
    """
    if not len(sample) or not model.fitted:
        return None
    folds = np.zeros(len(sample), np.int8)
    if model.fold_seed is not None:
        folds = fold_of(sample.event, len(model.fitted), model.fold_seed)
    result = np.zeros((len(sample), len(sample.features)))
    for i, fold_model in enumerate(model.fitted):
        if not isinstance(fold_model.estimator, _HasContributions):
            return None
        rows, columns = np.flatnonzero(folds == i), np.array(fold_model.columns)
        if len(rows):
            parts = fold_model.estimator.contributions(sample.x[np.ix_(rows, columns)])
            result[np.ix_(rows, columns)] = parts[:, sample.signal if parts.shape[1] > 1 else 0, :-1]
    return result, sample
