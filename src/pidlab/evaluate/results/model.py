"""Everything measured of one model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pidlab.evaluate.results.bands import BandVariable
from pidlab.evaluate.results.curves import Calibration, Histogram, Roc, Scan
from pidlab.evaluate.results.points import EfficiencyMap, Flatness, WorkingPoint
from pidlab.measured import UNDEFINED, Array, Measured


@dataclass(frozen=True, slots=True)
class SampleMetrics:
    """The metrics of one model on one sample.

    Accuracies and `confusion` are at `threshold`, or by the largest score for more than two classes. `confusion` (k, k)
    holds sums of weights by true and decided class. `n_by_class` is the effective number of events of each true class;
    it is empty in results of older versions.
    """

    auc: Measured
    balanced_accuracy: Measured
    accuracy: Measured
    separation: Measured
    threshold: float
    classes: tuple[str, ...]
    confusion: Array
    n_by_class: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DecisionMatrix:
    """The share of each true class that is decided to be each class, on test.

    Attributes:
        classes: k names, or the signal and "rest".
        rate, low, high: (k, k) by true and decided class with 68.3 % bounds. Rows sum to 1 minus the undecided share.
        n: (k,) effective number of events of each true class.
    """

    classes: tuple[str, ...]
    rate: Array
    low: Array
    high: Array
    n: Array


@dataclass(frozen=True, slots=True)
class Overtraining:
    """The comparison of train and test: a Kolmogorov-Smirnov p-value for each class, and AUC(train) - AUC(test)."""

    ks_p: Mapping[str, float]
    delta_auc: Measured


@dataclass(frozen=True, slots=True)
class Training:
    """Duration and epochs of the training; `history` holds a list for each quantity, with a value for each epoch.

    The history is that of the first of several folds or categories, and the mean over the networks of an ensemble.
    `warnings` are sentences on what went wrong in any of them, and what to change; it is empty in results of older
    versions.
    """

    seconds: float
    epochs: int
    history: Mapping[str, list[float]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scoring:
    """The time that it took to score `n` candidates of the test sample in one call."""

    n: int
    seconds: float

    @property
    def rate(self) -> float:
        """Returns the candidates per second; NaN if no time was measured."""
        return self.n / self.seconds if self.seconds > 0 else math.nan


@dataclass(frozen=True, slots=True)
class ModelResult:
    """Everything measured of one model.

    Attributes:
        kind: the `type` of the configuration.
        fixed_cut: True for a fixed cut, which has one decision and no curve.
        samples: "train", "validation", "test" to metrics.
        response: sample, then true class, to the histogram of the signal's score.
        roc: the curve against each other class, and against "rest" if there are several.
        cut_string: the decision at the first working point as a ROOT cut string, if it can be written as one.
        note: remarks on these numbers for the reader, in sentences.
        working_points: the working points, with flat ones at the end.
        flatness: one for each flat working point.
        calibration: the calibration of a model that gives probabilities.
        scan: figures of merit against threshold; None for a fixed cut.
        roc_pairs: class, then another class, to the curve of the two alone; empty for two classes.
        matrix: the decided against the true class.
        class_points: each class as the signal in turn, on its own score; empty for two classes.
        scoring: the speed of scoring; None if it was not measured.
        unset: name of each working point that could not be set, to the reason in a sentence.
        bands: the variables of a band; empty for other models, and in results of older versions.
        optimal_points: what a curve of `roc` is against, to its points "sweet_spot" (nearest to (0, 1)) and "youden",
            with thresholds of their own for each curve; empty in results of older versions.
    """

    name: str
    kind: str
    fixed_cut: bool = field(metadata={"saved_as": "single_point"})
    samples: Mapping[str, SampleMetrics]
    working_points: tuple[WorkingPoint, ...]
    response: Mapping[str, Mapping[str, Histogram]]
    roc: Mapping[str, Roc]
    maps: tuple[EfficiencyMap, ...]
    overtraining: Overtraining | None
    training: Training | None
    cut_string: str = ""
    note: str = ""
    scoring: Scoring | None = None
    calibration: Calibration | None = None
    scan: Scan | None = None
    roc_pairs: Mapping[str, Mapping[str, Roc]] = field(default_factory=dict)
    matrix: DecisionMatrix | None = None
    class_points: Mapping[str, tuple[WorkingPoint, ...]] = field(default_factory=dict)
    flatness: tuple[Flatness, ...] = ()
    unset: Mapping[str, str] = field(default_factory=dict)
    bands: tuple[BandVariable, ...] = ()
    optimal_points: Mapping[str, tuple[WorkingPoint, ...]] = field(default_factory=dict)

    @property
    def auc(self) -> Measured:
        """Returns the area under the ROC curve on test; undefined for a fixed cut."""
        return self.samples["test"].auc if "test" in self.samples else UNDEFINED

    @property
    def optimal(self) -> tuple[WorkingPoint, ...]:
        """Returns the optimal points of the first curve: against the only other class, or all others together."""
        main = "rest" if "rest" in self.optimal_points else next(iter(self.optimal_points), "")
        return self.optimal_points.get(main, ())

    @property
    def points(self) -> dict[str, WorkingPoint]:
        """Returns the working points by name, and the optimal points of the first curve."""
        return {point.name: point for point in (*self.working_points, *self.optimal)}

    def __repr__(self) -> str:
        points = ", ".join(f"{p.name}: efficiency {p.efficiency}" for p in self.working_points)
        return f"<{self.kind} {self.name}: AUC {self.auc}{f'; {points}' if points else ''}>"
