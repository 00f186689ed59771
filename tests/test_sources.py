"""Sources: the same rows give the same table from every format, friends stand beside, addresses are read or refused."""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.server
import importlib.util
import json
import os
import pwd
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from conftest import Run, write_tree
from pidlab.errors import DataError, UsageError
from pidlab.expressions import evaluate, parse, selects
from pidlab.read import Source, Table, find_all, find_sources, split_tree, trees_in, with_friends
from real_root import ask_root

N = 1000
RNG = np.random.default_rng(4)
COLUMNS: dict[str, Any] = {
    "p": RNG.normal(size=N),
    "n": RNG.integers(-5, 5, N),
    "species": RNG.choice(["g", "h"], N).astype(np.dtypes.StringDType()),
}


def rows() -> list[tuple[float, int, str]]:
    return [(float(p), int(n), str(s)) for p, n, s in zip(*COLUMNS.values(), strict=True)]


def write_root(path: Path, kind: str) -> None:
    content = {**COLUMNS, "species": ak.Array([r[2] for r in rows()])}
    with uproot.recreate(path) as file:
        if kind == "mktree":
            types = {name: v.type.content if isinstance(v, ak.Array) else v.dtype for name, v in content.items()}
            tree = file.mktree("T", types)
            for start in range(0, N, 300):
                tree.extend({name: v[start : start + 300] for name, v in content.items()})
        else:
            file.mkrntuple("T", content)


def write_text(path: Path, delimiter: str, header: bool = True) -> None:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt") as file:
        if header:
            file.write(delimiter.join(COLUMNS) + "\n")
        file.writelines(f"{p!r}{delimiter}{n}{delimiter}{s}\n" for p, n, s in rows())


def write_parquet(path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({name: v.tolist() for name, v in COLUMNS.items()})
    parquet.write_table(table, path, row_group_size=130)


def write_npy(path: Path) -> None:
    array = np.empty(N, [("p", "f8"), ("n", "i8"), ("species", "U1")])
    for name, values in COLUMNS.items():
        array[name] = values
    np.save(path, array)


def write_json(path: Path, form: str) -> None:
    records = [dict(zip(COLUMNS, row, strict=True)) for row in rows()]
    if form == "lines":
        path.write_text("\n".join(map(json.dumps, records)))
    else:
        path.write_text(json.dumps(records if form == "records" else {k: v.tolist() for k, v in COLUMNS.items()}))


def write_sqlite(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute('CREATE TABLE "T" (i INTEGER PRIMARY KEY, p DOUBLE, n INTEGER, species TEXT)')
        database.executemany('INSERT INTO "T" VALUES (?, ?, ?, ?)', [(i, *row) for i, row in enumerate(rows())])
        database.commit()


WRITERS: dict[str, Callable[[Path], None]] = {
    "ttree.root": functools.partial(write_root, kind="mktree"),
    "rntuple.root": functools.partial(write_root, kind="mkrntuple"),
    "comma.csv": functools.partial(write_text, delimiter=","),
    "packed.csv.gz": functools.partial(write_text, delimiter=","),
    "semicolon.csv": functools.partial(write_text, delimiter=";"),
    "tabs.tsv": functools.partial(write_text, delimiter="\t"),
    "blanks.txt": functools.partial(write_text, delimiter="   "),
    "groups.parquet": write_parquet,
    "structured.npy": write_npy,
    "columns.npz": lambda path: np.savez(path, **{**COLUMNS, "species": COLUMNS["species"].astype("U1")}),
    "records.json": functools.partial(write_json, form="records"),
    "lists.json": functools.partial(write_json, form="lists"),
    "lines.jsonl": functools.partial(write_json, form="lines"),
    "base.db": write_sqlite,
}


def read(source: Source, *names: str, step: int = 128) -> dict[str, Any]:
    with Table(source) as table:
        chunks = list(table.chunks(names, step))
    assert [c.first_row for c in chunks] == list(range(0, sum(c.n_rows for c in chunks), step))
    return {n: np.concatenate([c.arrays[n] for c in chunks]) for n in names}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("step", [7, 128, 5000])
def test_every_format_gives_the_same_table(name: str, step: int, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    (source,) = find_sources(name, None, tmp_path)
    with Table(source) as table:
        assert table.n_entries == N
        assert {n: str(k) for n, k in table.kinds(COLUMNS).items()} == {"p": "float", "n": "int", "species": "text"}
        assert table.flat_values("n", 10).tolist() == COLUMNS["n"][:10].tolist()
    arrays = read(source, *COLUMNS, step=step)
    assert {n: v.tolist() for n, v in arrays.items()} == {n: v.tolist() for n, v in COLUMNS.items()}
    chosen = selects(parse("species == 'g' && n > 0"), arrays, N)
    assert chosen.tolist() == ((COLUMNS["species"] == "g") & (COLUMNS["n"] > 0)).tolist()


@pytest.mark.parametrize("name", WRITERS)
def test_a_wrong_name_is_refused_whatever_the_format(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    (source,) = find_sources(name, None, tmp_path)
    with pytest.raises(DataError, match="no branch 'specis'; did you mean 'species'"):
        read(source, "p", "specis")


@pytest.mark.parametrize("name", [n for n in WRITERS if not n.endswith((".root", ".db"))])
def test_the_tree_of_a_file_without_trees_is_its_stem(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    assert trees_in(str(tmp_path / name)) == {name.split(".")[0]: N}
    assert find_sources(name, "anything", tmp_path)[0].tree == name.split(".")[0]


def test_only_the_columns_asked_for_are_read_from_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "damaged.parquet"
    write_parquet(path)
    metadata = parquet.ParquetFile(path).metadata
    content = bytearray(path.read_bytes())
    column = metadata.row_group(1).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(content)
    source = Source(str(path), "damaged")
    assert read(source, "n", "species")["n"].tolist() == COLUMNS["n"].tolist()
    with pytest.raises(DataError, match=r"damaged.parquet: branch 'p', entries 100 to 199 cannot be read"):
        read(source, "n", "p", step=100)


def test_only_the_branches_asked_for_are_read_from_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path / "x.root", {name: np.arange(900.0) for name in "abc"}, step=300)
    asked: list[tuple[str, int]] = []
    basket = uproot.models.TBasket.Model_TBasket.read.__func__

    def counted(cls: Any, chunk: Any, cursor: Any, context: Any, file: Any, selffile: Any, parent: Any) -> Any:
        asked.append((parent.name, context["basket_num"]))
        return basket(cls, chunk, cursor, context, file, selffile, parent)

    monkeypatch.setattr(uproot.models.TBasket.Model_TBasket, "read", classmethod(counted))
    read(Source(str(tmp_path / "x.root"), "T"), "b", step=70)
    assert asked == [("b", 0), ("b", 1), ("b", 2)], "each basket once, whatever the step"


JAGGED = ak.Array([[1.5, 2.5], [], [3.5], [4.5, 5.5, 6.5]])
NESTED = {
    "P.gtr.p": np.arange(4.0),
    "hits": JAGGED,
    "box": np.arange(8.0).reshape(4, 2),
    "ok": np.array([True, False, True, False]),
    "name": ak.Array(["a", "", "ccc", "d"]),
}


@pytest.fixture
def both(tmp_path: Path) -> tuple[Source, Source]:
    """The same content as a TTree and as an RNTuple, the latter in two clusters."""
    with uproot.recreate(tmp_path / "both.root") as file:
        types = {
            n: v.type.content if isinstance(v, ak.Array) else np.dtype((v.dtype, v.shape[1:]))
            for n, v in NESTED.items()
        }
        file.mktree("tree", types).extend(NESTED)
        made = file.mkrntuple("ntuple", {n: v[:3] for n, v in NESTED.items()})
        made.extend({n: v[3:] for n, v in NESTED.items()})
    tree, ntuple = (find_sources(f"both.root:{name}", None, tmp_path)[0] for name in ("tree", "ntuple"))
    return tree, ntuple


@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_an_rntuple_is_the_same_table_as_a_tree(both: tuple[Source, Source], step: int) -> None:
    chunks = []
    for source in both:
        with Table(source, per="hits") as table:
            assert {n: str(k) for n, k in table.kinds(NESTED).items()} == {
                "P.gtr.p": "float", "hits": "float", "box": "float[2]", "ok": "bool", "name": "text",
            }  # fmt: skip
            chunks.append(list(table.chunks(NESTED, step)))
    for a, b in zip(*chunks, strict=True):
        assert {n: v.tolist() for n, v in a.arrays.items()} == {n: v.tolist() for n, v in b.arrays.items()}
    assert sum(c.n_rows for c in chunks[1]) == 6


def test_no_name_reaches_the_expression_language_of_uproot(
    both: tuple[Source, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*words: Any, **options: Any) -> Any:
        raise AssertionError(f"an expression was compiled: {words}")

    monkeypatch.setattr("uproot.language.python._expression_to_function", refuse)
    monkeypatch.setattr("uproot.language.python.PythonLanguage.free_symbols", refuse)
    for source in both:
        assert len(read(source, *(n for n in NESTED if n != "hits"))["ok"]) == 4
        for name in ("x); __import__('os').system('true'", "().__class__", "P.gtr.p + 1", "box[0]", "*"):
            with pytest.raises(DataError, match="no branch"):
                read(source, name)


def test_text_is_compared_as_root_compares_it(tmp_path: Path) -> None:
    if importlib.util.find_spec("ROOT") is None:
        pytest.skip("ROOT is not installed: pip install -e '.[root]'")
    write = """
file = ROOT.TFile(given["path"], "RECREATE")
tree = ROOT.TTree("T", "")
word, letters = ROOT.std.string(), bytearray(8)
tree.Branch("word", word)
for text in ("g", "h", "gg", "", "g"):
    word.assign(text)
    tree.Fill()
tree.Write()
answer = {cut: columns(tree, ["Entry$"], cut)[0].tolist() for cut in given["cuts"]}
file.Close()
"""
    cuts = ['word == "g"', 'word != "g"', '"gg" == word', 'word == "g" || Entry$ == 1']
    answer = ask_root(write, path=tmp_path / "text.root", cuts=cuts)
    (source,) = find_sources("text.root", None, tmp_path)
    with Table(source) as table:
        (chunk,) = table.chunks(["word"])
    assert {cut: np.flatnonzero(selects(parse(cut), chunk.arrays, 5)).tolist() for cut in cuts} == answer


def test_numbers_in_text_that_are_missing_are_nan(tmp_path: Path) -> None:
    (tmp_path / "holes.csv").write_text('a,b,"c d"\n1,,x\n2,NA,"y,z"\n3,1e3,\n')
    (source,) = find_sources("holes.csv", None, tmp_path)
    arrays = read(source, "a", "b", "c d")
    assert arrays["a"].dtype == np.int64
    assert np.isnan(arrays["b"][:2]).all()
    assert arrays["b"][2] == 1000
    assert arrays["c d"].tolist() == ["x", "y,z", ""]


def test_whole_numbers_with_missing_ones_become_floats(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    content = {"a": [1, None, 3], "b": [True, False, None], "l": [[1.0, 2.0], None, []], "o": [{"x": 1}] * 3}
    parquet.write_table(pyarrow.table(content), tmp_path / "holes.parquet")
    (tmp_path / "holes.json").write_text(json.dumps(content))
    for name in ("holes.parquet", "holes.json"):
        (source,) = find_sources(name, None, tmp_path)
        with Table(source) as table:
            (chunk,) = table.chunks(["a", "b", "l"])
            assert "holds" in table.reason("o")
            assert {n: str(k) for n, k in table.kinds("abl").items()} == {"a": "float", "b": "float", "l": "float[]"}
        assert np.isnan(chunk.arrays["a"]).tolist() == [False, True, False]
        assert np.isnan(chunk.arrays["b"]).tolist() == [False, False, True]
        assert chunk.arrays["l"].tolist() == [[1.0, 2.0], [], []]


BAD_FILES = {
    "widths.csv": ("a,b\n1,2\n3\n", "line 3 has 1 cells, the others have 2"),
    "nameless.csv": ("1,2\n3,4\n", r"its first line holds numbers .* name the 2 columns in data.columns"),
    "twice.csv": ("a,a\n1,2\n", "two columns are called 'a'"),
    "nothing.csv": ("", "is an empty file"),
    "latin.csv": (b"a,b\n\xff\xfe,1\n", "is not text in UTF-8"),
    "cut.json": ('[{"a": 1}, {"a"', "cannot be read as json"),
    "deep.json": ("[" * 100_000, "cannot be read as json"),
    "number.json": ("3", "a list of records, or a record of lists"),
    "unequal.json": ('{"a": [1], "b": [1, 2]}', "differ in length: a 1, b 2"),
    "line.jsonl": ('{"a": 1}\n{"a"\n', "line 2 is no json"),
    "none.npy": (b"\x93NUMPY\x01", "cannot be read as a numpy file"),
    "none.npz": (b"PK\x03\x04 and no more", "cannot be read as a numpy archive"),
    "none.parquet": (b"PAR1 and no more", "cannot be opened as a parquet file"),
    "none.db": (b"SQLite format 3\x00 and no more", "the database says"),
    "none.gz": (gzip.compress(b"a,b\n1,2\n" * 1000)[:30], "is not a ROOT file"),
    "packed.csv.gz": (gzip.compress(b"a,b\n1,2\n" * 1000)[:30], "cannot be unpacked"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_what_cannot_be_read_is_said_in_a_sentence(name: str, tmp_path: Path) -> None:
    content, said = BAD_FILES[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=said):
        find_sources(name, None, tmp_path)


def test_a_python_object_in_a_numpy_archive_is_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "o.npz", a=np.ones(3), b=np.array([{}, 1, "x"], dtype=object))
    with Table(find_sources("o.npz", None, tmp_path)[0]) as table:
        assert list(table.kinds(table.names)) == ["a"]
        assert table.reason("b") == "holds Python objects, which are not read"


def test_columns_name_what_a_file_does_not(tmp_path: Path) -> None:
    write_text(tmp_path / "bare.csv", ",", header=False)
    np.save(tmp_path / "bare.npy", np.stack([COLUMNS["p"], COLUMNS["n"]], axis=1))
    (source,) = find_sources("bare.csv", None, tmp_path, ["p", "n", "species"])
    assert read(source, "p")["p"].tolist() == COLUMNS["p"].tolist()
    (source,) = find_sources("bare.npy", None, tmp_path, ["p", "n"])
    assert read(source, "n")["n"].tolist() == COLUMNS["n"].tolist()
    for name in ("bare.csv", "bare.npy"):
        with pytest.raises(DataError, match=r"has \d columns, (and )?data.columns names 1"):
            find_sources(name, None, tmp_path, ["p"])
    (invented,) = find_all(str(tmp_path / "bare.csv"))
    assert invented.columns == ("column_1", "column_2", "column_3")


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    (tmp_path / "friends").mkdir()
    for i, name in enumerate("ab"):
        write_tree(tmp_path / f"{name}.root", {"x": np.arange(10.0), "both": np.zeros(10)})
        made = {"y": 10 * i + np.arange(10.0), "both": np.ones(10)}
        write_tree(tmp_path / f"friends/{name}_pid.root", made, tree="T_pid")
    return tmp_path


def friendly(folder: Path, files: list[str], friends: list[str]) -> list[Source]:
    return list(with_friends(find_sources(files, None, folder), friends, folder).values())


@pytest.mark.parametrize(
    "friends", [["friends/{stem}_pid.root:T_pid"], ["friends/a_pid.root", "friends/b_pid.root:T_pid"]]
)
def test_friends_stand_beside_each_input(inputs: Path, friends: list[str]) -> None:
    for i, source in enumerate(friendly(inputs, ["a.root", "b.root"], friends)):
        arrays = read(source, "x", "y", "T_pid.y", "both", "T_pid.both", step=3)
        assert arrays["y"].tolist() == arrays["T_pid.y"].tolist() == [10 * i + k for k in range(10)]
        assert arrays["x"].tolist() == list(range(10))
        assert (arrays["both"][0], arrays["T_pid.both"][0]) == (0, 1), "the plain name is the input's own branch"


def test_a_friend_of_another_length_or_of_nobody_in_particular_is_refused(inputs: Path) -> None:
    write_tree(inputs / "long.root", {"y": np.arange(11.0)})
    (source,) = friendly(inputs, ["a.root"], ["long.root"])
    with pytest.raises(DataError, match=r"long.root:T has 11 entries, .*a.root:T has 10"), Table(source):
        pass
    with pytest.raises(UsageError, match=r"would be the friend of 2 inputs; write \{stem\}"):
        friendly(inputs, ["a.root", "b.root"], ["friends/a_pid.root"])
    with pytest.raises(DataError, match=r"data.friends: .*no such file"):
        friendly(inputs, ["a.root"], ["friends/{stem}_pit.root"])


def test_damage_in_a_friend_names_the_friend(inputs: Path) -> None:
    path = inputs / "friends/a_pid.root"
    write_tree(path, {"y": np.random.default_rng(1).normal(size=10)}, tree="T_pid")
    with uproot.open(path) as file:
        start = file["T_pid"]["y"].member("fBasketSeek")[0]
    content = bytearray(path.read_bytes())
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    (source,) = friendly(inputs, ["a.root"], ["friends/{stem}_pid.root"])
    with pytest.raises(DataError, match=r"a_pid.root:T_pid: branch 'y', entries 0 to 9 cannot be read"):
        read(source, "x", "y")


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
    with pytest.raises(DataError, match="the database says: unable to open"):
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


def analysis(data: dict[str, Any], classes: dict[str, Any], features: list[str]) -> str:
    content = {
        "data": data,
        "classes": classes,
        "features": features,
        "models": {"bdt": {"type": "bdt", "n_estimators": 40}, "fisher": {"type": "fisher"}},
        "evaluate": {"robustness": None},
    }
    return json.dumps(content)


def test_text_runs_from_inspect_to_friend_trees(pidlab: Run, tmp_path: Path) -> None:
    p = np.where(COLUMNS["species"] == "g", 1.0, -1.0) + RNG.normal(size=N)
    lines = [
        f"{a!r},{b!r},{s}" for a, b, s in zip(p.tolist(), RNG.normal(size=N).tolist(), COLUMNS["species"], strict=True)
    ]
    (tmp_path / "bare.data").write_text("\n".join(lines) + "\n")
    assert "'g' in" in pidlab("inspect", "bare.data", "--ranges").stdout
    assert pidlab("init", "bare.data").returncode == 0
    written = (tmp_path / "analysis.yaml").read_text()
    assert '"column_1", "column_2", "column_3"' in written
    done = pidlab("run", "analysis.yaml", "-o", "run", "--set", "models={bdt: {type: bdt, n_estimators: 20}}")
    assert done.returncode == 0, done.stderr
    done = pidlab("apply", "run", "bare.data", "-o", "friends")
    assert done.returncode == 0, done.stderr
    with uproot.open(tmp_path / "friends/bare_pid.root") as file:
        assert file["bare_pid"].num_entries == N


def test_friends_of_the_input_feed_models_and_apply(pidlab: Run, tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    for name in ("a", "b"):
        y = RNG.integers(0, 2, N)
        write_tree(tmp_path / f"{name}.root", {"y": y, "x": RNG.normal(size=N)})
        write_tree(tmp_path / f"f/{name}_pid.root", {"score": y + RNG.normal(size=N)}, tree="T_pid")
    config = {"files": "a.root", "friends": ["f/{stem}_pid.root"]}
    (tmp_path / "c.yaml").write_text(analysis(config, {"s": "y == 1", "b": "y == 0"}, ["x", "T_pid.score"]))
    done = pidlab("run", "c.yaml", "-o", "run")
    assert done.returncode == 0, done.stderr
    done = pidlab("apply", "run", "b.root", "-o", "out")
    assert done.returncode == 0, done.stderr
    with uproot.open(tmp_path / "out/b_pid.root") as file:
        assert file["T_pid"].num_entries == N
    config["friends"] = ["f/a_pid.root"]
    (tmp_path / "c.yaml").write_text(analysis(config, {"s": "y == 1", "b": "y == 0"}, ["x", "T_pid.score"]))
    assert pidlab("run", "c.yaml", "-o", "run").returncode == 0
    assert pidlab("apply", "run", "a.root", "-o", "own").returncode == 0
    done = pidlab("apply", "run", "b.root", "-o", "out2")
    assert done.returncode == 2
    assert "write {stem} for the input's name in data.friends" in done.stderr


def test_alice_is_the_same_table_from_root_and_from_parquet(shared: Path) -> None:
    pytest.importorskip("pyarrow")
    for stem in ("Bkg", "FD", "Prompt"):
        (a,) = find_sources(f"{stem}_Dpluspp7TeV_pT_1_50.root", None, shared / "alice_dplus")
        (b,) = find_sources(f"{stem}_Dpluspp7TeV_pT_1_50.parquet.gzip", None, shared / "alice_dplus")
        assert b.stem == a.stem
        with Table(a) as table:
            names = table.names
        root, parquet = read(a, *names), read(b, *names)
        for name in names:
            assert root[name].dtype == parquet[name].dtype
            np.testing.assert_array_equal(root[name], parquet[name])


def test_magic_is_read_by_the_names_that_are_given(shared: Path) -> None:
    names = ["length", "width", "size", "conc", "conc1", "asym", "m3long", "m3trans", "alpha", "dist", "class"]
    (source,) = find_sources("magic04.data", None, shared / "magic", names)
    with Table(source) as table:
        assert table.n_entries == 19_020
        (chunk,) = table.chunks(["class", "alpha", "size"])
    assert int(selects(parse('class == "g"'), chunk.arrays, chunk.n_rows).sum()) == 12_332
    first = evaluate(parse("alpha"), chunk.arrays, chunk.n_rows)[0]
    assert first == 40.092


def test_alice_gives_the_same_results_from_root_and_from_parquet(shared: Path, pidlab: Run, tmp_path: Path) -> None:
    """Events without an id are told apart by stem and entry: the split does not depend on the format."""
    pytest.importorskip("pyarrow")
    results = []
    for ending in ("root", "parquet.gzip"):
        files = {n: str(shared / f"alice_dplus/{n}_Dpluspp7TeV_pT_1_50.{ending}") for n in ("Bkg", "FD", "Prompt")}
        classes = {"prompt": {"files": [files["Prompt"], files["FD"]]}, "background": {"files": files["Bkg"]}}
        content = json.loads(analysis({}, classes, ["d_len_xy", "norm_dl_xy", "cos_p", "imp_par_xy", "sig_vert"]))
        (tmp_path / "c.yaml").write_text(json.dumps(content))
        done = pidlab("run", "c.yaml", "-o", ending)
        assert done.returncode == 0, done.stderr
        metrics = json.loads((tmp_path / ending / "metrics.json").read_text())
        results.append({name: (m["test"]["auc"], m["test"]["working_points"]) for name, m in metrics["models"].items()})
    assert results[0] == results[1]
