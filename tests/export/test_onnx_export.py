"""ONNX: one graph from raw features to scores, equal to pidlab for every model of a run, calibrated too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from exported_runs import CALIBRATIONS, FAST, config, make_run, write_table
from pidlab.errors import ModelError, UsageError
from pidlab.export import ParityEvents, parity_events
from pidlab.export.onnx.graph import _difference_in_steps, graph_of, metadata, run_graph, write
from pidlab.models.calibration import Isotonic
from pidlab.models.fold import FoldModel
from pidlab.runs.bundle import Bundle

TRAINED = ["cuts", "fisher", "logistic", "bdt", "mlp"]
# The README of ROOT's tmva/sofie, "Supported ONNX operators".
SOFIE = """
Abs Add AveragePool BatchNormalization Cast Concat Constant ConstantOfShape Conv ConvTranspose Cos Div Einsum Elu Equal
Erf Exp Expand EyeLike Flatten GRU Gather Gemm GlobalAveragePool Greater GreaterOrEqual Identity If LSTM LeakyRelu
LayerNormalization Less LessOrEqual Log MatMul Max MaxPool Mean Min Mul Neg Pad Pow RNN Range Reciprocal ReduceMean
ReduceProd ReduceSum ReduceSumSquare Relu Reshape ScatterElements Selu Shape Sigmoid Sin Slice Softmax Split Sqrt
Squeeze Sub Sum Tanh Tile TopK Transpose Unsqueeze Where
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    write_table(folder)
    return folder


@pytest.fixture(scope="module")
def pair(folder: Path) -> Bundle:
    return make_run(folder, config(2, FAST), "pair")


@pytest.fixture(scope="module")
def three(folder: Path) -> Bundle:
    return make_run(
        folder, config(3, FAST | {"wide": {"type": "cuts", "nested": False, "search": "monte-carlo"}}), "three"
    )


@pytest.fixture(scope="module")
def folded(folder: Path) -> Bundle:
    trained = {name: FAST[name] for name in ("bdt", "fisher", "mlp")}
    return make_run(folder, config(2, trained, folds=3, scaling="standard"), "folded")


@pytest.mark.slow
@pytest.mark.parametrize("run", ["pair", "three", "folded"])
def test_every_trained_model_scores_as_in_pidlab(run: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    bundle: Bundle = request.getfixturevalue(run)
    events = parity_events(bundle, 2000)
    assert np.isnan(events.x).any()
    for exported in write(bundle, list(bundle.models), tmp_path, events, tmp_path):
        (name,) = exported.models
        assert exported.path == tmp_path / f"{name}.onnx"
        assert exported.n_events == len(events) > 2000
        assert exported.largest_difference == np.abs(run_graph(exported.path, events.x) - events.scores[name]).max()
        assert exported.largest_difference <= {"cuts": 0, "bdt": 1e-6}.get(name, 2e-6)
    expected = [name for name in TRAINED if name in bundle.models]
    assert {path.stem for path in tmp_path.iterdir()} == set(expected)


@pytest.mark.slow
def test_given_models_are_left_out_of_all_and_refused_by_name(three: Bundle, tmp_path: Path) -> None:
    events = parity_events(three, 100)
    exported = write(three, list(three.models), tmp_path, events, tmp_path)
    takes = "band, bdt, cuts, fisher, likelihood, logistic, mlp, naive_bayes, tree"
    note = f"Left out: hand, given, wide (onnx takes {takes})."
    assert [e.note for e in exported] == [note, "", "", "", ""]
    for name, formats in (("hand", "cuts or header"), ("given", "header")):
        with pytest.raises(UsageError, match=rf"'{name}' is an expression .*, export it as {formats}$"):
            write(three, ["bdt", name], tmp_path, events, tmp_path)
    with pytest.raises(UsageError, match="'wide' has no score but a box for each working point"):
        write(three, ["wide"], tmp_path, events, tmp_path)


def test_the_graph_says_what_a_reader_needs(pair: Bundle, tmp_path: Path) -> None:
    model = graph_of(pair.models["mlp"], metadata(pair, "mlp"))
    told = {each.key: each.value for each in model.metadata_props}
    features = json.loads(told["features"])
    assert [f["name"] for f in features] == ["a", "far", "time", "hits"]
    assert features[1] == {"name": "far", "expression": "far", "missing": [-999]}
    assert (json.loads(told["classes"]), told["signal"]) == (["pion", "kaon"], "pion")
    assert json.loads(told["thresholds"]) == {d.name: d.threshold for d in pair.decisions["mlp"]}
    assert told["fingerprint"] == pair.fingerprint
    ((batch, d), (out, k)) = (
        [each.dim_param or each.dim_value for each in value.type.tensor_type.shape.dim]
        for value in (model.graph.input[0], model.graph.output[0])
    )
    assert (batch, d, out, k) == ("batch", 4, "batch", 2)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 11)]


@pytest.mark.slow
@pytest.mark.parametrize("run", ["pair", "three"])
def test_networks_and_linear_models_keep_to_the_operators_of_sofie(run: str, request: pytest.FixtureRequest) -> None:
    bundle: Bundle = request.getfixturevalue(run)
    isotonic = "signal" if run == "pair" else "each"
    for name in ("mlp", "fisher", "logistic"):
        for calibration in (None, CALIBRATIONS["temperature"], CALIBRATIONS[isotonic]):
            contender = replace(bundle.models[name], calibration=calibration)
            graph = graph_of(contender, metadata(bundle, name)).graph
            assert {node.op_type for node in graph.node} <= set(SOFIE.split()), name


def test_any_number_of_events_at_once_gives_the_same(pair: Bundle, tmp_path: Path) -> None:
    events = parity_events(pair, 300)
    for exported in write(pair, list(TRAINED), tmp_path, events, tmp_path):
        whole = run_graph(exported.path, events.x)
        assert run_graph(exported.path, events.x[:0]).shape == (0, 2)
        one_by_one = np.concatenate([run_graph(exported.path, events.x[i : i + 1]) for i in range(40)])
        np.testing.assert_allclose(one_by_one, whole[:40], rtol=0, atol=3e-7)


def test_an_infinite_feature_is_a_missing_one(pair: Bundle, tmp_path: Path) -> None:
    events = parity_events(pair, 50)
    missing, infinite = events.x[:50].copy(), events.x[:50].copy()
    missing[::2, 1], infinite[::4, 1], infinite[2::4, 1] = np.nan, np.inf, -np.inf
    for exported in write(pair, list(TRAINED), tmp_path, events, tmp_path):
        assert np.array_equal(run_graph(exported.path, missing), run_graph(exported.path, infinite))


def test_damage_is_found(pair: Bundle, tmp_path: Path) -> None:
    """A weight, a leaf, a knot and a face that are a little off, and scores of another event."""
    events = parity_events(pair, 500)
    for name in TRAINED:
        fitted = pair.models[name].fitted[0]
        broken = replace(pair.models[name], fitted=(_damaged(name, fitted),))
        bundle = replace(pair, models=dict(pair.models) | {name: broken})
        with pytest.raises(ModelError, match=rf"{name}.onnx: differs from pidlab by"):
            write(bundle, [name], tmp_path, events, tmp_path)
    shifted = replace(events, scores={name: np.roll(s, 1, axis=0) for name, s in events.scores.items()})
    with pytest.raises(ModelError, match="nothing was exported"):
        write(pair, ["bdt"], tmp_path, shifted, tmp_path)


def _damaged(name: str, fitted: FoldModel) -> FoldModel:
    if fitted.scaler is not None:
        fill = fitted.scaler.fill + np.array([0, 0.01, 0, 0])
        return replace(fitted, scaler=replace(fitted.scaler, fill=fill))
    estimator: Any = _copy(fitted.estimator)
    if name == "cuts":
        window = estimator.windows_[0]
        estimator.windows_ = (replace(window, level_score=window.level_score + 1e-4 * (window.level_score > 0)),)
    else:
        forest = estimator.forest()
        tree = forest.trees[3]
        estimator._scorer = Trees(
            replace(
                forest, trees=(*forest.trees[:3], replace(tree, missing_left=~tree.missing_left), *forest.trees[4:])
            )
        )
    return replace(fitted, estimator=estimator)


def _copy(estimator: Any) -> Any:
    twin = object.__new__(type(estimator))
    twin.__dict__.update(estimator.__dict__)
    return twin


class Trees:
    """Stands where the scorer of a BDT does."""

    def __init__(self, forest: Any) -> None:
        self.forest = forest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "how"),
    [(run, how) for run in ("pair", "folded") for how in ("temperature", "colder", "signal", "second")]
    + [("three", how) for how in ("temperature", "colder", "each")],
)
def test_a_calibration_is_in_the_graph(how: str, run: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    bundle: Bundle = request.getfixturevalue(run)
    calibration = CALIBRATIONS[how]
    events = parity_events(bundle, 500)
    for name in ("fisher", "bdt", "mlp"):
        contender = replace(bundle.models[name], calibration=calibration)
        raw, expected = events.scores[name], contender.scores_of(events.x, {})
        assert np.abs(raw - expected).max() > 0.05
        changed = replace(bundle, models={**bundle.models, name: contender})
        (exported,) = write(changed, [name], tmp_path, replace(events, scores={name: expected}), tmp_path)
        np.testing.assert_allclose(run_graph(exported.path, events.x), expected, rtol=0, atol=1e-5)
        assert exported.largest_difference <= 2e-6


def test_a_steep_calibration_is_held_to_each_step_and_says_so(pair: Bundle, tmp_path: Path) -> None:
    """A jump between two neighbouring scores: the last digit decides, and the export is still right."""
    events = parity_events(pair, 500)
    scores = np.unique(events.scores["mlp"][:, 1])
    x = np.sort(np.concatenate([scores[100:200], np.nextafter(scores[100:200], np.float32(2))])).astype(np.float64)
    steep = Isotonic((1,), (np.unique(x),), (np.linspace(0, 1, len(np.unique(x))),))
    contender = replace(pair.models["mlp"], calibration=steep)
    bundle = replace(pair, models={**pair.models, "mlp": contender})
    told = replace(events, scores={"mlp": contender.scores_of(events.x, {})})
    (exported,) = write(bundle, ["mlp"], tmp_path, told, tmp_path)
    assert exported.largest_difference <= 2e-6
    assert "The calibration is steep in places" in exported.note
    other = replace(contender, calibration=replace(steep, y=(steep.y[0] ** 1.01,)))
    graph = graph_of(other, {})
    onnx.save_model(graph, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="differs from pidlab"):
        _difference_in_steps("other.onnx", run_graph(tmp_path / "other.onnx", events.x), contender, events.x)


def test_the_package_that_is_missing_is_named(pair: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    events: ParityEvents = parity_events(pair, 10)
    for package in ("onnx", "onnxruntime"):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, package, None)
            with pytest.raises(UsageError, match=rf"needs? the package {package} .*pip install 'pidlab\[onnx\]'"):
                write(pair, ["bdt"], tmp_path, events, tmp_path)
