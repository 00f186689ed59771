"""The first band: a rough mean and width from the shortest intervals that hold two fifths of the events in slices of x.

Less than a third of contamination moves them little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.intervals import effective_number
from pidlab.models.band.curves import Array, Basis, Curves, spline_basis
from pidlab.models.band.shapes import BandSample

FEWEST = 30  # different values, below which median and median deviation are all that is fitted
FIRST_EVENTS = 100_000  # of the first passes, which only have to come near
_FIRST_ROUNDS = 3  # after which the intervals follow a mean that changes by a hundred widths
_SHORTEST = 0.4  # share of the events in a shortest interval: more than a contamination of half the signal's number


@dataclass(slots=True)
class WorkingBand:
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
        """Returns the band as curves that were fitted to n events; they may fall below zero where there are none."""
        typical = float(np.median(np.abs(self._widths())))
        return Curves(self.basis, self.mean, self.below, self.above, self.covariance, 0.02 * typical, n)

    def _widths(self) -> Array:
        middle = [np.linspace(a, b, 21)[1:-1] for a, b in zip(self.basis.low, self.basis.high, strict=True)]
        design = self.basis.design(np.stack(middle, axis=1))
        return np.concatenate([design @ self.below, design @ self.above])


def first_band(sample: BandSample, basis: Basis) -> WorkingBand:
    """Returns a rough band through the shortest intervals that hold two fifths of the events in slices of x.

    Where the mean changes by many widths within a slice the intervals are long. So they are taken again about the
    curve that was found.
    """
    step = -(-len(sample.y) // FIRST_EVENTS)
    x, y = sample.x[::step], sample.y[::step]
    mean = width = np.zeros(len(basis))
    none = np.zeros((3, len(mean), len(mean)))
    slices = _slices(x)
    for _ in range(_FIRST_ROUNDS):
        away = y - WorkingBand(basis, mean, width, width, none).curves(1.0).value("mean", x) if mean.any() else y
        center, shift, length, n = _shortest_intervals(x, away, slices)
        weight = np.sqrt(n)
        usual = float(np.median(length))
        length = np.maximum(length, 0.05 * usual) if usual > 0 else np.full(len(length), float(np.std(y)) or 1.0)
        design = basis.design(center)
        mean = mean + _smooth(design, shift, weight / length, basis)
        width = _smooth(design, length, weight / length, basis)
        if (design @ width <= 0.2 * length.min()).any():
            width = _smooth(np.ones((len(length), 1)) @ design.mean(axis=0)[None], length, weight / length, basis)
    return WorkingBand(basis, mean, width, width, none)


def rough_band(events: tuple[Array, Array, Array]) -> Curves:
    """Returns a rough band of another class."""
    x, y, weight = events
    n = effective_number(weight)
    if len(np.unique(y[:1000])) < FEWEST:
        return constant_band(BandSample(x, y, weight, ()), n)
    sizes = [int(np.clip(n / 100, 5, 15))] if x.shape[1] == 1 else [5, 5]
    basis = spline_basis(x, sizes)
    return first_band(BandSample(x, y, weight, ()), basis).curves(n)


def constant_band(sample: BandSample, n: float) -> Curves:
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


def _slices(x: Array) -> list[NDArray[np.int64]]:
    """Returns which events are in each slice of x (n, d)."""
    shares = (40,) if x.shape[1] == 1 else (10, 6)
    most = max(int(len(x) / (60 if x.shape[1] == 1 else 40)), 1)
    sizes = (min(shares[0], most),) if len(shares) == 1 else (min(most, 24), int(np.clip(most / 24, 1, 6)))
    slot, n_slots = _slots(x, sizes)
    order = np.argsort(slot, kind="stable")
    return np.split(order, np.searchsorted(slot[order], np.arange(1, n_slots)))


def _shortest_intervals(x: Array, y: Array, slices: Sequence[NDArray[np.int64]]) -> tuple[Array, Array, Array, Array]:
    """Returns the shortest intervals in s slices of x, which hold two fifths of the events.

    Returns:
        The mean x of each slice (s, d), the middle and the length of its interval in widths of a Gaussian, and its
        number of events (s,).
    """
    found = []
    for rows in slices:
        if len(rows) < 10:
            continue
        own = np.sort(y[rows])
        h = max(int(_SHORTEST * len(own)), 2)
        spans = own[h:] - own[:-h]
        at = int(np.argmin(spans))
        # the interval is ±.52 of a width without contamination, ±.84 with half
        length = max(spans[at], 1e-12) / 1.3
        found.append((x[rows].mean(axis=0), 0.5 * (own[at] + own[at + h]), length, len(own)))
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
        slot = slot * size + np.searchsorted(inner_edges(x[:, j], size), x[:, j], side="right")
    return slot, int(np.prod(sizes))


def inner_edges(x: Array, size: int) -> Array:
    """Returns the edges (size - 1,) between bins that hold equal numbers of events of x (n,)."""
    step = -(-len(x) // FIRST_EVENTS)
    return np.asarray(np.quantile(x[::step], np.arange(1, size) / size))


def thinned(x: Array, y: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Returns as many of the events, evenly chosen, as the first passes of a fit need."""
    step = -(-len(y) // FIRST_EVENTS)
    return x[::step], y[::step], weight[::step]
