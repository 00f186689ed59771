"""Calibration: whether the score of a model is a probability."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pidlab.evaluate.results import Calibration
from pidlab.measured import format_measured
from pidlab.plots.canvas.style import GREY, LineStyle, draw_points, error_lengths, label_axes, legend, shown


def calibration(curve: Calibration, ax: Axes, *, signal: str, style: LineStyle, name: str) -> None:
    """Draws the share of signal against the mean score; on the dashed line the score is a probability.

    Args:
        curve: the curve of one model.
        ax: where to draw.
        signal: the class whose score it is.
        style: the style of the model.
        name: the name of the model; heads the legend, which gives the calibration error.
    """
    ax.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.0)
    errors = error_lengths(curve.fraction, curve.low, curve.high)
    bars = draw_points(ax, curve.score, curve.fraction, style, 4.5, yerr=errors)
    ax.set(xlim=(-0.02, 1.02))
    weighting = ",\nclasses weighted equally" if curve.balanced else ""
    weighting = ",\nclasses weighted by the priors" if curve.abundances else weighting
    label_axes(ax, f"mean score for {shown(signal)}", f"share of {shown(signal)}{weighting}")
    how = "" if curve.method == "none" else f", calibrated by {curve.method}"
    legend(ax, [(bars, f"rms error {format_measured(curve.rms_error)}")], title=f"{name}{how}")


def calibration_gap(curve: Calibration, ax: Axes, *, signal: str, style: LineStyle) -> None:
    """Draws the share of signal minus the mean score; the calibration error is its root mean square."""
    ax.axhline(0.0, color=GREY, linestyle="--", linewidth=1.0)
    gap = curve.fraction - curve.score
    errors = error_lengths(curve.fraction, curve.low, curve.high)
    draw_points(ax, curve.score, gap, style, 4.5, yerr=errors)
    ax.yaxis.set_major_locator(MaxNLocator(4, symmetric=True))
    label_axes(ax, f"mean score for {shown(signal)}", "share − score")
