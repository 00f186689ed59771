"""Mass fit: extended maximum-likelihood fits of a sum of shapes to the distribution of one variable."""

from pidlab.datadriven.massfit.fit import Binned, Component, Fit, FitParameter, Goodness, Start, fit
from pidlab.datadriven.massfit.shapes import SHAPES, Guess, Parameter, Shape, guess_of, shape_of

__all__ = [
    "SHAPES",
    "Binned",
    "Component",
    "Fit",
    "FitParameter",
    "Goodness",
    "Guess",
    "Parameter",
    "Shape",
    "Start",
    "fit",
    "guess_of",
    "shape_of",
]
