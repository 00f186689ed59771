"""Intervals of fractions and of what is derived from them: pure array maths, any shape, weights of any sign.

One rule for every fraction: Clopper-Pearson where all weights are equal, otherwise the union of Wilson's interval
with the effective number of events and of Fieller's interval for a ratio of weighted sums. Wilson alone is too narrow
where the weights go with the decision (sWeights: the background that they cancel fails the cut more often than the
signal), Fieller alone shrinks to nothing where all or none pass. The area under the ROC curve follows the same rule,
with Newcombe's interval in the place of Wilson's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import BoolArray, FloatArray, IntArray

LEVEL = float(special.erf(1 / np.sqrt(2)))
"""0.6827, the probability within one standard deviation of a normal distribution."""
_HALVINGS = 60  # of an interval of length one: to the last bit


class Interval(NamedTuple):
    """Fractions of any shape with their bounds and the effective number of events; NaN where there is no event."""

    value: Array
    low: Array
    high: Array
    n: Array

    def measured(self) -> Measured:
        """The one number of an interval that holds a single one."""
        return Measured(*(float(part) for part in self))


class Sums(NamedTuple):
    """What an interval of a fraction needs: sums of w, their variances and covariance, and the sum of w² of all.

    `passed2` and `failed2` are variances of the two sums: sums of w² for independent candidates, sums over events
    of (sum of w)² where candidates share events; `cross` is then the sum over events of passed times failed.
    """

    passed: Array
    failed: Array
    passed2: Array
    failed2: Array
    cross: Array
    total2: Array


def sums_by(index: IntArray, weight: FloatArray, n: int = 0) -> Array:
    """(at least n,) sums of weight (m,) by index (m,)."""
    return np.asarray(np.bincount(index, weight, n), dtype=np.float64)


def deviations(level: float = LEVEL) -> float:
    """Number of standard deviations that hold `level` of a normal distribution, 1 for 68.27 %."""
    return float(special.ndtri((1 + level) / 2))


def inner(a: FloatArray, b: FloatArray) -> float:
    """Sum of products. Not BLAS, which rounds by its number of threads, and waits for them on a busy machine."""
    return float(np.sum(a * b, dtype=np.float64))


def effective_number(weight: FloatArray) -> float:
    """Kish's effective number of events (sum w)² / sum w²; 0 without events."""
    total2 = inner(weight, weight)
    return float(weight.sum()) ** 2 / total2 if total2 > 0 else 0.0


def clopper_pearson(passed: ArrayLike, total: ArrayLike, level: float = LEVEL) -> tuple[Array, Array]:
    """The central interval of Clopper and Pearson, Biometrika 26 (1934) 404, as ROOT's TEfficiency has it by default.

    `passed` and `total` are counts that broadcast together; (low, high) have their shape, NaN where total is 0.
    """
    passed, total = np.broadcast_arrays(np.asarray(passed, np.float64), np.asarray(total, np.float64))
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(passed > 0, special.betaincinv(passed, total - passed + 1, tail), 0.0)
        high = np.where(passed < total, special.betaincinv(passed + 1, total - passed, 1 - tail), 1.0)
    empty = total <= 0
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def wilson(value: ArrayLike, n_eff: ArrayLike, level: float = LEVEL) -> tuple[Array, Array]:
    """Wilson's score interval, J. Am. Stat. Assoc. 22 (1927) 209, with an effective number of events.

    (low, high) have the broadcast shape; NaN without events, or where the value is so far outside [0, 1] that no true
    fraction explains it within `level`.
    """
    value, n = np.broadcast_arrays(np.asarray(value, np.float64), np.asarray(n_eff, np.float64))
    z2 = deviations(level) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        half = np.sqrt(z2 * (value * (1 - value) / n + z2 / (4 * n * n)))
        centre = value + z2 / (2 * n)
        low, high = (centre - half) / (1 + z2 / n), (centre + half) / (1 + z2 / n)
    # The subtraction leaves 1e-17 at the edges, where the bounds are 0 and 1 exactly.
    return np.where(value == 0, np.where(n > 0, 0.0, np.nan), low), np.where(
        value == 1, np.where(n > 0, 1.0, np.nan), high
    )


def fieller(sums: Sums, level: float = LEVEL) -> tuple[Array, Array]:
    """The p with ((1 - p) passed - p failed)² <= z² variance of it: Fieller, J. R. Stat. Soc. B 16 (1954) 175.

    It asks nothing of the weights: any sign, correlated with passing, shared by the candidates of an event. Unbounded
    (-inf, inf) where the total is not significantly different from zero.
    """
    z2 = deviations(level) ** 2
    total = sums.passed + sums.failed
    a = total**2 - z2 * (sums.passed2 + 2 * sums.cross + sums.failed2)
    b = sums.passed * total - z2 * (sums.passed2 + sums.cross)
    c = sums.passed**2 - z2 * sums.passed2
    with np.errstate(invalid="ignore", divide="ignore"):
        root = np.sqrt(np.maximum(b * b - a * c, 0.0))
        low, high = (b - root) / a, (b + root) / a
    return np.where(a > 0, low, -np.inf), np.where(a > 0, high, np.inf)


def efficiency(
    passed: ArrayLike, total: ArrayLike, passed2: ArrayLike, total2: ArrayLike, *, level: float = LEVEL
) -> Interval:
    """Weighted efficiencies from sums of w and of w² (ROOT's two histograms with their Sumw2), of any shape.

    Clopper-Pearson for equal weights, otherwise the union of Wilson and Fieller (see the module). A value outside [0,
    1], which weights of both signs can give, stays as it is and so does the bound beyond it; all other bounds end at
    0 and 1.
    """
    sums = np.broadcast_arrays(*(np.asarray(s, np.float64) for s in (passed, total, passed2, total2)))
    failed2 = np.maximum(sums[3] - sums[2], 0.0)
    return fraction(Sums(sums[0], sums[1] - sums[0], sums[2], failed2, np.zeros_like(sums[0]), sums[3]), level=level)


def fraction(sums: Sums, *, independent: bool = True, level: float = LEVEL) -> Interval:
    """passed / (passed + failed) as in `efficiency`; `independent` is false where candidates share events."""
    total = sums.passed + sums.failed
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(total != 0, sums.passed / total, np.nan)
        n = np.where(sums.total2 > 0, total**2 / sums.total2, 0.0)
    low, high = _weighted(value, n, sums, level)
    equal, counts = _equal_weights(sums, total, n)
    if independent and equal.any():
        exact = clopper_pearson(counts, np.rint(n), level)
        low, high = np.where(equal, exact[0], low), np.where(equal, exact[1], high)
    undefined = np.isnan(value)
    return Interval(
        value, np.where(undefined, np.nan, low), np.where(undefined, np.nan, high), np.where(undefined, 0.0, n)
    )


def _equal_weights(sums: Sums, total: Array, n: Array) -> tuple[BoolArray, Array]:
    """Where every weight is the same (1, or a sample's one normalisation), and the number that passed there."""
    with np.errstate(invalid="ignore", divide="ignore"):
        counts = np.rint(n * sums.passed / total)
        same = np.isclose(sums.passed2 * total, sums.passed * sums.total2, rtol=1e-9, atol=0)
    whole = np.isclose(n, np.rint(n), rtol=1e-9, atol=0) & np.isclose(
        sums.passed * n, counts * total, rtol=1e-9, atol=0
    )
    return (n > 0) & same & whole & (counts >= 0), counts


def _weighted(value: Array, n: Array, sums: Sums, level: float) -> tuple[Array, Array]:
    """The union of Wilson and Fieller."""
    return union(value, wilson(value, n, level), fieller(sums, level))


def union(value: Array, one: tuple[Array, Array], other: tuple[Array, Array]) -> tuple[Array, Array]:
    """The smallest interval (low, high) that holds the value and two intervals, of any shape.

    It ends at 0 and 1, except on the side of a value that lies outside. NaN bounds of one interval are left to the
    other.
    """
    low, high = np.fmin(one[0], other[0]), np.fmax(one[1], other[1])
    low = np.where((value >= 0) | np.isinf(low), np.fmax(low, np.fmin(value, 0.0)), low)
    high = np.where((value <= 1) | np.isinf(high), np.fmin(high, np.fmax(value, 1.0)), high)
    return np.fmin(low, value), np.fmax(high, value)


def proportion(
    chosen: BoolArray, weight: FloatArray, groups: IntArray | None = None, *, level: float = LEVEL
) -> Measured:
    """The weighted fraction of candidates that `chosen` (n,) marks, with weights (n,) of any sign.

    `groups` (n,) numbers the events where some hold several candidates; the variance is then that of whole events.
    """
    passing = np.where(chosen, weight, 0.0)
    passed, total = float(passing.sum()), float(weight.sum())
    total2 = inner(weight, weight)
    if groups is None or not shares_events(groups):
        return efficiency(passed, total, inner(passing, passing), total2, level=level).measured()
    by_event, failing = sums_by(groups, passing), sums_by(groups, weight - passing)
    variances = (inner(by_event, by_event), inner(failing, failing), inner(by_event, failing))
    sums = Sums(*(np.asarray(s) for s in (passed, total - passed, *variances, total2)))
    return fraction(sums, independent=False, level=level).measured()


def shares_events(groups: IntArray) -> bool:
    """Whether some number occurs twice in `groups` (n,)."""
    return len(groups) > 0 and int(np.bincount(groups).max()) > 1


def mixture(parts: list[tuple[float, Measured]]) -> Measured:
    """The sum of factor times measured over independent parts, with MOVER bounds.

    Zou and Donner, Stat. Med. 27 (2008) 1693: distances to each bound add in quadrature. `n` is the smallest of the
    parts.
    """
    value = sum(factor * part.value for factor, part in parts)
    below = sum((factor * (part.value - part.low)) ** 2 for factor, part in parts)
    above = sum((factor * (part.high - part.value)) ** 2 for factor, part in parts)
    return Measured(value, value - below**0.5, value + above**0.5, min(part.n for _, part in parts))


def share(part: Measured, rest: Measured, *, level: float = LEVEL) -> Measured:
    """part / (part + rest) of two independent quantities from their bounds at `level`.

    MOVER for a ratio, Donner and Zou, Stat. Methods Med. Res. 21 (2012) 347: Fieller's equation, with the distance to
    the bound on the side in question in the place of a standard deviation, so that a `rest` of 0 still has room
    above.
    """
    if not part.value + rest.value:
        return UNDEFINED
    z2 = deviations(level) ** 2
    sides = ((part.value - part.low, rest.high - rest.value), (part.high - part.value, rest.value - rest.low))
    sums = [(part.value, rest.value, up**2 / z2, down**2 / z2, 0.0, 0.0) for up, down in sides]
    bounds = [fieller(Sums(*map(np.asarray, s)), level) for s in sums]
    value = part.value / (part.value + rest.value)
    low, high = float(bounds[0][0]), float(bounds[1][1])
    low = max(low, min(value, 0.0)) if value >= 0 or np.isinf(low) else low
    high = min(high, max(value, 1.0)) if value <= 1 or np.isinf(high) else high
    return Measured(value, low, high, min(part.n, rest.n))


def inverse(measured: Measured) -> Measured:
    """1 / measured, bounds swapped: rejection from misidentification; infinite for what is not positive."""
    value, low, high = (1 / x if x > 0 else np.inf for x in measured[:3])
    return UNDEFINED if np.isnan(measured.value) else Measured(value, high, low, measured.n)


def symmetric(value: float, deviation: float, n: float) -> Measured:
    """value plus and minus one standard deviation."""
    return Measured(value, value - deviation, value + deviation, n)


def hanley_mcneil(area: float, n_signal: float, n_other: float) -> float:
    """The variance of an AUC of exponential scores: Hanley and McNeil, Radiology 143 (1982) 29.

    Newcombe's form for it (`newcombe`): both classes lend their mean size to the terms of shared candidates, so that
    it is the same for AUC and 1 - AUC.
    """
    shared = (n_signal + n_other) / 2 - 1
    each = (1 - area) / (2 - area) + area / (1 + area)
    return area * (1 - area) * (1 + shared * each) / (n_signal * n_other)


def newcombe(area: float, n_signal: float, n_other: float, scale: float, z: float) -> tuple[float, float]:
    """All areas t with (area - t)² <= z² scale variance(t), the variance being that of Hanley and McNeil.

    The score interval of Newcombe, Stat. Med. 25 (2006) 559, method 5, for `scale` 1. Its variance is that at the true
    area and not at the measured one, so that it does not vanish where no two candidates are in the wrong order.

    Args:
        area: the measured one; outside [0, 1] the nearer end counts.
        n_signal, n_other: effective numbers of events of the two classes.
        scale: how many times larger the variance is than for exponential scores.
        z: half width in standard deviations.
    """
    area = min(max(area, 0.0), 1.0)

    def bound(inside: float, outside: float) -> float:
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            holds = (area - middle) ** 2 <= z * z * scale * hanley_mcneil(middle, n_signal, n_other)
            inside, outside = (middle, outside) if holds else (inside, middle)
        return (inside + outside) / 2

    return bound(area, 0.0), bound(area, 1.0)
