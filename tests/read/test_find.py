"""Sources: the same rows give the same table from every format, and what cannot be read is said in a sentence."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from source_tables import (
    COLUMNS,
    RNG,
    WRITERS,
    N,
    analysis,
    read,
    write_parquet,
    write_text,
)

from conftest import Run, write_tree
from pidlab.errors import DataError
from pidlab.expressions import evaluate, parse, selects
from pidlab.read import Source, Table, find_all, find_sources, trees_in
from real_root import ask_root


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
    assert trees_in(str(tmp_path / name)) == {name.split(".", maxsplit=1)[0]: N}
    assert find_sources(name, "anything", tmp_path)[0].tree == name.split(".", maxsplit=1)[0]


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


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("left", "said"), [(150, "gave 22 entries of 128"), (128, "entries 128 to 255 cannot be read")]
)
def test_rows_that_vanish_while_reading_are_missed(left: int, said: str, tmp_path: Path) -> None:
    write_text(tmp_path / "x.csv", ",")
    (source,) = find_sources("x.csv", None, tmp_path)
    with Table(source) as table:
        lines = (tmp_path / "x.csv").read_text().splitlines(keepends=True)
        (tmp_path / "x.csv").write_text("".join(lines[: left + 1]))
        with pytest.raises(DataError, match=said):
            list(table.chunks(["p"], 128))


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


def test_magic_is_read_by_the_names_that_are_given(magic: Path) -> None:
    names = ["length", "width", "size", "conc", "conc1", "asym", "m3long", "m3trans", "alpha", "dist", "class"]
    (source,) = find_sources(magic.name, None, magic.parent, names)
    with Table(source) as table:
        assert table.n_entries == 19_020
        (chunk,) = table.chunks(["class", "alpha", "size"])
    assert int(selects(parse('class == "g"'), chunk.arrays, chunk.n_rows).sum()) == 12_332
    first = evaluate(parse("alpha"), chunk.arrays, chunk.n_rows)[0]
    assert first == 40.092


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
    words = ("run", "analysis.yaml", "-o", "run", "--figures", "none")
    done = pidlab(*words, "--set", "models={bdt: {type: bdt, n_estimators: 20}}")
    assert done.returncode == 0, done.stderr
    done = pidlab("apply", "run", "bare.data", "-o", "friends")
    assert done.returncode == 0, done.stderr
    with uproot.open(tmp_path / "friends/bare_pid.root") as file:
        assert file["bare_pid"].num_entries == N


def test_alice_gives_the_same_results_from_root_and_from_parquet(shared: Path, pidlab: Run, tmp_path: Path) -> None:
    """Events without an id are told apart by stem and entry: the split does not depend on the format."""
    pytest.importorskip("pyarrow")
    results = []
    for ending in ("root", "parquet.gzip"):
        files = {n: str(shared / f"alice_dplus/{n}_Dpluspp7TeV_pT_1_50.{ending}") for n in ("Bkg", "FD", "Prompt")}
        classes = {"prompt": {"files": [files["Prompt"], files["FD"]]}, "background": {"files": files["Bkg"]}}
        content = json.loads(analysis({}, classes, ["d_len_xy", "norm_dl_xy", "cos_p", "imp_par_xy", "sig_vert"]))
        (tmp_path / "c.yaml").write_text(json.dumps(content))
        done = pidlab("run", "c.yaml", "-o", ending, "--figures", "none")
        assert done.returncode == 0, done.stderr
        metrics = json.loads((tmp_path / ending / "metrics.json").read_text())
        results.append({name: (m["test"]["auc"], m["working_points"]) for name, m in metrics["models"].items()})
    assert results[0] == results[1]


def test_a_pipe_or_a_device_is_no_input(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.root")
    for path in (tmp_path / "pipe.root", Path("/dev/zero")):
        with pytest.raises(DataError, match="is a pipe or a device"):
            find_sources([str(path)], None, tmp_path)
