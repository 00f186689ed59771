"""Gaussian naive Bayes with weights: the product of the features' normal densities in each class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pidlab.models.margins import Blocks, MarginClassifier, standardised


class NaiveBayes(MarginClassifier):
    """scikit-learn's GaussianNB on standardised features, with means and variances given back in the features' units.

    The margin of a class is ln π − ½ Σ_j [ln 2πσ_j² + (x_j − μ_j)² / σ_j²], with the class's share π of the weights.
    The probabilities are exact if the features of each class are normal and independent. Neither units nor a common
    factor of the weights change the model, and integer weights are the same as repeated rows.

    Args:
        var_smoothing: share of a feature's variance that is added to its variance in each class.

    Attributes:
        mean_, variance_: (k, d), in the units of the features and in their squares.
        prior_: (k,) shares of the classes; they sum to 1.
    """

    kind = "naive_bayes"
    arrays = ("mean", "variance", "prior")
    mean_: NDArray[np.float64]
    variance_: NDArray[np.float64]
    prior_: NDArray[np.float64]

    def __init__(self, var_smoothing: float = 1e-9) -> None:
        self.var_smoothing = var_smoothing

    def _fit(self, blocks: Blocks) -> None:
        from sklearn.naive_bayes import GaussianNB

        unit, mean, deviation = standardised(blocks)
        bayes = GaussianNB(var_smoothing=0)  # scikit-learn would take the share of a variance without weights
        for x, label, weight in unit():
            bayes.partial_fit(x, label, classes=np.arange(len(self.classes_)), sample_weight=weight)
        self.mean_ = bayes.theta_ * deviation + mean
        self.variance_ = (bayes.var_ + self.var_smoothing) * deviation**2
        self.prior_ = bayes.class_prior_

    def _margins(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        offsets = np.log(self.prior_) - 0.5 * np.log(2 * np.pi * self.variance_).sum(axis=1)
        classes = zip(offsets, self.mean_, self.variance_, strict=True)
        margins = np.column_stack([o - 0.5 * ((x - mean) ** 2 / variance).sum(axis=1) for o, mean, variance in classes])
        return margins[:, 1:] - margins[:, :1] if len(offsets) == 2 else margins

    def _check_arrays(self) -> None:
        k, shape = len(self.classes_), self.mean_.shape
        if shape[0] != k or self.variance_.shape != shape or self.prior_.shape != (k,):
            raise ValueError(f"{k} classes do not go with arrays of {shape[0]} rows")
        if (self.variance_ <= 0).any() or (self.prior_ <= 0).any():
            raise ValueError("a variance or a share is not positive")
