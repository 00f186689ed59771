"""What the engine is asked to train, and what it answers: arrays and matrices, which any process can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.measured import Array
from pidlab.models.matrix import LARGEST_TABLE, Matrix
from pidlab.models.mlp.health import Health
from pidlab.models.mlp.network import DenseNetwork
from pidlab.sample import IntArray

FEWEST = 20
"""Events that a mean and a width are fitted to at least."""


class LabelledRows(NamedTuple):
    """Features x (n, d) without missing values, the index (n,) of the class, and weights (n,)."""

    x: Matrix
    label: NDArray[Any]
    weight: NDArray[np.float64]


class Share(NamedTuple):
    """What one model is trained on.

    Attributes:
        rows: (m,) its rows of the training data; None for all.
        validation: evaluated after each epoch; None for no validation.
    """

    rows: IntArray | None
    validation: LabelledRows | None


@dataclass(frozen=True, slots=True)
class ClassifierTask:
    """One model for each of some parts of the data, all with the same parameters.

    Attributes:
        parameters: those of `MLP`.
        usual: the parameters of an `MLP` with this preset and seed, which decide whether there is swap noise.
        data: the training data.
        parts: what each model is trained on.
        n_classes: k.
    """

    parameters: Mapping[str, Any]
    usual: Mapping[str, Any]
    data: LabelledRows
    parts: Sequence[Share]
    n_classes: int

    @property
    def is_small(self) -> bool:
        """Whether the training data are an array in memory that is not large."""
        x = self.data.x
        return isinstance(x, np.ndarray) and x.nbytes <= LARGEST_TABLE


class TrainedNetworks(NamedTuple):
    """A model after its training: its members, their swap noise, their mean history, and what each says of itself."""

    networks: tuple[DenseNetwork, ...]
    swap_noise: float
    history: dict[str, list[float]]
    health: tuple[Health, ...] = ()


class RegressionRows(NamedTuple):
    """Events of a `GaussianRegression` in scaled units: inputs x (n, d), variables y (n, t), weights (n,) above 0.

    A variable that is missing is NaN. `start` is a mean and a width (n, t) of each event, off by two widths at most;
    None if the core must be searched.
    """

    x: Array
    y: Array
    weight: Array
    start: tuple[Array, Array] | None


@dataclass(frozen=True, slots=True)
class RegressionTask:
    """The fit of a `GaussianRegression`.

    Attributes:
        parameters: those of `GaussianRegression`.
        n_variables: t.
        train: the training data.
        held_out: decides when a fit stops; None for no validation.
    """

    parameters: Mapping[str, Any]
    n_variables: int
    train: RegressionRows
    held_out: RegressionRows | None
