"""Scaling: monotone, finite, and the same after a round trip through JSON."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evaluate_samples import sample_of
from pidlab.config.load import check_config
from pidlab.models.inputs import TrainingTask
from pidlab.models.registry import Resources
from pidlab.preprocess import scaling_lines
from pidlab.preprocess.scaling import Method, Scaler, fit_scaler

METHODS: list[Method] = ["none", "minmax", "standard", "robust", "quantile"]
RNG = np.random.default_rng(5)
X = np.column_stack([RNG.exponential(size=5000), RNG.integers(0, 4, 5000), np.full(5000, 7.0)]).astype("f4")


@pytest.mark.parametrize("method", METHODS)
def test_scaling_keeps_the_order_and_is_finite(method: Method) -> None:
    scaler = fit_scaler(X, method)
    wild = np.array([[-1e30, -5, 7], [0, 0, 7], [0.5, 1, 7], [1e30, 9, 8]], "f4")
    scaled = scaler.transform(wild)
    assert np.isfinite(scaled).all()
    assert (np.diff(scaled[:, :2], axis=0) >= 0).all()


def test_known_answers() -> None:
    column = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]], "f4")
    assert fit_scaler(column, "minmax").transform(column)[:, 0].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert fit_scaler(column, "robust").transform(column)[:, 0].tolist() == [-1, -0.5, 0, 0.5, 1]
    standard = fit_scaler(column, "standard").transform(column)[:, 0]
    np.testing.assert_allclose(standard, (column[:, 0] - 2) / np.sqrt(2), rtol=1e-6, atol=1e-7)


def test_quantile_scaling_gives_a_normal_distribution() -> None:
    scaled = fit_scaler(X, "quantile").transform(X)[:, 0]
    assert stats.kstest(scaled, "norm").pvalue > 0.01


def test_one_wild_outlier_does_not_flatten_the_rest() -> None:
    x = np.append(RNG.normal(5, 1, 2000), 796).astype("f4")[:, None]
    assert fit_scaler(x, "quantile").transform(x)[:-1].std() > 0.9
    assert fit_scaler(x, "minmax").transform(x)[:-1].std() < 0.01


def test_missing_values_become_the_median_and_an_indicator() -> None:
    x = X.copy()
    x[::10, 0] = np.nan
    scaler = fit_scaler(x, "quantile")
    scaled = scaler.transform(x)
    assert scaled.shape == (5000, 4)
    assert np.array_equal(scaled[:, 3], np.isnan(x[:, 0]))
    assert np.abs(scaled[::10, 0]).max() < 0.02
    assert scaler.indicators == (0,)


def test_a_feature_without_any_value_is_scaled_to_nothing_bad() -> None:
    x = np.full((10, 1), np.nan, "f4")
    assert np.isfinite(fit_scaler(x, "quantile").transform(x)).all()


@given(st.sampled_from(METHODS), st.integers(0, 2**32 - 1))
def test_json_keeps_every_bit(method: Method, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(50, 2)).astype("f4")
    scaler = fit_scaler(x, method)
    again = Scaler.from_json(json.loads(json.dumps(scaler.to_json())))
    assert np.array_equal(scaler.transform(x), again.transform(x))


@settings(deadline=None)  # the first call may compile
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=300, unique=True).map(sorted),
    st.lists(st.floats(width=32), max_size=1200),
)
def test_the_compiled_line_is_that_of_numpy_to_the_bit(knots: list[float], x: list[float]) -> None:
    at, values = np.array(knots), np.cbrt(np.array(knots))
    points = np.array([*x, *knots], np.float64)
    out = np.empty((len(points), 2), np.float32)
    with patch.object(scaling_lines, "_FEW", 0):  # so that it is compiled
        scaling_lines.broken_line(points, at, values, out[:, 1])
    assert np.array_equal(out[:, 1], np.interp(points, at, values).astype("f4"), equal_nan=True)


@pytest.mark.parametrize("policy", ["abs", "zero", "drop"])
@pytest.mark.parametrize("method", METHODS[1:])
def test_rows_without_weight_in_training_move_no_scale(method: Method, policy: str, tmp_path: Path) -> None:
    content = {
        "data": {"files": "a.root"}, "classes": {"s": "y == 0", "b": "y == 1"}, "features": ["f0"],
        "models": {"fisher": {"type": "fisher"}}, "scaling": method, "negative_weights": policy,
    }  # fmt: skip
    config = check_config(content, {}, tmp_path / "a.yaml").config
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(600, 1)), np.arange(600) % 2
    weight = np.where(np.arange(600) < 200, 0.0 if policy == "abs" else -1.0, 1.0)
    x[:200] += 1e4
    x[0] = np.nan
    whole = sample_of(y, x=x, weight=weight)
    spec, resources = config.models["fisher"], Resources("cpu")
    samples = (whole, whole.take(weight > 0))
    task = TrainingTask("fisher", spec, config, resources)
    found, expected = (task.inputs(s, s).scaler for s in samples)
    assert found.to_json() == expected.to_json()
