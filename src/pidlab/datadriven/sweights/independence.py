"""Independence: whether mass and a feature are independent in the background and in the signal, by Kendall's tau.

sWeights project out the signal's distribution of a feature only if mass and feature are independent within each
component (M. Pivk and F. Le Diberder, NIM A 555 (2005) 356; H. Dembinski et al., NIM A 1040 (2022) 167270, section 2,
who test it by M. G. Kendall's rank coefficient, Biometrika 30 (1938) 81, in samples of one component). Data have no
such samples, but two windows of the mass come near:

- In the sidebands nearly all candidates are background, so that tau is 0 if the background factorises.
- In a window around the peak both are mixed. For pairs of a signal and a background candidate the sign of the
  difference of masses is as often positive as negative if the window's ends are chosen so, by the fitted densities;
  then tau is 0 if both factorise, whatever distributions the feature has in them. Its error there is that of a sample
  of one component; in toys with features that differ strongly, tau varies by a tenth more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pidlab.datadriven.massfit.fit import Fit
from pidlab.measured import Array

SIGNAL_IN_SIDEBAND = 0.02
"""A sideband begins where the signal's share of the fitted density falls below this."""
MIN_CANDIDATES = 50
"""With fewer candidates the normal approximation of tau is no longer good to a few per cent."""
LEVEL = 0.01
"""A feature is said to depend on the mass if p, times the number of tests, is smaller."""


@dataclass(frozen=True, slots=True)
class IndependenceTest:
    """One test.

    Attributes:
        feature: the name of the feature.
        where: "sidebands" or "peak".
        tau: Kendall's coefficient; 0 for independence.
        error: its standard deviation if mass and feature are independent.
        p: the probability of a larger |tau| then; NaN if there are too few candidates.
        n: number of candidates, without those in which the feature has no value.
    """

    feature: str
    where: str
    tau: float
    error: float
    p: float
    n: int


def sidebands(fit: Fit) -> tuple[tuple[float, float], ...]:
    """Returns the ranges of the mass, none to many, in which the first component's share is below 2 %."""
    signal = next(iter(fit.shapes))
    edges = np.linspace(fit.low, fit.high, 1001)
    total = fit.expected(edges)
    share = np.divide(fit.expected(edges, signal), total, out=np.ones_like(total), where=total > 0)
    pure = np.concatenate([[False], share < SIGNAL_IN_SIDEBAND, [False]])
    ends = np.flatnonzero(pure[1:] != pure[:-1])
    return tuple((float(edges[a]), float(edges[b])) for a, b in ends.reshape(-1, 2) if b - a >= 10)


def balanced_window(fit: Fit) -> tuple[float, float] | None:
    """Returns a window around the peak in which a pair of signal and background has either order equally often.

    It begins as the central 99 % of the signal, and one end is moved inward until the probability is 1/2; None if no
    such window holds at least the central half.
    """
    signal, *others = fit.shapes
    edges = np.linspace(fit.low, fit.high, 2001)
    peak = fit.expected(edges, signal)
    rest = np.sum([fit.expected(edges, name) for name in others], axis=0) if others else np.zeros(len(peak))
    if not peak.sum() > 0:
        return None
    cumulated = np.cumsum(peak) / peak.sum()
    outer = np.searchsorted(cumulated, [0.005, 0.995])
    inner = np.searchsorted(cumulated, [0.25, 0.75])
    if not rest.sum() > 0:
        return float(edges[outer[0]]), float(edges[outer[1] + 1])

    def excess(first: int, last: int) -> float:
        """Returns how much more often the background's mass is larger than the signal's than smaller."""
        s, b = peak[first : last + 1], rest[first : last + 1]
        below = np.cumsum(s) - s / 2
        return float((b * (2 * below - s.sum())).sum() / max(s.sum() * b.sum(), 1e-300))

    sign = excess(*outer) > 0  # too much background above the peak: the upper end moves inward
    candidates = range(outer[1], inner[1], -1) if sign else range(outer[0], inner[0])
    for k in candidates:
        first, last = (outer[0], k) if sign else (k, outer[1])
        if (excess(first, last) > 0) != sign:
            return float(edges[first]), float(edges[last + 1])
    return None


def independence_tests(fit: Fit, mass: Array, features: Mapping[str, Array]) -> list[IndependenceTest]:
    """Returns the tests of each feature (n,) against the mass (n,), in the sidebands and in the peak.

    Candidates of both sidebands count together, since a dependence shows between them as well as within each.
    """
    outside = np.zeros(len(mass), bool)
    for low, high in sidebands(fit):
        outside |= (mass >= low) & (mass < high)
    window = balanced_window(fit)
    regions = {"sidebands": outside}
    if window is not None:
        regions["peak"] = (mass >= window[0]) & (mass < window[1])
    return [
        _tested(feature, where, mass[chosen], values[chosen])
        for feature, values in features.items()
        for where, chosen in regions.items()
    ]


def _tested(feature: str, where: str, mass: Array, values: Array) -> IndependenceTest:
    from scipy.stats import kendalltau

    finite = np.isfinite(values)
    n = int(finite.sum())
    if n < MIN_CANDIDATES:
        return IndependenceTest(feature, where, np.nan, np.nan, np.nan, n)
    with np.errstate(invalid="ignore"):  # a feature that is constant has no coefficient
        found = kendalltau(mass[finite], values[finite], method="asymptotic")
    error = float(np.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1))))
    return IndependenceTest(feature, where, float(found.statistic), error, float(found.pvalue), n)


def sentences(tests: list[IndependenceTest], cows: int | None = None) -> list[str]:
    """Returns what the tests mean, a sentence for each feature that depends on the mass, or one for all.

    Args:
        cows: the degree of the polynomials of the background for COWs, which may change with a feature; None for
            sWeights.
    """
    usable = [test for test in tests if np.isfinite(test.p)]
    said = []
    biased = "does not factorise, and weighted distributions of this feature, and of what depends on it, are biased"
    part = {"sidebands": f"the background {biased}", "peak": f"the signal (or the background below it) {biased}"}
    if cows is not None:
        part["sidebands"] = (
            "the background changes with it, which these weights allow where its mass is a polynomial of degree "
            f"{cows} for each value of the feature"
        )
    for test in usable:
        if test.p * len(usable) < LEVEL:
            said.append(
                f"{test.feature} depends on the mass in the {test.where} (Kendall's tau {test.tau:+.4f} ± "
                f"{test.error:.4f}, p = {test.p:.1g}, {test.n:,} candidates): {part[test.where]}"
            )
    untested = sorted({test.feature for test in tests} - {test.feature for test in usable})
    said += [f"{name} was not tested: fewer than {MIN_CANDIDATES} candidates, or one value only" for name in untested]
    if usable and not any(test.p * len(usable) < LEVEL for test in usable):
        smallest = min(usable, key=lambda test: test.p)
        said.append(
            f"mass and features are independent as far as {len(usable)} tests by Kendall's tau tell (smallest p "
            f"{smallest.p:.2g}, of {smallest.feature} in the {smallest.where})"
        )
    return said
