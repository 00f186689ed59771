"""The training data on the device, whole, and the batches that a step works on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pidlab.models.mlp.engine.layers import Architecture, dropout_mask
from pidlab.models.mlp.engine.random_numbers import CounterStreams, MemberGenerators
from pidlab.models.mlp.engine.streamed import BlockShuffle, StreamedTable

_CHUNK_STEPS = 16
_CHUNK_NUMBERS = 1 << 22
N_FURTHER_COLUMNS = 3  # of a table of classes, behind the features: a one for the bias, label, weight


@dataclass(frozen=True, slots=True)
class ValidationTensors:
    """A validation sample on the device: x (n, d), weight (n,), and label (n,) int64, or targets (n, t) of a
    regression."""

    x: Tensor
    label: Tensor
    weight: Tensor


@dataclass(frozen=True, slots=True)
class Member:
    """One network to train.

    Attributes:
        seed: decides its initial weights, the order of its events and its dropout; other members do not matter.
        rows: (n,) the rows of the table it trains on; None for all.
        validation: evaluated after each epoch; None for no validation.
        learning_rate, weight_decay: its own; None for those of the plan.
    """

    seed: int
    rows: Tensor | None
    validation: ValidationTensors | None
    learning_rate: float | None = None
    weight_decay: float | None = None

    def count(self, table: Tensor | StreamedTable) -> int:
        """Returns the number of training events."""
        return len(table) if self.rows is None else len(self.rows)


def as_table(x: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Returns the training data as one tensor: d features, a one for the bias, the label or targets, the weight.

    It is (n, d + 3) for labels (n,), and (n, d + t + 2) for targets (n, t) of a regression. A batch is then one gather.
    On a GPU the tensor is column-major: torch gathers rows there with a thread block for each, and columns ten times
    faster.
    """
    targets = label[:, None] if label.ndim == 1 else label
    columns = [x, torch.ones_like(x[:, :1]), targets.to(x.dtype), weight[:, None].to(x.dtype)]
    return torch.cat([column.T for column in columns]).T if x.is_cuda else torch.cat(columns, 1)


class Batches:
    """The batches of the next few steps for all members, in buffers that keep their addresses.

    Args:
        table: from `as_table`, or one that is read in blocks; all members then train on all of it.
        members: the networks to train.
        architecture: gives the shapes.
        batch_size: B, at most the smallest member's number of events.
        swap_noise: share of the features' values that are another event's of the batch.
        counted: whether random numbers come from `CounterStreams`; None: on every device but the CPU.
        n_parts: parts of a batch, from `parts_of_batch`.
        of_classes: whether the targets are the k indicators of a label; otherwise they are the t targets of the table.

    Attributes:
        n_steps: number of steps that the buffers hold.
        steps: (members,) steps an epoch of each member; the events left over are not used, others in each epoch.
        inputs, targets, weights, masks: of each step, for G = M · n_parts groups of b = B / n_parts events:
            (G, d [+ 1], b), (G, k or t, b), (G, 1, b), one (G, units, b) or None a hidden layer.
        all_targets, all_weights: (n_steps, G, k or t, b) and (n_steps, G, 1, b).
    """

    def __init__(
        self,
        table: Tensor | StreamedTable,
        members: Sequence[Member],
        architecture: Architecture,
        batch_size: int,
        swap_noise: float = 0.0,
        counted: bool | None = None,
        n_parts: int = 1,
        *,
        of_classes: bool = True,
    ) -> None:
        self.table, self.members, self.batch_size, self._swap_noise = table, members, batch_size, swap_noise
        n_members, width = len(members), table.shape[1]
        n_targets = architecture.n_outputs if of_classes else width - architecture.n_inputs - 2
        self.n_steps = _chunk_steps(architecture, batch_size, width)
        self._blocks = None if isinstance(table, Tensor) else BlockShuffle(table, batch_size, n_members)
        self.steps = np.array([member.count(table) // batch_size for member in members])
        if self._blocks is not None:
            self.steps[:] = self._blocks.n_steps
        shape = (self.n_steps, n_members, batch_size)
        small = len(table) < 2**31
        self._index = torch.zeros(shape, dtype=torch.int32 if small else torch.int64, device=table.device)
        self._by_column = not table.is_contiguous()
        if self._by_column:
            self._gathered = table.new_zeros(width, *shape).movedim(0, -1)
        else:
            self._gathered = table.new_zeros(*shape, width)
        grouped = (self.n_steps, n_members * n_parts)
        self._rows = self._gathered.view(*grouped, batch_size // n_parts, width)
        self.all_targets = table.new_zeros(*grouped, n_targets, batch_size // n_parts)
        self.all_weights = table.new_zeros(*grouped, 1, batch_size // n_parts)
        self._rate = architecture.dropout
        self._features = self._gathered[..., : architecture.n_inputs]
        self._make_noise(architecture)
        classes = torch.arange(n_targets, device=table.device, dtype=table.dtype)[:, None] + (n_targets == 1)
        self._classes = classes if of_classes else None
        scale = table.new_tensor([_weight_scale(table, member, batch_size) for member in members])
        self._scale = scale.repeat_interleave(n_parts)[:, None, None]
        longest = int(self.steps.max()) * batch_size if self._blocks is None else 0
        self._order = torch.zeros(n_members, longest, dtype=self._index.dtype, device=table.device)
        seeds = [member.seed for member in members]
        counted = table.device.type != "cpu" if counted is None else counted
        self.random = (CounterStreams if counted else MemberGenerators)(seeds, table.device)
        self._rows_by_member = self._rows_of_all() if counted else None
        self._make_views(architecture)

    def _make_noise(self, architecture: Architecture) -> None:
        """Draws a row of uniform numbers a member, cut into the noise of each hidden layer and of the features."""
        n_steps, n_members = self._index.shape[:2]
        shapes = [(n_steps, units, self.batch_size) for units in architecture.hidden if architecture.dropout > 0]
        if self._swap_noise > 0:
            shapes.append((n_steps, self.batch_size, architecture.n_inputs))
        sizes = [math.prod(shape) for shape in shapes]
        self._uniform = self.table.new_zeros(n_members, sum(sizes))
        parts = torch.split(self._uniform, sizes, 1) if sizes else ()
        self._noise = [part.view(n_members, *shape) for part, shape in zip(parts, shapes, strict=True)]
        self._swaps = self._noise.pop().transpose(0, 1) if self._swap_noise > 0 else None

    def _make_views(self, architecture: Architecture) -> None:
        d = architecture.n_inputs
        self.inputs = self._rows[..., : d + architecture.input_bias].mT.unbind(0)
        self.targets = self.all_targets.unbind(0)
        self.weights = self.all_weights.unbind(0)
        none: list[Tensor | None] = [None] * len(architecture.hidden)
        self.masks = [[noise[:, step] for noise in self._noise] or none for step in range(self.n_steps)]
        self._given_targets = self._rows[..., d + 1 : -1].mT
        self._weight = self._rows[..., -1][:, :, None, :]

    def _rows_of_all(self) -> Tensor | None:
        """Returns (members, longest) rows of the table, by which one gather takes all orders; None if all use all."""
        if all(member.rows is None for member in self.members):
            return None
        counts = [member.count(self.table) for member in self.members]
        rows = self._order.new_zeros(len(counts), max(counts))
        every = torch.arange(max(counts), device=rows.device)
        for own, member, n in zip(rows, self.members, counts, strict=True):
            own[:n].copy_(every[:n] if member.rows is None else member.rows)
        return rows

    def shuffle(self, epoch: int) -> None:
        """Draws each member's order of events for epoch number `epoch`."""
        self.random.begin_epoch(epoch, -(-int(self.steps.max()) // self.n_steps))
        if self._blocks is not None:
            self._blocks.begin_epoch(epoch)
            return
        counts = [member.count(self.table) for member in self.members]
        for first, orders in self.random.orders(counts, self._order.dtype):
            events, rows = orders[:, : self._order.shape[1]], self.members[first].rows
            if self._rows_by_member is not None and len(events) > 1:
                events = self._rows_by_member[first : first + len(events)].gather(1, events)
            elif rows is not None:
                events = rows[events]
            self._order[first : first + len(events), : events.shape[1]].copy_(events)

    def fill(self, chunk: int) -> None:
        """Fills the buffers with the steps from `chunk` · `n_steps` on; behind a member's last step they are void."""
        if self._blocks is not None:
            self._blocks.fill(self._gathered, chunk * self.n_steps, self.random)
        else:
            self._gather(chunk)
        if self._uniform.shape[1]:
            training = np.flatnonzero(self.steps > chunk * self.n_steps).tolist()
            self.random.fill_uniform(self._uniform, chunk, training)
        if self._swaps is not None:  # events are in random order: the one before is a random one
            self._features.copy_(self._features.roll(1, 2).where(self._swaps < self._swap_noise, self._features))
        self.all_targets.copy_(self._given_targets)
        if self._classes is not None:
            self.all_targets.eq_(self._classes)
        torch.mul(self._weight, self._scale, out=self.all_weights)
        for noise in self._noise:
            dropout_mask(noise, self._rate)

    def _gather(self, chunk: int) -> None:
        assert isinstance(self.table, Tensor)
        size = self.n_steps * self.batch_size
        part = self._order[:, chunk * size : (chunk + 1) * size]
        by_step = part.view(len(part), -1, self.batch_size).transpose(0, 1)
        self._index[: len(by_step)].copy_(by_step)
        index, width = self._index.view(-1), self.table.shape[1]
        if self._by_column:
            torch.index_select(self.table.T, 1, index, out=self._gathered.movedim(-1, 0).view(width, -1))
        else:
            torch.index_select(self.table, 0, index, out=self._gathered.view(-1, width))


def _chunk_steps(architecture: Architecture, batch_size: int, width: int) -> int:
    """Returns the number of steps to prepare at once.

    It does not depend on the number of members: dropout is drawn for these pieces, and a member must draw the same
    numbers whatever other members there are.
    """
    numbers = batch_size * (width + (sum(architecture.hidden) if architecture.dropout > 0 else 0))
    return max(1, min(_CHUNK_STEPS, _CHUNK_NUMBERS // numbers))


def _weight_scale(table: Tensor | StreamedTable, member: Member, batch_size: int) -> float:
    if not isinstance(table, Tensor):
        return 1.0 / (batch_size * table.mean_weight())
    weight = table[:, -1] if member.rows is None else table[member.rows, -1]
    return 1.0 / (batch_size * float(weight.double().mean()))
