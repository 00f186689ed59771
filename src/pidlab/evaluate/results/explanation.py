"""The explanation of single events: features, scores, and what each feature contributes to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pidlab.evaluate.results.stored import json_value


class Contribution(NamedTuple):
    """What a feature contributes to the signal's margin; the value is NaN if it is missing."""

    feature: str
    value: float
    contribution: float


@dataclass(frozen=True, slots=True)
class ModelExplanation:
    """The score of one event by one model.

    Attributes:
        model: its name.
        kind: its type.
        scores: class to its score; only the signal's if the model has no others, and none for cuts without a score.
        decisions: working point to whether the event passes it.
        contributions: of each feature that the model reads, the largest first; empty if the model has none.
        reference: the margin from which contributions count; None without.
        reference_is: what has that margin, in words.
        note: what a reader must know: why there are no contributions, or that the score is calibrated.
    """

    model: str
    kind: str
    scores: Mapping[str, float]
    decisions: Mapping[str, bool]
    contributions: tuple[Contribution, ...] = ()
    reference: float | None = None
    reference_is: str = ""
    note: str = ""

    @property
    def margin(self) -> float | None:
        """The log-odds of the signal, before any calibration: the reference and all contributions; None without."""
        if self.reference is None:
            return None
        return self.reference + sum(one.contribution for one in self.contributions)


@dataclass(frozen=True, slots=True)
class EventExplanation:
    """One selected event, or candidate of an event, as the models of a run see it.

    Attributes:
        place: the input.
        entry: its number in the input, from 0.
        candidate: its number in the entry, from 0; None if a row is an entry.
        event_id: branches that identify the event, with their values; empty if the run has none.
        of_run: whether the event was used by the run, and is scored by the fold model that never saw it; None for a run
            without folds, which does not tell.
        signal: the class to whose margin features contribute.
        features: each with its value, NaN if it is missing.
        units: feature to its unit, for those that have one.
        labels: feature to the text of its axis, TeX between dollars, for those that have one.
        models: in the order of the run.
        target: what a regression predicts, whose prediction has the place of the margin; empty with classes.
    """

    place: str
    entry: int
    candidate: int | None
    event_id: Mapping[str, int]
    of_run: bool | None
    signal: str
    features: Mapping[str, float]
    units: Mapping[str, str]
    labels: Mapping[str, str]
    models: tuple[ModelExplanation, ...]
    target: str = ""

    @property
    def explained(self) -> str:
        """What features contribute to: "margin of" the signal, or "prediction of" the target."""
        return f"prediction of {self.target}" if self.target else f"margin of {self.signal}"

    def __getitem__(self, model: str) -> ModelExplanation:
        """Returns the explanation by one model.

        Raises:
            KeyError: there is no such model.
        """
        return {one.model: one for one in self.models}[model]

    @property
    def name(self) -> str:
        """The event in words, such as "entry 12 (run 1, event 5)"."""
        which = ", ".join(f"{branch} {value}" for branch, value in self.event_id.items())
        candidate = "" if self.candidate is None else f", candidate {self.candidate}"
        return f"entry {self.entry}{candidate}" + (f" ({which})" if which else "")

    def to_json(self) -> dict[str, Any]:
        """Returns everything in JSON's own types; a missing value is null."""
        content: dict[str, Any] = {
            name: json_value(getattr(self, name))
            for name in ("place", "entry", "candidate", "event_id", "of_run", "target" if self.target else "signal")
        }
        content["features"] = [
            {"name": name, "value": json_value(value), "unit": self.units.get(name, "")}
            for name, value in self.features.items()
        ]
        content["models"] = {one.model: _model_json(one) for one in self.models}
        return content


def _model_json(one: ModelExplanation) -> dict[str, Any]:
    content: dict[str, Any] = {"type": one.kind, "scores": json_value(one.scores), "decisions": dict(one.decisions)}
    if one.reference is not None:
        content |= {"margin": json_value(one.margin), "reference": json_value(one.reference)}
        content["reference_is"] = one.reference_is
        content["contributions"] = [json_value(each._asdict()) for each in one.contributions]
    return content | ({"note": one.note} if one.note else {})
