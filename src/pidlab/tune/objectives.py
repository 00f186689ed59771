"""Objectives: what a tuning optimises on validation, of models of classes and of a target."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pidlab.config.names import point_name
from pidlab.errors import ModelError, UsageError
from pidlab.evaluate.points.working_points import SignalSteps, passes
from pidlab.evaluate.ranking import Score, auc_influence
from pidlab.evaluate.regression.compare import STATISTICS
from pidlab.evaluate.regression.predictions import Predicted
from pidlab.sample import Sample


@dataclass(frozen=True, slots=True)
class Objective:
    """What is optimised of classes: the AUC, or the misidentification rate at a signal efficiency.

    `target` is that efficiency, None for the AUC.
    """

    target: float | None
    GRAMMAR: ClassVar[str] = "auc, or misid:eff90 (misidentification at 90 % signal efficiency; eff99_5 is 99.5 %)"

    @classmethod
    def of(cls, text: str) -> Objective:
        """Parses `auc`, or `misid:eff90` and the like.

        Raises:
            UsageError: the text is neither.
        """
        if text == "auc":
            return cls(None)
        found = re.fullmatch(r"misid:eff(\d+(?:_\d+)?)", text)
        target = float(found[1].replace("_", ".")) / 100 if found else math.nan
        if not 0 < target < 1:
            raise UsageError(f"--objective {text}: is none of {cls.GRAMMAR}")
        return cls(target)

    def __str__(self) -> str:
        return "auc" if self.target is None else f"misid:{point_name(self.target)}"

    @property
    def maximise(self) -> bool:
        """True if a larger value is better."""
        return self.target is None

    def value(self, score: Score, sample: Sample) -> float:
        """Returns the objective for the signal's scores (n,) of a sample, with all other classes taken together.

        Raises:
            ModelError: the objective is undefined on the sample.
        """
        if self.target is None:
            area = auc_influence(score, sample.is_signal, sample.weight)
            found = math.nan if area is None else area.value
        else:
            signal = sample.is_signal
            threshold = SignalSteps.of(score[signal], sample.weight[signal]).threshold_at(self.target)
            passing = np.sum(sample.weight, where=passes(score, threshold) & ~signal)
            found = float(passing / sample.weight[~signal].sum())
        if not math.isfinite(found):
            raise ModelError("the objective has no value on the validation sample; look at its classes and weights")
        return found

    def intermediate(self, numbers: Mapping[str, float]) -> float | None:
        """Returns the value by which a pruner compares trials in training: from the AUC if reported, else the loss."""
        area, loss = numbers.get("validation_auc"), numbers.get("validation_loss")
        quality = area if area is not None else None if loss is None else -loss
        if quality is None or not math.isfinite(quality):
            return None
        return quality if self.maximise else -quality


@dataclass(frozen=True, slots=True)
class ResidualObjective:
    """What is minimised of a regression: `name` is rms, mae or sigma68 of the residuals."""

    name: str
    maximise: ClassVar[bool] = False
    GRAMMAR: ClassVar[str] = "rms, mae or sigma68, of the residuals (mae: the mean absolute one)"

    @classmethod
    def of(cls, text: str) -> ResidualObjective:
        """Parses the name of a quantity.

        Raises:
            UsageError: it is none of them.
        """
        if text not in ("rms", "mae", "sigma68"):
            raise UsageError(f"--objective {text}: is none of {cls.GRAMMAR}")
        return cls(text)

    def __str__(self) -> str:
        return self.name

    def value(self, predicted: Predicted) -> float:
        """Returns the objective.

        Raises:
            ModelError: it is undefined.
        """
        found = STATISTICS[self.name](predicted).value if predicted.weights.usable else math.nan
        if not math.isfinite(found):
            raise ModelError("the objective has no value on the validation sample; look at its weights")
        return found

    def intermediate(self, numbers: Mapping[str, float]) -> float | None:
        """Returns the validation loss, by which a pruner compares trials in training; None if it is not reported."""
        loss = numbers.get("validation_loss")
        return loss if loss is not None and math.isfinite(loss) else None
