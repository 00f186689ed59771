"""Networks of mean and width: losses against autograd and scipy, fits against known means and widths."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from scipy.stats import norm

from pidlab.errors import ModelError
from pidlab.models.mlp.engine.losses.core import CAUCHY_SCALE, CORE_LOSSES
from pidlab.models.mlp.regression import GaussianRegression

BLOCKS = {"gaussian": (2, 1), "cauchy": (2, 1), "core": (5, 3)}


def _case(name, t):
    """Outputs (2, r·t, batch), targets (2, s·t, batch) and weights; some variables are NaN or outside their window."""
    generator = torch.Generator().manual_seed(1)

    def normal(rows):
        return torch.randn(2, rows, 300, generator=generator, dtype=torch.float64)

    outputs, target = normal(BLOCKS[name][0] * t), 2 * normal(t)
    target[0, 0, :5] = torch.nan
    if name == "core":
        reach = 1 + 4 * torch.rand(2, 2 * t, 300, generator=generator, dtype=torch.float64)
        target = torch.cat([target, outputs[:, :t] - reach[:, :t], outputs[:, :t] + reach[:, t:]], 1)
    return outputs, target, torch.rand(2, 1, 300, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("t", [1, 2])
def test_the_gradient_is_that_of_autograd(name, t):
    outputs, target, weight = _case(name, t)
    leaf = outputs.clone().requires_grad_()
    (CORE_LOSSES[name].value(leaf, target) * weight).sum().backward()
    found = torch.empty_like(outputs)
    CORE_LOSSES[name].gradient(outputs, target, weight, found)
    assert torch.count_nonzero(found) > found.numel() / 2
    torch.testing.assert_close(found, leaf.grad, rtol=1e-9, atol=1e-11)


def test_the_gaussian_loss_is_the_likelihood_of_scipy():
    outputs, target, _ = _case("gaussian", 1)
    mean, log_width = outputs[:, 0].numpy(), outputs[:, 1].numpy()
    expected = -norm.logpdf(target[:, 0].numpy(), mean, np.exp(log_width)) - 0.5 * np.log(2 * np.pi)
    found = CORE_LOSSES["gaussian"].value(outputs, target)[:, 0].numpy()
    np.testing.assert_allclose(found, np.nan_to_num(expected), rtol=1e-12)


def test_cauchys_scale_is_that_of_a_unit_gaussian():
    z = np.linspace(-9, 9, 20_001)
    pull = 2 * z**2 / (CAUCHY_SCALE**2 + z**2)
    assert np.trapezoid(pull * norm.pdf(z), z) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("window", [(-4.0, 5.0), (-0.5, 1.0), (0.6, 4.0)], ids=["wide", "narrow", "beside"])
def test_the_core_is_a_density_in_its_window_with_the_shape_of_a_gaussian(window):
    low, high = window
    mean, width, share = 0.3, 0.7, 0.2
    outputs = torch.tensor([mean, np.log(width), np.log(1.2), np.log(2.0), np.log(share / (1 - share))])[:, None]
    y = np.linspace(low, high, 100_001)
    target = torch.tensor(np.stack([y, np.full_like(y, low), np.full_like(y, high)]))
    density = np.exp(-CORE_LOSSES["core"].value(outputs.double(), target)[0].numpy())
    assert np.trapezoid(density, y) == pytest.approx(1, abs=1e-7)
    peak = density - share / (high - low)
    t = (y - mean) / width
    core = (t > -1.2) & (t < 2.0)
    np.testing.assert_allclose(np.diff(np.log(peak[core])), np.diff(-0.5 * t[core] ** 2), rtol=1e-6, atol=1e-12)
    tail = t > 2.0
    np.testing.assert_allclose(np.diff(np.log(peak[tail])), np.diff(-2.0 * t[tail]), rtol=1e-6, atol=1e-12)


def _sample(n, seed, tail=None, contamination=0.0):
    """X (n, 3), y and the true μ and σ of its core: a Gaussian, perhaps with a tail from `tail` widths above on."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.uniform(0.5, 5, n), rng.uniform(-1, 1, n), rng.uniform(-1, 1, n)])
    mean = 1 - 0.1 / x[:, 0] + 0.1 * x[:, 1] ** 2 + 0.05 * x[:, 2]
    width = 0.03 + 0.05 / x[:, 0] + 0.01 * x[:, 1]
    z = rng.standard_normal(n)
    if tail is not None:
        core, beyond = np.sqrt(2 * np.pi) * norm.cdf(tail), np.exp(-(tail**2) / 2) / tail
        u, share = rng.random(n), core / (core + beyond)
        z = np.where(
            u < share, norm.ppf(np.minimum(u / share, 1) * norm.cdf(tail)), tail + rng.exponential(size=n) / tail
        )
    y = mean + width * z
    other = rng.random(n) < contamination
    return x, np.where(other, rng.uniform(-1, 2, n), y), mean, width


def _check(model, tolerance=0.02):
    """The core has pulls of mean 0 and width 1, altogether and in ten bins of each input."""
    x, _, mean, width = _sample(40_000, 9)
    found_mean, found_width = model.predict(x)
    y = mean + width * np.random.default_rng(4).standard_normal(len(mean))
    pulls = (y - found_mean) / found_width
    assert pulls.std() == pytest.approx(1, abs=tolerance)
    assert np.mean((found_mean - mean) / width) == pytest.approx(0, abs=tolerance)
    for column in x.T:
        place = np.argsort(np.argsort(column)) * 10 // len(column)
        by_bin = [((found_mean - mean) / width)[place == b].mean() for b in range(10)]
        # A tenth of 20,000 events fixes a mean to 0.022 widths, and a width to 1.6 %.
        assert np.abs(by_bin).max() < 4 * 0.022
        assert np.abs([(found_width / width)[place == b].mean() - 1 for b in range(10)]).max() < 0.08


@pytest.mark.slow
@pytest.mark.parametrize("core", [False, True])
def test_mean_and_width_of_a_gaussian_are_found(core):
    x, y, *_ = _sample(20_000, 1)
    held_x, held_y, *_ = _sample(5000, 2)
    model = GaussianRegression(core=core, epochs=40, seed=3, device="cpu")
    _check(model.fit(x, y, validation=(held_x, held_y, np.ones(len(held_y)))))
    assert len(model.history_["validation_loss"]) == len(model.history_["loss"]) == 40


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"tail": 1.5}, {"contamination": 0.2}], ids=["tail", "contamination"])
def test_tails_and_contamination_do_not_move_the_core_but_a_gaussian_likelihood(options):
    x, y, _, width = _sample(20_000, 1, **options)
    model = GaussianRegression(epochs=40, seed=3, device="cpu").fit(x, y)
    _check(model, tolerance=0.03)
    whole = GaussianRegression(core=False, epochs=20, seed=3, device="cpu").fit(x, y)
    assert np.mean(whole.predict(x)[1] / width) > 1.05


def test_the_core_begins_where_a_given_start_says():
    """Two peaks of equal height: the start decides which is the core."""
    rng = np.random.default_rng(7)
    x = rng.uniform(0, 1, (4000, 1))
    centre = np.where(rng.random(4000) < 0.5, 0.0, 20.0)
    y = centre + x[:, 0] + rng.standard_normal(4000)
    for peak in (0.0, 20.0):

        def start(inputs, peak=peak):
            return inputs[:, 0] + peak, np.full(len(inputs), 1.5)

        model = GaussianRegression(hidden=(8,), epochs=20, device="cpu").fit(x, y, start=start)
        mean, width = model.predict(np.array([[0.2], [0.8]]))
        np.testing.assert_allclose(mean, [peak + 0.2, peak + 0.8], atol=0.15)
        np.testing.assert_allclose(width, 1, atol=0.12)


def test_weights_count_and_a_weight_of_zero_is_no_event():
    rng = np.random.default_rng(5)
    x = rng.uniform(0, 1, (6000, 1))
    high = rng.random(6000) < 0.5
    y = high + 0.1 * rng.standard_normal(6000)
    options = {"core": False, "hidden": (8,), "epochs": 15, "device": "cpu"}
    model = GaussianRegression(**options).fit(x, y, np.where(high, 3.0, 1.0))
    assert np.mean(model.predict(x)[0]) == pytest.approx(0.75, abs=0.03)
    assert np.mean(model.predict(x)[1]) == pytest.approx(np.sqrt(0.75 * 0.25 + 0.01), rel=0.05)
    with_zeros = GaussianRegression(**options).fit(x, y, np.where(high, 3.0, 0.0))
    alone = GaussianRegression(**options).fit(x[high], y[high])
    np.testing.assert_array_equal(with_zeros.predict(x), alone.predict(x))


def test_a_missing_input_gives_nothing_and_a_missing_variable_leaves_the_others():
    x, y, *_ = _sample(12_000, 1)
    rng = np.random.default_rng(3)
    both = np.column_stack([y, 5 * x[:, 0] + 2 * rng.standard_normal(len(y))])
    both[rng.random(len(y)) < 0.4, 1] = np.nan
    both[rng.random(len(y)) < 0.1, 0] = np.inf
    holes = x.copy()
    holes[::10, 2] = np.nan
    holes[1::10, 0] = np.inf
    model = GaussianRegression(core=False, epochs=30, device="cpu").fit(holes, both)
    found_mean, found_width = model.predict(holes)
    missing = ~np.isfinite(holes).all(axis=1)
    assert np.isnan(found_mean[missing]).all()
    assert np.isnan(found_width[missing]).all()
    known = ~missing
    assert np.std(((y - found_mean[:, 0]) / found_width[:, 0])[known]) == pytest.approx(1, abs=0.03)
    assert np.std(
        ((both[:, 1] - found_mean[:, 1]) / found_width[:, 1])[known & ~np.isnan(both[:, 1])]
    ) == pytest.approx(1, abs=0.03)
    dropped = GaussianRegression(core=False, epochs=30, device="cpu").fit(holes[known], both[known])
    np.testing.assert_array_equal(dropped.predict(x), model.predict(x))


def test_one_seed_gives_one_network_which_goes_through_json():
    x, y, *_ = _sample(3000, 1)
    options = {"hidden": (8,), "epochs": 6, "device": "cpu"}
    model = GaussianRegression(**options, seed=2).fit(x, y)
    again, other = (GaussianRegression(**options, seed=seed).fit(x, y) for seed in (2, 3))
    np.testing.assert_array_equal(model.predict(x), again.predict(x))
    assert not np.array_equal(model.predict(x), other.predict(x))
    loaded = GaussianRegression.from_json(json.loads(json.dumps(model.to_json())))
    np.testing.assert_array_equal(model.predict(x), loaded.predict(x))
    assert loaded.get_params() == model.get_params() | {"hidden": [8]}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"format": "other"}, "its format is 'other', not 'pidlab.gaussian_regression.1'"),
        ({"width": [-1.0]}, "a width is not positive"),
        ({"weights": []}, "do not make a network of 3 inputs and 1 variables"),
        ({"centre": None}, "len() of unsized object"),
    ],
    ids=["format", "width", "weights", "centre"],
)
def test_damaged_content_is_refused(change, text):
    x, y, *_ = _sample(300, 1)
    content = GaussianRegression(hidden=(4,), epochs=1, device="cpu").fit(x, y).to_json() | change
    with pytest.raises((TypeError, ValueError), match=re.escape(text)):
        GaussianRegression.from_json(content)


def test_beyond_the_training_range_the_curves_are_constant():
    x, y, *_ = _sample(3000, 1)
    model = GaussianRegression(hidden=(8,), epochs=4, device="cpu").fit(x, y)
    edge, beyond = ([[v, 0.0, 0.0]] for v in (x[:, 0].max(), 1e6))
    np.testing.assert_array_equal(model.predict(edge), model.predict(beyond))


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        (np.zeros((10, 1)), np.zeros(10), "10 events with all inputs"),
        (np.zeros((50, 1)), np.ones(50), "variable 1 is constant"),
        (np.zeros((50, 1)), np.full(50, np.nan), "variable 1 is known in 0 events only"),
    ],
    ids=["few", "constant", "missing"],
)
def test_what_cannot_be_fitted_is_said(x, y, text):
    with pytest.raises(ModelError, match=text):
        GaussianRegression(device="cpu").fit(x, y)
