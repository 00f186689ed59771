"""Events: every input of a recipe, streamed through labels, selection and features into one Sample."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import DataError, UsageError, nearest
from pidlab.evaluate.results import CutStep
from pidlab.expressions import selects
from pidlab.preprocess.features import event_keys, expression_columns, feature_columns, spectator_values, values_of
from pidlab.preprocess.precision import Columns, coarse_scores, refined
from pidlab.preprocess.recipe import ClassRule, Recipe
from pidlab.preprocess.selection import CutFlow, cut_masks
from pidlab.progress import Watcher
from pidlab.read import Chunk, Source, Table
from pidlab.sample import BoolArray, Sample, concatenate


@dataclass(frozen=True, slots=True)
class Input:
    """One input as it was read.

    Attributes:
        n_rows: entries, or candidates where a row is a candidate.
        hashes: branch to the BLAKE2b-128 of its values, of the branches read.
    """

    source: Source
    n_entries: int
    n_rows: int
    hashes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Events:
    """What loading gives: the selected, labelled rows, (n,) which of them the configuration declares test
    (None where a share decides), the cut flow and the inputs.

    `recipe` is the one to go on with: features that float32 cannot tell apart are differences in it.
    """

    sample: Sample
    declared_test: BoolArray | None
    cutflow: tuple[CutStep, ...]
    inputs: tuple[Input, ...]
    recipe: Recipe


def load(recipe: Recipe, watcher: Watcher) -> Events:
    """Read everything that the configuration names.

    Raises:
        ConfigError: an expression does not fit the branches.
        DataError: an input cannot be read, or its rows cannot be used.
    """
    rules = recipe.rules()
    names = input_names(list(rules))
    loader = _Loader(recipe, input_keys(list(rules)))
    with watcher.task("reading", _total_entries(recipe, rules), "entries") as task:
        for i, (source, class_rules) in enumerate(rules.items()):
            with Table(source, recipe.per) as table:
                loader.read(i, names[source], table, class_rules, task.advance)
    return loader.events(watcher)


def input_names(sources: Sequence[Source]) -> dict[Source, str]:
    """A name for each input that does not depend on the folder: `file.root:tree`, numbered where several share it."""
    return _numbered({s: f"{s.place.replace(chr(92), '/').rsplit('/', 1)[-1]}:{s.tree}" for s in sources})


def input_keys(sources: Sequence[Source]) -> dict[Source, str]:
    """What tells the entries of each input from those of the others: the source's key, numbered where several share it.

    It depends neither on the folder nor on the format.
    """
    return _numbered({s: s.key for s in sources})


def _numbered(plain: Mapping[Source, str]) -> dict[Source, str]:
    """The names, with ` #2`, ` #3`, … behind those that stand there already."""
    names: dict[Source, str] = {}
    for source, name in plain.items():
        repeats = sum(other == name or other.startswith(f"{name} #") for other in names.values())
        names[source] = name if not repeats else f"{name} #{repeats + 1}"
    return names


def _total_entries(recipe: Recipe, rules: Mapping[Source, list[ClassRule]]) -> int:
    """Number of entries of all inputs; all expressions are checked on each, before the first event is read."""
    total = 0
    for source, class_rules in rules.items():
        with Table(source, recipe.per) as table:
            check_table(recipe, table, class_rules)
            total += table.n_entries
    return total


def check_table(recipe: Recipe, table: Table, rules: Sequence[ClassRule] = ()) -> None:
    """See that the branches that the recipe reads are there and of a usable kind.

    Raises:
        ConfigError, UsageError: they are not.
    """
    recipe.check(table, recipe.stated(rules))
    for i, name in enumerate(recipe.event_id):
        if name not in table:
            place = recipe.loaded.mistake(("data", "event_id", i), f"no branch {name!r}; {nearest(name, table.names)}")
            raise UsageError(f"{place}\n    in {table.source}")


def branches_read(recipe: Recipe, rules: Sequence[ClassRule] = ()) -> set[str]:
    """The branches needed to score rows and, with `rules`, to label, weigh and split them."""
    return {name for s in recipe.stated(rules) for name in s.expression.branches} | set(recipe.event_id)


@dataclass(slots=True)
class _Loader:
    """Collects chunks; one `read` an input."""

    recipe: Recipe
    keys: Mapping[Source, str]
    samples: list[Sample] = field(default_factory=list)
    columns: Columns = field(default_factory=Columns)
    declared: list[BoolArray] = field(default_factory=list)
    inputs: list[Input] = field(default_factory=list)
    cutflow: CutFlow = field(init=False)

    def __post_init__(self) -> None:
        steps = ("all", *(name for name, _ in self.recipe.selection))
        self.cutflow = CutFlow(steps, self.recipe.classes)

    def read(self, index: int, name: str, table: Table, rules: Sequence[ClassRule], advance: Any) -> None:
        digests: dict[str, Any] = {}
        n_rows = 0
        for chunk in table.chunks(branches_read(self.recipe, rules)):
            for branch, values in chunk.entries.items():
                if branch not in ("Entry$", "LocalEntry$"):
                    _update(digests.setdefault(branch, hashlib.blake2b(digest_size=16)), values)
            self._add(index, name, self.keys[table.source], chunk, rules)
            n_rows += chunk.n_rows
            advance(chunk.n_entries)
        hashes = {branch: digest.hexdigest() for branch, digest in sorted(digests.items())}
        self.inputs.append(Input(table.source, table.n_entries, n_rows, hashes))

    def _add(self, index: int, name: str, key: str, chunk: Chunk, rules: Sequence[ClassRule]) -> None:
        y, weight = _label(self.recipe, name, chunk, rules)
        masks = cut_masks(self.recipe, chunk)
        self.cutflow.fill(y, weight, masks)
        rows = np.flatnonzero((y >= 0) & masks[-1] if masks else y >= 0)
        kept = chunk.take(rows)
        recipe = self.recipe
        self.columns.add(feature_columns(recipe, kept))
        sample = Sample(
            x=np.empty((len(rows), 0), np.float32),
            y=y[rows],
            weight=weight[rows],
            event=event_keys(recipe, kept, key),
            features=tuple(f.name for f, _ in recipe.features),
            classes=recipe.classes,
            signal=recipe.signal,
            spectators=spectator_values(recipe, kept),
            columns=expression_columns(recipe, kept),
            file=np.full(len(rows), index, np.int32),
            row=chunk.first_row + rows,
        )
        self.samples.append(sample)
        if recipe.test:
            self.declared.append(selects(recipe.test.expression, kept.arrays, kept.n_rows))

    def events(self, watcher: Watcher) -> Events:
        steps = self.cutflow.steps()
        _refuse_empty(self.recipe, steps, [i.source for i in self.inputs if not i.n_entries])
        declared = np.concatenate(self.declared) if self.recipe.test else None
        recipe, x, told = refined(self.recipe, self.columns)
        sample = concatenate(self.samples).with_x(x)
        for sentence in (*told, *coarse_scores(recipe, sample)):
            watcher.note(sentence)
        return Events(sample, declared, steps, tuple(self.inputs), recipe)


def _label(
    recipe: Recipe, name: str, chunk: Chunk, rules: Sequence[ClassRule]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(n,) class of each row, -1 for none, and (n,) its weight."""
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


def _update(digest: Any, values: Any) -> None:
    """Add values to a digest: the same content in other chunks gives the same digest."""
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
    """Every class must have events, before and after the selection.

    Raises:
        DataError: one has none; says after which cut.
    """
    for name in recipe.classes:
        if not steps[0].passed[name]:
            total = ", ".join(f"{c} {n:,}" for c, n in steps[0].passed.items())
            told = f"; {', '.join(map(str, empty))}: has no entries" if empty else ""
            raise DataError(
                f"the class {name!r} has no events before any cut ({total}); check its expression and files{told}"
            )
        for before, after in itertools.pairwise(steps):
            if before.passed[name] and not after.passed[name]:
                left = f"no events left after the cut {after.name!r} ({before.passed[name]:,} before it)"
                raise DataError(f"the class {name!r} has {left}; loosen it")
