"""Source: one input, that is one tree of a file or one table of a database, and its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pidlab.credentials import address_without_secrets

_SQL = ("sqlite", "postgresql", "postgres", "mysql", "mariadb", "oracle", "mssql", "duckdb")
_ENDINGS = {
    **dict.fromkeys(("csv", "tsv", "txt", "dat", "data"), "csv"),
    **dict.fromkeys(("db", "sqlite", "sqlite3"), "sqlite"),
    **dict.fromkeys(("jsonl", "ndjson"), "jsonl"),
    **dict.fromkeys(("parquet", "pq"), "parquet"),
    **{name: name for name in ("root", "npy", "npz", "json", "hipo")},
}
_COMPRESSED = ("gz", "gzip")
_MAGIC = {
    b"root": "root",
    b"HIPO": "hipo",
    b"OPIH": "hipo",
    b"PAR1": "parquet",
    b"\x93NUMPY": "npy",
    b"PK\x03\x04": "npz",
    b"SQLite format 3\x00": "sqlite",
}


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """One tree of one file, or one table of a database.

    Attributes:
        path: a file, its address, or the address of a database.
        tree: the tree or table; the stem of the file if its format has no names for tables.
        columns: names for the columns of a file that does not name them.
        friends: sources with one entry for each entry of this one; their branches are added to its own.
        is_alone: False for one of several tables of a file.
        event_id: the branches by which friends are matched, if they have them.
        n_entries: the number of entries that was seen when the source was found.
        first_entry: the number of entries in the inputs named before this one, where its `Entry$` begins.
        held: name to column, for a table that is in memory; `path` is then the file that it would be written to.
    """

    path: str
    tree: str
    columns: tuple[str, ...] = ()
    friends: tuple[Source, ...] = ()
    is_alone: bool = field(default=True, compare=False)
    event_id: tuple[str, ...] = field(default=(), compare=False)
    n_entries: int = field(default=0, compare=False)
    first_entry: int = field(default=0, compare=False)
    held: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        if self.held is not None:
            return "the arrays in memory"
        return f"{self.place}:{self.tree}" if has_trees(self.path) else self.place

    @property
    def place(self) -> str:
        """The path as it may be shown, without the password of an address."""
        return address_without_secrets(self.path)

    @property
    def is_root(self) -> bool:
        """True for a tree of a ROOT file."""
        return self.held is None and format_of(self.path) == "root"

    @property
    def key(self) -> str:
        """The stem, and the tree if the file has several: a name that depends neither on the folder nor the format.

        Without branches that identify events, this key and the entry number do, so that the same entries are on the
        same side of a split wherever the file is and in whatever format.
        """
        return self.stem if self.is_alone else f"{self.stem}:{self.tree}"

    @property
    def stem(self) -> str:
        """The file's name without folder and ending."""
        return stem_of(self.path)


def is_database(path: str) -> bool:
    """Returns True for the address of a database, such as `postgresql://host/name`."""
    return path.partition("://")[0].partition("+")[0] in _SQL and "://" in path


def has_trees(path: str) -> bool:
    """Returns True if the format has names for its trees or tables."""
    return format_of(path) in ("root", "sqlite", "sql")


def stem_of(path: str) -> str:
    """Returns the name of a file or database without folder and without endings that name a format."""
    name = path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    if "://" in path and not path.startswith("sqlite"):
        name = name.partition("?")[0]
    stem, _, ending = name.rpartition(".")
    while stem and ending.lower() in (*_ENDINGS, *_COMPRESSED):
        name = stem
        stem, _, ending = name.rpartition(".")
    return name


def format_of(path: str) -> str:
    """Returns root, hipo, parquet, csv, npy, npz, json, jsonl, sqlite or sql, from the first bytes or the ending."""
    if is_database(path):
        return "sql"
    endings = [e.lower() for e in Path(path.partition("?")[0] if "://" in path else path).name.split(".")[1:]]
    named = next((_ENDINGS[e] for e in reversed(endings) if e in _ENDINGS), "root")
    if "://" in path or not Path(path).is_file():
        return named
    try:
        with Path(path).open("rb") as file:
            first = file.read(16)
    except OSError:
        return named
    return next((kind for magic, kind in _MAGIC.items() if first.startswith(magic)), named)
