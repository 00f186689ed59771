"""Parity: the events on which every export is held against pidlab itself, and how far apart the two may be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from pidlab.errors import DataError, ModelError
from pidlab.evaluate.points.flat import thresholds_at
from pidlab.expressions import Expression, evaluate, parse
from pidlab.preprocess.events import check_table
from pidlab.preprocess.features import expression_columns, feature_matrix, missing_values
from pidlab.preprocess.selection import selected
from pidlab.read import STEP, Chunk, Source, Table
from pidlab.runs.bundle import Bundle, Decision

LIMIT = 1e-5
_POOL = 5  # rows looked at for each that is kept, to find some beside the thresholds
_CHUNKS_READ = 10  # of each input, so that a large one does not take the time of a run
_NEAR_A_THRESHOLD = 20
_CHANGED_ROWS = 8
_LARGE = 1e30

Columns = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ParityEvents:
    """Rows of a run's own inputs, selected and not selected, special ones among them.

    Attributes:
        branches: every branch that scoring reads: (n,) or (n, m) numpy arrays, or awkward lists.
        x: (n, d) features as pidlab computes them, NaN where missing.
        selected: (n,) whether the row passes the selection.
        scores: model to its (n, k) scores (with the decisions of cuts without a score behind), computed for all rows.
        passed: model, then working point, to its (n,) decisions, false where the row is not selected.
        spectators: name to (n,) values, of those that a flat working point follows.
        members: the branches with one value a candidate, where a row is a candidate.
    """

    branches: Mapping[str, Any]
    x: NDArray[np.float32]
    selected: NDArray[np.bool_]
    scores: Mapping[str, NDArray[np.float32]]
    passed: Mapping[str, Mapping[str, NDArray[np.bool_]]]
    spectators: Mapping[str, NDArray[np.float64]]
    members: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.selected)


@dataclass(frozen=True, slots=True)
class Exported:
    """One file of an export.

    Attributes:
        largest_difference: of any score, against pidlab on `n_events` events; NaN where nothing could be checked.
        note: what the user must know of it, in a sentence; empty otherwise.
    """

    path: Path
    format: str
    models: tuple[str, ...]
    largest_difference: float
    n_events: int
    note: str = ""


def parity_events(bundle: Bundle, n: int = 20_000, sources: Sequence[Source] | None = None) -> ParityEvents:
    """About `n` rows of the run's inputs (or of `sources`), and some hundreds made from them that are special.

    The rows are spread over the inputs; those whose score lies next to a threshold are preferred. In the special ones
    one branch is NaN, infinite, zero, very large, or a code for "missing"; integers keep their type.

    Raises:
        DataError: the inputs are gone, or hold no rows.
    """
    pool, members = _read(bundle, _sources(bundle) if sources is None else sources, _POOL * n)
    looked_at = _computed(bundle, pool, members)
    size = len(looked_at)
    spread = np.linspace(0, size - 1, min(n, size)).astype(np.int64)
    rows = np.unique(np.concatenate([spread, *_near_thresholds(bundle, looked_at)]))
    changed = _changed_rows(pool, looked_at, _missing_codes(bundle))
    whole = {name: _joined([_take(column, rows), changed[name]]) for name, column in pool.items()}
    return _computed(bundle, whole, members)


def flat_spectators(bundle: Bundle) -> dict[str, Expression]:
    """The spectators that flat working points follow, and what they are computed from."""
    stated = dict(bundle.recipe.spectators)
    aliases = dict(bundle.recipe.loaded.config.data.aliases)
    names = dict.fromkeys(n for ds in bundle.decisions.values() for d in ds if d.flat for n in d.flat.names)
    return {name: stated[name].expression if name in stated else parse(name, aliases) for name in names}


def branches_scored(bundle: Bundle) -> list[str]:
    """The branches that scores and decisions are computed from."""
    expressions = [s.expression for s in bundle.recipe.expressions()] + list(flat_spectators(bundle).values())
    return sorted({name for expression in expressions for name in expression.branches})


def largest_difference(what: str, found: Any, expected: Any, limit: float = LIMIT) -> float:
    """The largest difference of two arrays of one shape; NaN beside NaN counts as none, beside a number as infinite.

    Raises:
        ModelError: it is above `limit`; names `what` differs.
    """
    a, b = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if a.shape != b.shape:
        raise ModelError(f"{what}: gives {a.shape} numbers where pidlab gives {b.shape}; nothing was exported")
    with np.errstate(invalid="ignore"):
        difference = np.abs(a - b)
    difference[(a == b) | (np.isnan(a) & np.isnan(b))] = 0
    difference[np.isnan(difference)] = np.inf
    worst = float(difference.max(initial=0.0))
    if worst > limit:
        place = np.unravel_index(int(np.argmax(difference)), difference.shape)
        told = f"{what}: differs from pidlab by {worst:.3g} (limit {limit:g})"
        counted = f"{int((difference > limit).any(axis=tuple(range(1, a.ndim))).sum()):,} of {len(a):,} events"
        raise ModelError(f"{told} in {counted}: {a[place]:.9g} instead of {b[place]:.9g}; nothing was exported")
    return worst


def _sources(bundle: Bundle) -> list[Source]:
    try:
        return list(bundle.recipe.rules())
    except DataError as error:
        raise DataError(f"{error}\nthe export is checked on events: name some with --events FILE") from error


def _read(bundle: Bundle, sources: Sequence[Source], n: int) -> tuple[Columns, frozenset[str]]:
    """About `n` rows of the sources, and the branches that hold one value a candidate."""
    names, share = branches_scored(bundle), -(-n // len(sources))
    pieces: list[Columns] = []
    members: frozenset[str] = frozenset()
    for source in sources:
        with Table(source, bundle.recipe.per) as table:
            check_table(bundle.recipe, table)
            members = table.collection.members & set(names) if table.collection else frozenset()
            pieces += _pieces(table, names, share)
    if not pieces:
        raise DataError("the inputs hold no rows to check an export on; name others with --events FILE")
    columns = {name: _joined([piece[name] for piece in pieces]) for name in names}
    return columns | ({} if names else {"Entry$": np.arange(n)}), members


def _pieces(table: Table, names: Sequence[str], share: int) -> Iterator[Columns]:
    """Evenly spaced rows of the first chunks of a table."""
    n_chunks = min(_CHUNKS_READ, max(1, -(-table.n_entries // STEP)))
    for _, chunk in zip(range(n_chunks), table.chunks(names), strict=False):
        wanted = min(-(-share // n_chunks), chunk.n_rows)
        if wanted:
            rows = np.linspace(0, chunk.n_rows - 1, wanted).astype(np.int64)
            yield {name: _take(chunk.arrays[name], rows) for name in names}


def _computed(bundle: Bundle, branches: Columns, members: frozenset[str]) -> ParityEvents:
    """Everything that pidlab says of rows."""
    recipe, n = bundle.recipe, len(next(iter(branches.values())))
    arrays = {"Entry$": np.arange(n), "LocalEntry$": np.arange(n)} | branches
    chunk = Chunk(arrays, 0, n, arrays)
    x, given, kept = feature_matrix(recipe, chunk), expression_columns(recipe, chunk), selected(recipe, chunk)
    spectators = {
        name: np.asarray(evaluate(expression, arrays, n), np.float64)
        for name, expression in flat_spectators(bundle).items()
    }
    with np.errstate(over="ignore", invalid="ignore"):  # very large values are among the special ones
        scores = {name: contender.scores_of(x, given) for name, contender in bundle.models.items()}
    passed = {
        name: {
            d.name: kept & d.passed(scores[name][:, contender.decision_column(i)], spectators)
            for i, d in enumerate(bundle.decisions[name])
        }
        for name, contender in bundle.models.items()
    }
    return ParityEvents(branches, x, kept, scores, passed, spectators, members)


def _near_thresholds(bundle: Bundle, events: ParityEvents) -> Iterator[NDArray[np.int64]]:
    """For each decision the rows whose scores are next to its threshold, from both sides."""
    for name, decisions in bundle.decisions.items():
        for i, decision in enumerate(decisions):
            score = events.scores[name][:, bundle.models[name].decision_column(i)].astype(np.float64)
            distance = np.abs(score - _threshold(decision, events.spectators))
            distance[np.isnan(distance)] = np.inf
            yield np.argsort(distance, kind="stable")[:_NEAR_A_THRESHOLD]


def _threshold(decision: Decision, spectators: Mapping[str, NDArray[np.float64]]) -> Any:
    return decision.threshold if decision.flat is None else thresholds_at(decision.flat, spectators)


def _missing_codes(bundle: Bundle) -> dict[str, set[float]]:
    """Branch to the values that mean "missing" in a feature made from it."""
    codes: dict[str, set[float]] = {}
    for feature, stated in bundle.recipe.features:
        for name in stated.expression.branches:
            codes.setdefault(name, set()).update(missing_values(feature))
    return codes


def _changed_rows(pool: Columns, events: ParityEvents, codes: Mapping[str, Iterable[float]]) -> Columns:
    """Some rows, most of them selected, once for each branch and special value, with this value in it."""
    kept, dropped = np.flatnonzero(events.selected), np.flatnonzero(~events.selected)
    base = np.concatenate([kept[:: max(1, len(kept) // _CHANGED_ROWS)][:_CHANGED_ROWS], dropped[:2]])
    changes = [(name, v) for name, column in pool.items() for v in _special_values(column, codes.get(name, ()))]
    index = np.tile(base, len(changes))
    rows = {name: _take(column, index) for name, column in pool.items()}
    for name, column in rows.items():
        if not isinstance(column, np.ndarray):
            rows[name] = column = ak.to_list(column)
        for i, (changed, value) in enumerate(changes):
            if changed == name:
                for row in range(i * len(base), (i + 1) * len(base)):
                    column[row] = value if isinstance(column, np.ndarray) else _list_of(column[row], value)
    return {
        name: column if isinstance(column, np.ndarray) else _like(column, pool[name]) for name, column in rows.items()
    }


def _special_values(column: Any, codes: Iterable[float]) -> list[Any]:
    """What is awkward in a column of this type."""
    kind = (
        column.dtype
        if isinstance(column, np.ndarray)
        else np.dtype(ak.flatten(column[:0], axis=None).type.content.primitive)
    )
    if kind.kind == "f":
        return [np.nan, np.inf, -np.inf, 0.0, _LARGE, -_LARGE, *codes]
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        whole = [int(c) for c in codes if float(c).is_integer() and limits.min <= c <= limits.max]
        return [0, 1, limits.min, limits.max, *whole]
    return [False, True] if kind.kind == "b" else [""]


def _list_of(values: list[Any], value: Any) -> list[Any]:
    """A list with `value` in front of its others; an empty one for zero."""
    return [] if value == 0 else [value, *values[1:]]


def _like(lists: list[Any], column: Any) -> Any:
    return ak.values_astype(ak.Array(lists), ak.flatten(column[:0], axis=None).type.content.primitive)


def _take(column: Any, rows: NDArray[np.int64]) -> Any:
    return column.take(rows, axis=0) if isinstance(column, np.ndarray) else column[rows]


def _joined(parts: Sequence[Any]) -> Any:
    return np.concatenate(parts) if all(isinstance(p, np.ndarray) for p in parts) else ak.concatenate(parts)
