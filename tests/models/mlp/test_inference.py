"""The fused forward pass against plain numpy in double precision, and the network's place on disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from scipy.special import erf, expit

from pidlab.errors import ModelError
from pidlab.models.mlp.engine.layers import ACTIVATIONS
from pidlab.models.mlp.engine.tensors import as_layers, forward
from pidlab.models.mlp.inference import fast_logits, has_fast_path
from pidlab.models.mlp.network import DenseNetwork, read_networks, write_networks

NUMPY = {
    "sigmoid": expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "silu": lambda z: z * expit(z),
    "gelu": lambda z: 0.5 * z * (1 + erf(z / np.sqrt(2))),
    "maxout": lambda z: np.maximum(z[:, : z.shape[1] // 2], z[:, z.shape[1] // 2 :]),
}


def _network(activation, widths=(5, 20, 7, 1), seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    pieces = ACTIVATIONS[activation].pieces
    last = len(widths) - 2
    rows = [width * (pieces if layer < last else 1) for layer, width in enumerate(widths[1:])]
    shapes = list(zip(rows, widths, strict=False))
    weights = tuple((rng.normal(0, scale / np.sqrt(n_in), (n_out, n_in))).astype(np.float32) for n_out, n_in in shapes)
    biases = tuple(rng.normal(0, 0.5, n_out).astype(np.float32) for n_out, _ in shapes)
    return DenseNetwork(weights, biases, activation)


def _by_numpy(network, x):
    values = x.astype(np.float64)
    for weight, bias in zip(network.weights[:-1], network.biases[:-1], strict=True):
        values = NUMPY[network.activation](values @ weight.T.astype(np.float64) + bias)
    return values @ network.weights[-1].T.astype(np.float64) + network.biases[-1]


def _events(n, d=5, seed=1):
    return np.random.default_rng(seed).normal(0, 2, (n, d)).astype(np.float32)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_reference_pass_is_numpys(activation):
    network, x = _network(activation), _events(1000)
    found = forward(as_layers(network, torch.device("cpu"), torch.float64), activation, torch.from_numpy(x).double())
    np.testing.assert_allclose(found.T.numpy(), _by_numpy(network, x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "gelu"])
@pytest.mark.parametrize("widths", [(5, 1), (5, 20, 20, 1), (5, 3, 4), (5, 33, 64, 6, 3)])
@pytest.mark.parametrize("n", [0, 1, 255, 256, 1025])
def test_fused_pass_is_numpys_in_single_precision(activation, widths, n):
    network, x = _network(activation, widths), _events(n)
    assert has_fast_path(network)
    found = fast_logits(network, x)
    assert found.shape == (n, widths[-1])
    # The size of the logits is about 1; a few roundings of 6e-8 a layer.
    np.testing.assert_allclose(found, _by_numpy(network, x), rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "elu", "silu"])
def test_fused_activations_hold_at_the_ends(activation):
    """One unit handed through: the activation itself, from deep saturation to none, and exactly at 0."""
    one, zero = np.ones((1, 1), np.float32), np.zeros(1, np.float32)
    network = DenseNetwork((one, one), (zero, zero), activation)
    x = np.concatenate([np.linspace(-100, 100, 40_001), [0.0, 1e-6, -1e-6]]).astype(np.float32)[:, None]
    expected = NUMPY[activation](x.astype(np.float64))
    np.testing.assert_allclose(fast_logits(network, x), expected, rtol=3e-7, atol=2e-7)


@pytest.mark.parametrize("activation", ["tanh", "silu", "maxout"])
def test_scores_do_not_depend_on_the_company(activation):
    network, x = _network(activation), _events(1000)
    whole = fast_logits(network, x)
    for rows in (slice(0, 1), slice(3, 300), slice(999, 1000), slice(None, None, 7)):
        np.testing.assert_array_equal(fast_logits(network, np.ascontiguousarray(x[rows])), whole[rows])


@pytest.mark.parametrize("activation", ["relu", "tanh", "silu"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_gives_nan_and_leaves_the_others_alone(activation, bad):
    network, x = _network(activation), _events(300)
    whole = fast_logits(network, x)
    x[7, 2] = bad
    found = fast_logits(network, x)
    assert np.isnan(found[7, 0])
    np.testing.assert_array_equal(np.delete(found, 7, axis=0), np.delete(whole, 7, axis=0))


def test_another_number_of_features_is_refused():
    with pytest.raises(ModelError, match=r"takes \(n, 5\) features. Got \(3, 4\)"):
        fast_logits(_network("tanh"), _events(3, d=4))


def test_wide_networks_and_gelu_go_the_other_way():
    assert not has_fast_path(_network("gelu"))
    assert not has_fast_path(_network("tanh", (5, 300, 1)))
    assert has_fast_path(_network("tanh", (5, 256, 1)))


@pytest.mark.parametrize("activation", ["tanh", "maxout"])
def test_networks_come_back_from_disk(activation, tmp_path):
    networks = [_network(activation, seed=seed) for seed in (1, 2)]
    write_networks(tmp_path / "n", networks)
    for one, two in zip(networks, read_networks(tmp_path / "n", activation), strict=True):
        for a, b in zip(one.weights + one.biases, two.weights + two.biases, strict=True):
            np.testing.assert_array_equal(a, b)


def _broken(change):
    network = _network("tanh")
    tensors = {}
    for i, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        tensors |= {f"layer{i}.weight": weight[None], f"layer{i}.bias": bias[None]}
    change(tensors)
    return tensors


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.clear(),
        lambda t: t.update({"layer1.weight": t["layer1.weight"][:, :, :-1]}),
        lambda t: t.update({"layer1.bias": t["layer1.bias"][:, :-1]}),
        lambda t: t.update({"layer0.bias": t["layer0.bias"].astype(np.int32)}),
        lambda t: t.pop("layer1.bias"),
        lambda t: t.update({"layer2.weight": np.concatenate([t["layer2.weight"]] * 2)}),
    ],
    ids=["empty", "width", "bias", "type", "missing", "members"],
)
def test_matrices_that_do_not_fit_are_refused(change, tmp_path):
    save_file({k: np.ascontiguousarray(v) for k, v in _broken(change).items()}, tmp_path / "n")
    with pytest.raises(ModelError, match="make the run again"):
        read_networks(tmp_path / "n", "tanh")


def test_a_file_that_is_no_safetensors_is_refused(tmp_path):
    (tmp_path / "n").write_bytes(b"not a network")
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        read_networks(tmp_path / "n", "tanh")
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        read_networks(tmp_path / "absent", "tanh")
