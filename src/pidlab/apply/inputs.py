"""Inputs: the files that the words of a command line name, and the pieces into which each is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pidlab.apply.scoring import EntryRange, Scorer
from pidlab.errors import ConfigError, DataError, UsageError
from pidlab.preprocess.recipe import LocatedExpression, Recipe
from pidlab.read import STEP, Source, Table, chained, each_path, lines_of


@dataclass(frozen=True, slots=True)
class UnreadableInput:
    """An input that was named and cannot be opened, with the reason."""

    name: str
    reason: str


def find_inputs(recipe: Recipe, words: Sequence[str], tree: str | None) -> tuple[list[Source], list[UnreadableInput]]:
    """Returns the inputs that `words` mean: paths, patterns, addresses, `file.root:tree`, or `@LIST`, a file of them.

    An input that is named twice is taken once. Inputs that cannot be opened are returned with the reason.

    Raises:
        UsageError: a list cannot be read, or `data.friends` names files of the configuration's own inputs only.
    """
    found: dict[Source, None] = {}
    unreadable = []
    for word in (line for each in words for line in (_listed(each) if each.startswith("@") else [each])):
        try:
            paths = each_path(word, Path())
        except DataError as error:
            unreadable.append(UnreadableInput(word, str(error)))
            continue
        for path in paths:
            try:
                found |= dict.fromkeys(recipe.inputs([path], tree))
            except DataError as error:
                unreadable.append(UnreadableInput(path, str(error)))
    return chained(list(found)), unreadable


def _listed(word: str) -> list[str]:
    """Returns the inputs that `@LIST` names."""
    path = Path(word.removeprefix("@"))
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: is a folder, a pipe or a device; name a file with one path a line")
    return lines_of(path, UsageError)


@dataclass(frozen=True, slots=True)
class ApplyPlan:
    """How an input is read, found out by opening it.

    Attributes:
        name: stands for the input in the hash of the event key.
        keys: the `event_id` branches and their types.
        counter: the branch that counts the candidates of an entry; None if a row is an entry.
        edges: the entries at which the input is cut; None if it can only be read from its beginning.
        lacks: the watched spectators that the input does not have.
    """

    source: Source
    name: str
    n_entries: int
    keys: dict[str, np.dtype[Any]]
    counter: str | None
    edges: list[int] | None
    lacks: frozenset[str] = frozenset()


def plan_of(source: Source, name: str, scorer: Scorer) -> ApplyPlan:
    """Opens an input and checks that all expressions fit its branches.

    Raises:
        DataError: the input cannot be read.
        ConfigError, UsageError: a branch is missing or of another kind.
    """
    recipe = scorer.bundle.recipe
    with Table(source, recipe.per) as table:
        scorer.check(table)
        lacks = frozenset(name for name, each in scorer.watched_spectators if not _has(recipe, table, each))
        watched = None if scorer.watched is None else scorer.watched.without(lacks)
        branches = replace(scorer, watched=watched).branches
        return ApplyPlan(
            source=source,
            name=name,
            n_entries=table.n_entries,
            keys={key: table.dtype(key) for key in recipe.event_id},
            counter=table.collection.counter if table.collection else None,
            edges=table.edges(branches, STEP),
            lacks=lacks,
        )


def _has(recipe: Recipe, table: Table, located: LocatedExpression) -> bool:
    """Returns whether an expression can be evaluated on the branches of a table."""
    try:
        recipe.check(table, [located])
    except (ConfigError, UsageError):
        return False
    return True


def pieces_of(
    plan: ApplyPlan, scorer: Scorer, call: str, share: Callable[[], float] = lambda: 1.0
) -> Iterator[EntryRange]:
    """Yields the pieces of an input, in order, at least one; they bring their entries if the input has no edges.

    `share` gives the share of the events of each piece whose features are kept for a report.
    """
    if plan.edges is not None or not plan.n_entries:
        edges = plan.edges or [0]
        for start, stop in zip(edges, edges[1:] or [0], strict=False):
            yield EntryRange(plan.source, plan.name, start, stop, call, share=share())
        return
    start = 0
    try:
        with Table(plan.source, scorer.bundle.recipe.per) as table:
            for chunk in table.chunks(scorer.branches, STEP):
                yield EntryRange(plan.source, plan.name, start, start + chunk.n_entries, call, chunk, share=share())
                start += chunk.n_entries
    except DataError as error:
        yield EntryRange(plan.source, plan.name, start, start, call, failure=str(error))
