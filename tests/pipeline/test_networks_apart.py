"""A run whose networks another process trains: when that process ends, and what happens if another model fails."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import write_tree
from pidlab.config.load import load_config
from pidlab.errors import ModelError
from pidlab.models.mlp.process import NetworkProcess, network_process
from pidlab.models.registry import Resources
from pidlab.pipeline import analysis, run
from pidlab.progress import Watcher

CONFIG = """\
data: {files: small.root}
classes: {electron: "y == 1", pion: "y == 0"}
features: [a, b]
models:
  cuts: {type: cuts}
  one: {type: mlp, epochs: 1000000, patience: 1000000}
  other: {type: mlp, epochs: 1000000, patience: 1000000}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration, whose networks are trained by a process in spite of a torch that is here."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 2000).astype(np.int32)
    write_tree(tmp_path / "small.root", {"a": rng.normal(y).astype("f4"), "b": rng.normal(y / 2).astype("f4"), "y": y})
    (tmp_path / "a.yaml").write_text(CONFIG)
    monkeypatch.setattr(sys.modules["pidlab.pipeline.run"], "networks_train_apart", lambda *_: True)
    return tmp_path


@pytest.mark.slow
def test_the_process_ends_with_the_training(place: Path) -> None:
    there: dict[str, bool] = {}

    class Looking(Watcher):
        def stage(self, name: str) -> None:
            there[name] = network_process() is not None

    few = ["models.one.epochs=2", "models.other.epochs=2", "models.cuts=null", "evaluate.importance=false"]
    run(load_config(place / "a.yaml", few), place / "out", Resources(), Looking(), figures="none")
    assert there == {"load": True, "preprocess": True, "train": True, "evaluate": False, "apply": False}


@pytest.mark.slow
def test_networks_are_prepared_and_ended_in_turn(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that compute at the same time would share the number of threads of BLAS, and with it the last bits."""
    fit_model, calibrated, at_work, order = analysis.fit_model, analysis.calibrated, set[str](), list[str]()
    call, answered = NetworkProcess.call, threading.Event()

    def watched_fit(name: str, *arguments: Any) -> Any:
        assert not at_work
        at_work.add(threading.current_thread().name)
        order.append(f"begin {name}")
        if name == "cuts":  # which takes its time
            assert answered.wait(60)
            time.sleep(0.3)
        found = fit_model(name, *arguments)
        assert at_work == {threading.current_thread().name}
        return found

    def watched_call(self: NetworkProcess, *arguments: Any) -> Any:
        at_work.remove(threading.current_thread().name)
        found = call(self, *arguments)
        answered.set()
        return found

    def watched_end(model: Any, validation: Any) -> Any:
        done = calibrated(model, validation)
        at_work.clear()
        order.append(f"end {model.name}")
        return done

    @contextmanager
    def resumed(self: Any) -> Iterator[None]:
        with waiting(self):
            yield
        assert not at_work
        at_work.add(threading.current_thread().name)

    waiting = analysis._Begun._waiting
    monkeypatch.setattr(analysis._Begun, "_waiting", resumed)
    monkeypatch.setattr(analysis, "fit_model", watched_fit)
    monkeypatch.setattr(analysis, "calibrated", watched_end)
    monkeypatch.setattr(NetworkProcess, "call", watched_call)
    few = ["models.one.epochs=2", "models.other.epochs=2", "models.other.members=2", "evaluate.importance=false"]
    run(load_config(place / "a.yaml", few), place / "out", Resources(), Watcher(), figures="none")
    assert order == ["begin one", "begin other", "begin cuts", "end cuts", "end one", "end other"]


@pytest.mark.slow
def test_networks_are_not_waited_for_where_another_model_fails(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[float] = []

    def fail(*_: object, **__: object) -> None:
        began.append(time.monotonic())
        raise ModelError("no box is good enough")

    monkeypatch.setattr("pidlab.models.cuts.estimator.Cuts.fit", fail)

    with pytest.raises(ModelError, match="no box is good enough"):
        run(load_config(place / "a.yaml"), place / "out", Resources(), Watcher(), figures="none")
    assert time.monotonic() - began[0] < 30  # seconds; a network would take an hour
    assert network_process() is None
    assert not (place / "out").exists()
