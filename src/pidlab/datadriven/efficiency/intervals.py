"""Intervals of an efficiency from numbers of signal with a known excess variance, and of the ratio of two of them."""

from __future__ import annotations

import math

from pidlab.evaluate.intervals import LEVEL, deviations
from pidlab.measured import UNDEFINED, Measured


def generalised_wilson(passing: float, failing: float, passing2: float, failing2: float) -> Measured:
    """Returns passing / (passing + failing) with the generalised Wilson interval.

    H. Dembinski and M. Schmelling, arXiv:2110.00294: numbers of signal that a fit or weights separate from background
    fluctuate more than Poisson's law says. With the excesses s_p² = passing2 - passing and s_f², the variance of the
    measured efficiency at a true efficiency e is

        V(e) = e (1 - e) / n + ((1 - e)² s_p² + e² s_f²) / n²,        n = passing + failing,

    and the interval holds all e with (measured - e)² <= z² V(e), a quadratic inequality. Without excess it is Wilson's.
    Unlike Wilson's with an effective number of events it knows whether passing or failing probes bring the background.

    Args:
        passing, failing: numbers of signal, which background that is subtracted can leave below zero.
        passing2, failing2: their variances, for example sums of squared sWeights. An excess is not taken below zero.
    """
    n = passing + failing
    if not n > 0:
        return UNDEFINED
    value, z2 = passing / n, deviations(LEVEL) ** 2
    above, below = max(passing2 - passing, 0.0) / n**2, max(failing2 - failing, 0.0) / n**2
    # a e² - 2 b e + c <= 0
    a = 1 + z2 * (1 / n - above - below)
    b = value + z2 * (1 / (2 * n) - above)
    c = value**2 - z2 * above
    n_effective = n * n / max(passing2 + failing2, n)
    if a <= 0:  # the signal is not significant
        return Measured(value, min(0.0, value), max(1.0, value), n_effective)
    root = math.sqrt(max(b * b - a * c, 0.0))
    low, high = (b - root) / a, (b + root) / a
    return Measured(value, min(max(low, 0.0), value), max(min(high, 1.0), value), n_effective)


def ratio(one: Measured, other: Measured) -> Measured:
    """Returns one / other of two independent numbers, with bounds from those of both.

    MOVER for a ratio: A. Donner and G. Y. Zou, Stat. Methods Med. Res. 21 (2012) 347. It is Fieller's equation with the
    distance to the bound on the side in question in place of the standard deviation.
    """
    a, b = one.value, other.value
    if not (math.isfinite(a) and math.isfinite(b) and b > 0):
        return UNDEFINED
    low = _bound(a, b, a - one.low, other.high - b, -1)
    high = _bound(a, b, one.high - a, b - other.low, 1)
    return Measured(a / b, low, high, min(one.n, other.n))


def _bound(a: float, b: float, of_a: float, of_b: float, side: int) -> float:
    """Returns the smaller or the larger r with (a - r b)² = of_a² + r² of_b²; infinite if there is none."""
    if not (math.isfinite(of_a) and math.isfinite(of_b)):
        return math.nan
    square = b * b - of_b * of_b
    if square <= 0:
        return side * math.inf
    return (a * b + side * math.sqrt(max(a * a * b * b - square * (a * a - of_a * of_a), 0.0))) / square
