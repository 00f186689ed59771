"""Stream: inputs go through workers into friend files, a few pieces at a time; one that fails stops no other."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from pidlab.apply.attach import write_attach
from pidlab.apply.inputs import pieces_of, plan_of
from pidlab.apply.outputs import InputFailedError, Output, Result, Summary, finished, friend_paths, marker_of
from pidlab.apply.scoring import EntryRange, Failed, Scorer, training_keys
from pidlab.apply.tally import Tallies
from pidlab.apply.workers import WorkerPool, worker_pool
from pidlab.atomic import sweep
from pidlab.errors import DataError, OutputError, UsageError
from pidlab.models.threads import one_thread
from pidlab.preprocess.events import input_keys
from pidlab.progress import Task, Watcher
from pidlab.read import Source
from pidlab.runs.bundle import Bundle


def apply(
    bundle: Bundle,
    sources: Sequence[Source],
    output: Path,
    watcher: Watcher,
    *,
    jobs: int | None = None,
    executor: Executor | None = None,
    dask: str = "",
    force: bool = False,
    tallies: Tallies | None = None,
) -> list[Summary]:
    """Writes `STEM_pid.root` for each file among `sources` below `output`, with a tree `TREE_pid` for each tree.

    `attach.C` and `attach.py` in `output` open inputs and friends together. An output that an earlier call made of the
    same inputs by the same models is kept, so that a call that was killed can be continued. An input that cannot be
    scored has no output, is named in its summary, and stops no other.

    Args:
        bundle: the models.
        sources: the inputs.
        output: the folder, which is made if it does not exist.
        watcher: is told of the progress.
        jobs: processes to score in, started by spawn; 1 for one thread of this process; None for a few threads of it.
        executor: any `concurrent.futures.Executor` whose workers see the run's folder and the inputs at the same paths.
        dask: the address of a dask scheduler, in place of `executor`.
        force: make finished outputs again.
        tallies: receives what a report counts; outputs that were finished are scored again for it, and stay. None
            without a report.

    Returns:
        One summary for each source, in their order.

    Raises:
        OutputError: a friend file cannot be written, or would replace an input; finished outputs stay.
        UsageError: other processes are wanted and the bundle is not of a finished run; or dask is not installed.
    """
    scorer = Scorer(bundle, training_keys(bundle), None if tallies is None else tallies.watched)
    if bundle.recipe.loaded.config.folds and scorer.events is None:
        watcher.note("The run did not keep its events: every event is scored by the mean of the fold models.")
    caller = _Caller(scorer, force, input_keys(sources), tallies)
    caller.plan(friend_paths([s.path for s in sources], output), sources)
    n_skipped = len({s.target for s in caller.summaries.values() if s.skipped})
    if n_skipped:
        again = " They are scored once more for the report." if tallies is not None else ""
        watcher.remark(
            f"{n_skipped} of the friend files were finished already and stay; --force makes them again.{again}"
        )
    if caller.outputs:
        with one_thread(), worker_pool(caller.scorer, jobs, executor, dask) as pool:
            caller.score(pool, watcher)
    summaries = [caller.summaries[source] for source in sources]
    write_attach(output, [s for s in summaries if not s.failure])
    return summaries


class _Caller:
    """One call of `apply`: opens every input, then sends pieces to the workers and writes them in order."""

    def __init__(self, scorer: Scorer, force: bool, names: dict[Source, str], tallies: Tallies | None = None) -> None:
        self.scorer, self.force, self.names, self.tallies = scorer, force, names, tallies
        self.call = uuid.uuid4().hex
        self.outputs: list[Output] = []
        self.summaries: dict[Source, Summary] = {}
        self._failed: set[str] = set()

    def plan(self, targets: dict[str, Path], sources: Sequence[Source]) -> None:
        """Finds out which outputs are to be written."""
        by_path: dict[str, list[Source]] = {path: [] for path in targets}
        for source in sources:
            by_path[source.path].append(source)
        for path, own in by_path.items():
            sweep(targets[path])
            try:
                self._plan(targets[path], own)
            except (DataError, UsageError) as error:
                self._fail(own, targets[path], error)
        lacks = frozenset(name for output in self.outputs for plan in output.plans for name in plan.lacks)
        if self.scorer.watched is not None and lacks:
            self.scorer = replace(self.scorer, watched=self.scorer.watched.without(lacks))

    def _plan(self, target: Path, sources: list[Source]) -> None:
        bundle, names = self.scorer.bundle, {source: self.names[source] for source in sources}
        marker = marker_of(bundle, names, self.scorer.knows_events)
        done = [] if self.force else finished(target, sources, marker)
        self.summaries |= {s.source: s for s in done}
        if not done or self.tallies is not None:
            plans = tuple(plan_of(source, name, self.scorer) for source, name in names.items())
            self.outputs.append(Output(target, plans, marker, tuple(done)))

    def _fail(self, sources: Sequence[Source], target: Path, error: DataError | UsageError) -> None:
        self._failed.add(sources[0].path)
        self.summaries |= {source: Summary(source, target, failure=str(error)) for source in sources}

    def score(self, pool: WorkerPool, watcher: Watcher) -> None:
        """Scores and writes all outputs, in order.

        Raises:
            OutputError: one cannot be written.
        """
        by_path = {output.plans[0].source.path: output for output in self.outputs}
        total = sum(output.n_entries for output in self.outputs)
        with watcher.task("scoring", total, "entries") as task:
            rated = _RatedTask(task)
            results = itertools.groupby(pool.run(self._pieces()), key=lambda result: result[0].source.path)
            for path, own in results:
                output, before = by_path[path], rated.done
                try:
                    written = output.write(self.scorer.bundle, self._counted(own), rated)
                    self.summaries |= {s.source: s for s in written}
                    if self.tallies is not None:
                        self.tallies.output_is_whole()
                except InputFailedError as error:
                    if self.tallies is not None:
                        self.tallies.output_failed()
                    self._fail([plan.source for plan in output.plans], output.target, error)
                    rated.advance(output.n_entries - (rated.done - before))
                except OSError as error:
                    reason = error.strerror or error
                    raise OutputError(
                        f"{output.target}: cannot be written ({reason}); choose another place with -o"
                    ) from error

    def _share(self) -> float:
        return 1.0 if self.tallies is None else self.tallies.share

    def _counted(self, results: Iterable[Result]) -> Iterator[Result]:
        """Yields the results of an output, each of which is added to the tallies when it is asked for."""
        for piece, scored in results:
            if self.tallies is not None and not isinstance(scored, Failed) and scored.tally is not None:
                self.tallies.add(scored.tally)
            yield piece, scored

    def _pieces(self) -> Iterator[EntryRange]:
        """Yields the pieces of all inputs, in order, without those of an input that has failed."""
        for output in self.outputs:
            for plan in output.plans:
                for piece in pieces_of(plan, self.scorer, self.call, self._share):
                    if plan.source.path in self._failed:
                        break
                    yield piece


class _RatedTask(Task):
    """A task that adds the rate to its progress."""

    def __init__(self, task: Task) -> None:
        self._task, self._start, self.done = task, time.monotonic(), 0

    def advance(self, amount: int = 1, numbers: object = None) -> None:
        """Counts `amount` more entries."""
        self.done += amount
        seconds = max(time.monotonic() - self._start, 1e-3)
        self._task.advance(amount, {"million entries a second": self.done / seconds / 1e6})
