"""The working point that a figure of merit is largest at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pidlab.config.names import BEST
from pidlab.config.schema import FigureOfMerit
from pidlab.evaluate.ranking import Score, cumulative_by_score, just_below
from pidlab.measured import Array
from pidlab.sample import Sample


@dataclass(frozen=True, slots=True)
class Merit:
    """A figure of merit with what it needs.

    Attributes:
        asked: which, and at which signal efficiency at least.
        expected: candidates of every class before the decision.
        sigmas: of Punzi's.
    """

    asked: FigureOfMerit
    expected: Mapping[str, float]
    sigmas: float


def best_point(score: Score, sample: Sample, merit: Merit) -> tuple[str, float, float]:
    """Name, target and threshold of the working point where `merit` is largest, from scores (n,) of `sample`.

    Every distinct score is tried; the target is the signal efficiency there. Where none reaches the efficiency asked
    for, that is the target, and the threshold lets pass whatever has a score.
    """
    least = merit.asked.efficiency
    weights = [np.where(sample.y == c, sample.weight, 0.0) for c in range(len(sample.classes))]
    steps = cumulative_by_score(score, *weights)
    if not len(steps.values):
        return BEST, least, float(np.finfo(np.float32).max)
    totals = np.array([w.sum() for w in weights])[:, None]
    rates = np.divide(np.array(steps.sums), totals, out=np.zeros((len(weights), len(steps.values))), where=totals != 0)
    efficiency = rates[sample.signal]
    allowed = np.flatnonzero(efficiency >= least * (1 - 1e-12))
    if not len(allowed):
        return BEST, least, just_below(float(steps.values[-1]))
    best = allowed[np.argmax(figure(merit, rates[:, allowed], sample.classes, sample.signal))]
    return BEST, max(least, float(efficiency[best])), just_below(float(steps.values[best]))


def figure(merit: Merit, rates: Array, classes: Sequence[str], signal: int) -> Array:
    """(m,) the figure of merit from the rates (k, m) at which each class passes; -inf where nothing is left.

    Punzi's is that of physics/0308063, eq. 7, for a search at `sigmas` standard deviations.
    """
    passing = np.maximum(rates * np.array([merit.expected[c] for c in classes])[:, None], 0.0)
    s, both = passing[signal], passing.sum(axis=0)
    if merit.asked.name == "punzi":
        return np.asarray(rates[signal] / (merit.sigmas / 2 + np.sqrt(np.maximum(both - s, 0.0))))
    power = 0.5 if merit.asked.name == "significance" else 1.0
    return np.asarray(np.divide(s, both**power, out=np.full(len(s), -np.inf), where=both > 0))
