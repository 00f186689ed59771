"""Partial dependence: the curves of known functions, those of scikit-learn, and intervals that cover."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import partial_dependence

from evaluate_samples import sample_of
from pidlab.evaluate.explaining.partial_dependence import (
    MOST_FEATURES,
    N_CANDIDATES,
    N_CURVES,
    N_VALUES,
    grid,
    measure_dependence,
    most_important,
)
from pidlab.evaluate.results import Exploration, FeatureImportance, Importance, json_value
from pidlab.measured import UNDEFINED, Measured


def toy(n=900, seed=1, **kwargs):
    """Three features that are correlated, so that a conditional mean would be another curve."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    x = rng.normal(y[:, None], 1, (n, 3))
    x[:, 1] += 0.8 * x[:, 0]
    return sample_of(y, x=x, **kwargs)


def scores_of(function):
    def score(sample):
        signal = function(*sample.x.astype(np.float64).T)
        return np.column_stack([signal, -signal]).astype(np.float32)

    return score


def one(score, sample, column=0, seed=1):
    (found,) = measure_dependence(score, sample, [column], seed=seed)
    return found


def test_the_dependence_of_a_known_function_is_its_part_in_the_feature_and_the_mean_of_the_others():
    rng = np.random.default_rng(2)
    sample = toy(weight=rng.choice([1.0, 2.0, -0.5], 900))
    _, b, c = sample.x.astype(np.float64).T

    def mean(values):
        return np.sum(sample.weight * values) / np.sum(sample.weight)

    found = one(scores_of(lambda a, b, c: np.sin(a) + a * b + c**2), sample)
    expected = np.sin(found.value) + found.value * mean(b) + mean(c**2)
    np.testing.assert_allclose(found.mean, expected, rtol=2e-6)
    assert np.all(np.diff(found.value) > 0)
    assert set(found.value.astype(np.float32)) <= set(sample.x[:, 0])
    assert (found.low < found.mean).all()
    assert (found.mean < found.high).all()
    assert found.n == pytest.approx(np.sum(sample.weight) ** 2 / np.sum(sample.weight**2))
    assert found.n_candidates == 900


def test_a_feature_that_is_not_read_has_a_flat_curve_and_single_candidates_their_own_score():
    sample = toy()
    found = one(scores_of(lambda a, b, c: a), sample, column=2)
    assert np.ptp(found.mean) == 0
    assert np.ptp(found.curves, axis=1).max() == 0
    assert found.curves.shape == (N_CURVES, N_VALUES)
    assert (np.bincount(found.particle) == N_CURVES // 2).all()


def test_it_is_what_scikit_learn_calculates():
    rng = np.random.default_rng(3)
    sample = toy(weight=rng.uniform(0.2, 3, 900))
    trees = HistGradientBoostingClassifier(max_iter=20).fit(sample.x, sample.is_signal)
    found = one(lambda s: trees.predict_proba(s.x)[:, ::-1].astype(np.float32), sample, column=1)
    theirs = partial_dependence(
        trees, sample.x, [1], kind="both", sample_weight=sample.weight, custom_values={1: found.value},
        response_method="predict_proba", method="brute",
    )  # fmt: skip
    np.testing.assert_allclose(found.mean, theirs["average"][0], rtol=1e-5)
    individual = theirs["individual"][0]
    nearest = np.abs(individual[None] - found.curves[:, None]).max(axis=2).min(axis=1)
    assert nearest.max() < 1e-4  # each of the curves is that of a candidate, to four digits
    assert np.ptp(found.mean) > 0.1


@pytest.mark.parametrize("per_event", [1, 4])
def test_intervals_cover_the_mean_of_many_events(per_event):
    """At 68.3 %, which scatter by .042 in 120 toys."""

    def curve(a, b, c):
        return 1 / (1 + np.exp(-(1.5 * a + b - 1)))

    def events(n, seed):
        rng = np.random.default_rng([seed, 7])
        event = np.repeat(np.arange(n // per_event, dtype=np.uint64), per_event)
        return dataclasses.replace(toy(n, seed, weight=rng.uniform(0, 2, n)[event]), event=event)

    def shared(n, seed):
        sample = events(n, seed)
        x = sample.x.copy()
        x[:, 1] = x[::per_event, 1].repeat(per_event)  # candidates of one event are alike
        return sample.with_x(x)

    b = np.concatenate([shared(900, 10_000 + i).x[:, 1] for i in range(300)]).astype(np.float64)
    hits = []
    for seed in range(120):
        found = one(scores_of(curve), shared(400, seed))
        hits.append(found.low[10] <= curve(found.value[10], b, 0).mean() <= found.high[10])
    assert abs(np.mean(hits) - 0.683) < 0.13, np.mean(hits)


def test_a_missing_value_is_a_point_of_its_own_and_whole_numbers_stay_whole():
    values = np.array([3.0, 1.0, np.nan, 1.0, 2.0], np.float32)
    np.testing.assert_array_equal(grid(values, np.arange(5) % 2), [1, 2, 3, np.nan])
    assert grid(np.array([1.0, 2.0], np.float32), np.zeros(2, int)).tolist() == [1.0, 2.0]
    many = grid(np.random.default_rng(1).poisson(30, 5000).astype(np.float32), np.arange(5000) % 3)
    assert 5 < len(many) <= N_VALUES
    assert (many == many.round()).all()
    np.testing.assert_array_equal(grid(np.full(4, np.nan, np.float32), np.zeros(4, int)), [np.nan])
    assert len(grid(np.empty(0, np.float32), np.empty(0, int))) == 0

    sample = toy()
    x = sample.x.copy()
    x[::5, 0] = np.nan
    found = one(scores_of(lambda a, b, c: np.where(np.isnan(a), 0.25, 1.0)), sample.with_x(x))
    assert np.isnan(found.value[-1])
    assert found.mean[-1] == 0.25
    assert (found.mean[:-1] == 1).all()


def test_candidates_without_a_score_do_not_count_and_no_candidates_are_no_curve():
    sample = toy()
    half = sample.x[:, 1] > 0.5

    def score(a, b, c):
        return np.where(b > 0.5, a, np.nan)

    found = one(scores_of(score), sample)
    np.testing.assert_allclose(found.mean, found.value, rtol=1e-6)
    assert 0 < half.mean() < 1
    blind = one(scores_of(lambda a, b, c: np.full(len(a), np.nan)), sample)
    assert np.isnan(blind.mean).all()
    assert measure_dependence(scores_of(score), sample.take(np.zeros(0, int)), [0], seed=1) == ()
    json.dumps(json_value(Exploration(dependence={"m": (found, blind)}), exact=True), allow_nan=False)


def test_large_samples_are_reduced_and_the_same_seed_gives_the_same_curves():
    large = toy(30_000)
    found = one(scores_of(lambda a, b, c: a * b), large)
    assert 0.8 * N_CANDIDATES < found.n_candidates < 1.2 * N_CANDIDATES
    again = one(scores_of(lambda a, b, c: a * b), large)
    assert all(np.array_equal(getattr(found, f), getattr(again, f)) for f in ("value", "mean", "curves", "particle"))


def test_the_features_whose_shuffling_costs_most_are_chosen():
    def worth(name, area, efficiency=0.0):
        numbers = [UNDEFINED if v is None else Measured(v, v, v, 10.0) for v in (area, efficiency)]
        return FeatureImportance(name, *numbers, {})

    features = [worth(str(i), -0.01 * (i % 9)) for i in range(12)]
    chosen = most_important(Importance("eff90", 10, 3, tuple(features)))
    assert chosen == [3, 4, 5, 6, 7, 8]
    assert len(chosen) == MOST_FEATURES
    cut = Importance("hand", 10, 3, (worth("a", None, 0.0), worth("b", None, -0.2)))
    assert most_important(cut) == [0, 1]
    assert most_important(Importance("", 0, 3, ())) == []


def test_values_lie_where_a_rare_class_is_too():
    rng = np.random.default_rng(4)
    y = np.arange(1000) < 30
    values = np.where(y, rng.normal(10, 1, 1000), rng.normal(0, 1, 1000)).astype(np.float32)
    assert (grid(values, y.astype(int)) > 6).sum() == N_VALUES // 2
