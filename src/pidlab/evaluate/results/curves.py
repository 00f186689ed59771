"""Distributions of a score, and curves over its threshold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
class Calibration:
    """The signal's probability against the share of signal on test, in b bins of equal sums of |weight|.

    Attributes:
        score: (b,) mean probability of each bin, rising.
        fraction, low, high: (b,) share of signal with 68.3 % bounds; NaN where the weights cancel.
        n: (b,) effective number of events.
        error: expected calibration error, the mean distance of share and probability; its lower bound allows for what
            fluctuation adds to it.
        rms_error: their root mean square distance, without what fluctuation adds.
        brier: mean of (probability - 1 or 0)².
        log_loss: mean of -ln(probability of what it is), signal or not.
        balanced: true where each class's weights were scaled to the same sum, as in training with `balance: equal`.
        method: what the scores went through: none, temperature or isotonic.
    """

    score: Array
    fraction: Array
    low: Array
    high: Array
    n: Array
    error: Measured
    rms_error: Measured
    brier: Measured
    log_loss: Measured
    balanced: bool
    method: str = "none"


@dataclass(frozen=True, slots=True)
class ScannedFigure:
    """One figure of merit against threshold, (m,) with 68.3 % bounds, NaN where undefined.

    Attributes:
        best: the threshold chosen for it on validation; None for purity, which is best where next to nothing is left.
        at_best, efficiency: the figure and the signal efficiency at `best` on test.
    """

    value: Array
    low: Array
    high: Array
    best: float | None
    at_best: Measured
    efficiency: Measured


@dataclass(frozen=True, slots=True)
class Scan:
    """Figures of merit on test: purity S / (S + B), significance S / √(S + B), punzi ε / (a/2 + √B).

    Attributes:
        threshold: (m,) falling; decision is score > threshold.
        efficiency: (m,) of the signal.
        merits: "purity", "significance", "punzi".
        expected: class to the number of candidates before the decision, from which S and B are.
        basis: where these come from: "expected", "abundance" (their sum that of test) or "sample".
        sigma: Punzi's a, the number of standard deviations that a discovery takes.
    """

    threshold: Array
    efficiency: Array
    merits: Mapping[str, ScannedFigure]
    expected: Mapping[str, float]
    basis: str
    sigma: float
