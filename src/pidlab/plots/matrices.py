"""Matrices as colours with their numbers: correlations, confusion, decisions, and efficiency in two spectators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from pidlab.evaluate.results import DecisionMatrix, EfficiencyMap, SampleMetrics
from pidlab.measured import Array, fixed
from pidlab.plots.canvas.style import NO_LABELS, caption, colour_bar, label_axes, name_ticks, shades, shown, write_text

_MOST_NUMBERS = 25
_NUMBER_SIZES = (7.5, 6.5, 5.5)  # points; smaller ones cannot be read on paper


def correlation(matrix: Array, features: Sequence[str], ax: Axes, *, labels: Mapping[str, str] = NO_LABELS) -> None:
    """Draws (d, d) linear correlations from -1 to 1 with their values in per cent; grey if undefined."""
    texts = [[fixed(100 * r, 0) if np.isfinite(r) else "" for r in row] for row in matrix]
    _cells(matrix, texts if len(features) <= _MOST_NUMBERS else [], ax, "RdBu_r", -1.0)
    names = [caption(name, labels) for name in features]
    name_ticks(ax, "x", names, rotation=45, ha="right", rotation_mode="anchor")
    name_ticks(ax, "y", names)


def confusion(metrics: SampleMetrics, ax: Axes) -> None:
    """Draws the confusion matrix, a row for each true class: the share of the row and the sum of weights."""
    counts = metrics.confusion
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    texts = [[_share(s, c) for s, c in zip(*rows, strict=True)] for rows in zip(share, counts, strict=True)]
    _by_class(share, texts, metrics.classes, ax)


def decisions(matrix: DecisionMatrix, ax: Axes) -> None:
    """Draws the share of each true class (rows) by decided class, in per cent with 68.3 % intervals."""
    table = np.stack([matrix.rate, matrix.low, matrix.high], axis=-1)
    texts = [[_interval(*map(float, cell)) for cell in row] for row in table]
    _by_class(matrix.rate, texts, matrix.classes, ax)


def _by_class(shares: Array, texts: Sequence[Sequence[str]], classes: Sequence[str], ax: Axes) -> None:
    """Draws a (k, k) matrix of true against decided class."""
    _cells(shares, texts, ax, "Blues", 0.0)
    name_ticks(ax, "x", classes)
    name_ticks(ax, "y", classes, rotation=90, va="center")
    label_axes(ax, "decided", "true class")


def _interval(value: float, low: float, high: float) -> str:
    """Returns a share in per cent, with its two errors on a second line."""
    if not np.isfinite(value):
        return "–"
    up, down = 100 * (high - value), 100 * (value - low)
    places = int(np.clip(1 - np.floor(np.log10(max(up, down, 1e-4))), 0, 4))
    plus, minus = f"{up:.{places}f}", f"{down:.{places}f}"
    return f"{100 * value:.{places}f}\n" + (f"±{plus}" if plus == minus else f"+{plus} −{minus}")


def efficiency_map(one: EfficiencyMap, ax: Axes, *, labels: Mapping[str, str] = NO_LABELS) -> None:
    """Draws the passing fraction of one class in per cent, in bins of two spectators.

    Empty bins are grey, and bins with few events are hatched. If the widths of bins differ too much to be read, all
    bins are drawn equally wide.
    """
    x, y = (_drawn_edges(edges, share) for edges, share in zip(one.edges, (0.1, 0.06), strict=True))
    finite = 100 * one.value[np.isfinite(one.value)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if high <= low:  # all bins alike: a scale of one per cent around them
        low, high = (low, low + 1.0) if low < 0.5 else (low - 1.0, low)
    ax.set_facecolor("0.88")
    mesh = ax.pcolormesh(x, y, 100 * one.value.T, cmap=shades("Blues"), vmin=low, vmax=high)
    colour_bar(mesh, ax)
    font = _font_that_fits(ax, np.diff(x).min() / (x[-1] - x[0]), np.diff(y).min() / (y[-1] - y[0]))
    for (i, j), value in np.ndenumerate(100 * one.value):
        if np.isfinite(value) and font:
            place = (x[i] + x[i + 1]) / 2, (y[j] + y[j + 1]) / 2
            colour = _ink(value, "Blues", low, high)
            # Hatching would cross the number.
            behind = (
                {"facecolor": mpl.colormaps["Blues"](Normalize(low, high)(value)), "linewidth": 0, "pad": 0.8}
                if one.thin[i, j]
                else None
            )
            write_text(ax, *place, _short(value), ha="center", va="center", color=colour, bbox=behind, **font)
    # A tick inside the axes, beside a number in an outer bin, reads as a minus sign.
    ax.tick_params(which="both", direction="out", top=False, right=False)
    for axis, drawn, edges in ((ax.xaxis, x, one.edges[0]), (ax.yaxis, y, one.edges[1])):
        if drawn is not edges:
            axis.set_ticks(drawn, [f"{edge:.3g}".replace("-", "−") for edge in edges], fontsize=9)
            if axis is ax.xaxis and len(edges) > 6:
                ax.tick_params(axis="x", labelrotation=90)
    _hatch(one, x, y, ax)
    label_axes(ax, *(caption(name, labels) for name in one.names))
    remark = f"; hatched: n < {one.least:g}" if one.thin.any() else ""
    remark += "" if font else "; too narrow for numbers"
    title = f"{shown(one.particle, 24)}, {shown(one.working_point, 24)} (%){remark}"
    ax.set_title(title, fontsize=11, parse_math=False)


def _hatch(one: EfficiencyMap, x: Array, y: Array, ax: Axes) -> None:
    """Hatches the bins with too few effective events to rely on."""
    for i, j in np.argwhere(one.thin):
        size = x[i + 1] - x[i], y[j + 1] - y[j]
        ax.add_patch(Rectangle((x[i], y[j]), *size, fill=False, hatch="////", edgecolor="0.45", linewidth=0))


def _drawn_edges(edges: Array, number: float) -> Array:
    """Returns the edges, or 0, 1, 2 … if bins drawn in proportion would be too narrow to be read.

    This is so if the widest bin is more than three times as wide as the narrowest, or if the narrowest has no room for
    a number, which takes the share `number` of the axis, while bins of equal width had.
    """
    widths = np.diff(edges)
    readable = widths.max() <= 3 * widths.min()
    readable &= widths.min() >= number * (edges[-1] - edges[0]) or len(widths) * number > 1
    return edges if readable else np.arange(len(edges), dtype=np.float64)


def _short(percent: float) -> str:
    """Returns a percentage in at most four characters."""
    places = 2 if abs(percent) < 9.995 else 1 if abs(percent) < 99.95 else 0
    return fixed(percent, places)


def _font_that_fits(ax: Axes, width: float, height: float) -> dict[str, Any]:
    """Returns the size and rotation at which a number of four characters fits into the narrowest bin.

    Upright numbers are preferred to numbers turned by 90 degrees, and large ones to small ones. Empty if none fits.

    Args:
        ax: the axes, with everything that takes room from them.
        width, height: the width and height of the narrowest bin in units of the axes.
    """
    across, up = (72 / ax.figure.dpi * length for length in (width * ax.bbox.width, height * ax.bbox.height))
    for rotation, (along, beside) in ((0, (across, up)), (90, (up, across))):
        for size in _NUMBER_SIZES:
            # Four characters are 2.3 times as long as high in both of our fonts, and want a margin.
            if along >= 2.7 * size and beside >= 1.3 * size:
                return {"fontsize": size, "rotation": rotation}
    return {}


def _cells(matrix: Array, texts: Sequence[Sequence[str]], ax: Axes, cmap: str, low: float) -> None:
    """Draws numbers from `low` to 1 as colours, with their texts in them if there are any."""
    ax.set_facecolor("0.88")
    ax.pcolormesh(matrix, cmap=cmap, vmin=low, vmax=1.0, edgecolors="white", linewidth=0.8)
    d_rows, d_columns = matrix.shape
    # Cell i is drawn around i, so that tick i stands in its middle; the first row is on top.
    mesh = ax.collections[0]
    mesh.set_transform(mpl.transforms.Affine2D().translate(-0.5, -0.5) + ax.transData)
    ax.set(xlim=(-0.5, d_columns - 0.5), ylim=(d_rows - 0.5, -0.5), aspect="equal")
    size = float(np.clip(110 / len(matrix), 6, 12))
    for (row, column), value in np.ndenumerate(matrix) if texts else ():
        colour = _ink(value, cmap, low, 1.0)
        write_text(ax, column, row, texts[row][column], ha="center", va="center", fontsize=size, color=colour)


def _ink(value: float, cmap: str, low: float, high: float) -> str:
    """Returns black for light cells and white for dark ones, by the luminance of their colour (ITU-R BT.709)."""
    red, green, blue, _ = mpl.colormaps[cmap](Normalize(low, high)(value))
    return "white" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.5 else "black"


def _share(share: float, count: float) -> str:
    weight = f"{count:,.0f}" if abs(count) >= 1000 else f"{count:.4g}"
    return f"{100 * share:.1f} %\n{weight}" if np.isfinite(share) else f"–\n{weight}"
