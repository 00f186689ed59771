"""Bands on test: the variable against what its mean follows, pulls, and where their core lies.

The pulls of a right band are a unit Gaussian in their core, whatever tails there are. Mean and width of the core come
from a binned likelihood fit of a Gaussian with an exponential tail on either side, joined with equal value and slope
(S. Das, arXiv:1603.08591), on a flat background: a simple Gaussian fit would take the beginning of a tail for width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from pidlab.evaluate.histograms import bin_numbers, histogram, robust_edges
from pidlab.evaluate.intervals import efficiency
from pidlab.evaluate.pairs import plane_of
from pidlab.evaluate.results import BandCurve, BandPanel, BandVariable, Histogram, PullTrend
from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import FloatArray, IntArray, Sample

_BINS, _BINS_IN_GROUPS = (50, 60), (30, 36)  # along x and y
_MOST_GROUPS = 12  # which a page can show
_LEAST, _REACH = 5.0, 15.0  # widths from the mean that the y axis reaches: the band whole, and its neighbours
_POINTS = 100  # of a curve
_PULL_EDGES = np.linspace(-5.0, 5.0, 51)
_FIT_EDGES = np.linspace(-4.0, 4.0, 81)
_TREND_BINS = 20
_FEWEST = 50  # effective events, below which a core is not fitted
_WIDTHS = (1.0, 2.0, 3.0)


class BandValues(NamedTuple):
    """One variable of a band for the n candidates of test.

    Attributes:
        variable: its name.
        against: the names of the d quantities that mean and width follow; d may be 0.
        side: which deviations count.
        values: (n,) of the variable.
        x: (n, d) the quantities.
        pulls: (n,) (value - mean) / width, by a band that never saw the candidate; NaN where there is none.
        group: (n,) the group of each candidate.
        groups: the groups that have a band, and what each is called.
        curve: gives the curve of a group at (m, d) values of the quantities.
    """

    variable: str
    against: tuple[str, ...]
    side: str
    values: FloatArray
    x: FloatArray
    pulls: FloatArray
    group: IntArray
    groups: Mapping[int, str]
    curve: Callable[[int, Array], BandCurve]


def band_variable(values: BandValues, sample: Sample, lines: Mapping[str, float]) -> BandVariable:
    """Returns what is shown of one variable of a band.

    Args:
        values: the values of the candidates of `sample`.
        sample: the test sample.
        lines: name of a working point to its number of widths.
    """
    signal = sample.is_signal & np.isfinite(values.pulls)
    pulls, weight = values.pulls[signal].astype(np.float64), sample.weight[signal]
    mean, width = fit_core(pulls, weight)
    x_edges = y_edges = np.empty(0)
    panels: tuple[BandPanel, ...] = ()
    if values.against:
        x_edges, y_edges, panels = _panels(values, sample)
    return BandVariable(
        variable=values.variable,
        against=values.against,
        side=values.side,
        lines=dict(lines),
        x_edges=x_edges,
        y_edges=y_edges,
        panels=panels,
        n_groups=len(values.groups),
        pulls=_pull_histograms(values.pulls, sample),
        mean=mean,
        width=width,
        core_share=_core_share(pulls, weight),
        kept={f"{n:g}": _kept(pulls, weight, n, values.side) for n in _WIDTHS},
        trends=tuple(_trend(name, values.x[signal, j], pulls, weight) for j, name in enumerate(values.against)),
    )


def _pull_histograms(pulls: FloatArray, sample: Sample) -> dict[str, Histogram]:
    """Returns class to the histogram of the pulls that are numbers."""
    known = np.isfinite(pulls)
    rows = {name: known & (sample.y == c) for c, name in enumerate(sample.classes)}
    return {name: histogram(pulls[r], sample.weight[r], _PULL_EDGES) for name, r in rows.items()}


def gaussian_density(pulls: Array, share: float) -> Array:
    """Returns the density (n,) at pulls (n,) of a unit Gaussian that holds a share of all."""
    return np.asarray(share * np.exp(-0.5 * pulls**2) / math.sqrt(2 * math.pi))


def _core_share(pulls: Array, weight: FloatArray) -> float:
    """Returns the share within one width, over that of a Gaussian; relative to the pulls that are drawn."""
    drawn = np.abs(pulls) < _PULL_EDGES[-1]
    total = float(weight[drawn].sum())
    return float(weight[np.abs(pulls) < 1].sum()) / total / gaussian_share(1.0, "both") if total > 0 else math.nan


def gaussian_share(n: float, side: str) -> float:
    """Returns the share of a Gaussian within n widths of its mean; on one side only if only one counts."""
    within = math.erf(n / math.sqrt(2))
    return within if side == "both" else 0.5 + within / 2


def _kept(pulls: Array, weight: FloatArray, n: float, side: str) -> Measured:
    distance = np.abs(pulls) if side == "both" else pulls if side == "high" else -pulls
    inside = distance < n
    sums = (weight[inside].sum(), weight.sum(), (weight[inside] ** 2).sum(), (weight**2).sum())
    return efficiency(*sums).measured()


# --- the variable against the first quantity


def _panels(values: BandValues, sample: Sample) -> tuple[Array, Array, tuple[BandPanel, ...]]:
    """Returns the edges along both axes, and the panels of the first groups."""
    x = values.x[:, 0]
    known = np.isfinite(values.values) & np.isfinite(values.x).all(axis=1)
    n_x, n_y = _BINS if len(values.groups) < 2 else _BINS_IN_GROUPS
    x_edges = robust_edges(x[known], n_x)
    shown = dict(list(values.groups.items())[:_MOST_GROUPS])
    curves = {}
    for group in shown:
        signal = known & sample.is_signal & (values.group == group)
        curves[group] = values.curve(group, _places(values.x[signal], x_edges))
    low, high = _range(curves.values(), robust_edges(values.values[known], n_y))
    y_edges = np.linspace(low, high, n_y + 1)
    panels = []
    for group, name in shown.items():
        planes = {}
        for c, particle in enumerate(sample.classes):
            rows = known & (sample.y == c) & (values.group == group)
            planes[particle] = plane_of(x[rows], values.values[rows], sample.weight[rows], x_edges, y_edges)
        panels.append(BandPanel(name, curves[group], planes))
    return x_edges, y_edges, tuple(panels)


def _places(x: FloatArray, x_edges: Array) -> Array:
    """Returns (m, d) places of a curve: equidistant along the first quantity, the others at their median near by.

    Args:
        x: (n, d) the quantities of the signal.
        x_edges: the range along the first.
    """
    points = np.linspace(x_edges[0], x_edges[-1], _POINTS)
    if x.shape[1] == 1 or not len(x):
        return np.column_stack([points, *np.zeros((x.shape[1] - 1, _POINTS))])
    order = np.argsort(x[:, 0], kind="stable")
    centre = np.searchsorted(x[order, 0], points)
    half = max(len(x) // (2 * _TREND_BINS), 1)
    near = [order[max(i - half, 0) : max(i + half, 1)] for i in np.minimum(centre, len(x) - 1)]
    return np.column_stack([points, np.array([np.median(x[rows, 1:], axis=0) for rows in near])])


def _range(curves: Collection[BandCurve], edges: Array) -> tuple[float, float]:
    """Returns the range along y: that of the data as far as it is near the band, and all of the band."""

    def ends(n: float) -> tuple[float, float]:
        lows = [float(np.nanmin(c.mean - n * c.below)) for c in curves]
        return min(lows), max(float(np.nanmax(c.mean + n * c.above)) for c in curves)

    (least_low, least_high), (low, high) = ends(_LEAST), ends(_REACH)
    return min(least_low, max(low, float(edges[0]))), max(least_high, min(high, float(edges[-1])))


# --- the core of the pulls


def _trend(name: str, x: FloatArray, pulls: Array, weight: FloatArray) -> PullTrend:
    """Returns mean and width of the pulls in bins that hold equal numbers of signal candidates."""
    known = np.isfinite(x)
    x, pulls, weight = x[known].astype(np.float64), pulls[known], weight[known]
    if not len(x):
        nothing = np.full(1, np.nan)
        return PullTrend(name, np.array([0.0, 1.0]), nothing, nothing, nothing, nothing, np.zeros(1))
    # One in a thousand candidates on either side is left out, because it may be far away.
    edges: Array = np.unique(np.quantile(x, np.linspace(0.001, 0.999, _TREND_BINS + 1)))
    if len(edges) < 2:
        edges = np.array([edges[0] - 0.5, edges[0] + 0.5])
    place = bin_numbers(x, edges) - 1
    fits = [fit_core(pulls[place == b], weight[place == b]) for b in range(len(edges) - 1)]
    mean, width = (np.array([fit[i] for fit in fits]) for i in (0, 1))
    errors = [(column[:, 2] - column[:, 1]) / 2 for column in (mean, width)]
    return PullTrend(name, edges, mean[:, 0], errors[0], width[:, 0], errors[1], mean[:, 3])


def fit_core(pulls: Array, weight: FloatArray) -> tuple[Measured, Measured]:
    """Returns mean and width of the Gaussian core of pulls (n,) with weights (n,), with 68.3 % intervals.

    Undefined with fewer than 50 effective events within four widths. The tails' beginnings have a weak prior, a factor
    of 1.6 about 3 widths, which decides if the data do not.
    """
    counts = np.histogram(pulls, _FIT_EDGES, weights=weight)[0]
    squares = np.histogram(pulls, _FIT_EDGES, weights=weight * weight)[0]
    total, total2 = float(counts.sum()), float(squares.sum())
    n = total**2 / total2 if total2 > 0 else 0.0
    if total <= 0 or n < _FEWEST:
        return (UNDEFINED._replace(n=n), UNDEFINED._replace(n=n))
    counts = np.maximum(counts, 0.0) * (n / total)  # of effective events
    theta, covariance = _fitted(counts)
    errors = np.sqrt(np.diag(covariance))
    width = math.exp(theta[1])
    mean_of = Measured(float(theta[0]), float(theta[0] - errors[0]), float(theta[0] + errors[0]), n)
    return mean_of, Measured(width, width - width * float(errors[1]), width + width * float(errors[1]), n)


_PRIOR = np.array([0.0, 0.0, math.log(3.0), math.log(3.0), -6.0])
"""Mean, logarithm of the width, logarithms of the two tails' beginnings, log-odds of the background."""
_PRECISION = np.diag([0.0, 0.0, 0.5**-2, 0.5**-2, 1.5**-2])
_MOST_STEPS = 60


def _fitted(counts: Array) -> tuple[Array, Array]:
    """Returns the parameters (5,) of largest likelihood times priors, and their covariance, by Fisher scoring."""
    n = counts.sum()
    theta, damping = _PRIOR.copy(), 1e-3
    best = _objective(theta, counts)
    information = np.eye(5)
    for _ in range(_MOST_STEPS):
        p = _probabilities(theta)
        slopes = np.stack([(_probabilities(theta + h) - _probabilities(theta - h)) / 2e-4 for h in np.eye(5) * 1e-4])
        gradient = slopes @ (counts / p) - _PRECISION @ (theta - _PRIOR)
        information = n * (slopes / p) @ slopes.T + _PRECISION
        step = np.linalg.solve(information + damping * np.diag(np.diag(information)), gradient)
        value = _objective(theta + step, counts)
        if value > best:
            gain, best, theta, damping = value - best, value, theta + step, damping / 5
            if gain < 1e-6:
                break
        else:
            damping = max(damping, 1e-4) * 10
            if damping > 1e8:
                break
    return theta, np.asarray(np.linalg.inv(information), np.float64)


def _objective(theta: Array, counts: Array) -> float:
    if abs(theta[0]) > 3 or abs(theta[1]) > 1.5 or (np.abs(theta[2:4]) > 2).any() or abs(theta[4]) > 15:
        return -np.inf
    away = theta - _PRIOR
    return float(counts @ np.log(_probabilities(theta)) - 0.5 * away @ _PRECISION @ away)


def _probabilities(theta: Array) -> Array:
    """Returns the probability of each bin, which sum to 1."""
    mean, width = theta[0], math.exp(theta[1])
    t = (_FIT_EDGES - mean) / width
    areas = np.diff(_integral(t, math.exp(theta[2]), math.exp(theta[3])))
    background = 1 / (1 + math.exp(-theta[4]))
    return np.asarray((1 - background) * areas / areas.sum() + background / len(areas)).clip(1e-300)


def _integral(t: Array, lower: float, upper: float) -> Array:
    """Returns the integral of exp(-t²/2) between -lower and upper, and of its exponential continuations, up to t."""
    core = math.sqrt(2 * math.pi) * (ndtr(np.clip(t, -lower, upper)) - ndtr(-lower))
    below = np.exp(lower * (0.5 * lower + np.minimum(t, -lower))) / lower
    above = (math.exp(-0.5 * upper**2) - np.exp(upper * (0.5 * upper - np.maximum(t, upper)))) / upper
    return np.asarray(below + core + above)
