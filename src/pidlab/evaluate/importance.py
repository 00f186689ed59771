"""Importance: what a model loses when one feature is shuffled, and what each feature adds to the margins of trees."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.calibration import class_balanced
from pidlab.evaluate.intervals import effective_number, symmetric
from pidlab.evaluate.points.working_points import passes
from pidlab.evaluate.ranking import auc_influence, event_groups, signal_score, variance
from pidlab.evaluate.results import FeatureImportance, Importance, ModelResult
from pidlab.evaluate.robustness import reduced
from pidlab.measured import UNDEFINED, Measured
from pidlab.sample import FloatArray, IntArray, Sample

REPEATS = 3


class _Rates(NamedTuple):
    """AUC, efficiency and misidentifications, each a value and its influences (n,); None where a class is absent."""

    values: tuple[float | None, ...]
    parts: tuple[FloatArray, ...]


def measure_importance(
    score: Callable[[Sample], NDArray[np.floating[Any]]],
    sample: Sample,
    result: ModelResult,
    *,
    seed: int,
    contributions: tuple[NDArray[np.floating[Any]], Sample] | None = None,
) -> Importance:
    """Shuffle each feature among the candidates, three times, and score again; thresholds stay as they are.

    L. Breiman, Machine Learning 45 (2001) 5. Of a sample beyond 20,000 candidates about that many are taken, whole
    events, the same as for robustness. A feature's values are shuffled among all of them, whatever their class, weight
    or event: with a copy of a feature beside it, both seem to matter little. The shuffles depend on the seed and the
    feature's name only, so they are the same for every model.

    Intervals cover the fluctuation of events, both as the ones that are scored and as those whose value is borrowed,
    and what so few shuffles leave open. A model that does not read a feature loses exactly nothing.

    Args:
        score: gives (n, k) scores of a sample with other features.
        sample: the test sample.
        result: of the model on it; its first working point counts. Without any, only the area is measured.
        seed: of shuffles and choice of events.
        contributions: (m, d) what each feature adds to the signal's margin, and the m candidates they are for.
    """
    sample = reduced(sample, seed)
    groups = event_groups(sample)
    point = next(iter(result.working_points), None)
    threshold = np.nan if point is None else point.threshold
    nominal = _rates(score(sample), sample, threshold)
    explained = {} if contributions is None else _mean_contributions(*contributions)
    features = []
    for column, name in enumerate(sample.features):
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        shuffles = [rng.permutation(len(sample)) for _ in range(REPEATS)]
        shuffled = [_rates(score(_with_shuffled(sample, column, s)), sample, threshold) for s in shuffles]
        delta = [_difference(i, nominal, shuffled, shuffles, sample, groups) for i in range(len(nominal.values))]
        if point is None:
            delta[1:] = [UNDEFINED] * (len(delta) - 1)
        others = [c for i, c in enumerate(sample.classes) if i != sample.signal]
        area = UNDEFINED if result.fixed_cut else delta[0]
        misid = dict(zip(others, delta[2:], strict=True))
        features.append(FeatureImportance(name, area, delta[1], misid, explained.get(name)))
    n_explained = 0 if contributions is None else len(contributions[1])
    return Importance("" if point is None else point.name, len(sample), REPEATS, tuple(features), n_explained)


def _with_shuffled(sample: Sample, column: int, order: IntArray) -> Sample:
    x = sample.x.copy()
    x[:, column] = x[order, column]
    return sample.with_x(x)


def _rates(scores: NDArray[np.floating[Any]], sample: Sample, threshold: float) -> _Rates:
    """AUC, efficiency of the signal, misidentification of each other class."""
    signal = signal_score(scores, sample)
    area = auc_influence(signal, sample.is_signal, sample.weight)
    passing = passes(signal, threshold)
    nothing = np.zeros(len(sample))
    values, parts = [None if area is None else area.value], [nothing if area is None else area.parts]
    for c in [sample.signal, *(c for c in range(len(sample.classes)) if c != sample.signal)]:
        w = np.where(sample.y == c, sample.weight, 0.0)
        total = float(w.sum())
        rate = float(w[passing].sum()) / total if total else None
        values.append(rate)
        parts.append(nothing if rate is None else w * (passing - rate) / total)
    return _Rates(tuple(values), tuple(parts))


def _difference(
    which: int,
    nominal: _Rates,
    shuffled: list[_Rates],
    shuffles: Sequence[IntArray],
    sample: Sample,
    groups: IntArray | None,
) -> Measured:
    """Shuffled minus nominal of one rate: the mean over repeats; its variance over events plus that over repeats.

    A candidate moves the rate by its own score and by that of the candidate that borrows its value. Products of
    influences in different repeats leave out what a single shuffle adds by chance, which the repeats themselves show.
    """
    before = nominal.values[which]
    after = [rates.values[which] for rates in shuffled]
    if before is None or None in after:
        return UNDEFINED
    changes = np.array([value - before for value in after if value is not None])
    total, squares = np.zeros(len(sample)), 0.0
    for rates, order in zip(shuffled, shuffles, strict=True):
        own = rates.parts[which] - nominal.parts[which]
        parts = own.copy()
        parts[order] += own
        total += parts
        squares += variance(parts, groups)
    n = len(shuffles)
    by_events = max(variance(total, groups) - squares, 0.0) / (n * (n - 1))
    by_chance = float(np.var(changes, ddof=1)) / n
    deviation = float(np.sqrt(by_events + by_chance))
    return symmetric(float(np.mean(changes)), deviation, effective_number(sample.weight))


def _mean_contributions(contributions: NDArray[np.floating[Any]], sample: Sample) -> dict[str, Measured]:
    """Feature to the mean size of its contribution, every class counting the same, plus and minus one deviation."""
    weight, groups = class_balanced(sample), event_groups(sample)
    total, n = float(weight.sum()), effective_number(weight)
    if not total > 0:
        return dict.fromkeys(sample.features, UNDEFINED)
    found = {}
    for column, name in enumerate(sample.features):
        size = np.abs(contributions[:, column].astype(np.float64))
        mean = float(np.sum(weight * size)) / total
        found[name] = symmetric(mean, float(np.sqrt(variance(weight * (size - mean) / total, groups))), n)
    return found
