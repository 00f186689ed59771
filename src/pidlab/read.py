"""Reading: which inputs a configuration means, and their branches in chunks of entries."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from pidlab.candidates import Collection, find_collection, row_kinds
from pidlab.errors import DataError, nearest
from pidlab.expressions import Kind, kind_from_array
from pidlab.sample import IntArray

STEP = 200_000
_TREE_CLASSES = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")
_REMOTE = re.compile(r"^[a-z][a-z0-9+.-]*://")
_WITH_TREE = re.compile(r"^(?P<path>.+\.[A-Za-z0-9]+):(?P<tree>[^:]+)$")


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """One tree of one file."""

    path: str
    tree: str

    def __str__(self) -> str:
        return f"{self.path}:{self.tree}"

    @property
    def stem(self) -> str:
        """The file's name without folder and ending."""
        return Path(self.path).stem


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows from consecutive entries of one tree.

    Attributes:
        arrays: branch name to an array of n_rows: numpy (n,) or (n, m), or awkward where it is jagged;
            `Entry$` is the entry number.
        first_row: the number of the first row in this input.
        n_rows: how many there are.
        entries: branch name to an array of n_entries, before candidates were made of them; the same as `arrays`
            where a row is an entry.
        counts: (n_entries,) rows from each entry where a row is a candidate; None where a row is an entry.
    """

    arrays: Mapping[str, Any]
    first_row: int
    n_rows: int
    entries: Mapping[str, Any]
    counts: IntArray | None = None

    @property
    def entry(self) -> IntArray:
        """(n,) entry numbers in the tree."""
        return np.asarray(self.arrays["Entry$"])

    @property
    def n_entries(self) -> int:
        """How many entries the rows come from."""
        return len(self.entries["Entry$"])

    def take(self, rows: IntArray) -> Chunk:
        """The rows `rows` (indices into this chunk) of every array."""
        taken = {name: values[rows] for name, values in self.arrays.items()}
        return replace(self, arrays=taken, n_rows=len(rows), entries=taken, counts=None)


def split_tree(text: str) -> tuple[str, str | None]:
    """`file.root:tree` as ("file.root", "tree"); without a tree, (text, None)."""
    if not _REMOTE.match(text) and Path(text).exists():
        return text, None
    match = _WITH_TREE.match(text)
    return (match["path"], match["tree"]) if match and not match["tree"].startswith("//") else (text, None)


def find_sources(files: str | Sequence[str], tree: str | None, folder: Path) -> list[Source]:
    """The trees that `files` (paths, globs, `file.root:tree`, relative to `folder`) mean, in order.

    Raises:
        DataError: a file is missing, is no ROOT file, or it is not clear which of its trees is meant.
    """
    sources = []
    for text in [files] if isinstance(files, str) else files:
        pattern, own_tree = split_tree(text if _REMOTE.match(text) else str(folder / text))
        for path in _paths(pattern, text):
            sources.append(Source(path, _choose_tree(path, own_tree or tree)))
    doubled = {s for s in sources if sources.count(s) > 1}
    if doubled:
        raise DataError(f"{min(doubled)}: named twice; its events would count double. Name each input once")
    return sources


def _paths(pattern: str, written: str) -> list[str]:
    if _REMOTE.match(pattern):
        return [pattern]
    if Path(pattern).is_dir():
        raise DataError(f"{pattern}: is a folder; name its files, for example {written.rstrip('/')}/*.root")
    if Path(pattern).exists():
        return [pattern]
    if glob.has_magic(pattern):
        found = sorted(glob.glob(pattern, recursive=True))
        if found:
            return found
        raise DataError(f"{pattern}: no file matches this pattern")
    parent = Path(pattern).parent
    if not parent.is_dir():
        raise DataError(f"{pattern}: no such file; the folder {parent} does not exist either")
    hint = nearest(Path(pattern).name, [p.name for p in parent.iterdir() if p.is_file()])
    raise DataError(f"{pattern}: no such file" + (f"; {hint}" if hint else ""))


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    """An open ROOT file, with what goes wrong while opening said in a sentence."""
    try:
        options = {} if _REMOTE.match(path) else {"handler": uproot.MemmapSource}
        file = uproot.open({path: None}, object_cache=None, array_cache=None, **options)
    except ModuleNotFoundError as error:
        raise DataError(f"{path}: reading this address needs the package {error.name}; pip install it") from error
    except Exception as error:
        raise DataError(f"{path}: {_why_not_root(path, error)}") from error
    with file:
        yield file


def _why_not_root(path: str, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "may not be read; check its permissions"
    if _REMOTE.match(path):
        return f"cannot be opened ({str(error).strip().splitlines()[0]})"
    if Path(path).stat().st_size == 0:
        return "is an empty file (0 bytes); was it written to its end?"
    with Path(path).open("rb") as file:
        if file.read(4) != b"root":
            return "is not a ROOT file"
    return "cannot be opened as a ROOT file; it is damaged or was cut short"


def trees_in(path: str) -> dict[str, int]:
    """The trees of a file, in nested directories too, and their number of entries; of several cycles the highest."""
    with _opened(path) as file:
        try:
            classes = file.classnames(recursive=True, cycle=False)
            return {name: int(file[name].num_entries) for name, kind in classes.items() if kind in _TREE_CLASSES}
        except Exception as error:
            raise DataError(f"{path}: its contents cannot be listed; it is damaged or was cut short") from error


def find_all(text: str) -> list[Source]:
    """Every tree of the files that `FILE[:TREE]` means, or the one tree that it names.

    Raises:
        DataError: a file is missing or is no ROOT file, or there is no such tree.
    """
    pattern, tree = split_tree(text)
    if tree is not None:
        return find_sources([text], None, Path())
    sources = [Source(path, name) for path in _paths(pattern, text) for name in trees_in(path)]
    if not sources:
        raise DataError(f"{text}: holds no tree")
    return sources


def _choose_tree(path: str, tree: str | None) -> str:
    known = trees_in(path)
    if not known:
        raise DataError(f"{path}: holds no tree")
    if tree is not None:
        wanted = tree.split(";")[0].strip("/")
        if wanted not in known:
            raise DataError(f"{path}: no tree {tree!r}; {nearest(wanted, known)}")
        return wanted
    if len(known) > 1:
        listed = ", ".join(f"{name} ({n:,} entries)" for name, n in sorted(known.items()))
        raise DataError(f"{path}: holds several trees: {listed}; say which with `tree:` or {path}:TREE")
    return next(iter(known))


class Table:
    """One open tree: its branches, and their values in chunks. Use as a context manager.

    With `per`, a row is a candidate of that collection (see `pidlab.candidates`); otherwise a row is an entry.
    """

    def __init__(self, source: Source, per: str | Sequence[str] | None = None) -> None:
        self.source, self._per = source, per
        self.collection: Collection | None = None
        self._context = _opened(source.path)
        self._kinds: dict[str, Kind] = {}

    def __enter__(self) -> Table:
        self._tree = self._context.__enter__()[self.source.tree]
        self.n_entries = int(self._tree.num_entries)
        self._branches = {name: self._tree[name] for name in self._tree.keys(full_paths=False)}
        if self._per is not None:
            self.collection = find_collection(self._per, self._entry_kinds(self._branches))
        return self

    def __exit__(self, *exception: Any) -> None:
        self._context.__exit__(*exception)

    @property
    def names(self) -> list[str]:
        """The names of all branches."""
        return list(self._branches)

    def dtype(self, name: str) -> np.dtype[Any]:
        """The type of a flat branch."""
        dtype: np.dtype[Any] = self._values(name, 0, 0).dtype
        return dtype

    def kinds(self, names: Iterable[str]) -> dict[str, Kind]:
        """What a row of each of the branches `names` holds; those that do not exist or cannot be used are left out."""
        kinds = self._entry_kinds(names)
        return row_kinds(kinds, self.collection) if self.collection else kinds

    def _entry_kinds(self, names: Iterable[str]) -> dict[str, Kind]:
        for name in names:
            if name in self._branches and name not in self._kinds:
                try:
                    self._kinds[name] = kind_from_array(self._values(name, 0, 0))
                except Exception:  # a branch of a type that no expression can use
                    continue
        return {name: self._kinds[name] for name in names if name in self._kinds}

    def chunks(self, names: Iterable[str], step: int = STEP) -> Iterator[Chunk]:
        """The branches `names` in chunks of at most `step` entries.

        Raises:
            DataError: a basket cannot be read; names file, branch and entries.
        """
        wanted = sorted({*names, self.collection.reference} if self.collection else set(names))
        chunks = self._iterate(set(wanted), step) if wanted else None
        first_row = 0
        for start in range(0, self.n_entries, step):
            stop = min(start + step, self.n_entries)
            try:
                arrays = {name: _flat(array) for name, array in next(chunks).items()} if chunks else {}
            except Exception as error:
                raise self._damage(wanted, start, stop) from error
            chunk = self._chunk({**arrays, "Entry$": np.arange(start, stop)}, start, first_row)
            yield chunk
            first_row += chunk.n_rows

    def _chunk(self, arrays: Mapping[str, Any], start: int, first_row: int) -> Chunk:
        if self.collection is None:
            return Chunk(arrays, first_row, len(arrays["Entry$"]), arrays)
        try:
            rows, counts = self.collection.flatten(arrays, start)
        except DataError as error:
            raise DataError(f"{self.source}: {error}") from error
        return Chunk(rows, first_row, int(counts.sum()), arrays, counts)

    def flat_values(self, name: str, stop: int) -> Any:
        """(n,) all numbers that a branch holds in the entries before `stop`, arrays of any shape flattened.

        Raises:
            DataError: the branch cannot be read.
        """
        try:
            values = self._values(name, 0, stop)
        except Exception as error:
            raise self._damage([name], 0, stop) from error
        return values.reshape(-1) if isinstance(values, np.ndarray) else ak.to_numpy(ak.flatten(values, axis=None))

    def _iterate(self, names: set[str], step: int) -> Iterator[dict[str, Any]]:
        flat = all(isinstance(getattr(self._branches[n], "interpretation", None), uproot.AsDtype) for n in names)
        options: dict[str, Any] = {"step_size": step, "library": "np" if flat else "ak"}
        if hasattr(self._tree, "branches"):
            options["filter_branch"] = lambda branch: branch.name in names
        else:
            options["filter_name"] = lambda name: name in names
        for arrays in self._tree.iterate(**options):
            yield {name: arrays[name] for name in names}

    def _values(self, name: str, start: int, stop: int) -> Any:
        branch = self._branches[name]
        flat = isinstance(getattr(branch, "interpretation", None), uproot.AsDtype)
        return _flat(branch.array(entry_start=start, entry_stop=stop, library="np" if flat else "ak"))

    def _damage(self, names: list[str], start: int, stop: int) -> DataError:
        """Which branch it is that cannot be read."""
        for name in names:
            try:
                self._values(name, start, stop)
            except Exception:  # whatever uproot says of it, this is the one
                where = f"branch {name!r}, entries {start:,} to {stop - 1:,}"
                return DataError(f"{self.source}: {where} cannot be read; the file is damaged or was cut short")
        return DataError(f"{self.source}: entries {start:,} to {stop - 1:,} cannot be read; the file is damaged")


def _flat(array: Any) -> Any:
    """Numpy where the array is regular, in this machine's byte order; awkward where it is jagged."""
    if isinstance(array, ak.Array):
        if not _is_regular(array.type.content):
            return array
        array = ak.to_numpy(array, allow_missing=False)
    if array.dtype.kind in "iuf" and not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def _is_regular(content: Any) -> bool:
    """True for numbers, and for lists of one length by their type."""
    while isinstance(content, ak.types.RegularType):
        content = content.content
    return isinstance(content, ak.types.NumpyType)
