"""Friends: a tree and others with one entry for each of its entries, as one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pidlab.errors import DataError
from pidlab.read.backend import Arrays, Backend, Seekable
from pidlab.read.formats import Source, open_source


def open_with_friends(source: Source) -> Backend:
    """The source and its friends as one backend.

    Raises:
        DataError: one of them cannot be opened, or they differ in length.
    """
    main = open_source(source)
    opened: list[Backend] = []
    try:
        for friend in source.friends:
            opened.append(open_source(friend))
            if opened[-1].n_entries != main.n_entries:
                lengths = f"{opened[-1].n_entries:,} entries, {source} has {main.n_entries:,}"
                raise DataError(f"data.friends: {friend} has {lengths}; a friend has one entry for each of the input")
    except DataError:
        for backend in (main, *opened):
            backend.close()
        raise
    if not opened:
        return main
    can_seek = all(isinstance(backend, Seekable) for backend in (main, *opened))
    return (_JoinedSeekable if can_seek else _Joined)(main, source.friends, opened)


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
