"""Workers: threads, processes or a cluster that score pieces of inputs; results come back in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait as wait_for_sentinels
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

from pidlab.apply import cluster
from pidlab.apply.scoring import EntryRange, Failed, Scored, Scorer, ScoringRequest, score_elsewhere, score_piece
from pidlab.errors import PidlabError, UsageError

_MOST_THREADS = 4
"""More threads than this wait for each other, since much of the work is done by the interpreter."""

_AHEAD = 2
"""Pieces under way besides one a worker: every worker is busy while a piece is written."""

_SECONDS_BETWEEN_LOOKS = 1.0
"""How often it is looked whether a process that scores has ended, while its result is waited for."""
_SECONDS_UNTIL_TOLD = 5.0
"""How long an executor may take to tell that one of its processes ended."""

Work = Callable[[EntryRange], Scored | Failed]


@dataclass(slots=True)
class WorkerPool:
    """An executor, and how many pieces may be under way in it.

    Attributes:
        executor: scores the pieces.
        work: the function that is called with each piece.
        n_workers: how many pieces are scored at the same time.
        fresh: makes another executor with a given number of workers; None if the executor is the caller's.
        alive: tells whether a cluster has a worker; None for executors that always have one.
    """

    executor: Executor
    work: Work
    n_workers: int
    fresh: Callable[[int], Executor] | None = None
    alive: Callable[[], bool] | None = None
    _spare: Executor | None = None

    def run(self, pieces: Iterable[EntryRange]) -> Iterator[tuple[EntryRange, Scored | Failed]]:
        """Yields each piece with its result, in order; pieces are taken only when a worker will soon be free.

        A piece whose worker died, or raised something else than a PidlabError, is tried once more.
        """
        under_way: deque[tuple[EntryRange, Future[Scored | Failed], Executor]] = deque()
        for piece in pieces:
            under_way.append((piece, self._submit(piece), self.executor))
            if len(under_way) >= self.n_workers + _AHEAD:
                yield self._answer(*under_way.popleft())
        while under_way:
            yield self._answer(*under_way.popleft())

    def _submit(self, piece: EntryRange) -> Future[Scored | Failed]:
        try:
            return self.executor.submit(self.work, piece)
        except BrokenExecutor as error:
            if self.fresh is not None:
                self.executor.shutdown(wait=False, cancel_futures=True)
                self.executor = self.fresh(self.n_workers)
                return self.executor.submit(self.work, piece)
            broken: Future[Scored | Failed] = Future()
            broken.set_exception(error)
            return broken

    def _answer(
        self, piece: EntryRange, future: Future[Scored | Failed], executor: Executor
    ) -> tuple[EntryRange, Scored | Failed]:
        try:
            return piece, self._result(future, executor)
        except PidlabError:
            raise
        except Exception:  # any reason for which the worker ended
            return piece, self._second_try(piece)

    def _second_try(self, piece: EntryRange) -> Scored | Failed:
        """Tries a piece again, with a worker of its own if one can be made: the piece is to blame if it dies too."""
        if self.fresh is not None and self._spare is None:
            self._spare = self.fresh(1)
        executor = self._spare or self.executor
        try:
            return self._result(executor.submit(self.work, piece), executor)
        except PidlabError:
            raise
        except BrokenExecutor:
            self._dismiss_spare()
            return Failed(f"{piece}: the worker that scored them died, twice; is there enough memory?")
        except Exception as error:
            return Failed(f"{piece}: cannot be scored, tried twice ({type(error).__name__}: {error})")

    def _result(self, future: Future[Scored | Failed], executor: Executor) -> Scored | Failed:
        """Returns the result of a future; waits as long as there are workers.

        Raises:
            BrokenProcessPool: a process of the executor ended.
            UsageError: there was no worker for `PATIENCE` seconds.
        """
        if isinstance(executor, _Processes):
            executor.wait_for(future)
        last_seen = time.monotonic()
        while self.alive is not None:
            wait([future], timeout=min(5.0, cluster.PATIENCE / 4))
            if future.done():
                break
            if self.alive():
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > cluster.PATIENCE:
                what = f"the cluster has had no worker for {cluster.PATIENCE:g} s; start some, and give"
                raise UsageError(f"{what} the same command again: what is finished stays")
        return future.result()

    def _dismiss_spare(self) -> None:
        if self._spare is not None:
            self._spare.shutdown(wait=False, cancel_futures=True)
        self._spare = None

    def dismiss(self) -> None:
        """Waits for the pieces under way, then ends the workers."""
        self._dismiss_spare()
        self.executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def worker_pool(scorer: Scorer, jobs: int | None, executor: Executor | None, dask: str) -> Iterator[WorkerPool]:
    """Workers that score: `executor`, a dask cluster, `jobs` processes, or else threads of this process.

    Raises:
        UsageError: other processes are wanted and the bundle has no folder for them to load; dask is not installed; or
            the cluster does not answer or has no workers.
    """
    if executor is not None:
        n_workers = getattr(executor, "_max_workers", None) or len(os.sched_getaffinity(0))
        yield WorkerPool(executor, partial(score_elsewhere, _request(scorer)), n_workers)
    elif dask:
        with cluster.connected(dask) as found:
            yield WorkerPool(
                found.client.get_executor(),
                partial(score_elsewhere, _request(scorer)),
                sum(found.n_threads.values()),
                alive=found.alive,
            )
    elif jobs is not None and jobs > 1:
        with _dismissed(
            WorkerPool(_Processes(jobs), partial(score_elsewhere, _request(scorer)), jobs, _Processes)
        ) as pool:
            yield pool
    else:
        with threads(partial(score_piece, scorer), jobs) as pool:
            yield pool


def threads(work: Work, n: int | None = None) -> AbstractContextManager[WorkerPool]:
    """Threads of this process that do `work`; by default as many as there are cores, up to four."""
    n = n or min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    return _dismissed(WorkerPool(ThreadPoolExecutor(n), work, n))


@contextmanager
def _dismissed(pool: WorkerPool) -> Iterator[WorkerPool]:
    try:
        yield pool
    finally:
        pool.dismiss()


def _request(scorer: Scorer) -> ScoringRequest:
    if scorer.bundle.folder is None:
        raise UsageError("other processes load the models from the folder of a finished run; apply in threads, jobs=1")
    bundle = scorer.bundle
    return ScoringRequest(
        str(bundle.folder), tuple(bundle.models), bundle.fingerprint, bundle.additions, scorer.watched
    )


class _Processes(ProcessPoolExecutor):
    """Processes started by spawn, since a process that is forked after xgboost or torch were used hangs.

    An executor of Python 3.11 may forget its futures if a piece is submitted at the moment when it learns that a
    process has ended: its thread then ends by an error of its own. So the processes are looked at here, too.
    """

    def __init__(self, n: int) -> None:
        self._context = _Context()
        self._has_ended = False
        super().__init__(n, self._context, initializer=_begin)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Gives a call to a process.

        Raises:
            BrokenProcessPool: a process has ended.
        """
        if self._has_ended:
            raise BrokenProcessPool("a process has ended")
        return super().submit(fn, *args, **kwargs)

    def wait_for(self, future: Future[Any]) -> None:
        """Waits for a future of this executor, or until it is known that the future will never end.

        Raises:
            BrokenProcessPool: a process has ended, and the executor does not tell.
        """
        while not future.done() and not self._has_ended:
            has_lost_one = self._context.has_lost_one()
            wait([future], timeout=_SECONDS_UNTIL_TOLD if has_lost_one else _SECONDS_BETWEEN_LOOKS)
            self._has_ended = has_lost_one and not future.done()
        if not future.done():
            for process in self._context.started:  # the others would be waited for when Python ends
                process.kill()
            raise BrokenProcessPool("a process has ended")


class _Context(SpawnContext):
    """Starts processes and remembers them."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[SpawnProcess] = []

    # The executor makes its processes by this name, which is a class in Python's context and a method here.
    def Process(self, *args: Any, **options: Any) -> SpawnProcess:  # type: ignore[override]  # noqa: N802
        """Returns a process that is not started yet."""
        self.started.append(SpawnProcess(*args, **options))
        return self.started[-1]

    def has_lost_one(self) -> bool:
        """Returns whether a process that was started has ended."""
        return bool(wait_for_sentinels([each.sentinel for each in self.started if each.pid is not None], timeout=0))


def _begin() -> None:
    """Lets a worker ignore Ctrl-C, which its parent handles, and ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
