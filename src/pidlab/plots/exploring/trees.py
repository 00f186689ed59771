"""A tree of a boosted model: boxes for splits and leaves, lines to what comes after them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from pidlab.evaluate.results import TreeNode
from pidlab.plots.canvas.style import GREY, shown, write_text

_BOX = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": GREY, "linewidth": 0.8}
_UP, _DOWN = "#cfe5f5", "#f9dcc4"


def tree(nodes: Sequence[TreeNode], ax: Axes, *, title: str) -> None:
    """Draws a tree from its root at the left; a candidate goes to the upper box where the condition holds.

    Leaves carry what they add to the margin, blue if it is positive and orange if it is negative. Splits carry their
    gain, and an ellipsis stands for what comes after a split and was left out.

    Args:
        nodes: the nodes of a tree, the root first.
        ax: where to draw.
        title: heads the axes.
    """
    places = _places(nodes)
    lines: list[tuple[float, float]] = []
    for (x, y), node in zip(places, nodes, strict=True):
        for j in (node.below, node.above):
            if j >= 0:
                lines += [(x, y), places[j], (np.nan, np.nan)]
        write_text(ax, x, y, _text(node), fontsize=8, ha="center", va="center", zorder=3, bbox=_look(node))
    if lines:
        ax.plot(*np.array(lines).T, color=GREY, linewidth=0.8, zorder=1)
    n_ends = sum(node.below < 0 for node in nodes)
    ax.set(xlim=(-0.5, 3.5), ylim=(max(n_ends, 3) - 0.4, -0.6))
    ax.set_axis_off()
    ax.set_title(title, fontsize=11, loc="left", parse_math=False)


def _look(node: TreeNode) -> dict[str, object]:
    if node.feature:
        return dict(_BOX)
    return {**_BOX, "facecolor": _UP if node.value > 0 else _DOWN}


def _text(node: TreeNode) -> str:
    if not node.feature:
        return f"{node.value:+.3g}".replace("-", "−")
    missing = " or missing" if node.missing_below else ""
    goes_on = " …" if node.below < 0 else ""
    gain = f"{node.value:.0f}" if node.value >= 100 else f"{node.value:.3g}"
    return f"{shown(node.feature, 24)}\n< {node.cut:.4g}{missing}; gain {gain}{goes_on}".replace("< -", "< −")


def _places(nodes: Sequence[TreeNode]) -> list[tuple[float, float]]:
    """Returns (x, y) of each node: levels 0, 1, 2 … along x, ends 0, 1, 2 … along y, splits amid what they lead to."""
    places = [(0.0, 0.0)] * len(nodes)
    ends = 0

    def place(i: int, level: int) -> float:
        nonlocal ends
        node = nodes[i]
        if node.below < 0:
            y, ends = float(ends), ends + 1
        else:
            y = (place(node.below, level + 1) + place(node.above, level + 1)) / 2
        places[i] = (float(level), y)
        return y

    place(0, 0)
    return places
