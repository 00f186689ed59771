"""Tables drawn as colours with their numbers: correlation of the features, confusion, efficiency in two spectators."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from pidlab.evaluate.results import Array, EfficiencyMap, SampleMetrics
from pidlab.plots.style import label_axes, name_ticks, shown, visible_edges, write

_MOST_NUMBERS = 25


def correlation(matrix: Array, features: Sequence[str], ax: Axes) -> Axes:
    """Draw (d, d) linear correlations from -1 to 1, written in per cent; grey and blank where undefined."""
    _colours(matrix, ax, "RdBu_r", -1.0, 1.0)
    if len(features) <= _MOST_NUMBERS:
        _numbers(matrix, [[_percent(r) for r in row] for row in matrix], ax, "RdBu_r", -1.0, 1.0)
    name_ticks(ax, "x", features, rotation=45, ha="right", rotation_mode="anchor")
    name_ticks(ax, "y", features)
    return ax


def confusion(metrics: SampleMetrics, ax: Axes) -> Axes:
    """Draw the confusion matrix, true class in rows: the share of each row, below it the sum of weights."""
    counts = metrics.confusion
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    _colours(share, ax, "Blues", 0.0, 1.0)
    texts = [[_share(s, c) for s, c in zip(*rows, strict=True)] for rows in zip(share, counts, strict=True)]
    _numbers(share, texts, ax, "Blues", 0.0, 1.0)
    name_ticks(ax, "x", metrics.classes)
    name_ticks(ax, "y", metrics.classes, rotation=90, va="center")
    label_axes(ax, "decided", "true class")
    return ax


def efficiency_map(one: EfficiencyMap, ax: Axes) -> Axes:
    """Draw the passing fraction of one class in bins of two spectators, in their own units; grey where empty."""
    (x, x_remark), (y, y_remark) = (visible_edges(edges) for edges in one.edges)
    finite = one.value[np.isfinite(one.value)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    high = high if high > low else low + 1e-6
    ax.set_facecolor("0.88")
    mesh = ax.pcolormesh(x, y, one.value.T, cmap="Blues", vmin=low, vmax=high)
    ax.figure.colorbar(mesh, ax=ax, pad=0.02, aspect=28).ax.tick_params(labelsize=9)
    for (i, j), value in np.ndenumerate(one.value):
        if np.isfinite(value) and _roomy(x, i, 0.13) and _roomy(y, j, 0.06):
            place = (x[i] + x[i + 1]) / 2, (y[j] + y[j + 1]) / 2
            colour = _ink(value, "Blues", low, high)
            write(ax, *place, f"{value:.3g}", ha="center", va="center", fontsize=8, color=colour)
    label_axes(ax, shown(one.names[0]) + x_remark, shown(one.names[1]) + y_remark)
    ax.set_title(f"{shown(one.particle, 24)}, {shown(one.working_point, 24)}", fontsize=11, parse_math=False)
    return ax


def _roomy(edges: Array, i: int, share: float) -> bool:
    """Whether a number fits into bin i: it takes `share` of the axis."""
    return bool(edges[i + 1] - edges[i] >= share * (edges[-1] - edges[0]))


def _colours(matrix: Array, ax: Axes, cmap: str, low: float, high: float) -> None:
    ax.set_facecolor("0.88")
    ax.pcolormesh(matrix, cmap=cmap, vmin=low, vmax=high, edgecolors="white", linewidth=0.8)
    d_rows, d_columns = matrix.shape
    # Cell i is drawn around i, so that tick i stands in its middle; the first row is on top.
    mesh = ax.collections[0]
    mesh.set_transform(mpl.transforms.Affine2D().translate(-0.5, -0.5) + ax.transData)
    ax.set(xlim=(-0.5, d_columns - 0.5), ylim=(d_rows - 0.5, -0.5), aspect="equal")


def _numbers(matrix: Array, texts: Sequence[Sequence[str]], ax: Axes, cmap: str, low: float, high: float) -> None:
    size = float(np.clip(110 / len(matrix), 6, 12))
    for (row, column), value in np.ndenumerate(matrix):
        colour = _ink(value, cmap, low, high)
        write(ax, column, row, texts[row][column], ha="center", va="center", fontsize=size, color=colour)


def _ink(value: float, cmap: str, low: float, high: float) -> str:
    """Black on light cells and white on dark ones, by the luminance of the cell's colour (ITU-R BT.709)."""
    red, green, blue, _ = mpl.colormaps[cmap](Normalize(low, high)(value))
    return "white" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.5 else "black"


def _percent(r: float) -> str:
    return f"{100 * r:.0f}".replace("-0", "0") if np.isfinite(r) and abs(r) < 0.005 else _signed(r)


def _signed(r: float) -> str:
    return f"{100 * r:.0f}".replace("-", "−") if np.isfinite(r) else ""


def _share(share: float, count: float) -> str:
    return f"{100 * share:.1f} %\n{count:,.6g}" if np.isfinite(share) else f"–\n{count:,.6g}"
