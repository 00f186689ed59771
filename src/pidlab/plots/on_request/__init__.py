"""Figures on request: any figure of a run, restyled, on axes of one's own, for some of its models."""

from pidlab.plots.on_request.options import Options
from pidlab.plots.on_request.plots import Drawn, Plots

__all__ = ["Drawn", "Options", "Plots"]
