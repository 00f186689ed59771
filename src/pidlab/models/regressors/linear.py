"""Linear regression: exact least squares, and robust fits by the losses of Huber and of absolute errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pidlab.errors import ModelError
from pidlab.models.base import Progress, TrainingRows, ValidationSet
from pidlab.models.margins import Blocks, LinearEstimator, standardised
from pidlab.models.missing import MissingValues
from pidlab.models.regressors.base import Array, Regressor, TargetScale, weighted_quantiles
from pidlab.sample import FloatArray

_HUBER = 1.345  # standard deviations, at which 95 % of the efficiency of least squares is left for a Gaussian
_OF_GAUSSIAN = 1.4826  # standard deviations in a median absolute deviation
_MOST_STEPS, _STEPS_A_ROUNDING = 200, 20
_CONVERGED = 1e-10  # of the target's width, by which no coefficient changes any more
_ROUNDING, _LEAST_ROUNDING = 0.1, 1e-7  # factor from one rounding of |r| at zero to the next, and the last, in widths


@dataclass(eq=False, repr=False)  # scikit-learn reads the parameters from the `__init__` that this makes
class LinearRegressor(LinearEstimator, Regressor):
    """A linear function of the features.

    `squared` is the exact least-squares solution, from QR decompositions that are merged block by block (TSQR,
    J. Demmel et al., SIAM J. Sci. Comput. 34 (2012) A206), so that no precision is lost in normal equations; of
    collinear features the shortest solution is taken. `huber` minimises squares up to 1.345 standard deviations and
    absolute residuals beyond (P. Huber, Ann. Math. Statist. 35 (1964) 73), with the standard deviation from the median
    absolute residual. `absolute` minimises the absolute residuals and gives the conditional median. Both are solved by
    least squares with weights that are repeated until nothing changes; |r| is rounded at zero ever less.

    Args:
        loss: squared, huber, absolute.
        alpha: ridge penalty: alpha times the sum of squared coefficients is added to the sum of squares, for features
            of unit standard deviation and weights of mean 1, as scikit-learn's Ridge does.

    Attributes:
        coefficients_: (1, d) in units of the target over those of the features.
        intercept_: (1,).
    """

    kind = "linear"
    losses = ("squared", "huber", "absolute")
    loss: str = "squared"
    alpha: float = 0.0

    def _check_options(self) -> None:
        if not self.alpha >= 0:
            raise ModelError(f"linear: alpha is {self.alpha!r}; it must be a number from 0")
        super()._check_options()

    def train(self, rows: TrainingRows, validation: ValidationSet | None, progress: Progress | None) -> None:
        """Fits rows that were checked, with a scaled target; `validation` and `progress` are not used."""
        scale = TargetScale.of(rows.label, rows.weight)
        unit, mean, deviation = standardised(self._blocks(replace(rows, label=scale.scaled(rows.label))))
        if self.loss == "squared":
            found = _least_squares(unit, self.alpha)
        else:
            found = _repeated(unit, self.alpha, rows.weight / rows.mean_weight, self.loss)
        self.coefficients_ = scale.width * (found[:-1] / deviation)[None]
        self.intercept_ = scale.centre + scale.width * found[-1:] - (self.coefficients_ * mean).sum(axis=1)

    def numbers(self, x: FloatArray) -> Array:
        """Returns the (n, 1) predictions of (n, d) features."""
        filled = np.asarray(x if self.missing_ is None else self.missing_.filled(np.asarray(x)), np.float64)
        return self._margins(filled)

    def _fitted(self) -> dict[str, Any]:
        assert self.missing_ is not None
        return super()._fitted() | {
            "coefficients": self.coefficients_.tolist(),
            "intercept": self.intercept_.tolist(),
            "missing": self.missing_.to_json(),
        }

    def _restore(self, content: Mapping[str, Any], directory: Path) -> None:
        super()._restore(content, directory)
        self.coefficients_ = np.asarray(content["coefficients"], np.float64)
        self.intercept_ = np.asarray(content["intercept"], np.float64)
        if self.coefficients_.ndim != 2 or len(self.coefficients_) != 1 or self.intercept_.shape != (1,):
            raise ValueError("its coefficients are not those of one function")
        if not (np.isfinite(self.coefficients_).all() and np.isfinite(self.intercept_).all()):
            raise ValueError("a coefficient is not finite")
        self.missing_ = MissingValues.from_json(content["missing"], self.coefficients_.shape[1])
        if self.missing_ is None or len(self.missing_.fill) != self.n_features_in_:
            raise ValueError(f"{self.n_features_in_} features do not go with {self.coefficients_.size} coefficients")


def _least_squares(blocks: Blocks, alpha: float, factor: Array | None = None) -> Array:
    """Returns the (d + 1,) coefficients and the intercept of the exact solution.

    Args:
        blocks: yields features (m, d), the target (m,) and weights (m,).
        alpha: the strength of the ridge penalty.
        factor: (n,) by which the weights of all rows are multiplied; None for 1.
    """
    triangle: Array | None = None
    start = 0
    for x, target, weight in blocks():
        own = weight if factor is None else weight * factor[start : start + len(weight)]
        start += len(weight)
        if triangle is None:
            d = x.shape[1]
            triangle = np.sqrt(alpha) * np.eye(d, d + 2) if alpha else np.empty((0, d + 2))
        augmented = np.column_stack([x, np.ones(len(x)), target]) * np.sqrt(own)[:, None]
        triangle = np.asarray(np.linalg.qr(np.concatenate([triangle, augmented]), mode="r"))
    assert triangle is not None
    return np.asarray(np.linalg.lstsq(triangle[:, :-1], triangle[:, -1])[0])


def _repeated(blocks: Blocks, alpha: float, weight: Array, loss: str) -> Array:
    """Returns the (d + 1,) solution with another loss than squares, from least squares that are repeated.

    Each step minimises a parabola that touches the loss from above at the residuals of the step before, so that the
    loss never rises (D. Hunter, K. Lange, The American Statistician 58 (2004) 30).
    """
    found = _least_squares(blocks, alpha)
    rounding = _ROUNDING
    n_steps = 0
    for _ in range(_MOST_STEPS):
        before = found
        residual = np.abs(np.concatenate([target - x @ found[:-1] - found[-1] for x, target, _ in blocks()]))
        if loss == "huber":
            limit = _HUBER * _OF_GAUSSIAN * float(weighted_quantiles(residual, weight, [0.5])[0])
            if not limit > 0:  # more than half of the target is given exactly
                break
            factor = np.minimum(1.0, limit / np.maximum(residual, limit))
        else:
            factor = 1 / np.maximum(residual, rounding)
        found = _least_squares(blocks, alpha, factor)
        n_steps += 1
        change = float(np.abs(found - before).max())
        if loss == "huber":
            if change < _CONVERGED:
                break
        elif change < _CONVERGED or change < rounding * _CONVERGED**0.5 or n_steps >= _STEPS_A_ROUNDING:
            if rounding <= _LEAST_ROUNDING:
                break
            rounding, n_steps = rounding * _ROUNDING, 0
    return found
