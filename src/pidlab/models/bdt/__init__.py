"""Boosted decision trees."""

from pidlab.models.bdt.estimator import BDT

__all__ = ["BDT"]
