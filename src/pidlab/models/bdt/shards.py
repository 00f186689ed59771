"""One BDT on the rows of several processes, each of which holds a shard and keeps it.

The processes sum their histograms of gradients by the collective communication of xgboost, as those of `xgboost.dask`
do, so that each of them grows the same trees; `xgboost.dask` itself would import pandas, pyarrow and dask.dataframe
into every one. Bins are those of a sketch over all shards. Rows and features are sampled in each process by itself, so
the trees are as good as those of a single process, and not the same.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import ModelError
from pidlab.models.base import TrainingRows, ValidationSet
from pidlab.models.bdt.estimator import BDT
from pidlab.models.bdt.settings import check_parameters, reason_of

_SECONDS_TO_BEGIN = 600
"""How long processes wait for each other to begin."""
_SECONDS_TO_ANSWER = 3600
"""How long they wait for sums, which large shards take minutes for. If one of them dies, the others fail at once."""

_trackers: dict[str, Any] = {}
"""The trackers of this process, by their names."""


def can_be_shared(model: BDT) -> bool:
    """Returns whether several processes can train the model: not with exact splits, and not with dart."""
    parameters = model.parameters or {}
    return parameters.get("tree_method") != "exact" and parameters.get("booster", "gbtree") == "gbtree"


def start_tracker(host: str, n_processes: int) -> dict[str, Any]:
    """Starts a thread of this process through which `n_processes` find each other; returns what they are to be told.

    Args:
        host: the address of this machine, as the others see it.
        n_processes: the number of processes.
    """
    from xgboost.tracker import RabitTracker

    tracker = RabitTracker(
        n_workers=n_processes, host_ip=socket.gethostbyname(host), sortby="task", timeout=_SECONDS_TO_BEGIN
    )
    tracker.start()
    name = uuid.uuid4().hex
    _trackers[name] = tracker
    return {"tracker": name, **tracker.worker_args()}


def end_tracker(told: Mapping[str, Any]) -> None:
    """Ends the tracker in the process that started it, also if the training failed."""
    from xgboost.core import XGBoostError

    tracker = _trackers.pop(told["tracker"], None)
    if tracker is not None:
        with suppress(XGBoostError):  # processes that died never took their leave
            tracker.free()


def fit_shard(
    model: BDT,
    rows: TrainingRows,
    validation: ValidationSet | None,
    classes: NDArray[np.int64],
    rank: int,
    told: Mapping[str, Any],
    n_threads: int,
) -> BDT:
    """Trains a model together with the processes that call this at the same time, each on its own shard.

    Args:
        model: the same in all of them.
        rows: those of this process, whose weights have a mean of one over all processes.
        validation: None in all processes, or in none.
        classes: (k,) the classes of all shards.
        rank: the number of this process, from 0.
        told: what `start_tracker` returned.
        n_threads: the threads of this process for it.

    Returns:
        the model, trained, which is the same in all processes.

    Raises:
        UsageError: xgboost's trees do not have a parameter.
        ModelError: xgboost refuses a value, or another process ended.
    """
    from xgboost.collective import CommunicatorContext
    from xgboost.core import XGBoostError

    check_parameters(model.parameters or {})
    model.classes_, model.n_features_in_ = classes, rows.x.shape[1]
    asked, model.n_jobs = model.n_jobs, n_threads
    arguments = {name: value for name, value in told.items() if name != "tracker"}
    try:
        with CommunicatorContext(**arguments, dmlc_task_id=f"{rank:06d}", dmlc_timeout=_SECONDS_TO_ANSWER):
            model.train(rows, validation, alone=False)
            return model
    except XGBoostError as error:
        raise ModelError(f"the processes that train together lost each other: {reason_of(error)}") from error
    finally:
        model.n_jobs = asked
