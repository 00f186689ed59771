"""Bands: the mean and the width of variables of the signal as functions of others, and distances in widths."""

from typing import TYPE_CHECKING

from pidlab.moved import on_demand

if TYPE_CHECKING:
    from pidlab.models.band.estimator import Band

__all__ = ["Band"]

__getattr__ = on_demand(__name__, {"Band": "estimator"})
