"""The registry: one row a type of model, and everything that a row names exists."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from pidlab.config.schema import ImportedSpec, ModelSection, RegressionSection, TrainableSpec
from pidlab.export.run import FORMATS
from pidlab.models.base import Classifier
from pidlab.models.registry import (
    MODEL_TYPES,
    ModelType,
    Resources,
    build_estimator,
    estimator_class,
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
