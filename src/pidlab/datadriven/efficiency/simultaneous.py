"""Simultaneous: a binned fit of the mass of passing and failing probes, with the efficiency as a parameter.

In a bin of the mass of passing and of failing probes the fit expects

    N eps S_p + B_p K_p        and        N (1 - eps) S_f + B_f K_f

probes: N electrons (or whatever the signal is) of which the share eps passes, B of background, and the integrals of the
normalised shapes of signal (S) and background (K) over the bin. Shapes may be shared by passing and failing probes. The
likelihood is Poisson's; weighted probes are counted in units of their typical weight, Σw² / Σw of all of them (G. Bohm
and G. Zech, NIM A 748 (2014) 1). The scale of a bin alone fluctuates with its content: with one weight in ten of 50,
intervals made with it covered .28.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from scipy.special import chdtrc

from pidlab.datadriven.efficiency.estimate import Estimate, Expectation, Histograms, Shapes, failed
from pidlab.datadriven.massfit.shapes import Guess, Parameter, Shape, guess_of, shape_of
from pidlab.errors import UsageError
from pidlab.evaluate.intervals import symmetric
from pidlab.measured import Array, Measured

_LEAST_EXPECTED: Final = 5.0
"""Bins of the mass are joined until so many probes are expected in each: then the goodness of fit is a chi-square."""
_TINY: Final = 1e-9
"""A number of probes in place of 0 in a denominator."""
_EDGE: Final = 1e-3
_STEEP: Final = 10.0
"""A polynomial may be negative. Below `_EDGE` expected probes in a bin the likelihood goes on as a parabola, so that it
is smooth where Minuit has to turn round; `_STEEP` is half of its curvature in a bin without probes, where -0.05 is the
lowest point."""
_ATTEMPTS, _ROUNDS = 4, 3
_STEP: Final = 1e-4
"""Of the natural size of a parameter, in numerical derivatives of a shape: their relative error is about 1e-8."""


def fit_efficiency(probes: Histograms, shapes: Shapes) -> Estimate:
    """Returns the efficiency of the signal among the probes of a bin.

    Raises:
        UsageError: a shape does not exist, or iminuit or numba-stats is not installed.
    """
    signal, background = shape_of(shapes.signal), shape_of(shapes.background)
    if not probes.total > 0:
        return failed(f"{shapes}", "the bin has no probes in the range of the mass")
    if min(probes.passing.min(), probes.failing.min()) < 0:
        return failed(f"{shapes}", "weights of both signs leave a negative number of probes in a bin of the mass")
    likelihood = _Likelihood(probes, signal, background, shapes)
    minimum, failure = _minimise(likelihood)
    values = np.array(minimum.values)
    errors = np.array(minimum.errors)
    interval = (math.nan, math.nan) if failure else _interval(likelihood, minimum)
    chi_square, n_bins = chi_square_of(likelihood.scaled(values))
    n_dof = n_bins - int(sum(not fixed for fixed in minimum.fixed))
    p_value = float(chdtrc(n_dof, chi_square)) if n_dof > 0 else math.nan
    n, *n_background = (symmetric(float(values[i]), float(errors[i]), float(values[i])) for i in (0, 2, 3))
    passing, failing = likelihood.expected(values)
    return Estimate(
        name=str(shapes),
        failure=failure,
        efficiency=Measured(float(values[1]), *interval, n.value),
        n_signal=n,
        n_background=(n_background[0], n_background[1]),
        parameters={
            p.name: (float(v), float(e))
            for p, v, e in zip(likelihood.parameters[4:], values[4:], errors[4:], strict=True)
        },
        chi_square=chi_square,
        n_dof=n_dof,
        p_value=p_value,
        passing=passing,
        failing=failing,
        unconstrained=math.nan if failure else _unconstrained(likelihood, minimum),
    )


class _Component:
    """The integrals of a shape over the bins of the mass, and their derivatives; the last ones are kept."""

    def __init__(self, shape: Shape, edges: Array, parameters: Sequence[Parameter], first: int) -> None:
        self.shape, self.edges, self.parameters = shape, edges, parameters
        self.places = slice(first, first + len(parameters))
        self.steps = [_STEP * max(abs(p.start), 0.01 * (p.high - p.low)) for p in parameters]
        self._at: bytes = b""
        self._integrals: Array = np.empty(0)

    def integrals(self, values: Array) -> Array:
        """Returns (m,) the shape's share in each bin, with the shape's parameters among all `values`."""
        own = values[self.places]
        if (at := own.tobytes()) != self._at or not len(self._integrals):
            self._at, self._integrals = at, self._shares(own)
        return self._integrals

    def _shares(self, own: Array) -> Array:
        return np.diff(self.shape.cdf(self.edges, own.tolist(), self.edges[0], self.edges[-1]))

    def derivatives(self, values: Array) -> Array:
        """Returns (k, m) the derivatives of the shares by the k parameters, by central differences."""
        own = values[self.places]
        found = np.empty((len(own), len(self.edges) - 1))
        for i, step in enumerate(self.steps):
            above, below = own.copy(), own.copy()
            above[i] += step
            below[i] -= step
            found[i] = (self._shares(above) - self._shares(below)) / (2 * step)
        return found


class _Likelihood:
    """Minus the logarithm of the likelihood, and its gradient, for the parameters N, eps, B_p, B_f and the shapes'."""

    def __init__(self, probes: Histograms, signal: Shape, background: Shape, shapes: Shapes) -> None:
        self.probes = probes
        edges = probes.edges
        self.low, self.high = float(edges[0]), float(edges[-1])
        self.parameters: list[Parameter] = []
        self.sizes: list[float] = []
        guesses = {
            "passing": guess_of(probes.passing, edges),
            "failing": guess_of(probes.failing, edges),
            "": guess_of(probes.passing + probes.failing, edges),
        }
        self._add_yields(guesses)
        self.signals = self._add_shape(signal, "signal", shapes.share_signal, guesses)
        self.backgrounds = self._add_shape(background, "background", shapes.share_background, guesses)
        self._scale = probes.scale
        self._counts = [probes.passing / self._scale, probes.failing / self._scale]

    def _add(self, parameter: Parameter, size: float) -> None:
        self.parameters.append(parameter)
        self.sizes.append(size)

    def _add_yields(self, guesses: Mapping[str, Guess]) -> None:
        sums = {"passing": float(self.probes.passing.sum()), "failing": float(self.probes.failing.sum())}
        peak = guesses["passing"] if sums["passing"] >= sums["failing"] else guesses["failing"]
        signal = {
            kind: float(np.clip(_excess(getattr(self.probes, kind), self.probes.edges, peak), 0.02 * n, 0.98 * n))
            for kind, n in sums.items()
        }
        n = max(sum(signal.values()), 1.0)
        eps = Parameter("eps", float(np.clip(signal["passing"] / n, 0.01, 0.99)), 0.0, 1.0)
        starts = {"N": n, "B_p": sums["passing"] - signal["passing"], "B_f": sums["failing"] - signal["failing"]}
        of_all, *of_background = (Parameter(name, start, 0.0, math.inf) for name, start in starts.items())
        for each in (of_all, eps, *of_background):
            self._add(each, 0.01 if each is eps else math.sqrt(max(each.start, 1.0)))

    def _add_shape(self, shape: Shape, name: str, shared: bool, guesses: Mapping[str, Guess]) -> list[_Component]:
        """Returns the shape for passing and for failing probes, the same one twice if it is shared."""
        components = []
        for kind in ("",) if shared else ("passing", "failing"):
            # A sample with few probes says little about a peak or a slope: it starts where all of them do.
            alone = kind and getattr(self.probes, kind).sum() > 200
            parameters = shape.parameters(self.low, self.high, guesses[kind if alone else ""])
            first = len(self.parameters)
            for p in parameters:
                full = f"{name}_{p.name}" + (f"_{kind}" if kind else "")
                self._add(replace(p, name=full), 0.1 * max(abs(p.start), 0.05 * (p.high - p.low)))
            components.append(_Component(shape, self.probes.edges, parameters, first))
        return components * (2 if shared else 1)

    def expected(self, values: Array) -> tuple[Expectation, Expectation]:
        """Returns the expected passing and failing probes."""
        n, eps = float(values[0]), float(values[1])
        found = []
        for kind, (share, b) in enumerate(((eps, values[2]), (1 - eps, values[3]))):
            background = b * self.backgrounds[kind].integrals(values)
            found.append(Expectation(n * share * self.signals[kind].integrals(values) + background, background))
        return found[0], found[1]

    def scaled(self, values: Array) -> list[tuple[Array, Array]]:
        """Returns effective counts and their expectations, of passing and of failing probes."""
        both = self.expected(values)
        return [(self._counts[kind], both[kind].total / self._scale) for kind in (0, 1)]

    def __call__(self, values: Array) -> float:
        """Returns minus the logarithm of the likelihood, without terms that depend on the counts alone."""
        total = 0.0
        for n, mu in self.scaled(values):
            safe = np.maximum(mu, _EDGE)
            d = mu - safe  # 0 above the edge
            total += float(
                np.sum(safe - n * np.log(safe) + d * (1 - n / _EDGE) + d * d * (n / (2 * _EDGE**2) + _STEEP))
            )
        return total

    def gradient(self, values: Array) -> Array:
        """Returns the gradient."""
        found = np.zeros(len(values))
        n, eps = float(values[0]), float(values[1])
        for kind, (share, sign) in enumerate(((eps, 1.0), (1 - eps, -1.0))):
            b = float(values[2 + kind])
            signal, background = self.signals[kind], self.backgrounds[kind]
            s, k = signal.integrals(values), background.integrals(values)
            mu, counts = (n * share * s + b * k) / self._scale, self._counts[kind]
            safe = np.maximum(mu, _EDGE)
            slope = 1 - counts / safe + 2 * (mu - safe) * (counts / (2 * _EDGE**2) + _STEEP)
            slope = slope / self._scale
            on_signal, on_background = float(slope @ s), float(slope @ k)
            found[0] += share * on_signal
            found[1] += sign * n * on_signal
            found[2 + kind] += on_background
            found[signal.places] += n * share * (signal.derivatives(values) @ slope)
            found[background.places] += b * (background.derivatives(values) @ slope)
        return found


def _excess(counts: Array, edges: Array, peak: Guess) -> float:
    """Returns the probes above the line through the outer sixths of the range, within three widths of the peak."""
    centres, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    density, sixth = counts / width, max(len(counts) // 6, 1)
    ends = float(density[:sixth].mean()), float(density[-sixth:].mean())
    line = np.interp(centres, [centres[sixth // 2], centres[-1 - sixth // 2]], ends)
    inside = np.abs(centres - peak.position) < 3 * peak.width
    return float(((density - line) * width)[inside].sum())


def _minimise(likelihood: _Likelihood) -> tuple[Any, str]:
    """Returns iminuit's object at the minimum, and why it is none; the text is empty if it is one."""
    try:
        import iminuit  # noqa: F401  asked for here, where the sentence stands
    except ImportError as error:
        raise UsageError("fits of a mass need iminuit and numba-stats; pip install 'pidlab[fits]'") from error
    minimum = None
    for attempt in range(_ATTEMPTS):
        minuit = _minimiser(likelihood, _moved(likelihood, attempt), 0)
        minuit.migrad(ncall=4000)
        minuit.strategy = 1
        for _ in range(_ROUNDS):  # true second derivatives often show that the first search stopped too early
            minuit.hesse()
            if minuit.valid:
                return minuit, ""
            minuit.migrad(ncall=4000)
        if minimum is None or minuit.fval < minimum.fval:
            minimum = minuit
    assert minimum is not None
    reason = "too many steps were needed" if minimum.fmin.has_reached_call_limit else "no minimum was found"
    return minimum, f"{reason} (estimated distance to it {minimum.fmin.edm:.2g}), from {_ATTEMPTS} starts"


def _minimiser(likelihood: _Likelihood, starts: Array, strategy: int) -> Any:
    from iminuit import Minuit

    minuit = Minuit(likelihood, starts, name=[p.name for p in likelihood.parameters], grad=likelihood.gradient)
    minuit.errordef = Minuit.LIKELIHOOD
    minuit.limits = [(p.low, p.high) for p in likelihood.parameters]
    minuit.errors = likelihood.sizes
    minuit.fixed = [p.fixed for p in likelihood.parameters]
    minuit.strategy = strategy
    minuit.print_level = -1  # what Minuit says of its steps is no message to the user
    return minuit


def _moved(likelihood: _Likelihood, attempt: int) -> Array:
    """Returns the start values; in further attempts the shape's are moved by a part of their size to either side."""
    starts: Array = np.array([p.start for p in likelihood.parameters])
    if not attempt:
        return starts
    rng = np.random.default_rng(attempt)  # the same in every call, so that a measurement can be repeated
    low, high = np.array([(p.low, p.high) for p in likelihood.parameters]).T
    inner = 0.01 * np.minimum(high - low, 1e9)
    moved = np.clip(starts + rng.normal(0, 2, len(starts)) * np.array(likelihood.sizes), low + inner, high - inner)
    stay = [i == 0 or p.fixed for i, p in enumerate(likelihood.parameters)]
    return np.asarray(np.where(stay, starts, moved))


def _unconstrained(likelihood: _Likelihood, minuit: Any) -> float:
    """Returns the efficiency of the largest likelihood if it need not lie between 0 and 1; NaN if there is none.

    Signal among the failing probes that is a fluctuation of their background below its expectation is negative then.
    """
    value, error = float(minuit.values["eps"]), float(minuit.errors["eps"])
    if min(value, 1 - value) > 0.1 * error:
        return value  # the largest likelihood lies inside, so that limits do not matter
    free = _minimiser(likelihood, np.array(minuit.values), 1)
    free.errors = [max(each, 0.01 * size) for each, size in zip(minuit.errors, likelihood.sizes, strict=True)]
    free.limits["eps"] = None
    for _ in range(_ROUNDS):
        free.migrad(ncall=4000)
        if free.valid:
            return float(free.values["eps"])
    return math.nan


def _interval(likelihood: _Likelihood, minuit: Any) -> tuple[float, float]:
    """Returns where the likelihood, maximised in all else, falls by one half on either side of the efficiency.

    An efficiency is not below 0 or above 1: a side on which the likelihood does not fall so far ends there.
    """
    value = float(minuit.values["eps"])
    low, high = (
        limit if abs(limit - value) < 1e-9 else _crossing(likelihood, minuit, value, limit, sign)
        for sign, limit in ((-1, 0.0), (1, 1.0))
    )
    return low, high


def _crossing(likelihood: _Likelihood, minuit: Any, value: float, limit: float, sign: int) -> float:
    """Returns the efficiency on one side at which the profile has risen by 1/2, or the limit if it does not before."""
    best = float(minuit.fval)
    error = float(minuit.errors["eps"])
    error = error if 0 < error < 0.5 else 0.05
    scan = _minimiser(likelihood, np.array(minuit.values), 0)
    scan.errors = minuit.errors
    scan.fixed["eps"] = True

    def rise(eps: float) -> float:
        scan.values["eps"] = eps
        scan.migrad(ncall=2000)
        return float(scan.fval) - best

    inner, inner_rise = value, 0.0
    outer = min(max(value + sign * error, 0.0), 1.0)
    for _ in range(20):
        outer = limit if (outer - limit) * sign > 0 else outer
        outer_rise = rise(outer)
        if outer_rise >= 0.5 or outer == limit:
            break
        # the profile is nearly a parabola: where it would reach one half, and a little beyond
        step = abs(outer - value) * math.sqrt(0.5 / max(outer_rise, 0.02)) * 1.05
        inner, inner_rise = outer, outer_rise
        outer = value + sign * max(step, 1.2 * abs(outer - value))
    if outer_rise < 0.5:
        return limit
    for _ in range(20):
        # the root of the rise is nearly linear in the distance
        a, b = math.sqrt(max(inner_rise, 0.0)), math.sqrt(outer_rise)
        middle = inner + (math.sqrt(0.5) - a) / (b - a) * (outer - inner)
        found = rise(middle)
        if abs(found - 0.5) < 0.002:  # the interval is then right within two thousandths of its length
            return middle
        if found < 0.5:
            inner, inner_rise = middle, found
        else:
            outer, outer_rise = middle, found
    return (inner + outer) / 2


def chi_square_of(samples: Sequence[tuple[Array, Array]]) -> tuple[float, int]:
    """Returns Pearson's chi-square of counts and expectations, and the number of joined bins.

    Its mean is the number of degrees of freedom whatever is expected in a bin; that of the likelihood ratio is 3 %
    larger with five probes in a bin, which many bins add up.
    """
    total, n_bins = 0.0, 0
    for counts, expected in samples:
        joined = _joined(expected)
        n = np.add.reduceat(counts, joined)
        mu = np.maximum(np.add.reduceat(expected, joined), _TINY)
        total += float(np.sum((n - mu) ** 2 / mu))
        n_bins += len(joined)
    return total, n_bins


def _joined(expected: Array) -> list[int]:
    """Returns where the joined bins begin, each with `_LEAST_EXPECTED` probes; the last one takes what is left."""
    starts, so_far = [0], 0.0
    for i, mu in enumerate(expected):
        if so_far >= _LEAST_EXPECTED:
            starts.append(i)
            so_far = 0.0
        so_far += mu
    if so_far < _LEAST_EXPECTED and len(starts) > 1:
        starts.pop()
    return starts
