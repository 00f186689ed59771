"""Distributions of a score, and curves over its threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pidlab.measured import Array, Measured


@dataclass(frozen=True, slots=True)
class Histogram:
    """A weighted 1-D histogram with the sums that ROOT keeps, which are computed from the values, not from the bins.

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

    @property
    def limit_if_empty(self) -> float:
        """Returns the 68.3 % upper bound of the sum of weights in a bin without entries; NaN without positive weights.

        It is the upper end of the central Poisson interval for no event, -ln((1 - 0.683) / 2) = 1.84 (Garwood,
        Biometrika 28 (1936) 437), times the typical weight of this histogram, sum w² / sum w.
        """
        total, total2 = float(self.sumw.sum()), float(self.sumw2.sum())
        return -math.log((1 - math.erf(math.sqrt(0.5))) / 2) * total2 / total if total > 0 else math.nan


@dataclass(frozen=True, slots=True)
class Roc:
    """A receiver operating characteristic of m points, from the highest threshold to the lowest.

    Attributes:
        against: the class whose misidentification is measured ("rest" for all others together).
        threshold, efficiency, misid: (m,) each; decision is score > threshold.
        efficiency_low, efficiency_high, misid_low, misid_high: (m,) 68.3 % bounds.
        auc: area under the curve of efficiency against misidentification, computed from all scores.
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
    """The share of signal on test against the signal's probability, in b bins of equal sums of |weight|.

    Attributes:
        score: (b,) mean probability of each bin, rising.
        fraction, low, high: (b,) share of signal with 68.3 % bounds; NaN where the weights cancel.
        n: (b,) effective number of events.
        error: expected calibration error, the mean distance of share and probability. Its lower bound allows for its
            bias by fluctuations.
        rms_error: root mean square distance, corrected for its bias by fluctuations.
        brier: mean of (probability - 1)² for signal and probability² for other candidates.
        log_loss: mean of -ln(probability of the true answer, signal or not).
        balanced: True if each class's weights were scaled to the same sum, as in training with `balance: equal`.
        method: the method by which the scores were calibrated: none, temperature or isotonic.
        abundances: class to the share that its weights were scaled to; empty unless the model states its abundances.
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
    abundances: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScannedFigure:
    """One figure of merit against threshold, (m,) with 68.3 % bounds; NaN where it is undefined.

    Attributes:
        best: the best threshold on validation; None for purity, which is largest where almost no candidate is left.
        at_best, efficiency: the figure of merit and the signal efficiency on test at `best`.
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
        threshold: (m,) falling thresholds; the decision is score > threshold.
        efficiency: (m,) signal efficiency.
        merits: the figures "purity", "significance" and "punzi".
        expected: class to the number of candidates before the decision, which S and B are computed from.
        basis: source of these numbers: "expected", "abundance" (with the sum of test) or "sample".
        sigma: the number of standard deviations a of a discovery in Punzi's figure.
    """

    threshold: Array
    efficiency: Array
    merits: Mapping[str, ScannedFigure]
    expected: Mapping[str, float]
    basis: str
    sigma: float
