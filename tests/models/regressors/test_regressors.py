"""Regressors: exact solutions, known means and widths, weights, missing values, blocks, and what is saved."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.linear_model import QuantileRegressor, Ridge
from sklearn.utils.estimator_checks import check_estimator

from pidlab.errors import ModelError, UsageError
from pidlab.models import matrix
from pidlab.models.base import TrainingDataError, ValidationSet
from pidlab.models.external.sklearn.estimators import REGRESSOR, named_class
from pidlab.models.matrix import LazyMatrix
from pidlab.models.regressors.base import Regressor, TargetScale, weighted_quantiles
from pidlab.models.regressors.bdt import BDTRegressor, GaussianObjective
from pidlab.models.regressors.constant import ConstantRegressor
from pidlab.models.regressors.linear import LinearRegressor
from pidlab.models.regressors.network import MLPRegressor
from pidlab.models.regressors.sklearn import SklearnRegressor

Array = NDArray[np.float64]
TREES: dict[str, Any] = {"n_estimators": 60, "learning_rate": 0.1, "max_depth": 3, "n_jobs": 1}
NETWORK: dict[str, Any] = {"hidden": [32, 32], "epochs": 15, "device": "cpu"}
EACH_LOSS = pytest.mark.parametrize("loss", ["squared", "absolute", "quantile", "gaussian"])


def line(n: int = 2000, seed: int = 0) -> tuple[Array, Array, Array]:
    """n events of four correlated features, a linear target with outliers, and weights."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)) @ rng.normal(size=(4, 4)) + [0, 10, 0, -3]
    return x, x @ [1, 2, -0.5, 0] + 3 + rng.standard_t(3, n), rng.exponential(size=n)


def wave(n: int, seed: int, unit: float = 1.0) -> tuple[NDArray[np.float32], Array, Array]:
    """n events with a target of known mean sin 3x and a width that doubles with the second feature."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (n, 2)).astype(np.float32)
    sigma = 0.15 * np.where(x[:, 1] > 0, 2.0, 1.0)
    return x, unit * (np.sin(3 * x[:, 0]) + sigma * rng.normal(size=n)), unit * sigma


def validation(n: int = 1500, seed: int = 99, unit: float = 1.0) -> ValidationSet:
    x, y, _ = wave(n, seed, unit)
    return ValidationSet(x, y, np.ones(n))


def made(kind: str, loss: str) -> Regressor:
    return {
        "constant": lambda: ConstantRegressor(loss),
        "bdt": lambda: BDTRegressor(loss, **TREES),
        "mlp": lambda: MLPRegressor(loss, **NETWORK),
    }[kind]()


# Constants


def test_constants_are_the_best_of_each_loss() -> None:
    x, y, w = line()
    mean = np.average(y, weights=w)
    assert ConstantRegressor().fit(x, y, w).predict(x[:1])[0] == pytest.approx(mean, rel=1e-12)
    widths = ConstantRegressor("gaussian").fit(x, y, w)
    assert widths.outputs(x[:1])[0, 0] == pytest.approx(np.sqrt(np.average((y - mean) ** 2, weights=w)), rel=1e-6)
    below = ConstantRegressor("quantile", [0.84, 0.16]).fit(x, y, w).numbers(x[:1])[0]
    for value, level in zip(below, [0.16, 0.84], strict=True):
        assert np.average(y < value, weights=w) <= level <= np.average(y <= value, weights=w)
    for shift in (-0.1, 0.1):  # the median minimises absolute errors
        median = ConstantRegressor("absolute").fit(x, y, w).values_[0]
        assert np.average(np.abs(y - median), weights=w) < np.average(np.abs(y - median - shift), weights=w)


def test_integer_weights_are_copies() -> None:
    rng = np.random.default_rng(1)
    values, times = rng.normal(size=50), rng.integers(1, 4, 50)
    levels = [0.1, 0.16, 0.5, 0.9]
    copies = np.repeat(values, times)
    expected = weighted_quantiles(copies, np.ones(len(copies)), levels)
    assert np.array_equal(weighted_quantiles(values, times.astype(float), levels), expected)


# Linear


def test_least_squares_are_exact() -> None:
    x, y, w = line()
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    ours = LinearRegressor().fit(x, y, w)
    root = np.sqrt(w)[:, None]
    exact = np.linalg.lstsq(root * np.column_stack([x, np.ones(len(x))]), root[:, 0] * y)[0]
    np.testing.assert_allclose(np.append(ours.coefficients_, ours.intercept_), exact, rtol=1e-10, atol=0)


def test_least_squares_keep_their_digits_where_normal_equations_lose_them() -> None:
    rng = np.random.default_rng(2)
    t = rng.uniform(0, 1, 500)
    x = np.column_stack([t, t + 1e-7 * rng.normal(size=500)])  # normal equations square the 1e-7
    ours = LinearRegressor().fit(x, x @ [3.0, -2.0] + 1)
    np.testing.assert_allclose(ours.coefficients_[0], [3, -2], rtol=1e-6, atol=0)


def test_collinear_features_share_the_slope() -> None:
    t = np.linspace(0, 1, 50)
    ours = LinearRegressor().fit(np.column_stack([t, t]), 4 * t)
    np.testing.assert_allclose(ours.coefficients_[0], [2, 2], rtol=1e-9, atol=0)


def test_the_ridge_is_scikit_learn_s_on_features_of_unit_width() -> None:
    x, y, w = line()
    mean = np.average(x, axis=0, weights=w)
    unit = (x - mean) / np.sqrt(np.average((x - mean) ** 2, axis=0, weights=w))
    theirs = Ridge(alpha=50).fit(unit, y, w / w.mean())
    ours = LinearRegressor(alpha=50).fit(1e3 * x, y, 1e-5 * w)
    np.testing.assert_allclose(ours.predict(1e3 * x), theirs.predict(unit), rtol=1e-9, atol=1e-9)


def test_absolute_errors_are_minimised_as_by_linear_programming() -> None:
    x, y, w = line(500)
    theirs = QuantileRegressor(quantile=0.5, alpha=0).fit(x, y, w)
    ours = LinearRegressor("absolute").fit(x, y, w)

    def loss(model: Any) -> float:
        return float(np.average(np.abs(y - model.predict(x)), weights=w))

    assert loss(ours) <= loss(theirs) * (1 + 1e-7)


def test_huber_solves_its_equations_and_resists_outliers() -> None:
    x, y, w = line()
    y[:100] += 500
    ours = LinearRegressor("huber").fit(x, y, w)
    assert np.abs(ours.coefficients_[0] - [1, 2, -0.5, 0]).max() < 0.1
    assert np.abs(LinearRegressor().fit(x, y, w).coefficients_[0] - [1, 2, -0.5, 0]).max() > 0.5
    residual = y - ours.predict(x)
    limit = 1.345 * 1.4826 * weighted_quantiles(np.abs(residual), w, [0.5])[0]
    pull = w * np.clip(residual, -limit, limit)
    equations = np.column_stack([x - x.mean(axis=0), np.ones(len(x))]).T @ pull
    np.testing.assert_allclose(equations / np.abs(pull).sum(), 0, atol=1e-7)


@pytest.mark.parametrize("loss", ["squared", "huber", "absolute"])
def test_blocks_change_nothing(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, w = line(700)
    x = x.astype(np.float32)
    whole = LinearRegressor(loss).fit(x, y, w)
    monkeypatch.setattr(matrix, "BLOCK_ROWS", 100)
    blocks = LinearRegressor(loss).fit(LazyMatrix(x, lambda rows: rows, 4), y, w)
    np.testing.assert_allclose(blocks.coefficients_, whole.coefficients_, rtol=1e-6, atol=0)


def test_contributions_of_a_linear_model_sum_to_its_prediction() -> None:
    x, y, _ = line(300)
    ours = LinearRegressor().fit(x, y)
    np.testing.assert_allclose(ours.contributions(x).sum(axis=2)[:, 0], ours.predict(x), rtol=1e-5, atol=1e-4)


# Trees and networks


@EACH_LOSS
@pytest.mark.parametrize("kind", ["bdt", "mlp"])
def test_a_known_mean_and_a_known_width_are_found(kind: str, loss: str) -> None:
    x, y, _ = wave(4000, 0)
    test, _, sigma = wave(4000, 1)
    model = made(kind, loss).fit(x, y, validation=validation())
    error = model.predict(test) - np.sin(3 * test[:, 0])
    assert np.sqrt(np.mean(error**2)) < 0.1  # of a target with a width of .7, and a noise of .24
    if loss == "gaussian":
        np.testing.assert_allclose(np.median(model.outputs(test)[:, 0] / sigma), 1, atol=0.1)
        # The width jumps by a factor of two, which a smooth function and trees of few events cannot follow everywhere.
        assert np.quantile(np.abs(np.log(model.outputs(test)[:, 0] / sigma)), 0.9) < np.log(2) / 2
    if loss == "quantile":
        assert model.output_names == ("q16", "q50", "q84")
        y_test = np.sin(3 * test[:, 0]) + sigma * np.random.default_rng(5).normal(size=len(test))
        covered = (y_test[:, None] < model.outputs(test)).mean(axis=0)
        np.testing.assert_allclose(covered, [0.16, 0.5, 0.84], atol=0.05)
        reach = norm.ppf(0.84) * sigma
        assert np.median(np.diff(model.outputs(test)[:, [0, 2]])[:, 0] / (2 * reach)) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("kind", ["bdt", "mlp"])
def test_pulls_have_the_width_one_on_events_that_were_never_seen(kind: str) -> None:
    x, y, _ = wave(3000, 0)
    test, y_test, _ = wave(20_000, 1)
    model = made(kind, "gaussian").fit(x, y, validation=validation(5000))
    assert model.notes == ()
    [note] = made(kind, "gaussian").fit(x[:200], y[:200]).notes
    assert "widths are those of the training sample alone" in note
    pulls = (y_test - model.predict(test)) / model.outputs(test)[:, 0]
    # The factor comes from 5000 validation events, to a per cent.
    assert np.sqrt(np.mean(pulls**2)) == pytest.approx(1, abs=0.04)


@EACH_LOSS
@pytest.mark.parametrize("kind", ["constant", "bdt", "mlp"])
def test_a_unit_of_the_target_is_a_unit_of_everything(kind: str, loss: str) -> None:
    x, y, _ = wave(600, 0)
    small, large = (made(kind, loss).fit(x, unit * y, validation=validation(300, unit=unit)) for unit in (1.0, 2.0**20))
    np.testing.assert_allclose(large.numbers(x), 2.0**20 * small.numbers(x), rtol=1e-6, atol=1e-6 * 2.0**20)
    for name in ("loss", "validation_loss") if small.history_ else ():
        values = small.history_[name]
        scaled = np.array(values) * {"squared": 4.0**20, "gaussian": 1.0}.get(loss, 2.0**20)
        scaled += np.log(2.0**20) if loss == "gaussian" else 0
        np.testing.assert_allclose(large.history_[name], scaled, rtol=1e-5)


@pytest.mark.parametrize("loss", ["squared", "absolute", "quantile", "gaussian"])
@pytest.mark.parametrize("kind", ["bdt", "mlp"])
def test_weights_say_which_events_count(kind: str, loss: str) -> None:
    x, y, _ = wave(6000, 0)
    other = np.random.default_rng(3).random(6000) < 0.5
    wrong = np.where(other, y + 5, y)
    ignored = made(kind, loss).fit(x, wrong, np.where(other, 0.0, 1.0))
    assert np.median(np.abs(ignored.predict(x) - np.sin(3 * x[:, 0]))) < 0.2
    assert np.median(made(kind, loss).fit(x, wrong, np.where(other, 9.0, 1.0)).predict(x)) > 3


def test_history_is_the_loss_in_the_unit_of_the_target() -> None:
    x, y, _ = wave(1000, 0)
    y = 100 * y + 7
    stops = ValidationSet(x[:500], y[:500], np.ones(500))
    for model in (BDTRegressor(**TREES), MLPRegressor(**NETWORK)):
        told: list[float] = []
        model.fit(
            x[500:], y[500:], validation=stops, progress=lambda _, __, n, to=told: to.append(n["validation_loss"])
        )
        assert set(told) <= set(model.history_["validation_loss"])
        residual = y[:500] - model.predict(x[:500])
        assert min(model.history_["validation_loss"]) == pytest.approx(np.mean(residual**2), rel=1e-4)
    widths = BDTRegressor("gaussian", **TREES).fit(x[500:], y[500:], validation=stops)
    factor = widths.scale_.sigma_factor
    sigma = widths.numbers(x[:500])[:, 1] / factor
    pulls = (y[:500] - widths.predict(x[:500])) / sigma
    expected = np.mean(np.log(sigma) + pulls**2 / 2)
    assert min(widths.history_["validation_loss"]) == pytest.approx(expected, rel=1e-4)
    assert factor == pytest.approx(np.sqrt(np.mean(pulls**2)), rel=1e-4)


def test_the_gradient_of_the_gaussian_is_that_of_its_loss() -> None:
    from pidlab.models.base import TrainingRows

    rng = np.random.default_rng(4)
    margins, y, w = rng.normal(size=(30, 2)).astype(np.float32), rng.normal(size=30), rng.exponential(size=30)
    rows = TrainingRows(np.zeros((30, 1)), y, w, float(w.mean()))
    objective = GaussianObjective([("events", rows)])
    first, second = objective.gradient(margins, "events")
    step = 1e-2
    for column in (0, 1):
        moved = []
        for sign in (-1, 1):
            shifted = margins.astype(np.float64)
            shifted[:, column] += sign * step
            moved.append([0.5 * z * z + s for z, s in zip((y - shifted[:, 0]) * np.exp(-shifted[:, 1]), shifted[:, 1],
                                                          strict=True)])  # fmt: skip
        slope = w * np.subtract(moved[1], moved[0]) / (2 * step)
        ratio = first[:, column] / slope
        np.testing.assert_allclose(ratio, np.median(ratio), rtol=2e-3)  # a common factor for all events
        assert (second[:, column] > 0).all()
    name, value = objective.value(margins, "events")
    z = (y - margins[:, 0]) * np.exp(-margins[:, 1])
    assert (name, value) == ("likelihood", pytest.approx(np.average(margins[:, 1] + z * z / 2, weights=w), rel=1e-6))


def test_one_outlier_does_not_ruin_the_widths_of_trees() -> None:
    x, y, sigma = wave(2000, 0)
    y[0] = 1e4
    model = BDTRegressor("gaussian", **{**TREES, "n_estimators": 300}).fit(x, y)
    assert np.median(model.outputs(x)[:, 0] / sigma) < 3


def test_quantiles_do_not_cross() -> None:
    x, y, _ = wave(300, 0)
    levels = [0.45, 0.5, 0.55, 0.6]
    for model in (BDTRegressor("quantile", levels, **TREES), MLPRegressor("quantile", levels, **NETWORK)):
        outputs = model.fit(x, y).outputs(x)
        assert (np.diff(outputs) >= 0).all()
        assert np.array_equal(model.scores(x)[:, 0], outputs[:, 1])


def test_missing_values_are_a_feature_too() -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(2000, 2))
    missing = rng.random(2000) < 0.3
    y = np.where(missing, 4.0, x[:, 0]) + 0.1 * rng.normal(size=2000)
    x[missing, 0] = np.nan
    for model in (LinearRegressor(), BDTRegressor(**TREES), MLPRegressor(**NETWORK)):
        error = model.fit(x, y).predict(x)[missing] - 4.0
        assert np.abs(error).mean() < 0.3, type(model)


@EACH_LOSS
@pytest.mark.parametrize("kind", ["bdt", "mlp"])
def test_a_sample_in_blocks_trains_as_a_whole_one(kind: str, loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, _ = wave(1000, 0)
    sample = validation(300)
    whole = made(kind, loss).fit(x, y, validation=sample)
    monkeypatch.setattr(matrix, "BLOCK_ROWS", 128)
    lazy = [LazyMatrix(each, lambda rows: rows, 2) for each in (x, np.asarray(sample.x))]
    blocks = made(kind, loss).fit(lazy[0], y, validation=ValidationSet(lazy[1], sample.y, sample.weight))
    np.testing.assert_allclose(blocks.numbers(x), whole.numbers(x), rtol=1e-4, atol=1e-4)


def test_a_large_table_of_a_network_is_read_in_shuffled_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from pidlab.models.mlp.engine import targets

    monkeypatch.setattr(targets, "LARGEST_TABLE", 1000)
    x, y, _ = wave(4000, 0)
    model = MLPRegressor(**NETWORK).fit(LazyMatrix(x, lambda rows: rows, 2), y)
    assert np.sqrt(np.mean((model.predict(x) - np.sin(3 * x[:, 0])) ** 2)) < 0.1


def test_importance_and_contributions_of_trees_are_in_the_unit_of_the_target() -> None:
    x, y, _ = wave(1500, 0)
    y = 50 * y + 1000
    for loss in ("squared", "gaussian", "quantile"):
        model = BDTRegressor(loss, **TREES).fit(x, y)
        found = model.contributions(x[:50])
        assert found.shape == (50, 1, 3)
        np.testing.assert_allclose(found.sum(axis=2)[:, 0], model.predict(x[:50]), rtol=1e-4)
        assert model.feature_importances_.sum() == pytest.approx(1)
        assert model.feature_importances_[0] > 0.5
        assert model.first_trees(3, 2)


def test_members_are_averaged() -> None:
    x, y, _ = wave(800, 0)
    ensemble = MLPRegressor("gaussian", members=3, **NETWORK).fit(x, y)
    assert len(ensemble.networks_) == 3
    alone = []
    for network in ensemble.networks_:
        single = MLPRegressor("gaussian", **NETWORK)
        single.networks_, single.scale_, single.missing_ = (network,), ensemble.scale_, ensemble.missing_
        alone.append(single.numbers(x))
    np.testing.assert_allclose(ensemble.numbers(x)[:, 0], np.mean(alone, axis=0)[:, 0], rtol=1e-9)
    widths = np.exp(np.mean(np.log([each[:, 1] for each in alone]), axis=0))
    np.testing.assert_allclose(ensemble.numbers(x)[:, 1], widths, rtol=1e-9)


# Regressors of other packages


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("sklearn.ensemble.HistGradientBoostingRegressor", {"max_iter": 20, "random_state": 0}),
        ("sklearn.ensemble.HistGradientBoostingRegressor", {"max_iter": 20, "random_state": 0, "loss": "gamma"}),
        ("sklearn.linear_model.Ridge", {"alpha": 2.0}),
    ],
    ids=["trees", "logarithmic link", "ridge"],
)
def test_the_graph_of_a_regressor_predicts_what_the_regressor_does(name: str, parameters: dict[str, Any]) -> None:
    x, y, _ = wave(500, 0)
    y, w = 1e4 * (y + 5), np.random.default_rng(2).exponential(size=500)
    theirs = named_class(name, kind=REGRESSOR)(**parameters).fit(x, y, w / w.mean()).predict(x)
    np.testing.assert_allclose(SklearnRegressor(name, parameters).fit(x, y, w).predict(x), theirs, rtol=1e-6)


def test_a_class_that_is_no_regressor_is_refused() -> None:
    x, y, _ = wave(50, 0)
    with pytest.raises(ModelError, match="is no regressor of that package; name a class that predicts a number"):
        SklearnRegressor("sklearn.ensemble.RandomForestClassifier").fit(x, y)
    with pytest.raises(ModelError, match="has no 'RidgeR'; did you mean 'Ridge'"):
        SklearnRegressor("sklearn.linear_model.RidgeR").fit(x, y)
    with pytest.raises(ModelError, match="importing a package runs its code"):
        SklearnRegressor("homemade.models.Mine").fit(x, y)


# What is saved, and what is refused

FITTED: dict[str, Callable[[], Regressor]] = {
    "constant": lambda: ConstantRegressor("gaussian"),
    "linear": LinearRegressor,
    "trees": lambda: BDTRegressor("gaussian", **TREES),
    "quantiles": lambda: BDTRegressor("quantile", (0.1, 0.9), **TREES),
    "network": lambda: MLPRegressor("quantile", (0.025, 0.5), hidden=(4,), epochs=2, members=2, device="cpu"),
    "sklearn": lambda: SklearnRegressor("sklearn.ensemble.HistGradientBoostingRegressor", {"max_iter": 5}),
}


@pytest.mark.parametrize("name", FITTED)
def test_what_is_saved_loads_to_the_same_bits(name: str, tmp_path: Path) -> None:
    x, y, _ = wave(400, 0)
    model = FITTED[name]().fit(x, y, validation=validation(200))
    model.save(tmp_path)
    loaded = type(model).load(tmp_path)
    assert np.array_equal(loaded.numbers(x), model.numbers(x))
    assert np.array_equal(loaded.scores(x), model.scores(x))
    assert np.array_equal(loaded.outputs(x), model.outputs(x))
    assert loaded.output_names == model.output_names
    assert loaded.history_ == model.history_
    assert list(loaded.classes_) == [0]
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".ubj", ".safetensors", ".onnx"}


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("constant", {"values": [1.0]}),
        ("constant", {"values": [1.0, "x"]}),
        ("linear", {"intercept": [1.0, 2.0]}),
        ("linear", {"n_features": 3}),
        ("trees", {"scale": {"centre": 0.0, "width": -1.0, "sigma_factor": 1.0}}),
        ("trees", {"n_features": 3}),
        ("trees", {"parameters": {"loss": "squared"}}),
        ("quantiles", {"parameters": {"loss": "quantile", "quantiles": [0.2, 0.9]}}),
        ("network", {"parameters": {"loss": "gaussian", "quantiles": [0.5], "hidden": [4]}, "n_features": 1}),
        ("network", {"activation": "tanh", "parameters": {"activation": "relu", "loss": "quantile"}}),
        ("sklearn", {"n_features": 5}),
    ],
)
def test_a_damaged_file_is_refused(name: str, damage: dict[str, Any], tmp_path: Path) -> None:
    x, y, _ = wave(200, 0)
    model = FITTED[name]().fit(x, y)
    model.save(tmp_path)
    path = tmp_path / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(ModelError, match="make the run again"):
        type(model).load(tmp_path)
    path.write_text(json.dumps({"type": "bdt"}))
    with pytest.raises(ModelError, match="holds a model of type 'bdt'"):
        type(model).load(tmp_path)


def test_what_cannot_be_trained_is_said() -> None:
    x, y, _ = wave(50, 0)
    with pytest.raises(TrainingDataError, match="1 of 50 training weights are negative"):
        LinearRegressor().fit(x, y, np.where(np.arange(50) == 3, -1, 1))
    with pytest.raises(ValueError, match="weight"):
        ConstantRegressor().fit(x, y, np.zeros(50))
    with pytest.raises(ModelError, match="loss is 'square'; did you mean 'squared'"):
        ConstantRegressor("square").fit(x, y)
    with pytest.raises(ModelError, match=r"quantiles are \[0.5, 1.0\]; they must be different numbers in \(0, 1\)"):
        ConstantRegressor("quantile", [0.5, 1.0]).fit(x, y)
    with pytest.raises(ModelError, match="alpha is -1"):
        LinearRegressor(alpha=-1).fit(x, y)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        BDTRegressor(**TREES).fit(x, np.where(np.arange(50) == 3, np.nan, y))
    with pytest.raises(TrainingDataError, match="the target of 1 training rows is not finite"):
        BDTRegressor(**TREES).fit(LazyMatrix(x, lambda rows: rows, 2), np.where(np.arange(50) == 3, np.nan, y))
    with pytest.raises(TrainingDataError, match=r"shapes x \(50, 1\)"):
        BDTRegressor(**TREES).fit(x, y, validation=ValidationSet(x[:, :1], y, np.ones(50)))
    with pytest.raises(UsageError, match="base_score follows from the target"):
        BDTRegressor(parameters={"base_score": 1.0}).fit(x, y)
    with pytest.raises(ModelError, match="trained on 2 features; 3 were given"):
        MLPRegressor(**NETWORK).fit(x, y).scores(np.zeros((1, 3)))


def test_a_constant_target_is_predicted() -> None:
    x, _, _ = wave(60, 0)
    for model in (ConstantRegressor("gaussian"), LinearRegressor("huber"), BDTRegressor("gaussian", **TREES),
                  MLPRegressor("gaussian", **NETWORK)):  # fmt: skip
        np.testing.assert_allclose(model.fit(x, np.full(60, 3e5)).predict(x), 3e5, atol=1.0)


def test_the_scale_of_a_target_is_that_of_its_core() -> None:
    y = np.concatenate([np.random.default_rng(0).normal(10, 2, 10_000), np.full(100, 1e6)])
    scale = TargetScale.of(y, np.ones(len(y)))
    assert scale.centre == pytest.approx(10, abs=0.1)
    assert scale.width == pytest.approx(2, rel=0.05)


# scikit-learn


@pytest.mark.parametrize("activation", ["silu", "relu"])
@EACH_LOSS
def test_contributions_of_a_network_sum_to_its_prediction(loss: str, activation: str) -> None:
    x, y, _ = wave(600, 3, unit=40.0)
    x[::7, 1] = np.nan
    model = MLPRegressor(loss, hidden=[16], epochs=4, activation=activation, members=2, device="cpu").fit(x, y)
    for reference in (None, np.array([0.3, -0.2])):
        parts = model.contributions_from(x[:100], reference)
        assert parts.shape == (100, 1, 3)
        sums = parts[:, 0].sum(axis=1)
        np.testing.assert_allclose(sums, model.predict(x[:100]), rtol=0, atol=1e-3 * model.scale_.width)
        start = np.zeros((1, 2)) if reference is None else reference[None]
        if reference is not None:
            assert parts[0, 0, -1] == pytest.approx(model.predict(start)[0], rel=1e-5)


def test_contributions_of_a_network_without_hidden_layers_are_those_of_its_line() -> None:
    x, y, _ = line(500)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    model = MLPRegressor(hidden=[], epochs=5, device="cpu").fit(x, y)
    slope = model.scale_.width * model.networks_[0].weights[0][0].astype(float)
    parts = model.contributions_from(x[:50], np.ones(4))[:, 0, :-1]
    np.testing.assert_allclose(parts, slope * (x[:50] - 1), rtol=1e-5, atol=1e-5)


REGULARISED = "trees are regularised: an integer weight equals repeated rows only up to `lambda` and bins"


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        ConstantRegressor(),
        ConstantRegressor("quantile"),
        LinearRegressor(),
        LinearRegressor("huber"),
        LinearRegressor("absolute"),
        BDTRegressor(n_estimators=8, learning_rate=0.4, n_jobs=1),
        BDTRegressor("gaussian", n_estimators=12, learning_rate=0.4, n_jobs=1),
        MLPRegressor("gaussian", hidden=[8], epochs=20, learning_rate=0.05, device="cpu"),
    ],
    ids=lambda model: f"{model.kind}-{model.loss}",
)
def test_scikit_learn_s_checks(model: Regressor) -> None:
    regularised = {"check_sample_weight_equivalence_on_dense_data": REGULARISED}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=Warning, module="sklearn")
        expected = regularised if isinstance(model, BDTRegressor) else {}
        check_estimator(model, expected_failed_checks=expected, on_skip=None)
