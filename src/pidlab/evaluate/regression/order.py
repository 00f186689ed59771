"""Weighted order statistics: quantiles, the central and the smallest interval of residuals, with their influences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pidlab.evaluate.intervals import LEVEL, blocks, cumulate
from pidlab.evaluate.regression.statistics import Statistic
from pidlab.measured import Array
from pidlab.sample import FloatArray

CENTRAL = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
"""The probabilities of the two ends of the central 68.3 % interval, .159 and .841."""
HALVED = 2 ** (2 / 3) - 1
"""The bias of the smallest interval falls as n^(-2/3), so that on half of the events it is larger by this share."""


class OrderNumbers(NamedTuple):
    """What is kept of residuals in rising order, which themselves take three times their memory.

    Attributes:
        median, sigma68, effective: as `Ordered` has them.
        ends: the quantiles between which 99.8 % of the residuals lie.
    """

    median: Statistic
    sigma68: Statistic
    effective: Statistic
    ends: tuple[float, float]


@dataclass(frozen=True)
class Ordered:
    """The residuals in rising order with their places in the cumulative distribution.

    Attributes:
        x: (m,) rising residuals of candidates with a weight.
        place: (m,) rising places between 0 and 1, each in the middle of the step of its candidate.
        n: the effective number of candidates.
        residual: (k,) those of all candidates, in the order of the sample.
    """

    x: NDArray[np.float32]
    place: Array
    n: float
    residual: NDArray[np.float32]

    @classmethod
    def of(cls, residual: NDArray[np.float32], weight: FloatArray, n: float) -> Ordered:
        """Returns the order of residuals (n,) that are numbers; the sum of weights (n,) of any sign must be positive.

        Weights of both signs make a cumulative distribution that falls in places. It is then replaced by the mean of
        its running maximum from below and its running minimum from above, which rises and has no preferred side.
        """
        order = np.argsort(residual).astype(np.uint32)
        w = np.empty(len(order))
        for rows in blocks(len(order)):
            w[rows] = weight[order[rows]]
        if not np.all(w):
            order, w = order[w != 0], w[w != 0]
        x = np.empty(len(order), np.float32)
        for rows in blocks(len(order)):
            x[rows] = residual[order[rows]]
        del order
        signed = bool(w.min(initial=0.0) < 0)
        place = cumulate(w.copy())
        total = float(place[-1])
        w /= 2
        place -= w
        del w
        if signed:
            above = np.minimum.accumulate(place[::-1])[::-1]
            np.maximum.accumulate(place, out=place)
            place += above
            place /= 2
        place /= total
        return cls(x, place, n, residual)

    def quantile(self, p: Array | float) -> Array:
        """Returns the quantiles of probabilities p, linear between the places of neighbours (Hazen's definition)."""
        p = np.asarray(p, np.float64)
        after = np.clip(np.searchsorted(self.place, p), 1, max(len(self.x) - 1, 1))
        low, high = after - 1, np.minimum(after, len(self.x) - 1)
        step = self.place[high] - self.place[low]
        share = np.divide(p - self.place[low], step, out=np.zeros(p.shape), where=step > 0)
        x = self.x[low].astype(np.float64)
        return np.asarray(x + np.clip(share, 0.0, 1.0) * (self.x[high].astype(np.float64) - x))

    def sparsity(self, p: float) -> float:
        """Returns dq / dp, one over the density at a quantile, over the bandwidth of Hall and Sheather.

        J. R. Stat. Soc. B 50 (1988) 381, with the curvature of a normal distribution, for intervals of 68.3 %.
        """
        z = float(special.ndtri(p))
        density = float(np.exp(-z * z / 2) / np.sqrt(2 * np.pi))
        width = float((1.5 * density**2 / (2 * z * z + 1) / max(self.n, 1.0)) ** (1 / 3))
        low, high = p - min(width, 0.9 * p), p + min(width, 0.9 * (1 - p))
        ends = self.quantile(np.array([low, high]))
        return float((ends[1] - ends[0]) / (high - low))

    def located(self, p: float) -> Statistic:
        """Returns a quantile."""
        value, slope, residual = float(self.quantile(p)), self.sparsity(p), self.residual
        return Statistic(value, lambda rows: slope * (p - (residual[rows] <= value)))

    @property
    def numbers(self) -> OrderNumbers:
        """What is kept of the order."""
        low, high = self.quantile(np.array([0.001, 0.999]))
        return OrderNumbers(self.located(0.5), self.sigma68, self.effective, (float(low), float(high)))

    @property
    def sigma68(self) -> Statistic:
        """Half the length of the central 68.3 % interval."""
        low, high = (self.located(p) for p in CENTRAL)
        return Statistic((high.value - low.value) / 2, lambda r: (high.response(r) - low.response(r)) / 2, True)

    @cached_property
    def smallest(self) -> tuple[float, float]:
        """The ends of the smallest interval that holds 68.3 %."""
        best, found = np.inf, (np.nan, np.nan)
        last = int(np.searchsorted(self.place, self.place[-1] - LEVEL, side="right"))
        for rows in blocks(last):
            ends = self.quantile(self.place[rows] + LEVEL)
            lengths = ends - self.x[rows]
            i = int(np.argmin(lengths))
            if lengths[i] < best:
                best, found = float(lengths[i]), (float(self.x[rows][i]), float(ends[i]))
        return found

    @property
    def effective(self) -> Statistic:
        """Half the length of the smallest interval that holds 68.3 %.

        Its ends have the same density, so that the length changes with the share of candidates inside (R. Grübel, The
        length of the shorth, Ann. Stat. 16 (1988) 619).
        """
        (low, high), residual = self.smallest, self.residual
        p_low, p_high = (float(np.interp(end, self.x, self.place)) for end in (low, high))
        slope = (self.sparsity(min(max(p_low, 1e-6), 1 - 1e-6)) + self.sparsity(min(max(p_high, 1e-6), 1 - 1e-6))) / 4

        def response(rows: slice) -> FloatArray:
            return np.asarray(slope * (LEVEL - ((residual[rows] >= low) & (residual[rows] <= high))))

        return Statistic((high - low) / 2, response, True)
