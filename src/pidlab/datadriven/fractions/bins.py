"""Bins of scores: the regions in which a model's scores of data are compared with those of each class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pidlab.datadriven.fractions.fit import Counts
from pidlab.measured import Array
from pidlab.sample import FloatArray, IntArray

N_BINS = 20
"""Bins of the signal's score; more classes share them, with at least four for each."""
_EVENTS_A_BIN = 25
"""Effective events that each class's template has for a bin, on average. With templates of 200 events for 5000
candidates, intervals cover .64 of 2000 toys with 10 events a bin, .65 with 20 and .67 with 40."""


@dataclass(frozen=True, slots=True)
class ScoreBins:
    """Regions of the scores of one model.

    Attributes:
        edges: name of each group to its inner edges (g - 1,) for g bins, which are (-inf, e], (e, e'], … (e'', inf). A
            single group is the range of the signal's score. Several groups are the classes: a candidate belongs to that
            of its largest score, and these are edges of that score.
        column: the column of the scores that a single group reads.
        threshold: above it a candidate is decided to be signal; NaN if the largest score decides.
        signal: the index of the signal.
        n_classes: the number of classes.
    """

    edges: Mapping[str, Array]
    column: int
    threshold: float
    signal: int
    n_classes: int

    @property
    def sizes(self) -> dict[str, int]:
        """The number of bins of each group."""
        return {name: len(edges) + 1 for name, edges in self.edges.items()}

    def places(self, scores: FloatArray) -> IntArray:
        """Returns the bin (n,) of each row of scores (n, c); a score that is missing counts as the smallest."""
        values = np.where(np.isnan(scores), -np.inf, scores)
        if len(self.edges) == 1:
            return np.asarray(np.searchsorted(next(iter(self.edges.values())), values[:, self.column], side="left"))
        group, best = values[:, : self.n_classes].argmax(axis=1), values[:, : self.n_classes].max(axis=1)
        result, first = np.empty(len(scores), np.int64), 0
        for g, edges in enumerate(self.edges.values()):
            rows = np.flatnonzero(group == g)
            result[rows] = first + np.searchsorted(edges, best[rows], side="left")
            first += len(edges) + 1
        return result

    def decisions(self, scores: FloatArray) -> IntArray:
        """Returns the class (n,) that each row is decided to be; with more than two classes, -1 if only the signal is
        decided."""
        if len(self.edges) > 1:
            return np.asarray(np.where(np.isnan(scores), -np.inf, scores)[:, : self.n_classes].argmax(axis=1))
        if self.n_classes > 2:
            return np.full(len(scores), -1)
        passed = scores[:, self.column] > np.float32(self.threshold)
        return np.where(passed, self.signal, 1 - self.signal)


def score_bins(
    scores: FloatArray,
    y: IntArray,
    weight: FloatArray,
    classes: tuple[str, ...],
    signal: int,
    *,
    column: int,
    threshold: float,
    n_bins: int | None = None,
) -> ScoreBins:
    """Returns bins that hold about as many template events each, if all classes have the same weight.

    Args:
        scores: (n, c) of the template events.
        y: (n,) their classes.
        weight: (n,) their weights.
        classes: their names.
        signal: the index of the signal.
        column: the column of the score that decides.
        threshold: the threshold of that decision.
        n_bins: in all; None for as many as the templates allow, up to 20 or four for each class.
    """
    k = len(classes)
    several = k > 2 and not np.isnan(scores[:, :k]).all(axis=0).any()
    size = np.abs(weight)
    sums = np.bincount(y, size, minlength=k)
    events = [float(size[y == c].sum() ** 2 / max((size[y == c] ** 2).sum(), 1e-300)) for c in range(k)]
    most = n_bins or max(min(max(N_BINS, 4 * k), int(min(events) / _EVENTS_A_BIN)), k + 1)
    share = size / np.where(sums > 0, sums, 1.0)[y]
    values = np.where(np.isnan(scores), -np.inf, scores)
    if not several:
        edges = {"": _quantiles(values[:, column], share, most)}
        return ScoreBins(edges, column, threshold, signal, k)
    group, best = values[:, :k].argmax(axis=1), values[:, :k].max(axis=1)
    found = {}
    for c, name in enumerate(classes):
        rows = group == c
        part = float(share[rows].sum() / share.sum())
        found[name] = _quantiles(best[rows], share[rows], max(2, round(most * part)))
    return ScoreBins(found, column, threshold, signal, k)


def _quantiles(values: FloatArray, share: Array, n: int) -> Array:
    """Returns the inner edges of at most n bins of equal shares of the values (m,)."""
    if not len(values):
        return np.empty(0)
    order = np.argsort(values, kind="stable")
    rising = np.cumsum(share[order])
    places = np.searchsorted(rising, rising[-1] * np.arange(1, n) / n)
    edges = np.unique(values[order][np.minimum(places, len(values) - 1)]).astype(np.float64)
    return np.asarray(edges[np.isfinite(edges) & (edges < values.max())], np.float64)


def counts(place: IntArray, weight: FloatArray, n: int) -> Counts:
    """Returns the sums of weights (m,) of rows in n bins, and those of squared weights."""
    sums = (np.bincount(place, values, n)[:n].astype(np.float64) for values in (weight, weight**2))
    return Counts(*sums)
