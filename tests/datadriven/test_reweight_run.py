"""A run with `reweight`: classes come out alike, weights reach every place that has scores, and mistakes are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from click.testing import CliRunner

import pidlab
from conftest import write_tree
from pidlab.cli import cli
from pidlab.config.load import load_config
from pidlab.datadriven.reweighting.balance import weight_replicas
from pidlab.errors import ConfigError, DataError
from pidlab.evaluate.intervals import proportion
from pidlab.evaluate.results import read_results
from pidlab.export import export
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse, run
from pidlab.pipeline.again import evaluate_again
from pidlab.progress import Watcher
from pidlab.runs.bundle import load_bundle
from pidlab.runs.compare import load_runs
from pidlab.runs.reproduce import reproduce

N = 3000
RESOURCES = Resources("cpu", n_jobs=1)
CONFIG = """\
data: {files: sim.root, event_id: [event]}
classes: {electron: "species == 0", pion: "species == 1"}
features: [eop, npe]
split: {validation: 0.1}
evaluate: {robustness: null, importance: false, maps: [{x: p, bins: [0.3, 1.5, 3, 5.3]}]}
models:
  fisher: {type: fisher}
"""
TO_CLASS = "reweight: {match: [p, theta + 0], to: electron}\n"


def species(rng: np.random.Generator, n: int, kind: int, *, alike: bool = False) -> dict[str, Any]:
    """Electrons (0) are softer than pions (1) unless they are made alike; E/p of pions rises with the momentum."""
    soft = kind == 0 or alike
    p = (rng.beta(1.5, 2.5, n) if soft else rng.beta(2.2, 1.8, n)) * 5 + 0.3
    theta = rng.normal(20, 5, n) + (0 if soft else 2)
    eop = rng.normal(1.0 if kind == 0 else 0.35 + 0.1 * p, 0.15, n)
    npe = rng.poisson(np.full(n, 8.0) if kind == 0 else 1 + p)
    return {"p": p, "theta": theta, "eop": eop, "npe": npe.astype("i4"), "species": np.full(n, kind, "i4")}


def joined(*parts: dict[str, Any], first: int = 0) -> dict[str, Any]:
    order = np.random.default_rng(0).permutation(sum(len(part["p"]) for part in parts))
    columns = {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}
    return {**columns, "event": np.arange(first, first + len(order))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("reweight")
    rng = np.random.default_rng(5)
    simulated = joined(species(rng, N, 0), species(rng, N, 1))
    simulated["p"][::97] = np.nan
    write_tree(place / "sim.root", simulated)
    data = joined(species(rng, N, 0), species(rng, N // 4, 0, alike=True), first=10**6)
    data["sw"] = np.where(rng.random(len(data["p"])) < 0.1, -0.5, 1.0)
    data["bad"] = np.where(np.arange(len(data["p"])) == 7, np.inf, 1.0)
    write_tree(place / "data.root", data)
    return place


def made(folder: Path, name: str, text: str, figures: Any = "none") -> Path:
    (folder / f"{name}.yaml").write_text(CONFIG + text)
    run(load_config(folder / f"{name}.yaml"), folder / name, RESOURCES, Watcher(), figures=figures)
    return folder / name


@pytest.fixture(scope="module")
def by_class(folder: Path) -> Path:
    return made(folder, "by_class", TO_CLASS)


@pytest.fixture(scope="module")
def by_bins(folder: Path) -> Path:
    text = "reweight: {match: [p, theta], to: electron, method: bins, bins: {p: [0.3, 1, 2, 3, 4, 5.3], theta: 6}}\n"
    return made(folder, "by_bins", text + "folds: 3\n")


@pytest.fixture(scope="module")
def to_data(folder: Path) -> Path:
    return made(folder, "to_data", "reweight: {match: [p], to: {files: data.root, weight: sw}, for: evaluation}\n")


def branch(run: Path, name: str) -> Any:
    with uproot.open(run / "friends" / "sim_pid.root") as file:
        return file["T_pid"][name].array(library="np")


def test_what_the_weights_do_is_measured_and_said(by_class: Path) -> None:
    results = read_results(by_class / "results.json")
    assert results.reweighting is not None
    (group,) = results.reweighting.groups
    assert group.auc_before.value > 0.6
    assert abs(group.auc_after.value - 0.5) < 2.5 * (group.auc_after.high - group.auc_after.low) / 2
    assert 0.2 * group.effective_before < group.effective_after < 0.9 * group.effective_before
    assert 1 < group.largest < 100
    assert group.missing == pytest.approx(N * 0.25 / 97, rel=0.6)
    assert group.variables.keys() == {"p", "theta + 0"}
    text = " ".join(results.notes)
    for said in ("pion is made like electron", "effective events", "largest weight", "AUC", "lack one of p"):
        assert said in text
    numbers = json.loads((by_class / "metrics.json").read_text())["reweighting"]["groups"][0]
    assert numbers["auc_after"]["value"] == group.auc_after.value
    assert "Weights make classes alike in p, theta + 0" in (by_class / "report.html").read_text()
    assert len(pidlab.load(by_class).result.plot.weights("pion").axes) == 3  # two variables and the weights
    with uproot.open(by_class / "results.root") as file:
        assert file["reweighting/pion/p_after"].values().sum() > 0


def test_intervals_hold_the_statistical_error_of_the_weights(folder: Path, by_class: Path, to_data: Path) -> None:
    for run_folder, kind, name in ((by_class, 1, "pion"), (to_data, 0, "electron")):
        with uproot.open(folder / "sim.root") as file:
            sample = file["T"].arrays(library="np")
        reweighter, results = load_bundle(run_folder).reweighter, read_results(run_folder / "results.json")
        assert reweighter is not None
        (group,) = reweighter.groups
        rows = (branch(run_folder, "pid_split") == 2) & (sample["species"] == kind)
        columns = {"p": sample["p"], "theta + 0": sample["theta"]}
        z = np.column_stack([columns[each] for each in reweighter.match])[rows]
        passed, weight = branch(run_folder, "pid_fisher_eff90")[rows], branch(run_folder, group.branch)[rows]
        point = results.models["fisher"].working_points[0]
        found = point.efficiency if kind == 0 else point.misid[name]
        plain = proportion(passed, weight.astype(np.float64))
        of_weights = weight_replicas(group.factors, z, group.ratios, group.shapes, reweighter.seed)
        assert of_weights is not None
        replicas = [np.average(passed, weights=weight * factor) for factor in of_weights]
        error = np.sqrt(np.mean((np.array(replicas) - plain.value) ** 2))
        assert found.value == pytest.approx(plain.value, rel=1e-5)
        assert found.low == pytest.approx(plain.value - np.hypot(plain.value - plain.low, error), rel=1e-5)
        assert found.high == pytest.approx(plain.value + np.hypot(plain.high - plain.value, error), rel=1e-5)
        assert error > 0
        assert any("include the statistical error of these weights" in note for note in results.notes)


def test_a_comparison_of_finished_runs_knows_the_replicas_of_their_weights(by_class: Path, by_bins: Path) -> None:
    for finished in load_runs([by_class, by_bins]):
        sample = finished.scored.sample
        replicas = sample.weight_replicas
        assert replicas is not None
        factors = np.array(list(replicas))
        np.testing.assert_allclose(factors[:, sample.is_signal], 1.0, rtol=1e-12)  # electrons keep their weights
        assert 0.01 < np.median(factors[:, ~sample.is_signal].std(axis=0)) < 0.5


def test_the_weighted_pions_have_the_electrons_distributions(folder: Path, by_class: Path) -> None:
    with uproot.open(folder / "sim.root") as file:
        sample = file["T"].arrays(library="np")
    test, weight = branch(by_class, "pid_split") == 2, branch(by_class, "pid_weight_pion")
    assert np.isfinite(weight).all()
    for value in (sample["p"], sample["theta"], np.sin(sample["p"]) * sample["theta"]):
        known = test & np.isfinite(value)
        pion, electron = known & (sample["species"] == 1), known & (sample["species"] == 0)
        w = weight[pion]
        mean, wanted = np.average(value[pion], weights=w), value[electron].mean()
        error = np.hypot(
            np.sqrt((w**2 * (value[pion] - mean) ** 2).sum()) / w.sum(), value[electron].std() / np.sqrt(electron.sum())
        )
        assert abs(mean - wanted) < 3 * error
    absent = np.isnan(sample["p"])
    assert weight[absent & test].mean() == pytest.approx(1.0, abs=0.5)  # as many electrons lack it as pions


def test_weights_are_the_same_in_friends_apply_and_python(
    folder: Path, by_class: Path, by_bins: Path, to_data: Path
) -> None:
    with uproot.open(folder / "sim.root") as file:
        arrays = file["T"].arrays(library="np")
    for made_run, name in ((by_class, "pid_weight_pion"), (by_bins, "pid_weight_pion"), (to_data, "pid_weight")):
        own = branch(made_run, name)
        loaded = pidlab.load(made_run)
        np.testing.assert_array_equal(loaded.weights(arrays)[name], own)
        replicas = loaded.weight_replicas(arrays)[name]
        assert len(replicas) == 25
        chosen = np.isfinite(own) & (own > 0)
        chosen &= (arrays["species"] == 1) | (name == "pid_weight")
        np.testing.assert_array_equal(np.isfinite(replicas[0]), np.isfinite(own))
        # The sum of the weights of training events stays, and that of all events nearly so.
        sums = np.array([replica[chosen].sum() for replica in replicas]) / own[chosen].sum()
        np.testing.assert_allclose(sums, 1.0, atol=0.05)
        assert 0.005 < np.median(np.std([replica[chosen] / own[chosen] for replica in replicas], axis=0)) < 0.5
        np.testing.assert_array_equal(loaded.friend(arrays)[name], own)
        target = folder / f"applied_{made_run.name}"
        done = CliRunner().invoke(cli, ["apply", str(made_run), str(folder / "sim.root"), "-o", str(target), "-q"])
        assert done.exit_code == 0, done.output
        with uproot.open(target / "sim_pid.root") as file:
            np.testing.assert_array_equal(file["T_pid"][name].array(library="np"), own)
        others = {key: values for key, values in arrays.items() if key != "event"}
        mean = loaded.weights(others)[name]  # events that the run does not know: the mean over the folds
        assert not np.array_equal(mean, own)
        assert np.corrcoef(mean, own)[0, 1] > 0.9


def test_training_events_are_weighted_out_of_fold(folder: Path, by_class: Path) -> None:
    """The noise of a weight must not know its own event: in training and test, weights have the same spread."""
    with uproot.open(folder / "sim.root") as file:
        pion = file["T"]["species"].array(library="np") == 1
    weight, part = branch(by_class, "pid_weight_pion"), branch(by_class, "pid_split")
    train, test = (weight[pion & (part == p)] for p in (0, 2))
    assert train.mean() == pytest.approx(1.0, abs=1e-6)  # the sum of weights of training is kept
    assert test.mean() == pytest.approx(1.0, abs=4 * test.std() / np.sqrt(len(test)))
    assert test.std() == pytest.approx(train.std(), rel=0.15)


def test_the_weights_are_used_for_what_was_asked(folder: Path) -> None:
    found = {}
    for purpose in ("training", "evaluation", "both"):
        (folder / "for.yaml").write_text(CONFIG + TO_CLASS.replace("to: electron", f"to: electron, for: {purpose}"))
        found[purpose] = analyse(load_config(folder / "for.yaml"), RESOURCES, Watcher())
    (folder / "for.yaml").write_text(CONFIG + "spectators: [theta + 0]\n")
    without = analyse(load_config(folder / "for.yaml"), RESOURCES, Watcher())
    models = {name: done.models["fisher"].fitted[0].estimator.coefficients_ for name, done in found.items()}
    np.testing.assert_array_equal(models["evaluation"], without.models["fisher"].fitted[0].estimator.coefficients_)
    np.testing.assert_array_equal(models["training"], models["both"])
    assert not np.array_equal(models["training"], models["evaluation"])
    np.testing.assert_array_equal(found["training"].scored.sample.weight, without.scored.sample.weight)
    assert not np.array_equal(found["both"].scored.sample.weight, without.scored.sample.weight)


def test_simulation_made_like_data_has_the_efficiency_of_data_in_every_bin_and_in_all(
    folder: Path, to_data: Path
) -> None:
    """Signal of data and simulation differ in their momenta only; reweighted, also the overall efficiency agrees."""
    bundle = load_bundle(to_data)
    threshold = bundle.decisions["fisher"][0].threshold
    with uproot.open(folder / "data.root") as file:
        data = file["T"].arrays(library="np")
    passed = pidlab.load(to_data).scores(data)["fisher"] > threshold
    results = read_results(to_data / "results.json")
    assert results.reweighting is not None
    assert results.reweighting.used_for == "evaluation"
    share = float(np.average(passed, weights=data["sw"]))
    error = float(np.sqrt((data["sw"] ** 2 * (passed - share) ** 2).sum()) / data["sw"].sum())
    efficiency = results.models["fisher"].working_points[0].efficiency
    assert abs(efficiency.value - share) < 3 * np.hypot(error, (efficiency.high - efficiency.low) / 2)


@pytest.mark.slow
def test_a_model_trained_with_weights_has_the_efficiencies_of_one_trained_on_classes_that_are_alike(
    folder: Path,
) -> None:
    """In every bin of the momentum, within the errors, on the same test events."""
    rng = np.random.default_rng(12)
    write_tree(folder / "alike.root", joined(species(rng, N, 0), species(rng, N, 1, alike=True)))
    base = CONFIG.replace("fisher: {type: fisher}", "bdt: {type: bdt, n_estimators: 80, max_depth: 3, n_jobs: 1}")
    base = base.replace("n_jobs: 1", "learning_rate: 0.1").replace("features: [eop, npe]", "features: [eop, npe, p]")
    (folder / "alike.yaml").write_text(base.replace("sim.root", "alike.root"))
    (folder / "weighted.yaml").write_text(base + TO_CLASS)
    for name in ("alike", "weighted"):
        run(load_config(folder / f"{name}.yaml"), folder / f"{name}_run", RESOURCES, Watcher(), figures="none")
    fresh = joined(species(rng, 2 * N, 0), species(rng, 2 * N, 1, alike=True))
    scores = {name: pidlab.load(folder / f"{name}_run").scores(fresh)["bdt"] for name in ("alike", "weighted")}
    electron = fresh["species"] == 0
    thresholds = {name: np.quantile(score[electron], 0.1) for name, score in scores.items()}
    for low, high in ((0.3, 1.2), (1.2, 2.0), (2.0, 3.0), (3.0, 5.3)):
        inside = (fresh["p"] >= low) & (fresh["p"] < high)
        for kind in (0, 1):
            rows = inside & (fresh["species"] == kind)
            a, b = (scores[name][rows] > thresholds[name] for name in ("alike", "weighted"))
            spread = np.sqrt(max((a != b).mean(), 1 / rows.sum()) / rows.sum())  # paired, on the same events
            trained = np.sqrt(max(a.mean() * (1 - a.mean()), 1 / rows.sum()) / rows.sum()) * 2
            assert abs(a.mean() - b.mean()) < 3 * np.hypot(spread, trained)


def test_it_can_be_reproduced_and_evaluated_again(by_class: Path, by_bins: Path, to_data: Path, tmp_path: Path) -> None:
    for made_run in (by_class, by_bins, to_data):
        assert reproduce(made_run, RESOURCES, Watcher()).identical
    evaluate_again(to_data, tmp_path / "again", ["evaluate.threshold=0.4"], RESOURCES, Watcher(), figures="none")
    before, after = (read_results(each / "results.json") for each in (to_data, tmp_path / "again"))
    assert before.reweighting is not None
    assert after.reweighting is not None
    assert after.reweighting.groups[0].auc_after == before.reweighting.groups[0].auc_after
    assert after.models["fisher"].samples["test"].auc == before.models["fisher"].samples["test"].auc
    files = [each["file"] for each in json.loads((to_data / "manifest.json").read_text())["inputs"]]
    assert [Path(file).name for file in files] == ["sim.root", "data.root"]


def test_exports_hold_the_weights(by_class: Path, by_bins: Path, to_data: Path, tmp_path: Path) -> None:
    for made_run in (by_class, by_bins, to_data):
        (header,) = export(load_bundle(made_run), made_run, "header", [], tmp_path / made_run.name)
        name = "weight" if made_run is to_data else "weight_pion"
        assert f"inline float {name}(const Event& event)" in header.path.read_text()
        assert header.largest_difference < 1e-5
    (found,) = export(load_bundle(by_bins), by_bins, "correctionlib", [], tmp_path / "corrections")
    names = [each["name"] for each in json.loads(found.path.read_text())["corrections"]]
    assert "pid_weight_pion" in names
    (without,) = export(load_bundle(by_class), by_class, "correctionlib", [], tmp_path / "none")
    assert "left out" in without.note


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{match: [p], to: electrn}", "is none of the classes; did you mean 'electron'?"),
        ("{match: [p, p], to: electron}", "stands here twice"),
        ("{match: [p], to: electron, classes: [electron]}", "what the others are made alike to"),
        ("{match: [p], to: electron, bins: {p: 5}}", "is read with method: bins only"),
        ("{match: [p], to: electron, method: bins, bins: {q: 5}}", "none of reweight.match"),
        ("{match: [p], to: electron, method: bins, bins: {p: [2, 1]}}", "bin edges must rise"),
        ("{match: [p], to: electron, for: testing}", "must be one of training, evaluation, both"),
        ("{match: [nothing], to: electron}", "nothing"),
        ("{match: [p], too: electron}", "did you mean 'to'?"),
    ],
)
def test_mistakes_are_told_with_their_place(folder: Path, text: str, said: str) -> None:
    (folder / "wrong.yaml").write_text(f"{CONFIG}reweight: {text}\n")
    with pytest.raises(ConfigError, match=r"wrong\.yaml:\d+:\d+: reweight") as error:
        analyse(load_config(folder / "wrong.yaml"), RESOURCES, Watcher())
    assert said in str(error.value)


def test_a_target_that_cannot_be_used_is_told(folder: Path) -> None:
    for text, said in (
        ("{files: data.root, cut: p > 99}", "no row of the files passes the selection and the cut"),
        ("{files: data.root, weight: bad}", "weights must be finite"),
        ("{files: data.root, weight: -sw}", "do not have a positive sum"),
        ("{files: data.root, weight: swx}", "swx"),
        ("{files: none.root}", "none.root"),
    ):
        (folder / "bad.yaml").write_text(f"{CONFIG}reweight: {{match: [p], to: {text}}}\n")
        with pytest.raises((DataError, ConfigError)) as error:
            analyse(load_config(folder / "bad.yaml"), RESOURCES, Watcher())
        assert said in str(error.value)
