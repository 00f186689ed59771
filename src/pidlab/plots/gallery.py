"""Every figure of a run, made from its results: names, titles, descriptions, numbers, and the files."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from pidlab.config.schema import Style
from pidlab.errors import OutputError
from pidlab.evaluate.results import Results
from pidlab.plots import style
from pidlab.plots.experiment import put_label
from pidlab.plots.recording import recorded
from pidlab.plots.sheets import collection as sheets
from pidlab.plots.sheets.sheet import Sheet
from pidlab.plots.sheets.tables import FigureTable

DPI = 120
PLAIN = Style()


class Picture(NamedTuple):
    """A figure as the report takes it.

    `name` is its file's stem, `alt` says in words what it shows, `table` holds its numbers where it has some.
    """

    name: str
    title: str
    alt: str
    svg: str
    table: FigureTable | None = None


def catalogue(results: Results) -> dict[str, Sheet]:
    """Everything there is to draw, by name, in the order of the analysis; nothing is drawn yet.

    What has no content is absent. Names are file names without a suffix, unique also where case does not count.
    """
    found: dict[str, Sheet] = {}
    taken: set[str] = set()
    for sheet in chain.from_iterable(make(results) for make in sheets.ALL):
        found[_unique(sanitised(sheet.name), taken)] = sheet
    return found


def drawn(sheet: Sheet, name: str, look: Style = PLAIN) -> Figure:
    """The figure of one sheet."""
    with style.context(name, look.experiment):
        figure = sheet.draw()
        put_label(figure, look)
    return figure


def figures(results: Results, look: Style = PLAIN) -> Iterator[tuple[str, str, str, Figure]]:
    """The name, title, description and figure of everything there is to draw, in the order of the analysis."""
    for name, sheet in catalogue(results).items():
        yield name, sheet.title, sheet.alt, drawn(sheet, name, look)


def write(
    results: Results,
    directory: Path,
    look: Style = PLAIN,
    *,
    formats: Collection[str] = ("png", "pdf"),
    only: Collection[str] | None = None,
) -> list[Picture]:
    """Write NAME.FORMAT of every figure, or of those named in `only`, into an existing `directory`.

    The same figures as SVG come back.

    Raises:
        OutputError: a file cannot be written.
    """
    return [
        write_one(sheet, name, directory, look, formats)
        for name, sheet in catalogue(results).items()
        if only is None or name in only
    ]


def write_one(
    sheet: Sheet, name: str, directory: Path, look: Style = PLAIN, formats: Collection[str] = ("png", "pdf")
) -> Picture:
    """Write NAME.FORMAT of one figure; the same as SVG comes back.

    Raises:
        OutputError: a file cannot be written.
    """
    files = rendered(drawn(sheet, name, look), name, *{*formats, "svg"}, experiment=look.experiment)
    for suffix in formats:
        _save(directory / f"{name}.{suffix}", files[suffix])
    return picture(name, sheet, files["svg"])


def save_plots(results: Results, directory: Path) -> list[Path]:
    """Write every figure as NAME.png and NAME.pdf; the paths come back.

    Raises:
        OutputError: a file cannot be written.
    """
    names = [picture.name for picture in write(results, directory)]
    return [directory / f"{name}.{suffix}" for name in names for suffix in ("png", "pdf")]


def pictures(results: Results, look: Style = PLAIN) -> list[Picture]:
    """Every figure in SVG alone."""
    return [
        picture(name, sheet, rendered(drawn(sheet, name, look), name, "svg", experiment=look.experiment)["svg"])
        for name, sheet in catalogue(results).items()
    ]


def rendered(figure: Figure, name: str, *formats: str, experiment: str = "none") -> dict[str, bytes]:
    """The bytes of `figure` in each of `formats` ("png", "pdf", "svg"), the same each time: no dates, no random ids."""
    files: dict[str, bytes] = {}
    with style.context(name, experiment):
        record = recorded(figure, margin=0.08)
        for suffix in formats:
            buffer = io.BytesIO()
            record.savefig(buffer, format=suffix, dpi=DPI, metadata=_UNDATED[suffix])
            files[suffix] = buffer.getvalue()
    return files


def sanitised(name: str) -> str:
    """`name` with only letters, digits and underscores, of at most 120 characters."""
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
    """What was drawn of a sheet, as the report takes it."""
    return Picture(name, sheet.title, sheet.alt, svg.decode(), sheet.numbers() if sheet.numbers else None)


def _save(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise OutputError(
            f"{path}: the figure cannot be written ({error.strerror or error}); "
            "choose a place with room where you may write, by `-o`"
        ) from error
