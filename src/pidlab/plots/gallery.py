"""Every figure of a run, made from its results: names, titles, descriptions, and the files."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from pidlab.errors import OutputError
from pidlab.evaluate.results import Results
from pidlab.plots import sheets, style

DPI = 120


class Picture(NamedTuple):
    """A figure as the report takes it: `name` is its file's stem, `alt` says in words what it shows."""

    name: str
    title: str
    alt: str
    svg: str


def figures(results: Results) -> Iterator[tuple[str, str, str, Figure]]:
    """The name, title, description and figure of everything there is to draw, in the order of the analysis.

    What has no content is absent. Names are file names without a suffix, unique also where case does not count.
    """
    taken: set[str] = set()
    for sheet in chain.from_iterable(make(results) for make in sheets.ALL):
        name = _unique(sanitised(sheet.name), taken)
        with style.context(name):
            figure = sheet.draw()
        yield name, sheet.title, sheet.alt, figure


def write(results: Results, directory: Path) -> list[Picture]:
    """Write NAME.png and NAME.pdf of every figure into an existing `directory`; the same as SVG comes back.

    Raises:
        OutputError: a file cannot be written.
    """
    return [_written(drawing, directory) for drawing in figures(results)]


def save_plots(results: Results, directory: Path) -> list[Path]:
    """Write every figure as NAME.png and NAME.pdf; the paths come back.

    Raises:
        OutputError: a file cannot be written.
    """
    names = [picture.name for picture in write(results, directory)]
    return [directory / f"{name}.{suffix}" for name in names for suffix in ("png", "pdf")]


def pictures(drawings: Iterable[tuple[str, str, str, Figure]]) -> list[Picture]:
    """`drawings`, as `figures` yields them, in SVG alone."""
    return [
        Picture(name, title, alt, rendered(figure, name, "svg")["svg"].decode())
        for name, title, alt, figure in drawings
    ]


def rendered(figure: Figure, name: str, *formats: str) -> dict[str, bytes]:
    """The bytes of `figure` in each of `formats` ("png", "pdf", "svg"), the same each time: no dates, no random ids."""
    files: dict[str, bytes] = {}
    with style.context(name):
        # bbox_inches="tight" lays the figure out again for each format; once is enough.
        box = figure.get_tightbbox().padded(0.08)
        for suffix in formats:
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix, dpi=DPI, bbox_inches=box, metadata=_UNDATED[suffix])
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


def _written(drawing: tuple[str, str, str, Figure], directory: Path) -> Picture:
    name, title, alt, figure = drawing
    files = rendered(figure, name, "png", "pdf", "svg")
    for suffix in ("png", "pdf"):
        path = directory / f"{name}.{suffix}"
        try:
            path.write_bytes(files[suffix])
        except OSError as error:
            raise OutputError(
                f"{path}: the figure cannot be written ({error.strerror or error}); "
                "choose a place with room where you may write, by `-o`"
            ) from error
    return Picture(name, title, alt, files["svg"].decode())
