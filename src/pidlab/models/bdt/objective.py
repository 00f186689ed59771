"""What trees are grown for: the likelihood of classes, or a loss of a regression, as xgboost names it or our own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.models.base import TrainingRows
from pidlab.models.matrix import slices
from pidlab.models.regressors.base import NARROWEST, Array

_BLOCK = 1 << 16  # events whose margins and derivatives stay in the cache
_SHARE_OF_WIDTH, _SLOWER_WIDTH = 0.1, 3.0  # see `GaussianObjective`


@dataclass(frozen=True, slots=True)
class BoosterObjective:
    """An objective of xgboost, or one of our own with the name that a file of trees then has.

    Attributes:
        name: the name that xgboost gives it.
        metric: the loss of a round, which decides when training stops.
        n_classes: the number of classes of a softmax; 0 for none.
        n_targets: numbers that are predicted of one event.
        quantiles: the quantiles of the quantile loss, rising.
        is_own: whether gradients are computed here; trees then start from 0.
    """

    name: str
    metric: str
    n_classes: int = 0
    n_targets: int = 1
    quantiles: tuple[float, ...] = ()
    is_own: bool = False

    @property
    def n_margins(self) -> int:
        """The number of margins, and of the trees of a round."""
        return max(self.n_classes, self.n_targets)

    def settings(self) -> dict[str, Any]:
        """Returns xgboost's parameters that say so."""
        if self.is_own:
            return {"num_target": self.n_targets, "base_score": 0.0, "disable_default_eval_metric": True}
        settings: dict[str, Any] = {"objective": self.name}
        if self.n_classes:
            settings["num_class"] = self.n_classes
        if self.quantiles:
            settings["quantile_alpha"] = list(self.quantiles)
        return settings


def of_classes(n_classes: int) -> BoosterObjective:
    """Returns the likelihood of two classes, by a margin, or of k classes, by k margins and a softmax."""
    if n_classes == 2:
        return BoosterObjective("binary:logistic", "logloss")
    return BoosterObjective("multi:softprob", "mlogloss", n_classes)


class GaussianObjective:
    """The likelihood of a Gaussian whose mean μ and logarithm of the width s are two margins.

    The loss is s + z²/2 with z = (y - μ)/σ. Its derivatives are -z/σ by μ, with second derivative 1/σ², and 1 - z² by
    s, for whose second derivative 1 + z² is taken: its expectation 2 is Fisher's information, and a leaf's step
    Σ(1 - z²)/Σ(1 + z²) is then tanh of the exact one, so that an outlier moves a width by at most a factor e. Because
    a width is noisier than a mean (z² has twice the variance of z) and its trees fit the noise of the training sample
    first, its steps are a third of that, and its events count a tenth for `min_child_weight` and `lambda`; on three
    regressions this lowered minus the log-likelihood on unseen events by .01 to .1 an event against equal steps. The
    derivatives by μ are multiplied by a common factor, the weighted harmonic mean of σ², which leaves steps unchanged
    and makes Σ 1/σ² the number of events: `min_child_weight` and `lambda` then mean the same as for squared errors.

    Args:
        events: the matrices of xgboost with their events, targets in scaled units.
    """

    def __init__(self, events: Sequence[tuple[Any, TrainingRows]]) -> None:
        self._events = events

    def _of(self, matrix: Any) -> TrainingRows:
        return next(rows for own, rows in self._events if own is matrix)

    def gradient(self, margins: NDArray[np.float32], matrix: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns the first and second derivatives (n, 2) of the loss by the margins (n, 2), times the weights."""
        rows = self._of(matrix)
        first, second = np.empty((len(rows), 2), np.float32), np.empty((len(rows), 2), np.float32)
        information = total = 0.0
        for part in slices(len(rows), _BLOCK):
            inverse, z, weight = self._residuals(margins[part], rows, part)
            first[part, 0] = -weight * inverse * z
            second[part, 0] = weight * inverse * inverse
            first[part, 1] = _SHARE_OF_WIDTH * weight * (1 - z * z)
            second[part, 1] = _SHARE_OF_WIDTH * _SLOWER_WIDTH * weight * (1 + z * z)
            information += float((weight * inverse * inverse).sum())
            total += float(weight.sum())
        factor = np.float32(total / information)
        first[:, 0] *= factor
        second[:, 0] *= factor
        return first, second

    def value(self, margins: NDArray[np.float32], matrix: Any) -> tuple[str, float]:
        """Returns the mean loss over the events of a matrix."""
        rows, loss, total = self._of(matrix), 0.0, 0.0
        for part in slices(len(rows), _BLOCK):
            inverse, z, weight = self._residuals(margins[part], rows, part)
            # not as a product of vectors: the threads of BLAS would wait for more on the cores of xgboost's
            loss += float((weight * (0.5 * z * z - np.log(inverse))).sum())
            total += float(weight.sum())
        return "likelihood", loss / total

    @staticmethod
    def _residuals(margins: NDArray[np.float32], rows: TrainingRows, part: slice) -> tuple[Array, Array, Array]:
        """Returns 1/σ, z and the weights of a mean near 1, each (m,)."""
        inverse = np.exp(-np.maximum(margins[:, 1].astype(np.float64), NARROWEST))
        z = (rows.label[part] - margins[:, 0]) * inverse
        return np.asarray(inverse), np.asarray(z), rows.weight[part] / rows.mean_weight
