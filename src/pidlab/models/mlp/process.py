"""A process that trains networks, while this one trains the other models and needs no torch."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from pidlab.process import collect_rarely

if TYPE_CHECKING:
    from pathlib import Path

    from pidlab.models.base import Progress
    from pidlab.models.mlp.tasks import ClassifierTask, TrainedNetworks

_ENGINE = "pidlab.models.mlp.engine"


class ProcessEndedError(Exception):
    """The process that trains networks has ended before it answered."""


class NetworkProcess:
    """A process that imports torch when this object is made, and then does what the engine is asked.

    Half of the time that a small network takes is the import of torch, and the rest is Python too: threads would wait
    for each other. The process is not forked, because forks hang after xgboost was used, and not spawned, because that
    runs a user's main script again. It ignores Ctrl-C. It ends by `stop`, or with this process.
    """

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        words = [sys.executable, "-P", "-m", "pidlab.models.mlp.process", str(theirs.fileno())]
        silent = subprocess.DEVNULL
        self._process = subprocess.Popen(
            words, stdin=silent, stdout=silent, stderr=silent, pass_fds=[theirs.fileno()], start_new_session=True
        )
        theirs.close()
        self._lock, self._stopped = threading.Lock(), False

    def call(self, function: str, arguments: tuple[Any, ...], progress: Progress | None) -> Any:
        """Returns what a function of the engine returns, or raises what it raises.

        Raises:
            ProcessEndedError: the process has ended.
        """
        with self._lock:
            self._checked(self._connection.send, (function, arguments))
            while True:
                kind, content = self._checked(self._connection.recv)
                if kind == "done":
                    return content
                if kind == "failed":
                    raise content
                if progress is not None:
                    progress(*content)

    @staticmethod
    def _checked(exchange: Callable[..., Any], *content: Any) -> Any:
        try:
            return exchange(*content)
        except (EOFError, OSError) as error:
            raise ProcessEndedError from error

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    def stop(self) -> None:
        """Ends the process, whatever it is doing; a call that waits for it raises an error."""
        self._stopped = True
        self._process.kill()
        self._process.wait()
        with self._lock:  # a call notices that the process has ended
            self._connection.close()


_running: list[NetworkProcess] = []  # the last one trains
_of_thread = threading.local()


def network_process() -> NetworkProcess | None:
    """Returns the process that trains networks now; None if they are trained in this process."""
    return _running[-1] if _running else None


@contextmanager
def networks_apart(*, apart: bool = True) -> Iterator[None]:
    """Has networks trained by a process of their own inside this block, unless `apart` is false."""
    if not apart:
        yield
        return
    process = NetworkProcess()
    _running.append(process)
    try:
        yield
    finally:
        process.stop()
        if process in _running:
            _running.remove(process)


def networks_here() -> None:
    """Ends the process that trains networks, and lets this one train them."""
    if _running:
        _running.pop().stop()


@contextmanager
def while_waiting(around: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Surrounds each wait of this thread for the process, inside this block, by the block that `around` makes."""
    _of_thread.around = around
    try:
        yield
    finally:
        del _of_thread.around


def engine_call(function: str, *arguments: Any, progress: Progress | None = None, here: bool = False) -> Any:
    """Calls a function of the engine in the process that trains networks; in this one if there is none, or it ended.

    Args:
        function: "module:name" below `models.mlp.engine`; its last argument is `progress`.
        arguments: its other arguments.
        progress: called after each epoch.
        here: it must be this process, because the arguments are too large to be sent, or belong to it.

    Raises:
        ProcessEndedError: the process was stopped, because nobody needs what it does.
    """
    process = None if here else network_process()
    if process is not None:
        around: Callable[[], AbstractContextManager[None]] = getattr(_of_thread, "around", nullcontext)
        try:
            with around():
                return process.call(function, arguments, progress)
        except ProcessEndedError:  # it was killed, for example for its memory
            if process.stopped:
                raise
    return _function(function)(*arguments, progress)


def trained_networks(
    task: ClassifierTask, progress: Progress | None = None, checkpoint: Path | None = None
) -> list[TrainedNetworks]:
    """Trains the models of a task, in the process for networks if there is one and the data are small enough to send.

    Raises:
        ModelError: as `engine.training.train`.
    """
    here = checkpoint is not None or not task.is_small
    found: list[TrainedNetworks] = engine_call("training:train", task, checkpoint, progress=progress, here=here)
    return found


def _function(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"{_ENGINE}.{module}"), name)


def main() -> None:
    """Does what is asked on the connection whose number is the argument, until it is closed."""
    collect_rarely()
    connection = Connection(int(sys.argv[1]))
    importlib.import_module(f"{_ENGINE}.training")  # and torch, before anything is asked
    with suppress(EOFError, OSError):  # the other process has ended
        while True:
            function, arguments = connection.recv()
            try:
                answer = "done", _function(function)(*arguments, lambda *state: connection.send(("progress", state)))
            except Exception as error:  # the other process raises it
                answer = "failed", error
            connection.send(answer)


if __name__ == "__main__":
    main()
