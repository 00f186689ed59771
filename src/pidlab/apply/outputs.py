"""Outputs: the friend file of each input, its place, its contents, and the mark by which it is known as finished."""

from __future__ import annotations

import contextlib
import itertools
import os
import posixpath
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pidlab.apply.inputs import ApplyPlan
from pidlab.apply.scoring import EntryRange, Failed, Scored, friend_branches
from pidlab.errors import DataError, OutputError
from pidlab.progress import Task
from pidlab.read import Source, identity_of
from pidlab.rootio.friends import FriendFile, FriendTree, nested, read_marker
from pidlab.runs.bundle import Bundle

Result = tuple[EntryRange, Scored | Failed]


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of one tree.

    Attributes:
        target: the friend file, which does not exist after a failure.
        n_passed: model to the number of rows that pass its first working point.
        n_known: selected rows that the run used itself, scored by the fold model that did not see them.
        seconds: by stage (read, select, each model, write), summed over all workers.
        skipped: true if an earlier call had finished the friend.
        failure: why this input has no friend; empty if it has one.
    """

    source: Source
    target: Path
    n_rows: int = 0
    n_selected: int = 0
    n_passed: Mapping[str, int] = field(default_factory=dict)
    n_known: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    skipped: bool = False
    failure: str = ""


def friend_name(source: Source, ending: str = "pid") -> str:
    """Returns the name of an input's friend tree: that of its tree, without folder and cycle, with `_pid` behind it."""
    return f"{source.tree.rsplit('/', 1)[-1].partition(';')[0]}_{ending}"


def friend_paths(paths: Sequence[str], output: Path, ending: str = "pid") -> dict[str, Path]:
    """Returns input path to friend path, `STEM_pid.root`: below `output` as the inputs lie below their common folder.

    Raises:
        OutputError: two inputs would share a friend file, or a friend would replace an input.
    """
    unique = list(dict.fromkeys(paths))
    folders = [_folder_of_address(p) if "://" in p else str(Path(p).resolve().parent) for p in unique]
    one_place = len({f.partition("://")[0] if "://" in f else "" for f in folders}) <= 1
    common = os.path.commonpath(folders) if one_place and folders else ""
    targets: dict[str, Path] = {}
    owners: dict[Path, str] = {}
    for path, folder in zip(unique, folders, strict=True):
        below = os.path.relpath(folder, common) if one_place else ""
        target = output / below / f"{Source(path, '').stem}_{ending}.root"
        if not Path(os.path.normpath(target)).is_relative_to(os.path.normpath(output)):
            raise OutputError(f"{path}: its friend would lie outside {output}; name it in a call of its own")
        if target in owners:
            raise OutputError(
                f"{target}: both {owners[target]} and {path} would be scored into this file; apply them one by one"
            )
        targets[path], owners[target] = target, path
    inputs = {Path(p).resolve() for p in unique if "://" not in p}
    for target in targets.values():
        if target.resolve() in inputs:
            raise OutputError(f"{target}: is one of the inputs; choose another output folder")
    return targets


def _folder_of_address(address: str) -> str:
    """Returns the folder of an address with `.` and `..` resolved, which a server may resolve in another way."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{posixpath.normpath('/' + rest.partition('?')[0].rpartition('/')[0]).lstrip('/')}"


def marker_of(bundle: Bundle, names: Mapping[Source, str], knows_events: bool) -> dict[str, Any] | None:
    """Returns the metadata by which a finished friend of some inputs is recognised; None if an input has no identity.

    `names` maps the inputs to what stands for each in the hash of the event key.

    Raises:
        DataError: an input cannot be opened.
    """
    identities = [identity_of(source) for source in names]
    if None in identities:
        return None
    inputs = [(i or {}) | {"name": name} for i, name in zip(identities, names.values(), strict=True)]
    models = sorted(bundle.models)
    return {"fingerprint": bundle.fingerprint, "models": models, "knows_events": knows_events, "inputs": inputs}


def finished(target: Path, sources: Sequence[Source], marker: Mapping[str, Any] | None) -> list[Summary]:
    """Returns the summaries of an output if it is whole and made of these inputs by these models, else nothing."""
    found = read_marker(target) if marker is not None and target.is_file() else None
    if found is None or any(found.get(key) != value for key, value in (marker or {}).items()):
        return []
    counts = found.get("counts", [])
    if len(counts) != len(sources):
        return []
    return [Summary(source, target, **count, skipped=True) for source, count in zip(sources, counts, strict=True)]


class InputFailedError(DataError):
    """An input cannot be scored to its end."""


@dataclass(frozen=True, slots=True)
class Output:
    """One friend file to be written, of all trees of one input file.

    Attributes:
        marker: the metadata by which a finished output is recognised; None if it cannot be.
        done: the summaries of an output that is finished, which is only looked through for a report.
    """

    target: Path
    plans: tuple[ApplyPlan, ...]
    marker: Mapping[str, Any] | None
    done: tuple[Summary, ...] = ()

    @property
    def n_entries(self) -> int:
        """Entries of all trees."""
        return sum(plan.n_entries for plan in self.plans)

    def write(self, bundle: Bundle, results: Iterable[Result], task: Task) -> list[Summary]:
        """Writes the pieces, which come in order, and returns a summary of each tree.

        Raises:
            InputFailedError: a piece cannot be scored; nothing is left of the file.
            OutputError: the file cannot be written.
        """
        if self.done:
            for piece, scored in results:
                if isinstance(scored, Failed):
                    raise InputFailedError(scored.reason)
                task.advance(piece.stop - piece.start)
            return list(self.done)
        plans = {plan.source: plan for plan in self.plans}
        metadata = {"input": self.plans[0].source.place, **(self.marker or {})}
        with friend_file(self.target, metadata) as (file, summaries):
            for source, own in itertools.groupby(results, key=lambda result: result[0].source):
                tree = friend_tree(file, bundle, source, plans[source].keys, plans[source].counter)
                summaries.append(write_tree(tree, bundle, own, source, self.target, task))
            self._check_unchanged()
        return summaries

    def _check_unchanged(self) -> None:
        """Checks that no input has changed since it was opened for the first time.

        Raises:
            InputFailedError: an input has changed.
        """
        for plan, before in zip(self.plans, (self.marker or {}).get("inputs", ()), strict=False):
            if "://" in plan.source.path:
                continue
            try:
                now = identity_of(plan.source)
            except DataError as error:
                raise InputFailedError(str(error)) from error
            if (now or {}) | {"name": plan.name} != before:
                raise InputFailedError(f"{plan.source}: was changed while it was read; apply it again")


@contextlib.contextmanager
def friend_file(target: Path, metadata: Mapping[str, Any]) -> Iterator[tuple[FriendFile, list[Summary]]]:
    """Gives a friend file under construction; the counts of the summaries of the block go into its marker."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with FriendFile(target, metadata) as file:
        summaries: list[Summary] = []
        yield file, summaries
        file.metadata["counts"] = [
            {key: getattr(s, key) for key in ("n_rows", "n_selected", "n_passed", "n_known")} for s in summaries
        ]


def friend_tree(
    file: FriendFile,
    bundle: Bundle,
    source: Source,
    keys: Mapping[str, Any],
    counter: str | None,
    *,
    with_split: bool = False,
) -> FriendTree:
    """Returns the friend tree of an input; jagged if `counter` names the branch that counts its candidates.

    Raises:
        InputFailedError: a branch of the input cannot be held by the tree, or has the name of another.
        OutputError: the file cannot be written.
    """
    types, name = friend_branches(bundle, with_split=with_split), friend_name(source)
    try:
        if counter is None:
            return file.tree(name, types | dict(keys))
        by_entry = bundle.additions.entry_types if bundle.additions is not None else {}
        return file.tree(name, dict(keys) | dict(by_entry), jagged=types, counter=counter)
    except OutputError as error:
        if isinstance(error.__cause__, OSError):
            raise
        raise InputFailedError(str(error)) from error


def write_tree(
    tree: FriendTree, bundle: Bundle, results: Iterable[Result], source: Source, target: Path, task: Task
) -> Summary:
    """Writes the pieces of an input, which come in order, into its friend tree.

    Raises:
        InputFailedError: a piece cannot be scored.
        OutputError: the file cannot be written.
    """
    points = {name: f"pid_{name}_{bundle.decisions[name][0].name}" for name in bundle.models if bundle.decisions[name]}
    n_rows = n_selected = n_known = 0
    n_passed: Counter[str] = Counter(dict.fromkeys(points, 0))
    seconds: dict[str, float] = {}
    for piece, scored in results:
        if isinstance(scored, Failed):
            raise InputFailedError(scored.reason)
        start = time.perf_counter()
        tree.extend(nested(scored.columns, scored.counts) | scored.keys)
        n_rows += scored.n_rows
        n_selected += int(scored.columns["pid_selected"].sum())
        n_known += scored.n_known
        n_passed.update({model: int(scored.columns[point].sum()) for model, point in points.items()})
        for stage, value in {**scored.seconds, "write": time.perf_counter() - start}.items():
            seconds[stage] = seconds.get(stage, 0.0) + value
        task.advance(piece.stop - piece.start)
    return Summary(source, target, n_rows, n_selected, n_passed, n_known, seconds)
