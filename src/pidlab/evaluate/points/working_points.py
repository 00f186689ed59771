"""Working points: a threshold from one sample for a target signal efficiency, and what it does on another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.config.names import HAND, point_name
from pidlab.errors import DataError, UsageError, nearest
from pidlab.evaluate.intervals import effective_number, inverse, mixture, proportion, share
from pidlab.evaluate.ranking import Score, cumulative_by_score, groups_of, just_below
from pidlab.evaluate.results import WorkingPoint
from pidlab.measured import UNDEFINED, Array, Measured
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample

HAND_THRESHOLD = 0.5
MOST_MISSED = 0.2
"""A point is not set whose true efficiency is expected to miss its target by more: eff90 could be eff70 as well."""


def passes(score: Score, threshold: float) -> BoolArray:
    """(n,) the decision: score > threshold, strictly, both float32; false without a score."""
    return score > np.float32(threshold)


def threshold_at(score: Score, weight: FloatArray, target: float) -> float:
    """The threshold at which the signal (score and weight (n,)) still has an efficiency of `target`.

    It lies halfway, as float32, between the score of the last signal candidate that has to pass and the next lower
    one: with ties or discrete scores the efficiency is at least the target, and no candidate that decided it changes
    sides where another machine or language gives its score another last digit. Where weights of both signs let the
    efficiency rise and fall, `rising` says where it crosses the target. Candidates without a score count in the total;
    where they keep the target out of reach the threshold lets all others pass.

    Raises:
        DataError: there is no signal, or its weights do not sum to more than zero.
    """
    total = float(weight.sum())
    if not total > 0:
        raise DataError(
            f"no threshold can be set: the weights of the {len(weight)} signal candidates that decide it sum to "
            f"{total:g}; give that sample more signal (split, selection), or look at the weight expression"
        )
    steps = cumulative_by_score(score, weight)
    if not len(steps.values):
        return float(np.finfo(np.float32).max)
    reached = np.flatnonzero(rising(steps.sums[0], total) >= target * total * (1 - 1e-12))
    last = int(reached[0]) if len(reached) else len(steps.values) - 1
    return _below(steps.values[last : last + 2])


def rising(sums: Array, total: float) -> Array:
    """(m,) cumulated weights `sums`, from tight to loose, as a curve that never falls and stays within 0 and `total`.

    Efficiencies lie between 0 and 1 and rise as a cut loosens; sums of weights of both signs fluctuate about that.
    Where they first cross a target lies too low, since the search stops at the first upward fluctuation, and where
    they cross it last lies too high. The mean of the largest sum so far and of the smallest one to come treats both
    directions alike. Without negative weights the sums stay as they are.
    """
    kept = np.clip(sums, 0.0, total)
    return np.asarray((np.maximum.accumulate(kept) + np.minimum.accumulate(kept[::-1])[::-1]) / 2)


class Crossing(NamedTuple):
    """Where the ROC curve has a target efficiency: on the edge between two decisions.

    Attributes:
        tight, loose: the thresholds at both ends of the edge, the same where it has no length.
        share: how far along the edge, towards `loose`, the target lies; 1 where it is the loose end itself.
    """

    tight: float
    loose: float
    share: float

    def chance(self, score: Score) -> Array:
        """(n,) the probability of each candidate to pass a decision that has exactly the target efficiency."""
        loose = passes(score, self.loose).astype(np.float64)
        if self.share == 1:
            return loose
        return np.asarray((1 - self.share) * passes(score, self.tight) + self.share * loose)


def crossing(score: Score, weight: FloatArray, target: float, threshold: float | None = None) -> Crossing:
    """The edge of the ROC curve on which the signal (score and weight (n,)) has the efficiency `target`.

    A discrete score jumps from one efficiency to the next. Passing the candidates of the step in question with a
    probability gives every efficiency between them: the ROC curve is a straight line there (T. Fawcett, Pattern
    Recognition Letters 27 (2006) 861, section 7). `threshold` names the step; left out, it is the one that
    `threshold_at` finds. Where `target` lies beyond the step, the nearer end is taken.

    Raises:
        DataError: as `threshold_at`.
    """
    loose = threshold_at(score, weight, target) if threshold is None else threshold
    total = float(weight.sum())
    steps = cumulative_by_score(score, weight)
    passed = int(np.searchsorted(-steps.values, -np.float32(loose), side="left"))
    if not passed or not total > 0:
        return Crossing(loose, loose, 1.0)
    sums = rising(steps.sums[0], total)
    above, below = float(sums[passed - 2]) if passed > 1 else 0.0, float(sums[passed - 1])
    tight = _below(steps.values[passed - 2 : passed]) if passed > 1 else float(np.finfo(np.float32).max)
    share = (target * total - above) / (below - above) if below > above else 1.0
    return Crossing(tight, loose, 1.0 if share > 1 - 1e-9 else max(share, 0.0))


def _below(scores: NDArray[np.floating[Any]]) -> float:
    """The float32 halfway between two falling scores, which the first exceeds; next below where there is one only."""
    first = float(scores[0])
    halfway = float(np.float32((first + float(scores[-1])) / 2))
    return halfway if float(scores[-1]) <= halfway < first else just_below(first)


def signal_efficiency(score: Score, sample: Sample, threshold: float) -> float:
    """The weighted fraction of the signal of `sample` that passes; NaN without signal."""
    weight = np.where(sample.is_signal, sample.weight, 0.0)
    total = float(weight.sum())
    return float(weight[passes(score, threshold)].sum()) / total if total else float("nan")


def choose(score: Score, sample: Sample, targets: list[float], *, fixed_cut: bool) -> list[tuple[str, float, float]]:
    """(name, target, threshold) of each working point, from the signal's score (n,) on the sample that decides.

    Somebody's cuts have one point, "hand", whose target is their own efficiency. Points that `not_set` names are left
    out.
    """
    if fixed_cut:
        return [(HAND, signal_efficiency(score, sample, HAND_THRESHOLD), HAND_THRESHOLD)]
    rows = sample.is_signal
    part, weight = score[rows], sample.weight[rows]
    found = [(point_name(target), target, threshold_at(part, weight, target)) for target in targets]
    refused = not_set(score, sample, targets)
    return [point for point in found if point[0] not in refused]


def expected_miss(n: float, target: float) -> float:
    """The root mean square distance of a threshold's true efficiency to `target`, with n signal candidates to set it.

    That of the k-th of n scores, k the smallest with k/n >= target: its efficiency has the mean k/(n + 1) and the
    variance k (n + 1 - k) / ((n + 1)² (n + 2)) (David and Nagaraja, Order Statistics, 2003, section 2.1).
    """
    k = min(float(np.ceil(target * n - 1e-9)), n)
    variance = k * (n + 1 - k) / ((n + 1) ** 2 * (n + 2))
    return float(np.hypot(k / (n + 1) - target, np.sqrt(variance)))


def not_set(score: Score, sample: Sample, targets: Sequence[float]) -> dict[str, str]:
    """The names of the points for which `sample` can set no threshold, each with the reason in a sentence.

    That is so where too few signal candidates decide, and where the target lies among candidates that share the lowest
    score of all: a threshold passes too few or everything.
    """
    rows = sample.is_signal
    part, weight = score[rows], sample.weight[rows]
    if not weight.sum() > 0:
        return {}
    n, known = effective_number(weight), score[score > -np.inf]
    lowest = known.min() if len(known) else np.float32(0)
    tied = part == lowest
    above = float(np.clip(weight[part > lowest].sum() / weight.sum(), 0.0, 1.0))
    reasons = {}
    for target in targets:
        name, miss = point_name(target), expected_miss(n, target)
        if miss > MOST_MISSED:
            reasons[name] = (
                f"{name} is not set: too few signal candidates decide it (effectively {n:.3g}), its true efficiency "
                f"would lie {miss:.2f} away from {target:g}; give that sample more signal."
            )
        elif int(tied.sum()) > 1 and passes(known, threshold_at(part, weight, target)).all():
            reasons[name] = (
                f"{name} is not set: {int(tied.sum())} signal candidates have the same score {lowest:g}, the lowest of "
                f"all, so that a threshold passes {above:.3g} of the signal or everything."
            )
    return reasons


def tolerance(target: float) -> float:
    """The distance of an efficiency to its name from which on a reader is told: 0.03, or all of the inefficiency."""
    return min(0.03, 1 - target)


def warnings_about(
    points: Sequence[WorkingPoint], deciding: tuple[Score, Sample], test: Sample, decided_on: str
) -> list[str]:
    """Sentences on points that are not what their names say: steps of a discrete score, and few signal candidates.

    `deciding` are the signal's scores (m,) and the sample named `decided_on` that set the thresholds.
    """
    score, sample = deciding
    part, weight = score[sample.is_signal], sample.weight[sample.is_signal]
    if not weight.sum() > 0:
        return []
    n, n_test = effective_number(weight), effective_number(test.weight[test.is_signal])
    notes, few = [], {}
    for point in points:
        reached = float(weight[passes(part, point.threshold)].sum() / weight.sum())
        passing = part[passes(part, point.threshold)]
        shared = int((passing == passing.min()).sum()) if len(passing) else 0
        if shared > 1 and reached - point.target > tolerance(point.target) / 2:
            notes.append(
                f"{point.name} passes {100 * reached:.4g} % of the signal of {decided_on}: {shared} candidates there "
                f"have the same score {passing.min():.4g}; comparisons with other models are made at {point.target:g}."
            )
        measured = np.sqrt(point.target * (1 - point.target) / n_test) if n_test > 0 else np.inf
        miss = float(np.hypot(expected_miss(n, point.target), measured))
        if miss > tolerance(point.target):
            few[point.name] = f"{miss:.2g}"
    if few:
        notes.append(
            f"{', '.join(few)} rest on few signal candidates (effectively {n:.3g} in {decided_on} decide, {n_test:.3g} "
            f"in test measure): an efficiency that differs by {', '.join(few.values())} from the name is no surprise."
        )
    return notes


def measure(
    point: tuple[str, float, float],
    score: Score,
    sample: Sample,
    groups: IntArray | None,
    abundance: Mapping[str, float] | None,
) -> WorkingPoint:
    """A chosen point quoted on `sample`: the bounds cover its fluctuation, at the threshold as it is."""
    name, target, threshold = point
    passing = passes(score, threshold)
    rates = {c: _rate(passing, sample, i, groups) for i, c in enumerate(sample.classes)}
    signal = sample.classes[sample.signal]
    misid = {c: rate for c, rate in rates.items() if c != signal}
    purity = _purity(rates, signal, abundance) if abundance else _sample_purity(passing, sample, groups)
    return WorkingPoint(
        name, target, threshold, rates[signal], misid, {c: inverse(m) for c, m in misid.items()}, purity
    )


def _rate(passing: BoolArray, sample: Sample, index: int, groups: IntArray | None) -> Measured:
    rows = sample.y == index
    return proportion(passing[rows], sample.weight[rows], groups_of(groups, rows))


def _sample_purity(passing: BoolArray, sample: Sample, groups: IntArray | None) -> Measured:
    """The signal's share of what passes, for the abundances of the sample."""
    return proportion(sample.is_signal[passing], sample.weight[passing], groups_of(groups, passing))


def _purity(rates: Mapping[str, Measured], signal: str, abundance: Mapping[str, float]) -> Measured:
    """The signal's share of what passes when the classes come in the ratio of `abundance`."""
    if any(np.isnan(rates[c].value) for c in abundance):
        return UNDEFINED
    background = mixture([(abundance[c], rates[c]) for c in rates if c != signal])
    return share(mixture([(abundance[signal], rates[signal])]), background)


def check_abundance(abundance: Mapping[str, float] | None, classes: tuple[str, ...]) -> None:
    """Refuse abundances that do not name each class once.

    Raises:
        UsageError: a class is missing or unknown.
    """
    if abundance is None:
        return
    for name in abundance:
        if name not in classes:
            raise UsageError(f"evaluate.abundance: {name!r} is no class; {nearest(name, classes)}")
    missing = [c for c in classes if c not in abundance]
    if missing:
        raise UsageError(f"evaluate.abundance: give a number for {', '.join(missing)} too, or leave abundance out")
