"""Every name that the documentation ever gave is importable, and is the same object under its old name and its new."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from pidlab import moved

DOCS = Path(__file__).parents[1] / "docs"
BEFORE = [
    "pidlab.LoadedRun",
    "pidlab.apply.apply",
    "pidlab.apply.find_inputs",
    "pidlab.apply.stream.apply",
    "pidlab.bundle.config_yaml",
    "pidlab.bundle.load_bundle",
    "pidlab.config.load.LoadedConfig",
    "pidlab.config.load.load_config",
    "pidlab.errors.DataError",
    "pidlab.evaluate.compare.compare_models",
    "pidlab.evaluate.model.evaluate_model",
    "pidlab.evaluate.results.ModelResult",
    "pidlab.evaluate.results.Results",
    "pidlab.evaluate.results.WorkingPoint",
    "pidlab.evaluate.results_numbers.Measured",
    "pidlab.evaluate.robustness.measure_robustness",
    "pidlab.events.load",
    "pidlab.export.run.export",
    "pidlab.load",
    "pidlab.models.base.Classifier",
    "pidlab.models.bdt.BDT",
    "pidlab.models.contender.Contender",
    "pidlab.models.contender.Resources",
    "pidlab.models.cuts.Cuts",
    "pidlab.models.estimators.Resources",
    "pidlab.models.fisher.Fisher",
    "pidlab.models.mlp.MLP",
    "pidlab.pipeline.analyse",
    "pidlab.pipeline.evaluate",
    "pidlab.pipeline.preprocess",
    "pidlab.pipeline.run",
    "pidlab.pipeline.score",
    "pidlab.pipeline.train",
    "pidlab.progress.Watcher",
    "pidlab.recipe.compile_recipe",
    "pidlab.rootio.FriendFile",
    "pidlab.rootio.read_efficiency",
    "pidlab.rootio.th1",
    "pidlab.sample.Sample",
    "pidlab.simulate.simulate",
]


def documented() -> list[str]:
    """The names of docs/api.md and of the imports on the other pages."""
    names = re.findall(r"^::: (pidlab[\w.]+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    for page in DOCS.glob("*.md"):
        for module, wanted in re.findall(
            r"^from (pidlab[\w.]*) import ([\w, ]+)$", page.read_text("utf-8"), re.MULTILINE
        ):
            names += [f"{module}.{name.strip()}" for name in wanted.split(",")]
    return names


@pytest.mark.parametrize("name", sorted({*BEFORE, *documented()}))
def test_a_documented_name_is_importable(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        assert hasattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize(("old", "new"), moved.NEW_NAMES.items())
def test_the_old_module_gives_the_objects_of_the_new(old: str, new: str) -> None:
    before, after = importlib.import_module(old), importlib.import_module(new)
    public = [name for name in vars(after) if not name.startswith("_")]
    assert public
    assert all(getattr(before, name) is getattr(after, name) for name in public)
    with pytest.raises(AttributeError):
        before.no_such_name  # noqa: B018


def test_a_module_that_never_was_is_still_missing() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("pidlab.no_such_module")
