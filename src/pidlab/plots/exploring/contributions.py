"""What each feature contributes to the margin or prediction of single candidates: a swarm of points for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from pidlab.evaluate.results import Explained
from pidlab.measured import Array
from pidlab.plots.canvas.style import GREY, NO_LABELS, caption, label_axes, name_ticks

_COLOURS = 8
_MAP = "viridis"
_MISSING = "0.6"
_BINS = 80
_DIAMOND = np.array([(-1.0, 0.0), (0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)])


def contributions(
    table: Explained, rows: Sequence[int], ax: Axes, *, quantity: str, labels: Mapping[str, str] = NO_LABELS
) -> None:
    """Draws a point for each candidate and feature: contribution along x, colour by the rank of the feature's value.

    Points that would overlap are moved apart along y. All points of one colour are one path, which is drawn and saved
    faster than a marker for each.

    Args:
        table: the table of one model.
        rows: indices of the features to draw, the first on top.
        ax: where to draw.
        quantity: what features contribute to, such as the margin of a class.
        labels: feature to its text.
    """
    known = table.contribution[np.isfinite(table.contribution)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    width = (high - low) or 1.0
    corners: list[list[Array]] = [[] for _ in range(_COLOURS + 1)]
    for row, j in enumerate(rows):
        has = np.isfinite(table.contribution[:, j])
        x, shade = table.contribution[has, j], _shades(table.value[has, j])
        y = row + _apart(x, width)
        points = np.stack([x, y], axis=-1)[:, None, :] + _DIAMOND * (0.006 * width, 0.035)
        for i in range(_COLOURS + 1):
            corners[i].extend(points[shade == i])
    codes = [int(code) for code in (Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY)]
    colours: list[Any] = [*(mpl.colormaps[_MAP]((i + 0.5) / _COLOURS) for i in range(_COLOURS)), _MISSING]
    for colour, diamonds in zip(colours, corners, strict=True):
        if diamonds:
            path = Path(np.concatenate(diamonds), codes * len(diamonds))
            ax.add_artist(PathPatch(path, facecolor=colour, edgecolor="none", linewidth=0))
    ax.axvline(0.0, color=GREY, linewidth=0.8)
    name_ticks(ax, "y", [caption(table.features[j], labels, 30) for j in rows])
    ax.set(
        xlim=(low - 0.04 * width, high + 0.04 * width),
        ylim=(len(rows) - 0.5, -0.5),
    )
    label_axes(ax, f"contribution to {quantity}", "")
    scale = ScalarMappable(Normalize(0, 1), mpl.colormaps[_MAP].resampled(_COLOURS))
    bar = ax.figure.colorbar(scale, ax=ax, pad=0.02, aspect=28, ticks=[0, 1])
    bar.ax.set_yticklabels(["lowest", "highest"], fontsize=9)
    bar.set_label("value of the feature, by rank; missing is grey", fontsize=9)


def _apart(x: Array, width: float) -> Array:
    """Returns offsets (n,) within ±0.4 by which the points of one bin along x stand one above the other."""
    if not len(x):
        return x
    bins = np.floor((x - x.min()) / width * _BINS).astype(np.int64)
    order = np.argsort(bins, kind="stable")
    _, first, counts = np.unique(bins[order], return_index=True, return_counts=True)
    place = np.empty(len(x))
    place[order] = np.arange(len(x)) - np.repeat(first, counts)
    place = (place - (np.repeat(counts, counts)[np.argsort(order, kind="stable")] - 1) / 2) / max(counts.max(), 12)
    return np.asarray(0.8 * place)


def _shades(values: Array) -> NDArray[np.int64]:
    """Returns the (n,) colours by rank among the finite values; equal values have one colour, NaN the last."""
    finite = np.isfinite(values)
    shade = np.full(len(values), _COLOURS)
    ordered = np.sort(values[finite])
    # The middle of the ranks of equal values, so that a feature of two values has two distant colours.
    rank = (np.searchsorted(ordered, values[finite], "left") + np.searchsorted(ordered, values[finite], "right")) / 2
    shade[finite] = np.minimum(rank / max(len(ordered), 1) * _COLOURS, _COLOURS - 1).astype(np.int64)
    return shade
