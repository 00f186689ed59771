"""The presets, and which values the parameters of a network may have."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pidlab.errors import ModelError, nearest
from pidlab.models.mlp.activations import FUNCTIONS

_EPOCHS = (10, 20, 50, 100, 200)
_STEPS = 4000
_FEWEST, _A_FEATURE = 1000, 1500  # events, and events a feature, between which a sample is small for its features
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


def noise_may_help(parameters: Mapping[str, Any], n: int, n_features: int) -> bool:
    """Returns whether n events of d features are so few that swap noise is tried."""
    return preset_for(parameters, n, n_features, 0.0) is _SMALL and n < _NOISY_A_FEATURE * n_features


def _is_whole(value: Any, low: int = 1) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= low


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


_REQUIRED = frozenset(
    {"preset", "loss", "optimizer", "momentum", "weight_decay", "seed", "device"}
)  # others may be None
CHOICES: dict[str, Collection[str]] = {
    "preset": PRESETS,
    "activation": FUNCTIONS,
    "loss": ("cross_entropy", "squared", "absolute", "focal"),
    "optimizer": ("sgd", "rmsprop", "adam", "adamw", "nadam"),
    "schedule": ("constant", "one_cycle", "cosine", "exponential", "step"),
    "device": ("auto", "cpu", "cuda"),
}
"""Of each parameter that is a word, the words that the engine knows."""
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
        if name in CHOICES and not (isinstance(value, str) and value in CHOICES[name]):
            known = CHOICES[name]
            hint = nearest(value, known) if isinstance(value, str) else "known: " + ", ".join(known)
            raise ModelError(f"MLP: {name} {value!r} is not known; {hint}")
        expected, fits = _NUMBERS.get(name, ("", lambda _: True))
        if not fits(value):
            raise ModelError(f"MLP: {name} must be {expected}. Got {value!r}.")


def n_outputs(n_classes: int) -> int:
    """Returns the network's outputs: one for two classes, else one a class."""
    return 1 if n_classes == 2 else n_classes
