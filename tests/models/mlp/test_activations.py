"""The activation functions, presets' words and forward pass in numpy are those that the engine trains with."""

from __future__ import annotations

import typing

import numpy as np
import pytest
import torch

from pidlab.config.schema.models.classifiers import MlpModel
from pidlab.models.mlp.activations import FUNCTIONS
from pidlab.models.mlp.engine.layers import ACTIVATIONS
from pidlab.models.mlp.engine.losses.classes import LOSSES
from pidlab.models.mlp.engine.optimizers import OPTIMIZERS, SCHEDULES
from pidlab.models.mlp.engine.tensors import as_layers
from pidlab.models.mlp.engine.tensors import forward as forward_of_tensors
from pidlab.models.mlp.network import DenseNetwork, forward
from pidlab.models.mlp.presets import CHOICES


def test_the_words_of_the_presets_are_those_of_the_engine_and_of_the_configuration() -> None:
    engine = {"activation": ACTIVATIONS, "loss": LOSSES, "optimizer": OPTIMIZERS, "schedule": SCHEDULES}
    for name, words in engine.items():
        assert sorted(CHOICES[name]) == sorted(words)
        literal = MlpModel.model_fields[name].annotation
        stated = [word for part in (literal, *typing.get_args(literal)) for word in typing.get_args(part)]
        assert {word for word in stated if isinstance(word, str)} == set(words)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_each_function_and_its_derivative_are_those_of_the_engine(name: str) -> None:
    rng, engine, function = np.random.default_rng(1), ACTIVATIONS[name], FUNCTIONS[name]
    assert function.pieces == engine.pieces
    z = np.concatenate([rng.normal(0, 3, (2, 4, 500)), np.full((2, 4, 3), [-800.0, 0.1, 800.0])], axis=-1)
    gradient = rng.normal(size=(2, 4 // engine.pieces, z.shape[-1]))
    value, slope = torch.empty(gradient.shape, dtype=torch.float64), torch.empty(z.shape, dtype=torch.float64)
    kept = torch.from_numpy(z.copy())
    engine.forward(kept, value)
    engine.backward(torch.from_numpy(gradient.copy()), torch.from_numpy(z.copy()), value, slope)
    found = function.value(z)
    np.testing.assert_allclose(found, value.numpy(), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(function.backward(gradient, z, found), slope.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("hidden", [(), (5,), (300, 4)])
@pytest.mark.parametrize("activation", ["silu", "maxout"])
def test_the_forward_pass_is_that_of_the_engine(activation: str, hidden: tuple[int, ...]) -> None:
    rng, pieces = np.random.default_rng(2), FUNCTIONS[activation].pieces
    widths = [(n_in, pieces * n_out) for n_in, n_out in zip((3, *hidden), hidden, strict=False)]
    widths.append(((3, *hidden)[-1], 2))

    def network() -> DenseNetwork:
        weights = tuple(rng.normal(size=(n_out, n_in)).astype(np.float32) for n_in, n_out in widths)
        return DenseNetwork(weights, tuple(rng.normal(size=len(w)).astype(np.float32) for w in weights), activation)

    networks, x = [network(), network()], rng.normal(size=(20_000, 3))
    expected = [
        forward_of_tensors(as_layers(each, torch.device("cpu"), torch.float64), activation, torch.from_numpy(x))
        for each in networks
    ]
    np.testing.assert_allclose(forward(networks, x), torch.stack(expected).numpy(), rtol=1e-10, atol=1e-10)
