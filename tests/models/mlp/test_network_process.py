"""Networks that another process trains are those that this one would train, and errors and interrupts come through."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import pidlab
from pidlab.errors import ModelError
from pidlab.models import registry
from pidlab.models.base import ValidationSet
from pidlab.models.mlp import process
from pidlab.models.mlp.process import NetworkProcess, ProcessEndedError, network_process, networks_apart
from pidlab.models.registry import networks_train_apart
from pidlab.models.unlabelled.autoencoder import Autoencoder

RNG = np.random.default_rng(5)
Y = RNG.integers(0, 2, 900)
X = (RNG.normal(size=(900, 3)) + Y[:, None]).astype(np.float32)
TRAIN, HELD_OUT = slice(0, 600), slice(600, 900)
VALIDATION = ValidationSet(X[HELD_OUT], Y[HELD_OUT], np.ones(300))


@pytest.fixture(scope="module")
def apart() -> Iterator[NetworkProcess]:
    with networks_apart():
        found = network_process()
        assert found is not None
        yield found
    assert network_process() is None


def mlp(**parameters):
    return pidlab.MLP(epochs=3, members=2, seed=4, **parameters)


def numbers_of(model):
    return [matrix for network in model.networks_ for matrix in (*network.weights, *network.biases)]


@pytest.mark.slow
def test_a_classifier_its_folds_and_a_regressor_are_the_same_bits_as_if_they_were_trained_here(monkeypatch, apart):
    folds = [(np.arange(600), np.arange(600, 900)), (np.arange(300, 900), None)]

    def trained():
        classifier = mlp().fit(X[TRAIN], Y[TRAIN], validation=VALIDATION)
        regressor = pidlab.MLPRegressor(epochs=3, seed=4).fit(X[:, :2], X[:, 2], validation=None)
        return [classifier, *mlp().fit_folds(X, Y, folds=folds), regressor]

    there = trained()
    monkeypatch.setattr(process, "_running", [])
    here = trained()
    for one, other in zip(there, here, strict=True):
        for a, b in zip(numbers_of(one), numbers_of(other), strict=True):
            np.testing.assert_array_equal(a, b)
        assert one.history_ == other.history_
    assert there[0].health_ == here[0].health_
    assert len(there[0].health_) == 2


@pytest.mark.slow
def test_an_autoencoder_is_the_same_as_if_it_were_trained_here(monkeypatch, apart):
    there = Autoencoder(seed=2, epochs=3).fit(X, Y)
    monkeypatch.setattr(process, "_running", [])
    np.testing.assert_array_equal(there.scores(X), Autoencoder(seed=2, epochs=3).fit(X, Y).scores(X))


@pytest.mark.slow
def test_errors_and_progress_of_the_other_process_arrive(apart):
    told: list[tuple[int, int]] = []
    mlp().fit(X, Y, validation=VALIDATION, progress=lambda done, total, numbers: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(ModelError, match=r"training diverged.*lower learning_rate \(now 1e\+30\)"):
        mlp(learning_rate=1e30, optimizer="sgd").fit(X, Y)
    mlp().fit(X, Y)  # it goes on after an error


@pytest.mark.slow
def test_a_process_that_was_killed_is_replaced_by_this_one():
    with networks_apart():
        found = network_process()
        assert found is not None
        os.kill(found._process.pid, signal.SIGKILL)
        there = mlp().fit(X, Y)
    here = mlp().fit(X, Y)
    for a, b in zip(numbers_of(there), numbers_of(here), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_training_ends_when_the_process_is_stopped():
    failed: list[BaseException] = []

    def train():
        try:
            pidlab.MLP(epochs=100_000, patience=100_000).fit(X, Y, progress=lambda *_: begun.set())
        except ProcessEndedError as error:
            failed.append(error)

    begun = threading.Event()
    with networks_apart():
        found = network_process()
        assert found is not None
        thread = threading.Thread(target=train)
        thread.start()
        assert begun.wait(60)
        found.stop()
        thread.join(10)
    assert not thread.is_alive()
    assert len(failed) == 1


@pytest.mark.slow
def test_the_process_ends_with_the_one_that_started_it():
    script = """
import os, signal
from pidlab.models.mlp.process import NetworkProcess
print(NetworkProcess()._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    pid = int(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout)
    ends = time.monotonic() + 60
    while is_running(pid):
        assert time.monotonic() < ends
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("kinds", "cores", "gpu", "device", "expected"),
    [
        (["cuts", "bdt", "mlp"], 2, False, "auto", True),
        (["autoencoder"], 2, False, "auto", True),
        (["constant_regression", "mlp_regression"], 2, False, "auto", True),
        (["bdt", "fisher"], 2, False, "auto", False),  # nothing needs torch
        (["cuts", "mlp"], 1, False, "auto", False),  # there is no core for it
        (["cuts", "mlp"], 2, True, "auto", False),  # a GPU trains
        (["cuts", "mlp"], 2, True, "cpu", True),
    ],
)
def test_a_process_is_started_where_networks_train_and_a_core_is_free(monkeypatch, kinds, cores, gpu, device, expected):
    monkeypatch.setattr(registry, "usable_cores", lambda: cores)
    monkeypatch.setattr(registry, "gpu_present", lambda: gpu)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert networks_train_apart(kinds, device) is expected
    monkeypatch.setitem(sys.modules, "torch", object())  # it is here already
    assert not networks_train_apart(kinds, device)
