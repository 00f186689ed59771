"""Efficiencies as ROOT objects: histograms to look them up in, graphs with both errors, TEfficiency of counts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pidlab.datadriven.efficiency.probes import ProbeCounts
from pidlab.datadriven.efficiency.result import EfficiencyResult, PointResult, Quantity, QuantityColumns
from pidlab.measured import Array
from pidlab.rootio.efficiency import tefficiency
from pidlab.rootio.files import whole_file, writing
from pidlab.rootio.graphs import tgraph_asymm_errors
from pidlab.rootio.histograms import from_cells, th1, th2, th3


def write_root(path: Path, result: EfficiencyResult, simulation: ProbeCounts | None) -> None:
    """Writes `efficiency.root`.

    For each working point a directory MODEL/POINT holds histograms in the bins (TH1D, TH2D or TH3D), whose errors are
    the larger side of the whole error: `data`, `simulation`, `scale_factor`, each with `_stat_low`, `_stat_high` and
    one for each systematic, `_syst_SOURCE`, whose contents are lengths and shifts; graphs along the first axis with
    statistical (`graph_data_0`) and with all errors (`graph_data_total_0`), one for each bin of the other axes; and, if
    the simulation was counted, its TEfficiency `simulation_counts`.

    Args:
        path: the path of the file.
        result: what was measured.
        simulation: the probes of a simulation whose signal was counted; None if there is none.

    Raises:
        OutputError: the file cannot be written.
    """
    with whole_file(path, "zlib") as file, writing(path):
        for i, point in enumerate(result.points):
            folder = f"{_key(point.model)}/{_key(point.working_point)}"
            for name, content in _objects(result, point):
                file[f"{folder}/{name}"] = content
            if simulation is not None:
                file[f"{folder}/simulation_counts"] = _counts(result, point, simulation, i)


def _key(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", name)


def _title(result: EfficiencyResult, point: PointResult, what: str, quantity: str) -> str:
    return ";".join([f"{point.title}, {what}", *result.binning.names, quantity])


def _objects(result: EfficiencyResult, point: PointResult) -> Iterator[tuple[str, Any]]:
    kinds = [("data", "efficiency", point.efficiencies)]
    simulated = [each.simulation.quantity for each in point.bins if each.simulation is not None]
    if len(simulated) == len(point.bins):
        kinds.append(("simulation", "efficiency", simulated))
        kinds.append(("scale_factor", "scale factor", point.scale_factors))
    for name, quantity, values in kinds:
        title = _title(result, point, name.replace("_", " "), quantity)
        yield from _histograms(result, name, values, title)
        yield from _graphs(result, name, values, point.title, quantity)


def _histograms(result: EfficiencyResult, name: str, values: list[Quantity], title: str) -> Iterator[tuple[str, Any]]:
    table = np.array([q.measured[:3] for q in values])
    total = np.array([max(q.total) if q.usable else 0.0 for q in values])
    yield name, _histogram(result, table[:, 0], total**2, title)
    yield f"{name}_stat_low", _histogram(result, table[:, 0] - table[:, 1], None, title)
    yield f"{name}_stat_high", _histogram(result, table[:, 2] - table[:, 0], None, title)
    for source, shifts in QuantityColumns.of(values).shifts.items():
        yield f"{name}_syst_{_key(source)}", _histogram(result, shifts, None, title)


def _histogram(result: EfficiencyResult, values: Array, variances: Array | None, title: str) -> Any:
    """Returns a histogram of the numbers (bins,); a bin without a number holds 0, with error 0."""
    shape, edges = result.binning.shape, result.binning.edges
    known = np.where(np.isfinite(values), values, 0.0).reshape(shape)
    squares = np.zeros(shape) if variances is None else variances.reshape(shape)
    bins = from_cells(known, edges, squares, entries=float(np.isfinite(values).sum()))
    return (th1, th2, th3)[len(shape) - 1](bins, title)


def _graphs(
    result: EfficiencyResult, name: str, values: list[Quantity], what: str, quantity: str
) -> Iterator[tuple[str, Any]]:
    """Graphs along the first axis, without the bins that have no number."""
    binning = result.binning
    columns = np.arange(binning.n_bins).reshape(binning.shape[0], -1).T
    edges = binning.edges[0]
    centres, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    for i, along in enumerate(columns):
        some = [k for k, number in enumerate(along) if values[number].usable]
        chosen = QuantityColumns.of([values[along[k]] for k in some])
        sides = ", ".join(f"{n} {low:g} to {high:g}" for n, low, high in binning.sides(int(along[0]))[1:])
        title = f"{what}, {name.replace('_', ' ')}{', ' if sides else ''}{sides};{binning.names[0]};{quantity}"
        place = centres[some], chosen.value, half[some], half[some]
        statistical = chosen.value - chosen.low, chosen.high - chosen.value
        yield f"graph_{name}_{i}", tgraph_asymm_errors(*place, *statistical, title)
        yield f"graph_{name}_total_{i}", tgraph_asymm_errors(*place, chosen.below, chosen.above, title)


def _counts(result: EfficiencyResult, point: PointResult, simulation: ProbeCounts, place: int) -> Any:
    shape = result.binning.shape
    passed, total, passed2, total2 = (
        each.reshape(shape)
        for each in (
            simulation.sums[place, :, 1].sum(axis=1),
            simulation.sums[place].sum(axis=(1, 2)),
            simulation.squares[place, :, 1].sum(axis=1),
            simulation.squares[place].sum(axis=(1, 2)),
        )
    )
    title = _title(result, point, "simulation", "efficiency")
    return tefficiency(passed, total, result.binning.edges, title, passed2, total2)
