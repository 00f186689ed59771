"""Where the thresholds of flat-efficiency working points come from, and how flat the efficiency then is.

In each bin of the spectators the signal's weighted quantile gives the threshold; bins lean on their neighbours by as
much as their own statistical error asks for, and a common shift puts the efficiency of the whole on its target.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import special

from pidlab.config.names import axes_of, suffixes
from pidlab.config.schema import Evaluate, Map
from pidlab.evaluate.flat import check_spectators, thresholds_at
from pidlab.evaluate.intervals import effective_number, sums_by
from pidlab.evaluate.maps import OUTSIDE, bins_of, map_edges, maps_in
from pidlab.evaluate.ranking import Score, falling
from pidlab.evaluate.results import Array, EfficiencyMap, Flatness, FlatThreshold, WorkingPoint
from pidlab.evaluate.working_points import measure, passes, threshold_at
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample
from pidlab.split import fold_of

_ROUNDS = 3
_PARTS, _SEED = 5, 20191
_STRENGTHS = np.logspace(-3, 5, 17)


def flat_points(
    chosen: Sequence[tuple[str, float, float]],
    deciding: tuple[Score, Sample],
    test: tuple[Score, Sample, IntArray | None],
    options: Evaluate,
) -> tuple[list[WorkingPoint], list[Flatness]]:
    """For each `flat` of the options and each (name, target, threshold): the point quoted on test, and how flat it is.

    `deciding` and `test` hold the signal's score (n,) and the candidates, `test` also the number of their events. The
    target holds for the signal that has the spectators: what lacks one passes nothing.

    Raises:
        UsageError: something to be followed is no spectator.
        DataError: no signal decides.
    """
    points, flatness = [], []
    for asked, suffix in zip(options.flat, suffixes(options.flat), strict=True):
        check_spectators("flat", set(axes_of(asked)), test[1])
        edges = _edges(asked, deciding[1])
        for name, target, threshold in chosen:
            flat = fit_flat(asked, edges, deciding, target, options.thin)
            point = _measured((f"{name}_{suffix}", target, threshold), flat, test, options)
            points.append(point)
            flatness.append(_flatness(point, edges, test[0], test[1], options.thin))
    return points, flatness


def _has_spectators(asked: Map, sample: Sample) -> BoolArray:
    return np.asarray(np.logical_and.reduce([np.isfinite(sample.spectators[name]) for name in axes_of(asked)]))


def _edges(asked: Map, sample: Sample) -> tuple[Array, ...]:
    """The given edges, or equally populated bins of the signal that decides."""
    rows = sample.is_signal & _has_spectators(asked, sample)
    bins = (asked.bins, asked.y_bins)
    return tuple(map_edges(sample.spectators[n][rows], b) for n, b in zip(axes_of(asked), bins, strict=False))


def _measured(
    point: tuple[str, float, float],
    flat: FlatThreshold,
    test: tuple[Score, Sample, IntArray | None],
    options: Evaluate,
) -> WorkingPoint:
    score, sample, groups = test
    apart = score - thresholds_at(flat, sample.spectators).astype(np.float32)
    abundance = options.abundance or options.expected
    quoted = measure((point[0], point[1], 0.0), apart, sample, groups, abundance)
    return replace(quoted, threshold=point[2], flat=flat)


class _Signal(NamedTuple):
    """The signal that decides: (n,) scores, weights and each spectator."""

    score: Score
    weight: FloatArray
    spectators: dict[str, FloatArray]

    def take(self, rows: BoolArray) -> _Signal:
        return _Signal(self.score[rows], self.weight[rows], {n: v[rows] for n, v in self.spectators.items()})


class _Scale(NamedTuple):
    """Scores as normal deviates of their rank in the signal, and back: alike for every rising function of a score."""

    scores: Array
    deviates: Array

    @classmethod
    def of(cls, score: FloatArray) -> _Scale:
        values, counts = np.unique(score[np.isfinite(score)], return_counts=True)
        ranks = (np.cumsum(counts) - counts / 2) / counts.sum()
        return cls(values.astype(np.float64), special.ndtri(ranks))

    def deviate(self, score: FloatArray) -> Array:
        found = np.interp(score, self.scores, self.deviates)
        return np.where(score > -np.inf, found, np.nan)

    def score(self, deviate: Array) -> Array:
        return np.interp(deviate, self.deviates, self.scores)


class _Cells(NamedTuple):
    """Nodes of each spectator, and the flattened cell (n,) of each candidate among them, -1 outside."""

    nodes: tuple[Array, ...]
    cell: IntArray

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(len, self.nodes))


def _cells(axes: list[FloatArray], edges: tuple[Array, ...], weight: FloatArray) -> _Cells:
    """A node at the mean of the spectator (weights by size) in each bin that holds something; the others have none."""
    size = np.abs(weight)
    nodes: list[Array] = []
    flat, inside = np.zeros(len(weight), np.int64), np.ones(len(weight), np.bool_)
    for values, e in zip(axes, edges, strict=True):
        index = bins_of([values], (e,))
        held = index != OUTSIDE
        sums = sums_by(index[held], size[held], len(e) - 1)
        filled = np.flatnonzero(sums > 0)
        nodes.append(sums_by(index[held], size[held] * values[held], len(e) - 1)[filled] / sums[filled])
        place = np.full(len(e) - 1, OUTSIDE)
        place[filled] = np.arange(len(filled))
        index = np.where(held, place[index], OUTSIDE)
        inside &= index != OUTSIDE
        flat = flat * len(filled) + index
    return _Cells(tuple(nodes), np.where(inside, flat, OUTSIDE))


def fit_flat(
    asked: Map, edges: tuple[Array, ...], deciding: tuple[Score, Sample], target: float, least: float
) -> FlatThreshold:
    """The thresholds for a signal efficiency of `target` in every bin between `edges`.

    Scores count as normal deviates of their rank in the signal. The threshold of a bin is the weighted quantile of its
    signal, with the standard deviation of a quantile, sqrt(ε (1 - ε) / n_eff) / density (Stuart and Ord, Kendall's
    Advanced Theory of Statistics, 6th edition, 10.10), the density being that of normal deviates: where the quantile is
    nearly the lowest score, a bin says too little of its own. Whittaker's smoother ties neighbouring bins together,
    and Mallows' criterion says how strongly (`_smoother`); bins with fewer than `least` effective events take their
    neighbours' thresholds. Since thresholds are interpolated between nodes, a few rounds correct each bin by what its
    efficiency then still lacks.

    In the end one shift of all thresholds puts the whole on target: the quantile of the distances of candidates to
    thresholds that were made without their fifth of the events, since the thresholds of many bins fit the candidates
    that made them too well (conformalized quantile regression: Romano, Patterson, Candes, NeurIPS 32 (2019)).

    Raises:
        DataError: no signal decides.
    """
    score, sample = deciding
    rows = np.flatnonzero(sample.is_signal & _has_spectators(asked, sample))
    spectators = {name: sample.spectators[name][rows] for name in axes_of(asked)}
    signal = _Signal(score[rows], sample.weight[rows], spectators)
    constant = _constant(signal, edges, target)
    if not np.isfinite(signal.score).any() or not len(rows):
        return constant
    scale = _Scale.of(signal.score)
    flat = _even_out(constant, signal, edges, scale, target, least)
    apart = np.empty(len(rows), np.float32)
    part = fold_of(sample.event[rows], _PARTS, _SEED)
    for i in range(_PARTS):
        inside, outside = signal.take(part == i), signal.take(part != i)
        own = flat
        if outside.weight.sum() > 0:
            own = _even_out(_constant(outside, edges, target), outside, edges, scale, target, least)
        apart[part == i] = scale.deviate(inside.score) - scale.deviate(thresholds_at(own, inside.spectators))
    shift = _quantile(apart, signal.weight, target)
    return replace(flat, values=scale.score(scale.deviate(flat.values) + shift))


def _constant(signal: _Signal, edges: tuple[Array, ...], target: float) -> FlatThreshold:
    """One node, at one threshold for all."""
    shape = (1,) * len(edges)
    start = threshold_at(signal.score, signal.weight, target)
    return FlatThreshold(tuple(signal.spectators), (np.zeros(1),) * len(edges), np.full(shape, start))


def _even_out(
    start: FlatThreshold,
    signal: _Signal,
    edges: tuple[Array, ...],
    scale: _Scale,
    target: float,
    least: float,
) -> FlatThreshold:
    """Thresholds with nodes in the bins, from a constant one; as it is where no bin has enough events."""
    w, ranked, smoother = signal.weight, scale.deviate(signal.score), None
    cells = _cells(list(signal.spectators.values()), edges, w)
    rows_of = _rows_by_cell(cells.cell, int(np.prod(cells.shape)))
    usable = np.array([w[r].sum() > 0 and effective_number(w[r]) >= least for r in rows_of], np.bool_)
    if not usable.any():
        return start
    flat = FlatThreshold(start.names, cells.nodes, np.full(cells.shape, float(start.values.flat[0])))
    filled = np.flatnonzero(usable)
    for _ in range(_ROUNDS):
        apart = (ranked - scale.deviate(thresholds_at(flat, signal.spectators))).astype(np.float32)
        level = scale.deviate(flat.values.ravel())
        level[filled] += [_quantile(apart[rows_of[i]], w[rows_of[i]], target) for i in filled]
        if smoother is None:
            errors = np.full(len(rows_of), np.inf)
            errors[filled] = [_deviation(w[rows_of[i]], target) for i in filled]
            smoother = _smoother(level, errors, cells.shape)
        flat = replace(flat, values=scale.score(smoother @ level).reshape(cells.shape))
    return flat


def _rows_by_cell(cell: IntArray, n: int) -> list[IntArray]:
    order = np.argsort(cell, kind="stable")
    bounds = np.searchsorted(cell[order], np.arange(n + 1))
    return [order[low:high] for low, high in itertools.pairwise(bounds)]


def _quantile(score: Score, weight: FloatArray, target: float) -> float:
    """The score above which the share `target` of a further sample is expected: linear between candidates at the sums
    of weights that stand for target (n + 1) of n events (Hyndman and Fan, Am. Stat. 50 (1996) 361, definition 6).

    Weights of both signs let the sum rise and fall: what it had reached counts. Few candidates need this: the
    threshold that passes 45 of 50 passes 45 of 51 on average.
    """
    steps = falling(score, weight)
    total = float(weight.sum())
    wanted = target * total * (1 + 1 / effective_number(weight))
    return float(np.interp(wanted, np.maximum.accumulate(steps.sums[0]), steps.values))


def _deviation(weight: FloatArray, target: float) -> float:
    """The standard deviation of the quantile of a bin, whose scores are about normal deviates."""
    density = np.exp(-(special.ndtri(target) ** 2) / 2) / np.sqrt(2 * np.pi)
    return float(np.sqrt(target * (1 - target) / effective_number(weight)) / density)


def _smoother(values: Array, errors: Array, shape: tuple[int, ...]) -> Array:
    """(b, b) the linear smoother of b values to the z of least sum of ((z - value) / error)² + λ (z - neighbour)².

    Whittaker, Proc. Edinburgh Math. Soc. 41 (1923) 63; as a penalty on first differences Eilers, Anal. Chem. 75 (2003)
    3631. The strength λ has the least estimated squared error of prediction, residuals² / errors² + 2 trace (Mallows,
    Technometrics 15 (1973) 661): without structure it grows until one threshold is left for all, and where structure
    is significant it vanishes. Values with infinite errors come from their neighbours alone.
    """
    inverse = 1 / errors**2
    penalty = _differences(shape)
    candidates = []
    for strength in _STRENGTHS * np.median(inverse[inverse > 0]):
        matrix = np.linalg.solve(np.diag(inverse) + strength * penalty, np.diag(inverse))
        risk = np.sum(inverse * (matrix @ values - values) ** 2) + 2 * np.trace(matrix)
        candidates.append((float(risk), matrix))
    return min(candidates, key=lambda c: c[0])[1]


def _differences(shape: tuple[int, ...]) -> Array:
    """(b, b) the quadratic form of squared differences between neighbours in a grid of `shape`, flattened."""
    total = np.zeros((int(np.prod(shape)),) * 2)
    for axis, n in enumerate(shape):
        steps = np.diff(np.eye(n), axis=0)
        total += np.kron(
            np.kron(np.eye(int(np.prod(shape[:axis]))), steps.T @ steps), np.eye(int(np.prod(shape[axis + 1 :])))
        )
    return total


def _flatness(point: WorkingPoint, edges: tuple[Array, ...], score: Score, sample: Sample, least: float) -> Flatness:
    """The signal's efficiency on test in the bins of the fit, before and after."""
    assert point.flat is not None
    apart = score - thresholds_at(point.flat, sample.spectators).astype(np.float32)
    decisions = [("before", passes(score, point.threshold)), ("after", passes(apart, 0.0))]
    bins = [e.tolist() for e in edges]
    asked = Map(x=point.flat.names[0], bins=bins[0])
    if len(bins) == 2:
        asked = Map(x=point.flat.names[0], bins=bins[0], y=point.flat.names[1], y_bins=bins[1])
    signal = sample.classes[sample.signal]
    before, after = (m for m in maps_in(asked, decisions, sample, least) if m.particle == signal)
    before, after = replace(before, working_point=point.name), replace(after, working_point=point.name)
    used = np.isfinite(before.value) & ~before.thin
    chi2, spread = zip(*(_unevenness(m, used) for m in (before, after)), strict=True)
    ndf = max(int(used.sum()) - 1, 0)
    return Flatness(point.name, before, after, chi2[0], chi2[1], ndf, spread[0], spread[1])


def _unevenness(one: EfficiencyMap, used: BoolArray) -> tuple[float, float]:
    """Cochran's Q of the bins, and the spread beyond fluctuations: DerSimonian and Laird, Control. Clin. Trials 7
    (1986) 177."""
    value, error = one.value[used], (one.high - one.low)[used] / 2
    if len(value) < 2:
        return 0.0, 0.0
    weight = 1 / error**2
    q = float(np.sum(weight * (value - np.sum(weight * value) / weight.sum()) ** 2))
    excess = (q - (len(value) - 1)) / (weight.sum() - np.sum(weight**2) / weight.sum())
    return q, float(np.sqrt(max(excess, 0.0)))
