"""What pidlab asks of a model: scikit-learn's estimator interface, scores, and a directory to live in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from pidlab.errors import ModelError
from pidlab.sample import FloatArray, IntArray

Progress = Callable[[int, int, Mapping[str, float]], None]
"""Called as `progress(done, total, {"loss": …, "validation_auc": …})` while a model trains."""


class Holdout(NamedTuple):
    """Labelled data that a model may watch (early stopping) but not train on: x (n, d), y (n,), weight (n,)."""

    x: FloatArray
    y: IntArray
    weight: FloatArray


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Base of the models: k classes, d features.

    A fitted model has `classes_` (k,), `n_features_in_` = d, and `history_`, a dict of lists with one entry an
    epoch or round (empty where there is nothing to tell).
    """

    classes_: NDArray[Any]
    n_features_in_: int
    history_: dict[str, list[float]]

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation: Holdout | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Train on X (n, d), y (n,) and weights (n,) that are not negative."""
        raise NotImplementedError

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, k) class probabilities; rows sum to 1."""
        raise NotImplementedError

    def predict(self, X: Any) -> NDArray[Any]:
        """(n,) the class of largest probability."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[np.argmax(probabilities, axis=1)])

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """(n, k) float32, what is cut on: larger means more like that class. Fast path for validated input."""
        return np.asarray(self.predict_proba(X), dtype=np.float32)

    def save(self, directory: Path) -> None:
        """Write everything `load` needs into an existing directory, as JSON, safetensors or UBJ."""
        raise NotImplementedError

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The model that `save` wrote. Runs nothing that the directory holds.

        Raises:
            ModelError: a file is missing, damaged, or of another model.
        """
        raise NotImplementedError


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` as JSON with NaN and infinities refused."""
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises:
        ModelError: the file is missing or not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error}); make the run again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds no JSON object; make the run again")
    return content
