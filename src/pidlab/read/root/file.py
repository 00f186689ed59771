"""One ROOT file: opened, listed, and what it states about itself and its trees."""

from __future__ import annotations

import json
import os
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from uproot.source.chunk import Chunk
from uproot.source.chunk import Source as UprootSource
from uproot.source.futures import TrivialFuture

from pidlab.credentials import without_mask
from pidlab.errors import DataError
from pidlab.read.columns import first_line
from pidlab.read.root.keys import TreeKey, choose, trees_in

_FRIEND_MARKER = "pidlab_complete"  # as pidlab.rootio writes it
_NEEDED = {"http": "aiohttp", "https": "aiohttp", "root": "fsspec-xrootd", "roots": "fsspec-xrootd"}


@contextmanager
def opened(path: str, *, whole_headers: bool = False) -> Iterator[Any]:
    """Yields an open ROOT file.

    Args:
        path: the file or its address.
        whole_headers: whether trees include their indices, aliases and bits, which takes a fifth longer to read.

    Raises:
        DataError: the file cannot be opened; the message says why.
    """
    try:
        _refuse_endless(path)
        options: dict[str, Any] = {} if "://" in path else {"handler": LocalFile}
        options["minimal_ttree_metadata"] = not whole_headers
        file = uproot.open({without_mask(path): None}, object_cache=None, array_cache=None, **options)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path}: {_why_not(path, error)}") from error
    with file:
        yield file


def _refuse_endless(path: str) -> None:
    """Asks a web server how long a file is; one without a length would be read until the memory is full.

    Raises:
        DataError: the server does not state the length.
    """
    if path.startswith(("http://", "https://")):
        from fsspec.core import url_to_fs  # comes with uproot; not needed for files of this machine

        system, name = url_to_fs(without_mask(path))
        if system.info(name).get("size") is None:
            raise DataError(f"{path}: the server does not say how long this file is, so it is not read; fetch it first")


def _why_not(path: str, error: Exception) -> str:
    if "://" in path:
        return _why_not_remote(path.partition("://")[0], error)
    if isinstance(error, PermissionError):
        return "may not be read; check its permissions"
    if Path(path).stat().st_size == 0:
        return "is an empty file (0 bytes); was it written to its end?"
    with Path(path).open("rb") as file:
        if file.read(4) != b"root":
            return "is not a ROOT file"
    return "cannot be opened as a ROOT file; it is damaged or was cut short"


def _why_not_remote(scheme: str, error: Exception) -> str:
    said = first_line(error)
    if isinstance(error, ImportError) or "Protocol not known" in said:
        package = _NEEDED.get(scheme)
        if package is None:
            return f"addresses that begin with {scheme}:// are not known ({said})"
        extra = "`pip install 'pidlab[remote]'` brings it"
        return f"reading {scheme}:// needs the package {package}, which is not installed; {extra}"
    return f"cannot be opened ({said}); check the address, and that the server answers"


def identity_of(path: str) -> dict[str, Any]:
    """Returns what identifies the content of a file without reading it: UUID, length and time of last change.

    All three are what the file itself states.

    Raises:
        DataError: the file cannot be opened.
    """
    with opened(path) as file:
        return {"uuid": str(file.file.uuid), "size": int(file.file.fEND), "changed": str(file.fDatimeM)}


def friend_of(path: str) -> list[dict[str, Any]]:
    """Returns the identities of the inputs from which pidlab made a friend file; empty for any other file."""
    with opened(path) as file:
        if _FRIEND_MARKER not in file:
            return []
        try:
            inputs = json.loads(str(file[_FRIEND_MARKER])).get("inputs", [])
        except Exception:  # a marker that cannot be read says nothing
            return []
        return [each for each in inputs if isinstance(each, dict)] if isinstance(inputs, list) else []


def trees_of(path: str) -> dict[str, int]:
    """Returns the trees of a file, nested directories included, and their number of entries in the highest cycle.

    Raises:
        DataError: the file cannot be opened, or its contents cannot be listed.
    """
    with opened(path) as file:
        return {name: trees[0].n_entries for name, trees in _listed(path, file).items()}


def named_tree(path: str, wanted: str) -> tuple[str, int]:
    """Returns the name and the number of entries of the tree `wanted`, which may name a cycle.

    The name is `T` for the highest cycle of a tree T, and `T;1` for another cycle.

    Raises:
        DataError: the file cannot be opened, or holds no such tree or cycle.
    """
    with opened(path) as file:
        known = _listed(path, file)
        tree = choose(path, wanted, known)
        return tree.name if tree is known[tree.name][0] else f"{tree.name};{tree.cycle}", tree.n_entries


def tree_key(path: str, wanted: str, file: Any) -> Any:
    """Returns uproot's key of the tree `wanted`, `T` or `T;1`, in the open file.

    Raises:
        DataError: there is no such tree or cycle, or the contents of the file cannot be listed.
    """
    return choose(path, wanted, _listed(path, file)).key


def description_size(path: str, wanted: str) -> int:
    """Returns the bytes that a tree takes without its baskets, unpacked; they grow with its number of branches."""
    with opened(path) as file:
        return int(tree_key(path, wanted, file).fObjlen)


def _listed(path: str, file: Any) -> dict[str, list[TreeKey]]:
    try:
        return trees_in(file)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path}: its contents cannot be listed; it is damaged or was cut short") from error


class LocalFile(UprootSource):  # type: ignore[misc]  # uproot has no types
    """A file of this machine that any number of threads may read, and that is not mapped into memory.

    A file that is cut short while it is mapped ends the process (SIGBUS) without a word; a read that returns too few
    bytes is an error of this one input.
    """

    def __init__(self, file_path: str, **options: Any) -> None:
        super().__init__()
        self._file_path = file_path
        self._descriptor = os.open(file_path, os.O_RDONLY | os.O_CLOEXEC)
        self._num_bytes = os.fstat(self._descriptor).st_size

    def chunk(self, start: int, stop: int) -> Any:
        """Returns the bytes from `start` to before `stop`.

        Raises:
            OSError: the file was closed, or cannot be read.
        """
        self._num_requests += 1
        self._num_requested_chunks += 1
        self._num_requested_bytes += stop - start
        return Chunk(self, start, stop, TrivialFuture(self._bytes(start, stop)))

    def chunks(self, ranges: list[tuple[int, int]], notifications: queue.Queue[Any]) -> list[Any]:
        """Returns `chunk` for each of `ranges`, and puts each into `notifications`."""
        found = [self.chunk(start, stop) for start, stop in ranges]
        for each in found:
            notifications.put(each)
        return found

    def _bytes(self, start: int, stop: int) -> Any:
        """Returns these bytes as far as the file has them; uproot checks that none is missing.

        The bytes are read in a loop, because a system call returns two gigabytes at most.
        """
        if self.closed:
            raise OSError(f"{self._file_path} was closed")
        whole: Any = np.empty(max(0, min(stop, self._num_bytes) - start), np.uint8)
        done = 0
        while done < len(whole):
            n = os.preadv(self._descriptor, [whole[done:]], start + done)
            if not n:
                break
            done += n
        return whole[:done]

    @property
    def closed(self) -> bool:
        """True if the file was closed."""
        return self._descriptor < 0

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(self, *exception: Any) -> None:
        if not self.closed:
            os.close(self._descriptor)
            self._descriptor = -1
