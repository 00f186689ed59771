"""Working points, and how their efficiency depends on spectators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pidlab.measured import Array, Measured


@dataclass(frozen=True, slots=True)
class FlatThreshold:
    """A threshold that depends on one or two spectators, such that the efficiency does not.

    Between the nodes it is linear (bilinear for two spectators), and beyond the outermost nodes constant.

    Attributes:
        names: the expressions of one or two spectators.
        nodes: (m,) rising nodes of each spectator.
        values: (m[, m2]) thresholds at the nodes.
    """

    names: tuple[str, ...]
    nodes: tuple[Array, ...]
    values: Array


@dataclass(frozen=True, slots=True)
class WorkingPoint:
    """A threshold that is set on validation for the `target` signal efficiency, and its rates on test.

    With `flat` the threshold depends on spectators, and `threshold` is the constant threshold of the same efficiency.
    `cut_string` is the decision as a ROOT cut string, if it can be written as one. `reason` says why the efficiency is
    not the target if it misses it (`pidlab.evaluate.points.attained`); it is empty in results of older versions.
    """

    name: str
    target: float
    threshold: float
    efficiency: Measured
    misid: Mapping[str, Measured]
    rejection: Mapping[str, Measured]
    purity: Measured
    flat: FlatThreshold | None = None
    cut_string: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EfficiencyMap:
    """The fraction of one class that passes a working point, in bins of one or two spectators.

    Attributes:
        working_point, particle: the decision and the true class.
        names, edges: one or two spectators and their bin edges.
        passed, total, passed2, total2: (bx[, by]) sums of w and of w².
        value, low, high: (bx[, by]) with 68.3 % bounds; NaN where a bin is empty.
        n: (bx[, by]) effective number of events.
        least: bins with fewer effective events than this are `thin`.
    """

    working_point: str
    particle: str
    names: tuple[str, ...]
    edges: tuple[Array, ...]
    passed: Array
    total: Array
    passed2: Array
    total2: Array
    value: Array
    low: Array
    high: Array
    n: Array
    least: float = 10.0

    @property
    def thin(self) -> NDArray[np.bool_]:
        """Returns the bins (bx[, by]) that have events, but fewer effective ones than `least`."""
        return np.asarray((self.n > 0) & (self.n < self.least))


@dataclass(frozen=True, slots=True)
class Flatness:
    """How flat the signal efficiency is on test, in the bins of a flat working point.

    Attributes:
        working_point: the name of the point.
        before, after: the signal's map at the constant threshold, and at the thresholds that depend on spectators.
        chi2_before, chi2_after: sum over bins that are not thin of their squared distance to the common mean, in units
            of their intervals on test.
        ndf: number of these bins minus one.
        spread_before, spread_after: standard deviation of the efficiency over bins beyond statistical fluctuations.
    """

    working_point: str
    before: EfficiencyMap
    after: EfficiencyMap
    chi2_before: float
    chi2_after: float
    ndf: int
    spread_before: float
    spread_after: float
