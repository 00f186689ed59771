"""The neural network: its estimator, and the engine that trains many networks in one pass."""

from typing import TYPE_CHECKING

from pidlab.moved import on_demand

if TYPE_CHECKING:
    from pidlab.models.mlp.estimator import MLP

__all__ = ["MLP"]

__getattr__ = on_demand(__name__, {"MLP": "estimator"})
