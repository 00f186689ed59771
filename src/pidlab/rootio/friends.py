"""Friend trees: TTrees with an entry for each entry of an input, written in blocks and marked when complete."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

import awkward as ak
import numpy as np
import uproot
from numpy.typing import DTypeLike, NDArray

from pidlab.errors import OutputError
from pidlab.rootio.files import Compression, whole_file, writing

MARKER: Final = "pidlab_complete"
ROWS_PER_BASKET: Final = 50_000

_CANDIDATES: Final = "candidates of pidlab"
"""Name, for uproot alone, of the group of branches that share a counter; it does not appear in the file."""


class FriendFile:
    """A file of friend trees under construction, which appears when the block ends without an error.

    ```
    with FriendFile(Path("a_pid.root"), metadata={"input": "a.root"}) as file:
        tree = file.tree("T_pid", {"pid_mlp": "float32", "pid_mlp_eff90": "bool"})
        tree.extend({"pid_mlp": scores, "pid_mlp_eff90": scores > threshold})
    ```

    The key `pidlab_complete` is written last. It holds `metadata` and the number of entries of each tree, and is read
    by `read_marker`.

    Attributes:
        metadata: written into the marker; may be changed until the block ends.
    """

    def __init__(
        self, path: Path, metadata: Mapping[str, Any] | None = None, compression: Compression = "zstd"
    ) -> None:
        self.metadata = dict(metadata or {})
        self._path = path
        self._whole = whole_file(path, compression)
        self._ending = contextlib.ExitStack()
        self._trees: dict[str, FriendTree] = {}

    def __enter__(self) -> Self:
        self._file = self._ending.enter_context(self._whole)
        self._ending.push(self._complete)
        return self

    def __exit__(self, *raised: Any) -> None:
        self._ending.__exit__(*raised)

    def tree(
        self,
        name: str,
        branches: Mapping[str, DTypeLike],
        jagged: Mapping[str, DTypeLike] | None = None,
        counter: str | None = None,
    ) -> FriendTree:
        """Returns a new tree with branches of bool, (u)int8 to (u)int64, float32 or float64.

        With `jagged` branches an entry is an event: `counter` names the branch with its number of candidates, and
        `branches` hold one value for each event.

        Raises:
            OutputError: If a TTree cannot hold a type, a name occurs twice, jagged branches have no counter, or the
                file cannot be written.
        """
        if name in self._trees:
            raise OutputError(f"{self._path}: two trees would be called {name!r}: write them into files of their own")
        self._trees[name] = FriendTree(self._file, self._path, name, branches, jagged or {}, counter)
        return self._trees[name]

    def _complete(self, kind: type[BaseException] | None, *_: object) -> None:
        """Writes what the trees have in their buffers and the marker, unless an error ended the block."""
        if kind is not None:
            return
        for tree in self._trees.values():
            tree.flush()
        marker = {**self.metadata, "trees": {name: tree.entries for name, tree in self._trees.items()}}
        with writing(self._path):
            self._file[MARKER] = json.dumps(marker)


class FriendTree:
    """A tree of a `FriendFile`, which buffers rows so that a basket holds at least 50,000 entries.

    Attributes:
        entries: the number of entries so far, including those in the buffer.
    """

    def __init__(
        self,
        file: Any,
        path: Path,
        name: str,
        branches: Mapping[str, DTypeLike],
        jagged: Mapping[str, DTypeLike],
        counter: str | None,
    ) -> None:
        """Makes the tree in the writable `file` of uproot, whose name will be `path`; see `FriendFile.tree`."""
        self.entries = 0
        self._path, self._counter = path, counter
        self._scalar = {branch: _branch_type(path, branch, kind) for branch, kind in branches.items()}
        self._jagged = {branch: _branch_type(path, branch, kind) for branch, kind in jagged.items()}
        self._buffer: list[dict[str, NDArray[Any]]] = []
        self._buffered = 0
        self._check_names(name)
        with writing(path):
            self._tree = self._make(file, name)

    def _check_names(self, name: str) -> None:
        if bool(self._jagged) != (self._counter is not None):
            raise OutputError(
                f"{self._path}: {name!r}: jagged branches need a counter's name, and a counter needs them"
            )
        if not self._scalar and not self._jagged:
            raise OutputError(f"{self._path}: {name!r}: a tree needs at least one branch")
        twice = ({self._counter} & (self._scalar.keys() | self._jagged.keys())) | (self._scalar.keys() & self._jagged)
        if twice:
            raise OutputError(
                f"{self._path}: two branches would be called {min(map(str, twice))!r}: rename one of them"
            )

    def _make(self, file: Any, name: str) -> Any:
        types: dict[str, Any] = dict(self._scalar)
        if self._jagged:
            record = ak.types.RecordType([ak.types.NumpyType(t.name) for t in self._jagged.values()], [*self._jagged])
            types[_CANDIDATES] = ak.types.ListType(record)
        return file.mktree(
            name,
            types,
            counter_name=lambda counted: self._counter,
            field_name=lambda outer, inner: inner,
            initial_basket_capacity=100,
        )

    def extend(self, arrays: Mapping[str, Any]) -> None:
        """Appends n rows: an array (n,) for each scalar branch, and a jagged array of n lists for each jagged one.

        Raises:
            OutputError: If a branch is missing or unknown, lengths differ, a value does not fit its branch, or the
                file cannot be written.
        """
        block = self._checked(arrays)
        n = len(block[next(name for name in block if name not in self._jagged)])
        self._buffer.append(block)
        self._buffered += n
        self.entries += n
        if self._buffered >= ROWS_PER_BASKET:
            self.flush()

    def _checked(self, arrays: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Returns the block as flat arrays: scalar branches, numbers of candidates, and contents of jagged branches."""
        if arrays.keys() != self._scalar.keys() | self._jagged.keys():
            wrong = sorted(arrays.keys() ^ (self._scalar.keys() | self._jagged.keys()))
            raise OutputError(f"{self._path}: every block needs exactly the declared branches; at odds: {wrong}")
        block = {name: self._converted(name, arrays[name], kind) for name, kind in self._scalar.items()}
        for name, kind in self._jagged.items():
            assert self._counter is not None
            counts = ak.to_numpy(ak.num(arrays[name], axis=1))
            if not np.array_equal(counts, block.setdefault(self._counter, counts)):
                raise OutputError(f"{self._path}: {name!r} has other numbers of candidates than the other branches")
            block[name] = self._converted(name, ak.flatten(arrays[name], axis=1), kind)
        if len({len(block[name]) for name in block if name not in self._jagged}) != 1:
            lengths = {name: len(block[name]) for name in block if name not in self._jagged}
            raise OutputError(f"{self._path}: the branches of a block must be equally long, not {lengths}")
        return block

    def _converted(self, name: str, values: Any, kind: np.dtype[Any]) -> NDArray[Any]:
        """Returns a copy of `values` as `kind`; floats may be rounded, integers and booleans may not change."""
        try:
            if isinstance(values, ak.Array):
                values = ak.to_numpy(values, allow_missing=False) if len(values) else np.zeros(0, kind)
            values = np.asarray(values)
            with np.errstate(invalid="ignore", over="ignore"):
                converted: NDArray[Any] = values.astype(kind, copy=True)
        except (ValueError, TypeError) as error:
            raise OutputError(f"{self._path}: branch {name!r} is {kind}; its values are not ({error})") from error
        if values.ndim != 1 or (values.dtype != kind and not _kept(values, converted)):
            raise OutputError(
                f"{self._path}: branch {name!r} is {kind}; its values do not fit (they are {values.dtype}, "
                f"shape {values.shape})"
            )
        return converted

    def flush(self) -> None:
        """Writes the buffered rows in baskets of 50,000 to 100,000 rows, or fewer at the end of the tree."""
        if not self._buffered:
            return
        columns = {name: np.concatenate([block[name] for block in self._buffer]) for name in self._buffer[0]}
        rows = self._buffered
        self._buffer, self._buffered = [], 0
        entries: dict[str, Any] = {name: columns[name] for name in self._scalar}
        if self._counter is not None:
            entries[_CANDIDATES] = _candidates(columns[self._counter], {name: columns[name] for name in self._jagged})
        n_baskets = max(1, rows // ROWS_PER_BASKET)
        edges = np.linspace(0, rows, n_baskets + 1).astype(int)
        with writing(self._path):
            for start, stop in itertools.pairwise(edges):
                self._tree.extend({name: values[start:stop] for name, values in entries.items()})


@contextlib.contextmanager
def FriendWriter(  # noqa: N802  # documented by this name
    path: Path,
    tree: str,
    branches: Mapping[str, DTypeLike],
    jagged: Mapping[str, DTypeLike] | None = None,
    counter: str | None = None,
    compression: Compression = "zstd",
    metadata: Mapping[str, Any] | None = None,
) -> Iterator[FriendTree]:
    """A file of one friend tree: `with FriendWriter(path, tree, branches, …) as friend: friend.extend(arrays)`.

    The arguments are those of `FriendFile` and `FriendFile.tree`.
    """
    with FriendFile(path, metadata, compression) as file:
        yield file.tree(tree, branches, jagged, counter)


def nested(columns: Mapping[str, Any], counts: NDArray[np.integer[Any]] | None) -> dict[str, Any]:
    """Returns columns of candidates as a tree holds them: in lists of `counts` (n,) candidates; unchanged if None."""
    if counts is None:
        return dict(columns)
    return {name: ak.unflatten(values, counts) for name, values in columns.items()}


def read_marker(path: Path) -> dict[str, Any] | None:
    """Returns the content of the marker of a friend file; None if the file does not exist or is incomplete."""
    try:
        with uproot.open(path, object_cache=None) as file:
            if path.stat().st_size < file.file.fEND:  # an incomplete copy
                return None
            content = json.loads(str(file[MARKER]))
    except (OSError, ValueError, KeyError, AssertionError, uproot.DeserializationError):
        return None
    return content if isinstance(content, dict) else None


def _branch_type(path: Path, name: str, kind: DTypeLike) -> np.dtype[Any]:
    """Returns `kind` as a dtype that a TTree can hold."""
    try:
        dtype = np.dtype(kind)
    except TypeError:
        dtype = np.dtype("V")
    if dtype.kind in "biu" or dtype in (np.float32, np.float64):
        return dtype.newbyteorder("=")
    raise OutputError(
        f"{path}: branch {name!r} cannot be {kind!r}: a TTree holds bool, int8 to int64, uint8 to uint64, "
        "float32 and float64"
    )


def _kept(values: NDArray[Any], converted: NDArray[Any]) -> bool:
    """Returns whether a conversion kept the values of integers and booleans, and the finiteness of floats."""
    if converted.dtype.kind == "f":
        return bool(np.array_equal(np.isfinite(values), np.isfinite(converted)))
    return bool(np.array_equal(values, converted))


def _candidates(counts: NDArray[Any], content: Mapping[str, NDArray[Any]]) -> ak.Array:
    """Returns a jagged array of records from its counts (n,) and contents (sum of counts,)."""
    offsets = np.concatenate([[0], np.cumsum(counts)])
    record = ak.contents.RecordArray([ak.contents.NumpyArray(c) for c in content.values()], [*content])
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets), record))
