"""Forward and backward passes of a fully connected network, by hand, for many members at once.

Tensors are feature-major: a layer's values are (members, units, batch), so that a row of ones below them takes the bias
into the matrix product of the weights, forward and backward. Every buffer is allocated once, and a pass is a list of
operations that are bound to their buffers: small networks spend their time in Python, where calling bound operations
is the cheapest thing to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pidlab.models.mlp.activations import LEAKY_SLOPE
from pidlab.models.mlp.network import WIDE

_aten = torch.ops.aten
BATCH_NORM_EPS = 1e-5
BATCH_NORM_MOMENTUM = 0.1

ALIGNED = 4
"""Rows of matrices on a GPU begin at multiples of this many numbers: 16 bytes in single precision, which cuBLAS reads
in one instruction and its matrix units require."""

_GROUPS, _EVENTS = 1024, 512  # parts of batches that fill a large GPU, and the fewest events of a part

_MINUS_ONE = torch.tensor(-1.0, dtype=torch.float32)

Operation = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Activation:
    """A non-linear function on (…, pieces · units, batch), its result (…, units, batch).

    Attributes:
        forward: `forward(z, out)`.
        backward: `backward(grad, z, result, out)` writes dL/dz; `out` may be `grad` if `pieces` is 1.
        keeps_input: whether the derivative needs the input; otherwise the input is overwritten by the result.
        pieces: linear outputs for each unit; 2 for maxout, otherwise 1.
    """

    forward: Callable[[Tensor, Tensor], object]
    backward: Callable[[Tensor, Tensor, Tensor, Tensor], object]
    keeps_input: bool = False
    pieces: int = 1


def _tanh_forward(z: Tensor, out: Tensor) -> None:
    """tanh z = 2 σ(2z) − 1, off by 1.2e-7 at most: on the CPU torch's sigmoid takes an eighth of tanh's time."""
    if z.dtype is not torch.float32 or z.device.type != "cpu":
        torch.tanh(z, out=out)
        return
    torch.add(z, z, out=out)
    torch.sigmoid(out, out=out)
    torch.add(_MINUS_ONE, out, alpha=2.0, out=out)


def _maxout_forward(z: Tensor, out: Tensor) -> None:
    first, second = z.chunk(2, dim=-2)
    torch.maximum(first, second, out=out)


def _maxout_backward(grad: Tensor, z: Tensor, result: Tensor, out: Tensor) -> None:
    first, second = z.chunk(2, dim=-2)
    to_first, to_second = out.chunk(2, dim=-2)
    to_first.copy_(first).ge_(second).mul_(grad)
    torch.sub(grad, to_first, out=to_second)


ACTIVATIONS: dict[str, Activation] = {
    "sigmoid": Activation(
        lambda z, out: torch.sigmoid(z, out=out),
        lambda grad, z, h, out: _aten.sigmoid_backward.grad_input(grad, h, grad_input=out),
    ),
    "tanh": Activation(
        _tanh_forward,
        lambda grad, z, h, out: _aten.tanh_backward.grad_input(grad, h, grad_input=out),
    ),
    "relu": Activation(
        lambda z, out: torch.clamp_min(z, 0.0, out=out),
        lambda grad, z, h, out: _aten.threshold_backward.grad_input(grad, h, 0.0, grad_input=out),
    ),
    "leaky_relu": Activation(
        lambda z, out: _aten.leaky_relu.out(z, LEAKY_SLOPE, out=out),
        lambda grad, z, h, out: _aten.leaky_relu_backward.grad_input(grad, h, LEAKY_SLOPE, True, grad_input=out),
    ),
    "elu": Activation(
        lambda z, out: _aten.elu.out(z, out=out),
        lambda grad, z, h, out: _aten.elu_backward.grad_input(grad, 1.0, 1.0, 1.0, True, h, grad_input=out),
    ),
    "silu": Activation(
        lambda z, out: _aten.silu.out(z, out=out),
        lambda grad, z, h, out: _aten.silu_backward.grad_input(grad, z, grad_input=out),
        keeps_input=True,
    ),
    "gelu": Activation(
        lambda z, out: _aten.gelu.out(z, out=out),
        lambda grad, z, h, out: _aten.gelu_backward.grad_input(grad, z, grad_input=out),
        keeps_input=True,
    ),
    "maxout": Activation(_maxout_forward, _maxout_backward, keeps_input=True, pieces=2),
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """The shape of a network: d inputs, widths of the hidden layers, k outputs (1 for two classes)."""

    n_inputs: int
    hidden: tuple[int, ...]
    n_outputs: int
    activation: str
    batch_norm: bool = False
    dropout: float = 0.0

    @property
    def input_bias(self) -> bool:
        """Whether the first matrix has a bias column; batch norm would cancel a bias."""
        return not (self.batch_norm and self.hidden)

    def shapes(self) -> list[tuple[int, int]]:
        """Returns (rows, columns) of each parameter: matrices and norms of the hidden layers, then the output's."""
        pieces, shapes, n_in = ACTIVATIONS[self.activation].pieces, [], self.n_inputs
        for width in self.hidden:
            shapes.append((pieces * width, n_in + self.input_bias))
            shapes += [(pieces * width, 1)] * (2 * self.batch_norm)
            n_in = width
        return [*shapes, (self.n_outputs, n_in + 1)]

    def matrices(self) -> list[int]:
        """Returns the places in `shapes` of the layers' matrices; the others are scales and shifts of batch norm."""
        return list(range(0, len(self.shapes()), 3 if self.batch_norm else 1))


@dataclass(frozen=True, slots=True)
class Parameters:
    """All members' parameters in one flat tensor, with views of it.

    Attributes:
        flat, grad: (members · p,), ordered by parameter, then by member. On a GPU the rows of matrices are padded with
            zeros, whose gradient is zero.
        views, grads: (members, rows, columns) each, in the order of `Architecture.shapes`.
        member_of: (members · p,) int64, the member that each number belongs to.
    """

    flat: Tensor
    grad: Tensor
    views: list[Tensor]
    grads: list[Tensor]
    member_of: Tensor


def _stored_columns(columns: int, device: torch.device) -> int:
    """Returns the length of a row of `columns` numbers in a flat tensor on this device; one column is never padded."""
    return columns if device.type == "cpu" or columns == 1 else columns + -columns % ALIGNED


def split_flat(flat: Tensor, architecture: Architecture, n_members: int) -> list[Tensor]:
    """Views (members, rows, columns) of a flat tensor (members · p,)."""
    shapes = [(rows, columns, _stored_columns(columns, flat.device)) for rows, columns in architecture.shapes()]
    parts = torch.split(flat, [n_members * rows * stored for rows, _, stored in shapes])
    return [
        part.view(n_members, rows, stored)[..., :columns]
        for part, (rows, columns, stored) in zip(parts, shapes, strict=True)
    ]


def initial_parameters(
    architecture: Architecture, generators: Sequence[torch.Generator], dtype: torch.dtype, device: torch.device
) -> Parameters:
    """Returns weights and biases uniform in ±1/√fan-in, as in torch.nn.Linear, drawn by one CPU generator a member."""
    n_members = len(generators)
    size = n_members * sum(rows * _stored_columns(columns, device) for rows, columns in architecture.shapes())
    flat, grad = (torch.zeros(size, dtype=dtype, device=device) for _ in range(2))
    member_of = torch.zeros(size, dtype=torch.int64, device=device)
    views, grads, owners = (split_flat(tensor, architecture, n_members) for tensor in (flat, grad, member_of))
    for position, (view, owner) in enumerate(zip(views, owners, strict=True)):
        start = torch.empty(view.shape, dtype=dtype)
        _initialise(start, architecture, position, generators)
        view.copy_(start)
        owner.copy_(torch.arange(n_members)[:, None, None])
    return Parameters(flat, grad, views, grads, member_of)


def _initialise(view: Tensor, architecture: Architecture, position: int, generators: Sequence[torch.Generator]) -> None:
    is_output = position == len(architecture.shapes()) - 1
    if architecture.batch_norm and not is_output and position % 3:
        view.fill_(1.0 if position % 3 == 1 else 0.0)
        return
    has_bias = is_output or architecture.input_bias
    bound = 1.0 / math.sqrt(view.shape[2] - has_bias)
    for member, generator in enumerate(generators):
        view[member].uniform_(-bound, bound, generator=generator)


class BatchNorm:
    """Normalises (members, units, batch) over the batch, with the running averages of torch.nn.BatchNorm1d."""

    def __init__(self, scale: Tensor, shift: Tensor, scale_grad: Tensor, shift_grad: Tensor, batch_size: int) -> None:
        self.scale, self.shift, self.scale_grad, self.shift_grad = scale, shift, scale_grad, shift_grad
        self.running_mean, self.running_variance = torch.zeros_like(scale), torch.ones_like(scale)
        self._mean, self._variance, self._inverse = (torch.empty_like(scale) for _ in range(3))
        self._normal = scale.new_empty(*scale.shape[:2], batch_size)
        self._product = torch.empty_like(self._normal)
        self._unbias = batch_size / max(batch_size - 1, 1)

    def forward(self, z: Tensor) -> None:
        """Normalises z (members, units, batch) in place and updates the running averages."""
        torch.mean(z, -1, keepdim=True, out=self._mean)
        torch.sub(z, self._mean, out=self._normal)
        torch.mul(self._normal, self._normal, out=self._product)
        torch.mean(self._product, -1, keepdim=True, out=self._variance)
        torch.add(self._variance, BATCH_NORM_EPS, out=self._inverse).rsqrt_()
        self._normal.mul_(self._inverse)
        torch.addcmul(self.shift, self._normal, self.scale, out=z)
        self.running_mean.lerp_(self._mean, BATCH_NORM_MOMENTUM)
        self.running_variance.lerp_(self._variance.mul_(self._unbias), BATCH_NORM_MOMENTUM)

    def backward(self, grad: Tensor) -> None:
        """Turns dL/d(result) into dL/dz in place and writes the gradients of scale and shift (Ioffe & Szegedy 2015)."""
        torch.sum(grad, -1, keepdim=True, out=self.shift_grad)
        torch.mul(grad, self._normal, out=self._product)
        torch.sum(self._product, -1, keepdim=True, out=self.scale_grad)
        n = grad.shape[-1]
        torch.mul(self._normal, self.scale_grad / n, out=self._product)
        grad.sub_(self._product).sub_(self.shift_grad / n).mul_(self._inverse).mul_(self.scale)


class HiddenLayer:
    """One hidden layer: matrix, batch norm, activation, dropout, in this order.

    Args:
        weight, weight_grad: (members, pieces · units, inputs), with a bias column if the layer has a bias.
        norm: batch norm, or None.
        activation: follows the linear part.
        passes_ones: whether `output` ends with the row of ones that the next layer's bias multiplies.
        drops: whether a dropout mask follows.
        batch_size: events a step.

    Attributes:
        output: (members, units [+ 1], batch), the input of the next layer.
        grad: dL/d(output without ones), (members, units, batch), which the next layer writes.
        linear_grad: dL/d(linear part), (members, pieces · units, batch).
    """

    def __init__(
        self,
        weight: Tensor,
        weight_grad: Tensor,
        norm: BatchNorm | None,
        activation: Activation,
        *,
        passes_ones: bool,
        drops: bool,
        batch_size: int,
    ) -> None:
        members, n_linear, _ = weight.shape
        units = n_linear // activation.pieces
        self.weight, self.weight_grad, self.norm, self.activation = weight, weight_grad, norm, activation
        self._padded = weight.new_ones(members, units + 1, batch_size)
        self._kept = self._padded[:, :units]
        self._result = torch.empty_like(self._kept) if drops else self._kept
        self._linear = weight.new_empty(members, n_linear, batch_size) if activation.keeps_input else self._result
        self.grad = weight.new_empty(members, units, batch_size)
        self.linear_grad = self.grad if activation.pieces == 1 else torch.empty_like(self._linear)
        self.output = self._padded if passes_ones else self._kept

    def forward(self, inputs: Tensor, mask: Tensor | None) -> list[Operation]:
        """Returns the operations from `inputs` (members, inputs, batch) to `output`; `mask` is from `dropout_mask`."""
        operations: list[Operation] = [partial(torch.bmm, self.weight, inputs, out=self._linear)]
        if self.norm is not None:
            operations.append(partial(self.norm.forward, self._linear))
        operations.append(partial(self.activation.forward, self._linear, self._result))
        if mask is not None:
            operations.append(partial(torch.mul, self._result, mask, out=self._kept))
        return operations

    def backward(self, inputs: Tensor, mask: Tensor | None) -> list[Operation]:
        """Returns the operations from `grad` to `linear_grad`, and to the gradients of this layer's parameters."""
        grad, linear_grad = self.grad, self.linear_grad
        operations: list[Operation] = [] if mask is None else [partial(grad.mul_, mask)]
        operations.append(partial(self.activation.backward, grad, self._linear, self._result, linear_grad))
        if self.norm is not None:
            operations.append(partial(self.norm.backward, linear_grad))
        return [*operations, partial(torch.bmm, linear_grad, inputs.mT, out=self.weight_grad)]


def dropout_mask(noise: Tensor, rate: float) -> None:
    """Turns uniform noise into 0 (a share `rate`) or 1 / (1 − rate), in place."""
    noise.ge_(rate).mul_(1.0 / (1.0 - rate))


def parts_of_batch(architecture: Architecture, n_members: int, batch_size: int, device: torch.device) -> int:
    """Returns the number of parts into which a member's batch is cut, each with a copy of the member's weights.

    A gradient of weights sums over the batch, and a GPU computes one member's sum on one of its multiprocessors: few
    members with large batches leave most of them idle. Cut into parts, eight members with 65,536 events a step train
    several times faster. Batch norm and dropout need the whole batch, wide layers fill a GPU without parts, and for a
    single member cuBLAS itself cuts the sum.
    """
    small = max(architecture.hidden, default=0) < WIDE
    if device.type == "cpu" or n_members == 1 or architecture.batch_norm or architecture.dropout > 0 or not small:
        return 1
    n_parts = 1
    while n_members * n_parts < _GROUPS and batch_size % (2 * n_parts) == 0 and batch_size // (2 * n_parts) >= _EVENTS:
        n_parts *= 2
    return n_parts


class Network:
    """The networks of all members with the buffers for one batch size.

    Args:
        architecture: the architecture of each network.
        parameters: holds the weights, and receives their gradients.
        batch_size: events a step and member.
        n_parts: parts of a batch, from `parts_of_batch`. With more than one the passes work on groups: the parts of the
            first member, then those of the second, each of batch_size / n_parts events.
    """

    def __init__(self, architecture: Architecture, parameters: Parameters, batch_size: int, n_parts: int = 1) -> None:
        self.architecture, self.parameters = architecture, parameters
        n_members = len(parameters.views[0])
        self._copy_weights: list[Operation] = []
        self._sum_gradients: list[Operation] = []
        views, grads = parameters.views, parameters.grads
        if n_parts > 1:
            views, grads = ([v.repeat_interleave(n_parts, 0) for v in tensors] for tensors in (views, grads))
            for own, copies in zip(parameters.views, views, strict=True):
                by_member = copies.view(n_members, n_parts, *copies.shape[1:])
                self._copy_weights.append(partial(by_member.copy_, own[:, None].expand_as(by_member)))
            for own, copies in zip(parameters.grads, grads, strict=True):
                by_member = copies.view(n_members, n_parts, *copies.shape[1:])
                self._sum_gradients.append(partial(torch.sum, by_member, 1, out=own))
        self.layers: list[HiddenLayer] = []
        activation, per_layer = ACTIVATIONS[architecture.activation], 3 if architecture.batch_norm else 1
        for first in range(0, len(views) - 1, per_layer):
            norm = None
            if architecture.batch_norm:
                scale, shift = first + 1, first + 2
                norm = BatchNorm(views[scale], views[shift], grads[scale], grads[shift], batch_size // n_parts)
            is_last = first + per_layer == len(views) - 1
            layer = HiddenLayer(
                views[first],
                grads[first],
                norm,
                activation,
                passes_ones=is_last or architecture.input_bias,
                drops=architecture.dropout > 0,
                batch_size=batch_size // n_parts,
            )
            self.layers.append(layer)
        self.weight, self.weight_grad = views[-1], grads[-1]
        matrices = [*(layer.weight for layer in self.layers), self.weight][1:]
        self._backward = [w[:, :, : layer.grad.shape[1]].mT for w, layer in zip(matrices, self.layers, strict=True)]

    def forward(self, inputs: Tensor, masks: Sequence[Tensor | None], logits: Tensor) -> list[Operation]:
        """Returns the operations from inputs (groups, d [+ 1], batch) to `logits` (groups, k, batch).

        `masks` holds one mask or None for each hidden layer.
        """
        operations = [*self._copy_weights]
        for layer, mask in zip(self.layers, masks, strict=True):
            operations += layer.forward(inputs, mask)
            inputs = layer.output
        return [*operations, partial(torch.bmm, self.weight, inputs, out=logits)]

    def backward(self, inputs: Tensor, masks: Sequence[Tensor | None], grad: Tensor) -> list[Operation]:
        """Returns the operations from `grad` = dL/d(logits), (groups, k, batch), to the gradient of every parameter."""
        sources = [inputs, *(layer.output for layer in self.layers)]
        operations: list[Operation] = [partial(torch.bmm, grad, sources[-1].mT, out=self.weight_grad)]
        for position in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[position]
            operations.append(partial(torch.bmm, self._backward[position], grad, out=layer.grad))
            operations += layer.backward(sources[position], masks[position])
            grad = layer.linear_grad
        return operations + self._sum_gradients

    def running(self) -> list[Tensor]:
        """Returns the running averages of batch norm, (members, units, 1) each; empty without batch norm."""
        norms = [layer.norm for layer in self.layers if layer.norm is not None]
        return [tensor for norm in norms for tensor in (norm.running_mean, norm.running_variance)]
