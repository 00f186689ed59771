"""Partial dependence: the mean score of the test sample if one feature had the same value in all candidates."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from pidlab.evaluate.intervals import effective_number
from pidlab.evaluate.pairs import rounded
from pidlab.evaluate.ranking import event_groups, signal_score, variance
from pidlab.evaluate.results import Importance, PartialDependence, RegressionImportance
from pidlab.evaluate.robustness import reduced
from pidlab.measured import Array
from pidlab.sample import FloatArray, IntArray, Sample

N_CANDIDATES = 1000  # of test; scores of 21,000 rows a feature, a third of what its importance takes
N_VALUES = 20
N_CURVES = 50
MOST_FEATURES = 6
_TAILS = 0.01  # outside these quantiles a feature has no values, so that outliers do not stretch the axis


def measure_dependence(
    score: Callable[[Sample], FloatArray], sample: Sample, features: Iterable[int], *, seed: int
) -> tuple[PartialDependence, ...]:
    """Measures how the score of the signal, or the prediction of a regression, goes with some features.

    J. Friedman, Annals of Statistics 29 (2001) 1189, section 8.2: the feature gets one value in every candidate, all
    other features stay, and the scores are averaged with the weights of the candidates. The curves of single candidates
    are those of A. Goldstein et al., Journal of Computational and Graphical Statistics 24 (2015) 44. If the sample has
    more than 1000 candidates, about that many are taken, in whole events.

    The values are at most 20 quantiles of the feature: of each class as many, from 1 % to 99 %, so that they lie where
    a rare signal has its candidates, too. They are values that the feature has, all of them if they are fewer. If it is
    missing in a candidate, "missing" is a point of its own. Intervals cover the fluctuation of events, which all points
    have in common: the shape is known better than they say.

    Args:
        score: returns the scores (n, k) of a sample with other features.
        sample: the test sample.
        features: the columns of the features.
        seed: decides which candidates are taken, and which have curves of their own.
    """
    # Another seed, because a sample that was reduced already holds the candidates that are first by that seed's order.
    sample = reduced(sample, seed ^ zlib.crc32(b"dependence"), N_CANDIDATES)
    if not len(sample):
        return ()
    groups, shown = event_groups(sample), _shown(sample, seed)
    return tuple(_dependence(score, sample, column, groups, shown) for column in features)


def most_important(importance: Importance | RegressionImportance) -> list[int]:
    """Returns the columns of the at most six features whose shuffling costs most, in the order of the features.

    The cost is that of the AUC, or of the efficiency for a model without an AUC; of a regression that of the RMS.
    """
    if isinstance(importance, RegressionImportance):
        costs = [(abs(f.delta_rms.value), abs(f.delta_mae.value)) for f in importance.features]
    else:
        costs = [(abs(f.delta_auc.value), abs(f.delta_efficiency.value)) for f in importance.features]
    if not costs:
        return []
    lost = np.array(costs)
    lost = np.nan_to_num(np.where(np.isnan(lost[:, :1]), lost[:, 1:], lost[:, :1])[:, 0])
    return sorted(int(j) for j in np.argsort(-lost, kind="stable")[:MOST_FEATURES])


def grid(values: FloatArray, y: IntArray) -> Array:
    """Returns the rising values (g,) of a feature (n,) at which its dependence is measured, NaN last if any is missing.

    They are exact values of the feature, and g is 0 without any. `y` (n,) holds the classes.
    """
    is_known = ~np.isnan(values)
    different = np.unique(values[is_known])
    if len(different) > N_VALUES:
        of_class = [values[is_known & (y == c)] for c in np.unique(y[is_known])]
        ranks = np.linspace(_TAILS, 1 - _TAILS, max(N_VALUES // len(of_class), 2))
        different = np.unique([np.quantile(own, ranks, method="inverted_cdf") for own in of_class])
    missing = [] if is_known.all() else [np.nan]
    return np.concatenate([different, missing]).astype(np.float64)


def _shown(sample: Sample, seed: int) -> IntArray:
    """Returns the rows with a curve of their own: as many of each class, if it has so many, drawn at random."""
    rng = np.random.default_rng([seed, zlib.crc32(b"curves")])
    of_class = [rng.permutation(np.flatnonzero(sample.y == c)) for c in range(len(sample.classes))]
    n_each = N_CURVES // max(sum(len(rows) > 0 for rows in of_class), 1)
    return np.sort(np.concatenate([rows[:n_each] for rows in of_class]))


def _dependence(
    score: Callable[[Sample], FloatArray],
    sample: Sample,
    column: int,
    groups: IntArray | None,
    shown: IntArray,
) -> PartialDependence:
    values = grid(sample.x[:, column], sample.y)
    n, scores = len(sample), _scores_at(score, sample, column, values)
    rows = [_mean(scores[:, i], sample.weight, groups) for i in range(len(values))]
    mean, deviation = np.array(rows).reshape(len(values), 2).T
    return PartialDependence(
        feature=sample.features[column],
        value=values,
        mean=mean,
        low=mean - deviation,
        high=mean + deviation,
        n=effective_number(sample.weight),
        n_candidates=n,
        curves=rounded(scores[shown]),
        particle=sample.y[shown].astype(np.int64),
    )


def _scores_at(
    score: Callable[[Sample], FloatArray], sample: Sample, column: int, values: Sequence[float] | Array
) -> Array:
    """Returns (n, g) the signal's score of each candidate with each of the values (g,) of a feature.

    All are scored together, because a call of a model takes as long as hundreds of scores.
    """
    n, g = len(sample), len(values)
    if not g:
        return np.empty((n, 0))
    many = sample.take(np.tile(np.arange(n), g))
    x = np.array(many.x)
    x[:, column] = np.repeat(values, n)
    many = many.with_x(x)
    return signal_score(score(many), many).astype(np.float64).reshape(g, n).T


def _mean(scores: Array, weight: FloatArray, groups: IntArray | None) -> tuple[float, float]:
    """Returns the weighted mean of scores (n,), and its standard deviation; NaN if no candidate has a score.

    Candidates without a score, which are in no category of the model, do not count.
    """
    own = np.where(np.isnan(scores), 0.0, weight)
    total = float(own.sum())
    if not total > 0:
        return np.nan, np.nan
    known = np.nan_to_num(scores)
    mean = float((own * known).sum()) / total
    return mean, float(np.sqrt(variance(own * (known - mean) / total, groups)))
