"""Flat-efficiency working points: a threshold that follows one or two spectators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import DataError, UsageError, nearest
from pidlab.evaluate.ranking import Score
from pidlab.evaluate.results import FlatThreshold, WorkingPoint
from pidlab.sample import Sample


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


def decided_by(point: WorkingPoint, score: Score, sample: Sample) -> tuple[Score, float]:
    """A score (n,) and a threshold whose comparison is the point's decision on the signal's score (n,).

    For a flat point that is the distance to the threshold at the candidate's spectators, against 0: other thresholds
    on this distance tighten or loosen the decision everywhere.
    """
    if point.flat is None:
        return score, point.threshold
    return score - thresholds_at(point.flat, sample.spectators).astype(np.float32), 0.0


def check_spectators(section: str, names: set[str], sample: Sample) -> None:
    """Refuse to follow, or to bin in, what the sample does not carry.

    Raises:
        UsageError: a name is no spectator.
    """
    for name in names - set(sample.spectators):
        known = nearest(name, sample.spectators) or "name it in spectators"
        raise UsageError(f"evaluate.{section}: {name!r} is no spectator; {known}")


def flat_to_json(flat: FlatThreshold) -> dict[str, Any]:
    """Names, nodes and values in JSON's own types; the numbers come back exactly."""
    return {"names": list(flat.names), "nodes": [n.tolist() for n in flat.nodes], "values": flat.values.tolist()}


def flat_from_json(content: Mapping[str, Any]) -> FlatThreshold:
    """What `flat_to_json` wrote.

    Raises:
        DataError: the nodes do not rise, or do not fit the values.
    """
    try:
        names = tuple(str(name) for name in content["names"])
        nodes = tuple(np.asarray(n, np.float64) for n in content["nodes"])
        values = np.asarray(content["values"], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"a flat working point is damaged ({error}); make the run again") from error
    rising = all(n.ndim == 1 and len(n) and np.isfinite(n).all() and np.all(np.diff(n) > 0) for n in nodes)
    if np.isnan(values).any():
        raise DataError("a flat working point is damaged (a threshold is no number); make the run again")
    if not rising or len(names) != len(nodes) or len(names) not in (1, 2) or values.shape != tuple(map(len, nodes)):
        raise DataError("a flat working point is damaged (nodes and values do not fit); make the run again")
    return FlatThreshold(names, nodes, values)
