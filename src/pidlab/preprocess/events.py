"""Events: every input of a recipe, streamed through labels, selection and features into one Sample."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.config.schema import Config
from pidlab.errors import ConfigError, DataError, Mistake, in_order
from pidlab.evaluate.results import CutStep
from pidlab.expressions import selects
from pidlab.preprocess.draw import Draw
from pidlab.preprocess.features import (
    event_keys,
    expression_columns,
    feature_columns,
    polygon_axes,
    refuse_infinite,
    values_of,
)
from pidlab.preprocess.precision import FeatureColumns, coarse_scores, coarse_target, refined
from pidlab.preprocess.recipe import ClassRule, Recipe
from pidlab.preprocess.selection import CutFlow, cut_masks
from pidlab.preprocess.store import Store
from pidlab.progress import Watcher
from pidlab.read import Chunk, Source, Table
from pidlab.sample import BoolArray, IntArray, Sample, joined
from pidlab.split import Keys, Part, Parts, fold_of, is_validation, split


@dataclass(frozen=True, slots=True)
class Input:
    """One input as it was read.

    Attributes:
        source: the file and tree.
        n_entries: the number of entries.
        n_rows: the number of candidates if a row is a candidate, else of entries.
        n_unlabelled: the number of selected rows of no class.
        n_left_out: the number of selected rows of a class that are not among the drawn events, see `Draw`.
        hashes: branch to the BLAKE2b-128 of its values, for each branch that was read.
    """

    source: Source
    n_entries: int
    n_rows: int
    n_unlabelled: int
    hashes: Mapping[str, str]
    n_left_out: int = 0


NamedInput = tuple[Source, str, Sequence[ClassRule]]
"""An input, the name by which messages call it, and the rules of the classes that are read from it."""


@dataclass(frozen=True, slots=True)
class Events:
    """The selected, labelled rows of all inputs.

    Attributes:
        sample: the n rows, in the order of their parts and within a part as they were read.
        parts: what each of the rows is for.
        cutflow: the numbers of rows after each cut.
        inputs: what was read.
        recipe: the recipe to use from here on, in which features that float32 cannot resolve became differences.
        store: where the columns of the sample live.
    """

    sample: Sample
    parts: Parts
    cutflow: tuple[CutStep, ...]
    inputs: tuple[Input, ...]
    recipe: Recipe
    store: Store


_MAX_OPEN_FILES = 50
_MAX_OPEN_BRANCHES = 20_000
"""ROOT files that are kept open between the check of all inputs and their reading: a branch takes some 10 kB."""


def load(
    recipe: Recipe,
    watcher: Watcher,
    memory: int | None = None,
    make_loader: Callable[[Recipe, Mapping[Source, str], Store], Loader] | None = None,
) -> Events:
    """Reads all inputs of the configuration; all expressions are checked on each before the first event is read.

    Args:
        recipe: what to read.
        watcher: is told of the progress.
        memory: the bytes that this process may take in all; columns that would take more than half are kept in files
            without names in the folder for temporary files. None for what the machine has.
        make_loader: makes what reads the inputs, by default in this process.

    Raises:
        ConfigError: an expression does not fit the branches.
        DataError: an input cannot be read, or its rows cannot be used.
    """
    rules = recipe.rules()
    names = input_names(list(rules))
    store = Store(memory)
    tables: dict[Source, Table] = {}
    sizes: dict[Source, int] = {}
    n_branches = 0
    mistakes: dict[tuple[str, str], Mistake] = {}
    checked: set[int] = set()
    with ExitStack() as opened:
        for source, class_rules in rules.items():
            classes = {rule.index for rule in class_rules}
            if mistakes and classes <= checked:
                continue  # one input of each class is enough to tell what is wrong
            checked |= classes
            with ExitStack() as own:
                table = own.enter_context(Table(source, recipe.per))
                try:
                    check_table(recipe, table, class_rules)
                except ConfigError as error:
                    mistakes = {(m.place, m.key): m for m in error.mistakes} | mistakes
                    continue
                sizes[source] = table.n_entries
                n_branches += len(table.names)
                if source.is_root and len(tables) < _MAX_OPEN_FILES and n_branches <= _MAX_OPEN_BRANCHES:
                    tables[source] = table
                    opened.enter_context(own.pop_all())
        if mistakes:
            raise ConfigError(in_order(mistakes.values()))
        store.expect(sum(sizes.values()), row_bytes(recipe, features=make_loader is None))
        loader = (make_loader or Loader)(recipe, input_keys(list(rules)), store)
        with watcher.task("reading", sum(sizes.values()), "entries") as task:
            loader.read_all(
                [(source, names[source], own) for source, own in rules.items()], sizes, tables, task.advance
            )
    return loader.events(watcher)


def row_bytes(recipe: Recipe, *, features: bool) -> int:
    """Returns about how many bytes a selected row takes while its columns are put in order."""
    doubles = len(recipe.spectators) + len(polygon_axes(recipe))
    own = sum(np.dtype(dtype).itemsize for dtype in _COLUMNS.values()) + 8 + 8 * (recipe.target is not None)
    return own + 8 * doubles + features * (4 * recipe.n_columns + 8 * len(recipe.expression_model_branches))


def input_names(sources: Sequence[Source]) -> dict[Source, str]:
    """Returns a name for each input that does not depend on its folder: `file.root:tree`, numbered if it is shared."""
    return _numbered({s: f"{s.place.replace(chr(92), '/').rsplit('/', 1)[-1]}:{s.tree}" for s in sources})


def input_keys(sources: Sequence[Source]) -> dict[Source, str]:
    """Returns the key of each source, numbered if several share it, which identifies its entries among all inputs.

    It depends neither on the folder nor on the format.
    """
    return _numbered({s: s.key for s in sources})


def _numbered(unnumbered: Mapping[Source, str]) -> dict[Source, str]:
    """Returns the names, with ` #2`, ` #3`, … appended to those that occurred before."""
    names: dict[Source, str] = {}
    for source, name in unnumbered.items():
        repeats = sum(other == name or other.startswith(f"{name} #") for other in names.values())
        names[source] = name if not repeats else f"{name} #{repeats + 1}"
    return names


def check_table(recipe: Recipe, table: Table, rules: Sequence[ClassRule] = ()) -> None:
    """Checks that the branches that the recipe reads exist and can be used.

    Raises:
        ConfigError: branches are missing or cannot be used; all are listed.
    """
    recipe.check(table, recipe.expressions(rules), recipe.event_id)


def branches_read(recipe: Recipe, rules: Sequence[ClassRule] = ()) -> set[str]:
    """Returns what has to be read to score rows and, with `rules`, to label, weigh and split them."""
    expressions = [located.expression for located in recipe.expressions(rules)]
    return {name for each in expressions for name in each.reads} | set(recipe.event_id)


class Loader:
    """Collects the chunks of all inputs in columns."""

    def __init__(self, recipe: Recipe, keys: Mapping[Source, str], store: Store) -> None:
        self.recipe, self.keys, self.store = recipe, keys, store
        self.branches: dict[str, list[Any]] = {}
        self.chunks: list[tuple[int, int, int]] = []
        self.inputs: list[Input] = []
        self.cutflow = CutFlow(("all", *recipe.steps), recipe.classes)
        config = recipe.loaded.config
        self.draw = None if config.events is None else Draw(config.events, config.split.seed)
        column = store.column
        self.columns = {name: column(dtype) for name, dtype in _COLUMNS.items()}
        if recipe.test:
            self.columns["declared_test"] = column(np.bool_)
        if recipe.target:
            self.columns["target"] = column(np.float64)
        self.features = FeatureColumns(column(np.float32, recipe.n_columns))
        self.spectators = {name: column(np.float64, single=True) for name, _ in recipe.spectators}
        self.axes = {text: column(np.float64, single=True) for text in polygon_axes(recipe)}

    def read_all(
        self,
        inputs: Sequence[NamedInput],
        sizes: Mapping[Source, int],
        tables: Mapping[Source, Table],
        advance: Callable[[int], Any],
    ) -> None:
        """Reads all inputs.

        Args:
            inputs: in their order.
            sizes: the number of entries of each.
            tables: those that are open.
            advance: is told of entries that were read.
        """
        for index, (source, name, rules) in enumerate(inputs):
            with nullcontext(tables[source]) if source in tables else Table(source, self.recipe.per) as table:
                self.read(index, name, table, rules, advance)

    def read(
        self,
        index: int,
        name: str,
        table: Table,
        rules: Sequence[ClassRule],
        advance: Callable[[int], Any],
        spans: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        """Reads one input, or some spans of its entries, first and last + 1, whose rows are counted from the first.

        Spans have no hashes, which need the branches as a whole.
        """
        digests, branches = Digests(), branches_read(self.recipe, rules)
        n_entries = n_rows = n_unlabelled = 0
        chunks = table.chunks(branches) if spans is None else (table.span(branches, *span) for span in spans)
        for chunk in chunks:
            if spans is None:
                digests.update(chunk)
            own = chunk if spans is None else replace(chunk, first_row=n_rows)
            n_unlabelled += self._add(index, name, self.keys[table.source], own, rules)
            n_rows += chunk.n_rows
            n_entries += chunk.n_entries
            advance(chunk.n_entries)
        self.inputs.append(Input(table.source, n_entries, n_rows, n_unlabelled, digests.hashes))

    def _add(self, index: int, name: str, key: str, chunk: Chunk, rules: Sequence[ClassRule]) -> int:
        """Adds the selected rows of a chunk that have a class; returns how many have none."""
        y, weight = _label(self.recipe, name, chunk, rules)
        masks = cut_masks(self.recipe, chunk)
        self.cutflow.fill(y, weight, masks)
        rows = np.flatnonzero((y >= 0) & masks[-1])
        n_rows, recipe = len(rows), self.recipe
        kept = chunk.take(rows)
        event = event_keys(recipe, kept, key)
        if self.draw is not None:
            drawn = np.flatnonzero(self.draw.offer(event))
            kept, rows, event = kept.take(drawn), rows[drawn], event[drawn]
        own: dict[str, NDArray[Any]] = {
            "y": y[rows], "weight": weight[rows], "event": event, "row": chunk.first_row + rows,
            "file": np.full(len(rows), index, np.int32),
        }  # fmt: skip
        if recipe.test:
            own["declared_test"] = selects(recipe.test.expression, kept.arrays, kept.n_rows)
        if recipe.target:
            own["target"] = values_of(recipe.target, kept)
        for each, values in own.items():
            self.columns[each].add(values)
        self.features.add(feature_columns(recipe, kept))
        for each, located in recipe.spectators:
            self.spectators[each].add(values_of(located, kept))
        for text, located in polygon_axes(recipe).items():
            self.axes[text].add(values_of(located, kept))
        for branch, values in expression_columns(recipe, kept).items():
            self.branches.setdefault(branch, []).append(values)
        self.chunks.append((index, n_rows, len(rows)))
        return int(masks[-1].sum()) - n_rows

    def events(self, watcher: Watcher) -> Events:
        """Returns the rows of all inputs, each column in one piece and in the order of the parts.

        Raises:
            DataError: a class has no events, float32 cannot hold a target, or the disk is full.
        """
        steps, recipe = self.cutflow.steps(), self.recipe
        _refuse_empty(recipe, steps, [i.source for i in self.inputs if not i.n_entries])
        n = sum(n_held for _, _, n_held in self.chunks)
        as_read = np.arange(n)
        event = self.columns.pop("event").ordered(as_read, n)
        held = np.ones(n, bool) if self.draw is None else self.draw.holds(event)
        declared = self.columns.pop("declared_test").ordered(as_read, n) if recipe.test else None
        inputs = self._inputs(held, watcher)
        order, parts = _divided(recipe.loaded.config, event, held, declared)
        n = len(order)
        place = np.full(len(event), -1, order.dtype)
        place[order] = np.arange(n, dtype=order.dtype)
        event = event[order]
        recipe, x, sentences = refined(recipe, self.features, place, n)
        sample = Sample(
            x=x,
            event=event,
            features=tuple(f.name for f, _ in recipe.features),
            classes=recipe.classes,
            signal=recipe.signal,
            spectators={name: column.ordered(place, n) for name, column in self.spectators.items()},
            columns=self._branches(x, order),
            axes={text: column.ordered(place, n) for text, column in self.axes.items()},
            weight_replicas=None,  # the weights are those of the files
            **{name: column.ordered(place, n) for name, column in self.columns.items()},
        )
        for sentence in (*sentences, *coarse_scores(recipe, sample), *coarse_target(recipe, sample)):
            watcher.note(sentence)
        self.store.release()
        return Events(sample, parts, steps, inputs, recipe, self.store)

    def _branches(self, x: Any, order: IntArray) -> Mapping[str, Any]:
        """Returns the branches that models read as expressions, in the order of the rows of the features x."""
        return {name: joined(self.branches.pop(name))[order] for name in list(self.branches)}

    def _inputs(self, held: BoolArray, watcher: Watcher) -> tuple[Input, ...]:
        """Returns the inputs with the numbers of rows of events that are not drawn in the end."""
        if self.draw is None:
            return tuple(self.inputs)
        n_left_out, start = np.zeros(len(self.inputs), np.int64), 0
        for index, n_rows, n_held in self.chunks:
            n_left_out[index] += n_rows - int(held[start : start + n_held].sum())
            start += n_held
        n_rows = sum(n for _, n, _ in self.chunks)
        if n_left_out.any():
            watcher.note(
                f"A first look at {self.draw.n_events:,} events, which hold {n_rows - n_left_out.sum():,} of the "
                f"{n_rows:,} selected candidates; they are drawn by a hash of the event. Without `events` "
                "(--events) all are used."
            )
        return tuple(replace(each, n_left_out=int(n)) for each, n in zip(self.inputs, n_left_out, strict=True))


_COLUMNS = {"y": np.int8, "weight": np.float64, "event": np.uint64, "file": np.int32, "row": np.int64}
"""The fields of a sample that are columns of one number a row, and their types."""


def _divided(config: Config, event: Keys, held: BoolArray, declared: BoolArray | None) -> tuple[IntArray, Parts]:
    """Returns the rows that stay, in the order of their parts, and what each of them is for.

    Args:
        config: the configuration.
        event: (m,) the hashes of the events of all rows, in the order in which they were read.
        held: (m,) true for rows that stay.
        declared: (m,) true for rows that the configuration declares test; None if a share decides.
    """
    validation = is_validation(event, config.split.validation, config.split.seed)
    fold = None
    if config.folds:
        part = np.full(len(event), Part.TEST, np.int8)
        fold = fold_of(event, config.folds, config.split.seed)
        group = fold + validation * np.int8(config.folds)
    else:
        test = declared if declared is not None else config.split.test
        assert not isinstance(test, str)
        part = group = split(event, test, config.split.validation, config.split.seed)
    small = np.int32 if len(event) < np.iinfo(np.int32).max else np.int64
    order = np.argsort(group, kind="stable").astype(small)
    order = order[held[order]]
    return order, Parts(part[order], None if fold is None else fold[order], validation[order])


def _label(
    recipe: Recipe, name: str, chunk: Chunk, rules: Sequence[ClassRule]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Returns (n,) the class of each row, -1 for none, and (n,) its weight.

    Rows without a target that could be predicted are of no class.

    Raises:
        DataError: a row is in two classes, or its weight is not finite.
    """
    y = np.full(chunk.n_rows, -1, np.int64)
    weight = np.zeros(chunk.n_rows)
    for rule in rules:
        mask = selects(rule.cut.expression, chunk.arrays, chunk.n_rows)
        both = np.flatnonzero(mask & (y >= 0))
        if len(both):
            first, second = recipe.classes[y[both[0]]], recipe.classes[rule.index]
            where = f"{len(both):,} rows of {name}, the first in entry {chunk.entry[both[0]]:,},"
            raise DataError(
                f"{where} are in two classes, {first!r} and {second!r}; make the classes exclude each other"
            )
        y[mask] = rule.index
        values = values_of(rule.weight, chunk)[mask]
        refuse_infinite(values, chunk.entry[mask], f"{name}: the weight {rule.weight.expression.text!r}")
        weight[mask] = values
    if recipe.target is not None:
        y[~np.isfinite(values_of(recipe.target, chunk))] = -1
    return y, weight


class Digests:
    """The hashes of branches, which do not depend on how their content is divided into consecutive chunks."""

    def __init__(self) -> None:
        self._digests: dict[str, Any] = {}

    def update(self, chunk: Chunk) -> None:
        """Adds the entries of a chunk."""
        for branch, values in chunk.entries.items():
            if branch not in ("Entry$", "LocalEntry$"):
                update_digest(self._digests.setdefault(branch, hashlib.blake2b(digest_size=16)), values)

    @property
    def hashes(self) -> dict[str, str]:
        """The BLAKE2b-128 of each branch."""
        return {branch: digest.hexdigest() for branch, digest in sorted(self._digests.items())}


def update_digest(digest: Any, values: Any) -> None:
    """Adds values to a digest, which does not depend on how the content is divided into chunks."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "T":
        words = [str(word).encode() for word in values]
        digest.update(b"".join(len(word).to_bytes(8, "little") + word for word in words))
        return
    if isinstance(values, np.ndarray):
        digest.update(np.ascontiguousarray(values).view(np.uint8).data if values.size else b"")
        return
    import awkward as ak

    digest.update(np.ascontiguousarray(ak.to_numpy(ak.num(values)).astype("<i8")).data)
    digest.update(np.ascontiguousarray(ak.to_numpy(ak.flatten(values, axis=None))).data)


def _refuse_empty(recipe: Recipe, steps: Sequence[CutStep], empty: Sequence[Source]) -> None:
    """Checks that every class has events, before and after the selection.

    Raises:
        DataError: a class has none; the message says after which cut.
    """
    for name in recipe.classes:
        what = f"the class {name!r} has" if recipe.target is None else "the target gives"
        if not steps[0].passed[name] and recipe.target is not None:
            raise DataError(
                f"the target {recipe.target.expression.text!r} is NaN or infinite, or its cut false, in all rows; "
                "check both"
            )
        if not steps[0].passed[name]:
            total = ", ".join(f"{c} {n:,}" for c, n in steps[0].passed.items())
            and_empty = f"; {', '.join(map(str, empty))}: has no entries" if empty else ""
            raise DataError(
                f"the class {name!r} has no events before any cut ({total}); check its expression and files{and_empty}"
            )
        for before, after in itertools.pairwise(steps):
            if before.passed[name] and not after.passed[name]:
                left = f"{what} no events left after the cut {after.name!r} ({before.passed[name]:,} before it)"
                cut = dict(recipe.selection).get(after.name)
                if cut is None:
                    raise DataError(f"{left}; loosen it")
                message = (
                    f"{left}: {cut.expression.text}; loosen it. `pidlab inspect FILE --ranges` shows the range of each "
                    "branch, and so its unit"
                )
                raise DataError(str(recipe.loaded.mistake(cut.key, message)))
