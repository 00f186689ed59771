"""Comparisons of arrays with a target: the numbers of a run on a file, every kind of model, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pidlab
from conftest import write_tree
from pidlab.errors import ConfigError, DataError, ModelError, UsageError
from pidlab.models.registry import Resources
from pidlab.progress import Watcher
from pidlab.runs.record import metrics
from pidlab.runs.reproduce import reproduce

N = 2500
FEATURES = ("dE", "beta")
RNG = np.random.default_rng(5)
DE, BETA = RNG.normal(size=N), RNG.normal(size=N).astype(np.float32)
EVENTS: dict[str, Any] = {
    "dE": DE,
    "beta": np.where(RNG.random(N) < 0.05, np.nan, BETA).astype(np.float32),
    "truth": np.where(RNG.random(N) < 0.03, np.nan, 2 * DE + BETA + 0.5 * RNG.normal(size=N)),
    "is_known": RNG.random(N) < 0.9,
    "w": np.where(RNG.random(N) < 0.1, -0.3, 1.2),
    "event": (np.arange(N) // 2).astype(np.int64),
    "p": RNG.uniform(1, 5, N),
}
TABLE = {name: EVENTS[name] for name in FEATURES}
MODELS: dict[str, Any] = {"linear": pidlab.LinearRegressor(), "bdt": pidlab.BDTRegressor(n_estimators=15)}


def numbers(found: Any) -> Any:
    """metrics.json without durations, and without the name of the target."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if k not in ("seconds", "scoring", "target")}
        return [plain(v) for v in value] if isinstance(value, list) else value

    return plain(json.loads(json.dumps(metrics(found.results))))


def predicted(found: pidlab.RegressionResult, model: str) -> Any:
    """The predictions of a model in the order of the arrays."""
    order = np.argsort(found._analysis.scored.sample.row)  # type: ignore[union-attr]
    return found._analysis.scores[model][order, 0]  # type: ignore[union-attr]


@pytest.mark.parametrize("folds", [None, 3])
def test_a_comparison_with_a_target_has_every_number_of_a_run_on_a_file_of_the_same_events(
    tmp_path: Path, folds: int | None
) -> None:
    write_tree(tmp_path / "events.root", {**EVENTS, "is_known": EVENTS["is_known"].astype(np.int32)})
    more = {} if folds is None else {"folds": folds}
    of_file = pidlab.run(
        {
            "data": {"files": str(tmp_path / "events.root"), "weight": "w", "event_id": ["event"]},
            "target": {"value": "truth", "cut": "is_known"},
            "features": list(FEATURES),
            "spectators": ["p"],
            "models": {
                "constant": {"type": "constant", "loss": "absolute"},
                "linear": {"type": "linear", "loss": "huber", "alpha": 0.5},
                "bdt": {"type": "bdt", "loss": "gaussian", "n_estimators": 15, "lambda": 2.0},
                "quantiles": {"type": "bdt", "loss": "quantile", "quantiles": [0.1, 0.5], "n_estimators": 15},
                "mlp": {"type": "mlp", "hidden": [8], "epochs": 2},
                "guess": {"type": "score", "expression": "2 * dE"},
            },
            **more,
        },
        device="cpu",
    )
    of_arrays = pidlab.compare(
        TABLE,
        target={"value": EVENTS["truth"], "cut": EVENTS["is_known"]},
        weight=EVENTS["w"],
        event=EVENTS["event"],
        spectators={"p": EVENTS["p"]},
        models={
            "constant": pidlab.ConstantRegressor("absolute"),
            "linear": pidlab.LinearRegressor("huber", alpha=0.5),
            "bdt": pidlab.BDTRegressor("gaussian", n_estimators=15, parameters={"lambda": 2.0}),
            "quantiles": pidlab.BDTRegressor("quantile", [0.1, 0.5], n_estimators=15),
            "mlp": pidlab.MLPRegressor(hidden=[8], epochs=2),
            "guess": "2 * dE",
        },
        device="cpu",
        **more,
    )
    assert isinstance(of_arrays, pidlab.RegressionResult)
    assert of_arrays["linear"].rms.value < 0.7 * of_arrays["constant"].rms.value
    ours, theirs = numbers(of_arrays), numbers(of_file)
    assert json.dumps(ours).replace('"target"', '"truth"') == json.dumps(theirs)


def test_a_target_may_be_an_array_a_column_or_an_expression() -> None:
    truth = EVENTS["truth"]
    expected = pidlab.compare(TABLE, target=truth, models=MODELS)
    assert expected.results.target == "target"
    series = pd.Series(truth, name="E true")
    for found in (
        pidlab.compare(TABLE, target=truth.tolist(), models=MODELS),
        pidlab.compare(TABLE, target=series, models=MODELS),
        pidlab.compare({**TABLE, "t": truth / 2}, target="2 * t", features=FEATURES, models=MODELS),
        pidlab.compare(TABLE, target="t + 0", spectators={"t": truth}, models=MODELS, evaluate={"maps": []}),
    ):
        assert found["bdt"].rms == expected["bdt"].rms
    assert pidlab.compare(TABLE, target=series, models=MODELS).results.target == "`E true`"
    named = pidlab.compare({**TABLE, "target": EVENTS["p"]}, target=truth, models=MODELS)
    assert named.results.features == (*FEATURES, "target")
    assert named.results.target == "pidlab_target"


def test_models_of_scikit_learn_are_trained_as_clones_and_fitted_ones_are_used_unchanged() -> None:
    x = np.stack([EVENTS[name] for name in FEATURES], axis=1).astype(np.float32)
    known = np.isfinite(EVENTS["truth"])
    line = make_pipeline(SimpleImputer(), StandardScaler(), LinearRegression())
    fitted = clone(line).fit(x[known][:500], EVENTS["truth"][known][:500])
    trees = HistGradientBoostingRegressor(max_iter=20, random_state=1)
    odd = TransformedTargetRegressor(clone(line), func=np.arcsinh, inverse_func=np.sinh)
    found = pidlab.compare(
        TABLE,
        target=EVENTS["truth"],
        models={"line": line, "fitted": fitted, "trees": trees, "odd": odd, "array": EVENTS["dE"] * 2},
    )
    assert not hasattr(line[-1], "coef_")
    np.testing.assert_allclose(predicted(found, "fitted"), fitted.predict(x)[known], rtol=0, atol=1e-5)
    part = found._analysis.scored.part[np.argsort(found._analysis.scored.sample.row)]  # type: ignore[union-attr]
    for name, model in (("line", line), ("trees", trees), ("odd", odd)):
        own = clone(model).fit(x[known][part == 0], EVENTS["truth"][known][part == 0])
        assert "takes no weights" not in found[name].note
        np.testing.assert_allclose(predicted(found, name), own.predict(x)[known], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(predicted(found, "array"), np.float32(2 * EVENTS["dE"])[known])
    assert "trained elsewhere" in found["fitted"].note
    assert "trained elsewhere" not in found["line"].note


def test_a_saved_comparison_is_a_run_that_can_be_applied_and_made_again(tmp_path: Path) -> None:
    found = pidlab.compare(
        TABLE, target={"value": EVENTS["truth"], "cut": "p < 4"}, spectators={"p": EVENTS["p"]}, models=MODELS
    )
    folder = found.save(tmp_path / "run", figures="none")
    assert reproduce(folder, Resources(device="cpu"), Watcher()).moved == ()
    scores = pidlab.load(folder).scores(EVENTS)["bdt"]
    own = found._analysis.scored.sample.row  # type: ignore[union-attr]
    assert np.isfinite(scores).all()  # also where the target is not known
    np.testing.assert_array_equal(scores[own], found._analysis.scores["bdt"][:, 0])  # type: ignore[union-attr]


def test_a_given_regressor_is_saved_as_its_graph_or_not_at_all(tmp_path: Path) -> None:
    trees = HistGradientBoostingRegressor(max_iter=20, random_state=1)
    found = pidlab.compare(TABLE, target=EVENTS["truth"], models={"trees": trees})
    loaded = pidlab.load(found.save(tmp_path / "run", figures="none"))
    known = np.isfinite(EVENTS["truth"])
    np.testing.assert_array_equal(loaded.scores(TABLE)["trees"][known], predicted(found, "trees"))
    odd = TransformedTargetRegressor(HistGradientBoostingRegressor(max_iter=5), func=np.sinh, inverse_func=np.arcsinh)
    with pytest.raises(ModelError, match="TransformedTargetRegressor cannot be saved, since pidlab stores no pickle"):
        pidlab.compare(TABLE, target=EVENTS["truth"], models={"odd": odd}).save(tmp_path / "odd")
    assert not (tmp_path / "odd").exists()


TWO = np.stack([EVENTS["dE"], EVENTS["p"]], axis=1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"target": None}, UsageError, "give y, the class of each row, or target="),
        ({"y": EVENTS["is_known"]}, UsageError, "target= is for a regression, and y for classes; give one of them"),
        ({"classes": [0, 1]}, UsageError, "target= is for a regression, and classes for classes"),
        ({"target": None, "y": EVENTS["dE"]}, DataError, r"2,500 different labels.* as pidlab.compare\(X, target=…\)"),
        ({"target": EVENTS["dE"][:-1]}, DataError, r"target has the shape \(2499,\); give one number for each of the"),
        ({"target": np.full(N, "high")}, DataError, "target holds texts; give numbers, or classes as y"),
        ({"target": "dE / beta"}, UsageError, "'beta', 'dE' of X, and by default all .* say which are by features="),
        ({"target": "dE", "features": ["dE"]}, ConfigError, "the feature 'dE' is the target itself; leave it out"),
        ({"target": {"vale": DE}}, UsageError, "target: has the keys vale; give value, and cut if need be"),
        ({"models": {"m": pidlab.BDT()}}, UsageError, r"models.m: BDT tells classes apart .* pidlab.BDTRegressor\(\)"),
        ({"models": {"m": RandomForestClassifier()}}, UsageError, "RandomForestClassifier tells classes apart"),
        ({"models": {"m": pidlab.BDTRegressor}}, UsageError, "BDTRegressor is a class; give an object"),
        ({"models": {"m": pidlab.BDTRegressor(seed=3)}}, UsageError, "models.m: seed is one for all .* give seed= to"),
        ({"models": {"m": LinearRegression().fit(TWO, TWO)}}, ModelError, r"shape \(1, 2\) for 1 row; one number is"),
        (
            {"models": {"m": np.ones(7)}},
            UsageError,
            r"m: predictions have the shape \(7,\); give the prediction",
        ),
        ({"balance": "none"}, ConfigError, "balance: is of classes"),
        (
            {"target": None, "y": EVENTS["is_known"], "models": {"m": pidlab.MLPRegressor()}},
            UsageError,
            "models.m: MLPRegressor predicts a number and no class; .* or target= in place of y",
        ),
        (
            {"target": None, "y": EVENTS["is_known"], "models": {"m": LinearRegression()}},
            UsageError,
            "models.m: LinearRegression predicts a number and no class",
        ),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(change: dict[str, Any], error: type[Exception], message: str) -> None:
    asked: dict[str, Any] = {"X": {"dE": DE, "beta": BETA}, "target": EVENTS["truth"], "models": MODELS, **change}
    with pytest.raises(error, match=message):
        pidlab.compare(**asked)
