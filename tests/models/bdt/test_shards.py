"""A BDT that several processes train, each on the rows that it holds."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pidlab.models.base import TrainingRows, ValidationSet
from pidlab.models.bdt import BDT
from pidlab.models.bdt.shards import can_be_shared, end_tracker, fit_shard, start_tracker

CLASSES = np.arange(2)


def events(n: int, seed: int) -> tuple[Any, Any, Any]:
    """Two classes that overlap, with weights and missing values."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    x = rng.normal(y[:, None] * [1.0, 0.5, 0.0], 1.0).astype(np.float32)
    x[rng.random(n) < 0.1, 1] = np.nan
    weight = rng.uniform(0.5, 1.5, n)
    return x, y, weight / weight.mean()


def bdt(**options: Any) -> BDT:
    return BDT(**{"n_estimators": 40, "max_depth": 3, "seed": 1, "n_jobs": 1, "early_stopping_rounds": 5} | options)


def train_alone(model: BDT, rows: TrainingRows, validation: ValidationSet) -> BDT:
    told = start_tracker("127.0.0.1", 1)
    try:
        return fit_shard(model, rows, validation, CLASSES, 0, told, n_threads=1)
    finally:
        end_tracker(told)


def test_a_single_shard_gives_the_trees_of_a_single_process() -> None:
    x, y, weight = events(3000, 1)
    validation = ValidationSet(*events(1000, 2))
    alone = bdt().fit(x, y, weight, validation=validation)
    shared = train_alone(bdt(), TrainingRows(x, y, weight), validation)
    assert shared.booster_.save_raw() == alone.booster_.save_raw()
    assert shared.history_ == alone.history_
    assert shared.best_iteration_ == alone.best_iteration_
    assert shared.get_params() == alone.get_params()


def two_shards(rank: int, told: dict[str, Any], rows: slice) -> tuple[bytes, Any, dict[str, Any]]:
    x, y, weight = events(6000, 1)
    x, y, weight = (v[np.argsort(y, kind="stable")][rows] for v in (x, y, weight))
    validation = ValidationSet(*(v[rank::2] for v in events(2000, 2)))
    model = bdt(subsample=1.0, colsample_bynode=1.0)
    fit_shard(model, TrainingRows(x, y, weight), validation, CLASSES, rank, told, 1)
    return bytes(model.booster_.save_raw()), model.scores(events(20_000, 3)[0])[:, 1], model.history_


@pytest.mark.slow
def test_two_processes_grow_the_same_trees_as_good_as_those_of_one() -> None:
    """The second process holds events of one class only."""
    told = start_tracker("127.0.0.1", 2)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context) as pool:
        rows = [slice(0, 4000), slice(4000, None)]
        first, second = [f.result() for f in [pool.submit(two_shards, i, told, rows[i]) for i in range(2)]]
    end_tracker(told)
    assert first[0] == second[0]
    assert first[2] == second[2]
    x, y, weight = events(6000, 1)
    alone = bdt(subsample=1.0, colsample_bynode=1.0).fit(x, y, weight, validation=ValidationSet(*events(2000, 2)))
    x, y, _ = events(20_000, 3)
    # Only the sketch of the bins differs; an AUC on 20,000 events has an error of .003.
    assert roc_auc_score(y, first[1]) == pytest.approx(roc_auc_score(y, alone.scores(x)[:, 1]), rel=0, abs=0.002)


def test_models_that_one_process_must_train_are_known() -> None:
    assert can_be_shared(bdt())
    assert not can_be_shared(bdt(parameters={"tree_method": "exact"}))
    assert not can_be_shared(bdt(parameters={"booster": "dart"}))
