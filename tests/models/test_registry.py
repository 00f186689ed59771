"""The registry: one row a type of model, and everything that a row names exists."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, get_args

import pytest

from pidlab.config.schema import ImportedSpec, ModelSection, RegressionSection, TrainableSpec
from pidlab.export.run import FORMATS
from pidlab.models import registry
from pidlab.models.base import Classifier
from pidlab.models.registry import (
    MODEL_TYPES,
    ModelType,
    Resources,
    build_estimator,
    estimator_class,
    import_ahead,
    imported,
)
from pidlab.models.regressors.base import Regressor

ROWS = pytest.mark.parametrize("row", MODEL_TYPES.values(), ids=MODEL_TYPES)
TRAINED = [name for name, row in MODEL_TYPES.items() if row.section in get_args(TrainableSpec)]


def test_every_section_of_a_model_has_one_row():
    (of_classes, _), (of_target, _) = get_args(ModelSection), get_args(RegressionSection)
    assert {row.section for row in MODEL_TYPES.values()} == {*get_args(of_classes), *get_args(of_target)}


@ROWS
def test_a_model_has_an_estimator_unless_it_is_an_expression(row: ModelType):
    assert bool(row.estimator) == (row.section in get_args(TrainableSpec | ImportedSpec))
    expected = Regressor if row.name.endswith("_regression") else Classifier
    assert not row.estimator or issubclass(estimator_class(row.name), expected)


@ROWS
def test_every_export_that_a_row_names_is_a_format_and_exists(row: ModelType):
    # what a feature made of a band needs, besides the formats
    assert row.exports.keys() <= FORMATS.keys() | {"header_outputs", "onnx_outputs"}
    assert all(callable(imported(place)) for place in row.exports.values())


def test_only_scores_of_cuts_bands_tmva_and_models_without_labels_never_are_probabilities():
    without = {"expression", "score", "cuts", "band", "tmva", "mixture", "autoencoder"}
    predicting = {name for name in MODEL_TYPES if name.endswith("_regression")}
    assert {n for n, r in MODEL_TYPES.items() if not r.probability} == without | predicting


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["cuts", "bdt", "mlp"], True),
        (["mlp", "bdt"], False),  # there is nothing to do meanwhile
        (["bdt", "fisher"], False),
        (["bdt", "sklearn", "mlp"], False),  # an estimator of another package may use a torch that is half there
        (["band", "mlp"], False),
        (["cuts", "autoencoder"], True),  # it is a network too
        (["constant_regression", "linear_regression", "bdt_regression", "mlp_regression"], True),
    ],
)
def test_torch_is_imported_ahead_where_a_network_follows_models_that_leave_it_alone(
    kinds: list[str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    monkeypatch.setattr(registry, "imported", lambda place: lambda: begun.append(place))
    import_ahead(kinds)
    assert begun == ["pidlab.models.mlp.ahead:import_torch_ahead"] * expected


@pytest.mark.slow
def test_torch_comes_from_its_thread_as_from_any_import():
    script = """
import sys
from pidlab.models.mlp.ahead import import_torch_ahead
thread, finders, interval = import_torch_ahead(), list(sys.meta_path), sys.getswitchinterval()
import scipy.stats  # while torch is half there, which scipy finds
import torch  # waits for the thread
assert torch.Tensor is torch._tensor.Tensor and isinstance(torch.ones(2), torch.Tensor)
assert torch.__spec__.name == "torch" and torch.__path__ and torch.__file__.endswith("__init__.py")
thread.join()
assert not any(type(each).__module__ == "pidlab.models.mlp.ahead" for each in sys.meta_path)
assert sys.getswitchinterval() == 0.005
assert import_torch_ahead() is None
import pidlab.models.mlp.estimator
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_models_that_train_while_torch_is_imported_do_not_touch_it():
    """It stands in `sys.modules`, half imported, while they train: what looks into it then would fail."""
    script = """
import sys, types
import numpy as np
from pidlab.models.registry import MODEL_TYPES, estimator_class
from pidlab.pipeline import analysis

class HalfImported(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):  # the import system asks whether it has a __path__
            raise AttributeError(name)
        print("asked for", name)
        raise AttributeError(name)

half = sys.modules["torch"] = HalfImported("torch")
half.Tensor = type("Tensor", (), {})
rng = np.random.default_rng(1)
y = rng.integers(0, 2, 600)
x = (rng.normal(size=(600, 3)) + y[:, None]).astype(np.float32)
for kind, row in MODEL_TYPES.items():
    if row.torch == "no" and row.estimator:
        model = estimator_class(kind)().fit(x, y)
        print(kind, model.scores(x).shape)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    trained = [kind for kind, row in MODEL_TYPES.items() if row.torch == "no" and row.estimator]
    assert len(trained) == 8
    assert done.stdout.splitlines() == [f"{k} (600, {1 if k.endswith('_regression') else 2})" for k in trained]


@pytest.mark.parametrize("kind", TRAINED)
def test_the_constructor_of_an_estimator_takes_the_keys_of_its_section(kind: str):
    further: dict[str, dict[str, Any]] = {
        "sklearn": {"estimator": "sklearn.naive_bayes.GaussianNB"},
        "sklearn_regression": {"estimator": "sklearn.linear_model.Ridge"},
        "band": {"variables": ["a"], "against": "b"},
        "likelihood": {"detectors": {"tpc": ["a"]}, "against": "b"},
    }
    spec = MODEL_TYPES[kind].section(type=MODEL_TYPES[kind].type, **further.get(kind, {}))
    options = build_estimator(spec, ["a", "b"], 1, 7, Resources("cpu", 2), [0.9]).get_params(deep=False)
    expected = {"seed": 7, "device": "cpu", "n_jobs": 2, "feature_names": ["a", "b"], "signal": 1}
    assert {k: v for k, v in options.items() if k in expected} == {k: v for k, v in expected.items() if k in options}
    kept = {k: v for k, v in spec.model_dump().items() if k in options and k not in ("efficiencies", "figure_of_merit")}
    assert {k: options[k] for k in kept} == kept
