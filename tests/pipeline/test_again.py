"""Evaluated again, without training: the same numbers for the same settings, and a whole run for others."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from click.testing import CliRunner

import pidlab
from conftest import write_tree
from forked import command
from pidlab.cli import cli
from pidlab.config.load import load_config
from pidlab.errors import DataError, PidlabError, UsageError
from pidlab.models.registry import Resources
from pidlab.pipeline import run
from pidlab.pipeline.again import evaluate_again
from pidlab.progress import Watcher
from pidlab.runs.bundle import load_bundle
from pidlab.runs.reproduce import reproduce

CONFIG = """\
data: {files: events.root}
classes: {signal: "y == 1", other: "y == 0"}
features: [a, b]
spectators: [p]
models:
  hand: {type: expression, cut: "a > 0.5"}
  fisher: {type: fisher}
  cuts: {type: cuts}
  boxes: {type: cuts, nested: false}
  bdt: {type: bdt, n_estimators: 20}
  mlp: {type: mlp, hidden: [8], epochs: 2, members: 2}
evaluate:
  working_points: [0.8, 0.9]
  flat: [{x: p, bins: 3}]
  maps: [{x: p, bins: 3}]
  calibration: temperature
  robustness: {smear: [0.1], scale: [], shift: [], drop: false}
"""
RESOURCES = Resources("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("again")
    rng = np.random.default_rng(5)
    y = rng.integers(0, 2, 3000).astype("i4")
    columns = {"a": rng.normal(y).astype("f4"), "b": rng.normal(y / 2).astype("f4"), "p": rng.uniform(1, 5, 3000)}
    write_tree(place / "events.root", {**columns, "y": y})
    (place / "a.yaml").write_text(CONFIG)
    return place


def made(folder: Path, name: str, *overrides: str, only: tuple[str, ...] = ()) -> Path:
    run(load_config(folder / "a.yaml", overrides, only), folder / name, RESOURCES, Watcher(), figures="none")
    return folder / name


@pytest.fixture(scope="module")
def fisher(folder: Path) -> Path:
    """A run of few models, which no test changes."""
    return made(folder, "fisher", only=("hand", "fisher", "boxes"))


@pytest.fixture
def copy(fisher: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fisher, tmp_path / "run"))


def again(source: Path, output: Path | None, *overrides: str, watcher: Watcher | None = None) -> Path:
    evaluate_again(source, output, overrides, RESOURCES, watcher or Watcher(), figures="none")
    return output or source


def numbers(output: Path) -> Any:
    """`metrics.json` without times."""

    def without_times(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: without_times(v) for k, v in value.items() if k not in ("seconds", "scoring")}
        return [without_times(each) for each in value] if isinstance(value, list) else value

    return without_times(json.loads((output / "metrics.json").read_text()))


def friends(output: Path) -> dict[str, Any]:
    with uproot.open(output / "friends" / "events_pid.root") as file:
        found: dict[str, Any] = file["T_pid"].arrays(library="np")
        return found


def names(output: Path) -> set[str]:
    return {path.relative_to(output).as_posix() for path in output.rglob("*")}


class Noting(Watcher):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)


@pytest.mark.slow
@pytest.mark.parametrize("folds", ["null", "3"])
def test_unchanged_settings_give_every_number_again(folder: Path, folds: str) -> None:
    first = made(folder, f"first{folds}", f"folds={folds}")
    noting = Noting()
    second = again(first, folder / f"second{folds}", watcher=noting)
    assert not [note for note in noting.notes if "Not the events" in note]
    assert numbers(second) == numbers(first)
    assert names(second) == names(first)
    for path in (path for path in (first / "models").rglob("*") if path.is_file()):
        assert (second / path.relative_to(first)).read_bytes() == path.read_bytes(), path
    one, other = friends(first), friends(second)
    assert all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)
    assert one.keys() == other.keys()


def test_other_working_points_are_set_on_the_models_as_they_were_trained(copy: Path, tmp_path: Path) -> None:
    before = numbers(copy)
    again(copy, None, "evaluate.working_points=[0.7]", "evaluate.flat=[]", "evaluate.importance=false")
    after = numbers(copy)
    assert [p["name"] for p in after["models"]["fisher"]["working_points"]] == ["eff70"]
    auc = [content["models"]["fisher"]["test"]["auc"] for content in (before, after)]
    assert auc[0] == auc[1]
    bundle = load_bundle(copy)
    assert [d.name for d in bundle.decisions["fisher"]] == ["eff70"]
    passed = friends(copy)
    assert "pid_fisher_eff70" in passed
    assert "pid_fisher_eff80" not in passed
    words = ["apply", str(copy), json.loads((copy / "manifest.json").read_text())["inputs"][0]["file"]]
    assert CliRunner().invoke(cli, [*words, "-o", str(tmp_path / "applied"), "-q"]).exit_code == 0


def test_the_run_in_place_is_whole_again_or_as_it_was(copy: Path) -> None:
    (copy / "mine.txt").write_text("kept")
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(PidlabError, match="unknown branch 'q'"):
        again(copy, None, "evaluate.maps=[{x: q}]")
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    again(copy, None, "evaluate.threshold=0.4", "style.experiment=CMS")
    assert (copy / "mine.txt").read_text() == "kept"
    config = load_config(copy / "config.yaml").config
    assert (config.evaluate.threshold, config.style.experiment) == (0.4, "CMS")
    assert list(copy.parent.glob(".*")) == []
    trained = json.loads((copy / "manifest.json").read_text())["trained"]
    assert trained["started"]
    again(copy, None)
    assert json.loads((copy / "manifest.json").read_text())["trained"] == trained


def test_sections_that_training_depends_on_are_refused(copy: Path) -> None:
    for key in ("models.fisher=null", "seed=2", "split.test=0.5", "selection.x=a > 0", "features=[a]"):
        with pytest.raises(UsageError, match=r"only evaluate, labels, spectators and style can change .*`pidlab run"):
            again(copy, None, key)


def test_a_calibration_is_fitted_without_training(folder: Path, copy: Path) -> None:
    other = made(folder, "isotonic", "evaluate.calibration=isotonic", only=("hand", "fisher", "boxes"))
    assert numbers(again(copy, None, "evaluate.calibration=isotonic")) == numbers(other)
    none = made(folder, "none", "evaluate.calibration=none", only=("hand", "fisher", "boxes"))
    assert numbers(again(copy, None, "evaluate.calibration=none")) == numbers(none)


def test_other_spectators_are_read(copy: Path) -> None:
    noting = Noting()
    again(copy, None, "spectators=[a]", "evaluate.maps=[{x: a, bins: 2}]", "evaluate.flat=[]", watcher=noting)
    maps = numbers(copy)["models"]["fisher"]["maps"]
    assert {tuple(each["names"]) for each in maps} == {("a",)}
    assert not [note for note in noting.notes if "Not the events" in note]


def test_a_run_that_was_evaluated_again_can_be_made_again(copy: Path) -> None:
    again(copy, None, "evaluate.threshold=0.6")
    assert reproduce(copy, RESOURCES, Watcher()).identical


def test_inputs_that_changed_since_are_said(copy: Path, folder: Path, tmp_path: Path) -> None:
    with uproot.open(folder / "events.root") as file:
        columns = file["T"].arrays(library="np")
    columns["a"][7] += 1
    text = (copy / "config.yaml").read_text()
    other = write_tree(tmp_path / "events.root", columns)
    (copy / "config.yaml").write_text(text.replace(str(folder / "events.root"), str(other)))
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["files"]  # a run of an early version, whose files are not verified
    (copy / "manifest.json").write_text(json.dumps(manifest))
    again(copy, tmp_path / "new")
    notes = numbers(tmp_path / "new")["notes"]
    assert any("Not the events of the training" in note and "branch 'a'" in note for note in notes)


def test_a_saved_comparison_of_arrays_keeps_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 2000)
    x = rng.normal(size=(2000, 2)) + y[:, None]
    result = pidlab.compare(x, y, models={"fisher": pidlab.Fisher()})
    result.save(tmp_path / "run", figures="none")
    for _ in range(2):
        again(tmp_path / "run", None, "evaluate.working_points=[0.6]")
    assert (tmp_path / "run" / "arrays.root").is_file()
    assert [p["name"] for p in numbers(tmp_path / "run")["models"]["fisher"]["working_points"]] == ["eff60"]


@pytest.mark.slow
def test_the_command_shows_the_table_and_replaces_the_run(copy: Path) -> None:
    words = ["evaluate", str(copy), "--set", "evaluate.working_points=[0.75]", "--figures", "none"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert "eff75" in done.output
    assert f"report: {copy / 'report.html'}" in done.output


def test_a_word_is_said_before_a_finished_run_is_replaced(folder: Path, copy: Path) -> None:
    noting = Noting()
    run(load_config(folder / "a.yaml", only=["hand"]), copy, RESOURCES, noting, figures="none")
    first = noting.notes[0]
    assert first.startswith(f"{copy} holds the run of 20")
    assert first.endswith("UTC with boxes, fisher, hand, which is replaced when the new one is whole.")
    assert list(numbers(copy)["models"]) == ["hand"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "answer", "replaced", "kernel"),
    [([], "n", False, False), ([], "y", True, False), (["--force"], "", True, False), ([], "", True, True)],
    ids=["no", "yes", "force", "notebook"],
)
def test_on_a_terminal_it_is_asked_first(
    folder: Path, copy: Path, words: list[str], answer: str, replaced: bool, kernel: bool
) -> None:
    ours, theirs = pty.openpty()
    words = ["run", str(folder / "a.yaml"), "-o", str(copy), "--only", "hand", "--figures", "none", *words]
    process = command(words, folder, os.ttyname(theirs), {"JPY_PARENT_PID": "1"} if kernel else {})
    os.write(ours, f"{answer}\n".encode() if answer else b"")
    said = b""
    while process.is_alive() or select.select([ours], [], [], 0)[0]:
        if select.select([ours], [], [], 0.1)[0]:
            said += os.read(ours, 4096)
    process.join(60)
    code = process.exitcode
    os.close(theirs)
    os.close(ours)
    text = " ".join(said.decode().split())
    assert ("Replace it when the new one is whole? [y/N]" in text) == bool(answer)
    assert ("is untouched; -o names another folder" in text) == (not replaced)
    assert (code == 0) == replaced
    assert (list(numbers(copy)["models"]) == ["hand"]) == replaced


def test_a_folder_that_is_no_run_is_not_evaluated(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not the folder of a run"):
        again(tmp_path, None)


def test_a_missing_input_is_named(copy: Path, tmp_path: Path) -> None:
    text = (copy / "config.yaml").read_text().splitlines()
    lines = [f"  files: [{tmp_path / 'gone.root'}]" if line.startswith("  files:") else line for line in text]
    (copy / "config.yaml").write_text("\n".join(lines))
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["files"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises((DataError, UsageError), match=r"gone\.root"):
        again(copy, None)
