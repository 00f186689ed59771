"""Rectangular cuts, optimised and nested."""

from typing import TYPE_CHECKING

from pidlab.moved import on_demand

if TYPE_CHECKING:
    from pidlab.models.cuts.estimator import Cuts

__all__ = ["Cuts"]

__getattr__ = on_demand(__name__, {"Cuts": "estimator"})
