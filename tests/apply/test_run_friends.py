"""The friends of a run: its own scores where it has them, and rows of no class as `apply` scores them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from apply_runs import CONTENT, damage, events, friend

from conftest import write_tree
from pidlab.apply import apply, write_run_friends
from pidlab.config.load import check_config
from pidlab.errors import DataError
from pidlab.models.model import Model
from pidlab.models.registry import Resources
from pidlab.pipeline import Analysis, analyse
from pidlab.progress import Watcher
from pidlab.read import Table
from pidlab.runs.bundle import Bundle, load_bundle, save_bundle
from pidlab.runs.scored_events import write_events

FOREST = {
    "type": "sklearn",
    "estimator": "sklearn.ensemble.RandomForestClassifier",
    "parameters": {"n_estimators": 10},
}
FLAT = {"robustness": None, "flat": [{"x": "p", "bins": 3}]}
VARIANTS: dict[str, dict[str, Any]] = {
    "folds": {},
    "no folds": {"folds": None},
    "calibrated": {"evaluate": {**FLAT, "calibration": "isotonic"}},
    "boxes": {"models": {"cuts": {"type": "cuts", "nested": False}, "own": CONTENT["models"]["own"]}},
    "onnx": {"folds": None, "models": {"forest": FOREST, "fisher": {"type": "fisher"}}},
}


def made(folder: Path, changes: dict[str, Any], labels: dict[str, str]) -> tuple[Analysis, Bundle]:
    """A run on two files, which is written but for its friends."""
    folder.mkdir()
    for name, first, n in (("a", 0, 2500), ("b", 2500, 1500)):
        write_tree(folder / f"{name}.root", events(n, first), step=700)
    content = CONTENT | {"data": {"files": "*.root", "event_id": ["event"]}, "classes": labels} | changes
    done = analyse(check_config(content, {}, folder / "analysis.yaml"), Resources("cpu", 1), Watcher())
    (folder / "run").mkdir()
    bundle = save_bundle(folder / "run", done.recipe, done.models, done.results.models)
    write_events(folder / "run", done.scored)
    return done, bundle


def write(done: Analysis, bundle: Bundle, output: Path) -> None:
    write_run_friends(bundle, done.inputs, done.scored, done.scores, done.outputs, output, Watcher())


@pytest.mark.parametrize("background", ["label == 0", "label == 0 && p < 3"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_they_are_those_that_apply_writes(
    tmp_path: Path, variant: str, background: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every branch of every row, those of no class included, to the last bit; chunks end anywhere."""
    monkeypatch.setattr("pidlab.read.table.Table.chunks", _short_chunks(Table.chunks))
    done, bundle = made(tmp_path / "run", VARIANTS[variant], {"s": "label == 1", "b": background})
    write(done, bundle, tmp_path / "own")
    sources = [each.source for each in done.inputs]
    apply(load_bundle(tmp_path / "run" / "run"), sources, tmp_path / "applied", Watcher())
    n_unlabelled = 0
    for index, name in enumerate(("a", "b")):
        own, applied = friend(tmp_path / "own" / f"{name}_pid.root"), friend(tmp_path / "applied" / f"{name}_pid.root")
        split = own.pop("pid_split")
        assert own.keys() == applied.keys()
        for branch, values in applied.items():
            assert np.array_equal(own[branch], values, equal_nan=values.dtype.kind == "f"), branch
        mine = done.scored.sample.file == index
        expected = np.full(len(split), -1)
        expected[done.scored.sample.row[mine]] = done.scored.part[mine]
        assert np.array_equal(split, expected)
        n_unlabelled += int((own["pid_selected"] & (split < 0)).sum())
    assert n_unlabelled == sum(each.n_unlabelled for each in done.inputs)
    assert bool(n_unlabelled) == ("p < 3" in background)


def _short_chunks(chunks: Any) -> Any:
    return lambda table, names, step=0: chunks(table, names, 600)


def test_nothing_is_scored_and_only_the_key_is_read_where_every_selected_row_has_a_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, bundle = made(tmp_path / "run", {}, CONTENT["classes"])
    read: set[str] = set()
    chunks = Table.chunks

    def noted(table: Table, names: Any, *step: int) -> Any:
        read.update(names)
        return chunks(table, names, *step)

    monkeypatch.setattr(Table, "chunks", noted)
    monkeypatch.setattr(Model, "scores_of", lambda *_: pytest.fail("a model was run"))
    write(done, bundle, tmp_path / "own")
    assert read == {"event"}
    assert len(friend(tmp_path / "own" / "a_pid.root")["pid_own"]) == 2500


def test_an_input_that_is_damaged_or_changed_meanwhile_stops_the_run(tmp_path: Path) -> None:
    done, bundle = made(tmp_path / "run", {}, CONTENT["classes"])
    path = tmp_path / "run" / "b.root"
    damage(path, "event", 0)
    with pytest.raises(DataError, match=r"b.root:T: branch 'event'"):
        write(done, bundle, tmp_path / "out")
    write_tree(path, events(1400, 2500))
    with pytest.raises(DataError, match=r"b.root:T: was changed while the run was made; make the run again"):
        write(done, bundle, tmp_path / "out")
    assert not (tmp_path / "out" / "b_pid.root").exists()


def test_candidates_and_trees_without_entries_keep_their_places(tmp_path: Path) -> None:
    """Rows that are candidates: each event's list is as long as it was, with and without candidates of no class."""
    rng = np.random.default_rng(1)
    import awkward as ak

    counts = rng.integers(0, 4, 1500)
    with uproot.recreate(tmp_path / "c.root") as file:
        for name, n in (("full", 1500), ("empty", 0)):
            label = rng.integers(0, 3, counts[:n].sum())
            lists = {"x": rng.normal(label, 1), "label": label}
            jagged = ak.zip({key: ak.unflatten(values, counts[:n]) for key, values in lists.items()})
            file.mktree(name, {"event": "int64", "c": jagged.type.content}).extend({"event": np.arange(n), "c": jagged})
    content = {
        "data": {"files": ["c.root:full", "c.root:empty"], "per": "c", "event_id": ["event"]},
        "classes": {"s": "c_label == 1", "b": "c_label == 0"},
        "features": ["c_x"],
        "models": {"fisher": {"type": "fisher"}},
        "evaluate": {"robustness": None},
    }
    done = analyse(check_config(content, {}, tmp_path / "analysis.yaml"), Resources("cpu", 1), Watcher())
    (tmp_path / "run").mkdir()
    bundle = save_bundle(tmp_path / "run", done.recipe, done.models, done.results.models)
    write(done, bundle, tmp_path / "own")
    apply(bundle, [each.source for each in done.inputs], tmp_path / "applied", Watcher())
    for tree in ("full_pid", "empty_pid"):
        own, applied = (friend(tmp_path / way / "c_pid.root", tree) for way in ("own", "applied"))
        assert own.keys() - {"pid_split"} == applied.keys()
        for branch in applied:
            assert ak.array_equal(ak.Array(list(own[branch])), ak.Array(list(applied[branch])), equal_nan=True), branch
    assert [len(each) for each in friend(tmp_path / "own" / "c_pid.root", "full_pid")["pid_fisher"]] == counts.tolist()
