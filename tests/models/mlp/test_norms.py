"""Norms of weights and gradients in the history: against autograd, for every optimiser, layer and member."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from pidlab.models.mlp import MLP
from pidlab.models.mlp.engine.batches import Member, as_table
from pidlab.models.mlp.engine.layers import Architecture
from pidlab.models.mlp.engine.optimizers import OPTIMIZERS
from pidlab.models.mlp.engine.tensors import folded_layers
from pidlab.models.mlp.engine.trainer import Trainer, TrainingPlan, quiet_torch

N, D = 96, 4


def _table():
    generator = torch.Generator().manual_seed(8)
    label = torch.randint(2, (N,), generator=generator)
    x = torch.randn(N, D, generator=generator, dtype=torch.float64) + 0.7 * label[:, None]
    return as_table(x, label, 0.5 + torch.rand(N, generator=generator, dtype=torch.float64))


def _trainer(table, architecture, members=1, **how):
    plan = {
        "optimizer": "adam",
        "momentum": 0.9,
        "weight_decay": 0.0,
        "learning_rate": 0.01,
        "batch_size": N,
        "epochs": 2,
    }
    asked = TrainingPlan(loss="cross_entropy", schedule="constant", patience=None, **{**plan, **how})
    return Trainer(table, [Member(seed, None, None) for seed in range(members)], architecture, asked)


def _layers(architecture):
    return [*map(str, range(1, 1 + len(architecture.hidden))), "output"]


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_gradient_is_that_of_the_loss_by_autograd(optimizer, weight_decay):
    """One batch holds all events, so that the first step's gradient is that of the initial weights. It has no part of
    the penalty, and no optimiser changes it."""
    table, architecture = _table(), Architecture(D, (6, 5), 1, "tanh")
    with quiet_torch(0):
        trainer = _trainer(table, architecture, optimizer=optimizer, weight_decay=weight_decay)
        layers = [(w.clone(), b.clone()) for w, b in folded_layers(trainer.network, 0)]
    layers = [tuple(torch.tensor(part.numpy(), requires_grad=True) for part in layer) for layer in layers]
    values = table[:, :D].T
    for weight, bias in layers[:-1]:
        values = torch.tanh(weight @ values + bias)
    logits = (layers[-1][0] @ values + layers[-1][1])[0]
    losses = functional.binary_cross_entropy_with_logits(logits, table[:, D + 1], reduction="none")
    (losses * table[:, -1] / table[:, -1].mean()).mean().backward()
    with quiet_torch(0):
        [trained] = trainer.run()
    for layer, parts in zip(_layers(architecture), layers, strict=True):
        expected = np.sqrt(sum(float((part.grad**2).sum()) for part in parts))
        assert trained.history[f"gradient_norm_{layer}"][0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_norms_of_weights_are_those_at_the_end_of_the_epoch(batch_norm):
    architecture = Architecture(D, (6, 5), 1, "relu", batch_norm=batch_norm)
    with quiet_torch(0):
        trainer = _trainer(_table(), architecture, members=2, batch_size=16)
        found = trainer.run()
    for member, trained in enumerate(found):
        for place, layer in zip(architecture.matrices(), _layers(architecture), strict=True):
            expected = trainer.parameters.views[place][member].norm()
            assert trained.history[f"weight_norm_{layer}"][-1] == pytest.approx(float(expected), rel=1e-12)


def test_the_learning_rate_is_that_of_the_last_step():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(128, 3)), np.arange(128) % 2
    falling = MLP(hidden=[4], schedule="step", learning_rate=0.3, epochs=6, batch_size=32, seed=1).fit(x, y)
    assert falling.history_["learning_rate"] == pytest.approx([0.3, 0.3, 0.03, 0.03, 0.003, 0.003])


def test_an_ensemble_has_the_mean_of_its_members():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(128, 3)), np.arange(128) % 2
    architecture = Architecture(3, (4,), 1, "tanh")
    model = MLP(hidden=[4], activation="tanh", members=3, epochs=2, batch_size=128, learning_rate=0.1).fit(x, y)
    assert len(model.networks_) == 3
    norms = [np.hypot(np.linalg.norm(n.weights[0]), np.linalg.norm(n.biases[0])) for n in model.networks_]
    assert model.history_["weight_norm_1"][-1] == pytest.approx(np.mean(norms), rel=1e-6)
    assert set(_layers(architecture)) == {name.rpartition("_")[2] for name in model.history_ if "gradient" in name}
