"""Figures: each function draws a result on axes; `figures` and `write` make all figures of a run."""

from pidlab.plots.comparison import delta_auc, delta_misid
from pidlab.plots.cutflow import cut_flow
from pidlab.plots.efficiency import efficiency
from pidlab.plots.gallery import Picture, figures, pictures, save_plots, write
from pidlab.plots.inputs import feature
from pidlab.plots.matrices import confusion, correlation, efficiency_map
from pidlab.plots.response import response
from pidlab.plots.robustness import dropped, robustness
from pidlab.plots.roc import roc, roc_ratio
from pidlab.plots.training import learning_curve

__all__ = [
    "Picture",
    "confusion",
    "correlation",
    "cut_flow",
    "delta_auc",
    "delta_misid",
    "dropped",
    "efficiency",
    "efficiency_map",
    "feature",
    "figures",
    "learning_curve",
    "pictures",
    "response",
    "robustness",
    "roc",
    "roc_ratio",
    "save_plots",
    "write",
]
