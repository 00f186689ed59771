"""What float32 would lose of a feature is kept, or said, wherever the values lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import write_tree
from pidlab.config.load import load_config
from pidlab.datadriven.reweighting.step import reweight
from pidlab.errors import DataError
from pidlab.preprocess.events import load
from pidlab.preprocess.precision import merged_share, origin_and_unit
from pidlab.preprocess.recipe import Recipe, compile_recipe
from pidlab.progress import Watcher

N = 4000


class Notes(Watcher):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, sentence: str) -> None:
        self.said.append(sentence)


def days(share: float) -> Any:
    """Returns times since 1858 in days, within minutes, of which a share is the code 0."""
    rng = np.random.default_rng(5)
    return np.where(rng.random(N) < share, 0.0, 59_000.5 + rng.normal(0, 2e-3, N))


def loaded(folder: Path, v: Any, model: str) -> tuple[Any, list[str]]:
    """Returns the feature v as models see it, and what was said of it, if it was not refused."""
    write_tree(folder / "a.root", {"label": np.arange(N) % 2, "v": v, "x": np.arange(N) % 7})
    text = (
        f"data: {{files: a.root}}\nclasses: {{s: label == 1, b: label == 0}}\nfeatures: [v, x]\nmodels: {{m: {model}}}"
    )
    (folder / "a.yaml").write_text(text)
    notes = Notes()
    events = load(compile_recipe(load_config(folder / "a.yaml")), notes)
    return np.asarray(events.sample.x[:, 0]), notes.said


@pytest.mark.parametrize("share", [0.0, 0.05, 0.15, 0.35])
def test_codes_beside_large_numbers_do_not_hide_what_float32_would_lose(tmp_path: Path, share: float) -> None:
    v = days(share)
    x, said = loaded(tmp_path, v, "{type: fisher}")
    assert merged_share(v) > 0.9
    assert len(np.unique(x)) > 0.98 * len(np.unique(v))
    assert any("'v' is taken as v - 59000.5: float32" in note for note in said)


def test_two_groups_that_no_shift_keeps_are_told_of(tmp_path: Path) -> None:
    v = np.where(np.arange(N) % 4 < 2, 1e9, -1e9) + np.random.default_rng(1).normal(size=N)
    _, said = loaded(tmp_path, v, "{type: fisher}")
    assert any("of the different values of 'v' the same, and" in note and "of its own" in note for note in said)


def test_a_feature_that_is_left_as_it_is_and_is_nothing_then_is_refused_for_that_reason(tmp_path: Path) -> None:
    v = 1e6 + 1e-3 * np.random.default_rng(1).normal(size=N)
    said = r"all values of the feature 'v' the same, and it is left as it is for .*; write v - 1000000"
    with pytest.raises(DataError, match=said):
        loaded(tmp_path, v, "{type: likelihood, detectors: {a: [v]}}")


def test_ordinary_values_are_left_alone(tmp_path: Path) -> None:
    v = np.random.default_rng(1).normal(3, 1, N)
    assert origin_and_unit(v)[1] == 1
    x, said = loaded(tmp_path, v, "{type: fisher}")
    assert sorted(x.tolist()) == sorted(v.astype(np.float32).tolist())
    assert not any("float32" in note for note in said)


def tracked(folder: Path, offset: float, more: str) -> Recipe:
    """Returns the recipe for a time from an offset on, which the feature x measures within a tenth of its width."""
    rng = np.random.default_rng(2)
    t = rng.normal(np.arange(N) % 2, 1) * 40
    columns = {"label": np.arange(N) % 2, "t": offset + t, "x": t + rng.normal(0, 4, N)}
    write_tree(folder / "a.root", columns)
    (folder / "a.yaml").write_text(f"data: {{files: a.root}}\nfeatures: [x]\n{more}")
    return compile_recipe(load_config(folder / "a.yaml"))


def test_a_target_that_predictions_cannot_hold_is_refused_with_the_difference_to_write(tmp_path: Path) -> None:
    regression = "target: t\nmodels: {m: {type: linear}}\n"
    load(tracked(tmp_path, 0.0, regression), Watcher())
    said = r"the target 't' needs double precision: .* write the difference t - 1600000000\.0"
    with pytest.raises(DataError, match=said):
        load(tracked(tmp_path, 1.6e9, regression), Watcher())


@pytest.mark.parametrize("method", ["classifier", "bins"])
def test_a_variable_to_make_alike_that_float32_does_not_resolve_is_refused(tmp_path: Path, method: str) -> None:
    reweighted = "classes: {s: label == 1, b: label == 0}\nmodels: {m: {type: fisher}}\n" + (
        f"spectators: [t]\nreweight: {{match: [t], to: b, method: {method}}}\n"
    )
    recipe = tracked(tmp_path, 1.6e9, reweighted)
    events = load(recipe, Watcher())
    said = r"reweight.match: 't' needs double precision: .* write the difference t - 1600000000\.0"
    with pytest.raises(DataError, match=said):
        reweight(recipe, events.sample, events.parts, Watcher(), n_jobs=1)


def test_categories_of_large_numbers_are_all_there(tmp_path: Path) -> None:
    models = "{type: fisher, by: {x: t, bins: [1600000000, 1600000100.5, 1600000200]}}"
    recipe = tracked(tmp_path, 1.6e9, f"classes: {{s: label == 1, b: label == 0}}\nmodels: {{m: {models}}}\n")
    categories = recipe.loaded.config.models["m"].categories
    assert list(categories) == ["t_1600000000_1600000100_5", "t_1600000100_5_1600000200"]
