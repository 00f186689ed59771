"""Samples: the test events of a run as templates, and the candidates of data, counted in bins while they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.datadriven.fractions.bins import ScoreBins, counts, score_bins
from pidlab.datadriven.fractions.fit import Counts
from pidlab.errors import DataError
from pidlab.expressions import Expression, check, evaluate, parse, selects
from pidlab.measured import Array
from pidlab.preprocess.events import check_table, input_keys
from pidlab.preprocess.features import event_keys, expression_columns, feature_matrix
from pidlab.preprocess.selection import selected
from pidlab.progress import Watcher
from pidlab.read import Chunk, Source, Table
from pidlab.runs.bundle import Bundle
from pidlab.runs.scored_events import ScoredEvents
from pidlab.sample import IntArray


@dataclass(frozen=True, slots=True)
class Asked:
    """What is read of each row besides the scores, as parsed expressions; None where it was not asked for."""

    variable: Expression | None
    cut: Expression | None
    weight: Expression | None

    @classmethod
    def of(cls, bundle: Bundle, variable: str, cut: str, weight: str) -> Asked:
        """Returns the expressions, which may use the aliases of the run; a text is empty if nothing was asked.

        Raises:
            ExpressionError: a text is no expression.
        """
        aliases = dict(bundle.recipe.loaded.config.data.aliases)
        return cls(*(parse(text, aliases) if text else None for text in (variable, cut, weight)))

    @property
    def all(self) -> list[Expression]:
        """Those that were asked for."""
        return [each for each in (self.variable, self.cut, self.weight) if each is not None]


@dataclass(frozen=True, slots=True)
class Templates:
    """The templates of one model in one bin of the variable.

    Attributes:
        bins: of the scores.
        scores: class to its counts in these bins.
        decided: class to its counts by the class that it is decided to be; empty counts if not all are decided.
    """

    bins: ScoreBins
    scores: Mapping[str, Counts]
    decided: Mapping[str, Counts]


def variable_of_test(bundle: Bundle, scored: ScoredEvents, asked: Asked, name: str, watcher: Watcher) -> Array:
    """Returns the variable (n_test,) of the test events of a run, read from its inputs unless the run kept it.

    Raises:
        DataError: an input is not there any more, or has changed.
    """
    rows = scored.test
    if asked.variable is None:
        return np.zeros(len(rows))
    if name in scored.sample.spectators:
        return np.asarray(scored.sample.spectators[name], np.float64)[rows]
    file, row = scored.sample.file[rows], scored.sample.row[rows]
    result = np.full(len(rows), np.nan)
    sources = list(bundle.recipe.rules())
    with watcher.task(f"reading {name} of the run's test events", len(sources)) as task:
        for i, source in enumerate(sources):
            places = np.flatnonzero(file == i)
            places = places[np.argsort(row[places], kind="stable")]
            n_read = 0
            with Table(source, bundle.recipe.per) as table:
                _check(table, [asked.variable])
                for chunk in table.chunks(asked.variable.branches):
                    ends = np.searchsorted(row[places], [chunk.first_row, chunk.first_row + chunk.n_rows])
                    own = places[slice(*ends)]
                    values = np.asarray(evaluate(asked.variable, chunk.arrays, chunk.n_rows), np.float64)
                    result[own] = values[row[own] - chunk.first_row]
                    n_read += chunk.n_rows
            if len(places) and row[places[-1]] >= n_read:
                raise DataError(f"{source}: has fewer entries than when the run was made; make the run again")
            task.advance()
    return result


def _check(table: Table, expressions: Sequence[Expression]) -> None:
    """Checks expressions against the branches of a table.

    Raises:
        ExpressionError: they do not fit.
    """
    kinds = table.kinds({name for each in expressions for name in each.reads})
    for each in expressions:
        check(each, kinds)


def bin_of(values: Array, edges: Array) -> IntArray:
    """Returns the bin (n,) of values, from its lower edge to before its upper one; -1 outside and for NaN."""
    place = np.searchsorted(edges, values, side="right") - 1
    return np.where(np.isnan(values) | (place < 0) | (place >= len(edges) - 1), -1, place)


def templates_of(
    bundle: Bundle, scored: ScoredEvents, model: str, rows: NDArray[np.bool_], n_bins: int | None
) -> Templates:
    """Returns the templates of a model from those of the test events that `rows` (n_test,) chooses."""
    test, sample = scored.test[rows], scored.sample
    y, weight, scores = sample.y[test].astype(np.int64), sample.weight[test], scored.on_test[model][rows]
    own, decisions = bundle.models[model], bundle.decisions[model]
    threshold = next((d.threshold for d in decisions if d.flat is None), 0.5)
    bins = score_bins(
        scores,
        y,
        weight,
        sample.classes,
        sample.signal,
        column=own.decision_column(0),
        threshold=threshold,
        n_bins=n_bins,
    )
    place, decided = bins.places(scores), bins.decisions(scores)
    m, k = sum(bins.sizes.values()), len(sample.classes)
    by_score, by_decision = {}, {}
    for c, name in enumerate(sample.classes):
        own_rows = y == c
        by_score[name] = counts(place[own_rows], weight[own_rows], m)
        known = own_rows & (decided >= 0)
        by_decision[name] = counts(decided[known], weight[known], k if (decided >= 0).all() else 0)
    return Templates(bins, by_score, by_decision)


@dataclass(slots=True)
class DataCounts:
    """The candidates of data in bins of the variable and of the scores, collected chunk by chunk.

    Attributes:
        edges: of the variable.
        templates: for each model those of each bin of the variable.
        scores, decided: sums of weights and of squared weights, for each model and bin of the variable.
        n: (bins,) candidates.
        n_outside: those beyond the edges, or without a value.
    """

    edges: Array
    templates: Mapping[str, Sequence[Templates]]
    n_classes: int
    scores: dict[str, list[Counts]] = field(init=False)
    decided: dict[str, list[Counts]] = field(init=False)
    n: IntArray = field(init=False)
    n_outside: int = 0

    def __post_init__(self) -> None:
        def empty(n: int) -> Counts:
            return Counts(np.zeros(n), np.zeros(n))

        self.scores = {m: [empty(sum(t.bins.sizes.values())) for t in own] for m, own in self.templates.items()}
        self.decided = {m: [empty(self.n_classes) for _ in own] for m, own in self.templates.items()}
        self.n = np.zeros(len(self.edges) - 1, np.int64)

    def add(self, values: Array, weight: Array, scores: Mapping[str, NDArray[Any]]) -> None:
        """Counts rows by their variable (n,), weights (n,) and for each model its scores."""
        place = bin_of(values, self.edges)
        self.n_outside += int((place < 0).sum())
        for b in range(len(self.n)):
            rows = np.flatnonzero(place == b)
            self.n[b] += len(rows)
            for model, own in self.templates.items():
                bins, of_rows = own[b].bins, scores[model][rows]
                _add(self.scores[model][b], bins.places(of_rows), weight[rows])
                decided = bins.decisions(of_rows)
                known = decided >= 0
                _add(self.decided[model][b], decided[known], weight[rows][known])


def _add(total: Counts, place: IntArray, weight: Array) -> None:
    found = counts(place, weight, len(total.sumw))
    total.sumw[:] += found.sumw
    total.sumw2[:] += found.sumw2


def read_data(bundle: Bundle, sources: Sequence[Source], asked: Asked, found: DataCounts, watcher: Watcher) -> None:
    """Scores the selected candidates of data, and counts them in `found`.

    With folds, each candidate is scored by the model of one fold, which the hash of its event chooses, because the
    templates are those of fold models too: a mean over the folds would be distributed differently.

    Raises:
        ConfigError, ExpressionError: a branch is missing, or is of another type.
        DataError: an input cannot be read, or a weight is not finite.
    """
    recipe, names = bundle.recipe, input_keys(list(sources))
    own = {name for each in asked.all for name in each.reads} | set(recipe.event_id)
    branches = own | {name for located in recipe.expressions() for name in located.expression.reads}
    with watcher.task("scoring data", 0, "entries") as task:
        for source in sources:
            with Table(source, recipe.per) as table:
                check_table(recipe, table)
                _check(table, asked.all)
                for chunk in table.chunks(branches):
                    found.add(*_of_chunk(bundle, asked, chunk, source, names[source]))
                    task.advance(chunk.n_entries)


def _of_chunk(
    bundle: Bundle, asked: Asked, chunk: Chunk, source: Source, name: str
) -> tuple[Array, Array, dict[str, NDArray[Any]]]:
    """Returns the variable (n,), the weight (n,) and the scores by each model of the chosen rows of a chunk."""
    recipe = bundle.recipe
    chosen = selected(recipe, chunk)
    if asked.cut is not None:
        chosen = chosen & selects(asked.cut, chunk.arrays, chunk.n_rows)
    rows = chunk.take(np.flatnonzero(chosen))
    n = rows.n_rows

    def values(expression: Expression | None, otherwise: float) -> Array:
        if expression is None:
            return np.full(n, otherwise)
        return np.asarray(evaluate(expression, rows.arrays, n), np.float64) * np.ones(n)

    weight = values(asked.weight, 1.0)
    if len(bad := np.flatnonzero(~np.isfinite(weight))):
        raise DataError(f"{source}: the weight is {weight[bad[0]]} in entry {rows.entry[bad[0]]:,}; it must be finite")
    x, columns = feature_matrix(recipe, rows), expression_columns(recipe, rows)
    event = event_keys(recipe, rows, name) if recipe.loaded.config.folds else None
    scores = {model: own.scores_of(x, columns, event) for model, own in bundle.models.items()}
    return values(asked.variable, 0.0), weight, scores
