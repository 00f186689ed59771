"""Tuning: the objective of each trial, and the importance of the parameters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pidlab.evaluate.results import Tuning
from pidlab.evaluate.results.tuning import objective_text
from pidlab.measured import Array
from pidlab.plots.canvas.style import (
    GREY,
    context,
    label_axes,
    legend,
    log_scale,
    name_ticks,
    new_figure,
    nothing_to_draw,
)
from pidlab.plots.gallery import rendered, save

_COMPLETE, _BEST = "#3f90da", "#bd1f01"


def write_tuning(tuning: Tuning, directory: Path, stem: str) -> list[Path]:
    """Writes STEM.tune_history and STEM.tune_importance as PNG and PDF into an existing directory.

    Returns:
        The paths of the files.

    Raises:
        OutputError: If a file cannot be written.
    """
    written = []
    for name, draw in (("tune_history", history_figure), ("tune_importance", importance_figure)):
        with context(name):
            figure = draw(tuning)
        for suffix, content in rendered(figure, name, "png", "pdf").items():
            written.append(save(directory / f"{stem}.{name}.{suffix}", content))
    return written


def history_figure(tuning: Tuning) -> Figure:
    """Draws 1 - AUC, or the misidentification, on validation against the number of the trial; less is better.

    Pruned trials have no objective and are drawn as crosses at the bottom.
    """
    figure = new_figure(6.4, 4.2)
    ax = figure.subplots()
    complete = sorted((t for t in tuning.trials if t.state == "complete"), key=lambda t: t.number)
    if not complete:
        nothing_to_draw(ax, "no complete trial")
        return figure
    numbers = np.array([t.number for t in complete])
    values = _loss(np.array([t.value for t in complete]), tuning)
    (points,) = ax.plot(numbers, values, "o", ms=4, color=_COMPLETE)
    best = np.minimum.accumulate(values)
    last = max(t.number for t in tuning.trials)
    (line,) = ax.step([*numbers, last], [*best, best[-1]], where="post", color=_BEST)
    entries = [(points, "complete"), (line, "best so far")]
    before = _loss(np.array([tuning.before.value]), tuning)
    if np.isfinite(before[0]):
        entries.append((ax.axhline(before[0], color=GREY, linestyle=":"), "configuration as it is"))
    pruned = [t.number for t in tuning.trials if t.state == "pruned"]
    if pruned:
        (crosses,) = ax.plot(
            pruned, np.full(len(pruned), 0.04), "x", ms=4, color=GREY, transform=ax.get_xaxis_transform()
        )
        entries.append((crosses, "pruned"))
    log_scale(ax, np.concatenate([values, before]), below=1.3, above=1.3)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_axes(ax, "trial", f"{'1 − ' if tuning.maximise else ''}{objective_text(tuning.objective)} on validation")
    legend(ax, entries, title=tuning.model)
    return figure


def _loss(values: Array, tuning: Tuning) -> Array:
    return 1 - values if tuning.maximise else values


def importance_figure(tuning: Tuning) -> Figure:
    """Draws the share of each parameter in the variance of the objective over trials, the largest on top."""
    figure = new_figure(6.4, 1.6 + 0.4 * max(len(tuning.importance), 3))
    ax = figure.subplots()
    shares = sorted(tuning.importance.items(), key=lambda item: item[1])
    if not shares:
        nothing_to_draw(ax, "too few complete trials to tell")
        return figure
    ax.barh(range(len(shares)), [share for _, share in shares], color=_COMPLETE, height=0.6)
    name_ticks(ax, "y", [name for name, _ in shares])
    ax.set_xlim(0, 1.05 * max(share for _, share in shares))
    label_axes(ax, f"share of the variance of {objective_text(tuning.objective)} over trials", "")
    return figure
