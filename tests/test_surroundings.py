"""What a machine lacks, stops no command: a home folder, room for caches, letters beyond ASCII, open streams."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

import pidlab
from conftest import write_tree
from pidlab.compiled import compiled
from pidlab.process import private_folder

CONFIG = """
data: {files: events.root, event_id: [event]}
classes: {electron: "label == 1", pion: "label == 0"}
features: [x, y]
models: {fisher: {type: fisher}}
evaluate: {importance: false, robustness: null}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a small sample and its configuration."""
    rng = np.random.default_rng(2)
    label = rng.integers(0, 2, 2000)
    values = {"x": rng.normal(label, 1), "y": rng.normal(-label, 1), "label": label, "event": np.arange(2000)}
    write_tree(tmp_path / "events.root", values)
    (tmp_path / "a.yaml").write_text(CONFIG)
    return tmp_path


def ordinary() -> list[str]:
    """Words in front of a command that take from root what an ordinary user has not: writing where it is forbidden."""
    if os.geteuid() != 0:
        return []
    tool = shutil.which("setpriv")
    if tool is None:
        pytest.skip("root may write everywhere, and there is no setpriv that would take that away")
    return [tool, "--bounding-set=-all", "--inh-caps=-all"]


def read_only_package(folder: Path) -> Path:
    """A copy of the package without anything compiled, in which nothing can be written; what PYTHONPATH should hold."""
    source = Path(pidlab.__file__).parent
    shutil.copytree(source, folder / "pidlab", ignore=shutil.ignore_patterns("__pycache__"))
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    return folder


def writable(folder: Path) -> None:
    """Let pytest remove what was read-only."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)


@pytest.mark.slow
def test_a_run_and_an_apply_where_nothing_can_be_written_and_letters_are_ascii(place: Path) -> None:
    """As on the nodes of a batch system, or from CVMFS: the package and HOME are read-only, or there is no HOME."""
    package, home = read_only_package(place / "site"), place / "home"
    home.mkdir(mode=0o555)
    (place / "tmp").mkdir()
    bare = {"PATH": os.environ["PATH"], "PYTHONPATH": str(package), "TMPDIR": str(place / "tmp")}
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    nowhere = dict.fromkeys(("XDG_CACHE_HOME", "XDG_CONFIG_HOME"), "/nonexistent")  # of a user who may write HOME
    command = [*ordinary(), sys.executable, "-W", "error", "-m", "pidlab.cli"]
    options: dict[str, Any] = {"cwd": place, "capture_output": True, "text": True, "timeout": 300}
    try:
        words = [*command, "run", "a.yaml", "-o", "run", "-q", "--figures", "quick"]
        done = subprocess.run(words, env=bare | ascii_only | {"HOME": str(home)}, **options)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.isascii()
        assert " +- " in done.stdout
        words = [*command, "apply", "run", "events.root", "-o", "friends", "-q"]
        done = subprocess.run(words, env=bare | nowhere, **options)
        assert (done.returncode, done.stderr) == (0, "")
        assert (place / "friends" / "events_pid.root").is_file()
        assert not list(home.iterdir())
        assert not list(package.rglob("__pycache__"))
    finally:
        writable(place / "site")


def double(x: Any) -> Any:
    return 2 * x


def test_code_is_kept_in_a_folder_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that another user made or may write to is taken: what lies there is loaded as code."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = private_folder()
    assert folder is not None
    assert folder.parent == tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o770)
    assert private_folder() is None
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert private_folder() is None


def test_a_function_is_compiled_where_nothing_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    monkeypatch.setattr("numba.core.caching.FunctionCache.__init__", _no_place)
    assert compiled(nogil=True)(double)(21) == 42


def _no_place(self: Any, function: Any) -> None:
    raise RuntimeError("cannot cache function: no locator available")


def test_damaged_or_vanished_code_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.setattr("numba.core.caching.InTreeCacheLocator.from_function", lambda *_: None)
    assert compiled(nogil=True)(double)(21) == 42
    kept = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[:20])
    assert compiled(nogil=True)(double)(21) == 42
    shutil.rmtree(tmp_path / "kept")
    (tmp_path / "kept").write_text("no folder")
    assert compiled(nogil=True)(double)(21) == 42


def test_letters_that_a_stream_does_not_take_are_said_in_others() -> None:
    program = r"from pidlab.process import open_streams; open_streams(); print('0.5 \u00b1 0.1 \u2192 \u00fc \udcff')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "0.5 +- 0.1 -> \\xfc \\udcff\n", done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_stop_nothing_and_no_file_takes_their_place(place: Path, closed: str) -> None:
    line = f"{sys.executable} -m pidlab.cli init events.root -o new.yaml {closed}"
    done = subprocess.run(["bash", "-c", line], cwd=place, timeout=300, check=False, capture_output=True)
    assert done.returncode == 0
    assert "wrote" not in (place / "new.yaml").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("| true; exit ${PIPESTATUS[0]}", 0, ""),
        ("> /dev/full", 1, "pidlab: standard output cannot be written (No space"),
    ],
    ids=["no reader", "full"],
)
def test_a_run_whose_table_cannot_be_shown_is_left_behind(place: Path, end: str, code: int, said: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    line = f"{sys.executable} -m pidlab.cli run a.yaml -o run --figures none -q {end}"
    done = subprocess.run(["bash", "-c", line], cwd=place, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == bool(said)
    assert (place / "run" / "metrics.json").is_file()


def test_a_reader_that_goes_away_is_no_error_to_speak_of(place: Path) -> None:
    line = f"{sys.executable} -m pidlab.cli inspect events.root | head -1"
    done = subprocess.run(["bash", "-c", line], cwd=place, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.startswith("events.root:T: 2,000 entries")
    assert done.stderr == ""
