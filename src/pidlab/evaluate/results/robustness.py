"""What a model loses when its features change or are shuffled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pidlab.measured import Measured


@dataclass(frozen=True, slots=True)
class RobustnessPoint:
    """One change of the test sample (`feature` "all" changes every feature), thresholds as they were."""

    change: str
    feature: str
    size: float
    auc: Measured
    efficiency: Measured
    misid: Mapping[str, Measured]


@dataclass(frozen=True, slots=True)
class RobustnessResult:
    """All changes of one model; `breaks_at` maps "change feature" to the size where AUC lost 1 % of its way to 0.5.

    `nominal` is the same sample without a change, which the changes are to be held against.
    """

    points: tuple[RobustnessPoint, ...]
    breaks_at: Mapping[str, float | None]
    nominal: RobustnessPoint | None = None


@dataclass(frozen=True, slots=True)
class FeatureImportance:
    """What a model loses on test when one feature is shuffled: shuffled minus as it is, thresholds as they were.

    `contribution` is the mean size of the feature's exact contribution to the signal's margin, where a model has one.
    """

    feature: str
    delta_auc: Measured
    delta_efficiency: Measured
    delta_misid: Mapping[str, Measured]
    contribution: Measured | None = None


@dataclass(frozen=True, slots=True)
class Importance:
    """The features of one model, in their order.

    Attributes:
        working_point: where efficiency and misidentification are counted; empty for a model without any.
        n_candidates: how many of test were shuffled.
        repeats: how many times.
        n_explained: how many the contributions were averaged over; 0 for a model without.
    """

    working_point: str
    n_candidates: int
    repeats: int
    features: tuple[FeatureImportance, ...]
    n_explained: int = 0
