"""What a process that is pidlab's own, a command or a helper, sets for itself."""

from __future__ import annotations

import _thread
import atexit
import codecs
import gc
import io
import os
import signal
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

_AGAIN_AFTER = 0.05  # seconds
_IMPORTS = "<frozen importlib._bootstrap>"


def collect_rarely() -> None:
    """Look for cyclic garbage seldom, and not at all when the process ends.

    Libraries and figures make millions of small objects that stay. Python looks through all of them again and again,
    and once more at the end: more than a second with torch, xgboost and numba loaded.
    """
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)


_IN_ASCII = {
    "±": "+-", "–": "-", "−": "-", "…": "...", "•": "*", "→": "->", "χ": "chi", "²": "2", "σ": "sigma",
}  # fmt: skip


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """What stands in place of characters that a terminal or file does not take: words for ours, codes for others."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(c) or c.encode("ascii", "backslashreplace").decode() for c in wrong), error.end


def open_streams() -> None:
    """Make standard input, output and error usable: a closed one is nowhere, one in ASCII gets words for other letters.

    Where one is closed, the next file that is opened would take its number, and libraries in C would print into it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # as long as the process
    codecs.register_error("pidlab.ascii", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="pidlab.ascii")


def private_folder() -> Path | None:
    """A folder below the temporary folder that is this user's alone; None where there is none.

    Libraries keep there what they would load as code, so a folder that another user made, or may write to, is not used.
    """
    try:
        folder = Path(tempfile.gettempdir()) / f"pidlab-{os.getuid()}"
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
    except OSError:
        return None
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if is_ours else None


def give_matplotlib_a_folder() -> None:
    """Where the home folder cannot be written, let matplotlib keep its list of fonts in the user's temporary folder.

    By itself it then looks for fonts in every process, which takes seconds, and warns on stderr.
    """
    if "MPLCONFIGDIR" in os.environ:
        return
    try:
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "matplotlib"
        there = next(each for each in (folder, *folder.parents) if each.exists())
        usable = there.is_dir() and os.access(there, os.W_OK)
    except (OSError, RuntimeError):  # RuntimeError: there is no HOME, and the user has no entry with one
        usable = False
    other = None if usable else private_folder()
    if other is not None:
        os.environ["MPLCONFIGDIR"] = str(other / "matplotlib")


@contextmanager
def every_interrupt() -> Iterator[None]:
    """In this block, a command or a part of one, Ctrl-C is never lost, and it leaves no library loaded by half.

    Python drops an exception that is raised where an object is deleted, or in a callback from C, KeyboardInterrupt
    too, and libraries in C make other errors of it. It is raised again a moment later, in place of such an error, and
    not before what is being imported is there.

    Raises:
        KeyboardInterrupt: by Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread() or not callable(signal.getsignal(signal.SIGINT)):
        yield
        return
    watch, error = _Watch(home=sys._getframe(2)), None
    try:
        yield
    except Exception as raised:
        error = raised
    finally:
        came = watch.end()
    if came:
        raise KeyboardInterrupt from error
    if error is not None:
        raise error


class _Watch:
    """Gets SIGINT and what Python drops, until its end."""

    came = threading.Event()  # of all watches: one inside another that answers it has answered it for both

    def __init__(self, home: FrameType) -> None:
        self._home = home
        self._again: list[threading.Timer] = []
        self._over = False
        self._hook, sys.unraisablehook = sys.unraisablehook, self._dropped
        self._handler = signal.signal(signal.SIGINT, self._interrupted)

    def end(self) -> bool:
        """True where there was an interrupt."""
        self._over = True
        for timer in self._again:
            timer.cancel()
            timer.join()
        sys.unraisablehook = self._hook
        signal.signal(signal.SIGINT, self._handler)
        came = self.came.is_set()
        self.came.clear()
        return came

    def _interrupted(self, _signal: int, frame: FrameType | None) -> None:
        self.came.set()
        if not self._over and self._is_importing(frame):
            self._come_again()
        elif not self._over:
            raise KeyboardInterrupt

    def _is_importing(self, frame: FrameType | None) -> bool:
        while frame is not None and frame is not self._home:
            if frame.f_code.co_filename == _IMPORTS:
                return True
            frame = frame.f_back
        return False

    def _dropped(self, told: Any) -> None:
        if issubclass(told.exc_type, KeyboardInterrupt):
            self._come_again()
        else:
            self._hook(told)

    def _come_again(self) -> None:
        self._again.append(threading.Timer(_AGAIN_AFTER, _thread.interrupt_main))
        self._again[-1].daemon = True
        self._again[-1].start()


@contextmanager
def interrupt_later() -> Iterator[None]:
    """Ctrl-C in this block counts at its end: for libraries that break where their callbacks fail."""
    before, noted = signal.getsignal(signal.SIGINT), threading.Event()
    if before is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: noted.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if noted.is_set():
            signal.raise_signal(signal.SIGINT)
