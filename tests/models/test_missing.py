"""Estimators and missing values: medians and columns that tell what was missing, as in a run; and tables with names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from sklearn.base import clone

import pidlab
from pidlab.models.base import Classifier
from pidlab.preprocess.scaling import fit_scaler

ESTIMATORS: list[Classifier] = [
    pidlab.BDT(n_estimators=10),
    pidlab.Cuts(generations=5),
    pidlab.Fisher(),
    pidlab.Logistic(),
    pidlab.NaiveBayes(),
    pidlab.MLP(hidden=[8], epochs=40, device="cpu"),
]
NEED_NUMBERS = ESTIMATORS[2:]


def gaps(n: int = 600, seed: int = 1) -> tuple[Any, Any]:
    """Events of which those of class 1 lack the second feature more often."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    x = rng.normal(size=(n, 3)) + 0.5 * y[:, None]
    x[rng.random(n) < np.where(y == 1, 0.6, 0.1), 1] = np.nan
    return x, y


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_missing_values_are_taken_and_what_is_missing_tells_the_classes_apart(estimator: Classifier) -> None:
    model = clone(estimator).fit(*gaps())
    x, _ = gaps(seed=2)
    assert np.isfinite(model.predict_proba(x)).all()
    assert model.n_features_in_ == 3
    lacking, present = (model.predict_proba(x)[rows, 1].mean() for rows in (np.isnan(x[:, 1]), ~np.isnan(x[:, 1])))
    assert lacking > present + 0.1 or isinstance(model, pidlab.Cuts)  # a window that is open takes what is missing


@pytest.mark.parametrize("estimator", NEED_NUMBERS, ids=lambda e: type(e).__name__)
def test_missing_values_become_what_a_run_makes_of_them(estimator: Classifier) -> None:
    x, y = gaps()
    as_in_a_run = fit_scaler(x, "none").transform(x)
    single = clone(estimator).fit(x.astype(np.float32), y)
    np.testing.assert_array_equal(single.missing_.filled(x.astype(np.float32)), as_in_a_run)
    np.testing.assert_allclose(
        single.predict_proba(x.astype(np.float32)),
        clone(estimator).fit(as_in_a_run, y).predict_proba(as_in_a_run),
        rtol=1e-12, atol=0,
    )  # fmt: skip


@pytest.mark.parametrize("estimator", NEED_NUMBERS, ids=lambda e: type(e).__name__)
def test_a_saved_estimator_still_knows_what_replaces_missing_values(estimator: Classifier, tmp_path: Path) -> None:
    x, y = gaps()
    model = clone(estimator).fit(x, y)
    model.save(tmp_path)
    again = type(model).load(tmp_path)
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
    assert again.n_features_in_ == 3


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_records_are_a_table_whose_names_are_checked(estimator: Classifier) -> None:
    x, y = gaps()
    records = ak.zip({"dE": x[:, 0], "beta": ak.mask(x[:, 1], ~np.isnan(x[:, 1])), "n": x[:, 2]})
    model = clone(estimator).fit(records, y)
    assert list(model.feature_names_in_) == ["dE", "beta", "n"]
    expected = clone(estimator).fit(x, y).predict_proba(x)
    np.testing.assert_allclose(model.predict_proba(records), expected, rtol=1e-12, atol=0)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict_proba(ak.zip({"dE": x[:, 0], "gamma": x[:, 1], "n": x[:, 2]}))


def test_trees_have_importances_that_sum_to_one() -> None:
    model = pidlab.BDT(n_estimators=10).fit(*gaps())
    assert model.feature_importances_.sum() == pytest.approx(1)
