"""Likelihood: a density of each detector's variables in each class, whose logarithms are added over the detectors."""

from __future__ import annotations

from pidlab.models.likelihood.estimator import Likelihood

__all__ = ["Likelihood"]
