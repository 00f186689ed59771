"""The difference between the sample that the models were trained on and another sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pidlab.evaluate.results.curves import Histogram
from pidlab.measured import Measured


@dataclass(frozen=True, slots=True)
class FeatureShift:
    """The difference of one feature between two samples.

    Attributes:
        loss: loss of the classifier's AUC if this feature is shuffled among all candidates.
        auc: AUC of the feature alone; 0.5 if neither sample tends to larger values.
        ks, ks_p: the Kolmogorov-Smirnov distance of the two distributions, and its p-value.
        missing: the weighted share of candidates without the feature, in the run and in the files.
    """

    name: str
    loss: Measured
    auc: Measured
    ks: float
    ks_p: float
    missing: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Shift:
    """How well a classifier distinguishes two samples on events that it was not trained on.

    Attributes:
        n: number of candidates of each sample ("run" and "files").
        auc: AUC of the classifier; 0.5 if it cannot distinguish them.
        features: the features in the order of falling loss.
        response: sample to the histogram of the classifier's score.
        inputs: feature, then sample, to its histogram.
        sentence: the meaning of the AUC for a user.
    """

    n: Mapping[str, int]
    auc: Measured
    features: tuple[FeatureShift, ...]
    response: Mapping[str, Histogram]
    inputs: Mapping[str, Mapping[str, Histogram]]
    sentence: str
