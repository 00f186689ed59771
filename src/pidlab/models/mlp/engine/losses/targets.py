"""Losses of a regression of one target: squares, absolute errors, quantiles; `gaussian` is among those of the core.

Shapes: outputs (…, r, batch), one for squared and absolute errors and one a quantile; target (…, 1, batch), weights
(…, 1, batch).
"""

from __future__ import annotations

import torch
from torch import Tensor

from pidlab.models.mlp.engine.losses.classes import Loss


def _squared_gradient(outputs: Tensor, target: Tensor, weight: Tensor, out: Tensor) -> None:
    torch.sub(outputs, target, out=out).mul_(weight).mul_(2.0)


def _absolute_gradient(outputs: Tensor, target: Tensor, weight: Tensor, out: Tensor) -> None:
    torch.sub(outputs, target, out=out).sign_().mul_(weight)


def target_losses(quantiles: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> dict[str, Loss]:
    """Returns name to loss: squared_error, absolute_error, and pinball for these quantiles.

    The pinball loss of a quantile q is q·r for residuals r = y - output above zero and (q - 1)·r below; its mean is
    smallest for the conditional quantile (R. Koenker, G. Bassett, Econometrica 46 (1978) 33). Those of several
    quantiles are averaged.
    """
    levels = torch.tensor(quantiles, device=device, dtype=dtype)[:, None]
    share = 1.0 / max(len(quantiles), 1)

    def pinball_gradient(outputs: Tensor, target: Tensor, weight: Tensor, out: Tensor) -> None:
        torch.sub(outputs, target, out=out).gt_(0.0).sub_(levels).mul_(weight).mul_(share)

    def pinball_value(outputs: Tensor, target: Tensor) -> Tensor:
        residual = target - outputs
        return torch.maximum(levels * residual, (levels - 1.0) * residual).mean(-2, keepdim=True)

    return {
        "squared_error": Loss(_squared_gradient, lambda z, t: (z - t).square().sum(-2, keepdim=True), of_classes=False),
        "absolute_error": Loss(_absolute_gradient, lambda z, t: (z - t).abs().sum(-2, keepdim=True), of_classes=False),
        "pinball": Loss(pinball_gradient, pinball_value, of_classes=False),
    }
