"""What tuning found, as values: the trials, what mattered, and the gain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pidlab.measured import Measured

State = Literal["complete", "pruned", "refused", "failed", "running"]


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial.

    Attributes:
        number: its place in the study, from 0.
        state: pruned where training was given up early, refused where the model could not be trained so, failed where
            whoever tried was stopped.
        value: the objective on validation; of a pruned trial the last one reported; NaN where there is none.
        parameters: what it tried.
        seconds: how long it took, shared between trials that trained together.
        reason: why it was refused.
    """

    number: int
    state: State
    value: float
    parameters: Mapping[str, Any]
    seconds: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Tuning:
    """A study of one model, all its trials, those of earlier calls and of other processes included.

    Attributes:
        model, kind: its name and type; `objective`: auc, or misid:eff90 and the like.
        maximise: whether a larger objective is better.
        trials: in the order of their numbers.
        importance: parameter to its share of the objective's variance over trials; empty where that is not known.
        parameters: of the best trial.
        before, after: the objective on validation with the configuration's parameters and with the best ones, each
            trained alone as a run does.
        gain: the paired difference, after - before.
    """

    model: str
    kind: str
    objective: str
    maximise: bool
    trials: tuple[Tried, ...]
    importance: Mapping[str, float]
    parameters: Mapping[str, Any]
    before: Measured
    after: Measured
    gain: Measured

    @property
    def ranked(self) -> list[Tried]:
        """The complete trials, best first; the earlier first of two alike."""
        complete = [t for t in self.trials if t.state == "complete"]
        return sorted(complete, key=lambda t: (-t.value if self.maximise else t.value, t.number))
