"""What a model loses when its features change or are shuffled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pidlab.measured import Measured


@dataclass(frozen=True, slots=True)
class RobustnessPoint:
    """The rates after one change of the test sample, at fixed thresholds; `feature` "all" changes every feature."""

    change: str
    feature: str
    size: float
    auc: Measured
    efficiency: Measured
    misid: Mapping[str, Measured]


@dataclass(frozen=True, slots=True)
class RobustnessResult:
    """All changes for one model; `breaks_at` maps "change feature" to the size at which the AUC lost 1 %.

    The 1 % refer to its distance to 0.5. `nominal` holds the rates of the same sample without a change.
    """

    points: tuple[RobustnessPoint, ...]
    breaks_at: Mapping[str, float | None]
    nominal: RobustnessPoint | None = None


@dataclass(frozen=True, slots=True)
class FeatureImportance:
    """The change of a model's rates on test if one feature is shuffled, at fixed thresholds: after minus before.

    `contribution` is the mean size of the feature's exact contribution to the signal's margin, if the model has one.
    """

    feature: str
    delta_auc: Measured
    delta_efficiency: Measured
    delta_misid: Mapping[str, Measured]
    contribution: Measured | None = None


@dataclass(frozen=True, slots=True)
class Importance:
    """The importance of the features of one model, in their order.

    Attributes:
        working_point: the point of efficiency and misidentification; empty for a model without any.
        n_candidates: number of shuffled candidates of test.
        repeats: number of shuffles.
        n_explained: number of candidates that contributions are averaged over; 0 for a model without contributions.
    """

    working_point: str
    n_candidates: int
    repeats: int
    features: tuple[FeatureImportance, ...]
    n_explained: int = 0
