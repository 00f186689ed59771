"""TMVA's weight files: every method gives the value of its formula, and a damaged or unread file says so."""

from __future__ import annotations

import contextlib
import itertools
import math
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tmva_files as tmva
from external_samples import applied, matrix, saved_run, table, write_events
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from pidlab.errors import ConfigError
from pidlab.models.external.columns import ModelMismatchError
from pidlab.models.external.tmva.file import read_weight_file, transformed
from pidlab.models.external.tmva.methods import read_method
from pidlab.models.external.tmva.model import TmvaClassifier

ADA = {"BoostType": "AdaBoost", "UseYesNoLeaf": "True", "DoPreselection": "False"}
NAMES = ("a", "b", "c")


def value(content: bytes, x: np.ndarray) -> np.ndarray:
    return TmvaClassifier(content, 2, 0).values(np.asarray(x, np.float32))


def trees(seed: int, n: int = 20, depth: int = 4) -> tuple[list[tmva.Tree], list[float]]:
    rng = np.random.default_rng(seed)
    return [tmva.random_tree(rng, depth) for _ in range(n)], [float(np.float32(w)) for w in rng.uniform(0.1, 1.5, n)]


def network(seed: int, sizes: tuple[int, ...] = (3, 5, 4, 1)) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(a + 1, b)).astype(np.float32).astype(float) for a, b in itertools.pairwise(sizes)]


@pytest.mark.parametrize("leaf", ["True", "False"])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_adaboost_is_the_mean_of_leaves_weighted_by_tree(leaf: str, seed: int) -> None:
    forest, weights = trees(seed)
    x = np.round(np.random.default_rng(seed + 1).normal(size=(50, 3)), 1)
    found = value(tmva.weight_file("BDT", tmva.forest(forest, weights), ADA | {"UseYesNoLeaf": leaf}), x)
    key = "nType" if leaf == "True" else "purity"
    for event, each in zip(x, found, strict=True):
        leaves = [tmva.leaf_of(tree, event)[key] for tree in forest]
        expected = sum(w * v for w, v in zip(weights, leaves, strict=True)) / sum(weights)
        assert each == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_bagging_counts_trees_alike_when_the_file_says_so() -> None:
    forest, weights = trees(3)
    x = matrix(table(40, 1))
    alike = value(
        tmva.weight_file(
            "BDT", tmva.forest(forest, weights), ADA | {"UseWeightedTrees": "False", "BoostType": "Bagging"}
        ),
        x,
    )
    expected = [np.mean([tmva.leaf_of(tree, event)["nType"] for tree in forest]) for event in x]
    np.testing.assert_allclose(alike, expected, rtol=1e-12, atol=1e-15)


def test_gradient_boosting_is_a_logistic_of_the_summed_responses() -> None:
    forest, _ = trees(5, n=60)
    x = matrix(table(300, 2))
    found = value(tmva.weight_file("BDT", tmva.forest(forest, [0.3] * 60, 1), {"BoostType": "Grad"}), x)
    sums = [sum(tmva.leaf_of(tree, event)["res"] for tree in forest) for event in x]
    np.testing.assert_allclose(found, [2 / (1 + math.exp(-2 * s)) - 1 for s in sums], rtol=1e-12, atol=1e-14)
    assert found.min() < -0.5 < 0.5 < found.max()


def test_an_event_on_a_cut_goes_right_and_a_missing_one_where_the_comparison_is_false() -> None:
    leaves = {"left": {"nType": -1, "purity": 0, "res": 0}, "right": {"nType": 1, "purity": 1, "res": 0}}
    for kind, on_cut, missing in ((1, 1.0, -1.0), (0, -1.0, 1.0)):
        tree = {"variable": 0, "cut": float(np.float32(0.1)), "type": kind, **leaves}
        content = tmva.weight_file("BDT", tmva.forest([tree], [1.0]), ADA)
        found = value(
            content, np.array([[0.1, 0, 0], [np.nextafter(np.float32(0.1), np.float32(0)), 0, 0], [np.nan, 0, 0]])
        )
        assert found.tolist() == [on_cut, -on_cut, missing]
        filled = TmvaClassifier(content, 2, 0, missing=0.1).values(np.array([[np.nan, 0, 0]], np.float32))
        assert filled.tolist() == [on_cut]


def _activation(name: str, x: float) -> float:
    return {
        "tanh": math.tanh(x),
        "sigmoid": 1 / (1 + math.exp(-x)),
        "radial": math.exp(-x * x / 2),
        "ReLU": max(x, 0.0),
        "linear": x,
    }[name]


@pytest.mark.parametrize("neuron", ["tanh", "sigmoid", "radial", "ReLU", "linear"])
@pytest.mark.parametrize("estimator", ["CE", "MSE"])
def test_a_network_is_the_activations_of_the_synapses_sums(neuron: str, estimator: str) -> None:
    weights = network(7)
    options = {"NeuronType": neuron, "NeuronInputType": "sum", "EstimatorType": estimator}
    x = matrix(table(60, 3))
    found = value(tmva.weight_file("MLP", tmva.layout(weights), options, release="4.2.0 [262656]"), x)
    for event, each in zip(x, found, strict=True):
        values = [float(v) for v in event]
        for number, layer in enumerate(weights):
            sums = [sum(v * w for v, w in zip([*values, 1.0], column, strict=True)) for column in layer.T]
            last = number == len(weights) - 1
            kind = ("sigmoid" if estimator == "CE" else "linear") if last else neuron
            values = [_activation(kind, s) for s in sums]
        assert each == pytest.approx(values[0], rel=1e-9, abs=1e-12)


def test_since_4_2_1_tanh_is_tmvas_fast_one() -> None:
    options = {"NeuronType": "tanh", "EstimatorType": "MSE"}
    one = [np.array([[1.0], [0.0], [0.0], [0.0]]), np.array([[1.0], [0.0]])]
    x = np.zeros((401, 3))
    x[:, 0] = np.linspace(-8, 8, 401)
    old, new = (
        value(tmva.weight_file("MLP", tmva.layout(one), options, release=r), x)
        for r in ("4.2.0 [262656]", "4.2.1 [262657]")
    )
    np.testing.assert_allclose(old, np.tanh(x[:, 0].astype(np.float32).astype(float)), rtol=1e-12)
    assert 1e-6 < np.abs(new - old).max() < 1.2e-4
    assert set(new[np.abs(x[:, 0]) > 4.98]) == {-1.0, 1.0}


@pytest.mark.parametrize("method", ["Fisher", "LD"])
def test_linear_discriminants_are_sums(method: str) -> None:
    x = matrix(table(50, 4))
    content = tmva.weight_file(method, tmva.coefficients([0.25, 1.5, -2.0, 0.125], method), {})
    expected = 0.25 + x.astype(float) @ [1.5, -2.0, 0.125]
    np.testing.assert_allclose(value(content, x), expected, rtol=1e-12, atol=1e-14)


def test_variables_are_normalised_and_decorrelated_with_the_numbers_for_all_classes() -> None:
    x = matrix(table(2000, 5))
    covariance = np.cov(x.astype(float), rowvar=False)
    whitening = np.real(np.linalg.inv(sqrtm(covariance)))
    wrong = np.eye(3)
    deco = tmva.decorrelation([wrong, wrong, whitening], NAMES)
    rotated = (x.astype(float) @ whitening.T).astype(np.float32)
    ranges = [(float(c.min()), float(c.max())) for c in rotated[:, [2, 0]].T]
    norm = tmva.normalisation([[(0, 1)] * 2, [(0, 2)] * 2, ranges], ["c", "a"])  # two of them, in another order
    file = read_weight_file(
        tmva.weight_file("Fisher", tmva.coefficients([0, 1, 1, 1]), {}, transformations=[deco, norm])
    )
    found = transformed(x, file.transformations)
    np.testing.assert_allclose(found[:, 1], rotated[:, 1], rtol=1e-5, atol=1e-6)
    for j in (0, 2):
        assert (found[:, j].min(), found[:, j].max()) == pytest.approx((-1, 1), rel=1e-5)
    np.testing.assert_allclose(np.cov(file.transformations[0](x), rowvar=False), np.eye(3), atol=1e-5)
    np.testing.assert_allclose(read_method(file)(found), found.astype(float).sum(axis=1), rtol=1e-12)


REFUSED: dict[str, tuple[bytes, str]] = {
    "regression": (tmva.weight_file("BDT", "<Weights/>", {}, analysis="Regression"), "Regression"),
    "likelihood": (tmva.weight_file("Likelihood", "<Weights/>", {}), "'Likelihood'; BDT, MLP, Fisher, LD are read"),
    "real adaboost": (
        tmva.weight_file("BDT", "<Weights/>", {"BoostType": "RealAdaBoost"}),
        "AdaBoost, Bagging and Grad",
    ),
    "preselection": (tmva.weight_file("BDT", "<Weights/>", ADA | {"DoPreselection": "True"}), "DoPreselection"),
    "gauss": (
        tmva.weight_file("LD", "<Weights/>", {}, transformations=['<Transform Name="Gauss"/>']),
        "'Gauss'; Normalize and Decorrelation",
    ),
    "neurons": (tmva.weight_file("MLP", "<Weights/>", {"NeuronType": "cubic"}), "type 'cubic'"),
    "sqsum": (tmva.weight_file("MLP", "<Weights/>", {"NeuronInputType": "sqsum"}), "'sqsum'; sum is read"),
    "no xml": (b"\x00\x01 nothing", "no XML"),
    "cut short": (tmva.weight_file("Fisher", tmva.coefficients([0, 1, 1, 1]), {})[:900], "no XML"),
    "another xml": (b"<html><body/></html>", "begins with <html>"),
    "entities": (
        b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><MethodSetup Method="&b;"/>',
        "DOCTYPE",
    ),
    "deep": (b"<a>" * 1000 + b"</a>" * 1000, "300 deep"),
    "few coefficients": (tmva.weight_file("Fisher", tmva.coefficients([0, 1]), {}), "2 coefficients for 3 variables"),
    "no number": (
        tmva.weight_file("Fisher", tmva.coefficients([0, 1, 1, math.nan]), {}),
        "Value='nan' of <Coefficient> is no number",
    ),
    "layers": (tmva.weight_file("MLP", tmva.layout(network(1, (2, 3, 1))), {}), "do not go with 3 variables"),
    "no weights": (tmva.weight_file("Fisher", "", {}), "has no <Weights>"),
    "a tree short": (
        tmva.weight_file("BDT", tmva.forest(*trees(1)).replace('NTrees="20"', 'NTrees="21"'), ADA),
        "20 trees of 21",
    ),
    "fisher cut": (
        tmva.weight_file("BDT", tmva.forest(*trees(1)).replace('NCoef="0"', 'NCoef="4" fC0="1"', 1), ADA),
        "UseFisherCuts",
    ),
    "unknown variable": (
        tmva.weight_file("BDT", tmva.forest([{**_tree, "variable": 7} for _tree in trees(8)[0][:1]], [1.0]), ADA),
        "variable 7",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_read_is_refused_in_a_sentence(case: str) -> None:
    content, said = REFUSED[case]
    with pytest.raises(ModelMismatchError, match=re.escape(said)):
        value(content, np.zeros((1, 3)))


@given(position=st.integers(0, 10_000), byte=st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_never_raises_anything_else(position: int, byte: int) -> None:
    whole = tmva.weight_file(
        "MLP",
        tmva.layout(network(2)),
        {"NeuronType": "ReLU"},
        transformations=[tmva.normalisation([[(0, 1)] * 3], NAMES)],
    )
    damaged = bytearray(whole)
    damaged[position % len(whole)] = byte
    with contextlib.suppress(ModelMismatchError):
        assert value(bytes(damaged), np.zeros((2, 3))).shape == (2,)


# Whole runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tmva")
    write_events(folder, missing=0.05)
    # Order and names differ from the configuration's: "a" by its expression, "c" by its label.
    variables = [("lumi*c", "c"), ("a", "first"), ("b", "b")]
    fisher = tmva.coefficients([0.1, 0.5, 1.2, -0.8])
    (folder / "fisher.xml").write_bytes(tmva.weight_file("Fisher", fisher, {}, variables))
    (folder / "bdt.xml").write_bytes(tmva.weight_file("BDT", tmva.forest(*trees(11)), ADA))
    (folder / "mlp.xml").write_bytes(tmva.weight_file("MLP", tmva.layout(network(4)), {"EstimatorType": "CE"}))
    return folder


def test_a_run_compares_them_and_keeps_their_own_values(folder: Path) -> None:
    models: dict[str, Any] = {
        "theirs": {"type": "tmva", "file": "fisher.xml", "missing": 0},
        "trees": {"type": "tmva", "file": "bdt.xml"},
        "net": {"type": "tmva", "file": "mlp.xml", "features": ["a", "b", "c"]},
        "bdt": {"type": "bdt", "n_estimators": 20},
    }
    results, bundle = saved_run(folder, models, folds=2)
    theirs = results.models["theirs"]
    assert "trained elsewhere" in theirs.note
    assert "no probability" in theirs.note
    assert theirs.training is None
    assert theirs.calibration is None
    assert theirs.samples["test"].auc.value > 0.75
    assert theirs.samples["test"].threshold == theirs.working_points[0].threshold
    assert "missing: VALUE" in results.models["net"].note
    assert {(c.a, c.b) for c in results.comparisons} >= {("theirs", "bdt"), ("trees", "net")}
    friend = applied(bundle, folder)
    x = matrix(table(2400, 1, 0.05))
    filled = np.nan_to_num(x[:, [2, 0, 1]], nan=0).astype(float)
    np.testing.assert_allclose(friend["pid_theirs"], 0.1 + filled @ [0.5, 1.2, -0.8], rtol=1e-5, atol=1e-6)
    forest, weights = trees(11)
    some = range(0, 2400, 97)
    votes = [np.average([tmva.leaf_of(t, x[i])["nType"] for t in forest], weights=weights) for i in some]
    np.testing.assert_allclose(friend["pid_trees"][list(some)], votes, rtol=1e-6, atol=1e-7)
    assert np.array_equal(np.isnan(friend["pid_net"]), np.isnan(x[:, 2]))
    assert (folder / "run" / "models" / "trees" / "fold0" / "model.xml").read_bytes() == (
        folder / "bdt.xml"
    ).read_bytes()


def test_what_does_not_go_with_the_configuration_is_said_with_its_place(folder: Path) -> None:
    models = {
        "lost": {"type": "tmva", "file": "nowhere.xml"},
        "other": {"type": "tmva", "file": "fisher.xml", "features": ["a", "b"]},
        "typo": {"type": "tmva", "file": "fisher.xml", "features": ["a", "b", "cc"]},
    }
    with pytest.raises(ConfigError) as caught:
        saved_run(folder, models)
    text = str(caught.value)
    assert "models.lost.file" in text
    assert "nowhere.xml: no such file" in text
    assert "models.other.features: " in text
    assert "takes 3 features; 2 are listed" in text
    assert "'cc' is none of the features; did you mean" in text
    with pytest.raises(ConfigError, match="the model's input 'c' is neither name nor expression"):
        saved_run(folder, {"trees": {"type": "tmva", "file": "bdt.xml"}}, features=["a", "b"])


def test_a_count_that_the_file_only_claims_fills_no_memory() -> None:
    text = tmva.weight_file("BDT", tmva.forest(*trees(1)), ADA)
    text = text.decode() if isinstance(text, bytes) else text
    claimed, n = re.subn(r'NVar="\d+"', 'NVar="1000000000"', text)
    assert n
    tracemalloc.start()
    try:
        with pytest.raises(ModelMismatchError, match="1000000000 of <Variable> are announced"):
            read_weight_file(claimed.encode())
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
