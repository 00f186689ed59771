"""The results of a regression: residuals and pulls of its models with intervals, and their comparisons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pidlab.evaluate.results.curves import Histogram
from pidlab.evaluate.results.exploration import Explained, PartialDependence, Plane
from pidlab.evaluate.results.model import Scoring, Training
from pidlab.evaluate.results.run import CutStep
from pidlab.measured import UNDEFINED, Array, Measured


@dataclass(frozen=True, slots=True)
class PullMetrics:
    """What the pulls (prediction - target) / sigma say of a predicted width.

    Attributes:
        chi2: χ²/ndf, the mean of the squared pulls; 1 if the widths are right.
        mean: mean of the pulls; 0 if the predictions are right.
        width: standard deviation of the pulls about their mean; 1 if the widths are right.
        sigma68: half the length of the central 68.3 % interval of the pulls, which tails do not change.
        log_likelihood: mean of the logarithm of the Gaussian density of the target, for each candidate.
        within_one, within_two: share of candidates whose pull lies within ± 1 and ± 2; .683 and .954 for a Gaussian.
    """

    chi2: Measured
    mean: Measured
    width: Measured
    sigma68: Measured
    log_likelihood: Measured
    within_one: Measured
    within_two: Measured


@dataclass(frozen=True, slots=True)
class QuantileCoverage:
    """The share of candidates whose target is not larger than a predicted quantile, which should be `probability`."""

    probability: float
    share: Measured


@dataclass(frozen=True, slots=True)
class ResidualMetrics:
    """The residuals, prediction - target, of one model on one sample.

    Attributes:
        n: number of candidates with a prediction.
        missing: number of candidates without one, which count in no other number.
        bias: mean of the residuals.
        median: median of the residuals.
        rms: root mean square of the residuals, the bias included.
        sigma68: half the length of the central 68.3 % interval of the residuals.
        effective: half the length of the smallest interval that holds 68.3 % of the residuals.
        mse: mean squared residual.
        mae: mean absolute residual.
        r2: 1 - mse / variance of the target, the share of the target's variance that the prediction explains.
        pulls: None if the model predicts no width.
        quantiles: a coverage for each quantile that the model predicts.
    """

    n: int
    missing: int
    bias: Measured
    median: Measured
    rms: Measured
    sigma68: Measured
    effective: Measured
    mse: Measured
    mae: Measured
    r2: Measured
    pulls: PullMetrics | None = None
    quantiles: tuple[QuantileCoverage, ...] = ()


@dataclass(frozen=True, slots=True)
class ResidualTrend:
    """Bias and σ68 of the residuals on test in b bins of the target or of a spectator.

    Attributes:
        x: the expression of the axis.
        edges: (b + 1,) edges of the bins.
        bias, bias_low, bias_high: (b,) mean residual with 68.3 % bounds; NaN in an empty bin.
        sigma68, sigma68_low, sigma68_high: (b,) half the central 68.3 % interval with 68.3 % bounds.
        n: (b,) effective number of candidates.
        least: bins with fewer effective candidates are thin.
    """

    x: str
    edges: Array
    bias: Array
    bias_low: Array
    bias_high: Array
    sigma68: Array
    sigma68_low: Array
    sigma68_high: Array
    n: Array
    least: float = 10.0


@dataclass(frozen=True, slots=True)
class PredictionPlane:
    """The distribution of test over the target (x) and the prediction (y), with the mean prediction in bins of x."""

    edges: Array
    plane: Plane


@dataclass(frozen=True, slots=True)
class RegressionOvertraining:
    """Train against test.

    Attributes:
        delta_rms: RMS(train) - RMS(test); negative if the model knows the training sample too well.
        p: two-sided p-value of no difference.
        sentence: the meaning for a user.
    """

    delta_rms: Measured
    p: float
    sentence: str


@dataclass(frozen=True, slots=True)
class RegressionModel:
    """Everything measured of one model of a regression.

    Attributes:
        name: by which the configuration calls it.
        kind: the `type` of the configuration.
        samples: "train", "validation", "test" to metrics.
        residuals: sample to the histogram of prediction - target; all samples and models have the same edges.
        plane: prediction against target on test.
        trends: one for the target, which is first, and one for each spectator.
        pulls: the histogram of the pulls on test; None if the model predicts no width.
        overtraining: None if there is nothing to compare.
        training: None for a model that is not trained.
        scoring: the speed of the predictions; None if it was not measured.
        note: remarks on these numbers for the reader, in sentences.
    """

    name: str
    kind: str
    samples: Mapping[str, ResidualMetrics]
    residuals: Mapping[str, Histogram]
    plane: PredictionPlane
    trends: tuple[ResidualTrend, ...]
    pulls: Histogram | None = None
    overtraining: RegressionOvertraining | None = None
    training: Training | None = None
    scoring: Scoring | None = None
    note: str = ""

    @property
    def test(self) -> ResidualMetrics:
        """Returns the metrics on test."""
        return self.samples["test"]

    @property
    def rms(self) -> Measured:
        """Returns the RMS of the residuals on test."""
        return self.samples["test"].rms if "test" in self.samples else UNDEFINED

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}: RMS {self.rms}>"


@dataclass(frozen=True, slots=True)
class PairedQuantity:
    """One quantity of model b minus that of a, on the same candidates of test.

    Attributes:
        name: rms, mae, sigma68 or log_likelihood, of which only the last is better if it is larger.
        difference: b - a with its paired 68.3 % interval.
        p, p_adjusted: two-sided p-value of no difference, alone and after Holm's correction for all comparisons of the
            run; NaN if nothing is compared.
        winner: the name of the better model, empty if no difference is shown; None if nothing is compared.
        verdict: the same in a sentence.
    """

    name: str
    difference: Measured
    p: float
    p_adjusted: float
    winner: str | None
    verdict: str


@dataclass(frozen=True, slots=True)
class RegressionComparison:
    """Two models on the same candidates of test; `n_comparisons` were made together, of quantities of all pairs."""

    a: str
    b: str
    quantities: tuple[PairedQuantity, ...]
    n_comparisons: int = 0

    def quantity(self, name: str) -> PairedQuantity | None:
        """Returns the comparison of one quantity; None if the models do not have it both."""
        return next((q for q in self.quantities if q.name == name), None)


@dataclass(frozen=True, slots=True)
class ResidualImportance:
    """The change of a model's residuals on test if one feature is shuffled: after minus before.

    `contribution` is the mean size of the feature's contribution to the prediction, if the model has contributions.
    """

    feature: str
    delta_rms: Measured
    delta_mae: Measured
    delta_sigma68: Measured
    contribution: Measured | None = None


@dataclass(frozen=True, slots=True)
class RegressionImportance:
    """The importance of the features of one model, in their order.

    Attributes:
        n_candidates: number of shuffled candidates of test.
        repeats: number of shuffles.
        features: of each feature.
        n_explained: number of candidates that contributions are averaged over; 0 for a model without contributions.
    """

    n_candidates: int
    repeats: int
    features: tuple[ResidualImportance, ...]
    n_explained: int = 0


@dataclass(frozen=True, slots=True)
class TargetProfile:
    """The mean and the spread of the target on test in b bins of a feature.

    Attributes:
        edges: (b + 1,) edges of the bins.
        mean, low, high: (b,) mean of the target with 68.3 % bounds; NaN in an empty bin.
        spread: (b,) standard deviation of the target.
        n: (b,) effective number of candidates.
    """

    edges: Array
    mean: Array
    low: Array
    high: Array
    spread: Array
    n: Array


@dataclass(frozen=True, slots=True)
class RegressionResults:
    """The results of a whole regression.

    Attributes:
        target: the expression that is predicted.
        features: d names.
        n: sample to the number of candidates.
        cutflow: the candidates that each cut leaves.
        models: in the order of the configuration.
        comparisons: one for each pair of models.
        inputs: feature to its histogram in the test sample.
        targets: sample to the histogram of the target.
        profiles: feature to the profile of the target against it on test.
        correlation: (d + 1, d + 1) linear correlation of the features and, last, of the target on test; NaN for a
            constant feature.
        notes: remarks for every reader, in sentences.
        labels: feature, spectator or target to its axis label with unit, TeX between dollars.
        reference: the model to which figures of all models refer.
        importance: model to the importance of its features; empty where it was not asked for, and in results of older
            versions, as the following.
        explained: model to the contributions of its features to the predictions of some candidates.
        dependence: model to the dependence of its prediction on its most important features.
    """

    target: str
    features: tuple[str, ...]
    n: Mapping[str, int]
    cutflow: tuple[CutStep, ...]
    models: Mapping[str, RegressionModel]
    comparisons: tuple[RegressionComparison, ...]
    inputs: Mapping[str, Histogram]
    targets: Mapping[str, Histogram]
    profiles: Mapping[str, TargetProfile]
    correlation: Array
    notes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    reference: str = ""
    importance: Mapping[str, RegressionImportance] = field(default_factory=dict)
    explained: Mapping[str, Explained] = field(default_factory=dict)
    dependence: Mapping[str, tuple[PartialDependence, ...]] = field(default_factory=dict)

    @property
    def ranked(self) -> list[RegressionModel]:
        """Returns the models with an RMS on test, the smallest first."""
        known = [m for m in self.models.values() if math.isfinite(m.rms.value)]
        return sorted(known, key=lambda m: m.rms.value)
