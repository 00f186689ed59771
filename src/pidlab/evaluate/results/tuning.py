"""The results of tuning: the trials, the importance of parameters, and the gain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pidlab.measured import Measured

_OBJECTIVES = {"auc": "AUC", "rms": "RMS", "mae": "mean absolute residual", "sigma68": "σ68"}


def objective_text(objective: str) -> str:
    """Returns an objective in words."""
    return _OBJECTIVES.get(objective) or f"misid at {objective.partition(':')[2]}"


State = Literal["complete", "pruned", "refused", "failed", "running"]


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial.

    Attributes:
        number: its number in the study, from 0.
        state: pruned if training was stopped early, refused if the model cannot be trained with these parameters, and
            failed if the process was stopped.
        value: the objective on validation, for a pruned trial the last reported one; NaN if there is none.
        parameters: the parameters of the trial.
        seconds: duration, shared between trials that were trained together.
        reason: the reason of a refusal.
    """

    number: int
    state: State
    value: float
    parameters: Mapping[str, Any]
    seconds: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Tuning:
    """A study of one model with all its trials, including those of earlier calls and of other processes.

    Attributes:
        model, kind: name and type of the model.
        objective: auc, or misid at a working point, as in misid:eff90; of a regression rms, mae or sigma68.
        maximise: True if a larger objective is better.
        trials: the trials in the order of their numbers.
        importance: parameter to its share of the objective's variance over trials; empty if that is unknown.
        parameters: the parameters of the best trial.
        before, after: the objective on validation with the configuration's parameters and with the best ones, each
            trained alone as in a run.
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
        """Returns the complete trials, best first; of two equal ones the earlier comes first."""
        complete = [t for t in self.trials if t.state == "complete"]
        return sorted(complete, key=lambda t: (-t.value if self.maximise else t.value, t.number))
