"""The answers of an evaluation as values: what `metrics.json`, the plots, ROOT files and the report are made from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.results.quality import Calibration, DecisionMatrix, Importance, Scan
from pidlab.measured import Array, Measured


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
    `cut_string` is the decision as a ROOT cut string, where the model is one.
    """

    name: str
    target: float
    threshold: float
    efficiency: Measured
    misid: Mapping[str, Measured]
    rejection: Mapping[str, Measured]
    purity: Measured
    flat: FlatThreshold | None = None
    cut_string: str = ""


@dataclass(frozen=True, slots=True)
class EfficiencyMap:
    """The fraction of one class that passes a working point, in bins of one or two spectators.

    Attributes:
        working_point, particle: which decision, and which true class was counted.
        names: one or two spectators; `edges`: their bin edges.
        passed, total, passed2, total2: (bx[, by]) sums of w and of w².
        value, low, high: (bx[, by]) with 68.3 % bounds; NaN where a bin is empty.
        n: (bx[, by]) effective number of events.
        least: bins with fewer effective events than this are `thin`.
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
    least: float = 10.0

    @property
    def thin(self) -> NDArray[np.bool_]:
        """(bx[, by]) true where a bin has events, but too few to lean on."""
        return np.asarray((self.n > 0) & (self.n < self.least))


@dataclass(frozen=True, slots=True)
class Flatness:
    """How even the signal efficiency is on test, in the bins of a flat working point.

    Attributes:
        working_point: its name.
        before, after: the signal's map at the one constant threshold, and at the thresholds that follow spectators.
        chi2_before, chi2_after: the distances of the bins, not thin ones, to their common mean in units of their
            intervals on test, squared and summed.
        ndf: bins less one.
        spread_before, spread_after: standard deviation of the efficiency over bins, beyond what test fluctuates.
    """

    working_point: str
    before: EfficiencyMap
    after: EfficiencyMap
    chi2_before: float
    chi2_after: float
    ndf: int
    spread_before: float
    spread_after: float


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
    robustness: Mapping[str, Robustness]
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


def plain(value: Any, *, exact: bool = False) -> Any:
    """Returns `value` in JSON's own types.

    A `Measured` becomes an object of its four numbers, and NaN and infinities become null. With `exact`, for a file
    that is read back into the same values, a `Measured` is the list of its four numbers, and NaN and infinities are
    strings. A field of a dataclass has the name that its metadata call `saved_as`, or else its own.
    """
    if isinstance(value, Measured):
        numbers = {name: plain(number, exact=exact) for name, number in value._asdict().items()}
        return list(numbers.values()) if exact else numbers
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {saved_name(f): plain(getattr(value, f.name), exact=exact) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v, exact=exact) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, exact=exact) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), exact=exact)
    if isinstance(value, np.generic):
        return plain(value.item(), exact=exact)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value) if exact else None
    return value


def saved_name(f: dataclasses.Field[Any]) -> str:
    """Returns the name of a field in files; where the field was renamed, files keep the name that they had."""
    name: str = f.metadata.get("saved_as", f.name)
    return name
