"""The fits behind `GaussianRegression`: the core of variables is searched, then fitted in a window around it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pidlab.errors import ModelError
from pidlab.models.mlp.engine.batches import Member, ValidationTensors, as_table
from pidlab.models.mlp.engine.devices import device_named, member_seed
from pidlab.models.mlp.engine.layers import Architecture
from pidlab.models.mlp.engine.losses.core import CAUCHY_SCALE
from pidlab.models.mlp.engine.tensors import as_layers, forward
from pidlab.models.mlp.engine.trainer import Trained, Trainer, TrainingPlan, quiet_torch
from pidlab.models.mlp.network import DenseNetwork
from pidlab.models.mlp.presets import batch_size_for
from pidlab.models.mlp.tasks import FEWEST, RegressionRows, RegressionTask

if TYPE_CHECKING:  # scikit-learn, which the engine does not need
    from pidlab.models.base import Progress

_SMALLEST_BATCH, _LARGEST_BATCH = 64, 2048  # events: a likelihood's minimum is flat, and needs quiet gradients
_STEPS, _FEWEST_EPOCHS, _MOST_EPOCHS = 3000, 5, 200  # of the last fit
_SHORTER = 3  # earlier fits have a third of the epochs
_WINDOW = 4.0  # widths: far enough for tails to be told from the core, near enough to leave other particles out
_PASSES = 2  # fits of the core, each in the window of the fit before
_REFINING = 0.3  # share of the learning rate in the last fit of the core, which starts at the one before
_NEAR, _WIDTH_OF_NEAR = 2.5, 0.9546  # widths from a given start, and the standard deviation of a Gaussian cut there
_N_BLOCKS = {"gaussian": 2, "cauchy": 2, "core": 5}
_TAIL, _BACKGROUND = 2.5, 0.02  # at the start of the first fit of the core
_TOLERANCE = 2e-3  # of the validation loss an event: what chance does among the epochs of some thousand events


def fit_regression(
    task: RegressionTask, progress: Progress | None = None
) -> tuple[DenseNetwork, dict[str, list[float]]]:
    """Returns the network of means and logarithms of widths, and the history of its last fit.

    Args:
        task: what is fitted.
        progress: called after each epoch of all fits.

    Raises:
        ModelError: there is no device as was asked for, too few events are left, or training diverges.
    """
    device = device_named(task.parameters["device"])
    events = _on_device(task.train, device)
    watched = None if task.held_out is None else _on_device(task.held_out, device)
    core = task.parameters["core"]
    fits = _Fits(task.parameters, task.n_variables, events, watched, progress, 1 + _PASSES if core else 1)
    if not core:
        trained = fits.gaussian()
    elif task.train.start is None:
        trained = fits.core(None)
    else:
        by_validation = None if task.held_out is None or watched is None else _near(watched, task.held_out)
        trained = fits.core((_near(events, task.train), by_validation))
    return _mean_and_width(trained.network, task.n_variables), trained.history


def _on_device(rows: RegressionRows, device: torch.device) -> ValidationTensors:
    arrays = (rows.x.astype(np.float32), rows.y.astype(np.float32), rows.weight / rows.weight.mean())
    return ValidationTensors(*(torch.from_numpy(np.array(array)).to(device) for array in arrays))


@dataclass(frozen=True, slots=True)
class _Fits:
    """The fits that follow one another, each from the network of the one before.

    Attributes:
        parameters: those of `GaussianRegression`.
        n_variables: t.
        events, validation: what is trained on, and what decides when training stops.
        progress: called after each epoch.
        n_fits: how many fits there are together.
    """

    parameters: Mapping[str, Any]
    n_variables: int
    events: ValidationTensors
    validation: ValidationTensors | None
    progress: Progress | None
    n_fits: int

    def gaussian(self) -> Trained:
        """Fits all events by a Gaussian likelihood."""
        return self._fit("gaussian", self.events, self.validation, 0)

    def core(self, near: tuple[ValidationTensors, ValidationTensors | None] | None) -> Trained:
        """Finds the core, from the events `near` it if they are known, and fits it in its window, twice."""
        if near is None:
            found, widening = self._fit("cauchy", self.events, self.validation, 0), 1 / CAUCHY_SCALE
        else:
            found, widening = self._fit("gaussian", *near, 0), 1 / _WIDTH_OF_NEAR
        network = _with_tails(found.network, math.log(widening))
        for number in range(_PASSES):
            events, validation = self._in_window(self.events, network), None
            if self.validation is not None:
                validation = self._in_window(self.validation, network)
            found = self._fit("core", events, validation, 1 + number, network)
            network = found.network
        return found

    def _in_window(self, events: ValidationTensors, network: DenseNetwork) -> ValidationTensors:
        """Returns the events with a variable in the window of a fit; the windows' limits follow their variables."""
        t = events.label.shape[1]
        with quiet_torch(max(self.parameters["hidden"], default=0)):
            outputs = forward(as_layers(network, events.x.device), network.activation, events.x).T
            reach = _WINDOW * outputs[:, t : 2 * t].exp()
            low, high = outputs[:, :t] - reach, outputs[:, :t] + reach
            rows = ((events.label >= low) & (events.label <= high)).any(1).nonzero()[:, 0]
            targets = torch.cat([events.label, low, high], 1)
            return ValidationTensors(events.x[rows], targets[rows], events.weight[rows])

    def _fit(
        self,
        loss: str,
        events: ValidationTensors,
        validation: ValidationTensors | None,
        number: int,
        start: DenseNetwork | None = None,
    ) -> Trained:
        """Trains a network by one loss; fit `number` of all starts at the weights of `start`."""
        parameters, n = self.parameters, len(events.x)
        if n < FEWEST:
            raise ModelError(f"{n} events are left in the core of the variables; at least {FEWEST} are needed")
        batch_size = min(parameters["batch_size"] or batch_size_for(n, _SMALLEST_BATCH, _LARGEST_BATCH), n)
        epochs = parameters["epochs"] or min(max(-(-_STEPS // (n // batch_size)), _FEWEST_EPOCHS), _MOST_EPOCHS)
        is_last = number == self.n_fits - 1
        epochs = epochs if is_last else -(-epochs // _SHORTER)
        rate = parameters["learning_rate"] * (_REFINING if is_last and number else 1.0)
        patience = parameters["patience"] or epochs
        plan = TrainingPlan(
            loss, "adam", 0.9, 0.0, rate, "one_cycle", batch_size, epochs, patience, tolerance=_TOLERANCE
        )
        n_outputs = _N_BLOCKS[loss] * self.n_variables
        architecture = Architecture(
            events.x.shape[1], tuple(map(int, parameters["hidden"])), n_outputs, parameters["activation"]
        )
        watched = validation if validation is not None and len(validation.x) else None
        with quiet_torch(max(architecture.hidden, default=0)):
            table = as_table(events.x, events.label, events.weight)
            # Each fit has its own order of events.
            trainer = Trainer(
                table, [Member(member_seed(int(parameters["seed"]), number), None, watched)], architecture, plan
            )
            if start is not None:
                _start_at(trainer, start)
            [trained] = trainer.run(self._progress(number))
        return trained

    def _progress(self, number: int) -> Progress | None:
        """Returns what is called after each epoch of fit `number`, with what is done of all fits in per cent of one."""
        if self.progress is None:
            return None
        told = self.progress

        def report(done: int, total: int, numbers: Mapping[str, float]) -> None:
            told(number * 100 + done * 100 // total, self.n_fits * 100, numbers)

        return report


def _start_at(trainer: Trainer, network: DenseNetwork) -> None:
    """Gives the weights of `network` to the trainer's only member."""
    for view, weight, bias in zip(trainer.parameters.views, network.weights, network.biases, strict=True):
        view[0].copy_(torch.from_numpy(np.column_stack([weight, bias])))


def _with_tails(network: DenseNetwork, widening: float) -> DenseNetwork:
    """Returns a network of μ and σ with log σ raised by `widening`, and with constant tails and background."""
    weight, bias = network.weights[-1], network.biases[-1].copy()
    t = len(bias) // 2
    bias[t:] += widening
    tails, background = math.log(_TAIL), math.log(_BACKGROUND / (1 - _BACKGROUND))
    shape = np.repeat([tails, tails, background], t).astype(bias.dtype)
    weights = (*network.weights[:-1], np.concatenate([weight, np.zeros((3 * t, weight.shape[1]), weight.dtype)]))
    return DenseNetwork(weights, (*network.biases[:-1], np.concatenate([bias, shape])), network.activation)


def _mean_and_width(network: DenseNetwork, t: int) -> DenseNetwork:
    """Returns the network with its first 2 t outputs only."""
    weights = (*network.weights[:-1], network.weights[-1][: 2 * t].copy())
    return DenseNetwork(weights, (*network.biases[:-1], network.biases[-1][: 2 * t].copy()), network.activation)


def _near(events: ValidationTensors, rows: RegressionRows) -> ValidationTensors:
    """Returns the events whose variables are NaN where they are not within `_NEAR` widths of the start."""
    assert rows.start is not None
    variables, (mean, width) = events.label, rows.start
    low, high = (torch.from_numpy((mean + sign * _NEAR * width).astype(np.float32)) for sign in (-1, 1))
    inside = (variables >= low.to(variables.device)) & (variables <= high.to(variables.device))
    near = inside.any(1).nonzero()[:, 0]
    return ValidationTensors(events.x[near], torch.where(inside, variables, torch.nan)[near], events.weight[near])
