"""Workers: threads, processes or a cluster that score pieces, with a few of them under way and answers in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from queue import Empty, Queue
from typing import Any

from pidlab.apply.scoring import EntryRange, Failed, Scored, Scorer, ScoringRequest, score_elsewhere, score_piece
from pidlab.errors import PidlabError, UsageError

_MOST_THREADS = 4
"""Beyond this, threads wait for each other in Python's own part of the work; processes do not."""

_AHEAD = 2
"""Pieces under way beyond one a worker: enough to keep every worker busy while one is written."""

PATIENCE = 60.0
"""Seconds that a cluster may be without an answer or a worker."""

Work = Callable[[EntryRange], Scored | Failed]


@dataclass(slots=True)
class WorkerPool:
    """An executor, and how many pieces may be under way in it.

    Attributes:
        executor: where pieces are scored.
        work: what is done to each.
        n_workers: how many work at the same time.
        alive: whether there is a worker; None where workers are always there.
        fresh: makes another such executor, of that many workers; None where it is not ours to make.
    """

    executor: Executor
    work: Work
    n_workers: int
    fresh: Callable[[int], Executor] | None = None
    alive: Callable[[], bool] | None = None
    _spare: Executor | None = None

    def run(self, pieces: Iterable[EntryRange]) -> Iterator[tuple[EntryRange, Scored | Failed]]:
        """Each piece with its answer, in order; only as many pieces are taken as are under way or done next.

        A piece whose worker died, or failed in a way that is not the input's, is tried once more.
        """
        under_way: deque[tuple[EntryRange, Future[Scored | Failed]]] = deque()
        for piece in pieces:
            under_way.append((piece, self._submit(piece)))
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

    def _answer(self, piece: EntryRange, future: Future[Scored | Failed]) -> tuple[EntryRange, Scored | Failed]:
        try:
            return piece, self._result(future)
        except PidlabError:
            raise
        except Exception:  # whatever befell the worker, it was not told as an answer
            return piece, self._second_try(piece)

    def _second_try(self, piece: EntryRange) -> Scored | Failed:
        """Alone with a worker of its own, where that can be made: then it is to blame if that one dies too."""
        if self.fresh is not None and self._spare is None:
            self._spare = self.fresh(1)
        try:
            return self._result((self._spare or self.executor).submit(self.work, piece))
        except PidlabError:
            raise
        except BrokenExecutor:
            self._dismiss_spare()
            return Failed(f"{piece}: the worker that scored them died, twice; is there enough memory?")
        except Exception as error:
            return Failed(f"{piece}: cannot be scored, tried twice ({type(error).__name__}: {error})")

    def _result(self, future: Future[Scored | Failed]) -> Scored | Failed:
        """What a future holds, waited for as long as there are workers.

        Raises:
            UsageError: there were none for `PATIENCE`.
        """
        left = time.monotonic()
        while self.alive is not None:
            wait([future], timeout=min(5.0, PATIENCE / 4))
            if future.done():
                break
            if self.alive():
                left = time.monotonic()
            elif time.monotonic() - left > PATIENCE:
                what = f"the cluster has had no worker for {PATIENCE:g} s; start some, and give the same command again"
                raise UsageError(f"{what}: what is finished stays")
        return future.result()

    def _dismiss_spare(self) -> None:
        if self._spare is not None:
            self._spare.shutdown(wait=False, cancel_futures=True)
        self._spare = None

    def dismiss(self) -> None:
        """Let go of the workers, when those under way are done."""
        self._dismiss_spare()
        self.executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def crew_for(scorer: Scorer, jobs: int | None, executor: Executor | None, dask: str) -> Iterator[WorkerPool]:
    """Those who score: `executor` as given, a dask cluster, `jobs` processes, or threads of this process.

    Raises:
        UsageError: other processes are wanted and there is no finished run for them to load, or dask is not installed.
    """
    if executor is not None:
        n_workers = getattr(executor, "_max_workers", None) or len(os.sched_getaffinity(0))
        yield WorkerPool(executor, partial(score_elsewhere, _order(scorer)), n_workers)
    elif dask:
        with _cluster(dask) as (cluster, n_workers):
            yield WorkerPool(
                cluster.get_executor(), partial(score_elsewhere, _order(scorer)), n_workers, alive=_workers_of(cluster)
            )
    elif jobs is not None and jobs > 1:
        with _dismissed(
            WorkerPool(_processes(jobs), partial(score_elsewhere, _order(scorer)), jobs, _processes)
        ) as crew:
            yield crew
    else:
        with threads(partial(score_piece, scorer), jobs) as crew:
            yield crew


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


def _order(scorer: Scorer) -> ScoringRequest:
    if scorer.bundle.folder is None:
        raise UsageError("other processes load the models from the folder of a finished run; apply in threads, jobs=1")
    return ScoringRequest(str(scorer.bundle.folder), tuple(scorer.bundle.models), scorer.bundle.fingerprint)


def _processes(n: int) -> ProcessPoolExecutor:
    """Started by spawn: a process that is forked after xgboost or torch were used hangs."""
    return ProcessPoolExecutor(n, multiprocessing.get_context("spawn"), initializer=_begin)


def _begin() -> None:
    """A worker leaves Ctrl-C to the process that started it, and does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _cluster(address: str) -> Iterator[tuple[Any, int]]:
    try:
        from dask.distributed import Client
    except ModuleNotFoundError as error:
        raise UsageError("--dask needs dask and distributed: pip install 'pidlab[dask]'") from error
    made: Queue[Any] = Queue()

    def connect() -> None:
        try:
            made.put(Client(address, set_as_default=False))  # type: ignore[no-untyped-call]  # dask leaves it so
        except Exception as error:  # handed over to the thread that waits
            made.put(error)

    threading.Thread(target=connect, daemon=True).start()
    try:
        client = made.get(timeout=PATIENCE)  # dask itself waits for minutes where a server says nothing
    except Empty:
        client = TimeoutError(f"nothing was said for {PATIENCE:g} s")
    if isinstance(client, Exception):
        raise UsageError(f"--dask {address}: no scheduler answers there ({client}); is the address right?") from client
    with client:
        n_workers = sum(client.nthreads().values())
        if not n_workers:
            raise UsageError(f"--dask {address}: the scheduler has no workers; start some with `dask worker {address}`")
        yield client, n_workers


def _workers_of(client: Any) -> Callable[[], bool]:
    """Tells whether a cluster has a worker; it has none where its scheduler does not answer."""

    def alive() -> bool:
        try:
            return bool(client.sync(client.scheduler.identity, callback_timeout=PATIENCE / 4)["workers"])
        except Exception:  # whatever keeps it from answering
            return False

    return alive
