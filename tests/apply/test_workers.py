"""Workers: processes, any executor and a cluster give what one thread gives, and one that dies takes nothing along."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
from apply_runs import content, make_inputs, make_run
from dask_processes import schedule, work
from dying_worker import die_at

import forked
from pidlab.apply import apply
from pidlab.apply.scoring import EntryRange, Failed, Scored
from pidlab.apply.workers import WorkerPool, _Processes
from pidlab.errors import UsageError
from pidlab.models.threads import allowed_threads, one_thread
from pidlab.progress import Watcher
from pidlab.read import Source
from pidlab.runs.bundle import Bundle, load_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_run(tmp_path_factory.mktemp("workers")))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    paths = make_inputs(tmp_path_factory.mktemp("inputs"), 3, n=5_000)
    return [Source(str(path), "T") for path in paths]


@pytest.fixture(scope="module")
def expected(bundle: Bundle, inputs: list[Source], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("expected")
    apply(bundle, inputs, folder, Watcher(), jobs=1)
    return content(folder)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pidlab.apply.inputs.STEP", 1_000)


@pytest.mark.slow
def test_two_processes_give_what_one_thread_gives(
    bundle: Bundle, inputs: list[Source], expected: dict[str, str], tmp_path: Path
) -> None:
    apply(bundle, inputs, tmp_path, Watcher(), jobs=2)
    assert content(tmp_path) == expected


def test_any_executor_will_do(bundle: Bundle, inputs: list[Source], expected: dict[str, str], tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as executor:
        apply(bundle, inputs, tmp_path, Watcher(), executor=executor)
    assert content(tmp_path) == expected


def test_models_that_no_run_has_finished_cannot_go_to_other_processes(
    bundle: Bundle, inputs: list[Source], tmp_path: Path
) -> None:
    from dataclasses import replace

    with pytest.raises(UsageError, match="from the folder of a finished run"):
        apply(replace(bundle, folder=None), inputs, tmp_path, Watcher(), jobs=2)


class Slow(Executor):
    """Answers late and counts what is under way."""

    _max_workers = 2

    def __init__(self) -> None:
        self.under_way: list[Future[Any]] = []
        self.most = 0

    def submit(self, work: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(work(*arguments, **options))
        self.under_way = [f for f in self.under_way if not f.taken]  # type: ignore[attr-defined]
        self.under_way.append(future)
        future.taken = False  # type: ignore[attr-defined]
        self.most = max(self.most, len(self.under_way))
        take = future.result

        def result(timeout: float | None = None) -> Any:
            future.taken = True  # type: ignore[attr-defined]
            return take(timeout)

        future.result = result  # type: ignore[method-assign]
        return future


def test_only_a_few_pieces_are_ever_under_way(bundle: Bundle, inputs: list[Source], tmp_path: Path) -> None:
    executor = Slow()
    apply(bundle, inputs, tmp_path, Watcher(), executor=executor)
    assert executor.most == 2 + 2


def piece(number: int) -> EntryRange:
    return EntryRange(Source("x.root", "T"), "x", number, number + 1, "")


@pytest.mark.slow
@pytest.mark.parametrize(("times", "said"), [(1, "piece 4"), (9, "x.root:T: entries 4 to 4: the worker that scored")])
def test_a_worker_that_dies_takes_no_piece_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, said: str
) -> None:
    """Killed once, the piece is done by another worker; killed again, that piece alone is given up."""
    forked.fork_workers(monkeypatch)
    crew = WorkerPool(_Processes(1), partial(die_at, 4, tmp_path, times), 1, _Processes)  # type: ignore[arg-type]
    answers = list(crew.run(map(piece, range(10))))
    crew.dismiss()
    assert [p.start for p, _ in answers] == list(range(10))
    reasons = [answer.reason for _, answer in answers if isinstance(answer, Failed)]
    assert reasons[4].startswith(said)
    assert reasons[:4] + reasons[5:] == [f"piece {i}" for i in range(10) if i != 4]
    assert len(list(tmp_path.iterdir())) == min(times, 2)


def test_a_broken_executor_that_is_not_ours_fails_the_inputs_in_a_sentence(
    bundle: Bundle, inputs: list[Source], tmp_path: Path
) -> None:
    executor = ProcessPoolExecutor(1, forked.context())
    with pytest.raises(BrokenExecutor):
        executor.submit(os._exit, 1).result()
    summaries = apply(bundle, inputs, tmp_path, Watcher(), executor=executor)
    assert all("the worker that scored them died, twice" in s.failure for s in summaries)
    assert not list(tmp_path.rglob("*_pid.root"))
    executor.shutdown()


def raise_once(raised: list[int], given: EntryRange) -> Scored | Failed:
    if not raised:
        raised.append(given.start)
        raise MemoryError
    return Failed(f"piece {given.start}")


def test_a_failure_that_is_not_the_inputs_is_tried_again() -> None:
    crew = WorkerPool(ThreadPoolExecutor(1), partial(raise_once, []), 1)
    reasons = [answer.reason for _, answer in crew.run(map(piece, range(3))) if isinstance(answer, Failed)]
    crew.dismiss()
    assert reasons == ["piece 0", "piece 1", "piece 2"]


def test_threads_of_libraries_are_set_and_restored() -> None:
    import torch
    from threadpoolctl import threadpool_info

    def state() -> tuple[Any, ...]:
        return allowed_threads(), torch.get_num_threads(), *(each["num_threads"] for each in threadpool_info())

    torch.set_num_threads(3)
    before, inside, go = state(), threading.Event(), threading.Event()

    def work() -> None:
        with one_thread():
            inside.set()
            go.wait(60)

    other = threading.Thread(target=work)
    with one_thread():
        other.start()
        inside.wait()
        assert set(state()) == {1}
        go.set()
        other.join()
        assert set(state()) == {1}
    assert state() == before


@pytest.fixture
def cluster() -> Iterator[tuple[str, list[ForkServerProcess]]]:
    """A scheduler and two workers, each a process of its own."""
    pytest.importorskip("distributed")
    told, tell = forked.context().Pipe()
    scheduler = forked.forked(schedule, tell)
    address = told.recv()
    workers = [forked.forked(work, address, tell) for _ in range(2)]
    for _ in workers:
        told.recv()
    yield address, workers
    for process in [*workers, scheduler]:
        process.kill()
        process.join()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_dask_cluster_gives_what_one_thread_gives_though_a_worker_dies(
    bundle: Bundle,
    inputs: list[Source],
    expected: dict[str, str],
    tmp_path: Path,
    cluster: tuple[str, list[ForkServerProcess]],
) -> None:
    address, workers = cluster
    apply(bundle, inputs, tmp_path / "whole", Watcher(), dask=address)
    assert content(tmp_path / "whole") == expected

    def kill_soon() -> None:
        while not list(tmp_path.rglob(".*.part")):
            time.sleep(0.005)
        workers[0].kill()

    killer = threading.Thread(target=kill_soon)
    killer.start()
    apply(bundle, inputs, tmp_path / "killed", Watcher(), dask=address)
    killer.join()
    assert content(tmp_path / "killed") == expected


def test_a_scheduler_that_is_not_there_is_said_so(bundle: Bundle, inputs: list[Source], tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(UsageError, match=r"127.0.0.1:9: no scheduler answers there"),
    ):
        apply(bundle, inputs, tmp_path, Watcher(), dask="tcp://127.0.0.1:9")


def test_a_server_that_says_nothing_is_not_waited_for_without_end(
    bundle: Bundle, inputs: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("pidlab.apply.cluster.PATIENCE", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address, start = f"tcp://127.0.0.1:{silent.getsockname()[1]}", time.monotonic()
        with pytest.raises(UsageError, match="no scheduler answers there"):
            apply(bundle, inputs, tmp_path, Watcher(), dask=address)
    assert time.monotonic() - start < 20


class Deserted(Executor):
    """An executor whose only worker was killed: nothing that is submitted is ever done."""

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        return Future()


def test_a_cluster_without_workers_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pidlab.apply.cluster.PATIENCE", 1.0)
    asked: list[float] = []

    def alive() -> bool:
        """There is one for a while."""
        asked.append(time.monotonic())
        return len(asked) < 4

    crew = WorkerPool(Deserted(), lambda piece: Failed("never"), 1, alive=alive)
    with pytest.raises(UsageError, match="the cluster has had no worker for 1 s"):
        list(crew.run([EntryRange(Source("a.root", "T"), "a", 0, 5, "call")]))
    assert 1.0 < asked[-1] - asked[2] < 5.0
