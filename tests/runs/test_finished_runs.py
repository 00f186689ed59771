"""Finished runs: compared event by event, made again number by number."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from conftest import Run, write_tree
from pidlab.config.load import check_config
from pidlab.errors import UsageError
from pidlab.evaluate.results import write_results
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse, run
from pidlab.progress import Watcher
from pidlab.runs.compare import compare_runs, load_runs
from pidlab.runs.reproduce import Added, Moved, _changes, _count, reproduce
from pidlab.runs.scored_events import read_events, read_training_keys, write_events

N = 6000


def sample(seed: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    species = rng.integers(0, 2, N)
    return {
        "event": np.arange(N, dtype=np.int64),
        "species": species.astype(np.int32),
        "x": (rng.normal(size=N) + species).astype(np.float32),
        "y": (rng.normal(size=N) + 0.7 * species).astype(np.float32),
    }


def content(**more: Any) -> dict[str, Any]:
    return {
        "data": {"files": "events.root", "event_id": ["event"]},
        "classes": {"pion": "species == 1", "kaon": "species == 0"},
        "features": ["x", "y"],
        "models": {
            "fisher": {"type": "fisher"},
            "hand": {"type": "expression", "cut": "x > 1"},
            "other": {"type": "expression", "cut": "y > 0.5"},
        },
        "evaluate": {"robustness": None},
        **more,
    }


def go(folder: Path, name: str, **more: Any) -> Path:
    run(
        check_config(content(**more), {}, folder / "analysis.yaml"),
        folder / name,
        Resources("cpu", 1),
        Watcher(),
        figures="none",
    )
    return folder / name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("runs")
    write_tree(place / "events.root", sample())
    return place


@pytest.fixture(scope="module")
def both(folder: Path) -> Path:
    return go(folder, "both")


@pytest.fixture(scope="module")
def only_x(folder: Path) -> Path:
    return go(folder, "only_x", features=["x"])


@pytest.mark.slow
def test_a_run_against_itself_shows_exactly_no_difference(folder: Path, both: Path) -> None:
    (pair,) = compare_runs(load_runs([both, go(folder, "again")]))
    assert pair.n_shared == len(read_events(both).test)
    for comparison in pair.comparisons:
        for point in comparison.working_points:
            assert point.delta_misid.value == 0.0
        if "fisher" in comparison.a:
            assert comparison.delta_auc[:3] == (0.0, 0.0, 0.0)


@pytest.mark.slow
def test_a_run_with_less_to_go_by_loses_by_what_the_auc_says(both: Path, only_x: Path) -> None:
    runs = load_runs([both, only_x])
    (pair,) = compare_runs(runs)
    auc = [r.results.models["fisher"].samples["test"].auc.value for r in runs]
    fisher = next(c for c in pair.comparisons if (c.a, c.b) == ("both:fisher", "only_x:fisher"))
    np.testing.assert_allclose(fisher.delta_auc.value, auc[1] - auc[0], rtol=1e-12, atol=0)
    assert fisher.delta_auc.high < 0
    assert any("both:fisher beats only_x:fisher" in p.verdict for p in fisher.working_points)


@pytest.mark.slow
def test_events_are_matched_by_key_whatever_the_order_and_the_file(folder: Path, both: Path) -> None:
    events, order = sample(), np.random.default_rng(5).permutation(N)[: N // 2]
    half = folder / "shuffled"
    half.mkdir()
    write_tree(half / "events.root", {name: values[order] for name, values in events.items()})
    other = go(half, "run")
    (pair,) = compare_runs(load_runs([both, other]))
    shared = np.intersect1d(*(read_events(r).sample.event[read_events(r).test] for r in (both, other)))
    assert pair.n_shared == len(shared) > 0
    hand = next(c for c in pair.comparisons if c.a.endswith("hand") and c.b.endswith("hand"))
    assert all(p.delta_misid.value == 0.0 for p in hand.working_points)  # the same cuts on the same events


FLAT = {"evaluate": {"robustness": None, "importance": False, "flat": [{"x": "q", "bins": 4}]}}


def followed(folder: Path, name: str, alias: str, **more: Any) -> Path:
    """A run whose flat points follow `alias`, which the configuration calls q."""
    data = {"files": "events.root", "event_id": ["event"], "aliases": {"q": alias}}
    loaded = check_config(content(data=data, **{**FLAT, **more}), {}, folder / "analysis.yaml")
    done = analyse(loaded, Resources("cpu", 1), Watcher())
    (folder / name).mkdir()
    write_results(folder / name / "results.json", done.results)
    write_events(folder / name, done.scored)
    return folder / name


@pytest.fixture(scope="module")
def flat(folder: Path) -> Path:
    return followed(folder, "flat", "y")


def differences(runs: list[Path]) -> tuple[dict[str, float], dict[str, float], str]:
    """Misidentification of the second run less the first at each point of `fisher`: as compared, and from each run."""
    finished = load_runs(runs)
    (pair,) = compare_runs(finished)
    fisher = next(c for c in pair.comparisons if {c.a, c.b} == {f"{r.name}:fisher" for r in finished})
    alone = [{w.name: w.misid["kaon"].value for w in r.results.models["fisher"].working_points} for r in finished]
    apart = {name: alone[1][name] - value for name, value in alone[0].items()}
    return {p.name: p.delta_misid.value for p in fisher.working_points}, apart, pair.note


def test_flat_points_are_compared_by_what_each_run_follows(folder: Path, flat: Path) -> None:
    """Both runs tested the same events, so the difference is that of what each of them measured alone.

    In the second run the same name means twice the value: thresholds looked up at the first run's values are wrong.
    """
    compared, alone, note = differences([flat, followed(folder, "twice", "2 * y", features=["x"])])
    assert "eff90_flat" in compared
    assert compared == pytest.approx(alone, rel=1e-9, abs=1e-12)
    assert note == ""


def test_flat_points_without_their_spectators_are_left_out_and_it_says_so(folder: Path, flat: Path) -> None:
    old = Path(shutil.copytree(flat, folder / "not_kept"))
    arrays = read_events(old)
    write_events(old, replace(arrays, sample=replace(arrays.sample, spectators={})))
    compared, _, note = differences([flat, old])
    assert compared.keys() == {"eff90", "eff95", "eff99"}
    assert "eff90_flat, eff95_flat, eff99_flat are left out: not_kept did not keep what they follow" in note


def test_flat_points_that_follow_other_spectators_are_not_compared(folder: Path, flat: Path) -> None:
    other = followed(folder, "of_x", "y", evaluate={**FLAT["evaluate"], "flat": [{"x": "x", "bins": 4}]})
    compared, _, note = differences([flat, other])
    assert compared.keys() == {"eff90", "eff95", "eff99"}
    assert "they follow other spectators in flat than in of_x" in note


@pytest.mark.slow
def test_other_classes_are_not_compared_and_it_says_so(folder: Path, both: Path) -> None:
    other = go(folder, "swapped", signal="kaon")
    (pair,) = compare_runs(load_runs([both, other]))
    assert pair.comparisons == ()
    assert "pion of pion, kaon and kaon of pion, kaon" in pair.note


@pytest.mark.slow
def test_a_folder_that_is_no_run_is_refused(folder: Path, both: Path) -> None:
    with pytest.raises(UsageError, match=r"is not the folder of a run"):
        load_runs([both, folder])
    with pytest.raises(UsageError, match=r"named twice"):
        load_runs([both, both / "."])


def test_the_command_shows_both_runs_and_the_verdicts(pidlab: Run, both: Path, only_x: Path, tmp_path: Path) -> None:
    done = pidlab("compare", both, only_x, "--json", tmp_path / "c.json")
    assert done.returncode == 0, done.stderr
    assert "both:fisher beats only_x:fisher" in done.stdout
    assert json.loads((tmp_path / "c.json").read_text())["pairs"][0]["n_shared"] > 1000
    assert pidlab("compare", both).returncode == 2


@pytest.mark.slow
def test_a_run_made_again_is_identical(both: Path) -> None:
    found = reproduce(both, Resources("cpu", 1), Watcher())
    assert found.identical
    assert found.differences == ()
    assert found.n_compared > 50


def test_a_branch_changed_by_one_per_cent_is_named_with_the_numbers_that_moved(
    folder: Path, pidlab: Run, tmp_path: Path
) -> None:
    write_tree(tmp_path / "events.root", sample())
    made = go(tmp_path, "run")
    events = sample()
    events["y"] *= np.float32(1.01)
    write_tree(tmp_path / "events.root", events)
    done = pidlab("reproduce", made, "-q")
    assert done.returncode == 1
    assert "the values of branch 'y' are not what they were" in done.stdout
    assert "branch 'x'" not in done.stdout
    assert "models.other.working_points.hand.efficiency: " in done.stdout
    assert "standard errors" in done.stdout
    assert "models.hand.working_points" not in done.stdout  # the cut on x has nothing to do with y


def without(content: Any, *gone: str) -> Any:
    """The content of a JSON file without some keys, and without the named members of lists."""
    if isinstance(content, dict):
        return {key: without(value, *gone) for key, value in content.items() if key not in gone}
    if not isinstance(content, list):
        return content
    return [without(each, *gone) for each in content if not (isinstance(each, dict) and each.get("name") in gone)]


def test_what_an_older_version_did_not_measure_is_new_and_has_not_moved(
    both: Path, tmp_path: Path, pidlab: Run
) -> None:
    older = Path(shutil.copytree(both, tmp_path / "older"))
    whole = json.loads((older / "metrics.json").read_text())
    # A key of each model, a member of a list in its middle, and a number of a model that stays.
    before = without(whole, "separation", "eff95")
    before["models"]["fisher"]["test"]["auc"]["value"] += 0.01
    (older / "metrics.json").write_text(json.dumps(before))
    manifest = json.loads((older / "manifest.json").read_text())
    (older / "manifest.json").write_text(json.dumps({**manifest, "files": None}))  # without checksums
    found = reproduce(older, Resources("cpu", 1), Watcher())
    assert [moved.name for moved in found.moved] == ["models.fisher.test.auc"]
    names = [each.name for each in found.added]
    assert "models.fisher.test.separation" in names
    assert "models.fisher.working_points.eff95" in names
    assert all(name.endswith((".separation", ".eff95")) for name in names)
    assert found.n_compared + sum(each.n_numbers for each in found.added) == _count(whole)
    before["models"]["fisher"] = without(whole, "separation", "eff95")["models"]["fisher"]
    (older / "metrics.json").write_text(json.dumps(before))
    done = pidlab("reproduce", older, "-q")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("identical: all")
    assert "numbers were not measured then, and have nothing to be compared with" in done.stdout
    assert "models.fisher.working_points.eff95" in done.stdout


def test_a_number_that_is_gone_has_moved() -> None:
    changes = list(_changes("", {"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [1, 2, 3]}, "d": {"e": 1, "f": "g"}}))
    assert changes == [Moved("a.b", 1, None, None), Moved("a.c.2", None, 3, None), Added("d", 1)]


@pytest.mark.slow
def test_another_version_is_named(both: Path, tmp_path: Path) -> None:
    import shutil

    older = tmp_path / "older"
    shutil.copytree(both, older)
    manifest = json.loads((older / "manifest.json").read_text())
    manifest["packages"]["numpy"] = "1.0"
    (older / "manifest.json").write_text(json.dumps(manifest))
    found = reproduce(older, Resources("cpu", 1), Watcher())
    assert found.identical
    assert [d for d in found.differences if d.startswith("version of numpy: 1.0 then")]


@pytest.mark.slow
def test_the_events_of_a_run_are_kept_as_they_were_scored(both: Path) -> None:
    kept = read_events(both)
    with uproot.open(both / "friends" / "events_pid.root") as file:
        friend = file["T_pid"].arrays(library="np")
    rows = kept.sample.row[kept.test]
    np.testing.assert_array_equal(kept.on_test["fisher"][:, kept.sample.signal], friend["pid_fisher"][rows])
    np.testing.assert_array_equal(kept.part, friend["pid_split"][kept.sample.row])
    assert len(read_training_keys(both)) == N
