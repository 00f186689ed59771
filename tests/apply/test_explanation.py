"""`pidlab explain` and `LoadedRun.explain`: single events, found by their number, with contributions that add up."""

from __future__ import annotations

import json
import re

import awkward as ak
import numpy as np
import pytest
import uproot
from apply_runs import events
from click.testing import CliRunner

import pidlab
from conftest import write_tree
from pidlab.cli import cli
from pidlab.config.load import check_config
from pidlab.errors import DataError, UsageError
from pidlab.models.registry import Resources
from pidlab.pipeline import run
from pidlab.progress import Watcher

CONTENT = {
    "data": {"files": "train.root", "event_id": ["event"]},
    "classes": {"s": "label == 1", "b": "label == 0"},
    "selection": {"range": "abs(a) < 2", "p": "p > 1.2"},
    "features": [
        {"name": "a", "expression": "a", "unit": "GeV"}, {"name": "b", "expression": "b", "missing": [-999]},
        "p", "2 * p",
    ],
    "models": {
        "fisher": {"type": "fisher"},
        "bdt": {"type": "bdt", "n_estimators": 10, "max_depth": 3},
        "mlp": {"type": "mlp", "hidden": [8], "epochs": 4, "members": 2},
        "bayes": {"type": "naive_bayes"},
        "own": {"type": "score", "expression": "a"},
        "hand": {"type": "expression", "cut": "a > 0.5"},
    },
    "evaluate": {"robustness": None, "working_points": [0.8]},
}  # fmt: skip


def made(folder, name, **changes):
    loaded = check_config(CONTENT | changes, {}, folder / "analysis.yaml")
    run(loaded, folder / name, Resources("cpu", 1), Watcher(), figures="none")
    return folder / name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("explained")
    columns = events(3000)
    columns["b"][::10] = -999
    write_tree(place / "train.root", columns)
    other = events(50, 1_000_000)
    other["a"][3], other["p"][4], other["b"][5], other["a"][5], other["p"][5] = 5, 1, -999, 0.3, 2.0
    write_tree(place / "other.root", other)
    made(place, "run")
    return place


@pytest.fixture(scope="module")
def folds(folder):
    return made(folder, "folds", folds=3)


def asked(*words):
    return CliRunner().invoke(cli, ["explain", *map(str, words)])


def answer(*words):
    found = asked(*words, "--json")
    assert found.exit_code == 0, found.output
    return json.loads(found.output)["events"]


def logit(p):
    return np.log(p / (1 - p))


def test_contributions_and_the_reference_sum_to_the_log_odds_of_the_score(folder):
    (found,) = answer(folder / "run", folder / "other.root", "--event", 1_000_005)
    for model in ("fisher", "bdt", "mlp"):
        one = found["models"][model]
        total = one["reference"] + sum(part["contribution"] for part in one["contributions"])
        assert total == pytest.approx(one["margin"], abs=1e-9)
        assert one["margin"] == pytest.approx(logit(one["scores"]["s"]), abs=1e-3), model
        sizes = [abs(part["contribution"]) for part in one["contributions"]]
        assert sizes == sorted(sizes, reverse=True)
        assert sum(sizes) > 0.05
    assert abs(found["models"]["fisher"]["reference"]) < 0.3  # between the classes Fisher cannot tell


def test_an_event_has_the_values_and_the_scores_that_its_friend_has(folder):
    (found,) = answer(folder / "run", folder / "other.root", "--event", "event=1000005")
    assert found["entry"] == 5
    assert found["event_id"] == {"event": 1_000_005}
    assert [f["name"] for f in found["features"]] == ["a", "b", "p", "2 * p"]
    assert [f["unit"] for f in found["features"]] == ["GeV", "", "", ""]
    values = {f["name"]: f["value"] for f in found["features"]}
    assert values["a"] == np.float32(0.3)
    assert values["b"] is None
    pid = pidlab.load(folder / "run")
    with uproot.open(folder / "other.root") as file:
        friend = pid.friend(file["T"].arrays(library="np"))
    for model, one in found["models"].items():
        assert one["scores"]["s"] == pytest.approx(float(friend[f"pid_{model}"][5]), rel=1e-6)
        for point, passed in one["decisions"].items():
            assert passed == friend[f"pid_{model}_{point}"][5]
    assert list(found["models"]) == list(pid.models)
    assert "hand" in found["models"]["hand"]["decisions"]


def test_in_python_it_is_the_same_by_entry_event_or_both(folder):
    pid = pidlab.load(folder / "run", ["mlp", "bdt"])
    (by_entry,) = pid.explain(folder / "other.root", entry=5)
    (by_event,) = pid.explain(folder / "other.root", event=1_000_005)
    (by_name,) = pid.explain(f"{folder / 'other.root'}:T", event={"event": 1_000_005})
    assert by_entry.to_json() == by_event.to_json()
    assert by_name.to_json()["models"] == by_event.to_json()["models"]
    assert len(pid.explain(folder / "other.root", entry=[5, 6, 5], event=[1_000_006])) == 2
    assert by_entry.to_json()["models"] == {
        name: one for name, one in answer(folder / "run", folder / "other.root", "--entry", 5)[0]["models"].items()
        if name in ("mlp", "bdt")
    }  # fmt: skip
    assert isinstance(by_entry["mlp"].margin, float)


def test_an_event_of_the_run_is_explained_by_the_fold_model_that_never_saw_it(folds, folder):
    pid = pidlab.load(folds)
    with uproot.open(folder / "train.root") as file:
        arrays = file["T"].arrays(library="np")
    chosen = np.flatnonzero(pid.selected(arrays))[:3]
    scores = pid.scores(arrays)
    found = pid.explain(folder / "train.root", entry=chosen)
    assert len(found) == 3
    for row, event in zip(chosen, found, strict=True):
        assert event.of_run
        for model in ("fisher", "bdt", "mlp"):
            assert event[model].scores["s"] == pytest.approx(float(scores[model][row]), rel=1e-6)
            assert event[model].margin == pytest.approx(logit(event[model].scores["s"]), abs=1e-3)
            assert "fold models" not in event[model].note
    (other,) = pid.explain(folder / "other.root", entry=5)
    assert other.of_run is False
    margins = [
        float(
            logit(
                part.estimator.predict_proba(part.scaler.transform(np.array([[0.3, np.nan, 2, 4]], np.float32)))[0, 0]
            )
        )
        for part in pid._bundle.models["fisher"].fitted
    ]  # the signal is the first class
    assert other["fisher"].margin == pytest.approx(np.mean(margins), abs=1e-4)
    assert "mean over the fold models" in other["fisher"].note


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["--entry", "3"], "entry 3 (event 1000003) is not selected: it fails the cut 'range': abs(a) < 2", 1),
        (["--event", "1000004"], "entry 4 (event 1000004) is not selected: it fails the cut 'p': p > 1.2", 1),
        (["--event", "77"], "other.root: no entry has event 77", 1),
        (["--entry", "50"], "there is no entry 50; it has entries 0 to 49", 2),
        (["--event", "1,2"], "--event 1,2: a value of each of event names an event, as in --event event=1", 2),
        (["--event", "run=5"], "a value of each of event names an event", 2),
        (["--event", "x"], "whole numbers are needed", 2),
        ([], "name an event by --event, or the number of an entry by --entry", 2),
        (["--entry", "5", "--model", "nlp"], "has no model 'nlp'", 2),
        (["--entry", "5", "--model", "own", "-o", "x.png"], "no model has contributions to draw: own: The score is", 2),
    ],
)
def test_what_cannot_be_explained_is_said_in_a_sentence(folder, words, said, code):
    found = asked(folder / "run", folder / "other.root", *words)
    assert said in str(found.exception)
    assert found.exception.exit_code == code


def test_models_without_contributions_say_what_there_is_instead(folder):
    (found,) = answer(folder / "run", folder / "other.root", "--entry", 5)
    notes = {name: one.get("note", "") for name, one in found["models"].items()}
    assert notes["fisher"] == notes["bdt"] == notes["mlp"] == ""
    assert "`pidlab plot RUN dependence_bayes` draws how its score goes with each feature" in notes["bayes"]
    assert "decides by conditions" in notes["hand"]
    assert "quantity of the file" in notes["own"]
    assert "contributions" not in found["models"]["bayes"]


def test_the_terminal_shows_values_units_scores_and_contributions(folder, tmp_path):
    found = asked(folder / "run", folder / "other.root", "--entry", 5, "--entry", 6, "-o", tmp_path / "w.svg")
    assert found.exit_code == 0
    text = found.output
    assert "entry 5 (event 1000005)" in text
    assert re.search(r"│ a +│ +0\.3 GeV │ +[+-][\d.e-]+ │", text)
    assert re.search(r"│ b +│ +missing │", text)
    assert "mlp: contributions to the margin of s" in text
    assert "(the middle of the classes)" in text
    assert "(the mean of training)" in text
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["w_1.svg", "w_2.svg"]
    only = asked(folder / "run", folder / "other.root", "--entry", 5, "--model", "own")
    assert re.search(r"│ 2 \* p +│ +4 │", only.output)


def test_a_figure_may_be_a_file_or_go_to_a_folder(folder, tmp_path):
    run_, file = folder / "run", folder / "other.root"
    assert asked(run_, file, "--entry", 5, "-o", tmp_path / "one.pdf").exit_code == 0
    assert asked(run_, file, "--entry", 5, "--model", "bdt", "-o", tmp_path / "figures").exit_code == 0
    assert (tmp_path / "one.pdf").read_bytes().startswith(b"%PDF")
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["explained_entry5.png"]


def test_a_run_without_event_numbers_takes_entries_only(folder):
    place = made(folder, "unnumbered", data={"files": "train.root"}, models={"fisher": {"type": "fisher"}})
    pid = pidlab.load(place)
    with pytest.raises(UsageError, match=r"the run has no data\.event_id"):
        pid.explain(folder / "other.root", event={"event": 1_000_005})
    (found,) = pid.explain(folder / "other.root", entry=5)
    assert found.event_id == {}
    assert found.name == "entry 5"


def test_a_file_that_cannot_be_read_and_entries_of_two_files_are_refused(folder):
    pid = pidlab.load(folder / "run")
    with pytest.raises(DataError, match=r"nothing\.root"):
        pid.explain(folder / "nothing.root", entry=1)
    with pytest.raises(UsageError, match="--entry counts the entries of one input"):
        pid.explain(folder / "*r*.root", entry=1)
    assert len(pid.explain(folder / "*r*.root", event=1_000_005)) == 1


def test_calibrated_scores_are_said_to_be_so_and_csv_is_read_from_its_beginning(folder):
    models = {"fisher": {"type": "fisher"}}
    content = {"robustness": None, "calibration": "temperature"}
    pid = pidlab.load(made(folder, "calibrated", models=models, evaluate=content))
    with uproot.open(folder / "other.root") as file:
        arrays = file["T"].arrays(library="np")
    names = list(arrays)
    lines = [",".join(names), *(",".join(str(arrays[name][i]) for name in names) for i in range(50))]
    (folder / "other.csv").write_text("\n".join(lines) + "\n")
    (found,) = pid.explain(folder / "other.csv", entry=5)
    (same,) = pid.explain(folder / "other.root", entry=5)
    assert found["fisher"].margin == pytest.approx(same["fisher"].margin, rel=1e-6)
    assert "before the calibration" in found["fisher"].note


def test_each_selected_candidate_of_an_event_is_explained(folder):
    rng = np.random.default_rng(2)
    counts = rng.integers(1, 4, 800)
    label = rng.integers(0, 2, counts.sum())

    def jagged(values):
        return ak.values_astype(ak.unflatten(values, counts), np.float64)

    columns = {
        "event": np.arange(800), "El_a": jagged(rng.normal(label, 1)), "El_b": jagged(rng.normal(-label, 1)),
        "El_label": jagged(label),
    }  # fmt: skip
    with uproot.recreate(folder / "jagged.root") as file:
        file.mktree("T", {name: "int64" if name == "event" else "var * float64" for name in columns})
        file["T"].extend(columns)
    pid = pidlab.load(
        made(
            folder, "jagged", data={"files": "jagged.root", "per": "El", "event_id": ["event"]},
            classes={"s": "El_label == 1", "b": "El_label == 0"}, selection={"low": "El_a < 1"},
            features=["El_a", "El_b"], models={"fisher": {"type": "fisher"}},
        )
    )  # fmt: skip
    kept = columns["El_a"] < 1
    entry = int(np.flatnonzero((ak.sum(kept, axis=1) == 2) & (counts == 3))[0])
    found = pid.explain(folder / "jagged.root", event=entry)
    assert [one.candidate for one in found] == list(np.flatnonzero(np.asarray(kept[entry])))
    scores = pid.scores({name: values for name, values in columns.items() if name != "El_label"})["fisher"]
    for one in found:
        assert one["fisher"].scores["s"] == pytest.approx(float(scores[entry][one.candidate]), rel=1e-6)
        assert one.features["El_a"] == pytest.approx(float(columns["El_a"][entry][one.candidate]), rel=1e-6)
    none = int(np.flatnonzero(ak.sum(kept, axis=1) == 0)[0])
    with pytest.raises(DataError, match=rf"entry {none} .* is not selected: candidate 0 fails the cut 'low': El_a < 1"):
        pid.explain(folder / "jagged.root", entry=none)


def test_the_best_candidate_is_explained_and_the_others_are_named(folder):
    data = {"files": "jagged.root", "per": "El", "event_id": ["event"], "best": "max(El_a)"}
    place = made(
        folder, "best", data=data, classes={"s": "El_label == 1", "b": "El_label == 0"}, selection={},
        features=["El_a", "El_b"], models={"fisher": {"type": "fisher"}},
    )  # fmt: skip
    with uproot.open(folder / "jagged.root") as file:
        a = file["T/El_a"].array()
    (found,) = pidlab.load(place).explain(folder / "jagged.root", entry=3)
    assert found.candidate == int(ak.argmax(a[3]))
    assert found.name == f"entry 3, candidate {found.candidate} (event 3)"
