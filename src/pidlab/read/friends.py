"""Friends: a tree and others whose entries belong to its entries, by a key or by their number, as one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pidlab.errors import DataError
from pidlab.read.backend import Arrays, Backend, Seekable, joined
from pidlab.read.formats import Source, friend_of, identity_of, open_source
from pidlab.split import event_hash

_STEP = 500_000
"""Entries read at a time."""
_MOST_REMEMBERED = 64

_USUAL_KEYS = (
    ("run", "event"), ("run", "luminosityBlock", "event"), ("runNumber", "eventNumber"), ("run_number", "event_number"),
    ("RunNumber", "EventNumber"), ("runno", "evtno"), ("event",), ("eventNumber",), ("EventNumber",), ("evtnum",),
)  # fmt: skip
"""Branches that identify an event by their names; a friend that has them too must agree with them, entry by entry."""


def open_with_friends(source: Source) -> Backend:
    """The source and its friends as one backend.

    Raises:
        DataError: one of them cannot be opened, or a friend's entries are not those of the source.
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
    if not opened:
        return main
    can_seek = all(isinstance(backend, Seekable) for backend in (main, *opened))
    return (_JoinedSeekable if can_seek else _Joined)(main, source.friends, opened)


def _in_order(source: Source, main: Backend, friend: Source, opened: Backend) -> Backend:
    """The friend with its entries in the order of the input's.

    Which entries belong together is decided by an index stored with the friend (TTree::BuildIndex), else by the
    branches of `data.event_id`, where the friend has them; else by the entry number, which must not contradict
    branches that usually identify an event, nor what pidlab or ROOT noted in the file.

    Raises:
        DataError: the entries of the friend do not fit, or it is not known which belong together.
    """
    key = _shared(_index_of(opened), main, opened) or _shared(source.event_id, main, opened)
    if key:
        rows = _matched(source, main, friend, opened, key)
        return opened if rows is None else _ByKey(opened, rows, _offsets(main, key[0]))
    if opened.n_entries != main.n_entries:
        lengths = f"{opened.n_entries:,} entries, {source} has {main.n_entries:,}"
        advice = "or the branches of data.event_id, by which it is matched"
        raise DataError(f"data.friends: {friend} has {lengths}; a friend has one entry for each of the input, {advice}")
    for tree, backend in ((source, main), (friend, opened)):
        if getattr(backend, "is_reshuffled", False):
            what = f"ROOT noted in {tree} that its entries are in another order than those of the tree it was made of"
            raise DataError(f"data.friends: {what}; {_ADVICE}")
    usual = next((key for names in _USUAL_KEYS if (key := _shared(names, main, opened))), ())
    if usual and (rows := _first_difference(main, opened, usual)) is not None:
        where = f"the entry {rows:,} of {friend} is of another {' and '.join(usual)} than that of {source}"
        raise DataError(f"data.friends: {where}; {_ADVICE}")
    if not usual:
        _check_marker(source, friend)
    return opened


_ADVICE = "say by which branches of both they are matched in data.event_id, for example [run, event]"


def _index_of(friend: Backend) -> tuple[str, ...]:
    """The branches of the friend's own index; empty without one."""
    index: tuple[str, str] | None = getattr(friend, "index", None)
    return tuple(name for name in index or () if name != "0")


def _shared(names: Sequence[str], main: Backend, friend: Backend) -> tuple[str, ...]:
    """The names, if they are all flat branches of whole numbers in both; else none."""
    both = set(main.names) & set(friend.names)
    good = names and all(
        name in both and all(not b.reason(name) and _is_whole(b.empty(name)) for b in (main, friend)) for name in names
    )
    return tuple(names) if good else ()


def _is_whole(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.ndim == 1 and array.dtype.kind in "iub"


def _read_keys(backend: Backend, key: Sequence[str]) -> list[Any]:
    """For each branch of the key its (n,) values."""
    parts: list[list[Any]] = [[backend.empty(name)] for name in key]
    for arrays in backend.iterate(sorted(key), _STEP):
        for part, name in zip(parts, key, strict=True):
            part.append(arrays[name])
    return [joined(part) for part in parts]


def _first_difference(main: Backend, friend: Backend, key: Sequence[str]) -> int | None:
    """The first entry in which the keys differ; None where they agree in all."""
    columns = zip(_read_keys(main, key), _read_keys(friend, key), strict=True)
    differ = np.logical_or.reduce([a != b for a, b in columns])
    return int(np.argmax(differ)) if differ.any() else None


_remembered: dict[Any, Any] = {}
"""What was found for inputs and friends in the state in which they were: a run opens each table several times."""


def _matched(source: Source, main: Backend, friend: Source, opened: Backend, key: tuple[str, ...]) -> Any:
    """(n,) the entry of the friend for each of the input's; None where they stand in the same order.

    Raises:
        DataError: an entry of the input has none in the friend, or several.
    """
    states = [identity_of(replace(tree, friends=())) for tree in (source, friend)]
    name = (source.path, source.tree, friend.path, friend.tree, key, str(states))
    if None in states or name not in _remembered:
        rows = _match(source, main, friend, opened, key)
        if None in states:
            return rows
        if len(_remembered) > _MOST_REMEMBERED:
            _remembered.clear()
        _remembered[name] = rows
    return _remembered[name]


def _match(source: Source, main: Backend, friend: Source, opened: Backend, key: tuple[str, ...]) -> Any:
    wanted, given = _read_keys(main, key), _read_keys(opened, key)
    if len(wanted[0]) == len(given[0]) and all(np.array_equal(a, b) for a, b in zip(wanted, given, strict=True)):
        return None
    own, theirs = event_hash(wanted), event_hash(given)
    order = np.argsort(theirs, kind="stable")
    ranked = theirs[order]
    place = np.searchsorted(ranked, own)
    rows = order[np.minimum(place, len(order) - 1)] if len(order) else np.zeros(len(own), np.int64)
    there = np.full(len(own), bool(len(order)))
    for a, b in zip(wanted, given, strict=True):
        there &= a == b[rows] if len(order) else there
    if not there.all():
        i = int(np.argmin(there))
        what = f"has no entry for {_told(key, wanted, i)} (entry {i:,} of {source}; {(~there).sum():,} have none)"
        raise DataError(f"data.friends: {friend} {what}; a friend is matched by these branches")
    several = np.searchsorted(ranked, own, side="right") - place > 1
    if several.any():
        i = int(np.argmax(several))
        what = f"has several entries for {_told(key, wanted, i)}, in another order than {source}"
        raise DataError(f"data.friends: {friend} {what}; name branches in data.event_id that tell them apart")
    return rows


def _told(key: Sequence[str], columns: Sequence[Any], i: int) -> str:
    return ", ".join(f"{name} {column[i]}" for name, column in zip(key, columns, strict=True))


def _check_marker(source: Source, friend: Source) -> None:
    """See that a friend that pidlab made was made of this very input.

    Raises:
        DataError: it was made of another one, or of an earlier state.
    """
    made_of = friend_of(friend)
    if not made_of:
        return
    known = identity_of(replace(source, friends=())) or {}
    # The times that a file system has are those of the copy; only what a ROOT file states of itself goes with it.
    names = ("uuid", "size", "changed") if source.is_root else ("bytes",)
    own = [i for i in made_of if i.get("tree") == known.get("tree") or len(made_of) == 1]
    if not any(all(i.get(name) == known.get(name) for name in names) for i in own):
        what = "was made by pidlab of another input, or of an earlier state of this one"
        raise DataError(f"data.friends: {friend} {what}: {source}; make it again with pidlab apply")


def _offsets(main: Backend, name: str) -> Any:
    return main.offsets(name) if isinstance(main, Seekable) else None


class _ByKey:
    """A friend whose entries stand in another order than the input's, in the input's order.

    Its branches are read as a whole when they are first asked for.
    """

    def __init__(self, friend: Backend, rows: Any, offsets: Any) -> None:
        self._friend, self._rows, self._offsets = friend, rows, offsets
        self._read: dict[str, Any] = {}
        self.n_entries = len(rows)
        self.names = friend.names

    def place(self, name: str) -> str:
        """The friend."""
        return self._friend.place(name)

    def reason(self, name: str) -> str:
        """Why the branch cannot be used."""
        return self._friend.reason(name)

    def empty(self, name: str) -> Any:
        """A branch without entries."""
        return self._friend.empty(name)

    def iterate(self, names: Sequence[str], step: int) -> Iterator[Arrays]:
        """The branches in pieces, in the input's order."""
        for start in range(0, self.n_entries, step):
            yield self.span(names, start, min(start + step, self.n_entries))

    def values(self, name: str, start: int, stop: int) -> Any:
        """A part of a branch, in the input's order."""
        if name not in self._read:
            parts = [part[name] for part in self._friend.iterate([name], _STEP)]
            self._read[name] = joined(parts) if parts else self._friend.empty(name)
        return self._read[name][self._rows[start:stop]]

    def offsets(self, name: str) -> Any:
        """Those of the input: any entry of the friend is as near as another."""
        return self._offsets

    def span(self, names: Sequence[str], start: int, stop: int) -> Arrays:
        """The branches in some entries."""
        return {name: self.values(name, start, stop) for name in names}

    def close(self) -> None:
        """Close the friend."""
        self._read = {}
        self._friend.close()


class _Joined:
    """A tree and its friends: a plain name means the tree's own branch, then the first friend's that has it."""

    def __init__(self, main: Backend, sources: Sequence[Source], friends: Sequence[Backend]) -> None:
        self.n_entries = main.n_entries
        self._backends = (main, *friends)
        self._owners = {name: (main, name) for name in main.names}
        for source, friend in zip(sources, friends, strict=True):
            tree = source.tree.rsplit("/", 1)[-1]
            self._owners |= {f"{tree}.{name}": (friend, name) for name in friend.names} | self._owners
        for friend in friends:
            self._owners = {name: (friend, name) for name in friend.names} | self._owners
        self._names = list(dict.fromkeys([*main.names, *self._owners]))

    @property
    def names(self) -> list[str]:
        """The tree's own branches, then those of the friends."""
        return self._names

    def place(self, name: str) -> str:
        """The input that holds the branch."""
        backend, own = self._owners[name]
        return backend.place(own)

    def reason(self, name: str) -> str:
        """Why the branch cannot be used."""
        backend, own = self._owners[name]
        return backend.reason(own)

    def remark(self, name: str) -> str:
        """What there is to say of a branch of text."""
        backend, own = self._owners[name]
        remark = getattr(backend, "remark", None)
        return str(remark(own)) if remark else ""

    @property
    def aliases(self) -> dict[str, str]:
        """The names that the tree itself defines."""
        return dict(getattr(self._backends[0], "aliases", {}))

    def empty(self, name: str) -> Any:
        """A branch without entries."""
        backend, own = self._owners[name]
        return backend.empty(own)

    def iterate(self, names: Sequence[str], step: int) -> Iterator[Arrays]:
        """The branches in pieces, side by side."""
        streams = [(asked, backend.iterate(sorted(set(asked.values())), step)) for backend, asked in self._asked(names)]
        for _ in range(0, self.n_entries, step):
            arrays: dict[str, Any] = {}
            for asked, stream in streams:
                part = next(stream)
                arrays |= {name: part[own] for name, own in asked.items()}
            yield arrays

    def _asked(self, names: Sequence[str]) -> Iterator[tuple[Any, dict[str, str]]]:
        """The backends that hold some of the branches, with these names and the backend's own for them."""
        for backend in self._backends:
            asked = {name: own for name in names for owner, own in [self._owners[name]] if owner is backend}
            if asked:
                yield backend, asked

    def values(self, name: str, start: int, stop: int) -> Any:
        """A part of a branch."""
        backend, own = self._owners[name]
        return backend.values(own, start, stop)

    def close(self) -> None:
        """Close all of them."""
        for backend in self._backends:
            backend.close()


class _JoinedSeekable(_Joined):
    """Trees that can all be read from any entry on."""

    def offsets(self, name: str) -> Any:
        """The entries at which the pieces of a branch begin, and the end."""
        backend, own = self._owners[name]
        assert isinstance(backend, Seekable)
        return backend.offsets(own)

    def span(self, names: Sequence[str], start: int, stop: int) -> Arrays:
        """The branches in some entries, side by side."""
        arrays: dict[str, Any] = {}
        for backend, asked in self._asked(names):
            part = backend.span(sorted(set(asked.values())), start, stop)
            arrays |= {name: part[own] for name, own in asked.items()}
        return arrays
