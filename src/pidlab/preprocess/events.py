"""Events: every input of a recipe, streamed through labels, selection and features into one Sample."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import ConfigError, DataError, Mistake, in_order
from pidlab.evaluate.results import CutStep
from pidlab.expressions import selects
from pidlab.preprocess.draw import Draw
from pidlab.preprocess.features import (
    event_keys,
    expression_columns,
    feature_columns,
    polygon_axes,
    spectator_values,
    values_of,
)
from pidlab.preprocess.precision import FeatureColumns, coarse_scores, refined
from pidlab.preprocess.recipe import ClassRule, Recipe
from pidlab.preprocess.selection import CutFlow, cut_masks
from pidlab.progress import Watcher
from pidlab.read import Chunk, Source, Table
from pidlab.sample import BoolArray, Sample, concatenate


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


@dataclass(frozen=True, slots=True)
class Events:
    """The selected, labelled rows of all inputs.

    Attributes:
        sample: the n rows.
        declared_test: (n,) true for rows that the configuration declares test; None if a share decides.
        cutflow: the numbers of rows after each cut.
        inputs: what was read.
        recipe: the recipe to use from here on, in which features that float32 cannot resolve became differences.
    """

    sample: Sample
    declared_test: BoolArray | None
    cutflow: tuple[CutStep, ...]
    inputs: tuple[Input, ...]
    recipe: Recipe


_MAX_OPEN_FILES = 50
_MAX_OPEN_BRANCHES = 20_000
"""ROOT files that are kept open between the check of all inputs and their reading: a branch takes some 10 kB."""


def load(recipe: Recipe, watcher: Watcher) -> Events:
    """Reads all inputs of the configuration; all expressions are checked on each before the first event is read.

    Raises:
        ConfigError: an expression does not fit the branches.
        DataError: an input cannot be read, or its rows cannot be used.
    """
    rules = recipe.rules()
    names = input_names(list(rules))
    loader = _Loader(recipe, input_keys(list(rules)))
    tables: dict[Source, Table] = {}
    n_entries = n_branches = 0
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
                n_entries += table.n_entries
                n_branches += len(table.names)
                if source.is_root and len(tables) < _MAX_OPEN_FILES and n_branches <= _MAX_OPEN_BRANCHES:
                    tables[source] = table
                    opened.enter_context(own.pop_all())
        if mistakes:
            raise ConfigError(in_order(mistakes.values()))
        with watcher.task("reading", n_entries, "entries") as task:
            for i, (source, class_rules) in enumerate(rules.items()):
                with nullcontext(tables[source]) if source in tables else Table(source, recipe.per) as table:
                    loader.read(i, names[source], table, class_rules, task.advance)
    return loader.events(watcher)


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
    """Returns the branches needed to score rows and, with `rules`, to label, weigh and split them."""
    expressions = [located.expression for located in recipe.expressions(rules)]
    return {name for each in expressions for name in each.branches} | set(recipe.event_id)


@dataclass(slots=True)
class _Loader:
    """Collects the chunks of all inputs; `read` is called once an input."""

    recipe: Recipe
    keys: Mapping[Source, str]
    samples: list[Sample] = field(default_factory=list)
    columns: FeatureColumns = field(default_factory=FeatureColumns)
    declared: list[BoolArray] = field(default_factory=list)
    n_used: list[int] = field(default_factory=list)
    chunk_inputs: list[int] = field(default_factory=list)
    inputs: list[Input] = field(default_factory=list)
    cutflow: CutFlow = field(init=False)
    draw: Draw | None = field(init=False)

    def __post_init__(self) -> None:
        steps = ("all", *(name for name, _ in self.recipe.selection))
        self.cutflow = CutFlow(steps, self.recipe.classes)
        config = self.recipe.loaded.config
        self.draw = None if config.events is None else Draw(config.events, config.split.seed)

    def read(self, index: int, name: str, table: Table, rules: Sequence[ClassRule], advance: Any) -> None:
        digests: dict[str, Any] = {}
        n_rows = n_unlabelled = 0
        for chunk in table.chunks(branches_read(self.recipe, rules)):
            for branch, values in chunk.entries.items():
                if branch not in ("Entry$", "LocalEntry$"):
                    update_digest(digests.setdefault(branch, hashlib.blake2b(digest_size=16)), values)
            n_unlabelled += self._add(index, name, self.keys[table.source], chunk, rules)
            n_rows += chunk.n_rows
            advance(chunk.n_entries)
        hashes = {branch: digest.hexdigest() for branch, digest in sorted(digests.items())}
        self.inputs.append(Input(table.source, table.n_entries, n_rows, n_unlabelled, hashes))

    def _add(self, index: int, name: str, key: str, chunk: Chunk, rules: Sequence[ClassRule]) -> int:
        """Add the selected rows of a chunk that have a class; returns how many have none."""
        y, weight = _label(self.recipe, name, chunk, rules)
        masks = cut_masks(self.recipe, chunk)
        self.cutflow.fill(y, weight, masks)
        is_selected = masks[-1] if masks else np.ones(chunk.n_rows, bool)
        rows = np.flatnonzero((y >= 0) & is_selected)
        n_rows, recipe = len(rows), self.recipe
        kept = chunk.take(rows)
        event = event_keys(recipe, kept, key)
        if self.draw is not None:
            drawn = np.flatnonzero(self.draw.offer(event))
            kept, rows, event = kept.take(drawn), rows[drawn], event[drawn]
        self.columns.add(feature_columns(recipe, kept))
        sample = Sample(
            x=np.empty((len(rows), 0), np.float32),
            y=y[rows],
            weight=weight[rows],
            event=event,
            features=tuple(f.name for f, _ in recipe.features),
            classes=recipe.classes,
            signal=recipe.signal,
            spectators=spectator_values(recipe, kept),
            columns=expression_columns(recipe, kept),
            file=np.full(len(rows), index, np.int32),
            row=chunk.first_row + rows,
            axes=polygon_axes(recipe, kept),
        )
        self.samples.append(sample)
        if recipe.test:
            self.declared.append(selects(recipe.test.expression, kept.arrays, kept.n_rows))
        self.n_used.append(n_rows)
        self.chunk_inputs.append(index)
        return int(is_selected.sum()) - n_rows

    def events(self, watcher: Watcher) -> Events:
        steps = self.cutflow.steps()
        _refuse_empty(self.recipe, steps, [i.source for i in self.inputs if not i.n_entries])
        inputs = self._without_undrawn(watcher)
        declared = np.concatenate(self.declared) if self.recipe.test else None
        recipe, x, sentences = refined(self.recipe, self.columns)
        sample = concatenate(self.samples).with_x(x)
        for sentence in (*sentences, *coarse_scores(recipe, sample)):
            watcher.note(sentence)
        return Events(sample, declared, steps, inputs, recipe)

    def _without_undrawn(self, watcher: Watcher) -> tuple[Input, ...]:
        """Drops the rows of events that are not drawn in the end; returns the inputs with the numbers of them."""
        if self.draw is None:
            return tuple(self.inputs)
        n_left_out = np.zeros(len(self.inputs), np.int64)
        for i, (sample, n_rows) in enumerate(zip(self.samples, self.n_used, strict=True)):
            held = self.draw.holds(sample.event)
            self.samples[i] = sample.take(held)
            self.columns.keep(i, held)
            if self.recipe.test:
                self.declared[i] = self.declared[i][held]
            n_left_out[self.chunk_inputs[i]] += n_rows - int(held.sum())
        n_rows = sum(self.n_used)
        if n_left_out.any():
            watcher.note(
                f"A first look at {self.draw.n_events:,} events, which hold {n_rows - n_left_out.sum():,} of the "
                f"{n_rows:,} selected candidates; they are drawn by a hash of the event. Without `events` "
                "(--events) all are used."
            )
        return tuple(replace(each, n_left_out=int(n)) for each, n in zip(self.inputs, n_left_out, strict=True))


def _label(
    recipe: Recipe, name: str, chunk: Chunk, rules: Sequence[ClassRule]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Returns (n,) the class of each row, -1 for none, and (n,) its weight.

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
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            entry = chunk.entry[mask][bad[0]]
            text = rule.weight.expression.text
            raise DataError(
                f"{name}: the weight {text!r} is {values[bad[0]]} in entry {entry:,}; weights must be finite"
            )
        weight[mask] = values
    return y, weight


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
        if not steps[0].passed[name]:
            total = ", ".join(f"{c} {n:,}" for c, n in steps[0].passed.items())
            and_empty = f"; {', '.join(map(str, empty))}: has no entries" if empty else ""
            raise DataError(
                f"the class {name!r} has no events before any cut ({total}); check its expression and files{and_empty}"
            )
        for before, after in itertools.pairwise(steps):
            if before.passed[name] and not after.passed[name]:
                left = f"no events left after the cut {after.name!r} ({before.passed[name]:,} before it)"
                raise DataError(f"the class {name!r} has {left}; loosen it")
