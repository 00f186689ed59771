"""Edges, the grid and the counting of cuts: each against what it means, written out in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pidlab.models.cuts.edges import N_LEVELS, cut_edges
from pidlab.models.cuts.grid import BLOCK, Allowed, BinnedColumns, Counter, Grid

FREE = Allowed()


def edges_of(values, is_signal=None, weight=None, allowed=FREE):
    values = np.asarray(values)
    is_signal = np.ones(len(values), bool) if is_signal is None else is_signal
    return cut_edges(values, is_signal, np.ones(len(values)) if weight is None else weight, allowed)


def sample(rng, n, d, missing=0.1, weighted=True):
    x = rng.normal(size=(n, d)).astype(np.float32)
    x[:, 0] = np.round(x[:, 0] * 3)
    x[rng.random((n, d)) < missing] = np.nan
    y = rng.random(n) < 0.4
    w = rng.integers(1, 5, n).astype(float) if weighted else np.ones(n)
    return x, y, w


def counter_of(x, y, w, allowed=None):
    allowed = allowed or [FREE] * x.shape[1]
    edges = [cut_edges(x[:, j], y, w, a) for j, a in enumerate(allowed)]
    return Counter(Grid.of(edges, allowed), BinnedColumns.of(x[y], w[y], edges), BinnedColumns.of(x[~y], w[~y], edges))


def random_levels(grid, n, rng):
    low = rng.integers(0, grid.n_levels, (n, len(grid.n_levels)))
    high = rng.integers(0, grid.n_levels, low.shape)
    uncut = rng.random(low.shape) < 0.4
    low, high = np.minimum(low, high), np.maximum(low, high)
    return np.where(uncut, 0, low), np.where(uncut, grid.n_levels - 1, high)


def passes(x, low, high):
    """The promise: strictly between the faces, NaN only where there is no face."""
    uncut = (low == -math.inf) & (high == math.inf)
    return np.all(uncut | ((x > low) & (x < high)), axis=1)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, st.integers(1, 60), elements=st.floats(-1e6, 1e6, width=32)), st.data())
def test_few_values_get_an_edge_in_every_gap_that_separates(values, data):
    is_signal = data.draw(hnp.arrays(bool, len(values)))
    is_signal[0] = True
    edges = edges_of(values, is_signal)
    assert np.all(np.diff(edges) > 0)
    assert not np.isin(edges, values.astype(np.float64)).any()
    distinct = np.unique(values.astype(np.float64))
    above = np.searchsorted(distinct, edges)
    separable = distinct[above] - distinct[above - 1] > 2 * np.spacing(np.abs(distinct[above]).astype("f4"))
    assert not np.isin(edges[separable].astype(np.float32), values).any()  # float32 and double comparisons agree
    inside = (distinct >= values[is_signal].min()) & (distinct <= values[is_signal].max())
    level = np.searchsorted(edges, distinct)
    # only neighbours that leave no decimal between their float32 values may share a level
    shared = np.flatnonzero(np.diff(level[inside]) == 0)
    assert np.all(
        np.diff(distinct[inside])[shared] <= 2 * np.spacing(np.abs(distinct[inside][shared + 1]).astype("f4"))
    )


def test_integers_are_cut_half_way():
    np.testing.assert_array_equal(edges_of([0.0, 1, 1, 2, 3]), [0.5, 1.5, 2.5])


def test_edges_are_the_shortest_decimals_in_reach():
    rng = np.random.default_rng(1)
    values = rng.normal(size=50_000).astype(np.float32)
    edges = edges_of(values)
    assert N_LEVELS * 0.9 < len(edges) < N_LEVELS + 8
    digits = [len(repr(abs(e)).split(".")[1]) for e in edges[100:-100].tolist()]
    assert np.mean(digits) < 3.5  # levels lie .002 apart
    share = np.diff(np.searchsorted(np.sort(values), edges)) / len(values)
    assert share.max() < 2.5 / N_LEVELS


def test_signal_decides_where_edges_are_and_background_beyond_it_is_cut_off():
    values = np.array([-9.0, -8.0, 1.0, 2.0, 7.0])
    edges = edges_of(values, np.array([False, False, True, True, False]))
    assert len(edges) == 3
    assert -8 < edges[0] < 1 < edges[1] < 2 < edges[2] < 7


def test_constant_missing_and_outlying_features_have_no_edge():
    assert len(edges_of(np.full(9, 3.0))) == 0
    assert len(edges_of(np.full(9, np.nan))) == 0
    assert np.all(np.isfinite(edges_of([-np.inf, 0.0, 1.0, np.inf])))
    assert np.all(np.isfinite(edges_of([-1e308, 1e308])))


def test_a_feature_with_missing_values_can_be_cut_around_all_that_is_measured():
    edges = edges_of([np.nan, 1.0, 2.0])
    assert edges[0] < 1 < edges[1] < 2 < edges[2]


def test_missing_values_beside_a_large_offset_do_not_stop_the_search_of_edges():
    times = 1.7e9 + np.array([0.0, 3e-7, 6e-7])
    assert np.all(np.isfinite(edges_of([np.nan, *times])))


def test_ranges_limit_the_edges():
    edges = edges_of(np.arange(20.0), allowed=Allowed(low=3.0, high=6.0))
    np.testing.assert_array_equal(edges, [3.5, 4.5, 5.5])


def test_weights_equal_repetition_in_the_edges():
    rng = np.random.default_rng(2)
    values = rng.normal(size=4000).astype(np.float32)
    times = rng.integers(1, 4, 4000)
    repeated = edges_of(np.repeat(values, times))
    np.testing.assert_array_equal(edges_of(values, weight=times.astype(float)), repeated)


@pytest.mark.parametrize(("n", "d", "weighted"), [(40, 1, True), (3 * BLOCK + 7, 3, True), (5 * BLOCK, 4, False)])
def test_rates_are_what_numpy_counts(n, d, weighted):
    rng = np.random.default_rng(n)
    x, y, w = sample(rng, n, d, weighted=weighted)
    counter = counter_of(x, y, w)
    low, high = random_levels(counter.grid, 60, rng)
    rates = counter.rates(low, high)
    for k, faces in enumerate(zip(*counter.grid.values(low, high), strict=True)):
        inside = passes(x.astype(np.float64), *faces) * w
        np.testing.assert_allclose(rates[0][k], inside[y].sum() / w[y].sum(), rtol=1e-12, atol=0)
        np.testing.assert_allclose(rates[1][k], inside[~y].sum() / w[~y].sum(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("weighted", [True, False])
def test_face_tables_foretell_the_rates_of_every_other_window(weighted):
    rng = np.random.default_rng(3)
    x, y, w = sample(rng, 2000, 3, weighted=weighted)
    counter = counter_of(x, y, w)
    grid = counter.grid
    for low, high in zip(*random_levels(grid, 10, rng), strict=True):
        tables = counter.level_shares(low, high)
        for j in range(3):
            other = [low.copy(), high.copy()]
            other[0][j] = rng.integers(0, grid.n_levels[j])
            other[1][j] = rng.integers(other[0][j], grid.n_levels[j])
            uncut = other[0][j] == 0 and other[1][j] == grid.n_levels[j] - 1
            for table, rate in zip(tables, counter.rates(other[0][None], other[1][None]), strict=True):
                foretold = table[j, other[0][j] : other[1][j] + 1].sum() + uncut * table[j, grid.n_levels[j]]
                np.testing.assert_allclose(foretold, rate[0], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    ("side", "has_low", "has_high"), [("min", None, False), ("max", False, None), ("both", True, True)]
)
def test_repaired_boxes_keep_to_their_sides(side, has_low, has_high):
    rng = np.random.default_rng(4)
    x, y, w = sample(rng, 300, 2, missing=0.0)
    grid = counter_of(x, y, w, [Allowed(side=side), FREE]).grid
    for boxes in (grid.repaired(*random_levels(grid, 200, rng)), [b[None] for b in grid.loosest]):
        low, high = grid.values(*boxes)
        if has_low is not None:
            assert np.all(np.isfinite(low[:, 0]) == has_low)
        if has_high is not None:
            assert np.all(np.isfinite(high[:, 0]) == has_high)


def test_repaired_windows_are_wide_enough():
    rng = np.random.default_rng(5)
    x, y, w = sample(rng, 300, 2, missing=0.0)
    grid = counter_of(x, y, w, [Allowed(min_width=1.5), FREE]).grid
    low, high = grid.values(*grid.repaired(*random_levels(grid, 500, rng)))
    assert np.all(high[:, 0] - low[:, 0] >= 1.5)
    assert np.any(np.isfinite(low[:, 0]) & np.isfinite(high[:, 0]))


def test_subsamples_hold_candidates_of_the_sample():
    rng = np.random.default_rng(6)
    counter = counter_of(*sample(rng, 4000, 3))
    part = counter.subsample(500, rng)
    assert part.signal.codes.shape == part.background.codes.shape == (3, 500)
    whole = {tuple(c) for c in counter.signal.codes.T}
    assert {tuple(c) for c in part.signal.codes.T} <= whole
