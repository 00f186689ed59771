"""The cut flow: the candidates of each class that each cut of the selection leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from pidlab.evaluate.results import CutStep
from pidlab.plots.canvas.style import LineStyle, label_axes, legend, name_ticks, write_text


def cut_flow(steps: Sequence[CutStep], ax: Axes, *, styles: Mapping[str, LineStyle]) -> None:
    """Draws the number of candidates of each class after each cut, the first cut on top, on a log axis."""
    classes = list(dict.fromkeys(particle for step in steps for particle in step.passed))
    height = 0.8 / max(len(classes), 1)
    entries = []
    for i, particle in enumerate(classes):
        counts = [step.passed.get(particle, 0) for step in steps]
        rows = np.arange(len(steps)) + (i - (len(classes) - 1) / 2) * height
        bars = ax.barh(rows, counts, height=0.92 * height, color=styles[particle].colour, alpha=0.75)
        entries.append((bars, particle))
        for row, count in zip(rows, counts, strict=True):
            write_text(ax, max(count, 1), float(row), f" {count:,}", va="center", ha="left", fontsize=10)
    most = max((step.passed.get(particle, 0) for step in steps for particle in classes), default=0)
    if most > 0:
        ax.set_xscale("log")
        # Counts start at 1, and the number after the longest bar needs room.
        ax.set_xlim(0.8, most**1.25 + 10)
    name_ticks(ax, "y", [step.name for step in steps])
    ax.set_ylim(len(steps) - 0.5, -0.5)
    label_axes(ax, "candidates", "")
    legend(ax, entries)
