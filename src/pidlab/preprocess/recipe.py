"""Recipe: a configuration with every expression parsed, which finds its inputs and is run over their chunks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pidlab.config.columns import columns, conditions
from pidlab.config.load import LoadedConfig
from pidlab.config.names import KeyPath
from pidlab.config.polygons import polygons_of
from pidlab.config.schema import ExpressionModel, Feature, ScoreModel
from pidlab.config.stated import branch_mistakes, class_table, spectator_keys, target_texts
from pidlab.errors import ConfigError, UsageError
from pidlab.expressions import Expression, Polygon, parse
from pidlab.read import Source, Table, absolute, find_sources, has_place, stem_of, with_friends


@dataclass(frozen=True, slots=True)
class LocatedExpression:
    """An expression and the key path where the configuration states it."""

    key: KeyPath
    expression: Expression


@dataclass(frozen=True, slots=True)
class ClassRule:
    """The class with this index: which rows of a table belong to it, and their weight."""

    index: int
    cut: LocatedExpression
    weight: LocatedExpression


@dataclass(frozen=True, slots=True)
class BestRule:
    """By which value one candidate of an event is chosen, the one with the largest (or the smallest) value."""

    by: LocatedExpression
    is_largest: bool

    def __str__(self) -> str:
        return f"{'max' if self.is_largest else 'min'}({self.by.expression.text})"


@dataclass(frozen=True, slots=True)
class LocatedPolygon:
    """A polygon and the expressions of its axes."""

    polygon: Polygon
    x: LocatedExpression
    y: LocatedExpression


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that is done to the rows of a table, as parsed expressions.

    Attributes:
        loaded: the configuration.
        classes, signal: the names of the classes, and the index of the signal.
        class_rules: one rule for each class, in the same order.
        selection: the named cuts, in order.
        features: each with its section of the configuration, which holds the values that mean "missing"; first those
            that the configuration lists, then what single models read besides.
        conditions: text and expression of the conditions of categories, the last columns of a sample.
        spectators: columns kept for the evaluation, including the axes of maps and of flat working points.
        expression_models: name of an `expression` or `score` model to its expression.
        event_id: branches that identify an event; empty if the input and the entry number do.
        test: true for test events, if the configuration selects them by an expression.
        polygons: those that are asked of the rows of every input, on the axes on which they are asked.
        best: which one of the candidates of an event that pass the cuts is selected; None if all of them are.
        target: what a regression predicts; None with classes.
    """

    loaded: LoadedConfig
    classes: tuple[str, ...]
    signal: int
    class_rules: tuple[ClassRule, ...]
    selection: tuple[tuple[str, LocatedExpression], ...]
    features: tuple[tuple[Feature, LocatedExpression], ...]
    conditions: tuple[tuple[str, LocatedExpression], ...]
    spectators: tuple[tuple[str, LocatedExpression], ...]
    expression_models: Mapping[str, LocatedExpression]
    event_id: tuple[str, ...]
    test: LocatedExpression | None
    polygons: tuple[LocatedPolygon, ...] = ()
    best: BestRule | None = None
    target: LocatedExpression | None = None

    def expressions(self, rules: Iterable[ClassRule] = ()) -> list[LocatedExpression]:
        """Returns the expressions needed to score rows and, with `rules`, to label, weigh and split them."""
        scoring = [located for _, located in (*self.selection, *self.features, *self.conditions)]
        scoring += [*self.expression_models.values(), *([self.best.by] if self.best else [])]
        labelling = [located for rule in rules for located in (rule.cut, rule.weight)]
        if not labelling:
            return scoring
        kept = [located for _, located in self.spectators] + [axis for p in self.polygons for axis in (p.x, p.y)]
        return scoring + labelling + kept + [each for each in (self.test, self.target) if each is not None]

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the cuts, and of the choice of the best candidate after them."""
        return (*(name for name, _ in self.selection), *([f"best: {self.best}"] if self.best else []))

    @property
    def n_columns(self) -> int:
        """The number of columns of a sample: of features, and of conditions after them."""
        return len(self.features) + len(self.conditions)

    @property
    def per(self) -> str | list[str] | None:
        """The collection whose candidates are the rows; None if a row is an entry."""
        return self.loaded.config.data.per

    @property
    def expression_model_branches(self) -> set[str]:
        """What `expression` and `score` models read, by its names among the arrays of rows."""
        return {name for located in self.expression_models.values() for name in located.expression.reads}

    def rules(self) -> dict[Source, list[ClassRule]]:
        """Returns the inputs of the configuration, each with the rules of the classes that are read from it.

        Raises:
            ConfigError: no files are named for a class.
            DataError: an input cannot be found.
        """
        config = self.loaded.config
        found: dict[Source, list[ClassRule]] = {}
        for rule, spec in zip(self.class_rules, config.classes.values(), strict=True):
            table = class_table(spec)
            files = table.files if table.files is not None else config.data.files
            if files is None:
                raise ConfigError([self.loaded.mistake(("data", "files"), "no files are named for this class")])
            for source in self._sources(files, table.tree or config.data.tree):
                found.setdefault(source, []).append(rule)
        befriended = with_friends(list(found), config.data.friends, self.loaded.folder, config.data.event_id)
        return {befriended[source]: rules for source, rules in found.items()}

    def _sources(self, files: str | list[str], tree: str | None) -> list[Source]:
        """Returns the inputs that a section names, or the arrays in memory that take the place of its file."""
        if self.loaded.arrays is None:
            return find_sources(files, tree, self.loaded.folder, self.loaded.config.data.columns)
        path = absolute(files if isinstance(files, str) else files[0], self.loaded.folder)
        return [Source(path, stem_of(path), held=self.loaded.arrays)]

    def inputs(self, files: Sequence[str], tree: str | None) -> list[Source]:
        """Returns other inputs, relative to the working folder, with the column names and friends of the configuration.

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

    def check(self, table: Table, located: Iterable[LocatedExpression], event_id: Sequence[str] = ()) -> None:
        """Checks expressions, and the branches `event_id`, against the branches of `table`.

        Raises:
            ConfigError: branches are unknown, or arrays where one number a row is needed; all mistakes are listed.
        """
        expressions = {each.key: each.expression for each in located}
        mistakes = [self.loaded.mistake(key, said) for key, said in branch_mistakes(table, expressions, event_id)]
        if mistakes:
            raise ConfigError(mistakes)


def _identity(source: Source) -> tuple[str, str]:
    """Returns the same for two names of one input."""
    return source.path if "://" in source.path else str(Path(source.path).resolve()), source.tree


def compile_recipe(loaded: LoadedConfig) -> Recipe:
    """Returns the recipe of a configuration, with every expression parsed.

    The expressions were checked when the configuration was loaded.
    """
    config, aliases, polygons = loaded.config, dict(loaded.config.data.aliases), polygons_of(loaded.config)

    def located(key: KeyPath, text: str) -> LocatedExpression:
        return LocatedExpression(key, parse(text, aliases, polygons))

    target = {part: located(*stated) for part, stated in target_texts(config).items()}

    def rule(index: int, name: str) -> ClassRule:
        if target:
            return ClassRule(index, target["cut"], located(("data", "weight"), config.data.weight))
        table, key = class_table(config.classes[name]), ("classes", name)
        cut = located(key if isinstance(config.classes[name], str) else (*key, "cut"), table.cut)
        if table.weight is None:
            return ClassRule(index, cut, located(("data", "weight"), config.data.weight))
        return ClassRule(index, cut, located((*key, "weight"), table.weight))

    best_by = config.data.best_by
    recipe = Recipe(
        loaded=loaded,
        classes=tuple(config.classes),
        signal=list(config.classes).index(config.signal_class),
        class_rules=tuple(rule(index, name) for index, name in enumerate(config.classes)),
        selection=tuple((name, located(("selection", name), text)) for name, text in config.selection.items()),
        features=tuple((c.feature, located(c.key, c.feature.expression)) for c in columns(config)),
        conditions=tuple((text, located(key, text)) for text, key in conditions(config).items()),
        spectators=tuple((name, located(key, name)) for name, key in spectator_keys(config).items()),
        expression_models={
            name: located(("models", name, "cut"), model.cut)
            if isinstance(model, ExpressionModel)
            else located(("models", name, "expression"), model.expression)
            for name, model in config.models.items()
            if isinstance(model, ExpressionModel | ScoreModel)
        },
        event_id=tuple(config.data.event_id),
        test=located(("split", "test"), config.split.test) if isinstance(config.split.test, str) else None,
        best=None if best_by is None else BestRule(located(("data", "best"), best_by[1]), best_by[0] == "max"),
        target=target.get("value"),
    )

    def on_axes(polygon: Polygon) -> LocatedPolygon:
        x, y = (located(("polygons", polygon.name, axis), getattr(polygon, axis)) for axis in ("x", "y"))
        return LocatedPolygon(polygon, x, y)

    return replace(recipe, polygons=tuple(map(on_axes, _polygons_of_every_input(recipe))))


def _polygons_of_every_input(recipe: Recipe) -> list[Polygon]:
    """Returns the polygons that the expressions ask, without those that only a class with files of its own asks."""
    tables = [class_table(spec) for spec in recipe.loaded.config.classes.values()]
    shared = all(table.files is None and table.tree is None for table in tables)
    located = recipe.expressions(recipe.class_rules if shared else ())
    if not shared:
        located += [each for _, each in recipe.spectators] + ([recipe.test] if recipe.test else [])
    return list(dict.fromkeys(polygon for each in located for polygon in each.expression.polygons))


def without_models(recipe: Recipe, names: Iterable[str]) -> Recipe:
    """Returns the recipe with only those of its expression models that are in `names`."""
    kept = set(names)
    return replace(recipe, expression_models={k: v for k, v in recipe.expression_models.items() if k in kept})
