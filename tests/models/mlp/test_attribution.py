"""Integrated gradients: complete for every network, equal to known integrals, and to the gradients of autograd."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from pidlab.models.mlp.attribution import COMPLETENESS, _Path, integrated_gradients, log_odds
from pidlab.models.mlp.engine.layers import ACTIVATIONS
from pidlab.models.mlp.estimator import MLP
from pidlab.models.mlp.network import DenseNetwork


def network(hidden=(24, 16), activation="silu", d=5, k=1, seed=0, scale=1.5):
    rng = np.random.default_rng(seed)
    pieces, weights, biases, n_in = ACTIVATIONS[activation].pieces, [], [], d
    for width in hidden:
        weights.append(rng.normal(0, scale / np.sqrt(n_in), (pieces * width, n_in)))
        biases.append(rng.normal(0, 0.5, pieces * width))
        n_in = width
    weights.append(rng.normal(0, 3 / np.sqrt(n_in), (k, n_in)))
    biases.append(rng.normal(0, 0.5, k))
    return DenseNetwork(tuple(weights), tuple(biases), activation)


def log_odds_by_numpy(networks, x, column):
    """From probabilities, by numpy alone."""
    total = 0.0
    for own in networks:
        values = x
        for weight, bias in zip(own.weights[:-1], own.biases[:-1], strict=True):
            values = activated(own.activation, values @ weight.T + bias)
        logits = values @ own.weights[-1].T + own.biases[-1]
        if logits.shape[1] == 1:
            total = total + 1 / (1 + np.exp(-logits[:, 0]))
        else:
            powers = np.exp(logits - logits.max(axis=1, keepdims=True))
            total = total + (powers / powers.sum(axis=1, keepdims=True))[:, column]
    mean = total / len(networks)
    return np.log(mean / (1 - mean))


def activated(name, z):
    functions = {
        "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu, "silu": torch.nn.functional.silu,
        "elu": torch.nn.functional.elu, "gelu": torch.nn.functional.gelu,
        "leaky_relu": lambda z: torch.nn.functional.leaky_relu(z, 0.01),
        "maxout": lambda z: torch.maximum(*z.chunk(2, dim=1)),
    }  # fmt: skip
    return functions[name](torch.from_numpy(z)).numpy()


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_contributions_sum_to_the_difference_of_the_log_odds(activation, k):
    members = [network(activation=activation, k=k, seed=seed) for seed in (1, 2)]
    rng = np.random.default_rng(3)
    x, reference = rng.normal(0, 2, (40, 5)), rng.normal(size=5)
    for column in range(k):
        found = integrated_gradients(members, x, reference, log_odds, column)
        gained = log_odds_by_numpy(members, x, column) - log_odds_by_numpy(members, reference[None], column)
        assert np.abs(gained).max() > 100 * COMPLETENESS
        np.testing.assert_allclose(found.parts.sum(axis=1), gained, rtol=0, atol=COMPLETENESS)
        np.testing.assert_allclose(
            found.reference, log_odds_by_numpy(members, reference[None], column)[0], rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_the_gradient_of_the_engine_is_that_of_finite_differences(activation, k):
    members = [network(activation=activation, k=k, seed=seed) for seed in (4, 5, 6)]
    x = np.random.default_rng(7).normal(size=(30, 5))
    value, gradient = _Path(members, partial(log_odds, column=k - 1)).at(x)
    for j in range(5):
        step = np.zeros(5)
        step[j] = 1e-6
        up, down = (log_odds_by_numpy(members, x + sign * step, k - 1) for sign in (1, -1))
        np.testing.assert_allclose(gradient[:, j], (up - down) / 2e-6, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(value, log_odds_by_numpy(members, x, k - 1), rtol=1e-9, atol=1e-12)


def test_a_linear_network_contributes_its_weights_times_the_distance():
    own = network(hidden=())
    x, reference = np.random.default_rng(1).normal(size=(2, 20, 5))
    found = integrated_gradients([own], x, reference[0], log_odds, 0)
    np.testing.assert_allclose(found.parts, (x - reference[0]) * own.weights[0][0], rtol=1e-12)


def test_a_single_unit_shares_its_output_in_the_proportion_of_what_enters_it():
    """F = 2 tanh(w · x) changes along the line by w · x only, so input j has the integral w_j x_j / (w · x) F."""
    rng = np.random.default_rng(2)
    weights = np.array([[3.0, 1.0, 0.0]])
    own = DenseNetwork((weights, np.array([[2.0]])), (np.zeros(1), np.zeros(1)), "tanh")
    x = rng.normal(size=(50, 3))
    found = integrated_gradients([own], x, np.zeros(3), log_odds, 0)
    along = x @ weights[0]
    expected = 2 * np.tanh(along)[:, None] * x * weights[0] / along[:, None]
    np.testing.assert_allclose(found.parts, expected, rtol=0, atol=COMPLETENESS)
    assert (found.parts[:, 2] == 0).all()


def test_an_event_at_the_reference_has_none_and_events_do_not_depend_on_each_other():
    own = network(activation="relu")
    x = np.random.default_rng(3).normal(size=(30, 5))
    together = integrated_gradients([own], x, x[0], log_odds, 0)
    assert (together.parts[0] == 0).all()
    alone = integrated_gradients([own], x[7:8], x[0], log_odds, 0)
    np.testing.assert_allclose(alone.parts[0], together.parts[7], rtol=1e-9, atol=1e-12)


def test_saturated_networks_lose_nothing():
    """At log-odds of 200 the probability is 1 to the last bit."""
    own = network(scale=6.0, activation="tanh")
    own = DenseNetwork((*own.weights[:-1], own.weights[-1] * 60), own.biases, "tanh")
    x = np.random.default_rng(4).normal(0, 3, (40, 5))
    found = integrated_gradients([own], x, np.zeros(5), log_odds, 0)
    value, _ = _Path([own], partial(log_odds, column=0)).at(x)
    assert np.abs(value).max() > 100
    np.testing.assert_allclose(found.parts.sum(axis=1), value - found.reference, rtol=0, atol=COMPLETENESS)


@pytest.mark.parametrize("k", [2, 3])
def test_a_trained_estimator_is_complete_with_missing_values_at_their_feature(k):
    rng = np.random.default_rng(5)
    y = rng.integers(0, k, 1200)
    x = rng.normal(y[:, None], 1, (1200, 4)).astype(np.float32)
    x[rng.uniform(size=1200) < 0.2, 1] = np.nan
    x[:, 3] = 0.5
    model = MLP(hidden=[12], epochs=3, members=2, batch_norm=True, activation="leaky_relu").fit(x, y)
    parts = model.contributions_from(x[:200])
    p = model.predict_proba(x[:200])
    for column in range(parts.shape[1]):
        own = p[:, 1] if k == 2 else p[:, column]
        np.testing.assert_allclose(parts[:, column].sum(axis=1), np.log(own / (1 - own)), rtol=1e-4, atol=1e-3)
    assert parts.shape == (200, 1 if k == 2 else k, 5)
    assert np.abs(parts[:, :, 3]).max() == 0  # it never differs from its median
    is_missing = np.isnan(x[:200, 1])
    assert np.abs(parts[is_missing, 0, 1]).min() > 0
    given = model.contributions_from(x[:200], np.array([1.0, 0.0, 2.0, 0.5]))
    np.testing.assert_allclose(given.sum(axis=2), parts.sum(axis=2), rtol=1e-4, atol=1e-3)
    assert np.abs(given[:, 0, 0] - parts[:, 0, 0]).max() > 0.01
