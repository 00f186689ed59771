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
from pidlab.measured import fixed, format_measured, format_number
from pidlab.plots.gallery import save
from pidlab.progress import Watcher
from pidlab.report.measurement import Cell, PointTable
from pidlab.report.offline import render_offline
from pidlab.runs.whole import filled_folder


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
        OutputError: something cannot be written; what the folder held is untouched.
    """
    settings = {key: value if isinstance(value, str) else json.dumps(value) for key, value in _said(result).items()}
    with filled_folder(folder) as made:
        (made / "fits").mkdir()
        write_result(made, result)
        counted = probes.get("simulation") if result.settings["truth"] else None
        write_root(made / "efficiency.root", result, counted)
        write_corrections(made / "corrections.json", result, n_replicas)
        write_header(made / "efficiency.h", result, n_replicas)
        summaries: dict[str, bytes] = {}
        for (name, content), point in zip(summary_figures(result, "png", "pdf", "svg"), result.points, strict=True):
            save(made / f"{name}.png", content["png"])
            save(made / f"{name}.pdf", content["pdf"])
            summaries[point.name] = content["svg"]
        pictures: dict[str, bytes] = {}
        if fits:
            with watcher.task("drawing fits", len(result.points) * result.binning.n_bins, "bins") as task:
                for name, content in fit_figures(result, probes, "png"):
                    save(made / "fits" / f"{name}.png", content["png"])
                    pictures[name] = content["png"]
                    task.advance()
        page = render_offline(
            "measurement.html.jinja",
            title="Efficiencies from data",
            sentences=result.notes,
            failures=list(result.failures()),
            points=[_table(result, point, summaries[point.name], pictures) for point in result.points],
            settings=settings,
            made="measured",
        )
        write_text(made / "report.html", page)


def _said(result: EfficiencyResult) -> dict[str, object]:
    axes = dict(zip(result.binning.names, (edges.tolist() for edges in result.binning.edges), strict=True))
    stated = {key: value for key, value in result.settings.items() if value not in ("", None, [])}
    return {**stated, "bins": axes, "fingerprint": result.fingerprint}


def _table(result: EfficiencyResult, point: PointResult, figure: bytes, pictures: Mapping[str, bytes]) -> PointTable:
    fits, rows = [], []
    for each in point.bins:
        names = {sample: fit_name(point, each.number, sample) for sample in each.samples}
        drawn = {sample: name for sample, name in names.items() if name in pictures}
        for sample, name in drawn.items():
            where = f"{point.title}, {result.binning.title(each.number)}, {sample}"
            fits.append((name, f"{where}. {fit_sentences(each.samples[sample])}.", pictures[name]))
        rows.append([Cell(text, drawn.get(sample, ""), warn) for text, sample, warn in _row(result, each)])
    return PointTable(point.title, figure, columns(result), rows, fits)


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
    n_signal = data.nominal.n_signal.value
    row = [
        (result.binning.title(each.number), "", False),
        (f"{n_signal:,.0f}" if math.isfinite(n_signal) else "–", "data", False),
        (quantity_text(data.quantity, data), "data", warn),
    ]
    if result.with_simulation:
        simulation = each.simulation
        row.append((quantity_text(simulation.quantity, simulation) if simulation else "–", "simulation", False))
        row.append((quantity_text(each.scale_factor, None), "", False))
    row.append((format_number(data.nominal.p_value, 2) if data.nominal.n_dof else "–", "data", warn))
    return row


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
