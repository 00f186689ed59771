"""Recipe: a configuration with every expression parsed and every input found, ready to be run over chunks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pidlab.config.load import LoadedConfig, feature_key
from pidlab.config.names import KeyPath
from pidlab.config.schema import ClassTable, ExpressionModel, Feature, ScoreModel
from pidlab.config.schema import Expression as Text
from pidlab.errors import ConfigError, DataError, ExpressionError, Mistake, UsageError
from pidlab.expressions import Expression, Kind, Number, check, parse
from pidlab.expressions.tree import Constant
from pidlab.read import Source, Table, find_sources, has_place, with_friends


@dataclass(frozen=True, slots=True)
class LocatedExpression:
    """An expression and the key path where the configuration states it."""

    key: KeyPath
    expression: Expression


@dataclass(frozen=True, slots=True)
class ClassRule:
    """Which rows of a table belong to a class, and their weight."""

    index: int
    cut: LocatedExpression
    weight: LocatedExpression


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that is done to the rows of a table, as checked expressions.

    Attributes:
        classes, signal: names, and the signal's index.
        selection: the cut flow, in order.
        features: with the values that mean "missing".
        spectators: what is carried along, axes of maps and of flat working points included.
        expression_models: name of an `expression` or `score` model to its expression.
        event_id: branches that identify an event; empty where file and entry number do.
        test: true for test events, where the configuration says so by an expression.
    """

    loaded: LoadedConfig
    classes: tuple[str, ...]
    signal: int
    selection: tuple[tuple[str, LocatedExpression], ...]
    features: tuple[tuple[Feature, LocatedExpression], ...]
    spectators: tuple[tuple[str, LocatedExpression], ...]
    expression_models: Mapping[str, LocatedExpression]
    event_id: tuple[str, ...]
    test: LocatedExpression | None

    def stated(self, rules: Iterable[ClassRule] = ()) -> list[LocatedExpression]:
        """The expressions needed to score rows and, with `rules`, to label, weigh and split them."""
        scoring = [s for _, s in (*self.selection, *self.features)] + list(self.expression_models.values())
        labelling = [s for rule in rules for s in (rule.cut, rule.weight)]
        if not labelling:
            return scoring
        return scoring + labelling + [s for _, s in self.spectators] + ([self.test] if self.test else [])

    @property
    def per(self) -> str | list[str] | None:
        """The collection whose candidates are the rows; None where a row is an entry."""
        return self.loaded.config.data.per

    @property
    def expression_model_branches(self) -> set[str]:
        """The branches that `expression` and `score` models read."""
        return {name for stated in self.expression_models.values() for name in stated.expression.branches}

    def rules(self) -> dict[Source, list[ClassRule]]:
        """The inputs of the configuration, each with the classes found in it.

        Raises:
            ConfigError: an expression is refused.
            DataError: an input cannot be found.
        """
        config, compiler = self.loaded.config, _Compiler(self.loaded)
        found: dict[Source, list[ClassRule]] = {}
        for index, (name, spec) in enumerate(config.classes.items()):
            table = spec if isinstance(spec, ClassTable) else ClassTable(cut=spec)
            cut_key: KeyPath = ("classes", name, "cut") if isinstance(spec, ClassTable) else ("classes", name)
            cut = compiler(cut_key, table.cut)
            own = table.weight is not None
            weight = compiler(
                ("classes", name, "weight") if own else ("data", "weight"), table.weight or config.data.weight
            )
            if cut is None or weight is None:
                continue
            files_key: KeyPath = ("classes", name, "files") if table.files is not None else ("data", "files")
            for source in self._sources(table, files_key):
                found.setdefault(source, []).append(ClassRule(index, cut, weight))
        compiler.finish()
        befriended = with_friends(list(found), config.data.friends, self.loaded.folder, config.data.event_id)
        return {befriended[source]: rules for source, rules in found.items()}

    def inputs(self, files: Sequence[str], tree: str | None) -> list[Source]:
        """Other inputs (relative to the working folder), with the names of columns and the friends that these need.

        Raises:
            UsageError: `data.friends` names files that belong to the inputs of the configuration only.
            DataError: an input or a friend cannot be found.
        """
        data = self.loaded.config.data
        sources = find_sources(files, tree or data.tree, Path(), data.columns)
        fixed = next((friend for friend in data.friends if not has_place(friend)), None)
        if fixed is None:
            befriended = with_friends(sources, data.friends, self.loaded.folder, data.event_id)
            return [befriended[source] for source in sources]
        own = {_identity(source): source for source in self.rules()}
        for source in sources:
            if _identity(source) not in own:
                what = f"data.friends names {fixed!r}, which belongs to the inputs of the configuration; {source}"
                raise UsageError(f"{what} needs one of its own: write {{stem}} for the input's name in data.friends")
        return [own[_identity(source)] for source in sources]

    def _sources(self, table: ClassTable, key: KeyPath) -> list[Source]:
        config = self.loaded.config
        files = table.files if table.files is not None else config.data.files
        if files is None:
            raise ConfigError([self.loaded.mistake(key, "no files are named for this class")])
        return find_sources(files, table.tree or config.data.tree, self.loaded.folder, config.data.columns)

    def check(self, table: Table, stated: Iterable[LocatedExpression]) -> None:
        """Check expressions against the branches of `table`.

        Raises:
            ConfigError: unknown branches, or arrays where one number a row is needed; all at once.
        """
        stated = list(stated)
        kinds = table.kinds({name for s in stated for name in s.expression.branches})
        mistakes = []
        for each in stated:
            try:
                _check(each.expression, kinds, table)
            except (ExpressionError, DataError) as error:
                mistakes.append(self.loaded.mistake(each.key, f"{error}\n    in {table.source}"))
        if mistakes:
            raise ConfigError(dict.fromkeys(mistakes))


def _identity(source: Source) -> tuple[str, str]:
    """What tells two inputs apart, however they were named."""
    return source.path if "://" in source.path else str(Path(source.path).resolve()), source.tree


def _check(expression: Expression, kinds: Mapping[str, Kind], table: Table) -> None:
    for step in expression.steps:
        if isinstance(step, Constant) and step.word and step.word in table:  # ROOT would read the branch
            spelled = "TMath::Pi()" if step.word == "pi" else str(int(step.value))
            message = f"{step.word!r} is a constant, and the table has a branch of this name"
            hint = f"Write it in backquotes, `{step.word}`, for the branch, or {spelled} for the constant."
            raise ExpressionError(message, expression.text, step.position, step.length, hint)
    for name in sorted(expression.branches):
        if name in table and name not in kinds:
            raise DataError(f"the branch {name!r} {table.reason(name)}; expressions take numbers and text")
        if name not in table and name in table.aliases:
            alias = f"{name}: {json.dumps(table.aliases[name])}"
            raise DataError(
                f"{name!r} is an alias stored in the tree, which is not taken; say data.aliases: {{{alias}}}"
            )
    # of the branches that are not read only the names matter, and those only where one is unknown
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


class _Compiler:
    """Parses expressions and collects what is wrong with them."""

    def __init__(self, loaded: LoadedConfig) -> None:
        self._loaded = loaded
        self._aliases = dict(loaded.config.data.aliases)
        self._mistakes: list[Mistake] = []

    def __call__(self, key: KeyPath, text: Text) -> LocatedExpression | None:
        try:
            return LocatedExpression(key, parse(text, self._aliases))
        except ExpressionError as error:
            self._mistakes.append(self._loaded.mistake(key, str(error)))
            return None

    def finish(self) -> None:
        if self._mistakes:
            raise ConfigError(self._mistakes)


def compile_recipe(loaded: LoadedConfig) -> Recipe:
    """Parse every expression of a configuration.

    Raises:
        ConfigError: expressions that are refused, or a feature that uses what defines the classes; all at once.
    """
    config, compile_ = loaded.config, _Compiler(loaded)
    selection = [(name, compile_(("selection", name), text)) for name, text in config.selection.items()]
    features = [
        (f, compile_(feature_key(i, config.features[i]), f.expression)) for i, f in enumerate(config.feature_list)
    ]
    spectators = [(name, compile_(key, name)) for name, key in _spectator_names(loaded).items()]
    expression_models = {
        name: compile_(("models", name, "cut" if isinstance(m, ExpressionModel) else "expression"), _expression_text(m))
        for name, m in config.models.items()
        if isinstance(m, ExpressionModel | ScoreModel)
    }
    test = compile_(("split", "test"), config.split.test) if isinstance(config.split.test, str) else None
    compile_.finish()
    recipe = Recipe(
        loaded=loaded,
        classes=tuple(config.classes),
        signal=list(config.classes).index(config.signal_class),
        selection=tuple((name, s) for name, s in selection if s),
        features=tuple((f, s) for f, s in features if s),
        spectators=tuple((name, s) for name, s in spectators if s),
        expression_models={name: s for name, s in expression_models.items() if s},
        event_id=tuple(config.data.event_id),
        test=test,
    )
    _refuse_leaks(recipe)
    return recipe


def _expression_text(model: ExpressionModel | ScoreModel) -> Text:
    return model.cut if isinstance(model, ExpressionModel) else model.expression


def _spectator_names(loaded: LoadedConfig) -> dict[str, KeyPath]:
    config = loaded.config
    names: dict[str, KeyPath] = {name: ("spectators", i) for i, name in enumerate(config.spectators)}
    for section, asked in (("maps", config.evaluate.maps), ("flat", config.evaluate.flat)):
        for i, each in enumerate(asked):
            names.setdefault(each.x, ("evaluate", section, i, "x"))
            if each.y is not None:
                names.setdefault(each.y, ("evaluate", section, i, "y"))
    return names


def _refuse_leaks(recipe: Recipe) -> None:
    """A branch that says what the event is must not be a feature."""
    config, aliases = recipe.loaded.config, dict(recipe.loaded.config.data.aliases)
    labels: dict[str, str] = {}
    for name, spec in config.classes.items():
        cut = spec if isinstance(spec, str) else spec.cut if spec.files is None and spec.tree is None else "1"
        labels = dict.fromkeys(parse(cut, aliases).branches, name) | labels
    mistakes = []
    for feature, stated in recipe.features:
        for branch in sorted(stated.expression.branches & labels.keys()):
            message = f"the feature {feature.name!r} reads {branch!r}, which defines the class {labels[branch]!r}"
            mistakes.append(
                recipe.loaded.mistake(stated.key, f"{message}: the models would learn the label; leave it out")
            )
    if mistakes:
        raise ConfigError(mistakes)


def without_models(recipe: Recipe, names: Iterable[str]) -> Recipe:
    """The same recipe for some of the models only."""
    kept = set(names)
    return replace(recipe, expression_models={name: s for name, s in recipe.expression_models.items() if name in kept})
