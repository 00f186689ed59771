"""Drawing all figures of a run, in this process and, if there are many, in a worker process at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pidlab.config.schema import Config, Style
from pidlab.evaluate.results import Results, read_results
from pidlab.process import collect_rarely

if TYPE_CHECKING:  # matplotlib, which a process imports when it draws
    from pidlab.plots.gallery import Figures, Picture
    from pidlab.plots.sheets.sheet import Sheet

MIN_FIGURES = 15
"""From this number of figures on, a worker saves more time than the second that it takes to start."""


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

    def begin(self, folder: Path, temporary: Path, style: Style) -> None:
        """Let the worker draw the figures of the run in `folder`, last first, until it meets one that is claimed.

        `temporary` holds the claims and receives the drawings as SVG.
        """
        request = {"folder": str(folder.resolve()), "temporary": str(temporary), "style": style.model_dump(mode="json")}
        self._send(json.dumps(request))

    def wait(self) -> None:
        """Wait until the worker has drawn what it can."""
        self._process.wait()

    def stop(self) -> None:
        """End the worker, whether it is done or not."""
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
def figure_worker(config: Config, n_processes: int) -> Iterator[FigureWorker | None]:
    """Give a worker for the length of the block; None if `n_processes` is 1 or the run has too few figures."""
    n_figures = len(config.models) * (4 + len(config.evaluate.maps))  # about four for each model and one for each map
    if n_processes < 2 or n_figures < MIN_FIGURES:
        yield None
        return
    worker = FigureWorker()
    try:
        yield worker
    finally:
        worker.stop()


@contextmanager
def drawing(
    folder: Path, results: Results, style: Style, worker: FigureWorker | None = None, *, figures: Figures = "all"
) -> Iterator[Callable[[], list[Picture]]]:
    """Write `folder`/plots/NAME.png, and NAME.pdf if they are all figures; the worker begins at once.

    This process takes the figures from the front and the worker takes them from the back until they meet.

    Args:
        folder: of a run, with `results.json`, which the worker reads, and the folder `plots`.
        results: those of `results.json`.
        style: label and style of an experiment.
        worker: None draws the figures in this process; a worker is for all figures.
        figures: which figures are drawn.

    Yields:
        A function that draws the figures of this process, then whatever the worker failed to deliver, and returns
        all figures as SVG. It raises OutputError if a file cannot be written.
    """
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        try:
            if worker is not None:
                worker.begin(folder, temporary, style)
            yield lambda: [] if figures == "none" else _drawn(folder, results, style, worker, temporary, figures)
        finally:
            if worker is not None:  # before the folder where it writes is removed
                worker.stop()


def _drawn(
    folder: Path, results: Results, style: Style, worker: FigureWorker | None, temporary: Path, figures: Figures
) -> list[Picture]:
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
    """Claim a figure for this process; returns False if the other process was first."""
    try:
        (temporary / f"{name}.claim").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def main() -> None:
    """Wait for a request on standard input, and draw figures, last first, until one is claimed by the other process."""
    collect_rarely()
    from pidlab.plots.gallery import catalogue, write_one  # while the other process trains

    text = sys.stdin.read()
    if not text:
        return
    request = json.loads(text)
    folder, temporary = Path(request["folder"]), Path(request["temporary"])
    style = Style.model_validate(request["style"])
    for name, sheet in reversed(catalogue(read_results(folder / "results.json")).items()):
        if not _claim(temporary, name):
            return
        unfinished = temporary / f"{name}.part"
        unfinished.write_text(write_one(sheet, name, folder / "plots", style).svg, encoding="utf-8")
        unfinished.replace(temporary / f"{name}.svg")


if __name__ == "__main__":
    main()
