"""Classifiers by import path: trained here, saved as ONNX, and no string of a configuration reaches anything else."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from external_samples import applied, content, matrix, saved_run, table, write_events
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier

from conftest import Run
from pidlab.errors import ConfigError, ModelError, UsageError
from pidlab.export.choice import choose_for_header
from pidlab.models.external.columns import ModelMismatchError
from pidlab.models.external.onnx.runtime import Runner, read_graph
from pidlab.models.external.sklearn.estimators import build, named_class
from pidlab.models.external.sklearn.model import SklearnClassifier
from pidlab.models.external.sklearn.to_onnx import converted
from pidlab.models.threads import one_thread

FOREST = "sklearn.ensemble.RandomForestClassifier"
X, Y = matrix(table(3000, 5)), table(3000, 5)["signal"]


def with_missing(x: np.ndarray, seed: int = 1) -> np.ndarray:
    x = x.copy()
    x[np.random.default_rng(seed).random(x.shape) < 0.1] = np.nan
    return x


WEIGHT = np.random.default_rng(2).uniform(0.2, 2, len(X))
ESTIMATORS: dict[str, dict[str, Any]] = {
    FOREST: {"n_estimators": 20, "max_depth": 6},
    "sklearn.ensemble.ExtraTreesClassifier": {"n_estimators": 10, "max_depth": 6},
    "sklearn.ensemble.GradientBoostingClassifier": {"n_estimators": 15},
    "sklearn.ensemble.HistGradientBoostingClassifier": {"max_iter": 20},
    "sklearn.ensemble.AdaBoostClassifier": {"n_estimators": 10},
    "sklearn.linear_model.LogisticRegression": {},
    "sklearn.neural_network.MLPClassifier": {"hidden_layer_sizes": [8], "max_iter": 20},
    "sklearn.naive_bayes.GaussianNB": {},
    "sklearn.neighbors.KNeighborsClassifier": {"n_neighbors": 20},
    "xgboost.XGBClassifier": {"n_estimators": 15},
    "lightgbm.LGBMClassifier": {"n_estimators": 15},
}


@pytest.mark.slow
@pytest.mark.parametrize("path", ESTIMATORS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_what_is_scored_is_what_the_estimator_gives(path: str, n_classes: int, tmp_path: Path) -> None:
    y = np.where((n_classes == 3) & (X[:, 1] > 1), 2, Y)
    ours = SklearnClassifier(path, ESTIMATORS[path], seed=3, n_jobs=1)
    x = with_missing(X) if ours.takes_missing else X
    ours = ours.fit(x, y, WEIGHT)
    theirs = build(path, {**ESTIMATORS[path], **_random_state(path)})
    weights = {} if "KNeighbors" in path else {"sample_weight": WEIGHT / WEIGHT.mean()}
    with warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore")
        expected = theirs.fit(x, y, **weights).predict_proba(x)
    np.testing.assert_allclose(ours.scores(x), expected, atol=2e-5)
    ours.save(tmp_path)
    np.testing.assert_array_equal(SklearnClassifier.load(tmp_path).scores(x), ours.scores(x))
    assert {p.name for p in tmp_path.iterdir()} == {"model.onnx", "model.json"}


def _random_state(path: str) -> dict[str, int]:
    threads = {"n_jobs": 1, "verbosity": -1} if "LGBM" in path else {"n_jobs": 1} if "XGB" in path else {}
    return {} if "KNeighbors" in path or "GaussianNB" in path else {"random_state": 3, **threads}


@given(seed=st.integers(0, 1000))
@settings(max_examples=8, deadline=None)
def test_histogram_trees_are_followed_to_the_last_bit_of_their_cuts(seed: int) -> None:
    """Values that lie on cuts, in float32, where cuts are in float64."""
    rng = np.random.default_rng(seed)
    x = with_missing(rng.integers(-8, 8, (600, 3)).astype(np.float32) / np.float32(7), seed)
    y = (np.nan_to_num(x).sum(axis=1) + rng.normal(size=600) > 0).astype(int)
    with one_thread():
        theirs = HistGradientBoostingClassifier(max_iter=10, random_state=seed).fit(x, y)
        expected = theirs.predict_proba(x)
    found = Runner(read_graph(converted(theirs, 3)), "probabilities")(x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-7)


def test_a_cut_between_neighbouring_numbers_of_float32_keeps_them_apart() -> None:
    """The cut is their mean in float64, which float32 would round up to the larger one."""
    low = np.nextafter(np.float32(1), np.float32(2))
    high = np.nextafter(low, np.float32(2))
    assert np.float32((float(low) + float(high)) / 2) == high
    y = np.arange(400) % 2
    x = np.where(y == 1, high, low)[:, None]
    with one_thread():
        theirs = HistGradientBoostingClassifier(max_iter=5).fit(x, y)
        expected = theirs.predict_proba(x)
    assert expected[0, 1] < 0.4 < 0.6 < expected[1, 1]
    np.testing.assert_allclose(Runner(read_graph(converted(theirs, 1)), "probabilities")(x), expected, atol=2e-7)


HOSTILE = [
    *("os.system", "os", "builtins.eval", "subprocess.Popen", "sklearn.utils.os.system", "sklearn.os.system"),
    *("sklearn", "sklearn.", ".sklearn.ensemble", "sklearn..ensemble", "sklearn.ensemble.__loader__.load_module"),
    *("sklearn.ensemble._forest.RandomForestClassifier", "sklearn.__builtins__.eval", "sklearn.ensemble;import os"),
    *("sklearn.utils.all_estimators", "sklearn.show_versions", "sklearn.externals.conftest.X", "sklearn.base.clone"),
    *("sklearn.linear_model.LinearRegression", "sklearn.pipeline.Pipeline", "sklearn.base.BaseEstimator"),
    *("sklearn.tests.test_common.RandomForestClassifier", "xgboost.testing.data.X", "xgboost.Booster"),
    *("sklearn.ensemble.np.load", "sklearn_evil.X", "sklearn.ensemble.RandomForestClassifier\n", "a" * 5000),
    *("../evil.X", "sklearn/ensemble.X", "ｓｋlearn.ensemble.X", "sklearn.ensemble.RandomForestClassifier()"),
]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_leads_to_a_classifier_of_the_packages_or_nowhere(path: str) -> None:
    with pytest.raises(ModelMismatchError) as caught:
        named_class(path)
    assert caught.value.key == "estimator"
    assert len(str(caught.value)) < 600


def test_a_package_is_imported_only_when_the_command_line_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "homemade"
    package.mkdir()
    (package / "__init__.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    (package / "models.py").write_text(
        "from sklearn.linear_model import LogisticRegression\n"
        "import os\n"
        "class Mine(LogisticRegression):\n    pass\n"
        "class Regressor:\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelMismatchError, match=r"pidlab run --allow-import homemade"):
        named_class("homemade.models.Mine")
    with pytest.raises(ModelMismatchError, match=r"--allow-import homemade_too"):
        named_class("homemade_too.models.Mine", ["homemade"])
    assert not (package / "ran").exists()
    assert "homemade" not in sys.modules
    assert named_class("homemade.models.Mine", ["homemade"]).__name__ == "Mine"
    assert (package / "ran").exists()
    for path in ("homemade.models.os.system", "homemade.models.Regressor"):
        with pytest.raises(ModelMismatchError):
            named_class(path, ["homemade"])
    for name in [m for m in sys.modules if m.split(".")[0] == "homemade"]:
        del sys.modules[name]


def test_mistakes_are_said_with_their_place_before_anything_is_read(tmp_path: Path) -> None:
    models = {
        "typo": {"type": "sklearn", "estimator": "sklearn.ensemble.RandomForestClasifier"},
        "option": {"type": "sklearn", "estimator": FOREST, "parameters": {"n_estimator": 3}},
        "value": {"type": "sklearn", "estimator": FOREST, "parameters": {"n_estimators": "many"}},
        "blind": {"type": "sklearn", "estimator": "sklearn.svm.LinearSVC"},
        "dummy": {"type": "sklearn", "estimator": "sklearn.dummy.DummyClassifier"},
        "votes": {"type": "sklearn", "estimator": "sklearn.ensemble.VotingClassifier"},
        "absent": {"type": "sklearn", "estimator": "catboost.CatBoostClassifier"},
        "trees": {"type": "sklearn", "estimator": "xgboost.XGBClassifier", "parameters": {"n_estimator": 3}},
    }
    with pytest.raises(ConfigError) as caught:  # there is no events.root
        saved_run(tmp_path, models)
    said = dict(re.findall(r"models\.(\w+)\.(.*)", str(caught.value)))
    assert said["typo"].startswith("estimator: sklearn.ensemble has no 'RandomForestClasifier'; did you mean")
    assert said["option"].startswith(
        "parameters: RandomForestClassifier has no parameter 'n_estimator'; did you mean 'n_e"
    )
    assert "must be an int in the range [1, inf)" in said["value"]
    assert "no class probabilities" in said["blind"]
    assert "cannot be converted to ONNX; pidlab stores models without pickle" in said["dummy"]
    assert said["votes"].startswith("parameters: VotingClassifier refuses its parameters")
    assert "--allow-import catboost" in said["absent"]
    assert "XGBClassifier has no parameter 'n_estimator'; did you mean 'n_estimators'" in said["trees"]


def test_the_command_line_names_the_place_and_takes_allow_import(tmp_path: Path, pidlab: Run) -> None:
    from ruamel.yaml import YAML

    write_events(tmp_path, 300)
    (tmp_path / "homemade.py").write_text("import numpy\n")
    with (tmp_path / "analysis.yaml").open("w") as file:
        YAML().dump(content({"mine": {"type": "sklearn", "estimator": "homemade.Mine"}}), file)
    refused = pidlab("run", "analysis.yaml", "-o", "run", "--allow-import", "homemade", timeout=300)
    assert refused.returncode == 2
    assert re.search(r"analysis\.yaml:\d+:\d+: models\.mine\.estimator: homemade has no 'Mine'", refused.stderr)


def test_a_wrong_conversion_is_not_let_pass() -> None:
    """skl2onnx turns the two classes of linear discriminant analysis into other probabilities."""
    with pytest.raises(
        ModelError, match=r"differs from the estimator by up to 0\.\d+ on 3,000 training rows, and 0\.0001"
    ):
        SklearnClassifier("sklearn.discriminant_analysis.LinearDiscriminantAnalysis").fit(X, Y)


def test_what_an_estimator_refuses_is_a_model_error() -> None:
    tight = SklearnClassifier("sklearn.naive_bayes.MultinomialNB")
    with pytest.raises(ModelError, match="MultinomialNB refuses to train \\(Negative values"):
        tight.fit(X, Y)
    nan = SklearnClassifier("sklearn.linear_model.LogisticRegression")
    with pytest.raises(ModelError, match="LogisticRegression refuses to train"):
        nan.fit(with_missing(X), Y)


@pytest.mark.slow
def test_a_run_compares_them_beside_pidlabs_own(tmp_path: Path) -> None:
    write_events(tmp_path, missing=0.1)
    models: dict[str, Any] = {
        "forest": {"type": "sklearn", "estimator": FOREST, "parameters": {"n_estimators": 30, "max_depth": 6}},
        "hist": {"type": "sklearn", "estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "scaled": False},
        "near": {"type": "sklearn", "estimator": "sklearn.neighbors.KNeighborsClassifier", "scaled": False},
        "net": {
            "type": "sklearn",
            "estimator": "sklearn.neural_network.MLPClassifier",
            "parameters": {"hidden_layer_sizes": [6], "max_iter": 4, "learning_rate_init": 0.03},
        },
        "two": {"type": "sklearn", "estimator": FOREST, "features": ["c", "a"], "parameters": {"n_estimators": 10}},
        "bdt": {"type": "bdt", "n_estimators": 20},
        "mlp": {"type": "mlp", "hidden": [8], "epochs": 3},
    }
    results, bundle = saved_run(tmp_path, models, folds=2, seed=5)
    auc = {name: model.samples["test"].auc for name, model in results.models.items()}
    assert all(auc[name].value > 0.7 for name in models), auc
    assert auc["forest"].value == pytest.approx(auc["bdt"].value, abs=0.03)
    assert len(results.comparisons) == 21
    assert "KNeighborsClassifier takes no weights of events" in results.models["near"].note
    assert "MLPClassifier warns: Stochastic Optimizer: Maximum iterations (4) reached" in results.models["net"].note
    trained = {name: [f.scaler is not None for f in c.fitted] for name, c in bundle.models.items()}
    assert trained["forest"] == trained["near"] == [True, True]
    assert trained["hist"] == [False, False]
    assert bundle.models["two"].fitted[0].columns == (2, 0)
    few = {name: models[name] for name in ("forest", "net")}
    again, _ = saved_run(tmp_path, few, name="again", folds=2, seed=5)
    assert all(again.models[name].samples["test"].auc == auc[name] for name in few)
    friend = applied(bundle, tmp_path)
    for name in models:
        assert np.isfinite(friend[f"pid_{name}"]).all()
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".pkl", ".pickle", ".joblib")]


def test_a_header_leaves_out_what_has_no_cpp_and_says_where_its_scores_are(tmp_path: Path) -> None:
    write_events(tmp_path)
    models = {
        "nb": {"type": "naive_bayes"},
        "forest": {"type": "sklearn", "estimator": FOREST, "parameters": {"n_estimators": 5}},
        "fisher": {"type": "fisher"},
    }
    _, bundle = saved_run(tmp_path, models)
    chosen, said = choose_for_header(bundle, list(models))
    assert (chosen, said) == (["fisher"], "Left out: nb, forest (no C++ for naive_bayes, sklearn).")
    with pytest.raises(UsageError, match=r"'forest' is of type sklearn, .* in friend trees \(pidlab apply\)"):
        choose_for_header(bundle, ["forest"])
    with pytest.raises(UsageError, match=r"'nb' is of type naive_bayes, which has no C\+\+; export it as onnx"):
        choose_for_header(bundle, ["nb", "fisher"])
