"""The training of classifiers from arrays: folds, variants and members in one pass."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pidlab.errors import ModelError
from pidlab.models.matrix import LARGEST_TABLE
from pidlab.models.mlp.engine.batches import N_FURTHER_COLUMNS, Member, ValidationTensors
from pidlab.models.mlp.engine.devices import device_named, mean_history, member_seed, train_members
from pidlab.models.mlp.engine.layers import Architecture
from pidlab.models.mlp.engine.setup import setup_for, swap_noise_for
from pidlab.models.mlp.engine.streamed import StreamedTable
from pidlab.models.mlp.engine.trainer import Trained, TrainingPlan, diverged
from pidlab.models.mlp.health import N_EVENTS, health_of
from pidlab.models.mlp.tasks import ClassifierTask, LabelledRows, Share, TrainedNetworks
from pidlab.sample import IntArray

if TYPE_CHECKING:  # scikit-learn, which the engine does not need
    from pidlab.models.base import Progress

Pruner = Callable[[int, int, Mapping[int, float]], Collection[int]]
"""Called after each epoch as `pruner(done, total, {variant: validation AUC})` with the variants that still train;
returns those that are to stop."""


@dataclass(frozen=True, slots=True)
class _Training:
    """The training of one model: its members, and what they must have in common with those of another to train in
    one pass."""

    members: Sequence[Member]
    architecture: Architecture
    plan: TrainingPlan

    def with_own_rates(self) -> _Training:
        """Returns the training with learning rate and weight decay given to each member instead of the plan.

        Variants that differ in nothing else then share a plan. The weight decay of adamw is decoupled from the
        gradient and stays in the plan.
        """
        plan = self.plan
        members = [replace(m, learning_rate=plan.learning_rate, weight_decay=plan.weight_decay) for m in self.members]
        decay = plan.weight_decay if plan.optimizer == "adamw" else 0.0
        return replace(self, members=members, plan=replace(plan, learning_rate=0.0, weight_decay=decay))


def train(
    task: ClassifierTask, checkpoint: Path | None = None, progress: Progress | None = None
) -> list[TrainedNetworks]:
    """Trains the models of a task together.

    Args:
        task: what is trained.
        checkpoint: a file that is rewritten after each epoch; training continues from it if it exists.
        progress: called after each epoch of all models.

    Raises:
        ModelError: there is no device as was asked for, the weights of a part sum to 0, training diverges, or the
            checkpoint is of another training.
    """
    device, data = device_named(task.parameters["device"]), task.data
    table = _table(data, [part.rows for part in task.parts], device)
    samples = [_on_device(part.validation, device) for part in task.parts]
    places = [_place(part.rows, device) for part in task.parts]
    firsts = [_members(task.parameters, rows, sample, 1)[0] for rows, sample in zip(places, samples, strict=True)]
    noises = swap_noise_for(task.parameters, task.usual, table, firsts, task.n_classes)
    trainings = [
        _training(task.parameters, table, rows, sample, task.n_classes, noise)
        for rows, sample, noise in zip(places, samples, noises, strict=True)
    ]
    found = _trained(table, trainings, progress, checkpoint)
    return [
        _answer(trained, noise, looked_at=_looked_at(data, part))
        for trained, noise, part in zip(found, noises, task.parts, strict=True)
    ]


def train_variants(
    variants: Sequence[Mapping[str, Any]],
    usual: Sequence[Mapping[str, Any]],
    data: LabelledRows,
    validation: LabelledRows,
    n_classes: int,
    pruner: Pruner | None = None,
) -> list[TrainedNetworks | ModelError]:
    """Trains one model on all data for each of some parameters, together if their shapes allow it.

    Args:
        variants: the parameters of each model.
        usual: as of `ClassifierTask`, for each model.
        data: the training data.
        validation: evaluated after each epoch for all models.
        n_classes: k.
        pruner: stops models early.

    Returns:
        the models; for one that diverges the error that `train` would have raised.
    """
    device = device_named(variants[0]["device"])
    table, sample = _table(data, [None], device), _on_device(validation, device)
    noises: dict[tuple[Any, ...], float] = {}  # the other parameters do not change it
    trainings = []
    for parameters, preset in zip(variants, usual, strict=True):
        key = tuple(parameters[name] for name in ("preset", "seed", "swap_noise", "epochs"))
        if key not in noises:
            first = _members(parameters, None, sample, 1)
            [noises[key]] = swap_noise_for(parameters, preset, table, first, n_classes)
        trainings.append(_training(parameters, table, None, sample, n_classes, noises[key]).with_own_rates())
    found: list[TrainedNetworks | ModelError] = []
    for training, trained in zip(trainings, _trained(table, trainings, pruner=pruner or _prune_none), strict=True):
        lost = next((t for t in trained if t.diverged), None)
        if lost is None:
            found.append(_answer(trained, training.plan.swap_noise))
        else:
            rate = training.members[0].learning_rate
            assert rate is not None  # see `with_own_rates`
            found.append(ModelError(diverged(1 + len(lost.history.get("loss", [])), rate)))
    return found


def _table(data: LabelledRows, parts: Sequence[IntArray | None], device: torch.device) -> Tensor | StreamedTable:
    """Returns the training data on the device; the weights of each part's rows must sum to more than 0.

    On the CPU, data of more than `LARGEST_TABLE` bytes stay where they are, and are read in shuffled blocks. A GPU
    keeps all.
    """
    if not all((data.weight if rows is None else data.weight[rows]).sum() > 0 for rows in parts):
        raise ModelError("the training weights do not sum to more than 0")
    table = StreamedTable(*data)
    streamed = device.type == "cpu" and table.nbytes > LARGEST_TABLE and all(rows is None for rows in parts)
    return table if streamed else table.whole(device)


def _on_device(sample: LabelledRows | None, device: torch.device) -> ValidationTensors | None:
    if sample is None:
        return None
    arrays = (np.ascontiguousarray(sample.x), np.asarray(sample.label, dtype=np.int64), sample.weight)
    writable = (np.require(array, requirements="W") for array in arrays)  # torch warns of arrays that are not
    return ValidationTensors(*(torch.from_numpy(array).to(device) for array in writable))


def _place(rows: IntArray | None, device: torch.device) -> Tensor | None:
    return None if rows is None else torch.from_numpy(np.array(rows, dtype=np.int64)).to(device)


def _members(
    parameters: Mapping[str, Any], rows: Tensor | None, validation: ValidationTensors | None, n_members: int
) -> list[Member]:
    seed = int(parameters["seed"])
    return [Member(member_seed(seed, number), rows, validation) for number in range(n_members)]


def _training(
    parameters: Mapping[str, Any],
    table: Tensor | StreamedTable,
    rows: Tensor | None,
    validation: ValidationTensors | None,
    n_classes: int,
    swap_noise: float,
) -> _Training:
    n = len(table) if rows is None else len(rows)
    setup = setup_for(parameters, n, table.shape[1] - N_FURTHER_COLUMNS, n_classes, swap_noise)
    members = _members(parameters, rows, validation, setup.n_members)
    return _Training(members, setup.architecture, setup.plan)


def _trained(
    table: Tensor | StreamedTable,
    trainings: Sequence[_Training],
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    pruner: Pruner | None = None,
) -> list[list[Trained]]:
    """Returns the members of each model after training; models of one architecture and plan train in one pass."""
    groups: dict[tuple[Architecture, TrainingPlan], list[int]] = {}
    for number, training in enumerate(trainings):
        groups.setdefault((training.architecture, training.plan), []).append(number)
    found: dict[int, list[Trained]] = {}
    for (architecture, plan), numbers in groups.items():
        members = [member for number in numbers for member in trainings[number].members]
        owner = np.repeat(numbers, [len(trainings[number].members) for number in numbers])

        def stopped(done: int, total: int, auc: NDArray[np.float64], owner: IntArray = owner) -> NDArray[np.bool_]:
            assert pruner is not None
            areas = {int(number): auc[owner == number] for number in np.unique(owner[np.isfinite(auc)])}
            named = pruner(done, total, {number: float(np.nanmean(area)) for number, area in areas.items()})
            return np.isin(owner, list(named))

        own_pruner = None if pruner is None else stopped
        trained = train_members(table, members, architecture, plan, progress, checkpoint, own_pruner)
        for number in numbers:
            found[number] = [member for member, of in zip(trained, owner, strict=True) if of == number]
    return [found[number] for number in range(len(trainings))]


def _answer(trained: Sequence[Trained], swap_noise: float, *, looked_at: NDArray[Any] | None = None) -> TrainedNetworks:
    """Returns a model after training, with its health on the events (n, d) that its networks are looked at on."""
    health = () if looked_at is None else tuple(health_of(t.network, t.history, looked_at) for t in trained)
    history = mean_history([member.history for member in trained])
    return TrainedNetworks(tuple(member.network for member in trained), swap_noise, history, health)


def _looked_at(data: LabelledRows, part: Share) -> NDArray[Any]:
    """Events (m, d) on which the units of a network are looked at: of validation, or else some of training."""
    if part.validation is not None:
        return np.asarray(part.validation.x)
    n = len(data.label) if part.rows is None else len(part.rows)
    some = np.unique(np.linspace(0, n - 1, min(n, N_EVENTS)).astype(np.int64))
    return np.ascontiguousarray(data.x[some if part.rows is None else part.rows[some]])


def _prune_none(done: int, total: int, areas: Mapping[int, float]) -> Collection[int]:
    """Lets all variants train to their end; with a pruner, one that diverges does not end the others."""
    return ()
