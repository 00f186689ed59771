"""The result of a run in Python: its tables, histograms, and what it writes, in memory and from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

import pidlab
from conftest import write_tree
from pidlab.errors import ConfigError, UsageError

CONTENT: dict[str, Any] = {
    "data": {"files": "events.root", "event_id": ["event"]},
    "classes": {"electron": "label == 1", "pion": "label == 0", "kaon": "label == 2"},
    "features": ["x", "y"],
    "spectators": ["p"],
    "models": {
        "hand": {"type": "expression", "cut": "x > 1"},
        "bdt": {"type": "bdt", "n_estimators": 15},
        "fisher": {"type": "fisher"},
    },
    "evaluate": {"maps": [{"x": "p", "bins": 3}], "robustness": None},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("result")
    rng = np.random.default_rng(4)
    label = rng.integers(0, 3, 3000).astype(np.int32)
    events = {
        "x": (rng.normal(size=3000) + 1.5 * (label == 1)).astype(np.float32),
        "y": (rng.normal(size=3000) + label).astype(np.float32),
        "p": rng.uniform(1, 5, 3000).astype(np.float32),
        "label": label,
        "event": np.arange(3000),
    }
    write_tree(folder / "events.root", events)
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> pidlab.Result:
    content = {**CONTENT, "data": {**CONTENT["data"], "files": str(folder / "events.root")}}
    return pidlab.run(content, folder / "run", figures="none")


@pytest.fixture(scope="module", params=["in memory", "from the folder"])
def either(request: pytest.FixtureRequest, result: pidlab.Result, folder: Path) -> pidlab.Result:
    return result if request.param == "in memory" else pidlab.load(folder / "run").result


def test_its_numbers_are_those_that_were_measured(either: pidlab.Result) -> None:
    bdt = either["bdt"]
    assert bdt.auc == bdt.samples["test"].auc
    table = either.table()
    assert list(table.index) == ["hand", "bdt", "fisher"]
    assert table.loc["bdt", "auc"] == bdt.auc.value
    assert table.loc["bdt", "auc_low"] < table.loc["bdt", "auc"] < table.loc["bdt", "auc_high"]
    point = either.points["eff90"]
    assert list(point.index) == ["bdt", "fisher"]
    assert point.loc["bdt", "misid_kaon_high"] == bdt.points["eff90"].misid["kaon"].high
    assert point.loc["bdt", "efficiency"] == bdt.points["eff90"].efficiency.value
    pairs = either.comparison_table()
    assert {"a", "b", "quantity", "difference", "difference_low", "difference_high", "p", "p_adjusted"} <= set(pairs)
    assert len(either.verdicts) == pairs["verdict"].notna().sum()


def test_it_shows_itself_with_intervals(either: pidlab.Result) -> None:
    assert either.models == ("hand", "bdt", "fisher") == tuple(either)
    for shown in (repr(either), either._repr_html_()):
        assert all(name in shown for name in either.models)
        assert "±" in shown or "[" in shown
    assert "bdt" in repr(either["bdt"])
    assert "AUC" in repr(either["bdt"])


def test_a_name_that_it_does_not_have_is_told_with_the_nearest(either: pidlab.Result) -> None:
    with pytest.raises(UsageError, match="there is no model 'btd'; did you mean 'bdt'"):
        either["btd"]
    with pytest.raises(UsageError, match="there is no histogram 'bdt/respons'; did you mean 'bdt/response'"):
        either.hist["bdt/respons"]
    with pytest.raises(UsageError, match="there is no working point 'eff8'; did you mean 'eff99'"):
        either.points["eff8"]


def test_its_histograms_are_those_of_results_root(either: pidlab.Result, folder: Path) -> None:
    response = either.hist["bdt/response"]
    with uproot.open(folder / "run" / "results.root") as file:
        for part in ("train", "validation", "test"):
            for particle in ("electron", "pion", "kaon"):
                name = f"bdt/score_{particle}" if part == "test" else f"bdt/score_{particle}_{part}"
                sumw, _ = file[name].to_numpy(flow=True)
                np.testing.assert_array_equal(response[part, particle, :].values(flow=True), sumw)
        of_input = file["inputs/x_kaon"]
        np.testing.assert_array_equal(either.hist["inputs/x"]["kaon", :].values(flow=True), of_input.values(flow=True))
        found = file.classnames(recursive=True, cycle=False)
    names = {name for name, kind in found.items() if kind.startswith(("TH1", "TH2"))}
    assert names <= set(either.hist)
    assert either.hist["inputs/x_kaon"].sum(flow=True).value == of_input.values(flow=True).sum()


def test_it_exports_and_applies_without_being_saved(folder: Path, tmp_path: Path) -> None:
    content = {**CONTENT, "data": {**CONTENT["data"], "files": str(folder / "events.root")}}
    unsaved = pidlab.run(content)
    assert unsaved.folder is None
    (header,) = unsaved.export("header", tmp_path / "cpp", "bdt")
    assert header.path.is_file()
    assert header.largest_difference < 1e-6
    (summary,) = unsaved.apply(str(folder / "events.root"), tmp_path / "friends", models="bdt")
    with uproot.open(summary.target) as friend:
        scores = friend["T_pid"]["pid_bdt_electron"].array(library="np")
    analysis = unsaved._analysis
    assert analysis is not None
    np.testing.assert_array_equal(scores[analysis.scored.sample.row], analysis.scores["bdt"][:, 0])


def test_a_report_is_one_file(either: pidlab.Result, tmp_path: Path) -> None:
    page = either.report(tmp_path / "report.html", figures="quick").read_text()
    assert "data:image/svg+xml" in page
    assert list(tmp_path.iterdir()) == [tmp_path / "report.html"]


def test_a_configuration_is_a_file_a_dict_or_an_object(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    import json

    content = {**CONTENT, "models": {"fisher": {"type": "fisher"}}}
    (folder / "analysis.yaml").write_text(json.dumps(content))  # JSON is YAML
    of_file = pidlab.run("analysis.yaml", overrides=["evaluate.importance=false"])
    of_dict = pidlab.run(content)
    of_object = pidlab.run(pidlab.Config(**content))
    assert of_file["fisher"].auc == of_dict["fisher"].auc == of_object["fisher"].auc
    assert not of_file.results.importance
    assert not (folder / "runs").exists()
    with pytest.raises(ConfigError, match=r"pidlab.run: models.fisher: must be one of .*fisher"):
        pidlab.run({**CONTENT, "models": {"fisher": {"type": "fischer"}}})


def test_a_run_takes_one_model_by_its_name(result: pidlab.Result, folder: Path) -> None:
    loaded = pidlab.load(folder / "run", "bdt")
    assert loaded.models == ("bdt",)
    assert "bdt (eff90, eff95, eff99)" in repr(loaded)
    assert str(folder / "run") in repr(loaded)


def test_the_public_names_are_there_and_listed() -> None:
    for name in pidlab.__all__:
        assert getattr(pidlab, name) is not None
        assert name in dir(pidlab)
    with pytest.raises(AttributeError, match="no attribute 'bdt'"):
        _ = pidlab.bdt  # type: ignore[attr-defined]


def test_a_run_in_the_output_of_the_configuration_is_replaced_after_a_word(folder: Path, tmp_path: Path) -> None:
    """As on the command line; a folder that the call names is the caller's word."""
    data = {**CONTENT["data"], "files": str(folder / "events.root")}
    content = {**CONTENT, "data": data, "models": {"fisher": {"type": "fisher"}}, "output": str(tmp_path / "run")}
    pidlab.run(content, figures="none")
    with pytest.warns(UserWarning, match=r"run, the output of the configuration, holds the run of .* UTC with fisher"):
        pidlab.run(content, figures="none")
    pidlab.run(content, tmp_path / "run", figures="none")
    pidlab.run({**content, "output": None}, figures="none")
