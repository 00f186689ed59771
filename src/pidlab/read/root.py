"""ROOT files: TTrees and RNTuples through uproot, which sees names of branches but never an expression."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uproot

from pidlab.errors import DataError
from pidlab.expressions import Number, kind_from_array
from pidlab.read.backend import Arrays, joined, plain
from pidlab.read.local import LocalFile
from pidlab.secrets import without_mask

_TREE_CLASSES = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")
_NUMPY = uproot.interpretation.library.NumPy()
_NEEDED = {"http": "aiohttp", "https": "aiohttp", "root": "fsspec-xrootd", "roots": "fsspec-xrootd"}


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """An open ROOT file.

    Raises:
        DataError: it cannot be opened; says why.
    """
    try:
        options = {} if "://" in path else {"handler": LocalFile}
        file = uproot.open({without_mask(path): None}, object_cache=None, array_cache=None, **options)
    except Exception as error:
        raise DataError(f"{path}: {_why_not(path, error)}") from error
    with file:
        yield file


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
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, ImportError) or "Protocol not known" in said:
        package = _NEEDED.get(scheme)
        if package is None:
            return f"addresses that begin with {scheme}:// are not known ({said})"
        extra = "`pip install 'pidlab[remote]'` brings it"
        return f"reading {scheme}:// needs the package {package}, which is not installed; {extra}"
    return f"cannot be opened ({said}); check the address, and that the server answers"


def identity_of(path: str) -> dict[str, Any]:
    """What tells the content of a file from that of another, without reading it: UUID, length and time of last change,
    all as the file itself states them.

    Raises:
        DataError: the file cannot be opened.
    """
    with opened(path) as file:
        return {"uuid": str(file.file.uuid), "size": int(file.file.fEND), "changed": str(file.fDatimeM)}


def trees_of(path: str) -> dict[str, int]:
    """The trees of a file, in nested directories too, and their number of entries; of several cycles the highest.

    Raises:
        DataError: the file cannot be opened, or its contents cannot be listed.
    """
    with opened(path) as file:
        try:
            classes = file.classnames(recursive=True, cycle=False)
            return {name: int(file[name].num_entries) for name, kind in classes.items() if kind in _TREE_CLASSES}
        except Exception as error:
            raise DataError(f"{path}: its contents cannot be listed; it is damaged or was cut short") from error


@dataclass(frozen=True, slots=True)
class _Branch:
    """One branch of a TTree, or one leaf of it.

    Attributes:
        offsets: (n_baskets + 1,) the entries at which baskets begin, and the end.
    """

    branch: Any
    leaf: str | None
    offsets: Any

    @property
    def type(self) -> str:
        """The type's name in C++."""
        return str(self.branch.typename)

    @property
    def is_object(self) -> bool:
        """True for an object whose members uproot could only give together."""
        return isinstance(self.branch.interpretation, uproot.AsStridedObjects)

    def read(self, start: int, stop: int) -> Any:
        """The entries from `start` to before `stop`."""
        interpretation = self.branch.interpretation
        if type(interpretation) is uproot.AsDtype and isinstance(self.branch.file.source, LocalFile):
            array = self._from_baskets(start, stop)
        else:
            flat = isinstance(interpretation, uproot.interpretation.numerical.Numerical | uproot.AsStrings)
            array = self.branch.array(entry_start=start, entry_stop=stop, library="np" if flat else "ak")
        return plain(array if self.leaf is None else array[self.leaf])

    def _from_baskets(self, start: int, stop: int) -> Any:
        """As `branch.array`, which in each call looks at all baskets of the file and takes twice as long.

        Of a file elsewhere it asks for many baskets at once, which is worth more.
        """
        if start == stop:
            return np.empty(0, self.branch.interpretation.to_dtype)
        first, last = int(np.searchsorted(self.offsets, start, "right")) - 1, int(np.searchsorted(self.offsets, stop))
        parts = {}
        for i in range(first, last):
            basket = self.branch.basket(i)
            raw = (basket.data, basket.byte_offsets, basket, self.branch, self.branch.context, basket.member("fKeylen"))
            parts[i - first] = self.branch.interpretation.basket_array(*raw, _NUMPY, {})
            if len(parts[i - first]) != self.offsets[i + 1] - self.offsets[i]:
                raise DataError(
                    f"basket {i} of the branch {self.branch.name!r} does not have the entries it should have"
                )
        offsets = self.offsets[first : last + 1].tolist()
        return self.branch.interpretation.final_array(parts, start, stop, offsets, _NUMPY, self.branch, {})


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of an RNTuple that has no fields below it."""

    ntuple: Any
    field: Any
    offsets: Any

    @property
    def type(self) -> str:
        """The type's name in C++."""
        return str(self.field.typename)

    @property
    def is_object(self) -> bool:
        """False: a field without fields below it is no object."""
        return False

    def read(self, start: int, stop: int) -> Any:
        """The entries from `start` to before `stop`."""
        chosen = self.field
        array = self.ntuple.arrays(filter_field=lambda f: f is chosen, entry_start=start, entry_stop=stop)
        while len(array.fields) == 1:
            array = array[array.fields[0]]
        return plain(array)


@dataclass(slots=True)
class _Ahead:
    """Reads a branch forwards in any steps, and every basket once.

    Attributes:
        held: what was read and not yet given, the entries from `start` to before `stop`; a step inside one basket
            is a view of it, and only what lies in several is copied.
    """

    branch: _Branch | _Field
    held: list[Any] = field(default_factory=list)
    start: int = 0
    stop: int = 0

    def seek(self, start: int) -> None:
        """Go to an entry: forwards what is held stays held, backwards everything is read again."""
        if self.start <= start <= self.stop:
            if start > self.start:
                self.next(start)
        else:
            self.held, self.start, self.stop = [], start, start

    def next(self, stop: int) -> Any:
        """The entries from where the last call ended to before `stop`."""
        if stop > self.stop:
            basket = int(np.searchsorted(self.branch.offsets, stop))
            end = int(self.branch.offsets[basket]) if basket < len(self.branch.offsets) else stop
            self.held.append(self.branch.read(self.stop, end))
            self.stop = end
        given = []
        while self.held and self.start < stop:
            part = self.held.pop(0)
            wanted = stop - self.start
            given.append(part[:wanted])
            if len(part) > wanted:
                self.held.insert(0, part[wanted:])
            self.start += len(given[-1])
        return joined(given)


class RootTree:
    """One tree of a ROOT file."""

    def __init__(self, path: str, tree: str) -> None:
        self._ahead: dict[str, _Ahead] = {}
        self._place = f"{path}:{tree}"
        self._context = opened(path)
        self._file = self._context.__enter__()
        found = self._file[tree]
        self.n_entries = int(found.num_entries)
        self._branches = _tree_branches(found) if hasattr(found, "branches") else _fields(found)

    @property
    def names(self) -> list[str]:
        """All branches."""
        return list(self._branches)

    def place(self, name: str) -> str:
        """The file and the tree."""
        return self._place

    def reason(self, name: str) -> str:
        """Why a branch cannot be used: it holds objects."""
        branch = self._branches[name]
        if branch.is_object:
            return f"holds objects of the type {branch.type}"
        try:
            kind = kind_from_array(branch.read(0, 0))
        except Exception:  # whatever uproot says of a type that it cannot read
            return f"holds objects of the type {branch.type or 'unknown'}"
        return f"holds objects of the type {branch.type}" if kind.number is Number.OTHER else ""

    def empty(self, name: str) -> Any:
        """A branch without entries."""
        return self._branches[name].read(0, 0)

    def iterate(self, names: Sequence[str], step: int) -> Iterator[Arrays]:
        """The branches in pieces; each basket is read and decompressed once."""
        ahead = {name: _Ahead(self._branches[name]) for name in names}
        for start in range(0, self.n_entries, step):
            stop = min(start + step, self.n_entries)
            yield {name: each.next(stop) for name, each in ahead.items()}

    def values(self, name: str, start: int, stop: int) -> Any:
        """A part of a branch."""
        return self._branches[name].read(start, stop)

    def offsets(self, name: str) -> Any:
        """(n_baskets + 1,) the entries at which the baskets of a branch begin, and the end."""
        return self._branches[name].offsets

    def span(self, names: Sequence[str], start: int, stop: int) -> Arrays:
        """The branches in the entries from `start` to before `stop`; fastest where it follows the last span."""
        arrays = {}
        for name in names:
            ahead = self._ahead.setdefault(name, _Ahead(self._branches[name]))
            ahead.seek(start)
            arrays[name] = ahead.next(stop) if stop > start else self.empty(name)
        return arrays

    def close(self) -> None:
        """Close the file."""
        self._context.__exit__(None, None, None)


def _tree_branches(tree: Any) -> dict[str, _Branch]:
    """The branches that hold values, by the names that ROOT's cut strings use: the last part of the path."""
    found: dict[str, _Branch] = {}
    ends = [(path, branch) for path, branch in tree.iteritems(recursive=True, full_paths=True) if not branch.branches]
    short = [_short(path) for path, _ in ends]
    for (path, branch), name in zip(ends, short, strict=True):
        unique = name if short.count(name) == 1 else path.replace("/", ".")
        offsets = np.asarray(branch.entry_offsets)
        leaves = _leaves(branch)
        named: dict[str, str | None] = {f"{unique}.{leaf}": leaf for leaf in leaves} if leaves else {unique: None}
        found |= {full: _Branch(branch, leaf, offsets) for full, leaf in named.items()}
    return found


def _leaves(branch: Any) -> Sequence[str]:
    """The names in a leaf list; empty for a branch of one leaf."""
    if type(branch.interpretation) is not uproot.AsDtype:
        return ()
    return branch.interpretation.from_dtype.names or ()


def _short(path: str) -> str:
    """`I16` for `evt/I16`, `x` for `x[10]`, `P3.Px` for `evt/P3/P3.Px`."""
    return path.rsplit("/", 1)[-1].split("[")[0]


def _fields(ntuple: Any) -> dict[str, _Field]:
    """The fields of an RNTuple that have none below them, by their paths."""
    starts = [int(c.num_first_entry) for c in ntuple.cluster_summaries]
    offsets = np.asarray([*starts, int(ntuple.num_entries)])
    fields = ntuple.iteritems(recursive=True, full_paths=True)
    return {path: _Field(ntuple, each, offsets) for path, each in fields if not each.keys()}
