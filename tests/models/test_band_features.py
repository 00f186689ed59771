"""Numbers of sigmas as features: fitted on the training part alone, in each fold, and known to every export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pidlab
from conftest import write_tree
from pidlab.config.choose import only_models
from pidlab.errors import ConfigError
from pidlab.jsonfile import read_json

PLAIN = {"robustness": None, "importance": True}


def energies(n: int = 6_000) -> tuple[dict[str, Any], Any]:
    """Electrons, whose E/p falls with p, and pions below them; a tenth of the energies is missing."""
    rng = np.random.default_rng(7)
    y, p = rng.integers(0, 2, n), rng.uniform(1, 5, n)
    eop = np.where(y == 1, 1.2 - 0.1 * p, 0.9 - 0.1 * p) + 0.08 * rng.standard_normal(n)
    eop[::10] = np.nan
    return {"eop": eop, "p": p, "noise": rng.standard_normal(n)}, y


FEATURES: list[Any] = ["noise", {"name": "nsigma_e", "band": "ecal"}]
MODELS: dict[str, Any] = {
    "ecal": {"type": "band", "variables": ["eop"], "against": "p", "shape": "polynomial", "degree": 1},
    "bdt": {"type": "bdt", "n_estimators": 30, "max_depth": 2},
    "fisher": {"type": "fisher"},
}


def configuration(folder: Path, **more: Any) -> dict[str, Any]:
    table, y = energies()
    write_tree(folder / "t.root", {**table, "species": y, "event": np.arange(len(y))})
    return {
        "data": {"files": str(folder / "t.root"), "event_id": ["event"]},
        "classes": {"electron": "species == 1", "pion": "species == 0"},
        "features": FEATURES,
        "models": MODELS,
        "evaluate": PLAIN,
        **more,
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sigmas")
    pidlab.run(configuration(folder, folds=2), folder / "run", figures="none")
    return folder / "run"


def test_a_tree_model_that_reads_the_number_of_sigmas_is_as_good_as_the_band(run: Path) -> None:
    areas = {name: m.samples["test"].auc.value for name, m in pidlab.load(run).result.results.models.items()}
    assert areas["bdt"] > areas["ecal"] - 0.01


def test_each_fold_has_the_band_of_its_own_training_events(run: Path) -> None:
    folds = [read_json(run / "models" / "bdt" / f"fold{i}" / "band0" / "band.json") for i in range(2)]
    alone = [read_json(run / "models" / "ecal" / f"fold{i}" / "band.json") for i in range(2)]
    assert folds == alone  # the band itself is trained on the same events
    assert folds[0] != folds[1]


def test_events_of_the_test_sample_do_not_move_the_band(tmp_path: Path) -> None:
    config = configuration(tmp_path, split={"test": "event % 2 == 0"}, models={**MODELS})
    pidlab.run(config, tmp_path / "first", figures="none")
    table, y = energies()
    table["eop"][::2] += 5  # only events of the test sample
    write_tree(tmp_path / "t.root", {**table, "species": y, "event": np.arange(len(y))})
    pidlab.run(config, tmp_path / "second", figures="none")
    bands = [tmp_path / name / "models" / "bdt" / "fold0" / "band0" / "band.json" for name in ("first", "second")]
    assert bands[0].read_bytes() == bands[1].read_bytes()


@pytest.mark.parametrize("format", ["onnx", "header"])
def test_exports_compute_the_number_of_sigmas_from_the_branches(run: Path, format: str) -> None:
    exported = pidlab.load(run).result.export(format, run.parent / format)
    assert all(each.largest_difference <= 1e-5 for each in exported)


def test_what_the_number_of_sigmas_contributes_belongs_to_the_variable_of_the_band(run: Path) -> None:
    importance = pidlab.load(run).result.results.importance["bdt"]
    found = {each.feature: each.contribution.value for each in importance.features if each.contribution is not None}
    assert found["eop"] > 10 * found["noise"]
    assert found["p"] == 0


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ({"name": "n", "band": "ecall"}, r"features\[1\].band: 'ecall' is no model of type band; did you mean 'ecal'"),
        ({"name": "n", "band": "bdt"}, r"features\[1\].band: 'bdt' is no model of type band"),
        ({"name": "n", "band": "ecal", "variable": "eopp"}, r"'eopp' is no variable of the band 'ecal'; did you mean"),
        ({"name": "n", "band": "ecal", "missing": [-1]}, r"features\[1\].missing: unknown key"),
        ({"name": "noise", "band": "ecal"}, r"the feature 'noise' stands here twice"),
    ],
)
def test_mistakes_name_the_band_and_the_nearest_name(feature: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        pidlab.run(configuration(tmp_path, features=["noise", feature]))


def test_a_model_alone_keeps_the_band_that_its_feature_is_from() -> None:
    content = {"features": FEATURES, "models": dict(MODELS)}
    only_models(content, ["bdt"])
    assert list(content["models"]) == ["ecal", "bdt"]


def test_the_band_of_a_feature_is_one_for_all_categories_also_where_its_variable_is_missing(tmp_path: Path) -> None:
    models = {**MODELS, "by": {"type": "fisher", "by": {"with": "eop == eop", "without": "eop != eop"}}}
    pidlab.run(configuration(tmp_path, models=models), tmp_path / "run", figures="none")
    fold = tmp_path / "run" / "models" / "by" / "fold0"
    bands = [(fold / f"category_{name}" / "band0" / "band.json").read_bytes() for name in ("with", "without")]
    assert bands[0] == bands[1] == (tmp_path / "run" / "models" / "ecal" / "fold0" / "band.json").read_bytes()


def test_a_model_may_read_numbers_of_sigmas_alone(tmp_path: Path) -> None:
    models = {**MODELS, "box": {"type": "cuts", "features": ["nsigma_e"]}}
    pidlab.run(configuration(tmp_path, models=models), tmp_path / "run", figures="none")
    result = pidlab.load(tmp_path / "run").result
    assert all(each.largest_difference <= 1e-5 for each in result.export("onnx", tmp_path / "onnx"))
    assert all(each.largest_difference <= 1e-5 for each in result.export("header", tmp_path / "header"))
    result.export("cuts", tmp_path / "cuts")
    assert [path.name for path in (tmp_path / "cuts").iterdir()] == ["ecal.txt"]  # a number of sigmas is no branch
