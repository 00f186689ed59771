"""The fit of the thresholds of flat-efficiency working points, and how flat the efficiency is on test.

In each bin of the spectators the threshold is the weighted quantile of the signal. Thresholds of neighbouring bins are
smoothed by as much as their statistical errors require, and a common shift gives the whole the target efficiency.
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
from pidlab.evaluate.histograms import OUTSIDE, bins_of
from pidlab.evaluate.intervals import effective_number, sums_by
from pidlab.evaluate.maps import map_edges, maps_in
from pidlab.evaluate.points.flat import check_spectators, score_margin, thresholds_at
from pidlab.evaluate.points.working_points import ChosenPoint, SignalSteps, measure, passes
from pidlab.evaluate.ranking import Score, ScoredSample, cumulative_by_score
from pidlab.evaluate.results import EfficiencyMap, Flatness, FlatThreshold, WorkingPoint
from pidlab.measured import Array
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample
from pidlab.split import fold_of

_ROUNDS = 3  # of smoothing what the bins still lack
_FOLDS, _SEED = 5, 20191  # for the common shift
_STRENGTHS = np.logspace(-3, 5, 17)  # of smoothing, relative to the median inverse variance of bins
_SIGNIFICANT = 0.01  # p-value below which efficiencies of bins differ
_STEPS = 4  # the most steps along all axes together; each takes another fit
_JUMP = 2.2  # critical value of Kolmogorov's distribution: p = 1.2e-4 for each interval between nodes
_NARROWEST = 1e-3
"""The least width of a bin's scores, relative to that of all signal, where the candidates of a bin share one score."""


def flat_points(
    chosen: Sequence[ChosenPoint], threshold_sample: ScoredSample, test: ScoredSample, options: Evaluate
) -> tuple[list[WorkingPoint], list[Flatness]]:
    """Returns a flat working point, measured on test, and its flatness for each `flat` of the options and chosen point.

    The target holds for the signal that has the spectators; a candidate that lacks one never passes.

    Raises:
        UsageError: A name in `flat` is no spectator.
        DataError: There is no signal to set thresholds.
    """
    points, flatness = [], []
    abundance, sample = options.abundance or options.expected, threshold_sample.sample
    for asked, suffix in zip(options.flat, suffixes(options.flat), strict=True):
        check_spectators("flat", set(axes_of(asked)), test.sample)
        rows = sample.is_signal & _has_spectators(asked, sample) & (sample.weight != 0)
        edges = map_edges(asked, sample, rows)
        for name, target, threshold in chosen:
            flat = fit_flat(asked, edges, threshold_sample, target, options.thin)
            margin = test.with_score(score_margin(flat, test.score, test.sample))
            point = measure(ChosenPoint(f"{name}_{suffix}", target, 0.0), margin, abundance)
            points.append(replace(point, threshold=threshold, flat=flat))
            binned = asked.model_copy(update=dict(zip(("bins", "y_bins"), (e.tolist() for e in edges), strict=False)))
            flatness.append(_flatness(points[-1], binned, test.score, margin, options.thin))
    return points, flatness


def _has_spectators(asked: Map, sample: Sample) -> BoolArray:
    return np.asarray(np.logical_and.reduce([np.isfinite(sample.spectators[name]) for name in axes_of(asked)]))


class _Signal(NamedTuple):
    """The signal of the threshold sample: (n,) scores, weights and each spectator."""

    score: Score
    weight: FloatArray
    spectators: dict[str, FloatArray]

    def take(self, rows: BoolArray) -> _Signal:
        return _Signal(self.score[rows], self.weight[rows], {n: v[rows] for n, v in self.spectators.items()})


class _Scale(NamedTuple):
    """A scale on which scores are normal deviates of their rank in the signal: the same for a rising function of them.

    Beyond the outermost scores the scale continues along a straight line, so that a threshold can lie below the lowest
    score and pass it, even if many candidates share it.
    """

    scores: Array
    deviates: Array

    @classmethod
    def of(cls, score: FloatArray) -> _Scale:
        values, counts = np.unique(score[np.isfinite(score)].astype(np.float64), return_counts=True)
        deviates = special.ndtri((np.cumsum(counts) - counts / 2) / counts.sum())
        # The least distance that float32 resolves at this size of score; a single score has no other scale.
        least = 1e-4 * max(abs(values[0]), abs(values[-1]), float(np.finfo(np.float32).tiny) * 1e8)
        steps = np.diff(values[[0, min(1, len(values) - 1)]])[0], np.diff(values[[max(len(values) - 2, 0), -1]])[0]
        below, above = (max(float(step), least) for step in steps)
        return cls(
            np.concatenate([[values[0] - below], values, [values[-1] + above]]),
            np.concatenate([[deviates[0] - 1], deviates, [deviates[-1] + 1]]),
        )

    def deviate(self, score: FloatArray) -> Array:
        found = np.interp(score, self.scores, self.deviates)
        return np.where(score > -np.inf, found, np.nan)

    def score(self, deviate: Array) -> Array:
        return np.interp(deviate, self.deviates, self.scores)


class _Grid(NamedTuple):
    """The nodes of each spectator, and the flattened cell (n,) of each candidate among them, -1 outside."""

    nodes: tuple[Array, ...]
    cell: IntArray

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(len, self.nodes))


def _grid(axes: list[FloatArray], edges: tuple[Array, ...], weight: FloatArray) -> _Grid:
    """Returns a grid with a node at the mean of each spectator, weighted by |weight|, in each bin that is not empty."""
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
    return _Grid(tuple(nodes), np.where(inside, flat, OUTSIDE))


def fit_flat(
    asked: Map, edges: tuple[Array, ...], threshold_sample: ScoredSample, target: float, least: float
) -> FlatThreshold:
    """Returns the thresholds for a signal efficiency of `target` in every bin between `edges`.

    The threshold is constant if many candidates share the score at the target (`_shared`), unless the efficiencies of
    the bins differ by more than chance (`_differ`). Otherwise scores are transformed to normal deviates of their rank
    in the signal. The threshold of a bin is the weighted quantile of its signal, with the standard deviation of a
    quantile (`_deviation`). Whittaker's smoother couples neighbouring bins with a strength given by Mallows' criterion
    (`_smoother`); bins with fewer than `least` effective events take the thresholds of their neighbours. Interpolation
    between nodes and smoothing remove part of the structure, so a few rounds smooth and add what each bin's efficiency
    still lacks. Where the response jumps, the thresholds have a step (`_fit_with_steps`).

    Finally one shift of all thresholds gives the whole its target. The thresholds of many bins fit the candidates that
    they were made from too well, so the shift is the quantile of the margins of candidates over thresholds that were
    made without their fifth of the events (conformalized quantile regression: Romano, Patterson, Candes, NeurIPS 32
    (2019)).

    Raises:
        DataError: There is no signal to set thresholds.
    """
    score, sample = threshold_sample.score, threshold_sample.sample
    rows = np.flatnonzero(sample.is_signal & _has_spectators(asked, sample))
    spectators = {name: sample.spectators[name][rows] for name in axes_of(asked)}
    signal = _Signal(score[rows], sample.weight[rows], spectators)
    constant = _constant(signal, edges, target)
    if not len(rows) or not np.isfinite(signal.score).any():
        return constant
    if _shared(constant, signal, target) and not _differ(constant, signal, edges, least):
        return constant
    scale = _Scale.of(signal.score)
    flat, steps = _fit_with_steps(constant, signal, edges, scale, target, least)
    margin = np.empty(len(rows))
    part = fold_of(sample.event[rows], _FOLDS, _SEED)
    for i in range(_FOLDS):
        inside, outside = signal.take(part == i), signal.take(part != i)
        own = flat
        if outside.weight.sum() > 0:
            own, _ = _fit_with_steps(_constant(outside, edges, target), outside, edges, scale, target, least, steps)
        margin[part == i] = _margin(scale.deviate(inside.score), own, inside, scale)
    shift = _shift(margin, signal.weight, target)
    return replace(flat, values=scale.score(scale.deviate(flat.values) + shift))


def _constant(signal: _Signal, edges: tuple[Array, ...], target: float) -> FlatThreshold:
    """Returns a single node with the threshold of the whole signal."""
    shape = (1,) * len(edges)
    start = SignalSteps.of(signal.score, signal.weight).threshold_at(target)
    return FlatThreshold(tuple(signal.spectators), (np.zeros(1),) * len(edges), np.full(shape, start))


def _shared(constant: FlatThreshold, signal: _Signal, target: float) -> bool:
    """Returns True if candidates that share the score at the target are a larger part than the efficiency fluctuates.

    Thresholds that differ slightly within such a plateau would decide over more candidates than intended.
    """
    w = signal.weight
    passing = passes(signal.score, float(constant.values.flat[0]))
    if not passing.any():
        return False
    plateau = float(w[signal.score == signal.score[passing].min()].sum()) / float(w.sum())
    return bool(plateau > np.sqrt(target * (1 - target) / effective_number(w)))


def _differ(constant: FlatThreshold, signal: _Signal, edges: tuple[Array, ...], least: float) -> bool:
    """Returns True if the efficiencies of the bins at one threshold differ, by Pearson's χ² of homogeneity at 1 %.

    The variance of a bin is that of the common efficiency or that of its own weights, whichever is larger.
    """
    w = signal.weight
    passing = passes(signal.score, float(constant.values.flat[0]))
    grid = _grid(list(signal.spectators.values()), edges, w)
    size = int(np.prod(grid.shape))
    held = grid.cell != OUTSIDE
    cell, w, passing = grid.cell[held], w[held], passing[held]
    total, total2 = sums_by(cell, w, size), sums_by(cell, w * w, size)
    used = (total > 0) & (total**2 >= least * total2)
    if used.sum() < 2:
        return False
    passed = sums_by(cell, np.where(passing, w, 0.0), size)
    common = passed[used].sum() / total[used].sum()
    own = sums_by(cell, (w * (passing - common)) ** 2, size)
    variance = np.maximum(common * (1 - common) * total2, own)[used]
    excess = (passed - common * total)[used]
    # Bins in which all or none pass have no variance and do not differ.
    chi2 = np.sum(np.divide(excess**2, variance, out=np.zeros_like(excess), where=variance > 0))
    return bool(special.chdtrc(used.sum() - 1, chi2) < _SIGNIFICANT)


class _Step(NamedTuple):
    """A step of the thresholds along one axis.

    Attributes:
        axis: index of the spectator.
        after: the step lies between the nodes `after` and `after` + 1.
        low, high: ends of the step in the unit of the axis.
        size: the test statistic of `_largest_step`.
    """

    axis: int
    after: int
    low: float
    high: float
    size: float


class _Bins(NamedTuple):
    """The signal of the threshold sample in its bins, for one target.

    Attributes:
        ranked: (n,) scores as normal deviates of their rank.
        rows_of: the rows of the candidates of each bin.
        filled: the bins with enough candidates for a threshold of their own.
    """

    signal: _Signal
    scale: _Scale
    ranked: Array
    grid: _Grid
    rows_of: list[IntArray]
    filled: IntArray
    target: float


def _fit_with_steps(
    start: FlatThreshold,
    signal: _Signal,
    edges: tuple[Array, ...],
    scale: _Scale,
    target: float,
    least: float,
    known: Sequence[_Step] | None = None,
) -> tuple[FlatThreshold, list[_Step]]:
    """Returns thresholds with nodes in the bins, and their steps; constant ones if no bin has enough candidates.

    Where the response jumps, straight lines between nodes are wrong on either side of the jump. The largest significant
    jump is described by two nodes close together, over which bins are not coupled, and so on as long as the largest
    remaining jump becomes smaller. If `known` steps are given, none is searched for.
    """
    w = signal.weight
    grid = _grid(list(signal.spectators.values()), edges, w)
    rows_of = _rows_by_cell(grid.cell, int(np.prod(grid.shape)))
    usable = np.array([w[r].sum() > 0 and effective_number(w[r]) >= least for r in rows_of], np.bool_)
    if not usable.any():
        return start, []
    bins = _Bins(signal, scale, scale.deviate(signal.score), grid, rows_of, np.flatnonzero(usable), target)
    steps = list(known or [])
    flat = _levelled(bins, start, steps)
    if known is not None:
        return flat, steps
    found = _largest_step(bins, flat)
    while found is not None and len(steps) < _STEPS:
        trial = _levelled(bins, start, [*steps, found])
        left = _largest_step(bins, trial)
        if left is not None and left.size >= found.size:
            break
        flat, steps, found = trial, [*steps, found], left
    return flat, steps


def _levelled(bins: _Bins, start: FlatThreshold, steps: Sequence[_Step]) -> FlatThreshold:
    """Returns thresholds at which each bin has its target efficiency; each round smooths and adds what is missing."""
    w, scale, shape = bins.signal.weight, bins.scale, bins.grid.shape
    steps = [s for s in steps if s.after + 1 < shape[s.axis] and _fits(s, bins.grid.nodes[s.axis])]
    penalty = _differences(shape, steps)
    level = np.full(int(np.prod(shape)), float(scale.deviate(start.values.ravel()[:1])[0]))
    flat = _laid_out(start.names, bins.grid.nodes, scale.score(level).reshape(shape), steps)
    for _ in range(_ROUNDS):
        margin = _margin(bins.ranked, flat, bins.signal, scale)
        lacking, errors = np.zeros(len(level)), np.full(len(level), np.inf)
        parts = [_Cumulated.of(margin[bins.rows_of[i]], w[bins.rows_of[i]]) for i in bins.filled]
        lacking[bins.filled] = [part.quantile(bins.target) for part in parts]
        errors[bins.filled] = [_deviation(part, bins.target) for part in parts]
        level = level + _smoother(lacking, errors, penalty) @ lacking
        flat = _laid_out(start.names, bins.grid.nodes, scale.score(level).reshape(shape), steps)
    return flat


def _margin(ranked: Array, flat: FlatThreshold, signal: _Signal, scale: _Scale) -> Array:
    """Returns by how many normal deviates (n,) a candidate's score exceeds its threshold.

    It is rounded to 9 digits, so that equal scores have equal margins: interpolation and sums round by about 1e-15.
    """
    return np.round(ranked - scale.deviate(thresholds_at(flat, signal.spectators)), 9)


def _fits(step: _Step, nodes: Array) -> bool:
    return bool(nodes[step.after] < step.low < step.high < nodes[step.after + 1])


def _laid_out(names: tuple[str, ...], nodes: tuple[Array, ...], values: Array, steps: Sequence[_Step]) -> FlatThreshold:
    """Returns the thresholds with `values` at the nodes of the bins, and two more nodes for each step."""
    all_nodes = []
    for axis, own in enumerate(nodes):
        places = [(float(x), k) for k, x in enumerate(own)]
        for s in steps:
            places += [(s.low, s.after), (s.high, s.after + 1)] if s.axis == axis else []
        places.sort()
        all_nodes.append(np.array([x for x, _ in places]))
        values = np.take(values, [k for _, k in places], axis=axis)
    return FlatThreshold(names, tuple(all_nodes), values)


def _largest_step(bins: _Bins, flat: FlatThreshold) -> _Step | None:
    """Returns the most significant step, where more candidates pass on one side and fewer on the other than by chance.

    If the thresholds are right, the cumulated sum of (passes - its mean), in the order of the spectator, is a Brownian
    bridge (Page, Biometrika 41 (1954) 100), and its largest size has Kolmogorov's distribution. Intervals between nodes
    that already hold a step are left out.
    """
    signal, found = bins.signal, None
    passing = _margin(bins.ranked, flat, signal, bins.scale) > 0
    for axis, name in enumerate(flat.names):
        own, laid = bins.grid.nodes[axis], flat.nodes[axis]
        order = np.argsort(signal.spectators[name], kind="stable")
        x, w, p = signal.spectators[name][order], signal.weight[order], passing[order]
        bounds = np.searchsorted(x, own)
        for after, (i, j) in enumerate(itertools.pairwise(bounds)):
            if np.any((laid > own[after]) & (laid < own[after + 1])) or j - i < 2 or not w[i:j].sum() > 0:
                continue
            share = float(np.sum(w[i:j] * p[i:j]) / w[i:j].sum())
            cumulated = np.cumsum(w[i:j] * (p[i:j] - share))
            least = bins.target * (1 - bins.target) * np.sum(w[i:j] ** 2)
            sizes = np.abs(cumulated[:-1]) / np.sqrt(max(np.sum((w[i:j] * (p[i:j] - share)) ** 2), least))
            sizes[x[i : j - 1] == x[i + 1 : j]] = 0.0
            place = int(np.argmax(sizes))
            step = _Step(axis, after, float(x[i + place]), float(x[i + place + 1]), float(sizes[place]))
            if step.size > _JUMP and _fits(step, own) and (found is None or step.size > found.size):
                found = step
    return found


def _rows_by_cell(cell: IntArray, n: int) -> list[IntArray]:
    order = np.argsort(cell, kind="stable")
    bounds = np.searchsorted(cell[order], np.arange(n + 1))
    return [order[low:high] for low, high in itertools.pairwise(bounds)]


class _Cumulated(NamedTuple):
    """Weights cumulated from the highest score to the lowest.

    Attributes:
        values: (m,) the distinct scores.
        reached: (m,) the largest sum so far, which is the sum at or above each score unless weights have both signs.
        total: the sum of all weights.
        n: the effective number of events.
    """

    values: FloatArray
    reached: Array
    total: float
    n: float

    @classmethod
    def of(cls, score: FloatArray, weight: FloatArray) -> _Cumulated:
        steps = cumulative_by_score(score, weight)
        reached = np.maximum.accumulate(steps.sums[0])
        return cls(steps.values, reached, float(weight.sum()), effective_number(weight))

    def quantile(self, target: float) -> float:
        """Returns the score above which the share `target` of another sample is expected.

        It is linear between candidates, at the sum of weights that corresponds to target (n + 1) of n events (Hyndman
        and Fan, Am. Stat. 50 (1996) 361, definition 6): a threshold that passes 45 of 50 candidates passes 45 of 51 on
        average.
        """
        return float(np.interp(target * self.total * (1 + 1 / self.n), self.reached, self.values))


def _shift(margin: FloatArray, weight: FloatArray, target: float) -> float:
    """Returns the quantile of margins; if several candidates share the margin at the target, all of them pass.

    The shift then lies halfway to the next lower margin, as in `SignalSteps.threshold_at`.
    """
    steps = cumulative_by_score(margin, weight, np.ones_like(weight))
    if not len(steps.values):
        return 0.0
    reached = np.maximum.accumulate(steps.sums[0])
    wanted = target * float(weight.sum()) * (1 + 1 / effective_number(weight))
    last = min(int(np.searchsorted(reached, wanted * (1 - 1e-12))), len(reached) - 1)
    sharing = steps.sums[1][last] - (steps.sums[1][last - 1] if last else 0.0)
    if sharing < 2:
        return float(np.interp(wanted, reached, steps.values))
    lower = steps.values[last + 1] if last + 1 < len(reached) else steps.values[last] - 1
    return float(steps.values[last] + lower) / 2


def _deviation(part: _Cumulated, target: float) -> float:
    """Returns the standard deviation of the quantile of a bin: sqrt(ε (1 - ε) / n_eff) / density.

    Stuart and Ord, Kendall's Advanced Theory of Statistics, 6th edition, 10.10. The density is that of normal deviates
    divided by the slope of this bin's quantiles against normal ones. The slope is taken around the target over half a
    deviate to either side, or over one standard deviation if that is more (Woodruff, J. Am. Stat. Assoc. 47 (1952)
    635). The window is limited to quantiles that n_eff events determine, so it moves up if the target is nearly the
    lowest score.
    """
    n, centre = part.n, float(special.ndtri(target))
    deviation = np.sqrt(target * (1 - target) / n) / (np.exp(-(centre**2) / 2) / np.sqrt(2 * np.pi))
    half, end = max(0.5, deviation), float(special.ndtri(n / (n + 1)))
    high = min(centre + half, end)
    low = max(high - 2 * half, -end)
    high = min(low + 2 * half, end)
    upper, lower = (part.quantile(float(special.ndtr(z))) for z in (low, high))
    return float(deviation * max((upper - lower) / (high - low), _NARROWEST))


def _smoother(values: Array, errors: Array, penalty: Array) -> Array:
    """Returns the matrix (b, b) that smooths b values: z minimises Σ ((z - value) / error)² + λ Σ (z - neighbour)².

    Whittaker, Proc. Edinburgh Math. Soc. 41 (1923) 63; with a penalty on first differences Eilers, Anal. Chem. 75
    (2003) 3631. The strength λ minimises the estimated squared error of prediction, residuals² / errors² + 2 trace
    (Mallows, Technometrics 15 (1973) 661): without structure it grows until all thresholds are the same, and with
    significant structure it vanishes. A value with an infinite error is determined by its neighbours alone. `penalty`
    (b, b) is the quadratic form of the squared differences of neighbours.
    """
    inverse = 1 / errors**2
    candidates = []
    for strength in _STRENGTHS * np.median(inverse[inverse > 0]):
        matrix = np.linalg.solve(np.diag(inverse) + strength * penalty, np.diag(inverse))
        risk = np.sum(inverse * (matrix @ values - values) ** 2) + 2 * np.trace(matrix)
        candidates.append((float(risk), matrix))
    return min(candidates, key=lambda c: c[0])[1]


def _differences(shape: tuple[int, ...], steps: Sequence[_Step] = ()) -> Array:
    """Returns the quadratic form (b, b) of squared differences between neighbours in a flattened grid of `shape`.

    Differences over a step count a thousandth, which is enough to give bins without candidates a neighbour's value.
    """
    total = np.zeros((int(np.prod(shape)),) * 2)
    for axis, n in enumerate(shape):
        coupling = np.ones(n - 1)
        coupling[[s.after for s in steps if s.axis == axis]] = 1e-3
        rows = np.diff(np.eye(n), axis=0)
        total += np.kron(
            np.kron(np.eye(int(np.prod(shape[:axis]))), rows.T @ (coupling[:, None] * rows)),
            np.eye(int(np.prod(shape[axis + 1 :]))),
        )
    return total


def _flatness(point: WorkingPoint, binned: Map, score: Score, margin: ScoredSample, least: float) -> Flatness:
    """Returns the signal's efficiency on test in the bins of the fit, by the signal's score (n,) and by the margin."""
    passing = passes(score, point.threshold), passes(margin.score, 0.0)
    decisions = [(point.name, np.packbits(each)) for each in passing]
    signal = margin.sample.classes[margin.sample.signal]
    before, after = (m for m in maps_in(binned, decisions, margin.sample, least) if m.particle == signal)
    used = np.isfinite(before.value) & ~before.thin
    chi2, excess = zip(*(_unevenness(m, used) for m in (before, after)), strict=True)
    ndf = max(int(used.sum()) - 1, 0)
    return Flatness(point.name, before, after, chi2[0], chi2[1], ndf, excess[0], excess[1])


def _unevenness(one: EfficiencyMap, used: BoolArray) -> tuple[float, float]:
    """Returns Cochran's Q of the bins, and the standard deviation of the efficiency beyond statistical fluctuations.

    DerSimonian and Laird, Control. Clin. Trials 7 (1986) 177.
    """
    value, error = one.value[used], (one.high - one.low)[used] / 2
    if len(value) < 2:
        return 0.0, 0.0
    weight = 1 / error**2
    q = float(np.sum(weight * (value - np.sum(weight * value) / weight.sum()) ** 2))
    excess = (q - (len(value) - 1)) / (weight.sum() - np.sum(weight**2) / weight.sum())
    return q, float(np.sqrt(max(excess, 0.0)))
