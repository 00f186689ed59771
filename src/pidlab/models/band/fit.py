"""Fits the mean and the width of the signal's core as functions of one or two quantities.

The counts in cells of (x, z), with the distance z of the variable from a first band in its widths, have as their
density, in each bin of x, the core (`density.core_cells`), a wide exponential tail on either side, a smooth background,
and the density of each other class, whose events may be mislabelled as signal. All of it is fitted together by
penalised maximum likelihood: nothing is cut away that would have to be corrected for, and the errors know of the
contamination.
The first band comes from the shortest intervals that hold two fifths of the events in slices of x, which less than a
third of contamination moves little; the fit is repeated about its own result.

Mean and width are sums of the functions of the basis. Splines have a roughness penalty whose strengths, one for each
region of x, maximise the marginal likelihood (S. Wood, M. Fasiolo, Biometrics 73 (2017) 1071). The errors are those of
the Bayesian posterior (D. Nychka, JASA 83 (1988) 1134), which contain the bias of a smooth curve on average over x;
they are averaged over the strengths. The fractions are exponentials of polynomials in the rank of x with weak priors,
which hold if there is nothing to determine them.

The density of another class is known from the events that keep its label. Its noise makes the mislabelled part look
smaller, for which the likelihood is corrected, and adds to the errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from pidlab.evaluate.intervals import effective_number
from pidlab.models.band.curves import SPLINE_DEGREE, Array, Basis, Curves, Roughness, power_basis, spline_basis
from pidlab.models.band.density import N_BACKGROUNDS, background_cells, core_cells, tail_cells
from pidlab.models.band.shapes import BandSample, ShapeOptions

_FEWEST = 30  # different values, below which median and median deviation are all that is fitted
_WINDOW = 4.5  # widths about the mean: wide enough to see the backgrounds, narrow enough for them to be smooth
_N_CELLS = 54  # of a sixth of a width
_FAR, _N_FAR = 25.0, 200  # window and cells of the other classes, about their own bands
_REACH, _N_REACH = 6.0, 72  # … and about the signal's
_BANDWIDTHS = (0.7, 1.5, 3.0, 6.0, 12.0)  # in bins, of the averages of other classes
_FIRST_EVENTS = 100_000  # of the first passes, which only have to come near
_ALIKE = 2.0  # standard deviation of the logarithm of the ratio of the strengths of neighbouring regions, a priori
_FACTORS = 10.0 ** np.arange(-5, 2.1, 0.5)  # of the strengths, over which errors are averaged
_MOST_NOISE = 0.3  # the largest squared relative error of a density that is corrected for
_BOUND = 8.0  # up to .8 the bound of the shares of the other classes changes them by less than 2 %
_STRENGTH_STEPS = 3  # of the strengths of the roughness between two of the coefficients
_GAIN, _FREEDOM = 0.02, 0.1  # of the log-likelihood and of the degrees of freedom, at which iterations end
_NEAR = 10.0  # gain of the log-likelihood in a step, from which on the strengths of the roughness move
_LEAST_DAMPING, _MOST_DAMPING = 1e-2, 1e6  # of a step, in parts of the information
_FIRST_ROUNDS = 3  # after which the intervals follow a mean that changes by a hundred widths
_SHORTEST = 0.4  # share of the events in a shortest interval: more than a contamination of half the signal's number


def fit_curves(sample: BandSample, options: ShapeOptions) -> Curves:
    """Returns the curves of the shape of `options` that are fitted to a sample."""
    n = effective_number(sample.weight)
    distinct = n if len(sample.y) > 100 * _FEWEST else len(np.unique(sample.y))  # which weights do not change
    if distinct < _FEWEST or np.ptp(np.quantile(sample.y, [0.1, 0.9])) == 0:
        return _constant(sample, n)
    basis = _basis(sample, options, n)
    band = _first_band(sample, basis) if len(basis.knots) < 2 else _from_one_quantity(sample, basis, options)
    step = -(-len(sample.y) // _FIRST_EVENTS)
    thinned = BandSample(
        sample.x[::step], sample.y[::step], sample.weight[::step], tuple(_thinned(*each) for each in sample.others)
    )
    others = [_rough_band(each) for each in sample.others]
    for i, (events, n_iterations) in enumerate(((thinned, 8), (thinned, 6), (sample, 6), (sample, 25))):
        band = _improved(events, others, basis, band, options, n_iterations, final=i == 3)
    return band.curves(n)


def _from_one_quantity(sample: BandSample, basis: Basis, options: ShapeOptions) -> _Band:
    """Returns the band in the first of two quantities, constant in the second."""
    others = tuple((x[:, :1], y, weight) for x, y, weight in sample.others)
    one = fit_curves(BandSample(sample.x[:, :1], sample.y, sample.weight, others), options)
    line = Basis(basis.low[:1], basis.high[:1], basis.knots[:1])
    t = basis.knots[0]
    places = np.array([t[i + 1 : i + SPLINE_DEGREE + 1].mean() for i in range(basis.sizes[0])])[:, None]
    fits = np.linalg.pinv(line.design(places))  # the line through the curve at each function's place
    curves = [np.repeat(fits @ one.value(name, places), basis.sizes[1]) for name in ("mean", "below", "above")]
    return _Band(basis, curves[0], curves[1], curves[2], np.zeros((3, len(basis), len(basis))))


def _thinned(x: Array, y: Array, weight: Array) -> tuple[Array, Array, Array]:
    step = -(-len(y) // _FIRST_EVENTS)
    return x[::step], y[::step], weight[::step]


def _constant(sample: BandSample, n: float) -> Curves:
    """Returns the weighted median and median deviation, for samples in which there is nothing to fit."""
    d = sample.x.shape[1]
    low, high = sample.x.min(axis=0), sample.x.max(axis=0)
    center = weighted_quantile(sample.y, sample.weight, 0.5)
    width = 1.4826 * weighted_quantile(np.abs(sample.y - center), sample.weight, 0.5)  # of a Gaussian
    if width <= 0:
        width = float(np.std(sample.y)) or max(1e-6, 1e-6 * abs(center))
    covariance = np.array([1.57, 1.36, 1.36])[:, None, None] * width**2 / max(n, 1.0)  # asymptotic, of a Gaussian
    basis = Basis(low, high, powers=((0,) * d,))
    one = np.ones(1)
    return Curves(basis, center * one, width * one, width * one, covariance, 1e-3 * width, n)


def weighted_quantile(values: Array, weight: Array, share: float) -> float:
    """Returns the value below which this share of the weight lies."""
    order = np.argsort(values)
    below = np.cumsum(weight[order])
    return float(values[order[min(np.searchsorted(below, (share - 1e-12) * below[-1]), len(values) - 1)]])


def _basis(sample: BandSample, options: ShapeOptions, n: float) -> Basis:
    if options.shape != "spline":
        return power_basis(sample.x, options.shape, options.degree)
    if sample.x.shape[1] == 1:
        return spline_basis(sample.x, [int(np.clip(n / 40, 5, 28))])
    # the first quantity, on which variables depend most, has more functions
    return spline_basis(sample.x, [int(np.clip(n / 100, 5, 14)), int(np.clip(n / 500, 4, 8))])


@dataclass(slots=True)
class _Band:
    """A band under construction: coefficients of mean and widths, their covariances, and penalties' strengths.

    `others` holds the coefficients of tails and fractions, by name.
    """

    basis: Basis
    mean: Array
    below: Array
    above: Array
    covariance: Array
    strengths: dict[str, Array] = field(default_factory=dict)
    others: dict[str, Array] = field(default_factory=dict)

    def curves(self, n: float) -> Curves:
        typical = float(np.median(self._widths()))
        return Curves(self.basis, self.mean, self.below, self.above, self.covariance, 0.02 * typical, n)

    def _widths(self) -> Array:
        middle = [np.linspace(a, b, 21)[1:-1] for a, b in zip(self.basis.low, self.basis.high, strict=True)]
        design = self.basis.design(np.stack(middle, axis=1))
        return np.concatenate([design @ self.below, design @ self.above])


# --- the first band


def _first_band(sample: BandSample, basis: Basis) -> _Band:
    """Returns a rough band through the shortest intervals that hold two fifths of the events in slices of x.

    Where the mean changes by many widths within a slice the intervals are long. So they are taken again about the
    curve that was found.
    """
    step = -(-len(sample.y) // _FIRST_EVENTS)
    x, y = sample.x[::step], sample.y[::step]
    mean = width = np.zeros(len(basis))
    for _ in range(_FIRST_ROUNDS):
        center, shift, length, n = _shortest_intervals(x, y - basis.design(x) @ mean if mean.any() else y)
        weight = np.sqrt(n)
        usual = float(np.median(length))
        length = np.maximum(length, 0.05 * usual) if usual > 0 else np.full(len(length), float(np.std(y)) or 1.0)
        design = basis.design(center)
        mean = mean + _smooth(design, shift, weight / length, basis)
        width = _smooth(design, length, weight / length, basis)
        if (design @ width <= 0.2 * length.min()).any():
            width = _smooth(np.ones((len(length), 1)) @ design.mean(axis=0)[None], length, weight / length, basis)
    return _Band(basis, mean, width, width, np.zeros((3, len(mean), len(mean))))


def _shortest_intervals(x: Array, y: Array) -> tuple[Array, Array, Array, Array]:
    """Returns the shortest intervals in s slices of x, which hold two fifths of the events.

    Returns:
        The mean x of each slice (s, d), the middle and the length of its interval in widths of a Gaussian, and its
        number of events (s,).
    """
    shares = (40,) if x.shape[1] == 1 else (10, 6)
    most = max(int(len(y) / (60 if x.shape[1] == 1 else 40)), 1)
    sizes = (min(shares[0], most),) if len(shares) == 1 else (min(most, 24), int(np.clip(most / 24, 1, 6)))
    slot, n_slots = _slots(x, sizes)
    order = np.lexsort((y, slot))
    starts = np.searchsorted(slot[order], np.arange(n_slots + 1))
    found = []
    for first, last in pairwise(starts):
        if last - first < 10:
            continue
        own = y[order[first:last]]
        h = max(int(_SHORTEST * len(own)), 2)
        spans = own[h:] - own[:-h]
        at = int(np.argmin(spans))
        # the interval is ±.52 of a width without contamination, ±.84 with half
        length = max(spans[at], 1e-12) / 1.3
        found.append((x[order[first:last]].mean(axis=0), 0.5 * (own[at] + own[at + h]), length, len(own)))
    if not found:
        found = [(x.mean(axis=0), float(np.median(y)), float(np.std(y)), 1)]
    center, middle, length, n = (np.array(each, np.float64) for each in zip(*found, strict=True))
    return center, middle, length, n


def _smooth(design: Array, values: Array, weight: Array, basis: Basis) -> Array:
    """Returns the coefficients of a curve through `values`, which outliers among them do not draw to themselves."""
    scale = np.sqrt((design**2).sum(axis=0).clip(1e-300))
    penalty = np.diag(1e-9 * np.mean(weight**2) * scale**2)
    if basis.roughness is not None:
        penalty += 0.1 * np.mean(weight**2) * basis.roughness.penalty(np.ones(len(basis.roughness.shares)))
    robust = np.ones(len(values))
    for _ in range(15):
        w = weight**2 * robust
        curvature = (design * w[:, None]).T @ design + penalty
        unit = np.sqrt(np.diag(curvature))
        target = design.T @ (w * values)
        found = np.linalg.lstsq(curvature / np.outer(unit, unit), target / unit, rcond=1e-12)[0] / unit
        residual = np.abs(values - design @ found) * weight
        spread = max(1.4826 * float(np.median(residual)), 1e-12)
        robust = 1 / (1 + (residual / (2 * spread)) ** 2)
    return np.asarray(found)


def _slots(x: Array, sizes: Sequence[int]) -> tuple[NDArray[np.int64], int]:
    """Returns the bin (n,) of each event in bins of equal population in each quantity, and the number of bins."""
    slot = np.zeros(len(x), np.int64)
    for j, size in enumerate(sizes):
        slot = slot * size + np.searchsorted(_inner_edges(x[:, j], size), x[:, j], side="right")
    return slot, int(np.prod(sizes))


def _inner_edges(x: Array, size: int) -> Array:
    step = -(-len(x) // _FIRST_EVENTS)
    return np.asarray(np.quantile(x[::step], np.arange(1, size) / size))


# --- the likelihood about a band


@dataclass(slots=True)
class _Parameter:
    """One quantity of the density, such as the shift of the mean, in J bins: design · coefficients + offset.

    Attributes:
        design: (J, q).
        offset: (J,).
        coefficients: (q,).
        center: (q,) where the prior has its maximum.
        precision: (q, q) of the prior.
        roughness: what a rough curve pays for, with the `strengths` of its parts; None for none.
    """

    design: Array
    offset: Array
    coefficients: Array
    center: Array
    precision: Array
    roughness: Roughness | None = None
    strengths: Array = field(default_factory=lambda: np.empty(0))

    def values(self, coefficients: Array) -> Array:
        return np.asarray(self.design @ coefficients + self.offset)

    def prior_precision(self) -> Array:
        """Returns the precision (q, q) with the roughness."""
        if self.roughness is None:
            return self.precision
        return np.asarray(self.precision + self.roughness.penalty(self.strengths))


@dataclass(slots=True)
class _Binned:
    """Counts about a band: (J, m) effective events, for each bin its mean x (J, d), and the other classes."""

    edges: Array
    counts: Array
    x: Array
    rank: Array
    others: list[_Template]


@dataclass(slots=True)
class _Template:
    """Another class about a band.

    Attributes:
        density: (J, m) shares of its events in the cells.
        variance: (J, m) of `density`, from the number of the events.
        ratio: (J,) its weight over that of what is called signal.
        n: (J,) its effective number of events.
    """

    density: Array
    variance: Array
    ratio: Array
    n: Array


def _rough_band(events: tuple[Array, Array, Array]) -> Curves:
    """Returns a rough band of another class."""
    x, y, weight = events
    n = effective_number(weight)
    if len(np.unique(y[:1000])) < _FEWEST:
        return _constant(BandSample(x, y, weight, ()), n)
    sizes = [int(np.clip(n / 100, 5, 15))] if x.shape[1] == 1 else [5, 5]
    basis = spline_basis(x, sizes)
    return _first_band(BandSample(x, y, weight, ()), basis).curves(n)


def _binned(sample: BandSample, rough: Sequence[Curves], band: _Band) -> _Binned:
    """Returns the counts about a band."""
    middle = 0.5 * (band.below + band.above)  # one unit on both sides, as the density takes it
    curves = _Band(band.basis, band.mean, middle, middle, band.covariance).curves(1.0)
    n = effective_number(sample.weight)
    d = sample.x.shape[1]
    if d == 1:
        sizes: tuple[int, ...] = (int(np.clip(n / 80, 4, 90)),)
    else:
        sizes = (int(np.clip(n / 60, 4, 30)), int(np.clip(n / 1000, 3, 8)))
    inner = [_inner_edges(sample.x[:, j], size) for j, size in enumerate(sizes)]
    n_bins = int(np.prod(sizes))
    edges = np.linspace(-_WINDOW, _WINDOW, _N_CELLS + 1)

    def place(x: Array) -> NDArray[np.int64]:
        slot = np.zeros(len(x), np.int64)
        for j, size in enumerate(sizes):
            slot = slot * size + np.searchsorted(inner[j], x[:, j], side="right")
        return slot

    slot = place(sample.x)
    column = _columns(curves.distances(sample.y, sample.x), _WINDOW, _N_CELLS)
    first, second = _counted(slot, column, sample.weight, (n_bins, _N_CELLS))
    unit = first.sum(axis=1) / np.maximum(second.sum(axis=1), 1e-300)  # effective events for each unit of weight
    totals = np.maximum(np.bincount(slot, sample.weight, n_bins), 1e-300)
    x = np.stack([np.bincount(slot, sample.weight * sample.x[:, j], n_bins) / totals for j in range(d)], axis=1)
    used = first.sum(axis=1) > 0
    scale, shift = curves.value("below", x), curves.value("mean", x)
    others = []
    for (other_x, other_y, other_weight), other in zip(sample.others, rough, strict=True):
        edges_there = shift[:, None] + scale[:, None] * edges - other.value("mean", x)[:, None]
        edges_there /= other.value("below", x)[:, None]
        at = place(other_x)
        own = _Grid(_columns(other.distances(other_y, other_x), _FAR, _N_FAR), _N_FAR, edges_there)
        here = _Grid(
            _columns(curves.distances(other_y, other_x), _REACH, _N_REACH), _N_REACH,
            np.broadcast_to(edges * (_FAR / _REACH), edges_there.shape),
        )  # fmt: skip
        inside, correlated = _template((here, own), at, other_weight, sizes)
        n_there = inside.sum(axis=1)
        flat = inside + 1e-3 * n_there[:, None] / _N_CELLS + 1e-12
        density = flat / flat.sum(axis=1, keepdims=True)
        n_events = n_there * (other_weight.sum() / (other_weight**2).sum())
        variance = density * (correlated / np.maximum(n_events, 1.0))[:, None]
        ratio = n_there / np.maximum(first.sum(axis=1), 1e-300)
        others.append(_Template(density[used], variance[used], ratio[used], n_events[used]))
    grid = np.indices(sizes).reshape(len(sizes), -1).T
    rank = (2 * grid + 1) / np.array(sizes) - 1
    return _Binned(edges, (first * unit[:, None])[used], x[used], rank[used], others)


def _columns(z: Array, window: float, n_cells: int) -> NDArray[np.int64]:
    """Returns the cell (n,) of each distance within ±window; n_cells for those beyond."""
    column = np.floor((z + window) * (n_cells / (2 * window)))
    return np.where((column >= 0) & (column < n_cells), column, n_cells).astype(np.int64)


def _counted(
    slot: NDArray[np.int64], column: NDArray[np.int64], weight: Array, shape: tuple[int, int]
) -> tuple[Array, Array]:
    """Returns the sums of the weights and of their squares in each bin and cell, without the cell beyond the last."""
    n_bins, n_cells = shape
    flat = slot * (n_cells + 1) + column
    sums = (np.bincount(flat, w, n_bins * (n_cells + 1)) for w in (weight, weight**2))
    first, second = (np.asarray(each, np.float64).reshape(n_bins, n_cells + 1)[:, :-1] for each in sums)
    return first, second


@dataclass(slots=True)
class _Grid:
    """Cells in which another class is counted: the cell (n,) of each event, how many, and the edges (J, m + 1) there.

    The cells are equal and end at ±_FAR.
    """

    column: NDArray[np.int64]
    n_cells: int
    edges: Array


def _template(
    grids: Sequence[_Grid], slot: NDArray[np.int64], weight: Array, sizes: tuple[int, ...]
) -> tuple[Array, Array]:
    """Returns smoothed sums of weights (J, m) of another class between the edges of the grids, and their variance.

    The cells of the first grid are those between the edges.

    The variance (J,) is that of a cell in units of the sum of the squared weights in it; smoothing makes it small. How
    many bins are averaged, and whether along the class's own band, from whose distances a single species hardly differs
    from bin to bin, or along that of the signal, is found by describing one half of the events by the other half. It is
    the next smaller bandwidth that is taken, because the variance is accounted for and a bias is not.
    """
    n_bins = int(np.prod(sizes))
    half = np.arange(len(slot)) % 2 == 0
    best: tuple[float, _Grid, float] | None = None
    exact: list[Array] = []
    for grid in grids:
        shape = (n_bins, grid.n_cells)
        halves = [_counted(slot[rows], grid.column[rows], weight[rows], shape)[0] for rows in (half, ~half)]
        exact = exact or [_rebinned(each, grid.edges) for each in halves]
        for smaller, bandwidth in pairwise((0.0, *_BANDWIDTHS)):
            smooth = [_rebinned(_smooth_counts(each, sizes, bandwidth), grid.edges) for each in halves]
            value = _held_out(smooth[0], exact[1]) + _held_out(smooth[1], exact[0])
            if best is None or value > best[0]:
                best = value, grid, smaller
    assert best is not None
    _, grid, bandwidth = best
    counts, _ = _counted(slot, grid.column, weight, (n_bins, grid.n_cells))
    one = np.zeros((n_bins, grid.n_cells))
    one[int(np.ravel_multi_index([size // 2 for size in sizes], sizes)), grid.n_cells // 2] = 1
    squares = float((_smooth_counts(one, sizes, bandwidth, signed=True) ** 2).sum())
    relative = np.diff(grid.edges, axis=1).mean(axis=1) * (grid.n_cells / (2 * _FAR))
    return _rebinned(_smooth_counts(counts, sizes, bandwidth), grid.edges), squares * relative


def _held_out(found: Array, other: Array) -> float:
    """Returns the log-likelihood of sums of weights (J, m) by those of another sample."""
    flat = found + 1e-2 * found.sum(axis=1, keepdims=True) / found.shape[1] + 1e-12
    return float((other * np.log(flat / flat.sum(axis=1, keepdims=True))).sum())


def _smooth_counts(counts: Array, sizes: tuple[int, ...], bandwidth: float, *, signed: bool = False) -> Array:
    """Returns smoothed sums of weights (J, m) of another class, averaged over so many bins of each quantity.

    They are made positive unless they may be `signed`.
    """
    grid = _smoothed(counts.reshape(*sizes, -1), 1.2, -1)
    for axis in range(len(sizes)):
        grid = _smoothed(grid, bandwidth, axis) if bandwidth else grid
    smooth = grid.reshape(counts.shape)
    return smooth if signed else np.maximum(smooth, 0)


def _rebinned(counts: Array, edges: Array) -> Array:
    """Returns counts (J, m) in equal cells within ±_FAR in the cells between other edges (J, k + 1)."""
    below = np.concatenate([np.zeros((len(counts), 1)), np.cumsum(counts, axis=1)], axis=1)
    knots = np.linspace(-_FAR, _FAR, counts.shape[1] + 1)
    return np.diff(np.stack([np.interp(x, knots, y) for x, y in zip(edges, below, strict=True)]), axis=1)


def _smoothed(grid: Array, bins: float, axis: int) -> Array:
    """Returns counts after a kernel of fourth order, which changes neither means nor widths."""
    from scipy.ndimage import gaussian_filter1d

    narrow = gaussian_filter1d(grid, bins, axis=axis, mode="nearest")
    return np.asarray(2 * narrow - gaussian_filter1d(narrow, bins, axis=axis, mode="nearest"))


def _legendre(rank: Array, degree: int) -> Array:
    """Returns polynomials (J, q) of the rank of each bin, -1 to 1."""
    from numpy.polynomial.legendre import legvander

    parts = [legvander(rank[:, j], degree) for j in range(rank.shape[1])]
    return np.asarray(parts[0] if len(parts) == 1 else np.hstack([parts[0], parts[1][:, 1:]]))


def _weak(design: Array, center: float, spread: float, slope: float) -> _Parameter:
    """Returns a parameter with a normal prior: `spread` of its constant part, `slope` of each other one."""
    q = design.shape[1]
    start = np.zeros(q)
    start[0] = center
    precision = np.diag([spread**-2.0] + [slope**-2.0] * (q - 1))
    return _Parameter(design, np.zeros(len(design)), start.copy(), start, precision)


_COMMON = "mislabelled"


@dataclass(slots=True)
class _Density:
    """The density in the cells, and what it consists of.

    A class of which r events are there for each event that is called signal, and of which a part c is mislabelled, has
    the share c r. The sum s of these shares is bounded: all are divided by (1 + s^8)^(1/8).

    Attributes:
        p: (J, m) the density.
        signal: (J, m) that of core, tails and backgrounds.
        own: (J, C) the shares of core, tails and backgrounds in `signal`; the core is the first.
        left: (J,) the share of `signal`.
        others: (J, K) the shares of the other classes.
        crowded: (J, K) how the bound moves with the logarithm of the expected share of each class.
    """

    p: Array
    signal: Array
    own: Array
    left: Array
    others: Array
    crowded: Array


class _Likelihood:
    """The penalised likelihood of binned counts, as a function of all coefficients together."""

    def __init__(self, data: _Binned, band: _Band, options: ShapeOptions) -> None:
        self.data = data
        design = band.basis.design(data.x)
        mean = design @ band.mean
        self.first = np.maximum(0.5 * (design @ band.below + design @ band.above), band.curves(1.0).least)
        relative = design / self.first[:, None]
        m = design.shape[1]
        tiny = np.diag((relative**2).mean(axis=0).clip(1e-300)) * 1e-7
        self.parameters: dict[str, _Parameter] = {}
        self.symmetric = options.core == "symmetric"
        start_strength = 10 * data.counts.sum(axis=1).mean() * (relative**2).mean()
        zero = np.zeros(len(mean))
        for name in ("mean", "below") if self.symmetric else ("mean", "below", "above"):
            coefficients = getattr(band, name).copy()
            roughness = band.basis.roughness
            n_parts = 0 if roughness is None else len(roughness.shares)
            self.parameters[name] = _Parameter(
                design=relative,
                offset=-mean / self.first if name == "mean" else zero,
                coefficients=coefficients,
                center=coefficients.copy() if roughness is None else np.zeros(m),
                precision=tiny if roughness is None else 1e-3 * tiny,
                roughness=roughness,
                strengths=band.strengths.get(name, np.full(n_parts, start_strength)),
            )
        straight, wavy = _legendre(data.rank, 1), _legendre(data.rank, 4)
        one = np.ones((len(mean), 1))
        for side in ("below", "above"):
            # 2.5 is nearly a Gaussian; a search from there would miss an early tail, so that it begins nearer
            self.parameters[f"k_{side}"] = _weak(straight, np.log(2.5), 0.7, 0.3)
            self.parameters[f"k_{side}"].coefficients[0] = np.log(2.0)
            self.parameters[f"tau_{side}"] = _weak(straight, np.log(3.0), 0.3, 0.3)
        for side in ("below", "above"):
            self.parameters[f"tail_{side}"] = _weak(wavy, np.log(0.005), 2.5, 0.7)
        for i in range(N_BACKGROUNDS):
            self.parameters[f"background_{i}"] = _weak(wavy, np.log(0.0003), 2.5, 1.0)
        self.mixed = [name for name in self.parameters if name.startswith(("tail", "background"))]
        self.mislabelled = [f"other_{i}" for i in range(len(data.others))]
        if data.others:
            # of each class a part is mislabelled that is constant or changes slowly, and not too unlike that of others
            most = float(np.log(max(1.0, *(other.ratio.max() for other in data.others))))  # nor all of the sample
            self.parameters[_COMMON] = _weak(one, np.log(0.01) - most, 2.5, 1.0)
        for name, other in zip(self.mislabelled, data.others, strict=True):
            self.parameters[name] = _weak(_legendre(data.rank, 2), 0.0, 0.3, 0.2)
            self.parameters[name].offset = np.log(np.maximum(other.ratio, 1e-6))
        for name, coefficients in band.others.items():
            self.parameters[name].coefficients = coefficients
        self.names = list(self.parameters)
        ends = np.cumsum([len(p.coefficients) for p in self.parameters.values()])
        self.slices = {
            name: slice(int(end) - len(self.parameters[name].coefficients), int(end))
            for name, end in zip(self.names, ends, strict=True)
        }
        self.background = background_cells(data.edges)

    def start(self) -> Array:
        return np.concatenate([p.coefficients for p in self.parameters.values()])

    def values(self, theta: Array) -> dict[str, Array]:
        found = {name: self.parameters[name].values(theta[self.slices[name]]) for name in self.names}
        if self.symmetric:
            found["above"] = found["below"]
        for name in self.mislabelled:
            found[name] = found[name] + found[_COMMON]
        return found

    def _shapes(self, v: dict[str, Array]) -> dict[str, Array]:
        return {"core": self._core(v), "tail_below": self._tail(v, "below"), "tail_above": self._tail(v, "above")}

    def _core(self, v: dict[str, Array]) -> Array:
        begins = np.exp(v["k_below"]), np.exp(v["k_above"])
        return core_cells(self.data.edges, v["mean"], v["below"], v["above"], *begins)

    def _tail(self, v: dict[str, Array], side: str) -> Array:
        width, tau = 0.5 * (v["below"] + v["above"]), np.exp(v[f"tau_{side}"])
        return tail_cells(self.data.edges, v["mean"], width, tau, 1 if side == "above" else -1)

    def _density(self, v: dict[str, Array], shapes: dict[str, Array]) -> _Density:
        logits = [np.zeros(len(self.data.x)), *(v[name] for name in self.mixed)]
        powers = np.exp(np.clip(np.stack(logits, axis=1), -40, 40))
        own = powers / powers.sum(axis=1, keepdims=True)
        signal = np.asarray(sum(f[:, None] * c for f, c in zip(own.T, self._components(shapes), strict=True)))
        expected = np.zeros((len(signal), len(self.mislabelled)))
        for k, name in enumerate(self.mislabelled):
            expected[:, k] = np.exp(np.clip(v[name], -40, 10))
        total = expected.sum(axis=1)
        bound = 1 + total**_BOUND
        others = expected * (bound ** (-1 / _BOUND))[:, None]
        left = 1 - others.sum(axis=1)
        p = left[:, None] * signal
        for share, other in zip(others.T, self.data.others, strict=True):
            p = p + share[:, None] * other.density
        return _Density(p, signal, own, left, others, expected * (total ** (_BOUND - 1) / bound)[:, None])

    def _components(self, shapes: dict[str, Array]) -> list[Array]:
        size = (len(self.data.x), len(self.data.edges) - 1)
        flat = [np.broadcast_to(each, size) for each in self.background]
        return [shapes["core"], shapes["tail_below"], shapes["tail_above"], *flat]

    def possible(self, v: dict[str, Array]) -> bool:
        """Whether widths and tails are within what the window can show."""
        widths = np.concatenate([v["below"], v["above"]])
        return bool((widths > 0.1).all() and (widths < 4).all() and (np.abs(v["mean"]) < _WINDOW).all())

    def penalised(self, theta: Array) -> float:
        """Returns the logarithm of the likelihood times the priors; -inf where a width is impossible."""
        v = self.values(theta)
        if not self.possible(v):
            return -np.inf
        density = self._density(v, self._shapes(v))
        total = float((self.data.counts * (np.log(density.p) + 0.5 * self._noise(density))).sum())
        for name, parameter in self.parameters.items():
            from_center = theta[self.slices[name]] - parameter.center
            total -= 0.5 * float(from_center @ parameter.prior_precision() @ from_center)
        return total

    def derivatives(self, theta: Array) -> tuple[Array, Array]:
        """Returns the gradient of the likelihood without the priors, and the expected information."""
        density, slopes = self._slopes(theta)
        noise = self._noise(density)
        noise[noise >= _MOST_NOISE] = 0  # where it is bounded it is a constant
        ratio = self.data.counts / density.p * (1 - noise)
        gradient = np.zeros(len(theta))
        direct = {name: np.zeros(len(self.data.x)) for name in (*self.mislabelled, _COMMON)}
        for k, (name, other) in enumerate(zip(self.mislabelled, self.data.others, strict=True)):
            of_class = np.where(noise > 0, self.data.counts * other.variance / density.p**2, 0).sum(axis=1)
            of_class *= density.others[:, k]
            direct[name] += of_class * density.others[:, k]
            for crowd, each in zip(density.crowded.T, self.mislabelled, strict=True):
                direct[each] -= of_class * density.others[:, k] * crowd
        direct[_COMMON] = np.asarray(sum((direct[name] for name in self.mislabelled), direct[_COMMON]))
        for name, rows in self.slices.items():
            local = (ratio * slopes[name]).sum(axis=1) + direct.get(name, 0.0)
            gradient[rows] = self.parameters[name].design.T @ local
        root = np.sqrt(density.p)
        return gradient, self._information({name: slope / root for name, slope in slopes.items()})

    def _information(self, scaled: dict[str, Array]) -> Array:
        """Returns the information (q, q) of slopes (J, m) that are divided by the roots of the densities."""
        n = self.data.counts.sum(axis=1)
        size = sum(len(parameter.coefficients) for parameter in self.parameters.values())
        information = np.zeros((size, size))
        for a, name in enumerate(self.names):
            for other in self.names[: a + 1]:
                local = n * np.einsum("ij,ij->i", scaled[name], scaled[other])
                block = (self.parameters[name].design * local[:, None]).T @ self.parameters[other].design
                information[self.slices[name], self.slices[other]] = block
                information[self.slices[other], self.slices[name]] = block.T
        return information

    def _slopes(self, theta: Array) -> tuple[_Density, dict[str, Array]]:
        """Returns the density, and its slopes (J, m) with the values of each parameter."""
        v = self.values(theta)
        shapes = self._shapes(v)
        density = self._density(v, shapes)
        slopes: dict[str, Array] = {}
        left = density.left[:, None]
        for name, share, component in zip(self.mixed, density.own.T[1:], self._components(shapes)[1:], strict=True):
            slopes[name] = left * share[:, None] * (component - density.signal)
        for k, (name, other) in enumerate(zip(self.mislabelled, self.data.others, strict=True)):
            slopes[name] = density.others[:, k, None] * (other.density - density.signal)
            slopes[name] -= density.crowded[:, k, None] * (density.p - density.signal)
        if self.mislabelled:
            slopes[_COMMON] = np.asarray(sum(slopes[name] for name in self.mislabelled))
        h = 1e-6  # the shapes are exact to 1e-13, so that both the rounding and the curvature are small
        for name in self.names:
            if name in slopes:
                continue
            at = v | {name: v[name] + h}
            if name == "below" and self.symmetric:
                at["above"] = at[name]
            moved = self._some_shapes(at, name, shapes)
            slopes[name] = left * sum(
                f[:, None] * ((b - a) / h) for f, a, b in zip(density.own.T[:3], shapes.values(), moved, strict=True)
            )
        return density, slopes

    def step(self, theta: Array, slope: Array, information: Array, damping: float = 0.0) -> tuple[Array, Array, float]:
        """Returns the step of Newton's method with the priors, the covariance, and the evidence.

        The covariance is the inverse of the information, and the evidence the logarithm of the marginal likelihood of
        the strengths in this approximation, up to a constant.
        """
        total, gradient = information.copy(), slope.copy()
        evidence = 0.0
        for name, parameter in self.parameters.items():
            rows, precision = self.slices[name], parameter.prior_precision()
            away = theta[rows] - parameter.center
            pull = precision @ away
            gradient[rows] -= pull
            total[rows, rows] += precision
            evidence -= 0.5 * float(away @ pull)
            if parameter.roughness is not None:
                evidence += 0.5 * parameter.roughness.log_determinant(parameter.strengths)
        total[np.diag_indices(len(total))] += damping * np.diag(information)
        unit = np.sqrt(np.diag(total))
        factor = cho_factor(total / np.outer(unit, unit) + 1e-10 * np.eye(len(unit)))
        covariance = cho_solve(factor, np.eye(len(unit))) / np.outer(unit, unit)
        step = covariance @ gradient
        evidence += 0.5 * float(gradient @ step) - float(np.log(np.diag(factor[0]) * unit).sum())
        return step, covariance, evidence

    def template_noise(self, theta: Array) -> Array:
        """Returns the covariance of the gradient that comes from the finite number of events of the other classes.

        Where a share φ of the density in a cell is from another class, of which r times as many events are mislabelled
        as are left to describe it, the cell's share of the information is known r φ less well.
        """
        density, slopes = self._slopes(theta)
        n = self.data.counts.sum(axis=1)
        weight = np.zeros_like(density.p)
        for share, other in zip(density.others.T, self.data.others, strict=True):
            weight += share[:, None] * other.density / density.p * (share * n / np.maximum(other.n, 1.0))[:, None]
        root = np.sqrt(weight / density.p)
        return self._information({name: slope * root for name, slope in slopes.items()})

    def _noise(self, density: _Density) -> Array:
        """Returns the squared relative error (J, m) of the density that comes from the other classes' finite numbers.

        The logarithm of a density with such an error is too small by half of it on average, the more so the larger the
        share of the other class is, which would be found too small. With half of it added to the logarithm the expected
        likelihood is that of the true density (T. Nakamura, Biometrika 77 (1990) 127, corrected scores).
        """
        noise = np.zeros_like(density.p)
        for share, other in zip(density.others.T, self.data.others, strict=True):
            noise += share[:, None] ** 2 * other.variance
        return np.minimum(noise / density.p**2, _MOST_NOISE)

    def _some_shapes(self, v: dict[str, Array], changed: str, known: dict[str, Array]) -> list[Array]:
        """Returns the core and the tails, of which those that `changed` has no part in are taken from `known`."""
        if changed in ("mean", "below", "above"):
            return list(self._shapes(v).values())
        found = dict(known)
        if changed.startswith("k_"):
            found["core"] = self._core(v)
        else:
            side = changed.removeprefix("tau_")
            found[f"tail_{side}"] = self._tail(v, side)
        return list(found.values())

    def maximised(self, theta: Array, n_iterations: int) -> tuple[Array, Array]:
        """Returns the coefficients of the largest penalised likelihood, and the inverse of the information there.

        A step that would lower the likelihood is made shorter and steeper until it raises it (D. Marquardt, J. SIAM 11
        (1963) 431). When the search has come near, the strengths of the roughness move up the marginal likelihood
        between two steps, as far as the likelihood is quadratic about the coefficients: if a step with the new
        strengths lowers it, the old ones come back.
        """
        freedom, damping, is_near = np.inf, 0.0, False
        covariance = np.empty(0)
        for _ in range(n_iterations):
            slope, information = self.derivatives(theta)
            old, before = self._strengths(), freedom
            for _ in range(_STRENGTH_STEPS if is_near else 0):  # about the same derivatives, which are what costs time
                step, covariance, _ = self.step(theta, slope, information)
                freedom = self.update_strengths(theta + step, covariance)
            step, covariance, _ = self.step(theta, slope, information, damping)
            gain = self.penalised(theta + step) - self.penalised(theta)
            damping = 0.1 * damping if damping > _LEAST_DAMPING else 0.0
            if not gain >= 0:
                self._set_strengths(old)
                best, damping = self.penalised(theta), max(10 * damping, _LEAST_DAMPING)
                while damping < _MOST_DAMPING:
                    step = self.step(theta, slope, information, damping)[0]
                    gain = self.penalised(theta + step) - best
                    if gain > 0:
                        break
                    damping *= 10
                else:
                    break
                covariance = self.step(theta, slope, information)[1]
                if is_near:
                    freedom = self.update_strengths(theta + step, covariance)
            theta = theta + step
            if is_near and gain < _GAIN and abs(freedom - before) < _FREEDOM:
                break
            is_near = is_near or (gain < _NEAR and damping <= 1)
        return theta, covariance

    def _strengths(self) -> dict[str, Array]:
        return {name: parameter.strengths for name, parameter in self.parameters.items()}

    def _set_strengths(self, strengths: dict[str, Array]) -> None:
        for name, parameter in self.parameters.items():
            parameter.strengths = strengths[name]

    def update_strengths(self, theta: Array, covariance: Array) -> float:
        """Moves the strengths of the roughness one step up the marginal likelihood; returns the degrees of freedom."""
        freedom = 0.0
        for name in ("mean", "below", "above"):
            parameter = self.parameters.get(name)
            if parameter is None or parameter.roughness is None:
                continue
            rows = self.slices[name]
            roughness, strengths = parameter.roughness, parameter.strengths
            taken = roughness.traces(strengths, covariance[rows, rows])
            freedom += (rows.stop - rows.start) - float(taken.sum())
            free = np.maximum(roughness.prior_traces(strengths) - taken, 1e-9)
            rough = np.maximum(roughness.parts(strengths, theta[rows]), 1e-9)
            # without a prior each strength is multiplied by free / rough (Wood and Fasiolo)
            ratio = np.log(free / rough)
            curvature = np.where(np.abs(ratio) > 1e-6, (free - rough) / np.where(ratio == 0, 1.0, ratio), free)
            alike = roughness.links.T @ roughness.links / _ALIKE**2
            logarithm = np.log(strengths)
            slope = 0.5 * (free - rough) - alike @ logarithm
            move = np.linalg.solve(np.diag(0.5 * curvature) + alike, slope)
            most = np.log(self._straight(name))
            parameter.strengths = np.exp(np.minimum(logarithm + np.clip(move, -3.0, 3.0), most))
        return freedom

    def _straight(self, name: str) -> float:
        """Returns a strength with which a curve is straight."""
        design = self.parameters[name].design
        return 1e4 * float(self.data.counts.sum() * np.mean(design**2))

    def averaged(self, theta: Array, slope: Array, information: Array) -> tuple[Array, Array]:
        """Returns the coefficients and their covariance, averaged over what the strengths of the roughness may be.

        All strengths of one curve are multiplied by a factor, whose probability is the marginal likelihood times a
        prior that is uniform in the standard deviation of the roughness (A. Gelman, Bayesian Analysis 1 (2006) 515).
        With the best strength alone errors are too small, above all where a curve is compatible with a straight line.
        """
        step, covariance, _ = self.step(theta, slope, information)
        mean, total = theta + step, covariance.copy()
        for name in ("mean", "below", "above"):
            parameter = self.parameters.get(name)
            if parameter is None or parameter.roughness is None:
                continue
            best = parameter.strengths
            logarithms, steps, covariances = [], [], []
            for factor in _FACTORS:
                parameter.strengths = best * factor
                one, of_one, evidence = self.step(theta, slope, information)
                logarithms.append(evidence - 0.5 * np.log(factor))
                steps.append(one)
                covariances.append(of_one)
            parameter.strengths = best
            weight = np.exp(np.array(logarithms) - max(logarithms))
            weight /= weight.sum()
            away = np.array(steps) - step
            shift = weight @ away
            mean = mean + shift
            total += np.einsum("t,tij->ij", weight, np.array(covariances)) - covariance
            total += (away * weight[:, None]).T @ away - np.outer(shift, shift)
        return mean, total


def _improved(
    sample: BandSample, others: Sequence[Curves], basis: Basis, band: _Band, options: ShapeOptions, n_iterations: int,
    final: bool,
) -> _Band:  # fmt: skip
    """Returns the band of largest penalised likelihood, with counts about a given band.

    Args:
        sample: the events.
        others: rough bands of the other classes.
        basis: the functions of mean and width.
        band: about which the events are counted, and from which the search begins.
        options: of the shape.
        n_iterations: at most.
        final: whether curves and errors are averaged over the strengths of the roughness.
    """
    likelihood = _Likelihood(_binned(sample, others, band), band, options)
    theta, covariance = likelihood.maximised(likelihood.start(), n_iterations)
    if final:
        slope, information = likelihood.derivatives(theta)
        averaged, covariance = likelihood.averaged(theta, slope, information)
        theta = averaged if np.isfinite(likelihood.penalised(averaged)) else theta
    covariance = covariance + covariance @ likelihood.template_noise(theta) @ covariance
    names = ("mean", "below", "above")
    found = {name: theta[rows] for name, rows in likelihood.slices.items()}
    errors = {name: covariance[likelihood.slices[name], likelihood.slices[name]] for name in names if name in found}
    strengths = {name: likelihood.parameters[name].strengths for name in errors}
    nuisances = {name: found[name] for name in found if name not in names}
    if options.core == "symmetric":
        found["above"], errors["above"] = found["below"], errors["below"]
    covariances = np.stack([errors[name] for name in names])
    return _Band(basis, found["mean"], found["below"], found["above"], covariances, strengths, nuisances)
