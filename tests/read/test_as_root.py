"""Files whose obvious reading is wrong: what ROOT reads from them, pidlab reads, or says why it does not."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from sklearn.metrics import roc_auc_score
from source_tables import read

from conftest import Run, write_tree
from pidlab.config.schema import Feature
from pidlab.errors import DataError
from pidlab.expressions import evaluate, parse, selects
from pidlab.preprocess.features import missing_values
from pidlab.preprocess.precision import merged_share, origin_and_unit
from pidlab.read import Source, Table, find_all, find_sources, with_friends
from pidlab.read.inspection import inspect, shortest
from real_root import ask_root, needs_root

_FILES = """
import array
os.chdir(given["folder"])
words = ["e", "", "pi", "", "mu e", "x" * 300]
def number(code="f"): return array.array(code, [0])
f = ROOT.TFile("all.root", "RECREATE")
t = ROOT.TTree("T", "T")
slash, bracket, twice, again = number(), number(), number(), number()
text, counter, part = array.array("b", [0] * 400), number("i"), number()
t.Branch("E/p", slash, "v/F"); t.Branch("p_{T} [GeV]", bracket, "v/F"); t.Branch("name", text, "name/C")
t.Branch("twice", twice, "twice/F"); t.Branch("twice", again, "twice/F")
for i in range(3000):
    word = words[i % 6].encode() + bytes(1)
    text[: len(word)] = array.array("b", list(word))
    slash[0], bracket[0], twice[0], again[0] = i, -i, 2 * i, 3 * i
    t.Fill()
short = t.Branch("short", part, "short/F")
for i in range(800): short.Fill()
t.Write()
odd = ROOT.TTree("meta/config", "odd"); odd.Branch("v", slash, "v/F"); odd.Fill(); odd.Write()
f.Close()
f = ROOT.TFile("cycles.root", "RECREATE")
for n in (10, 20):
    c = ROOT.TTree("C", "C"); c.Branch("x", slash, "x/F")
    for i in range(n): slash[0] = n; c.Fill()
    c.Write()
f.Close()
for n in (500, 4000):
    f = ROOT.TFile(f"wide{n}.root", "RECREATE"); t = ROOT.TTree("W", "W")
    for i in range(n): t.Branch(f"b{i}", slash, f"b{i}/F")
    t.Fill(); t.Write(); f.Close()
f = ROOT.TFile("all.root"); t = f.Get("T"); t.SetBranchStatus("short", 0)
answer = {cut: int(t.GetEntries(cut)) for cut in ('name == "e"', 'name == ""', 'name == "mu e"', 'name != "pi"')}
t.GetEntry(7); answer["twice"] = t.GetBranch("twice").GetLeaf("twice").GetValue()
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("as_root")
    return folder, ask_root(_FILES, folder=folder)


@needs_root
def test_texts_are_cut_where_root_cuts_them_empty_ones_included(made: tuple[Path, Any]) -> None:
    folder, root = made
    for step in (7, 1000, 5000):
        names = read(Source(str(folder / "all.root"), "T"), "name", step=step)["name"]
        for cut in ('name == "e"', 'name == "mu e"', 'name != "pi"'):
            assert selects(parse(cut), {"name": names}, len(names)).sum() == root[cut]
        assert names[:6].tolist() == ["e", "", "pi", "", "mu e", "x" * 300]


@needs_root
def test_branches_have_their_own_names_and_the_first_of_two_is_read(made: tuple[Path, Any]) -> None:
    folder, root = made
    source = Source(str(folder / "all.root"), "T")
    with Table(source) as table:
        assert table.names == ["E/p", "p_{T} [GeV]", "name", "twice", "short"]
        assert table.reason("short").startswith("has 800 of the tree's 3,000 entries")
    arrays = read(source, "E/p", "p_{T} [GeV]", "twice", step=5000)
    assert arrays["twice"][7] == root["twice"] == 14
    assert selects(parse("`E/p` > 2990 && `p_{T} [GeV]` < 0"), arrays, 3000).sum() == 9


@needs_root
def test_a_cycle_is_the_one_that_was_named(made: tuple[Path, Any]) -> None:
    folder, _ = made
    path = str(folder / "cycles.root")
    for named, tree, n in (("C;1", "C;1", 10), ("C;2", "C", 20), ("C", "C", 20)):
        (source,) = find_sources(f"{path}:{named}", None, folder)
        assert (source.tree, source.n_entries, set(read(source, "x")["x"])) == (tree, n, {n})
    with pytest.raises(DataError, match="the tree 'C' has no cycle 3; there are: 1, 2"):
        find_sources(f"{path}:C;3", None, folder)
    assert [s.tree for s in find_all(str(folder / "all.root"))] == ["T", "meta/config"]


@needs_root
def test_a_file_that_was_not_closed_says_so_and_what_root_recovers(tmp_path: Path) -> None:
    code = """
import ROOT, array, os
x = array.array('f', [0]); f = ROOT.TFile('killed.root', 'RECREATE'); t = ROOT.TTree('T', 'T')
t.Branch('x', x, 'x/F'); t.SetAutoFlush(500); t.SetAutoSave(1000)
for i in range(3000): t.Fill()
os._exit(1)"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False)
    with pytest.raises(DataError, match=r"was not closed .* ROOT can recover T with 3,000 entries from it: root "):
        find_all(str(tmp_path / "killed.root"))


@needs_root
def test_entry_runs_through_the_chain_and_local_entry_through_the_file(tmp_path: Path) -> None:
    for i in range(3):
        write_tree(tmp_path / f"e{i}.root", {"x": np.arange(1000.0)})
    cuts = ["Entry$ < 1000", "LocalEntry$ < 1000", "Entry$ % 7 == 3", "LocalEntry$ > 990 && Entry$ > 1500"]
    code = """
c = ROOT.TChain("T")
for i in range(3): c.Add(f"{given['folder']}/e{i}.root")
answer = {cut: int(c.Draw("x", cut, "goff")) for cut in given["cuts"]}
"""
    root = ask_root(code, folder=tmp_path, cuts=cuts)
    for step in (128, 5000):
        counted = dict.fromkeys(cuts, 0)
        for source in find_sources("e*.root", None, tmp_path):
            with Table(source) as table:
                for chunk in table.chunks(["x"], step):
                    kept = chunk.take(np.arange(0, chunk.n_rows))
                    for cut in cuts:
                        counted[cut] += int(selects(parse(cut), kept.arrays, kept.n_rows).sum())
        assert counted == root


def test_rows_that_were_taken_keep_their_entry_numbers(tmp_path: Path) -> None:
    source = Source(str(write_tree(tmp_path / "a.root", {"x": np.arange(500.0)})), "T")
    with Table(source) as table:
        for chunk in table.chunks(["x"], 100):
            kept = chunk.take(np.array([3, 50]))
            assert evaluate(parse("Entry$ + 0 * x"), kept.arrays, 2).tolist() == kept.arrays["x"].tolist()


def test_minus_infinity_to_the_half_is_infinite_as_in_c() -> None:
    columns = {"x": np.array([-np.inf, 4.0, -4.0])}
    np.testing.assert_array_equal(evaluate(parse("x^0.5"), columns, 3), [np.inf, 2, np.nan])


@needs_root
def test_structures_that_have_no_name_are_told_and_the_others_are_read(tmp_path: Path, pidlab: Run) -> None:
    """A leaf list of arrays, 16 bytes an entry, ended `inspect` in KeyError: ('V', 16)."""
    code = """
import array
os.chdir(given["folder"])
f = ROOT.TFile("s.root", "RECREATE"); t = ROOT.TTree("T", "T")
x, four = array.array("f", [0]), array.array("f", [0] * 4)
t.Branch("x", x, "x/F"); t.Branch("two", four, "a[2]/F:b[2]/F"); t.Branch("pair", four, "a/F:b/F:c/F:d/F")
for i in range(10):
    x[0] = i
    for j in range(4): four[j] = 10 * i + j
    t.Fill()
t.Write(); f.Close(); answer = True
"""
    ask_root(code, folder=tmp_path)
    (source,) = find_all(str(tmp_path / "s.root"))
    assert read(source, "pair.c")["pair.c"].tolist() == [10 * i + 2 for i in range(10)]
    with pytest.raises(DataError, match="branch 'two'"):
        read(source, "two")
    done = pidlab("inspect", "s.root", "--ranges")
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("two "))
    assert "not usable" in line
    assert "holds objects of the type unknown" in line
    assert "KeyError" not in done.stdout + done.stderr


# friends


def befriended(folder: Path, event_id: tuple[str, ...] = ("run", "event")) -> Source:
    found = find_sources("main.root", None, folder)
    return with_friends(found, ["friend.root"], folder, event_id)[found[0]]


@pytest.fixture
def keyed(tmp_path: Path) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    n = 1000
    keys = {"run": np.repeat(np.arange(10), 100), "event": np.tile(np.arange(100), 10) + 2**60}
    write_tree(tmp_path / "main.root", {**keys, "x": np.arange(n)})
    return {**keys, "z": 10 * np.arange(n), "order": rng.permutation(n)}


def test_a_friend_in_another_order_is_matched_by_its_key(tmp_path: Path, keyed: dict[str, Any]) -> None:
    order = keyed.pop("order")
    more = {name: np.append(v[order], [77, 78]) for name, v in keyed.items()}
    for columns in (keyed, {name: v[order] for name, v in keyed.items()}, more):
        write_tree(tmp_path / "friend.root", columns, tree="F")
        arrays = read(befriended(tmp_path), "x", "z", step=128)
        assert (arrays["z"] == 10 * arrays["x"]).all()
        with Table(befriended(tmp_path)) as table:
            assert table.span(["z"], 300, 310).arrays["z"].tolist() == list(range(3000, 3100, 10))


def test_a_friend_without_an_entry_or_with_two_is_refused(tmp_path: Path, keyed: dict[str, Any]) -> None:
    order = keyed.pop("order")
    fewer = {name: v[order][1:] for name, v in keyed.items()}
    double = {name: np.append(v[order], v[order][:1]) for name, v in keyed.items()}
    for columns, said in ((fewer, "has no entry for run"), (double, "has several entries for run")):
        write_tree(tmp_path / "friend.root", columns, tree="F")
        with pytest.raises(DataError, match=said), Table(befriended(tmp_path)):
            pass


def as_floats(keyed: dict[str, Any], dtype: str) -> dict[str, Any]:
    """Returns the table with small event numbers, all keys being floats."""
    return {**keyed, "run": keyed["run"].astype(dtype), "event": (keyed["event"] - 2**60).astype(dtype)}


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_friend_whose_keys_are_floats_is_matched_by_them(tmp_path: Path, keyed: dict[str, Any], dtype: str) -> None:
    order = keyed.pop("order")
    write_tree(tmp_path / "main.root", {**as_floats(keyed, "i8"), "x": np.arange(1000)})
    friend = {name: v[order] for name, v in as_floats(keyed, dtype).items()}
    write_tree(tmp_path / "friend.root", friend, tree="F")
    arrays = read(befriended(tmp_path), "x", "z")
    assert (arrays["z"] == 10 * arrays["x"]).all()


def test_float_keys_that_cannot_tell_events_apart_are_refused(tmp_path: Path, keyed: dict[str, Any]) -> None:
    order = keyed.pop("order")
    for changed, said in ((keyed["event"].astype("f8"), r"2\^53"), (keyed["event"] * 0 + 0.5, r"is 0\.5 in entry 0")):
        friend = {**keyed, "event": changed}
        write_tree(tmp_path / "friend.root", {name: v[order] for name, v in friend.items()}, tree="F")
        with pytest.raises(DataError, match=rf"friend.root:F cannot be matched: .*'event'.*{said}"):
            read(befriended(tmp_path), "z")


def test_a_friend_that_has_a_part_of_the_key_must_agree_in_it(tmp_path: Path, keyed: dict[str, Any]) -> None:
    order = keyed.pop("order")
    keys = {"spill": keyed["run"], "number": keyed["event"]}
    write_tree(tmp_path / "main.root", {**keys, "x": np.arange(1000)})
    friend = {"number": keyed["event"], "z": keyed["z"]}
    write_tree(tmp_path / "friend.root", friend, tree="F")
    assert (read(befriended(tmp_path, ("spill", "number")), "z")["z"] == keyed["z"]).all()
    write_tree(tmp_path / "friend.root", {name: v[order] for name, v in friend.items()}, tree="F")
    with pytest.raises(DataError, match="is of another number than that of"):
        read(befriended(tmp_path, ("spill", "number")), "z")


def test_usual_keys_that_differ_are_refused_where_no_key_is_named(tmp_path: Path, keyed: dict[str, Any]) -> None:
    order = keyed.pop("order")
    write_tree(tmp_path / "friend.root", {name: v[order] for name, v in keyed.items()}, tree="F")
    with (
        pytest.raises(DataError, match=r"is of another run and event than that of .*event_id"),
        Table(befriended(tmp_path, ())),
    ):
        pass


@needs_root
def test_the_index_of_a_friend_and_the_reshuffled_bit_count(tmp_path: Path, keyed: dict[str, Any]) -> None:
    order = keyed.pop("order")
    small = {"run": keyed["run"][order], "number": (keyed["event"] - 2**60)[order], "z": keyed["z"][order]}
    write_tree(tmp_path / "main.root", {"run": keyed["run"], "number": keyed["event"] - 2**60, "x": np.arange(1000)})
    write_tree(tmp_path / "plain.root", small, tree="F")
    code = """
os.chdir(given["folder"])
f = ROOT.TFile("plain.root"); t = f.Get("F")
o = ROOT.TFile("friend.root", "RECREATE"); c = t.CloneTree(-1)
if given["index"]: c.BuildIndex("run", "number")
else: c.SetBit(ROOT.TTree.kEntriesReshuffled)
c.Write(); o.Close(); answer = True
"""
    ask_root(code, folder=tmp_path, index=1)
    arrays = read(befriended(tmp_path, ()), "x", "z", step=128)
    assert (arrays["z"] == 10 * arrays["x"]).all()
    ask_root(code, folder=tmp_path, index=0)
    with pytest.raises(DataError, match="its entries are in another order"), Table(befriended(tmp_path, ())):
        pass


# numbers


@pytest.mark.parametrize("code", [-999.9, 1e30, -1e10, 9999999.9, 3.4e38, -0.1, -999.0, 1e-7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_code_that_init_writes_matches_the_values_of_the_file(code: float, dtype: Any) -> None:
    held = float(dtype(code))
    written = float(shortest(held))
    assert held in missing_values(Feature(name="x", expression="x", missing=[written]))
    assert len(missing_values(Feature(name="x", expression="x", missing=[written]))) <= 2


@pytest.mark.parametrize(
    "values",
    [
        1.6e9 + np.random.default_rng(1).normal(0, 40, 3000),
        59000.5 + np.random.default_rng(2).normal(0, 2e-3, 3000),
        1e6 + 1e-3 * np.random.default_rng(3).normal(size=3000),
        1e-300 * np.random.default_rng(4).normal(size=3000),
        1e45 * np.random.default_rng(5).normal(size=3000),
    ],
)
def test_differences_keep_what_float32_would_lose(values: Any) -> None:
    assert merged_share(values) > 0.5
    origin, unit = origin_and_unit(values)
    assert merged_share((values - origin) / unit) < 0.02
    assert merged_share(np.random.default_rng(6).normal(size=100_000)) < 0.02, "ordinary values are left alone"


# texts, archives, names of files


@pytest.mark.parametrize(
    ("text", "names", "n"),
    [
        ("# label x\n1 2.5\n0 1.5\n", ["label", "x"], 2),
        ("#label,x\n1,2.5\n0,1.5\n", ["label", "x"], 2),
        ("# replay 5.1\n# run 4711\nlabel,x\n1,2.5\n", ["label", "x"], 1),
    ],
)
def test_comments_stand_before_a_table(tmp_path: Path, text: str, names: list[str], n: int) -> None:
    (tmp_path / "a.txt").write_text(text)
    (source,) = find_all(str(tmp_path / "a.txt"))
    assert read(source, "x")["x"].tolist() == [2.5, 1.5][:n]
    with Table(source) as table:
        assert (table.names, table.n_entries) == (names, n)


@pytest.mark.parametrize(
    ("cell", "said"), [("2,5", "a decimal comma"), ("2.5D+00", "Fortran's exponent"), ("-nan(ind)", "write nan")]
)
def test_the_cell_that_makes_a_column_text_is_named(tmp_path: Path, cell: str, said: str) -> None:
    (tmp_path / "a.csv").write_text(f"label;E\n1;1.5\n0;{cell}\n")
    with Table(find_all(str(tmp_path / "a.csv"))[0]) as table:
        assert table.remark("E").startswith(f"line 3 has {cell!r} ({said}")
        assert table.remark("label") == ""


def test_archives_lists_and_pipes_are_called_what_they_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "ok.npz", x=np.arange(3))
    with zipfile.ZipFile(tmp_path / "ok.npz", "a") as archive:
        archive.writestr("README.txt", "hello")
    assert read(find_all(str(tmp_path / "ok.npz"))[0], "x")["x"].tolist() == [0, 1, 2]
    with zipfile.ZipFile(tmp_path / "training.zip", "w") as archive:
        archive.writestr("training.csv", "Label,x\n")
    with pytest.raises(DataError, match=r"is a zip archive \(training.csv\), not a numpy one; unpack it"):
        find_all(str(tmp_path / "training.zip"))
    write_tree(tmp_path / "a.root", {"x": np.arange(3.0)})
    (tmp_path / "files.txt").write_text("# of today\na.root\n")
    assert [s.stem for s in find_sources("@files.txt", None, tmp_path)] == ["a"]
    (tmp_path / "files.txt").write_text("a.root\n")
    with pytest.raises(DataError, match=r"is a list of files, of which 'a\.root' is the first; say so as @files\.txt"):
        find_sources("files.txt", None, tmp_path)
    os.mkfifo(tmp_path / "pipe.root")
    for path in (str(tmp_path / "pipe.root"), "/dev/zero"):
        with pytest.raises(DataError, match="is a pipe or a device"):
            find_all(path)


@pytest.mark.parametrize("stem", ["a?mode=rwc", "50%3Fmode=rwc", "a#b", "a b", "é", "100%"])
def test_a_file_name_opens_what_it_names_and_nothing_else(tmp_path: Path, stem: str) -> None:
    pytest.importorskip("sqlalchemy")
    for name in (f"{stem}.db", f"{stem}.sqlite"):
        for address in (str(tmp_path / name), f"sqlite:///{tmp_path / name}"):
            with pytest.raises(DataError):
                find_all(address)
    assert list(tmp_path.iterdir()) == [], "reading makes no file"
    with sqlite3.connect(tmp_path / f"{stem}.db") as base:
        base.execute("create table T (x real)")
        base.execute("insert into T values (1.5)")
    base.close()
    write_tree(tmp_path / f"{stem}.root", {"x": np.array([1.5])})
    for address in (f"{stem}.db", f"sqlite:///{tmp_path}/{stem}.db", f"{stem}.root"):
        (source,) = find_sources(address, None, tmp_path)
        assert read(source, "x")["x"].tolist() == [1.5]
        assert source.stem == stem


@needs_root
@pytest.mark.usefixtures("without_the_objects_of_others")
def test_thousands_of_branches_are_looked_at_in_time_that_grows_with_their_number(made: tuple[Path, Any]) -> None:
    seconds = {}
    for n in (500, 4000):
        start = time.process_time()
        (source,) = find_all(str(made[0] / f"wide{n}.root"))
        with Table(source) as table:
            assert len(inspect(table, with_ranges=False).branches) == n
        seconds[n] = time.process_time() - start
    assert seconds[4000] < 24 * seconds[500], "a scan of all branches for each would take 64 times as long"


def test_fields_of_an_rntuple_are_related_in_one_walk(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "n.root") as file:
        file["N"] = {f"f{i}": np.arange(2.0) for i in range(300)} | {"a.b": np.arange(2.0)}
    (source,) = find_all(str(tmp_path / "n.root"))
    with Table(source) as table:
        assert len(table.kinds(table.names)) == 301
    assert read(source, "a.b", "f7")["f7"].tolist() == [0, 1]


def test_times_train_score_and_export_as_differences(pidlab: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    label = rng.integers(0, 2, 3000)
    time_stamp = np.where(rng.random(3000) < 0.1, -999.9, 1.6e9 + rng.normal(label * 60, 40))
    columns = {"label": label, "event": np.arange(3000), "t": time_stamp, "y": rng.normal(size=3000)}
    write_tree(tmp_path / "a.root", columns)
    (tmp_path / "a.yaml").write_text("""
data: {files: a.root, event_id: [event]}
classes: {s: "label == 1", b: "label == 0"}
features: [{name: t, expression: t, missing: [-999.9]}, y]
models: {fisher: {type: fisher}, cuts: {type: cuts, ranges: {t: [1.59e9, 1.61e9]}}}
evaluate: {importance: false, robustness: null, working_points: [0.5, 0.7]}
""")
    done = pidlab("run", "a.yaml", "-o", "r", "--jobs", "1", "--figures", "none")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "r/metrics.json").read_text())
    assert any("'t' is taken as t - 1600000000.0" in note for note in metrics["notes"])
    present = time_stamp > 0
    truth = roc_auc_score(label[present], time_stamp[present])
    assert metrics["models"]["fisher"]["test"]["auc"]["value"] > truth - 0.06, "a tenth of the times are missing"
    for form in ("header", "cuts"):
        model = "fisher" if form == "header" else "cuts"
        exported = pidlab("export", "r", "--format", form, "--model", model, "-o", form)
        assert exported.returncode == 0, exported.stderr
    assert "t - 1600000000.0" in (tmp_path / "cuts/cuts.txt").read_text()
    assert pidlab("apply", "r", "a.root", "-o", "f", "--jobs", "1").returncode == 0
    with uproot.open(tmp_path / "f/a_pid.root") as new, uproot.open(tmp_path / "r/friends/a_pid.root") as old:
        np.testing.assert_array_equal(*(f["T_pid"]["pid_fisher"].array(library="np") for f in (new, old)))


def test_a_branch_that_is_called_like_a_constant_is_never_taken_for_it(tmp_path: Path, pidlab: Run) -> None:
    """ROOT reads the branch; here the expression says which is meant, and what `init` writes says it."""
    rng = np.random.default_rng(1)
    label, n = rng.integers(0, 2, 400).astype("i4"), 400
    columns = {"species": label, "pi": rng.normal(label, 1).astype("f4"), "true": rng.normal(size=n).astype("f4")}
    write_tree(tmp_path / "a.root", columns)
    base = "data: {files: a.root}\nclasses: {e: species == 1, m: species == 0}\nmodels: {fisher: {type: fisher}}\n"
    quiet = "evaluate: {importance: false, robustness: null}\n"
    for name, features in (("bare", "[pi, true + 1]"), ("quoted", '["`pi`", "`true`"]')):
        (tmp_path / f"{name}.yaml").write_text(f"{base}{quiet}features: {features}\n")
    refused = pidlab("run", "bare.yaml", "-o", "bare")
    assert refused.returncode == 2
    assert "bare.yaml:5:12: features[0]: 'pi' is a constant, and the table has a branch of this name" in refused.stderr
    assert "Write it in backquotes, `pi`, for the branch, or TMath::Pi() for the constant." in refused.stderr
    assert "`true`, for the branch, or 1 for the constant" in refused.stderr
    assert pidlab("run", "quoted.yaml", "-o", "quoted", "-q", "--figures", "none").returncode == 0
    assert pidlab("init", "a.root", "-o", "init.yaml").returncode == 0
    written = (tmp_path / "init.yaml").read_text()
    assert 'expression: "`pi`"' in written
    assert 'expression: "`true`"' in written
