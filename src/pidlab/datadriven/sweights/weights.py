"""Weights: sWeights and custom orthogonal weight functions (COWs), which project a component out of a mixture.

A weight is a function of the mass alone: w_s(m) = sum_k A_sk g_k(m) / I(m), where g_k are the densities of the
components, I is the variance function and A the inverse of W_kl = integral g_k g_l / I. With I the fitted density the
weights are the sWeights of M. Pivk and F. Le Diberder, NIM A 555 (2005) 356; H. Dembinski, M. Kenzie, C. Langenbruch
and M. Schmelling, NIM A 1040 (2022) 167270 (arXiv:2112.04574) show this and how to choose the functions otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from pidlab.datadriven.massfit.fit import YIELD, Binned, Fit, histogram_of
from pidlab.errors import DataError, UsageError
from pidlab.measured import Array

Density = Callable[[Array], Array]

COWS_BINS = 100
"""Bins of the histogram that is the variance function of COWs."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The weight functions of a fit.

    Attributes:
        low: lower end of the range of the mass.
        high: its upper end.
        yields: component to the number of its candidates, which is the sum of its weights; for COWs of the signal only,
            and there an estimate that does not use the fitted yields.
        functions: component to its function of masses (n,) in the range.
    """

    low: float
    high: float
    yields: Mapping[str, float]
    functions: Mapping[str, Density]

    def __call__(self, mass: ArrayLike) -> dict[str, Array]:
        """Returns the weights (n,) of each component for masses (n,): 0 outside the range and for NaN."""
        masses = np.asarray(mass, np.float64)
        inside = np.flatnonzero((masses >= self.low) & (masses <= self.high))
        found = {}
        for name, function in self.functions.items():
            found[name] = np.zeros(len(masses))
            found[name][inside] = function(masses[inside])
        return found


def sweights(fit: Fit, data: ArrayLike | Binned) -> Weights:
    """Returns the sWeights of a fit.

    The masses are those that were fitted. The matrix W is the sum over them, so that the weights of each component add
    up to its yield; the yields are first brought to the maximum of the likelihood with the shapes as they are, from
    which the fit may be away by a thousandth of their errors. Of masses the `sweights` package makes the functions.
    Of a histogram of fine bins, for more masses than should be in memory at once, the same sums are taken over bins.

    Raises:
        UsageError: a yield is fixed or shared, for which sWeights are not defined.
        DataError: the components cannot be told apart, or the fitted density is not positive everywhere.
    """
    names = tuple(fit.shapes)
    for name in names:
        if f"{name}.{YIELD}" not in fit.free:
            raise UsageError(f"{name}.{YIELD}: sWeights need yields that are free in the fit; leave it free")
    densities = {name: partial(fit.pdf, name) for name in names}
    if isinstance(data, Binned):
        edges, counts = np.asarray(data.edges), np.asarray(data.counts)
        # The mean of a density over a bin, since the fit integrates over bins too.
        table = np.array([np.diff(fit.cdf(name, edges)) / np.diff(edges) for name in names])
    else:
        mass = _inside(data, fit)
        counts = np.ones(len(mass))
        table = np.array([density(mass) for density in densities.values()])
    yields = _at_maximum(np.array([fit.yield_of(name).value for name in names]), table, counts)
    if np.any(yields @ table[:, counts > 0] <= 0):
        raise DataError("the fitted density is not positive everywhere; choose another shape of the background")
    by_name = dict(zip(names, map(float, yields), strict=True))
    matrix = (table * np.divide(counts, (yields @ table) ** 2, out=np.zeros_like(counts), where=counts > 0)) @ table.T
    size = np.sqrt(np.diag(matrix))
    # Of numbers with 16 digits, an inverse keeps 6 then; densities that differ by a thousandth have a number of 1e6.
    if not np.all(size > 0) or np.linalg.cond(matrix / np.outer(size, size)) > 1e10:
        raise DataError("the masses do not tell two components apart, so that no weight does; leave one of them out")
    if isinstance(data, Binned):
        inverse = np.linalg.inv(matrix)
        functions: dict[str, Density] = {
            name: partial(_weight, densities, by_name, inverse[i]) for i, name in enumerate(names)
        }
    else:
        from sweights import Cows

        first, *others = densities.values()
        made = Cows(mass, first, others, yields=[*by_name.values()], range=(fit.low, fit.high), summation=True)
        functions = {name: made[i] for i, name in enumerate(densities)}
    return Weights(fit.low, fit.high, by_name, functions)


def _weight(densities: Mapping[str, Density], yields: Mapping[str, float], row: Array, mass: Array) -> Array:
    """Returns the sWeights (n,) of the component whose row of the inverse matrix is given."""
    table = [density(mass) for density in densities.values()]
    total = np.sum([n * density for n, density in zip(yields.values(), table, strict=True)], axis=0)
    return np.asarray(np.sum([a * density for a, density in zip(row, table, strict=True)], axis=0) / total)


def _at_maximum(yields: Array, table: Array, counts: Array) -> Array:
    """Returns the yields (k,) at the maximum of the extended likelihood for densities (k, n) that stay as they are.

    Newton's method: the gradient is sum p_k / f - 1 and the second derivative - sum p_k p_l / f^2, with f the density.
    """
    for _ in range(20):
        total = yields @ table
        if np.any(total[counts > 0] <= 0):
            break
        ratio = table * np.divide(counts, total, out=np.zeros_like(total), where=counts > 0)
        gradient = ratio.sum(axis=1) - 1
        if np.abs(gradient).max() < 1e-12:
            break
        hessian = (ratio / np.where(counts > 0, total, 1.0)) @ table.T
        try:
            step = np.linalg.solve(hessian, gradient)
        except np.linalg.LinAlgError:
            break
        if np.any((yields + step) @ table[:, counts > 0] <= 0):
            break
        yields = yields + step
    return yields


def cows(fit: Fit, data: ArrayLike | Binned, degree: int) -> Weights:
    """Returns custom orthogonal weights of the first component, for a background that is not described by one shape.

    All other components are replaced by the Bernstein polynomials of `degree`, so that any background whose density is
    such a polynomial for each value of a feature is removed, even if it changes with the feature. The variance
    function is the histogram of the masses in 100 bins. The sweights package makes the functions.

    Raises:
        UsageError: the degree is not between 0 and 8.
        DataError: a bin of the histogram is empty, or the signal has the shape of such a polynomial.
    """
    from scipy.interpolate import BPoly
    from sweights import Cows

    if not 0 <= degree <= 8:
        raise UsageError(f"the degree of the polynomials of COWs lies between 0 and 8, and is not {degree}")
    signal = next(iter(fit.shapes))
    if isinstance(data, Binned):
        histogram = data.joined(np.arange(0, len(data.counts), max(len(data.counts) // COWS_BINS, 1)))
    else:
        histogram = histogram_of(np.asarray(data, np.float64), fit.low, fit.high, COWS_BINS)
    counts = histogram.counts
    if np.any(counts <= 0):
        raise DataError(
            f"{int((counts <= 0).sum())} of {len(counts)} bins of the mass hold no candidates, so that COWs are not "
            "defined there; take sWeights, or a narrower range"
        )
    width = fit.high - fit.low
    # A Bernstein polynomial of this degree has the integral width / (degree + 1).
    basis = [
        BPoly((np.eye(degree + 1)[k] * (degree + 1) / width)[:, None], [fit.low, fit.high]) for k in range(degree + 1)
    ]
    try:
        made = Cows(None, partial(fit.pdf, signal), basis, norm=(counts, histogram.edges), range=(fit.low, fit.high))
    except np.linalg.LinAlgError:
        raise DataError("the signal has the shape of the background's polynomials; take a lower degree") from None
    if isinstance(data, Binned):
        total = float(made[0]((data.edges[1:] + data.edges[:-1]) / 2) @ data.counts)
    else:
        total = float(made[0](_inside(data, fit)).sum())
    return Weights(fit.low, fit.high, {signal: total}, {signal: made[0]})


def _inside(data: ArrayLike, fit: Fit) -> Array:
    mass = np.asarray(data, np.float64)
    return mass[(mass >= fit.low) & (mass <= fit.high)]


@dataclass(slots=True)
class WeightSums:
    """Sums of weights, which are added chunk by chunk.

    Attributes:
        n: number of candidates in the range.
        total: sum of the weights.
        squares: sum of their squares.
        smallest: the smallest weight.
        largest: the largest weight.
        n_negative: how many are negative; they stay so.
    """

    n: int = 0
    total: float = 0.0
    squares: float = 0.0
    smallest: float = math.inf
    largest: float = -math.inf
    n_negative: int = 0

    def add(self, weights: Array) -> None:
        """Adds the weights (n,) of candidates in the range."""
        if len(weights):
            self.n += len(weights)
            self.total += float(weights.sum())
            self.squares += float((weights * weights).sum())
            self.smallest = min(self.smallest, float(weights.min()))
            self.largest = max(self.largest, float(weights.max()))
            self.n_negative += int((weights < 0).sum())

    @property
    def n_effective(self) -> float:
        """The number of unweighted candidates whose sum would have the same relative error."""
        return self.total**2 / self.squares if self.squares > 0 else 0.0
