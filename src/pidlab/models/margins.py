"""Models of few numbers: probabilities from margins, and a JSON file of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted, validate_data

from pidlab.jsonfile import write_json
from pidlab.models.base import Classifier, Progress, ValidationSet, training_rows
from pidlab.models.link import posterior
from pidlab.models.matrix import LazyMatrix
from pidlab.models.missing import MissingValues, with_names
from pidlab.models.stored import stored_model
from pidlab.sample import FloatArray

Array = NDArray[np.float64]
Blocks = Callable[[], Iterator[tuple[Array, NDArray[Any], Array]]]
"""Yields the training sample in blocks of rows: features (m, d) without missing values, indices into the classes (m,)
or targets, and weights (m,), whose mean over all blocks is 1. A small sample is one block."""

_FILE = "model.json"


class MarginClassifier(Classifier):
    """A classifier with margins: one, the log-odds of the second of two classes, or k for a softmax.

    Attributes:
        kind: the key `type` of its section.
        arrays: the names of its fitted arrays, without the underscore behind them; the first has d columns.
    """

    kind: ClassVar[str]
    arrays: ClassVar[tuple[str, ...]]

    def _fit(self, blocks: Blocks) -> None:
        """Sets the arrays from the training sample."""
        raise NotImplementedError

    def _margins(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError

    def _check_arrays(self) -> None:
        """Raises a ValueError if the shapes or the values of the arrays are not those of a fitted model."""
        raise NotImplementedError

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation: ValidationSet | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Fits X (n, d), y (n,) and weights (n,) that are not negative; `validation`, `progress` are not used.

        NaN in X is a missing value: it is replaced by the median, and a column that tells what is missing is added.

        Raises:
            TrainingDataError: weights are negative, or fewer than two classes are left.
        """
        finite: Literal[True, "allow-nan"] = True if isinstance(X, LazyMatrix) else "allow-nan"  # it is filled already
        rows = training_rows(self, X, y, sample_weight, dtype=np.float64, finite=finite)
        self.missing_ = missing = MissingValues.of(rows.x)

        def blocks() -> Iterator[tuple[Array, NDArray[Any], Array]]:
            for x, label, weight in rows.blocks():
                yield np.asarray(missing.filled(x), np.float64), label, weight

        self._fit(blocks)
        self.history_ = {}
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Returns the margins in scikit-learn's shape: (n,) for two classes, (n, k) for more."""
        margins = self._margins(self._checked(X))
        return margins[:, 0] if margins.shape[1] == 1 else margins

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Returns (n, k) class probabilities; rows sum to 1."""
        return np.asarray(posterior(self._margins(self._checked(X))), np.float64)

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns the (n, k) float32 class probabilities of (n, d) features."""
        x = np.asarray(X, np.float64)
        x = x if self.missing_ is None else np.asarray(self.missing_.filled(x), np.float64)
        return posterior(self._margins(x)).astype(np.float32)

    def _checked(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        X = validate_data(self, with_names(X), dtype=np.float64, reset=False, ensure_all_finite="allow-nan")
        return np.asarray(X if self.missing_ is None else self.missing_.filled(X), np.float64)

    def save(self, directory: Path) -> None:
        """Writes the arrays as JSON numbers, exact to the last bit."""
        content = {"type": self.kind, "parameters": self.saved_parameters(), "classes": self.classes_.tolist()}
        if self.missing_ is not None:
            content["missing"] = self.missing_.to_json()
        write_json(directory / _FILE, content | {name: getattr(self, f"{name}_").tolist() for name in self.arrays})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Reads a model that `save` wrote.

        Raises:
            ModelError: the file is missing, damaged, or of another model.
        """
        with stored_model(directory / _FILE, cls.kind) as content:
            model = cls(**content["parameters"])
            model.classes_ = np.asarray(content["classes"])
            for name in cls.arrays:
                array = np.asarray(content[name], np.float64)
                if not np.isfinite(array).all():
                    raise ValueError(f"a number in {name!r} is not finite")
                setattr(model, f"{name}_", array)
            _, n_inputs = getattr(model, f"{cls.arrays[0]}_").shape
            model.missing_ = MissingValues.from_json(content.get("missing"), n_inputs)
            model.n_features_in_ = n_inputs if model.missing_ is None else len(model.missing_.fill)
            model._check_arrays()
            model.history_ = {}
        return model


class LinearClassifier(MarginClassifier):
    """A classifier whose margins X · coefficients_ᵀ + intercept_ are linear in the features.

    Attributes:
        coefficients_: (1, d), or (k, d) for k > 2 classes, in the inverse units of the features.
        intercept_: (1,) or (k,).
    """

    arrays = ("coefficients", "intercept")
    coefficients_: NDArray[np.float64]
    intercept_: NDArray[np.float64]

    def _margins(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(x @ self.coefficients_.T + self.intercept_)

    def contributions(self, X: Any) -> NDArray[np.float32]:
        """Computes exact Shapley values of the margins relative to the mean of X, for features taken as independent.

        Of a linear margin they are coefficient · (x − mean) (S. Lundberg, S. Lee, NeurIPS 30 (2017), corollary 1).

        Returns:
            (n, m, d + 1): the contribution of each feature to each margin, and last the mean margin, as `BDT` has them.
        """
        x = self._checked(X)
        return self._parts(x, x.mean(axis=0))

    def contributions_from(self, X: Any, reference: FloatArray) -> NDArray[np.float32]:
        """Computes what each feature adds to the margins between a `reference` (d,) and each row of X, exactly.

        Returns:
            (n, m, d + 1): coefficient · (x − reference), and last the margin of the reference.
        """
        return self._parts(self._checked(X), self._checked(np.asarray(reference, np.float64)[None])[0])

    def _parts(self, x: Array, reference: Array) -> NDArray[np.float32]:
        parts = (x - reference)[:, None, :] * self.coefficients_[None]
        start = np.broadcast_to(self._margins(reference[None]), parts.shape[:2])[:, :, None]
        return np.concatenate([parts, start], axis=2).astype(np.float32)

    def _check_arrays(self) -> None:
        k, n = len(self.classes_), len(self.coefficients_)
        if n != (1 if k == 2 else k) or self.intercept_.shape != (n,):
            raise ValueError(f"{k} classes do not go with {n} rows of coefficients")


def average(parts: Iterable[tuple[Array, Array]]) -> Array:
    """Returns the (d,) weighted mean of all rows of features (n, d) with weights (n,), which come in parts."""
    sums = [((x * weight[:, None]).sum(axis=0), weight[:, None].sum(axis=0)) for x, weight in parts]
    return np.asarray(np.sum([own for own, _ in sums], axis=0) / np.sum([weight for _, weight in sums], axis=0))


def standardised(blocks: Blocks) -> tuple[Blocks, Array, Array]:
    """Returns the features with mean 0 and standard deviation 1, and the (d,) means and standard deviations.

    A constant feature is only centred; its standard deviation is returned as 1.
    """
    mean = average((x, weight) for x, _, weight in blocks())
    deviation = np.sqrt(average(((x - mean) ** 2, weight) for x, _, weight in blocks()))
    deviation[deviation == 0] = 1
    return lambda: (((x - mean) / deviation, label, weight) for x, label, weight in blocks()), mean, deviation
