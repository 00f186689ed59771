"""Explain: what each feature is worth to a trained model, by shuffling it and, for trees, by its contributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.importance import measure_importance
from pidlab.evaluate.results import Importance, ModelResult
from pidlab.evaluate.robustness import reduced
from pidlab.models.model import Model, Scores
from pidlab.sample import FloatArray, Sample
from pidlab.split import fold_of

# The contributions of one candidate take as long as hundreds of scores: with 1000 trees of depth 6 this many take 4 s.
_EXPLAINED = 500


@runtime_checkable
class _HasContributions(Protocol):
    """Trees, which are imported only where they are used."""

    def contributions(self, X: Any) -> NDArray[np.float32]: ...


def explained(
    contender: Model, score: Callable[[Sample], Scores], sample: Sample, result: ModelResult, *, seed: int
) -> Importance:
    """The importance of each feature on test, with contributions where the model is made of trees.

    Args:
        contender: the model.
        score: its scores of a sample with other features.
        sample: the test sample.
        result: of the model on it.
        seed: of shuffles and choice of events.
    """
    found = contributions(contender, reduced(sample, seed, _EXPLAINED))
    return measure_importance(score, sample, result, seed=seed, contributions=found)


def contributions(contender: Model, sample: Sample) -> tuple[FloatArray, Sample] | None:
    """(n, d) exact contributions to the signal's margin, before any calibration, and the candidates they are for.

    Each candidate by the model that never saw it; 0 for a feature that the model does not read. None for a model
    without, or without candidates.
    """
    has = bool(contender.fitted) and all(isinstance(f.estimator, _HasContributions) for f in contender.fitted)
    if not has or not len(sample):
        return None
    folds = np.zeros(len(sample), np.int64)
    if contender.fold_seed is not None:
        folds = fold_of(sample.event, len(contender.fitted), contender.fold_seed).astype(np.int64)
    result = np.zeros((len(sample), len(sample.features)))
    for i, fitted in enumerate(contender.fitted):
        rows, columns = np.flatnonzero(folds == i), np.array(fitted.columns)
        if len(rows):
            assert isinstance(fitted.estimator, _HasContributions)
            parts = fitted.estimator.contributions(sample.x[np.ix_(rows, columns)])
            result[np.ix_(rows, columns)] = parts[:, sample.signal if parts.shape[1] > 1 else 0, :-1]
    return result, sample
