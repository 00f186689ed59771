"""Importance: the loss of a model if one feature is shuffled, and the contribution of each feature to its margin."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pidlab.evaluate.calibration import class_balanced
from pidlab.evaluate.intervals import effective_number, symmetric
from pidlab.evaluate.points.working_points import passes
from pidlab.evaluate.ranking import auc_influence, event_groups, signal_score, variance
from pidlab.evaluate.results import FeatureImportance, Importance, ModelResult
from pidlab.evaluate.robustness import reduced
from pidlab.measured import UNDEFINED, Measured
from pidlab.sample import FloatArray, IntArray, Sample

REPEATS = 3


class Rates(NamedTuple):
    """Some numbers of a sample, each with its influences (n,) and effective number of events.

    A number that is not defined is None.
    """

    values: tuple[float | None, ...]
    parts: tuple[FloatArray, ...]
    n: tuple[float, ...]


def measure_importance(
    score: Callable[[Sample], FloatArray],
    sample: Sample,
    result: ModelResult,
    *,
    seed: int,
    contributions: tuple[FloatArray, Sample] | None = None,
) -> Importance:
    """Measures a model with each feature shuffled among the candidates, three times, at fixed thresholds.

    L. Breiman, Machine Learning 45 (2001) 5. If the sample has more than 20,000 candidates, about that many are taken,
    in whole events, the same ones as for robustness. The values of a feature are shuffled among all of them,
    independently of class, weight and event. If two features carry the same information, both seem unimportant. The
    shuffles depend on the seed and the feature's name only, so they are the same for every model.

    Intervals cover the fluctuation of events, both as candidates that are scored and as candidates whose value is used
    for another, and the fluctuation of so few shuffles. A model that does not use a feature loses exactly 0.

    Args:
        score: returns the scores (n, k) of a sample with other features.
        sample: the test sample.
        result: the model's result on it. Rates are at its first working point; without one only the AUC is measured.
        seed: seed of the shuffles and of the choice of events.
        contributions: (m, d) contribution of each feature to the signal's margin, and the m candidates.
    """
    sample = reduced(sample, seed)
    point = next(iter(result.working_points), None)
    threshold = np.nan if point is None else point.threshold
    explained = {} if contributions is None else mean_contributions(*contributions)
    changes = changes_by_shuffling(lambda changed: _rates(score(changed), sample, threshold), sample, seed=seed)
    features = []
    for name, delta in zip(sample.features, changes, strict=True):
        if point is None:
            delta[1:] = [UNDEFINED] * (len(delta) - 1)
        others = [c for i, c in enumerate(sample.classes) if i != sample.signal]
        area = UNDEFINED if result.fixed_cut else delta[0]
        misid = dict(zip(others, delta[2:], strict=True))
        features.append(FeatureImportance(name, area, delta[1], misid, explained.get(name)))
    n_explained = 0 if contributions is None else len(contributions[1])
    return Importance("" if point is None else point.name, len(sample), REPEATS, tuple(features), n_explained)


def changes_by_shuffling(measure: Callable[[Sample], Rates], sample: Sample, *, seed: int) -> Iterator[list[Measured]]:
    """Yields, for each feature, the changes of all numbers of a sample when the feature is shuffled three times.

    Args:
        measure: returns the numbers of the sample with other features.
        sample: the n candidates.
        seed: of the shuffles.
    """
    groups, nominal = event_groups(sample), measure(sample)
    for column, name in enumerate(sample.features):
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        shuffles = [rng.permutation(len(sample)) for _ in range(REPEATS)]
        shuffled = [measure(_with_shuffled(sample, column, order)) for order in shuffles]
        yield [_difference(i, nominal, shuffled, shuffles, sample, groups) for i in range(len(nominal.values))]


def _with_shuffled(sample: Sample, column: int, order: IntArray) -> Sample:
    x = sample.x.copy()
    x[:, column] = x[order, column]
    return sample.with_x(x)


def _rates(scores: FloatArray, sample: Sample, threshold: float) -> Rates:
    """Returns the AUC, the efficiency of the signal, and the misidentification of each other class."""
    signal = signal_score(scores, sample)
    area = auc_influence(signal, sample.is_signal, sample.weight)
    passing = passes(signal, threshold)
    nothing = np.zeros(len(sample))
    values, parts = [None if area is None else area.value], [nothing if area is None else area.parts]
    n = [min(effective_number(sample.weight[rows]) for rows in (sample.is_signal, ~sample.is_signal))]
    for c in [sample.signal, *(c for c in range(len(sample.classes)) if c != sample.signal)]:
        w = np.where(sample.y == c, sample.weight, 0.0)
        total = float(w.sum())
        rate = float(w[passing].sum()) / total if total else None
        values.append(rate)
        n.append(effective_number(w))
        parts.append(nothing if rate is None else w * (passing - rate) / total)
    return Rates(tuple(values), tuple(parts), tuple(n))


def _difference(
    which: int,
    nominal: Rates,
    shuffled: list[Rates],
    shuffles: Sequence[IntArray],
    sample: Sample,
    groups: IntArray | None,
) -> Measured:
    """Returns one number after shuffling minus before, as the mean over repeats.

    Its variance is the sum of that over events and that over repeats. A candidate changes the number by its own score
    and by the score of the candidate that has taken its value. Products of influences of different repeats do not
    contain the fluctuation of a single shuffle, which the variance over repeats measures. The error of fitted weights
    is that of the candidates' own scores.
    """
    before = nominal.values[which]
    after = [rates.values[which] for rates in shuffled]
    if before is None or None in after:
        return UNDEFINED
    changes = np.array([value - before for value in after if value is not None])
    total, squares, by_score = np.zeros(len(sample)), 0.0, np.zeros(len(sample))
    for rates, order in zip(shuffled, shuffles, strict=True):
        own = rates.parts[which] - nominal.parts[which]
        parts = own.copy()
        parts[order] += own
        total += parts
        by_score += own
        squares += variance(parts, groups)
    n = len(shuffles)
    by_events = max(variance(total, groups) - squares, 0.0) / (n * (n - 1))
    by_chance = float(np.var(changes, ddof=1)) / n
    by_weights = 0.0 if sample.weight_replicas is None else sample.weight_replicas.variance(by_score / n)
    deviation = float(np.sqrt(by_events + by_chance + by_weights))
    return symmetric(float(np.mean(changes)), deviation, nominal.n[which])


def mean_contributions(contributions: FloatArray, sample: Sample) -> dict[str, Measured]:
    """Returns the mean size of each feature's contribution, with the same total weight for each class."""
    weight, groups = class_balanced(sample), event_groups(sample)
    total, n = float(weight.sum()), effective_number(weight)
    if not total > 0:
        return dict.fromkeys(sample.features, UNDEFINED)
    found = {}
    for column, name in enumerate(sample.features):
        size = np.abs(contributions[:, column].astype(np.float64))
        mean = float(np.sum(weight * size)) / total
        influences = weight * (size - mean) / total
        of_weights = 0.0 if sample.weight_replicas is None else sample.weight_replicas.variance(influences)
        found[name] = symmetric(mean, float(np.sqrt(variance(influences, groups) + of_weights)), n)
    return found
