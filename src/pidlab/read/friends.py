"""Friends: a tree and others whose entries belong to its entries, by a key or by their number, as one backend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pidlab.errors import DataError
from pidlab.read.backend import Arrays, Backend, TreeNotes
from pidlab.read.formats import identity_of, open_source
from pidlab.read.root.file import friend_of
from pidlab.read.source import Source
from pidlab.sample import joined
from pidlab.split import event_hash

_STEP = 500_000
"""Entries read at a time."""
_MAX_REMEMBERED = 64  # pairs of input and friend

_USUAL_KEYS = (
    ("run", "event"), ("run", "luminosityBlock", "event"), ("runNumber", "eventNumber"), ("run_number", "event_number"),
    ("RunNumber", "EventNumber"), ("runno", "evtno"), ("event",), ("eventNumber",), ("EventNumber",), ("evtnum",),
)  # fmt: skip
"""Names of branches that usually identify an event; a friend that has them too must agree with them in each entry."""
_ADVICE = "say by which branches of both they are matched in data.event_id, for example [run, event]"


def open_with_friends(source: Source) -> Backend:
    """Returns the source and its friends as one backend.

    Raises:
        DataError: one of them cannot be opened, or the entries of a friend are not those of the source.
    """
    main = open_source(source)
    opened: list[Backend] = []
    try:
        for friend in source.friends:
            backend = open_source(friend)
            opened.append(backend)
            opened[-1] = _in_order(source, main, friend, backend)
    except DataError:
        for backend in (main, *opened):
            backend.close()
        raise
    return _Joined(main, source.friends, opened) if opened else main


def _in_order(source: Source, main: Backend, friend: Source, opened: Backend) -> Backend:
    """Returns the friend with its entries in the order of the input.

    Entries are matched by an index stored with the friend (TTree::BuildIndex), else by the branches of
    `data.event_id` if the friend has them, else by the entry number, which must not contradict those of these branches
    that the friend has, branches that usually identify an event, nor what pidlab or ROOT noted in the file.

    Raises:
        DataError: the entries of the friend do not fit, or nothing says which belong together.
    """
    key = _shared(opened.notes.index, main, opened) or _shared(source.event_id, main, opened)
    if key:
        rows = _matched(source, main, friend, opened, key)
        return opened if rows is None else _ByKey(opened, rows, main.offsets(key[0]))
    if opened.n_entries != main.n_entries:
        lengths = f"{opened.n_entries:,} entries, {source} has {main.n_entries:,}"
        advice = "or the branches of data.event_id, by which it is matched"
        raise DataError(f"data.friends: {friend} has {lengths}; a friend has one entry for each of the input, {advice}")
    for tree, backend in ((source, main), (friend, opened)):
        if backend.notes.is_reshuffled:
            what = f"ROOT noted in {tree} that its entries are in another order than those of the tree it was made of"
            raise DataError(f"data.friends: {what}; {_ADVICE}")
    some = tuple(name for name in source.event_id if _shared((name,), main, opened))
    usual = some or next((key for names in _USUAL_KEYS if (key := _shared(names, main, opened))), ())
    if usual and (entry := _first_difference(main, opened, usual)) is not None:
        where = f"the entry {entry:,} of {friend} is of another {' and '.join(usual)} than that of {source}"
        raise DataError(f"data.friends: {where}; {_ADVICE}")
    if some or not usual:  # a part of a key leaves several entries alike
        _check_marker(source, friend)
    return opened


def _shared(names: Sequence[str], main: Backend, friend: Backend) -> tuple[str, ...]:
    """Returns the names if all of them are flat branches of numbers in both; else none."""
    both = set(main.names) & set(friend.names)
    good = names and all(
        name in both and all(not b.reason(name) and _is_number(b.empty(name)) for b in (main, friend)) for name in names
    )
    return tuple(names) if good else ()


def _is_number(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.ndim == 1 and array.dtype.kind in "iubf"


def _read_keys(backend: Backend, key: Sequence[str]) -> list[Any]:
    """Returns (n,) the values of each branch of the key."""
    parts: list[list[Any]] = [[backend.empty(name)] for name in key]
    for arrays in backend.iterate(sorted(key), _STEP):
        for part, name in zip(parts, key, strict=True):
            part.append(arrays[name])
    return [joined(part) for part in parts]


def _read_whole_keys(tree: Source, backend: Backend, key: Sequence[str]) -> list[Any]:
    """Returns (n,) the values of each branch of the key as whole numbers, which branches of floats hold too.

    Raises:
        DataError: a branch of floats holds something else, or numbers so large that several become the same.
    """
    return [_whole(tree, name, values) for name, values in zip(key, _read_keys(backend, key), strict=True)]


def _whole(tree: Source, name: str, values: Any) -> Any:
    if values.dtype.kind != "f":
        return values
    bits = np.finfo(values.dtype).nmant + 1  # all whole numbers up to 2^bits have a value of their own
    bad = ~(np.abs(values) < 2.0**bits) | (values != np.floor(values))
    if bad.any():
        i = int(np.argmax(bad))
        what = f"its branch {name!r}, of {values.dtype}, is {values[i]!s} in entry {i:,}"
        why = f"of this type only whole numbers below 2^{bits} tell events apart"
        raise DataError(f"data.friends: {tree} cannot be matched: {what}; {why}; write it as an integer")
    return values.astype(np.int64)


def _first_difference(main: Backend, friend: Backend, key: Sequence[str]) -> int | None:
    """Returns the first entry in which the keys differ; None if they agree in all entries."""
    columns = zip(_read_keys(main, key), _read_keys(friend, key), strict=True)
    differ = np.logical_or.reduce([(a != b) & ~(np.isnan(a) & np.isnan(b)) for a, b in columns])
    return int(np.argmax(differ)) if differ.any() else None


_remembered: dict[Any, Any] = {}
"""Matched entries by the state of input and friend, because a run opens each table several times."""


def _matched(source: Source, main: Backend, friend: Source, opened: Backend, key: tuple[str, ...]) -> Any:
    """Returns (n,) the entry of the friend for each entry of the input; None if both are in the same order.

    Raises:
        DataError: an entry of the input has none in the friend, or several.
    """
    states = [identity_of(replace(tree, friends=())) for tree in (source, friend)]
    name = (source.path, source.tree, friend.path, friend.tree, key, str(states))
    if None in states or name not in _remembered:
        rows = _match(source, main, friend, opened, key)
        if None in states:
            return rows
        if len(_remembered) > _MAX_REMEMBERED:
            _remembered.clear()
        _remembered[name] = rows
    return _remembered[name]


def _match(source: Source, main: Backend, friend: Source, opened: Backend, key: tuple[str, ...]) -> Any:
    wanted, present = _read_whole_keys(source, main, key), _read_whole_keys(friend, opened, key)
    if all(np.array_equal(a, b) for a, b in zip(wanted, present, strict=True)):
        return None
    own, theirs = event_hash(wanted), event_hash(present)
    order = np.argsort(theirs, kind="stable")
    in_order = theirs[order]
    place = np.searchsorted(in_order, own)
    rows = order[np.minimum(place, len(order) - 1)] if len(order) else np.zeros(len(own), np.int64)
    is_there = np.full(len(own), bool(len(order)))
    for a, b in zip(wanted, present, strict=True):
        is_there &= a == b[rows] if len(order) else is_there

    def named(i: int) -> str:
        return ", ".join(f"{name} {column[i]}" for name, column in zip(key, wanted, strict=True))

    if not is_there.all():
        i = int(np.argmin(is_there))
        what = f"has no entry for {named(i)} (entry {i:,} of {source}; {(~is_there).sum():,} have none)"
        raise DataError(f"data.friends: {friend} {what}; a friend is matched by these branches")
    has_several = np.searchsorted(in_order, own, side="right") - place > 1
    if has_several.any():
        what = f"has several entries for {named(int(np.argmax(has_several)))}, in another order than {source}"
        raise DataError(f"data.friends: {friend} {what}; name branches in data.event_id that tell them apart")
    return rows


def _check_marker(source: Source, friend: Source) -> None:
    """Checks that a friend that pidlab made was made of this very input.

    Raises:
        DataError: it was made of another one, or of an earlier state.
    """
    made_of = friend_of(friend.path) if friend.is_root else []
    if not made_of:
        return
    known = identity_of(replace(source, friends=())) or {}
    # The times of a file system are those of the copy; only what a ROOT file states itself is copied with it.
    names = ("uuid", "size", "changed") if source.is_root else ("bytes",)
    own = [i for i in made_of if i.get("tree") == known.get("tree") or len(made_of) == 1]
    if not any(all(i.get(name) == known.get(name) for name in names) for i in own):
        what = "was made by pidlab of another input, or of an earlier state of this one"
        raise DataError(f"data.friends: {friend} {what}: {source}; make it again with pidlab apply")


class _OfOthers(Backend):
    """Branches that others hold: `_owners` has for each name the input, and what the branch is called there."""

    _owners: dict[str, tuple[Backend, str]]

    def place(self, name: str) -> str:
        """Returns the input that holds the branch."""
        backend, own = self._owners[name]
        return backend.place(own)

    def reason(self, name: str) -> str:
        """Returns why the branch cannot be used."""
        backend, own = self._owners[name]
        return backend.reason(own)

    def remark(self, name: str) -> str:
        """Returns the remark of the input that holds the branch."""
        backend, own = self._owners[name]
        return backend.remark(own)

    def empty(self, name: str) -> Any:
        """Returns a branch without entries."""
        backend, own = self._owners[name]
        return backend.empty(own)


class _ByKey(_OfOthers):
    """A friend whose entries are in another order than those of the input, read in the order of the input.

    Its branches are read as a whole when they are first asked for.
    """

    def __init__(self, friend: Backend, rows: Any, offsets: Any) -> None:
        self._friend, self._rows, self._offsets = friend, rows, offsets
        self._read: dict[str, Any] = {}
        self.n_entries, self.most_at_once = len(rows), friend.most_at_once
        self.names = friend.names
        self._owners = {name: (friend, name) for name in friend.names}

    def values(self, name: str, start: int, stop: int) -> Any:
        """Returns a part of a branch, in the order of the input."""
        if name not in self._read:
            parts = [part[name] for part in self._friend.iterate([name], _STEP)]
            self._read[name] = joined(parts) if parts else self._friend.empty(name)
        return self._read[name][self._rows[start:stop]]

    def offsets(self, name: str) -> Any:
        """Returns those of the input, because all entries of the friend are in memory."""
        return self._offsets

    def close(self) -> None:
        """Closes the friend."""
        self._read = {}
        self._friend.close()


class _Joined(_OfOthers):
    """A tree and its friends: a name means the tree's own branch, or else that of the first friend that has it."""

    def __init__(self, main: Backend, sources: Sequence[Source], friends: Sequence[Backend]) -> None:
        self.n_entries, self.n_inspected = main.n_entries, main.n_inspected
        self._backends = (main, *friends)
        self.most_at_once = min(each.most_at_once for each in self._backends)
        self._owners = {name: (main, name) for name in main.names}
        for source, friend in zip(sources, friends, strict=True):
            tree = source.tree.rsplit("/", 1)[-1]
            self._owners |= {f"{tree}.{name}": (friend, name) for name in friend.names} | self._owners
        for friend in friends:
            self._owners = {name: (friend, name) for name in friend.names} | self._owners
        self.names = list(dict.fromkeys([*main.names, *self._owners]))

    @property
    def notes(self) -> TreeNotes:
        """What the tree states about itself."""
        return self._backends[0].notes

    def iterate(self, names: Sequence[str], step: int) -> Iterator[Arrays]:
        """Yields the branches of all inputs in pieces."""
        asked = [(own, backend.iterate(sorted(set(own.values())), step)) for backend, own in self._by_backend(names)]
        for _ in range(0, self.n_entries, step):
            arrays: dict[str, Any] = {}
            for own, stream in asked:
                part = next(stream)
                arrays |= {name: part[own[name]] for name in own}
            yield arrays

    def _by_backend(self, names: Sequence[str]) -> Iterator[tuple[Backend, dict[str, str]]]:
        """Yields the inputs that hold some of the branches, with these names and those that the input has for them."""
        for backend in self._backends:
            own = {name: own for name in names for owner, own in [self._owners[name]] if owner is backend}
            if own:
                yield backend, own

    def values(self, name: str, start: int, stop: int) -> Any:
        """Returns a part of a branch."""
        backend, own = self._owners[name]
        return backend.values(own, start, stop)

    def offsets(self, name: str) -> Any:
        """Returns those of the input that holds the branch; None unless all inputs can be read from any entry on."""
        if any(each.names and each.offsets(each.names[0]) is None for each in self._backends):
            return None
        backend, own = self._owners[name]
        return backend.offsets(own)

    def span(self, names: Sequence[str], start: int, stop: int) -> Arrays:
        """Returns the branches of all inputs in some entries."""
        arrays: dict[str, Any] = {}
        for backend, own in self._by_backend(names):
            part = backend.span(sorted(set(own.values())), start, stop)
            arrays |= {name: part[own[name]] for name in own}
        return arrays

    def close(self) -> None:
        """Closes all inputs."""
        for backend in self._backends:
            backend.close()
