"""Losses as functions of logits, with their gradients: one sigmoid output for two classes, softmax for more.

Shapes: logits and targets (…, k, batch), weights (…, 1, batch). k = 1 means two classes, with target 1 for the second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

FOCAL_GAMMA = 2.0


@dataclass(frozen=True, slots=True)
class Loss:
    """One loss.

    Attributes:
        gradient: `gradient(logits, target, weight, out)` writes weight · dL/dlogits.
        value: `value(logits, target)` returns (…, 1, batch), the loss of each event.
        of_classes: whether targets are indicators of classes; otherwise they are what a regression fits.
    """

    gradient: Callable[[Tensor, Tensor, Tensor, Tensor], object]
    value: Callable[[Tensor, Tensor], Tensor]
    of_classes: bool = True


def probabilities(logits: Tensor, out: Tensor | None = None) -> Tensor:
    """Returns the sigmoid of one output, or the softmax over several: (…, k, batch)."""
    if logits.shape[-2] == 1:
        return torch.sigmoid(logits, out=out)
    return torch.softmax(logits, dim=-2, out=out)


def _log_true(logits: Tensor, target: Tensor) -> Tensor:
    """Returns (…, 1, batch) log-probability of the true class."""
    if logits.shape[-2] == 1:
        return functional.logsigmoid((2.0 * target - 1.0) * logits)
    return (torch.log_softmax(logits, dim=-2) * target).sum(-2, keepdim=True)


def _cross_entropy_gradient(logits: Tensor, target: Tensor, weight: Tensor, out: Tensor) -> None:
    probabilities(logits, out=out).sub_(target).mul_(weight)


def _through_link(slope: Tensor, p: Tensor) -> Tensor:
    """dL/dlogits from `slope` = dL/dp, by the derivative of sigmoid or softmax."""
    if p.shape[-2] == 1:
        return slope * p * (1.0 - p)
    return p * (slope - (slope * p).sum(-2, keepdim=True))


def _of_difference(cost: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]) -> Loss:
    """Returns the loss that sums a cost of the differences of probabilities and indicators, with its derivative."""

    def gradient(logits: Tensor, target: Tensor, weight: Tensor, out: Tensor) -> None:
        p = probabilities(logits)
        torch.mul(_through_link(slope(p - target), p), weight, out=out)

    return Loss(gradient, lambda z, t: cost(probabilities(z) - t).sum(-2, keepdim=True))


def _focal_gradient(logits: Tensor, target: Tensor, weight: Tensor, out: Tensor) -> None:
    p, log_true = probabilities(logits), _log_true(logits, target)
    true = log_true.exp()
    rest = 1.0 - true
    factor = FOCAL_GAMMA * rest ** (FOCAL_GAMMA - 1.0) * true * log_true - rest**FOCAL_GAMMA
    torch.mul((target - p) * factor, weight, out=out)


def _focal_value(logits: Tensor, target: Tensor) -> Tensor:
    log_true = _log_true(logits, target)
    return -((1.0 - log_true.exp()) ** FOCAL_GAMMA) * log_true


LOSSES: dict[str, Loss] = {
    "cross_entropy": Loss(_cross_entropy_gradient, lambda z, t: -_log_true(z, t)),
    "squared": _of_difference(torch.square, lambda difference: 2.0 * difference),
    "absolute": _of_difference(torch.abs, torch.sign),
    "focal": Loss(_focal_gradient, _focal_value),
}
"""`focal` is −(1 − p)² log p of the true class's probability (Lin et al. 2017, arXiv:1708.02002)."""


def weighted_auc(score: Tensor, is_signal: Tensor, weight: Tensor) -> Tensor:
    """Returns areas under ROC curves (...,); NaN if a class is missing.

    The area is the share of weighted (signal, background) pairs that the score orders correctly, with ties counted half
    (Mann & Whitney 1947).

    Args:
        score: (..., n).
        is_signal: (..., n) bool, or a shape that broadcasts to it.
        weight: (n,).
    """
    order = torch.argsort(score)
    score = score.gather(-1, order)
    is_signal, weight = is_signal.expand(order.shape).gather(-1, order), weight[order].double()
    signal, background = weight * is_signal, weight * ~is_signal
    below = functional.pad(torch.cumsum(background, -1), (1, 0))
    first = below.gather(-1, torch.searchsorted(score, score))
    last = below.gather(-1, torch.searchsorted(score, score, right=True))
    pairs = signal.sum(-1) * background.sum(-1)
    return (signal * (first + last)).sum(-1) / (2.0 * pairs)
