"""Databases through SQLAlchemy: tables by their names, streamed in an order that every read repeats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pidlab.credentials import address_without_secrets, without_mask
from pidlab.errors import DataError
from pidlab.read.backend import Arrays
from pidlab.read.cells import to_array


@contextmanager
def _said(address: str) -> Iterator[None]:
    """Turn what SQLAlchemy raises in the block into a sentence without the password.

    Raises:
        DataError: SQLAlchemy or a driver is missing, or the database does not answer as it should.
    """
    place = address_without_secrets(address)
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("sqlalchemy"):
            needed = "reading a database needs SQLAlchemy, which is not installed: pip install 'pidlab[sql]'"
            raise DataError(f"{place}: {needed}") from error
        driver = f"the driver {error.name}, which is not installed: pip install {error.name}"
        raise DataError(f"{place}: this database needs {driver}") from error
    except DataError:
        raise
    except Exception as error:
        said = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
        raise DataError(f"{place}: the database says: {said.splitlines()[0]}") from error


def _engine(address: str) -> Any:
    import sqlalchemy

    address = without_mask(address).replace("postgres://", "postgresql://", 1)
    if address.startswith("postgresql://"):
        address = address.replace("postgresql://", "postgresql+psycopg://", 1)
    if address.partition("://")[0].partition("+")[0] == "sqlite":
        path = address.partition("://")[2].removeprefix("/")
        return sqlalchemy.create_engine("sqlite://", creator=partial(_read_only, path), poolclass=sqlalchemy.NullPool)
    return sqlalchemy.create_engine(sqlalchemy.make_url(address), poolclass=sqlalchemy.NullPool)


def _read_only(path: str) -> Any:
    """A connection to the SQLite file at `path`, every character of which is part of its name.

    Raises:
        DataError: there is no such file; SQLite would make an empty one.
    """
    import sqlite3
    from urllib.parse import quote

    if not Path(path).is_file():
        raise DataError(f"{path}: no such file")
    return sqlite3.connect(f"file:{quote(str(Path(path).absolute()))}?mode=ro", uri=True)


def tables_of(address: str) -> dict[str, int]:
    """The tables and views of a database, and their number of rows.

    Raises:
        DataError: the database cannot be reached; says why.
    """
    with _said(address):
        import sqlalchemy

        with _engine(address).connect() as connection:
            return {
                name: int(connection.execute(sqlalchemy.select(sqlalchemy.func.count()).select_from(table)).scalar())
                for name, table in _tables(connection).items()
            }


def _tables(connection: Any) -> dict[str, Any]:
    """Name to SQLAlchemy's table, which puts every name into the quotes of its dialect; columns are not looked up."""
    import sqlalchemy

    inspector = sqlalchemy.inspect(connection)
    names = [*inspector.get_table_names(), *inspector.get_view_names()]
    return {name: sqlalchemy.table(sqlalchemy.quoted_name(name, True)) for name in names}


class SqlTable:
    """One table of a database, read in one transaction.

    Rows come in the order of the primary key, or of all columns where there is none: a table has no order of its own,
    and friend trees need the same order in each read.
    """

    def __init__(self, address: str, table: str, place: str) -> None:
        self._address, self._place = address, place
        with _said(address):
            import sqlalchemy

            self._connection = _engine(address).connect()
            try:
                self._begin()
                inspector = sqlalchemy.inspect(self._connection)
                described = inspector.get_columns(table)
                key = inspector.get_pk_constraint(table)["constrained_columns"]
                self._columns = {
                    each["name"]: sqlalchemy.column(sqlalchemy.quoted_name(each["name"], True), each["type"])
                    for each in described
                }
                self._table = sqlalchemy.table(sqlalchemy.quoted_name(table, True), *self._columns.values())
                self._types = {name: _type_of(column.type) for name, column in self._columns.items()}
                self._order = [self._columns[name] for name in key] or [
                    column for name, column in self._columns.items() if self._types[name]
                ]
                self._note_missing()
            except BaseException:
                self._connection.close()
                raise

    def _begin(self) -> None:
        """All reads see the same state of the database."""
        if self._connection.dialect.name == "postgresql":
            self._connection = self._connection.execution_options(isolation_level="REPEATABLE READ")
        self._connection.begin()

    def _note_missing(self) -> None:
        """Count the rows, and make floats of whole numbers of which some are missing."""
        import sqlalchemy

        whole = [name for name, kind in self._types.items() if kind in ("int", "bool")]
        counts = [sqlalchemy.func.count(), *(sqlalchemy.func.count(self._columns[name]) for name in whole)]
        self.n_entries, *given = self._connection.execute(sqlalchemy.select(*counts).select_from(self._table)).one()
        self._types |= {name: "float" for name, n in zip(whole, given, strict=True) if n < self.n_entries}

    @property
    def names(self) -> list[str]:
        """All columns."""
        return list(self._columns)

    def place(self, name: str) -> str:
        """The table's address, without the password."""
        return self._place

    def reason(self, name: str) -> str:
        """Why a column cannot be used: it holds neither numbers nor text."""
        return "" if self._types[name] else f"holds values of the type {self._columns[name].type}"

    def empty(self, name: str) -> Any:
        """A column without entries."""
        return to_array([], self._types[name])

    def iterate(self, names: Sequence[str], step: int) -> Iterator[Arrays]:
        """The columns in pieces, streamed by the server where it can."""
        import sqlalchemy

        with _said(self._address):
            chosen = sqlalchemy.select(*(self._columns[name] for name in names)).order_by(*self._order)
            streamed = self._connection.execution_options(stream_results=True, max_row_buffer=min(step, 10_000))
            with streamed.execute(chosen) as result:
                for rows in result.partitions(step):
                    yield {
                        name: to_array(values, self._types[name])
                        for name, values in zip(names, zip(*rows, strict=True), strict=True)
                    }

    def values(self, name: str, start: int, stop: int) -> Any:
        """A part of a column."""
        import sqlalchemy

        with _said(self._address):
            chosen = sqlalchemy.select(self._columns[name]).order_by(*self._order)
            rows = self._connection.execute(chosen.offset(start).limit(stop - start))
            return to_array([row[0] for row in rows], self._types[name])

    def close(self) -> None:
        """End the transaction and the connection."""
        self._connection.close()


def _type_of(kind: Any) -> str:
    """float, int, bool or text for a type of SQLAlchemy; "" for others."""
    from sqlalchemy import types

    if isinstance(kind, types.Boolean):
        return "bool"
    if isinstance(kind, types.Integer):
        return "int"
    if isinstance(kind, types.Numeric | types.Float):
        return "float"
    return "text" if isinstance(kind, types.String) else ""
