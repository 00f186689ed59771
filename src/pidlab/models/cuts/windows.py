"""Boxes in the features' own units: who passes, how far in, and the same decision as a ROOT cut string."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from pidlab.errors import ModelError
from pidlab.sample import BoolArray, FloatArray, IntArray

Array = NDArray[np.float64]

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*(\[\d+\])*")
FIGURES = ("efficiency", "significance", "punzi", "purity")
_PUNZI_SIGMAS = 3.0
_ROUNDING = 1e-9  # by which sums of weights in another order may differ
_RANK_SHARE = 1e-3  # of the score: keeps boxes apart where the purity between them is the same


@dataclass(frozen=True, slots=True)
class Box:
    """One working point: a window for each of d features.

    A candidate passes where low < x < high for every feature, strictly. An infinite face cuts nothing; a missing value
    (NaN) passes a window without faces and fails every other.

    Attributes:
        low, high: (d,) in the features' units.
        efficiency, background: the weighted shares of signal and background that pass, in the training sample.
    """

    low: Array
    high: Array
    efficiency: float
    background: float

    def passes(self, X: FloatArray) -> BoolArray:
        """(n,) whether each row of X (n, d) lies in the box."""
        passed = np.ones(len(X), dtype=bool)
        for j, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            x = X[:, j].astype(np.float64)  # a float32 face would be another cut
            if low > -math.inf:
                passed &= x > low
            if high < math.inf:
                passed &= x < high
        return passed

    def cut_string(self, names: Sequence[str]) -> str:
        """The box as TTree::Draw, RDataFrame and numpy read it; "1" where it cuts nothing, "0" where nothing passes.

        Args:
            names: d names or expressions; what is not a plain branch name is put in brackets.
        """
        if len(names) != len(self.low):
            raise ModelError(f"the box has {len(self.low)} features, and {len(names)} names were given")
        if np.any(self.low >= self.high):
            return "0"
        terms = []
        for name, low, high in zip(names, self.low.tolist(), self.high.tolist(), strict=True):
            name = name if _PLAIN_NAME.fullmatch(name) else f"({name})"
            terms += [f"{name} > {low!r}"] if low > -math.inf else []
            terms += [f"{name} < {high!r}"] if high < math.inf else []
        return " && ".join(terms) or "1"


class NestedPoint(NamedTuple):
    """What nesting costs at one signal efficiency: weighted shares of the training sample.

    Attributes:
        target: the signal efficiency asked for.
        efficiency, background: of the box of the chain that serves it, the tightest of at least this efficiency.
        own_optimum: the background of the best box found for this efficiency, nested or not.
    """

    target: float
    efficiency: float
    background: float
    own_optimum: float


@dataclass(frozen=True, slots=True)
class Windows:
    """The boxes of one class against the rest, from loose to tight: m boxes, d features.

    Attributes:
        low, high: (m, d) faces, as in Box.
        efficiency, background: (m,) in the training sample.
        level_score: (m + 1,) the score of a candidate that passes the first 0, 1 … m boxes, rising; empty where the
            boxes are not nested, and there is no score.
        event: the efficiency of the lightest signal event in the training sample; 0 where it was not kept.
    """

    low: Array
    high: Array
    efficiency: Array
    background: Array
    level_score: Array
    event: float = 0.0

    def __len__(self) -> int:
        return len(self.efficiency)

    def box(self, number: int) -> Box:
        """The box of this number; -1 is the whole space, m is no space at all."""
        d = self.low.shape[1]
        if number < 0:
            return Box(np.full(d, -math.inf), np.full(d, math.inf), 1.0, 1.0)
        if number >= len(self):
            return Box(np.full(d, math.inf), np.full(d, -math.inf), 0.0, 0.0)
        efficiency, background = float(self.efficiency[number]), float(self.background[number])
        return Box(self.low[number], self.high[number], efficiency, background)

    def at_efficiency(self, efficiency: float) -> Box:
        """The tightest box that kept this share of the training signal, to the nearest event.

        Raises:
            ModelError: no box is as loose as that.
        """
        least = float(to_nearest_event(efficiency, self.event))
        number = int(np.searchsorted(-self.efficiency, -least + _ROUNDING, side="right")) - 1
        if number < 0:
            raise ModelError(
                f"no box keeps {efficiency:g} of the signal: the loosest keeps {self.efficiency[0]:.6g}; "
                "ask for less, or allow the cuts less (sides, ranges)"
            )
        return self.box(number)

    def above(self, threshold: float) -> Box:
        """The box of `score > threshold`."""
        level = int(np.searchsorted(self.level_score, threshold, side="right"))
        return self.box(level - 1)

    def score(self, X: FloatArray) -> Array:
        """(n,) the score of each row of X (n, d), exact in float32."""
        return self.level_score[self.levels(X)]

    def levels(self, X: FloatArray) -> IntArray:
        """(n,) how many boxes each row of X (n, d) passes, from the loosest on."""
        level = np.full(len(X), len(self), dtype=np.int64)
        for j in range(self.low.shape[1]):
            if np.isfinite(self.low[-1, j]) or np.isfinite(self.high[-1, j]):
                np.minimum(level, self._feature_levels(X[:, j], self.low[:, j], self.high[:, j]), out=level)
        return level

    def _feature_levels(self, x: FloatArray, low: Array, high: Array) -> IntArray:
        """(n,) how many windows (low, high) (m,) of one feature let x (n,) pass: one search among all their faces."""
        m = len(low)
        open_low, open_high = int(np.sum(low == -math.inf)), int(np.sum(high == math.inf))
        # x < high is "not x > the number before high": so all faces ask the same question, how many are below x
        faces = np.concatenate([low, np.nextafter(high[::-1], -math.inf)])
        distinct = np.unique(faces)
        below = np.concatenate([[0], np.searchsorted(faces, distinct, side="right")])
        table = np.minimum(below, 2 * m - below)
        table[0] = max(table[0], open_low)  # reached where the face is -inf by x = -inf alone
        table[-1] = max(table[-1], open_high)
        level = table[np.searchsorted(distinct, x, side="left")]
        level[np.isnan(x)] = min(open_low, open_high)
        return np.asarray(level)

    def to_json(self) -> dict[str, Any]:
        """The windows in JSON's types; null is a face that cuts nothing."""

        def faces(values: Array) -> list[list[float | None]]:
            return [[v if math.isfinite(v) else None for v in row] for row in values.tolist()]

        return {
            "low": faces(self.low),
            "high": faces(self.high),
            "efficiency": self.efficiency.tolist(),
            "background": self.background.tolist(),
            "level_score": self.level_score.tolist(),
            "event": self.event,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The windows that `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: the content is not theirs.
        """

        def faces(key: str, nothing: float) -> Array:
            return np.array([[nothing if v is None else float(v) for v in row] for row in content[key]])

        efficiency, background, level_score = (
            np.array(content[key], dtype=np.float64) for key in ("efficiency", "background", "level_score")
        )
        event = float(content.get("event", 0.0))  # cuts of older runs kept at least the share asked for
        if not 0 <= event <= 1:
            raise ValueError("the efficiency of one event is no share")
        low, high = faces("low", -math.inf), faces("high", math.inf)
        windows = cls(low, high, efficiency, background, level_score, event)
        m = len(windows)
        if windows.low.shape != windows.high.shape or windows.low.ndim != 2 or m == 0:
            raise ValueError("the faces are no table")
        if not len(windows.low) == len(windows.background) == m or len(windows.level_score) not in (0, m + 1):
            raise ValueError("the lists differ in length")
        windows._check_order()
        return windows

    def _check_order(self) -> None:
        """Refuse what the searches in sorted lists rely on and is not so.

        Raises:
            ValueError: a number is missing, or boxes are not in their order.
        """
        if np.isnan(self.low).any() or np.isnan(self.high).any() or np.ndim(self.level_score) != 1:
            raise ValueError("a face is no number")
        shares = np.stack([self.efficiency, self.background])
        if not np.isfinite(shares).all() or (np.diff(self.efficiency) > _ROUNDING).any():
            raise ValueError("the efficiencies do not fall from box to box")
        if not len(self.level_score):
            return
        if not np.isfinite(self.level_score).all() or (np.diff(self.level_score) <= 0).any():
            raise ValueError("the scores do not rise from box to box")
        with np.errstate(invalid="ignore"):  # the difference of two infinite faces, which are the same
            if (np.diff(self.low, axis=0) < 0).any() or (np.diff(self.high, axis=0) > 0).any():
                raise ValueError("a box does not lie in the one before it")


def to_nearest_event(target: float | Array, event: float) -> Array:
    """The least efficiency that counts as `target`, where the lightest signal event is worth `event`: half of it less.

    With n signal events of one weight the box of most use has round(target · n) of them. To ask for at least the target
    would give up to a whole event more: with 78 events 91.0 % for 90 %, and the misidentification of 91 %. Where two
    numbers are as near, the larger one counts. A target of less than one event is not moved.
    """
    target = np.asarray(target, dtype=np.float64)
    return np.maximum(target - (0.5 - 1e-6) * event, np.minimum(target, event))


def level_scores(efficiency: Array, background: Array, signal_weight: float, background_weight: float) -> Array:
    """(m + 1,) a score for each shell of a chain of m boxes, rising strictly inwards, exact in float32, in [0, 1].

    The score is the signal's share of the weight in the shell between two boxes, made monotone by isotonic regression,
    with a thousandth of it given to the shell's number, so that no two shells share a score.
    """
    m = len(efficiency)
    signal = signal_weight * -np.diff(efficiency, prepend=1.0, append=0.0)
    rest = background_weight * -np.diff(background, prepend=1.0, append=0.0)
    total = np.maximum(signal + rest, 0.0)
    inhabited = total > 1e-12 * total.sum()
    purity = np.clip(signal[inhabited] / total[inhabited], 0.0, 1.0)
    monotone = isotonic_regression(purity, weights=total[inhabited]).x
    nearest = np.maximum(np.cumsum(inhabited) - 1, 0)
    share = max(_RANK_SHARE, 1e-6 * m)
    score = (1 - share) * np.clip(monotone[nearest], 0.0, 1.0) + share * np.arange(m + 1) / m
    return np.asarray(score.astype(np.float32), dtype=np.float64)


def optimum(windows: Windows, figure: str, signal_yield: float, background_yield: float, least: float) -> Box | None:
    """The box with the best figure of merit among those that keep at least this efficiency; None for "efficiency".

    "significance" is S / sqrt(S + B); "punzi" efficiency / (a / 2 + sqrt(B)) at a = 3 (Punzi, physics/0308063);
    "purity" S / (S + B).
    """
    if figure == "efficiency":
        return None
    signal, background = windows.efficiency * signal_yield, windows.background * background_yield
    total = np.maximum(signal + background, np.finfo(np.float64).tiny)
    merit = {
        "significance": signal / np.sqrt(total),
        "punzi": windows.efficiency / (_PUNZI_SIGMAS / 2 + np.sqrt(background)),
        "purity": signal / total,
    }[figure]
    return windows.box(int(np.argmax(np.where(windows.efficiency >= least - 1e-9, merit, -math.inf))))
