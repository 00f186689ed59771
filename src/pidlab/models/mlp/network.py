"""A trained network as matrices, its reference forward pass, and its file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import Tensor
from torch.nn import functional

from pidlab.errors import ModelError
from pidlab.models.base import Estimator
from pidlab.models.missing import MissingValues
from pidlab.models.mlp.layers import ACTIVATIONS, BATCH_NORM_EPS, Network
from pidlab.models.stored import read_arrays

Matrices = NDArray[np.floating[Any]]
_FILE = "mlp.safetensors"
_TYPES = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
_ROWS_AT_ONCE = {"cpu": 1 << 14, "cuda": 1 << 16}


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


Layers = Sequence[tuple[Tensor, Tensor]]


def folded_layers(network: Network, member: int | Tensor) -> list[tuple[Tensor, Tensor]]:
    """Returns weight (out, in) and bias (out, 1) of each layer of one member, with batch norm folded in.

    For an index tensor `member` (m,), they are those of m members: (m, out, in) and (m, out, 1).
    """
    architecture, views = network.architecture, network.parameters.views
    per_layer = 3 if architecture.batch_norm else 1
    layers, n_in = [], architecture.n_inputs
    for width, layer, first in zip(architecture.hidden, network.layers, range(0, len(views), per_layer), strict=False):
        weight, norm = views[first][member], layer.norm
        if norm is None:
            layers.append((weight[..., :n_in], weight[..., n_in:]))
        else:
            scale = norm.scale[member] / torch.sqrt(norm.running_variance[member] + BATCH_NORM_EPS)
            layers.append((weight[..., :n_in] * scale, norm.shift[member] - scale * norm.running_mean[member]))
        n_in = width
    weight = views[-1][member]
    return [*layers, (weight[..., :n_in], weight[..., n_in:])]


def forward(layers: Layers, activation: str, x: Tensor) -> Tensor:
    """Returns logits (k, n) of x (n, d), or (m, k, n) for layers of m members: the reference for every faster pass.

    The events are taken in pieces that stay in the cache. On a GPU all pieces have one size, so that all events go
    through the same kernels and the logits of an event do not depend on the other events.
    """
    function, members = ACTIVATIONS[activation], layers[0][0].shape[:-2]
    logits = x.new_empty(*members, layers[-1][0].shape[-2], len(x))
    product = torch.baddbmm if members else torch.addmm
    step = max(1, _ROWS_AT_ONCE.get(x.device.type, 1 << 14) // math.prod(members))
    for start in range(0, len(x), step):
        piece = x[start : start + step]
        n_rows = len(piece)
        if x.is_cuda and n_rows < step:
            piece = functional.pad(piece, (0, 0, 0, step - n_rows))
        values = piece.T.expand(*members, -1, -1)
        for weight, bias in layers[:-1]:
            linear = product(bias, weight, values)
            values = linear.new_empty(*members, linear.shape[-2] // function.pieces, linear.shape[-1])
            function.forward(linear, values)
        weight, bias = layers[-1]
        logits[..., start : start + step] = product(bias, weight, values)[..., :n_rows]
    return logits


def as_dense(layers: Layers, activation: str) -> DenseNetwork:
    """Returns a copy of the layers as a `DenseNetwork`."""
    weights = tuple(weight.cpu().contiguous().numpy().copy() for weight, _ in layers)
    biases = tuple(bias.cpu().reshape(-1).numpy().copy() for _, bias in layers)
    return DenseNetwork(weights, biases, activation)


def filled_inputs(x: NDArray[Any], missing: MissingValues | None, network: DenseNetwork) -> NDArray[Any]:
    """Returns what a network reads of unchecked features (n, d): missing values are replaced if there were some.

    Raises:
        ModelError: x has another number of features than the training sample.
    """
    if missing is not None and missing.indicators and x.shape[1] == len(missing.fill):
        x = missing.filled(x)
    if x.shape[1] != network.n_inputs:
        raise ModelError(f"the network was trained on {network.n_inputs} features; {x.shape[1]} were given")
    return x


def as_layers(
    network: DenseNetwork, device: torch.device, dtype: torch.dtype | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Returns the matrices as tensors for `forward`."""
    pairs = zip(network.weights, network.biases, strict=True)
    return [
        (torch.tensor(w, device=device, dtype=dtype), torch.tensor(b[:, None], device=device, dtype=dtype))
        for w, b in pairs
    ]


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
    pieces = ACTIVATIONS[activation].pieces
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


@dataclass(eq=False, repr=False, kw_only=True)  # scikit-learn reads the parameters from the `__init__` that this makes
class NetworkEstimator(Estimator):
    """What a classifier and a regressor of networks have in common; the matrices are saved beside the other numbers.

    The parameters are those of `MLP`.

    Attributes:
        networks_: one `DenseNetwork` for each member.
        missing_: what takes the place of missing values; None for a model of an older version.
    """

    networks_: tuple[DenseNetwork, ...] = field(init=False)
    hidden: Sequence[int] | None = None
    activation: str | None = None
    optimizer: str = "adam"
    momentum: float = 0.9
    learning_rate: float | None = None
    schedule: str | None = None
    batch_size: int | None = None
    epochs: int | None = None
    patience: int | None = None
    dropout: float | None = None
    batch_norm: bool = False
    weight_decay: float = 0.0
    members: int | None = None
    seed: int = 0
    device: str = "auto"

    def save(self, directory: Path) -> None:
        """Writes the JSON file of the model and `mlp.safetensors` into an existing directory."""
        super().save(directory)
        write_networks(directory / _FILE, self.networks_)

    def _restore_networks(self, content: Mapping[str, Any], directory: Path) -> None:
        """Takes the networks and what replaces missing values; the errors are those of `_restore`."""
        self.networks_ = read_networks(directory / _FILE, content["activation"])
        if self.activation not in (None, content["activation"]):
            raise ValueError(f"the activation is {self.activation} and {content['activation']}")
        self.missing_ = MissingValues.from_json(content.get("missing"), self.networks_[0].n_inputs)

    def _filled(self, x: Any) -> NDArray[Any]:
        """Returns the features (n, d + m) of a validation sample without missing values.

        Raises:
            ModelError: a value is infinite.
        """
        assert self.missing_ is not None
        filled = self.missing_.filled(np.asarray(x))
        if not np.isfinite(filled).all():
            raise ModelError("the validation sample has infinite values; the training sample has none")
        return filled
