"""Stream: inputs through workers into friend files, a few pieces at a time, whatever happens to some of them."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path

from pidlab.apply.attach import write_attach
from pidlab.apply.inputs import look_at, pieces_of
from pidlab.apply.outputs import InputFailedError, Output, Summary, finished, friend_paths, marker_of
from pidlab.apply.scoring import EntryRange, Scorer, training_keys
from pidlab.apply.workers import WorkerPool, crew_for
from pidlab.errors import DataError, OutputError, UsageError
from pidlab.models.threads import one_thread
from pidlab.preprocess.events import input_keys
from pidlab.progress import Task, Watcher
from pidlab.read import Source
from pidlab.rootio.files import sweep
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
) -> list[Summary]:
    """Write `STEM_pid.root` for each file among `sources` below `output`, with a tree `TREE_pid` for each tree.

    Besides, `attach.C` and `attach.py` in `output` put the friends beside their inputs. An output that is there and
    was made of the same inputs by the same models is left as it is; so a call that was killed goes on where it was. An
    input that cannot be scored leaves no output, is told of in its summary, and stops no other.

    Args:
        bundle: the models.
        sources: the inputs.
        output: a folder, which is made where it is not there.
        watcher: told of progress.
        jobs: processes to score in, started by spawn; 1 for one thread of this process; None for a few threads of it.
        executor: any `concurrent.futures.Executor` whose workers see the run's folder and the inputs at the same paths.
        dask: the address of a dask scheduler, in place of `executor`.
        force: finished outputs too are made again.

    Returns:
        One summary a source, in their order.

    Raises:
        OutputError: a friend file cannot be written, or would replace an input; what was finished before stays.
        UsageError: other processes are wanted, and the bundle is of no finished run; or dask is not installed.
    """
    scorer = Scorer(bundle, training_keys(bundle))
    if bundle.recipe.loaded.config.folds and scorer.events is None:
        watcher.note("The run did not keep its events: every event is scored by the mean of the fold models.")
    caller = _Caller(scorer, force, input_keys(sources))
    caller.plan(friend_paths([s.path for s in sources], output), sources)
    n_skipped = len({s.target for s in caller.summaries.values() if s.skipped})
    if n_skipped:
        watcher.note(f"{n_skipped} of the friend files were finished already and stay; --force makes them again.")
    if caller.outputs:
        with one_thread(), crew_for(scorer, jobs, executor, dask) as crew:
            caller.score(crew, watcher)
    summaries = [caller.summaries[source] for source in sources]
    write_attach(output, [s for s in summaries if not s.failure])
    return summaries


class _Caller:
    """One call of `apply`: first every input is looked at, then pieces go out to the crew and come back in order."""

    def __init__(self, scorer: Scorer, force: bool, names: dict[Source, str]) -> None:
        self.scorer, self.force, self.names = scorer, force, names
        self.call = uuid.uuid4().hex
        self.outputs: list[Output] = []
        self.summaries: dict[Source, Summary] = {}
        self._failed: set[str] = set()

    def plan(self, targets: dict[str, Path], sources: Sequence[Source]) -> None:
        """Decide what is to be written."""
        by_path: dict[str, list[Source]] = {path: [] for path in targets}
        for source in sources:
            by_path[source.path].append(source)
        for path, own in by_path.items():
            sweep(targets[path])
            try:
                self._plan(targets[path], own)
            except (DataError, UsageError) as error:
                self._fail(own, targets[path], error)

    def _plan(self, target: Path, sources: list[Source]) -> None:
        bundle, names = self.scorer.bundle, {source: self.names[source] for source in sources}
        marker = marker_of(bundle, names, self.scorer.knows_events)
        done = [] if self.force else finished(target, sources, marker)
        self.summaries |= {s.source: s for s in done}
        if not done:
            plans = tuple(look_at(source, name, self.scorer) for source, name in names.items())
            self.outputs.append(Output(target, plans, marker))

    def _fail(self, sources: Sequence[Source], target: Path, error: DataError | UsageError) -> None:
        self._failed.add(sources[0].path)
        self.summaries |= {source: Summary(source, target, failure=str(error)) for source in sources}

    def score(self, crew: WorkerPool, watcher: Watcher) -> None:
        """Score and write all outputs, in order.

        Raises:
            OutputError: one cannot be written.
        """
        by_path = {output.plans[0].source.path: output for output in self.outputs}
        total = sum(output.n_entries for output in self.outputs)
        with watcher.task("scoring", total, "entries") as task:
            counted = _Rated(task)
            results = itertools.groupby(crew.run(self._pieces()), key=lambda result: result[0].source.path)
            for path, own in results:
                output, before = by_path[path], counted.done
                try:
                    written = output.write(self.scorer.bundle, own, counted)
                    self.summaries |= {s.source: s for s in written}
                except InputFailedError as error:
                    self._fail([plan.source for plan in output.plans], output.target, error)
                    counted.advance(output.n_entries - (counted.done - before))
                except OSError as error:
                    raise OutputError(f"{output.target}: cannot be written ({error.strerror or error})") from error

    def _pieces(self) -> Iterator[EntryRange]:
        """The pieces of all inputs, in order; those of an input that has failed are passed over."""
        for output in self.outputs:
            for plan in output.plans:
                for piece in pieces_of(plan, self.scorer, self.call):
                    if plan.source.path in self._failed:
                        break
                    yield piece


class _Rated(Task):
    """Passes progress on with events a second."""

    def __init__(self, task: Task, clock: Callable[[], float] = time.monotonic) -> None:
        self._task, self._clock = task, clock
        self._start = clock()
        self.done = 0

    def advance(self, amount: int = 1, numbers: object = None) -> None:
        """`amount` more entries are written."""
        self.done += amount
        seconds = max(self._clock() - self._start, 1e-3)
        self._task.advance(amount, {"million entries a second": self.done / seconds / 1e6})
