"""Losses against torch's own and their gradients against autograd; the AUC against scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch.nn import functional

from pidlab.models.mlp.engine.losses.classes import LOSSES, weighted_auc


def _case(k, seed=3, batch=40):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, k, batch, generator=generator, dtype=torch.float64)
    label = torch.randint(max(k, 2), (2, batch), generator=generator)
    target = label[:, None, :].double() if k == 1 else functional.one_hot(label, k).mT.double()
    weight = torch.rand(2, 1, batch, generator=generator, dtype=torch.float64)
    return logits, label, target, weight


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("k", [1, 3])
def test_gradient_is_that_of_the_value(name, k):
    logits, _, target, weight = _case(k)
    leaf = logits.clone().requires_grad_()
    (LOSSES[name].value(leaf, target) * weight).sum().backward()
    out = torch.empty_like(logits)
    LOSSES[name].gradient(logits, target, weight, out)
    torch.testing.assert_close(out, leaf.grad, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("k", [1, 3])
def test_values_are_the_textbook_ones(k):
    logits, label, target, _ = _case(k)
    p = torch.sigmoid(logits) if k == 1 else torch.softmax(logits, 1)
    every = torch.cat([1 - p, p], 1) if k == 1 else p
    true = every.gather(1, label[:, None])
    expected = {
        "cross_entropy": -torch.log(true),
        "squared": ((p - target) ** 2).sum(1, keepdim=True),
        "absolute": (p - target).abs().sum(1, keepdim=True),
        "focal": -((1 - true) ** 2) * torch.log(true),
    }
    assert set(expected) == set(LOSSES)
    for name, value in expected.items():
        torch.testing.assert_close(LOSSES[name].value(logits, target), value, rtol=1e-10, atol=0)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("k", [1, 3])
def test_extreme_logits_stay_finite(name, k):
    logits = torch.tensor([[500.0, -500.0, 0.0]] * k).mul_(torch.arange(1, k + 1)[:, None])
    target = torch.zeros(k, 3)
    target[0] = 1.0
    out = torch.empty_like(logits)
    LOSSES[name].gradient(logits, target, torch.ones(1, 3), out)
    assert torch.isfinite(out).all()
    assert torch.isfinite(LOSSES[name].value(logits, target)).all()


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(1, 9)), min_size=2, max_size=40).filter(
        lambda rows: len({row[1] for row in rows}) == 2
    )
)
@settings(max_examples=100, deadline=None)
def test_auc_is_scikit_learns_with_weights_and_ties(rows):
    score, signal, weight = (np.array(column) for column in zip(*rows, strict=True))
    expected = roc_auc_score(signal, score, sample_weight=weight)
    found = weighted_auc(torch.tensor(score, dtype=torch.float32), torch.tensor(signal), torch.tensor(weight * 1.0))
    assert found == pytest.approx(expected, rel=1e-12)


def test_auc_of_one_class_is_undefined():
    one = torch.ones(3)
    assert math.isnan(weighted_auc(one, one.bool(), one))
