"""What a run keeps to look at: the first trees, the inputs after scaling, and signed contributions to the signal."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from evaluate_samples import sample_of
from exported_runs import config, make_run, write_table
from pidlab.errors import ModelError
from pidlab.evaluate.results import TreeNode, read_results
from pidlab.models.bdt.estimator import BDT
from pidlab.models.explain import (
    columns_read,
    contributions,
    contributions_of,
    reference_in_words,
    scaled_inputs,
)
from pidlab.models.fold import FoldModel
from pidlab.split import fold_of


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explored")
    write_table(folder)
    models = {
        "bdt": {"type": "bdt", "n_estimators": 12, "max_depth": 4},
        "fisher": {"type": "fisher"},
        "mlp": {"type": "mlp", "hidden": [6], "epochs": 2, "members": 2, "activation": "maxout", "batch_norm": True},
        "by": {"type": "mlp", "hidden": [4], "epochs": 1, "by": {"few": "hits < 3", "many": "hits >= 3"}},
        "hand": {"type": "expression", "cut": "a > 0"},
    }
    bundle = make_run(folder, config(2, models, folds=2, evaluate={"robustness": None}))
    return bundle, read_results(folder / "run" / "results.json").exploration


def test_a_run_keeps_what_is_drawn_to_explore_it(explored):
    _, found = explored
    assert [(p.x, p.y) for p in found.pairs][:2] == [("a", "far"), ("a", "time")]
    assert list(found.explained) == ["bdt", "fisher", "mlp", "by"]
    assert list(found.dependence) == ["bdt", "fisher", "mlp", "by", "hand"]
    assert [one.feature for one in found.dependence["mlp"]] == ["a", "far", "time", "hits"]
    far = found.dependence["mlp"][1]
    assert np.isnan(far.value[-1])
    assert np.isfinite(far.mean).all()
    hand = found.dependence["hand"][0]
    np.testing.assert_array_equal(hand.mean, hand.value > 0)
    assert list(found.trees) == ["bdt"]
    assert list(found.scaled) == ["a", "far", "time", "hits"]
    table = found.explained["bdt"]
    assert table.value.shape == table.contribution.shape == (len(table.particle), 4)
    assert 0 < len(table.particle) <= 500
    assert set(np.unique(table.particle)) == {0, 1}
    assert len(found.trees["bdt"]) == 3


def follow(nodes, row, names):
    """What a candidate arrives at, by the conditions of the drawn boxes."""
    node = nodes[0]
    while node.below >= 0:
        value = row[names.index(node.feature)]
        below = node.missing_below if np.isnan(value) else value < np.float32(node.cut)
        node = nodes[node.below if below else node.above]
    return node


def tree_sample(n=400):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    y = (x[:, 0] + 0.5 * x[:, 1] + rng.normal(0, 0.5, n) > 0).astype(int)
    x[::7, 0] = np.nan
    return x, y


def drawn(model, n, depth):
    names = {0: "a", 1: "b", 2: "c", -1: ""}
    return [
        (margin, tuple(TreeNode(**{**node, "feature": names[node["feature"]]}) for node in nodes))
        for margin, nodes in model.first_trees(n, depth)
    ]


def test_whoever_follows_the_drawn_conditions_arrives_at_what_the_trees_add():
    x, y = tree_sample()
    model = BDT(n_estimators=3, max_depth=3, early_stopping_rounds=None).fit(x, y)
    trees = drawn(model, 3, 3)
    base = model.forest().base[0]
    sums = [base + sum(follow(nodes, row, ["a", "b", "c"]).value for _, nodes in trees) for row in x]
    np.testing.assert_allclose(sums, model.decision_function(x), rtol=1e-5, atol=1e-6)


def test_a_deep_tree_is_cut_off_after_three_splits():
    x, y = tree_sample()
    model = BDT(n_estimators=5, max_depth=7, early_stopping_rounds=None).fit(x, y)
    trees = drawn(model, 3, 3)
    assert len(trees) == 3
    for _, nodes in trees:
        assert len(nodes) <= 15
        assert sum(node.below < 0 for node in nodes) <= 8
    assert any(node.feature and node.below < 0 and node.value > 0 for _, nodes in trees for node in nodes)


def test_trees_of_several_classes_are_those_of_the_first_rounds():
    x, _ = tree_sample()
    y = np.arange(len(x)) % 3
    model = BDT(n_estimators=4, max_depth=2, early_stopping_rounds=None).fit(x, y)
    assert [margin for margin, _ in model.first_trees(3, 3)] == [0, 1, 2]


def test_weighted_trees_are_left_out():
    x, y = tree_sample()
    model = BDT(n_estimators=3, max_depth=2, early_stopping_rounds=None, parameters={"booster": "dart"}).fit(x, y)
    assert model.first_trees(3, 3) == []


@pytest.mark.parametrize("signal", [0, 1])
def test_contributions_are_to_the_margin_of_the_signal(explored, signal):
    x, y = tree_sample()
    model = BDT(n_estimators=20, max_depth=3, early_stopping_rounds=None).fit(x, y)
    contender = dataclasses.replace(
        explored[0].models["bdt"], fitted=(FoldModel((0, 1, 2), None, model),), fold_seed=None
    )
    sample = sample_of(y, x=x, signal=signal)
    parts, _ = contributions(contender, sample)
    is_large = np.nan_to_num(x[:, 0]) > 1
    assert (parts[is_large, 0].mean() > 0) == (signal == 1)


def test_contributions_of_a_linear_model_sum_to_its_margin_less_the_mean_with_missing_values_at_their_feature(explored):
    model = explored[0].models["fisher"]
    rng = np.random.default_rng(4)
    x = rng.normal(1, 2, (300, 4)).astype(np.float32)
    x[::9, 2] = np.nan
    sample = sample_of(rng.integers(0, 2, 300), x=x)
    parts, _ = contributions(model, sample)
    folds = fold_of(sample.event, 2, model.fold_seed)
    for i, fitted in enumerate(model.fitted):
        margin = -fitted.estimator.decision_function(fitted.scaler.transform(x[folds == i]))  # the signal is first
        np.testing.assert_allclose(parts[folds == i].sum(axis=1), margin - margin.mean(), rtol=1e-4, atol=1e-5)


def log_odds(scores):
    """Of the first of two classes; each probability has its own rounding, so that those near 1 lose nothing."""
    return np.log(scores[:, 0].astype(np.float64)) - np.log(scores[:, 1].astype(np.float64))


def rows_with_holes(n=300):
    rng = np.random.default_rng(5)
    x = rng.normal(1, 2, (n, 6)).astype(np.float32)
    x[::9, 1] = np.nan
    x[:, 4] = x[:, 3] < 3  # the conditions of the categories
    x[:, 5] = x[:, 3] >= 3
    event = np.arange(n).astype(np.uint64) * np.uint64(977)
    return x, event


@pytest.mark.parametrize("name", ["mlp", "fisher", "bdt"])
def test_the_reference_and_the_contributions_sum_to_the_margin_of_the_fold_model(explored, name):
    model = explored[0].models[name]
    x, event = rows_with_holes()
    found = contributions_of(model, x, event)
    total = found.reference + found.parts.sum(axis=1)
    tolerance = 1e-3 if name == "mlp" else 2e-5
    np.testing.assert_allclose(total, log_odds(model.scores_of(x, {}, event)), rtol=0, atol=tolerance)
    assert len(np.unique(found.reference)) == 2  # of two folds
    assert (found.parts[:, 4:] == 0).all()
    assert columns_read(model) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["mlp", "fisher"])
def test_contributions_count_from_the_middle_of_the_classes_or_in_older_runs_from_the_median(explored, name):
    model = explored[0].models[name]
    fitted = model.fitted[0]
    assert reference_in_words(model) == "the middle of the classes"
    one = dataclasses.replace(model, fitted=(fitted,), fold_seed=None)
    x, _ = rows_with_holes()
    older = dataclasses.replace(one, fitted=(dataclasses.replace(fitted, reference=None),))
    assert reference_in_words(older) == "the median event of training"
    median = np.append(fitted.scaler.fill, [0, 0])[None].astype(np.float32)
    np.testing.assert_allclose(contributions_of(older, median).parts, 0, atol=1e-5)
    assert np.abs(contributions_of(one, median).parts).max() > 1e-3
    totals = [found.reference + found.parts.sum(axis=1) for found in (contributions_of(m, x) for m in (one, older))]
    np.testing.assert_allclose(*totals, rtol=0, atol=2e-3)
    x[:, 1] = np.nan
    missing = contributions_of(one, x).parts[:, 1]
    np.testing.assert_allclose(missing, missing[0], atol=0.05 if name == "fisher" else 2)
    assert (missing != 0).all()  # the absence of a value belongs to its feature


def test_the_middle_of_the_classes_is_that_of_their_medians_whatever_their_abundances():
    rng = np.random.default_rng(1)
    y = (rng.random(3000) < 0.1).astype(int)
    x = rng.normal(np.where(y, 4.0, 0.0)[:, None], 1, (3000, 2)).astype(np.float32)
    x[::3, 1] = np.nan
    import pidlab

    result = pidlab.compare(
        {"a": x[:, 0], "b": x[:, 1]}, y, models={"fisher": {"type": "fisher"}}, scaling="standard", folds=2,
        evaluate={"robustness": None},
    )  # fmt: skip
    fitted = result._analysis.models["fisher"].fitted[0]
    knots = [np.array(k) for k in fitted.scaler.knots]
    a = fitted.reference[0] * (knots[0][1] - knots[0][0]) + knots[0][0]  # back in its own units
    assert a == pytest.approx(2.0, abs=0.15)
    assert fitted.reference[2:] == (0.0,)  # nothing is missing there
    margin = fitted.estimator.decision_function(np.array([fitted.reference]))
    assert abs(margin[0]) < 0.6  # of log-odds up to 16


def test_with_folds_other_events_have_the_mean_of_the_fold_models(explored):
    model = explored[0].models["mlp"]
    x, event = rows_with_holes(40)
    alone = [
        contributions_of(dataclasses.replace(model, fitted=(fitted,), fold_seed=None), x) for fitted in model.fitted
    ]
    found = contributions_of(model, x, event, np.zeros(40, bool))
    np.testing.assert_allclose(found.parts, (alone[0].parts + alone[1].parts) / 2, rtol=1e-5, atol=1e-6)
    own = contributions_of(model, x, event, np.ones(40, bool))
    np.testing.assert_array_equal(own.parts, contributions_of(model, x, event).parts)


def test_a_candidate_is_explained_by_its_category_and_not_at_all_in_none(explored):
    model = explored[0].models["by"]
    x, event = rows_with_holes()
    x[:5, 4:] = 0
    found = contributions_of(model, x, event)
    assert np.isnan(found.parts[:5]).all()
    assert np.isnan(found.reference[:5]).all()
    folds = fold_of(event, 2, model.fold_seed)
    few = np.flatnonzero((folds == 0) & (x[:, 4] > 0))
    part = model.fitted[0].categories[0].model
    expected = log_odds(part.scores(x[few]))
    np.testing.assert_allclose((found.reference + found.parts.sum(axis=1))[few], expected, rtol=0, atol=1e-3)


def test_a_reference_that_does_not_fit_is_refused(explored, tmp_path):
    fitted = explored[0].models["fisher"].fitted[0]
    fitted.save(tmp_path / "fold0")
    assert FoldModel.load(tmp_path / "fold0", "fisher").reference == fitted.reference
    path = tmp_path / "fold0" / "input.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"reference": [0.0]}))
    with pytest.raises(
        ModelError, match=r"input\.json: does not say what the model reads \(the reference has 1 numbers"
    ):
        FoldModel.load(tmp_path / "fold0", "fisher")
    del content["reference"]
    path.write_text(json.dumps(content))
    assert FoldModel.load(tmp_path / "fold0", "fisher").reference is None


def test_a_model_without_contributions_has_none(explored):
    sample = sample_of([0, 1], x=np.zeros((2, 4)))
    assert contributions(explored[0].models["hand"], sample) is None
    assert contributions_of(explored[0].models["hand"], sample.x) is None


def test_scaled_inputs_are_those_that_each_fold_model_sees(explored):
    bundle, _ = explored
    model = bundle.models["fisher"]
    rng = np.random.default_rng(9)
    x = rng.normal(1, 2, (500, 4))
    x[::9, 1] = np.nan
    sample = sample_of(rng.integers(0, 2, 500), x=x)
    found = scaled_inputs(bundle.models.values(), sample)
    folds = fold_of(sample.event, 2, model.fold_seed)
    expected = np.empty((500, 4))
    for i, fitted in enumerate(model.fitted):
        expected[folds == i] = fitted.scaler.transform(sample.x[folds == i])[:, :4]
    for j, by_class in enumerate(found.values()):
        whole = sum(h.sumw[1:-1] for h in by_class.values())
        edges = by_class["electron"].edges
        np.testing.assert_array_equal(whole, np.histogram(expected[:, j], edges)[0])
    assert scaled_inputs([bundle.models["bdt"], bundle.models["hand"]], sample) == {}
