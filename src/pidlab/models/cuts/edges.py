"""The edges at which a feature may be cut: between measured values, close enough, and with few digits."""

from __future__ import annotations

import math

import numpy as np

from pidlab.models.cuts.grid import Allowed, Array, Levels
from pidlab.sample import BoolArray, FloatArray

N_LEVELS = 1024
_LOGIT = 9.0  # the outermost quantile that gets an edge of its own is 1 / (1 + exp(9)) = 1.2e-4


def cut_edges(values: FloatArray, is_signal: BoolArray, weight: Array, allowed: Allowed) -> Array:
    """Returns the edges at which a feature may be cut, ascending (m,), m < N_LEVELS + 8, between measured values.

    Up to N_LEVELS different values each gap gets an edge. Beyond, edges follow the signal's quantiles, three quarters
    of them evenly and the rest evenly in log(u / (1 - u)), which resolves both tails. An edge is the shortest decimal
    between two neighbouring values or, if quantiles are far apart, within a third of the way to the next edge: the
    rounding moves a small part of one level, about 1/3000 of the signal. No edge equals a measured value, in float64 or
    as float32, so that strict and other comparisons, by ROOT and by numpy, agree on the training sample.

    Args:
        values: (n,) the feature of signal and background, NaN if missing.
        is_signal: (n,) whether each candidate is signal.
        weight: (n,) non-negative.
        allowed: the side and the range; min_width has no effect here.
    """
    measured = np.isfinite(values)
    of_signal = measured & is_signal
    signal = values[of_signal]
    if len(signal) == 0:
        return np.empty(0)
    distinct = np.unique(values[measured]).astype(np.float64)
    low, high = float(signal.min()), float(signal.max())
    if allowed.side == "both" or not measured.all():
        distinct = _with_margins(distinct, low, high)
    first = max(int(np.searchsorted(distinct, low)) - 1, 0)
    distinct = distinct[first : int(np.searchsorted(distinct, high, side="right")) + 1]
    ranks = _edge_ranks(distinct, signal, weight[of_signal])
    edges = _shortest_decimals(distinct, ranks)
    return edges[(edges >= allowed.low) & (edges <= allowed.high)]


def _with_margins(distinct: Array, low: float, high: float) -> Array:
    """Adds a value just outside the signal on each side without one, so that windows can have faces there."""
    margin = 1e-3 * ((high - low) or max(abs(high), 1.0))
    below = [min(low - margin, math.nextafter(low, -math.inf))] if distinct[0] >= low else []
    above = [max(high + margin, math.nextafter(high, math.inf))] if distinct[-1] <= high else []
    return np.concatenate([below, distinct, above])


def _edge_ranks(distinct: Array, signal: FloatArray, weight: Array) -> Levels:
    """Returns ascending ranks r; an edge belongs between distinct[r] and distinct[r + 1]."""
    if len(distinct) <= N_LEVELS:
        return np.arange(len(distinct) - 1)
    order = np.argsort(signal, kind="stable")
    cumulative = np.cumsum(weight[order])
    even = np.linspace(0, 1, N_LEVELS * 3 // 4)
    tails = 1 / (1 + np.exp(-np.linspace(-_LOGIT, _LOGIT, N_LEVELS // 4)))
    wanted = np.union1d(even, tails) * cumulative[-1]
    at = np.minimum(np.searchsorted(cumulative, wanted), len(signal) - 1)
    ranks = np.searchsorted(distinct, signal[order][at])
    ends = [0, 1, len(distinct) - 3, len(distinct) - 2]
    return np.union1d(ranks[ranks < len(distinct) - 1], ends)


def _shortest_decimals(distinct: Array, ranks: Levels) -> Array:
    """Returns the shortest decimal in reach of each rank, (m,) ascending."""
    spacing = np.diff(ranks, prepend=ranks[:1] - 1, append=ranks[-1:] + 1) if len(ranks) else ranks
    reach = np.minimum(spacing[:-1], spacing[1:]) // 3
    lows, highs = distinct[np.maximum(ranks - reach, 0)], distinct[np.minimum(ranks + 1 + reach, len(distinct) - 1)]
    return _decimals_between(lows, highs, distinct)


def _decimals_between(lows: Array, highs: Array, distinct: Array) -> Array:
    """Returns the shortest decimal strictly between each pair of bounds that is none of the values, (m,) or fewer."""
    with np.errstate(over="ignore"):
        middles, spans = 0.5 * lows + 0.5 * highs, np.minimum(highs - lows, 1e300)
    places = [math.floor(-math.log10(span)) for span in spans.tolist()]
    edges: Array = np.full(len(lows), np.nan)
    for more in range(5):
        at = np.flatnonzero(np.isnan(edges))
        cuts = np.array([round(middles[i].item(), places[i] + more) for i in at.tolist()])
        fits = (lows[at] < cuts) & (cuts < highs[at]) & ~_measured(cuts, distinct)
        edges[at[fits]] = cuts[fits] + 0.0  # no -0.0 in a cut string
    fits = np.isnan(edges) & (lows < middles) & (middles < highs) & ~_is_among(middles, distinct)
    edges[fits] = middles[fits]
    return edges[~np.isnan(edges)]


def _measured(cuts: Array, distinct: Array) -> BoolArray:
    """Returns whether each cut, or the float32 nearest to it, is one of the values (m,)."""
    with np.errstate(over="ignore", under="ignore"):
        nearest = cuts.astype(np.float32).astype(np.float64)
    return _is_among(cuts, distinct) | _is_among(nearest, distinct)


def _is_among(wanted: Array, distinct: Array) -> BoolArray:
    """Returns whether each wanted value is one of the ascending values (m,)."""
    place = np.minimum(np.searchsorted(distinct, wanted), len(distinct) - 1)
    return np.asarray(distinct[place] == wanted)
