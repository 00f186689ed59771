"""Keys of a ROOT file: its trees with their cycles and numbers of entries, read without their branches."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import uproot
from uproot.source.cursor import Cursor

from pidlab.errors import DataError, nearest

_TREES = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")
_FOLDERS = ("TDirectory", "TDirectoryFile")
_BYTE_COUNT = 0x40000000
"""The bit that distinguishes a length from a version in what ROOT's TBufferFile writes before an object."""
_KEY = struct.Struct(">ihiIhh")
"""The beginning of a TKey: number of bytes, version, length of the object, date, length of the key, cycle."""
_TREE_VERSIONS = range(16, 21)
"""The versions of TTree in which the number of entries is a 64-bit integer behind four base classes."""


@dataclass(frozen=True, slots=True)
class TreeKey:
    """Where a tree is in a file.

    Attributes:
        name: the name of the tree with its folders, `folder/T`.
        cycle: the number of this state of the tree; later states have the same name and a higher cycle.
        key: uproot's key.
    """

    name: str
    cycle: int
    key: Any

    @property
    def n_entries(self) -> int:
        """Number of entries.

        Raises:
            DataError: the tree cannot be read.
        """
        try:
            found = _entries_in_header(self.key)
            return int(self.key.get().num_entries) if found is None else found
        except Exception as error:
            where = f"{self.key.file.file_path}: the tree {self.name!r}"
            raise DataError(f"{where} cannot be read; the file is damaged or was cut short") from error


def trees_in(file: Any) -> dict[str, list[TreeKey]]:
    """Returns the trees of an open file by name, nested folders included; each with its cycles, the highest first.

    Raises:
        DataError: the program that wrote the file did not close it, so that it has no list of its contents.
    """
    found: dict[str, list[TreeKey]] = {}
    for name, key in objects_in(file):
        if key.fClassName in _TREES:
            found.setdefault(name, []).append(TreeKey(name, int(key.fCycle), key))
    if not found and file.fSeekKeys <= file.file.fBEGIN:
        raise DataError(f"{file.file_path}: {_not_closed(file)}")
    return {name: sorted(trees, key=lambda tree: -tree.cycle) for name, trees in found.items()}


def choose(path: str, wanted: str, known: Mapping[str, list[TreeKey]]) -> TreeKey:
    """Returns the tree of `known` that `wanted` names: `T` means the highest cycle, `T;1` means cycle 1.

    Raises:
        DataError: there is no such tree or cycle.
    """
    name, _, cycle = wanted.partition(";")
    if wanted in known:  # a tree may have a semicolon in its own name
        name, cycle = wanted, ""
    name = name if name in known else name.strip("/")
    if name not in known:
        raise DataError(f"{path}: no tree {wanted!r}; {nearest(name, known)}")
    if not cycle:
        return known[name][0]
    for tree in known[name]:
        if str(tree.cycle) == cycle:
            return tree
    cycles = ", ".join(str(tree.cycle) for tree in reversed(known[name]))
    raise DataError(f"{path}: the tree {name!r} has no cycle {cycle}; there are: {cycles}")


def objects_in(folder: Any, within: str = "") -> Iterator[tuple[str, Any]]:
    """Yields name and key of each object below a folder; uproot's own look-up takes a slash in a name for a folder."""
    for key in folder._keys:
        name = f"{within}{key.fName}"
        if key.fClassName in _FOLDERS:
            yield from objects_in(key.get(), f"{name}/")
        else:
            yield name, key


def _entries_in_header(key: Any) -> int | None:
    """Returns fEntries of a TTree, which precedes its branches; None if the object is written in another way."""
    if key.fClassName == "ROOT::RNTuple":
        return None
    chunk, cursor = key.get_uncompressed_chunk_cursor()
    raw = memoryview(chunk.raw_data)[cursor.index - chunk.start :]
    place = 0
    if key.fClassName != "TTree":  # a TNtuple begins with the TTree that it is
        header = _object_header(raw, 0)
        if header is None:
            return None
        place = header[1]
    header = _object_header(raw, place)
    if header is None or header[0] not in _TREE_VERSIONS:
        return None
    place = header[1]
    for _ in ("TNamed", "TAttLine", "TAttFill", "TAttMarker"):
        base = _object_header(raw, place)
        if base is None:
            return None
        place = base[2]
    return int(struct.unpack_from(">q", raw, place)[0])


def index_names(stored: Any) -> tuple[str, ...]:
    """Returns the expressions of a TTreeIndex, such as `run` and `event`; none for an index of another class.

    Uproot has no model of the class, because files hold no description of it: the base class is followed by the two
    names, each after its length. ROOT writes "0" for a minor expression that is not used; it is left out.
    """
    if stored is None or stored.classname != "TTreeIndex" or not hasattr(stored, "cursor"):
        return ()
    place = stored.cursor.index
    raw = memoryview(stored.chunk.raw_data)[place - stored.chunk.start :]
    header = _object_header(raw, 0)
    base = _object_header(raw, header[1]) if header else None
    if base is None:
        return ()
    place, names = base[2], []
    for _ in range(2):
        length, place = raw[place], place + 1
        if length == 255:  # the length of a longer name follows in four bytes
            length, place = int(struct.unpack_from(">I", raw, place)[0]), place + 4
        names.append(bytes(raw[place : place + length]).decode("utf-8", "replace"))
        place += length
    return tuple(name for name in names if name != "0")


def _object_header(raw: memoryview, place: int) -> tuple[int, int, int] | None:
    """Returns version, first byte and end of the object at `place`; None if it was written without its length."""
    length, version = struct.unpack_from(">IH", raw, place)
    if not length & _BYTE_COUNT:
        return None
    return version, place + 6, place + 4 + (length & ~_BYTE_COUNT)


def _not_closed(file: Any) -> str:
    """Returns, as the end of a sentence, why a file has no list of contents and which trees ROOT can recover."""
    recoverable = []
    for name, tree in {tree.name: tree for tree in _records(file)}.items():
        with suppress(DataError):
            recoverable.append(f"{name} with {tree.n_entries:,} entries")
    what = "was not closed by the program that wrote it, which may still be running or was killed"
    if not recoverable:
        return f"{what}; no tree can be recovered from it"
    command = f'root -l -b -q -e \'TFile::Open("{file.file_path}", "UPDATE")->Close()\''
    return f"{what}; ROOT can recover {', '.join(recoverable)} from it: {command} repairs the file (keep a copy)"


def _records(file: Any) -> Iterator[TreeKey]:
    """Yields the trees of the top folder, found by walking through the records of a file from its beginning.

    This is what TFile::Recover does: a record of negative length is a gap, and the first invalid record ends the walk.
    """
    source, place = file.file.source, int(file.file.fBEGIN)
    size = int(source.num_bytes)
    while place + _KEY.size <= size:
        head = bytes(source.chunk(place, place + _KEY.size).raw_data)
        n_bytes, _, _, _, key_length, cycle = _KEY.unpack(head)
        if n_bytes < 0:
            place -= n_bytes
            continue
        if not _KEY.size < key_length <= n_bytes or place + n_bytes > size:
            return
        chunk = source.chunk(place, place + key_length)
        key = uproot.reading.ReadOnlyKey(chunk, Cursor(place), {}, file.file, file, read_strings=True)
        if key.fClassName in _TREES:
            yield TreeKey(key.fName, cycle, key)
        place += n_bytes
