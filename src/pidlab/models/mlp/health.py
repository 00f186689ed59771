"""What is wrong with a trained network: units through which no gradient passes, gradients that vanish or explode.

Each finding is a sentence for the user, with what to change. The thresholds are wide of what healthy trainings show: 25
architectures and settings on each of three simulated samples had at most 38 % silent units in a layer, gradient flows
from .04 to 6 and gradients below .4 of the weights, unless they were too deep for their activation, their features were
not scaled, or their learning rate was ten times too large (docs/training.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pidlab.measured import Array
from pidlab.models.mlp.activations import FUNCTIONS
from pidlab.models.mlp.network import DenseNetwork, stacked, threads_for, widest

N_EVENTS = 10_000
"""Events on which units are looked at: one per cent of them, the share that counts, is known to a tenth."""
SILENT = 0.5
"""Share of a layer's units: a layer of which half is silent is half as wide as the user asked for."""
VANISHED = 1e-3
"""Gradient flow. An optimiser that scales steps, such as Adam, makes good for a factor of a thousand; beyond, smaller
gradients drown in the noise of the batches, or in the epsilon of the optimiser."""
EXPLODED = 10.0
"""Gradient in units of the weights: a step by a tenth of it would replace them."""

_N_VALUES = 1 << 22  # of a layer, at most: 16 MB
_FLAT = 0.005  # of the steepest slope: half of leaky_relu's, which is there to pass a gradient
_STEEPEST = {"sigmoid": 0.25}  # slope; of the other activations it is 1, or a little more
_RARELY = 0.01  # share of the events


@dataclass(frozen=True, slots=True)
class Health:
    """How one network came out of its training.

    Attributes:
        activation: the activation of its hidden layers.
        silent: for each hidden layer the share of units whose slope is all but zero for 99 % of the events: they give
            the same number for every event, and learn nothing.
        flow: the gradient of the first layer in units of its weights, divided by the same of the output layer: the
            median over the epochs. NaN without a hidden layer.
        largest: the largest gradient of a layer in units of its weights: the median over the epochs.
    """

    activation: str
    silent: tuple[float, ...]
    flow: float
    largest: float


def health_of(network: DenseNetwork, history: Mapping[str, Sequence[float]], x: Array) -> Health:
    """Returns the state of a trained network, from its history and from events (n, d) as the network reads them."""
    return Health(network.activation, silent_units(network, x), *gradients_of(history))


def silent_units(network: DenseNetwork, x: Array) -> tuple[float, ...]:
    """Returns the share of silent units in each hidden layer, on at most ten thousand of the events (n, d).

    They are evenly spaced, since files, and with them classes, may follow one another. A unit of maxout always passes
    the gradient to one of its pieces, and is never silent.
    """
    function, layers = FUNCTIONS[network.activation], stacked([network], x.dtype)
    most = max(1, min(N_EVENTS, _N_VALUES // widest([network])))
    values = np.ascontiguousarray(x[:: -(-len(x) // most)].T)
    least, shares = _FLAT * _STEEPEST.get(network.activation, 1.0), []
    with threads_for([network]):
        for (weight,), (bias,) in layers[:-1]:
            linear = weight @ values + bias
            values = function.value(linear)
            slope = function.backward(np.ones_like(values), linear, values)
            passes = (np.abs(slope) >= least).reshape(function.pieces, *values.shape).any(axis=0)
            shares.append(float((passes.mean(axis=1) < _RARELY).mean()))
    return tuple(shares)


def gradients_of(history: Mapping[str, Sequence[float]]) -> tuple[float, float]:
    """Returns `Health.flow` and `Health.largest`, from a history with the norms of each layer, the output last."""
    layers = [name.removeprefix("gradient_norm_") for name in history if name.startswith("gradient_norm_")]
    gradients, weights = ([history[f"{what}_norm_{layer}"] for layer in layers] for what in ("gradient", "weight"))
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.array(gradients, np.float64) / np.array(weights, np.float64)
        flow = relative[0] / relative[-1] if len(layers) > 1 else np.full(1, np.nan)
    return _median(flow), _median(relative.max(axis=0)) if layers else math.nan


def _median(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan


def warnings_about(networks: Sequence[Health], *, scaled: bool) -> Iterator[str]:
    """Yields at most one sentence on each of the three faults, of the worst of the networks of a model.

    A network with a silent layer counts for that fault only: such a layer lets no gradient through to those before it.

    Args:
        networks: the networks of all members, folds and categories.
        scaled: whether the features are scaled.
    """
    silent = [each for each in networks if max(each.silent, default=0.0) >= SILENT]
    others = [each for each in networks if max(each.silent, default=0.0) < SILENT]
    vanished = [each for each in others if each.flow < VANISHED]
    exploded = [each for each in others if each.largest > EXPLODED]
    scaling = "" if scaled else "scaled features (scaling: standard or quantile), "
    if silent:
        yield _silent(max(silent, key=lambda each: max(each.silent)), _among(silent, networks), scaling)
    if vanished:
        worst = min(vanished, key=lambda each: each.flow)
        unbounded = "activation: silu, " if worst.activation in ("sigmoid", "tanh") else ""
        yield (
            f"Its gradients vanish{_among(vanished, networks)}: relative to its weights, that of the first layer is "
            f"{worst.flow:.1g} of that of the output layer, so that the first layers hardly learn. What helps: "
            f"{scaling}fewer hidden layers, {unbounded}batch_norm: true."
        )
    if exploded:
        worst = max(exploded, key=lambda each: each.largest)
        yield (
            f"Its gradients explode{_among(exploded, networks)}: the norm of a layer's gradient is {worst.largest:.2g} "
            f"times that of its weights, so that its steps are too large or too noisy. What helps: {scaling}a smaller "
            "learning_rate, fewer hidden layers, batch_norm: true."
        )


def _among(found: Sequence[Health], networks: Sequence[Health]) -> str:
    return "" if len(networks) == 1 else f" in {len(found)} of its {len(networks)} networks"


def _silent(worst: Health, among: str, scaling: str) -> str:
    layer = int(np.argmax(worst.silent))
    bounded = worst.activation in ("tanh", "sigmoid")
    state = "saturated" if bounded else "dead"
    meaning = f"{worst.activation} is at its bounds there" if bounded else f"{worst.activation} is flat there"
    other = "" if bounded else "activation: leaky_relu, "
    up_to = "" if not among else "up to "
    return (
        f"Units of a hidden layer are {state}{among}: {up_to}{100 * worst.silent[layer]:.0f} % of those of layer "
        f"{layer + 1} pass no gradient for 99 % of the events ({meaning}), and learn nothing. What helps: {scaling}"
        f"a smaller learning_rate, {other}batch_norm: true."
    )
