"""Boosted decision trees."""

from typing import TYPE_CHECKING

from pidlab.moved import on_demand

if TYPE_CHECKING:
    from pidlab.models.bdt.estimator import BDT

__all__ = ["BDT"]

__getattr__ = on_demand(__name__, {"BDT": "estimator"})
