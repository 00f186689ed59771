"""Patterns among the features mean branches of the inputs, and only the branches are in what a run leaves behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import write_tree
from pidlab.config.load import load_config
from pidlab.config.patterns import with_branches
from pidlab.config.schema import Config
from pidlab.errors import ConfigError
from pidlab.models.registry import Resources
from pidlab.pipeline import run
from pidlab.progress import Watcher
from pidlab.runs.bundle import load_bundle

CONFIG = """\
data: {files: a.root, event_id: [P.cal.number], weight: P.cal.w}
classes: {electron: P.cal.species == 0, pion: P.cal.species == 1}
spectators: [P.cal.p]
features: [P.gtr.dp, "P.cal.*", {name: last, expression: log(P.gtr.p)}]
models: {fisher: {type: fisher}, cuts: {type: cuts, features: [P.cal.x, last], sides: {P.cal.x: min}}}
evaluate: {robustness: null, importance: false}
labels: {P.cal.x: "$x$ [cm]"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    species = (np.arange(600) % 2).astype("i4")
    real = {name: rng.normal(species) for name in ("P.cal.y", "P.cal.x", "P.gtr.dp", "P.cal.p")}
    columns = {
        **real, "P.gtr.p": rng.uniform(1, 2, 600), "P.cal.w": rng.uniform(1, 2, 600), "P.cal.species": species,
        "P.cal.number": np.arange(600), "P.cal.hits": rng.normal(size=(600, 3)), "P.cal.odd/name": rng.normal(size=600),
    }  # fmt: skip
    write_tree(tmp_path / "a.root", columns)
    return tmp_path


class Notes(Watcher):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def note(self, sentence: str) -> None:
        self.sentences.append(sentence)


def resolved(folder: Path, text: str) -> tuple[Config, list[str]]:
    (folder / "c.yaml").write_text(text)
    notes: list[str] = []
    return with_branches(load_config(folder / "c.yaml"), notes.append).config, notes


def test_a_pattern_means_the_branches_that_can_be_features_in_the_order_of_the_tree(folder: Path) -> None:
    config, notes = resolved(folder, CONFIG)
    names = [f.name for f in config.feature_list]
    assert names == ["P.gtr.dp", "P.cal.y", "P.cal.x", "P.cal.odd/name", "last"]
    assert config.feature_list[3].expression == "`P.cal.odd/name`"
    (note,) = notes
    assert note.startswith("features: P.cal.* means P.cal.y, P.cal.x, P.cal.odd/name; left out: ")
    for why in (
        "P.cal.species defines a class", "P.cal.w is a weight", "P.cal.number identifies the event",
        "P.cal.p is a spectator", "P.cal.hits does not hold one number a row",
    ):  # fmt: skip
        assert why in note


def test_a_run_leaves_the_branches_behind_and_no_pattern(folder: Path) -> None:
    (folder / "c.yaml").write_text(CONFIG)
    watcher = Notes()
    results = run(load_config(folder / "c.yaml"), folder / "run", Resources("cpu", 1), watcher, figures="none")
    assert results.features == ("P.gtr.dp", "P.cal.y", "P.cal.x", "P.cal.odd/name", "last")
    assert any("P.cal.* means" in note for note in results.notes)
    assert "P.cal.*" not in (folder / "run" / "config.yaml").read_text()
    assert [f.name for f, _ in load_bundle(folder / "run").recipe.features] == list(results.features)


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        ("P.cla.*", "c.yaml:4:22: features[1]: no branch matches 'P.cla.*'; did you mean 'P.cal"),
        ("P.cal.sp*", "every branch that matches 'P.cal.sp*' is left out: P.cal.species defines a class"),
        ("P.gtr.d?", "every branch that matches 'P.gtr.d?' is left out: P.gtr.dp stands among the features already"),
    ],
)
def test_a_pattern_that_means_nothing_is_refused(folder: Path, feature: str, said: str) -> None:
    text = CONFIG.replace("P.cal.*", feature).replace("models: {", "models: {f: {type: fisher}, ")
    with pytest.raises(ConfigError) as caught:
        resolved(folder, text)
    assert said in str(caught.value)


def test_what_refers_to_the_branches_of_a_pattern_is_checked_once_they_are_known(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"models\.cuts\.sides\.P\.cal\.z: is none of the features.*'P\.cal\.x'"):
        resolved(folder, CONFIG.replace("sides: {P.cal.x", "sides: {P.cal.z"))


@pytest.mark.parametrize("product", ["P.cal.x*P.cal.y", "P.cal.x**2", "2*P.cal.x", "P.cal.x*.5", "P.gtr.p * P.cal.x"])
def test_a_product_is_no_pattern(folder: Path, product: str) -> None:
    config, notes = resolved(folder, CONFIG.replace('"P.cal.*"', f'P.cal.x, "{product}"'))
    assert config.feature_list[2].expression == product
    assert notes == []


def test_what_may_be_both_is_refused_with_both_spellings(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(folder, CONFIG.replace("P.cal.*", "cal_*_x"))
    assert "write 'cal_ * _x' for the product, 'cal_?*_x' for all branches that match" in str(caught.value)
