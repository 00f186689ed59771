"""What is checked of the events, and of the parts that they are divided into, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pidlab.errors import ConfigError, DataError
from pidlab.preprocess.data_checks import (
    copies_across,
    determining_features,
    equal_inputs,
    heavy_events,
    telling_features,
)
from pidlab.preprocess.events import Events, input_names
from pidlab.preprocess.recipe import Recipe
from pidlab.progress import Watcher
from pidlab.read.inspection import find_codes, shortest
from pidlab.sample import Sample
from pidlab.split import Parts

_THIN_CATEGORY = 500  # events of a class, of which about a tenth calibrate the score
_SIZES_OF_WEIGHTS = (1e-100, 1e100)
"""Sizes of weights whose squares, and whose products with sums, float64 holds."""
_N_LOOKED_AT = 100_000  # values of a feature among which codes are looked for


def preprocess(recipe: Recipe, events: Events, watcher: Watcher) -> tuple[Events, Parts]:
    """Checks the events and what each row is for, and notes what a reader of the results must know.

    Raises:
        DataError: a feature or the target has one value only, `data.event_id` does not tell events apart, weights are
            too large or too small to be squared, or a sample has no events of a class.
    """
    sample, config = events.sample, recipe.loaded.config
    _check_features(sample, len(config.feature_list), watcher)
    _check_target(recipe, sample, watcher)
    _check_categories(recipe, sample, watcher)
    _check_event_keys(recipe, sample)
    _check_weights(sample)
    if not recipe.event_id:
        watcher.remark("Events are identified by file and entry number, since data.event_id names no branches.")
    negative = sample.weight < 0
    if negative.any():
        share = np.abs(sample.weight[negative]).sum() / np.abs(sample.weight).sum()
        policy = f"training takes negative_weights: {config.negative_weights}, evaluation keeps the sign"
        watcher.note(
            f"{negative.mean():.1%} of the rows have negative weights ({share:.1%} of the sum of |w|); {policy}."
        )
    parts = events.parts
    _check_parts(sample, parts, wants_validation=config.split.validation > 0)
    for sentence in _cautions(events, parts):
        watcher.note(sentence)
    if config.split.validation == 0:
        watcher.note(
            "There is no validation sample: thresholds come from the training sample."
            if sample.target is None
            else "There is no validation sample: no training stops before its last round or epoch."
        )
    return events, parts


def _check_features(sample: Sample, n_listed: int, watcher: Watcher) -> None:
    """Checks that each of the `n_listed` features that the configuration lists has more than one value, notes values
    that look like codes for missing ones."""
    for j, name in enumerate(sample.features[:n_listed]):
        finite = sample.x[:, j][np.isfinite(sample.x[:, j])]
        if not len(finite):
            raise DataError(
                f"the feature {name!r} is missing (NaN) in all {len(sample):,} selected events; leave it out"
            )
        if finite.min() == finite.max() and len(finite) == len(sample):
            only = shortest(float(finite[0]))
            raise DataError(f"the feature {name!r} is {only} in all {len(sample):,} selected events; leave it out")
        for value, share in find_codes(finite[:_N_LOOKED_AT].astype(np.float64)):
            watcher.note(
                f"The feature {name!r} is {shortest(value)} in {share:.1%} of the events, far from all others; "
                f"if that means not measured, say `missing: [{shortest(value)}]`."
            )


def _check_target(recipe: Recipe, sample: Sample, watcher: Watcher) -> None:
    """Checks that the target of a regression has more than one value, and notes values that look like codes."""
    if recipe.target is None or sample.target is None:
        return
    text, target = recipe.target.expression.text, np.asarray(sample.target, np.float64)
    if target.min() == target.max():
        raise DataError(f"the target {text!r} is {shortest(float(target[0]))} in all {len(sample):,} selected events")
    for value, share in find_codes(target[:_N_LOOKED_AT]):
        watcher.note(
            f"The target {text!r} is {shortest(value)} in {share:.1%} of the events, far from all others; if that "
            f'means not measured, say `target: {{value: "{text}", cut: "({text}) != {shortest(value)}"}}`.'
        )


def _check_categories(recipe: Recipe, sample: Sample, watcher: Watcher) -> None:
    """Checks that each event is in exactly one category of every model that has some; notes categories of few events.

    Raises:
        ConfigError: events are in no category, or in several.
    """
    texts = [text for text, _ in recipe.conditions]
    mistakes = []
    for model, spec in recipe.loaded.config.models.items():
        if not spec.categories:
            continue
        columns = [len(recipe.features) + texts.index(text) for text in spec.categories.values()]
        inside = np.stack([sample.x[:, j] > 0 for j in columns], axis=1)  # workers of a cluster give single columns
        n, total = inside.sum(axis=1), f"of the {len(sample):,} selected events"
        key, names = ("models", model, "by"), ", ".join(spec.categories)
        if n_outside := int((n == 0).sum()):
            advice = "widen a condition, or leave these events out by a cut of the selection"
            mistakes.append(recipe.loaded.mistake(key, f"{n_outside:,} {total} are in no category ({names}); {advice}"))
        if n_several := int((n > 1).sum()):
            pair = [name for name, hit in zip(spec.categories, inside[int(np.argmax(n > 1))], strict=True) if hit]
            what = f"{n_several:,} {total} are in several categories, such as {pair[0]!r} and {pair[1]!r}"
            mistakes.append(recipe.loaded.mistake(key, f"{what}; make the conditions exclude each other"))
        for name, rows in zip(spec.categories, inside.T, strict=True):
            counts = np.bincount(sample.y[rows], minlength=len(sample.classes))
            fewest = int(np.argmin(counts))
            if counts[fewest] < _THIN_CATEGORY:
                of_class = f" of the class {sample.classes[fewest]!r}" if recipe.target is None else ""
                watcher.note(
                    f"models.{model}: the category {name!r} holds {counts[fewest]:,} events{of_class} in all samples "
                    f"together, few to train{' and to calibrate' if recipe.target is None else ''} on."
                )
    if mistakes:
        raise ConfigError(mistakes)


def _cautions(events: Events, parts: Parts) -> Iterator[str]:
    """Yields a sentence for everything that makes the numbers look better or surer than they are."""
    sample, inputs = events.sample, events.inputs
    names = input_names([i.source for i in inputs])
    yield from equal_inputs(inputs, [names[i.source] for i in inputs])
    copies = copies_across(sample, parts.part if parts.fold is None else parts.fold)
    if copies is not None:
        yield copies
    yield from heavy_events(sample, parts.quoted())
    yield from telling_features(sample) if sample.target is None else determining_features(sample)


def _check_event_keys(recipe: Recipe, sample: Sample) -> None:
    """Checks that `data.event_id` tells events apart.

    Raises:
        DataError: it is the same in all rows, which would all be of one part.
    """
    if recipe.event_id and len(sample) > 1 and (sample.event == sample.event[0]).all():
        names = ", ".join(recipe.event_id)
        what = f"[{names}] is the same in all {len(sample):,} selected rows, which would all be of the same event"
        raise DataError(f"data.event_id: {what}; name branches that differ from event to event, or leave it out")


def _check_weights(sample: Sample) -> None:
    """Checks that float64 holds the squares of the weights of each class.

    Raises:
        DataError: the largest weight of a class is too large or too small.
    """
    low, high = _SIZES_OF_WEIGHTS
    for index, name in enumerate(sample.classes):
        size = float(np.abs(sample.weight[sample.y == index]).max(initial=0.0))
        if size and not low < size < high:
            what = f"the largest weight of the class {name!r}" if sample.target is None else "the largest weight"
            advice = f"only weights between {low:g} and {high:g} can be squared and summed; multiply them by a constant"
            raise DataError(f"data.weight: {what} is {size:g}; {advice}")


def _check_parts(sample: Sample, parts: Parts, wants_validation: bool) -> None:
    """Checks that every sample has events of every class."""
    for train, validation in parts.training():
        needed = {"train": train, "validation": validation} if wants_validation else {"train": train}
        for name, rows in {**needed, "test": parts.quoted()["test"]}.items():
            counts = np.bincount(sample.y[rows], minlength=len(sample.classes))
            if not counts.all():
                empty = sample.classes[int(np.argmin(counts))]
                total = int((sample.y == sample.classes.index(empty)).sum())
                advice = "give more events or change split (share or seed)"
                if sample.target is not None:
                    raise DataError(f"no event ({total:,} in all) is in the {name} sample; {advice}")
                raise DataError(f"no event of the class {empty!r} ({total:,} in all) is in the {name} sample; {advice}")
