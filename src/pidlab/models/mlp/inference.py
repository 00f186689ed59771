"""A fused forward pass for small networks: a block of events goes through all layers without leaving the cache.

Every event goes through the same instructions, so that its logits do not depend on its place or on the other events.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.compiled import compiled
from pidlab.errors import ModelError
from pidlab.models.link import posterior
from pidlab.models.mlp.activations import FUNCTIONS, LEAKY_SLOPE
from pidlab.models.mlp.network import DenseNetwork

_BLOCK = 256
_WIDEST = 256
_KINDS = {"sigmoid": 0, "tanh": 1, "relu": 2, "leaky_relu": 3, "elu": 4, "silu": 5, "maxout": 6}
_SIGMOID, _TANH, _RELU, _LEAKY, _ELU, _SILU, _MAXOUT = range(7)
_SLOPE = np.float32(LEAKY_SLOPE)
_ONE, _TWO, _HALF, _ZERO = np.float32(1), np.float32(2), np.float32(0.5), np.float32(0)
_LOG2E = np.float32(1.44269504)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_C2, _C3, _C4, _C5, _C6, _C7 = (np.float32(1 / c) for c in (2, 6, 24, 120, 720, 5040))
_EXPONENT_ONE, _BIAS = np.float32(2**23), np.float32(127)
_LARGEST = np.float32(87)


def has_fast_path(network: DenseNetwork) -> bool:
    """Returns whether `fast_logits` takes this network; wide layers are faster as matrix products of BLAS."""
    return network.activation in _KINDS and max(len(weight) for weight in network.weights) <= _WIDEST


def fast_logits(network: DenseNetwork, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns (n, k) float32 logits of x (n, d) float32, C-contiguous; k = 1 for two classes.

    If a feature of an event is not finite, its logits are NaN.

    Raises:
        ModelError: x has a different number of features.
    """
    if x.ndim != 2 or x.shape[1] != network.n_inputs:
        raise ModelError(f"the network takes (n, {network.n_inputs}) features. Got {x.shape}.")
    parts = [np.hstack([b[:, None], w]).ravel() for w, b in zip(network.weights, network.biases, strict=True)]
    parameters = np.concatenate(parts).astype(np.float32)
    outputs = np.array([len(weight) for weight in network.weights])
    out = np.empty((len(x), network.n_outputs), np.float32)
    pieces = FUNCTIONS[network.activation].pieces
    _forward(x, parameters, outputs, pieces, _KINDS[network.activation], out)
    return out


def linked(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns (n, k) float32 probabilities of logits (n, 1) or (n, k).

    They are computed in double precision, so that they round to the same float32 on every machine.
    """
    if logits.shape[1] > 1:
        return posterior(logits.astype(np.float64)).astype(np.float32)
    odds = np.exp(-np.clip(logits[:, 0], -700, 700, dtype=np.float64))
    p = np.empty((len(logits), 2), np.float32)
    signal = 1 / (1 + odds)
    p[:, 1] = signal
    np.multiply(odds, signal, out=p[:, 0], casting="same_kind")
    return p


def _compiled(function: Any) -> Any:
    """Compiles without reassociation, only with fused multiply-add: results must not depend on vectorisation."""
    return compiled(nogil=True, fastmath={"contract", "nsz"}, error_model="numpy")(function)


@_compiled
def _exponential(row: Any, sign: Any, power: Any, power_bits: Any) -> None:
    """row ← exp(sign · row), within about 1e-7: 2ᵏ from its bits, times the Taylor series on |r| < ln 2 / 2."""
    for i in range(_BLOCK):
        v = min(max(sign * row[i], -_LARGEST), _LARGEST)
        k = np.floor(v * _LOG2E + _HALF)
        r = v - k * _LN2_HIGH - k * _LN2_LOW
        series = _C4 + r * (_C5 + r * (_C6 + r * _C7))
        row[i] = _ONE + r * (_ONE + r * (_C2 + r * (_C3 + r * series)))
        power_bits[i] = np.int32((k + _BIAS) * _EXPONENT_ONE)
    for i in range(_BLOCK):
        row[i] *= power[i]


@_compiled
def _activate(rows: Any, n_rows: int, kind: int, kept: Any, power: Any, power_bits: Any) -> int:
    """Applies the activation to rows[:n_rows] in place; returns the number of rows of the result."""
    if kind == _MAXOUT:
        for j in range(n_rows // 2):
            for i in range(_BLOCK):
                rows[j, i] = max(rows[j, i], rows[j + n_rows // 2, i])
        return n_rows // 2
    for j in range(n_rows):
        row = rows[j]
        if kind == _RELU:
            for i in range(_BLOCK):
                row[i] = max(row[i], _ZERO)
        elif kind == _LEAKY:
            for i in range(_BLOCK):
                row[i] = max(row[i], _SLOPE * row[i])
        else:
            _smooth(row, kind, kept, power, power_bits)
    return n_rows


@_compiled
def _smooth(row: Any, kind: int, kept: Any, power: Any, power_bits: Any) -> None:
    """sigmoid, tanh, elu or silu of a row, in place."""
    kept[:] = row
    if kind == _ELU:
        _exponential(row, _ONE, power, power_bits)
        for i in range(_BLOCK):
            row[i] = kept[i] if kept[i] > _ZERO else row[i] - _ONE
        return
    _exponential(row, -_TWO if kind == _TANH else -_ONE, power, power_bits)
    if kind == _TANH:
        for i in range(_BLOCK):
            row[i] = _TWO / (_ONE + row[i]) - _ONE
    elif kind == _SILU:
        for i in range(_BLOCK):
            row[i] = kept[i] / (_ONE + row[i])
    else:
        for i in range(_BLOCK):
            row[i] = _ONE / (_ONE + row[i])


@_compiled
def _linear(parameters: Any, n_in: int, n_out: int, source: Any, target: Any) -> None:
    """target[:n_out] ← bias + weight · source[:n_in]; a row of parameters is the bias, then the weights."""
    fours = n_in // 4 * 4
    for o in range(n_out):
        row, own = target[o], parameters[o * (n_in + 1) : (o + 1) * (n_in + 1)]
        row[:] = own[0]
        for j in range(0, fours, 4):
            a, b, c, d = own[j + 1], own[j + 2], own[j + 3], own[j + 4]
            for i in range(_BLOCK):
                row[i] += a * source[j, i] + b * source[j + 1, i] + c * source[j + 2, i] + d * source[j + 3, i]
        for j in range(fours, n_in):
            a = own[j + 1]
            for i in range(_BLOCK):
                row[i] += a * source[j, i]


@_compiled
def _forward(x: Any, parameters: Any, outputs: Any, pieces: int, kind: int, out: Any) -> None:
    """Writes the logits of x (n, d) into out (n, k), block by block; the last block is cut to the events left."""
    n, d = x.shape
    widest = max(d, outputs.max())
    source, target = np.zeros((widest, _BLOCK), np.float32), np.zeros((widest, _BLOCK), np.float32)
    kept, power_bits = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.int32)
    nan_if_invalid = np.empty(_BLOCK, np.float32)
    power = power_bits.view(np.float32)
    for start in range(0, n, _BLOCK):
        size = min(_BLOCK, n - start)
        nan_if_invalid[:] = _ZERO
        for j in range(d):
            for i in range(size):
                source[j, i] = x[start + i, j]
                nan_if_invalid[i] += x[start + i, j] * _ZERO
        n_in, offset = d, 0
        for layer in range(len(outputs)):
            n_out = outputs[layer]
            _linear(parameters[offset:], n_in, n_out, source, target)
            offset += n_out * (n_in + 1)
            n_in = n_out
            if layer < len(outputs) - 1:
                n_in = _activate(target, n_out, kind, kept, power, power_bits)
            source, target = target, source
        for j in range(n_in):
            for i in range(size):
                out[start + i, j] = source[j, i] + nan_if_invalid[i]
