"""What a network's training says of itself: units through which no gradient passes, and gradients that vanish or grow.

Each finding is a sentence for the user, with what to change; thresholds are wide of what the usual trainings show.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pidlab.models.mlp.layers import ACTIVATIONS
from pidlab.models.mlp.network import DenseNetwork, as_layers

_N_EVENTS = 10_000  # a share of one per cent of them is known to a tenth
_N_VALUES = 1 << 22  # of a layer, at most: 16 MB
_FLAT = 0.005  # of the steepest slope: half of leaky_relu's, which is there to pass a gradient
_STEEPEST = {"sigmoid": 0.25}  # slope; of the other activations it is 1, or a little more
_RARELY = 0.01  # share of the events


@dataclass(frozen=True, slots=True)
class Health:
    """How one network came out of its training.

    Attributes:
        activation: of its hidden layers.
        silent: of each hidden layer, the share of units whose slope is all but zero for 99 % of the events: they give
            the same number whatever the event is, and learn nothing.
        flow: the gradient of the first layer in units of its weights, divided by the same of the output layer: the
            median over the epochs. NaN without a hidden layer.
    """

    activation: str
    silent: tuple[float, ...]
    flow: float


def health_of(network: DenseNetwork, history: Mapping[str, Sequence[float]], x: Tensor) -> Health:
    """Returns the state of a trained network, from its history and from events (n, d) as the network reads them."""
    return Health(network.activation, silent_units(network, x), gradient_flow(history))


def silent_units(network: DenseNetwork, x: Tensor) -> tuple[float, ...]:
    """Returns the share of silent units in each hidden layer, on the first ten thousand of the events (n, d).

    A unit of maxout always passes the gradient to one of its pieces, and is never silent.
    """
    function, layers = ACTIVATIONS[network.activation], as_layers(network, x.device, x.dtype)
    widest = max(len(weight) for weight in network.weights)
    values = x[: max(1, min(_N_EVENTS, _N_VALUES // widest))].T
    least, shares = _FLAT * _STEEPEST.get(network.activation, 1.0), []
    for weight, bias in layers[:-1]:
        linear = torch.addmm(bias, weight, values)
        values = linear.new_empty(len(linear) // function.pieces, linear.shape[1])
        function.forward(linear, values)
        slope = torch.empty_like(linear)
        function.backward(torch.ones_like(values), linear, values, slope)
        passes = (slope.abs() >= least).view(function.pieces, *values.shape).any(0)
        shares.append(float((passes.double().mean(1) < _RARELY).double().mean()))
    return tuple(shares)


def gradient_flow(history: Mapping[str, Sequence[float]]) -> float:
    """Returns what `Health.flow` describes, from a history with the norms of each layer."""
    names = [f"{what}_norm_{layer}" for layer in ("1", "output") for what in ("gradient", "weight")]
    if not all(name in history for name in names):
        return math.nan
    gradient, weight, gradient_out, weight_out = (np.asarray(history[name], np.float64) for name in names)
    with np.errstate(divide="ignore", invalid="ignore"):
        flow = gradient * weight_out / (weight * gradient_out)
    known = flow[np.isfinite(flow)]
    return float(np.median(known)) if len(known) else math.nan
