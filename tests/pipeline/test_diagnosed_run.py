"""A run with a network that died and with optimal points: what is said where, and what holds the decisions."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import uproot

import pidlab
from exported_runs import config, write_table
from pidlab.cli.terminal import sentences
from pidlab.config.load import check_config
from pidlab.evaluate.results import read_results
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse
from pidlab.pipeline.again import evaluate_again
from pidlab.progress import Watcher
from pidlab.simulate import simulate

MODELS = {
    "fisher": {"type": "fisher"},
    "dead": {
        "type": "mlp", "hidden": [8, 8], "activation": "relu", "learning_rate": 3.0, "epochs": 3, "batch_size": 64,
        "members": 2,
    },
    "well": {"type": "mlp", "hidden": [8, 8], "activation": "relu", "epochs": 3},
}  # fmt: skip
EVALUATE = {"robustness": None, "importance": False, "optimal_points": ["youden"], "working_points": [0.9]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of three classes, of which kaons are the signal."""
    folder = tmp_path_factory.mktemp("diagnosed")
    write_table(folder)
    content = config(3, MODELS, evaluate=EVALUATE)
    content["data"]["files"] = str(folder / "table.root")
    pidlab.run(content, folder / "run", figures="none")
    return folder / "run"


def test_a_fault_of_the_training_is_said_in_the_terminal_the_report_and_the_files(finished):
    results = read_results(finished / "results.json")
    (warning,) = results.models["dead"].training.warnings
    assert warning.startswith("Units of a hidden layer are dead in 2 of its 2 networks: up to ")
    assert sentences(results)[1] == f"dead: {warning}"
    assert f'<p class="caution">dead: {warning}</p>' in (finished / "report.html").read_text()
    told = json.loads((finished / "metrics.json").read_text())["models"]
    assert told["dead"]["training"]["warnings"] == [warning]
    assert told["well"]["training"]["warnings"] == told["fisher"]["training"]["warnings"] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "tree", "classes", "features"),
    [
        (
            "shms", "T", 2,
            [
                "P.cal.etottracknorm", "P.cal.eprtracknorm",
                {"name": "npe", "expression": "P.hgcer.npeSum", "missing": [-999]},
            ],
        ),
        ("tracks", "tracks", 4, ["p", "tpc_dedx", {"name": "tof", "expression": "tof_beta", "missing": [-999]}]),
    ],
)  # fmt: skip
def test_nothing_is_said_of_the_default_network_on_simulated_samples(kind, tree, classes, features, tmp_path):
    simulate(kind, tmp_path / "sample.root", 5000, 2)
    content = {
        "data": {"files": "sample.root", "tree": tree, "event_id": ["run", "event"], "weight": "w"},
        "classes": {f"species_{i}": f"species == {i}" for i in range(classes)},
        "features": features,
        "models": {"mlp": {"type": "mlp"}},
        "evaluate": {"robustness": None, "importance": False},
    }
    done = analyse(check_config(content, {}, tmp_path / "analysis.yaml"), Resources("cpu", 1), Watcher())
    training = done.results.models["mlp"].training
    assert training.warnings == ()
    assert len(training.history["gradient_norm_output"]) == training.epochs


def test_evaluating_again_still_says_it(finished, tmp_path):
    again = evaluate_again(
        finished, tmp_path / "again", ["evaluate.optimal_points=[sweet_spot]"], Resources("cpu", 1), Watcher(),
        figures="none",
    )  # fmt: skip
    assert (
        again.models["dead"].training.warnings
        == read_results(finished / "results.json").models["dead"].training.warnings
    )
    assert [p.name for p in again.models["fisher"].working_points] == ["eff90", "sweet_spot"]


def test_results_of_an_older_version_say_nothing(finished):
    results = read_results(finished / "results.json")
    older = {name: replace(m, training=None, optimal_points={}) for name, m in results.models.items()}
    assert not any("hidden layer" in sentence for sentence in sentences(replace(results, models=older)))
    assert set(older["fisher"].points) == {"eff90", "youden"}


def test_norms_and_optimal_points_are_root_objects(finished):
    result = read_results(finished / "results.json")
    with uproot.open(finished / "results.root") as file:
        for name, values in result.models["well"].training.history.items():
            x, y = file[f"well/history_{name}"].values()
            np.testing.assert_allclose(y, values)
            assert x.tolist() == [1, 2, 3]
        points = result.models["fisher"].optimal_points
        assert set(points) == {"pion", "proton", "rest"}
        for against, key in (("rest", ""), ("pion", "_pion"), ("proton", "_proton")):
            graph = file[f"fisher/optimal_points{key}"]
            efficiency, misid = graph.values()
            assert efficiency.tolist() == [p.efficiency.value for p in points[against]]
            assert misid.tolist() == [p.misid[against].value for p in points[against]]
            assert "sweet_spot (score > " in graph.member("fTitle")


def test_only_the_point_that_was_asked_for_is_a_decision(finished):
    point = read_results(finished / "results.json").models["fisher"].points["youden"]
    (path,) = (finished / "friends").glob("*_pid.root")
    with uproot.open(path) as file:
        (tree,) = (each for each in file.values() if each.classname == "TTree")
        assert not [name for name in tree.keys() if "sweet_spot" in name]  # noqa: SIM118 - not a dict
        score = tree["pid_fisher_kaon" if "pid_fisher_kaon" in tree else "pid_fisher"].array(library="np")
        passed = tree["pid_fisher_youden"].array(library="np")
    np.testing.assert_array_equal(passed, score > np.float32(point.threshold))
    pid = pidlab.load(finished)
    assert pid.working_points["fisher"] == ("eff90", "youden")


def test_the_report_folds_the_table_of_all_curves(finished):
    page = (finished / "report.html").read_text()
    table = page[page.index("<summary>Optimal points of the ROC curves</summary>") :]
    table = table[: table.index("</table>")]
    assert table.count('<th scope="row">fisher</th>') == 6  # two points against two classes and against both
    assert table.count("<td>all others</td>") == 2 * len(MODELS)
