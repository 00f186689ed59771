"""A whole run: its models, and how they compare."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pidlab.evaluate.results.curves import Histogram
from pidlab.evaluate.results.model import ModelResult
from pidlab.evaluate.results.robustness import Importance, RobustnessResult
from pidlab.measured import Array, Measured


@dataclass(frozen=True, slots=True)
class PairedPoint:
    """Misidentification of `particle` by b minus that by a, on the same events, at equal signal efficiency.

    `ratio` is misid(a) / misid(b): how many times fewer b lets through. `p` is the two-sided p-value of no difference,
    `p_adjusted` that after Holm's correction for all comparisons that were made together; NaN where nothing is
    compared, or an older version did not say.
    """

    name: str
    particle: str
    efficiency: float
    delta_misid: Measured
    ratio: Measured
    verdict: str
    p: float = math.nan
    p_adjusted: float = math.nan


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same test events; `delta_auc` is AUC(b) − AUC(a), undefined for a single point.

    `auc_p` and `auc_p_adjusted` are its p-values as those of a PairedPoint; `n_comparisons` were made together, areas
    and points of all pairs; 0 where an older version did not say.
    """

    a: str
    b: str
    delta_auc: Measured
    working_points: tuple[PairedPoint, ...]
    auc_p: float = math.nan
    auc_p_adjusted: float = math.nan
    n_comparisons: int = 0


@dataclass(frozen=True, slots=True)
class CutStep:
    """What is left after one named cut, by class: number of candidates and sum of weights."""

    name: str
    passed: Mapping[str, int]
    weighted: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Results:
    """A whole run.

    Attributes:
        n: sample, then class, to the number of candidates.
        inputs: feature, then class, to its histogram in the test sample.
        correlation: class to (d, d) linear correlation of the features, NaN where a feature is constant.
        notes: what every reader must know, in sentences.
        importance: model to what its features are worth.
        labels: feature or spectator to the text of its axis, with unit; TeX between dollars. Others go by their names.
    """

    signal: str
    classes: tuple[str, ...]
    features: tuple[str, ...]
    n: Mapping[str, Mapping[str, int]]
    cutflow: tuple[CutStep, ...]
    models: Mapping[str, ModelResult]
    comparisons: tuple[Comparison, ...]
    robustness: Mapping[str, RobustnessResult]
    inputs: Mapping[str, Mapping[str, Histogram]]
    correlation: Mapping[str, Array]
    notes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    importance: Mapping[str, Importance] = field(default_factory=dict)

    @property
    def flat_points(self) -> frozenset[str]:
        """The names of working points whose thresholds follow spectators."""
        return frozenset(p.name for model in self.models.values() for p in model.working_points if p.flat is not None)

    @property
    def ordinary_comparisons(self) -> tuple[Comparison, ...]:
        """The comparisons without flat working points, which stand at the same efficiencies as the ordinary ones."""
        flat = self.flat_points
        return tuple(
            dataclasses.replace(c, working_points=tuple(p for p in c.working_points if p.name not in flat))
            for c in self.comparisons
        )
