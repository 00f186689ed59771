"""Explanation: single events of any file, with their features, their scores and what contributes to these."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from pidlab.apply.inputs import find_inputs
from pidlab.apply.scoring import Branches, Scorer, blank_columns, score_branches
from pidlab.errors import DataError, UsageError
from pidlab.evaluate.results import Contribution, EventExplanation, ModelExplanation
from pidlab.models.explain import columns_read, contributions_of, reference_in_words
from pidlab.models.model import Model
from pidlab.models.threads import one_thread
from pidlab.preprocess.events import input_keys
from pidlab.preprocess.features import feature_matrix, values_of
from pidlab.preprocess.recipe import Recipe
from pidlab.preprocess.selection import cut_masks
from pidlab.read import Chunk, Source, Table
from pidlab.sample import BoolArray, FloatArray, IntArray
from pidlab.split import Keys

EventKey = Mapping[str, int]
"""The branches of `data.event_id` with their values."""


def explain(
    scorer: Scorer,
    file: str,
    *,
    events: Sequence[EventKey] = (),
    entries: Sequence[int] = (),
    tree: str | None = None,
) -> tuple[EventExplanation, ...]:
    """Returns the explanations of single events of a file, one for each selected candidate.

    Args:
        scorer: the models.
        file: a path, a pattern, an address or FILE:TREE.
        events: each a value for every branch of `data.event_id`; all entries that have these values are explained.
        entries: numbers of entries in the file, from 0.
        tree: the tree to read, if the file holds several.

    Raises:
        UsageError: the run has no `data.event_id`, an entry does not exist, or nothing is asked for.
        DataError: the file cannot be read, an event is not in it, or an event is not selected; the message names the
            first cut that it fails.
    """
    recipe = scorer.bundle.recipe
    if not events and not entries:
        raise UsageError("name an event by --event, or the number of an entry by --entry")
    for event in events:
        _check_key(recipe, event)
    sources, unreadable = find_inputs(recipe, [file], tree)
    if unreadable:
        raise DataError("\n".join(each.reason for each in unreadable))
    if entries and len(sources) > 1:
        named = ", ".join(map(str, sources[:3]))
        raise UsageError(f"--entry counts the entries of one input, and {file} means {len(sources)} ({named}, …)")
    found: list[EventExplanation] = []
    refused: list[str] = []
    left = list(events)
    with one_thread():
        for source, name in input_keys(sources).items():
            with Table(source, recipe.per) as table:
                scorer.check(table)
                for wanted in entries:
                    if not 0 <= wanted < table.n_entries:
                        raise UsageError(f"{source}: there is no entry {wanted}; it has {_numbered(table.n_entries)}")
                by_event = _entries_of(table, left)
                numbers = list(dict.fromkeys([*(e for own in by_event.values() for e in own), *entries]))
                left = [event for i, event in enumerate(left) if not by_event.get(i)]
                for chunk in _chunks(table, scorer, numbers):
                    masks = cut_masks(recipe, chunk)
                    rows = np.flatnonzero(masks[-1])
                    if len(rows):
                        found += _explanations(scorer, chunk, rows, source, name)
                    else:
                        refused.append(f"{source}: {_not_selected(recipe, chunk, masks[1:])}")
    refused += [f"{file}: no entry has {_in_words(event)}" for event in left]
    if refused:
        raise DataError("\n".join(refused))
    return tuple(found)


def _numbered(n: int) -> str:
    """Returns what numbers the entries of a tree have, in words."""
    return f"entries 0 to {n - 1}" if n > 1 else "entry 0 only" if n else "none"


def event_key(recipe: Recipe, text: str) -> EventKey:
    """Returns the event that a text names: "5,123", in the order of `data.event_id`, or "run=5,event=123".

    Raises:
        UsageError: the run has no `data.event_id`, or the text does not name a value of each of its branches.
    """
    words = [word.strip() for word in text.split(",")]
    named = all("=" in word for word in words)
    branches = [word.partition("=")[0].strip() for word in words] if named else list(recipe.event_id)
    try:
        values = [int(word.partition("=")[2] if named else word) for word in words]
    except ValueError:
        raise UsageError(f"--event {text}: whole numbers are needed, as in --event {_example(recipe)}") from None
    if recipe.event_id and (len(branches) != len(values) or set(branches) != set(recipe.event_id)):
        what = f"a value of each of {', '.join(recipe.event_id)} names an event"
        raise UsageError(f"--event {text}: {what}, as in --event {_example(recipe)}")
    return dict(zip(branches, values, strict=False))


def _example(recipe: Recipe) -> str:
    return ",".join(f"{branch}={i}" for i, branch in enumerate(recipe.event_id or ("event",), 1))


def _check_key(recipe: Recipe, event: EventKey) -> None:
    if not recipe.event_id:
        raise UsageError("the run has no data.event_id, so its events have no number; name an entry by --entry")
    if set(event) != set(recipe.event_id):
        raise UsageError(
            f"an event is named by a value of each of {', '.join(recipe.event_id)}, not by {_in_words(event)}"
        )


def _in_words(event: EventKey) -> str:
    return ", ".join(f"{branch} {value}" for branch, value in event.items())


def _entries_of(table: Table, events: Sequence[EventKey]) -> dict[int, list[int]]:
    """Returns the entries that have the values of each of some events, by the index of the event."""
    found: dict[int, list[int]] = {}
    if not events:
        return found
    for chunk in table.chunks(events[0]):
        for i, event in enumerate(events):
            is_it = np.logical_and.reduce([np.asarray(chunk.entries[b]) == value for b, value in event.items()])
            found.setdefault(i, []).extend(int(e) for e in np.asarray(chunk.entries["LocalEntry$"])[is_it])
    return found


def _chunks(table: Table, scorer: Scorer, entries: Sequence[int]) -> Iterator[Chunk]:
    """Yields the rows of each of some entries; formats that are read from their beginning give them in their order."""
    if table.edges(scorer.branches) is not None:
        for entry in entries:
            yield table.span(scorer.branches, entry, entry + 1)
        return
    for chunk in table.chunks(scorer.branches) if entries else ():
        for entry in sorted(set(entries) & {int(e) for e in np.asarray(chunk.entries["LocalEntry$"])}):
            yield chunk.take(np.flatnonzero(chunk.entry == entry))


def _explanations(scorer: Scorer, chunk: Chunk, rows: IntArray, source: Source, name: str) -> list[EventExplanation]:
    """Returns the explanation of each of the selected `rows` of the one entry in a chunk."""
    bundle, recipe = scorer.bundle, scorer.bundle.recipe
    columns = blank_columns(bundle, chunk.n_rows)
    scorer.score(columns, chunk, rows, name, weights=False)
    taken = chunk.take(rows)
    x, (event, known) = feature_matrix(recipe, taken), scorer.events_of(taken, name)
    by_model = {model: _of_model(scorer, model, columns, rows, x, event, known) for model in bundle.models}
    config = recipe.loaded.config
    names = [feature.name for feature, _ in recipe.features]
    labels = config.axis_labels
    return [
        EventExplanation(
            place=str(source),
            entry=int(chunk.entry[row]),
            candidate=None if recipe.per is None else int(row),
            event_id={key: int(taken.arrays[key][i]) for key in recipe.event_id},
            of_run=bool(known[i]) if known is not None and config.folds else None,
            signal=recipe.classes[recipe.signal],
            features={feature: float(value) for feature, value in zip(names, x[i], strict=False)},
            units={feature: unit for feature in names if (unit := _unit(labels.get(feature, "")))},
            labels={feature: labels[feature] for feature in names if feature in labels},
            models=tuple(explained[i] for explained in by_model.values()),
            target="" if recipe.target is None else recipe.target.expression.text,
        )
        for i, row in enumerate(rows)
    ]


def _unit(label: str) -> str:
    """Returns the unit in brackets at the end of a label; empty if there is none."""
    found = re.search(r"\[([^\[\]]+)\]\s*$", label)
    return found[1] if found else ""


def _not_selected(recipe: Recipe, chunk: Chunk, masks: Sequence[BoolArray]) -> str:
    """Returns the sentence about an entry that has no selected candidate."""
    if not chunk.n_rows:
        return f"the entry has no candidates of {recipe.per}"
    event = {key: int(chunk.arrays[key][0]) for key in recipe.event_id}
    who = f"entry {int(chunk.entry[0])}" + (f" ({_in_words(event)})" if event else "")
    said = []
    for row in range(chunk.n_rows):
        step = next(i for i, mask in enumerate(masks) if not mask[row])
        failed = f"fails the cut {recipe.steps[step]!r}"
        if step < len(recipe.selection):
            located = recipe.selection[step][1]
            failed += f": {located.expression.text}"
        elif recipe.best is not None:
            value = values_of(recipe.best.by, chunk)[row]
            failed = f"is not the best candidate of its event ({recipe.best}, here {value:g})"
        said.append(failed if recipe.per is None else f"candidate {row} {failed}")
    return f"{who} is not selected: " + ("it " if recipe.per is None else "") + "; ".join(said)


def _of_model(
    scorer: Scorer,
    name: str,
    columns: Branches,
    rows: IntArray,
    x: FloatArray,
    event: Keys | None,
    known: BoolArray | None,
) -> list[ModelExplanation]:
    """Returns what a model says of each of the selected rows of a chunk.

    Args:
        scorer: the models.
        name: the name of the model.
        columns: the friend's branches of all rows of the chunk.
        rows: the selected rows.
        x: (m, d + c) their columns.
        event, known: as in `Model.scores_of`.
    """
    model, recipe = scorer.bundle.models[name], scorer.bundle.recipe
    branches = {recipe.classes[column]: branch for branch, column in score_branches(name, model).items()}
    points = [decision.name for decision in scorer.bundle.decisions[name]]
    found = contributions_of(model, x, event, known)
    explained = []
    for i, row in enumerate(rows):
        scores = {particle: float(columns[branch][row]) for particle, branch in branches.items()}
        decisions = {point: bool(columns[f"pid_{name}_{point}"][row]) for point in points}
        said = partial(ModelExplanation, name, model.kind, scores, decisions)
        if found is None:
            explained.append(said(note=_without(model)))
            continue
        if np.isnan(found.reference[i]):
            explained.append(said(note="The event is in none of the categories of the model, so it has no score."))
            continue
        parts = [
            Contribution(recipe.features[j][0].name, float(x[i, j]), float(found.parts[i, j]))
            for j in columns_read(model)
        ]
        parts.sort(key=lambda part: -abs(part.contribution))
        remark = _remark(model, of_run=known is None or bool(known[i]))
        explained.append(said(tuple(parts), float(found.reference[i]), reference_in_words(model), remark))
    return explained


def _without(model: Model) -> str:
    """Returns why a model has no contributions, and what there is instead."""
    instead = f"`pidlab plot RUN dependence_{model.name}` draws how its score goes with each feature"
    if model.recipe.target is not None:
        return f"The prediction of a model of type {model.type} is no sum of contributions."
    if model.kind == "score":
        return "The score is a quantity of the file, which has no contributions."
    if model.kind in ("expression", "cuts", "tree"):
        what = f"A model of type {model.type} decides by conditions, which have no contributions"
        return f"{what}; its cut string holds them (`pidlab export RUN --format cuts`), and {instead}."
    return f"The score of a model of type {model.type} is no sum of contributions; {instead}."


def _remark(model: Model, *, of_run: bool) -> str:
    """Returns what makes the score another number than that of the margin; empty if nothing does."""
    said = []
    by_category = model.recipe.target is None and model.recipe.loaded.config.models[model.name].categories
    if model.calibration is not None or by_category:
        said.append("Contributions are to the margin before the calibration, which the score has gone through.")
    if len(model.fitted) > 1 and not of_run:
        said.append("The score is the mean over the fold models, and so are the margin and its contributions.")
    return " ".join(said)
