"""One tree of a ROOT file, a TTree or an RNTuple, and its branches."""

from __future__ import annotations

import gc
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import uproot

from pidlab.errors import DataError
from pidlab.expressions import Number, kind_from_array
from pidlab.read.backend import Arrays, Backend, TreeNotes
from pidlab.read.columns import as_column, as_text, decoded
from pidlab.read.root.file import LocalFile, opened, tree_key
from pidlab.read.root.keys import index_names
from pidlab.sample import joined

_NUMPY = uproot.interpretation.library.NumPy()
_SHAPE = re.compile(r"(?P<name>.+?)(\[\w*\])+$")
_ENTRIES_RESHUFFLED = 1 << 19  # TTree::kEntriesReshuffled


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
        """The type's name in C++, or "unknown"."""
        try:
            return str(self._branch.typename)
        except Exception:  # uproot has no name for some structures
            return "unknown"

    def why_not(self, n_entries: int) -> str:
        """Returns why the branch of a tree with `n_entries` cannot be used, as the end of a sentence; else empty."""
        interpretation = self._branch.interpretation
        if isinstance(interpretation, uproot.AsStridedObjects):  # its members can only be read together
            return f"holds objects of the type {self.type}"
        if self.offsets[-1] < n_entries:
            return f"has {self.offsets[-1]:,} of the tree's {n_entries:,} entries: it was filled apart from the tree"
        return ""

    def read(self, start: int, stop: int) -> Any:
        """Returns the entries from `start` to before `stop`."""
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
        return as_column(array if self._leaf is None else array[self._leaf])

    def _baskets(self, start: int, stop: int) -> range:
        """Returns the baskets that hold the entries from `start` to before `stop`."""
        if start == stop:
            return range(0)
        first = int(np.searchsorted(self.offsets, start, "right")) - 1
        return range(first, int(np.searchsorted(self.offsets, stop)))

    def _whole_basket(self, i: int, n: int) -> None:
        """Checks that basket `i`, which was read as `n` entries, is complete.

        Raises:
            DataError: it has another number of entries than the tree states.
        """
        if n != self.offsets[i + 1] - self.offsets[i]:
            raise DataError(f"basket {i} of the branch {self._branch.name!r} does not have the entries it should have")

    def _from_baskets(self, start: int, stop: int) -> Any:
        """Returns the same as `branch.array`, which takes twice as long because it looks at all baskets in each call.

        It is not used for remote files, of which `branch.array` fetches many baskets at once.
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
        """Returns the texts of a TLeafC by their offsets: ROOT writes no byte of an empty one, not even its length."""
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
    """Returns True if a dot belongs to the name of the field or of a field above it."""
    while not isinstance(field, uproot.behaviors.RNTuple.RNTuple):
        if "." in field.name:
            return True
        field = field.parent
    return False


def _is_text(branch: Any) -> bool:
    """Returns True if the branch has one leaf, a TLeafC, `name/C`."""
    leaves = branch.member("fLeaves")
    return len(leaves) == 1 and leaves[0].classname == "TLeafC"


def _text(raw: bytes) -> str:
    """Returns a text that follows its length (one byte, or 255 and four bytes); no bytes at all are an empty text."""
    word = raw[5:] if raw[:1] == b"\xff" else raw[1:]
    return decoded(word.split(b"\0", 1)[0])


class _Field:
    """One field of an RNTuple that has no fields below it."""

    def __init__(self, ntuple: Any, field: Any, offsets: Any) -> None:
        self._ntuple, self._field, self.offsets = ntuple, field, offsets

    @property
    def type(self) -> str:
        """The type's name in C++."""
        return str(self._field.typename)

    def why_not(self, n_entries: int) -> str:
        """Returns an empty text: whether the type can be used is only known once the field is read."""
        return ""

    def read(self, start: int, stop: int) -> Any:
        """Returns the entries from `start` to before `stop`."""
        chosen = self._field
        if _has_dots(chosen):  # uproot would look up the field by its path, which it splits at dots
            array = self._ntuple.arrays(filter_field=lambda f: f is chosen, entry_start=start, entry_stop=stop)
        else:
            array = chosen.array(entry_start=start, entry_stop=stop)
        while len(array.fields) == 1:
            array = array[array.fields[0]]
        return as_column(array)


@dataclass(slots=True)
class _Ahead:
    """Reads a branch forwards in steps of any length, and every basket once.

    Attributes:
        held: the entries from `start` to before `stop`, which were read and not yet returned; a step inside one basket
            is a view of it, and only a step through several baskets is copied.
    """

    branch: _Branch | _Field
    held: list[Any] = field(default_factory=list)
    start: int = 0
    stop: int = 0

    def seek(self, start: int) -> None:
        """Goes to an entry; what is held is kept if the entry lies in it, and otherwise baskets are read again."""
        if self.start <= start <= self.stop:
            if start > self.start:
                self.next(start)
        else:
            self.held, self.start, self.stop = [], start, start

    def next(self, stop: int) -> Any:
        """Returns the entries from where the last call ended to before `stop`."""
        if stop > self.stop:
            basket = int(np.searchsorted(self.branch.offsets, stop))
            end = int(self.branch.offsets[basket]) if basket < len(self.branch.offsets) else stop
            self.held.append(self.branch.read(self.stop, end))
            self.stop = end
        parts = []
        while self.held and self.start < stop:
            part = self.held.pop(0)
            wanted = stop - self.start
            parts.append(part[:wanted])
            if len(part) > wanted:
                self.held.insert(0, part[wanted:])
            self.start += len(parts[-1])
        return joined(parts)


class RootTree(Backend):
    """One tree of a ROOT file."""

    def __init__(self, path: str, tree: str) -> None:
        super().__init__(f"{path}:{tree}")
        self._ahead: dict[str, _Ahead] = {}
        self._empty: dict[str, Any] = {}
        self._path, self._name = path, tree
        self._context = opened(path)
        file = self._context.__enter__()
        try:
            self._tree = _read_tree(tree_key(path, tree, file))
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

    def reason(self, name: str) -> str:
        """Returns why a branch cannot be used: it holds objects, or has fewer entries than the tree."""
        branch = self._branches[name]
        if why := branch.why_not(self.n_entries):
            return why
        try:
            kind = kind_from_array(self.empty(name))
        except Exception:  # uproot raises many classes for types that it cannot read
            return f"holds objects of the type {branch.type or 'unknown'}"
        return f"holds objects of the type {branch.type}" if kind.number is Number.OTHER else ""

    @cached_property
    def notes(self) -> TreeNotes:
        """Aliases, the bit for reshuffled entries and the index, which are seldom needed and read when asked for."""
        with opened(self._path, whole_headers=True) as file:
            tree = _read_tree(tree_key(self._path, self._name, file))
        members = getattr(tree, "all_members", {})
        is_reshuffled = bool(int(members.get("@fBits", 0)) & _ENTRIES_RESHUFFLED)
        return TreeNotes(
            dict(getattr(tree, "aliases", None) or {}), is_reshuffled, index_names(members.get("fTreeIndex"))
        )

    def empty(self, name: str) -> Any:
        """Returns a branch without entries; remembered, because it is asked for often."""
        if name not in self._empty:
            self._empty[name] = self._branches[name].read(0, 0)
        return self._empty[name]

    def iterate(self, names: Sequence[str], step: int) -> Iterator[Arrays]:
        """Yields the branches in pieces; each basket is read and decompressed once."""
        ahead = {name: _Ahead(self._branches[name]) for name in names}
        for start in range(0, self.n_entries, step):
            stop = min(start + step, self.n_entries)
            yield {name: each.next(stop) for name, each in ahead.items()}

    def values(self, name: str, start: int, stop: int) -> Any:
        """Returns a part of a column."""
        return self._branches[name].read(start, stop)

    def offsets(self, name: str) -> Any:
        """Returns (n_baskets + 1,) the entries at which the baskets of a branch begin, and the end."""
        return self._branches[name].offsets

    def span(self, names: Sequence[str], start: int, stop: int) -> Arrays:
        """Returns the branches in the entries from `start` to before `stop`; fastest if they follow the last span."""
        arrays = {}
        for name in names:
            ahead = self._ahead.setdefault(name, _Ahead(self._branches[name]))
            ahead.seek(start)
            arrays[name] = ahead.next(stop) if stop > start else self.empty(name)
        return arrays

    def close(self) -> None:
        """Closes the input."""
        self._context.__exit__(None, None, None)


def _read_tree(key: Any) -> Any:
    """Returns the tree of a key, without garbage collection: the millions of objects of a wide tree all stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return key.get()
    finally:
        if was_enabled:
            gc.enable()


def _tree_branches(tree: Any) -> dict[str, _Branch]:
    """Returns the branches that hold values, by the names that ROOT's cut strings use: without those of their parents.

    Branches that share a name are called by their whole paths, with dots; of two with the same path the first is
    taken, as ROOT does.
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
    """Yields the branches without branches below them, each with the names from the top down to it."""
    for branch in parent.branches:
        own = (*path, branch.name)
        if branch.branches:
            yield from _ends(branch, own)
        else:
            yield own, branch


def _leaves(branch: Any) -> Sequence[str]:
    """Returns the names in a leaf list; empty for a branch of one leaf."""
    if type(branch.interpretation) is not uproot.AsDtype:
        return ()
    return branch.interpretation.from_dtype.names or ()


def _without_shape(branch: Any) -> str:
    """Returns the name of a branch: `x` for `x[10]` and `x[n]` if it holds an array, `adc[0]` if it does not."""
    name = str(branch.name)
    shaped = _SHAPE.match(name)
    if shaped is None:
        return name
    has_array = any(
        leaf.member("fLen") > 1 or leaf.member("fLeafCount") is not None for leaf in branch.member("fLeaves")
    )
    return shaped["name"] if has_array or not isinstance(branch.interpretation, uproot.AsDtype) else name


def _fields(ntuple: Any) -> dict[str, _Field]:
    """Returns the fields of an RNTuple that have none below them, by their paths."""
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
    """Sets the fields below each field of an RNTuple in one walk; uproot walks through all fields for each of them.

    An anonymous field, such as the elements of a vector, is replaced by the fields below it.
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
