"""Networks that predict a target: their parameters, and what they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pidlab.measured import Array
from pidlab.models.mlp.base import logits_of
from pidlab.models.mlp.network import DenseNetwork
from pidlab.models.mlp.presets import check
from pidlab.sample import FloatArray


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Checks all parameters but the loss.

    Raises:
        ModelError: as `presets.check`.
    """
    check({name: value for name, value in parameters.items() if name != "loss"})


def raw_outputs(networks: Sequence[DenseNetwork], x: FloatArray, device: str = "cpu") -> Array:
    """Returns (n, m) the mean of what the members give for scaled features (n, d).

    It is computed in double precision from weights in single precision, as every export does. Networks with a layer of
    128 units or more are scored on a GPU if `device` means one.
    """
    return np.asarray(logits_of(networks, np.asarray(x, np.float64), device).mean(axis=0).T)
