"""Optimisers and schedules against torch.optim, in double precision."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from pidlab.models.mlp.engine.optimizers import OPTIMIZERS, SCHEDULES, FusedAdam, learning_rates, make_optimizer

STEPS, SIZE = 40, 12
TORCH = {
    "sgd": lambda p, **kw: torch.optim.SGD(p, momentum=0.8, **kw),
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
}
CPU = torch.device("cpu")
needs_fused = pytest.mark.skipif(not FusedAdam.available(CPU, torch.float32), reason="this torch has no fused Adam")


def _gradients(dtype=torch.float64):
    generator = torch.Generator().manual_seed(4)
    return torch.randn(STEPS, SIZE, generator=generator, dtype=torch.float64).to(dtype)


def _by_torch(name, weight_decay, rates):
    param = torch.linspace(-1, 1, SIZE, dtype=torch.float64).requires_grad_()
    optimizer = TORCH[name]([param], lr=1.0, weight_decay=weight_decay)
    for gradient, rate in zip(_gradients(), rates, strict=True):
        optimizer.param_groups[0]["lr"] = float(rate)
        param.grad = gradient.clone()
        optimizer.step()
    return param.detach()


def _by_hand(name, weight_decay, rates, fused=False, dtype=torch.float64):
    optimizer = make_optimizer(name, momentum=0.8, weight_decay=weight_decay, fused=fused)
    param = torch.linspace(-1, 1, SIZE, dtype=dtype)
    buffers = [torch.zeros_like(param) for _ in range(optimizer.n_buffers)]
    scalars = [torch.tensor(s, dtype=dtype) for s in optimizer.scalars(np.arange(1.0, STEPS + 1), rates)]
    for step, gradient in enumerate(_gradients(dtype)):
        optimizer.update(param, gradient, buffers, torch.empty_like(param), [s[step] for s in scalars])
    return param


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_steps_are_those_of_torch_optim(name, weight_decay):
    rates = np.linspace(0.05, 0.01, STEPS)
    expected = _by_torch(name, weight_decay, rates)
    # torch keeps NAdam's product of momenta in single precision.
    rtol = 1e-6 if name == "nadam" else 1e-9
    torch.testing.assert_close(_by_hand(name, weight_decay, rates), expected, rtol=rtol, atol=1e-12)


@needs_fused
@pytest.mark.parametrize("name", ["adam", "adamw"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_fused_adam_is_adam(name, weight_decay):
    rates = np.linspace(0.05, 0.01, STEPS)
    expected = _by_torch(name, weight_decay, rates)
    in_double = _by_hand(name, weight_decay, rates, fused=True)
    torch.testing.assert_close(in_double, expected, rtol=1e-9, atol=1e-12)
    in_single = _by_hand(name, weight_decay, rates, fused=True, dtype=torch.float32)
    torch.testing.assert_close(in_single.double(), expected, rtol=1e-5, atol=1e-6)


def test_without_the_private_operation_there_is_no_fused_adam(monkeypatch):
    monkeypatch.delattr(torch, "_fused_adam_", raising=False)
    assert not FusedAdam.available(CPU, torch.float32)


def test_scalars_can_differ_from_number_to_number():
    """Members with schedules of their own share a flat tensor."""
    rates = np.linspace(0.05, 0.01, STEPS)
    slow = _by_hand("adam", 0.1, rates / 3)
    fast = _by_hand("adam", 0.1, rates)
    optimizer = make_optimizer("adam", momentum=0.0, weight_decay=0.1, fused=False)
    factor = torch.where(torch.arange(SIZE) < 5, 1 / 3, 1.0)
    param = torch.linspace(-1, 1, SIZE, dtype=torch.float64)
    buffers = [torch.zeros_like(param), torch.zeros_like(param)]
    for step, gradient in enumerate(_gradients()):
        each = optimizer.scalars(np.full(SIZE, step + 1.0), rates[step] * factor.double().numpy())
        optimizer.update(param, gradient, buffers, torch.empty_like(param), [torch.from_numpy(s) for s in each])
    expected = torch.cat([slow[:5], fast[5:]])
    torch.testing.assert_close(param, expected, rtol=1e-7, atol=1e-9)


def _torch_schedule(name, total):
    schedulers = torch.optim.lr_scheduler
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    made = {
        "constant": lambda: schedulers.LambdaLR(optimizer, lambda step: 1.0),
        "one_cycle": lambda: schedulers.OneCycleLR(optimizer, max_lr=0.3, total_steps=total, cycle_momentum=False),
        "cosine": lambda: schedulers.CosineAnnealingLR(optimizer, total),
        "exponential": lambda: schedulers.ExponentialLR(optimizer, 0.01 ** (1 / total)),
        "step": lambda: schedulers.StepLR(optimizer, -(-total // 3), 0.1),
    }
    schedule = made[name]()
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch misses the optimiser's steps, which are not needed here
        for step in range(total):
            rates.append(optimizer.param_groups[0]["lr"])
            if step < total - 1:
                schedule.step()
    return rates


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("total", [10, 37, 300])
def test_schedules_are_those_of_torch(name, total):
    found = learning_rates(name, 0.3, np.arange(1.0, total + 1), np.array(float(total)))
    np.testing.assert_allclose(found, _torch_schedule(name, total), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("total", [1, 2, 3])
def test_the_shortest_trainings_have_a_positive_rate(name, total):
    found = learning_rates(name, 0.3, np.arange(1.0, total + 1), np.array(float(total)))
    assert ((found > 0) & (found <= 0.3)).all()
