"""Arrays: a finished run that scores arrays in memory, inside the loop of an analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from pidlab.apply.scoring import Scorer, blank_columns, score_branches, training_keys
from pidlab.errors import DataError, UsageError, nearest
from pidlab.expressions import Kind, check, kind_from_array
from pidlab.preprocess.selection import selected
from pidlab.read import Chunk
from pidlab.read.candidates import find_collection, row_kinds
from pidlab.runs.bundle import load_bundle

Columns = Mapping[str, Any]
"""Arrays of one length by branch name: a dict of numpy or awkward arrays, an awkward record array, a pandas
DataFrame, or the events of a coffea processor."""


class LoadedRun:
    """The models of a finished run, for arrays in memory.

    If the run has folds and the arrays hold the branches of `data.event_id`, events that the run used are scored by the
    model that did not see them; all others get the mean of the fold models.

    `friend` gives everything in one pass. `scores`, `decide` and `selected` each compute only what they return, so two
    of them take as long as both together.

    Attributes:
        models: names.
        branches: what the arrays must hold.
        working_points: model to the names of its decisions.
    """

    def __init__(self, run: str | Path, models: Sequence[str] = ()) -> None:
        """Load the run in the folder `run`, or some of its `models`.

        Raises:
            UsageError: `run` is not the folder of a run, or it has no such model.
            ModelError: a file of the run is damaged.
        """
        self._bundle = load_bundle(Path(run), models)
        anywhere = replace(self._bundle, recipe=replace(self._bundle.recipe, event_id=()))
        self._by_key, self._by_values = Scorer(self._bundle, training_keys(self._bundle)), Scorer(anywhere)
        self.models = tuple(self._bundle.models)
        self.branches = self._by_values.branches
        self.working_points = {name: tuple(d.name for d in found) for name, found in self._bundle.decisions.items()}

    def friend(self, arrays: Columns) -> dict[str, Any]:
        """Every branch that a friend tree has: `pid_selected`, the scores and all decisions, by the names there.

        Raises:
            DataError: a branch is missing, or of another length or type.
        """
        return self._scored(arrays, self.models)

    def scores(self, arrays: Columns) -> dict[str, Any]:
        """The signal's score of each model, by its name; with more than two classes each class's as `MODEL_CLASS`.

        Arrays are (n,) float32, or lists of candidates if the run has candidates; NaN where the selection fails. They
        are those of the friend trees.

        Raises:
            DataError: a branch is missing, or of another length or type.
        """
        branches = {name: score_branches(name, model) for name, model in self._bundle.models.items()}
        scored = self._scored(arrays, [name for name, own in branches.items() if own])
        return {branch.removeprefix("pid_"): scored[branch] for own in branches.values() for branch in own}

    def decide(self, arrays: Columns, working_point: str) -> dict[str, Any]:
        """What each model decides at a working point: true where it is passed, (n,) bool or lists of candidates.

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
        """Whether the selection of the run is passed: (n,) bool or lists of candidates.

        Raises:
            DataError: a branch is missing, or of another length or type.
        """
        chunk = self._chunk(arrays, self._by_values)
        return _as_given(selected(self._bundle.recipe, chunk), chunk)

    def _scored(self, arrays: Columns, models: Sequence[str]) -> dict[str, Any]:
        """The friend's branches of some models, by name; those of other models are blank."""
        recipe = self._bundle.recipe
        by_key = self._by_key.knows_events and all(_find(arrays, name) is not None for name in recipe.event_id)
        scorer = self._by_key if by_key and recipe.event_id else self._by_values
        chunk = self._chunk(arrays, scorer)
        columns = blank_columns(self._bundle, chunk.n_rows)
        scorer.score(columns, chunk, np.flatnonzero(selected(recipe, chunk)), "", models)
        return {name: _as_given(values, chunk) for name, values in columns.items()}

    def _chunk(self, arrays: Columns, scorer: Scorer) -> Chunk:
        """The arrays as rows of an input, with all branches that the scorer reads."""
        recipe = self._bundle.recipe
        columns = {name: _column(arrays, name) for name in sorted(scorer.branches)}
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
        rows, counts = collection.flatten(columns, 0)
        return Chunk(rows, 0, int(counts.sum()), columns, counts)

    def _check(self, kinds: Mapping[str, Kind]) -> None:
        for located in self._bundle.recipe.expressions():
            check(located.expression, kinds)


def load(run: str | Path, models: Sequence[str] = ()) -> LoadedRun:
    """The models of a finished run (or those named), ready to score arrays in memory.

    Raises:
        UsageError: `run` is not the folder of a run, or it has no such model.
        ModelError: a file of the run is damaged.
    """
    return LoadedRun(run, models)


def _as_given(values: NDArray[Any], chunk: Chunk) -> Any:
    """One value a row, as lists of candidates if the rows are candidates."""
    return values if chunk.counts is None else ak.unflatten(values, chunk.counts)


def _find(arrays: Columns, name: str) -> Any:
    """The array of a branch; `Electron_pt` and `Electron.pt` are also `pt` of a record `Electron`; None: not there."""
    names = _names(arrays)
    if name in names:
        return arrays[name]
    for separator in ("_", "."):
        record, _, member = name.partition(separator)
        if member and record in names and member in _names(arrays[record]):
            return arrays[record][member]
    return None


def _names(arrays: Any) -> frozenset[str]:
    if isinstance(arrays, ak.Array):
        return frozenset(arrays.fields)
    columns = getattr(arrays, "columns", None)
    return frozenset(arrays.keys() if columns is None else map(str, columns))


def _column(arrays: Columns, name: str) -> Any:
    found = _find(arrays, name)
    if found is None:
        raise DataError(f"the arrays have no {name!r}; {nearest(name, _names(arrays))}")
    if isinstance(found, ak.Array):
        return _from_awkward(found, name)
    if isinstance(found, np.ma.MaskedArray):
        return _without_gaps(found.data, np.ma.getmaskarray(found), name)
    if hasattr(found, "isna") and not isinstance(getattr(found, "dtype", None), np.dtype):
        return _from_extension(found, name)
    values = np.asarray(found)
    if values.dtype.kind == "O" and values.ndim == 1:
        return _from_objects(values, name)
    return values.astype(np.dtypes.StringDType()) if values.dtype.kind in "OU" else values


def _from_awkward(found: ak.Array, name: str) -> Any:
    """A numpy array if there is one value a row, else an awkward array of plain lists."""
    plain = ak.without_parameters(found) if found.ndim > 1 else found
    if plain.ndim == 1 and "?" not in str(plain.type.content):
        return ak.to_numpy(plain, allow_missing=False)
    if plain.ndim == 1:
        mask = ak.to_numpy(ak.is_none(plain))
        if not str(plain.type.content).lstrip("?").startswith(("int", "uint", "float", "bool")):
            _refuse_gaps(mask, name)
            return ak.to_numpy(ak.drop_none(plain), allow_missing=False)
        return _without_gaps(ak.to_numpy(ak.fill_none(plain, 0), allow_missing=False), mask, name)
    for axis in reversed(range(plain.ndim)):  # inside first: drop_none would take gaps further inside along
        gaps = ak.is_none(plain, axis=axis)
        if not ak.any(gaps, axis=None):
            plain = ak.drop_none(plain, axis=axis)  # the type of an option goes, nothing else
        elif axis == plain.ndim - 1 and "float" in str(plain.type):
            plain = ak.fill_none(plain, np.nan, axis=axis)
        else:
            while gaps.ndim > 1:
                gaps = ak.fill_none(ak.any(gaps, axis=-1), False)
            _refuse_gaps(ak.to_numpy(gaps), name)
    return ak.Array(ak.to_packed(plain).layout)


def _from_objects(values: Any, name: str) -> Any:
    """Text or numbers from a numpy array (n,) of objects; None and NaN are missing values.

    Raises:
        DataError: the array holds something else, or a missing value that is not floating-point.
    """
    mask = np.array([v is None or v != v for v in values], np.bool_)  # noqa: PLR0124  # NaN, of any type
    held = values[~mask]
    if all(isinstance(v, str) for v in held):
        _refuse_gaps(mask, name)
        return values.astype(np.dtypes.StringDType())
    numbers = np.asarray(held.tolist()) if all(np.ndim(v) == 0 for v in held) else held
    if numbers.dtype.kind not in "iufb":
        kinds = ", ".join(sorted({type(v).__name__ for v in held}))
        raise DataError(
            f"the array {name!r} holds objects ({kinds}); give numbers or text, jagged ones as awkward arrays"
        )
    filled = np.zeros(len(values), numbers.dtype)
    filled[~mask] = numbers
    return _without_gaps(filled, mask, name)


def _from_extension(found: Any, name: str) -> Any:
    """The values of a pandas column of a type that numpy lacks: nullable numbers and text."""
    mask, kind = np.asarray(found.isna()), getattr(found.dtype, "kind", "O")
    if kind == "f":
        return np.asarray(found.to_numpy(dtype=np.float64, na_value=np.nan))
    _refuse_gaps(mask, name)
    if kind in "iub":
        return np.asarray(found.to_numpy(dtype={"i": np.int64, "u": np.uint64, "b": np.bool_}[kind]))
    return np.asarray(found, dtype=np.dtypes.StringDType())


def _without_gaps(values: Any, mask: Any, name: str) -> Any:
    """Floating-point values with NaN where `mask` (n, ...) is true.

    Raises:
        DataError: a value is missing that is not floating-point.
    """
    if values.dtype.kind == "f":
        return np.where(mask, np.asarray(np.nan, values.dtype), values)
    _refuse_gaps(mask.reshape(len(mask), -1).any(axis=1), name)
    return np.asarray(values)


def _refuse_gaps(mask: Any, name: str) -> None:
    """Refuse rows without a value, which are true in `mask` (n,).

    Raises:
        DataError: there are such rows.
    """
    gaps = np.flatnonzero(mask)
    if len(gaps):
        raise DataError(
            f"the array {name!r} has no value in {len(gaps):,} of {len(mask):,} rows, the first in row {gaps[0]:,}; "
            "only floating-point values may be missing (they count as NaN): fill it, or leave these rows out"
        )
