"""Working points: the threshold for a target signal efficiency on one sample, and its rates on another.

The threshold sample is the one whose signal sets the thresholds: validation, or train where there is no validation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.config.names import HAND, point_name
from pidlab.errors import DataError, UsageError, nearest
from pidlab.evaluate.intervals import blocks, effective_number, inverse, mixture, proportion, share
from pidlab.evaluate.ranking import (
    Score,
    ScoredSample,
    cumulative_by_score,
    groups_of,
    just_below,
    scores_every_class,
    signal_score,
)
from pidlab.evaluate.results import WorkingPoint
from pidlab.measured import UNDEFINED, Array
from pidlab.sample import BoolArray, FloatArray, Sample

HAND_THRESHOLD = 0.5
MOST_MISSED = 0.2
"""A point is not set if its true efficiency is expected to miss the target by more: eff90 might be eff70 as well."""


class ChosenPoint(NamedTuple):
    """A working point with its target signal efficiency and its threshold, before it is measured."""

    name: str
    target: float
    threshold: float


def at_threshold(name: str, threshold: float, sample: ScoredSample) -> ChosenPoint:
    """Returns a working point at a threshold that is given; its target is the efficiency that it has on `sample`."""
    return ChosenPoint(name, signal_efficiency(sample.score, sample.sample, threshold), threshold)


def passes(score: Score, threshold: float) -> BoolArray:
    """Returns the decision (n,) score > threshold, both as float32; a candidate without a score does not pass."""
    return score > np.float32(threshold)


def rising(sums: Array, total: float) -> Array:
    """Returns the cumulated weights `sums` (m,), from tight to loose, as a curve that rises from 0 to `total`.

    A true efficiency lies between 0 and 1 and rises as a cut loosens, but sums of weights of both signs fluctuate. The
    first crossing of a target is biased towards tight cuts, since it is the first upward fluctuation, and the last one
    towards loose cuts. The mean of the largest sum so far and the smallest sum to come treats both directions alike.
    Without negative weights the sums are unchanged.
    """
    kept = np.clip(sums, 0.0, total)
    return np.asarray((np.maximum.accumulate(kept) + np.minimum.accumulate(kept[::-1])[::-1]) / 2)


class Crossing(NamedTuple):
    """The point of the ROC curve with a target efficiency, on the edge between two decisions.

    Attributes:
        tight, loose: the thresholds at both ends of the edge, equal if it has no length.
        share: the position of the target along the edge, from 0 at `tight` to 1 at `loose`.
    """

    tight: float
    loose: float
    share: float


class SignalSteps(NamedTuple):
    """The signal's efficiency at every threshold, from which those of any target are found.

    Attributes:
        values: (m,) the distinct scores, from the highest on.
        sums: (m,) the weights at or above each, by `rising`.
        total: the weight of all signal.
        n: the number of signal candidates.
    """

    values: FloatArray
    sums: Array
    total: float
    n: int

    @classmethod
    def of(cls, score: Score, weight: FloatArray) -> SignalSteps:
        """Returns the steps of signal with scores and weights (n,)."""
        total = float(weight.sum())
        steps = cumulative_by_score(score, weight)
        return cls(steps.values, rising(steps.sums[0], total) if total > 0 else steps.sums[0], total, len(score))

    def threshold_at(self, target: float) -> float:
        """Returns the highest threshold at which the signal has an efficiency of `target`.

        It lies halfway, as float32, between the score of the last signal candidate that has to pass and the next lower
        one. So the efficiency is at least the target for tied or discrete scores, and no candidate of the threshold
        sample changes sides if another machine or language gives its score another last digit. Where weights of both
        signs let the efficiency rise and fall, `rising` defines where it crosses the target. Candidates without a score
        count in the total; if the target is out of reach because of them, the threshold passes all others.

        Raises:
            DataError: There is no signal, or the sum of its weights is not positive.
        """
        if not self.total > 0:
            raise DataError(
                f"no threshold can be set: the weights of the {self.n} signal candidates that decide it sum to "
                f"{self.total:g}; give that sample more signal (split, selection), or look at the weight expression"
            )
        if not len(self.values):
            return float(np.finfo(np.float32).max)
        last = int(np.searchsorted(self.sums, target * self.total * (1 - 1e-12)))
        last = min(last, len(self.values) - 1)
        return halfway_below(self.values[last : last + 2])

    def crossing(self, target: float, threshold: float | None = None) -> Crossing:
        """Returns the edge of the ROC curve on which the signal has the efficiency `target`.

        The efficiency of a discrete score jumps at each step. If the candidates of a step pass with some probability,
        every efficiency between its ends is reached: the ROC curve is a straight line there (T. Fawcett, Pattern
        Recognition Letters 27 (2006) 861, section 7). The step is the one at `threshold`, by default at that of
        `threshold_at`. If `target` lies beyond the step, the nearer end is taken.

        Raises:
            DataError: As `threshold_at`.
        """
        loose = self.threshold_at(target) if threshold is None else threshold
        passed = len(self.values) - int(np.searchsorted(self.values[::-1], np.float32(loose), side="right"))
        if not passed or not self.total > 0:
            return Crossing(loose, loose, 1.0)
        above, below = float(self.sums[passed - 2]) if passed > 1 else 0.0, float(self.sums[passed - 1])
        tight = halfway_below(self.values[passed - 2 : passed]) if passed > 1 else float(np.finfo(np.float32).max)
        share = (target * self.total - above) / (below - above) if below > above else 1.0
        return Crossing(tight, loose, 1.0 if share > 1 - 1e-9 else max(share, 0.0))


def halfway_below(scores: NDArray[np.floating[Any]]) -> float:
    """Returns the float32 halfway between two falling scores, or just below the first if that rounds to the first."""
    first = float(scores[0])
    halfway = float(np.float32((first + float(scores[-1])) / 2))
    return halfway if float(scores[-1]) <= halfway < first else just_below(first)


def signal_efficiency(score: Score, sample: Sample, threshold: float) -> float:
    """Returns the weighted fraction of the signal of `sample` that passes; NaN without signal."""
    total = passed = 0.0
    for rows in blocks(len(score)):
        weight = np.where(sample.y[rows] == sample.signal, sample.weight[rows], 0.0)
        total += float(weight.sum())
        passed += float(weight[passes(score[rows], threshold)].sum())
    return passed / total if total else float("nan")


def choose(score: Score, sample: Sample, targets: list[float], *, fixed_cut: bool) -> list[ChosenPoint]:
    """Returns the working points for the targets, from the signal's score (n,) on the threshold sample.

    A fixed cut has one point, "hand", whose target is its own efficiency. Points that `not_set` names are left out.
    """
    if fixed_cut:
        return [ChosenPoint(HAND, signal_efficiency(score, sample, HAND_THRESHOLD), HAND_THRESHOLD)]
    rows = sample.is_signal
    steps = SignalSteps.of(score[rows], sample.weight[rows])
    found = [ChosenPoint(point_name(target), target, steps.threshold_at(target)) for target in targets]
    refused = not_set(score, sample, targets)
    return [point for point in found if point.name not in refused]


def order_statistic_variance(k: float, n: float) -> float:
    """Returns the variance k (n + 1 - k) / ((n + 1)² (n + 2)) of the true efficiency of a cut at the k-th of n scores.

    H. A. David and H. N. Nagaraja, Order Statistics, 2003, section 2.1.
    """
    return k * (n + 1 - k) / ((n + 1) ** 2 * (n + 2))


def expected_miss(n: float, target: float) -> float:
    """Returns the root mean square distance of a threshold's true efficiency to `target` for n signal candidates.

    The threshold is the k-th of n scores, with the smallest k for which k/n >= target. Its true efficiency has the mean
    k/(n + 1) and the variance of `order_statistic_variance`.
    """
    k = min(float(np.ceil(target * n - 1e-9)), n)
    return float(np.hypot(k / (n + 1) - target, np.sqrt(order_statistic_variance(k, n))))


def not_set(score: Score, sample: Sample, targets: Sequence[float]) -> dict[str, str]:
    """Returns the points for which the threshold sample cannot set a threshold: name to the reason in a sentence.

    The reason is that there are too few signal candidates, or that the target lies among candidates that share the
    lowest score of all, so that a threshold passes either too few or everything.
    """
    rows = sample.is_signal
    part, weight = score[rows], sample.weight[rows]
    if not weight.sum() > 0:
        return {}
    n, known = effective_number(weight), score[score > -np.inf]
    lowest = known.min() if len(known) else np.float32(0)
    steps = SignalSteps.of(part, weight)
    tied = part == lowest
    above = float(np.clip(weight[part > lowest].sum() / weight.sum(), 0.0, 1.0))
    reasons = {}
    for target in targets:
        name, miss = point_name(target), expected_miss(n, target)
        if miss > MOST_MISSED:
            reasons[name] = (
                f"{name} is not set: too few signal candidates decide it (effectively {n:.3g}), its true efficiency "
                f"would lie {100 * miss:.0f} % away from {100 * target:g} %; give that sample more signal."
            )
        elif int(tied.sum()) > 1 and bool(lowest > np.float32(steps.threshold_at(target))):
            reasons[name] = (
                f"{name} is not set: {int(tied.sum())} signal candidates have the same score {lowest:g}, the lowest of "
                f"all, so that a threshold passes {100 * above:.3g} % of the signal or everything."
            )
    return reasons


def unset_sentences(unset: Mapping[str, str]) -> list[str]:
    """Returns the sentences of `not_set`, one for all points that have the same reason."""
    names_of: dict[str, list[str]] = {}
    for name, sentence in unset.items():
        names_of.setdefault(sentence.removeprefix(f"{name} is not set: "), []).append(name)
    return [
        f"{' and '.join([', '.join(names[:-1]), names[-1]][len(names) == 1 :])} {'is' if len(names) == 1 else 'are'} "
        f"not set: {why}"
        for why, names in names_of.items()
    ]


def tolerance(target: float) -> float:
    """Returns how far an efficiency may be from its target before a warning is given: 0.03, or the inefficiency."""
    return min(0.03, 1 - target)


def warnings_about(
    points: Sequence[WorkingPoint], threshold_sample: ScoredSample, test: Sample, decided_on: str
) -> list[str]:
    """Returns warnings for points whose efficiency is not what their name says, in sentences.

    The reasons are steps of a discrete score, and few signal candidates. `decided_on` is the threshold sample's name.
    """
    sample = threshold_sample.sample
    part, weight = threshold_sample.score[sample.is_signal], sample.weight[sample.is_signal]
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
                f"have the same score {passing.min():.4g}; comparisons with other models are made at "
                f"{100 * point.target:g} %."
            )
        measured = np.sqrt(point.target * (1 - point.target) / n_test) if n_test > 0 else np.inf
        miss = float(np.hypot(expected_miss(n, point.target), measured))
        if miss > tolerance(point.target):
            few[point.name] = f"{100 * miss:.2g} %"
    if few:
        notes.append(
            f"{', '.join(few)} rest{'s' * (len(few) == 1)} on few signal candidates (effectively {n:.3g} in "
            f"{decided_on} decide, {n_test:.3g} in test measure): an efficiency that differs by "
            f"{', '.join(few.values())} from the name is no surprise."
        )
    return notes


def measure(point: ChosenPoint, scored: ScoredSample, abundance: Mapping[str, float] | None) -> WorkingPoint:
    """Returns the point as measured on a sample; the bounds cover the fluctuation of that sample only.

    Purity is for classes in the ratio of `abundance`, by default in that of the sample.
    """
    sample = scored.sample
    passing = passes(scored.score, point.threshold)
    misid = scored.class_rates(passing)
    signal = misid.pop(sample.classes[sample.signal])
    if not abundance:
        purity = proportion(sample.is_signal[passing], sample.weight[passing], groups_of(scored.groups, passing))
    elif any(np.isnan(rate.value) for rate in (signal, *misid.values())):
        purity = UNDEFINED
    else:
        background = mixture([(abundance[c], rate) for c, rate in misid.items()])
        purity = share(mixture([(abundance[sample.classes[sample.signal]], signal)]), background).measured()
    return WorkingPoint(*point, signal, misid, {c: inverse(m) for c, m in misid.items()}, purity)


def class_points(
    threshold_sample: tuple[FloatArray, Sample],
    test: tuple[FloatArray, ScoredSample],
    targets: list[float],
    abundance: Mapping[str, float] | None,
) -> dict[str, tuple[WorkingPoint, ...]]:
    """Returns the working points of each class: thresholds on its own score from one sample, measured on the other.

    Each sample comes with its scores (n, k). There are none for two classes, and for a model that does not score every
    class. A class whose weights in the threshold sample have no positive sum is left out.
    """
    scores, sample = threshold_sample
    points: dict[str, tuple[WorkingPoint, ...]] = {}
    if not scores_every_class(scores, sample):
        return points
    for c, name in enumerate(sample.classes):
        own = replace(sample, signal=c)
        if own.weight[own.is_signal].sum() > 0:
            quoted = replace(test[1].sample, signal=c)
            scored = ScoredSample(signal_score(test[0], quoted), quoted, test[1].groups)
            chosen = choose(signal_score(scores, own), own, targets, fixed_cut=False)
            points[name] = tuple(measure(p, scored, abundance) for p in chosen)
    return points


def check_abundance(abundance: Mapping[str, float] | None, classes: tuple[str, ...]) -> None:
    """Checks that the abundances, if there are any, name each class once.

    Raises:
        UsageError: A class is missing or unknown.
    """
    for name in abundance or {}:
        if name not in classes:
            raise UsageError(f"evaluate.abundance: {name!r} is no class; {nearest(name, classes)}")
    missing = [c for c in classes if abundance is not None and c not in abundance]
    if missing:
        raise UsageError(f"evaluate.abundance: give a number for {', '.join(missing)} too, or leave abundance out")
