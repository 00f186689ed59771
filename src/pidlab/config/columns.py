"""Columns: the features of a configuration, then the expressions that single models read, then conditions.

The features are the first columns of a sample. A model that states expressions of its own, such as the variables of a
band, reads those that are features from there; all others become further columns, which no other model reads. The
conditions of categories, 1 where they hold and 0 elsewhere, come last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pidlab.config.names import KeyPath
from pidlab.config.schema import Config, Feature


@dataclass(frozen=True, slots=True)
class StatedColumn:
    """A column of a sample, and the key path of its expression."""

    key: KeyPath
    feature: Feature


def stated_features(config: Config) -> Iterator[StatedColumn]:
    """Yields the features that have an expression, in their order."""
    for i, feature in enumerate(config.features):
        if isinstance(feature, str):
            yield StatedColumn(("features", i), Feature(name=feature, expression=feature))
        elif isinstance(feature, Feature):
            yield StatedColumn(("features", i, "expression"), feature)


def columns(config: Config) -> list[StatedColumn]:
    """Returns the features, and after them what single models read besides, each once."""
    found = list(stated_features(config))
    for name, model in config.models.items():
        for place, text in model.own_columns().items():
            if _column_called(text, found) is None:
                found.append(StatedColumn(("models", name, *place), Feature(name=text, expression=text)))
    return found


def own_column_names(config: Config, name: str) -> tuple[str, ...]:
    """Returns the names of the columns that a model reads as its own; empty if it reads features.

    A text that is the name of a feature, or else the expression of one, stands for that feature.
    """
    found = columns(config)
    own = (_column_called(text, found) for text in config.models[name].own_columns().values())
    return tuple(column.feature.name for column in own if column is not None)


def read_by_models(config: Config) -> dict[str, str]:
    """Returns the names of the columns that models read as their own, each with the first of these models."""
    readers: dict[str, str] = {}
    for name in config.models:
        for column in own_column_names(config, name):
            readers.setdefault(column, name)
    return readers


def conditions(config: Config) -> dict[str, KeyPath]:
    """Returns the conditions of all categories, each once, with the key path where it stands first."""
    found: dict[str, KeyPath] = {}
    for name, model in config.models.items():
        for category, text in model.categories.items():
            place = (category,) if model.categories_are_stated else ("x",)
            found.setdefault(text, ("models", name, "by", *place))
    return found


def _column_called(text: str, found: Iterable[StatedColumn]) -> StatedColumn | None:
    """Returns the column with this name, else the one with this expression."""
    text = text.strip()
    found = list(found)
    by_name = (column for column in found if column.feature.name == text)
    by_expression = (column for column in found if column.feature.expression.strip() == text)
    return next(by_name, None) or next(by_expression, None)
