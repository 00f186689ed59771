"""Candidates: the masses of the selected rows of the inputs, and of some of them the features, read in chunks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pidlab.config.stated import is_pattern
from pidlab.datadriven.massfit.fit import FINE_BINS, UNBINNED_LIMIT, Binned
from pidlab.datadriven.massfit.settings import FitSettings
from pidlab.errors import DataError
from pidlab.expressions import Expression, check, evaluate, parse, selects
from pidlab.measured import Array
from pidlab.progress import Watcher
from pidlab.read import Chunk, Source, Table
from pidlab.read.inspection import matching

N_TESTED = 100_000
"""Candidates whose features are kept to test their independence of the mass, at least half as many if there are."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The expressions that are computed for each row of an input."""

    mass: Expression
    cut: Expression | None
    features: Mapping[str, Expression]

    @property
    def branches(self) -> set[str]:
        """What all expressions read."""
        expressions = [self.mass, *([self.cut] if self.cut else []), *self.features.values()]
        return {name for each in expressions for name in each.reads}

    def of(self, chunk: Chunk) -> tuple[Array, NDArray[np.bool_]]:
        """Returns the mass (n,) of each row, and (n,) true for the rows that are selected."""
        mass = np.asarray(evaluate(self.mass, chunk.arrays, chunk.n_rows), np.float64)
        every = np.ones(chunk.n_rows, bool)
        return mass, every if self.cut is None else selects(self.cut, chunk.arrays, chunk.n_rows)


def columns_of(table: Table, settings: FitSettings) -> Columns:
    """Returns the expressions of the settings for an open input, whose own aliases they may use.

    Raises:
        ExpressionError: an expression is none, or does not fit the branches.
        DataError: no branch matches a pattern of the features.
    """
    features: dict[str, Expression] = {}
    for text in settings.features:
        names = [text]
        if text not in table and is_pattern(text):
            names = matching(table.names, [text])
            if not names:
                raise DataError(f"{table.source}: no branch matches {text!r}; name the features to test")
        for name in names:
            features[name] = _checked(f"`{name}`" if name in table else name, table)
    cut = _checked(settings.cut, table) if settings.cut else None
    return Columns(_checked(settings.mass, table), cut, features)


def _checked(text: str, table: Table) -> Expression:
    expression = parse(text, table.aliases)
    check(expression, table.kinds(expression.reads))
    return expression


@dataclass(slots=True)
class Candidates:
    """What the first reading collects.

    Attributes:
        low: lower end of the range of the mass.
        high: its upper end.
        n_rows: rows of each input, in order.
        n_selected: rows that pass the cut.
        n_inside: those of them in the range.
        n_invalid: those of them whose mass is not finite.
        features: names of the features.
    """

    low: float
    high: float
    n_rows: list[int] = field(default_factory=list)
    n_selected: int = 0
    n_inside: int = 0
    n_invalid: int = 0
    features: tuple[str, ...] = ()
    _masses: list[Array] = field(default_factory=list)
    _counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(FINE_BINS, np.int64))
    _tested: list[Array] = field(default_factory=list)
    _n_tested: int = 0
    _stride: int = 1

    @property
    def data(self) -> Array | Binned:
        """The masses (n,) in the range, or their histogram in fine bins if there are too many to fit one by one."""
        if self.n_inside <= UNBINNED_LIMIT:
            return np.concatenate([np.zeros(0), *self._masses])
        return Binned(np.linspace(self.low, self.high, FINE_BINS + 1), self._counts.astype(np.float64))

    @property
    def tested(self) -> tuple[Array, dict[str, Array]]:
        """The mass (n,) and the features (n,) of the candidates that are kept for the tests."""
        table = np.concatenate([np.zeros((0, 1 + len(self.features))), *self._tested])
        return table[:, 0], {name: table[:, i + 1] for i, name in enumerate(self.features)}

    def add(self, columns: Columns, chunk: Chunk) -> None:
        """Adds the rows of a chunk."""
        mass, passed = columns.of(chunk)
        self.n_selected += int(passed.sum())
        self.n_invalid += int((passed & ~np.isfinite(mass)).sum())
        rows = np.flatnonzero(passed & (mass >= self.low) & (mass <= self.high))
        inside = mass[rows]
        if self.n_inside <= UNBINNED_LIMIT:
            self._masses.append(inside)
        self._counts += np.histogram(inside, bins=FINE_BINS, range=(self.low, self.high))[0]
        if columns.features:
            self._keep(columns, chunk, rows, inside)
        self.n_inside += len(rows)
        if self.n_inside > UNBINNED_LIMIT:
            self._masses.clear()

    def _keep(self, columns: Columns, chunk: Chunk, rows: NDArray[np.intp], mass: Array) -> None:
        """Keeps every so many of the candidates, and every second of those that are kept when they become too many."""
        chosen = np.flatnonzero((np.arange(len(rows)) + self.n_inside) % self._stride == 0)
        if not len(chosen):
            return
        taken = chunk.take(rows[chosen])
        values = [np.asarray(evaluate(each, taken.arrays, taken.n_rows), float) for each in columns.features.values()]
        self._tested.append(np.column_stack([mass[chosen], *values]))
        self._n_tested += len(chosen)
        while self._n_tested > N_TESTED:
            whole = np.concatenate(self._tested)[::2]
            self._tested, self._n_tested, self._stride = [whole], len(whole), 2 * self._stride


def collect(sources: Sequence[Source], per: str | None, settings: FitSettings, watcher: Watcher) -> Candidates:
    """Returns what all inputs hold, which are read once.

    Raises:
        ExpressionError: an expression does not fit an input.
        DataError: an input cannot be read, or inputs have different features.
    """
    found = Candidates(settings.low, settings.high)
    with watcher.task("reading", sum(source.n_entries for source in sources), "entries") as task:
        for source in sources:
            with Table(source, per) as table:
                columns = columns_of(table, settings)
                found.features = found.features or tuple(columns.features)
                if tuple(columns.features) != found.features:
                    raise DataError(f"{source}: the features {settings.features} mean other branches here than before")
                n_rows = 0
                for chunk in table.chunks(columns.branches):
                    found.add(columns, chunk)
                    n_rows += chunk.n_rows
                    task.advance(chunk.n_entries)
                found.n_rows.append(n_rows)
    return found


def masses(table: Table, settings: FitSettings) -> Iterator[tuple[Chunk, Array, NDArray[np.bool_]]]:
    """Yields the chunks of an input with the mass (n,) of each row and (n,) true for the rows that are selected."""
    columns = columns_of(table, FitSettings(settings.mass, settings.low, settings.high, {}, settings.cut))
    for chunk in table.chunks(columns.branches):
        yield chunk, *columns.of(chunk)
