"""Friend trees: ROOT joins them to their inputs in every way it knows, and a file is whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from pidlab.errors import OutputError
from pidlab.rootio import FriendFile, FriendWriter, read_marker
from pidlab.rootio.friends import ROWS_PER_BASKET
from real_root import ask_root, needs_root

TYPES = {
    "pid_selected": "bool",
    "pid_split": np.int8,
    "u1": "uint8",
    "i2": "int16",
    "u2": "uint16",
    "run": "int32",
    "u4": "uint32",
    "event": "int64",
    "E.id": "uint64",
    "pid_mlp": "float32",
    "pid_f8": "float64",
}
ROOT_TYPES = {
    "pid_selected": "Bool_t",
    "pid_split": "Char_t",
    "u1": "UChar_t",
    "i2": "Short_t",
    "u2": "UShort_t",
    "run": "Int_t",
    "u4": "UInt_t",
    "event": "Long64_t",
    "E.id": "ULong64_t",
    "pid_mlp": "Float_t",
    "pid_f8": "Double_t",
}


def extreme(kind: Any, n: int) -> np.ndarray:
    """n values of a type, its extremes among them."""
    dtype = np.dtype(kind)
    if dtype.kind == "b":
        return np.arange(n) % 3 == 0
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    values = np.arange(n).astype(dtype)
    values[:2] = limits.min, limits.max
    return values


# --- types and shapes -------------------------------------------------------------------------------------------------


@needs_root
def test_every_type_is_roots_own(tmp_path: Path) -> None:
    columns = {name: extreme(kind, 100) for name, kind in TYPES.items()}
    with FriendWriter(tmp_path / "a_pid.root", "T_pid", TYPES) as friend:
        friend.extend(columns)
    answer = ask_root(
        """
file = ROOT.TFile.Open(given["file"])
tree = file.Get("T_pid")
answer = {leaf.GetBranch().GetName(): leaf.GetTypeName() for leaf in tree.GetListOfLeaves()}
""",
        file=tmp_path / "a_pid.root",
    )
    assert answer == ROOT_TYPES
    with uproot.open(tmp_path / "a_pid.root") as file:
        read = file["T_pid"].arrays(library="np")
    for name, values in columns.items():
        np.testing.assert_array_equal(read[name], values)
        assert read[name].dtype == values.dtype


@needs_root
def test_jagged_branches_share_a_counter(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 4, 70_000)
    counts[:3] = 0
    n = int(counts.sum())
    scores, passes, index = rng.random(n, np.float32), rng.random(n) > 0.5, np.arange(n)
    jagged = {"pid_mlp": "float32", "pid_mlp_eff90": "bool", "E.row": "int32"}
    with FriendWriter(tmp_path / "j.root", "T_pid", {"event": "int64"}, jagged, "nElectron") as friend:
        for start, stop in ((0, 2), (2, 3), (3, 40_000), (40_000, 70_000)):
            first, last = counts[:start].sum(), counts[:stop].sum()
            rows = {"pid_mlp": scores, "pid_mlp_eff90": passes, "E.row": index}
            block = {name: ak.unflatten(values[first:last], counts[start:stop]) for name, values in rows.items()}
            friend.extend({"event": np.arange(start, stop), **block})
    with uproot.open(tmp_path / "j.root") as file:
        tree = file["T_pid"]
        assert tree.keys() == ["event", "nElectron", "pid_mlp", "pid_mlp_eff90", "E.row"]
        np.testing.assert_array_equal(tree["nElectron"].array(library="np"), counts)
        np.testing.assert_array_equal(ak.flatten(tree["E.row"].array()), index)
    answer = ask_root(
        """
frame = ROOT.RDataFrame("T_pid", given["file"])
columns = frame.Define("n", "(int)pid_mlp.size()").Define("kept", "Sum(pid_mlp_eff90)").Define("s", "Sum(pid_mlp)")
got = columns.AsNumpy(["event", "n", "nElectron", "kept"])
answer = [bool((got["event"] == np.arange(len(got["event"]))).all()), bool((got["n"] == got["nElectron"]).all()),
          int(got["n"].sum()), int(got["kept"].sum()), columns.Sum("s").GetValue()]
""",
        file=tmp_path / "j.root",
    )
    assert answer[:4] == [True, True, n, int(passes.sum())]
    np.testing.assert_allclose(answer[4], scores.sum(dtype=float), rtol=1e-6)


@needs_root
@pytest.mark.parametrize("blocks", [0, 1], ids=["never extended", "extended by nothing"])
def test_no_rows_make_an_empty_tree(tmp_path: Path, blocks: int) -> None:
    with FriendWriter(tmp_path / "e.root", "T_pid", {"pid_mlp": "float32"}, {"s": "float64"}, "nE") as friend:
        for _ in range(blocks):
            friend.extend({"pid_mlp": [], "s": ak.Array([[1.0]])[:0]})
    assert read_marker(tmp_path / "e.root") == {"trees": {"T_pid": 0}}
    answer = ask_root(
        """
file = ROOT.TFile.Open(given["file"])
tree = file.Get("T_pid")
frame = ROOT.RDataFrame("T_pid", given["file"])
answer = [tree.GetEntries(), [b.GetName() for b in tree.GetListOfBranches()], frame.Count().GetValue()]
""",
        file=tmp_path / "e.root",
    )
    assert answer == [0, ["pid_mlp", "nE", "s"], 0]


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.sampled_from([0, 1, 17, 4_000, 49_999, 50_000, 130_000]), max_size=6))
def test_blocks_of_any_length_become_full_baskets(lengths: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("friends") / "a.root"
    values = np.arange(sum(lengths), dtype=np.int32)
    with FriendWriter(path, "T_pid", {"v": "int32"}) as friend:
        done = 0
        for n in lengths:
            reused = values[done : done + n].copy()
            friend.extend({"v": reused})
            reused[:] = -1  # the writer must have kept its own copy
            done += n
    with uproot.open(path) as file:
        branch = file["T_pid"]["v"]
        np.testing.assert_array_equal(branch.array(library="np"), values)
        rows = np.diff([branch.basket_entry_start_stop(i)[0] for i in range(branch.num_baskets)])
        assert ((rows >= ROWS_PER_BASKET) & (rows < 2 * ROWS_PER_BASKET)).all()


def test_several_trees_in_one_file(tmp_path: Path) -> None:
    with FriendFile(tmp_path / "a.root", {"input": "a.root"}) as file:
        a, b = file.tree("A_pid", {"v": "int32"}), file.tree("B_pid", {"w": "float32"})
        for i in range(3):
            a.extend({"v": [i, i]})
            b.extend({"w": [i / 2]})
        with pytest.raises(OutputError, match="two trees would be called 'A_pid'"):
            file.tree("A_pid", {"v": "int32"})
        file.metadata["models"] = ["mlp"]
    assert read_marker(tmp_path / "a.root") == {
        "input": "a.root",
        "models": ["mlp"],
        "trees": {"A_pid": 6, "B_pid": 3},
    }
    with uproot.open(tmp_path / "a.root") as file:
        assert file["A_pid"]["v"].array().tolist() == [0, 0, 1, 1, 2, 2]
        assert file["B_pid"]["w"].array().tolist() == [0, 0.5, 1]


# --- joined in ROOT ---------------------------------------------------------------------------------------------------

# hadd is TFileMerger with a command line; not every installation of ROOT for Python brings it
MERGED = """
import subprocess
hadd = os.path.join(os.path.dirname(ROOT.__file__), "bin", "hadd")
if os.path.exists(hadd):
    done = subprocess.run([hadd, "-f", given["merged"], *given["friends"]], capture_output=True, text=True)
    answer = [done.returncode, done.stderr if "Error" in done.stderr else ""]
else:
    merger = ROOT.TFileMerger(False)
    merger.OutputFile(given["merged"], "RECREATE")
    for friend in given["friends"]: merger.AddFile(friend)
    answer = [0 if merger.Merge() else 1, ""]
"""
JOINED = """
ROOT.EnableImplicitMT(2)
inputs, friends = given["inputs"], given["friends"]
answer = {}
def agree(chain, name):
    x, run, event, score, kept = columns(chain, ["x", "run", "event", "T_pid.pid_mlp", "T_pid.pid_mlp_eff90"])
    expected = np.float32(x) * np.float32(2)
    answer[name] = [len(x), bool((score == expected).all()), bool((kept == (expected > 1)).all())]
file = ROOT.TFile.Open(inputs[0]); tree = file.Get("T"); tree.AddFriend("T_pid", friends[0])
agree(tree, "friend")
chain, beside = ROOT.TChain("T"), ROOT.TChain("T_pid")
for i, f in zip(inputs, friends): chain.Add(i); beside.Add(f)
chain.AddFriend(beside)
agree(chain, "chain")
frame = ROOT.RDataFrame(chain)
bad = frame.Filter("T_pid.pid_mlp != (float)x * 2.f || T_pid.pid_mlp_eff90 != (T_pid.pid_mlp > 1)").Count()
answer["RDataFrame, threads"] = [frame.Count().GetValue(), bad.GetValue() == 0, ROOT.GetThreadPoolSize() == 2]

whole = ROOT.TChain("T")
for i in inputs: whole.Add(i)
whole.AddFriend("T_pid", given["merged"])
agree(whole, "merged")

skim = ROOT.TFile.Open(given["skim"]); few = skim.Get("T")
merged = ROOT.TFile.Open(given["merged"]); indexed = merged.Get("T_pid"); indexed.BuildIndex("run", "event")
few.AddFriend(indexed)
agree(few, "BuildIndex")
"""


def write_input(path: Path, run: np.ndarray, event: np.ndarray, x: np.ndarray) -> None:
    with uproot.recreate(path) as file:
        file.mktree("T", {"run": "int32", "event": "int64", "x": "float64"})
        file["T"].extend({"run": run, "event": event, "x": x})


def write_friend(path: Path, run: np.ndarray, event: np.ndarray, x: np.ndarray) -> None:
    types = {"pid_mlp": "float32", "pid_mlp_eff90": "bool", "run": "int32", "event": "int64"}
    scores = np.float32(x) * np.float32(2)
    with FriendWriter(path, "T_pid", types, metadata={"input": path.stem}) as friend:
        friend.extend({"pid_mlp": scores, "pid_mlp_eff90": scores > 1, "run": run, "event": event})


@needs_root
def test_root_joins_friends_in_every_way_it_knows(tmp_path: Path) -> None:
    n = 60_000
    rng = np.random.default_rng(3)
    run, event, x = np.repeat([7, 8], n), np.tile(np.arange(n) + 2**33, 2), rng.random(2 * n)
    inputs, friends = ([tmp_path / f"{i}{end}.root" for i in (0, 1)] for end in ("", "_pid"))
    for i, (source, target) in enumerate(zip(inputs, friends, strict=True)):
        part = slice(i * n, (i + 1) * n)
        write_input(source, run[part], event[part], x[part])
        write_friend(target, run[part], event[part], x[part])
    few = rng.permutation(2 * n)[:30_000]
    write_input(tmp_path / "skim.root", run[few], event[few], x[few])
    before = [path.read_bytes() for path in inputs]
    beside = [*map(str, friends)]
    assert ask_root(MERGED, friends=beside, merged=tmp_path / "merged.root") == [0, ""]
    answer = ask_root(
        JOINED, inputs=[*map(str, inputs)], friends=beside, skim=tmp_path / "skim.root", merged=tmp_path / "merged.root"
    )
    assert answer.pop("friend") == [n, True, True]
    assert answer.pop("BuildIndex") == [30_000, True, True]
    assert set(answer) >= {"chain", "RDataFrame, threads", "merged"}
    for way, found in answer.items():
        assert found == [2 * n, True, True], way
    assert before == [path.read_bytes() for path in inputs]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (({"v": "float16"},), "branch 'v' cannot be 'float16': a TTree holds bool"),
        (({"v": "var * float32"},), "branch 'v' cannot be"),
        (({"v": "datetime64[s]"},), "branch 'v' cannot be"),
        (({},), "needs at least one branch"),
        (({"v": "int8"}, {"s": "int8"}), "jagged branches need a counter's name"),
        (({"v": "int8"}, {}, "n"), "a counter needs them"),
        (({"n": "int8"}, {"s": "int8"}, "n"), "two branches would be called 'n': rename"),
        (({"s": "int8"}, {"s": "int8"}, "n"), "two branches would be called 's'"),
    ],
)
def test_trees_that_cannot_be_are_refused(tmp_path: Path, declared: tuple[Any, ...], words: str) -> None:
    with pytest.raises(OutputError, match=words), FriendWriter(tmp_path / "a.root", "T_pid", *declared):
        pass
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"v": [1]}, "at odds: \\['w'\\]"),
        ({"v": [1], "w": [1.0], "u": [1]}, "at odds: \\['u'\\]"),
        ({"v": [1, 2], "w": [1.0]}, "equally long, not {'v': 2, 'w': 1}"),
        ({"v": [2**31], "w": [1.0]}, "branch 'v' is int32; its values do not fit"),
        ({"v": [0.5], "w": [1.0]}, "branch 'v' is int32; its values do not fit"),
        ({"v": [np.nan], "w": [1.0]}, "branch 'v' is int32; its values do not fit"),
        ({"v": [[1]], "w": [1.0]}, "its values do not fit"),
        ({"v": [1], "w": [1e300]}, "branch 'w' is float32; its values do not fit"),
        ({"v": [1], "w": ["text"]}, "branch 'w' is float32; its values are not"),
        ({"v": ak.Array([1, None]), "w": [1.0, 2.0]}, "branch 'v' is int32; its values are not"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    with (
        pytest.raises(OutputError, match=words),
        FriendWriter(tmp_path / "a.root", "T_pid", {"v": "int32", "w": "float32"}) as friend,
    ):
        friend.extend(arrays)


def test_jagged_branches_must_agree(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="'b' has other numbers of candidates"),
        FriendWriter(tmp_path / "a.root", "T_pid", {}, {"a": "int8", "b": "int8"}, "n") as friend,
    ):
        friend.extend({"a": ak.Array([[1], [2]]), "b": ak.Array([[1, 2], []])})


def test_a_score_may_be_nan_or_infinite(tmp_path: Path) -> None:
    scores = [np.nan, np.inf, -np.inf, 1e-50]
    with FriendWriter(tmp_path / "a.root", "T_pid", {"w": "float32"}) as friend:
        friend.extend({"w": np.array(scores)})
    with uproot.open(tmp_path / "a.root") as file:
        np.testing.assert_array_equal(file["T_pid"]["w"].array(library="np"), np.float32(scores))
