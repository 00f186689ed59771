"""Networks of one pass with learning rates and weight decays of their own are what each would be alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from pidlab.errors import ModelError
from pidlab.models.base import ValidationSet
from pidlab.models.mlp.estimator import MLP

PLAIN: dict[str, Any] = {"hidden": [6], "epochs": 4, "batch_size": 32, "activation": "tanh", "seed": 3, "device": "cpu"}


def data(n: int = 600, dtype: Any = np.float64) -> tuple[Any, Any, Any, ValidationSet]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(n, 3)).astype(dtype)
    y = (x[:, 0] * x[:, 1] + 0.3 * rng.normal(size=n) > 0).astype(int)
    weight = rng.uniform(0.5, 2, n)
    return x[:400], y[:400], weight[:400], ValidationSet(x[400:], y[400:], weight[400:])


def together(template: MLP, variants: list[dict[str, Any]], dtype: Any = np.float64, **how: Any) -> list[Any]:
    x, y, weight, validation = data(dtype=dtype)
    return template.fit_variants(x, y, weight, variants=variants, validation=validation, **how)


def alone(template: MLP, variant: Mapping[str, Any], dtype: Any = np.float64) -> MLP:
    x, y, weight, validation = data(dtype=dtype)
    model: MLP = clone(template).set_params(**variant)
    return model.fit(x, y, weight, validation=validation)


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw", "nadam"])
@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
def test_each_is_what_it_is_alone_in_double_precision(optimizer: str, schedule: str) -> None:
    """Rounding alone may differ: bmm of several, and single operations where fused ones round otherwise."""
    template = MLP(**PLAIN, optimizer=optimizer, schedule=schedule)
    variants = [
        {"learning_rate": rate, "weight_decay": decay} for rate, decay in ((0.003, 0.0), (0.02, 0.0), (0.02, 0.05))
    ]
    x = data()[0]
    found = together(template, variants)
    for variant, model in zip(variants, found, strict=True):
        expected = alone(template, variant)
        assert model.get_params() == expected.get_params()
        np.testing.assert_allclose(model.predict_proba(x), expected.predict_proba(x), rtol=1e-9, atol=0)
        np.testing.assert_allclose(model.history_["loss"], expected.history_["loss"], rtol=1e-9, atol=0)
    assert not np.allclose(found[0].predict_proba(x), found[1].predict_proba(x), rtol=1e-3)
    assert not np.allclose(found[1].predict_proba(x), found[2].predict_proba(x), rtol=1e-3)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_only_one_of_its_shape_has_the_same_bits_and_the_others_end_near(dropout: float) -> None:
    template = MLP(**PLAIN, dropout=dropout)
    variants = [{"learning_rate": 0.01}, {"hidden": [4, 4], "learning_rate": 0.02}, {"learning_rate": 0.01, "seed": 9}]
    x = data(dtype=np.float32)[0]
    found = [model.predict_proba(x) for model in together(template, variants, np.float32)]
    expected = [alone(template, variant, np.float32).predict_proba(x) for variant in variants]
    assert np.array_equal(found[1], expected[1])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_ensembles_and_early_stopping_take_part() -> None:
    template = MLP(**PLAIN | {"epochs": 30, "patience": 3, "members": 2})
    variants = [{"learning_rate": rate} for rate in (0.001, 0.05, 0.2)]
    x = data(dtype=np.float32)[0]
    for variant, model in zip(variants, together(template, variants, np.float32), strict=True):
        expected = alone(template, variant, np.float32)
        assert len(model.networks_) == 2
        assert len(model.history_["loss"]) == len(expected.history_["loss"])
        np.testing.assert_allclose(model.predict_proba(x), expected.predict_proba(x), rtol=0, atol=2e-3)


@pytest.mark.slow
def test_each_chooses_its_swap_noise_as_it_does_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pidlab.models.mlp.presets._EPOCHS", (40,))  # of 200, and 80 of 400 with swap noise
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(1800, 30)), np.arange(1800) % 2
    x *= 1 + 0.25 * y[:, None]
    holdout = ValidationSet(x[1200:], y[1200:], np.ones(600))
    template, variants = MLP(members=1), [{"hidden": [8]}, {"hidden": [4], "swap_noise": 0.0}]
    found = template.fit_variants(x[:1200], y[:1200], variants=variants, validation=holdout)
    assert [model.swap_noise_ for model in found] == [0.15, 0.0]
    for own, model in zip(variants, found, strict=True):
        expected = MLP(members=1, **own).fit(x[:1200], y[:1200], validation=holdout)
        assert np.array_equal(model.predict_proba(x), expected.predict_proba(x))


def test_one_that_diverges_comes_as_its_error_and_leaves_the_others_alone() -> None:
    template = MLP(**PLAIN | {"activation": "relu", "optimizer": "sgd"})
    variants = [{"learning_rate": 0.01}, {"learning_rate": 1e30}, {"learning_rate": 0.02}]
    found = together(template, variants)
    assert isinstance(found[1], ModelError)
    with pytest.raises(ModelError) as expected:
        alone(template, variants[1])
    assert str(found[1]) == str(expected.value)
    x = data()[0]
    for i in (0, 2):
        np.testing.assert_allclose(found[i].predict_proba(x), alone(template, variants[i]).predict_proba(x), rtol=1e-9)


def test_the_pruner_is_given_each_auc_and_stops_the_variants_that_it_names() -> None:
    seen: list[tuple[int, dict[int, float]]] = []

    def pruner(done: int, total: int, areas: Mapping[int, float]) -> set[int]:
        assert total == 4
        seen.append((done, dict(areas)))
        return {1} if done == 2 else set()

    template = MLP(**PLAIN)
    variants = [{"learning_rate": 0.01}, {"learning_rate": 0.02}]
    found = together(template, variants, pruner=pruner)
    assert [(done, set(areas)) for done, areas in seen] == [(1, {0, 1}), (2, {0, 1}), (3, {0}), (4, {0})]
    assert len(found[1].history_["loss"]) == 2
    areas = [told[0] for _, told in seen]
    np.testing.assert_allclose(areas, alone(template, variants[0]).history_["validation_auc"], rtol=1e-9, atol=0)


def test_a_variant_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ModelError, match="learning_rate must be a number above 0"):
        together(MLP(**PLAIN), [{"learning_rate": -1.0}])
