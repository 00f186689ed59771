"""ONNX models from elsewhere: scored as their own library scores them, or refused in a sentence."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_files as graphs
import pytest
import uproot
from external_samples import NAMES, applied, content, matrix, saved_run, table, write_events
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from conftest import Run
from pidlab.config.schema import OnnxModel
from pidlab.errors import ConfigError, ModelError, UsageError
from pidlab.models.external.columns import ModelMismatchError
from pidlab.models.external.onnx.model import OnnxClassifier, open_onnx
from pidlab.models.external.onnx.runtime import read_graph, why_no_gpu

CLASSES = ["electron", "pion"]
X = matrix(table(5000, 8))
LOGISTIC = {"rtol": 1e-5, "atol": 2e-7}  # onnxruntime's float32 logistic is a polynomial, good to 1e-7 of one


def opened(
    model: Any, classes: list[str] = CLASSES, signal: int = 0, features: list[str] = NAMES, **options: Any
) -> Any:
    """The columns and the model that a section with these options means."""
    bytes_ = model if isinstance(model, bytes) else model.SerializeToString()
    spec = OnnxModel(type="onnx", file="m.onnx", **options)
    return open_onnx(spec, bytes_, {name: name for name in features}, classes, signal)


def scores(model: Any, x: np.ndarray = X, **how: Any) -> np.ndarray:
    columns, classifier = opened(model, **how)
    return classifier.scores(x[:, list(columns)])


@pytest.mark.parametrize("batch", ["unk__6", 1, 7, 4096])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_dense_layer_of_keras_gives_its_probability_at_any_batch_size(batch: Any, dtype: str) -> None:
    x = X[:50] if batch == 1 else X
    found = scores(graphs.keras(batch=batch, dtype=dtype), x)
    np.testing.assert_allclose(found[:, 0], graphs.probability(x), **LOGISTIC)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("names", [["a", "b", "c"], ["c:0", "a:0", "b:0"]])
def test_one_input_a_feature_is_found_by_name(names: list[str], flat: bool) -> None:
    columns, model = opened(graphs.one_input_a_feature(names, flat))
    assert columns == tuple(NAMES.index(n[0]) for n in names)
    np.testing.assert_allclose(model.scores(X[:, list(columns)])[:, 0], graphs.probability(X), **LOGISTIC)
    by_order, _ = opened(graphs.one_input_a_feature(["a1", "b1", "c1"], flat))
    assert by_order == (0, 1, 2)
    said = OnnxModel(type="onnx", file="m.onnx", features=["a", "b", "c"])
    features = {name: name for name in ("c", "x", "b", "a")}
    model = graphs.one_input_a_feature(["a1", "b1", "c1"], flat).SerializeToString()
    assert open_onnx(said, model, features, CLASSES, 0)[0] == (3, 2, 0)


@pytest.mark.parametrize("zipmap", [True, False, "columns"])
def test_scikit_learns_label_and_probabilities_are_read(zipmap: Any) -> None:
    y = table(5000, 8)["signal"]
    theirs = LogisticRegression().fit(X, y)
    model = to_onnx(theirs, X[:1], options={"zipmap": zipmap})
    if zipmap == "columns":
        with pytest.raises(
            ModelMismatchError, match=r"several outputs could be the scores \(i0, i1\); say which: output"
        ):
            opened(model)
        found = scores(model, output="i1")[:, 0]
    else:
        found = scores(model, classes=["pion", "electron"], signal=1)[:, 1]
    np.testing.assert_allclose(found, theirs.predict_proba(X)[:, 1], **LOGISTIC)


@pytest.mark.skipif(not why_no_gpu(), reason="onnxruntime can use a GPU here")
def test_a_gpu_that_is_not_there_is_refused_and_not_needed_by_a_saved_model(tmp_path: Path) -> None:
    model, (columns, expected) = graphs.keras(), opened(graphs.keras())
    spec, features = OnnxModel(type="onnx", file="m.onnx"), {name: name for name in NAMES}
    with pytest.raises(ModelError, match=r"^device: cuda was asked for, but (this onnxruntime has no|the driver)"):
        open_onnx(spec, model.SerializeToString(), features, CLASSES, 0, "cuda")
    expected.set_params(device="cuda").save(tmp_path)  # as a run with --device cuda leaves it
    again = OnnxClassifier.load(tmp_path)
    assert again.device == "cuda"
    np.testing.assert_array_equal(again.scores(X[:, list(columns)]), expected.scores(X[:, list(columns)]))


@pytest.mark.skipif(bool(why_no_gpu()), reason="onnxruntime cannot use a GPU here")
def test_a_gpu_gives_the_scores_of_the_cpu() -> None:
    spec, features = OnnxModel(type="onnx", file="m.onnx"), {name: name for name in NAMES}
    columns, model = open_onnx(spec, graphs.keras().SerializeToString(), features, CLASSES, 0, "cuda")
    np.testing.assert_allclose(model.scores(X[:, list(columns)])[:, 0], graphs.probability(X), **LOGISTIC)


def test_labels_that_are_the_classes_names_decide_the_columns() -> None:
    theirs = LogisticRegression().fit(X, np.array(["pion", "electron"])[table(5000, 8)["signal"]])
    _, model = opened(to_onnx(theirs, X[:1]), classes=["pion", "electron"], signal=1)
    assert model.order == (1, 0)
    np.testing.assert_allclose(model.scores(X), theirs.predict_proba(X)[:, [1, 0]], **LOGISTIC)


def test_a_softmax_of_several_columns_is_taken_in_the_order_said() -> None:
    model = graphs.keras("Softmax", signs=(0.5, 0.0, -0.5))
    logits = np.outer(graphs.logit(X), [0.5, 0, -0.5])
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    three = ["electron", "pion", "kaon"]
    np.testing.assert_allclose(scores(model, classes=three), expected, rtol=1e-4)
    spec = {"type": "onnx", "file": "m", "classes": ["kaon", "muon", "electron"]}
    two = open_onnx(
        OnnxModel(**spec), model.SerializeToString(), dict(zip(NAMES, NAMES, strict=True)), ["electron", "kaon"], 0
    )
    np.testing.assert_allclose(two[1].scores(X), expected[:, [2, 0]], rtol=1e-4)


def test_logits_go_through_sigmoid_or_softmax_and_scores_stay() -> None:
    one, two = graphs.keras("Identity"), graphs.keras("Identity", signs=(0.5, -0.5))
    np.testing.assert_allclose(scores(one, gives="logit")[:, 0], graphs.probability(X), rtol=1e-4)
    np.testing.assert_allclose(scores(two, gives="logit")[:, 0], graphs.probability(X), rtol=1e-4)
    found = scores(one, gives="score")
    np.testing.assert_allclose(found[:, 0], graphs.logit(X), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found[:, 1], -found[:, 0])
    assert opened(one, gives="score")[1].probability is False
    with pytest.raises(
        ModelError, match=r"gives values from -\d.* to \d.*, which are no probabilities; say gives: logit"
    ):
        scores(one)


def test_of_three_classes_a_single_column_scores_the_signal_only() -> None:
    _, model = opened(graphs.keras(), classes=["pion", "electron", "kaon"], signal=1)
    found = model.scores(X)
    assert model.one_sided
    assert np.isnan(found[:, [0, 2]]).all()
    np.testing.assert_allclose(found[:, 1], graphs.probability(X), **LOGISTIC)


def test_missing_values_go_in_as_nan_or_as_said() -> None:
    x = X.copy()
    x[::3, 1] = np.nan
    assert np.array_equal(np.isnan(scores(graphs.keras(), x)[:, 0]), np.isnan(x[:, 1]))
    filled = np.where(np.isnan(x), np.float32(-2.5), x)
    np.testing.assert_allclose(scores(graphs.keras(), x, missing=-2.5)[:, 0], graphs.probability(filled), **LOGISTIC)


@pytest.mark.slow
def test_a_score_does_not_depend_on_what_is_scored_beside_it() -> None:
    from sklearn.ensemble import RandomForestClassifier

    theirs = RandomForestClassifier(40, random_state=1).fit(X, table(5000, 8)["signal"])
    _, model = opened(to_onnx(theirs, X[:1]))
    whole = model.scores(X)
    for rows in (slice(0, 1), slice(17, 18), slice(4090, 4100), slice(100, 4999)):
        np.testing.assert_array_equal(model.scores(X[rows]), whole[rows])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).scores(X[:10]), whole[:10])


def test_a_score_is_the_same_to_the_last_bit_with_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run scores in several threads and a friend tree in one: thresholds and steps of a calibration lie on scores."""
    from sklearn.ensemble import RandomForestClassifier

    theirs = RandomForestClassifier(30, max_depth=6, random_state=1).fit(X, table(5000, 8)["signal"])
    _, model = opened(to_onnx(theirs, X[:1]))
    x = np.tile(X, (4, 1))
    found = []
    for n_threads in (1, 2, 3):
        monkeypatch.setattr("pidlab.models.external.onnx.runtime.allowed_threads", lambda n=n_threads: n)
        found.append(pickle.loads(pickle.dumps(model)).scores(x))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


REFUSED: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "no onnx": (lambda: b"this is no protobuf", {}, "is not a whole ONNX file"),
    "empty": (lambda: b"", {}, "is not a whole ONNX file (it has no output)"),
    "cut short": (lambda: graphs.keras().SerializeToString()[:-40], {}, "is not a whole ONNX file"),
    "weights outside": (lambda: graphs.keeping_weights_outside("/etc/passwd"), {}, "keeps its weights in another file"),
    "python operator": (lambda: graphs.with_operator_of("ai.onnx.contrib"), {}, "'Sigmoid' of 'ai.onnx.contrib'"),
    "integers": (lambda: graphs.with_shapes(["n", 3], "int64"), {}, "its input 'x' is int64"),
    "images": (lambda: graphs.with_shapes(["n", 3, 2]), {}, "has the shape (n, 3, 2); (n, d) is d features"),
    "four features": (lambda: graphs.with_shapes(["n", 4]), {}, "takes 4 features, the configuration has 3 (a, b, c)"),
    "two listed": (graphs.keras, {"features": ["a", "b"]}, "takes 3 features; 2 are listed"),
    "unknown listed": (graphs.keras, {"features": ["a", "b", "cc"]}, "'cc' is none of the features; did you mean 'c'"),
    "no such output": (graphs.keras, {"output": "densee"}, "no output 'densee'; did you mean 'dense'?"),
    "no such number": (graphs.keras, {"output": 3}, "numbered 0 to 0 (dense)"),
    "three columns": (lambda: graphs.keras("Softmax", signs=(1, 0, -1)), {}, "gives 3 columns for 2 classes"),
    "an unnamed class": (
        lambda: graphs.keras("Softmax", signs=(1, 0)), {"classes": ["electron", "kaon"]}, "the class 'pion' must be",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_in_a_sentence(case: str) -> None:
    make, options, said = REFUSED[case]
    spec = OnnxModel(type="onnx", file="m.onnx", **options)
    model = make()
    bytes_ = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(ModelMismatchError, match=re.escape(said)):
        open_onnx(spec, bytes_, {name: name for name in NAMES}, CLASSES, 0)


@given(position=st.integers(0, 10_000), byte=st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_is_read_or_refused_but_never_raises_anything_else(position: int, byte: int) -> None:
    damaged = bytearray(graphs.keras().SerializeToString())
    damaged[position % len(damaged)] = byte
    try:
        graph = read_graph(bytes(damaged))
    except ModelMismatchError:
        return
    assert graph.outputs


def test_mistakes_are_said_with_their_place_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(graphs.keras().SerializeToString())
    (tmp_path / "int.onnx").write_bytes(graphs.with_shapes(["n", 3], "int64").SerializeToString())
    models = {
        "lost": {"type": "onnx", "file": "nowhere.onnx"},
        "folder": {"type": "onnx", "file": "."},
        "ints": {"type": "onnx", "file": "int.onnx"},
        "typo": {"type": "onnx", "file": "m.onnx", "output": "p"},
    }
    with pytest.raises(ConfigError) as caught:  # there is no events.root either
        saved_run(tmp_path, models)
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        *("models.lost.file", "models.folder.file", "models.ints.file", "models.typo.output")
    ]
    assert "no such file; the path is relative to the configuration" in lines[0]


def test_a_ranking_the_wrong_way_round_is_noticed(tmp_path: Path) -> None:
    write_events(tmp_path)
    (tmp_path / "m.onnx").write_bytes(graphs.keras(factor=-1.0).SerializeToString())
    results, bundle = saved_run(tmp_path, {"turned": {"type": "onnx", "file": "m.onnx"}}, folds=3)
    assert "ranks the signal below the rest" in results.models["turned"].note
    friend = applied(bundle, tmp_path)
    x = matrix(table(2400, 1))
    np.testing.assert_allclose(friend["pid_turned"], 1 - graphs.probability(x), rtol=1e-4)


def test_a_whole_run_and_then_apply_without_the_file_that_was_given(tmp_path: Path, pidlab: Run) -> None:
    write_events(tmp_path)
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "theirs.onnx").write_bytes(graphs.keras().SerializeToString())
    estimator = "sklearn.ensemble.RandomForestClassifier"
    models = {
        "theirs": {"type": "onnx", "file": "given/theirs.onnx"},
        "forest": {"type": "sklearn", "estimator": estimator, "parameters": {"n_estimators": 30, "max_depth": 6}},
    }
    with (tmp_path / "analysis.yaml").open("w") as file:
        YAML().dump(content(models), file)
    done = pidlab("run", "analysis.yaml", "-o", "run", "--figures", "none")
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in models)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert len(metrics["comparisons"]) == 1
    assert "trained elsewhere" in metrics["models"]["theirs"]["note"]
    shutil.rmtree(tmp_path / "given")
    shutil.move(tmp_path / "run", tmp_path / "moved")
    again = pidlab("apply", "moved", "events.root", "-o", "applied")
    assert again.returncode == 0, again.stderr
    trees = [uproot.open(p)["T_pid"].arrays(library="np") for p in (
        tmp_path / "moved" / "friends" / "events_pid.root", tmp_path / "applied" / "events_pid.root"
    )]  # fmt: skip
    for name in models:
        np.testing.assert_array_equal(trees[0][f"pid_{name}"], trees[1][f"pid_{name}"])
    np.testing.assert_allclose(trees[1]["pid_theirs"], graphs.probability(matrix(table(2400, 1))), **LOGISTIC)


def test_a_damaged_run_says_so(tmp_path: Path) -> None:
    _, model = opened(graphs.keras())
    model.save(tmp_path)
    assert OnnxClassifier.load(tmp_path).scores(X[:3]).shape == (3, 2)
    (tmp_path / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="holds no whole model in ONNX"):
        OnnxClassifier.load(tmp_path)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(ModelError, match="does not describe a model in ONNX"):
        OnnxClassifier.load(tmp_path)


def test_without_the_extra_the_command_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"pip install 'pidlab\[onnx\]'"):
        opened(graphs.keras())


def _graph(nodes: list[Any], constants: dict[str, np.ndarray] | None = None) -> Any:
    """A graph of (n, 4) features x to y (n, 1), made of `nodes`."""
    given = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", len(NAMES)])
    gives = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 1])
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    made = onnx.helper.make_graph(nodes, "g", [given], [gives], tensors)
    return onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def endless() -> Any:
    """A loop whose condition is always true and whose count is the largest there is."""
    node, tensor, kind = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.TensorProto
    body = onnx.helper.make_graph(
        [node("Identity", ["go_in"], ["go"]), node("Identity", ["y_in"], ["y_out"])],
        "body",
        [tensor("i", kind.INT64, []), tensor("go_in", kind.BOOL, []), tensor("y_in", kind.FLOAT, None)],
        [tensor("go", kind.BOOL, []), tensor("y_out", kind.FLOAT, None)],
    )
    nodes = [
        node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1),
        node("Loop", ["count", "always", "m"], ["y0"], body=body),
        node("Sigmoid", ["y0"], ["y"]),
    ]
    return _graph(nodes, {"count": np.array(2**62), "always": np.array(True)})


def test_a_loop_without_an_end_ends_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pidlab.models.external.onnx.runtime.LONGEST", 1.0)
    start = time.monotonic()
    with pytest.raises(ModelError, match="does not end within 1 s on 4,096 events; does it have an endless loop"):
        opened(endless())
    assert time.monotonic() - start < 10


def test_a_loop_hears_ctrl_c() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a process of pytest-xdist ignores it
    try:
        threading.Timer(1.0, signal.raise_signal, [signal.SIGINT]).start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            opened(endless())
        assert time.monotonic() - start < 10
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_model_that_draws_random_numbers_is_refused() -> None:
    node = onnx.helper.make_node
    nodes = [
        node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1),
        node("RandomUniformLike", ["m"], ["y"], low=0.0, high=1.0),
    ]
    with pytest.raises(
        ModelError,
        match="draws random numbers \\(RandomUniformLike\\), so that a score would not come out twice the same",
    ):
        opened(_graph(nodes))


def test_a_model_that_looks_at_the_other_events_is_refused() -> None:
    node = onnx.helper.make_node
    nodes = [
        node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        node("Sub", ["x", "mean"], ["centred"]),
        node("ReduceMean", ["centred"], ["m"], axes=[1], keepdims=1),
        node("Sigmoid", ["m"], ["y"]),
    ]
    with pytest.raises(ModelError, match="gives an event another score when it is scored together with other events"):
        opened(_graph(nodes))
