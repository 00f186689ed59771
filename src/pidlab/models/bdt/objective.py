"""What trees are grown for: the likelihood of classes, or a loss of a regression, as xgboost names it or our own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Margins = NDArray[np.float32]
OwnObjective = tuple[Callable[[Margins, Any], tuple[Margins, Margins]], Callable[[Margins, Any], tuple[str, float]]]
"""Of an objective that xgboost does not have the first and second derivatives (n, m) of the loss by the margins (n, m),
times the weights, and the name of the loss with its mean; both are functions of margins and a matrix of xgboost."""


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
