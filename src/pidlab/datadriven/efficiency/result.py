"""Result: efficiencies in data and simulation and their scale factors, by working point and bin, saved as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pidlab.datadriven.efficiency.binning import Binning
from pidlab.datadriven.efficiency.estimate import Estimate, estimate_from, finite, measured_from, measured_json
from pidlab.datadriven.efficiency.intervals import ratio
from pidlab.errors import ModelError, UsageError
from pidlab.jsonfile import checked_sum, read_json, with_sum, write_json
from pidlab.measured import UNDEFINED, Measured

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
        return measured_json(self.measured) | {
            "systematics": {name: finite(shift) for name, shift in self.systematics.items()},
            "systematic": finite(self.systematic) if self.usable else None,
        }


NOTHING: Final = Quantity(UNDEFINED, {})


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
        return any(each.simulation is not None for point in self.points for each in point.bins)

    def failures(self) -> Iterator[str]:
        """Yields a sentence for each bin without an efficiency, and for each fit that failed."""
        for point in self.points:
            for each in point.bins:
                for sample, found in (("data", each.data), ("simulation", each.simulation)):
                    if found is None:
                        continue
                    where = f"{point.model} at {point.working_point}, {self.binning.title(each.number)}, {sample}"
                    tried = [found.nominal, *(e for some in found.alternatives.values() for e in some)]
                    for estimate in tried:
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
    shifts = {name: math.nan if shift is None else float(shift) for name, shift in content["systematics"].items()}
    return Quantity(measured_from(content), shifts)
