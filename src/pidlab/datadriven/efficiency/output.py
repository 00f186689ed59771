"""Output: the folder that a measurement of efficiencies leaves behind, and its table for terminal and report."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pidlab.atomic import write_text
from pidlab.datadriven.efficiency.corrections import write_corrections
from pidlab.datadriven.efficiency.drawing import doubtful, fit_figures, fit_name, fit_sentences, summary_figures
from pidlab.datadriven.efficiency.header import write_header
from pidlab.datadriven.efficiency.probes import ProbeCounts
from pidlab.datadriven.efficiency.result import (
    BinResult,
    EfficiencyResult,
    PointResult,
    Quantity,
    SampleEfficiency,
    write_result,
)
from pidlab.datadriven.efficiency.rootfile import write_root
from pidlab.errors import OutputError
from pidlab.measured import Measured
from pidlab.plots.gallery import save
from pidlab.progress import Watcher
from pidlab.report.measurement import Cell, PointTable, render_measurement
from pidlab.rounding import fixed, format_measured, format_number


def write_efficiencies(
    folder: Path,
    result: EfficiencyResult,
    probes: Mapping[str, ProbeCounts],
    watcher: Watcher,
    *,
    fits: bool = True,
    n_replicas: int = 0,
) -> None:
    """Writes efficiency.json, .root and .h, corrections.json, report.html, the figures and, in `fits`, every fit.

    The header and corrections.json hold `n_replicas` replicas of each map.

    Raises:
        OutputError: something cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "fits").mkdir(exist_ok=True)
        write_result(folder, result)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another place with -o"
        ) from error
    counted = probes.get("simulation") if result.settings["truth"] else None
    write_root(folder / "efficiency.root", result, counted)
    write_corrections(folder / "corrections.json", result, n_replicas)
    write_header(folder / "efficiency.h", result, n_replicas)
    summaries: dict[str, bytes] = {}
    for (name, content), point in zip(summary_figures(result, "png", "pdf", "svg"), result.points, strict=True):
        save(folder / f"{name}.png", content["png"])
        save(folder / f"{name}.pdf", content["pdf"])
        summaries[point.name] = content["svg"]
    pictures: dict[str, bytes] = {}
    if fits:
        with watcher.task("drawing fits", len(result.points) * result.binning.n_bins, "bins") as task:
            for name, content in fit_figures(result, probes, "png"):
                save(folder / "fits" / f"{name}.png", content["png"])
                pictures[name] = content["png"]
                task.advance()
    page = render_measurement(
        title="Efficiencies from data",
        sentences=result.notes,
        failures=list(result.failures()),
        points=[_table(result, point, summaries[point.name], pictures) for point in result.points],
        settings={key: value if isinstance(value, str) else json.dumps(value) for key, value in _said(result).items()},
    )
    write_text(folder / "report.html", page)


def _said(result: EfficiencyResult) -> dict[str, object]:
    axes = dict(zip(result.binning.names, (edges.tolist() for edges in result.binning.edges), strict=True))
    stated = {key: value for key, value in result.settings.items() if value not in ("", None, [])}
    return {**stated, "bins": axes, "fingerprint": result.fingerprint}


def _table(result: EfficiencyResult, point: PointResult, figure: bytes, pictures: Mapping[str, bytes]) -> PointTable:
    fits = [
        (
            name,
            f"{point.model} at {point.working_point}, {result.binning.title(each.number)}, {sample}. "
            f"{fit_sentences(found)}.",
            pictures[name],
        )
        for each in point.bins
        for sample, found in (("data", each.data), ("simulation", each.simulation))
        if found is not None and (name := fit_name(point, each.number, sample)) in pictures
    ]
    rows = [
        [
            Cell(
                text,
                fit_name(point, each.number, sample) if fit_name(point, each.number, sample) in pictures else "",
                warn,
            )
            for text, sample, warn in row
        ]
        for each, row in zip(point.bins, (list(_row(result, each)) for each in point.bins), strict=True)
    ]
    return PointTable(f"{point.model} at {point.working_point}", figure, columns(result), rows, fits)


def columns(result: EfficiencyResult) -> list[str]:
    """Returns the names of the columns of `lines`."""
    simulated = ["in simulation", "scale factor"] if result.with_simulation else []
    return ["bin", "signal probes", "efficiency in data", *simulated, "p-value"]


def lines(result: EfficiencyResult, point: PointResult) -> list[list[str]]:
    """Returns the table of a working point as text, a row for each bin."""
    return [[text for text, _, _ in _row(result, each)] for each in point.bins]


def _row(result: EfficiencyResult, each: BinResult) -> Sequence[tuple[str, str, bool]]:
    """Returns the texts of a bin's row, with the sample whose fit each is of, and whether it is to be looked at."""
    data, warn = each.data, doubtful(each.data) or not each.data.nominal.usable
    row = [
        (result.binning.title(each.number), "", False),
        (_count(data.nominal.n_signal), "data", False),
        (quantity_text(data.quantity, data), "data", warn),
    ]
    if result.with_simulation:
        simulation = each.simulation
        row.append((quantity_text(simulation.quantity, simulation) if simulation else "–", "simulation", False))
        row.append((quantity_text(each.scale_factor, None), "", False))
    row.append((format_number(data.nominal.p_value, 2) if data.nominal.n_dof else "–", "data", warn))
    return row


def _count(n: Measured) -> str:
    return f"{n.value:,.0f}" if math.isfinite(n.value) else "–"


def quantity_text(quantity: Quantity, sample: SampleEfficiency | None) -> str:
    """Returns a number with its statistical error, and the systematic one behind it if there are systematics."""
    if not quantity.usable:
        return "failed" if sample is not None else "–"
    text = format_measured(quantity.measured)
    if not quantity.systematics:
        return text
    lost = any(math.isnan(shift) for shift in quantity.systematics.values())
    places = len(text.partition(" ")[0].partition(".")[2])
    small = quantity.systematic < 0.5 * 10.0**-places
    systematic = f"<{fixed(10.0**-places, places)}" if small else fixed(quantity.systematic, places)
    return f"{text} ± {systematic}{' and more' if lost else ''}"
