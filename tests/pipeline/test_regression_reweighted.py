"""Regressions on events that are made like those of other files: the resolution is the one that these would have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from conftest import write_tree
from pidlab.config.load import check_config
from pidlab.errors import ConfigError
from pidlab.evaluate.results import RegressionResults, read_any_results
from pidlab.models.registry import Resources
from pidlab.pipeline import run
from pidlab.plots.gallery import catalogue, drawn
from pidlab.progress import Watcher
from pidlab.runs.reproduce import reproduce

N = 6000
RESOURCES = Resources("cpu", 1)


def events(p: Any, seed: int) -> dict[str, Any]:
    """A target whose resolution is a tenth of the momentum."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=len(p))
    return {"a": a, "p": p, "truth": a + 0.1 * p * rng.normal(size=len(p)), "number": np.arange(len(p))}


def content(**changes: Any) -> dict[str, Any]:
    return {
        "data": {"files": "events.root", "event_id": ["number"]},
        "target": "truth",
        "features": ["a"],
        "spectators": ["p"],
        "reweight": {"match": ["p"], "to": {"files": "data.root"}, "method": "bins", "bins": {"p": [1, 2, 3, 4, 5]}},
        "models": {"exact": {"type": "score", "expression": "a"}, "linear": {"type": "linear"}},
        **changes,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("reweighted")
    rng = np.random.default_rng(3)
    write_tree(place / "events.root", events(rng.uniform(1, 5, N), 1))
    write_tree(place / "data.root", events(np.clip(rng.exponential(0.8, N) + 1, 1, 4.99), 2))
    write_tree(place / "none.root", events(rng.uniform(1, 5, N), 1))
    loaded = check_config(content(), {}, place / "a.yaml")
    run(loaded, place / "run", RESOURCES, Watcher(), figures="none")
    return place


def test_the_resolution_is_that_of_the_other_files(folder: Path) -> None:
    results = read_any_results(folder / "run" / "results.json")
    assert isinstance(results, RegressionResults)
    assert results.reweighting is not None
    with uproot.open(folder / "data.root") as file:
        p = file["T"]["p"].array(library="np")
    there = np.sqrt(np.mean((0.1 * p) ** 2))
    rms = results.models["exact"].rms
    assert rms.low - 0.01 < there < rms.high + 0.01  # bins are a unit wide
    assert there < 0.21 < 0.3 < np.sqrt(np.mean((0.1 * np.linspace(1, 5, 999)) ** 2))
    content_of = json.loads((folder / "run" / "metrics.json").read_text())
    assert content_of["reweighting"]["groups"][0]["classes"] == ["events"]
    assert any("files of reweight" in note for note in results.notes)


def test_weights_are_in_friends_figures_objects_and_the_report(folder: Path) -> None:
    with uproot.open(folder / "run" / "friends" / "events_pid.root") as file:
        names = file["T_pid"].keys()
    assert [name for name in names if "weight" in name]
    sheet = catalogue(read_any_results(folder / "run" / "results.json"))["reweighting_all"]
    assert len(drawn(sheet, "reweighting_all").axes) >= 2
    assert sheet.section == "reweighting"
    with uproot.open(folder / "run" / "results.root") as file:
        assert "reweighting/all/weights" in file
    page = (folder / "run" / "report.html").read_text(encoding="utf-8")
    assert '<section id="reweighting"' in page
    assert "Weights make the events like those of the files" in page


def test_it_is_made_again_to_the_last_bit(folder: Path) -> None:
    assert reproduce(folder / "run", RESOURCES, Watcher()).identical


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"to": "events"}, r"reweight.to: a regression has no classes; name files: to: \{files: data.root\}"),
        ({"classes": ["events"]}, "reweight.classes: a regression has no classes; leave it out"),
        ({"bins": {"q": [1, 2]}}, "reweight.bins.q: is none of reweight.match"),
    ],
)
def test_what_needs_classes_is_said(folder: Path, change: dict[str, Any], message: str) -> None:
    asked = {**content()["reweight"], **change}
    with pytest.raises(ConfigError, match=message):
        check_config(content(reweight=asked), {}, folder / "a.yaml")
