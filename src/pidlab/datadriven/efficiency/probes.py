"""Probes: files are scored by the models of a run, and the masses of passing and failing probes filled into bins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.apply.inputs import pieces_of, plan_of
from pidlab.apply.scoring import Failed, Scored, Scorer, score_piece, training_keys
from pidlab.apply.workers import threads
from pidlab.config.polygons import polygons_of
from pidlab.datadriven.efficiency.binning import Binning
from pidlab.datadriven.efficiency.estimate import Histograms
from pidlab.errors import DataError, ExpressionError, UsageError
from pidlab.expressions import parse, selects
from pidlab.measured import Array
from pidlab.models.threads import one_thread
from pidlab.preprocess.events import input_keys
from pidlab.preprocess.features import values_of
from pidlab.preprocess.recipe import LocatedExpression, Recipe
from pidlab.progress import Watcher
from pidlab.read import Chunk, Source
from pidlab.runs.bundle import Bundle
from pidlab.sample import BoolArray, IntArray

Point = tuple[str, str]
"""The names of a model and of its working point."""


@dataclass(frozen=True, slots=True)
class ProbeExpressions:
    """What is read of a probe beside what the models need; texts of expressions in the language of ROOT.

    Attributes:
        mass: the mass of tag and probe.
        axes: the quantities in whose bins efficiencies are measured.
        weight: empty for 1.
        cut: which rows are probes, of those that the selection of the run takes; empty for all.
        truth: which probes are signal, in a simulation; empty if it is not asked.
    """

    mass: str
    axes: tuple[str, ...]
    weight: str = ""
    cut: str = ""
    truth: str = ""


def located(recipe: Recipe, text: str, option: str) -> LocatedExpression:
    """Returns an expression of the command line, with the aliases and polygons of the run.

    Raises:
        UsageError: it is no expression; the message begins with the `option`.
    """
    config = recipe.loaded.config
    try:
        return LocatedExpression((option,), parse(text, dict(config.data.aliases), polygons_of(config)))
    except ExpressionError as error:
        raise UsageError(f"{option}: {error}") from error


class ProbeColumns:
    """The columns of a probe that are computed while it is scored, see `pidlab.runs.bundle.Additions`."""

    def __init__(self, recipe: Recipe, expressions: ProbeExpressions) -> None:
        self.fingerprint = repr(expressions)
        self._numbers = {"probe_mass": located(recipe, expressions.mass, "--mass")}
        self._numbers |= {f"probe_axis{i}": located(recipe, axis, "--bins") for i, axis in enumerate(expressions.axes)}
        if expressions.weight:
            self._numbers["probe_weight"] = located(recipe, expressions.weight, "--weight")
        stated = {"probe_cut": ("--cut", expressions.cut), "probe_truth": ("--truth", expressions.truth)}
        self._cuts = {name: located(recipe, text, option) for name, (option, text) in stated.items() if text}
        self.types: Mapping[str, np.dtype[Any]] = dict.fromkeys(self._numbers, np.dtype(np.float64)) | dict.fromkeys(
            self._cuts, np.dtype(bool)
        )
        self.entry_types: Mapping[str, np.dtype[Any]] = {}
        self.expressions = (*self._numbers.values(), *self._cuts.values())

    def fill(self, columns: Mapping[str, NDArray[Any]], chunk: Chunk, rows: IntArray) -> None:
        """Writes the values of the selected rows."""
        for name, each in self._numbers.items():
            columns[name][rows] = values_of(each, chunk)
        for name, each in self._cuts.items():
            columns[name][rows] = selects(each.expression, chunk.arrays, chunk.n_rows)

    def by_entry(self, columns: Mapping[str, NDArray[Any]], counts: IntArray) -> Mapping[str, NDArray[Any]]:
        """Returns nothing: probes are rows."""
        return {}


@dataclass(slots=True)
class ProbeCounts:
    """The probes of some files, by working point, bin and mass.

    Attributes:
        binning: the bins.
        edges: (m + 1,) edges of the mass.
        points: the working points.
        sums, squares: (points, bins, 2, m) sums of w and of w², failing first, then passing.
        n_probes: rows that are probes and lie in the range of the mass and in a bin.
        n_outside: rows that are probes and do not.
    """

    binning: Binning
    edges: Array
    points: tuple[Point, ...]
    sums: NDArray[np.float64] = field(init=False)
    squares: NDArray[np.float64] = field(init=False)
    n_probes: int = 0
    n_outside: int = 0

    def __post_init__(self) -> None:
        shape = (len(self.points), self.binning.n_bins, 2, len(self.edges) - 1)
        self.sums, self.squares = np.zeros(shape), np.zeros(shape)

    def fill(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Adds the rows of a piece of an input."""
        mass = columns["probe_mass"]
        chosen = columns["pid_selected"] & columns.get("probe_cut", columns["pid_selected"])
        axes = [columns[f"probe_axis{i}"] for i in range(len(self.binning.names))]
        cell, m = self.binning.find(axes), len(self.edges) - 1
        inside: BoolArray = (mass >= self.edges[0]) & (mass <= self.edges[-1]) & (cell >= 0)
        self.n_outside += int((chosen & ~inside).sum())
        # With a truth, the rest of the simulation are no probes.
        rows = np.flatnonzero(chosen & inside & columns.get("probe_truth", inside))
        self.n_probes += len(rows)
        # The edges are evenly spaced, and the last bin has its upper edge.
        width = (self.edges[-1] - self.edges[0]) / m
        place = np.minimum(((mass[rows] - self.edges[0]) / width).astype(np.int64), m - 1)
        weight = columns["probe_weight"][rows] if "probe_weight" in columns else None
        for i, (model, point) in enumerate(self.points):
            passed = columns[f"pid_{model}_{point}"][rows]
            index = (cell[rows] * 2 + passed) * m + place
            shape = self.sums[i].shape
            self.sums[i] += np.bincount(index, weight, self.sums[i].size).reshape(shape)
            squared = None if weight is None else weight**2
            self.squares[i] += np.bincount(index, squared, self.sums[i].size).reshape(shape)

    def histograms(self, point: int, number: int) -> Histograms:
        """Returns the masses of a bin, for the working point at this place in `points`."""
        sums, squares = self.sums[point, number], self.squares[point, number]
        return Histograms(self.edges, sums[1], sums[0], squares[1], squares[0])


def count_probes(
    bundle: Bundle, sources: Sequence[Source], expressions: ProbeExpressions, counts: ProbeCounts, watcher: Watcher
) -> None:
    """Reads and scores inputs, and fills their probes into `counts`.

    Raises:
        UsageError: an expression does not fit the branches of an input.
        DataError: an input cannot be read, or holds no probe.
    """
    wanted = dict.fromkeys(model for model, _ in counts.points)
    chosen = replace(bundle, models={name: bundle.models[name] for name in wanted}, decisions={
        name: bundle.decisions[name] for name in wanted
    })  # fmt: skip
    chosen = chosen.with_additions(ProbeColumns(bundle.recipe, expressions))
    for scored in _scored(Scorer(chosen, training_keys(bundle)), sources, watcher):
        counts.fill(scored.columns)
    if not counts.n_probes:
        named = ", ".join(str(source) for source in sources[:3])
        raise DataError(
            f"{named}: none of {counts.n_outside:,} selected probes lies in a bin and in the range of the mass; look "
            "at --range, --bins and --cut, and at the selection of the run"
        )


def _scored(scorer: Scorer, sources: Sequence[Source], watcher: Watcher) -> Iterator[Scored]:
    """Yields the scored pieces of all inputs, in order."""
    names = input_keys(list(sources))
    plans = [plan_of(source, names[source], scorer) for source in sources]
    pieces = (piece for plan in plans for piece in pieces_of(plan, scorer, "efficiency"))
    with (
        watcher.task("scoring", sum(plan.n_entries for plan in plans), "entries") as task,
        one_thread(),
        threads(partial(score_piece, scorer)) as pool,
    ):
        for piece, scored in pool.run(pieces):
            if isinstance(scored, Failed):
                raise DataError(scored.reason)
            yield scored
            task.advance(piece.stop - piece.start)
