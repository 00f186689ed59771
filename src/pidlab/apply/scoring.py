"""Scoring: selection, features and models for a range of entries of an input, in a thread, a process or a cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.apply.tally import Tally, Watched, tally_of
from pidlab.errors import ModelError, PidlabError
from pidlab.models.fold import Scores
from pidlab.models.model import Model
from pidlab.models.threads import one_thread
from pidlab.preprocess.events import branches_read, check_table
from pidlab.preprocess.features import event_keys, expression_columns, feature_matrix, values_of
from pidlab.preprocess.recipe import LocatedExpression
from pidlab.preprocess.selection import cut_masks
from pidlab.read import Chunk, Source, Table
from pidlab.runs.bundle import Additions, Bundle, check_located, load_bundle
from pidlab.runs.scored_events import FILE, read_training_keys
from pidlab.sample import BoolArray, FloatArray, IntArray
from pidlab.split import Keys

Branches = dict[str, NDArray[Any]]
"""Arrays by the names of branches."""


@dataclass(frozen=True, slots=True)
class EntryRange:
    """Consecutive entries of one input.

    Attributes:
        name: what stands for the input in the hash of the event key.
        start, stop: the entries from `start` to before `stop`.
        call: differs between calls of `apply`, each of which opens an input again.
        chunk: the entries, if the format can only be read from its beginning; None if the worker reads them.
        failure: why the entries could not be read; empty if they could.
        share: the share of the events whose features are kept for the report, if there is one.
    """

    source: Source
    name: str
    start: int
    stop: int
    call: str
    chunk: Chunk | None = None
    failure: str = ""
    share: float = 1.0

    def __str__(self) -> str:
        return f"{self.source}: entries {self.start:,} to {self.stop - 1:,}"


@dataclass(frozen=True, slots=True)
class Scored:
    """The friend's branches for the rows of a chunk.

    Attributes:
        columns: branch to an array of n_rows.
        keys: the branches that identify an event, n_entries each, and what the bundle adds for each entry.
        counts: (n_entries,) rows of each entry if a row is a candidate; None if a row is an entry.
        n_known: selected rows of events that the run used; 0 if the run has no folds.
        seconds: the seconds of each stage.
        tally: what the report counts; None without a report.
    """

    columns: Branches
    keys: Branches
    counts: NDArray[Any] | None
    n_known: int
    seconds: Mapping[str, float]
    tally: Tally | None = None

    @property
    def n_rows(self) -> int:
        """The number of rows, selected or not."""
        return len(self.columns["pid_selected"])


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a range of entries cannot be scored."""

    reason: str


class _StageTimer:
    """Measures the seconds of each stage, from the end of the stage before it to its own end."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


@dataclass(frozen=True, slots=True)
class Scorer:
    """The models of a bundle, ready to score chunks of any input.

    Attributes:
        events: sorted hashes of the events that the run used; None if they are not known.
        watched: what a report counts; None without a report.
    """

    bundle: Bundle
    events: Keys | None = None
    watched: Watched | None = None
    followed: tuple[tuple[str, LocatedExpression], ...] = field(init=False)
    branches: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        recipe = self.bundle.recipe
        flat = [d.flat for decisions in self.bundle.decisions.values() for d in decisions if d.flat]
        names = {name for each in flat for name in each.names}
        names |= set(self.bundle.reweighter.match if self.bundle.reweighter is not None else ())
        stated = dict(recipe.spectators)
        for name in sorted(names - stated.keys()):
            raise ModelError(f"{name!r}, which the run needs, is none of its spectators; make the run again")
        followed = tuple((name, stated[name]) for name in sorted(names))
        object.__setattr__(self, "followed", followed)
        friend_branches(self.bundle, with_split=True)
        located = [each for _, each in followed]
        located += () if self.bundle.additions is None else self.bundle.additions.expressions
        located += [each for _, each in self.watched_spectators]
        further = {branch for each in located for branch in each.expression.reads}
        object.__setattr__(self, "branches", frozenset(branches_read(recipe) | further))

    @property
    def knows_events(self) -> bool:
        """Whether events of the run are scored, or weighted, by the fold model that did not see them."""
        return has_folds(self.bundle) and self.events is not None

    @property
    def watched_spectators(self) -> list[tuple[str, LocatedExpression]]:
        """The spectators that a report counts."""
        names = {name for name, _ in self.watched.edges} if self.watched is not None else set()
        features = {feature.name for feature, _ in self.bundle.recipe.features}
        return [(name, each) for name, each in self.bundle.recipe.spectators if name in names - features]

    def check(self, table: Table) -> None:
        """Checks that a table has all branches that are read, with usable types.

        Raises:
            ConfigError, UsageError: a branch is missing or of another type.
        """
        check_table(self.bundle.recipe, table)
        self.bundle.recipe.check(table, [located for _, located in self.followed])
        if self.bundle.additions is not None:
            check_located(table, self.bundle.additions.expressions)

    def __call__(self, chunk: Chunk, name: str) -> Scored:
        """Returns the friend's branches for a chunk; `name` stands for its input in the hash of the event key."""
        timer, columns = _StageTimer(), blank_columns(self.bundle, chunk.n_rows)
        masks = cut_masks(self.bundle.recipe, chunk)
        rows = np.flatnonzero(masks[-1])
        steps = [int(np.count_nonzero(mask)) for mask in masks]
        tallies: list[Tally] = []

        def count(taken: Chunk, x: FloatArray) -> None:
            tallies.append(self._tally(columns, taken, x, rows, steps, name))

        on_scored = None if self.watched is None else count
        n_known = self.score(columns, chunk, rows, name, timer=timer, on_scored=on_scored)
        by_entry: Branches = {}
        if self.bundle.additions is not None and chunk.counts is not None:
            by_entry = dict(self.bundle.additions.by_entry(columns, chunk.counts))
        tally = tallies[0] if tallies else None
        return Scored(columns, self.keys(chunk) | by_entry, chunk.counts, n_known, timer.seconds, tally)

    def _tally(
        self, columns: Branches, taken: Chunk, x: FloatArray, rows: IntArray, steps: list[int], name: str
    ) -> Tally:
        """Returns what the report counts of the selected rows: `taken`, with features x, and `columns` at `rows`."""
        assert self.watched is not None
        recipe, bundle = self.bundle.recipe, self.bundle
        scores = {}
        for model, _ in self.watched.scores:
            branches = score_branches(model, bundle.models[model])
            branch = next(name for name, column in branches.items() if column == recipe.signal)
            scores[model] = columns[branch][rows]
        return tally_of(
            self.watched,
            steps,
            x,
            [feature.name for feature, _ in recipe.features],
            {name: values_of(each, taken) for name, each in self.watched_spectators},
            [columns[f"pid_{model}_{point}"][rows] for model, point in self.watched.decisions],
            scores,
            event_keys(recipe, taken, name),
        )

    def keys(self, chunk: Chunk) -> Branches:
        """Returns the branches that identify an event, with one value for each entry."""
        return {key: chunk.entries[key] for key in self.bundle.recipe.event_id}

    def score(
        self,
        columns: Branches,
        chunk: Chunk,
        rows: IntArray,
        name: str,
        models: Iterable[str] | None = None,
        timer: _StageTimer | None = None,
        *,
        weights: bool = True,
        on_scored: Callable[[Chunk, FloatArray], None] | None = None,
    ) -> int:
        """Writes the scores of the selected `rows` of a chunk into `columns`, and returns how many the run has used.

        Args:
            columns: as `blank_columns` makes them for all rows of the chunk.
            chunk: with the `branches` that are read.
            rows: their indices in the chunk.
            name: stands for the input in the hash of the event key.
            models: the names of the models that score; None for all.
            timer: measures each stage.
            weights: whether the weights that make classes alike are written too.
            on_scored: is called at the end with the selected rows, (m,) of the chunk, and their features (m, d + c).
        """
        recipe, timer = self.bundle.recipe, timer or _StageTimer()
        taken = chunk.take(rows)
        x, expression_values = feature_matrix(recipe, taken), expression_columns(recipe, taken)
        event, known = self.events_of(taken, name)
        spectators = {name: values_of(located, taken) for name, located in self.followed}
        timer.end("select")
        for model in self.bundle.models if models is None else models:
            scores = self.bundle.models[model].scores_of(x, expression_values, event, known)
            outputs = self.bundle.models[model].outputs_of(x, event, known)
            fill_columns(columns, self.bundle, model, rows, scores, outputs, spectators)
            timer.end(model)
        if self.bundle.additions is not None:
            self.bundle.additions.fill(columns, taken, rows)
            timer.end("further columns")
        if weights and self.bundle.reweighter is not None:
            fill_weights(columns, self.bundle, rows, spectators, event, known)
            timer.end("weights")
        columns["pid_selected"][rows] = True
        if on_scored is not None:
            on_scored(taken, x)
            timer.end("report")
        return int(known.sum()) if known is not None and self.bundle.recipe.loaded.config.folds else 0

    def events_of(self, chunk: Chunk, name: str) -> tuple[Keys | None, BoolArray | None]:
        """Returns the hashes of the events (n,) of a chunk, and whether the run used them, if it knows its events.

        `name` stands for the input in the hash of the event key. Both are None if the run does not know them.
        """
        if not self.knows_events:
            return None, None
        event = event_keys(self.bundle.recipe, chunk, name)
        return event, self._is_known(event)

    def _is_known(self, event: Keys) -> BoolArray:
        """Returns (n,) whether the run used the events with these hashes."""
        assert self.events is not None
        if not len(self.events):
            return np.zeros(len(event), bool)
        place = np.minimum(np.searchsorted(self.events, event), len(self.events) - 1)
        return np.asarray(self.events[place] == event)


def blank_columns(bundle: Bundle, n: int) -> Branches:
    """Returns the friend's branches of n rows that are not selected: numbers are NaN, decisions false, integers -1."""
    kinds = friend_branches(bundle, with_split=False)
    blank = {"f": np.nan, "b": False, "i": -1}
    return {name: np.full(n, blank[kind.kind], kind) for name, kind in kinds.items()}


def fill_columns(
    columns: Branches,
    bundle: Bundle,
    model: str,
    rows: IntArray,
    scores: Scores,
    outputs: NDArray[np.float32],
    spectators: Mapping[str, FloatArray],
) -> None:
    """Writes scores (m, k), further numbers (m, p) and decisions of a model into `columns` at the m `rows`.

    The columns are those of `blank_columns`; `spectators` holds those that flat working points follow, (m,) each.
    """
    scored_by = bundle.models[model]
    for branch, column in score_branches(model, scored_by).items():
        columns[branch][rows] = scores[:, column]
    for j, name in enumerate(scored_by.output_names):
        columns[f"pid_{model}_{name}"][rows] = outputs[:, j]
    for number, decision in enumerate(bundle.decisions[model]):
        passed = decision.passed(scores[:, scored_by.decision_column(number)], spectators)
        columns[f"pid_{model}_{decision.name}"][rows] = passed


def fill_weights(
    columns: Branches,
    bundle: Bundle,
    rows: IntArray,
    spectators: Mapping[str, FloatArray],
    event: Keys | None,
    known: BoolArray | None,
) -> None:
    """Writes the weights that make classes alike into `columns` at the m `rows`; does nothing if the run has none.

    Args:
        columns: as `blank_columns` makes them.
        bundle: the bundle of the run.
        rows: the selected rows.
        spectators: those that were matched, (m,) each.
        event: (m,) hashes of the events; None if no row is of the run.
        known: (m,) whether a row is of the run; None if all are.
    """
    if bundle.reweighter is None:
        return
    z = np.column_stack([np.asarray(spectators[name], np.float64) for name in bundle.reweighter.match])
    for branch, group in bundle.reweighter.branches.items():
        columns[branch][rows] = bundle.reweighter.weights(group, z, event, known)


def friend_branches(bundle: Bundle, with_split: bool) -> dict[str, np.dtype[Any]]:
    """Returns the branches of a friend tree and their types, without those of the event key.

    Raises:
        ModelError: two of them would have one name.
    """
    branches: list[tuple[str, np.dtype[Any]]] = [("pid_selected", np.dtype(bool))]
    for name, model in bundle.models.items():
        points = dict.fromkeys(decision.name for decision in bundle.decisions[name])
        branches += ((branch, np.dtype(np.float32)) for branch in score_branches(name, model))
        branches += ((f"pid_{name}_{output}", np.dtype(np.float32)) for output in model.output_names)
        branches += ((f"pid_{name}_{point}", np.dtype(bool)) for point in points)
    branches += () if bundle.additions is None else bundle.additions.types.items()
    if bundle.reweighter is not None:
        branches += ((branch, np.dtype(np.float32)) for branch in bundle.reweighter.branches)
    if with_split:
        branches.append(("pid_split", np.dtype(np.int8)))
    types = dict(branches)
    if len(types) < len(branches):
        names = [name for name, _ in branches]
        double = next(name for name in names if names.count(name) > 1)
        raise ModelError(f"two columns of this run would be called {double!r}; rename a model and make the run again")
    return types


def score_branches(name: str, model: Model) -> dict[str, int]:
    """Returns for each branch the column of the scores that it holds; empty for cuts without a score."""
    if model.per_point_cuts:
        return {}
    classes = model.recipe.classes
    if model.one_sided:
        return {f"pid_{name}": model.recipe.signal}
    return {f"pid_{name}_{c}": i for i, c in enumerate(classes)}


class _OpenTable(threading.local):
    """The input that a thread keeps open, since pieces of one input mostly follow each other."""

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


_open_table = _OpenTable()


def score_piece(scorer: Scorer, piece: EntryRange) -> Scored | Failed:
    """Reads a range of entries, unless `piece` holds them, and scores them; `Failed` if the input is at fault."""
    if piece.failure:
        return Failed(piece.failure)
    start = time.perf_counter()
    try:
        with one_thread():
            chunk = piece.chunk
            if chunk is None:
                table = _open_table.open(piece, scorer.bundle.recipe.per)
                chunk = table.span(scorer.branches, piece.start, piece.stop)
            seconds = time.perf_counter() - start
            scored = scorer(chunk, piece.name)
            if scored.tally is not None:
                scored.tally.thin(piece.share)
    except PidlabError as error:
        _open_table.clear()
        return Failed(str(error))
    return replace(scored, seconds={**scored.seconds, "read": seconds})


@dataclass(frozen=True, slots=True)
class ScoringRequest:
    """The models that another process loads from the folder of a run and scores with.

    Attributes:
        fingerprint: the fingerprint of the bundle, by which a folder that has changed meanwhile is noticed.
        additions: the additions of the bundle.
        watched: what a report counts.
    """

    run: str
    models: tuple[str, ...]
    fingerprint: str
    additions: Additions | None = None
    watched: Watched | None = None


@lru_cache(maxsize=2)
def scorer_of(request: ScoringRequest) -> Scorer:
    """Returns the scorer of a request, which a process loads once.

    Raises:
        ModelError: the folder holds another run by now.
    """
    bundle = load_bundle(Path(request.run), request.models)
    bundle = bundle if request.additions is None else bundle.with_additions(request.additions)
    if bundle.fingerprint != request.fingerprint:
        raise ModelError(f"{request.run}: was changed while its models were being applied; apply them again")
    return Scorer(bundle, training_keys(bundle), request.watched)


def score_elsewhere(request: ScoringRequest, piece: EntryRange) -> Scored | Failed:
    """Does the work of `score_piece` in a process that has only the request."""
    try:
        scorer = scorer_of(request)
    except PidlabError as error:
        return Failed(str(error))
    return score_piece(scorer, piece)


def training_keys(bundle: Bundle) -> Keys | None:
    """Returns the sorted hashes of the events that the run used; None without folds, or if they were not kept."""
    if not has_folds(bundle) or bundle.folder is None or not (bundle.folder / FILE).is_file():
        return None
    return read_training_keys(bundle.folder)


def has_folds(bundle: Bundle) -> bool:
    """Returns whether events of the run are scored, or weighted, by fold models that did not see them."""
    return bool(bundle.recipe.loaded.config.folds) or bundle.reweighter is not None
