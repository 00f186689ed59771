"""Matrices as colours with their numbers: correlations, confusion, decisions, and efficiency in two spectators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from pidlab.evaluate.results.quality import DecisionMatrix
from pidlab.evaluate.results.run import EfficiencyMap, SampleMetrics
from pidlab.measured import Array
from pidlab.plots.style import NO_LABELS, caption, colour_bar, label_axes, name_ticks, shades, shown, write_text
from pidlab.rounding import fixed

_MOST_NUMBERS = 25


def correlation(matrix: Array, features: Sequence[str], ax: Axes, *, labels: Mapping[str, str] = NO_LABELS) -> Axes:
    """Draw (d, d) linear correlations from -1 to 1 with their values in per cent; grey if undefined."""
    _colours(matrix, ax, "RdBu_r", -1.0, 1.0)
    if len(features) <= _MOST_NUMBERS:
        _numbers(matrix, [[_percent(r) for r in row] for row in matrix], ax, "RdBu_r", -1.0, 1.0)
    names = [caption(name, labels) for name in features]
    name_ticks(ax, "x", names, rotation=45, ha="right", rotation_mode="anchor")
    name_ticks(ax, "y", names)
    return ax


def confusion(metrics: SampleMetrics, ax: Axes) -> Axes:
    """Draw the confusion matrix, a row for each true class: the share of the row and the sum of weights."""
    counts = metrics.confusion
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    texts = [[_share(s, c) for s, c in zip(*rows, strict=True)] for rows in zip(share, counts, strict=True)]
    return _by_class(share, texts, metrics.classes, ax)


def decisions(matrix: DecisionMatrix, ax: Axes) -> Axes:
    """Draw the share of each true class (rows) by decided class, in per cent with 68.3 % intervals."""
    table = np.stack([matrix.rate, matrix.low, matrix.high], axis=-1)
    texts = [[_interval(*map(float, cell)) for cell in row] for row in table]
    return _by_class(matrix.rate, texts, matrix.classes, ax)


def _by_class(shares: Array, texts: Sequence[Sequence[str]], classes: Sequence[str], ax: Axes) -> Axes:
    """Draw a (k, k) matrix of true against decided class."""
    _colours(shares, ax, "Blues", 0.0, 1.0)
    _numbers(shares, texts, ax, "Blues", 0.0, 1.0)
    name_ticks(ax, "x", classes)
    name_ticks(ax, "y", classes, rotation=90, va="center")
    label_axes(ax, "decided", "true class")
    return ax


def _interval(value: float, low: float, high: float) -> str:
    """Returns a share in per cent, with its two errors on a second line."""
    if not np.isfinite(value):
        return "–"
    up, down = 100 * (high - value), 100 * (value - low)
    places = int(np.clip(1 - np.floor(np.log10(max(up, down, 1e-4))), 0, 4))
    plus, minus = f"{up:.{places}f}", f"{down:.{places}f}"
    return f"{100 * value:.{places}f}\n" + (f"±{plus}" if plus == minus else f"+{plus} −{minus}")


def efficiency_map(one: EfficiencyMap, ax: Axes, *, labels: Mapping[str, str] = NO_LABELS) -> Axes:
    """Draw the passing fraction of one class in per cent, in bins of two spectators.

    Empty bins are grey, and bins with few events are hatched. If the widths of bins differ too much to be read, all
    bins are drawn equally wide.
    """
    x, y = (_drawn_edges(edges) for edges in one.edges)
    finite = 100 * one.value[np.isfinite(one.value)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    high = high if high > low else low + 1e-4
    ax.set_facecolor("0.88")
    mesh = ax.pcolormesh(x, y, 100 * one.value.T, cmap=shades("Blues"), vmin=low, vmax=high)
    colour_bar(mesh, ax)
    for (i, j), value in np.ndenumerate(100 * one.value):
        if np.isfinite(value) and _roomy(x, i, 0.11) and _roomy(y, j, 0.06):
            place = (x[i] + x[i + 1]) / 2, (y[j] + y[j + 1]) / 2
            colour = _ink(value, "Blues", low, high)
            write_text(ax, *place, _short(value), ha="center", va="center", fontsize=7.5, color=colour)
    for axis, drawn, edges in ((ax.xaxis, x, one.edges[0]), (ax.yaxis, y, one.edges[1])):
        if drawn is not edges:
            axis.set_ticks(drawn, [f"{edge:.3g}".replace("-", "−") for edge in edges], fontsize=9)
            if axis is ax.xaxis and len(edges) > 6:
                ax.tick_params(axis="x", labelrotation=90)
    _hatch(one, x, y, ax)
    label_axes(ax, *(caption(name, labels) for name in one.names))
    remark = f"; hatched: n < {one.least:g}" if one.thin.any() else ""
    title = f"{shown(one.particle, 24)}, {shown(one.working_point, 24)} (%){remark}"
    ax.set_title(title, fontsize=11, parse_math=False)
    return ax


def _hatch(one: EfficiencyMap, x: Array, y: Array, ax: Axes) -> None:
    """Hatch the bins with too few effective events to rely on."""
    for i, j in np.argwhere(one.thin):
        size = x[i + 1] - x[i], y[j + 1] - y[j]
        ax.add_patch(Rectangle((x[i], y[j]), *size, fill=False, hatch="////", edgecolor="0.45", linewidth=0))


def _drawn_edges(edges: Array) -> Array:
    """Returns the edges; 0, 1, 2 … instead if the widest bin is more than three times as wide as the narrowest."""
    widths = np.diff(edges)
    return edges if widths.max() <= 3 * widths.min() else np.arange(len(edges), dtype=np.float64)


def _short(percent: float) -> str:
    """Returns a percentage in at most four characters."""
    places = 2 if abs(percent) < 9.995 else 1 if abs(percent) < 99.95 else 0
    return fixed(percent, places)


def _roomy(edges: Array, i: int, share: float) -> bool:
    """Returns whether a number, which takes `share` of the axis, fits into bin i."""
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
        write_text(ax, column, row, texts[row][column], ha="center", va="center", fontsize=size, color=colour)


def _ink(value: float, cmap: str, low: float, high: float) -> str:
    """Returns black for light cells and white for dark ones, by the luminance of their colour (ITU-R BT.709)."""
    red, green, blue, _ = mpl.colormaps[cmap](Normalize(low, high)(value))
    return "white" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.5 else "black"


def _percent(r: float) -> str:
    return fixed(100 * r, 0) if np.isfinite(r) else ""


def _share(share: float, count: float) -> str:
    weight = f"{count:,.0f}" if abs(count) >= 1000 else f"{count:.4g}"
    return f"{100 * share:.1f} %\n{weight}" if np.isfinite(share) else f"–\n{weight}"
