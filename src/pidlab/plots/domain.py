"""Data against simulation: the score of a classifier between them, and the features that it relies on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pidlab.evaluate.results import Shift
from pidlab.plots.canvas.style import (
    GREY,
    LineStyle,
    caption,
    class_styles,
    context,
    label_axes,
    legend,
    legend_lines,
    name_ticks,
    new_figure,
    with_errors,
)
from pidlab.plots.inputs import feature
from pidlab.plots.sheets.sheet import columns_of, grid, label_left

_MOST = 12


def domain_figures(shift: Shift, labels: Mapping[str, str]) -> Iterator[tuple[str, Figure]]:
    """Yields names and figures: the score with the losses of AUC, and the twelve most telling features."""
    styles = class_styles(list(shift.n), "files")
    with context("domain"):
        figure = new_figure(10.5, 1.4 + max(3.0, 0.3 * min(len(shift.features), _MOST)))
        left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.55})
        domain_score(shift, left, styles=styles)
        auc_losses(shift, right, style=styles["files"], labels=labels)
    yield "domain", figure
    with context("domain_inputs"):
        some = [s.name for s in shift.features[:_MOST]]
        n_columns = min(columns_of(len(some)), 3)
        figure, axes = grid(len(some), n_columns, 3.6, 2.8)
        for name, ax in zip(some, axes, strict=True):
            feature(name, shift.inputs[name], ax, styles=styles, labels=labels)
        legend(axes[0], legend_lines(styles, list(shift.n), marker=False))
        label_left(axes, n_columns)
    yield "domain_inputs", figure


def domain_score(shift: Shift, ax: Axes, *, styles: Mapping[str, LineStyle]) -> None:
    """Draws the out-of-fold score of the classifier in both samples with unit area."""
    feature("", shift.response, ax, styles=styles)
    label_axes(ax, "score for the files, out of fold", "density")
    error = max(shift.auc.value - shift.auc.low, shift.auc.high - shift.auc.value)
    legend(ax, legend_lines(styles, list(shift.n), marker=False), title=f"AUC {shift.auc.value:.4f} ± {error:.4f}")


def auc_losses(shift: Shift, ax: Axes, *, style: LineStyle, labels: Mapping[str, str]) -> None:
    """Draws the loss of AUC when each feature is shuffled, the largest on top."""
    some = shift.features[:_MOST]
    value, errors = with_errors([s.loss for s in some])
    rows = np.arange(len(some))
    ax.barh(rows, value, height=0.62, color=style.colour, alpha=0.6)
    ax.errorbar(value, rows, xerr=errors, color="black", linestyle="none", elinewidth=1.2)
    ax.axvline(0.0, color=GREY, linewidth=0.8)
    name_ticks(ax, "y", [caption(s.name, labels, 30) for s in some])
    ax.set_ylim(len(some) - 0.5, -0.5)
    label_axes(ax, "loss of AUC when shuffled", "")
