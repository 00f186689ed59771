"""Everything measured of one model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pidlab.evaluate.results.curves import Calibration, Histogram, Roc, Scan
from pidlab.evaluate.results.points import EfficiencyMap, Flatness, WorkingPoint
from pidlab.measured import Array, Measured


@dataclass(frozen=True, slots=True)
class SampleMetrics:
    """How one model does on one sample; accuracy and the confusion matrix are at `threshold` (argmax for k > 2).

    `confusion` is (k, k): the sum of weights, by true class and decided class. `n_by_class` is the effective number of
    events of each true class, empty in results of older versions.
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
        classes: k names, or signal and "rest".
        rate, low, high: (k, k) by true and decided class with 68.3 % bounds. Rows sum to 1 less what is undecided.
        n: (k,) effective number of events of each true class.
    """

    classes: tuple[str, ...]
    rate: Array
    low: Array
    high: Array
    n: Array


@dataclass(frozen=True, slots=True)
class Overtraining:
    """Train against test: a Kolmogorov–Smirnov p-value for each class, and AUC(train) − AUC(test)."""

    ks_p: Mapping[str, float]
    delta_auc: Measured


@dataclass(frozen=True, slots=True)
class Training:
    """What training took; `history` holds one list a quantity, an entry an epoch or round."""

    seconds: float
    epochs: int
    history: Mapping[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scoring:
    """How long it took to score `n` candidates of the test sample, in one go."""

    n: int
    seconds: float

    @property
    def rate(self) -> float:
        """Candidates a second; NaN where no time passed."""
        return self.n / self.seconds if self.seconds > 0 else math.nan


@dataclass(frozen=True, slots=True)
class ModelResult:
    """Everything measured of one model.

    Attributes:
        kind: the `type` of the configuration.
        fixed_cut: true for somebody's cuts as they are: one decision, no curve.
        samples: "train", "validation", "test" to metrics.
        response: sample, then true class, to the histogram of the signal's score.
        roc: against each other class, and against "rest" where there are several.
        cut_string: the decision at the first working point as a ROOT cut string, where the model is one.
        note: what a reader must know of these numbers; empty otherwise.
        working_points: the flat ones stand behind the others.
        flatness: one for each flat working point.
        calibration: of a model that gives probabilities.
        scan: figures of merit against threshold; None for a single point.
        roc_pairs: class, then another, to the curve of the two alone; empty for two classes.
        matrix: decided against true class.
        class_points: each class as the signal in turn, on its own score; empty for two classes.
        scoring: how fast it scores; None where that was not measured.
        unset: the names of working points that could not be set, each with the reason in a sentence.
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
