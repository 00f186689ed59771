"""ROOT files: TTrees and RNTuples through uproot, which sees names of branches but never an expression."""

from __future__ import annotations

import gc
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import uproot

from pidlab.credentials import without_mask
from pidlab.errors import DataError
from pidlab.expressions import Number, kind_from_array
from pidlab.read.backend import Arrays, as_text, joined, plain, readable
from pidlab.read.catalogue import TreeKey, choose, index_names, trees_in
from pidlab.read.local import LocalFile

_NUMPY = uproot.interpretation.library.NumPy()
_SHAPE = re.compile(r"(?P<name>.+?)(\[\w*\])+$")
_ENTRIES_RESHUFFLED = 1 << 19  # TTree::kEntriesReshuffled
_FRIEND_MARKER = "pidlab_complete"  # as pidlab.rootio writes it
_NEEDED = {"http": "aiohttp", "https": "aiohttp", "root": "fsspec-xrootd", "roots": "fsspec-xrootd"}


@contextmanager
def opened(path: str, *, whole_headers: bool = False) -> Iterator[Any]:
    """An open ROOT file.

    Args:
        path: the file or its address.
        whole_headers: whether trees are to tell of stored indices, aliases and bits, too, which takes a fifth longer.

    Raises:
        DataError: it cannot be opened; says why.
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
    """Ask a web server how long a file is: what has no length is read until the memory is full.

    Raises:
        DataError: the server does not say it.
    """
    if path.startswith(("http://", "https://")):
        from fsspec.core import url_to_fs  # comes with uproot; of no use to files that are here

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


def friend_of(path: str) -> list[dict[str, Any]]:
    """The identities of the inputs that a friend file says it was made of; empty for a file that says nothing of it."""
    with opened(path) as file:
        if _FRIEND_MARKER not in file:
            return []
        try:
            inputs = json.loads(str(file[_FRIEND_MARKER])).get("inputs", [])
        except Exception:  # a marker that cannot be read says nothing
            return []
        return [each for each in inputs if isinstance(each, dict)] if isinstance(inputs, list) else []


def trees_of(path: str) -> dict[str, int]:
    """The trees of a file, in nested directories too, and their number of entries; of several cycles the highest.

    Raises:
        DataError: the file cannot be opened, or its contents cannot be listed.
    """
    with opened(path) as file:
        return {name: trees[0].n_entries for name, trees in _listed(path, file).items()}


def tree_named(path: str, wanted: str) -> str:
    """The name under which `open_source` finds the tree `wanted`: `T` for the highest cycle of T, or `T;1`.

    Raises:
        DataError: the file cannot be opened, or holds no such tree or cycle.
    """
    with opened(path) as file:
        known = _listed(path, file)
        tree = choose(path, wanted, known)
        return tree.name if tree is known[tree.name][0] else f"{tree.name};{tree.cycle}"


def entries_of(path: str, wanted: str) -> int:
    """The number of entries of a tree, or of one cycle of it.

    Raises:
        DataError: the file cannot be opened, or holds no such tree or cycle.
    """
    with opened(path) as file:
        return choose(path, wanted, _listed(path, file)).n_entries


def description_size(path: str, wanted: str) -> int:
    """The bytes that a tree takes without its baskets, unpacked: they grow with its branches."""
    with opened(path) as file:
        return int(choose(path, wanted, _listed(path, file)).key.fObjlen)


def _listed(path: str, file: Any) -> dict[str, list[TreeKey]]:
    try:
        return trees_in(file)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path}: its contents cannot be listed; it is damaged or was cut short") from error


class _Branch:
    """One branch of a TTree, or one leaf of it."""

    def __init__(self, branch: Any, leaf: str | None) -> None:
        self._branch, self._leaf = branch, leaf

    @cached_property
    def offsets(self) -> Any:
        """(n_baskets + 1,) the entries at which baskets begin, and the end."""
        return np.asarray(self._branch.entry_offsets)

    @property
    def type(self) -> str:
        """The type's name in C++, as far as it is known."""
        try:
            return str(self._branch.typename)
        except Exception:  # uproot has no name for some structures
            return "unknown"

    def why_not(self, n_entries: int) -> str:
        """Why the branch of a tree with `n_entries` cannot be used, as the end of a sentence; empty where it can."""
        interpretation = self._branch.interpretation
        if isinstance(interpretation, uproot.AsStridedObjects):  # its members could only be given together
            return f"holds objects of the type {self.type}"
        if self.offsets[-1] < n_entries:
            return f"has {self.offsets[-1]:,} of the tree's {n_entries:,} entries: it was filled apart from the tree"
        return ""

    def read(self, start: int, stop: int) -> Any:
        """The entries from `start` to before `stop`."""
        interpretation = self._branch.interpretation
        if start == stop and type(interpretation) is uproot.AsDtype:
            array = np.empty(0, interpretation.to_dtype)
        elif _is_text(self._branch):
            return self._texts(start, stop)
        elif type(interpretation) is uproot.AsDtype and isinstance(self._branch.file.source, LocalFile):
            array = self._from_baskets(start, stop)
        else:
            flat = isinstance(interpretation, uproot.interpretation.numerical.Numerical | uproot.AsStrings)
            array = self._branch.array(entry_start=start, entry_stop=stop, library="np" if flat else "ak")
        return plain(array if self._leaf is None else array[self._leaf])

    def _baskets(self, start: int, stop: int) -> range:
        """The baskets that hold the entries from `start` to before `stop`."""
        if start == stop:
            return range(0)
        first = int(np.searchsorted(self.offsets, start, "right")) - 1
        return range(first, int(np.searchsorted(self.offsets, stop)))

    def _whole_basket(self, i: int, n: int) -> None:
        """See that basket `i` has the entries it should have; it was read as `n` of them.

        Raises:
            DataError: it has not.
        """
        if n != self.offsets[i + 1] - self.offsets[i]:
            raise DataError(f"basket {i} of the branch {self._branch.name!r} does not have the entries it should have")

    def _from_baskets(self, start: int, stop: int) -> Any:
        """As `branch.array`, which in each call looks at all baskets of the file and takes twice as long.

        Of a file elsewhere it asks for many baskets at once, which is worth more.
        """
        branch, baskets = self._branch, self._baskets(start, stop)
        parts = {}
        for i in baskets:
            basket = branch.basket(i)
            raw = (basket.data, basket.byte_offsets, basket, branch, branch.context, basket.member("fKeylen"))
            parts[i - baskets.start] = branch.interpretation.basket_array(*raw, _NUMPY, {})
            self._whole_basket(i, len(parts[i - baskets.start]))
        offsets = self.offsets[baskets.start : baskets.stop + 1].tolist()
        return branch.interpretation.final_array(parts, start, stop, offsets, _NUMPY, branch, {})

    def _texts(self, start: int, stop: int) -> Any:
        """Text of a TLeafC; of an empty one ROOT writes no byte, not even its length, so that the offsets decide."""
        words: list[str] = []
        baskets = self._baskets(start, stop)
        for i in baskets:
            basket = self._branch.basket(i)
            raw, ends = basket.data.tobytes(), np.asarray(basket.byte_offsets)
            self._whole_basket(i, len(ends) - 1)
            words += [_text(raw[a:b]) for a, b in itertools.pairwise(ends)]
        skipped = start - int(self.offsets[baskets.start]) if baskets else 0
        return as_text(words[skipped : skipped + stop - start])


def _has_dots(field: Any) -> bool:
    """True where a dot belongs to the name of the field, or of one that it lies in."""
    while not isinstance(field, uproot.behaviors.RNTuple.RNTuple):
        if "." in field.name:
            return True
        field = field.parent
    return False


def _is_text(branch: Any) -> bool:
    """True for a branch of one TLeafC, `name/C`."""
    leaves = branch.member("fLeaves")
    return len(leaves) == 1 and leaves[0].classname == "TLeafC"


def _text(raw: bytes) -> str:
    """A text behind its length: one byte, or 255 and four bytes; nothing at all is an empty text."""
    word = raw[5:] if raw[:1] == b"\xff" else raw[1:]
    return readable(word.split(b"\0", 1)[0])


class _Field:
    """One field of an RNTuple that has no fields below it."""

    def __init__(self, ntuple: Any, field: Any, offsets: Any) -> None:
        self._ntuple, self._field, self.offsets = ntuple, field, offsets

    @property
    def type(self) -> str:
        """The type's name in C++."""
        return str(self._field.typename)

    def why_not(self, n_entries: int) -> str:
        """Empty: what a field without fields below it holds is seen when it is read."""
        return ""

    def read(self, start: int, stop: int) -> Any:
        """The entries from `start` to before `stop`."""
        chosen = self._field
        if _has_dots(chosen):  # uproot finds its own field again by a path that it cuts at dots
            array = self._ntuple.arrays(filter_field=lambda f: f is chosen, entry_start=start, entry_stop=stop)
        else:
            array = chosen.array(entry_start=start, entry_stop=stop)
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
        self._empty: dict[str, Any] = {}
        self._path, self._name, self._place = path, tree, f"{path}:{tree}"
        self._context = opened(path)
        self._file = self._context.__enter__()
        try:
            self._tree = _read_tree(choose(path, tree, _listed(path, self._file)).key)
            self.n_entries = int(self._tree.num_entries)
            is_ntuple = not hasattr(self._tree, "branches")
            self._branches: Mapping[str, _Branch | _Field] = (
                _fields(self._tree) if is_ntuple else _tree_branches(self._tree)
            )
        except DataError:
            self.close()
            raise
        except Exception as error:
            self.close()
            raise DataError(f"{self._place}: cannot be read; the file is damaged or was cut short") from error
        self.names = list(self._branches)

    def place(self, name: str) -> str:
        """The file and the tree."""
        return self._place

    def reason(self, name: str) -> str:
        """Why a branch cannot be used: it holds objects, or has fewer entries than the tree."""
        branch = self._branches[name]
        if why := branch.why_not(self.n_entries):
            return why
        try:
            kind = kind_from_array(self.empty(name))
        except Exception:  # whatever uproot says of a type that it cannot read
            return f"holds objects of the type {branch.type or 'unknown'}"
        return f"holds objects of the type {branch.type}" if kind.number is Number.OTHER else ""

    @cached_property
    def _header(self) -> tuple[dict[str, str], bool, tuple[str, str] | None]:
        """Aliases, the reshuffled bit and the index, which are seldom asked for and read apart from the branches."""
        with opened(self._path, whole_headers=True) as file:
            tree = _read_tree(choose(self._path, self._name, _listed(self._path, file)).key)
            members = getattr(tree, "all_members", {})
            stored = members.get("fTreeIndex")
            is_reshuffled = bool(int(members.get("@fBits", 0)) & _ENTRIES_RESHUFFLED)
            return dict(getattr(tree, "aliases", None) or {}), is_reshuffled, stored and index_names(stored)

    @property
    def aliases(self) -> dict[str, str]:
        """The names that the tree itself defines (TTree::SetAlias), with their expressions."""
        return self._header[0]

    @property
    def is_reshuffled(self) -> bool:
        """True where ROOT noted that the entries stand in another order than those of the tree they were made of."""
        return self._header[1]

    @property
    def index(self) -> tuple[str, str] | None:
        """The branches of the index stored with the tree (TTree::BuildIndex), `("run", "event")`; None without one.

        Where there is no minor one, its name is "0".
        """
        return self._header[2]

    def empty(self, name: str) -> Any:
        """A branch without entries."""
        if name not in self._empty:
            self._empty[name] = self._branches[name].read(0, 0)
        return self._empty[name]

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


def _read_tree(key: Any) -> Any:
    """The tree of a key. Of many branches uproot makes millions of objects, which all stay: none is worth a search for
    garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return key.get()
    finally:
        if was_enabled:
            gc.enable()


def _tree_branches(tree: Any) -> dict[str, _Branch]:
    """The branches that hold values, by the names that ROOT's cut strings use: a branch's own, without its parents'.

    Where several branches share a name, each is called by its whole path, with dots; of two with the same path the
    first is taken, as ROOT does.
    """
    ends = list(_ends(tree, ()))
    short = [_without_shape(branch) for _, branch in ends]
    count = Counter(short)
    found: dict[str, _Branch] = {}
    for (path, branch), name in zip(ends, short, strict=True):
        unique = name if count[name] == 1 else ".".join(path)
        leaves = _leaves(branch)
        for full, leaf in {f"{unique}.{leaf}": leaf for leaf in leaves}.items() if leaves else [(unique, None)]:
            found.setdefault(full, _Branch(branch, leaf))
    return found


def _ends(parent: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The branches without branches below them, each with the names from the top down to it."""
    for branch in parent.branches:
        own = (*path, branch.name)
        if branch.branches:
            yield from _ends(branch, own)
        else:
            yield own, branch


def _leaves(branch: Any) -> Sequence[str]:
    """The names in a leaf list; empty for a branch of one leaf."""
    if type(branch.interpretation) is not uproot.AsDtype:
        return ()
    return branch.interpretation.from_dtype.names or ()


def _without_shape(branch: Any) -> str:
    """The name of a branch; `x` for `x[10]` and `x[n]` where it holds an array, and `adc[0]` where it does not."""
    name = str(branch.name)
    shaped = _SHAPE.match(name)
    if shaped is None:
        return name
    has_array = any(
        leaf.member("fLen") > 1 or leaf.member("fLeafCount") is not None for leaf in branch.member("fLeaves")
    )
    return shaped["name"] if has_array or not isinstance(branch.interpretation, uproot.AsDtype) else name


def _fields(ntuple: Any) -> dict[str, _Field]:
    """The fields of an RNTuple that have none below them, by their paths."""
    _relate(ntuple)
    starts = [int(c.num_first_entry) for c in ntuple.cluster_summaries]
    offsets = np.asarray([*starts, int(ntuple.num_entries)])
    found: dict[str, _Field] = {}
    waiting = list(reversed(ntuple.fields))
    while waiting:
        each = waiting.pop()
        if each.fields:
            waiting += reversed(each.fields)
        else:
            found[each.path] = _Field(ntuple, each, offsets)
    return found


def _relate(ntuple: Any) -> None:
    """Tell each field of an RNTuple its fields, in one walk; uproot walks through all fields for each of them.

    The fields of an anonymous one, such as the elements of a vector, stand in its place.
    """
    records = ntuple.field_records
    below: list[list[int]] = [[] for _ in records]
    for i, record in enumerate(records):
        if record.parent_field_id != i:
            below[record.parent_field_id].append(i)

    def named(i: int) -> list[Any]:
        fields = []
        for child in below[i]:
            each = ntuple.all_fields[child]
            fields += named(child) if each.is_anonymous else [each]
        return fields

    for i, each in enumerate(ntuple.all_fields):
        each._fields = named(i)
