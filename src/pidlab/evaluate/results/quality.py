"""More answers as values: calibration, importance of features, figures of merit, decided against true class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pidlab.measured import Array, Measured


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
