"""The neural network: its estimator, and the engine that trains many networks in one pass."""

from pidlab.models.mlp.estimator import MLP

__all__ = ["MLP"]
