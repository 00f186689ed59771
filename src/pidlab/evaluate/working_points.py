"""Working points: a threshold from one sample for a target signal efficiency, and what it does on another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.config.names import HAND, point_name
from pidlab.errors import DataError, UsageError, nearest
from pidlab.evaluate.intervals import inverse, mixture, proportion, share
from pidlab.evaluate.ranking import Score, falling, groups_of, just_below
from pidlab.evaluate.results import UNDEFINED, Measured, WorkingPoint
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample

HAND_THRESHOLD = 0.5


def passes(score: Score, threshold: float) -> BoolArray:
    """(n,) the decision: score > threshold, strictly, both float32; false without a score."""
    return score > np.float32(threshold)


def threshold_at(score: Score, weight: FloatArray, target: float) -> float:
    """The threshold at which the signal (score and weight (n,)) still has an efficiency of `target`.

    It lies halfway, as float32, between the score of the last signal candidate that has to pass and the next lower
    one: with ties or discrete scores the efficiency is at least the target, and no candidate that decided it changes
    sides where another machine or language gives its score another last digit. Weights of both signs let the
    efficiency rise and fall: the first crossing counts. Candidates without a score count in the total; where they
    keep the target out of reach the threshold lets all others pass.

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
    reached = np.flatnonzero(steps.sums[0] >= target * total * (1 - 1e-12))
    last = int(reached[0]) if len(reached) else len(steps.values) - 1
    return _below(steps.values[last : last + 2])


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
