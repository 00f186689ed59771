"""A likelihood in a run: its table of detectors, its abundances, its folds, and what its exports say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from conftest import write_tree
from pidlab.config.load import check_config
from pidlab.errors import ConfigError
from pidlab.evaluate.results import read_results, write_results
from pidlab.export import export, parity_events
from pidlab.models.registry import Resources
from pidlab.pipeline import Analysis, analyse
from pidlab.progress import Watcher
from pidlab.report.tables import as_text, detector_tables
from pidlab.runs.bundle import load_bundle, save_bundle
from pidlab.runs.record import metrics

Array = NDArray[Any]
DETECTORS = {"tpc": ["dedx"], "tof": ["beta"], "ecal": ["eop", "shape"]}
BASE: dict[str, Any] = {
    "data": {"files": "events.root", "event_id": ["event"]},
    "classes": {"pion": "species == 0", "kaon": "species == 1", "electron": "species == 2"},
    "features": ["dedx", {"name": "time", "expression": "beta", "missing": [-999]}, "eop", "shape"],
    "evaluate": {"robustness": None, "importance": False, "working_points": [0.9, 0.95]},
}
MODELS: dict[str, Any] = {
    "lh": {"type": "likelihood", "detectors": DETECTORS, "against": "log(p)"},
    "sample": {
        "type": "likelihood",
        "detectors": DETECTORS,
        "against": "log(p)",
        "priors": "sample",
        "weights": "fit",
        "density": "kernel",
    },
    "stated": {"type": "likelihood", "detectors": DETECTORS, "priors": {"pion": 70, "kaon": 20, "electron": 10}},
}
MEANS = {"dedx": [1.0, 2.0, 1.5], "beta": [0.95, 0.8, 1.0], "eop": [0.2, 0.3, 0.9], "shape": [0.0, 0.5, -0.5]}
WIDTHS = {"dedx": 0.5, "beta": 0.06, "eop": 0.25, "shape": 1.0}


def table(n: int = 9000) -> dict[str, Array]:
    """70 % pions, 20 % kaons, 10 % electrons; what depends on p does so as 1 + 1/p; β is measured for a half."""
    rng = np.random.default_rng(1)
    species = rng.choice(3, n, p=[0.7, 0.2, 0.1])
    p = np.exp(rng.uniform(0, 2, n))
    found = {name: np.array(means)[species] + WIDTHS[name] * rng.normal(size=n) for name, means in MEANS.items()}
    found["dedx"] *= 1 + 1 / p
    found["beta"][rng.random(n) < 0.5] = -999
    found["eop"][rng.random(n) < 0.02] = np.nan
    p[rng.random(n) < 0.01] = np.nan
    return {"species": species.astype(np.int32), "event": np.arange(n, dtype=np.int64), "p": p} | {
        name: values.astype(np.float32) for name, values in found.items()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("likelihood")
    write_tree(folder / "events.root", table())
    return folder


def analysed(folder: Path, **changes: Any) -> Analysis:
    content = {**BASE, "models": MODELS, **changes}
    return analyse(check_config(content, {}, folder / "analysis.yaml"), Resources("cpu", 1), Watcher())


@pytest.fixture(scope="module")
def whole(folder: Path) -> Analysis:
    return analysed(folder)


@pytest.fixture(scope="module")
def folds(folder: Path) -> Analysis:
    return analysed(folder, folds=2, models={"lh": MODELS["lh"]})


def test_the_table_holds_all_each_alone_and_each_left_out(whole: Analysis) -> None:
    found = whole.results.detectors["lh"]
    alone, out = ["only tpc", "only tof", "only ecal"], ["without tpc", "without tof", "without ecal"]
    assert [row.name for row in found.rows] == ["all", *alone, *out]
    every = found.rows[0]
    assert every.used == ("tpc", "tof", "ecal")
    assert every.auc == whole.results.models["lh"].auc
    point = whole.results.models["lh"].points["eff90"]
    assert (found.working_point, every.misid, every.efficiency) == ("eff90", point.misid, point.efficiency)
    for row in found.rows[1:]:
        assert row.delta_auc.value == pytest.approx(row.auc.value - every.auc.value, abs=1e-6)
        assert row.delta_auc.high < 0
        # paired: the difference fluctuates less than two areas of their own do
        assert row.delta_auc.high - row.delta_auc.low < row.auc.high - row.auc.low + every.auc.high - every.auc.low
        assert set(row.delta_misid) == {"kaon", "electron"}


def test_with_folds_a_candidate_is_scored_by_the_model_that_never_saw_it(folds: Analysis) -> None:
    model, sample = folds.models["lh"], folds.scored.sample
    x = whole_columns(folds)
    expected = np.empty(len(sample), np.float32)
    from pidlab.split import fold_of

    number = fold_of(sample.event, 2, model.fold_seed or 0)
    for i, fitted in enumerate(model.fitted):
        rows = number == i
        expected[rows] = fitted.scores(x[rows], ["tof"])[:, sample.signal]
    row = folds.results.detectors["lh"].rows[2]
    assert row.name == "only tof"
    assert row.auc.value == pytest.approx(roc_auc_score(sample.is_signal, expected), abs=1e-6)


def whole_columns(done: Analysis) -> NDArray[np.float32]:
    """The columns of the run's sample, read once more."""
    from pidlab.preprocess.events import load

    events = load(done.recipe, Watcher())
    assert np.array_equal(events.sample.row, done.scored.sample.row)
    return np.asarray(events.sample.x, np.float32)


def test_it_is_stored_printed_and_in_metrics(whole: Analysis, tmp_path: Path) -> None:
    write_results(tmp_path / "results.json", whole.results)
    assert read_results(tmp_path / "results.json").detectors == whole.results.detectors
    content = json.loads(json.dumps(metrics(whole.results)))
    assert content["detectors"]["lh"]["rows"][1]["name"] == "only tpc"
    text = as_text(detector_tables(whole.results)[0])
    assert "lh: the likelihood of all detectors, of each alone, and with each left out" in text
    assert "without ecal" in text


def test_results_of_an_older_version_have_no_table(whole: Analysis, tmp_path: Path) -> None:
    write_results(tmp_path / "results.json", whole.results)
    content = json.loads((tmp_path / "results.json").read_text())
    del content["results"]["detectors"]
    (tmp_path / "results.json").write_text(json.dumps(content))
    assert read_results(tmp_path / "results.json").detectors == {}


@pytest.mark.parametrize("model", ["lh", "sample", "stated"])
@pytest.mark.parametrize("balance", ["equal", "none"])
def test_probabilities_are_for_the_stated_abundances_whatever_the_balance(
    folder: Path, whole: Analysis, model: str, balance: str
) -> None:
    done = whole if balance == "equal" else analysed(folder, balance="none")
    found = done.results.models[model].calibration
    assert found is not None
    assert found.balanced == (model == "lh")
    assert found.abundances == ({"pion": 70, "kaon": 20, "electron": 10} if model == "stated" else {})
    # 1,300 training electrons; an abundance that were wrong by the 70:20:10 of the sample would miss by .2 and more
    assert found.rms_error.low < 0.03
    np.testing.assert_allclose(done.scores[model], whole.scores[model], rtol=0, atol=1e-6)


def test_friends_hold_the_differences_of_log_likelihoods(whole: Analysis) -> None:
    assert whole.models["sample"].output_names == ("dll_kaon", "dll_electron")
    assert whole.outputs["lh"].shape == (9000, 2)
    scores = whole.scores["lh"].astype(np.float64)
    with np.errstate(divide="ignore"):
        expected = np.log(scores[:, :1]) - np.log(scores[:, 1:])
    inside = (scores > 1e-6).all(axis=1)
    np.testing.assert_allclose(whole.outputs["lh"][inside], expected[inside], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("which", ["whole", "folds"])
def test_exports_say_what_pidlab_says(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    done: Analysis = request.getfixturevalue(which)
    run = tmp_path / which
    run.mkdir()
    save_bundle(run, done.recipe, done.models, done.results.models)
    (run / "manifest.json").write_text(json.dumps({"schema": 1}))
    bundle = load_bundle(run)
    events = parity_events(bundle, 4000)
    holes = np.isnan(events.x)
    assert holes[:, :4].any(axis=0)[1:3].all()  # β and E/p are missing somewhere
    assert holes[:, 4].any()  # and so is log(p)
    for format in ("onnx", "header"):
        for written in export(bundle, run, format, [], tmp_path / format):
            assert written.note or written.largest_difference < 1e-6
    assert all(np.isfinite(scores).all() for scores in events.scores.values())


def test_categories_have_a_table_too(folder: Path) -> None:
    by = {"slow": "!(p >= 2.5)", "fast": "p >= 2.5"}
    done = analysed(folder, models={"lh": {**MODELS["lh"], "by": by}})
    rows = done.results.detectors["lh"].rows
    assert rows[0].auc == done.results.models["lh"].auc
    assert rows[1].delta_auc.high < 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detectors": {"a": ["dedx"], "b": ["dedx"]}}, "'dedx' stands at models.lh.detectors.a"),
        ({"detectors": {"a": ["time"], "b": ["beta"]}}, "would count twice"),
        ({"detectors": {"a": ["dedx"]}, "against": "dedx"}, "models.lh.against"),
        ({"detectors": {"a": ["dedx", "eop", "shape"]}}, "models.lh.detectors.a"),
        ({"detectors": {}}, "models.lh.detectors"),
        ({"priors": {"pion": 1, "kaon": 2}}, "says nothing of the class 'electron'; give every class its prior"),
        ({"priors": {"pion": 1, "kaon": 2, "elektron": 1}}, "electron"),
        ({"priors": "data"}, "models.lh.priors"),
    ],
    ids=["twice", "by name", "against", "three", "none", "a prior", "a class", "word"],
)
def test_mistakes_are_told_before_anything_is_read(change: dict[str, Any], message: str) -> None:
    content = {**BASE, "models": {"lh": {**MODELS["lh"], **change}}}
    with pytest.raises(ConfigError) as told:
        check_config(content, {}, Path("analysis.yaml"))
    assert message in str(told.value)
