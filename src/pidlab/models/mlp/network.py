"""A trained network as matrices, its reference forward pass, and its file; nothing here needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors.numpy import save

from pidlab.errors import ModelError
from pidlab.models.mlp.activations import FUNCTIONS
from pidlab.models.stored import read_arrays
from pidlab.models.threads import one_thread

Matrices = NDArray[np.floating[Any]]
_TYPES = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
_ROWS_AT_ONCE = 1 << 14

WIDE = 256
"""Layers of at least this width are faster on all threads of the CPU, narrower ones on one thread."""


@dataclass(frozen=True, slots=True)
class DenseNetwork:
    """A network for inference, without dropout and with batch norm folded into the matrices.

    Attributes:
        weights: a matrix (outputs, inputs) for each layer; of maxout the rows of all first pieces come first.
        biases: a vector (outputs,) for each layer.
        activation: between the layers; the last layer gives logits, one for two classes, else k.
    """

    weights: tuple[Matrices, ...]
    biases: tuple[Matrices, ...]
    activation: str

    @property
    def n_inputs(self) -> int:
        """Number of features d."""
        return int(self.weights[0].shape[1])

    @property
    def n_outputs(self) -> int:
        """Number of logits: 1 for two classes, else k."""
        return int(self.weights[-1].shape[0])


def forward(networks: Sequence[DenseNetwork], x: Matrices) -> Matrices:
    """Returns logits (m, k, n) of m networks of one architecture for features x (n, d), in the precision of x.

    The events are taken in pieces that stay in the cache. This is the reference for every faster pass.
    """
    function = FUNCTIONS[networks[0].activation]
    layers = stacked(networks, x.dtype)
    logits = np.empty((len(networks), networks[0].n_outputs, len(x)), x.dtype)
    step = max(1, _ROWS_AT_ONCE // len(networks))
    with threads_for(networks):
        for start in range(0, len(x), step):
            values: Matrices = np.ascontiguousarray(x[start : start + step].T)
            for weight, bias in layers[:-1]:
                values = function.value(weight @ values + bias)
            weight, bias = layers[-1]
            logits[..., start : start + step] = weight @ values + bias
    return logits


def stacked(networks: Sequence[DenseNetwork], dtype: DTypeLike) -> list[tuple[Matrices, Matrices]]:
    """Returns weights (m, out, in) and biases (m, out, 1) of each layer of m networks of one architecture."""
    return [
        (
            np.stack([network.weights[i] for network in networks]).astype(dtype),
            np.stack([network.biases[i] for network in networks]).astype(dtype)[..., None],
        )
        for i in range(len(networks[0].weights))
    ]


def threads_for(networks: Sequence[DenseNetwork]) -> AbstractContextManager[None]:
    """Returns a block in which the products of networks of one architecture use as many threads as they are worth."""
    return one_thread() if widest(networks) < WIDE else nullcontext()


def widest(networks: Sequence[DenseNetwork]) -> int:
    """Returns the largest number of rows of a matrix of networks of one architecture."""
    return max(len(weight) for weight in networks[0].weights)


def write_networks(path: Path, networks: Sequence[DenseNetwork]) -> None:
    """Writes the stacked matrices of all members as safetensors: `layer0.weight` (members, out, in), `layer0.bias` …"""
    tensors = {}
    for index in range(len(networks[0].weights)):
        tensors[f"layer{index}.weight"] = np.stack([network.weights[index] for network in networks])
        tensors[f"layer{index}.bias"] = np.stack([network.biases[index] for network in networks])
    path.write_bytes(save(tensors))  # with the usual permissions, which save_file does not give


def read_networks(path: Path, activation: str) -> tuple[DenseNetwork, ...]:
    """Returns the networks that `write_networks` wrote.

    Raises:
        ModelError: the file is missing, damaged, or its matrices do not fit together.
    """
    tensors = read_arrays(path)
    n_layers = len(tensors) // 2
    try:
        weights = [tensors[f"layer{index}.weight"] for index in range(n_layers)]
        biases = [tensors[f"layer{index}.bias"] for index in range(n_layers)]
    except KeyError as error:
        raise ModelError(f"{path}: has no tensor {error}; make the run again") from error
    if len(tensors) != 2 * n_layers:
        raise ModelError(f"{path}: holds {len(tensors)} tensors for {n_layers} layers; make the run again")
    _check_shapes(path, weights, biases, activation)
    return tuple(
        DenseNetwork(tuple(w[m] for w in weights), tuple(b[m] for b in biases), activation)
        for m in range(len(weights[0]))
    )


def _check_shapes(path: Path, weights: list[Matrices], biases: list[Matrices], activation: str) -> None:
    pieces = FUNCTIONS[activation].pieces
    fits = bool(weights) and all(w.ndim == 3 and b.shape == w.shape[:2] for w, b in zip(weights, biases, strict=True))
    if fits:
        members = {len(w) for w in weights}
        chained = all(a.shape[1] == pieces * b.shape[2] for a, b in pairwise(weights))
        kinds = {w.dtype for w in [*weights, *biases]}
        fits = len(members) == 1 and min(members) > 0 and chained and len(kinds) == 1 and kinds.pop() in _TYPES
    if not fits:
        raise ModelError(f"{path}: the matrices do not fit together; make the run again")
    if not all(np.isfinite(matrix).all() for matrix in [*weights, *biases]):
        raise ModelError(f"{path}: a weight is not finite; make the run again")
