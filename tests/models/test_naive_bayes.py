"""Gaussian naive Bayes: scikit-learn's, the exact posterior of the classes it assumes, and the same in a saved run."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.naive_bayes import GaussianNB
from sklearn.utils.estimator_checks import check_estimator

from export_runs import TWO
from pidlab.config.load import check_config
from pidlab.errors import ModelError
from pidlab.export.onnx.graph import graph_of, run_graph
from pidlab.models.base import TrainingDataError
from pidlab.models.fold import FoldModel
from pidlab.models.model import Model
from pidlab.models.naive_bayes import NaiveBayes
from pidlab.preprocess.recipe import compile_recipe

TWO_AND_THREE = pytest.mark.parametrize("k", [2, 3])
MEANS, DEVIATIONS = np.array([[0.0, 1], [1, 0], [-1, 2]]), np.array([[1.0, 0.5], [2, 1], [1, 1]])


def classes(k: int, n: int = 300) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """n events a class, with independent normal features."""
    rng = np.random.default_rng(k)
    return np.concatenate([rng.normal(MEANS[c], DEVIATIONS[c], (n, 2)) for c in range(k)]), np.repeat(np.arange(k), n)


@TWO_AND_THREE
def test_it_is_scikit_learns_on_standardised_features(k: int) -> None:
    x, y = classes(k)
    weight = np.random.default_rng(0).exponential(size=len(y))
    mean = np.average(x, axis=0, weights=weight)
    unit = (x - mean) / np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weight))
    theirs = GaussianNB(var_smoothing=0).fit(unit, y, weight).predict_proba(unit)
    ours = NaiveBayes(var_smoothing=1e-15).fit(x, y, weight).predict_proba(x)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=0)  # both in double precision


@TWO_AND_THREE
def test_it_finds_the_posterior_of_independent_normal_features(k: int) -> None:
    x, y = classes(k, 100_000)
    density = np.column_stack([norm(MEANS[c], DEVIATIONS[c]).pdf(x).prod(axis=1) for c in range(k)])
    exact = density / density.sum(axis=1, keepdims=True)
    # means and variances carry relative errors of about 1 / sqrt(100,000) = .003 each
    np.testing.assert_allclose(NaiveBayes().fit(x, y).predict_proba(x), exact, rtol=0, atol=0.02)


def test_the_smoothing_is_in_units_of_the_feature_s_variance() -> None:
    x, y = classes(2)
    added = NaiveBayes(0.5).fit(x, y).variance_ - NaiveBayes(1e-15).fit(x, y).variance_
    np.testing.assert_allclose(added, [0.5 * x.var(axis=0)] * 2, rtol=1e-9, atol=0)


def test_units_factors_of_the_weights_and_repeated_rows_change_nothing() -> None:
    x, y = classes(3)
    times = np.random.default_rng(1).integers(0, 4, len(y))
    expected = NaiveBayes().fit(x, y, times).predict_proba(x)
    repeated = NaiveBayes().fit(np.repeat(x, times, axis=0), np.repeat(y, times)).predict_proba(x)
    scale = np.array([1e-6, 1e6])
    scaled = NaiveBayes().fit(x * scale + scale, y, 1e-7 * times).predict_proba(x * scale + scale)
    np.testing.assert_allclose(repeated, expected, rtol=1e-9, atol=0)
    np.testing.assert_allclose(scaled, expected, rtol=1e-7, atol=0)


@TWO_AND_THREE
def test_what_is_saved_loads_to_the_same_bits_and_its_graph_agrees(k: int, tmp_path: Path) -> None:
    x, y = classes(k)
    model = NaiveBayes().fit(x, y)
    model.save(tmp_path)
    loaded = NaiveBayes.load(tmp_path)
    assert np.array_equal(loaded.scores(x), model.scores(x))
    content = {**TWO, "features": ["P.gtr.p", "P.gtr.dp"], "models": {"nb": {"type": "naive_bayes"}}}
    content["classes"] = {f"c{i}": f"species == {i}" for i in range(k)}
    recipe = compile_recipe(check_config(content, {}, Path("analysis.yaml")))
    contender = Model("nb", "naive_bayes", recipe, (FoldModel((0, 1), None, loaded),), None, None)
    far = np.concatenate([x, [[40.0, -40], [-1e4, 1e4]]]).astype(np.float32)
    graph = graph_of(contender, {}).SerializeToString()
    np.testing.assert_allclose(run_graph(graph, far), loaded.scores(far), rtol=0, atol=1e-6)  # single precision


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"type": "fisher"}, "holds a model of type 'fisher'"),
        ({"mean": [[1.0, "x"]]}, "is not a whole"),
        ({"classes": [0, 1, 2]}, "3 classes do not go with arrays of 2 rows"),
        ({"variance": [[1, 1], [0, 1]]}, "not positive"),
    ],
)
def test_a_damaged_file_is_refused(damage: dict[str, Any], message: str, tmp_path: Path) -> None:
    NaiveBayes().fit(*classes(2)).save(tmp_path)
    path = tmp_path / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(ModelError, match=message):
        NaiveBayes.load(tmp_path)


def test_a_negative_weight_is_refused() -> None:
    x, y = classes(2)
    with pytest.raises(TrainingDataError, match="1 of 600 training weights are negative"):
        NaiveBayes().fit(x, y, np.where(np.arange(600) == 3, -1, 1))


def test_scikit_learns_checks() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=Warning, module="sklearn")
        check_estimator(NaiveBayes(), on_skip=None)
