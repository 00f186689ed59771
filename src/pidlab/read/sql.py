"""Databases through SQLAlchemy: tables by their names, streamed in an order that every read repeats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pidlab.credentials import address_without_secrets, without_mask
from pidlab.errors import DataError
from pidlab.read.backend import Arrays, Backend
from pidlab.read.columns import first_line, to_array


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """Turns what SQLAlchemy raises in the block into a sentence without the password.

    Raises:
        DataError: SQLAlchemy or a driver is missing, or the database reports an error.
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
        raise DataError(f"{place}: the database says: {first_line(getattr(error, 'orig', None) or error)}") from error


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
    """Returns a connection to the SQLite file at `path`, whose name may hold any characters.

    Raises:
        DataError: there is no such file; SQLite would make an empty one.
    """
    import sqlite3
    from urllib.parse import quote

    if not Path(path).is_file():
        raise DataError(f"{path}: no such file")
    return sqlite3.connect(f"file:{quote(str(Path(path).absolute()))}?mode=ro", uri=True)


def tables_of(address: str) -> dict[str, int]:
    """Returns the tables and views of a database, and their numbers of rows.

    Raises:
        DataError: the database cannot be reached; the message says why.
    """
    with _explained(address):
        import sqlalchemy

        with _engine(address).connect() as connection:
            return {
                name: int(connection.execute(sqlalchemy.select(sqlalchemy.func.count()).select_from(table)).scalar())
                for name, table in _tables(connection).items()
            }


def _tables(connection: Any) -> dict[str, Any]:
    """Returns name to SQLAlchemy's table, without its columns, which quotes every name as its dialect needs it."""
    import sqlalchemy

    inspector = sqlalchemy.inspect(connection)
    names = [*inspector.get_table_names(), *inspector.get_view_names()]
    return {name: sqlalchemy.table(sqlalchemy.quoted_name(name, True)) for name in names}


class SqlTable(Backend):
    """One table of a database, read in one transaction.

    Rows are ordered by the primary key, or by all columns if there is none: a table has no order of its own, and
    friend trees need the same order in each read.
    """

    def __init__(self, address: str, table: str, place: str) -> None:
        super().__init__(place)
        self._address = address
        with _explained(address):
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
                self.names = list(self._columns)
                self._table = sqlalchemy.table(sqlalchemy.quoted_name(table, True), *self._columns.values())
                self._types = {name: _type_of(column.type) for name, column in self._columns.items()}
                self._order = [self._columns[name] for name in key] or [
                    column for name, column in self._columns.items() if self._types[name]
                ]
                self._count()
            except BaseException:
                self._connection.close()
                raise

    def _begin(self) -> None:
        """Begins a transaction, in which all reads see the same state of the database."""
        if self._connection.dialect.name == "postgresql":
            self._connection = self._connection.execution_options(isolation_level="REPEATABLE READ")
        self._connection.begin()

    def _count(self) -> None:
        """Counts the rows, and turns columns of whole numbers with missing values into floats."""
        import sqlalchemy

        whole = [name for name, kind in self._types.items() if kind in ("int", "bool")]
        counts = [sqlalchemy.func.count(), *(sqlalchemy.func.count(self._columns[name]) for name in whole)]
        self.n_entries, *present = self._connection.execute(sqlalchemy.select(*counts).select_from(self._table)).one()
        self._types |= {name: "float" for name, n in zip(whole, present, strict=True) if n < self.n_entries}

    def reason(self, name: str) -> str:
        """Returns why a column cannot be used: it holds neither numbers nor text."""
        return "" if self._types[name] else f"holds values of the type {self._columns[name].type}"

    def empty(self, name: str) -> Any:
        """Returns a column without entries."""
        return to_array([], self._types[name])

    def iterate(self, names: Sequence[str], step: int) -> Iterator[Arrays]:
        """Yields the columns in pieces, which the server streams if it can."""
        import sqlalchemy

        with _explained(self._address):
            chosen = sqlalchemy.select(*(self._columns[name] for name in names)).order_by(*self._order)
            streamed = self._connection.execution_options(stream_results=True, max_row_buffer=min(step, 10_000))
            with streamed.execute(chosen) as result:
                for rows in result.partitions(step):
                    yield {
                        name: to_array(values, self._types[name])
                        for name, values in zip(names, zip(*rows, strict=True), strict=True)
                    }

    def values(self, name: str, start: int, stop: int) -> Any:
        """Returns a part of a column."""
        import sqlalchemy

        with _explained(self._address):
            chosen = sqlalchemy.select(self._columns[name]).order_by(*self._order)
            rows = self._connection.execute(chosen.offset(start).limit(stop - start))
            return to_array([row[0] for row in rows], self._types[name])

    def close(self) -> None:
        """Closes the input."""
        self._connection.close()


def _type_of(kind: Any) -> str:
    """Returns float, int, bool or text for a type of SQLAlchemy; empty for others."""
    from sqlalchemy import types

    if isinstance(kind, types.Boolean):
        return "bool"
    if isinstance(kind, types.Integer):
        return "int"
    if isinstance(kind, types.Numeric | types.Float):
        return "float"
    return "text" if isinstance(kind, types.String) else ""
