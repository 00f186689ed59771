"""Scoring: a piece of an input through selection, features and models, the same in a thread, a process or a cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import ModelError, PidlabError
from pidlab.models.model import Model, Scores
from pidlab.models.threads import one_thread
from pidlab.preprocess.events import branches_read, check_table
from pidlab.preprocess.features import event_keys, expression_columns, feature_matrix, values_of
from pidlab.preprocess.recipe import LocatedExpression
from pidlab.preprocess.selection import selected
from pidlab.read import Chunk, Source, Table
from pidlab.runs.bundle import Bundle, load_bundle
from pidlab.runs.scored_events import FILE, read_training_keys
from pidlab.split import Keys


@dataclass(frozen=True, slots=True)
class EntryRange:
    """Consecutive entries of one input.

    Attributes:
        name: what stands for the input in the hash of the event key.
        start, stop: the entries from `start` to before `stop`.
        call: another in each call of `apply`; an input is opened anew for each.
        chunk: the entries themselves, of a format that can only be read from its beginning; None: whoever scores reads.
        failure: why the entries could not be read; empty where they could.
    """

    source: Source
    name: str
    start: int
    stop: int
    call: str
    chunk: Chunk | None = None
    failure: str = ""

    def __str__(self) -> str:
        return f"{self.source}: entries {self.start:,} to {self.stop - 1:,}"


@dataclass(frozen=True, slots=True)
class Scored:
    """The friend's branches for one piece.

    Attributes:
        columns: branch to an array of n_rows.
        keys: the branches that identify an event, n_entries each.
        counts: (n_entries,) rows of each entry where a row is a candidate; None where it is an entry.
        n_known: selected rows of events that the run used.
        n_passed: model to the number of rows that pass its first working point.
        seconds: by stage.
    """

    columns: Mapping[str, NDArray[Any]]
    keys: Mapping[str, NDArray[Any]]
    counts: NDArray[Any] | None
    n_rows: int
    n_selected: int
    n_known: int
    n_passed: Mapping[str, int]
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Failed:
    """A piece that cannot be scored, and why."""

    reason: str


class _ChunkWatch:
    """Seconds by stage, from lap to lap."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


@dataclass(frozen=True, slots=True)
class Scorer:
    """The models of a bundle, ready for pieces of any input.

    Attributes:
        events: sorted hashes of the events whose fold model is known; None: every event is taken for such a one where
            `all_known`, otherwise none is.
    """

    bundle: Bundle
    events: Keys | None = None
    all_known: bool = False
    followed: tuple[tuple[str, LocatedExpression], ...] = field(init=False)
    branches: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        recipe = self.bundle.recipe
        flat = [d.flat for decisions in self.bundle.decisions.values() for d in decisions if d.flat]
        names = {name for each in flat for name in each.names}
        stated = dict(recipe.spectators)
        for name in sorted(names - stated.keys()):
            raise ModelError(f"a working point follows {name!r}, which is no spectator of the run; make the run again")
        followed = tuple((name, stated[name]) for name in sorted(names))
        object.__setattr__(self, "followed", followed)
        friend_branches(self.bundle, with_split=True)
        further = {branch for _, each in followed for branch in each.expression.branches}
        object.__setattr__(self, "branches", frozenset(branches_read(recipe) | further))

    @property
    def knows_events(self) -> bool:
        """Whether some events take the fold model that did not see them."""
        return bool(self.bundle.recipe.loaded.config.folds) and (self.all_known or self.events is not None)

    def check(self, table: Table) -> None:
        """See that a table has what is needed.

        Raises:
            ConfigError, UsageError: it has not.
        """
        check_table(self.bundle.recipe, table)
        self.bundle.recipe.check(table, [stated for _, stated in self.followed])

    def __call__(self, chunk: Chunk, name: str) -> Scored:
        """The friend's branches for a chunk of the input that `name` stands for."""
        recipe, watch = self.bundle.recipe, _ChunkWatch()
        kept = np.flatnonzero(selected(recipe, chunk))
        rows = chunk.take(kept)
        x, given = feature_matrix(recipe, rows), expression_columns(recipe, rows)
        event, known = self._known(rows, name)
        spectators = {name: values_of(stated, rows) for name, stated in self.followed}
        columns: dict[str, NDArray[Any]] = {"pid_selected": np.zeros(chunk.n_rows, bool)}
        columns["pid_selected"][kept] = True
        n_passed: dict[str, int] = {}
        watch.lap("select")
        for model, contender in self.bundle.models.items():
            scores = contender.scores_of(x, given, event, known)
            for branch, column in score_branches(model, contender).items():
                columns[branch] = _spread(scores[:, column], kept, chunk.n_rows)
            for number, decision in enumerate(self.bundle.decisions[model]):
                passed = decision.passed(scores[:, contender.decision_column(number)], spectators)
                columns[f"pid_{model}_{decision.name}"] = of_all = np.zeros(chunk.n_rows, bool)
                of_all[kept] = passed
                n_passed.setdefault(model, int(passed.sum()))
            watch.lap(model)
        keys = {key: chunk.entries[key] for key in recipe.event_id}
        n_known = int(known.sum()) if known is not None else len(kept) if event is not None else 0
        return Scored(columns, keys, chunk.counts, chunk.n_rows, len(kept), n_known, n_passed, watch.seconds)

    def _known(self, rows: Chunk, name: str) -> tuple[Keys | None, NDArray[np.bool_] | None]:
        """(n,) hashes of the rows' events, and (n,) which of them the run used; None where nothing depends on it."""
        if not self.knows_events:
            return None, None
        event = event_keys(self.bundle.recipe, rows, name)
        if self.events is None:
            return event, None
        if not len(self.events):
            return event, np.zeros(len(event), bool)
        place = np.minimum(np.searchsorted(self.events, event), len(self.events) - 1)
        return event, self.events[place] == event


def friend_branches(bundle: Bundle, with_split: bool) -> dict[str, np.dtype[Any]]:
    """The branches of a friend tree, besides the event key, and their types.

    Raises:
        ModelError: two of them would have one name.
    """
    branches: list[tuple[str, np.dtype[Any]]] = [("pid_selected", np.dtype(bool))]
    for name, contender in bundle.models.items():
        branches += ((branch, np.dtype(np.float32)) for branch in score_branches(name, contender))
        branches += ((f"pid_{name}_{point}", np.dtype(bool)) for point in dict.fromkeys(_points(bundle, name)))
    if with_split:
        branches.append(("pid_split", np.dtype(np.int8)))
    types = dict(branches)
    if len(types) < len(branches):
        names = [name for name, _ in branches]
        double = next(name for name in names if names.count(name) > 1)
        raise ModelError(f"two columns of this run would be called {double!r}; rename a model and make the run again")
    return types


def _points(bundle: Bundle, model: str) -> Iterator[str]:
    return (decision.name for decision in bundle.decisions[model])


def score_branches(name: str, contender: Model) -> dict[str, int]:
    """Branch name to the column of the scores that it holds; none for cuts without a score."""
    if contender.per_point_cuts:
        return {}
    classes = contender.recipe.classes
    if contender.one_sided:
        return {f"pid_{name}": contender.recipe.signal}
    return {f"pid_{name}_{c}": i for i, c in enumerate(classes)}


def _spread(scores: NDArray[np.float32], kept: NDArray[np.int64], n: int) -> Scores:
    """Scores of selected rows among all rows, NaN elsewhere."""
    result = np.full(n, np.nan, np.float32)
    result[kept] = scores
    return result


class _Desk(threading.local):
    """The input that a thread has open: pieces of one input mostly come one after another."""

    table: Table | None = None
    what: tuple[Any, ...] = ()

    def open(self, piece: EntryRange, per: Any) -> Table:
        what = (piece.call, piece.source, per)
        if self.table is None or self.what != what:
            self.clear()
            self.table, self.what = Table(piece.source, per).__enter__(), what
        return self.table

    def clear(self) -> None:
        table, self.table = self.table, None
        if table is not None:
            table.__exit__(None, None, None)


_desk = _Desk()


def score_piece(scorer: Scorer, piece: EntryRange) -> Scored | Failed:
    """Read, where the piece does not bring its entries along, and score; what is wrong with the input is an answer."""
    if piece.failure:
        return Failed(piece.failure)
    start = time.perf_counter()
    try:
        with one_thread():
            chunk = piece.chunk
            if chunk is None:
                table = _desk.open(piece, scorer.bundle.recipe.per)
                chunk = table.span(scorer.branches, piece.start, piece.stop)
            seconds = time.perf_counter() - start
            scored = scorer(chunk, piece.name)
    except PidlabError as error:
        _desk.clear()
        return Failed(str(error))
    return replace(scored, seconds={**scored.seconds, "read": seconds})


@dataclass(frozen=True, slots=True)
class ScoringRequest:
    """Which models another process is to score with: those of a run's folder, which it loads itself.

    Attributes:
        fingerprint: what the bundle must have; the folder must not have changed meanwhile.
    """

    run: str
    models: tuple[str, ...]
    fingerprint: str


@lru_cache(maxsize=2)
def scorer_of(order: ScoringRequest) -> Scorer:
    """The scorer that an order means, loaded once a process.

    Raises:
        ModelError: the folder holds another run by now.
    """
    bundle = load_bundle(Path(order.run), order.models)
    if bundle.fingerprint != order.fingerprint:
        raise ModelError(f"{order.run}: was changed while its models were being applied; apply them again")
    return Scorer(bundle, training_keys(bundle))


def score_elsewhere(order: ScoringRequest, piece: EntryRange) -> Scored | Failed:
    """`score_piece` in a process that has only the order."""
    try:
        scorer = scorer_of(order)
    except PidlabError as error:
        return Failed(str(error))
    return score_piece(scorer, piece)


def training_keys(bundle: Bundle) -> Keys | None:
    """Sorted hashes of the events that the bundle's run used; None where it has no folds or did not keep them."""
    if not bundle.recipe.loaded.config.folds or bundle.folder is None or not (bundle.folder / FILE).is_file():
        return None
    return read_training_keys(bundle.folder)
