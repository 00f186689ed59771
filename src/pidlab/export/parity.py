"""Parity: the events on which every export is compared with pidlab itself, and by how much the two may differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from pidlab.errors import DataError, ModelError
from pidlab.evaluate.points.flat import thresholds_at
from pidlab.preprocess.events import check_table
from pidlab.preprocess.features import expression_columns, feature_matrix, missing_values, values_of
from pidlab.preprocess.recipe import LocatedExpression
from pidlab.preprocess.selection import passes_cuts
from pidlab.read import STEP, Chunk, Source, Table
from pidlab.runs.bundle import Bundle

LIMIT = 1e-5
LIMIT_OF_LEAVES = 2e-4
"""For predictions by trees whose leaves are added in single precision, in units of the predictions' spread: with 1000
rounds 3e-6 was seen, and 5e-5 of a width whose logarithm is far from zero. Probabilities are less sensitive."""
_POOL = 5  # rows scored for each row that is kept, to find some next to the thresholds
_CHUNKS_READ = 10  # of each input, so that a large input does not take the time of a run
_NEAR_A_THRESHOLD = 20
_CHANGED_ROWS = 8  # selected rows that are changed, once for each special value
_LARGE = 1e30

Columns = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ParityEvents:
    """Rows of a run's own inputs, selected and not selected, and rows with special values.

    Attributes:
        branches: name to the (n,) or (n, m) numpy array or awkward lists of every branch that scoring reads.
        x: (n, d) features as pidlab computes them, NaN where missing.
        selected: (n,) True if the row passes the cuts of the selection.
        scores: model to its (n, k) scores of all rows, followed by the decisions of cuts without a score.
        outputs: model to its (n, m) further numbers of all rows.
        passed: model and working point to (n,) decisions, False for rows that are not selected.
        spectators: name to the (n,) values of each spectator that a flat working point follows.
        members: the branches with one value for each candidate, if a row is a candidate.
        weights: branch to the (n,) weights that make classes alike; NaN for rows that are not selected.
    """

    branches: Mapping[str, Any]
    x: NDArray[np.float32]
    selected: NDArray[np.bool_]
    scores: Mapping[str, NDArray[np.float32]]
    outputs: Mapping[str, NDArray[np.float32]]
    passed: Mapping[str, Mapping[str, NDArray[np.bool_]]]
    spectators: Mapping[str, NDArray[np.float64]]
    members: frozenset[str] = frozenset()
    weights: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.selected)


@dataclass(frozen=True, slots=True)
class Exported:
    """One file of an export.

    Attributes:
        largest_difference: of any score from pidlab's on `n_events` events; NaN if nothing could be checked.
        note: a sentence that the user must read; may be empty.
    """

    path: Path
    format: str
    models: tuple[str, ...]
    largest_difference: float
    n_events: int
    note: str = ""


def parity_events(bundle: Bundle, n: int = 20_000, sources: Sequence[Source] | None = None) -> ParityEvents:
    """Returns about `n` rows of the run's inputs (or of `sources`), and some hundreds of rows with a special value.

    The rows are evenly spaced in the inputs, with those next to each threshold added. In a special row one branch is
    NaN, infinite, zero, very large, or a code for a missing value; integers keep their type.

    Raises:
        DataError: the inputs cannot be found, or hold no rows.
    """
    pool, members = _read(bundle, _sources(bundle) if sources is None else sources, _POOL * n)
    scored = _computed(bundle, pool, members)
    size = len(scored)
    evenly_spaced = np.linspace(0, size - 1, min(n, size)).astype(np.int64)
    rows = np.unique(np.concatenate([evenly_spaced, *_near_thresholds(bundle, scored)]))
    changed = _changed_rows(pool, scored, _missing_codes(bundle))
    branches = {name: np.concatenate([column[rows], changed[name]]) for name, column in pool.items()}
    return _computed(bundle, branches, members)


def flat_spectators(bundle: Bundle) -> dict[str, LocatedExpression]:
    """Returns the expressions of the spectators that flat working points follow, and of those that were made alike."""
    names = {n for decisions in bundle.decisions.values() for d in decisions if d.flat for n in d.flat.names}
    names |= set(bundle.reweighter.match if bundle.reweighter is not None else ())
    return {name: located for name, located in bundle.recipe.spectators if name in names}


def units_of(bundle: Bundle, expected: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Returns the (m,) unit in which each column of numbers (n, m) is compared.

    It is 1 for scores of classes; for the numbers of a regression, which may be of any size, half the range of the
    central 68 %, or the size of what is constant.
    """
    units = np.ones(expected.shape[1])
    if bundle.recipe.target is None:
        return units
    for j, column in enumerate(np.asarray(expected, np.float64).T):
        known = column[np.isfinite(column)]
        if len(known):
            low, high = np.quantile(known, [0.16, 0.84])
            units[j] = (high - low) / 2 or np.abs(known).max() or 1.0
    return units


def largest_difference(what: str, found: Any, expected: Any, limit: float = LIMIT, unit: Any = 1.0) -> float:
    """Returns the largest difference of two arrays; NaN and NaN do not differ, NaN and a number differ infinitely.

    It is in units of `unit`, a number or one for each column. Numbers above that, such as distances in widths, differ
    by their ratio, since they are in single precision.

    Raises:
        ModelError: the shapes differ, or the difference is above `limit`; the message begins with `what`.
    """
    a, b = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if a.shape != b.shape:
        raise ModelError(f"{what}: gives {a.shape} numbers where pidlab gives {b.shape}; nothing was exported")
    with np.errstate(invalid="ignore"):
        difference = np.abs(a - b) / np.maximum(np.abs(b), unit)
    difference[(a == b) | (np.isnan(a) & np.isnan(b))] = 0
    difference[np.isnan(difference)] = np.inf
    worst = float(difference.max(initial=0.0))
    if worst > limit:
        place = np.unravel_index(int(np.argmax(difference)), difference.shape)
        n = int((difference > limit).any(axis=tuple(range(1, a.ndim))).sum())
        raise ModelError(
            f"{what}: differs from pidlab by {worst:.3g} (limit {limit:g}) in {n:,} of {len(a):,} events: "
            f"{a[place]:.9g} instead of {b[place]:.9g}; nothing was exported"
        )
    return worst


def _sources(bundle: Bundle) -> list[Source]:
    try:
        return list(bundle.recipe.rules())
    except DataError as error:
        raise DataError(f"{error}\nthe export is checked on events: name some with --events FILE") from error


def _read(bundle: Bundle, sources: Sequence[Source], n: int) -> tuple[Columns, frozenset[str]]:
    """Returns about `n` rows of the branches that are scored, and the branches with one value for each candidate."""
    scored = [*bundle.recipe.expressions(), *flat_spectators(bundle).values()]
    expressions = [located.expression for located in scored]
    reads = {name for each in expressions for name in each.reads}
    pieces: list[Columns] = []
    members: frozenset[str] = frozenset()
    for source in sources:
        with Table(source, bundle.recipe.per) as table:
            check_table(bundle.recipe, table)
            members = table.collection.members & reads if table.collection else frozenset()
            pieces += _pieces(table, reads, -(-n // len(sources)))
    if not pieces:
        raise DataError("the inputs hold no rows to check an export on; name others with --events FILE")
    columns = {name: np.concatenate([piece[name] for piece in pieces]) for name in sorted(pieces[0])}
    return columns or {"Entry$": np.arange(n)}, members


def _pieces(table: Table, reads: set[str], share: int) -> Iterator[Columns]:
    """Yields evenly spaced rows of the first chunks of a table, `share` in all."""
    n_chunks = min(_CHUNKS_READ, max(1, -(-table.n_entries // STEP)))
    for _, chunk in zip(range(n_chunks), table.chunks(reads), strict=False):
        wanted = min(-(-share // n_chunks), chunk.n_rows)
        if wanted:
            rows = np.linspace(0, chunk.n_rows - 1, wanted).astype(np.int64)
            names = (reads & chunk.arrays.keys()) - {"Entry$", "LocalEntry$"}
            yield {name: chunk.arrays[name][rows] for name in names}


def _computed(bundle: Bundle, branches: Columns, members: frozenset[str]) -> ParityEvents:
    """Returns the rows with everything that pidlab computes from them."""
    recipe, n = bundle.recipe, len(next(iter(branches.values())))
    arrays = {"Entry$": np.arange(n), "LocalEntry$": np.arange(n)} | branches
    chunk = Chunk(arrays, 0, n, arrays)
    x, expressions, kept = feature_matrix(recipe, chunk), expression_columns(recipe, chunk), passes_cuts(recipe, chunk)
    spectators = {name: values_of(located, chunk) for name, located in flat_spectators(bundle).items()}
    with np.errstate(over="ignore", invalid="ignore"):  # some special values are very large
        scores = {name: model.scores_of(x, expressions) for name, model in bundle.models.items()}
        outputs = {name: model.outputs_of(x) for name, model in bundle.models.items()}
    passed = {
        name: {
            d.name: kept & d.passed(scores[name][:, model.decision_column(i)], spectators)
            for i, d in enumerate(bundle.decisions[name])
        }
        for name, model in bundle.models.items()
    }
    weights: dict[str, NDArray[np.float32]] = {}
    if bundle.reweighter is not None:
        z = np.column_stack([spectators[name] for name in bundle.reweighter.match])
        for branch, group in bundle.reweighter.branches.items():
            found = bundle.reweighter.weights(group, z).astype(np.float32)
            weights[branch] = np.where(kept, found, np.float32(np.nan))
    return ParityEvents(branches, x, kept, scores, outputs, passed, spectators, members, weights)


def _near_thresholds(bundle: Bundle, events: ParityEvents) -> Iterator[NDArray[np.int64]]:
    """Yields for each decision the rows whose scores are closest to its threshold."""
    for name, decisions in bundle.decisions.items():
        for i, decision in enumerate(decisions):
            score = events.scores[name][:, bundle.models[name].decision_column(i)].astype(np.float64)
            flat = decision.flat
            threshold = decision.threshold if flat is None else thresholds_at(flat, events.spectators)
            distance = np.abs(score - threshold)
            distance[np.isnan(distance)] = np.inf
            yield np.argsort(distance, kind="stable")[:_NEAR_A_THRESHOLD]


def _missing_codes(bundle: Bundle) -> dict[str, set[float]]:
    """Returns the values of each branch that mean "missing" in a feature made from it."""
    codes: dict[str, set[float]] = {}
    for feature, located in bundle.recipe.features:
        for name in located.expression.branches:
            codes.setdefault(name, set()).update(missing_values(feature))
    return codes


def _changed_rows(pool: Columns, events: ParityEvents, codes: Mapping[str, Iterable[float]]) -> Columns:
    """Returns some rows, most of them selected, once for each branch and special value, with that value in it."""
    kept, dropped = np.flatnonzero(events.selected), np.flatnonzero(~events.selected)
    base = np.concatenate([kept[:: max(1, len(kept) // _CHANGED_ROWS)][:_CHANGED_ROWS], dropped[:2]])
    changes = [(name, v) for name, column in pool.items() for v in _special_values(column, codes.get(name, ()))]
    index = np.tile(base, len(changes))
    result: Columns = {}
    for name, column in pool.items():
        is_jagged = isinstance(column, ak.Array)
        rows = ak.to_list(column[index]) if is_jagged else column[index]
        for i, (changed, value) in enumerate(changes):
            if changed == name:
                block = slice(i * len(base), (i + 1) * len(base))
                # Of lists the first value is changed, and for zero they are empty.
                rows[block] = [[] if value == 0 else [value, *each[1:]] for each in rows[block]] if is_jagged else value
        result[name] = ak.values_astype(ak.Array(rows), _number_type(column)) if is_jagged else rows
    return result


def _special_values(column: Any, codes: Iterable[float]) -> list[Any]:
    """Returns the values of a column's type that are likely to be treated differently elsewhere."""
    kind = _number_type(column)
    if kind.kind == "f":
        return [np.nan, np.inf, -np.inf, 0.0, _LARGE, -_LARGE, *codes]
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        integers = [int(c) for c in codes if float(c).is_integer() and limits.min <= c <= limits.max]
        return [0, 1, limits.min, limits.max, *integers]
    return [False, True] if kind.kind == "b" else [""]


def _number_type(column: Any) -> np.dtype[Any]:
    numbers = ak.flatten(column[:0], axis=None) if isinstance(column, ak.Array) else None
    kind: np.dtype[Any] = column.dtype if numbers is None else np.dtype(numbers.type.content.primitive)
    return kind
