"""Trials on the workers of a dask cluster are those of one process, and lagging ones are stopped."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tune_orders import CONTENT, configuration, sample

from pidlab.models.registry import Resources
from pidlab.progress import Watcher
from pidlab.tune import TuningRequest, trials, tune

Client = pytest.importorskip("distributed").Client

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.mark.parametrize("model", ["bdt", "mlp"])
def test_trials_on_workers_have_the_values_of_one_process(local_cluster: Any, tmp_path: Path, model: str) -> None:
    sample(tmp_path)
    search = {"bdt": ("max_depth=1|4", "learning_rate=0.2", "lambda=1"), "mlp": ("hidden=[8]|[4]", "batch_size=128")}
    request = TuningRequest(
        configuration(tmp_path),
        model,
        4,
        search=search[model],
        together=1,
        pruner="none",
        storage=str(tmp_path / "a.db"),
        figures=False,
    )
    alone = tune(request, Resources("cpu", 1), Watcher())
    (tmp_path / "a.db").unlink()
    shared = tune(request, Resources("cpu", 1, dask=local_cluster.scheduler_address), Watcher())
    assert [t.state for t in shared.trials] == ["complete"] * 4
    values: dict[str, float] = {str(sorted(t.parameters.items())): t.value for t in alone.trials}
    common = [t for t in shared.trials if str(sorted(t.parameters.items())) in values]
    assert len(common) >= 2  # the first trials are random, with seeds of their numbers
    for trial in common:
        assert trial.value == pytest.approx(values[str(sorted(trial.parameters.items()))], rel=1e-6)


def make_unhurried() -> None:
    """Lets this worker rest for .2 s at each twentieth of a training, so that a busy machine can stop it too."""
    original = trials.rung

    @functools.wraps(original)
    def rung(done: int, total: int) -> int | None:
        reached = original(done, total)
        time.sleep(0.2 if reached is not None else 0)
        return reached

    trials.rung = rung


def make_hurried() -> None:
    trials.rung = trials.rung.__wrapped__


@pytest.fixture
def unhurried(local_cluster: Any) -> Iterator[None]:
    with Client(local_cluster) as client:
        client.run(make_unhurried)
        yield
        client.run(make_hurried)


def test_a_trial_that_lags_is_stopped_on_its_worker(
    local_cluster: Any, unhurried: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pidlab.tune.distributed._SECONDS_BETWEEN_LOOKS", 0.1)
    sample(tmp_path)
    models = {"bdt": CONTENT["models"]["bdt"] | {"n_estimators": 100, "early_stopping_rounds": None}}
    path = configuration(tmp_path, models=models)
    request = TuningRequest(path, "bdt", 10, search=("max_depth=1|4", "learning_rate=0.00001|0.01"), figures=False)
    found = tune(request, Resources("cpu", 1, dask=local_cluster.scheduler_address), Watcher())
    pruned = [t for t in found.trials if t.state == "pruned"]
    assert pruned
    assert found.parameters["learning_rate"] == 0.01
    whole = [t.seconds for t in found.trials if t.state == "complete"]
    assert min(t.seconds for t in pruned) < max(whole)
