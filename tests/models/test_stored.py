"""Saved models: their parameters, and what is said of files that are damaged or of another model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import pidlab
from pidlab.errors import ModelError
from pidlab.models.base import Estimator
from pidlab.models.bdt import BDT
from pidlab.models.logistic import Logistic
from pidlab.models.mlp import MLP
from pidlab.models.regressors.bdt import BDTRegressor
from pidlab.models.stored import DAMAGED, read_arrays, stored_model
from pidlab.models.tree.estimator import DecisionTree
from pidlab.models.unlabelled.mixture import Mixture
from pidlab.runs.bundle import load_bundle


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "model.json"
    file.write_text(json.dumps({"type": "tree", "n": 3}))
    return file


def test_the_content_of_the_right_model_is_given(path: Path) -> None:
    with stored_model(path, "tree") as content:
        assert content == {"type": "tree", "n": 3}
    with stored_model(path, "any", mark=("n", 3)) as content:
        assert content["type"] == "tree"


def test_another_model_is_refused_before_anything_is_restored(path: Path) -> None:
    restored = []
    message = r"model\.json: holds a model of type 'tree', not 'bdt'; make the run again"
    with pytest.raises(ModelError, match=message), stored_model(path, "bdt") as content:
        restored.append(content)
    assert restored == []


@pytest.mark.parametrize("error", DAMAGED, ids=lambda e: e.__name__)
def test_what_damaged_content_raises_becomes_one_sentence(error: type[Exception], path: Path) -> None:
    message = r"model\.json: is not a whole tree model \(.*why.*\); make the run again"
    with pytest.raises(ModelError, match=message), stored_model(path, "tree"):
        raise error("why")


def test_a_missing_key_is_named(path: Path) -> None:
    with pytest.raises(ModelError, match=r"\(there is no 'classes'\)"), stored_model(path, "tree") as content:
        content["classes"]


def test_an_error_that_says_where_it_is_passes_unchanged(path: Path) -> None:
    with pytest.raises(ModelError, match=r"^model\.ubj is missing$"), stored_model(path, "tree"):
        raise ModelError("model.ubj is missing")


@pytest.mark.parametrize("content", [None, b"", b"no arrays at all"], ids=["missing", "empty", "other"])
def test_arrays_that_cannot_be_read_are_told(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.safetensors: cannot be read as safetensors .*make the run again"):
        read_arrays(path)


@pytest.mark.parametrize(
    "model",
    [
        DecisionTree(max_depth=np.int64(3)),
        Logistic(C=np.float32(0.5)),
        Mixture(components=np.int64(2)),
        MLP(hidden=(np.int64(4),), epochs=np.int64(1)),
        BDT(n_estimators=np.int64(2)),
        BDTRegressor(n_estimators=np.int64(2)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_parameters_that_are_numbers_of_numpy_are_saved_as_numbers(model: Estimator, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(200, 2)), rng.integers(0, 2, 200)
    model.fit(x, y).save(tmp_path)
    loaded = type(model).load(tmp_path)
    np.testing.assert_array_equal(loaded.scores(x), model.scores(x))
    assert {name: np.asarray(value).tolist() for name, value in model.get_params().items()} == loaded.get_params()


def test_a_band_that_follows_its_own_variable_is_read_again(tmp_path: Path) -> None:
    """It reads one column twice; such a run could be made and not be applied."""
    rng = np.random.default_rng(4)
    y = rng.integers(0, 2, 400)
    table = {"x": rng.normal(y, 1), "p": rng.uniform(1, 2, 400)}
    models = {"b": {"type": "band", "variables": ["x", "p"], "against": "p", "shape": "polynomial", "degree": 1}}
    asked = {"importance": False, "robustness": None, "working_points": [0.9]}
    result = pidlab.compare(table, y, models=models, features=["x", "p"], evaluate=asked)
    result.save(tmp_path / "run", figures="none")
    assert list(load_bundle(tmp_path / "run").models) == ["b"]
