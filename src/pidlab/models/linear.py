"""What the linear models share: margins that are linear in the features, and a JSON file of coefficients."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted, validate_data

from pidlab.errors import ModelError
from pidlab.models.base import Classifier, posterior, read_json, write_json
from pidlab.sample import FloatArray

_FILE = "model.json"


class LinearClassifier(Classifier):
    """Margins X · coefficients_ᵀ + intercept_: one, the log-odds of the second of two classes, or k for a softmax.

    Attributes:
        coefficients_: (m, d) float64, in the inverse units of the features.
        intercept_: (m,) float64.
    """

    kind: ClassVar[str]
    coefficients_: NDArray[np.float64]
    intercept_: NDArray[np.float64]

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """The margins as scikit-learn wants them: (n,) for two classes, (n, k) for more."""
        margins = self._margins(self._checked(X))
        return margins[:, 0] if margins.shape[1] == 1 else margins

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, k) class probabilities; rows sum to 1."""
        return np.asarray(posterior(self._margins(self._checked(X))), np.float64)

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """(n, k) float32 class probabilities of (n, d) finite features."""
        return posterior(self._margins(np.asarray(X, np.float64))).astype(np.float32)

    def _checked(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        return np.asarray(validate_data(self, X, dtype=np.float64, reset=False))

    def _margins(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(X @ self.coefficients_.T + self.intercept_)

    def save(self, directory: Path) -> None:
        """Write the coefficients as JSON numbers, exact to the last bit."""
        content = {
            "type": self.kind,
            "parameters": self.get_params(),
            "classes": self.classes_.tolist(),
            "coefficients": self.coefficients_.tolist(),
            "intercept": self.intercept_.tolist(),
        }
        write_json(directory / _FILE, content)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The model that `save` wrote.

        Raises:
            ModelError: the file is missing, damaged, or of another model.
        """
        path = directory / _FILE
        content = read_json(path)
        if content.get("type") != cls.kind:
            raise ModelError(f"{path}: holds a model of type {content.get('type')!r}, not {cls.kind!r}")
        try:
            model = cls(**content["parameters"])
            model.classes_ = np.asarray(content["classes"])
            model.coefficients_ = np.asarray(content["coefficients"], np.float64)
            model.intercept_ = np.asarray(content["intercept"], np.float64)
            n_margins, model.n_features_in_ = model.coefficients_.shape
            if not np.isfinite(model.coefficients_).all() or not np.isfinite(model.intercept_).all():
                raise ValueError("a coefficient is no finite number")
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path}: is not a whole {cls.kind} model ({error}); make the run again") from error
        k = len(model.classes_)
        if n_margins != (1 if k == 2 else k) or model.intercept_.shape != (n_margins,):
            raise ModelError(f"{path}: {k} classes do not go with {n_margins} rows of coefficients; make the run again")
        model.history_ = {}
        return model
