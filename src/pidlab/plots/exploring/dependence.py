"""What a model gives against the value of one feature: the mean of the test sample, and single candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from pidlab.evaluate.results import PartialDependence
from pidlab.measured import Array
from pidlab.plots.canvas.style import (
    GREY,
    NO_LABELS,
    LineStyle,
    caption,
    error_lengths,
    label_axes,
    nothing_to_draw,
    toned,
)

_PALE = 0.65  # share of white: where transparent curves cross, each program that draws them has its own way
_GAP = 0.12  # from the last value to the point of the missing ones, as a share of the axis


def dependence(
    one: PartialDependence,
    ax: Axes,
    *,
    classes: Sequence[str],
    style: LineStyle,
    styles: Mapping[str, LineStyle],
    quantity: str,
    labels: Mapping[str, str] = NO_LABELS,
) -> list[tuple[Artist, str]]:
    """Draw the mean score or prediction with its interval against the feature, and thin curves of single candidates.

    The curves are shifted to begin where the mean begins, since it is their shapes that are compared (c-ICE,
    A. Goldstein et al. 2015). The ticks at the bottom are the values at which was measured, quantiles
    of the feature. A missing value is a point at the right.

    Args:
        one: of one feature.
        ax: where to draw.
        classes: the names of the classes, by index.
        style: that of the model.
        styles: class to its style.
        quantity: what the model gives, such as the score for a class.
        labels: feature to its text.

    Returns:
        Entries for a legend.
    """
    known = ~np.isnan(one.value) & ~np.isnan(one.mean)
    x, mean, low, high = (column[known] for column in (one.value, one.mean, one.low, one.high))
    label_axes(ax, caption(one.feature, labels, 30), quantity)
    missing = np.isnan(one.value) & ~np.isnan(one.mean)
    if not known.any() and not missing.any():
        nothing_to_draw(ax, "no values")
        return []
    entries: list[tuple[Artist, str]] = []
    if known.any():
        curves = centred(one)[:, known]
        for number in sorted({int(c) for c in one.particle}):
            own = curves[one.particle == number]
            gaps = np.full((len(own), 1), np.nan)  # one line with gaps is drawn and saved faster than many
            (line,) = ax.plot(
                np.tile(np.append(x, np.nan), len(own)), np.concatenate([own, gaps], axis=1).ravel(),
                color=toned(styles[classes[number]].colour, _PALE), linewidth=0.5, marker="",
            )  # fmt: skip
            entries.append((line, f"single {classes[number]}, shifted"))
        marker = "o" if len(x) <= 1 else ""
        (line,) = ax.plot(x, mean, color=style.colour, linewidth=2.2, marker=marker, markersize=4)
        ax.fill_between(x, low, high, color=style.colour, alpha=0.3, linewidth=0)
        entries.insert(0, (line, "mean, 68.3 %"))
        ax.plot(x, np.zeros(len(x)), "|", color=GREY, markersize=6, transform=ax.get_xaxis_transform(), clip_on=False)
    if missing.any():
        _missing_point(one, ax, x, style)
    return entries


def centred(one: PartialDependence) -> Array:
    """Returns the curves (m, g), each shifted by a constant so that it meets the mean at the first value."""
    return np.asarray(one.curves - one.curves[:, :1] + one.mean[:1])


def _missing_point(one: PartialDependence, ax: Axes, x: Array, style: LineStyle) -> None:
    """Draw the mean score without a value of the feature to the right of its last value."""
    first, last = (float(x[0]), float(x[-1])) if len(x) else (0.0, 1.0)
    width = (last - first) or 1.0
    at = last + _GAP * width
    errors = error_lengths(one.mean[-1:], one.low[-1:], one.high[-1:])
    ax.errorbar([at], one.mean[-1:], yerr=errors, color=style.colour, marker="s", markersize=4, linestyle="none")
    ax.axvline(last + _GAP * width / 2, color=GREY, linestyle=":", linewidth=0.8)
    ax.set_xlim(first - 0.04 * width, at + 0.08 * width)
    ax.annotate(
        "missing", (1.0, 0.5), xycoords="axes fraction", xytext=(3, 0), textcoords="offset points",
        rotation=90, ha="left", va="center", fontsize=8, color=GREY, annotation_clip=False,
    )  # fmt: skip
