"""Jagged collections: how one row for each event becomes one row for each candidate."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from pidlab.errors import DataError, UsageError, nearest
from pidlab.expressions import ITERATION, Kind, whole_list


@dataclass(frozen=True, slots=True)
class Collection:
    """A jagged collection that the user calls `name`; its `members` are branches with a value for each candidate."""

    name: str
    members: frozenset[str]

    @property
    def counter(self) -> str:
        """The name of the counter that jagged friend branches share."""
        return counter_name(self.name)

    @property
    def reference(self) -> str:
        """The member that is always read, because it tells how many candidates an event has."""
        return min(self.members)

    def flatten(
        self, arrays: Mapping[str, Any], first_entry: int, reads: Container[str] = ()
    ) -> tuple[dict[str, Any], NDArray[np.int64]]:
        """Returns the arrays with one row for each candidate, and the (n_entries,) numbers of candidates.

        Members are flattened; every other branch is repeated for each candidate of its event. `Iteration$` is the
        number of the candidate in its event. Where `reads` holds the `whole_list` of a member, each candidate
        has all values of its event under that name.

        Raises:
            DataError: the members differ in length in some event.
        """
        counts = ak.to_numpy(ak.num(arrays[self.reference], axis=1)).astype(np.int64)
        entry = np.repeat(np.arange(len(counts)), counts)
        rows: dict[str, Any] = {}
        for name, values in arrays.items():
            if name not in self.members:
                rows[name] = values[entry]
                continue
            own = ak.to_numpy(ak.num(values, axis=1))
            if not np.array_equal(own, counts):
                i = int(np.flatnonzero(own != counts)[0])
                lengths = f"{name!r} has {own[i]} and {self.reference!r} has {counts[i]}"
                where = f"in entry {first_entry + i:,} {lengths}"
                raise DataError(f"{where}; branches of one collection must be equally long")
            rows[name] = ak.to_numpy(ak.flatten(values, axis=1))
            if whole_list(name) in reads:
                rows[whole_list(name)] = values[entry]
        rows[ITERATION] = np.arange(len(entry)) - np.repeat(np.cumsum(counts) - counts, counts)
        return rows, counts


def counter_name(per: str) -> str:
    """Returns the name of the counter of a collection; ROOT would read the :: of a bank as that of a namespace."""
    return f"n{per.replace('::', '_')}"


def prefix_of(name: str) -> str:
    """Returns the collection of a branch by its name: Electron of Electron_pt, REC::Particle of REC::Particle.px."""
    return name.rpartition(".")[0] if "::" in name else name.partition("_")[0]


def find_collection(per: str | Sequence[str], kinds: Mapping[str, Kind]) -> Collection:
    """Returns the collection that `per` means: a prefix (`Electron` for `Electron_pt`), or one or more jagged branches.

    Raises:
        UsageError: `per` means no jagged branch.
    """
    jagged = {name for name, kind in kinds.items() if kind.shape == (None,)}
    if not isinstance(per, str):
        for name in per:
            if name not in jagged:
                raise UsageError(f"data.per: {name!r} is no jagged branch; {nearest(name, jagged)}")
        return Collection("pid", frozenset(per))
    members = {name for name in jagged if name == per or name.startswith((f"{per}_", f"{per}."))}
    if not members:
        prefixes = {prefix_of(name) for name in jagged} | jagged
        what = f"no jagged branch is called {per!r} or begins with '{per}_'"
        raise UsageError(f"data.per: {what}; {nearest(per, prefixes)}")
    return Collection(per, frozenset(members))


def row_kinds(kinds: Mapping[str, Kind], collection: Collection) -> dict[str, Kind]:
    """Returns what a row holds if a row is a candidate, also under the names of `whole_list`."""
    members = {name: kind for name, kind in kinds.items() if name in collection.members}
    flat = {name: Kind(kind.number) for name, kind in members.items()}
    return {**kinds, **flat, **{whole_list(name): kind for name, kind in members.items()}}
