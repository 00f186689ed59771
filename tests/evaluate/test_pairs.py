"""Pairs of features: which are chosen, and that planes, profiles and ratios are what numpy, formulas and toys say."""

from __future__ import annotations

import numpy as np
import pytest

from evaluate_samples import sample_of
from explored_sample import correlated_sample
from pidlab.evaluate.histograms import correlations, density_ratio, histogram
from pidlab.evaluate.pairs import feature_pairs, rounded


def names_of(sample, correlation=None):
    return [(p.x, p.y) for p in feature_pairs(sample, correlations(sample) if correlation is None else correlation)]


def test_up_to_four_features_give_all_pairs_and_one_gives_none():
    assert len(names_of(correlated_sample(200, 4, 1))) == 6
    assert names_of(correlated_sample(200, 2, 1)) == [("f0", "f1")]
    assert names_of(correlated_sample(200, 1, 1)) == []


def test_of_more_features_the_six_most_correlated_pairs_are_taken():
    matrix = np.eye(6)
    strong = {(0, 1): 0.9, (0, 5): -0.8, (1, 2): 0.7, (2, 4): -0.6, (3, 4): 0.5, (4, 5): 0.4, (0, 2): 0.3}
    for (i, j), r in strong.items():
        matrix[i, j] = matrix[j, i] = r
    weak = np.full((6, 6), np.nan)  # a class without candidates decides nothing
    found = names_of(correlated_sample(200, 6, 1), {"electron": weak, "pion": matrix})
    assert found == [("f0", "f1"), ("f0", "f5"), ("f1", "f2"), ("f2", "f4"), ("f3", "f4"), ("f4", "f5")]


def test_a_plane_is_the_weighted_histogram_and_the_profile_is_the_mean_with_its_error():
    sample = correlated_sample(2000, 3, 2)
    pair = feature_pairs(sample, correlations(sample))[0]
    rows = sample.y == 1
    x, y, w = sample.x[rows, 0].astype(float), sample.x[rows, 1].astype(float), sample.weight[rows]
    for squares, values in ((w, pair.planes["pion"].sumw), (w * w, pair.planes["pion"].sumw2)):
        expected = np.histogram2d(x, y, (pair.x_edges, pair.y_edges), weights=squares)[0]
        np.testing.assert_allclose(values, expected, rtol=6e-4, atol=0)
    inside = (y >= pair.y_edges[0]) & (y <= pair.y_edges[-1])
    bin_ = np.digitize(x, pair.x_edges) - 1
    for i in (5, 10):
        here = inside & (bin_ == i)
        mean = np.average(y[here], weights=w[here])
        error = np.sqrt(np.sum((w[here] * (y[here] - mean)) ** 2)) / w[here].sum()
        np.testing.assert_allclose(pair.planes["pion"].mean[i], mean, rtol=6e-4, atol=0)
        np.testing.assert_allclose(pair.planes["pion"].error[i], error, rtol=6e-4, atol=0)


def test_missing_and_outlying_values_are_left_out_and_empty_bins_have_no_mean():
    x = np.array([[0.0, 1.0], [1.0, np.nan], [np.nan, 2.0], [1.0, 2.0]])
    (pair,) = feature_pairs(sample_of([0, 0, 0, 0], x=x), {})
    plane = pair.planes["electron"]
    assert (plane.entries, plane.sumw.sum()) == (2, 2)
    assert np.isfinite(plane.mean).sum() == 2
    assert pair.planes["pion"].entries == 0
    assert np.isnan(pair.planes["pion"].mean).all()


def test_the_error_of_a_ratio_is_its_spread_in_toys():
    rng = np.random.default_rng(5)
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    found, errors = [], []
    for _ in range(400):
        signal = histogram(rng.choice([0.5, 1.5, 2.5], 3000, p=[0.1, 0.3, 0.6]), np.ones(3000), edges)
        other = histogram(rng.choice([0.5, 1.5], 2000, p=[0.2, 0.8]), np.full(2000, 2.0), edges)
        ratio, error = density_ratio(signal, other)
        found.append(ratio)
        errors.append(error)
    assert np.isnan(found[0][2])
    mean, spread = np.mean(found, axis=0)[:2], np.std(found, axis=0)[:2]
    assert mean == pytest.approx([0.5, 0.375], rel=0.02)
    # Numbers of a normalised histogram fluctuate less than Poisson: by √(1 - p) for a bin that holds the share p.
    assert spread[0] == pytest.approx(np.mean(errors, axis=0)[0], rel=0.15)
    assert spread[1] < np.mean(errors, axis=0)[1]


def test_numbers_are_rounded_to_significant_digits():
    assert rounded(np.array([[123456.0, -0.00012345678]])).tolist() == [[123500.0, -0.0001235]]
    assert np.isnan(rounded(np.array([np.nan]))).all()
