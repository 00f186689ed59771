"""What is exported of a regression predicts what pidlab predicts: in C++, as ONNX, and as xgboost's own file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from numpy.typing import NDArray

from conftest import write_tree
from pidlab.config.load import check_config
from pidlab.errors import ModelError, UsageError
from pidlab.export import export, parity_events
from pidlab.export.cpp import check as cpp_check
from pidlab.export.onnx.graph import run_graph
from pidlab.export.parity import largest_difference, units_of
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse
from pidlab.progress import Watcher
from pidlab.runs.bundle import Bundle, load_bundle, save_bundle

needs_compiler = pytest.mark.skipif(not cpp_check.find_compiler(), reason="there is no C++ compiler")
FEATURES: list[Any] = ["a", {"name": "b", "expression": "b", "missing": [-999]}]
TREES = {"type": "bdt", "n_estimators": 25, "learning_rate": 0.2, "max_depth": 4}
NETWORK = {"type": "mlp", "epochs": 2}
ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "maxout", "gelu")
MODELS: dict[str, Any] = {
    "mean": {"type": "constant", "loss": "gaussian"},
    "median": {"type": "constant", "loss": "quantile", "quantiles": [0.5]},
    "line": {"type": "linear"},
    "trees": TREES,
    "deep": {**TREES, "max_depth": 9, "loss": "absolute"},
    "widths": {**TREES, "loss": "gaussian"},
    "quantiles": {**TREES, "loss": "quantile", "quantiles": [0.84, 0.025, 0.4]},
    "members": {**NETWORK, "hidden": [7, 5], "members": 2, "loss": "gaussian"},
    "networks": {**NETWORK, "hidden": [6], "loss": "quantile"},
    "guess": {"type": "score", "expression": "20000 * a"},
} | {each: {**NETWORK, "hidden": [5], "activation": each} for each in ACTIVATIONS}


def made(folder: Path, unit: float, models: dict[str, Any], **options: Any) -> Path:
    """A run on 1200 events, with missing values and weights of both signs; the target is about 3 units."""
    rng = np.random.default_rng(3)
    n = 1200
    a, b = rng.normal(size=n).astype("f4"), rng.normal(size=n).astype("f4")
    columns = {
        "a": a,
        "b": np.where(rng.random(n) < 0.1, -999, b).astype("f4"),
        "w": np.where(rng.random(n) < 0.1, -0.3, 1.2),
        "y": unit * (3 + 2 * a + b**2 + 0.3 * rng.normal(size=n)),
    }
    write_tree(folder / "events.root", columns)
    content = {
        "data": {"files": "events.root", "weight": "w"},
        "target": "y",
        "selection": {"inside": "a < 2.2"},
        "features": FEATURES,
        "models": models,
        **options,
    }
    done = analyse(check_config(content, {}, folder / "a.yaml"), Resources("cpu", 1), Watcher())
    (folder / "run").mkdir()
    save_bundle(folder / "run", done.recipe, done.models, done.results.models)
    (folder / "run" / "manifest.json").write_text(json.dumps({"schema": 1}))
    return folder / "run"


@pytest.fixture(scope="module")
def energies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target of some ten thousand units, such as an energy in MeV."""
    return made(tmp_path_factory.mktemp("energies"), 1e4, MODELS)


def predicted(bundle: Bundle, name: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 1 + m) the prediction and its further outputs."""
    model = bundle.models[name]
    return np.concatenate([model.scores_of(x, {}), model.outputs_of(x)], axis=1)


@needs_compiler
def test_the_header_predicts_every_number(energies: Path, tmp_path: Path) -> None:
    bundle = load_bundle(energies)
    (done,) = export(bundle, energies, "header", [], tmp_path / "out")
    assert done.models == tuple(MODELS)
    assert done.n_events > 1000
    # Both compute in double precision; what is left is the last digit of single precision.
    assert done.largest_difference <= 2e-7
    text = done.path.read_text()
    assert "widths: the prediction of y, then sigma; NaN where the event is not selected." in text
    assert "Target: y." in text
    assert "decision is" not in text


def test_a_graph_has_an_output_for_every_number(energies: Path, tmp_path: Path) -> None:
    names = [name for name in MODELS if name != "guess"]
    bundle = load_bundle(energies)
    done = {each.models[0]: each for each in export(bundle, energies, "onnx", names, tmp_path / "out")}
    assert list(done) == names
    x = parity_events(bundle, 300).x
    for name, each in done.items():
        by_trees = MODELS[name]["type"] == "bdt"  # whose leaves onnxruntime adds in single precision
        assert each.largest_difference <= (3e-6 if by_trees else 3e-7), name
        expected = predicted(bundle, name, x)
        found = run_graph(each.path, x)
        assert largest_difference(name, found, expected, unit=units_of(bundle, expected)) <= 3e-6
    import onnx

    ends = {name: [port.name for port in onnx.load(each.path).graph.output] for name, each in done.items()}
    assert ends["widths"] == ends["mean"] == ["prediction", "sigma"]
    assert ends["quantiles"] == ["prediction", "q2_5", "q40", "q84"]
    assert ends["line"] == ["prediction"]


def test_xgboost_itself_predicts_in_the_unit_of_the_target(energies: Path, tmp_path: Path) -> None:
    bundle = load_bundle(energies)
    names = ["trees", "deep", "widths", "quantiles"]
    x = parity_events(bundle, 300).x
    for each in export(bundle, energies, "xgboost", names, tmp_path / "out"):
        (name,) = each.models
        assert each.largest_difference <= 1e-5
        booster = xgboost.Booster()
        booster.load_model(each.path)
        found = booster.predict(xgboost.DMatrix(x, feature_names=["a", "b"])).reshape(len(x), -1)
        expected = predicted(bundle, name, x)
        np.testing.assert_allclose(np.sort(found, axis=1)[:, 1] if name == "quantiles" else found[:, 0],
                                   expected[:, 0], rtol=1e-5, atol=0.1)  # fmt: skip
        columns = json.loads(booster.attr("pidlab"))["outputs"]
        assert len(columns) == found.shape[1]
        if name == "widths":
            assert columns == ["prediction", "log(sigma)"]
            np.testing.assert_allclose(np.exp(found[:, 1]), expected[:, 1], rtol=1e-5)


def test_models_of_folds_are_averaged_in_every_format(tmp_path: Path) -> None:
    names = ["line", "widths", "networks"]
    run = made(tmp_path, 1e-9, {name: MODELS[name] for name in names}, folds=2)  # such as a cross section in barn
    bundle = load_bundle(run)
    formats = ["onnx", "header"] if cpp_check.find_compiler() else ["onnx"]
    for form in formats:
        for done in export(bundle, run, form, names, tmp_path / form):
            assert done.largest_difference <= 3e-6
    for done in export(bundle, run, "xgboost", ["widths"], tmp_path / "xgboost"):
        assert done.largest_difference <= 2e-5  # single precision, of a logarithm near -20


def test_a_small_difference_of_a_small_target_is_found(tmp_path: Path) -> None:
    bundle = load_bundle(made(tmp_path, 1e-9, {"line": MODELS["line"]}))
    expected = predicted(bundle, "line", parity_events(bundle, 300).x)
    units = units_of(bundle, expected)
    assert largest_difference("line", expected * (1 + 1e-7), expected, unit=units) < 1e-6
    with pytest.raises(ModelError, match="differs from pidlab by"):
        largest_difference("line", expected * (1 + 1e-3), expected, unit=units)


def test_a_prediction_is_not_exported_as_a_cut(energies: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="a regression predicts numbers, and nothing of it is a cut; export it with --format header"
    ):
        export(load_bundle(energies), energies, "cuts", ["trees"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="xgboost takes models of type bdt: 'line' is of type linear"):
        export(load_bundle(energies), energies, "xgboost", ["line"], tmp_path / "out")
    with pytest.raises(UsageError, match=r"'guess' is an expression \(type score\), export it as header"):
        export(load_bundle(energies), energies, "onnx", ["guess"], tmp_path / "out")
