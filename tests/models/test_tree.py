"""A single decision tree: scikit-learn's splits, smoothed leaves, and its decisions as a cut string that ROOT reads."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import check_estimator

import pidlab
from conftest import write_tree
from pidlab.errors import ModelError
from pidlab.expressions import parse, selects
from pidlab.models.tree.estimator import DecisionTree


def classes(k: int, n: int = 3000, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    x = rng.normal(size=(n, 3)) + 0.8 * np.eye(3)[y]
    x[rng.random((n, 3)) < 0.1] = np.nan
    return x.astype(np.float32), y, rng.exponential(size=n)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("criterion", ["entropy", "gini"])
def test_it_is_scikit_learns_tree_with_a_little_more_of_each_class_in_a_leaf(k: int, criterion: str) -> None:
    x, y, weight = classes(k)
    ours = DecisionTree(criterion, max_depth=6, min_leaf=0.01, seed=3).fit(x, y, weight)
    theirs = DecisionTreeClassifier(criterion=criterion, max_depth=6, min_weight_fraction_leaf=0.01, random_state=3)
    scaled = weight / weight.mean()
    theirs.fit(x, y, scaled)
    leaf = theirs.apply(x)
    n = np.bincount(leaf, scaled, theirs.tree_.node_count)[leaf]
    added = 1e-4 * len(x)
    expected = (theirs.predict_proba(x) * n[:, None] + added) / (n + k * added)[:, None]
    np.testing.assert_allclose(ours.predict_proba(x), expected, rtol=1e-9, atol=0)
    np.testing.assert_allclose(ours.feature_importances_, theirs.feature_importances_, rtol=1e-6, atol=0)
    assert np.array_equal(ours._leaves(x), leaf)


def test_values_at_a_cut_and_on_both_sides_go_where_scikit_learn_sends_them() -> None:
    values = np.array([0.1, 0.30000001192092896, 0.7, 1.1], np.float32)
    x, y = np.repeat(values, 50)[:, None], np.repeat([0, 1, 0, 1], 50)
    ours = DecisionTree(max_depth=None, min_leaf=0).fit(x, y)
    theirs = DecisionTreeClassifier(criterion="entropy").fit(x, y)
    cuts = theirs.tree_.threshold[theirs.tree_.feature >= 0].astype(np.float32)
    near = np.concatenate([cuts, np.nextafter(cuts, np.float32(9)), np.nextafter(cuts, np.float32(-9))])[:, None]
    assert np.array_equal(ours._leaves(near), theirs.apply(near))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.98), st.integers(1, 6))
def test_the_cut_string_decides_as_the_score_does_with_codes_and_missing_values(
    seed: int, threshold: float, depth: int
) -> None:
    x, y, weight = classes(2, 600, seed)
    model = DecisionTree(max_depth=depth).fit(x, y, weight)
    held = x.copy()
    held[np.isnan(held[:, 1]), 1] = -999  # a branch that holds a code for a missing value
    branches = {f"b{j}": held[:, j] for j in range(3)}
    passes = model.node_scores[:, 1] > np.float32(threshold)
    text = model.cut_string(passes, list(branches), ["", "(b1 != -999)", ""]) or "0"
    assert np.array_equal(selects(parse(text), branches, len(x)), model.scores(x)[:, 1] > np.float32(threshold))


CONTENT: dict[str, Any] = {
    "data": {"files": "t.root", "event_id": ["event"]},
    "classes": {"electron": "species == 1", "pion": "species == 0"},
    "features": ["a", {"name": "b", "expression": "b", "missing": [-999]}, "a * b"],
    "selection": {"near": "abs(a) < 4"},
    "models": {"tree": {"type": "tree", "max_depth": 4}, "calibrated": {"type": "tree"}, "bdt": {"type": "bdt"}},
    "evaluate": {"robustness": None, "calibration": "temperature"},
}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> pidlab.Result:
    folder, rng, n = tmp_path_factory.mktemp("tree"), np.random.default_rng(5), 4000
    species = rng.integers(0, 2, n)
    b = (rng.normal(size=n) + species).astype("f4")
    b[rng.random(n) < 0.1] = -999
    a = (rng.normal(size=n) - species).astype("f4")
    a[:5] = np.nan
    write_tree(folder / "t.root", {"a": a, "b": b, "species": species, "event": np.arange(n)})
    content = {**CONTENT, "data": {**CONTENT["data"], "files": str(folder / "t.root")}}
    return pidlab.run(content, folder / "run", figures="none")


def test_a_run_draws_it_and_exports_it_as_cuts_header_and_graph(result: pidlab.Result, tmp_path: Path) -> None:
    assert result["tree"].auc.value > 0.8
    ((particle, nodes),) = result.results.exploration.trees["tree"]
    assert particle == "pion"
    assert {node.feature for node in nodes} - {""} <= {"a", "b", "a * b"}
    assert "cuts" in {each.format for each in result.export("cuts", tmp_path / "cuts", ["tree", "calibrated"])}
    lines = (tmp_path / "cuts" / "tree.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == [point.name for point in result["tree"].working_points]
    assert "abs(a) < 4" in lines[0]
    assert "!= -999" in lines[0]
    for form in ("header", "onnx"):
        (made,) = result.export(form, tmp_path / form, ["tree"])
        assert made.largest_difference < 1e-6


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"type": "fisher"}, "holds a model of type 'fisher'"),
        ({"left": [0, 1]}, "do not go with its arrays"),
        ({"share": "x"}, "is not a whole tree"),
        ({"parameters": {"depth": 3}}, "is not a whole tree"),
    ],
)
def test_a_damaged_file_is_refused(damage: dict[str, Any], message: str, tmp_path: Path) -> None:
    DecisionTree().fit(*classes(2)).save(tmp_path)
    path = tmp_path / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(ModelError, match=message):
        DecisionTree.load(tmp_path)


def test_nodes_that_are_no_tree_are_refused(tmp_path: Path) -> None:
    DecisionTree(max_depth=2).fit(*classes(2)).save(tmp_path)
    path = tmp_path / "model.json"
    whole = json.loads(path.read_text())
    for name, place, value in (("left", 0, 0), ("right", 0, 99), ("feature", 0, 7), ("left", -1, -5)):
        nodes = list(whole[name])
        nodes[place] = value
        path.write_text(json.dumps({**whole, name: nodes}))
        with pytest.raises(ModelError, match="a node"):
            DecisionTree.load(tmp_path)


def test_what_is_saved_loads_to_the_same_bits(tmp_path: Path) -> None:
    x, y, weight = classes(3)
    model = DecisionTree().fit(x, y, weight)
    model.save(tmp_path)
    assert np.array_equal(DecisionTree.load(tmp_path).scores(x), model.scores(x))


def test_an_unknown_criterion_is_refused() -> None:
    with pytest.raises(ModelError, match="criterion is 'entropi'; did you mean 'entropy'"):
        DecisionTree("entropi").fit(*classes(2))


def test_scikit_learns_checks() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=Warning, module="sklearn")
        check_estimator(DecisionTree(), on_skip=None)
