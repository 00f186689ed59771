"""Working points of flat efficiency: thresholds that depend on one or two spectators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pidlab.errors import DataError, UsageError, nearest
from pidlab.evaluate.intervals import blocks
from pidlab.evaluate.ranking import Score
from pidlab.evaluate.results import FlatThreshold, WorkingPoint
from pidlab.measured import Array
from pidlab.sample import FloatArray, Sample


def thresholds_at(flat: FlatThreshold, spectators: Mapping[str, FloatArray]) -> Array:
    """Returns the threshold (n,) at each candidate's spectators; NaN, which nothing passes, if a spectator is NaN.

    It is linear between the nodes of each spectator, and constant beyond the outermost nodes.
    """
    axes = [np.asarray(spectators[name]) for name in flat.names]
    found = np.empty(axes[0].shape)
    for rows in blocks(len(axes[0])):
        found[rows] = _thresholds(flat, [values[rows] for values in axes])
    return found


def _thresholds(flat: FlatThreshold, axes: Sequence[FloatArray]) -> Array:
    """Returns the threshold (m,) for the values (m,) of each spectator."""
    values = flat.values
    weights, below = [], []
    for spectator, nodes in zip(axes, flat.nodes, strict=True):
        x = np.clip(np.asarray(spectator, np.float64), nodes[0], nodes[-1])
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
    """Returns a score (n,) and the threshold on it that make the point's decision on the signal's score (n,).

    For a flat point these are the score margin and 0.
    """
    return (score, point.threshold) if point.flat is None else (score_margin(point.flat, score, sample), 0.0)


def score_margin(flat: FlatThreshold, score: Score, sample: Sample) -> Score:
    """Returns the signal's score (n,) minus the threshold at the candidate's spectators."""
    axes = [sample.spectators[name] for name in flat.names]
    margin = np.empty(len(score), np.float32)
    for rows in blocks(len(score)):
        margin[rows] = score[rows] - _thresholds(flat, [values[rows] for values in axes]).astype(np.float32)
    return margin


def check_spectators(section: str, names: set[str], sample: Sample) -> None:
    """Checks that the sample has all spectators that a section of the configuration names.

    Raises:
        UsageError: A name is no spectator.
    """
    for name in names - set(sample.spectators):
        known = nearest(name, sample.spectators) or "name it in spectators"
        raise UsageError(f"evaluate.{section}: {name!r} is no spectator; {known}")


def flat_from_json(content: Mapping[str, Any]) -> FlatThreshold:
    """Returns the thresholds that `json_value` encoded.

    Raises:
        DataError: The nodes do not rise, or do not fit the values.
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
