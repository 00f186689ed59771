"""The explanation of a single event, for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from pidlab.evaluate.results import EventExplanation, ModelExplanation

_BAR = 12  # letters of the longest bar of a table


def explanation_tables(event: EventExplanation) -> Iterator[Table]:
    """Yields a table of the scores of one event, then one of the contributions to each model that has them.

    If no model has contributions, the last table shows the features alone.
    """
    scores = Table(title=f"{event.place}: {event.name}", title_justify="left")
    scores.add_column("model")
    several = len({particle for one in event.models for particle in one.scores}) > 1
    for name in _classes(event) if several else (event.signal,):
        scores.add_column(event.explained if event.target else f"score of {name}", justify="right")
    for header in () if event.target else ("margin", "passes", "fails"):
        scores.add_column(header, justify="right" if header == "margin" else "left", overflow="fold")
    for one in event.models:
        numbers = [_number(one.scores.get(name)) for name in (_classes(event) if several else (event.signal,))]
        decided = [", ".join(p for p, passed in one.decisions.items() if passed is which) for which in (True, False)]
        scores.add_row(one.model, *numbers, *(() if event.target else (_number(one.margin), *decided)))
    yield scores
    explained = [one for one in event.models if one.contributions]
    yield from (_contributions(event, one) for one in explained)
    if not explained:
        table = Table(title="features", title_justify="left")
        table.add_column("feature", overflow="fold")
        table.add_column("value", justify="right")
        for feature in event.features:
            table.add_row(feature, _value(event, feature))
        yield table


def explanation_notes(event: EventExplanation) -> list[str]:
    """Returns what the tables do not say: why models have no contributions, and which fold models explain the event."""
    notes = [f"{one.model}: {one.note}" for one in event.models if one.note]
    if event.of_run is not None:
        said = "was used by the run, and is explained by the fold model that never saw it"
        notes.append(f"The event {said if event.of_run else 'is not of the run: it has the mean of the fold models'}.")
    return notes


def _contributions(event: EventExplanation, one: ModelExplanation) -> Table:
    """Returns a line for each feature, the largest contribution first, between the reference and the margin."""
    table = Table(title=f"{one.model}: contributions to the {event.explained}", title_justify="left")
    table.add_column("feature", overflow="fold")
    table.add_column("value", justify="right")
    table.add_column("contribution", justify="right")
    table.add_column("")
    table.add_row(f"({one.reference_is})", "", _number(one.reference), "")
    largest = max(abs(part.contribution) for part in one.contributions) or 1.0
    for part in one.contributions:
        bar = ("+" if part.contribution > 0 else "-") * round(_BAR * abs(part.contribution) / largest)
        table.add_row(part.feature, _value(event, part.feature), f"{part.contribution:+.4g}", bar)
    table.add_section()
    table.add_row(event.explained.partition(" ")[0], "", _number(one.margin), "")
    return table


def _classes(event: EventExplanation) -> list[str]:
    return list(dict.fromkeys(particle for one in event.models for particle in one.scores))


def _value(event: EventExplanation, feature: str) -> str:
    value, unit = event.features[feature], event.units.get(feature, "")
    return "missing" if math.isnan(value) else f"{value:.6g}" + (f" {unit}" if unit else "")


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4g}"
