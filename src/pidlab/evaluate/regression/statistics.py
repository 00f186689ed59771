"""Means of residuals and numbers made of them, with intervals from the influence of each event.

The variance of a statistic is the sum over events of its squared influences (the infinitesimal jackknife, which is the
bootstrap over events to first order), for weights of any sign and candidates that share events. The paired difference
of two models has the difference of their influences. If the weights were fitted, the same influences tell what replicas
of the weights change, and the mean square of that adds to the variance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import special

from pidlab.evaluate.intervals import LEVEL, blocks, effective_number, inner, sums_by, symmetric
from pidlab.evaluate.ranking import ONE_EVENT, Influence, groups_of
from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import BoolArray, FloatArray, IntArray, WeightReplicas


@dataclass(frozen=True)
class EventWeights:
    """The weights of n candidates and the events that they belong to.

    Attributes:
        weight: (n,) of any sign; 0 for candidates that do not count.
        groups: (n,) the numbers of their events, None if no two candidates share one.
        replicas: those of the weights, if these were fitted.
    """

    weight: FloatArray
    groups: IntArray | None
    replicas: WeightReplicas | None = None

    @cached_property
    def total(self) -> float:
        """The sum of weights."""
        return float(self.weight.sum())

    @cached_property
    def n(self) -> float:
        """The effective number of candidates."""
        return effective_number(self.weight)

    @cached_property
    def n_events(self) -> float:
        """The effective number of events, which a deviation is estimated from."""
        return self.n if self.groups is None else effective_number(sums_by(self.groups, self.weight))

    @property
    def usable(self) -> bool:
        """Whether there is something to average: the sum of weights is positive."""
        return len(self.weight) > 0 and self.total > 0

    def take(self, rows: IntArray) -> EventWeights:
        """Returns those of some rows."""
        replicas = None if self.replicas is None else self.replicas.take(rows)
        if self.groups is None:
            return EventWeights(self.weight[rows], None, replicas)
        numbers = np.unique(self.groups[rows], return_inverse=True)[1]
        return EventWeights(self.weight[rows], groups_of(numbers, np.ones(len(numbers), np.bool_)), replicas)

    def known(self, known: BoolArray) -> EventWeights:
        """Returns the weights with 0 for candidates that do not count, of which `known` (n,) is False."""
        return EventWeights(np.where(known, self.weight, 0.0), self.groups, self.replicas)


Response = Callable[[slice], FloatArray]
"""The first-order change of a statistic by candidates of a block (m,), for a unit of weight of the whole sample."""


class Statistic(NamedTuple):
    """A number of the sample with its first-order change by each candidate.

    Attributes:
        value: the number.
        response: its change by the candidates of a block, before weights.
        is_scale: True for a positive number, such as a width, whose relative error is constant.
    """

    value: float
    response: Response
    is_scale: bool = False

    def parts(self, weights: EventWeights) -> Iterator[tuple[slice, Array]]:
        """Yields the influences of the candidates of each block."""
        total = weights.total
        for rows in blocks(len(weights.weight)):
            yield rows, np.asarray(weights.weight[rows] * self.response(rows) / total, np.float64)

    def influence(self, weights: EventWeights) -> Influence:
        """Returns the influences (n,) of all candidates at once."""
        parts = np.empty(len(weights.weight))
        for rows, own in self.parts(weights):
            parts[rows] = own
        return Influence(self.value, parts, weights.n)

    def changes(self, weights: EventWeights) -> Array:
        """Returns by how much each replica (r,) of the weights changes it; empty if the weights are known."""
        return np.empty(0) if weights.replicas is None else weights.replicas.changes(self.influence(weights).parts)

    def deviation(self, weights: EventWeights) -> float:
        """Returns half of the 68.3 % interval of Student's distribution; infinite for one event, which shows none."""
        return with_changes(scaled(self.variance(weights), weights.n_events), self.changes(weights))

    def variance(self, weights: EventWeights) -> float:
        """Returns the sum over events of the squared influences."""
        return sum(inner(own, own) for own in self._by_event(weights))

    def degrees(self, weights: EventWeights) -> float:
        """Returns the degrees of freedom of its variance; 0 if fewer than two events show it.

        Satterthwaite's approximation (Biometrics Bull. 2 (1946) 110) for the mean of n squared influences φ² is
        2 n / (κ - 1) with their kurtosis κ = n Σ φ⁴ / (Σ φ²)², which gives n for normal ones. Where few events with
        large weights or residuals make the variance, it is much less. The effective number of events less one is the
        most.
        """
        n, seen, fourth = weights.n_events, self.variance(weights), 0.0
        if not (n > ONE_EVENT and seen > 0):
            return 0.0
        for own in self._by_event(weights):
            square = own * own
            fourth += float(np.sum(square * square))
        count = np.count_nonzero(weights.weight) if weights.groups is None else int(weights.groups.max()) + 1
        excess = count * fourth / seen**2 - 1
        return float(min(n - 1, 2 * count / excess) if excess > 0 else n - 1)

    def _by_event(self, weights: EventWeights) -> Iterator[Array]:
        """Yields the influences of events, in blocks."""
        if weights.groups is None:
            yield from (own for _, own in self.parts(weights))
            return
        by_event = np.zeros(int(weights.groups.max()) + 1)
        for rows, own in self.parts(weights):
            np.add.at(by_event, weights.groups[rows], own)
        yield by_event

    def measured(self, weights: EventWeights) -> Measured:
        """Returns the number with its 68.3 % interval: of Student's width, and for a scale in its logarithm."""
        if not np.isfinite(self.value):
            return UNDEFINED
        n, deviation = weights.n, self.deviation(weights)
        if not np.isfinite(deviation):
            return Measured(self.value, 0.0 if self.is_scale else -np.inf, np.inf, n)
        if self.is_scale and self.value > 0:
            factor = float(np.exp(min(deviation / self.value, 700.0)))
            return Measured(self.value, self.value / factor, self.value * factor, n)
        return symmetric(self.value, deviation, n)


def with_changes(deviation: float, changes: Array) -> float:
    """Returns half of a 68.3 % interval with the error of fitted weights, whose replicas change the number (r,)."""
    if not len(changes):
        return deviation
    return float(np.hypot(deviation, student_quantile(len(changes)) * np.sqrt(np.mean(changes**2))))


def with_replicas(error: float, degrees: float, changes: Array) -> tuple[float, float]:
    """Returns a standard deviation with the error of fitted weights, and its degrees of freedom by Satterthwaite.

    Args:
        error, degrees: those of the events; 0 degrees if a single event determines the number.
        changes: (r,) what replicas of the weights change; empty if the weights are known.
    """
    of_weights = float(np.mean(changes**2)) if len(changes) else 0.0
    if not of_weights > 0 or not degrees > 0:
        return error, degrees
    both = error**2 + of_weights
    return float(np.sqrt(both)), both**2 / (error**4 / degrees + of_weights**2 / len(changes))


def scaled(variance: float, n: float) -> float:
    """Returns half of Student's 68.3 % interval for a variance that n effective events show; infinite for one."""
    if not n > ONE_EVENT:
        return float("inf")
    return student_quantile(n - 1) * float(np.sqrt(variance * n / (n - 1)))


def student_quantile(degrees: float, level: float = LEVEL) -> float:
    """Returns half of the central interval of Student's distribution that holds a share `level`."""
    return float(special.stdtrit(degrees, (1 + level) / 2))


def student_p(difference: float, error: float, degrees: float) -> float:
    """Returns the two-sided p-value of a difference whose standard deviation has so many degrees of freedom."""
    return float(2 * special.stdtr(degrees, -abs(difference) / error))


def powers(values: FloatArray, power: int = 1, origin: float = 0.0) -> Response:
    """Returns a function from a block of values (n,) to powers of these minus an origin, in double precision."""
    return lambda rows: (values[rows].astype(np.float64) - origin) ** power


def mean(values: Response, weights: EventWeights, *, is_scale: bool = False) -> Statistic:
    """Returns the weighted mean of values (n,), of which a function returns those of a block."""
    total = 0.0
    for rows in blocks(len(weights.weight)):
        total += float(np.sum(weights.weight[rows] * values(rows), dtype=np.float64))
    value = total / weights.total
    return Statistic(value, lambda rows: values(rows) - value, is_scale)


def root(square: Statistic) -> Statistic:
    """Returns the square root of a mean of squares; NaN if it is negative, as weights of both signs can make it."""
    if not square.value > 0:
        return Statistic(0.0 if square.value == 0 else np.nan, lambda rows: 0.0 * square.response(rows), True)
    value = float(np.sqrt(square.value))
    return Statistic(value, lambda rows: square.response(rows) / (2 * value), True)


def difference(a: Statistic, b: Statistic) -> Statistic:
    """Returns b - a of two statistics of the same candidates."""
    return Statistic(b.value - a.value, lambda rows: b.response(rows) - a.response(rows))
