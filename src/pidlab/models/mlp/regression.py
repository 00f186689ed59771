"""GaussianRegression: networks that give the mean and the width of variables as functions of any number of inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from pidlab.errors import ModelError
from pidlab.evaluate.results import json_value
from pidlab.measured import Array
from pidlab.models.base import Progress
from pidlab.models.mlp.activations import FUNCTIONS
from pidlab.models.mlp.network import DenseNetwork
from pidlab.models.mlp.presets import check
from pidlab.models.mlp.process import engine_call
from pidlab.models.mlp.targets import raw_outputs
from pidlab.models.mlp.tasks import FEWEST, RegressionRows, RegressionTask

_FORMAT = "pidlab.gaussian_regression.1"
_FURTHEST = 3.0  # times the distance of a 1 % quantile from the median: inputs beyond are moved there


@dataclass(frozen=True, slots=True)
class InputScaling:
    """What a network sees of its inputs: moved to within [low, high], then (x - centre) / width; all are (d,)."""

    low: Array
    high: Array
    centre: Array
    width: Array

    @classmethod
    def of(cls, x: Array) -> InputScaling:
        """Returns the scaling for training inputs (n, d): mean 0 and standard deviation 1.

        The range is that of the training inputs, but on either side it ends at three times the distance of the 1 %
        quantile from the median, beyond which values are outliers. Outside the range the network is constant.
        """
        least, lower, median, upper, most = np.quantile(x, [0.0, 0.01, 0.5, 0.99, 1.0], axis=0)
        low = np.maximum(least, median - _FURTHEST * (median - lower))
        high = np.minimum(most, median + _FURTHEST * (upper - median))
        inside = np.clip(x, low, high)
        width = inside.std(axis=0)
        return cls(low, high, inside.mean(axis=0), np.where(width > 0, width, 1.0))

    def transform(self, x: Array) -> Array:
        """Returns (n, d) scaled inputs; NaN stays NaN."""
        return np.asarray((np.clip(x, self.low, self.high) - self.centre) / self.width, np.float64, order="C")


@dataclass(eq=False, repr=False)  # scikit-learn reads the parameters from the `__init__` that this makes
class GaussianRegression(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A network that gives μ and σ of the Gaussian core of t variables as smooth functions of d inputs.

    **What is fitted.** A Gaussian likelihood is pulled by tails: one event at ten widths counts as much as a hundred at
    one. The loss is therefore the likelihood of a Gaussian core with an exponential tail on either side and a flat
    background, inside a window of ±4 σ, whose cut the normalisation takes into account exactly
    (`losses/core.py`). Where tails begin and how large the background is are outputs of the network too: they vary with
    the inputs, and a purely Gaussian variable has no tails within four widths. The window is that of an earlier fit:
    first a Cauchy likelihood finds the core from medians, or the caller gives it as `start`; then the core is fitted
    twice, the second time in the window of the first. With `core` false the loss is the Gaussian likelihood alone,
    log σ + (y - μ)²/(2 σ²), without windows: right where the whole distribution is Gaussian, and quicker.

    **What is missing.** An event with an input that is NaN or infinite is not trained on, and gets μ and σ of NaN. A
    variable that is NaN or infinite is not fitted in this event, the others are.

    **How.** Inputs and variables are scaled robustly, the optimiser is Adam, and weights multiply an event's loss. With
    a validation sample each fit keeps the weights of the last epoch whose validation loss is within 0.002 of the
    lowest: the lowest itself is often one of chance, in the noise of the middle of the schedule. Equal seeds give equal
    networks on one device.

    Args:
        hidden: widths of the hidden layers.
        activation: as of `MLP`; a smooth one gives smooth curves.
        core: whether only the core is fitted.
        learning_rate: the largest of the one-cycle schedule.
        batch_size: events a step. None: a 32nd of the events, between 64 and 2048.
        epochs: of the last fit; those before have a third of them. None: 3000 steps, but 5 to 200 epochs.
        patience: epochs without a lower validation loss before a fit stops. None: it never stops early, because the
            loss falls most at the end of the schedule; validation decides all the same which weights are kept.
        seed: the seed of all random numbers; not negative.
        device: auto (CUDA if there is a GPU), cpu, cuda.

    Attributes:
        network_: gives t means and then t logarithms of widths, of scaled variables from scaled inputs.
        scaling_: the scaling of the inputs.
        centre_, width_: (t,) of the scaled variables: y = centre + width · scaled.
        history_: loss and, with validation, validation_loss, an entry an epoch, of the last fit.
    """

    hidden: Sequence[int] = (32, 32)
    activation: str = "tanh"
    core: bool = True
    learning_rate: float = 1e-2
    batch_size: int | None = None
    epochs: int | None = None
    patience: int | None = None
    seed: int = 0
    device: str = "auto"

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation: tuple[Any, Any, Any] | None = None,
        start: Start | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Trains on X (n, d), y (n,) or (n, t) and weights (n,).

        Args:
            X: inputs; NaN or infinite if missing.
            y: variables; NaN or infinite if missing.
            sample_weight: not negative; None for 1.
            validation: X, y and weights that decide when a fit stops.
            start: a function that has found the core; None: the core is searched. Not used without `core`.
            progress: called after each epoch of all fits.

        Raises:
            ModelError: too few events are left, a variable is constant, or training diverges.
            ValueError: scikit-learn refuses X, y or the weights.
        """
        _check_parameters(self)
        x, variables = _inputs(X), _variables(y)
        if len(x) != len(variables):
            raise ValueError(f"X has {len(x)} rows and y {len(variables)}; they must be of the same events")
        weight = _check_sample_weight(sample_weight, x, dtype=np.float64, ensure_non_negative=True)
        used = np.asarray(np.isfinite(x).all(axis=1) & (weight > 0))
        if used.sum() < FEWEST:
            raise ModelError(
                f"{used.sum()} events with all inputs and a weight above 0 are left to fit a mean and a width to; "
                f"at least {FEWEST} are needed"
            )
        self.n_features_in_, self._one_variable = x.shape[1], np.ndim(y) == 1
        self.scaling_ = InputScaling.of(x[used])
        self.centre_, self.width_ = _middles(variables[used], weight[used])
        held_out = None if validation is None else self._validation(validation, start)
        train = self._rows(x[used], variables[used], weight[used], start)
        task = RegressionTask(self.get_params(), len(self.centre_), train, held_out)
        self.network_, self.history_ = engine_call("regression:fit_regression", task, progress=progress)
        return self

    def predict(self, X: Any) -> tuple[Array, Array]:
        """Returns μ and σ of X (n, d) in the units of y, each (n,) or (n, t) as y was; NaN where an input is missing.

        They are computed in double precision from weights in single precision, as every export does, so that distances
        of a million widths agree too.
        """
        check_is_fitted(self)
        x = _inputs(X)
        if x.shape[1] != self.n_features_in_:
            raise ModelError(f"the network was trained on {self.n_features_in_} inputs; {x.shape[1]} were given")
        missing = np.asarray(~np.isfinite(x).all(axis=1))
        scaled = self.scaling_.transform(np.where(missing[:, None], self.scaling_.centre, x))
        outputs = raw_outputs([self.network_], scaled)
        outputs[missing] = np.nan
        mean, log_width = np.hsplit(outputs, 2)
        mean, width = self.centre_ + self.width_ * mean, self.width_ * np.exp(log_width)
        return (mean[:, 0], width[:, 0]) if self._one_variable else (mean, width)

    def pulls(self, X: Any, y: Any) -> Array:
        """Returns (y - μ)/σ, in the shape of y; NaN where an input or the variable is missing."""
        mean, width = self.predict(X)
        return np.asarray((np.asarray(y, np.float64) - mean) / width)

    def to_json(self) -> dict[str, Any]:
        """Returns the regression in the types of JSON; a network of some thousand weights needs no other format."""
        check_is_fitted(self)
        return {
            "format": _FORMAT,
            "parameters": json_value(self.get_params()),
            "inputs": {name: getattr(self.scaling_, name).tolist() for name in ("low", "high", "centre", "width")},
            "centre": self.centre_.tolist(),
            "width": self.width_.tolist(),
            "one_variable": self._one_variable,
            "weights": [weight.tolist() for weight in self.network_.weights],
            "biases": [bias.tolist() for bias in self.network_.biases],
            "history": self.history_,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Returns what `to_json` described.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: the content is damaged.
            ModelError: a parameter is.
        """
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is {content['format']!r}, not {_FORMAT!r}")
        model = cls(**content["parameters"])
        _check_parameters(model)
        inputs = [np.asarray(content["inputs"][name], np.float64) for name in ("low", "high", "centre", "width")]
        model.scaling_ = InputScaling(*inputs)
        model.centre_, model.width_ = (np.asarray(content[name], np.float64) for name in ("centre", "width"))
        model._one_variable = bool(content["one_variable"])
        weights = tuple(np.asarray(weight, np.float32) for weight in content["weights"])
        biases = tuple(np.asarray(bias, np.float32) for bias in content["biases"])
        model.network_ = DenseNetwork(weights, biases, str(model.activation))
        d, t, pieces = len(inputs[0]), len(model.centre_), FUNCTIONS[model.activation].pieces
        widths = [*map(int, model.hidden)]
        shapes = list(zip([*(pieces * n for n in widths), 2 * t], [d, *widths], strict=True))
        if [w.shape for w in weights] != shapes or [b.shape for b in biases] != [(n,) for n, _ in shapes]:
            raise ValueError(f"the matrices do not make a network of {d} inputs and {t} variables")
        if any(each.shape != (d,) for each in inputs) or model.width_.shape != (t,):
            raise ValueError("the scaling does not go with the network")
        if not all(np.isfinite(each).all() for each in (*weights, *biases)) or not (model.width_ > 0).all():
            raise ValueError("a weight is not finite, or a width is not positive")
        model.history_ = {name: list(map(float, values)) for name, values in content["history"].items()}
        model.n_features_in_ = d
        return model

    def _validation(self, sample: tuple[Any, Any, Any], start: Start | None) -> RegressionRows | None:
        """Returns the events of the validation sample with all inputs and a weight above 0; None if there are none."""
        x, y, weight = _inputs(sample[0]), _variables(sample[1]), np.asarray(sample[2], np.float64)
        if x.shape[1] != self.n_features_in_ or y.shape[1] != len(self.centre_) or not len(x) == len(y) == len(weight):
            raise ModelError(
                f"the validation sample has shapes X {x.shape}, y {y.shape}, weight {weight.shape}; expected "
                f"(n, {self.n_features_in_}), (n, {len(self.centre_)}), (n,)"
            )
        used = np.asarray(np.isfinite(x).all(axis=1) & (weight > 0))
        return self._rows(x[used], y[used], weight[used], start) if used.any() else None

    def _rows(self, x: Array, y: Array, weight: Array, start: Start | None) -> RegressionRows:
        """Returns events in scaled units; `start` is asked for the core of their variables only if that is fitted."""
        found = None
        if start is not None and self.core:
            mean, width = (np.reshape(each, (len(x), -1)) for each in start(x))
            if mean.shape != y.shape:
                raise ModelError(f"the start gives μ and σ of shape {mean.shape}, the variables are {y.shape}")
            found = ((mean - self.centre_) / self.width_, width / self.width_)
        return RegressionRows(self.scaling_.transform(x), (y - self.centre_) / self.width_, weight, found)


def _check_parameters(model: GaussianRegression) -> None:
    """Refuses parameters that no network can be trained with.

    Raises:
        ModelError: as `presets.check`.
    """
    shared = ("hidden", "activation", "learning_rate", "batch_size", "epochs", "patience", "seed", "device")
    check({name: getattr(model, name) for name in shared})


def _inputs(X: Any) -> Array:
    """Returns (n, d) float64 of inputs.

    Raises:
        ValueError: X is no table of numbers.
    """
    x = np.asarray(X, dtype=np.float64)
    if x.ndim != 2 or not x.shape[1]:
        raise ValueError(f"X must be of shape (n, d) with at least one input. Got {x.shape}.")
    return x


def _variables(y: Any) -> Array:
    """Returns (n, t) float64 of variables (n,) or (n, t), NaN where one is not finite.

    Raises:
        ValueError: y is no table of numbers.
    """
    variables = np.asarray(y, dtype=np.float64)
    variables = variables[:, None] if variables.ndim == 1 else variables
    if variables.ndim != 2 or not variables.shape[1]:
        raise ValueError(f"y must be of shape (n,) or (n, t). Got {np.shape(y)}.")
    return np.where(np.isfinite(variables), variables, np.nan)


def _middles(y: Array, weight: Array) -> tuple[Array, Array]:
    """Returns the weighted median (t,) and half the central 68.3 % range (t,) of variables (n, t), without NaN.

    Raises:
        ModelError: a variable is constant or missing in too many events.
    """
    found = []
    for j, column in enumerate(y.T):
        known = ~np.isnan(column)
        if known.sum() < FEWEST:
            raise ModelError(f"variable {j + 1} is known in {known.sum()} events only; at least {FEWEST} are needed")
        order = np.argsort(column[known], kind="stable")
        values, sums = column[known][order], np.cumsum(weight[known][order])
        low, middle, high = np.interp(np.array([0.1587, 0.5, 0.8413]) * sums[-1], sums, values)
        if not high > low:
            raise ModelError(f"variable {j + 1} is constant ({middle:g}) in most events, and has no width")
        found.append((middle, (high - low) / 2))
    middles, widths = np.array(found).T
    return middles, widths


Start = Callable[[Array], tuple[Array, Array]]
"""Gives μ and σ of inputs (n, d), each (n,) or (n, t): a fit that has found the core, off by two widths at most."""
