"""Flat-efficiency working points: a threshold that follows one or two spectators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.results import FlatThreshold


def thresholds_at(flat: FlatThreshold, spectators: Mapping[str, NDArray[np.floating[Any]]]) -> NDArray[np.float64]:
    """(n,) the threshold at each candidate's spectators; NaN, which nothing passes, where a spectator is NaN.

    Linear between the nodes of each spectator, constant beyond the outermost.
    """
    values = flat.values
    weights, below = [], []
    for name, nodes in zip(flat.names, flat.nodes, strict=True):
        x = np.clip(np.asarray(spectators[name], np.float64), nodes[0], nodes[-1])
        if len(nodes) == 1:
            below.append(np.zeros(len(x), np.intp))
            weights.append(np.where(np.isnan(x), np.nan, 0.0))
            continue
        left = np.clip(np.searchsorted(nodes, x, side="right") - 1, 0, len(nodes) - 2)
        below.append(left)
        weights.append((x - nodes[left]) / (nodes[left + 1] - nodes[left]))
    above = [np.minimum(b + 1, len(n) - 1) for b, n in zip(below, flat.nodes, strict=True)]
    if len(flat.names) == 1:
        return np.asarray((1 - weights[0]) * values[below[0]] + weights[0] * values[above[0]])
    lower = (1 - weights[1]) * values[below[0], below[1]] + weights[1] * values[below[0], above[1]]
    upper = (1 - weights[1]) * values[above[0], below[1]] + weights[1] * values[above[0], above[1]]
    return np.asarray((1 - weights[0]) * lower + weights[0] * upper)
