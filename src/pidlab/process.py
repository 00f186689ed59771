"""Process: what a command or worker process sets for itself: streams, interrupts, folders and garbage collection."""

from __future__ import annotations

import atexit
import codecs
import gc
import importlib.abc
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
_ENDING = (signal.SIGTERM, signal.SIGHUP)


def collect_rarely() -> None:
    """Makes Python collect cyclic garbage rarely, and not at all when the process ends.

    Libraries and figures make millions of small objects that are never freed. Python would examine all of them
    repeatedly and once more at the end, which takes more than a second with torch, xgboost and numba loaded.
    """
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)


def wait_briefly() -> None:
    """Lets threads of GNU's OpenMP that wait for each other sleep after some microseconds, unless the user says how.

    Otherwise they spin for milliseconds, in a training of trees after each level of each tree. If another process has
    one of the cores, those that spin keep the last one from its work. 100 trees on a million candidates of 4 features,
    two threads on two cores: 9.6 s and 14.0 CPU seconds, and 15.6 s beside a busy process, in place of 9.9 s, 16.5 CPU
    seconds and 20.3 s. The variable is read when the library is loaded, by processes that this one starts too.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


class _NotForScikitLearn(importlib.abc.MetaPathFinder):
    """Lets `sklearn.utils.fixes` find no pandas; anything else does."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Returns nothing, so that other finders are asked.

        Raises:
            ModuleNotFoundError: scikit-learn asks for pandas.
        """
        if name != "pandas":
            return
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
            frame = frame.f_back
        if frame is not None and frame.f_globals.get("__name__") == "sklearn.utils.fixes":
            raise ModuleNotFoundError("pandas is left out by pidlab", name="pandas")


def import_without_pandas() -> None:
    """Keeps scikit-learn from importing pandas, which it does for a name that it never uses.

    That took a quarter of a second and 66 MB in every process. What needs pandas imports it as ever.
    """
    sys.meta_path.insert(0, _NotForScikitLearn())


_IN_ASCII = {
    "±": "+-", "–": "-", "−": "-", "…": "...", "•": "*", "→": "->", "χ": "chi", "²": "2", "σ": "sigma",
}  # fmt: skip


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Replaces characters that a stream cannot encode: those that pidlab writes by words, others by their codes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(c) or c.encode("ascii", "backslashreplace").decode() for c in wrong), error.end


codecs.register_error("pidlab.ascii", _in_ascii)


def encodable(text: str, encoding: str) -> str:
    """Returns the text with what `encoding` lacks replaced, as the streams do it, so that it can be laid out."""
    return text if text.isascii() else text.encode(encoding, "pidlab.ascii").decode(encoding)


def open_streams() -> None:
    """Makes standard input, output and error usable, even if one is closed or takes only ASCII.

    A closed one is opened on the null device: otherwise the next file that is opened would get its number, and
    libraries in C would print into it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="pidlab.ascii")


def private_folder() -> Path | None:
    """Returns a folder below the temporary folder that only this user can write; None if it cannot be made.

    Libraries load code from it, so a folder that another user made or may write to is not used.
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
    """Lets matplotlib keep its list of fonts in the private temporary folder if the home folder cannot be written.

    Otherwise it would search for fonts in every process, which takes seconds, and warn on stderr.
    """
    if "MPLCONFIGDIR" in os.environ:
        return
    try:
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "matplotlib"
        there = next(each for each in (folder, *folder.parents) if each.exists())
        usable = there.is_dir() and os.access(there, os.W_OK)
    except (OSError, RuntimeError):  # RuntimeError: neither HOME nor the user's entry names a home folder
        usable = False
    other = None if usable else private_folder()
    if other is not None:
        os.environ["MPLCONFIGDIR"] = str(other / "matplotlib")


class _Ending:
    """What the signals by which others end a command have to do with Ctrl-C."""

    came: int | None = None  # the number of the signal
    ctrl_c_is_ignored = False  # as in a job that a shell started in the background


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[type[_Ending]]:
    """Lets SIGTERM and SIGHUP in the block end the command as Ctrl-C does, so that it removes what is half-written.

    A batch system sends SIGTERM before it kills a job, and a terminal SIGHUP when it closes. A signal that is ignored,
    as `nohup` asks for, stays ignored, and so does Ctrl-C.

    Yields:
        An object whose `came` is the number of the signal that came, or None.

    Raises:
        KeyboardInterrupt: one of the signals came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield _Ending
        return
    _Ending.came, _Ending.ctrl_c_is_ignored = None, signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    before = {number: signal.signal(number, _end) for number in _ENDING if signal.getsignal(number) == signal.SIG_DFL}
    if _Ending.ctrl_c_is_ignored:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, _unless_ignored)
    try:
        yield _Ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _Ending.ctrl_c_is_ignored = False


def _end(number: int, _frame: FrameType | None) -> None:
    _Ending.came = number
    signal.raise_signal(signal.SIGINT)  # whose handler knows what must not be interrupted now


def _unless_ignored(number: int, frame: FrameType | None) -> None:
    if not _is_ignored():
        signal.default_int_handler(number, frame)


def _is_ignored() -> bool:
    return _Ending.ctrl_c_is_ignored and _Ending.came is None


@contextmanager
def every_interrupt() -> Iterator[None]:
    """Ensures that Ctrl-C in the block is never lost, and that it leaves no library partly imported.

    Python drops an exception, including KeyboardInterrupt, that is raised while an object is deleted or in a callback
    from C, and libraries in C turn it into other errors. In these cases KeyboardInterrupt is raised again a moment
    later, or instead of such an error; during an import it is raised after the import.

    Raises:
        KeyboardInterrupt: the user pressed Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread() or not callable(signal.getsignal(signal.SIGINT)):
        yield
        return
    handler, error = _InterruptHandler(home=sys._getframe(2)), None
    try:
        yield
    except Exception as raised:
        error = raised
    finally:
        came = handler.end()
    if came:
        raise KeyboardInterrupt from error
    if error is not None:
        raise error


class _InterruptHandler:
    """Handles SIGINT, and the exceptions that Python drops, until its end."""

    came = threading.Event()  # shared by nested handlers: the inner one raises the interrupt for both

    def __init__(self, home: FrameType) -> None:
        self._home = home
        self._again: list[threading.Timer] = []
        self._over = False
        self._hook, sys.unraisablehook = sys.unraisablehook, self._dropped
        self._handler = signal.signal(signal.SIGINT, self._interrupted)

    def end(self) -> bool:
        """Restores the handlers of before; returns True if there was an interrupt."""
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
        if _is_ignored():
            return
        self.came.set()
        if not self._over and self._is_importing(frame):
            self._raise_again()
        elif not self._over:
            raise KeyboardInterrupt

    def _is_importing(self, frame: FrameType | None) -> bool:
        while frame is not None and frame is not self._home:
            if frame.f_code.co_filename == _IMPORTS:
                return True
            frame = frame.f_back
        return False

    def _dropped(self, unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._raise_again()
        else:
            self._hook(unraisable)

    def _raise_again(self) -> None:
        self._again.append(threading.Timer(_AGAIN_AFTER, _interrupt_main_thread))
        self._again[-1].daemon = True
        self._again[-1].start()


def _interrupt_main_thread() -> None:
    """Sends a signal to the main thread, which, unlike `_thread.interrupt_main`, also ends a wait in C."""
    main = threading.main_thread().ident
    assert main is not None  # it has been started
    signal.pthread_kill(main, signal.SIGINT)


@contextmanager
def interrupt_later() -> Iterator[None]:
    """Defers Ctrl-C to the end of the block, for libraries that fail if their callbacks are interrupted."""
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
