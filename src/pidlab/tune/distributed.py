"""Trials on the workers of a cluster: each trial is a task, as many at a time as the workers have threads."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from pidlab.apply.cluster import Cluster, Patience, raise_error
from pidlab.pipeline.distributed.pieces import given
from pidlab.progress import Task
from pidlab.tune.space import Dimension
from pidlab.tune.study import Study
from pidlab.tune.trials import Bench, Outcome, suggested, trains_as_network

if TYPE_CHECKING:
    import optuna

_SECONDS_BETWEEN_LOOKS = 0.5
"""How often this process looks at what the trainings have reported."""
_ALL = 10**9


class DistributedTrials:
    """Makes trials of one study on workers, each of which gets the samples once.

    A worker reports what its training has reached; this process, which alone speaks with the database, compares it with
    the other trials, and lets the worker know if the trial is to be stopped.

    Args:
        bench: trains and evaluates the model.
        study: suggests the parameters and records the results.
        space: the values of each parameter.
        cluster: the cluster.
    """

    together = _ALL

    def __init__(self, bench: Bench, study: Study, space: Mapping[str, Dimension], cluster: Cluster) -> None:
        self._study, self._space, self._cluster = study, space, cluster
        self._is_network = trains_as_network(bench, space)
        resources = replace(bench.resources, n_jobs=bench.resources.n_jobs or 1)
        self._bench = cluster.submit(given, replace(bench, resources=resources))
        self._topic = f"pidlab-{uuid.uuid4().hex}"

    def make(self, n: int, task: Task) -> None:
        """Makes n trials, and records their results.

        Raises:
            PidlabError: the cluster has lost its workers.
        """
        reports: SimpleQueue[tuple[int, int, float]] = SimpleQueue()
        self._cluster.client.subscribe_topic(self._topic, lambda event: reports.put(event[1]))
        try:
            self._make(n, reports, task)
        finally:
            self._cluster.client.unsubscribe_topic(self._topic)

    def _make(self, n: int, reports: SimpleQueue[tuple[int, int, float]], task: Task) -> None:
        running: dict[Any, optuna.Trial] = {}
        reported: set[tuple[int, int]] = set()
        patience, begun = Patience(self._cluster), 0
        while begun < n or running:
            while begun < n and len(running) < max(1, sum(self._cluster.n_threads.values())):
                trial, parameters = self._study.ask(lambda trial: suggested(self._space, trial))
                arguments = self._bench, parameters, self._is_network, self._topic, trial.number
                running[self._cluster.submit(_made, *arguments)] = trial
                begun += 1
            ended = self._cluster.ended(list(running), _SECONDS_BETWEEN_LOOKS, patience)
            self._look(reports, {trial.number: trial for trial in running.values()}, reported)
            for future in ended:
                trial = running.pop(future)
                raise_error(future)
                self._study.record(trial, *future.result())
                task.advance()

    def _look(
        self,
        reports: SimpleQueue[tuple[int, int, float]],
        running: Mapping[int, optuna.Trial],
        reported: set[tuple[int, int]],
    ) -> None:
        """Records what trainings have reached, and stops those that lag behind."""
        from distributed import Event

        while True:
            try:
                number, step, value = reports.get_nowait()
            except Empty:
                return
            # A training that began again, because its worker ended, comes to the same steps once more.
            if number in running and (number, step) not in reported:
                reported.add((number, step))
                running[number].report(value, step)
                if running[number].should_prune():
                    Event(f"{self._topic}-{number}", self._cluster.client).set()  # type: ignore[no-untyped-call]


def _made(bench: Bench, parameters: Mapping[str, Any], is_network: bool, topic: str, number: int) -> Outcome:
    """Makes a trial on a worker."""
    from distributed import Event, get_client, get_worker

    worker = get_worker()
    stop = Event(f"{topic}-{number}", get_client())  # type: ignore[no-untyped-call]

    def lags(done: int, total: int, numbers: Mapping[str, float]) -> bool:
        if (reached := bench.reached(done, total, numbers)) is None:
            return False
        worker.log_event(topic, (number, *reached))
        return bool(stop.is_set())  # type: ignore[no-untyped-call]

    return bench.networks([parameters], [lags])[0] if is_network else bench.alone(parameters, lags)
