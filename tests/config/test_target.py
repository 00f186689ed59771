"""A target in place of classes: what such a configuration may say, what it must not, and what is read of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import write_tree
from pidlab.config.load import load_config
from pidlab.config.schema import RegressionConfig
from pidlab.errors import ConfigError, DataError
from pidlab.preprocess.events import load
from pidlab.preprocess.recipe import compile_recipe
from pidlab.progress import Watcher

CONFIG = """\
data: {files: a.root, weight: w}
target: {value: truth / energy, cut: species == 0}
selection: {window: "abs(light) < 0.9"}
features: [energy, light]
spectators: [light]
models:
  mean: {type: constant}
  bdt: {type: bdt, loss: gaussian}
seed: 1
"""
N = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("target")
    rng = np.random.default_rng(7)
    energy = rng.uniform(1, 2, N)
    energy[:10] = 0.0  # so that the target is infinite there
    columns = {
        "energy": energy,
        "light": np.linspace(-1, 1, N),
        "truth": rng.normal(3, 0.1, N),
        "species": np.arange(N) % 2,
        "w": np.where(np.arange(N) % 7, 1.0, -0.5),
    }
    write_tree(made / "a.root", columns)
    return made


def said(folder: Path, old: str, new: str) -> str:
    path = folder / "c.yaml"
    assert old in CONFIG
    path.write_text(CONFIG.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return str(caught.value).replace(f"{folder}/", "")


def test_rows_are_those_whose_target_is_finite_and_whose_cut_holds_in_the_order_of_the_file(folder: Path) -> None:
    path = folder / "c.yaml"
    path.write_text(CONFIG)
    loaded = load_config(path)
    assert isinstance(loaded.config, RegressionConfig)
    events = load(compile_recipe(loaded), Watcher())
    sample = events.sample
    light, rows = np.linspace(-1, 1, N), np.arange(N)
    expected = (rows >= 10) & (rows % 2 == 0) & (abs(light) < 0.9)
    assert np.array_equal(np.sort(sample.row), np.flatnonzero(expected))
    # Selected rows without a target are counted as rows of no class, which the friend trees of the run score.
    assert events.inputs[0].n_unlabelled == ((abs(light) < 0.9) & ~expected).sum()
    assert sample.target is not None
    assert np.isfinite(sample.target).all()
    x = {name: sample.x[:, j].astype(float) for j, name in enumerate(sample.features)}
    assert np.allclose(sample.target * x["energy"], 3, atol=0.6)
    part = sample.take(slice(3, 9))
    assert part.target is not None
    assert np.array_equal(part.target, sample.target[3:9])
    assert np.array_equal(sample.weight, np.where(sample.row % 7, 1.0, -0.5))


@pytest.mark.parametrize(
    ("old", "new", "place", "what"),
    [
        ("seed: 1", "signal: electron", "9:1: signal: is of classes", "leave signal out, or target"),
        ("seed: 1", "classes: {a: x == 1, b: x == 2}", "9:1: classes: is of classes", "leave classes out, or target"),
        ("seed: 1", "evaluate: {working_points: [0.9]}", "evaluate.working_points: is of", "leave working_points"),
        ("type: constant", "type: cuts", "7:3: models.mean: must be one of", "constant, linear, bdt, mlp"),
        ("truth / energy", "truth /", "2:10: target.value: expected a number", "truth /"),
        ("[energy, light]", "[energy, light, truth / energy]", "features[2]: the feature", "is the target itself"),
        ("loss: gaussian", "loss: normal", "models.bdt.loss: must be", "gaussian"),
        ("files: a.root, ", "", "data.files: missing", "name the files"),
        ("value: truth", "valeu: truth", "target.valeu: unknown key", "did you mean 'value'?"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place_and_what_to_do(
    folder: Path, old: str, new: str, place: str, what: str
) -> None:
    message = said(folder, old, new)
    assert place in message
    assert what in message


def test_a_misspelt_target_is_told_beside_the_classes_that_are_missing_without_it(folder: Path) -> None:
    message = said(folder, "target:", "tarjet:")
    assert "tarjet: unknown key; did you mean 'target'?" in message
    assert "classes: missing; this key is needed, or target for a regression" in message


def test_a_target_that_no_row_has_is_told(folder: Path) -> None:
    path = folder / "c.yaml"
    path.write_text(CONFIG.replace("species == 0", "species == 5"))
    with pytest.raises(DataError, match="the target 'truth / energy' is NaN or infinite, or its cut false, in all"):
        load(compile_recipe(load_config(path)), Watcher())
