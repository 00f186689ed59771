"""Every figure of a run, made from its results: names, titles, descriptions, numbers, and files."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection, Iterator
from itertools import chain
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

from pidlab.atomic import write_bytes
from pidlab.config.schema import Style
from pidlab.errors import OutputError
from pidlab.evaluate.results import AnyResults, RegressionResults, Results
from pidlab.plots.canvas.experiment import put_label
from pidlab.plots.canvas.recording import recorded
from pidlab.plots.canvas.style import context
from pidlab.plots.regression.sheets import SHEETS as _SHEETS_OF_REGRESSION
from pidlab.plots.sheets import (
    bands,
    calibration,
    changes,
    exploration,
    flat,
    identified,
    importance,
    inputs,
    merit,
    models,
    points,
    polygons,
    spectators,
    weights,
)
from pidlab.plots.sheets.picture import Picture
from pidlab.plots.sheets.sheet import Sheet

Figures = Literal["none", "quick", "all"]
"""Which figures a run draws: none; `quick`, the ROC curves and the response of each model; or all of them."""

FORMATS: dict[Figures, tuple[str, ...]] = {"none": (), "quick": ("png",), "all": ("png", "pdf")}
"""The files of each figure of a run beside the report. PDF takes a sixth of the time of a few figures, half of it to
import what embeds fonts, and `pidlab plot` writes it later."""

DPI = 120
PLAIN = Style()

_SHEETS: tuple[Callable[[Results], Iterator[Sheet]], ...] = (
    inputs.inputs, exploration.ratios, inputs.correlations, weights.weights, exploration.scatters, polygons.polygons,
    exploration.scaled_inputs, models.learning, exploration.trees, points.rocs, models.responses, bands.bands,
    models.confusions, spectators.efficiencies, spectators.maps, flat.flat_points, changes.comparisons, changes.changes,
    identified.compositions,
    inputs.cut_flows, calibration.calibrations, merit.merits, points.class_pairs, models.matrices,
    importance.importances, exploration.swarms, importance.dependences,
)  # fmt: skip
"""What makes the figures of a run, in the order in which they are drawn."""


def catalogue(results: AnyResults) -> dict[str, Sheet]:
    """Returns the sheets of all figures by name, in the order of the analysis, without drawing them.

    Figures without content are left out. Names are stems of file names, unique even if case is ignored.
    """
    found: dict[str, Sheet] = {}
    taken: set[str] = set()
    for sheet in _sheets(results):
        found[_unique(sanitised(sheet.name), taken)] = sheet
    return found


def _sheets(results: AnyResults) -> Iterator[Sheet]:
    """Returns the sheets of the figures of a classification or a regression."""
    if isinstance(results, RegressionResults):
        return chain.from_iterable(make(results) for make in _SHEETS_OF_REGRESSION)
    return chain.from_iterable(make(results) for make in _SHEETS)


def chosen(results: AnyResults, figures: Figures) -> dict[str, Sheet]:
    """Returns those of the sheets of `catalogue` that belong to a choice of figures."""
    sheets = {} if figures == "none" else catalogue(results)
    return {name: sheet for name, sheet in sheets.items() if sheet.quick or (figures == "all" and not sheet.on_request)}


def drawn(sheet: Sheet, name: str, style: Style = PLAIN) -> Figure:
    """Returns the drawn figure of one sheet."""
    with context(name, style.experiment):
        figure = sheet.draw()
        put_label(figure, style)
    return figure


def write(
    results: AnyResults,
    directory: Path,
    style: Style = PLAIN,
    *,
    formats: Collection[str] = ("png", "pdf"),
    only: Collection[str] | None = None,
) -> list[Picture]:
    """Writes NAME.FORMAT of every figure that a run draws, or of those named in `only`, into an existing `directory`.

    Returns:
        The same figures as SVG.

    Raises:
        OutputError: If a file cannot be written.
    """
    return [
        write_one(sheet, name, directory, style, formats)
        for name, sheet in catalogue(results).items()
        if (not sheet.on_request if only is None else name in only)
    ]


def write_one(
    sheet: Sheet, name: str, directory: Path, style: Style = PLAIN, formats: Collection[str] = ("png", "pdf")
) -> Picture:
    """Writes NAME.FORMAT of one figure and returns it as SVG.

    Raises:
        OutputError: If a file cannot be written.
    """
    files = rendered(drawn(sheet, name, style), name, *{*formats, "svg"}, experiment=style.experiment)
    for suffix in formats:
        save(directory / f"{name}.{suffix}", files[suffix])
    return picture(name, sheet, files["svg"])


def rendered(figure: Figure, name: str, *formats: str, experiment: str = "none") -> dict[str, bytes]:
    """Returns `figure` in each of `formats` ("png", "pdf", "svg").

    The bytes are reproducible: they hold no dates and no random identifiers.
    """
    files: dict[str, bytes] = {}
    with context(name, experiment):
        record = recorded(figure, margin=0.08)
        for suffix in formats:
            buffer = io.BytesIO()
            record.savefig(buffer, format=suffix, dpi=DPI, metadata=_UNDATED[suffix])
            files[suffix] = buffer.getvalue()
    return files


def sanitised(name: str) -> str:
    """Returns `name` with only letters, digits and underscores and at most 120 characters."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:120] or "figure"


_UNDATED: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}


def _unique(name: str, taken: set[str]) -> str:
    candidate, n = name, 1
    while candidate.lower() in taken:
        n += 1
        candidate = f"{name}_{n}"
    taken.add(candidate.lower())
    return candidate


def picture(name: str, sheet: Sheet, svg: bytes) -> Picture:
    """Returns the drawing of a sheet as the report takes it."""
    table = sheet.numbers() if sheet.numbers else None
    return Picture(name, sheet.title, sheet.alt, svg.decode(), table, sheet.section, sheet.objects)


def save(path: Path, content: bytes) -> Path:
    """Writes the file of a figure and returns its path.

    Raises:
        OutputError: If the file cannot be written; what was there is untouched.
    """
    try:
        write_bytes(path, content)
    except OSError as error:
        raise OutputError(
            f"{path}: the figure cannot be written ({error.strerror or error}); "
            "choose a place with room where you may write, by `-o`"
        ) from error
    return path
