"""The registry: one row a type of model, and everything that a row names exists."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from pidlab.config.schema import ImportedSpec, ModelSection, TrainableSpec
from pidlab.export.run import FORMATS
from pidlab.models.base import Classifier
from pidlab.models.registry import MODEL_TYPES, ModelType, Resources, build_estimator, estimator_class, imported

ROWS = pytest.mark.parametrize("row", MODEL_TYPES.values(), ids=MODEL_TYPES)
TRAINED = [name for name, row in MODEL_TYPES.items() if row.section in get_args(TrainableSpec)]


def test_every_section_of_a_model_has_one_row():
    (sections, _) = get_args(ModelSection)
    assert {row.section for row in MODEL_TYPES.values()} == set(get_args(sections))


@ROWS
def test_a_model_has_an_estimator_unless_it_is_an_expression(row: ModelType):
    assert bool(row.estimator) == (row.section in get_args(TrainableSpec | ImportedSpec))
    assert not row.estimator or issubclass(estimator_class(row.name), Classifier)


@ROWS
def test_every_export_that_a_row_names_is_a_format_and_exists(row: ModelType):
    # what a feature made of a band needs, besides the formats
    assert row.exports.keys() <= FORMATS.keys() | {"header_outputs", "onnx_outputs"}
    assert all(callable(imported(place)) for place in row.exports.values())


def test_only_scores_of_cuts_bands_tmva_and_models_without_labels_never_are_probabilities():
    without = {"expression", "score", "cuts", "band", "tmva", "mixture", "autoencoder"}
    assert {n for n, r in MODEL_TYPES.items() if not r.probability} == without


@pytest.mark.parametrize("kind", TRAINED)
def test_the_constructor_of_an_estimator_takes_the_keys_of_its_section(kind: str):
    further: dict[str, dict[str, Any]] = {
        "sklearn": {"estimator": "sklearn.naive_bayes.GaussianNB"},
        "band": {"variables": ["a"], "against": "b"},
        "likelihood": {"detectors": {"tpc": ["a"]}, "against": "b"},
    }
    spec = MODEL_TYPES[kind].section(type=kind, **further.get(kind, {}))
    options = build_estimator(spec, ["a", "b"], 1, 7, Resources("cpu", 2), [0.9]).get_params(deep=False)
    expected = {"seed": 7, "device": "cpu", "n_jobs": 2, "feature_names": ["a", "b"], "signal": 1}
    assert {k: v for k, v in options.items() if k in expected} == {k: v for k, v in expected.items() if k in options}
    kept = {k: v for k, v in spec.model_dump().items() if k in options and k not in ("efficiencies", "figure_of_merit")}
    assert {k: options[k] for k in kept} == kept
