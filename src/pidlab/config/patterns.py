"""Patterns: features such as `P.cal.*`, which mean the branches of the inputs that match."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pidlab.config.columns import stated_features
from pidlab.config.load import LoadedConfig, check_config
from pidlab.config.names import KeyPath
from pidlab.config.polygons import polygons_of
from pidlab.config.schema import Config
from pidlab.config.stated import class_table, first_inputs, is_pattern
from pidlab.errors import ConfigError, Mistake, nearest
from pidlab.expressions import parse
from pidlab.expressions.literals import branch_expression, can_be_named
from pidlab.read import Table

_N_NAMED = 12  # branches that a note lists before it only counts


def with_branches(loaded: LoadedConfig, note: Callable[[str], None]) -> LoadedConfig:
    """Returns the configuration with the branches in the place of each pattern among its features.

    The first input of each class is opened. A branch matches if it is in all of them and holds one number a row. Those
    that define the classes, weigh, identify or divide the events, are spectators or stand among the features by
    themselves are left out; `note` is told which.

    Raises:
        ConfigError: a pattern matches nothing, or the features that it means contradict another section.
        DataError: an input cannot be found or opened.
    """
    patterns = {i: text for i, text in enumerate(loaded.config.features) if isinstance(text, str) and is_pattern(text)}
    if not patterns:
        return loaded
    usable, known = _branches(loaded)
    used = _used(loaded.config)
    listed = list(loaded.content["features"])
    features: list[Any] = []
    places: dict[KeyPath, str] = {key: place for key, place in loaded.places.items() if key[:1] != ("features",)}
    places[("features",)] = loaded.places.get(("features",), "")
    mistakes: list[Mistake] = []
    for i, written in enumerate(listed):
        branches = [written]
        if i in patterns:
            branches, sentence = _matches(patterns[i], usable, known, used)
            if branches:
                note(sentence)
            else:
                mistakes.append(loaded.mistake(("features", i), sentence))
            names = [str(each["name"] if isinstance(each, dict) else each) for each in branches]
            used |= dict.fromkeys(names, "stands among the features already")
        for each in branches:
            moved = {key[2:]: place for key, place in loaded.places.items() if key[:2] == ("features", i)}
            places |= {("features", len(features), *rest): place for rest, place in moved.items()}
            features.append(each)
    if mistakes:
        raise ConfigError(mistakes)
    content = {**copy.deepcopy(dict(loaded.content)), "features": features}
    found = check_config(content, places, loaded.folder / f"{loaded.name}.yaml")
    return replace(found, arrays=loaded.arrays)


def _matches(pattern: str, usable: list[str], known: list[str], used: Mapping[str, str]) -> tuple[list[Any], str]:
    """Returns the features that a pattern means, and a sentence on them, or on why there are none."""
    matching = [name for name in known if fnmatchcase(name, pattern)]
    taken = [name for name in matching if name in usable and name not in used]
    left_out = {name: used.get(name, "does not hold one number a row in every input") for name in matching}
    reasons = "; ".join(f"{name} {why}" for name, why in left_out.items() if name not in taken)
    if not taken:
        if reasons:
            return [], f"every branch that matches {pattern!r} is left out: {reasons}"
        return [], f"no branch matches {pattern!r}; {nearest(pattern.strip('*?'), known)}"
    shown = ", ".join(taken[:_N_NAMED]) + (f", … ({len(taken)} branches)" if len(taken) > _N_NAMED else "")
    features = [n if branch_expression(n) == n else {"name": n, "expression": branch_expression(n)} for n in taken]
    return features, f"features: {pattern} means {shown}{f'; left out: {reasons}' if reasons else ''}"


def _branches(loaded: LoadedConfig) -> tuple[list[str], list[str]]:
    """Returns the branches that hold one number a row in the first input of every class, and all of the first input."""
    usable: list[str] | None = None
    known: list[str] = []
    for source in first_inputs(loaded.config, Path(loaded.folder), loaded.arrays):
        with Table(source, loaded.config.data.per) as table:
            kinds = table.kinds(table.names)
            found = [n for n in table.names if n in kinds and kinds[n].is_scalar and kinds[n].number.value in _NUMBERS]
            known = known or list(table.names)
        usable = found if usable is None else [name for name in usable if name in found]
    return [name for name in usable or () if can_be_named(name)], known


_NUMBERS = frozenset({"float", "int", "unsigned", "bool"})


def _used(config: Config) -> dict[str, str]:
    """Returns the branches that are no features of a pattern, each with the reason as the end of a sentence."""
    aliases, polygons = dict(config.data.aliases), polygons_of(config)
    used: dict[str, str] = {}

    def use(texts: list[str | None], why: str) -> None:
        for text in texts:
            for branch in sorted(parse(text, aliases, polygons).branches) if text is not None else ():
                used.setdefault(branch, why)

    tables = [class_table(spec) for spec in config.classes.values()]
    use([t.cut for t in tables if t.files is None and t.tree is None], "defines a class")
    used |= dict.fromkeys((name for name in config.data.event_id if name not in used), "identifies the event")
    use([config.data.weight, *(t.weight for t in tables)], "is a weight")
    use([config.split.test if isinstance(config.split.test, str) else None], "decides the test sample")
    asked = [*config.evaluate.maps, *config.evaluate.flat]
    use([*config.spectators, *(axis for each in asked for axis in (each.x, each.y))], "is a spectator")
    for column in stated_features(config):
        feature = column.feature
        if not (len(column.key) == 2 and is_pattern(feature.expression)):
            plain = re.fullmatch(r"`([^`]*)`|(.*)", feature.expression.strip(), re.DOTALL)
            assert plain is not None
            used.setdefault(plain[1] or plain[2], "stands among the features already")
            used.setdefault(feature.name, "stands among the features already")
    return used
