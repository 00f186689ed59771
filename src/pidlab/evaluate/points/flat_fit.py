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
from pidlab.evaluate.intervals import effective_number, sums_by
from pidlab.evaluate.maps import OUTSIDE, bins_of, map_edges, maps_in
from pidlab.evaluate.points.flat import check_spectators, thresholds_at
from pidlab.evaluate.points.working_points import measure, passes, threshold_at
from pidlab.evaluate.ranking import Score, cumulative_by_score
from pidlab.evaluate.results import EfficiencyMap, Flatness, FlatThreshold, WorkingPoint
from pidlab.measured import Array
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample
from pidlab.split import fold_of

_ROUNDS = 3
_PARTS, _SEED = 5, 20191
_STRENGTHS = np.logspace(-3, 5, 17)
_SIGNIFICANT = 0.01
_STEPS = 4  # along all axes together; each costs another fit
_JUMP = 2.2  # of Kolmogorov's distribution: 1.2e-4 for each interval between nodes
_NARROWEST = 1e-3
"""Of the width of all signal: where a bin's candidates share one score, nothing narrower tells bins apart."""


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
    rows = sample.is_signal & _has_spectators(asked, sample) & (sample.weight != 0)
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
    """Scores as normal deviates of their rank in the signal, and back: alike for every rising function of a score.

    Beyond the outermost scores both go on along a straight line, so that a threshold can lie below the lowest score
    and pass it, even where many candidates share it.
    """

    scores: Array
    deviates: Array

    @classmethod
    def of(cls, score: FloatArray) -> _Scale:
        values, counts = np.unique(score[np.isfinite(score)].astype(np.float64), return_counts=True)
        deviates = special.ndtri((np.cumsum(counts) - counts / 2) / counts.sum())
        # A step that float32 resolves at this size of score, where there is no neighbour to say what is far.
        least = 1e-4 * max(abs(values[0]), abs(values[-1]), float(np.finfo(np.float32).tiny) * 1e8)
        apart = np.diff(values[[0, min(1, len(values) - 1)]])[0], np.diff(values[[max(len(values) - 2, 0), -1]])[0]
        below, above = (max(float(step), least) for step in apart)
        return cls(
            np.concatenate([[values[0] - below], values, [values[-1] + above]]),
            np.concatenate([[deviates[0] - 1], deviates, [deviates[-1] + 1]]),
        )

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

    One threshold for all is left where many candidates share the score that decides (`_shared`), unless the bins'
    efficiencies at it differ by more than chance (`_differ`). Otherwise scores count as normal deviates of their rank
    in the signal. The threshold of a bin is the weighted quantile of its signal, with the standard deviation of a
    quantile (`_deviation`). Whittaker's smoother ties neighbouring bins together, and Mallows' criterion says how
    strongly (`_smoother`); bins with fewer than `least` effective events take their neighbours' thresholds. Thresholds
    are interpolated between nodes, and smoothing takes some of the structure: a few rounds add, smoothed anew, what the
    efficiency of each bin still lacks. Where the response jumps, so do the thresholds (`_even_out`).

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
    if not len(rows) or not np.isfinite(signal.score).any():
        return constant
    if _shared(constant, signal, target) and not _differ(constant, signal, edges, least):
        return constant
    scale = _Scale.of(signal.score)
    flat, steps = _even_out(constant, signal, edges, scale, target, least)
    apart = np.empty(len(rows))
    part = fold_of(sample.event[rows], _PARTS, _SEED)
    for i in range(_PARTS):
        inside, outside = signal.take(part == i), signal.take(part != i)
        own = flat
        if outside.weight.sum() > 0:
            own, _ = _even_out(_constant(outside, edges, target), outside, edges, scale, target, least, steps)
        apart[part == i] = _apart(scale.deviate(inside.score), own, inside, scale)
    shift = _shift(apart, signal.weight, target)
    return replace(flat, values=scale.score(scale.deviate(flat.values) + shift))


def _constant(signal: _Signal, edges: tuple[Array, ...], target: float) -> FlatThreshold:
    """One node, at one threshold for all."""
    shape = (1,) * len(edges)
    start = threshold_at(signal.score, signal.weight, target)
    return FlatThreshold(tuple(signal.spectators), (np.zeros(1),) * len(edges), np.full(shape, start))


def _shared(constant: FlatThreshold, signal: _Signal, target: float) -> bool:
    """Whether the candidates that share the score at which the target is reached weigh more than its fluctuation.

    Thresholds that lean this way and that within such a plateau decide over more candidates than they were asked to.
    """
    w = signal.weight
    passing = passes(signal.score, float(constant.values.flat[0]))
    if not passing.any():
        return False
    plateau = float(w[signal.score == signal.score[passing].min()].sum()) / float(w.sum())
    return bool(plateau > np.sqrt(target * (1 - target) / effective_number(w)))


def _differ(constant: FlatThreshold, signal: _Signal, edges: tuple[Array, ...], least: float) -> bool:
    """Whether the efficiencies of the bins at one threshold differ: Pearson's χ² of homogeneity at 1 %.

    The variance of a bin is that of the common efficiency or that of its own weights, whichever is larger.
    """
    w = signal.weight
    passing = passes(signal.score, float(constant.values.flat[0]))
    cells = _cells(list(signal.spectators.values()), edges, w)
    size = int(np.prod(cells.shape))
    held = cells.cell != OUTSIDE
    cell, w, passing = cells.cell[held], w[held], passing[held]
    total, total2 = sums_by(cell, w, size), sums_by(cell, w * w, size)
    used = (total > 0) & (total**2 >= least * total2)
    if used.sum() < 2:
        return False
    passed = sums_by(cell, np.where(passing, w, 0.0), size)
    common = passed[used].sum() / total[used].sum()
    own = sums_by(cell, (w * (passing - common)) ** 2, size)
    variance = np.maximum(common * (1 - common) * total2, own)[used]
    excess = (passed - common * total)[used]
    # Where all or none pass nothing differs.
    chi2 = np.sum(np.divide(excess**2, variance, out=np.zeros_like(excess), where=variance > 0))
    return bool(special.chdtrc(used.sum() - 1, chi2) < _SIGNIFICANT)


class _Step(NamedTuple):
    """A jump of the thresholds along one axis, between the nodes `after` and `after` + 1, from `low` to `high` in the
    axis' unit; `size` is how far the sums of candidates stray on the way there (`_largest_step`)."""

    axis: int
    after: int
    low: float
    high: float
    size: float


class _Bins(NamedTuple):
    """The signal that decides in its bins, for one target.

    Attributes:
        ranked: (n,) scores as normal deviates of their rank.
        rows_of: for each bin the rows of its candidates; `filled` are the bins with enough of them.
    """

    signal: _Signal
    scale: _Scale
    ranked: Array
    cells: _Cells
    rows_of: list[IntArray]
    filled: IntArray
    target: float


def _even_out(
    start: FlatThreshold,
    signal: _Signal,
    edges: tuple[Array, ...],
    scale: _Scale,
    target: float,
    least: float,
    known: Sequence[_Step] | None = None,
) -> tuple[FlatThreshold, list[_Step]]:
    """Thresholds with nodes in the bins, from a constant one, and where they jump; constant where no bin has enough.

    Where the response jumps, straight lines between the nodes are wrong on either side of it. The largest significant
    jump is put in as two nodes close together, over which bins do not lean on each other, as long as the largest that
    is left shrinks. With `known` ones none is looked for.
    """
    w = signal.weight
    cells = _cells(list(signal.spectators.values()), edges, w)
    rows_of = _rows_by_cell(cells.cell, int(np.prod(cells.shape)))
    usable = np.array([w[r].sum() > 0 and effective_number(w[r]) >= least for r in rows_of], np.bool_)
    if not usable.any():
        return start, []
    bins = _Bins(signal, scale, scale.deviate(signal.score), cells, rows_of, np.flatnonzero(usable), target)
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
    """Thresholds that give each bin its efficiency; each round adds, smoothed anew, what is still lacking."""
    w, scale, shape = bins.signal.weight, bins.scale, bins.cells.shape
    steps = [s for s in steps if s.after + 1 < shape[s.axis] and _fits(s, bins.cells.nodes[s.axis])]
    penalty = _differences(shape, steps)
    level = np.full(int(np.prod(shape)), float(scale.deviate(start.values.ravel()[:1])[0]))
    flat = _laid_out(start.names, bins.cells.nodes, scale.score(level).reshape(shape), steps)
    for _ in range(_ROUNDS):
        apart = _apart(bins.ranked, flat, bins.signal, scale)
        lacking, errors = np.zeros(len(level)), np.full(len(level), np.inf)
        parts = [(apart[bins.rows_of[i]], w[bins.rows_of[i]], bins.target) for i in bins.filled]
        lacking[bins.filled] = [_quantile(*part) for part in parts]
        errors[bins.filled] = [_deviation(*part) for part in parts]
        level = level + _smoother(lacking, errors, penalty) @ lacking
        flat = _laid_out(start.names, bins.cells.nodes, scale.score(level).reshape(shape), steps)
    return flat


def _apart(ranked: Array, flat: FlatThreshold, signal: _Signal, scale: _Scale) -> Array:
    """(n,) how many normal deviates a candidate's score lies above its threshold.

    Equal scores above equal thresholds are equally far: interpolation and sums of weights round by about 1e-15.
    """
    return np.round(ranked - scale.deviate(thresholds_at(flat, signal.spectators)), 9)


def _fits(step: _Step, nodes: Array) -> bool:
    return bool(nodes[step.after] < step.low < step.high < nodes[step.after + 1])


def _laid_out(names: tuple[str, ...], nodes: tuple[Array, ...], values: Array, steps: Sequence[_Step]) -> FlatThreshold:
    """The thresholds `values` at the bins' nodes, with two nodes more for each step."""
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
    """Where between two nodes too many candidates pass on one side and too few on the other, beyond chance.

    The sum of (passes - its mean) over candidates in the order of the spectator is a Brownian bridge where the
    thresholds are right (Page, Biometrika 41 (1954) 100; the largest size is then distributed as Kolmogorov's).
    Intervals that already hold a step are left out.
    """
    signal, found = bins.signal, None
    passing = _apart(bins.ranked, flat, signal, bins.scale) > 0
    for axis, name in enumerate(flat.names):
        own, laid = bins.cells.nodes[axis], flat.nodes[axis]
        order = np.argsort(signal.spectators[name], kind="stable")
        x, w, p = signal.spectators[name][order], signal.weight[order], passing[order]
        bounds = np.searchsorted(x, own)
        for after, (i, j) in enumerate(itertools.pairwise(bounds)):
            if np.any((laid > own[after]) & (laid < own[after + 1])) or j - i < 2 or not w[i:j].sum() > 0:
                continue
            share = float(np.sum(w[i:j] * p[i:j]) / w[i:j].sum())
            strayed = np.cumsum(w[i:j] * (p[i:j] - share))
            least = bins.target * (1 - bins.target) * np.sum(w[i:j] ** 2)
            sizes = np.abs(strayed[:-1]) / np.sqrt(max(np.sum((w[i:j] * (p[i:j] - share)) ** 2), least))
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


def _quantile(score: FloatArray, weight: FloatArray, target: float) -> float:
    """The score above which the share `target` of a further sample is expected: linear between candidates at the sums
    of weights that stand for target (n + 1) of n events (Hyndman and Fan, Am. Stat. 50 (1996) 361, definition 6).

    Weights of both signs let the sum rise and fall: what it had reached counts. Few candidates need this: the
    threshold that passes 45 of 50 passes 45 of 51 on average.
    """
    steps = cumulative_by_score(score, weight)
    return float(np.interp(_wanted(weight, target), np.maximum.accumulate(steps.sums[0]), steps.values))


def _wanted(weight: FloatArray, target: float) -> float:
    return target * float(weight.sum()) * (1 + 1 / effective_number(weight))


def _shift(apart: FloatArray, weight: FloatArray, target: float) -> float:
    """As `_quantile`, but where several candidates share the distance at which the target is reached, all of them pass.

    The shift then lies halfway to the next lower distance, as `threshold_at` has it.
    """
    steps = cumulative_by_score(apart, weight, np.ones_like(weight))
    if not len(steps.values):
        return 0.0
    reached = np.maximum.accumulate(steps.sums[0])
    wanted = _wanted(weight, target)
    last = min(int(np.searchsorted(reached, wanted * (1 - 1e-12))), len(reached) - 1)
    sharing = steps.sums[1][last] - (steps.sums[1][last - 1] if last else 0.0)
    if sharing < 2:
        return float(np.interp(wanted, reached, steps.values))
    lower = steps.values[last + 1] if last + 1 < len(reached) else steps.values[last] - 1
    return float(steps.values[last] + lower) / 2


def _deviation(score: FloatArray, weight: FloatArray, target: float) -> float:
    """The standard deviation of the quantile of a bin: sqrt(ε (1 - ε) / n_eff) / density.

    Stuart and Ord, Kendall's Advanced Theory of Statistics, 6th edition, 10.10. The density is that of normal deviates
    times how much faster or slower than theirs the quantiles of this bin run around the target, over half a deviate on
    either side, or over one standard deviation where that is more (Woodruff, J. Am. Stat. Assoc. 47 (1952) 635). The
    window stays within what n_eff events can tell, so that it moves up where the target is nearly the lowest score.
    """
    n, centre = effective_number(weight), float(special.ndtri(target))
    deviation = np.sqrt(target * (1 - target) / n) / (np.exp(-(centre**2) / 2) / np.sqrt(2 * np.pi))
    half, end = max(0.5, deviation), float(special.ndtri(n / (n + 1)))
    high = min(centre + half, end)
    low = max(high - 2 * half, -end)
    high = min(low + 2 * half, end)
    upper, lower = (_quantile(score, weight, float(special.ndtr(z))) for z in (low, high))
    return float(deviation * max((upper - lower) / (high - low), _NARROWEST))


def _smoother(values: Array, errors: Array, penalty: Array) -> Array:
    """(b, b) the linear smoother of b values to the z of least sum of ((z - value) / error)² + λ (z - neighbour)².

    Whittaker, Proc. Edinburgh Math. Soc. 41 (1923) 63; as a penalty on first differences Eilers, Anal. Chem. 75 (2003)
    3631. The strength λ has the least estimated squared error of prediction, residuals² / errors² + 2 trace (Mallows,
    Technometrics 15 (1973) 661): without structure it grows until one threshold is left for all, and where structure
    is significant it vanishes. Values with infinite errors come from their neighbours alone. The squared differences
    of neighbours are the quadratic form `penalty` (b, b).
    """
    inverse = 1 / errors**2
    candidates = []
    for strength in _STRENGTHS * np.median(inverse[inverse > 0]):
        matrix = np.linalg.solve(np.diag(inverse) + strength * penalty, np.diag(inverse))
        risk = np.sum(inverse * (matrix @ values - values) ** 2) + 2 * np.trace(matrix)
        candidates.append((float(risk), matrix))
    return min(candidates, key=lambda c: c[0])[1]


def _differences(shape: tuple[int, ...], steps: Sequence[_Step] = ()) -> Array:
    """(b, b) the quadratic form of squared differences between neighbours in a grid of `shape`, flattened.

    Those over a step count a thousand times less: enough for bins without candidates to take a neighbour's value.
    """
    total = np.zeros((int(np.prod(shape)),) * 2)
    for axis, n in enumerate(shape):
        leaning = np.ones(n - 1)
        leaning[[s.after for s in steps if s.axis == axis]] = 1e-3
        rows = np.diff(np.eye(n), axis=0)
        total += np.kron(
            np.kron(np.eye(int(np.prod(shape[:axis]))), rows.T @ (leaning[:, None] * rows)),
            np.eye(int(np.prod(shape[axis + 1 :]))),
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
