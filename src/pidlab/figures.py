"""Figures: all those of a run, drawn by this process and, where there are many, by a second one beside it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pidlab.config.schema import Style
from pidlab.evaluate.results import Results
from pidlab.evaluate.stored import read_results
from pidlab.plots.gallery import Picture, catalogue, picture, write, write_one

WORTH_IT = 40
"""From so many figures on a second process, which needs some seconds to start, saves time."""


def draw_figures(folder: Path, results: Results, look: Style, n_processes: int = 1) -> list[Picture]:
    """Write `folder`/plots/NAME.png and NAME.pdf of everything there is to draw; the same as SVG come back.

    One process takes the figures from the front and the other from the back until they meet. What the second one does
    not deliver, whatever befell it, this one draws.

    Args:
        folder: of a run, with `results.json`, which the second process reads, and `plots`.
        results: what it holds.
        look: labels of an experiment.
        n_processes: 1 draws all in this one.

    Raises:
        OutputError: a file cannot be written.
    """
    sheets = catalogue(results)
    if n_processes < 2 or len(sheets) < WORTH_IT:
        return write(results, folder / "plots", look)
    made: dict[str, Picture] = {}
    with tempfile.TemporaryDirectory() as place, _second(folder, Path(place), look) as second:
        for name, sheet in sheets.items():
            if _claimed(Path(place), name):
                made[name] = write_one(sheet, name, folder / "plots", look)
        second.wait()
        for name in sheets.keys() - made.keys():
            svg, sheet = Path(place) / f"{name}.svg", sheets[name]
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


@contextmanager
def _second(folder: Path, place: Path, look: Style) -> Iterator[subprocess.Popen[bytes]]:
    """A process that draws from the back. It does not hear Ctrl-C, which ends it by ending the block.

    No fork, which hangs after xgboost or torch were used, and no spawn, which runs the main script of a user again.
    """
    words = [sys.executable, "-P", "-m", "pidlab.figures", str(folder.resolve()), str(place), look.model_dump_json()]
    silent = subprocess.DEVNULL
    process = subprocess.Popen(words, stdin=silent, stdout=silent, stderr=silent, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def main(folder: Path, place: Path, look: Style) -> None:
    """Draw figures of the run in `folder` from the back until another process has claimed the rest in `place`."""
    for name, sheet in reversed(catalogue(read_results(folder / "results.json")).items()):
        if not _claimed(place, name):
            return
        unfinished = place / f"{name}.part"
        unfinished.write_text(write_one(sheet, name, folder / "plots", look).svg, encoding="utf-8")
        unfinished.replace(place / f"{name}.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Style.model_validate_json(sys.argv[3]))
