"""Efficiencies for correctionlib (schema 2): nominal, up and down, and up and down by each source of uncertainty."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from pidlab import __version__
from pidlab.atomic import write_text
from pidlab.datadriven.efficiency.binning import Binning
from pidlab.datadriven.efficiency.replicas import replicas
from pidlab.datadriven.efficiency.result import EfficiencyResult, PointResult, Quantity, QuantityColumns
from pidlab.export.correctionlib.content import Node, binning, category, correction, leaf, readable_edges, variable


def write_corrections(path: Path, result: EfficiencyResult, n_replicas: int = 0) -> None:
    """Writes `corrections.json`: MODEL_POINT_efficiency and MODEL_POINT_scale_factor.

    Inputs are the axes in their order, and `systematic`: `nominal`; `up` and `down` by all uncertainties in quadrature;
    `stat_up` and `stat_down`; `SOURCE_up` and `SOURCE_down` for each systematic, the shift as it was found and its
    mirror image, so that a source moves all bins together as it does in the measurement. correctionlib raises an error
    outside the bins and in a bin without a number. With `n_replicas` there are `replica0` and so on, too.

    Raises:
        OutputError: the file cannot be written.
    """
    content = {
        "schema_version": 2,
        "description": f"Efficiencies from data by pidlab {__version__}; fingerprint {result.fingerprint}.",
        "corrections": [each for point in result.points for each in _corrections(result, point, n_replicas)],
    }
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _corrections(result: EfficiencyResult, point: PointResult, n_replicas: int) -> Iterator[Node]:
    about = f"Efficiency in data of {point.title}."
    yield _correction(f"{point.name}_efficiency", about, result.binning, point.efficiencies, n_replicas)
    if result.with_simulation:
        about = f"Efficiency in data over that in simulation of {point.title}."
        yield _correction(f"{point.name}_scale_factor", about, result.binning, point.scale_factors, n_replicas)


def _correction(name: str, description: str, axes: Binning, values: Sequence[Quantity], n_replicas: int) -> Node:
    edges = readable_edges(axes.edges)
    columns = {**variations(values), **{f"replica{r}": row for r, row in enumerate(replicas(values, n_replicas))}}
    content = {
        key: binning(axes.names, edges, [leaf(number) for number in column], "error") for key, column in columns.items()
    }
    words = "nominal; up, down: all uncertainties; stat_up, stat_down; SOURCE_up, SOURCE_down of each systematic"
    inputs = [*(variable(axis, "an axis of the bins") for axis in axes.names), variable("systematic", words, "string")]
    return correction(name, description, inputs, name.rpartition("_")[2], category("systematic", content))


def variations(values: Sequence[Quantity]) -> Mapping[str, list[float]]:
    """Returns the numbers of all bins by the name of the variation; NaN in a bin without a number."""
    columns = QuantityColumns.of(values)
    nominal = columns.value
    found = {
        "nominal": nominal,
        "up": nominal + columns.above,
        "down": nominal - columns.below,
        "stat_up": columns.high,
        "stat_down": columns.low,
    }
    for source, shift in columns.shifts.items():
        # A shift that could not be found moves nothing; the result and the report say so.
        known = np.where(np.isfinite(shift), shift, 0.0)
        found |= {f"{source}_up": nominal + known, f"{source}_down": nominal - known}
    return {name: numbers.tolist() for name, numbers in found.items()}
