"""Figures: all those of a run, drawn by this process and, where there are many, by a second one beside it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pidlab.config.schema import Config, Style
from pidlab.evaluate.results import Results, read_results
from pidlab.plots.gallery import Picture, catalogue, picture, write_one
from pidlab.plots.sheets.sheet import Sheet
from pidlab.process import collect_rarely

WORTH_IT = 15
"""From so many figures on a second process, which takes a second to start, saves time."""


class FigureWorker:
    """A process beside this one that draws figures when it is told to, started ahead since that takes a while.

    No fork, which hangs after xgboost or torch were used, and no spawn, which runs the main script of a user again.
    It does not hear Ctrl-C; `stop` ends it, as does the end of this process for as long as it has no order.
    """

    def __init__(self) -> None:
        words = [sys.executable, "-P", "-m", "pidlab.plots.worker"]
        silent = subprocess.DEVNULL
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=silent, stderr=silent, start_new_session=True, text=True
        )

    def begin(self, folder: Path, place: Path, look: Style) -> None:
        """Let it draw figures of the run in `folder` from the back, until another has claimed the rest in `place`."""
        order = json.dumps({"folder": str(folder.resolve()), "place": str(place), "look": look.model_dump(mode="json")})
        self._tell(order)

    def wait(self) -> None:
        """Until it is done with what it has begun."""
        self._process.wait()

    def stop(self) -> None:
        """End it, done or not."""
        self._process.kill()
        self._process.wait()
        self._tell("")

    def _tell(self, text: str) -> None:
        pipe = self._process.stdin
        if pipe is not None and not pipe.closed:
            with suppress(OSError):  # it has died: what it does not draw, this process does
                pipe.write(text)
                pipe.close()


@contextmanager
def second(config: Config, n_processes: int) -> Iterator[FigureWorker | None]:
    """A second process for the length of the block, where there may be one and it has enough to do."""
    if n_processes < 2 or _at_least(config) < WORTH_IT:
        yield None
        return
    process = FigureWorker()
    try:
        yield process
    finally:
        process.stop()


def _at_least(config: Config) -> int:
    """So many figures, or some more, will be drawn of a run: for each model some, and one for each map."""
    return len(config.models) * (4 + len(config.evaluate.maps))


@contextmanager
def drawing(
    folder: Path, results: Results, look: Style, beside: FigureWorker | None = None
) -> Iterator[Callable[[], list[Picture]]]:
    """Write `folder`/plots/NAME.png and NAME.pdf of everything there is to draw, `beside` from now on.

    One process takes the figures from the front and the other from the back until they meet. What the second one does
    not deliver, whatever befell it, this one draws.

    Args:
        folder: of a run, with `results.json`, which the second process reads, and `plots`.
        results: what it holds.
        look: labels of an experiment.
        beside: the second process; None draws all in this one.

    Yields:
        A function that draws the rest. The figures as SVG come back. It raises OutputError where a file cannot be
        written.
    """
    sheets = catalogue(results)
    with tempfile.TemporaryDirectory() as place:
        try:
            if beside is not None:
                beside.begin(folder, Path(place), look)
            yield lambda: _drawn(sheets, folder, Path(place), look, beside)
        finally:
            if beside is not None:  # before the place where it writes is removed
                beside.stop()


def _drawn(
    sheets: dict[str, Sheet], folder: Path, place: Path, look: Style, beside: FigureWorker | None
) -> list[Picture]:
    made: dict[str, Picture] = {}
    for name, sheet in sheets.items():
        if _claimed(place, name):
            made[name] = write_one(sheet, name, folder / "plots", look)
    if beside is not None:
        beside.wait()
    for name in sheets.keys() - made.keys():
        svg, sheet = place / f"{name}.svg", sheets[name]
        if svg.is_file():
            made[name] = picture(name, sheet, svg.read_bytes())
        else:
            made[name] = write_one(sheet, name, folder / "plots", look)
    return [made[name] for name in sheets]


def _claimed(place: Path, name: str) -> bool:
    """Whether this process is the first to want the figure."""
    try:
        (place / f"{name}.claim").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def main() -> None:
    """Wait for an order, which may never come, and draw from the back until another process has claimed the rest."""
    collect_rarely()
    text = sys.stdin.read()
    if not text:
        return
    order = json.loads(text)
    folder, place, look = Path(order["folder"]), Path(order["place"]), Style.model_validate(order["look"])
    for name, sheet in reversed(catalogue(read_results(folder / "results.json")).items()):
        if not _claimed(place, name):
            return
        unfinished = place / f"{name}.part"
        unfinished.write_text(write_one(sheet, name, folder / "plots", look).svg, encoding="utf-8")
        unfinished.replace(place / f"{name}.svg")


if __name__ == "__main__":
    main()
