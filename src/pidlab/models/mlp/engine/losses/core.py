"""Losses of a regression that fits the core of t variables: μ and σ of each as outputs of the network.

Shapes: outputs (…, r·t, batch) in r blocks of t rows, μ first and log σ second; targets (…, s·t, batch) in s blocks of
t rows, the variables y first; weights (…, 1, batch). A variable that is NaN, or outside its window, adds nothing.

`gaussian` is the Gaussian likelihood, log σ + z²/2 with z = (y - μ)/σ; it follows every tail. `cauchy` is the
likelihood of Cauchy's distribution of scale σ, log σ + log(1 + z²): the influence of a far value goes to zero
(P. Huber, Robust Statistics, 1981), and it finds the core from any start. `core` is the likelihood of a Gaussian core
with exponential tails on a flat background, inside a window; see `_Core`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pidlab.models.mlp.engine.losses.classes import Loss

CAUCHY_SCALE = 0.612003
"""The scale of the Cauchy distribution that fits a unit Gaussian best: where E[2z²/(s² + z²)] = 1."""

_ROOT_TWO_PI = math.sqrt(2 * math.pi)
_LEAST_TAIL, _LARGEST_TAIL = 0.3, 6.0  # widths from the mean at which a tail begins; beyond 6 it cannot be seen
_TINY = 1e-30  # single precision holds 1e-38


def _residual(mean: Tensor, inverse: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Returns z, 0 where the target is NaN, and 1 where it is a number and 0 where it is NaN."""
    known = ~target.isnan()
    return (torch.where(known, target, mean) - mean) * inverse, known.to(mean.dtype)


def _of_residual(cost: Callable[[Tensor], Tensor], pull: Callable[[Tensor], Tensor]) -> Loss:
    """Returns the loss log σ + cost(z), from the cost of a residual z in widths and its derivative `pull`."""

    def value(outputs: Tensor, target: Tensor) -> Tensor:
        mean, log_width = outputs.chunk(2, -2)
        z, known = _residual(mean, torch.exp(-log_width), target)
        return (known * log_width + cost(z)).sum(-2, keepdim=True)

    def gradient(outputs: Tensor, target: Tensor, weight: Tensor, out: Tensor) -> None:
        mean, log_width = outputs.chunk(2, -2)
        inverse = torch.exp(-log_width)
        z, known = _residual(mean, inverse, target)
        by_residual = pull(z)
        torch.mul(torch.cat([-by_residual * inverse, known - by_residual * z], -2), weight, out=out)

    return Loss(gradient, value, of_classes=False)


class _Side(NamedTuple):
    """One side of the core, seen outwards from the mean: with u the distance of a point in widths, u ≥ 0 or not.

    Attributes:
        area: the integral of the shape from the mean to u, negative for u < 0.
        height: the shape at u.
        by_tail: the derivative of `area` by the tail's begin k.
    """

    area: Tensor
    height: Tensor
    by_tail: Tensor


def _side(u: Tensor, tail: Tensor) -> _Side:
    """exp(-u²/2) up to k, then exp(k²/2 - k u), for a window that ends at u widths from the mean."""
    inside = torch.minimum(u, tail)
    beyond = torch.exp(tail * (0.5 * tail - torch.maximum(u, tail)))
    joint = torch.exp(-0.5 * tail * tail)
    core = 0.5 * _ROOT_TWO_PI * torch.erf(inside * math.sqrt(0.5))
    in_tail = (u > tail).to(u.dtype)
    area = core + in_tail * (joint - beyond) / tail
    by_tail = in_tail * ((u - tail) * beyond - (joint - beyond) / tail) / tail
    height = torch.where(u > tail, beyond, torch.exp(-0.5 * inside * inside))
    return _Side(area, height, by_tail)


class _Core:
    """A Gaussian core with an exponential tail on either side and a flat background, inside a window.

    With t = (y - μ)/σ the shape is exp(-t²/2) between -k₁ and k₂, and continues with the same value and slope as
    exp(k₂²/2 - k₂ t) above and likewise below (S. Das, arXiv:1603.08591). The density inside the window [low, high] is
    (1 - ε) shape / (σ area) + ε / (high - low), where the area is that of the shape inside the window: what lies
    outside plays no role, and the cut of the window is accounted for exactly. The five blocks of outputs are μ, log σ,
    log k₁, log k₂ and log(ε/(1 - ε)); the three of targets y, low and high.
    """

    def __init__(self, outputs: Tensor, target: Tensor) -> None:
        self.mean, self.log_width, log_lower, log_upper, background = outputs.chunk(5, -2)
        y, low, high = target.chunk(3, -2)
        self.used = (y >= low) & (y <= high)
        y, low, high = (torch.where(self.used, v, w) for v, w in ((y, 0.0), (low, -1.0), (high, 1.0)))
        self.inverse = torch.exp(-self.log_width)
        self.lower, self.upper = (v.exp().clamp(_LEAST_TAIL, _LARGEST_TAIL) for v in (log_lower, log_upper))
        self.t, self.t_low, self.t_high = ((v - self.mean) * self.inverse for v in (y, low, high))
        self.below, self.above = _side(-self.t_low, self.lower), _side(self.t_high, self.upper)
        self.area = (self.below.area + self.above.area).clamp_min(_TINY)
        self.share = torch.sigmoid(background)  # ε
        peak = self.inverse * torch.exp(self.log_shape()) / self.area
        flat = 1.0 / (high - low)
        self.density = ((1.0 - self.share) * peak + self.share * flat).clamp_min(_TINY)
        self.background = self.share * flat / self.density  # probability that the event is background

    def log_shape(self) -> Tensor:
        """Returns the logarithm of the shape at t, 0 at the mean."""
        inside = torch.maximum(torch.minimum(self.t, self.upper), -self.lower)
        return 0.5 * inside * inside - inside * self.t

    def value(self) -> Tensor:
        """Returns (…, 1, batch) minus the logarithm of the density, of all variables together."""
        return -torch.where(self.used, torch.log(self.density), 0.0).sum(-2, keepdim=True)

    def gradient(self) -> Tensor:
        """Returns (…, 5 t, batch) the derivatives of `value` by the outputs."""
        inside = torch.maximum(torch.minimum(self.t, self.upper), -self.lower)  # -d log(shape)/dt
        high, low = self.above.height, self.below.height
        by_mean = -self.inverse * (inside + (high - low) / self.area)
        by_width = 1.0 - inside * self.t - (self.t_high * high - self.t_low * low) / self.area
        over = (self.t - self.upper).clamp_min(0.0)
        under = (-self.lower - self.t).clamp_min(0.0)
        by_lower = (under + self.below.by_tail / self.area) * self._free(self.lower)
        by_upper = (over + self.above.by_tail / self.area) * self._free(self.upper)
        signal = 1.0 - self.background
        rows = [signal * each for each in (by_mean, by_width, by_lower, by_upper)]
        every = torch.cat([*rows, self.share - self.background], -2)
        return torch.where(self.used.repeat(*[1] * (every.ndim - 2), 5, 1), every, 0.0)

    @staticmethod
    def _free(tail: Tensor) -> Tensor:
        """dk/d(log k): k, or 0 at its limits."""
        return tail * ((tail > _LEAST_TAIL) & (tail < _LARGEST_TAIL))


def _core_gradient(outputs: Tensor, target: Tensor, weight: Tensor, out: Tensor) -> None:
    torch.mul(_Core(outputs, target).gradient(), weight, out=out)


CORE_LOSSES: dict[str, Loss] = {
    "gaussian": _of_residual(lambda z: 0.5 * z * z, lambda z: z),
    "cauchy": _of_residual(lambda z: torch.log1p(z * z), lambda z: 2.0 * z / (1.0 + z * z)),
    "core": Loss(_core_gradient, lambda z, t: _Core(z, t).value(), of_classes=False),
}
"""Name to the loss; `TrainingPlan.loss` names one of these or of `losses.LOSSES`."""
