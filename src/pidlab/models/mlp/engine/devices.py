"""Devices: which one is meant, training on the GPUs that there are, and the seeds and histories of members."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pidlab.errors import ModelError
from pidlab.models.mlp.engine.batches import Member, ValidationTensors
from pidlab.models.mlp.engine.layers import Architecture
from pidlab.models.mlp.engine.streamed import StreamedTable
from pidlab.models.mlp.engine.tensors import as_layers, forward
from pidlab.models.mlp.engine.trainer import MemberPruner, Trained, Trainer, TrainingPlan, quiet_torch, run_together
from pidlab.models.mlp.network import DenseNetwork, widest
from pidlab.sample import FloatArray

if TYPE_CHECKING:
    from pidlab.models.base import Progress

_LEAST_VALUES = 1 << 22
"""Values of hidden units that a step must compute on each GPU to be worth spreading: a step takes 50 us on an H200
however small it is, and 150 us with so many (docs/gpu.md)."""


def device_named(name: str) -> torch.device:
    """Returns the device that the parameter `device` names.

    Raises:
        ModelError: cuda was asked for, and there is no GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ModelError("device: cuda was asked for, but torch finds no GPU; use auto or cpu")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def scoring_device(name: str) -> torch.device:
    """Returns the device that scores a network whose parameter `device` is `name`: the CPU where there is no GPU.

    A network that was trained on a GPU can be scored on any machine.
    """
    return device_named(name if torch.cuda.is_available() else "cpu")


def logits_on(networks: Sequence[DenseNetwork], x: FloatArray, name: str) -> FloatArray:
    """Returns logits (m, k, n) of m networks for features x (n, d), computed on the device that scores them."""
    device = scoring_device(name)
    with quiet_torch(widest(networks)):
        rows = torch.from_numpy(np.array(x, order="C")).to(device)
        layers = [as_layers(network, device, rows.dtype) for network in networks]
        return np.stack([forward(own, networks[0].activation, rows).cpu().numpy() for own in layers])


def train_members(
    table: Tensor | StreamedTable,
    members: Sequence[Member],
    architecture: Architecture,
    plan: TrainingPlan,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    pruner: MemberPruner | None = None,
) -> list[Trained]:
    """Returns the members after training, as `run_together`, on as many devices as are worth it."""
    with quiet_torch(max(architecture.hidden, default=0)):
        devices = devices_for(table.device, len(members), architecture, plan.batch_size)
        trainers = [Trainer(*share, architecture, plan) for share in spread(table, members, devices)]
        return run_together(trainers, progress, checkpoint, pruner)


def devices_for(
    device: torch.device, n_members: int, architecture: Architecture, batch_size: int
) -> list[torch.device]:
    """Returns the devices that train members together: `device`, or the first few of several GPUs."""
    if device.type != "cuda" or torch.cuda.device_count() == 1:
        return [device]
    return [
        torch.device("cuda", number)
        for number in range(n_shares(torch.cuda.device_count(), n_members, architecture, batch_size))
    ]


def n_shares(n_devices: int, n_members: int, architecture: Architecture, batch_size: int) -> int:
    """Returns over how many of n devices the members are spread, each with enough to do in a step."""
    values = n_members * batch_size * sum(architecture.hidden)
    return max(1, min(n_devices, n_members, values // _LEAST_VALUES))


def spread(
    table: Tensor | StreamedTable, members: Sequence[Member], devices: Sequence[torch.device]
) -> Iterator[tuple[Tensor | StreamedTable, list[Member]]]:
    """Yields for each device the table and its share of the members, in their order, with all that they read there."""
    if len(devices) == 1 or isinstance(table, StreamedTable):  # which is for the CPU
        yield table, list(members)
        return
    assert isinstance(table, Tensor)  # blocks are read on the CPU, which is one device
    for device, numbers in zip(devices, np.array_split(np.arange(len(members)), len(devices)), strict=True):
        moved: dict[int, Tensor] = {}  # members of a fold share their rows and their validation sample
        samples: dict[int, ValidationTensors] = {}

        def there(tensor: Tensor, device: torch.device = device, moved: dict[int, Tensor] = moved) -> Tensor:
            return moved.setdefault(id(tensor), tensor.to(device))

        own = []
        for number in numbers:
            member = members[number]
            rows, validation = member.rows, member.validation
            if validation is not None:
                tensors = (validation.x, validation.label, validation.weight)
                validation = samples.setdefault(id(validation), ValidationTensors(*map(there, tensors)))
            own.append(replace(member, rows=None if rows is None else there(rows), validation=validation))
        yield there(table), own


def member_seed(seed: int, member: int) -> int:
    """Returns a seed of 63 bits for the random numbers of one member."""
    return int(np.random.SeedSequence([seed, member]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def mean_history(histories: Sequence[dict[str, list[float]]]) -> dict[str, list[float]]:
    """Returns the mean over the members that reached an epoch, for each epoch."""
    longest = max(histories, key=lambda history: len(history["loss"]))
    return {
        name: [float(np.mean([h[name][i] for h in histories if i < len(h[name])])) for i in range(len(values))]
        for name, values in longest.items()
    }
