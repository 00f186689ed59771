"""A finished run in memory: it scores arrays inside the loop of an analysis, and shows its results."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from pidlab.apply.scoring import Scorer, blank_columns, score_branches, training_keys
from pidlab.datadriven.efficiency.weights import with_efficiencies
from pidlab.errors import DataError, UsageError, nearest
from pidlab.evaluate.results import EventExplanation
from pidlab.expressions import Kind, check, kind_from_array, stored
from pidlab.pipeline.result import RegressionResult, Result, read_result
from pidlab.preprocess.features import values_of
from pidlab.preprocess.selection import selected
from pidlab.read import Chunk
from pidlab.read.candidates import find_collection, row_kinds
from pidlab.read.memory import Columns, column_of, find_array
from pidlab.runs.bundle import load_bundle


class LoadedRun:
    """The models of a finished run, for arrays in memory.

    If the run has folds and the arrays hold the branches of `data.event_id`, events that the run used are scored by the
    model that did not see them; all others get the mean of the fold models.

    `friend` gives everything in one pass. `scores`, `decide`, `weights` and `selected` each compute only what they
    return, so two of them take as long as both together.

    Attributes:
        folder: the folder of the run.
        models: names.
        branches: what the arrays must hold.
        working_points: model to the names of its decisions.
    """

    def __init__(
        self,
        run: str | Path,
        models: str | Sequence[str] = (),
        *,
        efficiency: str | Path | None = None,
        replicas: int = 0,
    ) -> None:
        """Loads the run in the folder `run` with all of its models, or with those named.

        With `efficiency`, the folder of a measurement by `pidlab efficiency`, `friend` also gives the efficiencies of
        the candidates' decisions, and `replicas` replicas of them.

        Raises:
            UsageError: `run` is not the folder of a run, or it has no such model; or `efficiency` holds none of them.
            ModelError: a file of the run or of the measurement is damaged.
        """
        models = [models] if isinstance(models, str) else models
        self.folder = Path(run)
        self._bundle = load_bundle(self.folder, models)
        if efficiency is not None:
            self._bundle, said = with_efficiencies(self._bundle, Path(efficiency), replicas)
            for sentence in said:
                warnings.warn(sentence, stacklevel=3)
        anywhere = replace(self._bundle, recipe=replace(self._bundle.recipe, event_id=()))
        self._by_key, self._by_values = Scorer(self._bundle, training_keys(self._bundle)), Scorer(anywhere)
        self.models = tuple(self._bundle.models)
        self.branches = frozenset(stored(self._by_values.branches))
        self.working_points = {name: tuple(d.name for d in found) for name, found in self._bundle.decisions.items()}

    def __repr__(self) -> str:
        points = {name: ", ".join(names) for name, names in self.working_points.items()}
        listed = "; ".join(f"{name} ({at})" if at else name for name, at in points.items())
        return f"<run {self.folder}: {listed}>"

    @cached_property
    def result(self) -> Result | RegressionResult:
        """What the run found, as `pidlab.run` returned it."""
        return read_result(self.folder)

    def friend(self, arrays: Columns) -> dict[str, Any]:
        """Returns every branch that a friend tree has, by its name: `pid_selected`, the scores and all decisions.

        Raises:
            DataError: a branch is missing, or of another length or type.
        """
        return self._scored(arrays, self.models, weights=True)

    def weights(self, arrays: Columns) -> dict[str, Any]:
        """Returns the weights that make classes alike (`reweight` of the configuration), by their branches in friends.

        `pid_weight` is for rows of every class; `pid_weight_CLASS` is what a row would weigh if it were of that class.
        Arrays are float32 as those of `scores`, NaN where the selection fails; there are none if the run has no
        `reweight`.

        Raises:
            DataError: a branch is missing, or of another length or type.
        """
        reweighter = self._bundle.reweighter
        if reweighter is None:
            return {}
        scored = self._scored(arrays, (), weights=True)
        return {branch: scored[branch] for branch in reweighter.branches}

    def weight_replicas(self, arrays: Columns) -> dict[str, list[Any]]:
        """Returns 25 replicas of each of the `weights`, whose spread is their statistical error.

        A number made with each replica in place of the weights differs by the error that the weights give it:
        the root mean square of the differences adds in quadrature to its own error. Each replica is like the array
        of `weights`; lists are empty in runs of versions without replicas.

        Raises:
            DataError: a branch is missing, or of another length or type.
        """
        reweighter = self._bundle.reweighter
        if reweighter is None:
            return {}
        from pidlab.datadriven.reweighting.balance import weight_replicas

        recipe, weights = self._bundle.recipe, self.weights(arrays)
        chunk = self._chunk(arrays, self._by_values)
        rows, located = np.flatnonzero(selected(recipe, chunk)), dict(recipe.spectators)
        taken = chunk.take(rows)
        z = np.column_stack([np.asarray(values_of(located[name], taken), np.float64) for name in reweighter.match])
        found: dict[str, list[Any]] = {branch: [] for branch in weights}
        for i, (branch, group) in enumerate(reweighter.branches.items()):
            replicas = weight_replicas(group.factors, z, group.ratios, group.shapes, reweighter.seed + i)
            for factor in replicas or ():
                whole = np.full(chunk.n_rows, np.nan, np.float32)
                whole[rows] = factor
                found[branch].append(weights[branch] * _as_given(whole, chunk))
        return found

    def scores(self, arrays: Columns) -> dict[str, Any]:
        """Returns the signal's score of each model by its name; of more than two classes each one's as `MODEL_CLASS`.

        Arrays are (n,) float32, or lists of candidates if the run has candidates; NaN where the selection fails. They
        are those of the friend trees.

        Raises:
            DataError: a branch is missing, or of another length or type.
        """
        branches = {name: score_branches(name, model) for name, model in self._bundle.models.items()}
        scored = self._scored(arrays, [name for name, own in branches.items() if own])
        return {branch.removeprefix("pid_"): scored[branch] for own in branches.values() for branch in own}

    def decide(self, arrays: Columns, working_point: str) -> dict[str, Any]:
        """Returns what each model decides at a working point: true where passed, (n,) bool or lists of candidates.

        Models that do not have the working point are left out (models of type `expression` have "hand" only).

        Raises:
            UsageError: no model has this working point.
            DataError: a branch is missing, or of another length or type.
        """
        deciding = [name for name, points in self.working_points.items() if working_point in points]
        if not deciding:
            known = {point for points in self.working_points.values() for point in points}
            raise UsageError(f"no model has the working point {working_point!r}; {nearest(working_point, known)}")
        scored = self._scored(arrays, deciding)
        return {name: scored[f"pid_{name}_{working_point}"] for name in deciding}

    def selected(self, arrays: Columns) -> Any:
        """Returns whether the selection of the run is passed: (n,) bool or lists of candidates.

        Raises:
            DataError: a branch is missing, or of another length or type.
        """
        chunk = self._chunk(arrays, self._by_values)
        return _as_given(selected(self._bundle.recipe, chunk), chunk)

    def explain(
        self,
        file: str | Path,
        *,
        event: Mapping[str, int] | Sequence[int] | int | None = None,
        entry: int | Sequence[int] | None = None,
        tree: str | None = None,
    ) -> tuple[EventExplanation, ...]:
        """Explains single events of a file: features, scores, and what each feature contributes to the margin.

        Args:
            file: any file with the branches of the run: a path, an address or FILE:TREE.
            event: the value of each branch of `data.event_id`, as a dict, in its order, or a number if it is one.
            entry: the number of an entry from 0, or several.
            tree: the tree to read, if the file holds several.

        Returns:
            An explanation of each selected candidate: `explained[0]["mlp"].contributions`.

        Raises:
            UsageError: the event is not named as `data.event_id` asks, or an entry does not exist.
            DataError: the file cannot be read, the event is not in it, or it is not selected; the message names the
                first cut that it fails.
        """
        from pidlab.apply.explanation import explain

        recipe = self._bundle.recipe
        keys = []
        if event is not None:
            values = [event] if isinstance(event, int | np.integer) else event
            if not isinstance(values, Mapping):
                if len(values) != len(recipe.event_id):
                    raise UsageError(f"event: a value of each of {list(recipe.event_id)} names an event, not {event!r}")
                values = dict(zip(recipe.event_id, values, strict=True))
            keys.append({branch: int(value) for branch, value in values.items()})
        entries = () if entry is None else (entry,) if isinstance(entry, int | np.integer) else tuple(entry)
        return explain(self._by_key, str(file), events=keys, entries=[int(e) for e in entries], tree=tree)

    def _scored(self, arrays: Columns, models: Sequence[str], *, weights: bool = False) -> dict[str, Any]:
        """Returns the friend's branches by name; only those of `models`, and the weights if asked for, are filled."""
        recipe = self._bundle.recipe
        by_key = self._by_key.knows_events and all(find_array(arrays, name) is not None for name in recipe.event_id)
        scorer = self._by_key if by_key and recipe.event_id else self._by_values
        chunk = self._chunk(arrays, scorer)
        columns = blank_columns(self._bundle, chunk.n_rows)
        scorer.score(columns, chunk, np.flatnonzero(selected(recipe, chunk)), "", models, weights=weights)
        found = {name: _as_given(values, chunk) for name, values in columns.items()}
        if self._bundle.additions is not None and chunk.counts is not None:
            found |= self._bundle.additions.by_entry(columns, chunk.counts)
        return found

    def _chunk(self, arrays: Columns, scorer: Scorer) -> Chunk:
        """Returns the arrays as rows of an input, with all branches that the scorer reads."""
        recipe = self._bundle.recipe
        columns = {name: column_of(arrays, name) for name in sorted(stored(scorer.branches))}
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            each = ", ".join(f"{name} {n:,}" for name, n in lengths.items())
            raise DataError(f"the arrays differ in length: {each}")
        n = next(iter(lengths.values()), 0)
        kinds = {name: kind_from_array(values) for name, values in columns.items()}
        columns["Entry$"] = columns["LocalEntry$"] = np.arange(n)
        if recipe.per is None:
            self._check(kinds)
            return Chunk(columns, 0, n, columns)
        collection = find_collection(recipe.per, kinds)
        self._check(row_kinds(kinds, collection))
        rows, counts = collection.flatten(columns, 0, scorer.branches)
        return Chunk(rows, 0, int(counts.sum()), columns, counts)

    def _check(self, kinds: Mapping[str, Kind]) -> None:
        further = () if self._bundle.additions is None else self._bundle.additions.expressions
        for located in (*self._bundle.recipe.expressions(), *further):
            check(located.expression, kinds)


def load(
    run: str | Path, models: str | Sequence[str] = (), *, efficiency: str | Path | None = None, replicas: int = 0
) -> LoadedRun:
    """Returns the models of a finished run, or those named, ready to score arrays in memory.

    Args:
        run: the folder of the run.
        models: names, or a name; empty for all.
        efficiency: the folder that `pidlab efficiency` left behind; `friend` then gives its numbers as well.
        replicas: how many replicas of these numbers `friend` gives.

    Raises:
        UsageError: `run` is not the folder of a run, or it has no such model; or `efficiency` holds none of them.
        ModelError: a file of the run or of the measurement is damaged.
    """
    return LoadedRun(run, models, efficiency=efficiency, replicas=replicas)


def _as_given(values: NDArray[Any], chunk: Chunk) -> Any:
    """Returns one value for each row, as lists of candidates if the rows are candidates."""
    return values if chunk.counts is None else ak.unflatten(values, chunk.counts)
