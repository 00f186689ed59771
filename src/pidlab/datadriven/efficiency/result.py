"""Result: efficiencies in data and simulation and their scale factors, by working point and bin, saved as JSON."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from pidlab.datadriven.efficiency.binning import Binning
from pidlab.datadriven.efficiency.estimate import Estimate, estimate_from, measured_from, number
from pidlab.datadriven.efficiency.intervals import ratio
from pidlab.errors import ModelError, UsageError
from pidlab.evaluate.results import json_value
from pidlab.jsonfile import checked_sum, read_json, with_sum, write_json
from pidlab.measured import UNDEFINED, Array, Measured

FILE: Final = "efficiency.json"
SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Quantity:
    """An efficiency or a scale factor.

    Attributes:
        measured: with its statistical interval; without one if it could not be measured.
        systematics: source to the shift of the value by it, with its sign; NaN if it could not be found.
    """

    measured: Measured
    systematics: Mapping[str, float]

    @property
    def usable(self) -> bool:
        """Whether there is a value with an interval."""
        return all(map(math.isfinite, self.measured[:3]))

    @property
    def systematic(self) -> float:
        """The quadratic sum of the shifts that are known."""
        return math.hypot(*(shift for shift in self.systematics.values() if math.isfinite(shift)), 0.0)

    @property
    def total(self) -> tuple[float, float]:
        """The lengths of the error bars below and above, statistical and systematic in quadrature."""
        value, low, high, _ = self.measured
        return math.hypot(value - low, self.systematic), math.hypot(high - value, self.systematic)

    def as_json(self) -> dict[str, Any]:
        """Returns the quantity in JSON's types."""
        systematic = self.systematic if self.usable else None
        found: dict[str, Any] = json_value(
            {**self.measured._asdict(), "systematics": self.systematics, "systematic": systematic}
        )
        return found


NOTHING: Final = Quantity(UNDEFINED, {})


class QuantityColumns(NamedTuple):
    """The quantities of b bins as columns (b,); NaN in a bin without a number.

    Attributes:
        value, low, high: with the statistical interval.
        below, above: the lengths of the bars of the whole error.
        shifts: source to the shifts; 0 where a bin does not have the source, NaN where its shift could not be found.
    """

    value: Array
    low: Array
    high: Array
    below: Array
    above: Array
    shifts: Mapping[str, Array]

    @classmethod
    def of(cls, values: Sequence[Quantity]) -> QuantityColumns:
        """Returns the columns of quantities."""
        rows = [(*q.measured[:3], *q.total) if q.usable else (math.nan,) * 5 for q in values]
        sources = dict.fromkeys(source for q in values for source in q.systematics)
        shifts = {source: np.array([q.systematics.get(source, 0.0) for q in values]) for source in sources}
        value, low, high, below, above = np.array(rows).reshape(-1, 5).T
        return cls(value, low, high, below, above, shifts)


@dataclass(frozen=True, slots=True)
class SampleEfficiency:
    """The efficiency in one bin of data or of simulation.

    Attributes:
        nominal: the estimate that is quoted.
        alternatives: source of systematics to the estimates with another choice.
        refused: names of alternatives that the data exclude while they allow the nominal one; they do not count.
        quantity: the efficiency with its systematics.
    """

    nominal: Estimate
    alternatives: Mapping[str, tuple[Estimate, ...]]
    refused: tuple[str, ...]
    quantity: Quantity

    @property
    def tried(self) -> Iterator[Estimate]:
        """All estimates, the nominal one first."""
        yield self.nominal
        yield from itertools.chain.from_iterable(self.alternatives.values())

    def as_json(self) -> dict[str, Any]:
        """Returns everything but the drawings of the fits, in JSON's types."""
        return self.quantity.as_json() | {
            "nominal": self.nominal.as_json(),
            "alternatives": {source: [each.as_json() for each in found] for source, found in self.alternatives.items()},
            "refused": list(self.refused),
        }


@dataclass(frozen=True, slots=True)
class BinResult:
    """A bin: its number, the efficiency in data and in simulation (None without one), and the scale factor."""

    number: int
    data: SampleEfficiency
    simulation: SampleEfficiency | None
    scale_factor: Quantity

    @property
    def samples(self) -> dict[str, SampleEfficiency]:
        """The efficiencies in "data" and, if there is one, in "simulation"."""
        both = {"data": self.data, "simulation": self.simulation}
        return {name: found for name, found in both.items() if found is not None}


@dataclass(frozen=True, slots=True)
class PointResult:
    """A working point of a model, and its bins in the order of their numbers."""

    model: str
    working_point: str
    bins: tuple[BinResult, ...]

    @property
    def name(self) -> str:
        """The name that branches, objects and corrections have."""
        return f"{self.model}_{self.working_point}"

    @property
    def title(self) -> str:
        """The model and its working point in words."""
        return f"{self.model} at {self.working_point}"

    @property
    def with_simulation(self) -> bool:
        """Whether there are scale factors."""
        return any(each.simulation is not None for each in self.bins)

    @property
    def efficiencies(self) -> list[Quantity]:
        """The efficiency in data in each bin."""
        return [each.data.quantity for each in self.bins]

    @property
    def scale_factors(self) -> list[Quantity]:
        """The scale factor in each bin."""
        return [each.scale_factor for each in self.bins]


@dataclass(frozen=True, slots=True)
class EfficiencyResult:
    """Everything that was measured.

    Attributes:
        binning: the bins.
        points: the working points.
        settings: how it was measured: method, mass, range, shapes, files, and what else is needed to repeat it.
        fingerprint: the fingerprint of the models whose decisions were measured.
        notes: sentences that a reader must know.
    """

    binning: Binning
    points: tuple[PointResult, ...]
    settings: Mapping[str, Any]
    fingerprint: str
    notes: tuple[str, ...]

    @property
    def with_simulation(self) -> bool:
        """Whether there are scale factors."""
        return any(point.with_simulation for point in self.points)

    @property
    def bins(self) -> Iterator[tuple[PointResult, BinResult]]:
        """All bins of all working points."""
        return ((point, each) for point in self.points for each in point.bins)

    def failures(self) -> Iterator[str]:
        """Yields a sentence for each bin without an efficiency, and for each fit that failed."""
        for point, each in self.bins:
            for sample, found in each.samples.items():
                where = f"{point.title}, {self.binning.title(each.number)}, {sample}"
                for estimate in found.tried:
                    if not estimate.usable:
                        why = estimate.failure or "the efficiency has no interval"
                        yield f"{where}: {estimate.name} failed, since {why}"


def scale_factor(data: SampleEfficiency, simulation: SampleEfficiency) -> Quantity:
    """Returns efficiency in data / efficiency in simulation, with systematics of each source in both.

    A source that both samples have is taken as the same in both, since a fit with other shapes moves both; a source
    that one has is taken as it is.
    """
    one, other = data.quantity, simulation.quantity
    if not (one.usable and other.usable):
        return NOTHING
    nominal = ratio(one.measured, other.measured)
    shifts = {}
    for source in dict.fromkeys([*one.systematics, *other.systematics]):
        above = one.measured.value + one.systematics.get(source, 0.0)
        below = other.measured.value + other.systematics.get(source, 0.0)
        shifts[source] = above / below - nominal.value if below > 0 else math.nan
    return Quantity(nominal, shifts)


def write_result(folder: Path, result: EfficiencyResult) -> None:
    """Writes `efficiency.json` into a folder."""
    binning = result.binning
    content = {
        "schema": SCHEMA,
        "fingerprint": result.fingerprint,
        "settings": dict(result.settings),
        "axes": [
            {"name": name, "edges": edges.tolist()} for name, edges in zip(binning.names, binning.edges, strict=True)
        ],
        "points": [
            {
                "model": point.model,
                "working_point": point.working_point,
                "bins": [
                    {
                        "bin": [{"name": n, "low": low, "high": high} for n, low, high in binning.sides(each.number)],
                        "data": each.data.as_json(),
                        "simulation": None if each.simulation is None else each.simulation.as_json(),
                        "scale_factor": each.scale_factor.as_json(),
                    }
                    for each in point.bins
                ],
            }
            for point in result.points
        ],
        "notes": list(result.notes),
    }
    write_json(folder / FILE, with_sum(content))


def read_result(folder: Path) -> EfficiencyResult:
    """Returns what `write_result` wrote, without the drawings of fits.

    Raises:
        UsageError: the folder holds no measurement of efficiencies.
        ModelError: its file is damaged or of another version.
    """
    path = folder / FILE
    if not path.is_file():
        raise UsageError(f"{folder}: holds no {FILE}; name the folder that `pidlab efficiency … -o` left behind")
    content = checked_sum(path, read_json(path))
    if content.get("schema") != SCHEMA:
        raise ModelError(f"{path}: written by another version of pidlab (schema {content.get('schema')!r})")
    try:
        axes = content["axes"]
        binning = Binning(tuple(str(a["name"]) for a in axes), tuple(np.array(a["edges"], float) for a in axes))
        points = tuple(
            PointResult(
                str(point["model"]),
                str(point["working_point"]),
                tuple(_bin(number, each) for number, each in enumerate(point["bins"])),
            )
            for point in content["points"]
        )
        binning.check()
        if any(len(point.bins) != binning.n_bins for point in points):
            raise ValueError("a working point has another number of bins than the axes")
        return EfficiencyResult(
            binning, points, content["settings"], str(content["fingerprint"]), tuple(map(str, content["notes"]))
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path}: is damaged ({error}); measure the efficiencies again") from error


def _bin(number: int, content: Mapping[str, Any]) -> BinResult:
    simulation = content["simulation"]
    return BinResult(
        number,
        _sample(content["data"]),
        None if simulation is None else _sample(simulation),
        _quantity(content["scale_factor"]),
    )


def _sample(content: Mapping[str, Any]) -> SampleEfficiency:
    return SampleEfficiency(
        estimate_from(content["nominal"]),
        {source: tuple(map(estimate_from, found)) for source, found in content["alternatives"].items()},
        tuple(map(str, content["refused"])),
        _quantity(content),
    )


def _quantity(content: Mapping[str, Any]) -> Quantity:
    return Quantity(measured_from(content), {name: number(s) for name, s in content["systematics"].items()})
