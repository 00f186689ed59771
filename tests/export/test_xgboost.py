"""xgboost JSON: a file that plain xgboost reads and scores like pidlab, with the names of the features."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

import pidlab
from exported_runs import FAST, config, make_run, write_table
from pidlab.errors import ModelError, UsageError
from pidlab.export import export, parity_events
from pidlab.export.xgboost_json import matrix_names, predict, write
from pidlab.models.calibration import Temperature
from pidlab.runs.bundle import Bundle, load_bundle

STOPPING = {"type": "bdt", "n_estimators": 300, "max_depth": 5, "learning_rate": 0.5, "early_stopping_rounds": 5}
STOPPING |= {"base_score": 0.2}
MODELS = {"bdt": FAST["bdt"], "stopped": STOPPING, "fisher": FAST["fisher"], "hand": FAST["hand"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("xgboost")
    write_table(folder)
    return folder


@pytest.fixture(scope="module")
def pair(folder: Path) -> Bundle:
    features = ["a", {"name": "E_sc[3] <é>", "expression": "far", "missing": [-999]}, "time", "hits"]
    return make_run(folder, config(2, MODELS) | {"features": features}, "pair")


@pytest.fixture(scope="module")
def three(folder: Path) -> Bundle:
    return make_run(folder, config(3, {"bdt": FAST["bdt"]}, folds=2), "three")


@pytest.mark.slow
def test_plain_xgboost_gives_the_scores_of_pidlab(pair: Bundle, tmp_path: Path) -> None:
    events = parity_events(pair, 2000)
    exported = write(pair, ["bdt", "stopped"], tmp_path, events, tmp_path)
    assert [e.path for e in exported] == [tmp_path / "bdt.json", tmp_path / "stopped.json"]
    for each in exported:
        (name,) = each.models
        booster = xgboost.Booster()
        booster.load_model(each.path)
        names = ["a", "E_sc(3) lté>", "time", "hits"]
        found = booster.predict(xgboost.DMatrix(events.x, feature_names=names))
        np.testing.assert_allclose(found, events.scores[name][:, 1], rtol=0, atol=1e-6)
        assert each.largest_difference == np.abs(predict(each.path, events.x) - events.scores[name]).max() <= 1e-6
        assert each.n_events == len(events)


def test_only_the_trees_up_to_the_best_round_are_there(pair: Bundle, tmp_path: Path) -> None:
    write(pair, ["stopped"], tmp_path, parity_events(pair, 100), tmp_path)
    booster = xgboost.Booster(model_file=tmp_path / "stopped.json")
    estimator: Any = pair.models["stopped"].fitted[0].estimator
    assert booster.num_boosted_rounds() == estimator.best_iteration_ + 1 < 100


@pytest.mark.slow
def test_three_classes_in_folds_are_a_file_a_fold_whose_mean_is_the_score(three: Bundle, tmp_path: Path) -> None:
    events = parity_events(three, 1000)
    exported = write(three, ["bdt"], tmp_path, events, tmp_path)
    assert [e.path.name for e in exported] == ["bdt_fold0.json", "bdt_fold1.json"]
    parts = [predict(e.path, events.x) for e in exported]
    assert parts[0].shape == (len(events), 3)
    assert not np.allclose(parts[0], parts[1])
    np.testing.assert_allclose(np.mean(parts, axis=0), events.scores["bdt"], rtol=0, atol=1e-6)
    assert {e.largest_difference for e in exported} == {
        float(np.abs(np.mean(parts, axis=0).astype(np.float64) - events.scores["bdt"]).max())
    }


def test_the_file_says_what_a_reader_needs_and_has_a_plain_base_score(pair: Bundle, tmp_path: Path) -> None:
    write(pair, ["bdt", "stopped"], tmp_path, parity_events(pair, 100), tmp_path)
    learner = json.loads((tmp_path / "stopped.json").read_text(encoding="utf-8"))["learner"]
    assert float(learner["learner_model_param"]["base_score"]) == pytest.approx(0.2)
    told = json.loads(xgboost.Booster(model_file=tmp_path / "bdt.json").attr("pidlab"))
    assert [f["name"] for f in told["features"]] == ["a", "E_sc[3] <é>", "time", "hits"]
    assert told["thresholds"] == {d.name: d.threshold for d in pair.decisions["bdt"]}
    assert (told["classes"], told["signal"], told["fingerprint"]) == (["pion", "kaon"], "pion", pair.fingerprint)


def test_a_calibration_is_told_and_acts_on_what_the_file_predicts(pair: Bundle, tmp_path: Path) -> None:
    events = parity_events(pair, 300)
    contender = replace(pair.models["bdt"], calibration=Temperature(1.5))
    changed = replace(pair, models={**pair.models, "bdt": contender})
    expected = contender.scores_of(events.x, {})
    (exported,) = write(changed, ["bdt"], tmp_path, replace(events, scores={"bdt": expected}), tmp_path)
    assert "before the calibration" in exported.note
    told = json.loads(xgboost.Booster(model_file=exported.path).attr("pidlab"))["calibration"]
    assert told["method"] == "temperature"
    odds = np.log(np.divide(*predict(exported.path, events.x).T[::-1])) / told["temperature"]
    np.testing.assert_allclose(1 / (1 + np.exp(-odds)), expected[:, 1], rtol=0, atol=1e-5)


def test_names_stay_apart() -> None:
    names = matrix_names(["a[0]", "a(0)", "b<1", "blt1"])
    assert len(set(names)) == 4
    assert not set("[]<") & set("".join(names))


def test_models_that_are_no_bdt_are_refused_by_name(pair: Bundle, tmp_path: Path) -> None:
    events = parity_events(pair, 50)
    with pytest.raises(UsageError, match="xgboost takes models of type bdt: 'fisher' is of type fisher"):
        write(pair, ["fisher"], tmp_path, events, tmp_path)
    with pytest.raises(UsageError, match="'hand' is an expression"):
        write(pair, ["bdt", "hand"], tmp_path, events, tmp_path)
    notes = [e.note for e in write(pair, list(MODELS), tmp_path, events, tmp_path)]
    assert notes == ["Left out: fisher, hand (xgboost takes bdt).", ""]


def test_damage_is_found(pair: Bundle, tmp_path: Path) -> None:
    """Other trees, and a file that xgboost cannot read."""
    events = parity_events(pair, 500)
    other = replace(pair.models["bdt"], fitted=pair.models["stopped"].fitted)
    with pytest.raises(ModelError, match=r"bdt\.json: differs from pidlab by"):
        write(replace(pair, models={**pair.models, "bdt": other}), ["bdt"], tmp_path, events, tmp_path)
    (tmp_path / "bdt.json").write_text("{}")
    with pytest.raises(ModelError, match="xgboost refuses it"):
        predict(tmp_path / "bdt.json", events.x)


def test_a_refusal_names_only_formats_that_hold_the_model(tmp_path: Path) -> None:
    """Else a user is sent from one format to the next, and each refuses."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 400)
    table = {"x": rng.normal(y), "z": rng.normal(size=400)}
    models = {
        "mix": {"type": "mixture", "components": 1},
        "nb": {"type": "naive_bayes", "by": {"low": "z < 0", "high": "z >= 0"}},
        "sk": {"type": "sklearn", "estimator": "sklearn.linear_model.LogisticRegression"},
        "raw": {"type": "score", "expression": "x"},
        "tree": {"type": "tree", "max_depth": 2},
    }
    asked = {"importance": False, "robustness": None, "working_points": [0.9]}
    result = pidlab.compare(table, y, models=models, features=["x", "z"], evaluate=asked)
    result.save(tmp_path / "run", figures="none")
    bundle = load_bundle(tmp_path / "run")
    for name in models:
        refused = {}
        for form in ("header", "onnx", "xgboost", "cuts"):
            try:
                export(bundle, tmp_path / "run", form, [name], tmp_path / "out")
            except UsageError as error:
                refused[form] = str(error)
        assert refused
        for form, said in refused.items():
            advised = re.findall(r"export it as ([a-z ]+)", said)
            formats = advised[0].split(" or ") if advised else []
            assert not {each.strip() for each in formats} & refused.keys(), (name, form, said)
            assert formats or "friend trees" in said or "is of type" in said
        assert not list((tmp_path / "out").glob(".*"))
