"""Event files of TensorBoard, read back by TensorBoard's own reader, and what is said without the package."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import pidlab
from conftest import write_tree
from pidlab.cli import cli
from pidlab.errors import UsageError
from pidlab.models.registry import Resources
from pidlab.pipeline.again import evaluate_again
from pidlab.progress import Watcher
from pidlab.runs.tensorboard import tag_of

CONFIG = """\
data: {files: small.root}
classes: {electron: "y == 1", pion: "y == 0"}
features: [a, b]
models:
  net: {type: mlp, hidden: [6, 5], epochs: 3, batch_size: 64}
  trees: {type: bdt, n_estimators: 7, max_depth: 2, learning_rate: 0.2}
  line: {type: fisher}
evaluate: {robustness: null, importance: false}
"""
FOLDS = """\
data: {files: small.root}
classes: {electron: "y == 1", pion: "y == 0"}
features: [a, b]
folds: 2
models:
  net: {type: mlp, hidden: [4], epochs: 2, batch_size: 64}
  parts: {type: bdt, n_estimators: 5, by: {low: "c == 0", high: "c == 1"}}
evaluate: {robustness: null, importance: false}
"""


def sample(n):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, n)
    a, b = rng.normal(y, 1.0).astype(np.float32), rng.normal(0.5 * y, 1.0).astype(np.float32)
    return {"a": a, "b": b, "c": rng.integers(0, 2, n).astype(np.int32), "y": y.astype(np.int32)}


def command(*words):
    return CliRunner().invoke(cli, [*map(str, words), "--figures", "none", "-q"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`run`, in one split, and `folds`, with a BDT for each of two categories."""
    made = tmp_path_factory.mktemp("tensorboard")
    write_tree(made / "small.root", sample(800))
    for name, text in (("run", CONFIG), ("folds", FOLDS)):
        (made / f"{name}.yaml").write_text(text)
        done = command("run", made / f"{name}.yaml", "-o", made / name, "--tensorboard")
        assert done.exit_code == 0, done.output
    return made


def read(folder: Path):
    """Tag to values, of all event files of a folder; steps are epochs or rounds, from 1."""
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    scalars = {tag: found.Scalars(tag) for tag in found.Tags()["scalars"]}
    for events in scalars.values():
        assert [event.step for event in events] == list(range(1, len(events) + 1))
    return {tag: [event.value for event in events] for tag, events in scalars.items()}


def test_networks_and_boosting_are_read_back_with_every_number_of_their_history(folder):
    models = json.loads((folder / "run" / "metrics.json").read_text())["models"]
    for name in ("net", "trees"):
        scalars, history = read(folder / "run" / "tensorboard" / name), models[name]["training"]["history"]
        assert {"loss/train", "loss/validation", "learning_rate"} <= set(scalars)
        assert scalars.keys() == {tag_of(key) for key in history} | {"learning_rate"}
        for key, values in history.items():
            np.testing.assert_allclose(scalars[tag_of(key)], values, rtol=1e-6)  # they are kept in single precision
    layers = ("layer1", "layer2", "output")
    norms = {f"{what}_norm/{layer}" for what in ("weight", "gradient") for layer in layers}
    assert norms <= set(read(folder / "run" / "tensorboard" / "net"))
    assert read(folder / "run" / "tensorboard" / "trees")["learning_rate"] == pytest.approx([0.2] * 7)
    assert {path.name for path in (folder / "run" / "tensorboard").iterdir()} == {"net", "trees"}


def test_each_fold_and_category_has_its_own_files(folder):
    events = folder / "folds" / "tensorboard"
    places = {path.parent.relative_to(events).as_posix() for path in events.rglob("*tfevents*")}
    assert places == {
        "net/fold0", "net/fold1", *(f"parts/fold{i}/{name}" for i in (0, 1) for name in ("low", "high"))
    }  # fmt: skip
    first, second = (read(events / "net" / f"fold{i}")["loss/train"] for i in (0, 1))
    assert len(first) == len(second) == 2
    assert first != second


def test_the_files_belong_to_the_run_and_stay_when_it_is_evaluated_again(folder, tmp_path):
    listed = json.loads((folder / "run" / "manifest.json").read_text())["files"]
    assert sum("tensorboard/" in name for name in listed) == 2
    evaluate_again(folder / "run", tmp_path / "again", [], Resources("cpu", 1), Watcher(), figures="none")
    assert read(tmp_path / "again" / "tensorboard" / "net") == read(folder / "run" / "tensorboard" / "net")


def test_without_the_package_it_is_said_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    (tmp_path / "a.yaml").write_text(CONFIG)  # whose file does not exist
    done = command("run", tmp_path / "a.yaml", "-o", tmp_path / "run", "--tensorboard")
    assert isinstance(done.exception, UsageError)
    assert "--tensorboard needs the package tensorboard" in str(done.exception)
    assert "pip install 'pidlab[tensorboard]'" in str(done.exception)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="needs the package tensorboard"):
        pidlab.run(tmp_path / "a.yaml", tmp_path / "run", tensorboard=True)


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("loss", "loss/train"),
        ("validation_loss", "loss/validation"),
        ("validation_auc", "auc/validation"),
        ("weight_norm_2", "weight_norm/layer2"),
        ("gradient_norm_output", "gradient_norm/output"),
        ("learning_rate", "learning_rate"),
    ],
)
def test_tags_are_grouped_by_quantity(name, tag):
    assert tag_of(name) == tag
