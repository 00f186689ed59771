"""Leaf tables: the same sum of leaves as walking down each tree, for every event there is."""

import json
from dataclasses import replace

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from pidlab.models.bdt.estimator import BDT
from pidlab.models.bdt.forest import Forest, Tree, read_forest
from pidlab.models.bdt.leaf_tables import build_tables
from pidlab.models.link import posterior

TIES = np.array([-1.5, -0.5, 0, 0.5, 1.5], np.float32)  # few values, so that features often equal a threshold


def walk(forest: Forest, x: np.ndarray) -> np.ndarray:
    """(n, m) margins, one event and node at a time, in float64."""
    margins = np.tile(forest.base.astype(float), (len(x), 1))
    for tree in forest.trees:
        for i, event in enumerate(x):
            node = 0
            while tree.left[node] >= 0:
                value = event[tree.feature[node]]
                left = tree.missing_left[node] if np.isnan(value) else value < tree.threshold[node]
                node = tree.left[node] if left else tree.right[node]
            margins[i, tree.margin] += tree.value[node]
    return margins


def random_tree(rng: np.random.Generator, n_features: int, n_leaves: int, margin: int) -> Tree:
    """A tree grown by splitting a random leaf until there are `n_leaves`."""
    left, right, leaves = [-1], [-1], [0]
    while len(leaves) < n_leaves:
        node = leaves.pop(rng.integers(len(leaves)))
        left[node], right[node] = len(left), len(left) + 1
        leaves += [left[node], right[node]]
        left += [-1, -1]
        right += [-1, -1]
    m = len(left)
    return Tree(
        feature=rng.integers(0, n_features, m).astype(np.int32),
        threshold=rng.choice(TIES, m),
        left=np.array(left, np.int32),
        right=np.array(right, np.int32),
        missing_left=rng.random(m) < 0.5,
        value=np.where(np.array(left) < 0, rng.normal(size=m), 0).astype(np.float32),
        margin=margin,
    )


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_features=st.integers(1, 4),
    n_margins=st.sampled_from([1, 3]),
    n_trees=st.integers(1, 12),
    most_leaves=st.sampled_from([1, 2, 8, 9, 16, 17, 32, 33, 64]),
)
def test_tables_of_any_forest_are_a_walk_down_its_trees(seed, n_features, n_margins, n_trees, most_leaves):
    rng = np.random.default_rng(seed)
    sizes = [most_leaves, *rng.integers(1, most_leaves + 1, n_trees - 1)]
    trees = tuple(random_tree(rng, n_features, size, i % n_margins) for i, size in enumerate(sizes))
    forest = Forest(trees, rng.normal(size=n_margins).astype(np.float32), n_features)
    x = rng.choice([*TIES, *(TIES + 0.25), np.nan, np.inf, -np.inf], (30, n_features)).astype(np.float32)
    # at most 13 terms of order 1, each rounded to 6e-8
    np.testing.assert_allclose(build_tables(forest).margins(x), walk(forest, x), rtol=0, atol=4e-6)


def trained(n_features: int, n_classes: int, depth: int, rounds: int = 100) -> tuple[xgboost.Booster, np.ndarray]:
    """A booster on overlapping classes with missing values, and its events."""
    rng = np.random.default_rng(depth)
    y = rng.integers(0, n_classes, 4000)
    x = (rng.normal(size=(4000, n_features)) * (1 + 0.5 * y[:, None]) + 0.3 * y[:, None]).astype(np.float32)
    x[rng.random(x.shape) < 0.1 * (1 + y[:, None])] = np.nan
    model = BDT(n_estimators=rounds, max_depth=depth, learning_rate=0.2, n_jobs=1).fit(x, y)
    return model.booster_, x


def forest_of(booster: xgboost.Booster) -> Forest:
    return read_forest(json.loads(bytes(booster.save_raw("json"))))


def at_the_thresholds(forest: Forest, x: np.ndarray) -> np.ndarray:
    """Events whose features are thresholds, the numbers just below and above them, infinities and NaN."""
    rng = np.random.default_rng(0)
    x = x[:1000].copy()
    for f in forest.features_used:
        t = np.concatenate([tree.threshold[(tree.left >= 0) & (tree.feature == f)] for tree in forest.trees])
        steps = [t, np.nextafter(t, np.float32(-np.inf)), np.nextafter(t, np.float32(np.inf))]
        x[:, f] = rng.choice(np.concatenate([*steps, np.float32([np.nan, np.inf, -np.inf])]), len(x))
    return x


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_tables_equal_xgboosts_prediction(depth, n_classes):
    booster, x = trained(3, n_classes, depth)
    forest = forest_of(booster)
    tables = build_tables(forest)
    for events in (x, at_the_thresholds(forest, x)):
        theirs = booster.inplace_predict(events)
        theirs = np.column_stack([1 - theirs, theirs]) if n_classes == 2 else theirs
        np.testing.assert_allclose(posterior(tables.margins(events)), theirs, rtol=0, atol=1e-6)


def test_events_on_a_threshold_go_right():
    # the test above would not see a wrong side if no event sat on a threshold: here each one does
    booster, _ = trained(1, 2, 1, rounds=1)
    forest = forest_of(booster)
    threshold = forest.trees[0].threshold[0]
    events = np.array([[np.nextafter(threshold, np.float32(-np.inf))], [threshold]], np.float32)
    margins = build_tables(forest).margins(events)[:, 0]
    assert margins[0] != margins[1]
    assert margins.tolist() == booster.inplace_predict(events, predict_type="margin").tolist()


@pytest.mark.parametrize(("n_features", "depth", "tables"), [(3, 6, True), (6, 6, True), (12, 4, True), (12, 6, False)])
def test_the_model_takes_tables_where_they_were_measured_to_be_faster_and_scores_the_same(n_features, depth, tables):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 3000)
    x = (rng.normal(size=(3000, n_features)) + 0.3 * y[:, None]).astype(np.float32)
    model = BDT(n_estimators=60, max_depth=depth, n_jobs=1).fit(x, y)
    assert model.forest().has_tables is tables
    assert (model._scorer.tables is not None) is tables
    np.testing.assert_allclose(model.scores(x)[:, 1], model.booster_.inplace_predict(x), rtol=0, atol=1e-6)


def test_scores_do_not_depend_on_threads_or_chunks():
    booster, x = trained(3, 3, 4, rounds=20)
    tables = build_tables(forest_of(booster))
    many = np.tile(x, (40, 1))  # 160,000: three chunks
    alone = tables.margins(many)
    assert np.array_equal(tables.margins(many, n_threads=3), alone)
    assert np.array_equal(np.concatenate([tables.margins(many[:777]), tables.margins(many[777:])]), alone)


def test_trees_beyond_one_group_count():
    booster, x = trained(3, 2, 6, rounds=150)
    tables = build_tables(forest_of(booster))
    assert len(tables.groups) > 2
    np.testing.assert_allclose(
        tables.margins(x[:200]), walk(forest_of(booster), x[:200]), rtol=0, atol=150 * 2**-24 * 10
    )


@pytest.mark.parametrize("spelling", ["2E-1", "[2E-1]"])
def test_the_base_score_is_read_as_each_xgboost_writes_it(spelling):
    booster, _ = trained(2, 2, 1, rounds=1)
    model = json.loads(bytes(booster.save_raw("json")))
    model["learner"]["learner_model_param"]["base_score"] = spelling
    np.testing.assert_allclose(read_forest(model).base, [np.log(0.2 / 0.8)], rtol=1e-6, atol=0)


def test_trees_that_masks_cannot_hold_are_left_to_xgboost():
    rng = np.random.default_rng(0)
    deep = Forest((random_tree(rng, 2, 65, 0),), np.zeros(1, np.float32), 2)
    assert not deep.has_tables
    assert not replace(deep, trees=()).has_tables
