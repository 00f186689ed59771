"""Weights: the efficiency of every candidate's decision, and of an event's candidates together, looked up in a map."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.datadriven.efficiency.probes import located
from pidlab.datadriven.efficiency.replicas import replicas
from pidlab.datadriven.efficiency.result import FILE, EfficiencyResult, Quantity, QuantityColumns, read_result
from pidlab.errors import UsageError
from pidlab.measured import Array
from pidlab.preprocess.features import values_of
from pidlab.preprocess.recipe import Recipe
from pidlab.read import Chunk
from pidlab.runs.bundle import Bundle
from pidlab.sample import IntArray

BIN = "pid_efficiency_bin"
"""The column with the number of the bin of the map, -1 outside; of several axes, the last one varies fastest."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """The numbers of one quantity in all bins.

    Attributes:
        column: the name of its column, such as `pid_bdt_eff90_sf`.
        value: (bins,) NaN in a bin without a number.
        error: (bins,) the larger side of the whole error.
        statistical: (bins,) the larger side of the statistical error.
        shifts: (sources, bins) by systematic; 0 where a shift is not known.
        replicas: (n, bins).
    """

    column: str
    value: Array
    error: Array
    statistical: Array
    shifts: Array
    replicas: Array


def lookup_of(column: str, values: Sequence[Quantity], n_replicas: int) -> Lookup:
    """Returns the numbers of a quantity in all bins."""
    columns = QuantityColumns.of(values)
    return Lookup(
        column,
        columns.value,
        np.maximum(columns.below, columns.above),
        np.maximum(columns.value - columns.low, columns.high - columns.value),
        np.nan_to_num(np.array([*columns.shifts.values()]).reshape(-1, len(values))),
        replicas(values, n_replicas),
    )


class EfficiencyWeights:
    """The columns that a map of efficiencies gives to candidates and events, see `pidlab.runs.bundle.Additions`.

    For a working point `eff90` of a model `bdt`, a candidate has `pid_bdt_eff90_efficiency` and, if the map was
    measured in a simulation too, `pid_bdt_eff90_sf`, each with its `_error`; `pid_bdt_eff90_outside` where the map has
    no number for it; and, if asked for, `_replica000` and so on of both.

    If rows are candidates, events have the product over their selected candidates in columns of the same names after
    `pid_event_`, and the replicas are those of events alone. A product is NaN if one of its candidates is outside.
    Its error adds what candidates share: those in one bin of the map have one statistical error, and a systematic moves
    all of them.
    """

    def __init__(self, recipe: Recipe, result: EfficiencyResult, models: Sequence[str], n_replicas: int = 0) -> None:
        self.binning = result.binning
        self.expressions = tuple(located(recipe, name, "--efficiency") for name in result.binning.names)
        self._by_candidate = recipe.per is not None
        self.lookups: list[Lookup] = []
        self.points: dict[str, list[Lookup]] = {}
        for point in result.points:
            if point.model not in models:
                continue
            stem = f"pid_{point.name}"
            found = [lookup_of(f"{stem}_efficiency", point.efficiencies, n_replicas)]
            if point.with_simulation:
                found.append(lookup_of(f"{stem}_sf", point.scale_factors, n_replicas))
            self.points[stem] = found
            self.lookups += found
        own = self._types(lambda column: column, with_replicas=not self._by_candidate)
        self.types = {BIN: np.dtype(np.int32)} | own
        self.entry_types = self._types(_of_event, with_replicas=True) if self._by_candidate else {}
        numbers = [each for look in self.lookups for each in (look.value, look.error, look.replicas)]
        content = b"".join(np.ascontiguousarray(each).tobytes() for each in (*self.binning.edges, *numbers))
        text = f"{self.binning.names} {sorted(self.types)} {sorted(self.entry_types)}"
        self.fingerprint = hashlib.blake2b(content + text.encode(), digest_size=16).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EfficiencyWeights) and other.fingerprint == self.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def _types(self, named: Callable[[str], str], *, with_replicas: bool) -> dict[str, np.dtype[Any]]:
        """Returns the types of the columns of all points, which `named` gives their names."""
        types: dict[str, np.dtype[Any]] = {}
        for stem, found in self.points.items():
            for look in found:
                name = named(look.column)
                replicas = _replica_names(name, len(look.replicas)) if with_replicas else []
                types |= dict.fromkeys([name, f"{name}_error", *replicas], np.dtype(np.float32))
            types[f"{named(stem)}_outside"] = np.dtype(bool)
        return types

    def fill(self, columns: Mapping[str, NDArray[Any]], chunk: Chunk, rows: IntArray) -> None:
        """Writes the numbers of the selected rows."""
        number = self.binning.find([values_of(each, chunk) for each in self.expressions])
        columns[BIN][rows] = number
        for stem, found in self.points.items():
            for look in found:
                columns[look.column][rows] = _at(look.value, number)
                columns[f"{look.column}_error"][rows] = _at(look.error, number)
                if not self._by_candidate:
                    for r, name in enumerate(_replica_names(look.column, len(look.replicas))):
                        columns[name][rows] = _at(look.replicas[r], number)
            columns[f"{stem}_outside"][rows] = np.isnan(_at(found[-1].value, number))

    def by_entry(self, columns: Mapping[str, NDArray[Any]], counts: IntArray) -> Mapping[str, NDArray[Any]]:
        """Returns the products over the selected candidates of each event."""
        rows = np.flatnonzero(columns["pid_selected"])
        event = np.repeat(np.arange(len(counts)), counts)[rows]
        number = columns[BIN][rows].astype(np.int64)
        found: dict[str, NDArray[Any]] = {}
        for stem, looks in self.points.items():
            outside = np.zeros(len(counts), bool)
            for look in looks:
                name = _of_event(look.column)
                product = _product(_at(look.value, number), event, len(counts))
                found[name] = product.astype(np.float32)
                relative = _relative_error(look, number, event, len(counts))
                found[f"{name}_error"] = (np.abs(product) * relative).astype(np.float32)
                for r, replica in enumerate(_replica_names(name, len(look.replicas))):
                    found[replica] = _product(_at(look.replicas[r], number), event, len(counts)).astype(np.float32)
                outside |= np.isnan(product)
            found[f"{_of_event(stem)}_outside"] = outside
        return found


def _replica_names(column: str, n: int) -> list[str]:
    return [f"{column}_replica{r:03d}" for r in range(n)]


def _of_event(column: str) -> str:
    return "pid_event_" + column.removeprefix("pid_")


def _at(values: Array, number: IntArray) -> Array:
    """Returns the values (n,) of bins, NaN for number -1."""
    return np.append(values, np.nan)[number]


def _product(values: Array, event: IntArray, n: int) -> Array:
    """Returns the products (n,) of the values of each event, 1 for an event without values."""
    product = np.ones(n)
    np.multiply.at(product, event, values)
    return product


def _relative_error(look: Lookup, number: IntArray, event: IntArray, n: int) -> Array:
    """Returns the relative errors (n,) of the products of events."""
    n_bins = len(look.value)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistical = np.nan_to_num(look.statistical / np.abs(look.value), posinf=0.0)
        shifts = np.nan_to_num(look.shifts / look.value, posinf=0.0, neginf=0.0)
    inside = number >= 0
    pair, times = np.unique(event[inside] * n_bins + number[inside], return_counts=True)
    variance = np.bincount(pair // n_bins, (times * statistical[pair % n_bins]) ** 2, n)
    for shift in shifts:
        variance += np.bincount(event[inside], shift[number[inside]], n) ** 2
    return np.asarray(np.sqrt(variance))


def with_efficiencies(bundle: Bundle, folder: Path, n_replicas: int = 0) -> tuple[Bundle, tuple[str, ...]]:
    """Returns the bundle with the columns of the map in `folder`, and sentences that a user must know.

    Raises:
        UsageError: the folder holds no measurement, or none of the models of the bundle.
        ModelError: its file is damaged.
    """
    result = read_result(folder)
    measured = {point.model for point in result.points}
    models = [name for name in bundle.models if name in measured]
    if not models:
        raise UsageError(
            f"{folder / FILE}: holds efficiencies of {', '.join(sorted(measured))}, and none of the models that are "
            f"applied, {', '.join(bundle.models)}"
        )
    said = []
    missing = [name for name in bundle.models if name not in measured]
    if missing:
        said.append(f"{folder}: has no efficiencies of {', '.join(missing)}.")
    known = {(name, d.name) for name, decisions in bundle.decisions.items() for d in decisions}
    strange = [p.name for p in result.points if p.model in models and (p.model, p.working_point) not in known]
    if strange:
        raise UsageError(f"{folder / FILE}: has working points that the run has not: {', '.join(strange)}")
    if result.fingerprint != bundle.fingerprint:
        said.append(f"{folder}: was measured with other models or thresholds than those of this run.")
    return bundle.with_additions(EfficiencyWeights(bundle.recipe, result, models, n_replicas)), tuple(said)
