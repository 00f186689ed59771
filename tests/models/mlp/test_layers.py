"""The hand-written backward pass is the gradient that torch's autograd finds, in double precision."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from pidlab.models.mlp.engine.layers import ACTIVATIONS, Architecture, Network, dropout_mask, initial_parameters
from pidlab.models.mlp.engine.tensors import folded_layers, forward

MEMBERS, BATCH, D = 3, 17, 5
CPU = torch.device("cpu")
AUTOGRAD = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": lambda z: functional.leaky_relu(z, 0.01),
    "elu": functional.elu,
    "silu": functional.silu,
    "gelu": functional.gelu,
    "maxout": lambda z: torch.maximum(z[: len(z) // 2], z[len(z) // 2 :]),
}


def _generators(seed=5):
    return [torch.Generator().manual_seed(seed + member) for member in range(MEMBERS)]


def _built(architecture, dtype=torch.float64):
    parameters = initial_parameters(architecture, _generators(), dtype, CPU)
    return parameters, Network(architecture, parameters, BATCH)


def _inputs(architecture, generator):
    rows = torch.ones(MEMBERS, BATCH, D + 1, dtype=torch.float64)
    rows[..., :D] = torch.randn(MEMBERS, BATCH, D, generator=generator, dtype=torch.float64)
    rows = rows[..., : D + architecture.input_bias]
    return rows.mT


def _masks(architecture, generator):
    if not architecture.dropout:
        return [None] * len(architecture.hidden)
    masks = [torch.rand(MEMBERS, u, BATCH, generator=generator, dtype=torch.float64) for u in architecture.hidden]
    for mask in masks:
        dropout_mask(mask, architecture.dropout)
    return masks


def _by_autograd(architecture, leaves, x, masks, member):
    """Logits (k, batch) of one member by functions of torch, from its parameters in the order of `shapes`."""
    values, position = x.T, 0
    for mask in masks:
        weight = leaves[position]
        values = weight[:, : len(values)] @ values + (0 if architecture.batch_norm else weight[:, -1:])
        position += 1
        if architecture.batch_norm:
            scale, shift = leaves[position].flatten(), leaves[position + 1].flatten()
            values = functional.batch_norm(values.T, None, None, scale, shift, training=True).T
            position += 2
        values = AUTOGRAD[architecture.activation](values)
        values = values if mask is None else values * mask[member]
    return leaves[-1][:, :-1] @ values + leaves[-1][:, -1:]


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("batch_norm", "dropout"), [(False, 0.0), (True, 0.0), (False, 0.4), (True, 0.4)])
def test_gradients_equal_autograd(activation, batch_norm, dropout):
    architecture = Architecture(D, (7, 4), 2, activation, batch_norm, dropout)
    parameters, network = _built(architecture)
    generator = torch.Generator().manual_seed(1)
    inputs, masks = _inputs(architecture, generator), _masks(architecture, generator)
    if batch_norm:
        parameters.flat.add_(0.3)
    upstream = torch.randn(MEMBERS, 2, BATCH, generator=generator, dtype=torch.float64)
    logits = torch.empty_like(upstream)
    for operation in [*network.forward(inputs, masks, logits), *network.backward(inputs, masks, upstream)]:
        operation()
    for member in range(MEMBERS):
        leaves = [view[member].clone().requires_grad_() for view in parameters.views]
        expected = _by_autograd(architecture, leaves, inputs.mT[member, :, :D], masks, member)
        expected.backward(upstream[member])
        torch.testing.assert_close(logits[member], expected.detach(), rtol=1e-11, atol=1e-12)
        for leaf, gradient in zip(leaves, parameters.grads, strict=True):
            torch.testing.assert_close(gradient[member], leaf.grad, rtol=1e-9, atol=1e-12)


def test_a_network_without_hidden_layers_is_linear():
    architecture = Architecture(D, (), 1, "tanh")
    parameters, network = _built(architecture)
    inputs = _inputs(architecture, torch.Generator().manual_seed(1))
    logits = torch.empty(MEMBERS, 1, BATCH, dtype=torch.float64)
    for operation in network.forward(inputs, [], logits):
        operation()
    torch.testing.assert_close(logits, parameters.views[0] @ inputs)


def test_running_averages_are_those_of_batch_norm_1d():
    architecture = Architecture(D, (6,), 1, "relu", batch_norm=True)
    parameters, network = _built(architecture)
    reference = torch.nn.BatchNorm1d(6, dtype=torch.float64)
    logits = torch.empty(MEMBERS, 1, BATCH, dtype=torch.float64)
    for seed in range(3):
        inputs = _inputs(architecture, torch.Generator().manual_seed(seed))
        for operation in network.forward(inputs, [None], logits):
            operation()
        reference((parameters.views[0][1] @ inputs[1]).T)
    mean, variance = network.running()
    torch.testing.assert_close(mean[1].flatten(), reference.running_mean)
    torch.testing.assert_close(variance[1].flatten(), reference.running_var)


def test_folded_layers_are_the_network_with_its_running_averages():
    architecture = Architecture(D, (6, 4), 1, "maxout", batch_norm=True)
    parameters, network = _built(architecture)
    generator = torch.Generator().manual_seed(3)
    for tensor in [*parameters.views, *network.running()]:
        tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.1)
    x = torch.randn(50, D, generator=generator, dtype=torch.float64)
    leaves, averages, values = [view[1] for view in parameters.views], [a[1].flatten() for a in network.running()], x
    for layer in range(2):
        weight, scale, shift = leaves[3 * layer : 3 * layer + 3]
        mean, variance = averages[2 * layer : 2 * layer + 2]
        values = functional.batch_norm(values @ weight.T, mean, variance, scale.flatten(), shift.flatten())
        values = AUTOGRAD["maxout"](values.T).T
    expected = values @ leaves[-1][:, :-1].T + leaves[-1][:, -1]
    torch.testing.assert_close(forward(folded_layers(network, 1), "maxout", x).T, expected)


def test_fast_tanh_is_tanh_to_a_few_units_of_single_precision():
    z = torch.linspace(-20, 20, 100_001)
    out = torch.empty_like(z)
    ACTIVATIONS["tanh"].forward(z, out)
    assert (out.double() - torch.tanh(z.double())).abs().max() < 2e-7


def test_start_is_that_of_nn_linear_and_belongs_to_the_member():
    architecture = Architecture(50, (400,), 1, "tanh")
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    together = initial_parameters(architecture, generators, torch.float32, CPU)
    alone = initial_parameters(architecture, [torch.Generator().manual_seed(2)], torch.float32, CPU)
    for both, one in zip(together.views, alone.views, strict=True):
        assert torch.equal(both[1], one[0])
        assert not torch.equal(both[0], both[1])
    bound = 1 / math.sqrt(50)
    assert together.views[0].abs().max() <= bound
    assert together.views[0].std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_dropout_mask_keeps_the_mean():
    noise = torch.rand(200_000, generator=torch.Generator().manual_seed(1))
    dropout_mask(noise, 0.3)
    assert noise.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
    # Five standard errors of the mean of a scaled Bernoulli variable.
    assert noise.mean().item() == pytest.approx(1.0, abs=5 * math.sqrt(0.3 / 0.7 / 200_000))
