"""Polygons in a plane of two expressions, with the arithmetic of ROOT's TCutG: `cutg("name")` in an expression.

A point is inside if a line from it to the left crosses an odd number of edges. An edge belongs to the heights above its
lower end, up to and including its upper end, so that every point on an edge or a vertex is decided, and by the same
double-precision operations as in `TMath::IsInside`, which `TCutG::IsInside` calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.compiled import compiled
from pidlab.measured import Array


@dataclass(frozen=True, slots=True)
class Polygon:
    """A polygon, whose last point is joined with its first one.

    Attributes:
        name: by which `cutg("name")` finds it.
        x, y: the expressions of its axes; empty if it states none.
        points: its corners.
    """

    name: str
    x: str
    y: str
    points: tuple[tuple[float, float], ...]

    @property
    def short_name(self) -> str:
        """The name without the file and the folders in it that it may begin with."""
        return re.split(r"[:/]", self.name)[-1].partition(";")[0]

    def contains(self, x: Any, y: Any) -> NDArray[np.bool_]:
        """Returns true where a point lies inside; x and y are arrays or numbers, which are taken as doubles."""
        px, py, box = _prepared(self.points)
        xs, ys = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        result = np.empty(xs.shape, np.bool_)
        _fill(np.ravel(xs), np.ravel(ys), px, py, box, result.reshape(-1))
        return result


@lru_cache(maxsize=256)
def _prepared(points: tuple[tuple[float, float], ...]) -> tuple[Array, Array, Array]:
    """Returns x and y of the corners, and the box (low x, high x, low y, high y) outside of which no point is inside.

    The x at which an edge is crossed lies between those at its ends as they are computed, because all roundings keep
    the order. The one at the far end can differ from the corner in the last digit.
    """
    corners = np.array(points, np.float64).reshape(-1, 2)
    px, py = np.ascontiguousarray(corners[:, 0]), np.ascontiguousarray(corners[:, 1])
    if not len(corners):
        return px, py, np.full(4, np.nan)
    with np.errstate(over="ignore"):
        width, height = np.roll(px, 1) - px, np.roll(py, 1) - py
        ends = np.concatenate([px, px + width])
    limits = [ends.min(), ends.max()] if np.isfinite([width, height]).all() else [-np.inf, np.inf]
    return px, py, np.array([*limits, py.min(), py.max()])


@compiled(nogil=True, error_model="numpy")
def _fill(x: Array, y: Array, px: Array, py: Array, box: Array, result: NDArray[np.bool_]) -> None:
    """Sets `result` (n,) to whether the points x (n,), y (n,) lie inside the polygon px (k,), py (k,)."""
    low_x, high_x, low_y, high_y = box
    n_corners = len(px)
    for row in range(len(x)):
        u, v = x[row], y[row]
        odd = False
        if low_x < u <= high_x and low_y < v <= high_y:
            j = n_corners - 1
            for i in range(n_corners):
                if (py[i] < v) != (py[j] < v) and px[i] + (v - py[i]) / (py[j] - py[i]) * (px[j] - px[i]) < u:
                    odd = not odd
                j = i
        result[row] = odd


def root_expression(polygon: Polygon, x: str, y: str) -> str:
    """Returns the polygon as an expression that TTree::Draw decides as `contains` does: an odd number of crossed edges.

    Args:
        polygon: the polygon.
        x, y: its axes, each in brackets unless it is a name.
    """
    terms = []
    for (ax, ay), (bx, by) in zip(polygon.points, (polygon.points[-1], *polygon.points[:-1]), strict=True):
        if ay == by:  # no height lies above one end of it and not above the other
            continue
        crossed = repr(ax)
        if ax != bx:
            crossed = f"{ax!r}+(({y}-{_operand(ay)})/{_operand(by - ay)})*{_operand(bx - ax)}"
        terms.append(f"({y}>{min(ay, by)!r} && {y}<={max(ay, by)!r} && {crossed}<{x})")
    return f"(({' + '.join(terms) or '0'})%2 == 1)"


def _operand(number: float) -> str:
    return f"({number!r})" if np.signbit(number) else repr(number)


TableName = Callable[[Polygon], str]
"""Gives the name of the table of a polygon's corners in C++."""
