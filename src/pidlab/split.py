"""Split by a hash of the event key, so that merging, shuffling or skimming files moves no event to another sample."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pidlab.sample import BoolArray, IntArray, Rows

Keys = NDArray[np.uint64]


class Part(IntEnum):
    """The part of the split to which an event belongs; the numbers are those of the branch `pid_split`."""

    UNUSED = -1
    TRAIN = 0
    VALIDATION = 1
    TEST = 2


@dataclass(frozen=True, slots=True)
class Parts:
    """What each of the n rows of a sample is for; the rows of a part follow each other.

    Attributes:
        part: (n,) the `Part` of each row, rising; with folds every row is a test row.
        fold: (n,) the fold whose model must not see the row; None without folds.
        validation: (n,) true for rows that validate if they are not test rows; with folds these come last.
    """

    part: NDArray[np.int8]
    fold: NDArray[np.int8] | None
    validation: BoolArray

    def training(self) -> Iterator[tuple[Rows, Rows]]:
        """The training and validation rows: one pair, or one pair a fold."""
        if self.fold is None:
            parts = self.quoted()
            yield parts["train"], parts["validation"]
            return
        for fold in range(int(self.fold.max(initial=0)) + 1):
            seen = self.fold != fold
            yield np.flatnonzero(seen & ~self.validation), np.flatnonzero(seen & self.validation)

    def quoted(self) -> dict[str, slice]:
        """The rows of the samples "train", "validation" and "test", for which numbers are quoted."""
        if self.fold is None:
            ends = np.searchsorted(self.part, list(_QUOTED.values()), side="right").tolist()
            starts = np.searchsorted(self.part, list(_QUOTED.values())).tolist()
            return {name: slice(*ends_of) for name, *ends_of in zip(_QUOTED, starts, ends, strict=True)}
        n, n_train = len(self.part), int(np.searchsorted(self.validation, True))
        return {"train": slice(0, n_train), "validation": slice(n_train, n), "test": slice(0, n)}

    @property
    def threshold_sample(self) -> str:
        """The sample that decides thresholds: "validation", or "train" if there is no validation sample."""
        rows = self.quoted()["validation"]
        return "validation" if rows.stop > rows.start else "train"


_QUOTED = {"train": Part.TRAIN, "validation": Part.VALIDATION, "test": Part.TEST}


def _mix(z: Keys) -> Keys:
    """Returns the finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014): each input bit affects each output bit."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def event_hash(keys: Sequence[IntArray]) -> Keys:
    """Returns (n,) the hash of integer columns (n,); equal numbers of any integer type have equal hashes."""
    result = np.full(len(keys[0]), 0x9E3779B97F4A7C15, np.uint64)
    for key in keys:
        bits = key.astype(np.int64).view(np.uint64) if key.dtype.kind == "i" else key.astype(np.uint64)
        result = _mix((result ^ bits) + np.uint64(0x9E3779B97F4A7C15))
    return result


def content_hash(columns: Sequence[NDArray[np.generic]]) -> Keys:
    """Returns (n,) the hash of the values in `columns`, each (n,) numbers or text; equal rows have equal hashes."""
    return event_hash([_bits(column) for column in columns])


def _bits(column: NDArray[np.generic]) -> NDArray[np.int64]:
    """Returns (n,) a whole number for each value, the same for equal values."""
    if column.dtype.kind == "T":
        return np.asarray(np.unique(column, return_inverse=True)[1], np.int64)
    if column.dtype.kind != "f":
        return np.asarray(column, np.int64)
    # Adding zero turns -0 into 0, and all NaN become the same one.
    numbers = np.asarray(column, np.float64) + 0.0
    return np.where(np.isnan(numbers), np.float64(np.nan), numbers).view(np.int64)


def name_hash(name: str) -> int:
    """Returns a signed 64-bit hash of an input's name, used in the key of events that have none."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


def _uniform(event: Keys, salt: str, seed: int) -> NDArray[np.float64]:
    """Returns (n,) numbers in [0, 1) that depend only on the event, the purpose `salt` and the seed."""
    offset = np.uint64(name_hash(f"{salt} {seed}") % 2**64)
    return np.asarray((_mix(event ^ offset) >> np.uint64(11)) * 2.0**-53, np.float64)


def split(event: Keys, test: float | BoolArray, validation: float, seed: int) -> NDArray[np.int8]:
    """Returns (n,) the `Part` of each event.

    Args:
        event: (n,) event hashes.
        test: share of the events, or (n,) true for test events.
        validation: share of the other events.
        seed: the seed of the split.
    """
    is_test = test if isinstance(test, np.ndarray) else _uniform(event, "test", seed) < test
    rest = np.where(is_validation(event, validation, seed), Part.VALIDATION, Part.TRAIN)
    return np.where(is_test, Part.TEST, rest).astype(np.int8)


def fold_of(event: Keys, n_folds: int, seed: int) -> NDArray[np.int8]:
    """Returns (n,) the fold, 0 … n_folds - 1, whose model is not trained on the event."""
    return (_uniform(event, "fold", seed) * n_folds).astype(np.int8)


def is_validation(event: Keys, share: float, seed: int) -> BoolArray:
    """Returns (n,) true for the validation events among those that are not test."""
    return np.asarray(_uniform(event, "validation", seed) < share)


def draw_order(event: Keys, seed: int) -> Keys:
    """Returns (n,) numbers by whose order events are drawn: the first N of them are a random share of N events."""
    return _mix(event ^ np.uint64(name_hash(f"draw {seed}") % 2**64))


def poisson_counts(event: Keys, purpose: str, seed: int) -> NDArray[np.float64]:
    """Returns (n,) Poisson numbers of mean 1, which depend only on the event, the purpose and the seed.

    They are how often a bootstrap replica takes an event, with all of its candidates.
    """
    # The probability of more than 20 is below 1e-19, less than the step of the uniform numbers.
    cumulated = np.cumsum(np.exp(-1.0) / np.cumprod([1.0, *range(1, 21)]))
    return np.searchsorted(cumulated, _uniform(event, purpose, seed), side="right").astype(np.float64)


def share_of(event: Keys, share: float, seed: int) -> BoolArray:
    """Returns (n,) true for about this share of the events of any part."""
    return np.asarray(_uniform(event, "share", seed) < share)
