"""Regressions with a model for each category: known answers, saved, applied, exported with parity, made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pidlab
from conftest import write_tree
from pidlab.config.load import check_config
from pidlab.errors import ConfigError, ModelError
from pidlab.evaluate.results import RegressionResults, read_any_results
from pidlab.export import export
from pidlab.models.registry import Resources
from pidlab.pipeline import run
from pidlab.progress import Watcher
from pidlab.runs.bundle import load_bundle
from pidlab.runs.reproduce import reproduce

N = 2000
RESOURCES = Resources("cpu", 1)
MODELS: dict[str, Any] = {
    "whole": {"type": "linear"},
    "halves": {"type": "linear", "by": {"x": "p", "bins": [1, 3, 5]}},
    "wide": {
        "type": "bdt", "loss": "gaussian", "n_estimators": 20, "by": {"slow": "p < 3", "fast": "p >= 3"},
    },
    "levels": {"type": "bdt", "loss": "quantile", "n_estimators": 10, "by": {"slow": "p < 3", "fast": "p >= 3"}},
    "net": {"type": "mlp", "hidden": [4], "epochs": 2, "by": {"slow": "p < 3", "fast": "p >= 3"}},
}  # fmt: skip


def events() -> dict[str, Any]:
    """A target whose slope changes its sign at p = 3, without noise; a feature is missing in some rows."""
    rng = np.random.default_rng(8)
    a, p = rng.normal(size=N), rng.uniform(1, 5, N)
    b = np.where(rng.random(N) < 0.05, np.nan, rng.normal(size=N))
    return {"a": a, "b": b, "p": p, "truth": np.where(p < 3, 2 * a + 1, -3 * a), "number": np.arange(N)}


def content(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "data": {"files": str(folder / "events.root"), "event_id": ["number"]},
        "target": "truth",
        "features": ["a", "b"],
        "folds": 2,
        "models": MODELS,
        **changes,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("categories")
    write_tree(place / "events.root", events())
    run(check_config(content(place), {}, place / "a.yaml"), place / "run", RESOURCES, Watcher(), figures="none")
    return place


def test_a_slope_of_its_own_in_each_half_is_found(folder: Path) -> None:
    results = read_any_results(folder / "run" / "results.json")
    assert isinstance(results, RegressionResults)
    rms = {name: model.rms.value for name, model in results.models.items()}
    assert rms["halves"] < 1e-5
    assert rms["whole"] > 2
    assert rms["wide"] < rms["whole"]
    assert results.models["wide"].test.pulls is not None
    a, b = results.importance["halves"].features
    assert a.delta_rms.low > 1
    assert b.delta_rms.value == pytest.approx(0, abs=1e-4)
    assert a.contribution is not None


def test_saved_models_predict_the_same_and_nothing_outside_of_all_categories(folder: Path) -> None:
    loaded, rows = pidlab.load(folder / "run"), events()
    scores = loaded.scores(rows)
    np.testing.assert_allclose(scores["halves"], rows["truth"], atol=1e-5)
    friend = loaded.friend(rows)
    assert (friend["pid_wide_sigma"] > 0).all()
    assert (friend["pid_levels_q16"] <= friend["pid_levels_q84"]).all()
    outside = loaded.friend({**rows, "p": np.full(N, 9.0), "number": np.arange(N) + N})
    assert np.isnan(outside["pid_halves"]).all()
    assert np.isnan(loaded.friend({**rows, "p": np.full(N, np.nan)})["pid_wide_sigma"]).all()


@pytest.mark.parametrize("form", ["header", "onnx"])
def test_exports_agree(folder: Path, tmp_path: Path, form: str) -> None:
    names = ["halves", "wide", "levels", "net"]
    done = export(load_bundle(folder / "run", names), folder / "run", form, names, tmp_path)
    assert {name for each in done for name in each.models} == set(names)
    assert all(each.largest_difference < 1e-4 for each in done)


def test_it_is_made_again_to_the_last_bit(folder: Path) -> None:
    assert reproduce(folder / "run", RESOURCES, Watcher()).identical


def test_what_cannot_be_done_is_said(folder: Path) -> None:
    linear = {"type": "linear", "by": {"slow": "p < 3", "fast": "p >= 4"}}
    with pytest.raises(ConfigError, match=r"models.m.by: .* are in no category \(slow, fast\)"):
        pidlab.run(content(folder, models={"m": linear}), device="cpu")
    far = {"type": "linear", "by": {"near": "p < 9", "far": "p >= 9"}}
    with pytest.raises(ModelError, match=r"models.m: the category 'far' has no training event$"):
        pidlab.run(content(folder, models={"m": far}), device="cpu")
