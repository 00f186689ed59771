"""The training of networks that predict a target: mean, median, quantiles, or mean and width of a Gaussian."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pidlab.models.matrix import LARGEST_TABLE
from pidlab.models.mlp.engine.batches import Member, ValidationTensors
from pidlab.models.mlp.engine.devices import device_named, mean_history, member_seed, train_members
from pidlab.models.mlp.engine.setup import setup_by
from pidlab.models.mlp.engine.streamed import StreamedTable
from pidlab.models.mlp.network import DenseNetwork
from pidlab.models.mlp.presets import PRESETS, Preset

if TYPE_CHECKING:  # scikit-learn, which the engine does not need
    from pidlab.models.base import Progress, ValidationSet

# The loss of a regression falls most at the end of the one-cycle schedule, before which chance moves it up and down:
# training never stops early, and validation decides all the same which weights are kept.
PRESET: Preset = replace(PRESETS["default"], waiting=1)
LOSSES = {"squared": "squared_error", "absolute": "absolute_error", "quantile": "pinball", "gaussian": "gaussian"}
"""The losses of regressors to those of the engine."""


def fit_networks(
    parameters: Mapping[str, Any],
    train: ValidationSet,
    validation: ValidationSet | None,
    levels: Sequence[float],
    progress: Progress | None,
) -> tuple[tuple[DenseNetwork, ...], dict[str, list[float]]]:
    """Returns the members of an ensemble, and their mean history of losses.

    On the CPU, data of more than `LARGEST_TABLE` bytes stay where they are, and are read in shuffled blocks. A GPU
    keeps all.

    Args:
        parameters: the parameters of `MLPRegressor`; what is None is the preset's.
        train: features (n, d), scaled and finite, the scaled target (n,), and weights (n,) that are not negative.
        validation: evaluated after each epoch, for early stopping, of the same kind; None for none.
        levels: the quantiles of the loss `quantile`, rising.
        progress: called after each epoch.

    Raises:
        ModelError: training diverges, or a CUDA device is requested and there is none.
    """
    device = device_named(parameters["device"])
    n_outputs = {"gaussian": 2, "quantile": len(levels)}.get(parameters["loss"], 1)
    own = {**parameters, "loss": LOSSES[parameters["loss"]], "quantiles": levels}
    setup = setup_by(PRESET, own, len(train.y), train.x.shape[1], n_outputs)
    table = StreamedTable(train.x, train.y, np.asarray(train.weight, np.float64))
    streamed = device.type == "cpu" and table.nbytes > LARGEST_TABLE
    watched = None
    if validation is not None:
        x = np.require(np.asarray(validation.x, train.x.dtype), requirements=["C", "W"])
        arrays = (x, validation.y[:, None].astype(x.dtype), np.array(validation.weight, np.float64))
        watched = ValidationTensors(*(torch.from_numpy(array).to(device) for array in arrays))
    seeds = [member_seed(int(parameters["seed"]), number) for number in range(setup.n_members)]
    trained = train_members(
        table if streamed else table.whole(device),
        [Member(seed, None, watched) for seed in seeds],
        setup.architecture,
        setup.plan,
        progress,
    )
    return tuple(each.network for each in trained), mean_history([each.history for each in trained])
