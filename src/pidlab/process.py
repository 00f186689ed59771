"""What a process that is pidlab's own, a command or a helper, sets for itself."""

from __future__ import annotations

import _thread
import atexit
import gc
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_AGAIN_AFTER = 0.05  # seconds


def collect_rarely() -> None:
    """Look for cyclic garbage seldom, and not at all when the process ends.

    Libraries and figures make millions of small objects that stay. Python looks through all of them again and again,
    and once more at the end: more than a second with torch, xgboost and numba loaded.
    """
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)


@contextmanager
def every_interrupt() -> Iterator[None]:
    """In this block Ctrl-C is never lost.

    Python drops an exception that is raised where an object is deleted, or in a callback from C, KeyboardInterrupt
    too. It is then raised again a moment later, or in place of what the library says of its callback.

    Raises:
        KeyboardInterrupt: by Ctrl-C.
    """
    before, again = sys.unraisablehook, list[threading.Timer]()

    def hook(told: Any) -> None:
        if issubclass(told.exc_type, KeyboardInterrupt):
            again.append(threading.Timer(_AGAIN_AFTER, _thread.interrupt_main))
            again[-1].daemon = True
            again[-1].start()
        else:
            before(told)

    sys.unraisablehook = hook
    try:
        yield
        if any(timer.is_alive() for timer in again):
            raise KeyboardInterrupt
    except Exception as error:
        if again:
            raise KeyboardInterrupt from error
        raise
    finally:
        sys.unraisablehook = before
        for timer in again:
            timer.cancel()


@contextmanager
def interrupt_later() -> Iterator[None]:
    """Ctrl-C in this block counts at its end: a library that is loaded by half aborts the process or stays broken."""
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


def interrupt_is_handled() -> None:
    """Let a process that an interrupt went through end by its exit code.

    Where KeyboardInterrupt has passed an `exec` of a string, as dataclasses use it while a library loads,
    `python -m` ends by the signal although it was caught. The next such `exec` makes Python forget it.
    """
    exec("")
