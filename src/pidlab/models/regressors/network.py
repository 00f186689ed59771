"""Networks for a target, on the engine of the classifiers: squares, absolute errors, quantiles, mean and width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.models.base import Progress, TrainingRows, ValidationSet
from pidlab.models.matrix import LARGEST_TABLE, LazyMatrix, slices
from pidlab.models.missing import MissingValues
from pidlab.models.mlp.base import NetworkEstimator, filled_inputs
from pidlab.models.mlp.process import engine_call
from pidlab.models.mlp.targets import check_parameters, raw_outputs
from pidlab.models.regressors.base import AnyLossRegressor, Array, TargetScale, checked_validation
from pidlab.sample import FloatArray


@dataclass(eq=False, repr=False)  # scikit-learn reads the parameters from the `__init__` that this makes
class MLPRegressor(NetworkEstimator, AnyLossRegressor):
    """A fully connected network with a linear output for each number that it predicts.

    Features must be scaled; the target is scaled within by its median and width. NaN is a missing value: it is replaced
    by the feature's median in training, and a column that tells what is missing is added. With `gaussian` the outputs
    are the mean and the logarithm of the width, trained together by the likelihood; with a validation sample all widths
    are multiplied by the RMS of its pulls. Predicted quantiles that cross are put in order.

    Parameters that are None are those of the preset: hidden [64, 64], SiLU, one-cycle to 1e-2, batches of 64 to 512 by
    the size of the sample, 10 to 200 epochs for at least 4000 steps, and one member. Training does not stop early then,
    because the loss falls most at the end of the schedule; a validation sample decides which weights are kept.

    Args:
        loss: squared, absolute, quantile, gaussian.
        quantiles: the quantiles that the loss `quantile` predicts.
        hidden: widths of the hidden layers; with an empty list the model is linear.
        activation: sigmoid, tanh, relu, leaky_relu (slope 0.01), elu, maxout (two pieces), silu, gelu.
        optimizer: sgd, rmsprop, adam, adamw, nadam.
        momentum: the momentum of sgd.
        learning_rate: the largest of the schedule.
        schedule: constant, one_cycle, cosine, exponential, step; over all epochs.
        batch_size: events a step; a smaller sample is one batch.
        epochs: largest number of epochs.
        patience: epochs without a better validation loss before training stops; the best weights are kept.
        dropout: share of hidden units that are left out in each step.
        batch_norm: normalise before each activation.
        weight_decay: L2 penalty added to the gradient; decoupled in adamw.
        members: networks in the ensemble; what they give is averaged, before a logarithm of a width becomes a width.
        seed: the seed of all random numbers; not negative.
        device: auto (CUDA if there is a GPU), cpu, cuda.

    Attributes:
        networks_: one `DenseNetwork` for each member; they give numbers in scaled units.
        scale_: from scaled units to the target's.
        history_: the loss of each epoch in the target's units (squares, absolute errors, pinball loss, or minus the
            log-likelihood without its constant), as loss and (with validation) validation_loss, and what the engine
            notes of learning rates and layers.
    """

    kind = "mlp"
    x_types = (np.float64, np.float32)

    def _check_options(self) -> None:
        check_parameters(self.get_params(deep=False))
        super()._check_options()

    def _rows(self, X: Any, y: Any, sample_weight: Any) -> TrainingRows:
        whole = isinstance(X, LazyMatrix) and any(bool(np.isnan(X[rows]).any()) for rows in slices(len(X)))
        return super()._rows(np.asarray(X) if whole else X, y, sample_weight)

    def train(self, rows: TrainingRows, validation: ValidationSet | None, progress: Progress | None) -> None:
        """Trains the members on rows that were checked."""
        watched = checked_validation(self, validation)
        self.missing_ = MissingValues.of(rows.x)
        x = rows.x if isinstance(rows.x, LazyMatrix) else self.missing_.filled(rows.x)
        self.scale_ = scale = TargetScale.of(rows.label, rows.weight)
        train, stops = ValidationSet(x, scale.scaled(rows.label), rows.weight), None
        if watched is not None:
            stops = ValidationSet(self._filled(watched.x), scale.scaled(watched.y), np.asarray(watched.weight))
        parameters = {**self.get_params(deep=False), "hidden": None if self.hidden is None else list(self.hidden)}
        self.networks_, history = engine_call(
            "targets:fit_networks",
            *(parameters, train, stops, self.levels),
            progress=self.progress_in_units(progress),
            here=isinstance(x, LazyMatrix) or x.nbytes > LARGEST_TABLE,
        )
        self.history_ = self.history_in_units(history)
        if self.loss == "gaussian" and stops is not None and watched is not None:
            parts = [
                raw_outputs(self.networks_, np.asarray(stops.x[part]), self.device) for part in slices(len(stops.y))
            ]
            self.scale_ = scale.with_unit_pulls(np.concatenate(parts), np.asarray(watched.y), np.asarray(stops.weight))

    def numbers(self, x: FloatArray) -> Array:
        """Returns the (n, m) predicted numbers of (n, d) features.

        Where a feature is NaN or infinite the numbers are NaN, unless the network was trained on missing values, which
        are then replaced as in training.

        Raises:
            ModelError: x has another number of features than the training sample.
        """
        x = filled_inputs(np.asarray(x), self.missing_, self.networks_[0])
        known = np.asarray(np.isfinite(x).all(axis=1))
        raw = raw_outputs(self.networks_, np.where(known[:, None], x, 0), self.device)
        raw[~known] = np.nan
        return self.scale_.numbers(raw, self.loss)

    def contributions_from(self, X: Any, reference: FloatArray | None = None) -> NDArray[np.float32]:
        """Computes integrated gradients of the prediction along the lines from a reference to each row of X (n, d).

        The sum over the last axis is the prediction within 0.001 widths of the target; see `models.mlp.attribution`.

        Args:
            X: features, scaled as in training; NaN is a missing value.
            reference: (d,) features in the same units; None: the median of each feature in training. A missing value
                differs from it by being missing.

        Returns:
            (n, 1, d + 1): the contribution of each feature in the target's units, and last the prediction for the
            reference.
        """
        from pidlab.models.mlp.attribution import feature_contributions, mean_output, ordered_output

        assert self.missing_ is not None
        x = self.missing_.filled(self._checked(X)).astype(np.float64)
        answer, column = ordered_output if self.levels else mean_output, self.prediction_column
        found = feature_contributions(self.networks_, x, self.missing_, reference, answer, column) * self.scale_.width
        found[:, -1] += self.scale_.centre
        return found[:, None, :].astype(np.float32)

    def _fitted(self) -> dict[str, Any]:
        assert self.missing_ is not None
        return super()._fitted() | {
            "activation": self.networks_[0].activation,
            "scale": self.scale_.to_json(),
            "missing": self.missing_.to_json(),
        }

    def _restore(self, content: Mapping[str, Any], directory: Path) -> None:
        super()._restore(content, directory)
        check_parameters(self.get_params(deep=False))
        self._restore_networks(content, directory)
        self.scale_ = TargetScale.from_json(content["scale"])
        expected = len(self.levels) or 1 + (self.loss == "gaussian")
        if self.missing_ is None or len(self.missing_.fill) != self.n_features_in_:
            raise ValueError(f"{self.n_features_in_} features do not go with the network")
        if self.networks_[0].n_outputs != expected:
            raise ValueError(f"the network gives {self.networks_[0].n_outputs} numbers, and the loss has {expected}")
