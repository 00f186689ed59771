"""Boosted decision trees for a target: squared and absolute errors, quantiles, and mean and width of a Gaussian."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import UsageError
from pidlab.models.base import Progress, TrainingRows, ValidationSet
from pidlab.models.bdt.estimator import BoostedTrees
from pidlab.models.bdt.objective import BoosterObjective, Margins, OwnObjective
from pidlab.models.matrix import LazyMatrix, slices
from pidlab.models.regressors.base import (
    NARROWEST,
    AnyLossRegressor,
    Array,
    TargetScale,
    checked_validation,
)
from pidlab.sample import FloatArray

_BLOCK = 1 << 16  # events whose margins and derivatives stay in the cache
_SHARE_OF_WIDTH, _SLOWER_WIDTH = 0.1, 3.0  # see `GaussianObjective`


@dataclass(eq=False, repr=False)
class BDTRegressor(BoostedTrees, AnyLossRegressor):
    """Gradient-boosted decision trees for a target, by xgboost.

    The target is scaled within by its median and width (for `gaussian` by mean and standard deviation), so that neither
    regularisation nor learning rate depend on its unit. Missing values, weights, threads, devices and early stopping
    are those of `BDT`.

    `quantile` grows a tree for each quantile in a round; predicted quantiles that cross are put in order. `gaussian`
    grows one tree for the mean and one for the logarithm of the width in a round, from the likelihood's derivatives
    (see `GaussianObjective`); with a validation sample all widths are multiplied by the RMS of its pulls.

    Args:
        loss: squared, absolute, quantile, gaussian.
        quantiles: the quantiles that the loss `quantile` predicts.
        n_estimators: largest number of rounds; each has one tree, or one for each number that is predicted.
        max_depth: the largest depth of a tree.
        learning_rate: the factor by which each tree's output is multiplied.
        early_stopping_rounds: None trains all rounds.
        subsample, colsample_bynode: the share of the rows drawn for each tree and of the features for each node.
        parameters: any further parameters of xgboost's trees by name, such as `min_child_weight`.
        feature_names: d names for `monotone_constraints` and `interaction_constraints`.
        seed: the seed of row and column sampling.
        n_jobs: number of threads; None as in `BDT`.
        device: auto, cpu, cuda or cuda:N.

    Attributes:
        booster_: the xgboost booster, its last round the best one; its margins are in scaled units.
        best_iteration_: the best round, counted from 0.
        scale_: from scaled units to the target's.
        history_: the loss of each round in the target's units (squares, absolute errors, pinball loss, or minus the
            log-likelihood without its constant), as loss and (with validation) validation_loss; any further
            `eval_metric` in scaled units.
    """

    kind = "bdt"

    @property
    def objective(self) -> BoosterObjective:
        """Returns xgboost's objective for the loss, or our own of a Gaussian."""
        if self.loss == "quantile":
            return BoosterObjective("reg:quantileerror", "quantile", n_targets=len(self.levels), quantiles=self.levels)
        if self.loss == "gaussian":
            return BoosterObjective("reg:squarederror", "likelihood", n_targets=2, is_own=True)
        name, metric = ("reg:squarederror", "rmse") if self.loss == "squared" else ("reg:absoluteerror", "mae")
        return BoosterObjective(name, metric)

    def _check_options(self) -> None:
        if "base_score" in (self.parameters or {}):
            raise UsageError("base_score follows from the target of a regression and cannot be set")
        super()._check_options()

    def train(
        self,
        rows: TrainingRows,
        validation: ValidationSet | None,
        progress: Progress | None = None,
        *,
        alone: bool = True,
    ) -> None:
        """Trains on rows that were checked, as `BoostedTrees.train` does; their targets are scaled here."""
        watched = checked_validation(self, validation)
        self.scale_ = TargetScale.of(rows.label, rows.weight, robust=self.loss != "gaussian")
        scaled = replace(rows, label=self.scale_.scaled(rows.label))
        super().train(scaled, watched, self.progress_in_units(progress), alone=alone)
        self.history_ = self.history_in_units(self.history_)
        if self.loss == "gaussian" and watched is not None:
            raw = np.concatenate([self._raw(np.asarray(watched.x[part])) for part in slices(len(watched.y))])
            self.scale_ = self.scale_.with_unit_pulls(raw, np.asarray(watched.y), np.asarray(watched.weight))

    def _validation_rows(self, validation: ValidationSet) -> TrainingRows:
        x = validation.x if isinstance(validation.x, LazyMatrix) else np.asarray(validation.x, np.float32)
        return TrainingRows(x, self.scale_.scaled(np.asarray(validation.y)), np.asarray(validation.weight))

    def _own_objective(self, events: Sequence[tuple[Any, TrainingRows]]) -> OwnObjective | None:
        if not self.objective.is_own:
            return None
        own = GaussianObjective(events)
        return own.gradient, own.value

    def loss_in_units(self, value: float) -> float:
        """Returns the loss an event in the target's units from xgboost's, which is a root for squares."""
        return super().loss_in_units(value**2 if self.loss == "squared" else value)

    def _raw(self, x: FloatArray) -> Array:
        """Returns the margins (n, m) of (n, d) features."""
        with np.errstate(over="ignore"):
            return self._margins(np.ascontiguousarray(x, np.float32)).astype(np.float64)

    def numbers(self, x: FloatArray) -> Array:
        """Returns the (n, m) predicted numbers of (n, d) features, NaN if missing.

        Raises:
            ModelError: x has another number of features than the training sample.
        """
        return self.scale_.numbers(self._raw(x), self.loss)

    def contributions(self, X: Any) -> NDArray[np.float32]:
        """Computes exact Shapley values of the prediction, as `BDT` does of its margins.

        Returns:
            (n, 1, d + 1): the contribution of each feature in the target's units, and last the mean prediction.
        """
        found = super().contributions(X)[:, [self.prediction_column]].astype(np.float64) * self.scale_.width
        found[:, :, -1] += self.scale_.centre
        return found.astype(np.float32)

    def first_trees(self, n: int, depth: int) -> list[tuple[int, list[dict[str, Any]]]]:
        """Returns the first n trees as `BDT` does, with what a leaf adds to the prediction in the target's units."""
        trees = super().first_trees(n, depth)
        for margin, nodes in trees:
            for node in nodes:
                if node["feature"] < 0 and not (self.loss == "gaussian" and margin):
                    node["value"] *= self.scale_.width
        return trees

    def _fitted(self) -> dict[str, Any]:
        return super()._fitted() | {"best_iteration": self.best_iteration_, "scale": self.scale_.to_json()}

    def _restore(self, content: Mapping[str, Any], directory: Path) -> None:
        self.scale_ = TargetScale.from_json(content["scale"])
        super()._restore(content, directory)


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

    def gradient(self, margins: Margins, matrix: Any) -> tuple[Margins, Margins]:
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

    def value(self, margins: Margins, matrix: Any) -> tuple[str, float]:
        """Returns the mean loss over the events of a matrix."""
        rows, loss, total = self._of(matrix), 0.0, 0.0
        for part in slices(len(rows), _BLOCK):
            inverse, z, weight = self._residuals(margins[part], rows, part)
            # not as a product of vectors: the threads of BLAS would wait for more on the cores of xgboost's
            loss += float((weight * (0.5 * z * z - np.log(inverse))).sum())
            total += float(weight.sum())
        return "likelihood", loss / total

    @staticmethod
    def _residuals(margins: Margins, rows: TrainingRows, part: slice) -> tuple[Array, Array, Array]:
        """Returns 1/σ, z and the weights of a mean near 1, each (m,)."""
        inverse = np.exp(-np.maximum(margins[:, 1].astype(np.float64), NARROWEST))
        z = (rows.label[part] - margins[:, 0]) * inverse
        return np.asarray(inverse), np.asarray(z), rows.weight[part] / rows.mean_weight
