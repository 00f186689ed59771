"""Working points, and how their efficiency depends on spectators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pidlab.measured import Array, Measured


@dataclass(frozen=True, slots=True)
class FlatThreshold:
    """A threshold that depends on one or two spectators, so that the efficiency is the same everywhere.

    Between the nodes it is linear (bilinear for two), beyond the outermost ones constant.

    Attributes:
        names: the spectators' expressions, one or two.
        nodes: for each spectator its (m,) rising nodes.
        values: (m[, m2]) thresholds at the nodes.
    """

    names: tuple[str, ...]
    nodes: tuple[Array, ...]
    values: Array


@dataclass(frozen=True, slots=True)
class WorkingPoint:
    """One threshold, chosen on validation for the `target` signal efficiency and quoted on test.

    With `flat` the threshold depends on spectators, and `threshold` is the one constant threshold of that efficiency.
    `cut_string` is the decision as a ROOT cut string, where the model is one.
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


@dataclass(frozen=True, slots=True)
class EfficiencyMap:
    """The fraction of one class that passes a working point, in bins of one or two spectators.

    Attributes:
        working_point, particle: which decision, and which true class was counted.
        names: one or two spectators; `edges`: their bin edges.
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
        """(bx[, by]) true where a bin has events, but too few to lean on."""
        return np.asarray((self.n > 0) & (self.n < self.least))


@dataclass(frozen=True, slots=True)
class Flatness:
    """How even the signal efficiency is on test, in the bins of a flat working point.

    Attributes:
        working_point: its name.
        before, after: the signal's map at the one constant threshold, and at the thresholds that follow spectators.
        chi2_before, chi2_after: the distances of the bins, not thin ones, to their common mean in units of their
            intervals on test, squared and summed.
        ndf: bins less one.
        spread_before, spread_after: standard deviation of the efficiency over bins, beyond what test fluctuates.
    """

    working_point: str
    before: EfficiencyMap
    after: EfficiencyMap
    chi2_before: float
    chi2_after: float
    ndf: int
    spread_before: float
    spread_after: float
