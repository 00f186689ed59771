"""Intervals of fractions and of numbers derived from them, for arrays of any shape and weights of any sign.

Every fraction follows one rule: the interval of Clopper and Pearson if all weights are equal, and otherwise the union
of Wilson's interval, with the effective number of events, and of Fieller's interval for a ratio of weighted sums.
Wilson's alone is too narrow where weights are correlated with the decision (with sWeights, the background that they
cancel fails the cut more often than the signal). Fieller's alone shrinks to nothing where all or none pass. The area
under the ROC curve follows the same rule, with Newcombe's interval in place of Wilson's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import BoolArray, FloatArray, IntArray

LEVEL = float(special.erf(1 / np.sqrt(2)))
"""0.6827, the probability of a normal distribution within one standard deviation."""
_HALVINGS = 60  # an interval of length one is halved down to the last bit of a double
BLOCK = 65_536
"""Candidates that are worked on at once where an intermediate result of all would take as much memory as the sample:
half a megabyte of float64, which also stays in a processor's cache from one operation to the next."""
_ROW = 512  # values that `cumulate` adds one by one
_FEW_SUMS = 4096  # so many sums are made anew for each block and added, which costs nothing beside the block itself


class Interval(NamedTuple):
    """Fractions of any shape with their bounds and effective numbers of events; NaN where there are no events."""

    value: Array
    low: Array
    high: Array
    n: Array

    def measured(self) -> Measured:
        """Returns the interval as a number; the arrays must hold one value."""
        return Measured(*(np.asarray(part).item() for part in self))


class Sums(NamedTuple):
    """The sums that the interval of a fraction is computed from, of any shape.

    `passed` and `failed` are sums of weights, `passed2` and `failed2` their variances: sums of w² for independent
    candidates, sums over events of (sum of w)² where candidates share events. `cross` is their covariance, the sum over
    events of passed times failed, and `total2` the sum of w² of all candidates.
    """

    passed: Array
    failed: Array
    passed2: Array
    failed2: Array
    cross: Array
    total2: Array


def blocks(n: int, size: int = BLOCK) -> Iterator[slice]:
    """Yields the slices of n candidates that follow each other, `size` in each but the last."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def sums_by(index: IntArray, weight: FloatArray, n: int = 0) -> Array:
    """Returns the sums of weight (m,) for each index (m,), an array of at least n values."""
    sums = np.zeros(max(n, int(index.max()) + 1 if len(index) else 0))
    for rows in blocks(len(index)):
        part = index[rows].astype(np.intp, copy=False)
        if len(sums) <= _FEW_SUMS:
            sums += np.bincount(part, weight[rows], len(sums))
        else:
            np.add.at(sums, part, weight[rows].astype(np.float64, copy=False))
    return sums


def cumulate(values: Array) -> Array:
    """Returns the values (n,) overwritten by their cumulated sums, whose rounding errors do not grow with n.

    Rows of 512 values are cumulated, then in the same way their totals: of 20 million equal weights added one by one,
    the last digits of the sum would be lost.
    """
    n = len(values) // _ROW * _ROW
    rows = values[:n].reshape(-1, _ROW)
    rest = values[n:]
    np.cumsum(rest, out=rest)
    if len(rows):
        np.cumsum(rows, axis=1, out=rows)
        totals = cumulate(rows[:, -1].copy())
        for part in blocks(len(rows) - 1, BLOCK // _ROW):
            rows[1:][part] += totals[part, None]
        rest += totals[-1]
    return values


def deviations(level: float = LEVEL) -> float:
    """Returns how many standard deviations to each side hold `level` of a normal distribution, 1 for 68.27 %."""
    return float(special.ndtri((1 + level) / 2))


def inner(a: FloatArray, b: FloatArray) -> float:
    """Returns the sum of products, without BLAS: its rounding depends on its number of threads."""
    return sum(float(np.sum(a[rows] * b[rows], dtype=np.float64)) for rows in blocks(len(a)))


def effective_number(weight: FloatArray) -> float:
    """Returns Kish's effective number of events (sum w)² / sum w², or 0 if there are no events."""
    total2 = inner(weight, weight)
    return float(weight.sum()) ** 2 / total2 if total2 > 0 else 0.0


def clopper_pearson(passed: ArrayLike, total: ArrayLike, level: float = LEVEL) -> tuple[Array, Array]:
    """Returns the central interval of Clopper and Pearson, Biometrika 26 (1934) 404, the default of ROOT's TEfficiency.

    `passed` and `total` are counts that broadcast together; low and high have their shape, NaN where total is 0.
    """
    passed, total = np.broadcast_arrays(np.asarray(passed, np.float64), np.asarray(total, np.float64))
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(passed > 0, special.betaincinv(passed, total - passed + 1, tail), 0.0)
        high = np.where(passed < total, special.betaincinv(passed + 1, total - passed, 1 - tail), 1.0)
    empty = total <= 0
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def wilson(value: ArrayLike, n_eff: ArrayLike, level: float = LEVEL) -> tuple[Array, Array]:
    """Returns Wilson's score interval, J. Am. Stat. Assoc. 22 (1927) 209, with an effective number of events.

    low and high have the broadcast shape. They are NaN if there are no events, or if the value is so far outside [0, 1]
    that no true fraction explains it within `level`.
    """
    value, n = np.broadcast_arrays(np.asarray(value, np.float64), np.asarray(n_eff, np.float64))
    z2 = deviations(level) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        half = np.sqrt(z2 * (value * (1 - value) / n + z2 / (4 * n * n)))
        centre = value + z2 / (2 * n)
        low, high = (centre - half) / (1 + z2 / n), (centre + half) / (1 + z2 / n)
    # At values of 0 and 1 the bounds are exactly 0 and 1, but the subtraction would leave 1e-17.
    return np.where(value == 0, np.where(n > 0, 0.0, np.nan), low), np.where(
        value == 1, np.where(n > 0, 1.0, np.nan), high
    )


def fieller(sums: Sums, level: float = LEVEL) -> tuple[Array, Array]:
    """Returns Fieller's interval of a ratio of weighted sums, J. R. Stat. Soc. B 16 (1954) 175.

    It holds all p with ((1 - p) passed - p failed)² <= z² times the variance of that difference. Weights may have any
    sign, may be correlated with passing, and may be shared by the candidates of an event. The interval is (-inf, inf)
    where the total is not significantly different from zero.
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
    """Returns weighted efficiencies from sums of w and of w², of any shape (ROOT's two histograms with their Sumw2).

    The interval is that of Clopper and Pearson for equal weights, and otherwise the union of Wilson's and Fieller's. A
    value outside [0, 1], which weights of both signs can give, and the bound beyond it are kept; all other bounds are
    limited to [0, 1]. Wilson's is then that of the nearest possible fraction, so that the interval holds some.
    """
    sums = np.broadcast_arrays(*(np.asarray(s, np.float64) for s in (passed, total, passed2, total2)))
    failed2 = np.maximum(sums[3] - sums[2], 0.0)
    return fraction(Sums(sums[0], sums[1] - sums[0], sums[2], failed2, np.zeros_like(sums[0]), sums[3]), level=level)


def fraction(sums: Sums, *, independent: bool = True, level: float = LEVEL) -> Interval:
    """Returns passed / (passed + failed) as `efficiency` does; `independent` is False where candidates share events."""
    total = sums.passed + sums.failed
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(total != 0, sums.passed / total, np.nan)
        n = np.where(sums.total2 > 0, total**2 / sums.total2, 0.0)
    low, high = union(value, wilson(np.clip(value, 0.0, 1.0), n, level), fieller(sums, level))
    equal, counts = _equal_weights(sums, total, n)
    if independent and equal.any():
        exact = clopper_pearson(counts, np.rint(n), level)
        low, high = np.where(equal, exact[0], low), np.where(equal, exact[1], high)
    undefined = np.isnan(value)
    return Interval(
        value, np.where(undefined, np.nan, low), np.where(undefined, np.nan, high), np.where(undefined, 0.0, n)
    )


def _equal_weights(sums: Sums, total: Array, n: Array) -> tuple[BoolArray, Array]:
    """Returns where all weights are equal, as far as the sums can tell, and how many candidates passed there."""
    with np.errstate(invalid="ignore", divide="ignore"):
        counts = np.rint(n * sums.passed / total)
        same = _close(sums.passed2 * total, sums.passed * sums.total2)
        whole = _close(n, np.rint(n)) & _close(sums.passed * n, counts * total)
    return (n > 0) & same & whole & (counts >= 0), counts


def _close(value: Array, expected: Array) -> BoolArray:
    """Returns where finite values are equal to 1e-9, which sums in another order are; NaN is equal to nothing."""
    return np.asarray(np.abs(value - expected) <= 1e-9 * np.abs(expected))


def union(value: Array, one: tuple[Array, Array], other: tuple[Array, Array]) -> tuple[Array, Array]:
    """Returns the smallest interval (low, high) that holds the value and two intervals, of any shape.

    It is limited by `within_unit`. If a bound of one interval is NaN, that of the other is taken.
    """
    low, high = within_unit(value, np.fmin(one[0], other[0]), np.fmax(one[1], other[1]))
    return np.fmin(low, value), np.fmax(high, value)


def within_unit(value: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Returns the bounds limited to [0, 1], except for a finite bound on the side of a value that lies outside."""
    low = np.where((value >= 0) | np.isinf(low), np.fmax(low, np.fmin(value, 0.0)), low)
    high = np.where((value <= 1) | np.isinf(high), np.fmin(high, np.fmax(value, 1.0)), high)
    return low, high


def proportion(
    chosen: BoolArray, weight: FloatArray, groups: IntArray | None = None, *, level: float = LEVEL
) -> Measured:
    """Returns the weighted fraction of candidates that `chosen` (n,) marks; weights (n,) may have any sign.

    `groups` (n,) are the numbers of the events if some hold several candidates: the variance is then that of events.
    """
    if groups is None or not shares_events(groups):
        passed = passed2 = 0.0
        for rows in blocks(len(weight)):
            passing = np.where(chosen[rows], weight[rows], 0.0)
            passed += float(passing.sum())
            passed2 += float(np.sum(passing * passing))
        return efficiency(passed, float(weight.sum()), passed2, inner(weight, weight), level=level).measured()
    passing = np.where(chosen, weight, 0.0)
    passed, total = float(passing.sum()), float(weight.sum())
    by_event, failing = sums_by(groups, passing), sums_by(groups, weight - passing)
    variances = (inner(by_event, by_event), inner(failing, failing), inner(by_event, failing))
    sums = Sums(*(np.asarray(s) for s in (passed, total - passed, *variances, inner(weight, weight))))
    return fraction(sums, independent=False, level=level).measured()


def proportions(index: IntArray, chosen: BoolArray, weight: FloatArray, n: int, *, level: float = LEVEL) -> Interval:
    """Returns the `proportion` (n,) of the candidates of each index (m,), for candidates that share no events."""
    passed, total, passed2, total2 = (np.zeros(n) for _ in range(4))
    for rows in blocks(len(weight)):
        cell = 2 * index[rows].astype(np.intp) + chosen[rows]
        w = weight[rows]
        sums = np.bincount(cell, w, 2 * n).reshape(n, 2)
        squares = np.bincount(cell, w * w, 2 * n).reshape(n, 2)
        passed += sums[:, 1]
        passed2 += squares[:, 1]
        total += sums.sum(axis=1)
        total2 += squares.sum(axis=1)
    return efficiency(passed, total, passed2, total2, level=level)


def shares_events(groups: IntArray) -> bool:
    """Returns True if two candidates have the same event number in `groups` (n,)."""
    held = np.zeros(int(groups.max()) + 1 if len(groups) else 0, np.bool_)
    for rows in blocks(len(groups)):
        held[groups[rows]] = True
    return int(held.sum()) < len(groups)


def mixture(parts: list[tuple[float, Measured]]) -> Measured:
    """Returns the sum of factor times measured number over independent parts, with MOVER bounds.

    The distances to each bound add in quadrature (Zou and Donner, Stat. Med. 27 (2008) 1693). `n` is the smallest one.
    """
    value = sum(factor * part.value for factor, part in parts)
    below = sum((factor * (part.value - part.low)) ** 2 for factor, part in parts)
    above = sum((factor * (part.high - part.value)) ** 2 for factor, part in parts)
    return Measured(value, value - below**0.5, value + above**0.5, min(part.n for _, part in parts))


def share(part: Interval | Measured, rest: Interval | Measured) -> Interval:
    """Returns part / (part + rest) of two independent quantities with 68.3 % bounds, NaN where both are 0.

    MOVER for a ratio (Donner and Zou, Stat. Methods Med. Res. 21 (2012) 347) is Fieller's equation with the distance to
    the bound on the side in question in place of the standard deviation. So the interval has a length even where `rest`
    is 0.
    """
    total = np.asarray(part.value + rest.value)
    value = np.divide(part.value, total, out=np.full(total.shape, np.nan), where=total != 0)
    sides = ((part.value - part.low, rest.high - rest.value), (part.high - part.value, rest.value - rest.low))
    sums = [(part.value, rest.value, up**2, down**2, 0.0, 0.0) for up, down in sides]
    bounds = [fieller(Sums(*map(np.asarray, s))) for s in sums]
    low, high = within_unit(value, bounds[0][0], bounds[1][1])
    unknown = np.isnan(value)
    n = np.where(unknown, 0.0, np.minimum(part.n, rest.n))
    return Interval(value, np.where(unknown, np.nan, low), np.where(unknown, np.nan, high), n)


def inverse(measured: Measured) -> Measured:
    """Returns 1 / measured with its bounds: the rejection of a misidentification. It is infinite unless positive."""
    value, low, high = (1 / x if x > 0 else np.inf for x in measured[:3])
    return UNDEFINED if np.isnan(measured.value) else Measured(value, high, low, measured.n)


def widened(measured: Measured, error: float) -> Measured:
    """Returns a rate with a further error (standard deviation) in its interval, which stays in [0, 1] if it was."""
    if not error > 0 or not np.isfinite(measured.value):
        return measured
    value, low, high, n = measured
    lower, upper = value - np.hypot(value - low, error), value + np.hypot(high - value, error)
    return Measured(value, max(float(lower), min(low, 0.0)), min(float(upper), max(high, 1.0)), n)


def symmetric(value: float, deviation: float, n: float) -> Measured:
    """Returns the value plus and minus one standard deviation."""
    return Measured(value, value - deviation, value + deviation, n)


def hanley_mcneil(area: float, n_signal: float, n_other: float) -> float:
    """Returns the variance of an AUC of exponential scores: Hanley and McNeil, Radiology 143 (1982) 29.

    As in `newcombe`, the terms of shared candidates take the mean size of both classes, which makes the variance the
    same for AUC and 1 - AUC.
    """
    shared = (n_signal + n_other) / 2 - 1
    each = (1 - area) / (2 - area) + area / (1 + area)
    return area * (1 - area) * (1 + shared * each) / (n_signal * n_other)


def newcombe(area: float, n_signal: float, n_other: float, scale: float, z: float) -> tuple[float, float]:
    """Returns the bounds of all areas t with (area - t)² <= z² scale variance(t), by `hanley_mcneil`'s variance.

    With `scale` 1 this is the score interval of Newcombe, Stat. Med. 25 (2006) 559, method 5. Its variance is that at
    the true area, which does not vanish if all pairs of candidates are in the right order.

    Args:
        area: the measured area, which is limited to [0, 1].
        n_signal, n_other: effective numbers of events of the two classes.
        scale: ratio of the variance to that of exponential scores.
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
