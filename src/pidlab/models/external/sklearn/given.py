"""An estimator that was given as an object in Python: trained as a clone, or used unchanged if it is fitted."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from pidlab.errors import ModelError, UsageError
from pidlab.models.base import Progress, TrainingRows, ValidationSet
from pidlab.models.external.base import UNKNOWN_TRAINING
from pidlab.models.external.sklearn.model import (
    SklearnClassifier,
    SklearnEstimator,
    checked_graph,
    train_and_note,
)
from pidlab.models.external.sklearn.to_onnx import with_columns
from pidlab.sample import FloatArray


class GivenObject(SklearnEstimator):
    """What a classifier and a regressor that were given as objects have in common.

    After training the object is converted to ONNX where that is possible, and the graph then gives the numbers, so that
    what is evaluated is what is saved. Otherwise the object itself gives them, and a run that holds it cannot be saved.

    Args:
        given: the object, which is not changed.
        is_fitted: whether the object was trained before; it is not trained again then.
        feature_names: names of the d features, for objects that select columns by name.
    """

    def __init__(self, given: Any, is_fitted: bool = False, feature_names: Sequence[str] = ()) -> None:
        super().__init__(import_path(given))
        self.given = given
        self.is_fitted = is_fitted
        self.feature_names = feature_names

    def train(self, rows: TrainingRows, validation: ValidationSet | None, progress: Progress | None) -> None:
        """Trains a clone on rows that were checked, or takes a fitted object, and converts it to ONNX if possible.

        Raises:
            ModelError: the object refuses to train or to score, knows other classes, or does not give one row of scores
                or one prediction an event.
        """
        x, y, weight = rows.whole(np.float32)
        if self.is_fitted:
            self.trained_, self.notes_ = self.given, (UNKNOWN_TRAINING,)
        else:
            self.trained_ = clone(self.given)
            table, names = self._table(x), weight_parameter(self.given)
            self.notes_ = train_and_note(self.trained_, table, self._as_given(y), weight, names)
        self._columns = columns = self._order()
        self._refused = ""
        try:
            graph = checked_graph(self.trained_, x, self.estimator_kind)
            self._keep(graph if columns == sorted(columns) else with_columns(graph, columns))
        except (ModelError, UsageError) as error:
            self._refused = str(error)
        try:
            self._check_row(x[:1])
        except ModelError:
            raise
        except Exception as error:  # whatever the object raises
            raise ModelError(f"{self._name} refuses to score ({' '.join(str(error).split())[:400]})") from error

    def _as_given(self, y: NDArray[Any]) -> NDArray[Any]:
        """Returns what the object is to see of y (n,)."""
        return y

    def _order(self) -> list[int]:
        """Returns the column of the object's probabilities for each class; none of a regressor.

        Raises:
            ModelError: the object knows other classes.
        """
        return []

    def _check_row(self, x: FloatArray) -> None:
        """Checks the shape of what comes of one row (1, d).

        Raises:
            ModelError: it is not a score for each class, or one prediction.
        """
        raise NotImplementedError

    def answers(self, x: FloatArray) -> NDArray[Any]:
        """Returns what the object itself says of (n, d) features: probabilities or predictions."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # training has recorded them
            return np.asarray(getattr(self.trained_, self.estimator_kind.method[0])(self._table(x)))

    @property
    def _name(self) -> str:
        return type(self.given).__name__

    def _table(self, x: FloatArray) -> Any:
        """Returns (n, d) features as a data frame if the object selects columns by name, otherwise unchanged."""
        if not self.feature_names or not _selects_by_name(self.given):
            return x
        import pandas as pd

        names = getattr(self.given, "feature_names_in_", self.feature_names)
        return pd.DataFrame(x, columns=list(self.feature_names))[list(names)]

    def saved_parameters(self) -> dict[str, Any]:
        """Returns the parameters of the estimator by its import path, which loads what is saved."""
        return SklearnEstimator(self.estimator).saved_parameters()

    def save(self, directory: Path) -> None:
        """Writes the ONNX graph, and the settings as JSON, from which an estimator by its import path is loaded.

        Raises:
            ModelError: the object cannot be converted to ONNX.
        """
        if self._refused:
            raise ModelError(
                f"{self._name} cannot be saved, since pidlab stores no pickle ({self._refused}); "
                "leave the model out of the comparison that is to be saved"
            )
        super().save(directory)


class GivenClassifier(GivenObject, SklearnClassifier):
    """Any object with scikit-learn's `fit` and `predict_proba`, such as a pipeline.

    Args:
        given: the object, which is not changed.
        labels: the label of each of the k classes as the object knows it.
        is_fitted: whether the object was trained before; it is not trained again then.
        feature_names: names of the d features, for objects that select columns by name.
    """

    def __init__(
        self, given: Any, labels: Sequence[Any], is_fitted: bool = False, feature_names: Sequence[str] = ()
    ) -> None:
        super().__init__(given, is_fitted, feature_names)
        self.labels = labels

    def _as_given(self, y: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.asarray(self.labels)[y])

    def _order(self) -> list[int]:
        known = list(np.asarray(getattr(self.trained_, "classes_", self.labels)).tolist())
        wanted = [label.item() if isinstance(label, np.generic) else label for label in self.labels]
        if sorted(map(str, known)) != sorted(map(str, wanted)) or any(label not in known for label in wanted):
            raise ModelError(f"{self._name} was trained for the classes {known}, and y has {wanted}")
        return [known.index(label) for label in wanted]

    def _check_row(self, x: FloatArray) -> None:
        shape = self.scores(x).shape
        if shape != (1, len(self.labels)):
            raise ModelError(f"{self._name} gives scores of shape {shape} for 1 row and {len(self.labels)} classes")

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns (n, k) float32 class probabilities of (n, d) features."""
        x = np.asarray(X, np.float32)
        if not self._refused:
            return super().scores(x)
        if not len(x):
            return np.empty((0, len(self.labels)), np.float32)
        return np.asarray(self.answers(x)[:, self._columns], np.float32)


def import_path(estimator: Any) -> str:
    """Returns the import path of the class of an object."""
    cls = type(estimator)
    return f"{cls.__module__}.{cls.__qualname__}"


def weight_parameter(estimator: Any) -> str:
    """Returns the name by which the `fit` of an estimator or pipeline takes weights; empty if it takes none."""
    estimator = getattr(estimator, "regressor", None) or estimator  # to which a transformed target passes them on
    steps = getattr(estimator, "steps", None)
    if isinstance(steps, list) and steps:
        inner = weight_parameter(steps[-1][1])
        return f"{steps[-1][0]}__{inner}" if inner else ""
    with contextlib.suppress(TypeError, ValueError):
        return "sample_weight" if has_fit_parameter(estimator, "sample_weight") else ""
    return ""


def _selects_by_name(estimator: Any) -> bool:
    """Returns whether the object was trained on a data frame, or has a ColumnTransformer among its first steps."""
    if hasattr(estimator, "feature_names_in_") or hasattr(estimator, "transformers"):
        return True
    steps = getattr(estimator, "steps", None)
    return isinstance(steps, list) and bool(steps) and _selects_by_name(steps[0][1])
