"""ONNX graphs of models made on the spot: every activation, scaling, kind of tree and calibration, and odd values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from exported_runs import CALIBRATIONS, config
from pidlab.config.load import check_config
from pidlab.export.onnx.graph import graph_of, run_graph
from pidlab.export.onnx.models import calibrated
from pidlab.export.onnx.nodes import GraphBuilder
from pidlab.models.bdt.estimator import BDT
from pidlab.models.fisher import Fisher
from pidlab.models.fold import FoldModel
from pidlab.models.mlp.engine.layers import ACTIVATIONS
from pidlab.models.mlp.estimator import MLP
from pidlab.models.mlp.network import DenseNetwork
from pidlab.models.model import Model
from pidlab.preprocess.recipe import compile_recipe
from pidlab.preprocess.scaling import Method, Scaler, fit_scaler

RNG = np.random.default_rng(3)


RECIPES = {
    k: compile_recipe(check_config(config(k, {"any": {"type": "fisher"}}), {}, Path("analysis.yaml"))) for k in (2, 3)
}


def alone(n_classes: int, kind: str, *fitted: FoldModel) -> Model:
    """A contender with these models."""
    return Model("any", kind, RECIPES[n_classes], fitted, None, None)


def by_graph(contender: Model, x: NDArray[np.float32], path: Path) -> NDArray[np.float32]:
    onnx.save_model(graph_of(contender, {}), path)
    return run_graph(path, x)


def table(n: int = 400) -> NDArray[np.float32]:
    """Four features: heavy tails, missing values, a large offset, few values; and rows that are far from all others."""
    x = np.stack(
        [RNG.standard_cauchy(n), RNG.normal(size=n), 1e6 + RNG.exponential(3, n), RNG.integers(0, 3, n)], axis=1
    )
    x = x.astype(np.float32)
    x[RNG.uniform(size=n) < 0.1, 1] = np.nan
    x[:4] = [[1e30] * 4, [-1e30] * 4, [0] * 4, [np.nan] * 4]
    return x


def network(d: int, hidden: Sequence[int], k: int, activation: str) -> DenseNetwork:
    pieces, shapes, n_in = ACTIVATIONS[activation].pieces, [], d
    for width in hidden:
        shapes.append((pieces * width, n_in))
        n_in = width
    shapes.append((1 if k == 2 else k, n_in))
    weights = tuple(RNG.normal(0, 1.5 / np.sqrt(n), (m, n)).astype(np.float32) for m, n in shapes)
    return DenseNetwork(weights, tuple(RNG.normal(size=m).astype(np.float32) for m, _ in shapes), activation)


def mlp_of(*networks: DenseNetwork) -> MLP:
    mlp = MLP()
    mlp.networks_, mlp.classes_ = networks, np.arange(max(2, networks[0].n_outputs))
    mlp.n_features_in_ = networks[0].n_inputs
    return mlp


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation: str, n_classes: int, tmp_path: Path) -> None:
    x = table()
    scaler = fit_scaler(x[4:], "quantile")
    nets = [network(5, hidden, n_classes, activation) for hidden in ([16, 9], [16, 9])]
    fitted = FoldModel((0, 1, 2, 3), scaler, mlp_of(*nets))
    contender = alone(n_classes, "mlp", fitted)
    found = by_graph(contender, x, tmp_path / "net.onnx")
    np.testing.assert_allclose(found, fitted.scores(x), rtol=0, atol=1e-6)


def test_a_network_without_hidden_layers_on_some_of_the_features(tmp_path: Path) -> None:
    x = table()
    fitted = FoldModel((2, 0), fit_scaler(x[4:, [2, 0]], "robust"), mlp_of(network(2, [], 2, "tanh")))
    found = by_graph(alone(2, "mlp", fitted), x, tmp_path / "net.onnx")
    np.testing.assert_allclose(found, fitted.scores(x), rtol=0, atol=1e-6)
    assert not np.isnan(found[4:]).any()


def test_a_value_beyond_float32_when_scaled_has_no_score(tmp_path: Path) -> None:
    x = np.zeros((3, 4), np.float32)
    x[:2, 0] = 1e-25, 1e30
    fitted = FoldModel((0, 1, 2, 3), fit_scaler(x[[0, 2]], "minmax"), mlp_of(network(4, [6], 2, "tanh")))
    with np.errstate(over="ignore"):
        expected = fitted.scores(x)
    assert np.array_equal(np.isnan(expected[:, 0]), [False, True, False])
    np.testing.assert_allclose(by_graph(alone(2, "mlp", fitted), x, tmp_path / "far.onnx"), expected, rtol=0, atol=1e-6)


class Inputs(Fisher):
    """Shows what the scaling gives: the logistic function of one of its columns."""

    def __init__(self, column: int = 0, d: int = 5) -> None:
        self.coefficients_, self.intercept_ = np.eye(d)[[column]], np.zeros(1)
        self.classes_, self.n_features_in_ = np.arange(2), d


@pytest.mark.parametrize("method", ["none", "minmax", "standard", "robust", "quantile"])
def test_every_scaling_to_the_last_bits(method: Method, tmp_path: Path) -> None:
    x = table()
    scaler = fit_scaler(x[4:], method)
    for column in range(5):
        fitted = FoldModel((0, 1, 2, 3), scaler, Inputs(column))
        found = by_graph(alone(2, "fisher", fitted), x, tmp_path / "scaling.onnx")
        np.testing.assert_allclose(found, fitted.scores(x), rtol=3e-7, atol=1e-37)


@settings(max_examples=25, deadline=None)
@given(
    knots=st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=9, unique=True), min_size=4, max_size=4
    ),
    seed=st.integers(0, 1000),
)
def test_a_broken_line_through_any_knots(
    knots: list[list[float]], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(seed)
    rows = tuple(np.sort(np.array(k, np.float64)) for k in knots)
    scaler = Scaler(rows, tuple(np.sort(rng.normal(size=len(k))) for k in rows), True, rng.normal(size=4), (0, 2))
    x = np.concatenate([rng.choice(row, 30) for row in rows]).reshape(4, 30).T.astype(np.float32)
    x = np.concatenate([x, np.nextafter(x, np.float32(np.inf)), x + 1, np.full((1, 4), np.nan, np.float32)])
    mlp = mlp_of(network(6, [4], 2, "tanh"))
    fitted = FoldModel((0, 1, 2, 3), scaler, mlp)
    found = by_graph(alone(2, "mlp", fitted), x, tmp_path_factory.mktemp("line") / "line.onnx")
    np.testing.assert_allclose(found, fitted.scores(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "parameters",
    [{}, {"num_parallel_tree": 3}, {"base_score": 0.3}, {"max_leaves": 2, "grow_policy": "lossguide"}],
    ids=["plain", "parallel", "base_score", "stumps"],
)
def test_trees_of_every_kind(n_classes: int, parameters: dict[str, Any], tmp_path: Path) -> None:
    """On a grid of few values every threshold is met exactly, from both sides and with missing values."""
    x = RNG.integers(-3, 4, (800, 4)).astype(np.float32)
    x[RNG.uniform(size=x.shape) < 0.15] = np.nan
    y = np.digitize(np.nansum(x, axis=1) + RNG.normal(size=len(x)), [0.0, 3.0][: n_classes - 1])
    bdt = BDT(n_estimators=25, max_depth=4, parameters=parameters, device="cpu", n_jobs=1).fit(x, y)
    fitted = FoldModel((0, 1, 2, 3), None, bdt)
    contender = alone(n_classes, "bdt", fitted)
    edges = np.concatenate([t.threshold[t.left >= 0] for t in bdt.forest().trees])
    around = np.concatenate([edges, np.nextafter(edges, np.float32(-np.inf)), [np.nan, 1e30, -1e30]]).astype(np.float32)
    probes = np.concatenate([x, RNG.choice(around, (2000, 4))])
    np.testing.assert_allclose(
        by_graph(contender, probes, tmp_path / "b.onnx"), fitted.scores(probes), rtol=0, atol=1e-6
    )


def test_a_thousand_trees_stay_within_a_millionth(tmp_path: Path) -> None:
    x = RNG.normal(size=(1500, 4)).astype(np.float32)
    bdt = BDT(n_estimators=1000, max_depth=3, device="cpu", n_jobs=1).fit(x, x[:, 0] * x[:, 1] > RNG.normal(size=1500))
    fitted = FoldModel((0, 1, 2, 3), None, bdt)
    found = by_graph(alone(2, "bdt", fitted), x, tmp_path / "b.onnx")
    np.testing.assert_allclose(found, fitted.scores(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("how", CALIBRATIONS)
def test_a_calibration_of_any_scores(how: str, tmp_path: Path) -> None:
    """Certainty, no score, and scores that the lines take to nothing."""
    k = 3 if how == "each" else 2
    scores = RNG.dirichlet(np.ones(k), 200).astype(np.float32)
    scores[0], scores[1], scores[2] = np.eye(k)[0], np.nan, 0.05
    graph = GraphBuilder()
    onnx.save_model(
        graph.model({"scores": (calibrated(graph, graph.features, CALIBRATIONS[how], k), k)}, k, {}),
        tmp_path / "c.onnx",
    )
    found, expected = run_graph(tmp_path / "c.onnx", scores), CALIBRATIONS[how].apply(scores)
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(np.delete(found, 1, axis=0), np.delete(expected, 1, axis=0), rtol=2e-6, atol=1e-30)
    assert np.isfinite(np.delete(found, 1, axis=0)).all()


def test_small_probabilities_keep_their_precision(tmp_path: Path) -> None:
    x = np.zeros((61, 4), np.float32)
    x[:, 0] = np.linspace(-30, 30, 61)
    fitted = FoldModel((0, 1, 2, 3), fit_scaler(x, "none"), Inputs(0, 4))
    found = by_graph(alone(2, "fisher", fitted), x, tmp_path / "p.onnx")
    np.testing.assert_allclose(found[:, 1], 1 / (1 + np.exp(-x[:, 0].astype(np.float64))), rtol=1e-6, atol=0)
