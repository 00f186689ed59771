"""Drawing all figures of a run, in this process and, if there are many, in a worker process at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pidlab.config.schema import Config, Style
from pidlab.errors import UsageError
from pidlab.evaluate.results import AnyResults, read_any_results
from pidlab.process import collect_rarely, import_without_pandas

if TYPE_CHECKING:  # matplotlib, which a process imports when it draws
    from pidlab.plots.gallery import Figures
    from pidlab.plots.sheets.picture import Picture
    from pidlab.plots.sheets.sheet import Sheet

MIN_FIGURES = 15
"""From this number of figures on, a worker saves more time than the second that it takes to start."""

_PICTURES = "pictures.json"


def check_figures(figures: str) -> None:
    """Checks the word that says which figures are drawn, before anything takes long.

    Raises:
        UsageError: there is no such word.
    """
    if figures not in (known := ("none", "quick", "all")):
        raise UsageError(f"figures must be one of {', '.join(known)}, not {figures!r}")


class FigureWorker:
    """A process that draws figures at the same time as this one.

    It starts when the object is made, because that takes a second, and waits for `begin`. It is not forked, because
    forks hang after xgboost or torch were used, and not spawned, because that runs a user's main script again.
    It ignores Ctrl-C. It ends by `stop`, or with this process if `begin` was never called.
    """

    def __init__(self) -> None:
        words = [sys.executable, "-P", "-m", "pidlab.plots.worker"]
        silent = subprocess.DEVNULL
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=silent, stderr=silent, start_new_session=True, text=True
        )

    def begin(self, folder: Path, temporary: Path, style: Style, figures: Figures = "all") -> None:
        """Lets the worker draw figures of the run in `folder`.

        All of them it draws last first, until it meets one that is claimed: `temporary` holds the claims and receives
        the drawings as SVG. A few figures it draws alone, so that the other process need not import what draws.
        """
        request = {"folder": str(folder.resolve()), "temporary": str(temporary), "figures": figures}
        self._send(json.dumps({**request, "style": style.model_dump(mode="json")}))

    def wait(self) -> None:
        """Waits until the worker has drawn what it can."""
        self._process.wait()

    def stop(self) -> None:
        """Ends the worker, whether it is done or not."""
        self._process.kill()
        self._process.wait()
        self._send("")

    def _send(self, text: str) -> None:
        pipe = self._process.stdin
        if pipe is not None and not pipe.closed:
            with suppress(OSError):  # the worker has died: this process draws its figures
                pipe.write(text)
                pipe.close()


@contextmanager
def figure_worker(config: Config, n_processes: int, figures: Figures) -> Iterator[FigureWorker | None]:
    """Gives a worker for the length of the block; None if `n_processes` is 1 or it would not save time.

    A few figures are worth one that starts while models train: this process spares the import of matplotlib too.
    """
    n_figures = len(config.models) * (4 + len(config.evaluate.maps))  # about four for each model and one for each map
    if n_processes < 2 or figures == "none" or (figures == "all" and n_figures < MIN_FIGURES):
        yield None
        return
    worker = FigureWorker()
    try:
        yield worker
    finally:
        worker.stop()


@contextmanager
def drawing(
    folder: Path, results: AnyResults, style: Style, worker: FigureWorker | None = None, *, figures: Figures = "all"
) -> Iterator[Callable[[], list[Picture]]]:
    """Writes `folder`/plots/NAME.png, and NAME.pdf if they are all figures; the worker begins at once.

    This process takes the figures from the front and the worker takes them from the back until they meet; a few figures
    are the worker's.

    Args:
        folder: the folder of a run, with `results.json`, which the worker reads, and the folder `plots`.
        results: the results that `results.json` holds.
        style: label and style of an experiment.
        worker: None draws the figures in this process.
        figures: which figures are drawn.

    Yields:
        A function that draws the figures of this process, then whatever the worker failed to deliver, and returns
        all figures as SVG. It raises OutputError if a file cannot be written.
    """
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        try:
            if worker is not None:
                worker.begin(folder, temporary, style, figures)
            yield lambda: [] if figures == "none" else _drawn(folder, results, style, worker, temporary, figures)
        finally:
            if worker is not None:  # before the folder where it writes is removed
                worker.stop()


def _drawn(
    folder: Path, results: AnyResults, style: Style, worker: FigureWorker | None, temporary: Path, figures: Figures
) -> list[Picture]:
    if worker is not None and figures != "all":
        worker.wait()
        if (pictures := _read_pictures(temporary / _PICTURES)) is not None:
            return pictures
    from pidlab.plots.gallery import FORMATS, chosen, picture, write_one

    formats = FORMATS[figures]
    sheets: Mapping[str, Sheet] = chosen(results, figures)
    made: dict[str, Picture] = {}
    for name, sheet in sheets.items():
        if _claim(temporary, name):
            made[name] = write_one(sheet, name, folder / "plots", style, formats)
    if worker is not None:
        worker.wait()
    for name in sheets.keys() - made.keys():
        svg, sheet = temporary / f"{name}.svg", sheets[name]
        if svg.is_file():
            made[name] = picture(name, sheet, svg.read_bytes())
        else:
            made[name] = write_one(sheet, name, folder / "plots", style, formats)
    return [made[name] for name in sheets]


def _claim(temporary: Path, name: str) -> bool:
    """Claims a figure for this process; returns False if the other process was first."""
    try:
        (temporary / f"{name}.claim").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _write_pictures(path: Path, pictures: Sequence[Picture]) -> None:
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps([list(each) for each in pictures], default=lambda number: number.item()))
    unfinished.replace(path)


def _read_pictures(path: Path) -> list[Picture] | None:
    """Returns the pictures that a worker drew; None if it did not finish."""
    from pidlab.plots.sheets.picture import Picture
    from pidlab.plots.sheets.table import FigureTable

    if not path.is_file():
        return None
    pictures = []
    for name, title, alt, svg, table, section, objects in json.loads(path.read_text()):
        numbers = None if table is None else FigureTable(tuple(table[0]), tuple(map(tuple, table[1])))
        pictures.append(Picture(name, title, alt, svg, numbers, section, tuple(objects)))
    return pictures


def main() -> None:
    """Waits for a request on standard input, and draw.

    All figures are drawn last first until one is claimed by the other process, a few of them one after the other.
    """
    collect_rarely()
    import_without_pandas()
    from pidlab.plots.gallery import FORMATS, chosen, write_one  # while the other process trains

    text = sys.stdin.read()
    if not text:
        return
    request = json.loads(text)
    folder, temporary = Path(request["folder"]), Path(request["temporary"])
    style, figures = Style.model_validate(request["style"]), request["figures"]
    sheets = chosen(read_any_results(folder / "results.json"), figures)
    if figures != "all":
        drawn = [write_one(each, name, folder / "plots", style, FORMATS[figures]) for name, each in sheets.items()]
        _write_pictures(temporary / _PICTURES, drawn)
        return
    for name, sheet in reversed(sheets.items()):
        if not _claim(temporary, name):
            return
        unfinished = temporary / f"{name}.part"
        unfinished.write_text(write_one(sheet, name, folder / "plots", style).svg, encoding="utf-8")
        unfinished.replace(temporary / f"{name}.svg")


if __name__ == "__main__":
    main()
