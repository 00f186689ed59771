"""Rectangular cuts, optimised and nested."""

from pidlab.models.cuts.estimator import Cuts

__all__ = ["Cuts"]
