"""Friends of the input: their branches stand beside its own, in training and in scoring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import uproot
from source_tables import (
    RNG,
    N,
    analysis,
    read,
)

from conftest import Run, write_tree
from pidlab.errors import DataError, UsageError
from pidlab.read import Source, Table, find_sources, with_friends


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


def test_friends_of_the_input_feed_models_and_apply(pidlab: Run, tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    for name in ("a", "b"):
        y = RNG.integers(0, 2, N)
        write_tree(tmp_path / f"{name}.root", {"y": y, "x": RNG.normal(size=N)})
        write_tree(tmp_path / f"f/{name}_pid.root", {"score": y + RNG.normal(size=N)}, tree="T_pid")
    config = {"files": "a.root", "friends": ["f/{stem}_pid.root"]}
    (tmp_path / "c.yaml").write_text(analysis(config, {"s": "y == 1", "b": "y == 0"}, ["x", "T_pid.score"]))
    done = pidlab("run", "c.yaml", "-o", "run", "--figures", "none")
    assert done.returncode == 0, done.stderr
    done = pidlab("apply", "run", "b.root", "-o", "out")
    assert done.returncode == 0, done.stderr
    with uproot.open(tmp_path / "out/b_pid.root") as file:
        assert file["T_pid"].num_entries == N
    config["friends"] = ["f/a_pid.root"]
    (tmp_path / "c.yaml").write_text(analysis(config, {"s": "y == 1", "b": "y == 0"}, ["x", "T_pid.score"]))
    assert pidlab("run", "c.yaml", "-o", "run", "--figures", "none").returncode == 0
    assert pidlab("apply", "run", "a.root", "-o", "own").returncode == 0
    done = pidlab("apply", "run", "b.root", "-o", "out2")
    assert done.returncode == 2
    assert "write {stem} for the input's name in data.friends" in done.stderr
