"""The random numbers of a training: each member's order of events, and the noise of its dropout and swapped features.

A member's numbers depend on its seed alone, not on the other members. On the CPU each member has a generator
of torch. On a GPU a loop over generators would launch one kernel a member, so there the numbers are a hash of the
member's seed and of their place: one pass over all members, and the same bits on every device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SORTED_AT_ONCE = 1 << 26  # keys, which with their positions take 1 GB of the GPU's memory
# SplitMix64's constants
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))
_LAST_SHIFT = 31
_LARGEST = 2**63 - 1


class MemberGenerators:
    """One generator of torch for each member, on the CPU."""

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self._device = device
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def begin_epoch(self, epoch: int, n_chunks: int) -> None:
        """Prepares for epoch number `epoch`, whose batches are made in `n_chunks` pieces; generators need nothing."""

    def orders(self, counts: Sequence[int], dtype: torch.dtype) -> Iterator[tuple[int, Tensor]]:
        """Yields each member's number and, as (1, count), a random permutation of its events in integers of `dtype`."""
        for number, (n, generator) in enumerate(zip(counts, self._generators, strict=True)):
            yield number, torch.randperm(n, generator=generator, device=self._device, dtype=dtype)[None]

    def fill_uniform(self, out: Tensor, chunk: int, members: Sequence[int]) -> None:
        """Fills the rows `members` of `out` (all members, numbers) uniformly in [0, 1)."""
        for number in members:
            out[number].uniform_(generator=self._generators[number])

    def state(self) -> dict[str, Tensor]:
        """Returns what a checkpoint must hold so that the next epochs draw the same numbers."""
        return {f"generator{i}": generator.get_state() for i, generator in enumerate(self._generators)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continues from what `state` returned."""
        for i, generator in enumerate(self._generators):
            generator.set_state(state[f"generator{i}"])


class CounterStreams:
    """SplitMix64 (Steele, Lea & Flood, OOPSLA 2014) on counters, for all members at once, in place of generators.

    Number i of a stream is the finaliser's hash of key + i · γ. The key is itself such a hash, of the member's seed,
    the epoch and the piece of the epoch, so that there is no state to keep.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self._device = device
        self._seeds = np.array(seeds, dtype=np.uint64)
        self._keys = torch.zeros(0, len(seeds), dtype=torch.int64, device=device)
        self._steps = torch.zeros(0, dtype=torch.int64, device=device)

    def begin_epoch(self, epoch: int, n_chunks: int) -> None:
        """Computes the keys of all streams of this epoch: one for the order, then one for each piece."""
        keys = _mixed(self._seeds + _GAMMA * np.array([epoch + 1], dtype=np.uint64))  # wraps; a scalar would warn
        streams = np.arange(1, n_chunks + 2, dtype=np.uint64)[:, None]
        self._keys = torch.from_numpy(_mixed(keys + _GAMMA * streams).view(np.int64)).to(self._device)

    def orders(self, counts: Sequence[int], dtype: torch.dtype) -> Iterator[tuple[int, Tensor]]:
        """Yields the number of a first member, and the permutations (m, longest) of it and of those that follow it.

        They are sorted by random keys together, with few kernels for many members. Behind the permutation of a member
        with fewer events than the longest of the m come the numbers that are left; `dtype` plays no role.
        """
        together = max(1, _SORTED_AT_ONCE // max(counts))
        for first in range(0, len(counts), together):
            own = counts[first : first + together]
            hashed = self._hashed(self._keys[0, first : first + len(own)], max(own))
            if min(own) < max(own):
                ends = torch.tensor(own).to(self._device)[:, None]
                hashed.masked_fill_(torch.arange(max(own), device=self._device) >= ends, _LARGEST)  # sorts behind
            yield first, torch.argsort(hashed, dim=1)

    def fill_uniform(self, out: Tensor, chunk: int, members: Sequence[int]) -> None:
        """Fills every row of `out`, those that are not in `members` too."""
        bits = 24 if out.dtype is torch.float32 else 53
        hashed = self._hashed(self._keys[chunk + 1], out.shape[1])
        out.copy_(_shifted(hashed, 64 - bits)).mul_(2.0**-bits)

    def state(self) -> dict[str, Tensor]:
        """Returns nothing: the keys follow from the epoch's number."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Does nothing, as there is no state."""

    def _hashed(self, keys: Tensor, n: int) -> Tensor:
        """Returns (members, n) int64, all 64 bits random, from `keys` (members,)."""
        if len(self._steps) < n:
            self._steps = torch.arange(n, device=self._device, dtype=torch.int64) * _signed(_GAMMA)
        z = keys[:, None] + self._steps[:n]
        for shift, factor in _ROUNDS:
            z.bitwise_xor_(_shifted(z, shift)).mul_(_signed(factor))
        return z.bitwise_xor_(_shifted(z, _LAST_SHIFT))


def _mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser in numpy; `CounterStreams._hashed` is the same on the device."""
    for shift, factor in _ROUNDS:
        z = (z ^ (z >> np.uint64(shift))) * factor
    return np.asarray(z ^ (z >> np.uint64(_LAST_SHIFT)))


def _signed(number: np.uint64) -> int:
    """Returns the same 64 bits as a signed integer, since torch computes with signed integers only."""
    return int(number.view(np.int64))


def _shifted(z: Tensor, bits: int) -> Tensor:
    """z shifted right by `bits`, zeros coming in: torch's own shift of a signed integer repeats the sign."""
    return (z >> bits).bitwise_and_((1 << (64 - bits)) - 1)
