"""Optimisers on flat tensors, and learning-rate schedules.

What changes from step to step (learning rate, bias corrections) is computed on the host for a whole epoch and passed to
`update` as tensors, so that a captured CUDA graph can be replayed. The formulae are those of torch.optim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from pidlab.measured import Array

Tensors = Sequence[Tensor]
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
RMSPROP_DECAY = 0.99
NADAM_MOMENTUM_DECAY = 4e-3
ONE_CYCLE_START, ONE_CYCLE_END, ONE_CYCLE_RISE = 1 / 25, 1 / 25e4, 0.3


class Optimizer:
    """Turns gradients into steps. It has no state of its own but a place to work in: the state is passed to `update`.

    Args:
        weight_decay: one number, or shaped like the parameters (not in `FusedAdam`, nor if decoupled in `Adam`).

    Attributes:
        n_buffers: number of flat tensors of state, which are zero at the start.
        n_scalars: number of scalars a step and member.
    """

    n_buffers, n_scalars = 1, 1

    def __init__(self, weight_decay: float | Tensor) -> None:
        self.weight_decay = weight_decay
        self._work: Tensor | None = None

    def scalars(self, step: Array, rate: Array) -> list[Array]:
        """Returns the scalars of steps (from 1) with learning rates: `n_scalars` arrays shaped like step and rate."""
        return [rate]

    def update(self, param: Tensor, grad: Tensor, buffers: Tensors, scratch: Tensor, scalars: Tensors) -> None:
        """One step on flat tensors, in place; `grad` is only read. Scalars are 0-d or shaped like `param`."""
        raise NotImplementedError

    def _place(self, grad: Tensor) -> Tensor:
        """Returns a tensor shaped like the gradient, the same in every step, in which a gradient is changed.

        The gradient itself stays what it is: its norm is recorded after the step. A CUDA graph is captured in a later
        step than the first, which makes this tensor.
        """
        if self._work is None:
            self._work = torch.empty_like(grad)
        return self._work

    def _decayed(self, grad: Tensor, param: Tensor) -> Tensor:
        """Returns the gradient with that of the L2 penalty."""
        if isinstance(self.weight_decay, Tensor):
            return torch.addcmul(grad, param, self.weight_decay, out=self._place(grad))
        return torch.add(grad, param, alpha=self.weight_decay, out=self._place(grad)) if self.weight_decay else grad


class Sgd(Optimizer):
    """Stochastic gradient descent with momentum."""

    def __init__(self, weight_decay: float | Tensor, momentum: float) -> None:
        super().__init__(weight_decay)
        self.momentum = momentum

    def update(self, param: Tensor, grad: Tensor, buffers: Tensors, scratch: Tensor, scalars: Tensors) -> None:
        """v ← μ v + g; p ← p − rate · v."""
        grad = self._decayed(grad, param)
        buffers[0].mul_(self.momentum).add_(grad)
        param.addcmul_(buffers[0], scalars[0], value=-1.0)


class RmsProp(Optimizer):
    """RMSprop, without momentum."""

    def update(self, param: Tensor, grad: Tensor, buffers: Tensors, scratch: Tensor, scalars: Tensors) -> None:
        """v ← α v + (1 − α) g²; p ← p − rate · g / (√v + ε)."""
        grad = self._decayed(grad, param)
        buffers[0].mul_(RMSPROP_DECAY).addcmul_(grad, grad, value=1.0 - RMSPROP_DECAY)
        torch.sqrt(buffers[0], out=scratch).add_(EPS)
        torch.div(grad, scratch, out=scratch)
        param.addcmul_(scratch, scalars[0], value=-1.0)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019) if `decoupled`, by public operations of torch."""

    n_buffers, n_scalars = 2, 3

    def __init__(self, weight_decay: float | Tensor, *, decoupled: bool = False) -> None:
        super().__init__(weight_decay)
        self.decoupled = decoupled

    def scalars(self, step: Array, rate: Array) -> list[Array]:
        """rate √c₂ / c₁, ε √c₂ and, decoupled, 1 − rate · decay, with the bias corrections c = 1 − βᵗ."""
        root = np.sqrt(1.0 - BETA2**step)
        kept = 1.0 - rate * float(self.weight_decay) if self.decoupled else np.ones_like(rate)
        return [rate * root / (1.0 - BETA1**step), EPS * root, kept]

    def update(self, param: Tensor, grad: Tensor, buffers: Tensors, scratch: Tensor, scalars: Tensors) -> None:
        """m, v ← running means of g, g²; p ← p − rate · (m/c₁) / (√(v/c₂) + ε)."""
        if not self.decoupled:
            grad = self._decayed(grad, param)
        elif self.weight_decay:
            param.mul_(scalars[2])
        buffers[0].lerp_(grad, 1.0 - BETA1)
        buffers[1].mul_(BETA2).addcmul_(grad, grad, value=1.0 - BETA2)
        torch.sqrt(buffers[1], out=scratch).add_(scalars[1])
        torch.div(buffers[0], scratch, out=scratch)
        param.addcmul_(scratch, scalars[0], value=-1.0)


class FusedAdam(Optimizer):
    """Adam or AdamW in one kernel, by a private operation of torch; all members have one learning rate."""

    n_buffers, n_scalars = 2, 2

    def __init__(self, weight_decay: float, *, decoupled: bool = False) -> None:
        super().__init__(weight_decay)
        self._decay = weight_decay
        self._kernel = torch._fused_adamw_ if decoupled else torch._fused_adam_

    @staticmethod
    def available(device: torch.device, dtype: torch.dtype) -> bool:
        """Returns whether this torch has the operation, with the signature used here, for this device and type."""
        if dtype is not torch.float32:  # on CUDA it reads the step's number as single precision, of any type
            return False
        try:
            tensors = [torch.ones(2, device=device, dtype=dtype) for _ in range(4)]
            rate, step = (torch.ones((), device=device, dtype=dtype) for _ in range(2))
            FusedAdam(0.0).update(tensors[0], tensors[1], tensors[2:], tensors[0], (rate, step))
        except (AttributeError, TypeError, RuntimeError, NotImplementedError):
            return False
        return bool((tensors[0] != 1.0).all())

    def scalars(self, step: Array, rate: Array) -> list[Array]:
        """Returns the rate and the step's number, from which the kernel computes the bias corrections."""
        return [rate, step]

    def update(self, param: Tensor, grad: Tensor, buffers: Tensors, scratch: Tensor, scalars: Tensors) -> None:
        """As `Adam.update`."""
        pieces = [_pieces(tensor) for tensor in (param, grad, *buffers)]
        self._kernel(
            pieces[0],
            pieces[1],
            pieces[2],
            pieces[3],
            [],
            [scalars[1]] * len(pieces[0]),
            lr=scalars[0],
            beta1=BETA1,
            beta2=BETA2,
            weight_decay=self._decay,
            eps=EPS,
            amsgrad=False,
            maximize=False,
            grad_scale=None,
            found_inf=None,
        )


def _pieces(flat: Tensor) -> list[Tensor]:
    """Returns a flat tensor as the one-kernel Adam takes it: whole on the CPU, in pieces on a GPU.

    On a GPU the kernel uses one multiprocessor for every 65,536 numbers of a tensor, and at least one for each tensor.
    It takes 32 tensors in one launch; a piece is a multiple of 4 numbers, so that it begins at 16 bytes.
    """
    if flat.device.type == "cpu":
        return [flat]
    return list(torch.split(flat, max(1024, -(-len(flat) // 128) * 4)))


class NAdam(Optimizer):
    """Adam with Nesterov momentum (Dozat 2016)."""

    n_buffers, n_scalars = 2, 3

    def scalars(self, step: Array, rate: Array) -> list[Array]:
        """Returns the factors of g and of m, and the bias correction of v as a root."""
        if not step.size:
            return [rate, rate, rate]
        momenta = BETA1 * (1.0 - 0.5 * 0.96 ** (np.arange(1.0, step.max() + 2.0) * NADAM_MOMENTUM_DECAY))
        product = np.cumprod(momenta)
        at = step.astype(np.int64)
        of_gradient = rate * (1.0 - momenta[at - 1]) / (1.0 - product[at - 1])
        of_momentum = rate * momenta[at] / (1.0 - product[at])
        return [of_gradient, of_momentum, np.sqrt(1.0 - BETA2**step)]

    def update(self, param: Tensor, grad: Tensor, buffers: Tensors, scratch: Tensor, scalars: Tensors) -> None:
        """p ← p − (a · g + b · m) / (√(v/c₂) + ε)."""
        grad = self._decayed(grad, param)
        buffers[0].lerp_(grad, 1.0 - BETA1)
        buffers[1].mul_(BETA2).addcmul_(grad, grad, value=1.0 - BETA2)
        torch.sqrt(buffers[1], out=scratch).div_(scalars[2]).add_(EPS)
        step = torch.mul(grad, scalars[0], out=self._place(grad)).addcmul_(buffers[0], scalars[1])
        param.addcdiv_(step, scratch, value=-1.0)


OPTIMIZERS = ("sgd", "rmsprop", "adam", "adamw", "nadam")


def make_optimizer(name: str, *, momentum: float, weight_decay: float | Tensor, fused: bool) -> Optimizer:
    """Returns the optimiser `name`; with `fused`, Adam is the one-kernel one if the weight decay is one number."""
    if name in ("adam", "adamw"):
        if fused and not isinstance(weight_decay, Tensor):
            return FusedAdam(weight_decay, decoupled=name == "adamw")
        return Adam(weight_decay, decoupled=name == "adamw")
    if name == "sgd":
        return Sgd(weight_decay, momentum)
    return RmsProp(weight_decay) if name == "rmsprop" else NAdam(weight_decay)


def _one_cycle(index: Array, total: Array) -> Array:
    top = np.maximum(ONE_CYCLE_RISE * total - 1.0, 0.0)
    rising = index < top
    share = np.where(rising, index / np.maximum(top, 1.0), (index - top) / np.maximum(total - 1.0 - top, 1.0))
    start = np.where(rising, ONE_CYCLE_START, 1.0)
    end = np.where(rising, 1.0, ONE_CYCLE_END)
    return np.asarray(end + (start - end) * 0.5 * (1.0 + np.cos(np.pi * share)))


SCHEDULES: dict[str, Callable[[Array, Array], Array]] = {
    "constant": lambda index, total: np.ones_like(index),
    "one_cycle": _one_cycle,
    "cosine": lambda index, total: np.asarray(0.5 * (1.0 + np.cos(np.pi * index / total))),
    "exponential": lambda index, total: np.asarray(0.01 ** (index / total)),
    "step": lambda index, total: np.asarray(0.1 ** np.floor(index / np.ceil(total / 3.0))),
}
"""Factor of the learning rate at step `index` (from 0) of `total`, as torch.optim.lr_scheduler has them. One-cycle
rises from 1/25 in the first 30 % of the steps and falls to 1/250,000, each as half a cosine (Smith & Topin 2017);
cosine falls to 0; exponential to 1 %; step divides by ten after each third."""


def learning_rates(schedule: str, peak: float | Array, step: Array, total: Array) -> Array:
    """Returns the rate at each step (from 1; (n,) or (n, members)) of `total` steps, for one peak or one a member."""
    return np.asarray(peak * SCHEDULES[schedule](step - 1.0, np.broadcast_to(total, step.shape)))
