"""Formats: which one an input has, the tables in it, and the backend that reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pidlab.credentials import address_without_secrets
from pidlab.errors import DataError
from pidlab.read import arrays, root, sql, text
from pidlab.read.backend import Backend

_SQL = ("sqlite", "postgresql", "postgres", "mysql", "mariadb", "oracle", "mssql", "duckdb")
_ENDINGS = {
    "root": "root",
    "parquet": "parquet",
    "pq": "parquet",
    "csv": "csv",
    "tsv": "csv",
    "txt": "csv",
    "dat": "csv",
    "data": "csv",
    "npy": "npy",
    "npz": "npz",
    "json": "json",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "db": "sqlite",
    "sqlite": "sqlite",
    "sqlite3": "sqlite",
}
_WIDE = 1_000_000
"""Bytes of a tree's own description; a branch takes some 400."""
_PACKED = ("gz", "gzip")
_MAGIC = {
    b"root": "root",
    b"PAR1": "parquet",
    b"\x93NUMPY": "npy",
    b"PK\x03\x04": "npz",
    b"SQLite format 3\x00": "sqlite",
}
_TABLES_OF_THEIR_OWN = ("root", "sqlite", "sql")


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """One tree of one file, or one table of a database.

    Attributes:
        path: a file, an address of one, or the address of a database.
        tree: the tree or table; of a file that has no names for its tables, the file's stem.
        columns: names for the columns of a file that does not name them.
        friends: sources with one entry for each entry of this one, whose branches stand beside its own.
        is_alone: False for one of several tables of a file.
        event_id: the branches by which friends are matched, where they have them.
        n_entries: the number of entries, where it was seen when the source was found.
        first_entry: how many entries the inputs have that were named before it; `Entry$` goes on from there.
    """

    path: str
    tree: str
    columns: tuple[str, ...] = ()
    friends: tuple[Source, ...] = ()
    is_alone: bool = field(default=True, compare=False)
    event_id: tuple[str, ...] = field(default=(), compare=False)
    n_entries: int = field(default=0, compare=False)
    first_entry: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{self.place}:{self.tree}" if format_of(self.path) in _TABLES_OF_THEIR_OWN else self.place

    @property
    def place(self) -> str:
        """The path as it may be shown: without the password of an address."""
        return address_without_secrets(self.path)

    @property
    def is_root(self) -> bool:
        """True for a tree of a ROOT file."""
        return format_of(self.path) == "root"

    @property
    def key(self) -> str:
        """A name that depends neither on the folder nor on the format: the stem, and the tree where there are several.

        Where no branches identify events, they are told apart by this and the entry number, so that the same entries
        fall on the same side of a split wherever they lie and in whatever format.
        """
        return self.stem if self.is_alone else f"{self.stem}:{self.tree}"

    @property
    def stem(self) -> str:
        """The file's name without folder and ending."""
        return stem_of(self.path)


def is_database(path: str) -> bool:
    """True for the address of a database, such as `postgresql://host/name`."""
    return path.partition("://")[0].partition("+")[0] in _SQL and "://" in path


def stem_of(path: str) -> str:
    """The name of a file or database without folder and endings that name a format."""
    name = path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    if "://" in path and not path.startswith("sqlite"):
        name = name.partition("?")[0]
    stem, _, ending = name.rpartition(".")
    while stem and ending.lower() in (*_ENDINGS, *_PACKED):
        name = stem
        stem, _, ending = name.rpartition(".")
    return name


def format_of(path: str) -> str:
    """root, parquet, csv, npy, npz, json, jsonl, sqlite or sql: by its first bytes, then by its ending."""
    if is_database(path):
        return "sql"
    endings = [e.lower() for e in Path(path.partition("?")[0] if "://" in path else path).name.split(".")[1:]]
    named = next((_ENDINGS[e] for e in reversed(endings) if e in _ENDINGS and e not in _PACKED), "root")
    if "://" in path or not Path(path).is_file():
        return named
    try:
        with Path(path).open("rb") as file:
            first = file.read(16)
    except OSError:
        return named
    return next((kind for magic, kind in _MAGIC.items() if first.startswith(magic)), named)


def trees_in(path: str, columns: Sequence[str] | None = None) -> dict[str, int]:
    """The trees of a ROOT file (in nested directories too) or the tables of a database, and their number of entries.

    Any other file holds one table, which is called by the file's stem.

    Args:
        path: the file or the address.
        columns: names for the columns of a file that has none; left out: it must have them.

    Raises:
        DataError: the input cannot be read; says why.
    """
    kind = format_of(path)
    if kind == "root":
        return root.trees_of(path)
    if kind in ("sql", "sqlite"):
        return sql.tables_of(_address(path, kind))
    backend = open_source(Source(path, stem_of(path), tuple(columns or ())))
    try:
        return {stem_of(path): backend.n_entries}
    finally:
        backend.close()


def tree_named(path: str, wanted: str) -> str:
    """The name of a tree of a ROOT file as `Source` has it: `T` for `T;2` where 2 is its highest cycle, else `T;1`.

    Raises:
        DataError: there is no such tree, or not of this cycle.
    """
    return root.tree_named(path, wanted)


def entries_of(path: str, tree: str) -> int:
    """The number of entries of a cycle of a tree, `T;1`."""
    return root.entries_of(path, tree)


def is_wide(source: Source) -> bool:
    """True for a tree of so many branches (some thousand) that opening it takes seconds."""
    return source.is_root and root.description_size(source.path, source.tree) > _WIDE


def open_source(source: Source) -> Backend:
    """The source, ready to be read; its friends are left aside.

    Raises:
        DataError: it cannot be opened, or its format cannot be read here.
    """
    kind, path = format_of(source.path), source.path
    if kind == "root":
        return root.RootTree(path, source.tree)
    if kind in ("sql", "sqlite"):
        return sql.SqlTable(_address(path, kind), source.tree, str(source))
    if "://" in path:
        raise DataError(f"{path}: only ROOT files are read from an address; fetch this file first")
    return _FILES[kind](path, source.columns)


def identity_of(source: Source) -> dict[str, Any] | None:
    """What tells this content of the source from another, without reading it; None where nothing does (a database).

    Files have length and time of last change; ROOT files state UUID, length and time themselves, too.

    Raises:
        DataError: it cannot be opened.
    """
    kind, path = format_of(source.path), source.path
    friends = [identity_of(friend) for friend in source.friends]
    if kind in ("sql", "sqlite") or None in friends:
        return None
    own: dict[str, Any] = root.identity_of(path) if kind == "root" else {}
    if "://" not in path:
        own |= _on_disk(path)
    return own | {"stem": source.stem, "tree": source.tree} | ({"friends": friends} if friends else {})


def _on_disk(path: str) -> dict[str, int]:
    """Length, and time of last change in ns, as the file system has them."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    return {"bytes": status.st_size, "changed_ns": status.st_mtime_ns}


def friend_of(source: Source) -> list[dict[str, Any]]:
    """What a friend file that pidlab wrote was made of: the identity of each input tree; empty for any other file."""
    return root.friend_of(source.path) if source.is_root else []


def takes_columns(path: str) -> bool:
    """True for a file that need not name its columns."""
    return format_of(path) in ("csv", "npy")


def invented_columns(path: str) -> tuple[str, ...]:
    """column_1, column_2, … for a file that does not name its columns; empty where it does, or need not."""
    finders = {"csv": text.invented_columns, "npy": arrays.invented_columns}
    finder = finders.get(format_of(path))
    return finder(path) if finder else ()


def _address(path: str, kind: str) -> str:
    return path if kind == "sql" else f"sqlite:///{Path(path).resolve()}"


_FILES: Mapping[str, Callable[[str, Sequence[str]], Backend]] = {
    "parquet": arrays.ParquetFile,
    "npy": arrays.NpyFile,
    "npz": arrays.NpzFile,
    "json": arrays.JsonFile,
    "csv": text.CsvFile,
    "jsonl": text.JsonLinesFile,
}
