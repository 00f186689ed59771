"""A run with a target: from the file to friends, exports and the run made again, with folds, signs and gaps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import uproot
from click.testing import CliRunner

import pidlab
from conftest import write_tree
from pidlab.cli import cli
from pidlab.config.load import load_config
from pidlab.errors import DataError, UsageError
from pidlab.evaluate.results import RegressionResults, read_any_results
from pidlab.export import export
from pidlab.models.registry import Resources
from pidlab.pipeline import run
from pidlab.pipeline.again import evaluate_again
from pidlab.progress import Watcher
from pidlab.runs.bundle import load_bundle
from pidlab.runs.reproduce import reproduce

CONFIG = """\
data: {files: events.root, event_id: [number], weight: w}
target: {value: truth, cut: is_known == 1}
selection: {inside: "p < 4.8"}
features: [a, {name: b, expression: b, missing: [-999]}]
spectators: [p]
folds: 3
models:
  constant: {type: constant}
  linear: {type: linear}
  bdt: {type: bdt, loss: gaussian, n_estimators: 30, learning_rate: 0.2}
  quantiles: {type: bdt, loss: quantile, n_estimators: 30, learning_rate: 0.2}
  mlp: {type: mlp, hidden: [8], epochs: 3}
  guess: {type: score, expression: 2 * a}
"""
N = 3000
RESOURCES = Resources("cpu", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events of two candidates each, weights of both signs, missing features, and a target that some do not have."""
    place = tmp_path_factory.mktemp("regression")
    rng = np.random.default_rng(11)
    a, b = rng.normal(size=N).astype("f4"), rng.normal(size=N).astype("f4")
    truth = 2 * a + b + 0.5 * rng.normal(size=N)
    columns = {
        "a": a,
        "b": np.where(rng.random(N) < 0.05, -999, b).astype("f4"),
        "p": rng.uniform(1, 5, N),
        "w": np.where(rng.random(N) < 0.1, -0.3, 1.2),
        "truth": np.where(rng.random(N) < 0.02, np.nan, truth),
        "is_known": (rng.random(N) < 0.9).astype("i4"),
        "number": np.arange(N) // 2,
    }
    write_tree(place / "events.root", columns)
    (place / "a.yaml").write_text(CONFIG)
    return place


@pytest.fixture(scope="module")
def finished(folder: Path) -> Path:
    run(load_config(folder / "a.yaml"), folder / "run", RESOURCES, Watcher(), figures="none")
    return folder / "run"


def results_of(finished: Path) -> RegressionResults:
    results = read_any_results(finished / "results.json")
    assert isinstance(results, RegressionResults)
    return results


def test_models_are_as_good_as_they_can_be_and_ranked_by_what_they_can_see(finished: Path) -> None:
    results = results_of(finished)
    rms = {name: model.rms.value for name, model in results.models.items()}
    assert rms["constant"] == pytest.approx(np.sqrt(4 + 1 + 0.25), rel=0.06)
    # The noise of .5, and the twentieth of the events in which b, of unit variance, is missing.
    assert rms["linear"] == pytest.approx(np.sqrt(0.25 + 0.05), rel=0.1)
    assert rms["guess"] == pytest.approx(np.sqrt(1 + 0.25), rel=0.06)
    assert rms["linear"] < min(rms["bdt"], rms["mlp"]) < rms["guess"] < rms["constant"]
    pulls = results.models["bdt"].test.pulls
    assert pulls is not None
    assert pulls.width.value == pytest.approx(1, abs=0.15)


def test_features_are_worth_what_the_target_says_and_a_model_of_one_feature_nothing_else(finished: Path) -> None:
    """The target is 2 a + b with noise of .5, and b is missing in a twentieth of the events."""
    results = results_of(finished)
    assert set(results.importance) == {"linear", "bdt", "quantiles", "mlp", "guess"}
    for name in ("linear", "bdt", "mlp"):
        a, b = results.importance[name].features
        assert a.delta_rms.low > b.delta_rms.high > b.delta_rms.low > 0, name
    a, b = results.importance["linear"].features
    assert a.delta_rms.value == pytest.approx(np.sqrt(2 * 4 + 0.3) - np.sqrt(0.3), rel=0.1)
    assert a.contribution is not None
    assert a.contribution.value == pytest.approx(2 * np.sqrt(2 / np.pi), rel=0.1)
    guess = results.importance["guess"].features  # 2 * a, which is a feature and reads the branch of its name
    assert guess[0].delta_rms.low > 0
    assert guess[1].delta_rms[:3] == (0.0, 0.0, 0.0)
    (slope,) = [one for one in results.dependence["linear"] if one.feature == "a"]
    known = ~np.isnan(slope.value)
    np.testing.assert_allclose(np.diff(slope.mean[known]) / np.diff(slope.value[known]), 2, rtol=0.1)
    assert np.isnan(next(one for one in results.dependence["bdt"] if one.feature == "b").value[-1])  # missing


def test_friends_hold_predictions_widths_and_quantiles_of_every_selected_row(folder: Path, finished: Path) -> None:
    with uproot.open(finished / "friends" / "events_pid.root") as file:
        friend = file["T_pid"].arrays(library="np")
    with uproot.open(folder / "events.root") as file:
        events = file["T"].arrays(library="np")
    own = ["constant", "linear", "bdt", "bdt_sigma", "quantiles", "quantiles_q16", "quantiles_q50", "quantiles_q84"]
    own += ["mlp", "guess"]
    assert set(friend) == {"pid_selected", "pid_split", "number", *(f"pid_{name}" for name in own)}
    selected = events["p"] < 4.8
    assert np.array_equal(friend["pid_selected"], selected)
    for name in own:  # also where the target is not known
        assert np.array_equal(np.isfinite(friend[f"pid_{name}"]), selected), name
    assert (friend["pid_bdt_sigma"][selected] > 0).all()
    q16, q50, q84 = (friend[f"pid_quantiles_{q}"][selected] for q in ("q16", "q50", "q84"))
    assert ((q16 <= q50) & (q50 <= q84)).all()
    known = selected & (events["is_known"] == 1) & np.isfinite(events["truth"])
    assert np.array_equal(friend["pid_split"] == 2, known)
    # The numbers of the report are those of the friend tree.
    weight, residual = events["w"][known], friend["pid_linear"][known] - events["truth"][known]
    rms = np.sqrt(np.average(residual**2, weights=weight))
    assert results_of(finished).models["linear"].rms.value == pytest.approx(rms, rel=1e-5)


def test_apply_gives_what_the_run_gave_and_the_mean_over_folds_for_new_events(folder: Path, finished: Path) -> None:
    with uproot.open(folder / "events.root") as file:
        events = file["T"].arrays(library="np")
    write_tree(folder / "new.root", {**events, "number": events["number"] + N})
    bundle = load_bundle(finished)
    from pidlab.apply import apply

    inputs = bundle.recipe.inputs([str(folder / name) for name in ("events.root", "new.root")], None)
    apply(bundle, inputs, folder / "friends", Watcher())
    trees = {}
    for name in ("events", "new"):
        with uproot.open(folder / "friends" / f"{name}_pid.root") as file:
            trees[name] = file["T_pid"].arrays(library="np")
    with uproot.open(finished / "friends" / "events_pid.root") as file:
        run_tree = file["T_pid"].arrays(library="np")
    for branch in trees["events"]:
        assert np.array_equal(trees["events"][branch], run_tree[branch], equal_nan=run_tree[branch].dtype.kind == "f")
    folds = list(bundle.models["bdt"].fitted)
    x = np.column_stack([events["a"], np.where(events["b"] == -999, np.nan, events["b"])]).astype("f4")
    mean = np.mean([model.scores(x)[:, 0] for model in folds], axis=0)
    selected = trees["new"]["pid_selected"]
    assert np.allclose(trees["new"]["pid_bdt"][selected], mean[selected], rtol=1e-5)
    loaded = pidlab.load(finished)
    arrays = {name: values for name, values in events.items() if name != "number"}
    assert np.array_equal(loaded.friend(arrays)["pid_bdt_sigma"], trees["new"]["pid_bdt_sigma"], equal_nan=True)


def test_the_run_made_again_has_every_number_to_the_last_bit(finished: Path) -> None:
    again = reproduce(finished, RESOURCES, Watcher())
    assert again.identical, again.moved[:5]
    assert again.n_compared > 100


def test_it_is_evaluated_again_without_training_in_other_bins(folder: Path, finished: Path) -> None:
    evaluate_again(
        finished, folder / "again", ["evaluate.maps=[{x: p, bins: [1, 2, 4.8]}]"], RESOURCES, Watcher(), figures="none"
    )
    before, after = results_of(finished), results_of(folder / "again")
    assert after.models["bdt"].rms == before.models["bdt"].rms
    (trend,) = (t for t in after.models["bdt"].trends if t.x == "p")
    assert list(trend.edges) == [1, 2, 4.8]


def test_models_are_exported_with_parity(finished: Path, tmp_path: Path) -> None:
    for form in ("header", "onnx"):
        names = ["linear", "bdt", "quantiles", "mlp"]
        done = export(load_bundle(finished, names), finished, form, names, tmp_path / form)
        assert {each.model for each in done} >= set(names) if hasattr(done[0], "model") else done


def test_python_gives_tables_and_verdicts(folder: Path) -> None:
    result = pidlab.run(folder / "a.yaml", overrides=["models.mlp=null", "models.quantiles=null"], jobs=1)
    assert isinstance(result, pidlab.RegressionResult)
    table = result.table()
    assert list(table.index) == ["constant", "linear", "bdt", "guess"]
    assert table.loc["linear", "rms"] == result["linear"].rms.value
    assert table.loc["bdt", "pull_width_low"] < table.loc["bdt", "pull_width"] < table.loc["bdt", "pull_width_high"]
    assert any(verdict.startswith("linear beats constant in RMS") for verdict in result.verdicts)
    assert {"rms", "mae", "sigma68"} <= set(result.comparison_table()["quantity"])
    assert "linear" in repr(result)


def test_tuning_lowers_the_residuals_of_validation_and_writes_a_configuration(folder: Path) -> None:
    words = ["tune", str(folder / "a.yaml"), "--model", "bdt", "--trials", "3", "--objective", "mae", "-q"]
    words += ["--search", "n_estimators=int:5:40", "-o", str(folder / "tuned.yaml")]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert "mean absolute residual on validation" in done.stdout
    assert "%" not in done.stdout.partition("95 % interval")[0]
    load_config(folder / "tuned.yaml")
    wrong = CliRunner().invoke(cli, [*words, "--objective", "auc"])
    assert isinstance(wrong.exception, UsageError)
    assert "none of rms, mae or sigma68" in str(wrong.exception)


def test_what_needs_classes_says_so(finished: Path, folder: Path) -> None:
    done = CliRunner().invoke(cli, ["export", str(finished), "--format", "correctionlib", "-o", str(folder / "c")])
    assert isinstance(done.exception, DataError | UsageError)
    assert "regression" in str(done.exception)
    content = json.loads((finished / "metrics.json").read_text())
    assert content["target"] == "truth"


def test_contributions_to_the_prediction_of_an_event_sum_to_it(folder: Path, finished: Path) -> None:
    with uproot.open(folder / "events.root") as file:
        events = file["T"].arrays(library="np")
    entry = int(np.flatnonzero((events["p"] < 4.8) & (events["b"] != -999))[7])
    (found,) = pidlab.load(finished, ["linear", "bdt"]).explain(str(folder / "events.root"), entry=entry)
    assert found.explained == "prediction of truth"
    with uproot.open(finished / "friends" / "events_pid.root") as file:
        friend = file["T_pid"].arrays(library="np")
    for name in ("linear", "bdt"):
        own = found[name]
        assert own.margin == pytest.approx(friend[f"pid_{name}"][entry], abs=1e-5)
        assert own.margin == pytest.approx(own.scores["events"], abs=1e-5)
    parts = {part.feature: part.contribution for part in found["linear"].contributions}
    # The target is 2 a + b with noise, and a and b have medians near 0.
    assert parts["a"] == pytest.approx(2 * events["a"][entry], abs=0.2)
    assert parts["b"] == pytest.approx(events["b"][entry], abs=0.2)
