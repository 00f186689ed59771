"""The interface of estimators: scikit-learn's, with scores and with a directory in which a fitted model is saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from pidlab.errors import ModelError, nearest
from pidlab.evaluate.results import json_value
from pidlab.jsonfile import write_json
from pidlab.models.matrix import LazyMatrix, Matrix, slices
from pidlab.models.missing import MissingValues, with_names
from pidlab.models.stored import stored_model
from pidlab.sample import FloatArray, IntArray

Progress = Callable[[int, int, Mapping[str, float]], None]
"""Called as `progress(done, total, {"loss": …, "validation_auc": …})` while a model trains."""


class TrainingDataError(ModelError, ValueError):
    """Data that a model cannot be trained on. It is a ValueError too, because scikit-learn's callers expect one."""


class ValidationSet(NamedTuple):
    """Data that decides when training stops, and is not trained on: x (n, d), y (n,), weight (n,).

    y holds classes, or the target of a regression.
    """

    x: Matrix
    y: NDArray[Any]
    weight: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRows:
    """The checked input of a fit, which is read in blocks.

    Attributes:
        x: (m, d) features.
        label: (m,) index into the classes, or the target of a regression.
        weight: (m,) positive.
        mean_weight: by which weights are divided, so that their mean is 1.
    """

    x: Matrix
    label: NDArray[Any]
    weight: NDArray[np.float64]
    mean_weight: float = 1.0

    def __len__(self) -> int:
        return len(self.label)

    def whole(self, dtype: type[np.floating[Any]]) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
        """Returns all features in this type, the labels in 64 bits, and weights with a mean of 1."""
        label = self.label.astype(np.result_type(self.label, np.int64))
        return np.asarray(self.x, dtype), label, self.weight / self.mean_weight

    def blocks(self) -> Iterator[tuple[FloatArray, NDArray[Any], NDArray[np.float64]]]:
        """Yields the features, labels and weights of a block at a time; the mean of all weights is 1."""
        for rows in slices(len(self)):
            yield self.x[rows], self.label[rows], self.weight[rows] / self.mean_weight


Finite = bool | Literal["allow-nan", "filled"]
"""Whether all features must be finite; "allow-nan": NaN means a missing value; "filled": the same, but those of a
`LazyMatrix`, which were filled before, must be finite."""


class Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Base class of the estimators that a run trains: classifiers with k classes, and regressors, for which k is 1.

    A fitted estimator has `classes_` (k,), `n_features_in_` = d, and `history_`, a dict of lists with one entry an
    epoch or round; it is empty if training has no epochs or rounds. Estimators that need numbers for missing values
    have what replaces them in `missing_`.

    Attributes:
        kind: the key `type` of its section.
        x_types: the type of the features in training, or several types that they may have.
        x_finite: which features it can be trained on.
        y_numeric: whether y must hold finite numbers, as the target of a regression does.
        probability: whether scores lie in [0, 1]; otherwise they are discriminants of any range.
        knows_signal_only: whether the classes but the signal have no score (NaN) if there are more than two.
        file: the name of the file of a saved model.
        mark: a key of this file and its value, by which the type is told; None: the key `type` and `stored_type`.
    """

    kind: ClassVar[str]
    x_types: ClassVar[Any] = np.float64
    x_finite: ClassVar[Finite] = "allow-nan"
    y_numeric: ClassVar[bool] = False
    probability: bool = True
    knows_signal_only: ClassVar[bool] = False
    file: ClassVar[str] = "model.json"
    mark: ClassVar[tuple[str, Any] | None] = None

    classes_: NDArray[Any]
    n_features_in_: int
    history_: dict[str, list[float]]
    missing_: MissingValues | None = None

    def __sklearn_tags__(self) -> Any:
        """Returns what scikit-learn may expect: all estimators take NaN in X for a missing value."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    @property
    def one_sided(self) -> bool:
        """Whether there are more than two classes, of which only the signal has a score."""
        return self.knows_signal_only and len(self.classes_) > 2

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the m further numbers that `outputs` gives of each candidate, such as "nsigma"."""
        return ()

    @property
    def detector_names(self) -> tuple[str, ...]:
        """The names of the detectors from some of which `scores_of` can score: those of a likelihood."""
        return ()

    @property
    def fixed_points(self) -> tuple[tuple[str, float], ...]:
        """Name and threshold of each working point that the model itself defines, such as ("sigma3", -3.0)."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of its results must know about its training, in sentences."""
        return ()

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation: ValidationSet | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Trains on X (n, d), y (n,) and weights (n,).

        Args:
            X: features, NaN where a value is missing.
            y: classes, or the target of a regression.
            sample_weight: not negative; None for 1.
            validation: decides when training stops, in models that are trained in epochs or rounds.
            progress: is told of each epoch or round.

        Raises:
            TrainingDataError: weights are negative, too few classes or rows are left, or `validation` does not fit.
            ModelError: an option has no such value, or training fails.
            UsageError: an option of a library is unknown.
            ValueError: scikit-learn refuses a shape, a type or a number that is not finite.
        """
        self._check_options()
        rows = self._rows(X, y, sample_weight)
        self.history_ = {}
        self.train(rows, validation, progress)
        return self

    def _check_options(self) -> None:
        """Refuses options that have no such value, before the data are looked at."""

    def _rows(self, X: Any, y: Any, sample_weight: Any) -> TrainingRows:
        """Returns the checked input of `fit`, without a copy and rows of weight zero, and sets `n_features_in_`.

        An X that is a `LazyMatrix` stays one, of float32.
        """
        finite = self.x_finite
        if finite == "filled":
            finite = True if isinstance(X, LazyMatrix) else "allow-nan"
        if isinstance(X, LazyMatrix):
            self.n_features_in_ = X.n_columns
            if finite is not False:
                for rows in slices(len(X)):
                    assert_all_finite(X[rows], allow_nan=finite == "allow-nan", estimator_name=type(self).__name__)
            y = np.asarray(y)
        else:
            with np.errstate(over="ignore"):  # beyond float32 counts as infinite
                checks = {"dtype": self.x_types, "ensure_all_finite": finite, "y_numeric": self.y_numeric}
                X, y = validate_data(self, with_names(X), y, order="C", **checks)
        weight = _check_sample_weight(sample_weight, y, dtype=np.float64)
        if weight.min() < 0:
            raise TrainingDataError(
                f"{(weight < 0).sum()} of {len(weight)} training weights are negative; "
                "choose what becomes of them first (negative_weights: abs, drop or zero)"
            )
        if weight.min() == 0:
            used = np.flatnonzero(weight)
            X, y, weight = X.take(used) if isinstance(X, LazyMatrix) else X[used], y[used], weight[used]
        return TrainingRows(X, y, weight, float(weight.mean()) if len(weight) else 1.0)

    def train(self, rows: TrainingRows, validation: ValidationSet | None, progress: Progress | None) -> None:
        """Trains on rows that were checked; the other arguments and the errors are those of `fit`."""
        raise NotImplementedError

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns (n, k) float32 scores of unchecked X."""
        raise NotImplementedError

    def scores_of(self, X: FloatArray, detectors: Sequence[str] | None = None) -> NDArray[np.float32]:
        """Returns (n, k) float32 scores of unchecked X from these detectors; None for all."""
        raise NotImplementedError

    def first_trees(self, n: int, depth: int) -> list[tuple[int, list[dict[str, Any]]]]:
        """Returns the first n trees down to `depth` splits, to be looked at; none of most models.

        Returns:
            for each tree the column of the margins that it adds to, and its nodes as `results.TreeNode` has them, with
            the index of a feature, -1 for a leaf. A deeper split has no next nodes.
        """
        return []

    def _checked(self, X: Any, dtype: Any = np.float64) -> NDArray[Any]:
        """Returns X (n, d), NaN where a value is missing, after scikit-learn's checks against the training sample."""
        check_is_fitted(self)
        return np.asarray(validate_data(self, with_names(X), dtype=dtype, reset=False, ensure_all_finite="allow-nan"))

    def outputs(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns (n, m) float32, the numbers of `output_names` for unchecked X."""
        return np.empty((len(X), 0), np.float32)

    def saved_parameters(self) -> dict[str, Any]:
        """Returns the parameters of the constructor in the types of JSON, in which `save` writes them."""
        return dict(json_value(self.get_params(deep=False)))

    @classmethod
    def stored_type(cls) -> str:
        """Returns what the file of a saved model says of its type."""
        return cls.kind

    def save(self, directory: Path) -> None:
        """Writes everything that `load` needs into an existing directory, as JSON, safetensors or UBJ."""
        check_is_fitted(self)
        key, value = self.mark or ("type", self.stored_type())
        write_json(directory / self.file, {key: value, **self._stated(), **self._fitted()})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Reads a model that `save` wrote, without running any code that the directory may hold.

        Raises:
            ModelError: a file is missing, damaged, or of another model.
        """
        with stored_model(directory / cls.file, cls.stored_type(), cls.mark) as content:
            model = cls(**cls._parameters_in(content))
            model._restore(content, directory)
        return model

    def _stated(self) -> dict[str, Any]:
        """Returns what `_parameters_in` needs, in the types of JSON."""
        return {"parameters": self.saved_parameters()}

    @classmethod
    def _parameters_in(cls, content: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the parameters of the constructor in the content of a file."""
        return dict(content["parameters"])

    def _fitted(self) -> dict[str, Any]:
        """Returns what `_restore` needs besides the parameters, in the types of JSON."""
        raise NotImplementedError

    def _restore(self, content: Mapping[str, Any], directory: Path) -> None:
        """Takes what `_fitted` returned and what else is in the directory.

        Raises:
            KeyError, TypeError, ValueError: the content is damaged.
            ModelError: another file is.
        """
        self.n_features_in_ = int(content["n_features"])
        self.history_ = {name: list(map(float, values)) for name, values in content.get("history", {}).items()}


class Classifier(ClassifierMixin, Estimator):  # type: ignore[misc]  # scikit-learn has no types
    """Base class of the estimators that tell k classes apart by d features."""

    def _rows(self, X: Any, y: Any, sample_weight: Any) -> TrainingRows:
        rows = super()._rows(X, y, sample_weight)
        if not isinstance(X, LazyMatrix):  # whose y holds numbers from 0 to k - 1
            check_classification_targets(rows.label)
        self.classes_, label = classes_and_labels(rows.label)
        if len(self.classes_) < 2:
            raise TrainingDataError(f"{len(self.classes_)} class is left to train on; two classes or more are needed")
        return replace(rows, label=label)

    def _fitted(self) -> dict[str, Any]:
        return {"classes": self.classes_.tolist(), "n_features": self.n_features_in_}

    def _restore(self, content: Mapping[str, Any], directory: Path) -> None:
        self.classes_ = np.asarray(content["classes"])
        super()._restore(content, directory)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Returns (n, k) class probabilities; rows sum to 1."""
        raise NotImplementedError

    def predict(self, X: Any) -> NDArray[Any]:
        """Returns the (n,) classes of largest probability."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[np.argmax(probabilities, axis=1)])

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns (n, k) float32 scores of unchecked X, for decisions: larger means more like that class."""
        return np.asarray(self.predict_proba(X), dtype=np.float32)


def classes_and_labels(y: NDArray[Any]) -> tuple[NDArray[Any], IntArray]:
    """Returns the sorted classes (k,) in y (n,), and y as indices into them, of the smallest type of integers.

    `numpy.unique` of all of y would take some fifty bytes a row.
    """
    classes = np.unique(np.concatenate([np.unique(y[rows]) for rows in slices(len(y))]))
    if y.dtype == np.int8 and np.array_equal(classes, np.arange(len(classes))):
        return classes, y
    label = np.empty(len(y), np.min_scalar_type(max(len(classes) - 1, 0)))
    for rows in slices(len(y)):
        label[rows] = np.searchsorted(classes, y[rows])
    return classes, label


def choice(model: str, option: str, value: object, known: Iterable[str]) -> str:
    """Returns the value of an option, which must be one of the known words.

    Raises:
        ModelError: it is none of them; the message begins with the type of the `model`.
    """
    known = tuple(known)
    if value not in known:
        what = f"{model}: {option} is {value!r}"
        raise ModelError(f"{what}; {nearest(str(value), known)} It is one of {', '.join(known)}")
    return str(value)


def signal_index(model: str, signal: object, classes: NDArray[Any]) -> int:
    """Returns the index of the signal among the classes (k,); None stands for the last one.

    Raises:
        ModelError: it is no class; the message begins with the type of the `model`.
    """
    if signal is None:
        return len(classes) - 1
    found = np.flatnonzero(classes == signal)
    if not len(found):
        known = [str(c) for c in classes]
        raise ModelError(f"{model}: signal is {signal!r}, which is no class; {nearest(str(signal), known)}")
    return int(found[0])
