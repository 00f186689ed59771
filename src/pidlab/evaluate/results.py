"""The answers of an evaluation as values: what `metrics.json`, the plots, ROOT files and the report are made from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Measured(NamedTuple):
    """A number with its 68.3 % interval and the effective number of events that it rests on."""

    value: float
    low: float
    high: float
    n: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


UNDEFINED = Measured(math.nan, math.nan, math.nan, 0.0)


@dataclass(frozen=True, slots=True)
class Histogram:
    """A weighted 1-D histogram with the sums ROOT keeps, taken from the values and not from the bins.

    Attributes:
        edges: (b + 1,) bin edges, in the unit of the variable.
        sumw: (b + 2,) sum of weights; the first and last are under- and overflow.
        sumw2: (b + 2,) sum of squared weights.
        entries: number of values filled, flows included.
        moments: sum of w, w², w·x and w·x² of the values inside the axis range.
    """

    edges: Array
    sumw: Array
    sumw2: Array
    entries: int
    moments: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Roc:
    """A receiver operating characteristic, from tight to loose: m points, thresholds falling.

    Attributes:
        against: the class whose misidentification is counted ("rest" for all others together).
        threshold, efficiency, misid: (m,) each; decision is score > threshold.
        efficiency_low, efficiency_high, misid_low, misid_high: (m,) 68.3 % bounds.
        auc: area under the efficiency-misidentification curve, exact, not from these m points.
    """

    against: str
    threshold: Array
    efficiency: Array
    efficiency_low: Array
    efficiency_high: Array
    misid: Array
    misid_low: Array
    misid_high: Array
    auc: Measured


@dataclass(frozen=True, slots=True)
class SampleMetrics:
    """How one model does on one sample; accuracy and the confusion matrix are at `threshold` (argmax for k > 2).

    `confusion` is (k, k): the sum of weights, by true class and decided class.
    """

    auc: Measured
    balanced_accuracy: Measured
    accuracy: Measured
    separation: Measured
    threshold: float
    classes: tuple[str, ...]
    confusion: Array


@dataclass(frozen=True, slots=True)
class FlatThreshold:
    """A threshold that depends on one or two spectators, so that the efficiency is the same everywhere.

    Between the nodes it is linear (bilinear for two), beyond the outermost ones constant.

    Attributes:
        names: the spectators' expressions, one or two.
        nodes: for each spectator its (m,) rising nodes.
        values: (m[, m2]) thresholds at the nodes.
    """

    names: tuple[str, ...]
    nodes: tuple[Array, ...]
    values: Array


@dataclass(frozen=True, slots=True)
class WorkingPoint:
    """One threshold, chosen on validation for the `target` signal efficiency and quoted on test.

    With `flat` the threshold depends on spectators, and `threshold` is the one constant threshold of that efficiency.
    """

    name: str
    target: float
    threshold: float
    efficiency: Measured
    misid: Mapping[str, Measured]
    rejection: Mapping[str, Measured]
    purity: Measured
    flat: FlatThreshold | None = None


@dataclass(frozen=True, slots=True)
class EfficiencyMap:
    """The fraction of one class that passes a working point, in bins of one or two spectators.

    Attributes:
        working_point, particle: which decision, and which true class was counted.
        names: one or two spectators; `edges`: their bin edges.
        passed, total, passed2, total2: (bx[, by]) sums of w and of w².
        value, low, high: (bx[, by]) with 68.3 % bounds; NaN where a bin is empty.
        n: (bx[, by]) effective number of events.
    """

    working_point: str
    particle: str
    names: tuple[str, ...]
    edges: tuple[Array, ...]
    passed: Array
    total: Array
    passed2: Array
    total2: Array
    value: Array
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
class ModelResult:
    """Everything measured of one model.

    Attributes:
        kind: the `type` of the configuration.
        single_point: true for somebody's cuts as they are: one decision, no curve.
        samples: "train", "validation", "test" to metrics.
        response: sample, then true class, to the histogram of the signal's score.
        roc: against each other class, and against "rest" where there are several.
        cut_string: the decision at the first working point as a ROOT cut string, where the model is one.
        note: what a reader must know of these numbers; empty otherwise.
    """

    name: str
    kind: str
    single_point: bool
    samples: Mapping[str, SampleMetrics]
    working_points: tuple[WorkingPoint, ...]
    response: Mapping[str, Mapping[str, Histogram]]
    roc: Mapping[str, Roc]
    maps: tuple[EfficiencyMap, ...]
    overtraining: Overtraining | None
    training: Training | None
    cut_string: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class PairedPoint:
    """Misidentification of `particle` by b minus that by a, on the same events, at equal signal efficiency.

    `ratio` is misid(a) / misid(b): how many times fewer b lets through.
    """

    name: str
    particle: str
    efficiency: float
    delta_misid: Measured
    ratio: Measured
    verdict: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same test events; `delta_auc` is AUC(b) − AUC(a), undefined for a single point."""

    a: str
    b: str
    delta_auc: Measured
    working_points: tuple[PairedPoint, ...]


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
class Robustness:
    """All changes of one model; `breaks_at` maps "change feature" to the size where AUC lost 1 % of its way to 0.5.

    `nominal` is the same sample without a change, which the changes are to be held against.
    """

    points: tuple[RobustnessPoint, ...]
    breaks_at: Mapping[str, float | None]
    nominal: RobustnessPoint | None = None


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
    """

    signal: str
    classes: tuple[str, ...]
    features: tuple[str, ...]
    n: Mapping[str, Mapping[str, int]]
    cutflow: tuple[CutStep, ...]
    models: Mapping[str, ModelResult]
    comparisons: tuple[Comparison, ...]
    robustness: Mapping[str, Robustness]
    inputs: Mapping[str, Mapping[str, Histogram]]
    correlation: Mapping[str, Array]
    notes: tuple[str, ...] = ()


def plain(value: Any) -> Any:
    """`value` in JSON's own types: a Measured becomes {value, low, high, n}, NaN and infinities become null."""
    if isinstance(value, Measured):
        return {name: plain(number) for name, number in value._asdict().items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
