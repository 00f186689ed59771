"""Efficiencies and figures of merit against threshold, and the threshold that is best by each of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from pidlab.evaluate.results import Roc, Scan, ScannedFigure
from pidlab.measured import format_measured, format_number
from pidlab.plots.canvas.style import BLACK, GREY, LineStyle, draw_points, label_axes, legend, shown, with_errors

MERITS = {"purity": "S / (S + B)", "significance": "S / √(S + B)", "punzi": "ε / (a/2 + √B)"}


_PURITY, _SIGNIFICANCE = "#009e73", "black"
_SECOND = "second scale"
"""The label of the axes that the significance is drawn on."""


def cut_scan(scan: Scan, curve: Roc, ax: Axes, *, signal: str, signal_style: LineStyle, other_style: LineStyle) -> None:
    """Draws what a cut on the score does: both efficiencies and purity, and the significance on a scale at the right.

    The bands are 68.3 % intervals. A dashed line marks the threshold that validation chose for the significance.

    Args:
        scan: the scan of one model.
        curve: the ROC curve of the same model against all other classes.
        ax: where to draw.
        signal: the signal's name.
        signal_style, other_style: the styles of the signal and of the other class.
    """
    drawn = np.isfinite(curve.threshold)
    entries: list[tuple[Any, str]] = []
    for value, low, high, style, text in (
        (curve.efficiency, curve.efficiency_low, curve.efficiency_high, signal_style, f"efficiency of {signal}"),
        (curve.misid, curve.misid_low, curve.misid_high, other_style, f"misid of {curve.against}"),
    ):
        (line,) = ax.plot(curve.threshold[drawn], value[drawn], color=style.colour, linestyle=style.line)
        ax.fill_between(curve.threshold[drawn], low[drawn], high[drawn], color=style.colour, alpha=0.2, linewidth=0)
        entries.append((line, text))
    purity = scan.merits["purity"]
    entries.append((_band(scan, purity, ax, _PURITY, (0, (1, 1))), "purity"))
    ax.set_ylim(0.0, 1.05)
    right = ax.twinx()
    right.set_label(_SECOND)
    best = scan.merits["significance"]
    entries.append((_band(scan, best, right, _SIGNIFICANCE, "-"), "significance, right scale"))
    if np.isfinite(best.value).any():
        right.set_ylim(0.0, 1.25 * float(np.nanmax(best.value)))
    if best.best is not None:
        ax.axvline(best.best, color=GREY, linestyle="--", linewidth=1.0)
        _best_legend(best, right)
    label_axes(ax, "threshold", f"efficiency, purity {MERITS['purity']}")
    label_axes(right, "", f"significance {MERITS['significance']}")
    legend(ax, entries, above=1.0 if best.best is None else 1.06)


def _band(scan: Scan, one: ScannedFigure, ax: Axes, colour: str, line: Any) -> Any:
    (drawn,) = ax.plot(scan.threshold, one.value, color=colour, linestyle=line)
    ax.fill_between(scan.threshold, one.low, one.high, color=colour, alpha=0.2, linewidth=0)
    return drawn


def _at_best(one: ScannedFigure, ax: Axes) -> Any:
    value, errors = with_errors([one.at_best])
    return draw_points(ax, np.array([one.best], np.float64), value, BLACK, 4.5, yerr=errors, capsize=2.5)


def _best_legend(one: ScannedFigure, ax: Axes) -> None:
    """Draws the value at the best threshold, and writes it above the axes."""
    assert one.best is not None
    at = format_number(one.best) if abs(one.best) > np.finfo(np.float32).tiny else "below 0"  # then 0 itself passes
    text = f"{at} by validation; test: {format_measured(one.at_best)} at ε = {100 * one.efficiency.value:.3g} %"
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.1}
    ax.legend([_at_best(one, ax)], [text], fontsize=10, **place)


def merit(scan: Scan, name: str, ax: Axes, *, style: LineStyle) -> None:
    """Draws one figure of merit with its band against threshold, and the threshold that validation chose for it.

    Args:
        scan: the scan of one model.
        name: "purity", "significance" or "punzi".
        ax: where to draw.
        style: the style of the model.
    """
    one = scan.merits[name]
    _band(scan, one, ax, style.colour, "-")
    if np.isfinite(one.value).any():
        # The scale follows the values: bounds are far off at thresholds that almost no candidate passes.
        ax.set_ylim(0.0, 1.05 if name == "purity" else 1.25 * float(np.nanmax(one.value)))
    if one.best is not None:
        ax.axvline(one.best, color=GREY, linestyle="--", linewidth=1.0)
        _best_legend(one, ax)
    label_axes(ax, "threshold", MERITS[name].replace("a/2", f"{scan.sigma:g}/2"))


def expected_text(scan: Scan) -> str:
    """Returns the numbers of candidates that the figures of merit assume, and where these come from."""
    numbers = " : ".join(
        f"{f'{n:,.0f}' if n >= 100 else f'{n:.3g}'} {shown(particle, 16)}" for particle, n in scan.expected.items()
    )
    origin = {"sample": "as in the test sample", "abundance": "abundances as stated", "expected": "as stated"}
    return f"{numbers} ({origin[scan.basis]})"
