"""Recipe and loading: mistakes of all expressions at once, and each input opened once."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from pidlab.config.load import load_config
from pidlab.errors import ConfigError
from pidlab.preprocess.events import load
from pidlab.preprocess.recipe import compile_recipe
from pidlab.progress import Watcher
from pidlab.read.root.tree import RootTree

CONFIG = """
data: {files: [one.root, two.root], tree: T}
classes:
  electron: "species == 0"
  pion: "species == 1"
features: [a]
models: {fisher: {type: fisher}}
"""


def written(folder: Path, text: str = CONFIG) -> Path:
    rng = np.random.default_rng(1)
    for name in ("one", "two"):
        with uproot.recreate(folder / f"{name}.root") as file:
            file["T"] = {"a": rng.normal(size=40).astype("f4"), "species": np.arange(40) % 2}
    (folder / "c.yaml").write_text(text)
    return folder / "c.yaml"


def test_mistakes_in_the_cuts_of_classes_are_listed_with_the_others_and_their_places(tmp_path: Path) -> None:
    text = CONFIG.replace("species == 0", "species = 0").replace("[a]", '["a +"]')
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        compile_recipe(load_config(path))
    first, second = map(str, caught.value.mistakes)
    assert first.startswith(f"{path}:4:3: classes.electron: '=' has no meaning")
    assert second.startswith(f"{path}:6:12: features[0]: expected a number")


def test_each_root_file_is_read_in_the_opening_in_which_it_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, opened, closed = compile_recipe(load_config(written(tmp_path))), collections.Counter[str](), 0
    init, close = RootTree.__init__, RootTree.close

    def counted(self: RootTree, path: str, tree: str) -> None:
        opened[Path(path).name] += 1
        init(self, path, tree)

    def noted(self: RootTree) -> None:
        nonlocal closed
        closed += 1
        close(self)

    monkeypatch.setattr(RootTree, "__init__", counted)
    monkeypatch.setattr(RootTree, "close", noted)
    events: Any = load(recipe, Watcher())
    assert opened == {"one.root": 1, "two.root": 1}
    assert closed == 2
    assert [each.n_entries for each in events.inputs] == [40, 40]
