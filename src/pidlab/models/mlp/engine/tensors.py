"""Tensors of trained networks: batch norm folded in, and the forward pass of the engine."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from pidlab.models.mlp.engine.layers import ACTIVATIONS, BATCH_NORM_EPS, Network
from pidlab.models.mlp.network import DenseNetwork

_ROWS_AT_ONCE = {"cpu": 1 << 14, "cuda": 1 << 16}

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
    """Returns logits (k, n) of x (n, d), or (m, k, n) for layers of m members: as the reference in `network.forward`.

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


def as_layers(
    network: DenseNetwork, device: torch.device, dtype: torch.dtype | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Returns the matrices as tensors for `forward`."""
    pairs = zip(network.weights, network.biases, strict=True)
    return [
        (torch.tensor(w, device=device, dtype=dtype), torch.tensor(b[:, None], device=device, dtype=dtype))
        for w, b in pairs
    ]
