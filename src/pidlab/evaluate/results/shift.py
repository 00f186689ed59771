"""The answer to: is this sample like the one that the models were trained on?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pidlab.evaluate.results.curves import Histogram
from pidlab.measured import Measured


@dataclass(frozen=True, slots=True)
class FeatureShift:
    """How one feature differs between two samples.

    Attributes:
        loss: of AUC, when this feature is shuffled among all candidates: what the classifier had from it.
        auc: of the feature alone, 0.5 where neither sample tends to larger values.
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
    """How well a classifier that was not told the answer tells two samples apart.

    Attributes:
        n: candidates of each sample ("run" and "files").
        auc: out of fold, 0.5 where it cannot tell.
        features: the one that it has most from first.
        response: sample to the histogram of the classifier's score.
        inputs: feature, then sample, to its histogram.
        sentence: what it means.
    """

    n: Mapping[str, int]
    auc: Measured
    features: tuple[FeatureShift, ...]
    response: Mapping[str, Histogram]
    inputs: Mapping[str, Mapping[str, Histogram]]
    sentence: str
