"""Cluster: the connection to a dask scheduler, which is never waited for without end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, Queue
from typing import Any

from pidlab.errors import PidlabError, UsageError

PATIENCE = 60.0
"""Seconds after which a cluster that does not answer, or has no worker, is given up."""

_PACKAGES = ("pidlab", "numpy", "awkward", "uproot", "scikit-learn", "xgboost", "torch", "onnxruntime", "lightgbm")
"""Packages that must be the same on the workers: arrays and models go back and forth between them."""


class ClusterError(PidlabError):
    """The workers of a cluster cannot do what was asked of them."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A dask scheduler that answers, and has a worker.

    Attributes:
        address: the address of the scheduler.
        client: the client of dask that talks to it.
    """

    address: str
    client: Any

    @property
    def n_threads(self) -> dict[str, int]:
        """Address of each worker to the number of its threads, in a fixed order."""
        return dict(sorted(self.client.nthreads().items()))

    def alive(self) -> bool:
        """Returns whether there is a worker; False if the scheduler does not answer."""
        try:
            return bool(self.client.sync(self.client.scheduler.identity, callback_timeout=PATIENCE / 4)["workers"])
        except Exception:  # whatever keeps the scheduler from answering
            return False

    def check_packages(self) -> None:
        """Checks that every worker has the packages that this process has, in the same versions.

        Raises:
            UsageError: a worker lacks one or has another; the message names the worker and all of its differences.
        """
        versions = self.client.get_versions(packages=list(_PACKAGES))
        own = _versions(versions["client"])
        for address, found in sorted(versions["workers"].items()):
            other = _versions(found)
            wrong = [_difference(name, own[name], other[name]) for name in own if own[name] != other[name]]
            if wrong:
                raise UsageError(
                    f"--dask {self.address}: the worker {address} has {'; '.join(wrong)}. Start the workers in the "
                    "environment in which this command runs"
                )

    def submit(self, work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Returns the future of `work` called with the arguments, which may be futures themselves, on some worker."""
        return self.client.submit(work, *arguments, pure=False, **options)

    def results(self, futures: Sequence[Any], done: Callable[[int], None] = lambda number: None) -> list[Any]:
        """Returns the results of all futures in their order; waits as long as there are workers.

        Args:
            futures: the futures of the client.
            done: is called with the number of each future that has ended, in the order in which they end.

        Raises:
            PidlabError: the first error that a worker raised.
            ClusterError: a task ended several workers.
            UsageError: there was no worker for `PATIENCE` seconds.
        """
        self.wait(futures, done)
        return list(self.client.gather(list(futures)))

    def wait(self, futures: Sequence[Any], done: Callable[[int], None] = lambda number: None) -> None:
        """Waits for futures, and raises as `results` does."""
        waiting = {future.key: number for number, future in enumerate(futures)}
        patience = Patience(self)
        while waiting:
            ended = self.ended([futures[number] for number in waiting.values()], min(5.0, PATIENCE / 4), patience)
            for future in ended:
                done(waiting.pop(future.key))
                raise_error(future)

    def ended(self, futures: Sequence[Any], seconds: float, patience: Patience) -> set[Any]:
        """Returns those of the futures that have ended, as soon as there is one, or after some seconds.

        A future whose worker ended after it is not among them until it is computed again; dask takes it for done.

        Raises:
            UsageError: there was no worker for `PATIENCE` seconds.
        """
        from distributed import wait

        with self.client.as_current():  # for dask's own function, which takes no client
            try:
                done = wait(futures, seconds, "FIRST_COMPLETED").done  # type: ignore[no-untyped-call]  # dask has no type
                found = {future for future in done if future.status != "lost"}
            except TimeoutError:
                found = set()
        patience.spend(known=bool(found))
        return found


class Patience:
    """The time for which a cluster has had no worker."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._last_seen = cluster, time.monotonic()

    def spend(self, *, known: bool) -> None:
        """Looks whether there is a worker, unless it is `known` that there is one.

        Raises:
            UsageError: there was none for `PATIENCE` seconds.
        """
        if known or self._cluster.alive():
            self._last_seen = time.monotonic()
        elif time.monotonic() - self._last_seen > PATIENCE:
            raise UsageError(
                f"--dask {self._cluster.address}: the cluster has had no worker for {PATIENCE:g} s; start some, and "
                "give the same command again"
            )


def raise_error(future: Any) -> None:
    """Raises the error of a future that has ended, if it has one."""
    from distributed import KilledWorker

    if future.status in ("finished", "lost"):  # lost a moment ago: dask computes it again, and waits where it is asked
        return
    if future.status != "error":
        raise ClusterError(f"the scheduler has given up a task ({future.status}); give the same command again")
    error = future.exception()
    if isinstance(error, KilledWorker):
        raise ClusterError(
            "the same task has ended several workers, one after another; is there enough memory for it? Their logs "
            "say how they ended"
        ) from error
    raise error


def _versions(found: Mapping[str, Any]) -> dict[str, str | None]:
    """Returns package to version, with Python's without its third number."""
    packages = found["packages"]
    python = ".".join(str(packages["python"]).split(".")[:2])
    return {"python": python, **{name: packages.get(name) for name in _PACKAGES}}


def _difference(name: str, own: str | None, other: str | None) -> str:
    """Returns what a worker has in place of what is here."""
    return f"{f'{name} {other}' if other else f'no {name}'} ({own or 'not installed'} here)"


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """Connects to a dask scheduler.

    Raises:
        UsageError: dask is not installed, no scheduler answers at the address, or it has no workers.
    """
    try:
        import dask
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
        client = made.get(timeout=PATIENCE)  # dask itself waits for minutes
    except Empty:
        client = TimeoutError(f"no answer for {PATIENCE:g} s")
    if isinstance(client, Exception):
        raise UsageError(f"--dask {address}: no scheduler answers there ({client}); is the address right?") from client
    # Tasks carry the models that they score with, so that they come again after a worker died; dask warns of 10 MB.
    with client, dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
        found = Cluster(address, client)
        if not found.n_threads:
            raise UsageError(f"--dask {address}: the scheduler has no workers; start some with `dask worker {address}`")
        yield found


@contextmanager
def used(address: str) -> Iterator[Cluster | None]:
    """Connects to the cluster that a command is to use, whose workers have the same packages; None without an address.

    Raises:
        UsageError: it cannot be used, see `connected` and `Cluster.check_packages`.
    """
    if not address:
        yield None
        return
    with connected(address) as found:
        found.check_packages()
        yield found
