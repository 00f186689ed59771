"""Training data that are larger than a table: they stay where they are, and are read in shuffled blocks.

An epoch is a sequence of buffers, each of about a million events. The events are cut into blocks of neighbours, from
another place in each epoch. Of each group of consecutive blocks, as many as there are buffers, every buffer gets one,
drawn at random. So each buffer is an even sample of the whole, however the input is ordered (by class, by run), and
only neighbours stay together. Within a buffer each member has an order of single events of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pidlab.models.matrix import Matrix, slices
from pidlab.sample import IntArray

if TYPE_CHECKING:
    from pidlab.models.mlp.engine.random_numbers import CounterStreams, MemberGenerators

_BUFFER = 1 << 20  # events of a buffer: 63 MB for 12 features
_LEAST_BATCHES = 32  # of a buffer, since up to one batch of its events is left over
_BLOCK = 1 << 10  # neighbours that stay in one buffer: their features are read from one place of a file
_READ_AT_ONCE = 64  # blocks
_SEED = 17  # of the order of the blocks, which is the same for all members


class StreamedTable:
    """The training data as `as_table` has them, of which rows are made when they are read.

    Args:
        x: (n, d) features.
        label: (n,) index of the class, or the target of a regression.
        weight: (n,).
    """

    device = torch.device("cpu")

    def __init__(self, x: Matrix, label: NDArray[Any], weight: NDArray[np.float64]) -> None:
        self._x, self._label, self._weight = x, label, weight
        self.dtype = torch.float64 if x.dtype == np.float64 else torch.float32

    def __len__(self) -> int:
        return len(self._label)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d + 3)."""
        return len(self), self._x.shape[1] + 3

    @property
    def nbytes(self) -> int:
        """The bytes of the whole table."""
        return math.prod(self.shape) * self.dtype.itemsize

    def new_zeros(self, *shape: Any) -> Tensor:
        """Returns zeros of the table's type."""
        return torch.zeros(*shape, dtype=self.dtype)

    def new_tensor(self, values: Any) -> Tensor:
        """Returns values in the table's type."""
        return torch.tensor(values, dtype=self.dtype)

    def is_contiguous(self) -> bool:
        """Rows are gathered, not columns."""
        return True

    def read(self, rows: slice | IntArray, out: Tensor) -> None:
        """Fills `out` (m, d + 3) with these rows."""
        d = self._x.shape[1]
        into = out.numpy()
        into[:, :d] = self._x[rows]
        into[:, d] = 1.0
        into[:, d + 1] = self._label[rows]
        into[:, d + 2] = self._weight[rows]

    def mean_weight(self) -> float:
        """Returns the mean of the weights."""
        return float(self._weight.mean())

    def pieces(self) -> Iterator[Tensor]:
        """Yields the rows, block by block."""
        for rows in slices(len(self)):
            piece = self.new_zeros(rows.stop - rows.start, self.shape[1])
            self.read(rows, piece)
            yield piece

    def whole(self, device: torch.device) -> Tensor:
        """Returns the table on a device as `as_table` makes it: by rows on the CPU, by columns on a GPU."""
        on_gpu = device.type == "cuda"
        shape = self.shape[::-1] if on_gpu else self.shape
        columns = torch.empty(shape, dtype=self.dtype, device=device)
        table = columns.T if on_gpu else columns
        for rows, piece in zip(slices(len(self)), self.pieces(), strict=True):
            table[rows] = piece.to(device)
        return table


def pieces_of(table: Tensor | StreamedTable) -> Iterator[Tensor]:
    """Yields the rows of a table; a tensor is one piece."""
    if isinstance(table, Tensor):
        yield table
    else:
        yield from table.pieces()


class BlockShuffle:
    """An epoch of a table that is read in blocks.

    Args:
        table: the training data.
        batch_size: B.
        n_members: M.

    Attributes:
        n_steps: of an epoch, for every member. Events that fill no block or no batch are left out, others in each
            epoch: less than one block for each buffer, and less than one batch of each buffer.
    """

    def __init__(self, table: StreamedTable, batch_size: int, n_members: int) -> None:
        self._table, self._batch_size = table, batch_size
        n = len(table)
        self._n_buffers = max(1, math.ceil(n / max(_BUFFER, _LEAST_BATCHES * batch_size)))
        self._block = max(1, min(_BLOCK, n // (_LEAST_BATCHES * self._n_buffers)))
        self._n_groups = n // (self._block * self._n_buffers)  # each gives one block to every buffer
        size = self._n_groups * self._block
        self._steps_a_buffer = size // batch_size
        self.n_steps = self._n_buffers * self._steps_a_buffer
        self._buffer = table.new_zeros(size, table.shape[1])
        self._order = torch.zeros(n_members, size, dtype=torch.int32)
        self._loaded = -1
        self._buffers = np.zeros((self._n_buffers, self._n_groups), np.int64)

    def begin_epoch(self, epoch: int) -> None:
        """Draws for epoch number `epoch` where blocks begin and which buffer each of them goes to."""
        random = np.random.default_rng([_SEED, epoch])
        start = int(random.integers(len(self._table)))
        places = random.permuted(np.tile(np.arange(self._n_buffers), (self._n_groups, 1)), axis=1)
        blocks = np.arange(self._n_groups)[:, None] * self._n_buffers + places
        self._buffers = ((start + blocks * self._block) % len(self._table)).T
        self._loaded = -1

    def fill(self, out: Tensor, first: int, random: MemberGenerators | CounterStreams) -> None:
        """Fills `out` (steps, M, B, d + 3) with the batches from step `first` of the epoch on, as many as are left."""
        last = min(first + len(out), self.n_steps)
        while first < last:
            buffer, within = divmod(first, self._steps_a_buffer)
            if buffer != self._loaded:
                self._load(buffer, random)
            n = min(last - first, self._steps_a_buffer - within)
            places = slice(within * self._batch_size, (within + n) * self._batch_size)
            index = self._order[:, places].view(len(self._order), n, self._batch_size).transpose(0, 1).reshape(-1)
            torch.index_select(self._buffer, 0, index, out=out[:n].view(len(index), -1))
            out, first = out[n:], first + n

    def _load(self, buffer: int, random: MemberGenerators | CounterStreams) -> None:
        starts, size = self._buffers[buffer], self._block
        for blocks in slices(self._n_groups, _READ_AT_ONCE):
            rows = (starts[blocks, None] + np.arange(size)).ravel() % len(self._table)
            self._table.read(rows, self._buffer[blocks.start * size : blocks.stop * size])
        for first, orders in random.orders([len(self._buffer)] * len(self._order), self._order.dtype):
            self._order[first : first + len(orders)].copy_(orders)
        self._loaded = buffer
