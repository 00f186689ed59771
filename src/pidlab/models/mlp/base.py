"""What estimators of networks have in common, whether they tell classes apart or predict a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import ModelError
from pidlab.models.base import Estimator
from pidlab.models.gpu import gpu_present
from pidlab.models.missing import MissingValues
from pidlab.models.mlp.network import DenseNetwork, forward, read_networks, widest, write_networks
from pidlab.sample import FloatArray

_FILE = "mlp.safetensors"
_SCORED_ON_GPU = 128  # units: narrower networks score millions of events a second on one thread, with the same bits


@dataclass(eq=False, repr=False, kw_only=True)  # scikit-learn reads the parameters from the `__init__` that this makes
class NetworkEstimator(Estimator):
    """What a classifier and a regressor of networks have in common; the matrices are saved beside the other numbers.

    The parameters are those of `MLP`.

    Attributes:
        networks_: one `DenseNetwork` for each member.
        missing_: what takes the place of missing values; None for a model of an older version.
    """

    networks_: tuple[DenseNetwork, ...] = field(init=False)
    hidden: Sequence[int] | None = None
    activation: str | None = None
    optimizer: str = "adam"
    momentum: float = 0.9
    learning_rate: float | None = None
    schedule: str | None = None
    batch_size: int | None = None
    epochs: int | None = None
    patience: int | None = None
    dropout: float | None = None
    batch_norm: bool = False
    weight_decay: float = 0.0
    members: int | None = None
    seed: int = 0
    device: str = "auto"

    def save(self, directory: Path) -> None:
        """Writes the JSON file of the model and `mlp.safetensors` into an existing directory."""
        super().save(directory)
        write_networks(directory / _FILE, self.networks_)

    def _restore_networks(self, content: Mapping[str, Any], directory: Path) -> None:
        """Takes the networks and what replaces missing values; the errors are those of `_restore`."""
        self.networks_ = read_networks(directory / _FILE, content["activation"])
        if self.activation not in (None, content["activation"]):
            raise ValueError(f"the activation is {self.activation} and {content['activation']}")
        self.missing_ = MissingValues.from_json(content.get("missing"), self.networks_[0].n_inputs)

    def _filled(self, x: Any) -> NDArray[Any]:
        """Returns the features (n, d + m) of a validation sample without missing values.

        Raises:
            ModelError: a value is infinite.
        """
        assert self.missing_ is not None
        filled = self.missing_.filled(np.asarray(x))
        if not np.isfinite(filled).all():
            raise ModelError("the validation sample has infinite values; the training sample has none")
        return filled


def filled_inputs(x: NDArray[Any], missing: MissingValues | None, network: DenseNetwork) -> NDArray[Any]:
    """Returns what a network reads of unchecked features (n, d): missing values are replaced if there were some.

    Raises:
        ModelError: x has another number of features than the training sample.
    """
    if missing is not None and missing.indicators and x.shape[1] == len(missing.fill):
        x = missing.filled(x)
    if x.shape[1] != network.n_inputs:
        raise ModelError(f"the network was trained on {network.n_inputs} features; {x.shape[1]} were given")
    return x


def on_gpu(networks: Sequence[DenseNetwork], device: str) -> bool:
    """Returns whether networks whose parameter `device` is this are scored on a GPU: wide ones, where there is one."""
    return widest(networks) >= _SCORED_ON_GPU and device != "cpu" and gpu_present()


def logits_of(networks: Sequence[DenseNetwork], x: FloatArray, device: str) -> FloatArray:
    """Returns logits (m, k, n) of m networks for features x (n, d) by the reference pass, here or on a GPU."""
    if on_gpu(networks, device):
        from pidlab.models.mlp.engine.devices import logits_on

        return logits_on(networks, x, device)
    return forward(networks, x)
