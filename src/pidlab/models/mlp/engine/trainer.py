"""The training loop: all members in step, each with its own events, order, schedule and early stopping."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pidlab.errors import ModelError
from pidlab.models.mlp.engine import checkpoint as mlp_checkpoint
from pidlab.models.mlp.engine.batches import Batches, Member, ValidationTensors
from pidlab.models.mlp.engine.cuda_graph import Replay
from pidlab.models.mlp.engine.layers import (
    Architecture,
    Network,
    Operation,
    initial_parameters,
    parts_of_batch,
    split_flat,
)
from pidlab.models.mlp.engine.losses.classes import LOSSES, probabilities, weighted_auc
from pidlab.models.mlp.engine.losses.core import CORE_LOSSES
from pidlab.models.mlp.engine.losses.targets import target_losses
from pidlab.models.mlp.engine.optimizers import FusedAdam, learning_rates, make_optimizer
from pidlab.models.mlp.engine.streamed import StreamedTable, pieces_of
from pidlab.models.mlp.engine.tensors import as_dense, folded_layers, forward
from pidlab.models.mlp.network import WIDE, DenseNetwork
from pidlab.models.threads import usable_cores

if TYPE_CHECKING:  # scikit-learn, which the engine does not need
    from pidlab.models.base import Progress

MemberPruner = Callable[[int, int, NDArray[np.float64]], NDArray[np.bool_]]
"""Called after each epoch as `pruner(done, total, validation AUC)`, with NaN for members that no longer train; returns
which members are to stop. Both arrays are (members,)."""

_LOSSES = ("loss", "validation_loss", "validation_auc")


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How to train; the names are those of the configuration. `patience` None: no early stopping.

    `tolerance` is how far above the lowest validation loss that of a later epoch may lie for its weights to be kept.
    `quantiles` are those of the loss `pinball`, one for each output.
    """

    loss: str
    optimizer: str
    momentum: float
    weight_decay: float
    learning_rate: float
    schedule: str
    batch_size: int
    epochs: int
    patience: int | None
    swap_noise: float = 0.0
    tolerance: float = 0.0
    quantiles: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Trained:
    """One member after training: its network, and lists of one number an epoch in `history`.

    Besides the losses the history holds the learning rate of the epoch's last step, and of each layer the norms of its
    weights after that step and of the loss's gradient in it: `weight_norm_1`, …, `weight_norm_output`,
    `gradient_norm_1`, …. A norm is the root of the sum of squares over a layer's matrix with its biases.

    `diverged` is true if the loss became non-finite; without a pruner, `Trainer.run` raises instead.
    """

    network: DenseNetwork
    history: dict[str, list[float]]
    diverged: bool = False


def history_names(n_hidden: int) -> tuple[str, ...]:
    """Returns the names of the numbers that are recorded of each epoch of a network with `n_hidden` hidden layers."""
    layers = [*map(str, range(1, n_hidden + 1)), "output"]
    return (*_LOSSES, "learning_rate", *(f"{what}_norm_{of}" for what in ("weight", "gradient") for of in layers))


@contextmanager
def fast_products(device: torch.device, widest: int) -> Iterator[None]:
    """Computes matrix products of wide layers on a GPU with its matrix units (TF32) inside this block.

    TF32 keeps 10 bits of each factor and sums in single precision, which is enough for gradients: the AUC of a wide
    network stays within 1e-4. Small layers gain nothing and are left in single precision.
    """
    precision = torch.get_float32_matmul_precision()
    try:
        if device.type == "cuda" and widest >= WIDE:
            torch.set_float32_matmul_precision("high")
        yield
    finally:
        torch.set_float32_matmul_precision(precision)


@contextmanager
def quiet_torch(widest: int) -> Iterator[None]:
    """Switches torch to inference mode, and to one thread for small networks, inside this block.

    Wide ones take the cores that the process may use, busy or not: their number decides the last bits of products.
    """
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if widest < WIDE else min(threads, usable_cores()))
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)


def diverged(epoch: int, learning_rate: float) -> str:
    """Returns the message about a training whose loss became non-finite in `epoch`."""
    return (
        f"training diverged: the loss is not finite after epoch {epoch}; lower learning_rate "
        f"(now {learning_rate:g}), or look for extreme feature values or weights"
    )


class Trainer:
    """Trains members of one architecture together.

    Args:
        table: from `as_table`, on the device, or one that is read in blocks; all tensors take its type.
        members: the networks to train; each has at least `plan.batch_size` events.
        architecture: the architecture of each network.
        plan: how to train them.
        counted: whether random numbers come from counters, as on a GPU, or from generators, as on the CPU. If true,
            the CPU and a GPU train on the same batches. None: what the device usually does.
        n_parts: number of parts into which each member's batch is cut. None: from `parts_of_batch`.
    """

    def __init__(
        self,
        table: Tensor | StreamedTable,
        members: Sequence[Member],
        architecture: Architecture,
        plan: TrainingPlan,
        *,
        counted: bool | None = None,
        n_parts: int | None = None,
    ) -> None:
        self.members, self.architecture, self.plan, self.device = members, architecture, plan, table.device
        starts = [torch.Generator().manual_seed(member.seed) for member in members]
        self.parameters = initial_parameters(architecture, starts, table.dtype, table.device)
        if n_parts is None:
            n_parts = parts_of_batch(architecture, len(members), plan.batch_size, table.device)
        self.network = Network(architecture, self.parameters, plan.batch_size, n_parts)
        known = {**LOSSES, **CORE_LOSSES, **target_losses(plan.quantiles, table.device, table.dtype)}
        self._loss = known[plan.loss]
        size, noise, of_classes = plan.batch_size, plan.swap_noise, self._loss.of_classes
        self.batches = Batches(table, members, architecture, size, noise, counted, n_parts, of_classes=of_classes)
        self._make_optimizer()
        self._make_state()
        self._program = [self._operations(step) for step in range(self.batches.n_steps)]
        self._replay = Replay(self._steps, table.device)

    def _make_optimizer(self) -> None:
        plan, flat, steps = self.plan, self.parameters.flat, self.batches.steps
        own = [plan.learning_rate if m.learning_rate is None else m.learning_rate for m in self.members]
        self._peaks = np.array(own, dtype=np.float64)
        self._in_step = len(set(steps.tolist())) == len(set(own)) == 1
        fused = self._in_step and FusedAdam.available(self.device, flat.dtype)
        self.optimizer = make_optimizer(
            plan.optimizer, momentum=plan.momentum, weight_decay=self._weight_decay(), fused=fused
        )
        self._buffers = [torch.zeros_like(flat) for _ in range(self.optimizer.n_buffers)]
        self._scratch = torch.empty_like(flat)
        columns = 1 if self._in_step else len(self.members)
        self._scalars = flat.new_zeros(self.batches.n_steps, self.optimizer.n_scalars, columns)
        self._expanded = flat.new_zeros(self.optimizer.n_scalars, len(flat))
        self._epoch_scalars = self._scalars

    def _weight_decay(self) -> float | Tensor:
        """Returns the members' common weight decay, or one for each parameter."""
        decays = [self.plan.weight_decay if m.weight_decay is None else m.weight_decay for m in self.members]
        if len(set(decays)) == 1:
            return decays[0]
        if self.plan.optimizer == "adamw":
            raise ValueError("adamw takes one weight decay for all members")
        return self.parameters.flat.new_tensor(decays)[self.parameters.member_of]

    def _make_state(self) -> None:
        n_members = len(self.members)
        weights = self.batches.all_weights
        self._logits = torch.zeros_like(weights).repeat(1, 1, self.architecture.n_outputs, 1)
        self._logits_of = self._logits.unbind(0)
        self._output_grad = torch.zeros_like(self._logits_of[0])
        self._loss_sum = torch.zeros(n_members, dtype=torch.float64, device=self.device)
        steps = self.batches.steps
        self._finishing = {
            int(n): torch.from_numpy(np.flatnonzero(steps == n)).to(self.device) for n in np.unique(steps)
        }  # number of steps to the members that have so many an epoch
        self._model = [*self.parameters.views, *self.network.running()]
        self._best = [tensor.clone() for tensor in self._model]
        flats = [split_flat(buffer, self.architecture, n_members) for buffer in self._buffers]
        self._moving = [*self._model, *(view for views in flats for view in views), self._loss_sum]
        self._active, self._diverged = np.ones(n_members, bool), np.zeros(n_members, bool)
        self._best_loss = np.full(n_members, np.inf)
        self._best_epoch = np.zeros(n_members, np.int64)
        self._names = history_names(len(self.architecture.hidden))
        self._history = np.full((self.plan.epochs, n_members, len(self._names)), np.nan)
        matrices = self.architecture.matrices()
        views, grads = ([tensors[i] for i in matrices] for tensors in (self.parameters.views, self.parameters.grads))
        self._measured = [*views, *grads]
        self._norms = self.parameters.flat.new_zeros(n_members, len(self._measured))
        self.done = 0  # epochs

    def run(
        self, progress: Progress | None = None, checkpoint: Path | None = None, pruner: MemberPruner | None = None
    ) -> list[Trained]:
        """As `run_together` for this trainer alone."""
        return run_together([self], progress, checkpoint, pruner)

    @property
    def trains(self) -> bool:
        """Whether a member has epochs left."""
        return self.done < self.plan.epochs and bool(self._active.any())

    def begin_epoch(self) -> None:
        """Trains all members for an epoch; a GPU may still be at work when this returns."""
        with fast_products(self.device, max(self.architecture.hidden, default=0)):
            self._train_epoch()

    def end_epoch(self, *, stop_diverged: bool) -> None:
        """Waits for the epoch, validates, keeps the best weights, and stops members that have waited long enough.

        Raises:
            ModelError: a loss is not finite, unless such members are to be stopped.
        """
        losses = self._loss_sum.cpu().numpy() / self.batches.steps
        self._close_epoch(losses, self._norms.cpu().numpy(), stop_diverged=stop_diverged)

    def losses(self, epoch: int) -> NDArray[np.float64]:
        """Returns (members, 3) loss, validation loss and AUC after epoch number `epoch` from 1; NaN if untrained."""
        rows: NDArray[np.float64] = self._history[epoch - 1, :, : len(_LOSSES)]
        return rows

    def stop(self, members: NDArray[np.bool_]) -> None:
        """Stops these members, (members,)."""
        self._active &= ~members

    def trained(self) -> list[Trained]:
        """Returns the members with their best weights."""
        return [self._trained(member) for member in range(len(self.members))]

    def _train_epoch(self) -> None:
        self.batches.shuffle(self.done)
        self._prepare_scalars()
        self._loss_sum.zero_()
        kept: list[tuple[Tensor, list[Tensor]]] = []  # members that have done their last step, and what they were then
        for chunk, first, last in self._pieces():
            begin = chunk * self.batches.n_steps
            if (finished := self._finishing.get(begin + first)) is not None:
                self._norms.index_copy_(0, finished, self._measure().index_select(0, finished))
                kept.append((finished, [tensor.index_select(0, finished) for tensor in self._moving]))
            if first == 0:
                self.batches.fill(chunk)
                part = self._epoch_scalars[begin : begin + self.batches.n_steps]
                self._scalars[: len(part)].copy_(part)
            self._replay(first, last)
        last_ones = self._finishing[int(self.batches.steps.max())]
        self._norms.index_copy_(0, last_ones, self._measure().index_select(0, last_ones))
        for finished, values in kept:
            for tensor, value in zip(self._moving, values, strict=True):
                tensor.index_copy_(0, finished, value)

    def _measure(self) -> Tensor:
        """Returns (members, 2 · layers) the norms of each layer's matrix and of its gradient after a step."""
        return torch.stack([torch.linalg.vector_norm(tensor, dim=(1, 2)) for tensor in self._measured], 1)

    def _pieces(self) -> list[tuple[int, int, int]]:
        """Returns the (chunk, first step, last step) of an epoch in order, cut after the last step of each member."""
        size = self.batches.n_steps
        total = int(self.batches.steps.max())
        cuts = sorted({*range(0, total, size), *self.batches.steps.tolist(), total})
        return [(a // size, a % size, b - a // size * size) for a, b in pairwise(cuts)]

    def _prepare_scalars(self) -> None:
        steps = self.batches.steps[:1] if self._in_step else self.batches.steps
        within = np.arange(1.0, steps.max() + 1.0)[:, None]
        number = np.minimum(within, steps) + self.done * steps
        peaks = self._peaks[: len(steps)]
        rate = learning_rates(self.plan.schedule, peaks, number, steps * float(self.plan.epochs))
        self._last_rate = rate[-1]
        scalars = np.stack(self.optimizer.scalars(number, rate), 1)
        self._epoch_scalars = torch.from_numpy(scalars).to(self._scalars)

    def _operations(self, step: int) -> list[Operation]:
        """Returns one training step on the prepared batch number `step`."""
        inputs, masks = self.batches.inputs[step], self.batches.masks[step]
        logits, grad = self._logits_of[step], self._output_grad
        targets, weights = self.batches.targets[step], self.batches.weights[step]
        operations = self.network.forward(inputs, masks, logits)
        operations.append(partial(self._loss.gradient, logits, targets, weights, grad))
        operations += self.network.backward(inputs, masks, grad)
        if self._in_step:
            scalars: Sequence[Tensor] = self._scalars[step, :, 0].unbind(0)
        else:
            scalars = self._expanded.unbind(0)
            member_of = self.parameters.member_of
            operations.append(partial(torch.index_select, self._scalars[step], 1, member_of, out=self._expanded))
        flats = (self.parameters.flat, self.parameters.grad, self._buffers, self._scratch)
        return [*operations, partial(self.optimizer.update, *flats, scalars)]

    def _steps(self, first: int, last: int) -> None:
        """Trains on the prepared batches from `first` to before `last`."""
        for operations in self._program[first:last]:
            for operation in operations:
                operation()
        part = slice(first, last)
        losses = self._loss.value(self._logits[part], self.batches.all_targets[part])
        by_group = losses.mul_(self.batches.all_weights[part]).sum((0, 2, 3), dtype=torch.float64)
        self._loss_sum += by_group.view(len(self.members), -1).sum(1)

    def _close_epoch(
        self, losses: NDArray[np.float64], norms: NDArray[np.floating[Any]], *, stop_diverged: bool
    ) -> None:
        lost = self._active & ~np.isfinite(losses)
        if lost.any() and not stop_diverged:
            raise ModelError(diverged(self.done + 1, float(self._peaks[lost][0])))
        self._diverged |= lost
        self._active &= ~lost
        rows = self._history[self.done]
        rows[self._active, 0] = losses[self._active]
        rows[self._active, len(_LOSSES)] = np.broadcast_to(self._last_rate, losses.shape)[self._active]
        rows[self._active, len(_LOSSES) + 1 :] = norms[self._active]
        for members, validation in self._by_validation():
            rows[members, 1 : len(_LOSSES)] = self._validate(members, validation)
        self._keep_best(rows[:, 1])
        self.done += 1

    def _by_validation(self) -> Iterator[tuple[list[int], ValidationTensors]]:
        """Yields members that still train with their validation sample: on a GPU all of a sample together."""
        samples: dict[tuple[int, int], tuple[list[int], ValidationTensors]] = {}
        for index in np.flatnonzero(self._active):
            member = int(index)
            validation = self.members[member].validation
            if validation is not None:
                key = id(validation), 0 if validation.x.is_cuda else member
                samples.setdefault(key, ([], validation))[0].append(member)
        yield from samples.values()

    def _validate(self, members: list[int], validation: ValidationTensors) -> NDArray[np.float64]:
        """Returns (members, 2) validation loss and AUC; of k > 2 classes the mean of each class against the rest.

        A regression has no AUC: it is NaN.
        """
        chosen = torch.tensor(members, device=self.device)
        layers = folded_layers(self.network, members[0] if len(members) == 1 else chosen)
        logits = forward(layers, self.architecture.activation, validation.x)
        if self._loss.of_classes:
            k = logits.shape[-2]
            is_class = validation.label == torch.arange(k, device=self.device)[:, None] + (k == 1)
            targets = is_class.to(logits.dtype)
            score = logits if k == 1 else probabilities(logits)
            auc = weighted_auc(score, is_class, validation.weight).mean(-1).reshape(-1)
        else:
            targets, auc = validation.label.T, logits.new_full((len(members),), torch.nan, dtype=torch.float64)
        losses = self._loss.value(logits, targets).double()[..., 0, :]
        loss = (losses * validation.weight).sum(-1) / validation.weight.sum()
        return torch.stack([loss.reshape(-1), auc], 1).cpu().numpy()

    def _keep_best(self, losses: NDArray[np.float64]) -> None:
        """Keeps the weights of members whose loss is near their lowest; stops those whose patience is used up."""
        waits = np.full(len(losses), self.plan.patience is not None) & ~np.isnan(losses)
        self._best_epoch[self._active & ~waits] = self.done
        better = self._active & waits & (losses < self._best_loss + self.plan.tolerance)
        self._best_loss[better] = np.minimum(losses, self._best_loss)[better]
        self._best_epoch[better] = self.done
        if better.any():
            chosen = torch.from_numpy(np.flatnonzero(better)).to(self.device)
            for best, tensor in zip(self._best, self._model, strict=True):
                best.index_copy_(0, chosen, tensor.index_select(0, chosen))
        if self.plan.patience is not None:
            self._active &= ~(waits & ~better & (self.done - self._best_epoch >= self.plan.patience))

    def _trained(self, member: int) -> Trained:
        if np.isfinite(self._best_loss[member]):
            for best, tensor in zip(self._best, self._model, strict=True):
                tensor[member].copy_(best[member])
        rows = self._history[: self.done, member]
        rows = rows[np.isfinite(rows[:, 0])]
        history = {name: rows[:, i].tolist() for i, name in enumerate(self._names) if np.isfinite(rows[:, i]).any()}
        layers = folded_layers(self.network, member)
        return Trained(as_dense(layers, self.architecture.activation), history, bool(self._diverged[member]))

    def fingerprint(self) -> str:
        """Returns what a checkpoint must be of for this training to continue from it."""
        members = [(m.seed, m.rows is None, m.learning_rate, m.weight_decay) for m in self.members]
        table = mlp_checkpoint.content_hash([*pieces_of(self.batches.table), *self._validation_tensors()])
        return repr((self.architecture, self.plan, members, table, self.device.type, self._names))

    def _validation_tensors(self) -> list[Tensor]:
        validation = {id(m.validation): m.validation for m in self.members if m.validation is not None}
        return [tensor for sample in validation.values() for tensor in (sample.x, sample.label, sample.weight)]

    def saved(self) -> dict[str, Tensor]:
        """Returns everything that the next epoch depends on, by name; writing into these tensors restores it."""
        tensors = {f"moving{i}": tensor for i, tensor in enumerate(self._moving)}
        tensors |= {f"best{i}": tensor for i, tensor in enumerate(self._best)}
        tensors |= self.batches.random.state()
        arrays: dict[str, NDArray[Any]] = {
            "active": self._active,
            "best_loss": self._best_loss,
            "best_epoch": self._best_epoch,
        }
        arrays |= {"history": self._history, "done": np.array([self.done])}
        return tensors | {name: torch.from_numpy(array) for name, array in arrays.items()}

    def restore(self, stored: Mapping[str, Tensor]) -> None:
        """Continues from what `saved` returned."""
        for name, tensor in self.saved().items():
            tensor.copy_(stored[name])
        self.batches.random.restore(stored)
        self.done = int(stored["done"][0])


def run_together(
    trainers: Sequence[Trainer],
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    pruner: MemberPruner | None = None,
) -> list[Trained]:
    """Trains to the end, from the state in `checkpoint` if that file exists, and returns the members of all trainers.

    Trainers of one plan on several GPUs work at the same time: an epoch is begun on each before the first is waited
    for. With a `pruner` a member that diverges stops alone.

    Raises:
        ModelError: a loss becomes non-finite and there is no `pruner`, or the checkpoint is of another training.
    """
    fingerprint = "" if checkpoint is None else "; ".join(trainer.fingerprint() for trainer in trainers)
    if checkpoint is not None and os.path.lexists(checkpoint):
        stored = mlp_checkpoint.read(checkpoint, fingerprint)
        for number, trainer in enumerate(trainers):
            trainer.restore({name: stored[_stored_name(number, name)] for name in trainer.saved()})
    ends, epochs = np.cumsum([len(trainer.members) for trainer in trainers])[:-1], trainers[0].plan.epochs
    while training := [trainer for trainer in trainers if trainer.trains]:
        for trainer in training:
            trainer.begin_epoch()
        for trainer in training:
            trainer.end_epoch(stop_diverged=pruner is not None)
        done = training[0].done
        losses = np.concatenate([trainer.losses(done) for trainer in trainers])
        if pruner is not None:
            for trainer, stopped in zip(trainers, np.split(pruner(done, epochs, losses[:, 2]), ends), strict=True):
                trainer.stop(stopped)
        if checkpoint is not None:
            saved = {
                _stored_name(number, name): tensor
                for number, trainer in enumerate(trainers)
                for name, tensor in trainer.saved().items()
            }
            mlp_checkpoint.write(checkpoint, saved, fingerprint)
        if progress is not None:
            known = {name: column for name, column in zip(_LOSSES, losses.T, strict=True) if np.isfinite(column).any()}
            progress(done, epochs, {name: float(np.nanmean(column)) for name, column in known.items()})
    return [member for trainer in trainers for member in trainer.trained()]


def _stored_name(trainer: int, name: str) -> str:
    """Returns the name in a checkpoint of a tensor of trainer number `trainer`; the first one has no number."""
    return f"trainer{trainer}.{name}" if trainer else name
