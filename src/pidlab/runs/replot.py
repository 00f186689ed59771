"""Replot: draws figures of a finished run again, with other labels, in another style or format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from pidlab.config.load import load_config
from pidlab.config.schema import Config
from pidlab.errors import OutputError, UsageError, nearest
from pidlab.evaluate.results import AnyResults, read_any_results
from pidlab.plots.gallery import catalogue, rendered, save
from pidlab.plots.on_request import Options, Plots
from pidlab.plots.on_request.canvas import Canvas
from pidlab.runs.manifest import from_run, refuse_other_folder, verify

FORMATS = ("pdf", "png", "svg")
_MAY_CHANGE = ("style", "labels")


def replot(
    run: Path,
    names: Sequence[str],
    directory: Path,
    formats: Sequence[str],
    overrides: Sequence[str] = (),
    **options: Unpack[Options],
) -> list[Path]:
    """Writes figures of the finished `run` as `directory`/NAME.FORMAT, and returns their paths.

    Args:
        run: the folder that `pidlab run` left behind.
        names: the names of figures, as `figure_titles` has them.
        directory: is made if it does not exist.
        formats: some of `FORMATS`.
        overrides: `KEY=VALUE` of the sections `style` and `labels`.
        options: the options of `pidlab.plots.on_request.Plots`, for every figure.

    Raises:
        UsageError: `run` is not the folder of a run, it has no such figure, an override is of another section, or an
            option is wrong or would change nothing.
        ModelError: a file of the run is damaged.
        OutputError: a figure cannot be written.
    """
    for override in overrides:
        if override.partition("=")[0].partition(".")[0] not in _MAY_CHANGE:
            raise UsageError(f"--set {override}: a figure made again changes only in {' and '.join(_MAY_CHANGE)}")
    config, results = _finished(run, overrides)
    with from_run(run):
        plots = Plots(results, config.style)
    for name in names:
        if name not in plots.names:
            raise UsageError(f"{run}: has no figure {name!r}; {nearest(name, plots.names)}")
    made: dict[str, dict[str, bytes]] = {}
    with from_run(run):
        for name in names:
            canvas = Canvas()
            style = plots.on(canvas, name, **options)
            made[name] = rendered(canvas.figure, name, *formats, experiment=style.experiment)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{directory}: cannot be made ({error.strerror or error}); choose another by `-o`") from error
    return [save(directory / f"{name}.{suffix}", files[suffix]) for name, files in made.items() for suffix in formats]


def figure_titles(run: Path) -> dict[str, str]:
    """Returns the figures of a finished run: name to title.

    Raises:
        UsageError: `run` is not the folder of a run.
        ModelError: a file of the run is damaged.
    """
    results = _finished(run)[1]
    with from_run(run):
        return {name: sheet.title for name, sheet in catalogue(results).items()}


def _finished(run: Path, overrides: Sequence[str] = ()) -> tuple[Config, AnyResults]:
    refuse_other_folder(run, "config.yaml", "results.json")
    verify(run, "config.yaml", "results.json")
    config = load_config(run / "config.yaml", overrides).config
    results = read_any_results(run / "results.json")
    return config, replace(results, labels=config.axis_labels, reference=config.style.reference or "")
