"""Ctrl-C reaches the command whatever was going on: where an object is deleted, or in a callback from C."""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pidlab.cli.options import Stopped, stoppable
from pidlab.process import ended_as_by_ctrl_c, every_interrupt, interrupt_later


@pytest.fixture(autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """A shell's background job, and so everything that is started in it, ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Doomed:
    """Interrupted where it is deleted."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def in_a_deletion() -> None:
    Doomed()


def in_a_callback() -> None:
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

    def compare(_a: int | None, _b: int | None) -> int:
        signal.raise_signal(signal.SIGINT)
        return 0

    two = (ctypes.c_int * 2)(1, 2)
    ctypes.CDLL(None).qsort(two, ctypes.c_size_t(2), ctypes.c_size_t(4), kind(compare))


@pytest.mark.slow
@pytest.mark.parametrize("busy", [in_a_deletion, in_a_callback])
@pytest.mark.parametrize("after", [lambda: time.sleep(20), lambda: None, lambda: int("no number")])
def test_an_interrupt_that_python_would_drop_comes_again_whatever_follows(
    busy: Callable[[], None], after: Callable[[], None]
) -> None:
    before, start = sys.unraisablehook, time.monotonic()
    with pytest.raises(KeyboardInterrupt), every_interrupt():
        (busy(), after())
    assert time.monotonic() - start < 10  # it also ends what sleeps
    time.sleep(0.2)  # in which no other one comes
    assert sys.unraisablehook is before


@pytest.mark.slow
def test_scikit_learn_is_imported_without_pandas_and_whoever_needs_pandas_has_it() -> None:
    script = """
import sys
from pidlab.process import import_without_pandas
import_without_pandas()
import pidlab.models.base
print("pandas" in sys.modules, "sklearn.utils.fixes" in sys.modules)
import pandas
print(pandas.DataFrame({"a": [1]}).shape)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False True", "(1, 1)"]


def test_an_interrupt_of_which_a_library_makes_another_error_stays_one() -> None:
    def converts() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None

    with pytest.raises(KeyboardInterrupt) as told, every_interrupt():
        converts()
    assert isinstance(told.value.__cause__, ImportError)
    with pytest.raises(ValueError, match="later"), every_interrupt():
        raise ValueError("later")  # what came before is over


@pytest.mark.slow
def test_an_interrupt_waits_until_what_is_imported_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_load.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\nis_whole = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt), every_interrupt():
        (importlib.import_module("slow_to_load"), time.sleep(20))
    assert sys.modules.pop("slow_to_load").is_whole
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_that_the_inner_of_two_blocks_has_answered_is_over() -> None:
    def answers() -> None:
        with stoppable("go on"):
            Doomed()

    with pytest.raises(Stopped, match="go on"), every_interrupt():
        answers()


def test_another_error_that_python_drops_is_told_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: told.append(dropped.exc_type))

    class Broken:
        def __del__(self) -> None:
            raise ValueError

    with every_interrupt():
        Broken()
    assert told == [ValueError]


@pytest.mark.slow
def test_an_interrupt_counts_at_the_end_of_what_it_would_break() -> None:
    done: list[bool] = []
    with pytest.raises(KeyboardInterrupt), interrupt_later():
        (signal.raise_signal(signal.SIGINT), done.append(True))
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
def test_an_interrupt_while_a_library_is_loaded_ends_in_the_exit_code_of_ctrl_c(tmp_path: Path) -> None:
    """A library makes its dataclasses by `exec`; what leaves that ends `python -m` by the signal, caught or not."""
    (tmp_path / "library.py").write_text("exec('import signal; signal.raise_signal(signal.SIGINT)')\n")
    (tmp_path / "loads.py").write_text(
        "import time\n"
        "from pidlab.cli import entry\n"
        "entry.cli.main = lambda *_, **__: (__import__('library'), time.sleep(20))\n"
        "entry.main([])\n"
    )
    done = subprocess.run([sys.executable, "-m", "loads"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stderr == "pidlab: stopped; nothing half-written was left behind\n"
    assert done.returncode == 130


ENDED = """
import signal, sys, time
from pidlab.process import ended_as_by_ctrl_c, every_interrupt, interrupt_later
try:
    with ended_as_by_ctrl_c() as ending, every_interrupt():
        signal.raise_signal(signal.SIGINT) if sys.argv[2] == "ignored" else None
        with interrupt_later():
            signal.raise_signal(getattr(signal, sys.argv[1]))
            print("to the end of the callback")
        time.sleep(20)
except KeyboardInterrupt:
    print("cleaned up after", ending.came)
print("left as before", signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
"""


@pytest.mark.slow
@pytest.mark.parametrize("ctrl_c", ["heard", "ignored"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_that_ends_is_heard_even_where_ctrl_c_is_ignored(name: str, ctrl_c: str) -> None:
    """A shell's background job ignores Ctrl-C; a batch system ends it by SIGTERM, and it has to clean up."""
    action = signal.SIG_IGN if ctrl_c == "ignored" else signal.SIG_DFL
    done = subprocess.run(
        [sys.executable, "-c", ENDED, name, ctrl_c], capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, action),
    )  # fmt: skip
    number = int(getattr(signal, name))
    assert done.stdout.splitlines() == [
        "to the end of the callback", f"cleaned up after {number}", "left as before True",
    ], done.stderr  # fmt: skip


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_as_by_ctrl_c() as ending:
            signal.raise_signal(signal.SIGHUP)
        assert ending.came is None
    finally:
        signal.signal(signal.SIGHUP, before)


COMMAND = """\
import atexit, os
from pidlab.cli import main
atexit.register(lambda: print(os.environ.get("GOMP_SPINCOUNT")))
main(["--version"])
"""


@pytest.mark.parametrize(
    ("said", "expected"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_threads_of_the_command_wait_briefly_unless_the_user_says_how_they_wait(
    said: dict[str, str], expected: str
) -> None:
    without = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    words = [sys.executable, "-c", COMMAND]
    done = subprocess.run(words, env=without | said, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == expected
