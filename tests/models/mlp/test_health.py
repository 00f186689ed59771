"""Faults of a training: each is provoked and said with what to change, and the usual trainings say nothing."""

from __future__ import annotations

import numpy as np
import pytest

from pidlab.models.base import ValidationSet
from pidlab.models.mlp import MLP
from pidlab.models.mlp.engine.layers import ACTIVATIONS
from pidlab.models.mlp.health import Health, silent_units, warnings_about
from pidlab.models.mlp.network import DenseNetwork

HEALTHY = Health("silu", (0.0, 0.0), 0.7, 0.1)


def _blobs(n=2000, d=4, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return (rng.normal(size=(n, d)) + 0.8 * y[:, None]).astype(np.float32), y


def _trained(x, y, **how):
    return MLP(members=1, seed=1, **how).fit(x, y)


def _said(model, *, scaled=True):
    return list(warnings_about(model.health_, scaled=scaled))


@pytest.mark.parametrize(("activation", "silent"), [
    ("relu", 0.5), ("tanh", 0.75), ("sigmoid", 0.75), ("elu", 0.5), ("silu", 0.5), ("gelu", 0.5), ("leaky_relu", 0.0),
    ("maxout", 0.0),
])  # fmt: skip
def test_units_are_silent_where_their_slope_is_zero_for_all_events(activation, silent):
    """Units of slope 1 and bias 0, -50 and -100, and one of bias 50, where relu is linear and tanh at its bound."""
    pieces = ACTIVATIONS[activation].pieces
    weight, bias = np.ones((4 * pieces, 1), np.float32), np.tile(np.float32([0, -50, -100, 50]), pieces)
    network = DenseNetwork((weight, np.ones((1, 4), np.float32)), (bias, np.zeros(1, np.float32)), activation)
    assert silent_units(network, np.linspace(-1, 1, 1000)[:, None]) == (silent,)


def test_a_unit_that_answers_two_per_cent_of_the_events_is_not_silent():
    x = np.linspace(0, 1, 1000)[:, None]
    network = DenseNetwork(
        (np.float32([[1], [1]]), np.ones((1, 2), np.float32)), (np.float32([-0.98, -0.995]), np.zeros(1, np.float32)),
        "relu",
    )  # fmt: skip
    assert silent_units(network, x) == (0.5,)


def test_the_events_looked_at_are_of_all_classes_in_a_file_that_holds_them_one_after_another():
    x = np.concatenate([np.zeros(90_000), np.ones(10_000)])[:, None]
    network = DenseNetwork(
        (np.float32([[1]]), np.ones((1, 1), np.float32)), (np.float32([-0.5]), np.zeros(1, np.float32)), "relu"
    )
    assert silent_units(network, x) == (0.0,)


def test_dead_units_are_said_with_what_to_change():
    x, y = _blobs()
    model = _trained(x, y, hidden=[16, 16], activation="relu", learning_rate=0.3, epochs=3)
    (sentence,) = _said(model)
    assert sentence.startswith("Units of a hidden layer are dead: ")
    assert "(relu is flat there)" in sentence
    for help_ in ("a smaller learning_rate", "activation: leaky_relu", "batch_norm: true"):
        assert help_ in sentence
    cured = _trained(x, y, hidden=[16, 16], activation="leaky_relu", epochs=3)
    assert _said(cured) == []


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_saturated_units_are_said_with_what_to_change(activation):
    x, y = _blobs()
    x[:, 0] = 5000 + 1000 * x[:, 0]  # a momentum in MeV, as it is
    model = _trained(x, y, hidden=[16], activation=activation, epochs=2)
    (sentence,) = _said(model, scaled=False)
    assert sentence.startswith("Units of a hidden layer are saturated: ")
    assert f"({activation} is at its bounds there)" in sentence
    assert "scaled features (scaling: standard or quantile), a smaller learning_rate" in sentence
    assert "leaky_relu" not in sentence
    assert "scaling" not in _said(model, scaled=True)[0]


def test_vanishing_gradients_are_said_with_what_to_change():
    x, y = _blobs()
    deep = [16] * 8
    (sentence,) = _said(_trained(x, y, hidden=deep, activation="sigmoid", epochs=3, learning_rate=1e-3))
    assert sentence.startswith("Its gradients vanish: ")
    assert "so that the first layers hardly learn" in sentence
    assert "fewer hidden layers, activation: silu, batch_norm: true" in sentence
    assert _said(_trained(x, y, hidden=deep, activation="silu", epochs=3, batch_norm=True)) == []


def test_exploding_gradients_are_said_with_what_to_change():
    x, y = _blobs()
    how = {"hidden": [16, 16], "activation": "leaky_relu", "epochs": 3}
    (sentence,) = _said(_trained(1e5 * x, y, learning_rate=1e-4, **how), scaled=False)
    assert sentence.startswith("Its gradients explode: the norm of a layer's gradient is ")
    assert "scaled features (scaling: standard or quantile), a smaller learning_rate" in sentence
    assert _said(_trained(x, y, **how)) == []


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("preset", ["default", "workshop"])
def test_usual_trainings_are_not_faulted(preset, activation):
    x, y = _blobs(2000)
    validation = ValidationSet(*_blobs(500, seed=1), np.ones(500))
    model = MLP(preset=preset, activation=activation, epochs=5, seed=1).fit(x, y, validation=validation)
    assert len(model.health_) == len(model.networks_)
    assert _said(model) == []


def test_a_sentence_counts_the_networks_and_tells_of_the_worst():
    dead, worse = Health("relu", (0.1, 0.55), 1.0, 0.1), Health("relu", (0.9, 0.6), 0.0, 0.1)
    (sentence,) = warnings_about([HEALTHY, dead, worse, HEALTHY], scaled=True)
    assert sentence.startswith(
        "Units of a hidden layer are dead in 2 of its 4 networks: up to 90 % of those of layer 1"
    )


def test_faults_of_different_networks_are_all_said():
    dead, vanished, exploded = (0.9, 1e-9, 0.1), (0.0, 1e-9, 0.1), (0.0, 1.0, 1e9)
    found = [*(Health("relu", (silent,), *rest) for silent, *rest in (dead, vanished, exploded)), HEALTHY]
    assert [sentence.split(" in 1 of its 4 networks")[0] for sentence in warnings_about(found, scaled=True)] == [
        "Units of a hidden layer are dead", "Its gradients vanish", "Its gradients explode"
    ]  # fmt: skip


def test_without_hidden_layers_nothing_can_be_wrong():
    x, y = _blobs(300)
    model = MLP(hidden=[], epochs=2).fit(x, y)
    assert model.health_[0].silent == ()
    assert _said(model) == []


def test_folds_know_their_own_health(tmp_path):
    x, y = _blobs(600)
    rows = np.arange(600)
    folds = MLP(hidden=[4], epochs=2).fit_folds(x, y, folds=[(rows[:400], rows[400:]), (rows[200:], None)])
    assert [len(model.health_) for model in folds] == [1, 1]
    folds[0].save(tmp_path)
    assert MLP.load(tmp_path).health_ == ()
