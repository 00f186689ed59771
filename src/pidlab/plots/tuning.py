"""Tuning: the objective trial by trial, and which parameters mattered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pidlab.errors import OutputError
from pidlab.evaluate.results import Tuning
from pidlab.measured import Array
from pidlab.plots.gallery import rendered
from pidlab.plots.style import GREY, context, label_axes, legend, log_scale, name_ticks, new_figure, nothing_to_draw

_COMPLETE, _BEST = "#3f90da", "#bd1f01"


def write_tuning(tuning: Tuning, directory: Path, stem: str) -> list[Path]:
    """Write STEM.tune_history and STEM.tune_importance as PNG and PDF into an existing directory; the paths come back.

    Raises:
        OutputError: a file cannot be written.
    """
    written = []
    for name, draw in (("tune_history", history_figure), ("tune_importance", importance_figure)):
        with context(name):
            figure = draw(tuning)
        for suffix, content in rendered(figure, name, "png", "pdf").items():
            path = directory / f"{stem}.{name}.{suffix}"
            try:
                path.write_bytes(content)
            except OSError as error:
                raise OutputError(f"{path}: the figure cannot be written ({error.strerror or error})") from error
            written.append(path)
    return written


def history_figure(tuning: Tuning) -> Figure:
    """The objective of each trial and the best so far."""
    figure = new_figure(6.4, 4.2)
    history(tuning, figure.subplots())
    return figure


def importance_figure(tuning: Tuning) -> Figure:
    """The share of each parameter in the objective's variance."""
    figure = new_figure(6.4, 1.6 + 0.4 * max(len(tuning.importance), 3))
    importance(tuning, figure.subplots())
    return figure


def history(tuning: Tuning, ax: Axes) -> Axes:
    """Draw 1 - AUC, or the misidentification, on validation over the number of the trial: less is better.

    Pruned trials are crosses at the bottom: what they reported last is no objective.
    """
    complete = sorted((t for t in tuning.trials if t.state == "complete"), key=lambda t: t.number)
    if not complete:
        return nothing_drawn(ax, "no complete trial")
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
    label_axes(ax, "trial", f"{_shown_loss(tuning)} on validation")
    legend(ax, entries, title=tuning.model, width=64)
    return ax


def _loss(values: Array, tuning: Tuning) -> Array:
    return 1 - values if tuning.maximise else values


def _shown_loss(tuning: Tuning) -> str:
    return ("1 − " if tuning.maximise else "") + shown_objective(tuning.objective)


def importance(tuning: Tuning, ax: Axes) -> Axes:
    """Draw each parameter's share of the objective's variance over the trials, the largest above."""
    shares = sorted(tuning.importance.items(), key=lambda item: item[1])
    if not shares:
        return nothing_drawn(ax, "too few complete trials to tell")
    ax.barh(range(len(shares)), [share for _, share in shares], color=_COMPLETE, height=0.6)
    name_ticks(ax, "y", [name for name, _ in shares])
    ax.set_xlim(0, 1.05 * max(share for _, share in shares))
    label_axes(ax, f"share of the variance of {shown_objective(tuning.objective)} over trials", "")
    return ax


def nothing_drawn(ax: Axes, reason: str) -> Axes:
    """Axes that say why they are empty."""
    nothing_to_draw(ax, reason)
    return ax


def shown_objective(objective: str) -> str:
    """The objective in words."""
    return "AUC" if objective == "auc" else f"misid at {objective.partition(':')[2]}"
