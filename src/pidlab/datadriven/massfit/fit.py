"""Fit: the extended maximum-likelihood fit of a sum of shapes, with intervals of the yields and goodness of fit."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pidlab.datadriven.massfit.profile import ends_of_intervals
from pidlab.datadriven.massfit.shapes import Parameter, Shape, guess_of, shape_of
from pidlab.errors import DataError, UsageError, nearest
from pidlab.measured import Array, Measured

UNBINNED_LIMIT = 50_000
"""More candidates than these are fitted in fine bins, whose number and not theirs decides how long a fit takes."""
FINE_BINS = 2_000
"""Bins of such a fit. A bin is half of the narrowest width allowed, and the model is integrated over each bin exactly,
so that only what the masses say within a bin is lost: in a peak of ten bins' width, 0.1 % of the precision."""
YIELD = "yield"
_TINY = 1e-300
_GUESS_BINS = 100
# A parameter counts as at its limit if it is closer to it than this share of the allowed interval.
_AT_LIMIT = 1e-4
_MAX_CALLS = 8_000
_SUSPECT = 1e-3
"""A fit whose goodness has a smaller p-value may be in a local minimum, so that others are looked for."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where the fit of a parameter starts, and its limits; what is None is guessed."""

    start: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Component:
    """One term of the sum.

    Attributes:
        shape: its name, such as `gauss` or `chebyshev:2`.
        parameters: what is said of its parameters: a number fixes one, `Start` moves its start or limits, and text such
            as `signal.sigma` makes it the same as the parameter of another component. `yield` can be fixed, too.
    """

    shape: str
    parameters: Mapping[str, float | str | Start] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Binned:
    """A histogram of the mass.

    Attributes:
        edges: (m + 1,) ascending.
        counts: (m,) numbers of candidates, or sums of weights.
        variances: (m,) sums of squared weights; left out, counts are of candidates without weights.
    """

    edges: Array
    counts: Array
    variances: Array | None = None

    def joined(self, index: NDArray[np.intp]) -> Binned:
        """Returns the histogram of joined bins, each from one of the rising indices (b,) to before the next one."""
        variances = None if self.variances is None else np.add.reduceat(self.variances, index)
        return Binned(np.append(self.edges[index], self.edges[-1]), np.add.reduceat(self.counts, index), variances)

    def merged(self, n_bins: int) -> Binned:
        """Returns the histogram with at most `n_bins` bins, each of whole bins of this one."""
        return self.joined(np.arange(0, len(self.counts), -(-len(self.counts) // n_bins)))


@dataclass(frozen=True, slots=True)
class FitParameter:
    """A parameter after the fit.

    Attributes:
        name: `component.parameter`; `component.yield` for the number of candidates of a component.
        measured: value and 68.3 % interval; without width if the parameter is fixed.
        error: standard deviation, 0 if it is fixed.
        limits: between which the fit looked.
        fixed: True if the fit left it where it was.
        shared: the parameter whose value it has; empty if it has one of its own.
    """

    name: str
    measured: Measured
    error: float
    limits: tuple[float, float]
    fixed: bool = False
    shared: str = ""

    @property
    def value(self) -> float:
        """The fitted value."""
        return self.measured.value


@dataclass(frozen=True, slots=True)
class Goodness:
    """Goodness of fit: the Poisson likelihood ratio in bins of equal expected content (Baker and Cousins).

    Attributes:
        chi2: minus twice the logarithm of the likelihood ratio to a model that fits each bin.
        ndof: number of bins less that of free parameters.
        p: probability of a larger `chi2` if the model is true. It is a little too small where the fit did not use the
            bins, since `chi2` then lies between distributions of `ndof` and of one less than the number of bins.
        edges: (b + 1,) of the bins.
        observed: (b,) counts.
        expected: (b,) of the model.
    """

    chi2: float
    ndof: int
    p: float
    edges: Array
    observed: Array
    expected: Array


@dataclass(frozen=True, slots=True)
class Fit:
    """What a fit found.

    Attributes:
        low: lower end of the range.
        high: upper end of the range.
        shapes: component to the name of its shape.
        parameters: all of them by name, those that are fixed or shared too.
        free: the names of the k free parameters, in the order of the covariance.
        covariance: (k, k).
        n: number of candidates in the range, or the sum of weights.
        method: "unbinned" or "binned".
        valid: False if the numbers cannot be trusted; `problems` say why.
        problems: sentences about what went wrong, and what to do.
        goodness: the goodness of the fit.
    """

    low: float
    high: float
    shapes: Mapping[str, str]
    parameters: Mapping[str, FitParameter]
    free: tuple[str, ...]
    covariance: Array
    n: float
    method: str
    valid: bool
    problems: tuple[str, ...]
    goodness: Goodness

    def values_of(self, component: str) -> tuple[float, ...]:
        """Returns the values of the shape's parameters, in its order."""
        return tuple(self.parameters[f"{component}.{name}"].value for name in shape_of(self.shapes[component]).names)

    def yield_of(self, component: str) -> Measured:
        """Returns the number of candidates of a component in the range, with its interval."""
        return self.parameters[f"{component}.{YIELD}"].measured

    def pdf(self, component: str, mass: ArrayLike) -> Array:
        """Returns the density (n,) of a component at masses (n,) in the range."""
        shape = shape_of(self.shapes[component])
        return shape.pdf(np.asarray(mass, np.float64), self.values_of(component), self.low, self.high)

    def cdf(self, component: str, mass: ArrayLike) -> Array:
        """Returns the integral (n,) of a component's density from the range's lower end to masses (n,) in the range."""
        shape = shape_of(self.shapes[component])
        return shape.cdf(np.asarray(mass, np.float64), self.values_of(component), self.low, self.high)

    def expected(self, edges: ArrayLike, component: str | None = None) -> Array:
        """Returns the expected counts (m,) between edges (m + 1,), of one component or of all."""
        chosen = self.shapes if component is None else (component,)
        return np.asarray(np.sum([self.yield_of(n).value * np.diff(self.cdf(n, edges)) for n in chosen], axis=0))

    @property
    def correlation(self) -> Array:
        """The correlations (k, k) of the free parameters; NaN if the covariance is not known."""
        errors = np.sqrt(np.diag(self.covariance))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.covariance / np.outer(errors, errors))


def fit(
    data: ArrayLike | Binned,
    low: float,
    high: float,
    components: Mapping[str, Component],
    *,
    minos: bool = True,
    unbinned_limit: int = UNBINNED_LIMIT,
) -> Fit:
    """Returns the fit of a sum of components to masses (n,) or a histogram of them, in the range from `low` to `high`.

    Masses outside the range are left out. Up to `unbinned_limit` masses are fitted one by one, more in fine bins.
    Weighted histograms are fitted with the scaled Poisson likelihood (G. Bohm and G. Zech, NIM A 748 (2014) 1).

    Args:
        data: masses, or a histogram whose bins make up the range.
        low: lower end of the range.
        high: upper end of the range.
        components: by name, the signal first.
        minos: give yields the interval in which twice the log-likelihood falls by less than one; else, and for all
            other parameters, the interval is symmetric.
        unbinned_limit: the number of masses beyond which fine bins are used.

    Raises:
        UsageError: a shape or parameter is not known, or what is said of a parameter contradicts itself.
        DataError: there are fewer candidates in the range than parameters.
    """
    problem = _Problem.of(_prepared(data, low, high, unbinned_limit), low, high, components)
    if problem.n_candidates <= len(problem.free):
        raise DataError(
            f"a fit of {len(problem.free)} parameters needs more candidates than these: "
            f"{problem.n_candidates:.0f} lie between {low:g} and {high:g}"
        )
    best = None
    for minuit in _searches(problem):
        if best is None or (minuit.valid, -minuit.fval) > (best.valid, -best.fval):
            best = minuit
        if best.valid and not _found(problem, best, minos=False).goodness.p < _SUSPECT:
            break
    return _found(problem, best, minos)


def histogram_of(mass: Array, low: float, high: float, n_bins: int = FINE_BINS) -> Binned:
    """Returns the histogram of the masses (n,) in the range, in `n_bins` equal bins."""
    counts, edges = np.histogram(mass, bins=n_bins, range=(low, high))
    return Binned(edges, counts.astype(np.float64))


def _prepared(data: ArrayLike | Binned, low: float, high: float, unbinned_limit: int) -> Array | Binned:
    if not low < high or not math.isfinite(low) or not math.isfinite(high):
        raise UsageError(f"a fit needs a range of two numbers, the lower one first, and not {low:g} to {high:g}")
    if not isinstance(data, Binned):
        mass = np.asarray(data, np.float64)
        mass = mass[(mass >= low) & (mass <= high)]
        return mass if len(mass) <= unbinned_limit else histogram_of(mass, low, high)
    edges = np.asarray(data.edges, np.float64)
    if not np.isclose(edges[0], low, rtol=1e-9, atol=1e-12 * (high - low)) or not np.isclose(
        edges[-1], high, rtol=1e-9, atol=1e-12 * (high - low)
    ):
        raise UsageError(
            f"the histogram's bins are from {edges[0]:g} to {edges[-1]:g}, and the range is {low:g} to {high:g}"
        )
    variances = None if data.variances is None else np.asarray(data.variances, np.float64)
    return Binned(edges, np.asarray(data.counts, np.float64), variances)


@dataclass(frozen=True, slots=True)
class _Problem:
    """The likelihood: which parameters are free, how those of the shapes come from them, and the data.

    Attributes:
        all: parameter by full name, the yields too, with start values and limits.
        fixed: names of those with a value that stays.
        shared: name to the name of the parameter whose value it has.
        free: names of the others, in order.
    """

    data: Array | Binned
    low: float
    high: float
    shapes: Mapping[str, Shape]
    all: Mapping[str, Parameter]
    fixed: frozenset[str]
    shared: Mapping[str, str]
    free: tuple[str, ...]
    n_candidates: float

    @classmethod
    def of(cls, data: Array | Binned, low: float, high: float, components: Mapping[str, Component]) -> _Problem:
        if not components:
            raise UsageError("a fit needs at least one component")
        if isinstance(data, Binned):
            coarse = data.merged(_GUESS_BINS)
        else:
            coarse = histogram_of(data, low, high, int(np.clip(math.sqrt(len(data)) * 2, 20, _GUESS_BINS)))
        guess, total = guess_of(coarse.counts, coarse.edges), float(coarse.counts.sum())
        shapes = {name: shape_of(component.shape) for name, component in components.items()}
        n_peaks = sum(shape.peaks for shape in shapes.values())
        parameters: dict[str, Parameter] = {}
        fixed, shared = set[str](), dict[str, str]()
        for name, component in components.items():
            own = {p.name: p for p in shapes[name].parameters(low, high, guess)}
            peaks, others = n_peaks, len(shapes) - n_peaks
            fraction = guess.fraction if others else 1.0
            share = fraction / peaks if shapes[name].peaks else (1 - guess.fraction if peaks else 1.0) / others
            own[YIELD] = Parameter(YIELD, max(share * total, 1.0), 0.0, max(2 * total, 10.0))
            for key in component.parameters:
                if key not in own:
                    raise UsageError(f"{name}: {component.shape} has no parameter {key!r}; {nearest(key, own)}")
            for key, parameter in own.items():
                full = f"{name}.{key}"
                said = component.parameters.get(key)
                if isinstance(said, str):
                    shared[full] = said
                parameters[full] = _as_said(full, parameter, said)
                if parameters[full].fixed:
                    fixed.add(full)
        _check_shared(shared, parameters)
        free = tuple(n for n in parameters if n not in fixed and n not in shared)
        n = float(len(data)) if not isinstance(data, Binned) else float(data.counts.sum())
        return cls(data, low, high, shapes, parameters, frozenset(fixed), shared, free, n)

    def values(self, free: Sequence[float] | Array) -> dict[str, float]:
        """Returns the values of all parameters for the (k,) values of the free ones."""
        found = {name: self.all[name].start for name in self.fixed}
        found |= zip(self.free, map(float, free), strict=True)
        return found | {name: found[source] for name, source in self.shared.items()}

    def cost(self) -> Callable[[Array], float]:
        """Returns minus twice the logarithm of the likelihood as a function of the free parameters."""
        return self._binned(self.data) if isinstance(self.data, Binned) else self._unbinned(self.data)

    def _sum(self, contents: Callable[[Shape, tuple[float, ...]], Array]) -> Callable[[Array], tuple[Array, float]]:
        """Returns the function of the free parameters that gives the sum of yields times contents, and that of yields.

        `contents` is that of a shape with these parameters: its densities, or its shares of bins. The last ones are
        kept, since most steps of a fit move a yield or one component, and leave the others where they are.
        """
        kept = {
            name: functools.lru_cache(maxsize=2)(functools.partial(contents, shape))
            for name, shape in self.shapes.items()
        }
        keys = {name: tuple(f"{name}.{p}" for p in shape.names) for name, shape in self.shapes.items()}

        def total(free: Array) -> tuple[Array, float]:
            values = self.values(free)
            yields = {name: values[f"{name}.{YIELD}"] for name in keys}
            terms = (n * kept[name](tuple(values[key] for key in keys[name])) for name, n in yields.items())
            return functools.reduce(np.add, terms), sum(yields.values())

        return total

    def _unbinned(self, mass: Array) -> Callable[[Array], float]:
        # The constant makes the likelihood of one density the scale, so that the minimum is a number of order n, and
        # differences of one in it are not rounded.
        constant = 2 * len(mass) * math.log(max(len(mass), 1) / (self.high - self.low))

        total = self._sum(lambda shape, own: shape.pdf(mass, own, self.low, self.high))

        def cost(free: Array) -> float:
            density, n = total(free)
            return float(2 * (n - np.log(_positive(density)).sum()) + constant)

        return cost

    def _binned(self, data: Binned) -> Callable[[Array], float]:
        counts, scale = _effective(data)
        filled = counts > 0
        total = self._sum(lambda shape, own: np.diff(shape.cdf(data.edges, own, self.low, self.high)))

        def cost(free: Array) -> float:
            return _likelihood_ratio(counts, _positive(total(free)[0] / scale), filled)

        return cost


def _positive(density: Array) -> Array:
    """Returns a tiny number where a density is negative or not defined, which no fit likes."""
    return np.where(density > _TINY, density, _TINY)


def _effective(data: Binned) -> tuple[Array, Array]:
    """Returns the effective counts (m,) and what each of them stands for: sum of squared weights over sum of weights.

    The scale is that of all bins together, since that of one bin fluctuates with its content.
    """
    total = float(data.counts.sum())
    if data.variances is None or not total > 0:
        return data.counts, np.ones(len(data.counts))
    scale = float(data.variances.sum() / total) or 1.0
    return np.maximum(data.counts, 0.0) / scale, np.full(len(data.counts), scale)


def _likelihood_ratio(counts: Array, expected: Array, filled: NDArray[np.bool_]) -> float:
    """Returns minus twice the log of the Poisson likelihood's ratio (S. Baker and R. Cousins, NIM 221 (1984) 437)."""
    logs = counts[filled] * np.log(counts[filled] / expected[filled])
    return float(2 * ((expected - counts).sum() + logs.sum()))


def _as_said(full: str, parameter: Parameter, said: float | str | Start | None) -> Parameter:
    """Returns the parameter with the start, limits or fixed value that the user gave it."""
    if said is None or isinstance(said, str):
        return parameter
    if not isinstance(said, Start):
        if not math.isfinite(said):
            raise UsageError(f"{full}: {said!r} is no number to fix it at")
        return replace(parameter, start=float(said), fixed=True)
    low = parameter.low if said.low is None else said.low
    high = parameter.high if said.high is None else said.high
    start = min(max(parameter.start, low), high) if said.start is None else said.start
    if not low < high or not low <= start <= high:
        raise UsageError(f"{full}: the start {start:g} does not lie between the limits {low:g} and {high:g}")
    return replace(parameter, start=start, low=low, high=high, fixed=False)


def _check_shared(shared: Mapping[str, str], parameters: Mapping[str, Parameter]) -> None:
    for name, source in shared.items():
        if source not in parameters:
            raise UsageError(f"{name}: there is no parameter {source!r} to share; {nearest(source, parameters)}")
        if source in shared or source == name:
            raise UsageError(f"{name}: {source} is itself shared; name the parameter that has a value of its own")


def _searches(problem: _Problem) -> Iterator[Any]:
    """Yields Minuit where it ended from the guess, then from narrower and wider peaks.

    True second derivatives often show that a search stopped too early; it then goes on from there.
    """
    try:
        from iminuit import Minuit
    except ImportError as error:
        raise UsageError("fits of a mass need iminuit and numba-stats; pip install 'pidlab[fits]'") from error
    cost = problem.cost()
    for scale in (1.0, 0.5, 2.0, 4.0):
        start = [_scaled(problem.all[name], scale) for name in problem.free]
        minuit = Minuit(cost, np.array(start), name=problem.free)
        minuit.errordef = Minuit.LEAST_SQUARES  # the cost is twice the negative logarithm
        minuit.strategy = 1
        minuit.print_level = -1  # what Minuit says of its steps is no message to the user
        minuit.tol = 0.01  # a tenth of the default: yields then lie within 1e-3 of their error from the minimum
        for name in problem.free:
            parameter = problem.all[name]
            minuit.limits[name] = (parameter.low, parameter.high)
            minuit.errors[name] = _step(parameter)
        minuit.migrad(ncall=_MAX_CALLS)
        if not minuit.valid:
            minuit.simplex(ncall=_MAX_CALLS).migrad(ncall=_MAX_CALLS)
        minuit.hesse()
        if not minuit.valid or not minuit.accurate:
            minuit.migrad(ncall=_MAX_CALLS).hesse()
        yield minuit


def _scaled(parameter: Parameter, scale: float) -> float:
    wanted = parameter.start * scale if parameter.name.startswith("sigma") else parameter.start
    inset = 1e-3 * (parameter.high - parameter.low)
    return float(np.clip(wanted, parameter.low + inset, parameter.high - inset)) if scale != 1 else wanted


def _step(parameter: Parameter) -> float:
    if parameter.name == YIELD:
        return max(math.sqrt(parameter.start), 1.0)
    if parameter.name.startswith("sigma") or parameter.name == "gamma":
        return 0.1 * parameter.start
    return 0.02 * (parameter.high - parameter.low)


def _found(problem: _Problem, minuit: Any, minos: bool) -> Fit:
    """Returns the fit at Minuit's minimum, with what is wrong with it in sentences."""
    values = problem.values(list(minuit.values))
    covariance = np.full((len(problem.free),) * 2, np.nan) if minuit.covariance is None else np.array(minuit.covariance)
    errors = dict(zip(problem.free, np.sqrt(np.maximum(np.diag(covariance), 0.0)), strict=True))
    intervals = _yield_intervals(problem, minuit) if minos and minuit.valid else {}
    parameters = {}
    for name in problem.all:
        source = problem.shared.get(name, name)
        error, value = float(errors.get(source, 0.0)), values[name]
        down, up = intervals.get(source, (error, error))
        measured = Measured(value, value - down, value + up, problem.n_candidates)
        limits = (problem.all[source].low, problem.all[source].high)
        shared = problem.shared.get(name, "")
        parameters[name] = FitParameter(name, measured, error, limits, source in problem.fixed, shared)
    shapes = {name: shape.text for name, shape in problem.shapes.items()}
    made = Fit(
        problem.low,
        problem.high,
        shapes,
        parameters,
        problem.free,
        covariance,
        problem.n_candidates,
        "binned" if isinstance(problem.data, Binned) else "unbinned",
        bool(minuit.valid and minuit.accurate and np.isfinite(covariance).all()),
        (),
        _NO_GOODNESS,
    )
    return replace(made, problems=tuple(_problems(made, minuit)), goodness=_goodness(problem.data, made))


_NO_GOODNESS = Goodness(math.nan, 0, math.nan, np.zeros(0), np.zeros(0), np.zeros(0))


def _yield_intervals(problem: _Problem, minuit: Any) -> dict[str, tuple[float, float]]:
    """Returns how far down and up the yields' intervals reach, of those for which Minos finds both ends.

    Where another valley of the likelihood is deeper at an end of Minos, the interval reaches to the end of that.
    """
    names = [name for name in problem.free if name.endswith(f".{YIELD}")]
    try:
        minuit.minos(*names)
    except RuntimeError:  # Minos found a lower minimum, or none
        return {}
    found = {name: minuit.merrors[name] for name in names if name in minuit.merrors}
    valid = {name: (e.lower, e.upper) for name, e in found.items() if e.lower_valid and e.upper_valid}
    return {name: (-low, high) for name, (low, high) in ends_of_intervals(minuit, valid).items()}


def _problems(found: Fit, minuit: Any) -> list[str]:
    """Returns a sentence for each thing that makes the numbers of a fit doubtful."""
    said = []
    if not minuit.valid:
        if minuit.fmin.has_reached_call_limit:
            why = f"the fit has not ended after {minuit.nfcn:,} steps"
        else:
            why = f"the fit did not converge (estimated distance to the minimum {minuit.fmin.edm:.2g})"
        said.append(f"{why}; fix parameters that the data do not determine, or give them better starts")
    elif not minuit.accurate or not np.isfinite(found.covariance).all():
        said.append("the covariance matrix of the fit is not positive definite, so that errors are not known")
    for name in found.free:
        parameter = found.parameters[name]
        width = parameter.limits[1] - parameter.limits[0]
        if name.endswith(f".{YIELD}"):
            if parameter.value < _AT_LIMIT * width:
                said.append(f"there is no {name.removesuffix(f'.{YIELD}')} in the data: its yield ended at 0")
            continue
        for limit, side in zip(parameter.limits, ("lower", "upper"), strict=True):
            if abs(parameter.value - limit) < _AT_LIMIT * width:
                said.append(f"{name} ended at its {side} limit {limit:g}; fix it, or give it other limits")
    correlation = found.correlation
    for i, j in itertools.combinations(range(len(found.free)), 2):
        if abs(correlation[i, j]) > 0.995:
            pair = f"{found.free[i]} and {found.free[j]}"
            said.append(f"the data hardly tell {pair} apart (correlation {correlation[i, j]:.4f}); fix one of them")
    return said


def _goodness(data: Array | Binned, found: Fit) -> Goodness:
    """Returns the goodness of fit in bins of equal expected content, which hold at least 20 candidates each."""
    from scipy.stats import chi2 as chi2_distribution

    n_parameters = len(found.free)
    n_bins = int(np.clip(found.n / 20, n_parameters + 2, max(100, n_parameters + 20)))
    fine = np.linspace(found.low, found.high, FINE_BINS + 1) if not isinstance(data, Binned) else data.edges
    expected = np.maximum(found.expected(fine), 0.0)
    cumulated = np.concatenate([[0.0], np.cumsum(expected)])
    total = cumulated[-1]
    if not total > 0:
        return _NO_GOODNESS
    chosen = np.searchsorted(cumulated, np.linspace(0, total, n_bins + 1)[1:-1])
    inner = np.unique(np.clip(chosen, 1, len(fine) - 2)) if len(fine) > 2 else np.zeros(0, int)
    index = np.concatenate([[0], inner, [len(fine) - 1]])
    edges = fine[index]
    if isinstance(data, Binned):
        binned = data.joined(index[:-1])
    else:
        binned = Binned(edges, np.histogram(data, bins=edges)[0].astype(np.float64))
    counts, scale = _effective(binned)
    model = np.maximum(found.expected(edges), _TINY)
    value = _likelihood_ratio(counts, model / scale, counts > 0)
    ndof = len(edges) - 1 - n_parameters
    p = float(chi2_distribution.sf(value, ndof)) if ndof > 0 else math.nan
    return Goodness(value, ndof, p, edges, binned.counts, model)
