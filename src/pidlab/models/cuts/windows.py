"""Boxes in the units of the features: which candidates pass, their scores, and the boxes as ROOT cut strings."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.optimize import isotonic_regression

from pidlab.errors import ModelError
from pidlab.models.cuts.grid import Array
from pidlab.sample import BoolArray, FloatArray, IntArray

_BRANCH_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*(\[\d+\])*")
_ROUNDING = 1e-9  # the largest difference of sums of weights that are added in another order
_RANK_SHARE = 1e-3  # of the score: makes the scores of boxes differ if the purity between them is the same


@dataclass(frozen=True, slots=True)
class Box:
    """One working point: a window for each of d features, and tighter boxes that are accepted too.

    A candidate passes if low < x < high for every feature, strictly. An infinite face cuts nothing; a missing value
    (NaN) passes a window without faces and fails every other window. A candidate in one of the alternatives passes as
    well; there are some only where tighter boxes could not lie inside this one.

    Attributes:
        low, high: (d,) in the features' units.
        efficiency, background: the weighted shares of signal and background that pass, in the training sample.
        alternatives: the loosest boxes of tighter chains, with the rates of what they and still tighter ones accept.
    """

    low: Array
    high: Array
    efficiency: float
    background: float
    alternatives: tuple[Box, ...] = ()

    @property
    def boxes(self) -> tuple[Box, ...]:
        """This box without alternatives, and then these."""
        return (replace(self, alternatives=()), *self.alternatives)

    def passes(self, X: FloatArray) -> BoolArray:
        """Returns whether each row of X (n, d) lies in the box or in one of its alternatives, (n,)."""
        passed = np.ones(len(X), dtype=bool)
        for j, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            x = X[:, j].astype(np.float64)  # rounding a face to float32 would change the cut
            if low > -math.inf:
                passed &= x > low
            if high < math.inf:
                passed &= x < high
        for box in self.alternatives:
            passed |= box.passes(X)
        return passed

    def cut_string(self, names: Sequence[str], there: Sequence[Sequence[str]] = ()) -> str:
        """Returns the box as TTree::Draw, RDataFrame and numpy read it; "1" if it cuts nothing, "0" if nothing passes.

        Args:
            names: d names or expressions; anything but a branch name is put in brackets.
            there: for each feature the conditions that its value is no code of a missing one; empty if there are none.
        """
        if len(names) != len(self.low):
            raise ModelError(f"the box has {len(self.low)} features, and {len(names)} names were given")
        if self.alternatives:
            return " || ".join(f"({box.cut_string(names, there)})" for box in self.boxes)
        if np.any(self.low >= self.high):
            return "0"
        terms: list[str] = []
        present: list[str] = []
        for name, own, low, high in zip(
            names, there or ((),) * len(names), self.low.tolist(), self.high.tolist(), strict=True
        ):
            x = name if _BRANCH_NAME.fullmatch(name) else f"({name})"
            faces = [f"{x} > {low!r}"] if low > -math.inf else []
            faces += [f"{x} < {high!r}"] if high < math.inf else []
            terms += faces
            present += own if faces else ()
        return " && ".join(terms + present) or "1"


class NestedPoint(NamedTuple):
    """The cost of nesting at one signal efficiency, in weighted shares of the training sample.

    Attributes:
        target: the wanted signal efficiency.
        efficiency, background: the rates of the tightest box of the chain with at least this efficiency.
        own_optimum: the background of the best box found for this efficiency, nested or not.
    """

    target: float
    efficiency: float
    background: float
    own_optimum: float


@dataclass(frozen=True, slots=True)
class Windows:
    """The boxes of one class against the rest, from loose to tight: m boxes, d features.

    Nested boxes form one chain, each box inside the one before. Where good boxes cannot be nested a new chain begins; a
    candidate is accepted at a level if it lies in a box of this level or of a tighter one.

    Attributes:
        low, high: (m, d) faces, as in Box.
        efficiency, background: (m,) of the candidates that are accepted at this level, in the training sample.
        level_score: (m + 1,) the score of a candidate in none of the boxes, and of one whose tightest box is the first,
            the second …, rising; empty if each box stands for itself, since there is no score then.
        event: the efficiency of the lightest signal event in the training sample; 0 in files that do not hold it.
        starts: the index of the first box of each chain, ascending; the first is 0.
    """

    low: Array
    high: Array
    efficiency: Array
    background: Array
    level_score: Array
    event: float = 0.0
    starts: tuple[int, ...] = (0,)

    def __len__(self) -> int:
        return len(self.efficiency)

    def box(self, index: int) -> Box:
        """Returns the box of this index; -1 is the whole space, and m is an empty box."""
        d = self.low.shape[1]
        if index < 0:
            return Box(np.full(d, -math.inf), np.full(d, math.inf), 1.0, 1.0)
        if index >= len(self):
            return Box(np.full(d, math.inf), np.full(d, -math.inf), 0.0, 0.0)
        own, *tighter = (
            Box(self.low[i], self.high[i], float(self.efficiency[i]), float(self.background[i]))
            for i in (index, *(start for start in self.starts if start > index))
        )
        return replace(own, alternatives=tuple(tighter))

    def chains(self) -> list[Windows]:
        """Returns the chains, loose to tight; a candidate's score is the largest of those that its chains give."""
        parts = []
        for start, stop in itertools.pairwise((*self.starts, len(self))):
            rows, scores = slice(start, stop), self.level_score[[0, *range(start + 1, stop + 1)]]
            faces = self.low[rows], self.high[rows]
            parts.append(Windows(*faces, self.efficiency[rows], self.background[rows], scores, self.event))
        return parts

    def at_efficiency(self, efficiency: float) -> Box:
        """Returns the tightest box that kept this share of the training signal, to the nearest event.

        Raises:
            ModelError: no box keeps that much signal.
        """
        least = float(to_nearest_event(efficiency, self.event))
        index = int(np.searchsorted(-self.efficiency, -least + _ROUNDING, side="right")) - 1
        if index < 0:
            raise ModelError(
                f"no box keeps {100 * efficiency:g} % of the signal: the loosest keeps "
                f"{100 * self.efficiency[0]:.5g} %; ask for less, or allow the cuts less (sides, ranges)"
            )
        return self.box(index)

    def above(self, threshold: float) -> Box:
        """Returns the box of `score > threshold`."""
        level = int(np.searchsorted(self.level_score, threshold, side="right"))
        return self.box(level - 1)

    def score(self, X: FloatArray) -> Array:
        """Returns the score of each row of X (n, d), (n,), exact in float32."""
        return self.level_score[self.levels(X)]

    def levels(self, X: FloatArray) -> IntArray:
        """Returns the level of each row of X (n, d), (n,): 1 + the index of the tightest box that it passes, or 0."""
        levels = np.zeros(len(X), dtype=np.int64)
        for start, chain in zip(self.starts, self.chains(), strict=True):
            passed = chain._passed(X)
            np.maximum(levels, np.where(passed > 0, start + passed, 0), out=levels)
        return levels

    def _passed(self, X: FloatArray) -> IntArray:
        """Returns the number of boxes of a single chain that each row of X (n, d) passes, (n,)."""
        level = np.full(len(X), len(self), dtype=np.int64)
        for j in range(self.low.shape[1]):
            if np.isfinite(self.low[-1, j]) or np.isfinite(self.high[-1, j]):
                np.minimum(level, self._feature_levels(X[:, j], self.low[:, j], self.high[:, j]), out=level)
        return level

    def _feature_levels(self, x: FloatArray, low: Array, high: Array) -> IntArray:
        """Returns how many windows low, high (m,) of one feature x (n,) passes, by one search among all faces."""
        m = len(low)
        open_low, open_high = int(np.sum(low == -math.inf)), int(np.sum(high == math.inf))
        # x < high means that x is not above the number before high: so one count of the faces below x answers for all
        faces = np.concatenate([low, np.nextafter(high[::-1], -math.inf)])
        distinct = np.unique(faces)
        below = np.concatenate([[0], np.searchsorted(faces, distinct, side="right")])
        table = np.minimum(below, 2 * m - below)
        table[0] = max(table[0], open_low)  # for a face at -inf only x = -inf comes here
        table[-1] = max(table[-1], open_high)
        level = table[np.searchsorted(distinct, x, side="left")]
        level[np.isnan(x)] = min(open_low, open_high)
        return np.asarray(level)

    def to_json(self) -> dict[str, Any]:
        """Returns the windows in types of JSON; null is a face that cuts nothing."""

        def faces(values: Array) -> list[list[float | None]]:
            return [[v if math.isfinite(v) else None for v in row] for row in values.tolist()]

        return {
            "low": faces(self.low),
            "high": faces(self.high),
            "efficiency": self.efficiency.tolist(),
            "background": self.background.tolist(),
            "level_score": self.level_score.tolist(),
            "event": self.event,
            **({"starts": list(self.starts)} if len(self.starts) > 1 else {}),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Returns the windows that `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: the content is not that of windows.
        """

        def faces(key: str, uncut: float) -> Array:
            return np.array([[uncut if v is None else float(v) for v in row] for row in content[key]])

        efficiency, background, level_score = (
            np.array(content[key], dtype=np.float64) for key in ("efficiency", "background", "level_score")
        )
        event = float(content.get("event", 0.0))  # absent in older files, whose boxes kept at least the wanted share
        if not 0 <= event <= 1:
            raise ValueError("the efficiency of one event is no share")
        low, high = faces("low", -math.inf), faces("high", math.inf)
        m = len(efficiency)
        if low.shape != high.shape or low.ndim != 2 or m == 0:
            raise ValueError("the faces are no table")
        if not len(low) == len(background) == m or len(level_score) not in (0, m + 1):
            raise ValueError("the lists differ in length")
        starts = tuple(map(int, content.get("starts", (0,))))
        if starts[:1] != (0,) or any(b <= a for a, b in itertools.pairwise((*starts, m))):
            raise ValueError("the chains are not in order")
        windows = cls(low, high, efficiency, background, level_score, event, starts)
        windows._check_order()
        return windows

    def _check_order(self) -> None:
        """Checks the order of boxes and scores, on which searches in sorted lists rely.

        Raises:
            ValueError: a number is missing, or the boxes are not in order.
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
            for chain in self.chains():
                if (np.diff(chain.low, axis=0) < 0).any() or (np.diff(chain.high, axis=0) > 0).any():
                    raise ValueError("a box does not lie in the one before it")


def to_nearest_event(target: float | Array, event: float) -> Array:
    """Returns the least efficiency that counts as `target`: half of `event`, the lightest signal event, below it.

    With n signal events of equal weight, the box nearest to the target has round(target · n) of them. A box of at least
    the target may have up to a whole event more: with 78 events 91.0 % for 90 %, and the misidentification of
    91 %. If two numbers are equally near, the larger one counts. A target of less than one event is not moved.
    """
    target = np.asarray(target, dtype=np.float64)
    return np.maximum(target - (0.5 - 1e-6) * event, np.minimum(target, event))


def level_scores(efficiency: Array, background: Array, signal_weight: float, background_weight: float) -> Array:
    """Returns a score in [0, 1] for each shell of a chain of m boxes, (m + 1,), strictly rising and exact in float32.

    The score is the signal's share of the weight in the shell between two boxes, made monotone by isotonic regression;
    a thousandth of it comes from the shell's index, so that no two shells share a score.
    """
    m = len(efficiency)
    signal = signal_weight * -np.diff(efficiency, prepend=1.0, append=0.0)
    rest = background_weight * -np.diff(background, prepend=1.0, append=0.0)
    total = np.maximum(signal + rest, 0.0)
    occupied = total > 1e-12 * total.sum()
    purity = np.clip(signal[occupied] / total[occupied], 0.0, 1.0)
    monotone = isotonic_regression(purity, weights=total[occupied]).x
    nearest = np.maximum(np.cumsum(occupied) - 1, 0)
    share = max(_RANK_SHARE, 1e-6 * m)
    score = (1 - share) * np.clip(monotone[nearest], 0.0, 1.0) + share * np.arange(m + 1) / m
    return np.asarray(score.astype(np.float32), dtype=np.float64)
