"""Formats: the tables in an input, and the backend that reads one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pidlab.errors import DataError
from pidlab.read import arrays, hipo, sql, text
from pidlab.read.backend import Backend, ColumnsInMemory
from pidlab.read.root import file as root_file
from pidlab.read.root.tree import RootTree
from pidlab.read.source import Source, format_of, stem_of

_WIDE = 1_000_000
"""Bytes of a tree's own description from which on it counts as wide; a branch takes about 400."""
_FILES: Mapping[str, Callable[[str, Sequence[str]], Backend]] = {
    "hipo": hipo.HipoFile,
    "parquet": arrays.ParquetFile,
    "npy": arrays.NpyFile,
    "npz": arrays.NpzFile,
    "json": arrays.JsonFile,
    "csv": text.CsvFile,
    "jsonl": text.JsonLinesFile,
}


def trees_in(path: str, columns: Sequence[str] = ()) -> dict[str, int]:
    """Returns the trees of a ROOT file or the tables of a database, and their numbers of entries.

    Trees in nested directories are included. Any other file holds one table, which is called by the file's stem.

    Args:
        path: the file or the address.
        columns: names for the columns of a file that does not name them.

    Raises:
        DataError: the input cannot be read; the message says why.
    """
    kind = format_of(path)
    if kind == "root":
        return root_file.trees_of(path)
    if kind in ("sql", "sqlite"):
        return sql.tables_of(_address(path, kind))
    backend = open_source(Source(path, stem_of(path), tuple(columns)))
    try:
        return {stem_of(path): backend.n_entries}
    finally:
        backend.close()


def is_wide(source: Source) -> bool:
    """Returns True for a tree of so many branches (some thousand) that opening it takes seconds."""
    return source.is_root and root_file.description_size(source.path, source.tree) > _WIDE


def open_source(source: Source) -> Backend:
    """Returns the source, ready to be read, without its friends.

    Raises:
        DataError: the source cannot be opened, or its format cannot be read from an address.
    """
    if source.held is not None:
        return ColumnsInMemory(str(source), source.held, {})
    kind, path = format_of(source.path), source.path
    if kind == "root":
        return RootTree(path, source.tree)
    if kind in ("sql", "sqlite"):
        return sql.SqlTable(_address(path, kind), source.tree, str(source))
    if "://" in path:
        raise DataError(f"{path}: only ROOT files are read from an address; fetch this file first")
    return _FILES[kind](path, source.columns)


def identity_of(source: Source) -> dict[str, Any] | None:
    """Returns what identifies the content of the source and its friends without reading it.

    It is None for a database and for arrays in memory.

    Files have a length and a time of last change; ROOT files also state UUID, length and time themselves.

    Raises:
        DataError: the source cannot be opened.
    """
    kind, path = format_of(source.path), source.path
    friends = [identity_of(friend) for friend in source.friends]
    if source.held is not None or kind in ("sql", "sqlite") or None in friends:
        return None
    own: dict[str, Any] = root_file.identity_of(path) if kind == "root" else {}
    if "://" not in path:
        try:
            status = Path(path).stat()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
        own |= {"bytes": status.st_size, "changed_ns": status.st_mtime_ns}
    return own | {"stem": source.stem, "tree": source.tree} | ({"friends": friends} if friends else {})


def usual_collection(source: Source) -> str | None:
    """Returns the collection whose candidates the rows usually are; None if the format does not tell, as HIPO does."""
    if source.held is not None or format_of(source.path) != "hipo":
        return None
    backend = open_source(source)
    try:
        return hipo.PARTICLES if any(name.startswith(f"{hipo.PARTICLES}.") for name in backend.names) else None
    finally:
        backend.close()


def takes_columns(path: str) -> bool:
    """Returns True for a file of a format that need not name its columns."""
    return format_of(path) in ("csv", "npy")


def invented_columns(path: str) -> tuple[str, ...]:
    """Returns column_1, column_2, … for a file that does not name its columns; empty for any other file."""
    counters = {"csv": text.n_unnamed_columns, "npy": arrays.n_unnamed_columns}
    counter = counters.get(format_of(path))
    return tuple(f"column_{i + 1}" for i in range(counter(path))) if counter else ()


def _address(path: str, kind: str) -> str:
    return path if kind == "sql" else f"sqlite:///{Path(path).resolve()}"
