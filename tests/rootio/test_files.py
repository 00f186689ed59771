"""A friend file is whole or not there: full disks, killed processes, broken copies, places that cannot be written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot

from pidlab.errors import OutputError
from pidlab.rootio import FriendWriter, read_marker


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a_pid.root"
    with FriendWriter(path, "T_pid", {"v": "int32"}, metadata={"state": "old"}) as friend:
        friend.extend({"v": [1]})

    def interrupted() -> None:
        with FriendWriter(path, "T_pid", {"v": "int32"}, metadata={"state": "new"}) as friend:
            friend.extend({"v": np.zeros(200_000, int)})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.name for p in tmp_path.iterdir()] == ["a_pid.root"]
    assert read_marker(path) == {"state": "old", "trees": {"T_pid": 1}}


def test_an_error_of_the_input_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), FriendWriter(tmp_path / "a.root", "T_pid", {"v": "int32"}):
        (tmp_path / "missing").read_text()
    assert not any(tmp_path.iterdir())


IN_PARTS = """
import numpy as np, os, resource, signal, sys
from pathlib import Path
from pidlab.errors import OutputError
from pidlab.rootio import FriendWriter
path, how = Path(sys.argv[1]), sys.argv[2]
if how == "limit": resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    with FriendWriter(path, "T_pid", {"v": "float64"}) as friend:
        for i in range(20):
            friend.extend({"v": np.random.default_rng(i).random(50_000)})
            if how == "kill" and i == 10: os.kill(os.getpid(), signal.SIGKILL)
except OutputError as error:
    print(error)
    sys.exit(1)
"""


def run_in_parts(path: Path, how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", IN_PARTS, str(path), how]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    done = run_in_parts(tmp_path / "a_pid.root", "limit")
    assert done.returncode == 1, done.stderr
    assert f"{tmp_path}/a_pid.root: cannot be written (File too large): files this large" in done.stdout
    assert done.stderr == ""
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_a_killed_process_leaves_no_file_of_that_name(tmp_path: Path) -> None:
    path = tmp_path / "a_pid.root"
    assert run_in_parts(path, "kill").returncode == -signal.SIGKILL
    assert not path.exists()
    part = next(tmp_path.iterdir())
    assert part.suffix == ".part"
    assert read_marker(part) is None
    part.unlink()
    assert run_in_parts(path, "whole").returncode == 0
    assert read_marker(path) == {"trees": {"T_pid": 1_000_000}}


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("missing/a.root", "No such file or directory.*make the directory first"),
        ("file/a.root", "Not a directory.*a part of the path is a file"),
        ("folder", "this is a directory; give the name of a file in it"),
        ("n" * 300 + ".root", "File name too long.*choose a shorter name"),
    ],
)
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, place: str, words: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(OutputError, match=rf"{place}: cannot be written.*{words}"),
        FriendWriter(tmp_path / place, "T_pid", {"v": "int32"}),
    ):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("name", ["a:T.root", "a b*[1].root", "é#.root", "a"])
def test_odd_names_are_names(tmp_path: Path, name: str) -> None:
    with FriendWriter(tmp_path / name, "T_pid", {"v": "int32"}) as friend:
        friend.extend({"v": [1]})
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert read_marker(tmp_path / name) == {"trees": {"T_pid": 1}}


def test_no_marker_without_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    assert read_marker(path) is None
    path.write_bytes(b"")
    assert read_marker(path) is None
    path.write_bytes(b"root" + bytes(1000))
    assert read_marker(path) is None
    with uproot.recreate(path) as file:
        file["other"] = "text"
    assert read_marker(path) is None
    with FriendWriter(path, "T_pid", {"v": "float64"}) as friend:
        friend.extend({"v": np.random.default_rng(1).random(60_000)})
    whole = path.read_bytes()
    for n in (50, 300, len(whole) // 2, len(whole) - 200):
        path.write_bytes(whole[:n])
        assert read_marker(path) is None, n


def test_the_file_has_the_rights_that_the_user_asked_for(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with FriendWriter(tmp_path / "a.root", "T_pid", {"v": "int32"}):
            pass
    finally:
        os.umask(old)
    assert (tmp_path / "a.root").stat().st_mode & 0o777 == 0o640
