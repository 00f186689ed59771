"""The training data on the device, whole, and the batches that a step works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pidlab.models.mlp_layers import Architecture, Values, dropout_mask

_CHUNK_STEPS = 16
_CHUNK_NUMBERS = 1 << 22


@dataclass(frozen=True, slots=True)
class Watched:
    """What a member watches while it trains: x (n, d), label (n,) int64, weight (n,), on the device."""

    x: Tensor
    label: Tensor
    weight: Tensor


@dataclass(frozen=True, slots=True)
class Member:
    """One network to train.

    Attributes:
        seed: decides its start, the order of its events and its dropout, whoever trains beside it.
        rows: (n,) the rows of the table it trains on; None for all.
        watched: its validation sample, if it has one.
        learning_rate, weight_decay: its own; None for those of the plan.
    """

    seed: int
    rows: Tensor | None
    watched: Watched | None
    learning_rate: float | None = None
    weight_decay: float | None = None

    def count(self, table: Tensor) -> int:
        """Number of training events."""
        return len(table) if self.rows is None else len(self.rows)


def as_table(x: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """One row an event, so that a batch is one gather: d features, a one (for the bias), label, weight: (n, d + 3)."""
    return torch.cat([x, torch.ones_like(x[:, :1]), label[:, None].to(x.dtype), weight[:, None].to(x.dtype)], 1)


class Batches:
    """The next few steps' batches of all members, in buffers that never move.

    Args:
        table: (n, d + 3), as `as_table` makes it.
        members: who trains.
        architecture: gives the shapes.
        batch_size: B, at most the smallest member's number of events.
        swap_noise: share of the features' values that are another event's of the batch.

    Attributes:
        n_steps: steps the buffers hold.
        steps: (members,) steps an epoch of each member; the events beyond them sit out, others in each epoch.
        inputs, targets, weights, masks: of each step: Values (M, d [+ 1], B), (M, k, B), (M, 1, B), one (M, units, B)
            or None a hidden layer.
        all_targets, all_weights: (M, n_steps, k, B) and (M, n_steps, 1, B).
    """

    def __init__(
        self,
        table: Tensor,
        members: Sequence[Member],
        architecture: Architecture,
        batch_size: int,
        swap_noise: float = 0.0,
    ) -> None:
        self.table, self.members, self.batch_size, self._swap_noise = table, members, batch_size, swap_noise
        n_members, k, width = len(members), architecture.n_outputs, table.shape[1]
        self.n_steps = _chunk_steps(architecture, batch_size, width)
        self.steps = np.array([member.count(table) // batch_size for member in members])
        shape = (n_members, self.n_steps, batch_size)
        small = len(table) < 2**31
        self._index = torch.zeros(shape, dtype=torch.int32 if small else torch.int64, device=table.device)
        self._gathered = table.new_zeros(*shape, width)
        self.all_targets = table.new_zeros(n_members, self.n_steps, k, batch_size)
        self.all_weights = table.new_zeros(n_members, self.n_steps, 1, batch_size)
        self._noise = [
            table.new_zeros(n_members, self.n_steps, units, batch_size)
            for units in architecture.hidden
            if architecture.dropout > 0
        ]
        self._rate = architecture.dropout
        self._features = self._gathered[..., : architecture.n_inputs]
        self._swaps = torch.ones_like(self._features) if swap_noise > 0 else None
        self._positions = torch.arange(k, device=table.device, dtype=table.dtype)[:, None] + (k == 1)
        self._scale = table.new_tensor([_weight_scale(table, member, batch_size) for member in members])
        longest = int(self.steps.max()) * batch_size
        self._order = torch.zeros(n_members, longest, dtype=self._index.dtype, device=table.device)
        self.generators = [torch.Generator(table.device).manual_seed(member.seed) for member in members]
        self._make_views(architecture)

    def _make_views(self, architecture: Architecture) -> None:
        d = architecture.n_inputs
        features = self._gathered[..., : d + architecture.input_bias].unbind(1)
        self.inputs = [Values(rows.mT, rows) for rows in features]
        self.targets = self.all_targets.unbind(1)
        self.weights = self.all_weights.unbind(1)
        none: list[Tensor | None] = [None] * len(architecture.hidden)
        self.masks = [[noise[:, step] for noise in self._noise] or none for step in range(self.n_steps)]
        label, weight = self._gathered[..., d + 1], self._gathered[..., d + 2]
        self._label, self._weight = label[:, :, None, :], weight[:, :, None, :]

    def shuffle(self) -> None:
        """Draw the epoch's order of events of each member."""
        rows = zip(self.members, self.generators, self._order, self.steps.tolist(), strict=True)
        for member, generator, own, steps in rows:
            n = member.count(self.table)
            order = torch.randperm(n, generator=generator, device=self.table.device, dtype=own.dtype)
            order = order[: steps * self.batch_size]
            own[: len(order)].copy_(order if member.rows is None else member.rows[order])

    def fill(self, chunk: int) -> None:
        """Put the epoch's steps from `chunk` · `n_steps` on into the buffers; void beyond a member's last."""
        size = self.n_steps * self.batch_size
        part = self._order[:, chunk * size : (chunk + 1) * size]
        self._index.flatten(1)[:, : part.shape[1]].copy_(part)
        for number in np.flatnonzero(self.steps > chunk * self.n_steps).tolist():
            for noise in self._noise:
                noise[number].uniform_(generator=self.generators[number])
            if self._swaps is not None:
                self._swaps[number].uniform_(generator=self.generators[number])
        torch.index_select(self.table, 0, self._index.view(-1), out=self._gathered.view(-1, self.table.shape[1]))
        if self._swaps is not None:  # events are in random order, so the one before is any other
            self._features.copy_(self._features.roll(1, 2).where(self._swaps < self._swap_noise, self._features))
        self.all_targets.copy_(self._label).eq_(self._positions)
        torch.mul(self._weight, self._scale[:, None, None, None], out=self.all_weights)
        for noise in self._noise:
            dropout_mask(noise, self._rate)


def _chunk_steps(architecture: Architecture, batch_size: int, width: int) -> int:
    """Steps to prepare at once; the same whoever trains beside a member, for dropout is drawn in these pieces."""
    numbers = batch_size * (width + (sum(architecture.hidden) if architecture.dropout > 0 else 0))
    return max(1, min(_CHUNK_STEPS, _CHUNK_NUMBERS // numbers))


def _weight_scale(table: Tensor, member: Member, batch_size: int) -> float:
    weight = table[:, -1] if member.rows is None else table[member.rows, -1]
    return 1.0 / (batch_size * float(weight.double().mean()))
