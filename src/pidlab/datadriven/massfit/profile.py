"""Profile: how far the interval of a parameter reaches where the likelihood has a second valley beside its minimum.

Minos follows the valley of the minimum until twice the log-likelihood has fallen by one. Further out another valley may
be deeper: of a peak of two widths, another ratio of them. Then less than one is lost at the end that Minos found, and
the interval, which holds all values that lose less than one whatever the other parameters are, reaches further.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pidlab.measured import Array

_LOOK: Final = 1.6
"""Where another valley is looked for, in units of the distance to Minos's end. In toys of a `double_gauss` the valley
of the minimum had ended there, so that the search slid into the deeper one; at 1.3 it had not in every case."""
_PARABOLA: Final = 2.0
"""Less has been lost at `_LOOK` only in another valley: a parabola has 2.56 there, and ones of toys had 2.1 to 3.7."""
_TOLERANCE: Final = 0.01
"""Of the rise by one at the end: the interval is then right within half a hundredth of its length."""
_INSET: Final = 0.01
_GROWTH, _ROUNDS = 1.3, 12
_MAX_CALLS: Final = 2_000


@dataclass(frozen=True, slots=True)
class _Place:
    """A distance from the minimum, how much twice the log-likelihood has fallen there, and all parameters (k,)."""

    distance: float
    rise: float
    values: Array


class _Profile:
    """The likelihood at fixed values of one parameter, maximised in all others from where the caller says."""

    def __init__(self, minuit: Any, name: str) -> None:
        from iminuit import Minuit

        self._index, self._best = minuit.parameters.index(name), float(minuit.fval)
        self._minimum = np.array(minuit.values)
        covariance = np.array(minuit.covariance)[self._index]
        self._slope = covariance / covariance[self._index]
        self._low, self._high = np.array(minuit.limits).T
        self._scan = Minuit(minuit.fcn, self._minimum, name=minuit.parameters)
        self._scan.errordef, self._scan.strategy, self._scan.print_level = minuit.errordef, 0, -1
        self._scan.limits, self._steps = minuit.limits, np.array(minuit.errors)
        self._scan.fixed[name] = True

    def inside(self, distance: float) -> bool:
        """Whether the parameter lies between its limits at this distance from the minimum."""
        i = self._index
        return bool(self._low[i] < self._minimum[i] + distance < self._high[i])

    def at(self, distance: float, near: _Place | None = None) -> _Place:
        """Returns the place at this distance, in the valley of `near`, or where a parabola would have it."""
        start = (self._minimum + self._slope * distance) if near is None else near.values.copy()
        start[self._index] = self._minimum[self._index] + distance
        # At a limit Minuit's inner parameter has no slope, and one that starts there would stay.
        inset = _INSET * (self._high - self._low)
        kept = start[self._index]
        start = np.clip(start, self._low + inset, self._high - inset)
        start[self._index] = kept
        self._scan.values, self._scan.errors = start, self._steps
        self._scan.migrad(ncall=_MAX_CALLS)
        return _Place(distance, max(float(self._scan.fval) - self._best, 0.0), np.array(self._scan.values))


def ends_of_intervals(minuit: Any, found: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Returns how far the intervals of parameters reach down and up, at least as far as Minos says.

    Args:
        minuit: iminuit's object at the minimum, whose cost is twice the negative logarithm of the likelihood.
        found: parameter to the ends that Minos found, from the minimum; the lower one negative.
    """
    profiles = {name: _Profile(minuit, name) for name in found}
    looks = {
        (name, distance): profiles[name].at(_LOOK * distance)
        for name, ends in found.items()
        for distance in ends
        if distance and profiles[name].inside(_LOOK * distance)
    }
    valleys = {end: place for end, place in looks.items() if place.rise < _PARABOLA}
    if not valleys:
        return dict(found)
    deepest = min(valleys.values(), key=lambda place: place.rise)
    reach = {end: _reach(profiles[end[0]], end[1], valleys.get(end, deepest)) for end in looks}
    return {name: (reach.get((name, low), low), reach.get((name, high), high)) for name, (low, high) in found.items()}


def _reach(profile: _Profile, distance: float, valley: _Place) -> float:
    """Returns how far the interval reaches beyond an end of Minos, if it does in the valley around a place."""
    # A valley that is deep enough where it was found need not exist at the end of Minos.
    here = _LOOK * distance == valley.distance and valley.rise < 1
    inner = valley if here else profile.at(distance, valley)
    if inner.rise >= 1 - _TOLERANCE:
        return distance
    for _ in range(_ROUNDS):
        further = _GROWTH * inner.distance
        if not profile.inside(further):
            break
        outer = profile.at(further, inner)
        if outer.rise >= 1:
            return _crossing(profile, inner, outer)
        inner = outer
    return inner.distance


def _crossing(profile: _Profile, inner: _Place, outer: _Place) -> float:
    """Returns the distance between two places at which one is lost; the root of the loss is nearly linear."""
    for _ in range(_ROUNDS):
        low, high = math.sqrt(inner.rise), math.sqrt(outer.rise)
        # Not closer to either place than a tenth of the way, so that a kink between valleys does not stop the search.
        part = float(np.clip((1 - low) / (high - low), 0.1, 0.9))
        middle = profile.at(inner.distance + part * (outer.distance - inner.distance), inner)
        if abs(middle.rise - 1) < _TOLERANCE:
            return middle.distance
        if middle.rise < 1:
            inner = middle
        else:
            outer = middle
    return inner.distance
