"""What float32 would lose of a feature is kept, or said, wherever the values lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import write_tree
from pidlab.config.load import load_config
from pidlab.errors import DataError
from pidlab.preprocess.events import load
from pidlab.preprocess.precision import merged_share, origin_and_unit
from pidlab.preprocess.recipe import compile_recipe
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
    text = f"data: {{files: a.root}}\nclasses: {{s: label == 1, b: label == 0}}\nfeatures: [v, x]\nmodels: {{m: {model}}}"
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
