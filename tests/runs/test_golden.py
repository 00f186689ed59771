"""A run that an earlier version left behind is read, scored, compared and drawn (`make_golden.py` made it)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

import pidlab as package
from conftest import Run
from pidlab.evaluate.results import read_results
from pidlab.runs.bundle import load_bundle
from pidlab.runs.compare import compare_runs, load_runs
from pidlab.runs.scored_events import read_events

GOLDEN = Path(__file__).parent / "golden"
EXACT = ("hand", "given", "cuts", "fisher")
CLOSE = ("bdt", "mlp")


def friend(path: Path) -> dict[str, Any]:
    with uproot.open(path) as file:
        return dict(file["T_pid"].arrays(library="np"))


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run and its input, somewhere else than they were made."""
    place = tmp_path_factory.mktemp("golden") / "golden"
    shutil.copytree(GOLDEN, place)
    return place


def test_its_models_and_working_points_are_there(moved: Path) -> None:
    bundle = load_bundle(moved / "run")
    assert tuple(bundle.models) == (*EXACT, *CLOSE)
    results = read_results(moved / "run" / "results.json")
    for name, decisions in bundle.decisions.items():
        points = results.models[name].working_points
        assert [(d.name, d.threshold) for d in decisions] == [(p.name, p.threshold) for p in points]
        assert len(points) == (1 if name == "hand" else 2)


def test_its_results_say_what_its_metrics_say(moved: Path) -> None:
    results = read_results(moved / "run" / "results.json")
    metrics = json.loads((moved / "run" / "metrics.json").read_text())
    assert metrics["schema"] == 1
    assert list(results.models) == list(metrics["models"])
    for name in (*EXACT[1:], *CLOSE):
        auc = results.models[name].samples["test"].auc
        assert [auc.value, auc.low, auc.high] == [
            metrics["models"][name]["test"]["auc"][k] for k in ("value", "low", "high")
        ]
        assert auc.value > 0.7


def test_its_events_are_those_of_its_friend(moved: Path) -> None:
    kept, scores = read_events(moved / "run"), friend(moved / "run" / "friends" / "events_pid.root")
    np.testing.assert_array_equal(kept.part, scores["pid_split"][kept.sample.row])
    rows = kept.sample.row[kept.test]
    for name in (*EXACT[1:], *CLOSE):
        np.testing.assert_array_equal(kept.on_test[name][:, kept.sample.signal], scores[f"pid_{name}"][rows])


def test_applied_to_its_input_it_gives_the_friend_that_it_has(moved: Path, pidlab: Run, tmp_path: Path) -> None:
    done = pidlab("apply", moved / "run", moved / "events.root", "-o", tmp_path / "out", "-q")
    assert done.returncode == 0, done.stderr
    before, now = friend(moved / "run" / "friends" / "events_pid.root"), friend(tmp_path / "out" / "events_pid.root")
    assert set(before) - set(now) == {"pid_split"}
    assert before["pid_selected"].sum() > 500
    for branch, values in now.items():
        assert values.dtype == before[branch].dtype
        if any(branch == f"pid_{name}" for name in CLOSE):
            np.testing.assert_allclose(values, before[branch], rtol=1e-6, atol=0)
        elif any(branch.startswith(f"pid_{name}_") for name in CLOSE):
            assert np.mean(values != before[branch]) <= 0.005  # a score beside its threshold
        else:
            np.testing.assert_array_equal(values, before[branch])


def test_its_scores_of_arrays_are_those_of_its_friend(moved: Path) -> None:
    with uproot.open(moved / "events.root") as file:
        events = file["T"].arrays(library="np")
    found = package.load(moved / "run").scores(events)
    before = friend(moved / "run" / "friends" / "events_pid.root")
    for name in EXACT[1:]:
        np.testing.assert_array_equal(found[name], before[f"pid_{name}"])
    for name in CLOSE:
        np.testing.assert_allclose(found[name], before[f"pid_{name}"], rtol=1e-6, atol=0)


def test_it_differs_from_itself_by_nothing(moved: Path) -> None:
    again = moved.parent / "again"
    shutil.copytree(moved / "run", again)
    (pair,) = compare_runs(load_runs([moved / "run", again]))
    assert pair.n_shared > 200
    own = [c for c in pair.comparisons if c.a.split(":")[1] == c.b.split(":")[1]]
    assert {c.a.split(":")[1] for c in own} == {*EXACT, *CLOSE}
    for comparison in own:
        assert all(p.delta_misid.value == 0.0 for p in comparison.working_points)
        if not comparison.a.endswith(":hand"):
            assert comparison.delta_auc[:3] == (0.0, 0.0, 0.0)


def test_its_figures_are_drawn(moved: Path, pidlab: Run, tmp_path: Path) -> None:
    done = pidlab("plot", moved / "run", "roc", "response_bdt", "efficiency_p_mlp", "-o", tmp_path, "--format", "png")
    assert done.returncode == 0, done.stderr
    drawn = sorted(tmp_path.glob("*.png"))
    assert len(drawn) == 3
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_nothing_in_it_names_the_machine_that_made_it() -> None:
    texts = [p.read_text() for p in GOLDEN.rglob("*") if p.suffix in (".json", ".yaml")]
    assert len(texts) > 5
    assert not any("/home/" in text or "/root/" in text or "/tmp/" in text for text in texts)
