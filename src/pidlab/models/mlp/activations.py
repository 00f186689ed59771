"""The activation functions of trained networks, and their derivatives, in numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pidlab.measured import Array

LEAKY_SLOPE = 0.01


@dataclass(frozen=True, slots=True)
class ActivationFunction:
    """A non-linear function of (…, pieces · units, n), its result (…, units, n).

    Attributes:
        value: `value(z)`.
        backward: `backward(gradient, z, result)` returns the derivative by z of what has `gradient` by the result.
        pieces: linear outputs for each unit; 2 for maxout, otherwise 1.
    """

    value: Callable[[Array], Array]
    backward: Callable[[Array, Array, Array], Array]
    pieces: int = 1


def _sigmoid(z: Array) -> Array:
    with np.errstate(over="ignore"):  # exp(-z) is infinite, and the result 0
        return np.asarray(1.0 / (1.0 + np.exp(-z)))


def _silu_backward(gradient: Array, z: Array, result: Array) -> Array:
    p = _sigmoid(z)
    return gradient * (p + result * (1.0 - p))


def _normal(z: Array) -> Array:
    """Returns the cumulative normal distribution."""
    from scipy.special import ndtr

    return np.asarray(ndtr(z))


def _gelu_backward(gradient: Array, z: Array, _: Array) -> Array:
    return np.asarray(gradient * (_normal(z) + z * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)))


def _maxout(z: Array) -> Array:
    return np.maximum(*np.split(z, 2, axis=-2))


def _maxout_backward(gradient: Array, z: Array, _: Array) -> Array:
    first, second = np.split(z, 2, axis=-2)
    to_first = np.where(first >= second, gradient, 0.0)
    return np.concatenate([to_first, gradient - to_first], axis=-2)


FUNCTIONS: dict[str, ActivationFunction] = {
    "sigmoid": ActivationFunction(_sigmoid, lambda gradient, z, h: gradient * h * (1.0 - h)),
    "tanh": ActivationFunction(np.tanh, lambda gradient, z, h: gradient * (1.0 - h * h)),
    "relu": ActivationFunction(lambda z: np.maximum(z, 0.0), lambda gradient, z, h: np.where(h > 0, gradient, 0.0)),
    "leaky_relu": ActivationFunction(
        lambda z: np.where(z > 0, z, LEAKY_SLOPE * z),
        lambda gradient, z, h: np.where(h > 0, gradient, LEAKY_SLOPE * gradient),
    ),
    "elu": ActivationFunction(
        lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0.0))),
        lambda gradient, z, h: np.where(h > 0, gradient, gradient * (h + 1.0)),
    ),
    "silu": ActivationFunction(lambda z: z * _sigmoid(z), _silu_backward),
    "gelu": ActivationFunction(lambda z: z * _normal(z), _gelu_backward),
    "maxout": ActivationFunction(_maxout, _maxout_backward, pieces=2),
}
"""The functions that the engine trains with (`engine.layers.ACTIVATIONS`), by the same names."""
