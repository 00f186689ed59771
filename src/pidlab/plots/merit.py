"""Figures of merit against threshold, and the threshold that is best by each of them."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from pidlab.evaluate.results.quality import Scan
from pidlab.plots.style import GREY, LineStyle, label_axes, shown, with_errors
from pidlab.rounding import format_measured

MERITS = {"purity": "S / (S + B)", "significance": "S / √(S + B)", "punzi": "ε / (a/2 + √B)"}


def merit(scan: Scan, name: str, ax: Axes, *, style: LineStyle) -> Axes:
    """Draw one figure of merit with its band against threshold, and the threshold that validation chose for it.

    Args:
        scan: of one model.
        name: "purity", "significance" or "punzi".
        ax: where to draw.
        style: that of the model.
    """
    one = scan.merits[name]
    ax.plot(scan.threshold, one.value, color=style.colour)
    ax.fill_between(scan.threshold, one.low, one.high, color=style.colour, alpha=0.2, linewidth=0)
    if np.isfinite(one.value).any():
        # The scale follows the values: bounds are far off at thresholds that almost no candidate passes.
        ax.set_ylim(0.0, 1.05 if name == "purity" else 1.25 * float(np.nanmax(one.value)))
    if one.best is not None:
        ax.axvline(one.best, color=GREY, linestyle="--", linewidth=1.0)
        value, errors = with_errors([one.at_best])
        bars = ax.errorbar(
            [one.best], value, yerr=errors, color="black", marker="o", markersize=4.5, capsize=2.5, linestyle="none",
            elinewidth=1.2,
        )  # fmt: skip
        text = f"{one.best:.4g} by validation; test: {format_measured(one.at_best)} at ε = {one.efficiency.value:.3g}"
        ax.legend([bars], [text], loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.1, fontsize=10)
    label_axes(ax, "threshold", MERITS[name].replace("a/2", f"{scan.sigma:g}/2"))
    return ax


def expected_text(scan: Scan) -> str:
    """Returns the numbers of candidates that the figures of merit assume, and where these come from."""
    numbers = " : ".join(f"{n:.5g} {shown(particle, 16)}" for particle, n in scan.expected.items())
    origin = {"sample": "as in the test sample", "abundance": "abundances as stated", "expected": "as stated"}
    return f"{numbers} ({origin[scan.basis]})"
