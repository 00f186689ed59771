"""Comparisons of arrays: the numbers of a run on a file of the same events, for every kind of table and model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import pidlab
from conftest import write_tree
from pidlab.errors import ConfigError, DataError, ModelError, UsageError
from pidlab.models.registry import Resources
from pidlab.progress import Watcher
from pidlab.runs.record import metrics
from pidlab.runs.reproduce import reproduce

N = 3000
FEATURES = ("dE", "beta", "n_hits")


def events(seed: int = 1, n_classes: int = 2) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, n_classes, N).astype(np.int32)
    x = rng.normal(size=(N, 3)) + label[:, None] * [1.5, 0.7, 0.0]
    x[rng.random(N) < 0.05, 1] = np.nan
    return {
        "dE": x[:, 0],
        "beta": x[:, 1].astype(np.float32),
        "n_hits": np.round(5 * x[:, 2]).astype(np.int32),
        "label": label,
        "w": rng.uniform(-0.1, 1.5, N),
        "event": (np.arange(N) // 2).astype(np.int64),
        "p": rng.uniform(1, 5, N),
    }


EVENTS = events()
TABLE = {name: EVENTS[name] for name in FEATURES}
MODELS: dict[str, Any] = {"bdt": pidlab.BDT(n_estimators=20), "fisher": pidlab.Fisher()}


def numbers(found: Any) -> Any:
    """metrics.json without durations."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if k not in ("seconds", "scoring")}
        return [plain(v) for v in value] if isinstance(value, list) else value

    return plain(json.loads(json.dumps(metrics(found.results))))


@pytest.mark.parametrize("folds", [None, 3])
def test_a_comparison_of_arrays_has_every_number_of_a_run_on_a_file_of_the_same_events(
    tmp_path: Path, folds: int | None
) -> None:
    write_tree(tmp_path / "events.root", EVENTS)
    evaluate = {"maps": [{"x": "p", "bins": 3}], "calibration": "temperature"}
    more = {} if folds is None else {"folds": folds}
    content = {
        "data": {"files": str(tmp_path / "events.root"), "weight": "w", "event_id": ["event"]},
        "classes": {"signal": "label == 1", "background": "label == 0"},
        "features": list(FEATURES),
        "spectators": ["p"],
        "models": {
            "hand": {"type": "expression", "cut": "dE > 0.8 && beta > 0"},
            "shower": {"type": "score", "expression": "dE + beta"},
            "cuts": {"type": "cuts"},
            "bdt": {"type": "bdt", "n_estimators": 20},
            "mlp": {"type": "mlp", "hidden": [8], "epochs": 3},
        },
        "evaluate": evaluate,
        **more,
    }
    of_file = pidlab.run(content, device="cpu")
    of_arrays = pidlab.compare(
        TABLE,
        EVENTS["label"],
        weight=EVENTS["w"],
        event=EVENTS["event"],
        spectators={"p": EVENTS["p"]},
        models={
            "hand": "dE > 0.8 && beta > 0",
            "shower": {"type": "score", "expression": "dE + beta"},
            "cuts": pidlab.Cuts(),
            "bdt": pidlab.BDT(n_estimators=20),
            "mlp": pidlab.MLP(hidden=[8], epochs=3),
        },
        evaluate=evaluate,
        device="cpu",
        **more,
    )
    ours, theirs = numbers(of_arrays), numbers(of_file)
    assert ours["models"]["bdt"]["test"]["auc"]["value"] > 0.7
    assert ours == theirs
    of_score = pidlab.compare(
        TABLE, EVENTS["label"], weight=EVENTS["w"], event=EVENTS["event"], device="cpu", **more,
        models={"shower": EVENTS["dE"] + EVENTS["beta"]},
    )  # fmt: skip
    assert of_score["shower"].auc == of_file["shower"].auc


def as_tables() -> dict[str, Any]:
    matrix = np.stack([EVENTS[name] for name in FEATURES], axis=1)
    record = np.zeros(N, [(name, EVENTS[name].dtype) for name in FEATURES])
    for name in FEATURES:
        record[name] = EVENTS[name]
    beta = ak.mask(ak.Array(EVENTS["beta"]), ~np.isnan(EVENTS["beta"]))
    return {
        "dict": TABLE,
        "list": matrix.tolist(),
        "matrix": matrix,
        "record": record,
        "pandas": pd.DataFrame(TABLE),
        "awkward": ak.zip({"dE": EVENTS["dE"], "beta": beta, "n_hits": EVENTS["n_hits"]}),
    }


@pytest.mark.parametrize("kind", ["list", "matrix", "record", "pandas", "awkward"])
def test_every_kind_of_table_gives_the_same_numbers(kind: str) -> None:
    table = as_tables()[kind]
    names = {"features": FEATURES} if kind in ("list", "matrix") else {}
    found = pidlab.compare(table, EVENTS["label"], models=MODELS, **names)
    expected = pidlab.compare(TABLE, EVENTS["label"], models=MODELS)
    assert found.results.features == FEATURES
    assert found["bdt"].auc == expected["bdt"].auc
    assert numbers(found) == numbers(expected)


def test_labels_may_be_numbers_texts_or_truths_and_the_signal_comes_first() -> None:
    label = EVENTS["label"]
    expected = pidlab.compare(TABLE, label, models=MODELS)
    assert expected.results.classes == ("signal", "background")
    assert numbers(pidlab.compare(TABLE, label == 1, models=MODELS)) == numbers(expected)
    texts = np.where(label == 1, "e-", "pion")
    named = pidlab.compare(TABLE, texts, classes={"electron": "e-", "pion": "pion"}, models=MODELS)
    assert named.results.classes == ("electron", "pion")
    assert named["bdt"].auc == expected["bdt"].auc
    assert pidlab.compare(TABLE, texts, classes=["pion", "e-"], models=MODELS).results.signal == "pion"
    three = pidlab.compare(TABLE, events(n_classes=3)["label"], models=MODELS)
    assert three.results.classes == ("class_0", "class_1", "class_2")


def test_labels_of_both_signs_are_classes_of_their_own() -> None:
    label = EVENTS["label"]
    expected = pidlab.compare(TABLE, label, models=MODELS)
    assert numbers(pidlab.compare(TABLE, 2 * label - 1, models=MODELS)) == numbers(expected)
    codes = np.array([-11, 11, 211])[events(n_classes=3)["label"]]
    signed = pidlab.compare(TABLE, codes, models={"fisher": pidlab.Fisher()})
    assert signed.results.classes == ("class_m11", "class_11", "class_211")
    assert sum(n for sample in signed.results.n.values() for n in sample.values()) == N
    with pytest.raises(DataError, match=r"the labels .*e\+.* and .*e-.* in y would both be the class 'e'"):
        pidlab.compare(TABLE, np.where(label == 1, "e-", "e+"), models=MODELS)


def test_tables_whose_indexes_differ_are_refused() -> None:
    frame = pd.DataFrame(TABLE)
    label, shuffled = pd.Series(EVENTS["label"]), frame.sample(frac=1, random_state=1)
    with pytest.raises(DataError, match=r"X and y have different indexes, .* give y\.loc\[X\.index\]"):
        pidlab.compare(shuffled, label, models=MODELS)
    found = pidlab.compare(shuffled, label.loc[shuffled.index], models={"fisher": pidlab.Fisher()})
    assert found["fisher"].auc.value > 0.8
    with pytest.raises(DataError, match="X and target have different indexes"):
        pidlab.compare(shuffled, target=pd.Series(EVENTS["p"]), models={"lin": {"type": "linear"}})
    with pytest.raises(DataError, match="X and weight have different indexes"):
        pidlab.compare(shuffled, label.loc[shuffled.index], weight=pd.Series(EVENTS["w"]), models=MODELS)


def as_given(found: pidlab.Result) -> Any:
    """Returns the rows of the analysis in the order of the arrays."""
    return np.argsort(found._analysis.scored.sample.row)  # type: ignore[union-attr]


def test_candidates_of_an_event_stay_in_one_sample_however_the_event_is_named() -> None:
    key = EVENTS["event"]
    run_and_event = np.stack([key // 100, key % 100], axis=1)
    for event in (key, run_and_event, (key // 100, key % 100), {"run": key // 100, "event": key % 100}):
        found = pidlab.compare(TABLE, EVENTS["label"], event=event, models={"fisher": pidlab.Fisher()})
        sample = found._analysis.scored  # type: ignore[union-attr]
        parts = sample.part[as_given(found)].reshape(-1, 2)
        assert (parts[:, 0] == parts[:, 1]).all()
        assert len(np.unique(sample.sample.event)) == N // 2


PIPELINE = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())


def test_a_pipeline_is_trained_on_training_events_and_a_fitted_one_is_used_unchanged() -> None:
    x = np.stack([EVENTS[name] for name in FEATURES], axis=1)
    y = np.where(EVENTS["label"] == 1, "yes", "no")
    x32 = x.astype(np.float32)
    fitted = clone(PIPELINE).fit(x32[:500], y[:500])
    found = pidlab.compare(x, y, classes=["yes", "no"], models={"new": PIPELINE, "fitted": fitted}, seed=3)
    assert not hasattr(PIPELINE[-1], "coef_")
    order = as_given(found)
    scored = {name: scores[order] for name, scores in found._analysis.scores.items()}  # type: ignore[union-attr]
    expected = fitted.predict_proba(x32)[:, list(fitted.classes_).index("yes")]
    np.testing.assert_allclose(scored["fitted"][:, 0], expected, rtol=0, atol=1e-5)  # ONNX computes in float32
    part = found._analysis.scored.part[order]  # type: ignore[union-attr]
    own = clone(PIPELINE).fit(x32[part == 0], y[part == 0])
    assert found["new"].auc.value == pytest.approx(found["fitted"].auc.value, abs=0.01)
    assert np.corrcoef(scored["new"][:, 0], own.predict_proba(x32)[:, 1])[0, 1] > 0.9999  # weights balance the classes
    assert "trained elsewhere" in found["fitted"].note
    assert "trained elsewhere" not in found["new"].note


def test_an_object_that_no_converter_knows_is_compared_but_not_saved(tmp_path: Path) -> None:
    odd = make_pipeline(SimpleImputer(), FunctionTransformer(lambda x: x**3), LogisticRegression())
    found = pidlab.compare(TABLE, EVENTS["label"], models={"odd": odd})
    assert found["odd"].auc.value > 0.7
    with pytest.raises(ModelError, match="cannot be saved, since pidlab stores no pickle"):
        found.save(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_array_of_truths_is_a_cut_and_one_of_numbers_a_score() -> None:
    score = EVENTS["dE"]
    found = pidlab.compare(TABLE, EVENTS["label"], models={"lh": score, "mine": score > 0.8, "hand": "dE > 0.8"})
    assert found["lh"].kind == "score"
    assert found["mine"].fixed_cut
    assert found["mine"].points["hand"].misid == found["hand"].points["hand"].misid


def test_a_saved_comparison_is_a_run_that_can_be_made_again(tmp_path: Path) -> None:
    texts = np.where(EVENTS["p"] > 3, "high", "low")
    found = pidlab.compare(
        TABLE, EVENTS["label"], models=MODELS | {"lh": EVENTS["dE"], "hand": 'region == "high" && dE > 1'},
        spectators={"p": EVENTS["p"], "region": texts, "my momentum": EVENTS["p"]}, features=["dE", "beta"],
        selection={"low": "p < 4.5"},
    )  # fmt: skip
    folder = found.save(tmp_path / "run", figures="none")
    assert reproduce(folder, Resources(device="cpu"), Watcher()).moved == ()
    again = pidlab.load(folder)
    scores = again.scores({**EVENTS, "region": texts, "pidlab_score_lh": EVENTS["dE"]})
    own = found._analysis.scored.sample.row  # type: ignore[union-attr]
    np.testing.assert_array_equal(scores["bdt"][own], found._analysis.scores["bdt"][:, 0])  # type: ignore[union-attr]


def test_an_object_of_a_saved_comparison_is_loaded_and_not_trained_again(tmp_path: Path) -> None:
    forest = RandomForestClassifier(20, max_depth=4, random_state=1)
    found = pidlab.compare(TABLE, EVENTS["label"], models={"forest": forest}, folds=2)
    folder = found.save(tmp_path / "run", figures="none")
    mean = pidlab.load(folder, "forest").scores(TABLE)["forest"]
    scores = found._analysis.scores["forest"][as_given(found), 0]  # type: ignore[union-attr]
    assert np.corrcoef(mean, scores)[0, 1] > 0.9
    with pytest.raises(ConfigError, match=r"models.forest.object: .* train it by pidlab.compare"):
        reproduce(folder, Resources(device="cpu"), Watcher())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"y": EVENTS["label"][:-1]},
            DataError,
            r"y has the shape \(2999,\); give one label for each of the 3,000 rows",
        ),
        ({"y": np.ones(N)}, DataError, "y holds 1 class; two or more are needed"),
        ({"classes": {"a": 1, "b": 7}}, DataError, "no row of y is 7, the label of 'b'"),
        ({"weight": np.ones(5)}, DataError, "the arrays differ in length: .* pidlab_weight 5"),
        ({"X": np.ones(5)}, DataError, r"X is \(5,\); give n rows of d features"),
        ({"models": [pidlab.BDT()]}, UsageError, "give a dict of names to models"),
        ({"models": {"bdt": pidlab.BDT}}, UsageError, r"models.bdt: BDT is a class; give an object, BDT\(\)"),
        ({"models": {"bdt": pidlab.BDT(seed=3)}}, UsageError, "models.bdt: seed is one for all .* give seed= to"),
        ({"models": {"lh": np.ones(7)}}, UsageError, r"models.lh: scores have the shape \(7,\)"),
        ({"models": {"bdt": pidlab.BDT(max_depth=-1)}}, ConfigError, "pidlab.compare: models.bdt.max_depth"),
        ({"spectators": {"dE": EVENTS["p"]}}, UsageError, "X has a column 'dE' with other values"),
        ({"folds": 1}, ConfigError, "folds"),
        ({"fold": 3}, ConfigError, "fold: unknown key; .*folds"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(change: dict[str, Any], error: type[Exception], message: str) -> None:
    asked: dict[str, Any] = {"X": TABLE, "y": EVENTS["label"], "models": MODELS, **change}
    with pytest.raises(error, match=message):
        pidlab.compare(**asked)
