"""Shapes: normalised densities of a mass in a range, by name, with start values that are guessed from the data."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

from pidlab.compiled import compiled_module
from pidlab.errors import UsageError, nearest
from pidlab.measured import Array

HIGHEST_DEGREE = 8
"""The highest degree of a polynomial; more coefficients describe fluctuations and not a background."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What a histogram of the mass says at first sight.

    Attributes:
        position: the position of the highest point above a line through both ends of the range, in the mass's unit.
        width: standard deviation of the peak, of its full width at half maximum, in the mass's unit.
        slope: logarithmic slope of the counts from one end of the range to the other, in 1 / unit of the mass.
        fraction: share of the counts that lie in the peak, between 0.02 and 0.98.
    """

    position: float
    width: float
    slope: float
    fraction: float


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a shape.

    Attributes:
        name: the name within its shape, such as `sigma`.
        start: where a fit starts.
        low: the lower limit.
        high: the upper limit.
        unit: power of the mass's unit: 1 for a mass or a width, -1 for a slope, 0 for a number without unit.
        fixed: True if the parameter keeps its start value unless the user frees it.
    """

    name: str
    start: float
    low: float
    high: float
    unit: int = 0
    fixed: bool = False


# Both functions take (x, parameters, low, high); the integral is a primitive of the density, up to any constant.
_Function = Callable[[Array, Sequence[float], float, float], Array]


@dataclass(frozen=True, slots=True)
class Shape:
    """A density in a range, by name.

    Attributes:
        text: the name as the user wrote it, such as `chebyshev:2`.
        peaks: True for shapes of a signal, whose start values are those of the peak in the data.
    """

    text: str
    peaks: bool
    _parameters: Callable[[float, float, Guess], tuple[Parameter, ...]]
    _density: _Function
    _integral: _Function

    def parameters(self, low: float, high: float, guess: Guess) -> tuple[Parameter, ...]:
        """Returns the parameters with start values and limits for the range from `low` to `high`."""
        return self._parameters(low, high, guess)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters, in the order that `pdf` and `cdf` take their values in."""
        return _names(self._parameters)

    def pdf(self, x: Array, parameters: Sequence[float], low: float, high: float) -> Array:
        """Returns the density (n,) at `x` (n,) within the range, in 1 / unit of the mass; its integral there is 1.

        A polynomial may be negative for some values of its parameters.
        """
        ends = self._integral(np.array([low, high]), parameters, low, high)
        with np.errstate(divide="ignore", invalid="ignore"):  # a shape far from the range has no norm there
            return np.asarray(self._density(x, parameters, low, high) / (ends[1] - ends[0]))

    def cdf(self, x: Array, parameters: Sequence[float], low: float, high: float) -> Array:
        """Returns the integral (n,) of the density from `low` to `x` (n,): 0 at `low` and 1 at `high`."""
        ends = self._integral(np.array([low, high]), parameters, low, high)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((self._integral(x, parameters, low, high) - ends[0]) / (ends[1] - ends[0]))


@functools.cache  # a fit asks at each step, and finding them anew took a fifth of its time
def _names(parameters: Callable[[float, float, Guess], tuple[Parameter, ...]]) -> tuple[str, ...]:
    return tuple(p.name for p in parameters(0.0, 1.0, Guess(0.5, 0.1, 0.0, 0.5)))


def guess_of(counts: Array, edges: Array) -> Guess:
    """Returns the position and width of the peak in a histogram of (m,) counts with (m + 1,) edges.

    The background is a line through the means of the outer tenths of the range, and the counts are smoothed over five
    bins before the highest is taken.
    """
    centres, low, high = (edges[1:] + edges[:-1]) / 2, float(edges[0]), float(edges[-1])
    density = counts / np.diff(edges)
    first, last = (_mean_density(counts, edges, *ends) for ends in ((low, 0.1), (high, -0.1)))
    line = first + (last - first) * (centres - low) / (high - low)
    window = np.ones(min(5, len(counts)))
    smooth = np.convolve(density - line, window, mode="same") / np.convolve(np.ones(len(counts)), window, mode="same")
    inner = (centres > low + 0.05 * (high - low)) & (centres < high - 0.05 * (high - low))
    top = int(np.argmax(np.where(inner, smooth, -np.inf))) if inner.any() else int(np.argmax(smooth))
    above = smooth > smooth[top] / 2
    left = top - int(np.argmin(np.append(above[top::-1], False))) + 1
    right = top + int(np.argmin(np.append(above[top:], False)))
    # 2.355 is the ratio of full width at half maximum and standard deviation of a normal density.
    width = float(np.clip((edges[right] - edges[left]) / 2.355, (high - low) / 200, (high - low) / 4))
    position = float(centres[top])
    peak = np.abs(centres - position) < 3 * width
    total = float(counts.sum())
    excess = float(((density - line) * np.diff(edges))[peak].sum())
    slope = math.log(max(last, 1e-3 * total / (high - low)) / max(first, 1e-3 * total / (high - low))) if total else 0.0
    return Guess(position, width, slope / (high - low), float(np.clip(excess / total if total else 0.5, 0.02, 0.98)))


def _mean_density(counts: Array, edges: Array, end: float, share: float) -> float:
    """Returns the counts a unit of mass in the share of the range that begins at `end`; negative shares end there."""
    other = end + share * (edges[-1] - edges[0])
    inside = (edges[1:] > min(end, other)) & (edges[:-1] < max(end, other))
    return float(counts[inside].sum() / np.diff(edges)[inside].sum())


def shape_of(text: str) -> Shape:
    """Returns the shape that `text` names, such as `gauss` or `chebyshev:2`.

    Raises:
        UsageError: there is no such shape, or its degree is missing, superfluous or out of range.
    """
    name, colon, degree = text.strip().partition(":")
    if name not in SHAPES:
        raise UsageError(f"{text!r} is no shape of a mass; {nearest(name, SHAPES, 3)}")
    if name != "chebyshev":
        if colon:
            raise UsageError(f"{text!r}: the shape {name} has no degree; write {name}")
        return SHAPES[name]
    if not degree.isdecimal() or not 1 <= int(degree) <= HIGHEST_DEGREE:
        raise UsageError(f"{text!r}: a polynomial has a degree from 1 to {HIGHEST_DEGREE}, as in chebyshev:2")
    return _chebyshev(int(degree))


@functools.cache
def _numba_stats(name: str) -> Any:
    """Returns a module of numba-stats, which compiles its functions while it is imported.

    Raises:
        UsageError: numba-stats is not installed.
    """
    try:
        return compiled_module(f"numba_stats.{name}")
    except ImportError as error:
        raise UsageError("fits of a mass need iminuit and numba-stats; pip install 'pidlab[fits]'") from error


def _mean(low: float, high: float, guess: Guess) -> Parameter:
    return Parameter("mean", guess.position, low, high, unit=1)


def _width(name: str, low: float, high: float, guess: Guess) -> Parameter:
    # A peak narrower than a thousandth of the range would be a spike of a few candidates, and one as wide as half of
    # the range cannot be told from a background.
    return Parameter(name, guess.width, (high - low) / 1000, (high - low) / 2, unit=1)


def _of_numba_stats(function: str, module: str, arguments: Callable[[Sequence[float]], Sequence[float]]) -> _Function:
    """Returns the `pdf` or the `cdf` of a module of numba-stats, whose arguments are made of a shape's parameters."""

    def value(x: Array, p: Sequence[float], low: float, high: float) -> Array:
        return np.asarray(getattr(_numba_stats(module), function)(x, *arguments(p)))

    return value


def _peak(
    text: str, module: str, arguments: Callable[[Sequence[float]], Sequence[float]], *further: Parameter
) -> Shape:
    """Returns a peak of numba-stats with a mean, a width `sigma` and further parameters."""

    def parameters(low: float, high: float, guess: Guess) -> tuple[Parameter, ...]:
        return _mean(low, high, guess), _width("sigma", low, high, guess), *further

    return Shape(text, True, parameters, *(_of_numba_stats(name, module, arguments) for name in ("pdf", "cdf")))


def _double_gauss() -> Shape:
    def parameters(low: float, high: float, guess: Guess) -> tuple[Parameter, ...]:
        # `ratio` is the wide width in units of the narrow one, so that both components cannot change places. A few
        # hundred candidates do not determine it: near 1 the fit would lose the tails, and a much wider component would
        # take background for signal. With limits of 1.05 and 10 intervals of the yield of 200 candidates over 500 held
        # the truth in 57 % of toys, and every fourth of them was far off.
        return (
            _mean(low, high, guess),
            Parameter("sigma", guess.width * 0.8, (high - low) / 1000, (high - low) / 2, unit=1),
            Parameter("ratio", 2.0, 1.5, 4.0),
            # At 0 and 1 a width would have no meaning.
            Parameter("fraction", 0.7, 0.05, 0.95),
        )

    def mixed(function: str) -> _Function:
        def value(x: Array, p: Sequence[float], low: float, high: float) -> Array:
            of_one = getattr(_numba_stats("norm"), function)
            return np.asarray(p[3] * of_one(x, p[0], p[1]) + (1 - p[3]) * of_one(x, p[0], p[1] * p[2]))

        return value

    return Shape("double_gauss", True, parameters, mixed("pdf"), mixed("cdf"))


def _bifurcated_gauss() -> Shape:
    def parameters(low: float, high: float, guess: Guess) -> tuple[Parameter, ...]:
        widths = (_width(name, low, high, guess) for name in ("sigma_low", "sigma_high"))
        return _mean(low, high, guess), *widths

    def density(x: Array, p: Sequence[float], low: float, high: float) -> Array:
        z = (x - p[0]) / np.where(x < p[0], p[1], p[2])
        return np.asarray(np.exp(-0.5 * z * z))

    def integral(x: Array, p: Sequence[float], low: float, high: float) -> Array:
        cdf = _numba_stats("norm").cdf
        below, above = p[1] * (cdf(x, p[0], p[1]) - 0.5), p[2] * (cdf(x, p[0], p[2]) - 0.5)
        return np.asarray(math.sqrt(2 * math.pi) * np.where(x < p[0], below, above))

    return Shape("bifurcated_gauss", True, parameters, density, integral)


def _tail(side: str) -> tuple[Parameter, Parameter]:
    """Returns where a power law begins, in standard deviations from the mean, and its power, which must exceed 1."""
    return Parameter(f"alpha{side}", 1.5, 0.1, 6.0), Parameter(f"n{side}", 3.0, 1.05, 100.0)


def _voigt() -> Shape:
    def parameters(low: float, high: float, guess: Guess) -> tuple[Parameter, ...]:
        # `sigma` is at least a cell of the numerical integral.
        return (
            _mean(low, high, guess),
            Parameter("sigma", guess.width * 0.7, (high - low) / _N_CELLS, (high - low) / 2, unit=1),
            Parameter("gamma", guess.width, (high - low) / 1000, (high - low) / 2, unit=1),
        )

    # `gamma` is the full width of the Breit-Wigner shape at half of its maximum, numba-stats wants half of it.
    density = _of_numba_stats("pdf", "voigt", lambda p: (p[2] / 2, p[0], p[1]))
    return Shape("voigt", True, parameters, density, _integrated(density))


_N_CELLS = 512
_GAUSS = np.polynomial.legendre.leggauss(4)


def _integrated(density: _Function) -> _Function:
    """Returns the integral of a density that has none in a closed form, or none that keeps its digits.

    It is that of Gauss's rule of four points in 512 cells, and of a cubic through values and slopes within them. The
    error is below 1e-6 if the density changes over lengths of at least a cell.
    """

    def integral(x: Array, p: Sequence[float], low: float, high: float) -> Array:
        from scipy.interpolate import CubicHermiteSpline

        edges = np.linspace(low, high, _N_CELLS + 1)
        points, weights = _GAUSS
        half = (high - low) / _N_CELLS / 2
        inner = (edges[:-1, None] + half + half * points).ravel()
        values = density(np.concatenate([inner, edges]), p, low, high)
        if not np.isfinite(values).all():
            return np.full(len(x), np.nan)
        cells = half * (values[: len(inner)].reshape(-1, len(points)) @ weights)
        cumulated = np.concatenate([[0.0], np.cumsum(cells)])
        return np.asarray(CubicHermiteSpline(edges, cumulated, values[len(inner) :])(x))

    return integral


def _uniform() -> Shape:
    def density(x: Array, p: Sequence[float], low: float, high: float) -> Array:
        return np.ones_like(x)

    def integral(x: Array, p: Sequence[float], low: float, high: float) -> Array:
        return np.asarray(x - low)

    return Shape("uniform", False, lambda low, high, guess: (), density, integral)


def _exponential() -> Shape:
    def parameters(low: float, high: float, guess: Guess) -> tuple[Parameter, ...]:
        limit = 50 / (high - low)  # beyond it everything lies in a fiftieth of the range
        start = float(np.clip(guess.slope, -0.9 * limit, 0.9 * limit))
        return (Parameter("slope", start, -limit, limit, unit=-1),)

    def density(x: Array, p: Sequence[float], low: float, high: float) -> Array:
        return np.asarray(np.exp(p[0] * (x - low)))

    def integral(x: Array, p: Sequence[float], low: float, high: float) -> Array:
        u, slope = x - low, p[0]
        if abs(slope) * (high - low) < 1e-8:  # the next term of the series is below the precision of a double
            return np.asarray(u * (1 + slope * u / 2))
        return np.asarray(np.expm1(slope * u) / slope)

    return Shape("exponential", False, parameters, density, integral)


@functools.cache  # one shape for a degree, which `_names` then knows
def _chebyshev(degree: int) -> Shape:
    """Returns 1 + c1 T1(z) + … + cN TN(z), where z runs from -1 to 1 in the range, as RooChebychev has it."""

    def parameters(low: float, high: float, guess: Guess) -> tuple[Parameter, ...]:
        # No coefficient of a polynomial of degree N that is not negative exceeds 2 cos(pi / (floor(N / k) + 2)):
        # E. Egerváry and O. Szász, Math. Z. 27 (1928) 641, since T_k(cos t) = cos(k t).
        bounds = [2 * math.cos(math.pi / (degree // k + 2)) for k in range(1, degree + 1)]
        return tuple(Parameter(f"c{k}", 0.0, -bound, bound) for k, bound in enumerate(bounds, start=1))

    def density(x: Array, p: Sequence[float], low: float, high: float) -> Array:
        return np.asarray(chebyshev.chebval(2 * (x - low) / (high - low) - 1, [1.0, *p]))

    def integral(x: Array, p: Sequence[float], low: float, high: float) -> Array:
        primitive = chebyshev.chebint([1.0, *p])
        return np.asarray(chebyshev.chebval(2 * (x - low) / (high - low) - 1, primitive) * (high - low) / 2)

    return Shape(f"chebyshev:{degree}", False, parameters, density, integral)


def _argus() -> Shape:
    def parameters(low: float, high: float, guess: Guess) -> tuple[Parameter, ...]:
        # The endpoint is known from the beam energy or a threshold; the range is thought to end there.
        width = high - low
        return (
            Parameter("chi", 1.0, 0.01, 20.0),
            Parameter("endpoint", high, low + 0.2 * width, high + width, unit=1, fixed=True),
        )

    # The power 1/2 is that of ARGUS.
    functions = (_of_numba_stats(name, "argus", lambda p: (p[0], p[1], 0.5)) for name in ("pdf", "cdf"))
    return Shape("argus", False, parameters, *functions)


def _cms_shape() -> Shape:
    """Returns an exponential that an error function turns on, the usual background of Z decays to probes.

    It is erfc(-steepness y) exp(-decay y) with y = x - turn_on. numba-stats has it too, with an integral that loses its
    digits where only the tail of the exponential lies in the range.
    """

    def parameters(low: float, high: float, guess: Guess) -> tuple[Parameter, ...]:
        width = high - low
        return (
            Parameter("turn_on", low + 0.2 * width, low - width, high, unit=1),
            Parameter("steepness", 5 / width, 0.2 / width, 200 / width, unit=-1),
            Parameter("decay", 2 / width, 0.01 / width, 50 / width, unit=-1),
        )

    def density(x: Array, p: Sequence[float], low: float, high: float) -> Array:
        from scipy.special import log_ndtr

        turn_on, steepness, decay = p

        def log_density(x: Array) -> Array:
            return np.asarray(log_ndtr(math.sqrt(2) * steepness * (x - turn_on)) - decay * (x - turn_on))

        # Relative to the largest value on a grid, so that nothing overflows; there is one maximum.
        return np.asarray(np.exp(log_density(x) - log_density(np.linspace(low, high, 65)).max()))

    return Shape("cms_shape", False, parameters, density, _integrated(density))


SHAPES: Mapping[str, Shape] = {
    "gauss": _peak("gauss", "norm", lambda p: p),
    "double_gauss": _double_gauss(),
    "bifurcated_gauss": _bifurcated_gauss(),
    "crystal_ball": _peak("crystal_ball", "crystalball", lambda p: (p[2], p[3], p[0], p[1]), *_tail("")),
    "double_crystal_ball": _peak(
        "double_crystal_ball",
        "crystalball_ex",
        lambda p: (p[2], p[3], p[1], p[4], p[5], p[1], p[0]),
        *_tail("_low"),
        *_tail("_high"),
    ),
    # One degree of freedom is a Breit-Wigner shape, 200 are a normal density to better than 1 %.
    "student": _peak("student", "t", lambda p: (p[2], p[0], p[1]), Parameter("nu", 5.0, 1.0, 200.0)),
    "voigt": _voigt(),
    "exponential": _exponential(),
    "chebyshev": _chebyshev(1),
    "argus": _argus(),
    "cms_shape": _cms_shape(),
    "uniform": _uniform(),
}
"""The shapes by name; `chebyshev` has its degree behind a colon."""
