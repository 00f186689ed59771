"""The presets, and from a model's parameters the network and how it is trained."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pidlab.errors import ModelError, nearest
from pidlab.models.mlp.batches import N_FURTHER_COLUMNS, Member
from pidlab.models.mlp.engine import Trainer, TrainingPlan, quiet_torch
from pidlab.models.mlp.layers import ACTIVATIONS, Architecture
from pidlab.models.mlp.losses.classes import LOSSES
from pidlab.models.mlp.optimizers import OPTIMIZERS, SCHEDULES
from pidlab.models.mlp.streamed import StreamedTable

_EPOCHS = (10, 20, 50, 100, 200)
_STEPS = 4000
_FEWEST, _A_FEATURE = 1000, 1500  # events, and events a feature, between which a sample is small for its features
_SWAP_NOISE = 0.15
_NOISY_A_FEATURE = 700  # events; swap noise gained nothing at 960


@dataclass(frozen=True, slots=True)
class Preset:
    """The values of parameters that are None. The batch size is between two limits and depends on the sample.

    Attributes:
        epochs: None: as many as `epochs_for` says.
        stops_early: whether training stops early unless `patience` says otherwise.
        times: factor on the number of epochs that depends on the sample.
        waiting: early stopping waits for the number of epochs divided by this, and for 10 at least.
    """

    hidden: tuple[int, ...]
    activation: str
    learning_rate: float
    schedule: str
    smallest_batch: int
    largest_batch: int
    epochs: int | None
    stops_early: bool
    dropout: float = 0.0
    members: int = 1
    times: int = 1
    waiting: int = 3

    def epochs_for(self, steps: int) -> int:
        """`times` the fewest of 10, 20, 50, 100, 200 that give 4000 steps, at `steps` an epoch; 200 if none does."""
        if self.epochs is not None:
            return self.epochs
        return self.times * next((epochs for epochs in _EPOCHS if epochs * steps >= _STEPS), _EPOCHS[-1])


def batch_size_for(n: int, smallest: int, largest: int) -> int:
    """Returns the power of two that gives at least 32 batches an epoch, and fewer than 64, inside the limits."""
    return min(max(1 << (max(n // 32, 1).bit_length() - 1), smallest), largest)


PRESETS = {
    "default": Preset((64, 64), "silu", 1e-2, "one_cycle", 64, 512, None, True),
    "workshop": Preset((20, 20), "tanh", 1e-4, "constant", 128, 128, 50, False),
}
_SMALL = replace(PRESETS["default"], learning_rate=5e-3, dropout=0.2, members=4)
_NOISY = replace(_SMALL, hidden=(32, 32), dropout=0.1, members=8, times=2)


def preset_for(parameters: Mapping[str, Any], n: int, n_features: int, swap_noise: float) -> Preset:
    """Returns the preset for n events of d features; `default` has others for samples small for their features.

    Measured on public tables: at 450 events a feature dropout of 0.2 and half the learning rate raise the AUC by .02,
    at 1,900 by .001, and with 72,000 they cost a little. The mean of four such networks raises it by .003 to .008 at
    110 to 460 events a feature, and by less than .001 at 800 to 1,200. With swap noise eight narrower ones take the
    time of four, and change it by -.001 to +.004. Below 1000 events, a few batches, a weight must mean the same as a
    repeated event, which random masks would spoil.
    """
    preset = PRESETS[parameters["preset"]]
    if preset is not PRESETS["default"] or not _FEWEST <= n < _A_FEATURE * n_features:
        return preset
    return _NOISY if swap_noise else _SMALL


def _is_whole(value: Any, low: int = 1) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= low


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


_REQUIRED = frozenset(
    {"preset", "loss", "optimizer", "momentum", "weight_decay", "seed", "device"}
)  # others may be None
_CHOICES: dict[str, Collection[str]] = {
    "preset": PRESETS,
    "activation": ACTIVATIONS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "device": ("auto", "cpu", "cuda"),
}
_NUMBERS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("batch_size", "epochs", "patience", "members"), ("a whole number above 0", _is_whole)),
    **dict.fromkeys(
        ("momentum", "dropout", "swap_noise"),
        ("a number from 0 up to, not including, 1", lambda value: _is_real(value) and 0 <= value < 1),
    ),
    "hidden": (
        "a list of whole numbers above 0",
        lambda value: isinstance(value, list | tuple) and all(_is_whole(width) for width in value),
    ),
    "learning_rate": ("a number above 0", lambda value: _is_real(value) and 0 < value < math.inf),
    "weight_decay": ("a number from 0", lambda value: _is_real(value) and 0 <= value < math.inf),
    "seed": ("a whole number from 0", lambda value: _is_whole(value, 0)),
}


def check(parameters: Mapping[str, Any]) -> None:
    """Refuses parameters that no network can be trained with.

    Raises:
        ModelError: a parameter has a value of the wrong type, out of its range, or not among the known ones.
    """
    for name, value in parameters.items():
        if value is None and name not in _REQUIRED:
            continue
        if name in _CHOICES and not (isinstance(value, str) and value in _CHOICES[name]):
            known = _CHOICES[name]
            hint = nearest(value, known) if isinstance(value, str) else "known: " + ", ".join(known)
            raise ModelError(f"MLP: {name} {value!r} is not known; {hint}")
        expected, fits = _NUMBERS.get(name, ("", lambda _: True))
        if not fits(value):
            raise ModelError(f"MLP: {name} must be {expected}. Got {value!r}.")


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


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """What is trained, how, and in how many members."""

    architecture: Architecture
    plan: TrainingPlan
    n_members: int


def n_outputs(n_classes: int) -> int:
    """Returns the network's outputs: one for two classes, else one a class."""
    return 1 if n_classes == 2 else n_classes


def setup_for(
    parameters: Mapping[str, Any], n: int, n_features: int, n_classes: int, swap_noise: float = 0.0
) -> TrainingSetup:
    """Returns the setup for n events of d features and k classes: the user's parameters, else those of the preset."""
    preset = preset_for(parameters, n, n_features, swap_noise)
    return setup_by(preset, parameters, n, n_features, n_outputs(n_classes), swap_noise)


def setup_by(
    preset: Preset, parameters: Mapping[str, Any], n: int, n_features: int, n_outputs: int, swap_noise: float = 0.0
) -> TrainingSetup:
    """Returns the setup for n events of d features and a number of outputs; the preset has what the user left out."""

    def chosen(name: str, otherwise: Any) -> Any:
        return otherwise if parameters[name] is None else parameters[name]

    batch_size = min(int(chosen("batch_size", batch_size_for(n, preset.smallest_batch, preset.largest_batch))), n)
    epochs = int(chosen("epochs", preset.epochs_for(n // batch_size)))
    patience = chosen("patience", max(10, epochs // preset.waiting) if preset.stops_early else None)
    architecture = Architecture(
        n_inputs=n_features,
        hidden=tuple(int(width) for width in chosen("hidden", preset.hidden)),
        n_outputs=n_outputs,
        activation=chosen("activation", preset.activation),
        batch_norm=bool(parameters["batch_norm"]),
        dropout=float(chosen("dropout", preset.dropout)),
    )
    plan = TrainingPlan(
        loss=parameters["loss"],
        optimizer=parameters["optimizer"],
        momentum=float(parameters["momentum"]),
        weight_decay=float(parameters["weight_decay"]),
        learning_rate=float(chosen("learning_rate", preset.learning_rate)),
        schedule=chosen("schedule", preset.schedule),
        batch_size=batch_size,
        epochs=epochs,
        patience=None if patience is None else int(patience),
        swap_noise=swap_noise,
        quantiles=tuple(parameters.get("quantiles") or ()),
    )
    return TrainingSetup(architecture, plan, int(chosen("members", preset.members)))


def swap_noise_for(
    parameters: Mapping[str, Any],
    usual: Mapping[str, Any],
    table: Tensor | StreamedTable,
    members: Sequence[Member],
    n_classes: int,
) -> list[float]:
    """Returns the swap noise for each of `members`: the user's, or the one with the lower validation loss.

    Noise in the features keeps a network from learning a small sample by heart, and blurs what lies in sharp
    correlations. Measured on public tables (AUC, four networks with it against four without): +.009 at 460 events a
    feature of 28 weak ones, +.009 at 120 of them, +.02 at 220 of 20; -.002 to -.008 where a few features say all, and
    nothing gained at 960 events a feature and more. The choice was the better one in 24 of 26 trainings.

    Args:
        parameters: the parameters of the model that is to be trained.
        usual: the preset's, which decide the network that is trained with and without noise, whatever `parameters`
            say: the noise is then the same for all variants of a model.
        table: as `as_table` makes it.
        members: one for each model to be trained; without a validation sample it gets no noise.
        n_classes: k.
    """
    noises = [float(parameters["swap_noise"] or 0.0)] * len(members)
    if parameters["swap_noise"] is not None or parameters["epochs"] is not None:
        return noises
    n_features = table.shape[1] - N_FURTHER_COLUMNS
    groups: dict[tuple[TrainingSetup, TrainingSetup], list[int]] = {}
    for place, member in enumerate(members):
        n = member.count(table)
        small = preset_for(parameters, n, n_features, 0.0) is _SMALL and n < _NOISY_A_FEATURE * n_features
        if member.validation is not None and small:
            without, noisy = (setup_for(usual, n, n_features, n_classes, noise) for noise in (0.0, _SWAP_NOISE))
            groups.setdefault((without, noisy), []).append(place)
    for (without, noisy), places in groups.items():
        group = [members[place] for place in places]
        losses = [_losses(table, group, without.architecture, plan) for plan in (noisy.plan, without.plan)]
        for place, noise_helps in zip(places, losses[0] < losses[1], strict=True):
            noises[place] = _SWAP_NOISE if noise_helps else 0.0
    return noises


def _losses(
    table: Tensor | StreamedTable, members: Sequence[Member], architecture: Architecture, plan: TrainingPlan
) -> NDArray[np.float64]:
    """Returns (members,) the lowest validation loss of each; infinite if the training diverges."""
    with quiet_torch(max(architecture.hidden)):
        trained = Trainer(table, members, architecture, plan).run(pruner=lambda *_: np.zeros(len(members), bool))
    return np.array([min(member.history.get("validation_loss", []), default=np.inf) for member in trained])
