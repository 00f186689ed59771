"""Models of few numbers: probabilities from margins, and a JSON file of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pidlab.models.base import Classifier, Estimator, Finite, Progress, TrainingRows, ValidationSet
from pidlab.models.link import posterior
from pidlab.models.missing import MissingValues
from pidlab.sample import FloatArray

Array = NDArray[np.float64]
Blocks = Callable[[], Iterator[tuple[Array, NDArray[Any], Array]]]
"""Yields the training sample in blocks of rows: features (m, d) without missing values, indices into the classes (m,)
or targets, and weights (m,), whose mean over all blocks is 1. A small sample is one block."""


class FilledEstimator(Estimator):
    """An estimator that needs numbers for missing values: medians, and columns that tell what was missing."""

    x_finite: ClassVar[Finite] = "filled"

    def _blocks(self, rows: TrainingRows) -> Blocks:
        """Returns the training sample without missing values, and sets what replaces them."""
        self.missing_ = missing = MissingValues.of(rows.x)

        def blocks() -> Iterator[tuple[Array, NDArray[Any], Array]]:
            for x, label, weight in rows.blocks():
                yield np.asarray(missing.filled(x), np.float64), label, weight

        return blocks

    def _filled(self, x: Any) -> Array:
        """Returns (n, d + m) features without missing values for (n, d), unchecked."""
        x = np.asarray(x, np.float64)
        return np.asarray(x if self.missing_ is None else self.missing_.filled(x), np.float64)


class MarginClassifier(FilledEstimator, Classifier):
    """A classifier with margins: one, the log-odds of the second of two classes, or k for a softmax.

    Attributes:
        arrays: the names of its fitted arrays, without the underscore behind them; the first has d columns.
    """

    arrays: ClassVar[tuple[str, ...]]

    def train(self, rows: TrainingRows, validation: ValidationSet | None, progress: Progress | None) -> None:
        """Fits rows that were checked; `validation` and `progress` are not used."""
        self._fit(self._blocks(rows))

    def _fit(self, blocks: Blocks) -> None:
        """Sets the arrays from the training sample."""
        raise NotImplementedError

    def _margins(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError

    def _check_arrays(self) -> None:
        """Raises a ValueError if the shapes or the values of the arrays are not those of a fitted model."""
        raise NotImplementedError

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Returns the margins in scikit-learn's shape: (n,) for two classes, (n, k) for more."""
        margins = self._margins(self._filled(self._checked(X)))
        return margins[:, 0] if margins.shape[1] == 1 else margins

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Returns (n, k) class probabilities; rows sum to 1."""
        return np.asarray(posterior(self._margins(self._filled(self._checked(X)))), np.float64)

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns the (n, k) float32 class probabilities of (n, d) features."""
        return posterior(self._margins(self._filled(X))).astype(np.float32)

    def _fitted(self) -> dict[str, Any]:
        """Returns the arrays, exact to the last bit."""
        content: dict[str, Any] = {"classes": self.classes_.tolist()}
        if self.missing_ is not None:
            content["missing"] = self.missing_.to_json()
        return content | {name: getattr(self, f"{name}_").tolist() for name in self.arrays}

    def _restore(self, content: Mapping[str, Any], directory: Path) -> None:
        for name in self.arrays:
            array = np.asarray(content[name], np.float64)
            if not np.isfinite(array).all():
                raise ValueError(f"a number in {name!r} is not finite")
            setattr(self, f"{name}_", array)
        _, n_inputs = getattr(self, f"{self.arrays[0]}_").shape
        self.missing_ = MissingValues.from_json(content.get("missing"), n_inputs)
        n_features = n_inputs if self.missing_ is None else len(self.missing_.fill)
        super()._restore({**content, "n_features": n_features}, directory)
        self._check_arrays()


class LinearEstimator(FilledEstimator):
    """An estimator whose numbers X · coefficients_ᵀ + intercept_ are linear in the features.

    Attributes:
        coefficients_: (m, d) for m numbers, in the inverse units of the features.
        intercept_: (m,).
    """

    coefficients_: NDArray[np.float64]
    intercept_: NDArray[np.float64]

    def _margins(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(x @ self.coefficients_.T + self.intercept_)

    def contributions(self, X: Any) -> NDArray[np.float32]:
        """Computes exact Shapley values of the numbers relative to the mean of X, for features taken as independent.

        Of a linear number they are coefficient · (x − mean) (S. Lundberg, S. Lee, NeurIPS 30 (2017), corollary 1).

        Returns:
            (n, m, d + 1): the contribution of each feature to each margin or prediction, and last its mean, as `BDT`
            has them.
        """
        x = self._filled(self._checked(X))
        return self._parts(x, x.mean(axis=0))

    def contributions_from(self, X: Any, reference: FloatArray | None) -> NDArray[np.float32]:
        """Computes what each feature adds to the numbers between a `reference` (d,) and each row of X, exactly.

        Returns:
            (n, m, d + 1): coefficient · (x − reference), and last the number of the reference; None: of zeros.
        """
        start = np.zeros(self.n_features_in_) if reference is None else np.asarray(reference, np.float64)
        return self._parts(self._filled(self._checked(X)), self._filled(self._checked(start[None]))[0])

    def _parts(self, x: Array, reference: Array) -> NDArray[np.float32]:
        parts = (x - reference)[:, None, :] * self.coefficients_[None]
        start = np.broadcast_to(self._margins(reference[None]), parts.shape[:2])[:, :, None]
        return np.concatenate([parts, start], axis=2).astype(np.float32)


class LinearClassifier(LinearEstimator, MarginClassifier):
    """A classifier with linear margins: coefficients (1, d), or (k, d) for k > 2 classes."""

    arrays = ("coefficients", "intercept")

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
