"""Stated: the expressions that a configuration states, checked alone, against each other, and against the branches."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pidlab.config.columns import columns, stated_features
from pidlab.config.names import KeyPath
from pidlab.config.polygons import polygon_texts, polygons_of
from pidlab.config.schema import (
    CategoryBins,
    ClassTable,
    Config,
    ExpressionModel,
    RegressionConfig,
    ReweightTarget,
    ScoreModel,
    TrainedModel,
)
from pidlab.config.usable import quoted_number
from pidlab.errors import DataError, ExpressionError, PidlabError, nearest
from pidlab.expressions import Expression, Kind, Number, check, parse
from pidlab.expressions.check import refuse_iteration
from pidlab.expressions.tree import Branch, Constant, Entry

if TYPE_CHECKING:  # reading takes a third of a second to load, which a right configuration does not need here
    from pidlab.read import Source, Table

Stated = Mapping[KeyPath, Expression]


def class_table(spec: str | ClassTable) -> ClassTable:
    """Returns a class as a table, also if the configuration gives it by an expression alone."""
    return ClassTable(cut=spec) if isinstance(spec, str) else spec


def spectator_keys(config: Config) -> dict[str, KeyPath]:
    """Returns the spectators, with what is made alike and the axes of maps and flat points, each with its key path."""
    keys: dict[str, KeyPath] = {name: ("spectators", i) for i, name in enumerate(config.spectators)}
    for i, name in enumerate(config.reweight.match if config.reweight is not None else ()):
        keys.setdefault(name, ("reweight", "match", i))
    for section, maps in (("maps", config.evaluate.maps), ("flat", config.evaluate.flat)):
        for i, each in enumerate(maps):
            keys.setdefault(each.x, ("evaluate", section, i, "x"))
            if each.y is not None:
                keys.setdefault(each.y, ("evaluate", section, i, "y"))
    return keys


def target_texts(config: Config) -> dict[str, tuple[KeyPath, str]]:
    """Returns the key path and text of the `value` and the `cut` of a regression's target; empty for classes."""
    if not isinstance(config, RegressionConfig):
        return {}
    asked, key = config.predicted, ("target",) if isinstance(config.target, str) else ("target", "value")
    return {"value": (key, asked.value), "cut": (("target", "cut"), asked.cut)}


def stated_texts(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yields the key path and text of each expression of a configuration, in its order."""
    yield from ((("data", "aliases", name), text) for name, text in config.data.aliases.items())
    yield from polygon_texts(config)
    if config.data.best_by is not None:
        yield ("data", "best"), config.data.best_by[1]
    yield ("data", "weight"), config.data.weight
    yield from target_texts(config).values()
    for name, spec in config.classes.items() if not isinstance(config, RegressionConfig) else ():
        table = class_table(spec)
        yield ("classes", name) if isinstance(spec, str) else ("classes", name, "cut"), table.cut
        if table.weight is not None:
            yield ("classes", name, "weight"), table.weight
    yield from ((("selection", name), text) for name, text in config.selection.items())
    yield from ((column.key, column.feature.expression) for column in stated_features(config))
    yield from ((key, name) for name, key in spectator_keys(config).items())
    if config.reweight is not None and isinstance(config.reweight.to, ReweightTarget):
        yield ("reweight", "to", "cut"), config.reweight.to.cut
        yield ("reweight", "to", "weight"), config.reweight.to.weight
    if isinstance(config.split.test, str):
        yield ("split", "test"), config.split.test
    for name, model in config.models.items():
        if isinstance(model, ExpressionModel):
            yield ("models", name, "cut"), model.cut
        elif isinstance(model, ScoreModel):
            yield ("models", name, "expression"), model.expression
        yield from ((("models", name, *place), text) for place, text in model.own_columns().items())
        if isinstance(model, TrainedModel) and isinstance(model.by, CategoryBins):
            yield ("models", name, "by", "x"), model.by.x
        else:
            yield from ((("models", name, "by", category), text) for category, text in model.categories.items())


_WILD = re.compile(r"(?:[\w.$/]|::)*[*?](?:[\w.$/*?]|::)*")


def is_pattern(text: str) -> bool:
    """Returns True for a feature that means all branches that match, such as `P.cal.*`.

    That is a text of characters of names, `*` and `?` that is no expression: `P.cal.*`, `*_pt`, `REC::Particle.p?` and
    `x?` are patterns, `a*b` is a product, and so is everything with a space or a bracket.
    """
    if not _WILD.fullmatch(text):
        return False
    try:
        parse(text)
    except ExpressionError:
        return True
    return False


def _ambiguity(text: str) -> str:
    """Returns how to write a feature that may be a product or a pattern, such as `jet_*_pt`; empty for every other."""
    if not _WILD.fullmatch(text) or not re.search(r"_\*|(?<!\*)\*_", text):
        return ""
    product, pattern = text.replace("*", " * "), text.replace("*", "?*")
    return (
        f"{text!r} may be a product or a pattern of branches; write '{product}' for the product, '{pattern}' for all "
        "branches that match"
    )


def parsed(config: Config, mistakes: list[tuple[KeyPath, str]]) -> dict[KeyPath, Expression]:
    """Returns the expressions of a configuration; those that are refused are appended to `mistakes` instead.

    What is wrong with an alias or an axis of a polygon is told once, where that is stated. Features that are patterns
    are no expressions.
    """
    aliases, polygons, found = dict(config.data.aliases), polygons_of(config), {}
    wrong_aliases: set[tuple[str, str, int]] = set()
    for key, text in stated_texts(config):
        is_alias = _stands_for_another(key)
        if key[0] == "features" and len(key) == 2:
            if is_pattern(text):
                continue
            if unclear := _ambiguity(text):
                mistakes.append((key, unclear))
                continue
        if key == ("split", "test") and quoted_number(text) is not None:
            mistakes.append((key, _constant_test(text)))
            continue
        try:
            found[key] = parse(text, aliases, polygons)
        except ExpressionError as error:
            place = (error.message.rpartition(": ")[2], error.text, error.position)
            if not is_alias and place in wrong_aliases:
                continue
            if is_alias and place in wrong_aliases and error.text != text:
                continue
            if is_alias:
                wrong_aliases.add(place)
            mistakes.append((key, str(error)))
    return found


def _stands_for_another(key: KeyPath) -> bool:
    """Returns True for the expressions that others take by a name: aliases, and the axes of polygons."""
    return key[:2] == ("data", "aliases") or key[0] == "polygons"


def contradictions(config: Config, expressions: Stated) -> Iterator[tuple[KeyPath, str]]:
    """Yields what is wrong with expressions although each can be read: constants, and features that tell the class."""
    test = expressions.get(("split", "test"))
    if test is not None and not any(isinstance(step, Branch | Entry) for step in test.steps):
        yield ("split", "test"), _constant_test(test.text)
    for key, _ in target_texts(config).values():
        if key in expressions:
            yield from _features_that_are(expressions[key], config, expressions)
    labels: dict[str, str] = {}
    for name, spec in config.classes.items():
        table = class_table(spec)
        cut = expressions.get(("classes", name) if isinstance(spec, str) else ("classes", name, "cut"))
        if cut is not None and table.files is None and table.tree is None:
            labels = dict.fromkeys(cut.branches, name) | labels
    for column in columns(config):
        expression, key = expressions.get(column.key), column.key
        for branch in sorted(expression.branches & labels.keys()) if expression is not None else ():
            what = "the feature" if key[0] == "features" else "the variable"
            message = f"{what} {column.feature.name!r} reads {branch!r}, which defines the class {labels[branch]!r}"
            yield key, f"{message}: the models would learn the label; leave it out"


def _features_that_are(target: Expression, config: Config, expressions: Stated) -> Iterator[tuple[KeyPath, str]]:
    """Yields the features that are the target of a regression itself."""
    for column in columns(config):
        expression = expressions.get(column.key)
        if expression is not None and expression.steps == target.steps:
            yield column.key, f"the feature {column.feature.name!r} is the target itself; leave it out"


def _constant_test(text: str) -> str:
    number = quoted_number(text)
    if number is None:
        return f"{text!r} is the same for every event; write a share, such as test: 0.25, or a cut on branches"
    share = float(number)
    written = number if 0 < share < 1 else f"{share / 100:g}" if 1 < share < 100 else "0.25"
    return (
        f"{text!r} in quotes is an expression, the same for every event; "
        f"for a share of the events write it without quotes: test: {written}"
    )


def check_branches(expression: Expression, kinds: Mapping[str, Kind], table: Table) -> None:
    """Checks that a table has the branches of an expression, and that they hold what it takes.

    Raises:
        DataError: a branch cannot be used, or a name is an alias that the tree stores.
        ExpressionError: a branch is unknown, or the expression does not fit what it holds.
    """
    for step in expression.steps:
        if isinstance(step, Constant) and step.word and step.word in table:  # ROOT would read the branch
            spelled = "TMath::Pi()" if step.word == "pi" else str(int(step.value))
            message = f"{step.word!r} is a constant, and the table has a branch of this name"
            hint = f"Write it in backquotes, `{step.word}`, for the branch, or {spelled} for the constant."
            raise ExpressionError(message, expression.text, step.position, step.length, hint)
        if isinstance(step, Entry):
            refuse_iteration(expression, step, table.collection is not None)
    for name in sorted(expression.branches):
        if name in table and name not in kinds:
            raise DataError(f"the branch {name!r} {table.reason(name)}; expressions take numbers and text")
        if name not in table and name in table.aliases:
            alias = f"{name}: {json.dumps(table.aliases[name])}"
            raise DataError(
                f"{name!r} is an alias stored in the tree, which is not taken; say data.aliases: {{{alias}}}"
            )
    # `check` needs the names of all branches only to suggest one for an unknown name
    unread = {} if expression.branches <= kinds.keys() else dict.fromkeys(table.names, Kind(Number.FLOAT))
    try:
        check(expression, {**unread, **kinds})
    except ExpressionError as error:
        texts = [name for name in sorted(expression.branches) if name in kinds and kinds[name].number is Number.TEXT]
        remarks = [remark for name in texts if (remark := table.remark(name))]
        if not remarks:
            raise
        message = f"{error.message}: {'; '.join(remarks)}"
        raise ExpressionError(message, error.text, error.position, error.length, error.hint) from None


def branch_mistakes(table: Table, expressions: Stated, event_id: Collection[str] = ()) -> Iterator[tuple[KeyPath, str]]:
    """Yields what does not fit the branches of a table: each expression by its key, and branches of `event_id`."""
    kinds = table.kinds({name for each in expressions.values() for name in each.reads})
    for i, name in enumerate(event_id):
        if name not in table:
            yield ("data", "event_id", i), f"no branch {name!r}; {nearest(name, table.names)}\n    in {table.source}"
    for key, expression in expressions.items():
        try:
            check_branches(expression, kinds, table)
        except (ExpressionError, DataError) as error:
            yield key, f"{error}\n    in {table.source}"


def first_inputs(config: Config, folder: Path, arrays: Mapping[str, Any] | None = None) -> dict[Source, list[str]]:
    """Returns the first input of each class, with the names of the classes that are read from it.

    Args:
        config: the configuration.
        folder: the folder to which its paths are relative.
        arrays: name to column, if the events are in memory.

    Raises:
        PidlabError: an input cannot be found.
    """
    from pidlab.read import Source, each_path, find_sources, with_friends

    if arrays is not None:
        return {Source("arrays", "arrays", held=arrays): list(config.classes)}
    found: dict[Source, list[str]] = {}
    for name, spec in config.classes.items():
        table = class_table(spec)
        files = table.files if table.files is not None else config.data.files
        first = files if isinstance(files, str) else files[0] if files else None
        if first is None:
            continue
        if not first.startswith("@") and "://" not in first:
            first = each_path(first, folder)[0]
        source = find_sources(first, table.tree or config.data.tree, folder, config.data.columns)[0]
        found.setdefault(source, []).append(name)
    friends, event_id = config.data.friends, config.data.event_id
    return {with_friends([source], friends, folder, event_id)[source]: names for source, names in found.items()}


def mistakes_of_branches(config: Config, folder: Path, expressions: Stated) -> list[tuple[KeyPath, str]]:
    """Returns what does not fit the first input of each class, where these are files on this machine.

    It is asked for a configuration that is wrong elsewhere, to tell all mistakes at once. An input that cannot be
    found or opened, which is told once the configuration is right, is left out.
    """
    from pidlab.read import Table

    named = [class_table(spec).files for spec in config.classes.values()]
    files = [each for some in (config.data.files, *named) for each in ([some] if isinstance(some, str) else some or [])]
    if any("://" in each for each in files):
        return []
    found: dict[tuple[KeyPath, str], None] = {}
    try:
        for source, names in first_inputs(config, folder).items():
            others: list[KeyPath] = [("classes", name) for name in config.classes if name not in names]
            others.append(("reweight", "to"))  # which files of their own have
            asked = {key: e for key, e in expressions.items() if key[:2] not in others and not _stands_for_another(key)}
            with Table(source, config.data.per) as table:
                for mistake in branch_mistakes(table, asked, config.data.event_id):
                    if not any(mistake[0] == key for key, _ in found):
                        found[mistake] = None
    except PidlabError:
        pass
    return list(found)
