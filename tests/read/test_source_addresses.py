"""Addresses: files behind http, databases of SQLite and PostgreSQL, and what is missing to read them."""

from __future__ import annotations

import contextlib
import functools
import http.server
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from source_tables import (
    COLUMNS,
    RNG,
    N,
    read,
    rows,
    write_root,
    write_sqlite,
)

from pidlab.errors import DataError
from pidlab.read import Source, Table, find_sources, trees_in
from pidlab.read.find import split_tree


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("root://eos.cern.ch:1094//data/a.root", ("root://eos.cern.ch:1094//data/a.root", None)),
        ("root://eos.cern.ch:1094//data/a.root:T", ("root://eos.cern.ch:1094//data/a.root", "T")),
        ("https://a.org:8080/a.root:d/T", ("https://a.org:8080/a.root", "d/T")),
        ("sqlite:///file.db:events", ("sqlite:///file.db", "events")),
        ("sqlite:////abs/file.db", ("sqlite:////abs/file.db", None)),
        ("postgresql://me:secret@db.org:5432/runs", ("postgresql://me:secret@db.org:5432/runs", None)),
        ("postgresql://me:secret@db.org:5432/runs:events", ("postgresql://me:secret@db.org:5432/runs", "events")),
    ],
)
def test_a_tree_of_an_address_stands_behind_its_path(text: str, parts: tuple[str, str | None]) -> None:
    assert split_tree(text) == parts


def test_a_password_is_never_shown() -> None:
    assert "secret" not in str(Source("postgresql://me:secret@db.org:5432/runs", "events"))


def test_a_missing_package_is_named_with_the_way_to_install_it(tmp_path: Path) -> None:
    write_sqlite(tmp_path / "base.db")
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('pyarrow', 'sqlalchemy', 'aiohttp', 'fsspec_xrootd')))\n"
        "from pidlab.errors import DataError\nfrom pidlab.read import find_sources\nfrom pathlib import Path\n"
        "for text in ('t.parquet', 'base.db', 'http://127.0.0.1:9/a.root', 'root://127.0.0.1:9//a.root'):\n"
        "    try: find_sources(text, None, Path())\n"
        "    except DataError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    assert len(said) == 4, done
    for line, extra in zip(said, ("parquet", "sql", "remote", "remote"), strict=True):
        assert f"pip install 'pidlab[{extra}]'" in line, line


class _Ranged(http.server.SimpleHTTPRequestHandler):
    """Serves files, and parts of them, as the servers of experiments do."""

    def log_message(self, *words: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:  # the name that http.server asks for
        path = Path(self.translate_path(self.path))
        if not path.is_file() or "Range" not in self.headers:
            return super().do_GET()
        content = path.read_bytes()
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        part = content[int(first) : int(last) + 1 if last else None]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(part)
        return None


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    if importlib.util.find_spec("aiohttp") is None:
        pytest.skip("aiohttp is not installed: pip install -e '.[remote]'")
    handler = functools.partial(_Ranged, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_behind_http_is_read_as_one_that_is_here(served: str, tmp_path: Path) -> None:
    write_root(tmp_path / "far.root", "mktree")
    (source,) = find_sources(f"{served}/far.root:T", None, Path())
    assert source == Source(f"{served}/far.root", "T")
    assert read(source, "p")["p"].tolist() == COLUMNS["p"].tolist()
    with pytest.raises(DataError, match=r"missing.root: cannot be opened \(.*check the address"):
        find_sources(f"{served}/missing.root", None, Path())
    with pytest.raises(DataError, match="only ROOT files are read from an address"):
        find_sources(f"{served}/far.csv", None, Path())


class _Endless(http.server.BaseHTTPRequestHandler):
    """Sends without end and never says how much it will be."""

    def log_message(self, *words: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:  # the name that http.server asks for
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b"root" * 10_000)


def test_a_body_without_end_is_refused_before_it_is_read() -> None:
    if importlib.util.find_spec("aiohttp") is None:
        pytest.skip("aiohttp is not installed: pip install -e '.[remote]'")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Endless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(DataError, match=r"a\.root: the server does not say how long this file is"):
            find_sources(f"http://127.0.0.1:{server.server_port}/a.root", None, Path())
        server.shutdown()


ODD = 'odd "name"; DROP TABLE x; --'


def fill(connection: Any) -> None:
    """Tables with odd names, without a key, and with missing values, through SQLAlchemy's own quoting."""
    import sqlalchemy as sa

    metadata = sa.MetaData()
    keyed = sa.Table("T", metadata, sa.Column("i", sa.Integer, primary_key=True), *_columns(sa))
    odd = sa.Table(ODD, metadata, sa.Column(ODD, sa.Float), sa.Column("when", sa.DateTime), sa.Column("m", sa.Integer))
    metadata.create_all(connection)
    shuffled = RNG.permutation(N).tolist()
    records = [{"i": i, **dict(zip(COLUMNS, rows()[i], strict=True))} for i in shuffled]
    connection.execute(keyed.insert(), records)
    connection.execute(odd.insert(), [{ODD: float(i), "when": None, "m": None if i % 2 else i} for i in (3, 1, 2, 4)])
    connection.commit()


def _columns(sa: Any) -> list[Any]:
    return [sa.Column("p", sa.Double), sa.Column("n", sa.BigInteger), sa.Column("species", sa.String)]


def check_database(address: str) -> None:
    """Rows come in the order of the key, each once, in any step; names are data."""
    (source,) = find_sources(f"{address}:T", None, Path())
    for step in (64, 5000):
        arrays = read(source, *COLUMNS, step=step)
        assert {n: v.tolist() for n, v in arrays.items()} == {n: v.tolist() for n, v in COLUMNS.items()}
    (source,) = find_sources([address], ODD, Path())
    with Table(source) as table:
        assert table.reason("when").startswith("holds values of the type")
        (chunk,) = table.chunks([ODD, "m"])
    assert chunk.arrays[ODD].tolist() == [1, 2, 3, 4], "without a key, rows are in the order of all columns"
    assert np.isnan(chunk.arrays["m"]).tolist() == [True, False, True, False]
    with pytest.raises(DataError, match="no tree 'T; DROP TABLE x'"):
        find_sources([address], "T; DROP TABLE x", Path())
    assert trees_in(address) == {"T": N, ODD: 4}


def test_a_database_is_read_by_names_alone(tmp_path: Path) -> None:
    sa = pytest.importorskip("sqlalchemy")
    engine = sa.create_engine(f"sqlite:///{tmp_path}/base.db", poolclass=sa.NullPool)
    with engine.connect() as connection:
        fill(connection)
    check_database(f"sqlite:///{tmp_path}/base.db")
    assert find_sources("sqlite:///base.db:T", None, tmp_path) == [Source(f"sqlite:///{tmp_path}/base.db", "T")]
    with pytest.raises(DataError, match=r"missing.db: no such file"):
        find_sources("sqlite:///missing.db", None, tmp_path)
    assert not (tmp_path / "missing.db").exists()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a server of our own, started on a free port for these tests."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    for package in ("sqlalchemy", "psycopg"):
        pytest.importorskip(package)
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        entry = next((u for u in map(_user, ("postgres", "nobody")) if u), None)
        if entry is None:
            pytest.skip("PostgreSQL cannot run as root, and there is no user postgres or nobody")
        user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    with tempfile.TemporaryDirectory() as folder:
        if user:
            shutil.chown(folder, user["user"], user["group"])
        yield from _running(programs[-1], Path(folder), {"cwd": folder, **user})


def _running(program: Path, folder: Path, options: dict[str, Any]) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    options = {"check": True, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **options}
    initdb = [program, "-D", data, "-U", "pidlab", "--auth=trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(initdb, **options)
    control = [program.with_name("pg_ctl"), "-D", data, "-w"]
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    subprocess.run([*control, "-o", settings, "-l", folder / "log", "start"], **options)
    try:
        yield f"postgresql://pidlab:secret@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **options)


def _user(name: str) -> Any:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(name)
    return None


@pytest.mark.slow
def test_a_postgresql_server_is_read_as_any_other_source(postgres: str) -> None:
    import sqlalchemy as sa

    engine = sa.create_engine(postgres.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        fill(connection)
    check_database(postgres)
    with pytest.raises(DataError) as caught:
        find_sources(f"{postgres}_none:T", None, Path())
    assert "does not exist" in str(caught.value)
    assert "secret" not in str(caught.value)
