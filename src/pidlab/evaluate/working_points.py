"""Working points: a threshold from one sample for a target signal efficiency, and what it does on another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import DataError, UsageError, nearest
from pidlab.evaluate.intervals import inverse, mixture, proportion, share
from pidlab.evaluate.ranking import Score, falling, groups_of, just_below
from pidlab.evaluate.results import UNDEFINED, Array, Measured, WorkingPoint
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample

HAND = "hand"
HAND_THRESHOLD = 0.5


def point_name(target: float) -> str:
    """eff90 for 0.9, eff99_5 for 0.995."""
    return "eff" + f"{100 * target:.10g}".replace(".", "_")


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
    steps = falling(score, weight)
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
    steps = falling(score, weight)
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


def choose(score: Score, sample: Sample, targets: list[float], *, single_point: bool) -> list[tuple[str, float, float]]:
    """(name, target, threshold) of each working point, from the signal's score (n,) on the sample that decides.

    Somebody's cuts have one point, "hand", whose target is their own efficiency.
    """
    if single_point:
        return [(HAND, signal_efficiency(score, sample, HAND_THRESHOLD), HAND_THRESHOLD)]
    rows = sample.is_signal
    part, weight = score[rows], sample.weight[rows]
    return [(point_name(target), target, threshold_at(part, weight, target)) for target in targets]


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
