"""Outputs: where the friend of each input goes, what tells that it is finished, and how it is written."""

from __future__ import annotations

import itertools
import os
import posixpath
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak

from pidlab.apply.inputs import ApplyPlan
from pidlab.apply.scoring import EntryRange, Failed, Scored, friend_branches
from pidlab.apply.summary import RunSplit, Summary, summed
from pidlab.errors import DataError, OutputError
from pidlab.progress import Task
from pidlab.read import Source, identity_of
from pidlab.rootio.friends import FriendFile, FriendTree, read_marker
from pidlab.runs.bundle import Bundle


def friend_paths(paths: Sequence[str], output: Path) -> dict[str, Path]:
    """Input path to friend path: below `output` as the inputs lie below their common folder.

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
        target = output / below / f"{Source(path, '').stem}_pid.root"
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
    """The folder of an address, without `.` and `..`, which a server may read in another way than a path."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{posixpath.normpath('/' + rest.partition('?')[0].rpartition('/')[0]).lstrip('/')}"


def marker_of(bundle: Bundle, names: Mapping[Source, str], knows_events: bool) -> dict[str, Any] | None:
    """How a finished friend of the inputs `names` (with what stands for each in the event key) says it was made.

    None where an input does not tell its content from another.

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
    """The summaries of an output that is there, whole, and made of these inputs by these models; empty otherwise."""
    found = read_marker(target) if marker is not None and target.is_file() else None
    if found is None or any(found.get(key) != value for key, value in (marker or {}).items()):
        return []
    counts = found.get("counts", [])
    if len(counts) != len(sources):
        return []
    return [Summary(source, target, **count, skipped=True) for source, count in zip(sources, counts, strict=True)]


class InputFailedError(DataError):
    """The input of an output cannot be scored to its end."""


@dataclass(frozen=True, slots=True)
class Output:
    """One friend file to be written, of all trees of one input file.

    Attributes:
        marker: how it is made; None where nothing can tell that it need not be made again.
    """

    target: Path
    plans: tuple[ApplyPlan, ...]
    marker: Mapping[str, Any] | None

    @property
    def n_entries(self) -> int:
        """Entries of all trees."""
        return sum(plan.n_entries for plan in self.plans)

    def write(
        self, bundle: Bundle, results: Iterable[tuple[EntryRange, Scored | Failed]], known: RunSplit | None, task: Task
    ) -> list[Summary]:
        """Write the pieces, which come in order, and tell of each tree.

        Raises:
            InputFailedError: a piece cannot be scored; nothing is left of the file.
            OutputError: the file cannot be written.
        """
        plans = {plan.source: plan for plan in self.plans}
        metadata = {"input": self.plans[0].source.place, **(self.marker or {})}
        self.target.parent.mkdir(parents=True, exist_ok=True)
        with FriendFile(self.target, metadata) as file:
            summaries = [
                _write_tree(self._tree(file, bundle, plans[source], known), own, source, self.target, known, task)
                for source, own in itertools.groupby(results, key=lambda result: result[0].source)
            ]
            self._check_unchanged()
            file.metadata["counts"] = [
                {key: getattr(s, key) for key in ("n_rows", "n_selected", "n_passed", "n_known")} for s in summaries
            ]
        return summaries

    def _check_unchanged(self) -> None:
        """See that the files are those that were looked at before they were read.

        Raises:
            InputFailedError: one was changed meanwhile.
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

    def _tree(self, file: FriendFile, bundle: Bundle, plan: ApplyPlan, known: RunSplit | None) -> FriendTree:
        types, name = friend_branches(bundle, with_split=known is not None), Summary(plan.source, self.target).friend
        try:
            if plan.counter is None:
                return file.tree(name, types | plan.keys)
            return file.tree(name, plan.keys, jagged=types, counter=plan.counter)
        except OutputError as error:
            if isinstance(error.__cause__, OSError):
                raise
            raise InputFailedError(str(error)) from error


def _write_tree(
    tree: FriendTree,
    results: Iterable[tuple[EntryRange, Scored | Failed]],
    source: Source,
    target: Path,
    known: RunSplit | None,
    task: Task,
) -> Summary:
    part = known.part(source) if known else None
    n_rows, seconds, done = 0, 0.0, []
    for piece, scored in results:
        if isinstance(scored, Failed):
            raise InputFailedError(scored.reason)
        start = time.perf_counter()
        columns: dict[str, Any] = dict(scored.columns)
        if part is not None:
            columns["pid_split"] = part[n_rows : n_rows + scored.n_rows]
        if scored.counts is not None:
            columns = {name: ak.unflatten(values, scored.counts) for name, values in columns.items()}
        tree.extend(columns | dict(scored.keys))
        n_rows += scored.n_rows
        done.append((scored.n_selected, scored.n_known, scored.n_passed, scored.seconds))
        seconds += time.perf_counter() - start
        task.advance(piece.stop - piece.start)
    n_selected, n_known, n_passed, stages = zip(*done, strict=True)
    return Summary(
        source=source,
        target=target,
        n_rows=n_rows,
        n_selected=sum(n_selected),
        n_passed=summed(n_passed),
        n_known=sum(n_known),
        seconds=summed(stages) | {"write": seconds},
    )
