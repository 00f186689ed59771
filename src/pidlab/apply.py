"""Apply: stream files through the models of a run and write a friend tree for each."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from pidlab.bundle import Bundle
from pidlab.errors import OutputError
from pidlab.features import event_keys, feature_matrix, given_columns
from pidlab.load import branches_read, check_table, input_keys
from pidlab.models.contender import Contender, Scores
from pidlab.progress import Watcher
from pidlab.read import Chunk, Source, Table
from pidlab.rootio.friends import FriendFile
from pidlab.selection import selected
from pidlab.split import Keys, Part


@dataclass(frozen=True, slots=True)
class Summary:
    """What was done to one tree."""

    source: Source
    target: Path
    n_rows: int
    n_selected: int
    n_passed: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Known:
    """What a run knows of its own inputs: `part` gives the (n_rows,) `Part` of each row of an input."""

    part: Callable[[Source], NDArray[np.int8]]


def apply(
    bundle: Bundle, sources: Sequence[Source], output: Path, watcher: Watcher, known: Known | None = None
) -> list[Summary]:
    """Write `STEM_pid.root` for each file among `sources` below `output`, with a tree `TREE_pid` for each tree.

    Every expression is checked on every input before the first event is scored.

    Raises:
        ConfigError: an expression does not fit the branches of an input.
        DataError: an input cannot be read.
        OutputError: a friend file cannot be written, or would replace an input.
    """
    targets = friend_paths([s.path for s in sources], output)
    names = input_keys(sources)
    total = 0
    for source in sources:
        with Table(source, bundle.recipe.per) as table:
            check_table(bundle.recipe, table)
            total += table.n_entries
    summaries = []
    with watcher.task("scoring", total, "entries") as task:
        for path, target in targets.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            metadata = {
                "input": Path(path).name,
                "models": sorted(bundle.contenders),
                "fingerprint": bundle.fingerprint,
            }
            with FriendFile(target, metadata=metadata) as file:
                for source in (s for s in sources if s.path == path):
                    summaries.append(_score(bundle, source, names[source], target, file, task.advance, known))
    return summaries


def friend_paths(paths: Sequence[str], output: Path) -> dict[str, Path]:
    """Input path to friend path: below `output` as the inputs lie below their common folder.

    Raises:
        OutputError: two inputs would share a friend file, or a friend would replace an input.
    """
    unique = list(dict.fromkeys(paths))
    folders = [p.rsplit("/", 1)[0] if "://" in p else str(Path(p).resolve().parent) for p in unique]
    one_place = len({f.partition("://")[0] if "://" in f else "" for f in folders}) <= 1
    common = os.path.commonpath(folders) if one_place else ""
    targets: dict[str, Path] = {}
    for path, folder in zip(unique, folders, strict=True):
        below = os.path.relpath(folder, common) if one_place else ""
        target = output / below / f"{Source(path, '').stem}_pid.root"
        if target in targets.values():
            other = next(p for p, t in targets.items() if t == target)
            raise OutputError(
                f"{target}: both {other} and {path} would be scored into this file; apply them one by one"
            )
        targets[path] = target
    inputs = {Path(p).resolve() for p in unique if "://" not in p}
    for target in targets.values():
        if target.resolve() in inputs:
            raise OutputError(f"{target}: is one of the inputs; choose another output folder")
    return targets


def _score(
    bundle: Bundle,
    source: Source,
    name: str,
    target: Path,
    file: FriendFile,
    advance: Callable[[int], None],
    known: Known | None,
) -> Summary:
    recipe = bundle.recipe
    part = known.part(source) if known else None
    n_rows, n_selected, n_passed = 0, 0, dict.fromkeys(bundle.contenders, 0)
    with Table(source, recipe.per) as table:
        types = friend_branches(bundle, with_split=known is not None)
        keys = {key: table.dtype(key) for key in recipe.event_id}
        friend = f"{source.tree.rsplit('/', 1)[-1]}_pid"
        if table.collection is None:
            tree = file.tree(friend, types | keys)
        else:
            tree = file.tree(friend, keys, jagged=types, counter=table.collection.counter)
        for chunk in table.chunks(branches_read(recipe)):
            kept = np.flatnonzero(selected(recipe, chunk))
            columns = _chunk_columns(bundle, chunk, kept, name, known is not None)
            if part is not None:
                columns["pid_split"] = part[chunk.first_row : chunk.first_row + chunk.n_rows]
            tree.extend(_by_entry(columns, chunk) | {key: chunk.entries[key] for key in recipe.event_id})
            n_rows += chunk.n_rows
            n_selected += len(kept)
            for model, decisions in bundle.decisions.items():
                n_passed[model] += int(columns[f"pid_{model}_{decisions[0].name}"].sum()) if decisions else 0
            advance(chunk.n_entries)
        return Summary(source, target, n_rows, n_selected, n_passed)


def friend_branches(bundle: Bundle, with_split: bool) -> dict[str, np.dtype[Any]]:
    """The branches of a friend tree, besides the event key, and their types."""
    types: dict[str, np.dtype[Any]] = {"pid_selected": np.dtype(bool)}
    for name, contender in bundle.contenders.items():
        types |= dict.fromkeys(score_branches(name, contender), np.dtype(np.float32))
        types |= dict.fromkeys((f"pid_{name}_{d.name}" for d in bundle.decisions[name]), np.dtype(bool))
    if with_split:
        types["pid_split"] = np.dtype(np.int8)
    return types


def score_branches(name: str, contender: Contender) -> dict[str, int]:
    """Branch name to the column of the scores that it holds."""
    classes = contender.recipe.classes
    if len(classes) == 2 or not contender.fitted:
        return {f"pid_{name}": contender.recipe.signal}
    return {f"pid_{name}_{c}": i for i, c in enumerate(classes)}


def _chunk_columns(
    bundle: Bundle, chunk: Chunk, kept: NDArray[np.int64], name: str, own_events: bool
) -> dict[str, Any]:
    recipe = bundle.recipe
    rows = chunk.take(kept)
    x = feature_matrix(recipe, rows)
    given = given_columns(recipe, rows)
    event: Keys | None = event_keys(recipe, rows, name) if own_events and recipe.loaded.config.folds else None
    columns: dict[str, Any] = {"pid_selected": np.zeros(chunk.n_rows, bool)}
    columns["pid_selected"][kept] = True
    for model, contender in bundle.contenders.items():
        scores = contender.scores_of(x, given, event)
        for branch, column in score_branches(model, contender).items():
            columns[branch] = _spread(scores[:, column], kept, chunk.n_rows)
        for decision in bundle.decisions[model]:
            passed = np.zeros(chunk.n_rows, bool)
            passed[kept] = decision.passed(scores[:, recipe.signal], {})
            columns[f"pid_{model}_{decision.name}"] = passed
    return columns


def _by_entry(columns: dict[str, Any], chunk: Chunk) -> dict[str, Any]:
    """Columns of rows as columns of entries: lists where a row is a candidate."""
    if chunk.counts is None:
        return columns
    return {name: ak.unflatten(values, chunk.counts) for name, values in columns.items()}


def _spread(scores: NDArray[np.float32], kept: NDArray[np.int64], n: int) -> Scores:
    """Scores of selected rows among all rows, NaN elsewhere."""
    result = np.full(n, np.nan, np.float32)
    result[kept] = scores
    return result


def parts_of(
    inputs: Sequence[Source], n_rows: Sequence[int], file: NDArray[Any], row: NDArray[Any], part: NDArray[np.int8]
) -> Known:
    """What a run knows of its rows: all others were not used."""

    def of(source: Source) -> NDArray[np.int8]:
        index = inputs.index(source)
        result = np.full(n_rows[index], Part.UNUSED, np.int8)
        mine = file == index
        result[row[mine]] = part[mine]
        return result

    return Known(of)
