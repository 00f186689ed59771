"""The network."""

from pidlab.models.mlp.estimator import MLP

__all__ = ["MLP"]
