"""The results of a whole run: its models and their comparisons."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pidlab.evaluate.results.curves import Histogram
from pidlab.evaluate.results.detectors import DetectorTable
from pidlab.evaluate.results.exploration import Exploration, PolygonResult
from pidlab.evaluate.results.identified import Identified
from pidlab.evaluate.results.model import ModelResult
from pidlab.evaluate.results.reweighting import Reweighting
from pidlab.evaluate.results.robustness import Importance, RobustnessResult
from pidlab.measured import Array, Measured


@dataclass(frozen=True, slots=True)
class PairedPoint:
    """Misidentification of `particle` by b minus that by a, on the same events, at equal signal efficiency.

    `ratio` is misid(a) / misid(b). `p` is the two-sided p-value of no difference, and `p_adjusted` that after Holm's
    correction for all comparisons that were made together. Both are NaN if nothing is compared, and in results of older
    versions. `winner` is the name of the better model, empty if no difference is shown; it is None if nothing is
    compared, and in results of older versions.
    """

    name: str
    particle: str
    efficiency: float
    delta_misid: Measured
    ratio: Measured
    verdict: str
    p: float = math.nan
    p_adjusted: float = math.nan
    winner: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same test events; `delta_auc` is AUC(b) - AUC(a), which is undefined for a fixed cut.

    `auc_p` and `auc_p_adjusted` are its p-values, as in a PairedPoint. `n_comparisons` is the number of comparisons
    that were made together, of areas and points of all pairs; it is 0 in results of older versions.
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
    """The candidates of each class that are left after a named cut: their number and sum of weights."""

    name: str
    passed: Mapping[str, int]
    weighted: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Results:
    """The results of a whole run.

    Attributes:
        n: sample, then class, to the number of candidates.
        inputs: feature, then class, to its histogram in the test sample.
        correlation: class to the linear correlation (d, d) of the features; NaN for a constant feature.
        notes: remarks for every reader, in sentences.
        importance: model to the importance of its features.
        detectors: likelihood with several detectors to what each of them contributes; empty in results of older
            versions.
        labels: feature or spectator to its axis label with unit, TeX between dollars; the default is its name.
        exploration: what is drawn to explore the sample and the models; empty in results of older versions.
        reference: the model to which figures of all models refer; empty for a user's own cuts, or else the optimised
            cuts, or else the first model.
        polygons: the polygons of the configuration; empty in results of older versions.
        reweighting: the weights that made classes alike; None without, and in results of older versions.
        identified: features and spectators after identification; None in results of older versions.
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
    exploration: Exploration = field(default_factory=Exploration)
    reference: str = ""
    polygons: tuple[PolygonResult, ...] = ()
    detectors: Mapping[str, DetectorTable] = field(default_factory=dict)
    reweighting: Reweighting | None = None
    identified: Identified | None = None

    @property
    def ranked(self) -> list[ModelResult]:
        """Returns the models with an AUC on test, the largest first."""
        known = [m for m in self.models.values() if math.isfinite(m.auc.value)]
        return sorted(known, key=lambda m: -m.auc.value)

    @property
    def ordinary_comparisons(self) -> tuple[Comparison, ...]:
        """Returns the comparisons without flat working points, whose efficiencies are those of the ordinary ones."""
        flat = {p.name for model in self.models.values() for p in model.working_points if p.flat is not None}
        return tuple(
            dataclasses.replace(c, working_points=tuple(p for p in c.working_points if p.name not in flat))
            for c in self.comparisons
        )
