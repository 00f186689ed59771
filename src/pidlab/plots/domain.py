"""Data against simulation: the score that was to tell them apart, the features it used, and these features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pidlab.evaluate.results import Shift
from pidlab.plots.inputs import feature
from pidlab.plots.sheets.sheet import grid, label_left
from pidlab.plots.style import (
    GREY,
    Look,
    caption,
    class_looks,
    columns,
    context,
    label_axes,
    legend,
    name_ticks,
    new_figure,
    samples_of,
)

_MOST = 12


def domain_figures(shift: Shift, labels: Mapping[str, str]) -> Iterator[tuple[str, Figure]]:
    """The name and figure of the answer, and of the features that give the difference away, at most twelve."""
    looks = class_looks(list(shift.n), "files")
    with context("domain"):
        figure = new_figure(10.5, 1.4 + max(3.0, 0.3 * min(len(shift.features), _MOST)))
        left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.55})
        told_apart(shift, left, looks=looks)
        losses(shift, right, look=looks["files"], labels=labels)
    yield "domain", figure
    with context("domain_inputs"):
        some = [s.name for s in shift.features[:_MOST]]
        figure, axes = grid(len(some), 3, 3.6, 2.8)
        for name, ax in zip(some, axes, strict=True):
            feature(name, shift.inputs[name], ax, looks=looks, labels=labels)
        legend(axes[0], samples_of(looks, list(shift.n), marker=False))
        label_left(axes, 3)
    yield "domain_inputs", figure


def told_apart(shift: Shift, ax: Axes, *, looks: Mapping[str, Look]) -> Axes:
    """Draw the out-of-fold score of the classifier for both samples, with unit area."""
    feature("", shift.response, ax, looks=looks)
    label_axes(ax, "score for the files, out of fold", "density")
    error = max(shift.auc.value - shift.auc.low, shift.auc.high - shift.auc.value)
    legend(ax, samples_of(looks, list(shift.n), marker=False), title=f"AUC {shift.auc.value:.4f} ± {error:.4f}")
    return ax


def losses(shift: Shift, ax: Axes, *, look: Look, labels: Mapping[str, str]) -> Axes:
    """Draw what shuffling each feature costs in AUC, the largest on top."""
    some = shift.features[:_MOST]
    value, low, high = columns([s.loss for s in some])
    rows = np.arange(len(some))
    ax.barh(rows, value, height=0.62, color=look.colour, alpha=0.6)
    ax.errorbar(
        value, rows, xerr=np.stack([value - low, high - value]), color="black", linestyle="none", elinewidth=1.2
    )
    ax.axvline(0.0, color=GREY, linewidth=0.8)
    name_ticks(ax, "y", [caption(s.name, labels, 30) for s in some])
    ax.set_ylim(len(some) - 0.5, -0.5)
    label_axes(ax, "loss of AUC when shuffled", "")
    return ax
